"""Runs that are killed, whenever it is, end as one that was not; a finished one is left as it is."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run_vision
from drawings import write_drawings

SETTINGS = (
    "backbone.name=resnet10t",
    "backbone.weights=none",
    "features.input_px=64",
    "train.strategy=finetune",
    "finetune.from_stage=3",
    "finetune.epochs=12",
    "finetune.patience=12",
    "finetune.precision=float32",
    "finetune.views=2",
    "finetune.domain=near",
)
LONGEST_WAIT_S = 600


def train(config: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return run_vision(*_arguments(config, out), *more)


def _arguments(config: Path, out: Path) -> list[str]:
    overrides = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", str(config), *overrides, "--runs", str(out), "--cache", str(out / "cache")]


def kill_after(config: Path, out: Path, pattern: str, *more: str, wait_s: float) -> None:
    """Start or resume a run from its own cache, and kill it some time after a file of that name was written."""
    before = {path: path.stat().st_mtime_ns for path in out.glob(pattern)}
    command = [sys.executable, "-m", "vision", *_arguments(config, out), *more]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + LONGEST_WAIT_S
    while process.poll() is None and time.monotonic() < deadline:
        if any(before.get(path) != path.stat().st_mtime_ns for path in out.glob(pattern)):
            break
        time.sleep(0.01)
    time.sleep(wait_s)
    process.kill()
    told = process.communicate()[1]
    assert process.returncode in (0, -signal.SIGKILL), told


def learnt(out: Path) -> dict[str, str]:
    """Digests of all that the bundle holds."""
    files: dict[str, str] = json.loads((out / "drawings" / "bundle" / "bundle.json").read_text())["files"]
    return files


@pytest.mark.slow
def test_a_run_that_is_killed_ends_as_one_that_is_not(tmp_path: Path) -> None:
    config = write_drawings(tmp_path / "data")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = train(config, whole)
    assert done.returncode == 0, done.stderr

    generator = random.Random(0)
    run_dir = killed / "drawings"
    kill_after(config, killed, "cache/features/**/*.npy", wait_s=generator.uniform(0, 0.2))
    assert not (run_dir / "checkpoint.pt").exists()
    kill_after(config, killed, "cache/views/views-*.npy", "--resume", wait_s=0)
    assert not (run_dir / "bundle" / "bundle.json").exists()
    kill_after(config, killed, "drawings/checkpoint.pt", "--resume", wait_s=generator.uniform(0, 0.5))
    resumed = train(config, killed, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert learnt(killed) == learnt(whole)
    assert not (run_dir / "checkpoint.pt").exists()


def test_a_finished_run_that_is_resumed_says_so_and_keeps_its_bundle(drawn_run: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn_run / "run", tmp_path / "drawings")
    shutil.rmtree(tmp_path / "drawings" / "evaluation")
    before = (tmp_path / "drawings" / "bundle" / "bundle.json").stat()
    config = drawn_run / "data" / "drawings.yaml"
    done = run_vision("train", config, "--runs", tmp_path, "--cache", drawn_run / "cache", "--resume")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'drawings'}: this run is finished, nothing is left to train; --overwrite" in done.stderr
    assert (tmp_path / "drawings" / "bundle" / "bundle.json").stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / "drawings" / "evaluation" / "report" / "index.html").exists()
