"""Whether stated probabilities hold, doubt falls on the wrong answers, and novelty on the novel pictures.

N pictures with a known class, K classes, B bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import polars as pl

from vision.classify.decision import calibrated_probabilities
from vision.classify.novelty import LOGIT_SCORES
from vision.evaluate.answers import is_answered, is_flagged, is_right, listed_classes, stands_for_known
from vision.evaluate.calibration_metrics import (
    Bools,
    Floats,
    Ints,
    RocCounts,
    brier_losses,
    expected_calibration_error,
    group_bootstrap_intervals,
    nll_losses,
    reliability_bins,
    risk_coverage,
)
from vision.evaluate.metrics import Interval
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.taxonomy import Taxonomy

LOGITS = "logits"
"""Column of predictions: of all classes in the model's order, before calibration."""

LOGIT_SCORE_NAMES = {"max_softmax": "maximum softmax", "entropy": "entropy", "energy": "energy"}
"""What the scores of `vision.classify.novelty` are called in reports."""

NUM_CURVE_POINTS = 100
NUM_NOVELTY_BINS = 20
IntervalsOf = Callable[[Callable[[Ints], Sequence[float]]], list[Interval]]
_WHOLE = 1e-3  # probabilities that add up to less lack classes; rounding in files of other tools is allowed


class ReliabilityBin(Part):
    """Pictures whose most probable class, or whose answer, has about the same probability.

    Attributes:
        confidence: Mean probability; None without pictures.
        accuracy: Share of them where it is right; None without pictures.
        num_images: Pictures.
    """

    confidence: Figure
    accuracy: Figure
    num_images: int


class ProbabilityFigures(Part):
    """How good probabilities are; lower is better throughout.

    Attributes:
        nll: Mean negative log-likelihood of the truth, in nats.
        brier: Mean squared distance from the truth, in [0, 2].
        calibration_error: Expected calibration error of the most probable class, in [0, 1].
        bins: Of equal width, what the error is made of.
    """

    nll: FigureWithInterval
    brier: FigureWithInterval
    calibration_error: FigureWithInterval
    bins: tuple[ReliabilityBin, ...]


class AnswerReliability(Part):
    """Whether answers at class, family or role are right as often as their own probability says.

    Attributes:
        num_answers: Pictures with such an answer.
        calibration_error: Expected calibration error of the answers, in [0, 1]; lower is better.
        bins: Of equal width, what the error is made of.
    """

    num_answers: int
    calibration_error: FigureWithInterval
    bins: tuple[ReliabilityBin, ...]


class RiskCoverageFigures(Part):
    """What share of the most probable classes is wrong if only the surest are answered.

    Attributes:
        coverage: Shares answered, rising to 1.
        risk: Share of these that are wrong.
        area: Mean risk over all coverages; lower is better.
        excess_area: What of it an ideal order of the same answers would spare.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    area: FigureWithInterval
    excess_area: FigureWithInterval


class CalibrationFigures(Part):
    """Figures of the pictures of classes that the model knows.

    Attributes:
        num_images: Of them.
        before: With plain softmax of the logits; None where the rows do not hold them.
        after: With the probabilities that are shown.
        answers: Of the answers that are given, by their own probability; None where no row has one.
        risk_coverage: Sorted by the probabilities that are shown.
    """

    num_images: int
    before: ProbabilityFigures | None
    after: ProbabilityFigures
    answers: AnswerReliability | None = None
    risk_coverage: RiskCoverageFigures


class OtherScore(Part):
    """How well a score that follows from probabilities alone tells novel from known pictures.

    Attributes:
        auroc: As in `NoveltyFigures`.
        known_flagged_at_95: As in `NoveltyFigures`.
        auroc_gain: AUROC of the novelty rank minus this score's, paired.
    """

    auroc: FigureWithInterval
    known_flagged_at_95: FigureWithInterval
    auroc_gain: FigureWithInterval


class NoveltyFigures(Part):
    """Where the novelty ranks of known and of novel pictures lie.

    Attributes:
        known: Pictures of known classes by rank, in bins of equal width over [0, 1]; none that the model was trained
            on.
        novel: Pictures of classes that the model never saw.
        threshold: Least rank that was called unknown for it; None if no picture was.
        auroc: Chance that a novel picture has the higher rank; None without both kinds.
        known_flagged_at_95: Share of known pictures beyond the rank that 95 % of the novel ones reach.
        others: The same two of other scores on the same pictures, by name; better ones make novelty doubtful.
    """

    known: tuple[int, ...]
    novel: tuple[int, ...]
    threshold: Figure
    auroc: FigureWithInterval
    known_flagged_at_95: FigureWithInterval
    others: dict[str, OtherScore]


def calibration_figures(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    groups: Sequence[str],
    *,
    classes: Sequence[str] = (),
    num_replicates: int,
    seed: int,
) -> CalibrationFigures | None:
    """Figures of the rows that list all classes; None if a row lists only some, or no row has a class of the model.

    Args:
        table: Prediction rows with `true_label`; with `logits`, there are figures of plain softmax.
        taxonomy: What is above each class.
        groups: One name a row.
        classes: Of the model in the order of the logits; by default those in `top` in the taxonomy's order.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    class_ids = listed_classes(table)
    with_groups = table.with_columns(_group=pl.Series(groups, dtype=pl.String))
    known = with_groups.filter(pl.col("true_label").is_in(class_ids.implode()) & (pl.col("top").list.len() > 0))
    if len(known) == 0:
        return None
    probabilities = _matrix(known, known["top"].explode().struct.field("probability"), class_ids)
    if (probabilities.sum(axis=1) < 1 - _WHOLE).any():
        return None
    truth = _positions(known["true_label"], class_ids)
    intervals_of = partial(
        group_bootstrap_intervals, groups=known["_group"].to_list(), num_replicates=num_replicates, seed=seed
    )
    before, order = None, list(classes or taxonomy.in_order(class_ids.to_list()))
    logits = plain_logits(known, len(class_ids))
    if logits is not None and sorted(order) == class_ids.to_list():
        plain = calibrated_probabilities(logits, 1.0)[:, [order.index(class_id) for class_id in class_ids]]
        before = _probability_figures(plain, truth, intervals_of)
    return CalibrationFigures(
        num_images=len(known),
        before=before,
        after=_probability_figures(probabilities, truth, intervals_of),
        answers=_answer_reliability(known, taxonomy, num_replicates, seed),
        risk_coverage=_risk_coverage(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, intervals_of),
    )


def novelty_figures(
    table: pl.DataFrame,
    groups: Sequence[str],
    *,
    false_alarms: float | None = None,
    num_replicates: int,
    seed: int,
) -> NoveltyFigures | None:
    """Novelty ranks of novel pictures beside those that stand for known ones; None without ranks.

    Args:
        table: Prediction rows with `true_label`, known classes being those in `top`; the other scores come from
            `logits`, or else, without energy, from calibrated probabilities.
        groups: One name a row.
        false_alarms: Share of known pictures that the bundle may call unknown, if that is at hand.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    if not {"novelty_rank", "level"} <= set(table.columns):
        return None
    is_novel = (~table["true_label"].is_in(listed_classes(table).implode())).to_numpy()
    rows = table.with_columns(
        _group=pl.Series(groups, dtype=pl.String),
        _is_novel=pl.Series(is_novel, dtype=pl.Boolean),
        _is_flagged=pl.Series(is_flagged(table, false_alarms), dtype=pl.Boolean),
    )
    ranked = rows.filter(pl.col("novelty_rank").is_not_null() & pl.Series(is_novel | stands_for_known(table)))
    if len(ranked) == 0:
        return None
    is_novel, ranks = ranked["_is_novel"].to_numpy(), ranked["novelty_rank"].to_numpy()
    flagged = ranked.filter(pl.col("_is_flagged"))
    scores = {"novelty": ranks, **_other_scores(ranked)}
    intervals = _score_intervals(scores, is_novel, ranked["_group"].to_list(), num_replicates, seed)
    auroc, flagged_at_95, _ = intervals.pop("novelty")
    return NoveltyFigures(
        known=tuple(np.histogram(ranks[~is_novel], NUM_NOVELTY_BINS, (0, 1))[0].tolist()),
        novel=tuple(np.histogram(ranks[is_novel], NUM_NOVELTY_BINS, (0, 1))[0].tolist()),
        threshold=float(flagged["novelty_rank"].min()) if len(flagged) else None,  # type: ignore[arg-type]
        auroc=auroc,
        known_flagged_at_95=flagged_at_95,
        others={
            name: OtherScore(auroc=auroc, known_flagged_at_95=flagged, auroc_gain=gain)
            for name, (auroc, flagged, gain) in intervals.items()
        },
    )


def plain_logits(table: pl.DataFrame, num_classes: int) -> Floats | None:
    """(N, K) logits of the rows, in the model's order; None unless every row holds all of them."""
    if LOGITS not in table.columns or len(table) == 0:
        return None
    if not (table[LOGITS].list.len() == num_classes).fill_null(False).all():
        return None
    # JSON has no infinity: null is that of a class which training did not learn.
    flat = table[LOGITS].explode().cast(pl.Float64).fill_null(-np.inf).to_numpy()
    return np.asarray(flat.reshape(len(table), num_classes), dtype=np.float64)


def _other_scores(table: pl.DataFrame) -> dict[str, Floats]:
    """(N,) scores that need no embedding, higher for what is less sure; none if a row has no probabilities."""
    logits = plain_logits(table, len(listed_classes(table)))
    if logits is not None:
        return {said: LOGIT_SCORES[name](logits) for name, said in LOGIT_SCORE_NAMES.items()}
    values = pl.col("top").list.eval(pl.element().struct.field("probability"))
    # A zero adds nothing to the entropy; its logarithm must not be taken.
    surprise = values.list.eval(-pl.element() * pl.element().clip(1e-300).log())
    found = table.select(maximum=1 - values.list.max(), entropy=surprise.list.sum())
    if found["maximum"].has_nulls():
        return {}
    return {"maximum softmax": found["maximum"].to_numpy(), "entropy": found["entropy"].to_numpy()}


def _score_intervals(
    scores: dict[str, Floats], is_novel: Bools, groups: Sequence[str], num_replicates: int, seed: int
) -> dict[str, list[FigureWithInterval]]:
    """AUROC, false positives at 95 %, and how much less the AUROC is than that of the first score, of each score."""
    places = [np.unique(values, return_inverse=True)[1] for values in scores.values()]

    def figures(counts: Ints) -> list[float]:
        curves = [RocCounts.of(place, is_novel, counts) for place in places]
        first = curves[0].auroc
        return [v for each in curves for v in (each.auroc, each.false_positive_rate(), first - each.auroc)]

    intervals = group_bootstrap_intervals(figures, groups, num_replicates=num_replicates, seed=seed)
    found = [FigureWithInterval.of(interval) for interval in intervals]
    return {name: found[3 * index : 3 * index + 3] for index, name in enumerate(scores)}


def class_probabilities(table: pl.DataFrame, class_ids: Sequence[str]) -> Floats | None:
    """(N, K) probabilities of the rows, zeros where a row has none; None if a row lists only some of its classes.

    Args:
        table: Prediction rows.
        class_ids: K classes, in which all of those in `top` are.
    """
    if "top" not in table.columns:
        return None
    has_top = (table["top"].list.len() > 0).fill_null(False)
    listed = table.filter(has_top)
    found = _matrix(listed, listed["top"].explode().struct.field("probability"), pl.Series(class_ids))
    if len(listed) == 0 or (found.sum(axis=1) < 1 - _WHOLE).any():
        return None
    probabilities = np.zeros((len(table), len(class_ids)))
    probabilities[has_top.to_numpy()] = found
    return probabilities


def _positions(class_ids: pl.Series, known: pl.Series) -> Ints:
    """(N,) place of each id among the known ones."""
    return class_ids.replace_strict(known, np.arange(len(known)), return_dtype=pl.Int64).to_numpy()


def _matrix(table: pl.DataFrame, values: pl.Series, class_ids: pl.Series) -> Floats:
    """(N, K) from values that follow one another as the classes in `top` do; 0 where a class is not listed."""
    rows = np.repeat(np.arange(len(table)), table["top"].list.len().to_numpy())
    matrix = np.zeros((len(table), len(class_ids)))
    matrix[rows, _positions(table["top"].explode().struct.field("class_id"), class_ids)] = values.to_numpy()
    return matrix


def _probability_figures(probabilities: Floats, truth: Ints, intervals_of: IntervalsOf) -> ProbabilityFigures:
    nll, brier = nll_losses(probabilities, truth), brier_losses(probabilities, truth)
    confidences, is_right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth

    def figures(counts: Ints) -> list[float]:
        error = expected_calibration_error(reliability_bins(confidences, is_right, counts=counts))
        return [float(np.average(nll, weights=counts)), float(np.average(brier, weights=counts)), error]

    intervals = intervals_of(figures)
    return ProbabilityFigures(
        nll=FigureWithInterval.of(intervals[0]),
        brier=FigureWithInterval.of(intervals[1]),
        calibration_error=FigureWithInterval.of(intervals[2]),
        bins=_bins(confidences, is_right),
    )


def _answer_reliability(
    known: pl.DataFrame, taxonomy: Taxonomy, num_replicates: int, seed: int
) -> AnswerReliability | None:
    if "level" not in known.columns:
        return None
    answered = known.filter(pl.Series(is_answered(known), dtype=pl.Boolean) & pl.col("probability").is_not_null())
    if len(answered) == 0:
        return None
    confidences, right = answered["probability"].to_numpy(), is_right(answered, taxonomy)

    def figures(counts: Ints) -> list[float]:
        return [expected_calibration_error(reliability_bins(confidences, right, counts=counts))]

    (error,) = group_bootstrap_intervals(
        figures, answered["_group"].to_list(), num_replicates=num_replicates, seed=seed
    )
    return AnswerReliability(
        num_answers=len(answered),
        calibration_error=FigureWithInterval.of(error),
        bins=_bins(confidences, right),
    )


def _bins(confidences: Floats, is_right: Bools) -> tuple[ReliabilityBin, ...]:
    bins = reliability_bins(confidences, is_right)
    return tuple(
        ReliabilityBin(confidence=confidence, accuracy=accuracy, num_images=count)
        for confidence, accuracy, count in zip(
            bins.confidence.tolist(), bins.accuracy.tolist(), bins.count.tolist(), strict=True
        )
    )


def _risk_coverage(confidences: Floats, is_right: Bools, intervals_of: IntervalsOf) -> RiskCoverageFigures:
    def areas(counts: Ints) -> tuple[float, float]:
        curve = risk_coverage(confidences, is_right, counts=counts)
        return curve.area, curve.excess_area

    area, excess = intervals_of(areas)
    curve = risk_coverage(confidences, is_right)
    # The first point at or beyond every hundredth: a curve of a million pictures need not have a million points.
    shares = np.arange(1, NUM_CURVE_POINTS + 1) / NUM_CURVE_POINTS
    shown = np.unique(np.searchsorted(curve.coverage, shares - 1e-12))
    return RiskCoverageFigures(
        coverage=tuple(curve.coverage[shown].tolist()),
        risk=tuple(curve.risk[shown].tolist()),
        area=FigureWithInterval.of(area),
        excess_area=FigureWithInterval.of(excess),
    )
