"""What `auto` trains on a machine of a given speed, and that it times only what it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vision.config import AugmentationSettings, BackboneSettings, FinetuneSettings, load_config
from vision.train.backbones import Backbone, load_backbones
from vision.train.features import FeatureRecipe
from vision.train.finetune import Schedule
from vision.train.probe import LinearProbe
from vision.train.scheduling import choose_schedule, seconds_a_view
from vision.train.training_set import prepare_run

RECIPE = FeatureRecipe("resnet10t", 64, "final", "avg", True, "pad", 0.1)
BLANK = LinearProbe.blank(512, 4)
SETTLED = FinetuneSettings(from_stage=4, epochs=3, views=1, precision="float32")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbones(BackboneSettings(name=("resnet10t",), weights="none"), seed=0)["resnet10t"]


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes 10 ms a stage and picture to train, half of it in bfloat16, and 10 ms to look at one."""

    def tail_s(self: Any, cut: int, *, bfloat16: bool) -> float:
        return 0.01 * (5 - cut) / (1 + bfloat16)

    monkeypatch.setattr("vision.train.scheduling._Timing.tail_s", tail_s)
    monkeypatch.setattr("vision.train.scheduling.psutil.cpu_percent", lambda interval: 4.0)


def _chosen(backbone: Backbone, budget_s: float, num_training: int = 400, **settings: Any) -> Schedule:
    return choose_schedule(
        backbone, RECIPE, BLANK, FinetuneSettings(**settings), budget_s, num_training, 0, lambda cut: 0.01
    )


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(
    ("budget_s", "expected"),
    [
        (1, (4, 10)),  # stage 4, 10 epochs: 400 * (0.01 * 5 views + 0.005 * 10) = 40 s
        (41, (4, 10)),
        (61, (3, 10)),  # one stage more: 0.01 s a picture and epoch
        (101, (3, 20)),
        (181, (3, 40)),
        (10_000, (3, 40)),  # of few pictures never deeper than half of the five stages
    ],
)
def test_more_time_goes_first_to_depth_then_to_epochs(
    backbone: Backbone, budget_s: float, expected: tuple[int, int]
) -> None:
    schedule = _chosen(backbone, budget_s)
    assert (schedule.from_stage, schedule.epochs) == expected
    assert schedule.views == 3
    assert schedule.bfloat16


@pytest.mark.usefixtures("steady")
def test_of_many_pictures_an_epoch_is_longer_so_fewer_may_do_and_the_whole_network_is_trained_if_it_fits(
    backbone: Backbone,
) -> None:
    hurried = _chosen(backbone, 1, num_training=20_000)
    assert (hurried.from_stage, hurried.epochs) == (4, 2)
    patient = _chosen(backbone, 1e6, num_training=20_000)
    assert (patient.from_stage, patient.epochs) == (0, 40)


@pytest.mark.usefixtures("steady")
def test_it_says_what_more_would_take(backbone: Backbone) -> None:
    assert "about 40 s of 1 s; more than the budget, and nothing is left" in _chosen(backbone, 1).reasons[0]
    assert "about 40 s of 41 s; stages 3 to 4 of 5 would take about 60 s" in _chosen(backbone, 41).reasons[0]
    assert "about 60 s of 61 s; 20 epochs would take about 100 s" in _chosen(backbone, 61).reasons[0]
    assert "about 100 s of 101 s; 40 epochs would take about 180 s" in _chosen(backbone, 101).reasons[0]
    assert _chosen(backbone, 600).reasons[0].endswith("bfloat16: about 180 s of 600 s")


@pytest.mark.usefixtures("steady")
def test_it_says_that_other_work_makes_times_long(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "other work" not in _chosen(backbone, 600).reasons[0]
    monkeypatch.setattr("vision.train.scheduling.psutil.cpu_percent", lambda interval: 81.0)
    assert "other work takes 81% of this machine's processors" in _chosen(backbone, 600).reasons[0]


@pytest.mark.usefixtures("steady")
def test_what_the_configuration_settles_stays(backbone: Backbone) -> None:
    schedule = _chosen(backbone, 1e6, from_stage=1, epochs=7, views=2, precision="float32")
    assert (schedule.from_stage, schedule.epochs, schedule.views, schedule.bfloat16) == (1, 7, 2, False)
    fresh = _chosen(backbone, 1e6, views="fresh")
    assert fresh.views is None
    assert fresh.epochs == 40
    assert "fresh views" in fresh.reasons[0]


def test_a_machine_is_timed(backbone: Backbone) -> None:
    rich, poor = _chosen(backbone, 3600.0, 40), _chosen(backbone, 0.001, 40)
    assert rich.from_stage < poor.from_stage
    assert "more than the budget" in poor.reasons[0]


def test_making_views_is_timed_on_some_pictures_and_leaves_the_graph(
    backbone: Backbone, drawn_run: Path, tmp_path: Path
) -> None:
    overrides = ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64"]
    images = prepare_run(load_config(drawn_run / "data/drawings.yaml", overrides)).training.images
    seconds = seconds_a_view(
        3, backbone=backbone, recipe=RECIPE, images=images, augmentation=AugmentationSettings(), folder=tmp_path
    )
    assert 0 < seconds < 10
    assert [path.suffix for path in tmp_path.iterdir()] == [".onnx"]


def test_a_schedule_that_is_settled_is_not_timed_unless_an_estimate_is_wanted(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "about" in choose_schedule(backbone, RECIPE, BLANK, SETTLED, 60, 40, 10, lambda cut: 0.01).reasons[0]
    monkeypatch.setattr("vision.train.scheduling._Timing.tail_s", None)
    untimed = choose_schedule(backbone, RECIPE, BLANK, SETTLED, 60, 40, 10, lambda cut: 0.01, with_estimate=False)
    assert (untimed.from_stage, untimed.epochs, untimed.views) == (4, 3, 1)
    assert "about" not in untimed.reasons[0]


@pytest.mark.parametrize(("num_training", "expected"), [(60, 8), (432, 8), (936, 16), (1_600, 32), (100_000, 32)])
def test_batches_are_smaller_where_pictures_are_few(backbone: Backbone, num_training: int, expected: int) -> None:
    chosen = choose_schedule(
        backbone, RECIPE, BLANK, SETTLED, 60, num_training, 10, lambda cut: 0.01, with_estimate=False
    )
    assert chosen.batch_size == expected
    fixed = SETTLED.model_copy(update={"batch_size": 5})
    chosen = choose_schedule(
        backbone, RECIPE, BLANK, fixed, 60, num_training, 10, lambda cut: 0.01, with_estimate=False
    )
    assert chosen.batch_size == 5
