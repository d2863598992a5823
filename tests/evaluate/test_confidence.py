"""Calibration and novelty of prediction rows: what counts, what is left out, and plain softmax from calibrated rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import scipy.special

from vision.bundle import Bundle, BundleInfo
from vision.classify.decision import bundle_probabilities
from vision.data.preprocessing import load_network_input
from vision.evaluate.calibration_metrics import brier_losses, nll_losses
from vision.evaluate.confidence import (
    UNCALIBRATED,
    CalibrationFigures,
    NoveltyFigures,
    calibration_figures,
    novelty_figures,
)
from vision.evaluate.run import PREDICTIONS_FILE, uncalibrated_probabilities
from vision.predictions import ClassProbability, Level, Prediction, load_predictions, predictions_table

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
    return calibration_figures(table, [str(number) for number in range(len(table))], num_replicates=200, seed=0)


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


def test_plain_softmax_is_judged_if_the_rows_have_it() -> None:
    plain = pl.Series(UNCALIBRATED, [[0.5, 0.5]] * 4)
    table = rows().with_columns(plain)
    figures = calibrated(table)
    assert figures is not None
    assert figures.before is not None
    assert figures.before.brier.value == pytest.approx(0.5)
    assert calibrated(rows()).before is None  # type: ignore[union-attr]


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


def test_scores_of_probabilities_are_those_of_plain_softmax_if_the_rows_have_it() -> None:
    table = ranked(0.1, 0.2, 0.3, truths="aaz").with_columns(
        pl.Series(UNCALIBRATED, [[0.9, 0.1], [1.0, 0.0], [0.5, 0.5]])
    )
    figures = novelty(table)
    assert figures is not None
    assert [score.auroc.value for score in figures.others.values()] == [1, 1]


def test_without_novel_pictures_or_flags_there_is_no_area_and_no_threshold() -> None:
    figures = novelty(ranked(0.1, 0.9, truths="ab"))
    assert figures is not None
    assert (figures.threshold, figures.auroc.value, figures.known_flagged_at_95.value) == (None, None, None)
    assert novelty(rows()) is None


def with_calibration(info: BundleInfo, scale: list[float], bias: list[float]) -> BundleInfo:
    assert info.decision is not None
    return info.model_copy(
        update={"decision": info.decision.model_copy(update={"scale": tuple(scale), "bias": tuple(bias)})}
    )


def test_calibration_with_one_scale_is_undone_exactly(bundle: Bundle) -> None:
    num_classes = len(bundle.info.classes)
    logits = np.random.default_rng(0).normal(0, 5, (50, num_classes))
    logits[:, 0] = -np.inf  # a class that training did not learn
    info = with_calibration(bundle.info, [0.4] * num_classes, [0.1 * k for k in range(num_classes)])
    plain = uncalibrated_probabilities(bundle_probabilities(logits, info), info)
    assert plain is not None
    np.testing.assert_allclose(plain, scipy.special.softmax(logits, axis=1), rtol=1e-9, atol=1e-12)


def test_vector_scaling_cannot_be_undone(bundle: Bundle) -> None:
    num_classes = len(bundle.info.classes)
    info = with_calibration(bundle.info, [1.0] * (num_classes - 1) + [1.1], [0.0] * num_classes)
    assert uncalibrated_probabilities(np.full(num_classes, 1 / num_classes), info) is None


def test_an_evaluation_keeps_the_plain_softmax_of_the_graph(drawn_run: Path, bundle: Bundle) -> None:
    table = load_predictions(drawn_run / "run" / "evaluation" / PREDICTIONS_FILE)
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    for row in table.head(5).iter_rows(named=True):
        pixels = load_network_input(drawn_run / "data" / row["file_name"], bundle.info.preprocessing)
        (logits,) = session.run(["logits"], {"images": pixels[None]})
        plain = dict(zip(bundle.info.classes, scipy.special.softmax(logits[0]).tolist(), strict=True))
        assert row[UNCALIBRATED] == pytest.approx([plain[item["class_id"]] for item in row["top"]], abs=1e-6)
