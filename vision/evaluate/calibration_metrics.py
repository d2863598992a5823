"""Whether probabilities mean what they say, and whether doubt falls on the wrong answers and the unknown pictures.

N pictures, K classes, B bins. No figure depends on the order of the pictures: equal confidences and equal scores are
treated as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.evaluate.metrics import CONFIDENCE, Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DEFAULT_BINS = 15  # Guo et al. 2017, arXiv 1706.04599


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


def nll_loss(probabilities: Floats, class_indices: Ints) -> float:
    """Mean negative log-likelihood of the truth in nats; NaN without pictures.

    Probabilities below 2e-16 count as that much, as in scikit-learn, so that one picture does not make it infinite.
    """
    if len(probabilities) == 0:
        return float("nan")
    of_truth = probabilities[np.arange(len(probabilities)), class_indices]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).eps)).mean())


def brier_loss(probabilities: Floats, class_indices: Ints) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes, in [0, 2] (Brier 1950)."""
    if len(probabilities) == 0:
        return float("nan")
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(truth)), class_indices] = 1
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def equal_width_edges(num_bins: int = DEFAULT_BINS) -> Floats:
    """(B + 1,) edges that divide [0, 1] evenly."""
    return np.linspace(0, 1, num_bins + 1)


def equal_mass_edges(confidences: Floats, num_bins: int = DEFAULT_BINS) -> Floats:
    """Edges between which there are about equally many pictures; fewer bins where many confidences are equal."""
    if len(confidences) == 0:
        return np.array([0.0, 1.0])
    inner = np.quantile(confidences, np.arange(1, num_bins) / num_bins, method="inverted_cdf")
    return np.unique(np.concatenate([[0.0], inner[inner < confidences.max()], [1.0]]))


def reliability_bins(confidences: Floats, is_right: Bools, edges: Floats) -> ReliabilityBins:
    """Confidence and accuracy of the pictures in each bin; a bin has its upper edge, not its lower one.

    Args:
        confidences: (N,) probability of the answer.
        is_right: (N,) whether the answer is the truth.
        edges: (B + 1,), of `equal_width_edges` or `equal_mass_edges`.
    """
    num_bins = len(edges) - 1
    bins = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, weights=values, minlength=num_bins) for values in (confidences, is_right)]
    means = [np.divide(total, count, out=np.full(num_bins, np.nan), where=count > 0) for total in sums]
    return ReliabilityBins(confidence=means[0], accuracy=means[1], count=count)


def expected_calibration_error(bins: ReliabilityBins) -> float:
    """Mean distance of accuracy from confidence over pictures, in [0, 1] (Naeini et al. 2015); NaN without any."""
    num_pictures = bins.count.sum()
    if num_pictures == 0:
        return float("nan")
    has_pictures = bins.count > 0
    gaps = np.abs(bins.accuracy - bins.confidence)[has_pictures]
    return float((gaps * bins.count[has_pictures]).sum() / num_pictures)


def risk_coverage(confidences: Floats, is_right: Bools) -> RiskCoverage:
    """The risk-coverage curve and its area (El-Yaniv and Wiener 2010).

    Within a run of equal confidences no order is better than another: the area is the mean over all of them.

    Args:
        confidences: (N,), any figure that rises with certainty.
        is_right: (N,).
    """
    num_pictures = len(confidences)
    if num_pictures == 0:
        return RiskCoverage(np.empty(0), np.empty(0), float("nan"), float("nan"))
    _, runs = np.unique(-confidences, return_inverse=True)  # surest first
    sizes = np.bincount(runs)
    num_answered = np.cumsum(sizes)  # (V,)
    num_wrong = np.cumsum(np.bincount(runs, weights=~is_right))
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


def group_bootstrap_interval(
    statistic: Callable[[Ints], float], groups: Sequence[str], *, num_replicates: int = 1000, seed: int = 0
) -> Interval:
    """A figure with its 95 % percentile interval from resampling groups with replacement.

    An expected calibration error is biased upwards in small samples, and again in each replicate: its interval may
    lie above the figure.

    Args:
        statistic: From row numbers, some of them several times, to the figure; NaN is left out of the interval.
        groups: N names.
        num_replicates: Of the bootstrap.
        seed: Of the resampling.
    """
    names, positions = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    value = statistic(np.arange(len(groups)))
    if len(names) < 2:
        return Interval(value, float("nan"), float("nan"))
    order = np.argsort(positions, kind="stable")
    rows_by_group = np.split(order, np.cumsum(np.bincount(positions))[:-1])
    generator = np.random.default_rng(seed)
    replicated = np.empty(num_replicates)
    for replicate in range(num_replicates):
        drawn = generator.integers(len(names), size=len(names))
        replicated[replicate] = statistic(np.concatenate([rows_by_group[index] for index in drawn]))
    finite = replicated[np.isfinite(replicated)]
    if len(finite) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(finite, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
