"""Mistakes that can be known at once are told before a picture goes through a network; unused settings are told too."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_vision
from drawings import write_drawings

from vision.config import Config, load_config
from vision.errors import ConfigError, MissingExtraError
from vision.train import devices
from vision.train.feasibility import check_settings, unused_settings
from vision.train.run import plan_run
from vision.train.training_set import prepare_run

SMALL = ("backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64", "train.strategy=finetune")


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawings(tmp_path_factory.mktemp("data"))


def configured(drawings: Path, *overrides: str) -> Config:
    return load_config(drawings, [*SMALL, *overrides])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["finetune.from_stage=99"], r"finetune\.from_stage: 99 would freeze .*choose at most 4"),
        (["finetune.compile_with=inducter"], r"compile_with: 'inducter'.*did you mean 'inductor'"),
        (["train.strategy=lora"], r"'lora' adapts attention, and 'resnet10t' has none"),
        (["backbone.name=mixer_s32_224", "features.input_px=224"], r"stages of 'mixer.*or strategy: probe"),
        (["train.device=cuda"], r"train\.device: 'cuda', but torch sees no GPU"),
    ],
)
def test_what_cannot_be_trained_is_told_in_the_plan(
    drawings: Path, overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = configured(drawings, *overrides)
    with pytest.raises(ConfigError, match=message):
        plan_run(prepare_run(config), tmp_path)
    with pytest.raises(ConfigError, match=message):
        check_settings(config)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_tracker_that_is_missing_is_told_before_training(drawings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices._PACKAGES, "mlflow", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"train\.trackers: 'mlflow'"):
        check_settings(configured(drawings, "train.trackers=mlflow"))


def test_settings_that_can_be_trained_pass(drawings: Path) -> None:
    check_settings(configured(drawings))
    check_settings(configured(drawings, "finetune.from_stage=4", "features.layers=[stage, final]"))
    check_settings(configured(drawings, "train.strategy=probe", "finetune.from_stage=99"))


def test_settings_that_a_strategy_does_not_use_are_told(drawings: Path) -> None:
    probe = ["train.strategy=probe", "finetune.domain=near", "finetune.epochs=3", "finetune.ema=0", "train.budget=1h"]
    of_probe = unused_settings(configured(drawings, *probe, "augment.blur=0.5"))
    assert [told.split(":")[0] for told in of_probe] == [
        "finetune.epochs, finetune.ema",
        "train.budget",
        "augment.blur",
    ]
    assert "train.strategy is 'probe'" in of_probe[0]
    (of_finetuning,) = unused_settings(configured(drawings, "finetune.lora_rank=4", "finetune.epochs=3"))
    assert of_finetuning.startswith("finetune.lora_rank: ")
    assert not unused_settings(configured(drawings, "train.strategy=lora", "finetune.lora_rank=4"))


def test_settings_as_they_are_by_default_say_nothing_also_when_written_out(drawings: Path) -> None:
    assert not unused_settings(configured(drawings, "train.strategy=probe", "finetune.epochs=auto"))


def test_a_dry_run_tells_room_for_views_unused_settings_and_a_folder_that_is_taken(
    drawings: Path, tmp_path: Path
) -> None:
    (tmp_path / "drawings").mkdir()
    (tmp_path / "drawings" / "config.yaml").touch()
    settings = [*SMALL, "finetune.from_stage=0", "finetune.views=2", "finetune.lora_rank=4", "finetune.domain=near"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    done = run_vision("train", drawings, *overrides, "--runs", tmp_path, "--cache", tmp_path / "c", "--dry-run")
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    size = 2 * 3 * 64 * 64 * (32 * 4 + 12 * 2)
    assert f"fine-tuning: views take {size / 1e6:.0f} MB in {tmp_path / 'c' / 'views'}" in told
    assert "warning: finetune.lora_rank: train.strategy is 'finetune', which uses none of that" in told
    assert f"{tmp_path / 'drawings'}: not empty; the run will need --resume or --overwrite, or another name" in told
