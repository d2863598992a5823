"""A sweep: trials judged on the calibration split, a study that goes on, a table, a plot."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import polars as pl
import pytest
from command_line import REPOSITORY, run_vision
from drawings import write_drawings
from PIL import Image

from vision.config import Config, load_config
from vision.errors import ConfigError, OutputError, TrainingError
from vision.train.sweep import sweep

SWEEP = """
backbone: {name: resnet10t, weights: none}
sweep:
  trials: 3
  parameters:
    train.strengths: {low: 0.1, high: 1000.0, log: true}
    features.pooling: {choices: [avg, gem]}
"""


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawings(tmp_path_factory.mktemp("drawings")).parent


@pytest.fixture
def config(drawings: Path, tmp_path: Path) -> Path:
    data = Path(shutil.copytree(drawings, tmp_path / "data"))
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
    assert "trial 4/4: loss" in errors
    table = pl.read_csv(folder / "trials.csv")
    assert table["train.strengths"].n_unique() == 4  # those of the first trials are not tried again
    code, _, errors = run(config, "--set", "features.input_px=32")
    assert code == 2
    assert re.search(
        r"study\.db: the sweep there is of another configuration .*'- 64' there, '- 32' now\); go on", errors
    )
    assert "trial " not in errors


def swept(config: Path, *overrides: str) -> tuple[optuna.Study, list[str]]:
    told: list[str] = []
    folder = config.parent.parent
    return sweep(config, list(overrides), folder / "sweep", folder / "cache", tell=told.append), told


def losses(monkeypatch: pytest.MonkeyPatch, loss_of: Callable[[Config], float]) -> None:
    """Trials that take no time."""
    monkeypatch.setattr("vision.train.sweep.calibration_loss", lambda config, cache: (loss_of(config), 0.5))


def test_a_trial_that_cannot_be_trained_is_kept_with_its_reason_and_the_sweep_goes_on(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss_of(settings: Config) -> float:
        if settings.features.pooling == ("gem",):
            raise TrainingError("epoch 1, step 2: the loss, of a batch, is not a number")
        return 1.0

    losses(monkeypatch, loss_of)
    study, told = swept(config, "sweep.trials=8")
    table = pl.read_csv(config.parent.parent / "sweep" / "trials.csv")
    assert table["state"].value_counts().sort("state").rows() == [
        ("complete", sum(": loss 1.0000" in line for line in told)),
        ("pruned", sum("not trained" in line and "the loss, of a batch" in line for line in told)),
    ]
    assert [re.match(r"trial (\d/8): ", line)[1] for line in told] == [f"{n}/8" for n in range(1, 9)]  # type: ignore[index]
    assert table.filter(pl.col("state") == "pruned")["reason"].str.contains("the loss, of a batch").all()
    assert study.best_params["features.pooling"] == "avg"


def test_a_sweep_without_a_trial_that_could_be_trained_says_why(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss_of(settings: Config) -> float:
        raise ConfigError("finetune.from_stage: 99 would freeze what is pooled")

    losses(monkeypatch, loss_of)
    with pytest.raises(TrainingError, match=r"none of 3 trials could be trained: finetune\.from_stage: 99 .*run again"):
        swept(config)


def test_an_interrupted_trial_is_not_counted(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(settings: Config) -> float:
        raise KeyboardInterrupt

    losses(monkeypatch, interrupted)
    with pytest.raises(KeyboardInterrupt):
        swept(config)
    losses(monkeypatch, lambda settings: settings.train.strengths[0])
    _, told = swept(config)
    assert [line.split(":")[0] for line in told] == ["trial 1/3", "trial 2/3", "trial 3/3"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[avg, gem]", "[avg, gem, max]", r"another configuration \(.*\); .*another name"),
        ("input_px: 64", "input_px: 32", r"another configuration \('- 64' there, '- 32' now\)"),
    ],
)
def test_a_sweep_is_gone_on_with_by_its_own_settings_only(
    config: Path, before: str, after: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses(monkeypatch, lambda settings: settings.train.strengths[0])
    swept(config)
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    with pytest.raises(OutputError, match=message):
        swept(config, "sweep.trials=5")


def test_a_sweep_is_gone_on_with_on_its_own_pictures_only(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses(monkeypatch, lambda settings: settings.train.strengths[0])
    swept(config)
    manifest = config.with_name("manifest.csv")
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join([*lines[:1], *lines[2:]]))
    with pytest.raises(OutputError, match=r"study\.db: the sweep there is of other pictures"):
        swept(config, "sweep.trials=5")


def test_the_sweep_that_comes_along_can_be_loaded() -> None:
    config = load_config(REPOSITORY / "configs" / "sweep.yaml")
    assert config.data.manifest.exists()
    for name, tried in config.sweep.parameters.items():
        for value in tried.choices or (tried.low, tried.high):
            load_config(REPOSITORY / "configs" / "sweep.yaml", [f"{name}={value}"])


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
    with pytest.raises(ConfigError, match=message):
        swept(config)
    assert not (config.parent.parent / "sweep").exists()


def test_without_a_calibration_split_there_is_nothing_to_judge_by(config: Path) -> None:
    manifest = config.with_name("manifest.csv")
    manifest.write_text(manifest.read_text().replace(",calibration,", ",train,"))
    with pytest.raises(ConfigError, match="no picture of split 'calibration'"):
        swept(config)
