"""Whether probabilities mean what they say, and whether doubt falls on the wrong answers and the unknown pictures.

N pictures, K classes, B bins. No figure depends on the order of the pictures: equal confidences and equal scores are
treated as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.evaluate.metrics import Interval, drawn_units, percentile_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DEFAULT_BINS = 15  # Guo et al. 2017, arXiv 1706.04599
_LEAST_REPLICATES, _MOST_COUNTED = 200, 20_000_000  # pictures times replicates, which the time is proportional to
_Z = 1.959964  # 0.975 quantile of the normal distribution


@dataclass(frozen=True)
class ReliabilityBins:
    """Pictures by confidence; (B,) each.

    Attributes:
        confidence: Mean confidence; NaN without pictures.
        accuracy: Share of right answers; NaN without pictures.
        count: Pictures.
    """

    confidence: Floats
    accuracy: Floats
    count: Ints


@dataclass(frozen=True)
class RiskCoverage:
    """What share of answers is wrong if only the surest are given.

    Attributes:
        coverage: (V,) share of pictures answered, at each of the V different confidences, rising to 1.
        risk: (V,) share of these answers that are wrong.
        area: AURC, the mean risk over coverages 1/N, 2/N ... 1; lower is better, NaN without pictures.
        excess_area: What of it an ideal order of the same answers would spare (Geifman et al. 2019, arXiv 1805.08206).
    """

    coverage: Floats
    risk: Floats
    area: float
    excess_area: float


def nll_losses(probabilities: Floats, class_indices: Ints) -> Floats:
    """Negative log-likelihood of each picture's truth in nats, (N,).

    Probabilities below 2e-16 count as that much, as in scikit-learn, so that one picture does not make it infinite.
    """
    of_truth = probabilities[np.arange(len(probabilities)), class_indices]
    losses: Floats = -np.log(np.maximum(of_truth, np.finfo(np.float64).eps))
    return losses


def brier_losses(probabilities: Floats, class_indices: Ints) -> Floats:
    """Squared distance of each picture's probabilities from the truth, (N,) in [0, 2] (Brier 1950)."""
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(truth)), class_indices] = 1
    losses: Floats = ((probabilities - truth) ** 2).sum(axis=1)
    return losses


def reliability_bins(
    confidences: Floats, is_right: Bools, *, counts: Ints | None = None, num_bins: int = DEFAULT_BINS
) -> ReliabilityBins:
    """Confidence and accuracy of the pictures in bins of equal width; a bin has its upper edge, not its lower one.

    Args:
        confidences: (N,) probability of the answer, in [0, 1].
        is_right: (N,) whether the answer is the truth.
        counts: (N,) how often each picture counts; by default once.
        num_bins: B.
    """
    once = np.ones(len(confidences), dtype=np.int64) if counts is None else counts
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, num_bins - 1)
    count, *sums = (
        np.bincount(bins, weights=values, minlength=num_bins) for values in (once, once * confidences, once * is_right)
    )
    means = [np.divide(total, count, out=np.full(num_bins, np.nan), where=count > 0) for total in sums]
    return ReliabilityBins(confidence=means[0], accuracy=means[1], count=count.astype(np.int64))


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Mean distance of accuracy from confidence over pictures, in [0, 1] (Naeini et al. 2015); NaN without any."""
    num_pictures = bins.count.sum()
    if num_pictures == 0:
        return float("nan")
    has_pictures = bins.count > 0
    gaps = np.abs(bins.accuracy - bins.confidence)[has_pictures]
    return float((gaps * bins.count[has_pictures]).sum() / num_pictures)


def risk_coverage(confidences: Floats, is_right: Bools, *, counts: Ints | None = None) -> RiskCoverage:
    """The risk-coverage curve and its area (El-Yaniv and Wiener 2010).

    Within a run of equal confidences no order is better than another: the area is the mean over all of them.

    Args:
        confidences: (N,), any figure that rises with certainty.
        is_right: (N,).
        counts: (N,) how often each picture counts; by default once.
    """
    once = np.ones(len(confidences), dtype=np.int64) if counts is None else counts
    num_pictures = int(once.sum())
    if num_pictures == 0:
        return RiskCoverage(np.empty(0), np.empty(0), float("nan"), float("nan"))
    _, runs = np.unique(-confidences[once > 0], return_inverse=True)  # surest first
    sizes, wrong = (np.bincount(runs, weights=values[once > 0]) for values in (once, once * ~is_right))
    num_answered, num_wrong = np.cumsum(sizes), np.cumsum(wrong)  # (V,) each
    places = np.arange(1, num_pictures + 1)
    wrong_at_place = np.interp(places, np.concatenate([[0], num_answered]), np.concatenate([[0.0], num_wrong]))
    area = float((wrong_at_place / places).mean())
    num_right = num_pictures - num_wrong[-1]
    ideal = float((np.maximum(places - num_right, 0) / places).mean())
    return RiskCoverage(num_answered / num_pictures, num_wrong / num_answered, area, area - ideal)


def auroc_score(known_scores: Floats, novel_scores: Floats) -> float:
    """Chance that a novel picture has a higher novelty than a known one, ties counting half; NaN if there are none."""
    if len(known_scores) == 0 or len(novel_scores) == 0:
        return float("nan")
    ordered = np.sort(known_scores)
    below = np.searchsorted(ordered, novel_scores, side="left")
    not_above = np.searchsorted(ordered, novel_scores, side="right")
    return float((below + not_above).mean() / 2 / len(known_scores))


def false_positive_rate(known_scores: Floats, novel_scores: Floats, true_positive_rate: float = 0.95) -> float:
    """Share of known pictures that are flagged when at least 95 % of the novel ones are; NaN if there are none.

    Novel pictures are the positives, as in OpenOOD 1.5. Where a paper takes the known ones as positives (ODIN, arXiv
    1706.02690), its figure is `false_positive_rate(-novel_scores, -known_scores)`.
    """
    if len(known_scores) == 0 or len(novel_scores) == 0:
        return float("nan")
    num_flagged = int(np.ceil(true_positive_rate * len(novel_scores) - 1e-9))
    threshold = np.sort(novel_scores)[len(novel_scores) - max(num_flagged, 1)]
    return float((known_scores >= threshold).mean())


@dataclass(frozen=True)
class RocCounts:
    """Known and novel pictures at each value of a score, lowest first, (U,) each; a picture may count several times."""

    known: Ints | Floats
    novel: Ints | Floats

    @classmethod
    def of(cls, places: Ints, is_novel: Bools, counts: Ints) -> RocCounts:
        """From the place of each picture's score among the distinct ones, and how often it counts, (N,) each."""
        num_places = int(places.max(initial=-1)) + 1
        known = np.bincount(places, np.where(is_novel, 0, counts), num_places)
        return cls(known, np.bincount(places, np.where(is_novel, counts, 0), num_places))

    @property
    def auroc(self) -> float:
        """As `auroc_score`."""
        if not (self.known.any() and self.novel.any()):
            return float("nan")
        below = np.cumsum(self.known) - self.known / 2
        return float(self.novel @ below / (self.novel.sum() * self.known.sum()))

    def false_positive_rate(self, true_positive_rate: float = 0.95) -> float:
        """As the function of this name."""
        if not (self.known.any() and self.novel.any()):
            return float("nan")
        novel_from = np.cumsum(self.novel[::-1])  # pictures at a value or above it, highest value first
        num_flagged = max(np.ceil(true_positive_rate * novel_from[-1] - 1e-9), 1)
        at = int(np.searchsorted(novel_from, num_flagged))
        return float(np.cumsum(self.known[::-1])[at] / self.known.sum())


def wilson_interval(share: Floats, num_pictures: Ints) -> tuple[Floats, Floats]:
    """95 % intervals of shares (Wilson 1927), which are wide for few pictures also at 0 and 1.

    It takes pictures as independent: with pictures that come in groups it is too narrow.

    Args:
        share: (B,) in [0, 1]; NaN gives NaN.
        num_pictures: (B,) that each share is of.
    """
    num = np.maximum(num_pictures, 1)
    centre = (share + _Z**2 / (2 * num)) / (1 + _Z**2 / num)
    half = _Z / (1 + _Z**2 / num) * np.sqrt(share * (1 - share) / num + _Z**2 / (4 * num**2))
    return centre - half, centre + half


def group_bootstrap_intervals(
    figures: Callable[[Ints], Sequence[float]], groups: Sequence[str], *, num_replicates: int = 1000, seed: int = 0
) -> list[Interval]:
    """Figures with their 95 % percentile intervals from resampling groups with replacement.

    An expected calibration error is biased upwards in small samples, and again in each replicate: its interval may
    lie above the figure.

    Args:
        figures: From how often each picture counts, (N,), to F figures; NaN is left out of the intervals.
        groups: N names.
        num_replicates: Of the bootstrap; fewer beyond 10,000 pictures, 200 at least.
        seed: Of the resampling.
    """
    units = drawn_units(groups, seed)
    num_units = int(units.max(initial=-1)) + 1
    values = figures(np.ones(len(groups), dtype=np.int64))
    generator = np.random.default_rng(seed)
    num_replicates = min(num_replicates, max(_LEAST_REPLICATES, _MOST_COUNTED // max(len(groups), 1)))
    replicated = np.full((num_replicates, len(values)), np.nan)
    for replicate in range(num_replicates if num_units > 1 else 0):
        drawn = generator.integers(num_units, size=num_units)
        replicated[replicate] = figures(np.bincount(drawn, minlength=num_units)[units])
    return [percentile_interval(value, of_figure) for value, of_figure in zip(values, replicated.T, strict=True)]


def group_mean_interval(values: Floats, groups: Sequence[str], *, num_replicates: int, seed: int) -> Interval:
    """Mean of (N,) values with its interval; arguments as those of `group_bootstrap_intervals`."""

    def figures(counts: Ints) -> list[float]:
        return [float(np.average(values, weights=counts))]

    return group_bootstrap_intervals(figures, groups, num_replicates=num_replicates, seed=seed)[0]
