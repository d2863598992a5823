"""Whether a bundle's promises are kept: label sets that hold the truth, answers that are right, few false alarms.

N pictures of known classes that the model was not trained on. The promises are about these, not about novel classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from vision.evaluate.answers import is_answered, is_flagged, is_right, stands_for_known
from vision.evaluate.calibration_metrics import Bools, Floats, group_mean_interval
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.taxonomy import Taxonomy


class Promises(Part):
    """What a bundle promises of pictures of its classes; None where that is not at hand.

    Attributes:
        target_accuracy: Least share of answers at class, family or role that are right.
        coverage: Least share of label sets that hold the truth.
        false_alarms: Largest share called unknown for novelty.
    """

    target_accuracy: Figure = None
    coverage: Figure = None
    false_alarms: Figure = None


class KeptPromise(Part):
    """A share, and what was promised of it.

    Attributes:
        promised: Share; None where that is not at hand.
        found: Share.
        num_images: Pictures that it is of.
    """

    promised: Figure
    found: FigureWithInterval
    num_images: int


class PromiseFigures(Part):
    """What was found of each promise; None where the rows cannot tell.

    Attributes:
        num_images: N.
        right: Of the answers at class, family or role, how many are right; at least what was promised is right.
        coverage: Label sets that hold the truth; likewise.
        set_size: Mean number of classes in a label set.
        flagged: Called unknown for novelty; at most what was promised is right.
    """

    num_images: int
    right: KeptPromise
    coverage: KeptPromise | None
    set_size: FigureWithInterval | None
    flagged: KeptPromise | None


def promise_figures(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    groups: Sequence[str],
    promises: Promises,
    *,
    num_replicates: int,
    seed: int,
) -> PromiseFigures | None:
    """What was found of the promises; None for rows that cannot tell of any, or without a picture of a known class.

    Args:
        table: Prediction rows with `true_label`.
        taxonomy: What is above each class.
        groups: One name a row.
        promises: Of the bundle that answered.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    if not {"level", "top", "novelty_rank", "label_set"} <= set(table.columns):
        return None
    rows = np.flatnonzero(stands_for_known(table))
    known, names = table[rows], np.asarray(groups, dtype=object)[rows]
    has_sets, has_ranks = (
        found.fill_null(False).to_numpy() for found in (known["label_set"].list.len() > 0, known["novelty_rank"] >= 0)
    )
    if not (has_sets.any() or has_ranks.any()):
        return None

    def figure(values: Floats | Bools, asked: Bools) -> FigureWithInterval:
        if not asked.any():
            return FigureWithInterval(value=None, low=None, high=None)
        interval = group_mean_interval(
            values[asked].astype(np.float64), names[asked].tolist(), num_replicates=num_replicates, seed=seed
        )
        return FigureWithInterval.of(interval)

    def kept(promised: float | None, values: Floats | Bools, asked: Bools) -> KeptPromise:
        return KeptPromise(promised=promised, found=figure(values, asked), num_images=int(asked.sum()))

    holds_truth = known.select(pl.col("label_set").list.contains(pl.col("true_label")).fill_null(False))
    sizes = known["label_set"].list.len().fill_null(0).to_numpy()
    answered, right = is_answered(known), is_right(known, taxonomy)
    flagged = is_flagged(known, promises.false_alarms)
    return PromiseFigures(
        num_images=len(known),
        right=kept(promises.target_accuracy, right, answered),
        coverage=kept(promises.coverage, holds_truth.to_series().to_numpy(), has_sets) if has_sets.any() else None,
        set_size=figure(sizes, has_sets) if has_sets.any() else None,
        flagged=kept(promises.false_alarms, flagged, has_ranks) if has_ranks.any() else None,
    )
