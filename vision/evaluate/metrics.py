"""Confusion counts, rates, per-class metrics and their bootstrap intervals.

N images, K true classes (rows), A answers (columns: the K classes first, then any other answers), G groups, B
bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_REPLICATES = 2000
CONFIDENCE = 0.95

MAX_UNITS = 2048
"""More groups than this are merged at random into so many units before drawing; see `drawn_units`."""


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; low and high are NaN where one group gives nothing to resample."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of every class, (K,) each. Recall and F1 are NaN without images, precision is NaN without answers."""

    precision: Floats
    recall: Floats
    f1: Floats


@dataclass(frozen=True)
class BootstrapIntervals:
    """Intervals of the whole and of each class, resampled by group."""

    accuracy: Interval
    macro_recall: Interval
    precision: list[Interval]
    recall: list[Interval]
    f1: list[Interval]


def confusion_counts(true_indices: Ints, answer_indices: Ints, num_classes: int, num_answers: int) -> Ints:
    """How many images of each true class got each answer, (K, A)."""
    counts = np.zeros((num_classes, num_answers), dtype=np.int64)
    np.add.at(counts, (true_indices, answer_indices), 1)
    return counts


def confusion_rates(counts: Ints) -> Floats:
    """Share of each true class that got each answer.

    A class without images gets a row of NaN, not of zeros: "never seen" must not read as "never right".

    Args:
        counts: (K, A), images of true class `row` answered as `column`.

    Returns:
        (K, A) in [0, 1]. Rows with images sum to 1; the diagonal is the recall.
    """
    num_images = counts.sum(axis=1, keepdims=True)  # (K, 1)
    rates = np.full(counts.shape, np.nan)
    np.divide(counts, num_images, out=rates, where=num_images > 0)
    return rates


def class_metrics(counts: Ints) -> ClassMetrics:
    """Precision, recall and F1 of every class, from counts (K, A)."""
    num_classes = counts.shape[0]
    hits = np.diagonal(counts[:, :num_classes]).astype(np.float64)
    return _metrics_of(hits, counts.sum(axis=1), counts[:, :num_classes].sum(axis=0))


def accuracy_score(counts: Ints) -> float:
    """Share of images answered with their own class; NaN without images."""
    total = counts.sum()
    return float(np.trace(counts[:, : counts.shape[0]]) / total) if total else float("nan")


def macro_recall_score(counts: Ints) -> float:
    """Mean recall of the classes that have images; NaN without any."""
    return _nan_mean(class_metrics(counts).recall)


def bootstrap_intervals(
    true_indices: Ints,
    answer_indices: Ints,
    groups: Sequence[str],
    num_classes: int,
    *,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> BootstrapIntervals:
    """95 % percentile intervals from resampling groups with replacement (Efron and Tibshirani 1993, ch. 8 and 13).

    Pictures of one group rise and fall together, so it is groups that are drawn. With fewer than about twenty groups
    such intervals are too narrow.

    Args:
        true_indices: (N,), in [0, K).
        answer_indices: (N,), in [0, A).
        groups: N names.
        num_classes: K.
        num_replicates: B.
        seed: Of the resampling.
    """
    units = drawn_units(groups, seed)
    hits, support, answered = _group_counts(true_indices, answer_indices, units, num_classes)  # (G, K) each
    whole = _metrics_of(hits.sum(axis=0), support.sum(axis=0), answered.sum(axis=0))
    num_groups = len(hits)
    accuracies, macro_recalls = np.empty(num_replicates), np.empty(num_replicates)
    replicated = np.empty((num_replicates, 3, num_classes))
    generator = np.random.default_rng(seed)
    for replicate in range(num_replicates):
        drawn = generator.integers(num_groups, size=num_groups)
        weights = np.bincount(drawn, minlength=num_groups)  # (G,)
        sums = [weights @ part for part in (hits, support, answered)]
        metrics = _metrics_of(*sums)
        accuracies[replicate] = sums[0].sum() / max(sums[1].sum(), 1)
        macro_recalls[replicate] = _nan_mean(metrics.recall)
        replicated[replicate] = metrics.precision, metrics.recall, metrics.f1
    enough = num_groups > 1
    num_images = support.sum()
    accuracy = float(hits.sum() / num_images) if num_images else float("nan")

    def per_class(position: int, values: Floats) -> list[Interval]:
        return [percentile_interval(values[k], replicated[:, position, k], enough) for k in range(num_classes)]

    return BootstrapIntervals(
        accuracy=percentile_interval(accuracy, accuracies, enough),
        macro_recall=percentile_interval(_nan_mean(whole.recall), macro_recalls, enough),
        precision=per_class(0, whole.precision),
        recall=per_class(1, whole.recall),
        f1=per_class(2, whole.f1),
    )


def drawn_units(groups: Sequence[str], seed: int) -> Ints:
    """(N,) number of the unit that each picture is drawn with: its group, counted from 0, or several groups merged.

    Sums over independent groups are independent too, so intervals stay right, and with thousands of units their random
    error hardly grows; time and memory stop growing with the number of groups.

    Args:
        groups: N names.
        seed: Of the merging.
    """
    names, group_indices = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if len(names) <= MAX_UNITS:
        return group_indices
    merged = np.random.default_rng(seed).permutation(len(names)) % MAX_UNITS
    return np.asarray(merged[group_indices], dtype=np.int64)


def _group_counts(
    true_indices: Ints, answer_indices: Ints, units: Ints, num_classes: int
) -> tuple[Floats, Floats, Floats]:
    """Right answers, images and answers of each class in each unit, (G, K) each."""
    shape = (int(units.max(initial=-1)) + 1, num_classes)
    hits, support, answered = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    np.add.at(support, (units, true_indices), 1)
    right = true_indices == answer_indices
    np.add.at(hits, (units[right], true_indices[right]), 1)
    a_class = answer_indices < num_classes
    np.add.at(answered, (units[a_class], answer_indices[a_class]), 1)
    return hits, support, answered


def _metrics_of(hits: Floats, support: Floats | Ints, answered: Floats | Ints) -> ClassMetrics:
    """Precision, recall and F1 from right answers, images and answers, (K,) each."""
    has_images = support > 0
    f1 = np.where(has_images, ratio(2 * hits, support + answered), np.nan)
    return ClassMetrics(precision=ratio(hits, answered), recall=ratio(hits, support), f1=f1)


def ratio(numerator: Floats, denominator: Floats | Ints) -> Floats:
    """Quotients; NaN where there is nothing to divide by."""
    result = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=np.asarray(denominator) > 0)
    return result


def _nan_mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def percentile_interval(value: float, replicates: Floats, enough: bool = True) -> Interval:
    """A figure with the interval that holds 95 % of its replicates, (B,), NaN left out; none if not `enough`."""
    known = replicates[np.isfinite(replicates)]
    if not enough or np.isnan(value) or len(known) == 0:
        return Interval(float(value), float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
