"""What wrong answers cost, by the taxonomy's costs, and what the model expects them to cost.

A family or role costs as the cheapest of its classes, so nothing where the truth is in it; "unknown" and pictures
without an answer name nothing and cost nothing. So costs fall also where a model keeps silent: read them beside the
share answered.

N pictures, K classes, A answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from vision.evaluate.calibration_metrics import Bools, Floats, Ints, group_mean_interval
from vision.evaluate.confidence import class_probabilities
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.predictions import most_probable_classes
from vision.taxonomy import Taxonomy


class CostlyPair(Part):
    """A confusion and its cost.

    Attributes:
        true_id: The class.
        answer_id: What was answered.
        num_images: How often.
        cost: Of one such answer.
        realised: Of all of them.
        expected: What the probabilities of all pictures with this answer say that they cost for this truth; None
            without probabilities of all classes, or where the truth is a class that the model does not know.
    """

    true_id: str
    answer_id: str
    num_images: int
    cost: float
    realised: float
    expected: Figure


class CostFigures(Part):
    """Costs a picture.

    Attributes:
        realised: Mean over all pictures.
        most_probable: Mean, had the most probable class been named on each picture; None where it is not told.
        realised_known: Mean over pictures of classes that the model knows; comparable to `expected`.
        expected: Mean over the same by the model's own probabilities; None where it does not list all classes.
        pairs: Costly confusions, the costliest first.
    """

    realised: FigureWithInterval
    most_probable: FigureWithInterval | None
    realised_known: FigureWithInterval | None
    expected: FigureWithInterval | None
    pairs: tuple[CostlyPair, ...]


def answer_costs(taxonomy: Taxonomy, class_ids: Sequence[str], answer_ids: Sequence[str]) -> Floats:
    """(K, A) cost of each answer for each truth.

    Args:
        taxonomy: Costs, families, roles.
        class_ids: K classes; a family or role stands for those of its classes that are among them.
        answer_ids: A classes, families, roles, or anything else, which costs nothing.
    """
    of_classes = taxonomy.cost_matrix(class_ids)
    families = np.array([taxonomy.family_id(class_id) for class_id in class_ids])
    roles = np.array([taxonomy.role_id(class_id) for class_id in class_ids])
    costs = np.zeros((len(class_ids), len(answer_ids)))
    for column, answer in enumerate(answer_ids):
        for names in (np.array(class_ids), families, roles):
            if (names == answer).any():
                costs[:, column] = of_classes[:, names == answer].min(axis=1)
                break
    return costs


def cost_figures(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    class_ids: Sequence[str],
    answers: Sequence[str],
    groups: Sequence[str],
    *,
    num_replicates: int,
    seed: int,
) -> CostFigures:
    """Costs of N answers.

    Args:
        table: Prediction rows with `true_label`.
        taxonomy: Costs, families, roles.
        class_ids: K classes, in which those of all truths, `top` and class answers are.
        answers: N ids.
        groups: N names.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    answer_ids = sorted(set(answers))
    costs = answer_costs(taxonomy, class_ids, answer_ids)
    column_of = {answer: column for column, answer in enumerate(answer_ids)}
    row_of = {class_id: row for row, class_id in enumerate(class_ids)}
    truth = np.array([row_of[label] for label in table["true_label"]], dtype=np.int64)
    given = np.array([column_of[answer] for answer in answers], dtype=np.int64)
    realised, all_rows = costs[truth, given], np.arange(len(truth))

    def mean(values: Floats, rows: Ints) -> FigureWithInterval:
        of_rows = [groups[row] for row in rows]
        return FigureWithInterval.of(
            group_mean_interval(values[rows], of_rows, num_replicates=num_replicates, seed=seed)
        )

    forced = _forced_costs(table, taxonomy.cost_matrix(class_ids), truth, row_of)
    probabilities = class_probabilities(table, class_ids)
    known = np.flatnonzero(_is_known(table)) if probabilities is not None else np.empty(0, dtype=np.int64)
    expected = None if probabilities is None else (probabilities * costs[:, given].T).sum(axis=1)
    return CostFigures(
        realised=mean(realised, all_rows),
        most_probable=None if forced is None else mean(forced, all_rows),
        realised_known=mean(realised, known) if len(known) else None,
        expected=mean(expected, known) if expected is not None and len(known) else None,
        pairs=_pairs(costs, class_ids, answer_ids, truth, given, probabilities),
    )


def _forced_costs(table: pl.DataFrame, costs: Floats, truth: Ints, row_of: dict[str, int]) -> Floats | None:
    """(N,) had the most probable class been named; 0 for pictures that could not be read."""
    first = most_probable_classes(table)
    if first is None:
        return None
    named = first.replace_strict(row_of, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
    return np.where(named >= 0, costs[truth, named], 0.0)


def _is_known(table: pl.DataFrame) -> pl.Series:
    """Whether a row has an answer and its truth is among the classes that it lists."""
    listed = pl.col("top").list.eval(pl.element().struct.field("class_id"))
    return table.select(listed.list.contains(pl.col("true_label")).fill_null(False)).to_series()


def _pairs(
    costs: Floats,
    class_ids: Sequence[str],
    answer_ids: Sequence[str],
    truth: Ints,
    given: Ints,
    probabilities: Floats | None,
) -> tuple[CostlyPair, ...]:
    counts = np.zeros(costs.shape, dtype=np.int64)
    np.add.at(counts, (truth, given), 1)
    by_answer: Floats = np.zeros(costs.shape)
    if probabilities is not None:
        for column in range(len(answer_ids)):
            by_answer[:, column] = probabilities[given == column].sum(axis=0)
    is_modelled: Bools = np.asarray(by_answer.any(axis=1))
    pairs = [
        CostlyPair(
            true_id=class_ids[row],
            answer_id=answer_ids[column],
            num_images=int(counts[row, column]),
            cost=float(costs[row, column]),
            realised=float(counts[row, column] * costs[row, column]),
            expected=float(by_answer[row, column] * costs[row, column]) if is_modelled[row] else None,
        )
        for row, column in np.argwhere((counts > 0) & (costs > 0))
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.realised, -pair.cost, pair.true_id, pair.answer_id)))
