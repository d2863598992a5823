"""Costs of answers: by hand, and what the model expects of itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from vision.evaluate.costs import CostFigures, answer_costs, cost_figures
from vision.predictions import ClassProbability, Level, Prediction, predictions_table
from vision.taxonomy import Taxonomy

CLASSES = ("tor-m1", "tor-m2", "buk-m1", "t-72")


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    parents = {"tor-m1": "tor", "tor-m2": "tor", "buk-m1": "buk", "t-72": "t-72-family"}
    roles = {"tor": "missile", "buk": "missile", "t-72-family": "tank"}
    return Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": "missile", "name": "Missile system"}, {"id": "tank", "name": "Tank"}],
            "families": [{"id": family, "role": role, "name": family} for family, role in roles.items()],
            "classes": [{"id": c, "family": f, "names": [c.upper()]} for c, f in parents.items()],
            "costs": [{"true_class": "tor-m1", "predicted_class": "t-72", "cost": 20}],
        }
    )


def answer(label: str, level: Level, *probabilities: float) -> Prediction:
    order = sorted(zip(CLASSES, probabilities, strict=False), key=lambda item: -item[1])
    return Prediction("x", "", "ok", label=label, level=level, top=tuple(ClassProbability(*item) for item in order))


def figures_of(taxonomy: Taxonomy, rows: list[tuple[str, Prediction]]) -> CostFigures:
    table = predictions_table(row for _, row in rows).with_columns(true_label=pl.Series([truth for truth, _ in rows]))
    answers = [row.label if row.status == "ok" else "no answer" for _, row in rows]
    groups = [str(number) for number in range(len(rows))]
    return cost_figures(table, taxonomy, CLASSES, answers, groups, num_replicates=100, seed=0)


def test_costs_of_classes_are_the_taxonomys_and_those_above_cost_as_their_cheapest_class(taxonomy: Taxonomy) -> None:
    costs = answer_costs(taxonomy, CLASSES, ["t-72", "tor", "missile", "tank", "unknown", "no answer"])
    assert costs.tolist() == [
        [20, 0, 0, 20, 0, 0],  # tor-m1: the stated cost, also by the role of the tank
        [3, 0, 0, 3, 0, 0],
        [3, 2, 0, 3, 0, 0],
        [0, 3, 3, 0, 0, 0],
    ]


def test_realised_and_expected_costs_by_hand(taxonomy: Taxonomy) -> None:
    rows = [
        ("tor-m1", answer("t-72", "class", 0.3, 0.1, 0.0, 0.6)),
        ("tor-m1", answer("tor", "family", 0.5, 0.5, 0.0, 0.0)),
        ("buk-m1", answer("unknown", "unknown", 0.0, 0.0, 0.5, 0.5)),
        ("tor-m2", answer("tor-m1", "class", 0.9, 0.1, 0.0, 0.0)),
    ]
    figures = figures_of(taxonomy, rows)
    assert figures.realised.value == pytest.approx((20 + 0 + 0 + 1) / 4)
    assert figures.expected is not None
    assert figures.expected.value == pytest.approx((0.3 * 20 + 0.1 * 3 + 0.1 * 1) / 4)
    assert figures.most_probable is not None
    assert figures.most_probable.value == pytest.approx((20 + 0 + 0 + 1) / 4)
    worst = figures.pairs[0]
    assert (worst.true_id, worst.answer_id, worst.num_images, worst.cost, worst.realised) == (
        "tor-m1",
        "t-72",
        1,
        20,
        20,
    )
    assert worst.expected == pytest.approx(0.3 * 20)


def test_a_class_that_the_model_does_not_know_counts_in_all_pictures_alone(taxonomy: Taxonomy) -> None:
    rows = [("t-72", answer("tor-m1", "class", 0.7, 0.3)), ("tor-m1", answer("tor-m1", "class", 0.7, 0.3))]
    figures = figures_of(taxonomy, rows)
    assert figures.realised.value == 1.5
    assert figures.realised_known is not None
    assert figures.realised_known.value == 0
    assert figures.expected is not None
    assert figures.expected.value == pytest.approx(0.3)
    assert figures.pairs[0].expected is None


def test_expected_costs_of_honest_probabilities_are_the_realised_ones(taxonomy: Taxonomy) -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([0.5] * 4, 4000)
    truths = [CLASSES[generator.choice(4, p=row)] for row in probabilities]
    rows = [(t, answer(CLASSES[p.argmax()], "class", *p)) for t, p in zip(truths, probabilities, strict=True)]
    figures = figures_of(taxonomy, rows)
    assert figures.expected is not None
    assert figures.realised.low is not None
    assert figures.realised.high is not None
    assert figures.realised.low < (figures.expected.value or 0) < figures.realised.high


def test_without_all_classes_nothing_is_expected(taxonomy: Taxonomy) -> None:
    partial = Prediction("x", "", "ok", label="tor-m1", level="class", top=(ClassProbability("tor-m1", 0.6),))
    broken = Prediction("y", "", "error", error="cut off")
    figures = figures_of(taxonomy, [("tor-m2", partial), ("tor-m2", broken)])
    assert (figures.realised.value, figures.expected, figures.realised_known) == (0.5, None, None)
    assert figures.pairs[0].expected is None
