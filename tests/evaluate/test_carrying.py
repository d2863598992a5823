"""What of an evaluation is kept where its rows are reported again with other answers or other labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision

from vision.bundle import load_bundle
from vision.data.manifest import load_manifest
from vision.evaluate.evaluation import Evaluation
from vision.evaluate.fitting_settings import fitting_settings
from vision.evaluate.gates import GATES_FILE, JUNIT_FILE
from vision.evaluate.near_duplicates import FlatteryFigures, NearDuplicate, flattery_of_now
from vision.evaluate.out_of_fold import evaluate_out_of_fold
from vision.evaluate.outputs import (
    PDF_FILE,
    REPORT_PAGE,
    SETTINGS_FILE,
    recorded_card,
    recorded_evaluation,
    recorded_settings,
    recorded_taxonomy,
)
from vision.evaluate.parts import FigureWithInterval
from vision.predictions import PREDICTIONS_FILE, load_predictions
from vision.taxonomy import load_taxonomy

CARD = "MODEL_CARD.md"


@pytest.fixture
def evaluation_dir(drawn_run: Path, tmp_path: Path) -> Path:
    """An evaluation with its card, beside which earlier gates and an earlier PDF lie."""
    folder = Path(shutil.copytree(drawn_run / "run" / "evaluation", tmp_path / "evaluation"))
    for name in (GATES_FILE, JUNIT_FILE, PDF_FILE):
        (folder / name).write_text("earlier")
    return folder


def _recorded(folder: Path) -> Evaluation:
    evaluation = recorded_evaluation(folder)
    assert evaluation is not None
    return evaluation


def _mended_manifest(drawn_run: Path, tmp_path: Path) -> Path:
    """The manifest with a label of the split test changed."""
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    manifest = data / "manifest.csv"
    text = manifest.read_text()
    assert "buk-m1-12.jpg,buk-m1," in text
    manifest.write_text(text.replace("buk-m1-12.jpg,buk-m1,", "buk-m1-12.jpg,shilka,"))
    return manifest


def test_a_report_into_an_evaluation_renews_its_card_and_removes_gates_and_pdf(evaluation_dir: Path) -> None:
    before = (evaluation_dir / CARD).read_text()
    done = run_vision("report", evaluation_dir, "--title", "renewed")
    assert done.returncode == 0, done.stderr
    assert [name for name in (GATES_FILE, JUNIT_FILE, PDF_FILE) if (evaluation_dir / name).exists()] == []
    assert (evaluation_dir / CARD).read_text() != before
    assert "### renewed" in (evaluation_dir / CARD).read_text()


def test_a_bundles_own_card_is_left_alone_where_a_report_is_written_beside_it(drawn_run: Path, tmp_path: Path) -> None:
    shutil.copy(drawn_run / "run" / "bundle" / CARD, tmp_path / CARD)
    shutil.copy(drawn_run / "run" / "evaluation" / PREDICTIONS_FILE, tmp_path / "p.parquet")
    assert run_vision("report", tmp_path / "p.parquet").returncode == 0
    assert (tmp_path / CARD).read_text() == (drawn_run / "run" / "bundle" / CARD).read_text()
    assert recorded_card(tmp_path) is None


def test_the_bundles_part_of_a_filled_card_is_the_bundles_card(drawn_run: Path) -> None:
    assert recorded_card(drawn_run / "run" / "evaluation") == (drawn_run / "run" / "bundle" / CARD).read_text()


def test_rows_that_were_decided_again_keep_shortcuts_near_duplicates_and_promises(
    drawn_run: Path, evaluation_dir: Path, tmp_path: Path
) -> None:
    stricter, out = tmp_path / "stricter.parquet", tmp_path / "stricter"
    bundle = drawn_run / "run" / "bundle"
    run_vision("decide", evaluation_dir / PREDICTIONS_FILE, "-m", bundle, "--target-accuracy", "0.98", "-o", stricter)
    done = run_vision("report", stricter, "--evaluation", evaluation_dir, "-o", out)
    assert done.returncode == 0, done.stderr
    before, now = _recorded(evaluation_dir), _recorded(out)
    assert now.shortcuts == before.shortcuts
    assert now.shortcuts is not None
    assert now.near_duplicates is not None
    assert now.data == before.data
    assert recorded_settings(out) is not None
    assert recorded_card(out) is not None


def test_answers_that_follow_from_no_promise_of_the_bundle_leave_its_promises_out(evaluation_dir: Path) -> None:
    settings, taxonomy = recorded_settings(evaluation_dir), recorded_taxonomy(evaluation_dir)
    table, evaluation = load_predictions(evaluation_dir / PREDICTIONS_FILE), _recorded(evaluation_dir)
    assert settings is not None
    assert taxonomy is not None
    assert fitting_settings(settings, evaluation, table, taxonomy) == settings
    second = pl.col("top").list.get(1).struct.field("class_id")
    other = table.with_columns(label=second, level=pl.lit("class"))
    again = evaluation.model_copy(update={"rows_digest": ""})
    assert fitting_settings(settings, again, other, taxonomy) is None


def test_other_targets_of_the_bundle_are_found_by_the_answers_that_follow_from_them(evaluation_dir: Path) -> None:
    settings, taxonomy = recorded_settings(evaluation_dir), recorded_taxonomy(evaluation_dir)
    table, evaluation = load_predictions(evaluation_dir / PREDICTIONS_FILE), _recorded(evaluation_dir)
    assert settings is not None
    assert taxonomy is not None
    nothing = settings.model_copy(update={"roll_up_threshold": 2.0, "target_accuracy": 0.999})
    found = fitting_settings(nothing, evaluation, table, taxonomy)
    assert found is not None
    assert found.roll_up_threshold in {target.threshold for target in settings.targets}


def test_a_mended_label_is_that_of_the_manifest_and_what_is_of_the_old_one_is_told(
    drawn_run: Path, evaluation_dir: Path, tmp_path: Path
) -> None:
    manifest = _mended_manifest(drawn_run, tmp_path)
    done = run_vision("report", evaluation_dir, "--manifest", manifest, "-o", tmp_path / "mended")
    assert done.returncode == 0, done.stderr
    assert "note: 1 of 12 labels differ from those in the predictions; the manifest's count" in done.stderr
    assert "left out: the audit of shortcuts, which is of other labels or groups" in done.stderr
    before, now = _recorded(evaluation_dir), _recorded(tmp_path / "mended")
    assert now.accuracy.value == pytest.approx((before.accuracy.value or 0) - 1 / 12)
    assert (now.shortcuts, now.near_duplicates is None) == (None, False)
    assert (tmp_path / "mended" / SETTINGS_FILE).exists()


def test_a_manifest_with_classes_that_the_evaluation_had_not_is_judged_by_the_whole_taxonomy(
    drawn_run: Path, evaluation_dir: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    text = (data / "manifest.csv").read_text()
    (data / "manifest.csv").write_text(text.replace("tor-m1-00.jpg,tor-m1,", "tor-m1-00.jpg,dprk-tor-like,"))
    done = run_vision("report", evaluation_dir, "--manifest", data / "manifest.csv", "-o", tmp_path / "r")
    assert done.returncode == 0, done.stderr


def test_an_evaluation_of_another_model_is_nothing_to_keep(evaluation_dir: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(evaluation_dir / PREDICTIONS_FILE).with_columns(model=pl.lit("f" * 64))
    table.with_columns(label=pl.lit("tor-m1"), level=pl.lit("class")).write_parquet(evaluation_dir / "other.parquet")
    done = run_vision("report", evaluation_dir / "other.parquet", "-o", tmp_path / "r")
    assert "left out: all that the evaluation beside these rows tells, which is of another model" in done.stderr
    assert _recorded(tmp_path / "r").shortcuts is None


FIGURE = FigureWithInterval(value=None, low=None, high=None)


def _flattery(num_listed: int = 1) -> FlatteryFigures:
    pair = NearDuplicate(
        file_name="0.jpg",
        training_file_name="t.jpg",
        similarity=0.99,
        correlation=0.95,
        same_class=True,
        same_bytes=False,
        is_mirrored=False,
    )
    return FlatteryFigures(
        num_images=4,
        num_near_duplicates=1,
        num_same_bytes=0,
        num_other_class=0,
        num_unchecked=0,
        pairs=(pair,) * num_listed,
        accuracy_with=FIGURE,
        accuracy_without=FIGURE,
        difference=FIGURE,
    )


def _rows(truth: str = "tor-m1") -> pl.DataFrame:
    near = [{"file_name": "t.jpg", "class_id": "tor-m1", "similarity": 0.99, "attribution": ""}]
    return pl.DataFrame(
        {
            "file_name": [f"{n}.jpg" for n in range(4)],
            "label": ["tor-m1", "tor-m1", "shilka", "shilka"],
            "true_label": [truth, "tor-m1", "tor-m1", "tor-m1"],
            "nearest": [near] * 4,
        }
    )


def test_near_duplicates_are_counted_by_the_answers_and_labels_of_now() -> None:
    now = flattery_of_now(_flattery(), _rows(), list("abcd"))
    assert now is not None
    assert (now.accuracy_with.value, now.accuracy_without.value) == (0.5, pytest.approx(1 / 3))
    mended = flattery_of_now(_flattery(), _rows("shilka"), list("abcd"))
    assert mended is not None
    assert (mended.accuracy_with.value, mended.num_other_class, mended.pairs[0].same_class) == (0.25, 1, False)


def test_near_duplicates_of_which_not_all_are_listed_are_not_counted_again() -> None:
    assert flattery_of_now(_flattery(num_listed=0), _rows(), list("abcd")) is None
    assert flattery_of_now(_flattery(), _rows().head(3), list("abc")) is None


def test_out_of_fold_predictions_get_properties_shortcuts_near_duplicates_and_a_card(
    drawn_run: Path, tmp_path: Path
) -> None:
    # The run has no folds; the rows of its test split stand for what folds leave: no settings, and truth beside them.
    path = tmp_path / "out_of_fold" / PREDICTIONS_FILE
    path.parent.mkdir()
    table = pl.read_parquet(drawn_run / "run" / "evaluation" / PREDICTIONS_FILE)
    table.drop("brightness", "sharpness", "aspect", "short_side_px", "size_bytes").write_parquet(path)
    bundle, manifest = load_bundle(drawn_run / "run" / "bundle"), load_manifest(drawn_run / "data" / "manifest.csv")
    evaluation = evaluate_out_of_fold(path, bundle, manifest, load_taxonomy(), title="drawings, out of fold")
    assert evaluation.shortcuts is not None
    assert evaluation.near_duplicates is not None
    assert {each.name for each in evaluation.slices} >= {"brightness", "sharpness"}
    assert load_predictions(path)["brightness"].null_count() == 0
    assert [baseline.name for baseline in evaluation.baselines][1] == "nearest training picture by pixels"
    assert recorded_card(path.parent) is not None
    assert "no evidence maps" in " ".join(evaluation.notes)
    assert "(no evidence maps: they need the models of the folds)" in (path.parent / REPORT_PAGE).read_text()
    assert "There are no evidence maps" in (path.parent / "summary.md").read_text()


def test_a_picture_is_no_near_duplicate_of_itself_out_of_fold(drawn_run: Path, tmp_path: Path) -> None:
    path = tmp_path / PREDICTIONS_FILE
    bundle, manifest = load_bundle(drawn_run / "run" / "bundle"), load_manifest(drawn_run / "data" / "manifest.csv")
    table = load_predictions(drawn_run / "run" / "evaluation" / PREDICTIONS_FILE)
    first = bundle.reference
    itself = {"file_name": first.file_names[0], "sha256": first.sha256[0]}
    table.head(4).with_columns(**{k: pl.lit(v) for k, v in itself.items()}).write_parquet(path)
    evaluation = evaluate_out_of_fold(path, bundle, manifest, load_taxonomy(), title="t")
    assert evaluation.near_duplicates is not None
    assert evaluation.near_duplicates.num_same_bytes == 0
