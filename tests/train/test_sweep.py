"""A sweep: trials judged on the calibration split, a study that goes on, a table, a plot."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision
from PIL import Image

SWEEP = """
backbone: {name: resnet10t, weights: none}
sweep:
  trials: 3
  parameters:
    train.strengths: {low: 0.1, high: 1000.0, log: true}
    features.pooling: {choices: [avg, gem]}
"""


@pytest.fixture
def config(drawn_run: Path, tmp_path: Path) -> Path:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    text = (data / "drawings.yaml").read_text().replace("input_px: 224", "input_px: 64")
    (data / "sweep.yaml").write_text(text + SWEEP)
    return data / "sweep.yaml"


def run(config: Path, *arguments: str | Path) -> tuple[int, str, str]:
    folder = config.parent.parent
    done = run_vision("sweep", config, "--runs", folder / "runs", "--cache", folder / "cache", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_a_sweep_leaves_a_table_best_first_and_a_plot_and_goes_on(config: Path) -> None:
    code, told, errors = run(config)
    assert code == 0, errors
    folder = config.parent.parent / "runs" / "drawings-sweep"
    table = pl.read_csv(folder / "trials.csv")
    assert len(table) == 3
    assert table["loss"].is_sorted()
    assert table["train.strengths"].is_between(0.1, 1000).all()
    best = re.search(r"best loss (\S+):", told)
    assert best is not None
    assert float(best[1]) == pytest.approx(table["loss"][0], abs=1e-4)
    with Image.open(folder / "trials.png") as plot:
        assert plot.width > 400
    code, _, errors = run(config, "--set", "sweep.trials=4")
    assert code == 0
    assert errors.count("trial ") == 1
    assert len(pl.read_csv(folder / "trials.csv")) == 4


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("features.pooling", "features.poolin", r"poolin.*did you mean 'pooling'"),
        ("[avg, gem]", "[avg, gme]", r"features\.pooling"),
        ("high: 1000.0", "high: 0.01", r"low 0\.1 is not below high 0\.01"),
        ("  parameters:", "  parameter:", r"parameter.*did you mean 'parameters'"),
    ],
)
def test_a_mistake_is_told_before_the_first_trial(config: Path, before: str, after: str, message: str) -> None:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    code, _, errors = run(config)
    assert code == 2
    assert re.search(message, " ".join(errors.split())), errors
    assert "trial 1" not in errors


def test_without_a_calibration_split_there_is_nothing_to_judge_by(config: Path) -> None:
    manifest = config.with_name("manifest.csv")
    manifest.write_text(manifest.read_text().replace(",calibration,", ",train,"))
    code, _, errors = run(config)
    assert code == 2
    assert "no picture of split 'calibration'" in errors
