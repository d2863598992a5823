"""What deciding needs to know of pictures with a known answer: calibration, which novelty score, and its threshold.

N pictures, K classes, D features, F folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from vision.classify.decision import calibrated_probabilities
from vision.classify.novelty import (
    LOGIT_SCORES,
    EmbeddingScore,
    FitEmbeddingScore,
    NearestNeighbourScore,
    RelativeMahalanobis,
    StandardisedScore,
    known_probability,
    scores_one_by_one,
)
from vision.evaluate.calibration_metrics import auroc_score, false_positive_rate
from vision.evaluate.metrics import Interval, percentile_interval
from vision.evaluate.novel import CONFIDENT
from vision.train.folds import group_folds
from vision.train.probe import fit_temperature

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Refit = Callable[[Ints], Floats]
"""Fits the classifier on the given rows and returns its logits (N, K) for all rows."""

EMBEDDING_SCORES: Mapping[str, FitEmbeddingScore] = MappingProxyType(
    {
        "nearest_neighbour": NearestNeighbourScore.fit,
        "fifth_neighbour": partial(NearestNeighbourScore.fit, k=5),
        "relative_mahalanobis": RelativeMahalanobis.fit,
    }
)
"""The distances among which `choose_novelty_score` chooses, beside the baselines of `LOGIT_SCORES`."""

MOST_UNKNOWN = 0.5
"""Beyond this share of unknown classes no caution is sought: hardly an answer would be left."""

_LOG_SCALE_BOUND = float(np.log(20.0))  # temperatures between 0.05 and 20, as in the probe
_VECTOR_DEVIATIONS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Calibration:
    """What is done to logits before the softmax.

    Attributes:
        method: `temperature`: all scales are equal and there is no bias.
        scale: (K,).
        bias: (K,).
    """

    method: Literal["temperature", "vector"]
    scale: Floats
    bias: Floats

    def calibrated_logits(self, logits: NDArray[np.floating]) -> Floats:
        """(N, K) -> (N, K); a class that was never learnt keeps its -inf."""
        return np.asarray(logits, dtype=np.float64) * self.scale + self.bias


@dataclass(frozen=True)
class CalibrationChoice:
    """The calibration that was chosen and why; NLLs are of held-out groups, NaN if there was nothing to divide.

    Attributes:
        calibration: Fitted on all pictures.
        nll_before: Without any calibration.
        nll_temperature: With temperature scaling.
        nll_vector: With vector scaling under the best of the priors.
        margin: One standard error of the difference of the last two, by groups: vector scaling must win by more.
    """

    calibration: Calibration
    nll_before: float
    nll_temperature: float
    nll_vector: float
    margin: float


@dataclass(frozen=True)
class LeftOutPictures:
    """Pictures of a class that was left out, as a model without it sees them, (N,) each.

    Attributes:
        confidences: Calibrated probability of the most probable class, which is wrong.
        ranks: Of novelty among held-out known pictures.
    """

    confidences: Floats
    ranks: Floats

    def share_named(self, unknown_share: float, exponent: float, false_alarms: float) -> float:
        """Share that gets a wrong name with `CONFIDENT` or more, where probabilities allow for unknown classes."""
        allowed = self.confidences * known_probability(self.ranks, unknown_share, exponent)
        return float(((allowed >= CONFIDENT) & (self.ranks <= 1 - false_alarms)).mean())


@dataclass(frozen=True)
class JudgedClass:
    """What the scores said of a class that was left out, with one fold held out; S scores.

    Attributes:
        figures: (3, S) AUROC, false-positive rate, mean of -ln(rank of a novel picture among known ones).
        pictures: S, which differ in their ranks.
    """

    figures: Floats
    pictures: tuple[LeftOutPictures, ...]


@dataclass(frozen=True)
class NoveltyTrial:
    """How well a score told the pictures of a left-out class from held-out pictures of the others.

    Attributes:
        name: Of the score.
        auroc: (K,) with each class left out, mean over folds; NaN for a class without pictures.
        false_positive_rate: (K,) share of known pictures flagged when 95 % of the left-out class are.
        mean_auroc: Over classes.
        exponent: Of the density a r^(a-1) of left-out pictures' ranks r among the known ones, of most likelihood with
            every class counting alike (a = 1 / mean of -ln r); at least 1, which is no information.
        left_out: The pictures of each class that was judged.
    """

    name: str
    auroc: Floats
    false_positive_rate: Floats
    mean_auroc: float
    exponent: float
    left_out: tuple[LeftOutPictures, ...]

    def lead_over(self, other: NoveltyTrial, *, num_draws: int = 2000, seed: int = 0) -> Interval:
        """AUROC beyond that of another score, mean over the same classes, which are drawn with replacement."""
        gains = self.auroc - other.auroc
        gains = gains[np.isfinite(gains)]
        drawn = np.random.default_rng(seed).integers(max(len(gains), 1), size=(num_draws, len(gains)))
        means = gains[drawn].mean(axis=1) if len(gains) else np.empty(0)
        return percentile_interval(float(gains.mean()) if len(gains) else np.nan, means, len(gains) > 1)

    def least_unknown_share(
        self, at_least: float, most_named: float, false_alarms: float, *, of: Literal["worst", "mean"] = "worst"
    ) -> float:
        """Least share of unknown classes to allow for so that few left-out pictures get a wrong name with confidence.

        The class that will come may be as hard as the hardest that was left out: a mean over classes, most of them
        easy, says little of it. So by default the limit is for the worst of them. It follows from training classes
        alone.

        Args:
            at_least: The share that is stated; 0 is kept, and allows for none.
            most_named: Share of a left-out class's pictures that may be named with `CONFIDENT`.
            false_alarms: Beyond this rank a picture is unknown anyway.
            of: Whether the limit is for the worst of the classes, or for their mean.

        Returns:
            At most `MOST_UNKNOWN`, also where that is not enough: of the pictures at hand it may change nothing more,
            of those of the class that will come it may.
        """
        if at_least == 0 or not self.left_out:
            return at_least
        share = at_least
        while share < MOST_UNKNOWN and self.share_named(share, false_alarms, of=of) > most_named:
            share = min(round(share + 0.01, 6), MOST_UNKNOWN)
        return share

    def share_named(self, unknown_share: float, false_alarms: float, *, of: Literal["worst", "mean"]) -> float:
        """Share of left-out pictures with a wrong name and `CONFIDENT`, of the worst class or the mean of classes."""
        named = [each.share_named(unknown_share, self.exponent, false_alarms) for each in self.left_out]
        return float(max(named) if of == "worst" else np.mean(named))


@dataclass(frozen=True)
class HeldOutNovelty:
    """Novelty of known pictures from scores that were fitted without their fold.

    Attributes:
        scores: (N,); NaN where all pictures of a class were held out together, so that it was not known.
        folds: (N,) which of the fitted scores each is by.
        fitted: One for each fold, or one for all; none for scores on logits.
    """

    scores: Floats
    folds: Ints
    fitted: tuple[EmbeddingScore, ...]

    @property
    def ranks(self) -> Floats:
        """(N,) share of the other known pictures that are less novel, in [0, 1); NaN as in the scores."""
        known = np.sort(self.scores[np.isfinite(self.scores)])
        ranks = np.searchsorted(known, self.scores, side="left") / max(len(known), 1)
        return np.where(np.isfinite(self.scores), ranks, np.nan)


def temperature_calibration(logits: Floats, class_indices: Ints) -> Calibration:
    """Temperature scaling: one scale for all classes."""
    rows = _learnable(logits, class_indices)
    num_classes = logits.shape[1]
    scale = 1 / fit_temperature(logits[rows], class_indices[rows])
    return Calibration("temperature", np.full(num_classes, scale), np.zeros(num_classes))


def vector_calibration(logits: Floats, class_indices: Ints, deviation: float) -> Calibration:
    """Vector scaling (Guo et al. 2017, arXiv 1706.04599): a scale and a bias for every class.

    With few pictures per class they would be fitted to chance. So each class's scale is expected near a common one (a
    normal prior on the difference of logarithms) and its bias near 0; the common scale has the prior of
    `fit_temperature`, and for a small deviation the result is temperature scaling.

    Args:
        logits: (N, K).
        class_indices: (N,); pictures of classes with the logit -inf, which were never learnt, are left out.
        deviation: Of both priors.
    """
    rows = _learnable(logits, class_indices)
    num_classes = logits.shape[1]
    is_finite = np.isfinite(logits[rows])
    finite = np.where(is_finite, logits[rows], 0.0)
    truth = np.zeros_like(finite)
    truth[np.arange(len(finite)), class_indices[rows]] = 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        common, own, bias = parameters[0], parameters[1 : num_classes + 1], parameters[num_classes + 1 :]
        scale = np.exp(common + own)
        log_probabilities = log_softmax(np.where(is_finite, finite * scale + bias, -np.inf), axis=1)
        nll = -float(log_probabilities[truth > 0].sum())
        prior = 0.5 * (common**2 + (own @ own + bias @ bias) / deviation**2)
        errors = np.exp(log_probabilities) - truth  # (N, K)
        by_scale = (errors * finite).sum(axis=0) * scale
        gradient = [[by_scale.sum() + common], by_scale + own / deviation**2, errors.sum(axis=0) + bias / deviation**2]
        return nll + prior, np.concatenate(gradient)

    bounds = [(-_LOG_SCALE_BOUND, _LOG_SCALE_BOUND), *[(None, None)] * (2 * num_classes)]
    start = np.zeros(2 * num_classes + 1)
    start[0] = -np.log(fit_temperature(logits[rows], class_indices[rows]))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
    return Calibration("vector", np.exp(best[0] + best[1 : num_classes + 1]), best[num_classes + 1 :])


def choose_calibration(
    logits: Floats,
    class_indices: Ints,
    groups: Sequence[str],
    *,
    deviations: Sequence[float] = _VECTOR_DEVIATIONS,
    num_folds: int = 5,
    seed: int = 0,
) -> CalibrationChoice:
    """Temperature or vector scaling, by the likelihood of the truth in held-out groups.

    Vector scaling has to win by more than a standard error: with few pictures the simpler one is the safer bet.

    Args:
        logits: (N, K) of pictures that the classifier was not fitted on.
        class_indices: (N,).
        groups: N names; never divided between fitting and judging.
        deviations: Priors of vector scaling to try.
        num_folds: F.
        seed: Of the folds.
    """
    kept = _learnable(logits, class_indices)
    logits, class_indices, groups = logits[kept], class_indices[kept], [groups[row] for row in kept.tolist()]
    # Not balanced by class: each fold would have the sample's chance shares of classes, and fitting them would pay.
    folds = group_folds(np.zeros_like(class_indices), groups, num_folds, seed) if len(kept) else []
    if not folds:
        nan = float("nan")
        return CalibrationChoice(temperature_calibration(logits, class_indices), nan, nan, nan, nan)
    temperature = _held_out_nll(logits, class_indices, folds, temperature_calibration)
    vectors = {
        deviation: _held_out_nll(logits, class_indices, folds, partial(vector_calibration, deviation=deviation))
        for deviation in deviations
    }
    best = min(vectors, key=lambda deviation: float(vectors[deviation].mean()))
    margin = _group_standard_error(vectors[best] - temperature, groups)
    wins = vectors[best].mean() + margin < temperature.mean()
    return CalibrationChoice(
        calibration=(
            vector_calibration(logits, class_indices, best) if wins else temperature_calibration(logits, class_indices)
        ),
        nll_before=float(_nll_of_pictures(logits, class_indices).mean()),
        nll_temperature=float(temperature.mean()),
        nll_vector=float(vectors[best].mean()),
        margin=margin,
    )


def choose_novelty_score(
    embeddings: NDArray[np.floating],
    refit: Refit,
    class_indices: Ints,
    groups: Sequence[str],
    *,
    candidates: Mapping[str, FitEmbeddingScore] = EMBEDDING_SCORES,
    num_folds: int = 3,
    seed: int = 0,
) -> list[NoveltyTrial]:
    """All scores, best first, by how well they tell classes apart from the rest that were left out in turn.

    Each class is left out once; scores and classifier are fitted on some of the other classes' groups, and have to
    tell the other classes' held-out groups (known) from all of its pictures (novel). No picture of another data set or
    of a split for judging novelty is needed, and none may be given. Takes K * F fits.

    Args:
        embeddings: (N, D) of the training pictures, not standardised: that is done without the left-out class.
        refit: Fits the classifier on the given rows; called without the left-out class.
        class_indices: (N,).
        groups: N names.
        candidates: Scores on embeddings to try beside those on logits.
        num_folds: F.
        seed: Of the folds.

    Returns:
        Empty if no class can be left out: there are fewer than three, or fewer than two groups beside each.
    """
    present = np.unique(class_indices).tolist()
    judged: dict[int, list[JudgedClass]] = {}
    for class_index in present if len(present) > 2 else []:
        novel = np.flatnonzero(class_indices == class_index)
        others = np.flatnonzero(class_indices != class_index)
        for train, held_out in group_folds(
            class_indices[others], [groups[row] for row in others.tolist()], num_folds, seed
        ):
            known, asked = others[held_out], rows_of_other_groups(novel, others[train], groups)
            logits = refit(others[train])
            judged.setdefault(class_index, []).append(
                judge_scores(
                    (embeddings[others[train]], class_indices[others[train]]),
                    (embeddings[known], logits[known], class_indices[known]),
                    (embeddings[asked], logits[asked]),
                    candidates,
                )
            )
    return novelty_trials(judged, max(present, default=-1) + 1, candidates)


def novelty_trials(
    judged: Mapping[int, Sequence[JudgedClass]],
    num_classes: int,
    candidates: Mapping[str, FitEmbeddingScore] = EMBEDDING_SCORES,
) -> list[NoveltyTrial]:
    """The scores, best first, from what `judge_scores` said of classes by their index, once for each fold."""
    names = [*candidates, *LOGIT_SCORES]
    figures = np.full((3, len(names), num_classes), np.nan)
    for class_index, of_folds in judged.items():
        figures[:, :, class_index] = _nan_mean(np.stack([each.figures for each in of_folds]), axis=0)
    means, _, surprises = _nan_mean(figures, axis=2)
    exponents = 1 / np.clip(surprises, 1e-9, 1)
    pictures = [
        tuple(_joined([each.pictures[score] for each in of_folds]) for of_folds in judged.values())
        for score in range(len(names))
    ]
    rows = zip(names, *figures[:2], means.tolist(), exponents.tolist(), pictures, strict=True)
    trials = [NoveltyTrial(*row) for row in rows]
    return sorted((t for t in trials if np.isfinite(t.mean_auroc)), key=lambda t: -t.mean_auroc)


def _joined(parts: Sequence[LeftOutPictures]) -> LeftOutPictures:
    return LeftOutPictures(
        np.concatenate([part.confidences for part in parts]), np.concatenate([part.ranks for part in parts])
    )


def rows_of_other_groups(rows: Ints, train: Ints, groups: Sequence[str]) -> Ints:
    """Those of the rows whose group is not trained on; all of them if there are none.

    A novel vehicle on a trained place would seem less novel than a known one on a new place, and both come from new
    places once the model is asked.
    """
    trained = {groups[row] for row in train.tolist()}
    others = [row for row in rows.tolist() if groups[row] not in trained]
    return np.array(others or rows, dtype=np.int64)


def held_out_novelty(
    name: str,
    logits: Floats,
    embeddings: NDArray[np.floating],
    class_indices: Ints,
    folds: Sequence[tuple[Ints, Ints]],
    *,
    candidates: Mapping[str, FitEmbeddingScore] = EMBEDDING_SCORES,
) -> HeldOutNovelty:
    """Novelty of every known picture from a score that was fitted without its fold.

    Args:
        name: Of the score.
        logits: (N, K) from classifiers that were fitted without the fold.
        embeddings: (N, D).
        class_indices: (N,).
        folds: Rows to fit on and rows held out.
        candidates: Scores on embeddings.
    """
    scores, numbers = np.full(len(class_indices), np.nan), np.zeros(len(class_indices), dtype=np.int64)
    fitted = []
    for number, (train, held_out) in enumerate(folds):
        known = held_out[np.isin(class_indices[held_out], class_indices[train])]
        if name in LOGIT_SCORES:
            scores[known] = LOGIT_SCORES[name](logits[known])
        else:
            fitted.append(StandardisedScore.fit(candidates[name], embeddings[train], class_indices[train]))
            scores[known], numbers[known] = scores_one_by_one(fitted[-1], embeddings[known]), number
    return HeldOutNovelty(scores, numbers, tuple(fitted))


def judge_scores(
    references: tuple[NDArray[np.floating], Ints],
    known: tuple[NDArray[np.floating], Floats, Ints],
    novel: tuple[NDArray[np.floating], Floats],
    candidates: Mapping[str, FitEmbeddingScore] = EMBEDDING_SCORES,
) -> JudgedClass:
    """What every score says of a class that was left out, beside held-out pictures of the others.

    Args:
        references: Embeddings (R, D) and classes (R,) that scores are fitted on.
        known: Embeddings (N, D), logits (N, K) and classes (N,) of held-out pictures; those of classes without
            references are left out.
        novel: Embeddings and logits of pictures of other classes.
        candidates: Scores on embeddings, beside those on logits.
    """
    is_learnt = np.isin(known[2], references[1])
    embeddings, logits = (known[0][is_learnt], novel[0]), (known[1][is_learnt], novel[1])
    pairs: list[tuple[Floats, Floats]] = []
    for fit in candidates.values():
        fitted = StandardisedScore.fit(fit, *references)
        pairs.append((fitted.score(embeddings[0]), fitted.score(embeddings[1])))
    pairs += [(score(logits[0]), score(logits[1])) for score in LOGIT_SCORES.values()]
    judges = (auroc_score, false_positive_rate, _mean_surprise)
    calibration = temperature_calibration(logits[0], known[2][is_learnt])
    confidences = calibrated_probabilities(calibration.calibrated_logits(logits[1]), 1.0).max(axis=1)
    return JudgedClass(
        np.array([[judge(*pair) for pair in pairs] for judge in judges]),
        tuple(LeftOutPictures(confidences, _ranks_among(*pair)) for pair in pairs),
    )


def _ranks_among(of_known: Floats, of_novel: Floats) -> Floats:
    """Share of known pictures that are less novel, (N,) in [0, 1]."""
    return np.searchsorted(np.sort(of_known), of_novel, side="left") / max(len(of_known), 1)


def _mean_surprise(of_known: Floats, of_novel: Floats) -> float:
    """Mean of -ln r over novel pictures, r their rank among the known ones, at least that of the least novel one."""
    if len(of_known) == 0:
        return float("nan")
    num_below = np.searchsorted(np.sort(of_known), of_novel, side="left")
    return float(-np.log(np.maximum(num_below, 1) / (len(of_known) + 1)).mean())


def _held_out_nll(
    logits: Floats,
    class_indices: Ints,
    folds: Sequence[tuple[Ints, Ints]],
    fit: Callable[[Floats, Ints], Calibration],
) -> Floats:
    """(N,) from the calibration that was fitted without the picture's fold."""
    nll = np.zeros(len(logits))
    for train, held_out in folds:
        calibration = fit(logits[train], class_indices[train])
        nll[held_out] = _nll_of_pictures(calibration.calibrated_logits(logits[held_out]), class_indices[held_out])
    return nll


def _nll_of_pictures(logits: Floats, class_indices: Ints) -> Floats:
    nll: Floats = -log_softmax(logits, axis=1)[np.arange(len(logits)), class_indices]
    return nll


def _learnable(logits: Floats, class_indices: Ints) -> Ints:
    """Rows whose class the classifier has learnt: of the others no calibration can make the truth likely."""
    return np.flatnonzero(np.isfinite(logits[np.arange(len(logits)), class_indices]))


def _group_standard_error(differences: Floats, groups: Sequence[str]) -> float:
    """Of the mean difference, where pictures of a group rise and fall together."""
    _, positions = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    sums = np.bincount(positions, weights=differences - differences.mean())
    num_groups = len(sums)
    return float(np.sqrt((sums**2).sum() * num_groups / (num_groups - 1)) / len(differences))


def _nan_mean(values: Floats, axis: int) -> Floats:
    """NaN, without a warning, where there is nothing to average."""
    known = np.isfinite(values)
    totals = np.where(known, values, 0.0).sum(axis=axis)
    counts = known.sum(axis=axis)
    means: Floats = np.full(totals.shape, np.nan)
    np.divide(totals, counts, out=means, where=counts > 0)
    return means
