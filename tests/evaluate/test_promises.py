"""What became of a bundle's promises: counted by hand, for known pictures alone, beside what was promised."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.outputs import KNOWN_FILE, REPORT_PAGE, recorded_known, recorded_settings, write_evaluation
from vision.evaluate.promises import PromiseFigures, Promises, promise_figures
from vision.evaluate.report.review_data import DecisionSettings
from vision.predictions import ClassProbability, Level, Prediction, predictions_table
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
PROMISES = Promises(target_accuracy=0.95, coverage=0.9, false_alarms=0.05)
TOP = (ClassProbability("tor-m1", 0.7), ClassProbability("shilka", 0.3))


def row(label: str, level: Level = "class", sets: tuple[str, ...] = ("tor-m1",), rank: float = 0.5) -> Prediction:
    return Prediction(
        "x.jpg", "", "ok", label=label, level=level, probability=0.7, top=TOP, label_set=sets, novelty=0.2,
        novelty_rank=rank,
    )  # fmt: skip


ROWS = [
    row("tor-m1"),
    row(TAXONOMY.family_id("tor-m1"), "family", sets=("tor-m1", "shilka")),
    row("shilka", sets=("shilka",)),
    row("unknown", "unknown", rank=0.96),
    row("unknown", "unknown", sets=("shilka", "tor-m1"), rank=0.2),
]


def figures(rows: list[Prediction], truth: str = "tor-m1", promises: Promises = PROMISES) -> PromiseFigures | None:
    table = predictions_table(rows).with_columns(true_label=pl.lit(truth))
    groups = [str(number // 2) for number in range(len(rows))]
    return promise_figures(table, TAXONOMY, groups, promises, num_replicates=200, seed=0)


def test_each_promise_stands_beside_what_was_found_with_an_interval() -> None:
    found = figures(ROWS)
    assert found is not None
    assert (found.num_images, found.right.num_images) == (5, 3)
    assert (found.right.promised, found.right.found.value) == (0.95, pytest.approx(2 / 3))
    assert found.coverage is not None
    assert (found.coverage.promised, found.coverage.found.value) == (0.9, pytest.approx(0.8))
    assert found.set_size is not None
    assert found.set_size.value == pytest.approx(7 / 5)
    assert found.flagged is not None
    assert (found.flagged.promised, found.flagged.found.value) == (0.05, pytest.approx(0.2))
    assert (found.coverage.found.low or 0) < 0.8 < (found.coverage.found.high or 0)


def test_novel_trained_and_unreadable_pictures_do_not_count() -> None:
    trained = replace(row("shilka", sets=("shilka",)), novelty=0.0)
    broken = Prediction("x.jpg", "", "error", error="broken")
    found = figures([*ROWS, trained, broken])
    assert found is not None
    assert found.num_images == 5
    assert figures(ROWS, truth="gepard") is None


def test_without_the_bundle_what_was_promised_is_not_known_and_what_was_found_is() -> None:
    found = figures(ROWS, promises=Promises())
    assert found is not None
    assert found.coverage is not None
    assert found.coverage.promised is None
    assert found.flagged is not None
    assert found.flagged.found.value == pytest.approx(0.2)  # more novel than every answered picture


def test_rows_of_a_plain_classifier_promise_nothing() -> None:
    assert figures([replace(each, label_set=(), novelty_rank=None) for each in ROWS]) is None


def test_known_pictures_beside_count_for_novelty_and_promises_and_nowhere_else() -> None:
    novel = predictions_table([row("unknown", "unknown", rank=0.99)]).with_columns(true_label=pl.lit("gepard"))
    beside = predictions_table(ROWS).with_columns(true_label=pl.lit("tor-m1"), split=pl.lit("test"))
    known = ("tor-m1", "shilka")
    evaluation = evaluate_predictions(
        novel, TAXONOMY, title="t", known_classes=known, promises=PROMISES, known=beside, num_replicates=20
    )
    assert evaluation.num_images == 1
    assert evaluation.novelty is not None
    assert evaluation.novelty.auroc.value == 1.0
    assert evaluation.promises is not None
    assert evaluation.promises.num_images == 5


def test_the_page_shows_promises_and_a_report_made_again_has_the_known_pictures(tmp_path: Path) -> None:
    settings = DecisionSettings(
        classes=("tor-m1", "shilka"),
        unknown_share=0.1,
        novelty_exponent=1.0,
        false_alarms=0.05,
        target_accuracy=0.95,
        confidence=0.9,
        roll_up_threshold=0.8,
        use_costs=False,
        targets=(),
        coverage=0.9,
    )
    novel = predictions_table([row("unknown", "unknown", rank=0.99)]).with_columns(true_label=pl.lit("gepard"))
    beside = predictions_table(ROWS).with_columns(true_label=pl.lit("tor-m1"))
    beside.write_parquet(tmp_path / KNOWN_FILE)
    write_evaluation(
        novel, TAXONOMY, tmp_path, title="t", images_dir=None, known_classes=("tor-m1", "shilka"), settings=settings,
        known=recorded_known(tmp_path),
    )  # fmt: skip
    page = " ".join((tmp_path / REPORT_PAGE).read_text(encoding="utf-8").split())
    assert "Are the promises kept?" in page
    assert "Of 5 pictures of classes that the model knows" in page
    assert re.search(r"label sets that hold the truth</td><td>at least 90\.0\s*%", page)
    assert re.search(r"called unknown for novelty</td><td>at most 5\.0\s*%", page)
    assert recorded_settings(tmp_path) == settings
