"""The scripts that measure training do what `vision train` does, and what they are compared with is a fair loop."""

from __future__ import annotations

import sys
from pathlib import Path

import benchmark_training
import measure_options
import numpy as np
import pytest
import torch
from benchmark_training import _Ours, _Pictures, _plain_loader, _plain_network
from drawings import write_drawings

from vision.config import Config, load_config
from vision.errors import TrainingError
from vision.train.features import feature_recipes
from vision.train.training_set import PreparedRun, prepare_run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = write_drawings(tmp_path_factory.mktemp("drawings"))
    return load_config(path, ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64"])


def stop(prepared: PreparedRun, cache_folder: Path) -> tuple[PreparedRun, list[str]]:
    raise TrainingError("the settings are suited to the pictures here")


def test_options_are_measured_with_settings_suited_to_the_pictures(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure_options, "suited_run", stop)
    with pytest.raises(TrainingError, match="suited to the pictures"):
        measure_options.hits_of(config)


def test_the_benchmark_trains_with_settings_suited_to_the_pictures(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config.data.manifest.with_name("drawings.yaml")
    monkeypatch.setattr(benchmark_training, "suited_run", stop)
    monkeypatch.setattr(sys, "argv", ["benchmark_training.py", str(path)])
    with pytest.raises(TrainingError, match="suited to the pictures"):
        benchmark_training.main()


def test_the_plain_loop_reads_every_picture_once_an_epoch_varied_anew_by_two_workers(config: Config) -> None:
    prepared = prepare_run(config)
    _, preprocessing = _plain_network(prepared)
    assert preprocessing.input_px == feature_recipes(config)[0].input_px == 64
    loader = _plain_loader(prepared, preprocessing)
    assert loader.num_workers == 2
    assert sorted(loader.sampler) == list(range(32))
    pictures = _Pictures(prepared, preprocessing)
    (first, truth), (again, _) = pictures[20], pictures[20]
    assert truth == prepared.training.class_indices[20]
    assert first.shape == (3, 64, 64)
    assert not torch.equal(first, again)


def test_the_benchmark_tells_the_epoch_that_is_as_good_or_by_how_much_the_best_one_is_worse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    right, wrong = np.ones(4, bool), np.array([True, True, False, False])
    ours = _Ours([Path()] * 4, np.zeros(4, int), np.array([0, 0, 1, 1]), right, 10.0)
    ours.tell("a loop", 3, [(20.0, wrong), (40.0, right)])
    assert "a loop: 40 s to 1.000, 3 epochs; 4.0 times" in capsys.readouterr().out
    ours.tell("a loop", 3, [(20.0, wrong), (40.0, ~right), (60.0, wrong)])
    told = capsys.readouterr().out
    assert "0.500 at best in 60 s" in told
    assert "not 1.000: more than 6.0 times" in told
    assert "0.500 (0.000 to 1.000) better" in told
