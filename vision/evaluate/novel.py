"""What a model answers for classes that it never saw: the question of the incident."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import polars as pl

from vision.classify.decision import calibrated_probabilities
from vision.evaluate.confidence import plain_logits
from vision.evaluate.parts import Part
from vision.predictions import read_rows
from vision.taxonomy import Taxonomy

CONFIDENT = 0.9
"""From this probability on a wrong name counts as confident."""


class NovelClassFigures(Part):
    """Answers for the pictures of one class that the model was not trained on. Shares are of all its pictures.

    Attributes:
        class_id: The class.
        num_images: Its pictures, unreadable ones included.
        unknown: Answered "unknown".
        right_above: Answered with the family or role that is right.
        wrong_above: Answered with another family or role.
        wrong_class: Answered with the name of a class, which must be wrong.
        confident_wrong_class: Of these, with a probability of 90 % or more.
        softmax_confident: Plain softmax gives a class 90 % or more; None where rows do not hold the logits.
        named: Answered ids and how often, most often first.
        most_probable: The most probable class and how often, most often first: what a closed set answers.
    """

    class_id: str
    num_images: int
    unknown: float
    right_above: float
    wrong_above: float
    wrong_class: float
    confident_wrong_class: float
    softmax_confident: float | None
    named: tuple[tuple[str, int], ...]
    most_probable: tuple[tuple[str, int], ...]


def novel_figures(table: pl.DataFrame, known_classes: Collection[str], taxonomy: Taxonomy) -> list[NovelClassFigures]:
    """Figures of every true class that is not among `known_classes`, most dangerous first.

    Dangerous is a wrong name that sounds sure; then any wrong name.
    """
    figures = []
    for (class_id,), rows in table.group_by(["true_label"], maintain_order=True):
        if not isinstance(class_id, str) or class_id in known_classes:
            continue
        right = {taxonomy.family_id(class_id), taxonomy.role_id(class_id)}
        predictions = [row for row in read_rows(rows) if row.status == "ok"]
        count = len(rows)

        def share(hits: list[bool], count: int = count) -> float:
            return sum(hits) / count

        is_class = [row.level == "class" for row in predictions]
        is_above = [row.level in ("family", "role") for row in predictions]
        sure = [(row.probability or 0) >= CONFIDENT for row in predictions]
        logits = plain_logits(rows.filter(pl.col("status") == "ok"), len(known_classes))
        figures.append(
            NovelClassFigures(
                class_id=class_id,
                num_images=count,
                unknown=share([row.level == "unknown" for row in predictions]),
                right_above=share([a and row.label in right for a, row in zip(is_above, predictions, strict=True)]),
                wrong_above=share([a and row.label not in right for a, row in zip(is_above, predictions, strict=True)]),
                wrong_class=share(is_class),
                confident_wrong_class=share([c and s for c, s in zip(is_class, sure, strict=True)]),
                softmax_confident=(
                    None
                    if logits is None
                    else share((calibrated_probabilities(logits, 1.0).max(axis=1) >= CONFIDENT).tolist())
                ),
                named=tuple(Counter(row.label for row in predictions).most_common()),
                most_probable=tuple(Counter(row.top[0].class_id for row in predictions if row.top).most_common()),
            )
        )
    return sorted(figures, key=lambda f: (-f.confident_wrong_class, -f.wrong_class, f.class_id))
