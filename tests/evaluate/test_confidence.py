"""Calibration and novelty of prediction rows: what counts, what is left out, and plain softmax from calibrated rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import scipy.special

from vision.bundle import Bundle
from vision.data.preprocessing import load_network_input
from vision.evaluate.calibration_metrics import brier_losses, nll_losses
from vision.evaluate.confidence import CalibrationFigures, NoveltyFigures, calibration_figures, novelty_figures
from vision.evaluate.evaluation import Evaluation
from vision.evaluate.outputs import EVALUATION_FILE
from vision.predictions import (
    PREDICTIONS_FILE,
    ClassProbability,
    Level,
    Prediction,
    load_predictions,
    predictions_table,
)
from vision.taxonomy import Taxonomy, load_taxonomy

KNOWN_TAXONOMY = load_taxonomy().restricted_to(["tor-m1", "shilka"]).model_dump()
LETTERS = [KNOWN_TAXONOMY["classes"][0] | {"id": letter, "covers": ()} for letter in "abz"]
TAXONOMY = Taxonomy.model_validate(KNOWN_TAXONOMY | {"classes": [*KNOWN_TAXONOMY["classes"], *LETTERS]})
"""Two classes as they are, and three with short names."""

PROBABILITIES = ({"a": 0.9, "b": 0.1}, {"b": 0.6, "a": 0.4}, {"a": 0.7, "b": 0.3}, {"b": 0.8, "a": 0.2})


def rows(tops: Sequence[dict[str, float]] = PROBABILITIES, truths: str = "abbb") -> pl.DataFrame:
    listed = [tuple(ClassProbability(*item) for item in top.items()) for top in tops]
    predictions = [Prediction("x", "", "ok", label=top[0].class_id, level="class", top=top) for top in listed]
    return predictions_table(predictions).with_columns(true_label=pl.Series(list(truths)))


def ranked(*ranks: float, truths: str, flagged_from: float = 2.0) -> pl.DataFrame:
    def row(rank: float) -> Prediction:
        level: Level = "unknown" if rank >= flagged_from else "class"
        top = (ClassProbability("a", 0.6), ClassProbability("b", 0.4))
        probability = rank if level == "unknown" else 0.6
        return Prediction("x", "", "ok", label="a", level=level, probability=probability, top=top, novelty_rank=rank)

    return predictions_table(map(row, ranks)).with_columns(true_label=pl.Series(list(truths)))


def calibrated(table: pl.DataFrame) -> CalibrationFigures | None:
    return calibration_figures(
        table, TAXONOMY, [str(number) for number in range(len(table))], num_replicates=200, seed=0
    )


def novelty(table: pl.DataFrame) -> NoveltyFigures | None:
    return novelty_figures(table, [str(number) for number in range(len(table))], num_replicates=200, seed=0)


def test_figures_are_those_of_the_formulas_whatever_the_order_of_top() -> None:
    table = rows()
    figures = calibrated(table)
    matrix, truth = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]), np.array([0, 1, 1, 1])
    assert figures is not None
    assert figures.after.nll.value == pytest.approx(nll_losses(matrix, truth).mean())
    assert figures.after.brier.value == pytest.approx(brier_losses(matrix, truth).mean())
    assert figures.after.calibration_error.value == pytest.approx((0.1 + 0.4 + 0.7 + 0.2) / 4)
    assert sum(each.num_images for each in figures.after.bins) == figures.num_images == 4
    assert figures.risk_coverage.risk[-1] == 0.25


def test_intervals_hold_their_figures() -> None:
    generator = np.random.default_rng(0)
    tops = [{"a": p, "b": 1 - p} for p in generator.random(200)]
    truths = "".join("a" if generator.random() < top["a"] else "b" for top in tops)
    table = rows(tops, truths)
    figures = calibrated(table)
    assert figures is not None
    for figure in (figures.after.nll, figures.after.brier, figures.risk_coverage.area):
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < (figure.value or 0) < figure.high < 2 * figure.low + 0.2


def with_logits(table: pl.DataFrame, logits: list[list[float | None]]) -> pl.DataFrame:
    return table.with_columns(pl.Series("logits", logits, dtype=pl.List(pl.Float64)))


def test_plain_softmax_is_that_of_the_logits_in_the_order_of_the_model() -> None:
    table = with_logits(rows(), [[0.0, 2.0], [1.0, 0.0], [0.5, 0.0], [None, 0.0]])
    # None is what JSON has for the logit of a class that was not learnt.
    groups = [str(number) for number in range(4)]
    figures = calibration_figures(table, TAXONOMY, groups, classes=("b", "a"), num_replicates=20, seed=0)
    plain = scipy.special.softmax([[2.0, 0.0], [0.0, 1.0], [0.0, 0.5], [0.0, -np.inf]], axis=1)
    assert figures is not None
    assert figures.before is not None
    assert figures.before.nll.value == pytest.approx(nll_losses(plain, np.array([0, 1, 1, 1])).mean())


def test_rows_without_all_logits_say_nothing_of_plain_softmax() -> None:
    for table in (rows(), with_logits(rows(), [[0.0, 1.0], [0.0, 1.0], [0.0], []])):
        figures = calibrated(table)
        assert figures is not None
        assert figures.before is None


def test_answers_are_judged_by_their_own_probability_at_their_own_level() -> None:
    family, role = TAXONOMY.family_id("tor-m1"), TAXONOMY.role_id("tor-m1")
    top = (ClassProbability("tor-m1", 0.5), ClassProbability("shilka", 0.5))

    def row(label: str, level: Level, probability: float) -> Prediction:
        return Prediction("x", "", "ok", label=label, level=level, probability=probability, top=top)

    answers = [row(family, "family", 0.9), row(role, "role", 0.95), row("shilka", "class", 0.5)]
    unsure = [row("unknown", "unknown", 0.99)] * 2
    table = predictions_table([*answers, *unsure]).with_columns(true_label=pl.lit("tor-m1"))
    figures = calibrated(table)
    assert figures is not None
    assert figures.answers is not None
    assert figures.answers.num_answers == 3
    assert figures.answers.calibration_error.value == pytest.approx((abs(2 - 0.9 - 0.95) + 0.5) / 3)
    assert sum(each.num_images for each in figures.answers.bins) == 3


def test_without_answers_there_is_nothing_to_judge_of_them() -> None:
    figures = calibrated(rows().with_columns(label=pl.lit("unknown"), level=pl.lit("unknown")))
    assert figures is not None
    assert figures.answers is None


def test_pictures_of_novel_classes_and_unreadable_ones_do_not_count() -> None:
    failed = predictions_table([Prediction("x", "", "error")]).with_columns(true_label=pl.lit("a"))
    table = pl.concat([rows(truths="abbz"), failed])
    figures = calibrated(table)
    assert figures is not None
    assert figures.num_images == 3


CANNOT_TELL = {"novel": rows(truths="zzzz"), "part": rows(({"a": 0.7, "b": 0.1},), "a"), "none": rows().filter(False)}


@pytest.mark.parametrize("table", CANNOT_TELL.values(), ids=CANNOT_TELL.keys())
def test_rows_that_cannot_tell_have_no_figures(table: pl.DataFrame) -> None:
    assert calibrated(table) is None


def test_a_long_curve_is_thinned_and_ends_with_all_pictures() -> None:
    generator = np.random.default_rng(1)
    tops = [{"a": p, "b": 1 - p} for p in generator.random(1000)]
    table = rows(tops, "a" * 1000)
    figures = calibrated(table)
    assert figures is not None
    curve = figures.risk_coverage
    assert len(curve.coverage) == len(curve.risk) == 100
    assert (curve.coverage[0], curve.coverage[-1]) == (0.01, 1)


def test_novelty_counts_known_and_novel_pictures_and_finds_the_threshold() -> None:
    figures = novelty(ranked(0.02, 0.5, 0.97, 0.96, 0.99, truths="aabzz", flagged_from=0.96))
    assert figures is not None
    assert (sum(figures.known), sum(figures.novel)) == (3, 2)
    assert (figures.known[0], figures.known[-1], figures.novel[-1]) == (1, 1, 2)
    assert figures.threshold == 0.96
    assert figures.auroc.value == pytest.approx(5 / 6)
    assert figures.known_flagged_at_95.value == pytest.approx(1 / 3)


def test_novelty_stands_beside_scores_of_probabilities_with_intervals() -> None:
    generator = np.random.default_rng(0)
    ranks, truths = generator.random(60), "a" * 40 + "z" * 20
    ranks[40:] = 0.6 + 0.4 * ranks[40:]
    figures = novelty(ranked(*ranks, truths=truths))
    assert figures is not None
    assert set(figures.others) == {"maximum softmax", "entropy"}
    softmax = figures.others["maximum softmax"]
    assert softmax.auroc.value == 0.5  # all pictures have the same probabilities
    assert softmax.auroc_gain.value == pytest.approx((figures.auroc.value or 0) - 0.5)
    assert 0 < (softmax.auroc_gain.low or 0) < (softmax.auroc_gain.value or 0) < (softmax.auroc_gain.high or 0)


def test_other_scores_are_those_of_the_logits_if_the_rows_have_them_energy_among_them() -> None:
    table = with_logits(ranked(0.1, 0.2, 0.3, truths="aaz"), [[4.0, 0.0], [5.0, 0.0], [0.0, 0.0]])
    figures = novelty(table)
    assert figures is not None
    assert {name: score.auroc.value for name, score in figures.others.items()} == dict.fromkeys(
        ("maximum softmax", "entropy", "energy"), 1.0
    )


def test_pictures_that_were_trained_on_are_not_known_ones() -> None:
    table = ranked(0.0, 0.6, 0.5, truths="abz").with_columns(novelty=pl.Series([1e-7, 0.2, 0.3]))
    figures = novelty(table)
    assert figures is not None
    assert (sum(figures.known), sum(figures.novel)) == (1, 1)
    assert figures.auroc.value == 0.0


def test_where_there_is_a_test_split_it_alone_stands_for_known_pictures() -> None:
    splits = pl.Series("split", ["calibration", "test", "novel"])
    figures = novelty(ranked(0.9, 0.1, 0.5, truths="aaz").with_columns(splits))
    assert figures is not None
    assert figures.auroc.value == 1.0
    others = novelty(ranked(0.9, 0.1, 0.5, truths="aaz").with_columns(splits.replace("test", "calibration")))
    assert others is not None
    assert others.auroc.value == 0.5


def test_an_unknown_for_want_of_a_sure_class_is_no_flag_of_novelty() -> None:
    """Its probability may be anything, that of the rank included."""
    table = ranked(0.3, 0.4, 0.97, truths="aaz", flagged_from=0.3)
    assert novelty_figures(table, ["1", "2", "3"], false_alarms=0.05, num_replicates=20, seed=0).threshold == 0.97  # type: ignore[union-attr]


def test_without_novel_pictures_or_flags_there_is_no_area_and_no_threshold() -> None:
    figures = novelty(ranked(0.1, 0.9, truths="ab"))
    assert figures is not None
    assert (figures.threshold, figures.auroc.value, figures.known_flagged_at_95.value) == (None, None, None)
    assert novelty(rows()) is None


def test_an_evaluation_tells_the_plain_softmax_of_the_graph(drawn_run: Path, bundle: Bundle) -> None:
    evaluated = drawn_run / "run" / "evaluation"
    table = load_predictions(evaluated / PREDICTIONS_FILE)
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    losses = []
    for row in table.iter_rows(named=True):
        pixels = load_network_input(drawn_run / "data" / row["file_name"], bundle.info.preprocessing)
        (logits,) = session.run(["logits"], {"images": pixels[None]})
        losses.append(-scipy.special.log_softmax(logits[0])[bundle.info.classes.index(row["true_label"])])
    before = Evaluation.model_validate_json((evaluated / EVALUATION_FILE).read_bytes()).calibration.before  # type: ignore[union-attr]
    assert before is not None
    assert before.nll.value == pytest.approx(np.mean(losses), abs=1e-5)
