"""Several processes end as one would; figures reach the trackers; a GPU that is not there is told."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run_vision
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from vision.errors import ConfigError, MissingExtraError
from vision.train import devices
from vision.train.devices import mixed_precision, open_accelerator
from vision.train.draws import Draw

SETTINGS = (
    "backbone.name=resnet10t",
    "backbone.weights=none",
    "features.input_px=64",
    "train.strategy=finetune",
    "finetune.from_stage=3",
    "finetune.epochs=4",
    "finetune.views=2",
    "finetune.precision=float32",
    "finetune.batch_size=6",
    "finetune.mixup=0.2",
    "finetune.cutmix=0.5",
    "finetune.accumulate=2",
)


def _arguments(data: Path, out: Path, *more: str) -> list[str]:
    overrides = [part for setting in (*SETTINGS, *more) for part in ("--set", setting)]
    return ["train", str(data / "drawings.yaml"), *overrides, "--runs", str(out), "--cache", str(out.parent / "cache")]


def _events(out: Path, name: str) -> list[dict[str, float]]:
    lines = (out / "drawings" / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(drawn_run: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    alone = run_vision(*_arguments(drawn_run / "data", one))
    assert alone.returncode == 0, alone.stderr
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vision"]
    arguments = _arguments(drawn_run / "data", two, "train.trackers=tensorboard")
    together = subprocess.run([*launch, *arguments], capture_output=True, text=True)
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("bundle:") == 1
    for name in ("loss", "calibration_nll", "calibration_accuracy"):
        figures = [[epoch[name] for epoch in _events(out, "epoch")[1:]] for out in (one, two)]
        assert figures[1] == pytest.approx(figures[0], abs=2e-3)


@pytest.mark.parametrize(("process", "expected"), [(0, [0, 1]), (1, [2, 3, 4])])
def test_processes_share_a_batch_without_gap_or_overlap(process: int, expected: list[int]) -> None:
    draw = Draw(np.arange(5), np.zeros(5, int), np.arange(5), 1.0, np.zeros(5, int))
    assert list(range(5))[draw.part(process, 2)] == expected


@pytest.mark.slow
def test_figures_of_every_epoch_reach_the_trackers(drawn_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    told = run_vision(*_arguments(drawn_run / "data", out, "train.trackers=[tensorboard, mlflow]"))
    assert told.returncode == 0, told.stderr
    told_losses = [epoch["loss"] for epoch in _events(out, "epoch")[1:]]
    with closing(sqlite3.connect(out / "mlflow.db")) as database:
        rows = database.execute("SELECT value FROM metrics WHERE key = 'loss' ORDER BY step").fetchall()
    assert [value for (value,) in rows] == pytest.approx(told_losses)
    files = (out / "drawings").rglob("events.out.tfevents.*")  # one for the settings, one for the figures
    values = [v for path in files for e in EventFileLoader(str(path)).Load() for v in e.summary.value]
    in_board = [v.tensor.float_val[0] for v in values if v.tag == "loss"]
    assert in_board == pytest.approx(told_losses, rel=1e-5)


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.device: 'cuda', but torch sees no GPU"):
        open_accelerator("cuda")


def test_a_missing_tracker_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._PACKAGES, "mlflow", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"train\.trackers: 'mlflow'.*vision\[mlflow\]"):
        open_accelerator("cpu", trackers=("mlflow",))


@pytest.mark.parametrize("by_name", [False, True])
def test_on_processors_grouped_convolutions_stay_in_single_precision(by_name: bool) -> None:
    images, dense, depthwise = torch.randn(2, 8, 9, 9), torch.randn(8, 8, 1, 1), torch.randn(8, 1, 3, 3)
    conv2d = torch.nn.functional.conv2d

    def by_groups(inputs: torch.Tensor) -> torch.Tensor:
        return conv2d(inputs, depthwise, groups=8) if by_name else conv2d(inputs, depthwise, None, 1, 0, 1, 8)

    with mixed_precision(torch.device("cpu"), bfloat16=True):
        of_dense = conv2d(images, dense)
        of_depthwise = by_groups(of_dense)
    assert (of_dense.dtype, of_depthwise.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(of_depthwise, by_groups(of_dense.float()))
    with mixed_precision(torch.device("cpu"), bfloat16=False):
        assert conv2d(images, dense).dtype == torch.float32
