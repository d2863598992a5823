"""`vision report` and `vision compare` at the command line: what they take, warn of and refuse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision

from vision.predictions import ClassProbability, Level, Prediction, save_predictions

KNOWN = ("tor-m1", "shilka", "osa-akm")


def _row(number: int, label: str, level: Level = "class") -> Prediction:
    top = tuple(ClassProbability(class_id, 0.6 if class_id == "tor-m1" else 0.2) for class_id in KNOWN)
    return Prediction(f"{number}.jpg", "", "ok", label=label, level=level, probability=0.6, top=top)


def _saved(path: Path, rows: list[Prediction], truths: list[str]) -> Path:
    save_predictions(rows, path, extra_columns=pl.DataFrame({"true_label": truths}))
    return path


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    rows = [
        _row(0, "tor-m1"),
        _row(1, "tor-family", "family"),
        _row(2, "unknown", "unknown"),
        _row(3, "shilka"),
    ]
    return _saved(tmp_path / "p" / "predictions.parquet", rows, ["tor-m1", "tor-m1", "tor-m1", "osa-akm"])


def _report(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_vision("report", *arguments)


def test_an_answer_that_is_right_or_silent_is_not_taken_for_something(predictions: Path) -> None:
    done = _report(predictions.parent)  # a folder, as `vision compare` takes it
    assert done.returncode == 0, done.stderr
    assert [line.strip() for line in done.stdout.splitlines() if "taken for" in line] == [
        "osa-akm taken for shilka: 1 (100%)"
    ]


@pytest.mark.parametrize("command", [["report", "{p}"], ["compare", "{p}", "{p}"]])
def test_a_folder_of_pictures_that_is_not_there_is_refused(
    predictions: Path, tmp_path: Path, command: list[str]
) -> None:
    arguments = [part.format(p=predictions) for part in command]
    done = run_vision(*arguments, "--images", tmp_path / "nonexistent", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "nonexistent: no such folder; give the one that the file names start from" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_has_none_of_the_pictures_is_told(predictions: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    done = _report(predictions, "--images", tmp_path / "other")
    assert "other has none of the 4 pictures, first '0.jpg'; check --images" in done.stderr


def test_a_file_name_that_stands_twice_is_told(tmp_path: Path) -> None:
    path = _saved(tmp_path / "p.parquet", [_row(0, "tor-m1")] * 2 + [_row(1, "tor-m1")], ["tor-m1"] * 3)
    assert "warning: 1 of 3 rows repeat a file name, first '0.jpg'; each row counts" in _report(path).stderr


def test_classes_that_no_row_lists_are_told_to_count_as_novel_and_can_be_gated(tmp_path: Path) -> None:
    rows = [_row(0, "tor-m1"), _row(1, "unknown", "unknown"), _row(2, "tor-m1")]
    path = _saved(tmp_path / "p.parquet", rows, ["tor-m1", "dprk-tor-like", "dprk-tor-like"])
    (tmp_path / "gates.yaml").write_text("confident_wrong_novel: {max: 0.1}\n")
    done = _report(path, "--gate", tmp_path / "gates.yaml")
    assert done.returncode == 0, done.stderr
    assert "note: no row lists or answers dprk-tor-like" in done.stderr
    assert "dprk-tor-like, which the model never saw, 2 pictures" in done.stdout


def test_an_id_that_is_not_in_the_taxonomy_is_told_with_file_and_row(tmp_path: Path) -> None:
    path = _saved(tmp_path / "p.parquet", [_row(0, "tor-m1"), _row(1, "Tor-M1")], ["tor-m1"] * 2)
    done = _report(path)
    assert done.returncode == 2
    assert f"{path}: row 2: label 'Tor-M1' is no class in the taxonomy, did you mean 'tor-m1'?" in done.stderr


OWN_TAXONOMY = """
version: 1
roles: [{id: animal, name: Animals}]
families: [{id: pets, role: animal, name: Pets}]
classes: [{id: cat, family: pets, names: [Cat]}, {id: dog, family: pets, names: [Dog]}]
"""


def test_a_manifest_with_more_of_a_taxonomy_of_ones_own_asks_for_the_whole_of_it(tmp_path: Path) -> None:
    row = Prediction("0.jpg", "", "ok", label="cat", level="class", probability=1, top=(ClassProbability("cat", 1),))
    path, own, manifest = _saved(tmp_path / "p.parquet", [row], ["cat"]), tmp_path / "own.yaml", tmp_path / "m.csv"
    own.write_text(OWN_TAXONOMY)
    manifest.write_text("file_name,label\n0.jpg,cat\n1.jpg,dog\n")
    assert _report(path, "--taxonomy", own, "-o", tmp_path / "e").returncode == 0
    again = (path, "--evaluation", tmp_path / "e", "--manifest", manifest, "-o", tmp_path / "r")
    refused = _report(*again)
    assert refused.returncode == 3
    assert "label 'dog': not a class of the taxonomy" in refused.stderr
    assert "give all with --taxonomy" in refused.stderr
    assert _report(*again, "--taxonomy", own).returncode == 0


def test_a_file_of_another_tool_may_answer_a_family(tmp_path: Path) -> None:
    row = {"file_name": "0.jpg", "status": "ok", "label": "tor-family", "probability": 0.9, "true_label": "tor-m1"}
    (tmp_path / "p.jsonl").write_text(json.dumps(row | {"top": []}) + "\n")
    done = _report(tmp_path / "p.jsonl")
    assert done.returncode == 0, done.stderr
    assert "family 100%" in done.stdout


def test_a_baseline_of_other_pictures_is_told_before_pictures_are_classified(drawn_run: Path, tmp_path: Path) -> None:
    _saved(tmp_path / "old.parquet", [_row(0, "tor-m1")], ["tor-m1"])
    (tmp_path / "gates.yaml").write_text("no_loss: {baseline: old.parquet}\n")
    bundle, manifest = drawn_run / "run" / "bundle", drawn_run / "data" / "manifest.csv"
    options = ("--split", "test", "-o", tmp_path / "e", "--gate", tmp_path / "gates.yaml")
    done = run_vision("evaluate", "-m", bundle, "--manifest", manifest, *options)
    assert done.returncode == 2
    assert "not the same pictures: 1 of 1 in" in done.stderr
    assert not (tmp_path / "e").exists()
