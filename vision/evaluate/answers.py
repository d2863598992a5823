"""What rows with their truth answer: rightly or not, for novelty or not, and which pictures stand for known ones.

N rows.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.taxonomy import Taxonomy

Bools = NDArray[np.bool_]

SAME_PICTURE_NOVELTY = 1e-5
"""Novelty below this is rounding: the picture is one of the training pictures, or decodes to the same pixels."""

NAMED_LEVELS = ("class", "family", "role")


def listed_classes(table: pl.DataFrame) -> pl.Series:
    """Ids of all classes in `top`: those that the model knows."""
    tops = table["top"].filter(table["top"].list.len() > 0)
    return tops.explode().struct.field("class_id").unique().sort()


def trained_on(table: pl.DataFrame) -> Bools:
    """(N,) pictures whose embedding is that of a training picture: the model knows them by heart."""
    if "novelty" not in table.columns:
        return np.zeros(len(table), dtype=np.bool_)
    return (table["novelty"] < SAME_PICTURE_NOVELTY).fill_null(False).to_numpy()


def stands_for_known(table: pl.DataFrame) -> Bools:
    """(N,) readable pictures of the model's classes that tell how it does on further ones.

    Those that it was trained on do not, and where there are some of the split `test`, those of other splits do not
    either: thresholds were fitted to them.
    """
    is_known = table["true_label"].is_in(listed_classes(table).implode()).fill_null(False).to_numpy()
    usable: Bools = is_known & (table["status"] == "ok").to_numpy() & ~trained_on(table)
    if "split" in table.columns:
        is_test = (table["split"] == "test").fill_null(False).to_numpy()
        if (usable & is_test).any():
            usable &= is_test
    return usable


def is_answered(table: pl.DataFrame) -> Bools:
    """(N,) whether the answer is a class, family or role."""
    return table["level"].is_in(NAMED_LEVELS).fill_null(False).to_numpy()


def is_right(table: pl.DataFrame, taxonomy: Taxonomy) -> Bools:
    """(N,) whether the answer is the true class, or the family or role that it is in."""
    truths = table["true_label"].unique().to_list()
    above = {
        "class": {truth: truth for truth in truths},
        "family": {truth: taxonomy.family_id(truth) for truth in truths},
        "role": {truth: taxonomy.role_id(truth) for truth in truths},
    }
    right = np.zeros(len(table), dtype=np.bool_)
    for level, node_of in above.items():
        nodes = table["true_label"].replace_strict(node_of, return_dtype=pl.String)
        right |= ((table["level"] == level) & (table["label"] == nodes)).fill_null(False).to_numpy()
    return right


def is_flagged(table: pl.DataFrame, false_alarms: float | None = None) -> Bools:
    """(N,) whether the answer is "unknown" because the picture is too novel, not because no class is sure.

    Args:
        table: Rows with `novelty_rank`.
        false_alarms: Share of known pictures that may be called unknown, which the rule follows from. Where it is not
            at hand: "unknown" and more novel than every picture that got an answer.
    """
    ranks = table["novelty_rank"].cast(pl.Float64).fill_null(-1.0).to_numpy()
    least = ranks[is_answered(table)].max(initial=0.0) if false_alarms is None else 1 - false_alarms
    flagged: Bools = (table["level"] == "unknown").fill_null(False).to_numpy() & (ranks > least)
    return flagged
