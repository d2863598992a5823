"""Pictures far from those of pretraining are found out, and trained in another way; photographs are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run_vision
from PIL import Image

from vision.config import load_config
from vision.train.domain import Diagnosis, _neighbour_accuracy, adapted, diagnose, suited_run
from vision.train.training_set import PreparedRun, prepare_run

FAR = Diagnosis({1.0: 0.5, 0.5: 0.9}, 0.6, 100, 128)
SIDE_PX, DOTS, CLUTTER = 192, 12, 250


@pytest.fixture(scope="module")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes that differ by the places of bright dots in the middle of noise: easy by pixels, nothing for ImageNet."""
    folder = tmp_path_factory.mktemp("dots")
    generator = np.random.default_rng(0)
    lines = ["file_name,label,split,group,licence,author,source_url"]
    for class_id in ("tor-m1", "shilka", "gepard", "roland"):
        middle = generator.integers(72, 120, (DOTS, 2))
        for number in range(24):
            pixels = generator.integers(0, 150, (SIDE_PX, SIDE_PX))
            around = generator.integers(4, SIDE_PX - 4, (CLUTTER, 2))
            around = around[np.abs(around - SIDE_PX / 2).max(axis=1) > 30]
            for y, x in [*middle, *around]:
                pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
            name = f"{class_id}-{number}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            split = "calibration" if number % 4 == 0 else "train"
            lines.append(f"{name},{class_id},{split},group-{number % 12},CC0-1.0,nobody,https://example.org/")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "dots.yaml").write_text("name: dots\ndata: {manifest: manifest.csv}\ntrain: {strengths: 10}\n")
    return folder


def _prepared(dots: Path, *overrides: str) -> PreparedRun:
    return prepare_run(load_config(dots / "dots.yaml", ["features.input_px=96", *overrides]))


def test_dots_in_noise_are_far_and_their_middle_is_found(dots: Path, tmp_path: Path) -> None:
    diagnosis = diagnose(_prepared(dots), tmp_path)
    assert diagnosis is not None
    assert diagnosis.is_far
    assert diagnosis.middle < 1
    assert diagnosis.by_pixels[diagnosis.middle] > 0.9 > diagnosis.by_features + 0.1


def test_drawings_are_near_so_nothing_changes(drawn_run: Path, tmp_path: Path) -> None:
    overrides = ["backbone.weights=bundled", "features.input_px=96", "train.strategy=finetune"]
    prepared = prepare_run(load_config(drawn_run / "data" / "drawings.yaml", overrides))
    assert suited_run(prepared, tmp_path) == (prepared, [])


def test_settings_of_the_configuration_stay(dots: Path) -> None:
    suited = adapted(_prepared(dots, "train.strategy=finetune", "finetune.learning_rate=0.01"), FAR).config
    assert suited.finetune.learning_rate == 0.01
    assert suited.features.input_px == (96,)
    assert (suited.finetune.from_stage, suited.finetune.restart, suited.features.middle) == (0, True, 0.5)
    assert suited.augment.flip is False


def test_the_input_is_no_larger_than_what_is_looked_at(dots: Path) -> None:
    config = load_config(dots / "dots.yaml", ["train.strategy=finetune"])
    assert adapted(replace(_prepared(dots), config=config), FAR).config.features.input_px == (64,)


@pytest.mark.parametrize(
    ("overrides", "is_changed", "told"),
    [
        (("train.strategy=finetune",), True, "finetune.restart True"),
        (("train.strategy=finetune", "finetune.domain=near"), False, ""),
        ((), False, "frozen features are not enough here, set train.strategy to finetune"),
    ],
)
def test_what_is_changed_and_told(
    overrides: tuple[str, ...], is_changed: bool, told: str, dots: Path, tmp_path: Path
) -> None:
    prepared = _prepared(dots, *overrides)
    suited, findings = suited_run(prepared, tmp_path, dry_run=True)
    assert (suited.config != prepared.config) == is_changed
    assert told in " ".join(findings)


def test_a_neighbour_of_the_same_group_does_not_count() -> None:
    pictures = np.array([[0, 9, 0], [0, 9, 1], [9, 0, 0], [8, 0, 1]], dtype=np.uint8)
    truth = np.array([0, 0, 1, 1])
    assert _neighbour_accuracy(pictures, truth, np.array([0, 1, 2, 3])) == 1.0
    assert _neighbour_accuracy(pictures, truth, np.array([0, 0, 1, 1])) == 0.0


def test_pictures_of_one_group_tell_nothing(dots: Path, tmp_path: Path) -> None:
    prepared = _prepared(dots)
    alike = replace(prepared.training, groups=["one"] * len(prepared.training.groups))
    assert diagnose(replace(prepared, training=alike), tmp_path) is None


@pytest.mark.slow
def test_a_far_set_trains_above_its_probe(dots: Path, tmp_path: Path) -> None:
    common = ("train", str(dots / "dots.yaml"), "--cache", str(tmp_path), "--runs", str(tmp_path))
    settings = ("--set", "train.strategy=finetune", "--set", "finetune.views=2", "--set", "finetune.epochs=16")
    told = run_vision(*common, *settings)
    assert told.returncode == 0, told.stderr
    assert "far from those that the network was pretrained on" in told.stderr
    assert (tmp_path / "dots" / "bundle" / "bundle.json").exists()
    lines = (tmp_path / "dots" / "metrics.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, lines) if event["event"] in ("candidate", "epoch")]
    (probe, *epochs) = events
    assert max(epoch["calibration_accuracy"] for epoch in epochs) > probe["accuracy"]
    assert load_config(tmp_path / "dots" / "config.yaml").finetune.restart
