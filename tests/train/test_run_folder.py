"""A run's folder: what its run was trained on is kept, a finished run is known, its log is JSON."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vision.bundle import Bundle
from vision.config import Config, load_config
from vision.errors import BundleError, OutputError
from vision.train.run_folder import MetricsLog, finished_bundle, input_digests, is_taken, open_run_folder
from vision.train.training_set import PreparedRun, prepare_run

WEIGHTS = {"resnet10t": "0123"}


@pytest.fixture(scope="module")
def prepared(drawn_run: Path) -> PreparedRun:
    return prepare_run(load_config(drawn_run / "data" / "drawings.yaml"))


def reopen(run_dir: Path, config: Config, inputs: dict[str, str]) -> None:
    open_run_folder(run_dir, config, resume=True, overwrite=False, inputs=inputs)


def without_first_picture(prepared: PreparedRun) -> PreparedRun:
    training = prepared.training
    fewer = replace(
        training, images=training.images[1:], class_indices=training.class_indices[1:], groups=training.groups[1:]
    )
    return replace(prepared, training=fewer)


def test_a_run_is_resumed_on_the_same_pictures_only(prepared: PreparedRun, tmp_path: Path) -> None:
    before = input_digests(prepared, WEIGHTS)
    open_run_folder(tmp_path / "run", prepared.config, resume=False, overwrite=False, inputs=before)
    reopen(tmp_path / "run", prepared.config, before)
    after = input_digests(without_first_picture(prepared), WEIGHTS)
    with pytest.raises(OutputError, match=r"inputs\.json: training pictures changed since .* or start anew with"):
        reopen(tmp_path / "run", prepared.config, after)
    open_run_folder(tmp_path / "run", prepared.config, resume=False, overwrite=True, inputs=after)
    reopen(tmp_path / "run", prepared.config, after)


def test_the_command_keeps_what_it_trained_on(prepared: PreparedRun, drawn_run: Path) -> None:
    kept = json.loads((drawn_run / "run" / "inputs.json").read_text())
    expected = input_digests(prepared, {})
    assert kept.keys() == expected.keys()
    assert [name for name in expected if kept[name] != expected[name]] == ["weights"]


def test_classes_labels_groups_calibration_pictures_and_weights_are_told_apart(prepared: PreparedRun) -> None:
    def changed(other: PreparedRun, weights: dict[str, str] = WEIGHTS) -> list[str]:
        before, after = input_digests(prepared, WEIGHTS), input_digests(other, weights)
        return [name for name in before if before[name] != after[name]]

    training = prepared.training
    assert changed(prepared) == []
    assert changed(prepared, {"resnet10t": "4567"}) == ["weights"]
    assert changed(replace(prepared, calibration=training)) == ["calibration pictures"]
    assert changed(replace(prepared, classes=prepared.classes[:3])) == ["classes", "taxonomy"]
    other_groups = replace(training, groups=["one", *training.groups[1:]])
    assert changed(replace(prepared, training=other_groups)) == ["training pictures"]
    other_labels = replace(training, class_indices=np.roll(training.class_indices, 1))
    assert changed(replace(prepared, training=other_labels)) == ["training pictures"]


def test_a_run_that_was_killed_before_its_first_line_is_resumed(prepared: PreparedRun, tmp_path: Path) -> None:
    inputs = input_digests(prepared, WEIGHTS)
    open_run_folder(tmp_path, prepared.config, resume=False, overwrite=False, inputs=inputs)
    (tmp_path / f".environment.json.{'0' * 32}.part").touch()
    reopen(tmp_path, prepared.config, inputs)


def test_a_note_of_the_inputs_that_cannot_be_read_is_told(prepared: PreparedRun, tmp_path: Path) -> None:
    open_run_folder(tmp_path, prepared.config, resume=False, overwrite=False, inputs={"classes": "0"})
    (tmp_path / "inputs.json").write_text("{")
    with pytest.raises(OutputError, match=r"inputs\.json: cannot be read .* --overwrite"):
        reopen(tmp_path, prepared.config, {"classes": "0"})


def test_a_run_is_finished_once_its_bundle_is_whole(bundle: Bundle, tmp_path: Path) -> None:
    assert finished_bundle(tmp_path) is None
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    (tmp_path / "checkpoint.pt").touch()
    found = finished_bundle(tmp_path)
    assert found is not None
    assert found.digest == bundle.digest
    assert not (tmp_path / "checkpoint.pt").exists()
    (tmp_path / "bundle" / "MODEL_CARD.md").write_text("another")
    with pytest.raises(BundleError):
        finished_bundle(tmp_path)


def test_a_folder_is_taken_once_something_is_in_it(tmp_path: Path) -> None:
    assert not is_taken(tmp_path / "nowhere")
    assert not is_taken(tmp_path)
    (tmp_path / "config.yaml").touch()
    assert is_taken(tmp_path)


def test_numbers_that_json_does_not_have_are_null_in_the_log(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("epoch", loss=math.nan, of_classes={"tor-m1": [math.inf, 0.5]})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    event = json.loads(line, parse_constant=refuse)
    assert event["loss"] is None
    assert event["of_classes"] == {"tor-m1": [None, 0.5]}
