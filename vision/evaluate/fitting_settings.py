"""Which of a bundle's promises recorded answers follow from, where rows were decided again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from vision.evaluate.evaluation import Evaluation
from vision.evaluate.report.review_data import DecisionSettings, Review, build_review, redecided_answers
from vision.taxonomy import Taxonomy


def fitting_settings(
    settings: DecisionSettings, evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy
) -> DecisionSettings | None:
    """The settings with the target and false alarms that the recorded answers follow from; None if there are none.

    Args:
        settings: Of the bundle that answered.
        evaluation: Of the table.
        table: Prediction rows with `true_label`, which may have been decided again.
        taxonomy: Families, roles, costs.
    """
    if not set(settings.classes) <= set(evaluation.matrix("class").true_ids):
        return None
    review = build_review(evaluation, table, taxonomy, settings)
    for candidate in _candidates(settings, review):
        now = redecided_answers(
            review.candidates,
            review.reached,
            review.novelty_rank,
            review.recorded,
            review.node_ids,
            candidate.roll_up_threshold,
            candidate.false_alarms,
        )
        if (now == review.recorded).all():
            return candidate
    return None


def _candidates(settings: DecisionSettings, review: Review) -> Iterator[DecisionSettings]:
    """The settings themselves, then every other target, with these false alarms and with those that answers allow."""
    is_answered = review.recorded < len(review.node_ids) - 2
    ranks = review.novelty_rank[is_answered & ~np.isnan(review.novelty_rank)]
    yield settings
    for false_alarms in (settings.false_alarms, *((1 - float(ranks.max()),) if len(ranks) else ())):
        for target in settings.targets:
            yield settings.model_copy(
                update={
                    "target_accuracy": target.target_accuracy,
                    "roll_up_threshold": target.threshold,
                    "false_alarms": false_alarms,
                }
            )
