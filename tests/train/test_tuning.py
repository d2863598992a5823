"""The curves of a run show what there is, and nothing else."""

from __future__ import annotations

import math
from pathlib import Path

from vision.train.finetune import EpochFigures
from vision.train.tuning import save_curves


def drawn(folder: Path, calibration: list[tuple[float, float]]) -> str:
    losses = [math.nan, 1.0, 0.5]
    history = [
        EpochFigures(epoch, loss, nll, accuracy, 1.0)
        for epoch, (loss, (nll, accuracy)) in enumerate(zip(losses, calibration, strict=True))
    ]
    save_curves(history, 2, folder / "curves")
    assert (folder / "curves.png").exists()
    return (folder / "curves.svg").read_text()


def test_curves_without_calibration_pictures_are_of_the_training_loss_alone(tmp_path: Path) -> None:
    curves = drawn(tmp_path, [(math.nan, math.nan)] * 3)
    assert curves.count('<g id="axes_') == 1
    assert "training loss" in curves
    assert "calibration" not in curves
    assert "share right" not in curves


def test_curves_with_calibration_pictures_have_loss_and_accuracy_of_both(tmp_path: Path) -> None:
    curves = drawn(tmp_path, [(1.2, 0.4), (1.0, 0.5), (0.9, 0.6)])
    assert curves.count('<g id="axes_') == 2
    for told in ("training loss", "calibration loss", "share right", "kept: epoch 2"):
        assert told in curves
