"""Fine-tuning: it starts as the probe, repeats for a seed, survives a kill, and says when it goes wrong."""

from __future__ import annotations

import copy
import json
import math
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from vision.config import AugmentationSettings, BackboneSettings, Config, FinetuneSettings, load_config
from vision.errors import ConfigError, TrainingError
from vision.taxonomy import load_taxonomy
from vision.train.backbones import Backbone, load_backbones
from vision.train.devices import open_accelerator
from vision.train.draws import Draw
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.finetune import (
    EpochFigures,
    Schedule,
    Tuned,
    _Batches,
    _ramped_average,
    fine_tune,
    restart,
    tuned_vectors,
)
from vision.train.losses import ClassRelations
from vision.train.probe import LinearProbe, fit_probe
from vision.train.run import plan_run, train_run
from vision.train.stages import Tail, build_tail, stages_of, tap_stages, tuned_backbone
from vision.train.training_set import PreparedRun, prepare_run
from vision.train.tuner import Tuner
from vision.train.views import FIRST_AUGMENTED, FreshViews, FrozenPart, ViewSource, ViewStore, stored_views

RECIPE = FeatureRecipe("resnet10t", 64, "final", "avg", True, "pad", 0.1)
CUT = 3
BATCH_SIZE = 8
SETTINGS = FinetuneSettings(learning_rate=0.001)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbones(BackboneSettings(name=("resnet10t",), weights="none"), seed=0)["resnet10t"]


@pytest.fixture(scope="module")
def config(drawn_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(drawn_run / "data", folder, dirs_exist_ok=True)
    overrides = ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64", "train.strategy=finetune"]
    return load_config(folder / "drawings.yaml", [*overrides, "finetune.epochs=4", "finetune.views=2"])


@pytest.fixture(scope="module")
def prepared(config: Config) -> PreparedRun:
    return prepare_run(config)


@pytest.fixture(scope="module")
def stores(
    prepared: PreparedRun, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ViewStore, ViewStore]:
    folder = tmp_path_factory.mktemp("views")
    return _stores(prepared, backbone, folder)


def _stores(prepared: PreparedRun, backbone: Backbone, folder: Path) -> tuple[ViewStore, ViewStore]:
    frozen = FrozenPart(backbone, RECIPE, CUT, folder)
    light = AugmentationSettings(preset="light")
    return (
        stored_views(frozen, prepared.training.images, folder, augmentation=light, num_augmented=2, seed=0),
        stored_views(frozen, prepared.calibration.images, folder, augmentation=light, num_augmented=0, seed=0),
    )


@pytest.fixture(scope="module")
def probe(prepared: PreparedRun, backbone: Backbone, stores: tuple[ViewStore, ViewStore]) -> LinearProbe:
    untrained = LinearProbe(np.zeros(512), np.ones(512), np.zeros((4, 512)), np.zeros(4))
    vectors = tuned_vectors(_tail(backbone, untrained), stores[0], flip=True)
    return fit_probe(vectors, prepared.training.class_indices, 4, 10.0)


def _tail(backbone: Backbone, probe: LinearProbe, settings: FinetuneSettings = SETTINGS) -> Tail:
    return Tail(backbone, RECIPE, CUT, probe, norm_statistics=settings.norm_statistics)


def _tuned(
    prepared: PreparedRun,
    backbone: Backbone,
    probe: LinearProbe,
    stores: tuple[ViewSource, ViewStore],
    settings: FinetuneSettings = SETTINGS,
    *,
    epochs: int = 4,
    views: int | None = 2,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
    with_calibration: bool = True,
    rows: NDArray[np.int64] | None = None,
    bfloat16: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Tuned:
    def on_epoch(figures: EpochFigures) -> None:
        if figures.epoch == stop_after:
            raise KeyboardInterrupt

    return fine_tune(
        _tail(backbone, probe, settings),
        stores[0],
        prepared.training.class_indices,
        stores[1] if with_calibration else None,
        prepared.calibration.class_indices,
        Schedule(CUT, views, epochs, bfloat16=bfloat16, batch_size=batch_size),
        settings,
        ClassRelations(prepared.classes, prepared.taxonomy),
        seed=0,
        rows=rows,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )


def _weights(tail: Tail) -> NDArray[np.float32]:
    return torch.cat([value.flatten().float() for value in tail.state_dict().values()]).numpy()


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "regnety_002", "convnext_atto"])
def test_the_stages_in_a_row_are_the_network(name: str) -> None:
    network = load_backbones(BackboneSettings(name=(name,), weights="none"), seed=0)[name]
    stages = stages_of(network)
    assert len(stages) >= 5
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        out = images
        for stage in stages:
            out = stage(out)
        torch.testing.assert_close(out, network.model.forward_features(images))
        assert tap_stages(network, stages, "stage")[0] < len(stages)
        assert len(tap_stages(network, stages, "two_stages")) == 2


def test_a_restart_does_not_depend_on_what_was_done_with_the_network_before(
    backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    # As if features were in the cache, and as if they had just been computed.
    layouts = (torch.contiguous_format, torch.channels_last)
    models = [copy.deepcopy(backbone.model).to(memory_format=layout) for layout in layouts]
    tails = [_tail(replace(backbone, model=model), probe) for model in models]
    for tail in tails:
        restart(tail, stores[0], np.arange(32))
    np.testing.assert_array_equal(_weights(tails[0]), _weights(tails[1]))


def test_a_network_whose_stages_cannot_be_told_apart_is_refused() -> None:
    name = "mixer_s32_224"
    network = load_backbones(BackboneSettings(name=(name,), weights="none"))[name]
    with pytest.raises(ConfigError, match=r"stages of 'mixer.*choose an EfficientNet.*or strategy: probe"):
        stages_of(network)


def test_a_cut_above_what_is_pooled_is_refused(backbone: Backbone, probe: LinearProbe) -> None:
    with pytest.raises(ConfigError, match=r"from_stage: 5 would freeze .*choose at most 4"):
        Tail(backbone, RECIPE, 5, probe, norm_statistics=False)


def test_training_starts_as_the_probe(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    tail = _tail(backbone, probe)
    vectors = tuned_vectors(tail, stores[0], flip=True)
    with torch.inference_mode():
        logits = tail.logits(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(logits, probe.logits(vectors), atol=1e-3)
    untouched = tuned_backbone(backbone, tail, CUT)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(untouched.model(images), backbone.model(images))


def test_training_lowers_the_loss_and_changes_only_what_it_may(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    before = _weights(_tail(backbone, probe))
    tuned = _tuned(prepared, backbone, probe, stores, epochs=6, with_calibration=False)
    losses = [figures.loss for figures in tuned.history[1:]]
    assert losses[-1] < losses[0]
    assert tuned.chosen_epoch == 6
    assert not np.array_equal(before, _weights(tuned.tail))
    network = tuned_backbone(backbone, tuned.tail, CUT)
    stem, trained = stages_of(network)[0].state_dict(), stages_of(network)[CUT].state_dict()
    assert all(torch.equal(value, stages_of(backbone)[0].state_dict()[key]) for key, value in stem.items())
    assert any(not torch.equal(value, stages_of(backbone)[CUT].state_dict()[key]) for key, value in trained.items())


def test_the_best_epoch_on_the_calibration_split_is_kept(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    tuned = _tuned(prepared, backbone, probe, stores, epochs=5)
    by_loss = min(tuned.history, key=lambda figures: figures.calibration_nll)
    assert tuned.chosen_epoch == by_loss.epoch


def test_patience_ends_training(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    ruinous = SETTINGS.model_copy(update={"learning_rate": 1.0, "patience": 2, "ema": 0.0})
    tuned = _tuned(prepared, backbone, probe, stores, ruinous, epochs=12)
    assert len(tuned.history) < 13
    assert len(tuned.history) - 1 - tuned.chosen_epoch == 2


def test_norm_statistics_stay_unless_asked(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    def statistics(tail: Tail) -> torch.Tensor:
        return torch.cat([v.flatten() for k, v in tail.state_dict().items() if k.endswith("running_mean")])

    start = statistics(_tail(backbone, probe))
    assert torch.equal(start, statistics(_tuned(prepared, backbone, probe, stores, with_calibration=False).tail))
    follow = SETTINGS.model_copy(update={"norm_statistics": True})
    followed = _tuned(prepared, backbone, probe, stores, follow, with_calibration=False)
    assert not torch.allclose(start, statistics(followed.tail))


def test_the_same_seed_gives_the_same_weights_also_after_an_interruption(
    prepared: PreparedRun,
    backbone: Backbone,
    probe: LinearProbe,
    stores: tuple[ViewStore, ViewStore],
    tmp_path: Path,
) -> None:
    whole = _tuned(prepared, backbone, probe, stores)
    again = _tuned(prepared, backbone, probe, stores)
    assert np.array_equal(_weights(whole.tail), _weights(again.tail))
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        _tuned(prepared, backbone, probe, stores, checkpoint=checkpoint, stop_after=2)
    resumed = _tuned(prepared, backbone, probe, stores, checkpoint=checkpoint)
    assert np.array_equal(_weights(whole.tail), _weights(resumed.tail))
    assert [f.loss for f in resumed.history[1:]] == [f.loss for f in whole.history[1:]]


@pytest.mark.parametrize(
    ("share", "centre", "expected"),
    [
        (0.84, (0.5, 0.5), 1 - 16 / 100),
        (0.84, (0.0, 0.5), 1 - 8 / 100),
        (1.0, (0.3, 0.3), 1.0),
        (0.0, (0.5, 0.5), 0.0),
    ],
)
def test_a_picture_counts_by_the_area_that_a_rectangle_leaves_of_it(
    share: float, centre: tuple[float, float], expected: float
) -> None:
    draw = Draw(np.arange(2), np.zeros(2, int), np.array([1, 0]), share, np.arange(2), centre)
    own = torch.stack([torch.zeros(3, 10, 10), torch.ones(3, 10, 10)])
    mixed = draw.mixed(own, own[[1, 0]])
    assert draw.kept_share(own.shape) == pytest.approx(expected)
    assert 1 - mixed[0].mean().item() == pytest.approx(expected)
    assert mixed[1].mean().item() == pytest.approx(expected)


def test_cutmix_of_tokens_is_refused() -> None:
    vit = load_backbones(BackboneSettings(name=("test_vit",), weights="none"), input_px=[160])["test_vit"]
    recipe = FeatureRecipe("test_vit", 160, "final", "avg", False, "pad", 0.1)
    blank = LinearProbe.blank(64, 4)
    settings = SETTINGS.model_copy(update={"cutmix": 1.0})
    with pytest.raises(
        ConfigError, match=r"finetune\.cutmix: .*'test_vit' hands on tokens.*set finetune\.views to fresh"
    ):
        build_tail(vit, recipe, 1, blank, settings, "finetune", seed=0)


@pytest.mark.parametrize(
    "changed",
    [
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"mixup": 0.4, "cutmix": 1.0},
        {"look_alike_margin": 1.0},
        {"family_weight": 0.5},
        {"balanced_sampling": True},
        {"logit_adjustment": 0.0},
        {"accumulate": 3},
        {"label_smoothing": 0.0},
    ],
)
def test_every_option_changes_the_training_and_leaves_it_finite(
    changed: dict[str, float],
    prepared: PreparedRun,
    backbone: Backbone,
    stores: tuple[ViewStore, ViewStore],
) -> None:
    # Logit adjustment follows from unequal classes, so some pictures of one are left out.
    counts: dict[int, int] = {}
    kept = [r for r, c in enumerate(prepared.training.class_indices) if counts.setdefault(c, 0) < 8 - 2 * c]
    for row in kept:
        counts[prepared.training.class_indices[row]] += 1
    rows = np.array([r for r in kept if not (prepared.training.class_indices[r] == 3 and r % 2)])

    def run(settings: FinetuneSettings) -> Tuned:
        blank = LinearProbe.blank(512, 4)
        return _tuned(prepared, backbone, blank, stores, settings, epochs=2, with_calibration=False, rows=rows)

    plain, other = run(SETTINGS), run(SETTINGS.model_copy(update=changed))
    assert plain.chosen_epoch == 2
    assert np.isfinite(_weights(other.tail)).all()
    assert not np.array_equal(_weights(plain.tail), _weights(other.tail))


def test_a_loss_that_is_no_number_names_step_and_pictures(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    broken = np.array(stores[0].outputs)
    broken[5] = np.nan
    faulty = (ViewStore(broken, stores[0].images), stores[1])
    with pytest.raises(TrainingError, match=r"epoch 1, step \d+: the loss .* is not a number.*\.jpg.*learning_rate"):
        _tuned(prepared, backbone, probe, faulty)


def test_a_gradient_that_is_no_number_stops_at_its_own_batch(
    prepared: PreparedRun,
    backbone: Backbone,
    probe: LinearProbe,
    stores: tuple[ViewStore, ViewStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[float] = []

    def broken(*arguments: object, **options: object) -> torch.Tensor:
        sizes.append(math.nan if len(sizes) == 1 else 1.0)
        return torch.tensor(sizes[-1])

    monkeypatch.setattr("vision.train.finetune.nn.utils.clip_grad_norm_", broken)
    with pytest.raises(TrainingError, match=r"epoch 1, step 2: the loss or its gradient .*nan_batch\.txt.*epoch 0"):
        _tuned(prepared, backbone, probe, stores, checkpoint=tmp_path / "checkpoint.pt", batch_size=16)
    assert len((tmp_path / "nan_batch.txt").read_text().splitlines()) > 8


def test_without_calibration_pictures_a_network_that_ran_away_is_not_kept(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    wild = SETTINGS.model_copy(update={"learning_rate": 1.0, "clip_norm": 1e6})
    tuned = _tuned(prepared, backbone, probe, stores, wild, with_calibration=False)
    assert tuned.history[-1].loss > 10
    assert tuned.chosen_epoch == 0
    assert np.array_equal(_weights(tuned.tail), _weights(_tail(backbone, probe)))


def test_a_checkpoint_that_was_cut_is_told(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    _tuned(prepared, backbone, probe, stores, checkpoint=checkpoint, epochs=1)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint that can be read .*--overwrite"):
        _tuned(prepared, backbone, probe, stores, checkpoint=checkpoint)


def test_an_interrupt_in_the_first_epoch_leaves_a_checkpoint(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _tuned(prepared, backbone, probe, stores, checkpoint=tmp_path / "checkpoint.pt", stop_after=0)
    resumed = _tuned(prepared, backbone, probe, stores, checkpoint=tmp_path / "checkpoint.pt")
    whole = _tuned(prepared, backbone, probe, stores)
    assert np.array_equal(_weights(whole.tail), _weights(resumed.tail))


def test_two_batches_of_eight_are_one_of_sixteen(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    rows = np.arange(32)

    def run(accumulate: int, batch_size: int) -> Tuned:
        settings = SETTINGS.model_copy(update={"accumulate": accumulate, "clip_norm": 0.1})
        return _tuned(
            prepared,
            backbone,
            probe,
            stores,
            settings,
            epochs=2,
            views=0,
            rows=rows,
            batch_size=batch_size,
            with_calibration=False,
        )

    np.testing.assert_allclose(_weights(run(2, 8).tail), _weights(run(1, 16).tail), rtol=1e-3, atol=1e-4)


def test_the_average_follows_a_short_run_and_smooths_a_long_one() -> None:
    average = AveragedModel(nn.Linear(1, 1, bias=False), multi_avg_fn=_ramped_average(0.97))
    moved = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(average.module.weight)
    average.update_parameters(average.module)  # the first is a copy
    nn.init.ones_(moved.weight)
    for _ in range(5):
        average.update_parameters(moved)
    assert average.module.weight.item() > 0.95  # with 0.97 from the start: 1 - 0.97^5 = 0.14
    average.n_averaged.fill_(10_000)
    nn.init.zeros_(moved.weight)
    before = average.module.weight.item()
    average.update_parameters(moved)
    assert average.module.weight.item() == pytest.approx(0.97 * before)


def test_bfloat16_trains_too(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    tuned = _tuned(prepared, backbone, probe, stores, epochs=3, with_calibration=False, bfloat16=True)
    losses = [figures.loss for figures in tuned.history[1:]]
    assert losses[-1] < losses[0]


def test_depthwise_convolutions_can_be_left_as_they_are() -> None:
    network = load_backbones(BackboneSettings(name=("tf_efficientnet_lite0",), weights="none"), seed=0)
    recipe = replace(RECIPE, backbone="tf_efficientnet_lite0", layer="stage")
    probe = LinearProbe.blank(320, 3)

    def trained(freeze: bool) -> set[str]:
        settings = FinetuneSettings(freeze_depthwise=freeze)
        tail = build_tail(network[recipe.backbone], recipe, 5, probe, settings, "finetune", seed=0)
        return {name for name, parameter in tail.named_parameters() if parameter.requires_grad}

    left = trained(freeze=False) - trained(freeze=True)
    assert left
    assert all(name.endswith("conv_dw.weight") for name in left)
    assert not any("conv_dw" in name for name in trained(freeze=True))


def test_views_that_are_missing_are_made_again_and_equal(
    prepared: PreparedRun, backbone: Backbone, tmp_path: Path
) -> None:
    first, _ = _stores(prepared, backbone, tmp_path)
    before = np.array(first.outputs)
    done_path = next(path for path in tmp_path.glob("views-*.done.npy") if len(np.load(path)) == len(first.images))
    done = np.lib.format.open_memmap(done_path, mode="r+")
    done[3] = 0
    first.outputs[3] = 0
    del first
    again, _ = _stores(prepared, backbone, tmp_path)
    assert np.array_equal(before, again.outputs)


def test_views_differ_from_each_other_and_the_second_is_the_mirror_image(
    prepared: PreparedRun, backbone: Backbone, tmp_path: Path
) -> None:
    frozen = FrozenPart(backbone, RECIPE, 0, tmp_path)  # nothing frozen: views are pictures
    images: list[TrainingImage] = prepared.training.images[:2]
    store = stored_views(
        frozen, images, tmp_path, augmentation=AugmentationSettings(preset="standard"), num_augmented=2, seed=0
    )
    pictures = np.array(store.outputs[0])
    np.testing.assert_array_equal(pictures[1], pictures[0][:, :, ::-1])
    assert not np.allclose(pictures[2], pictures[3])


@pytest.fixture(scope="module")
def fresh(prepared: PreparedRun, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> FreshViews:
    frozen = FrozenPart(backbone, RECIPE, CUT, tmp_path_factory.mktemp("graph"))
    light = AugmentationSettings(preset="light")
    return FreshViews(prepared.training.images, RECIPE.preprocessing(backbone), light, 0, frozen)


def test_fresh_views_are_those_that_would_be_kept(fresh: FreshViews, stores: tuple[ViewStore, ViewStore]) -> None:
    rows, views = np.array([0, 1, 2, 3]), np.array([0, 1, FIRST_AUGMENTED, FIRST_AUGMENTED + 1])
    made = fresh.maps(fresh.batch(rows, views))
    assert torch.allclose(made, stores[0].batch(rows, views), rtol=1e-2, atol=1e-2)


def _inputs_of_two_epochs(fresh: FreshViews, truth: NDArray[np.int64], workers: int) -> list[bytes]:
    settings = FinetuneSettings(workers=workers)
    batches = _Batches(
        fresh, Schedule(CUT, None, 2, bfloat16=False, batch_size=BATCH_SIZE), settings, open_accelerator("cpu")
    )
    inputs = [batch for epoch in (1, 2) for _, batch in batches.of_epoch(np.arange(16), truth, seed=0, epoch=epoch)]
    return [picture.numpy().tobytes() for batch in inputs for picture in batch]


@pytest.mark.slow
def test_two_workers_and_two_epochs_never_repeat_an_augmentation(fresh: FreshViews, prepared: PreparedRun) -> None:
    with_workers = _inputs_of_two_epochs(fresh, prepared.training.class_indices, workers=2)
    assert len(set(with_workers)) == len(with_workers) == 2 * 16
    assert with_workers == _inputs_of_two_epochs(fresh, prepared.training.class_indices, workers=0)


def test_a_process_without_pictures_of_a_batch_loads_none(fresh: FreshViews) -> None:
    assert fresh.batch(np.arange(0), np.arange(0)).shape == (0, 3, 64, 64)


def test_a_backend_that_does_not_exist_is_told(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    misspelt = SETTINGS.model_copy(update={"compile_with": "inducter"})
    with pytest.raises(ConfigError, match=r"finetune\.compile_with: 'inducter'.*did you mean 'inductor'"):
        _tuned(prepared, backbone, probe, stores, misspelt)


def test_training_on_fresh_views_lowers_the_loss(
    fresh: FreshViews,
    prepared: PreparedRun,
    backbone: Backbone,
    probe: LinearProbe,
    stores: tuple[ViewStore, ViewStore],
) -> None:
    settings = SETTINGS.model_copy(update={"workers": 0})
    tuned = _tuned(prepared, backbone, probe, (fresh, stores[1]), settings, views=None, with_calibration=False)
    losses = [figures.loss for figures in tuned.history[1:]]
    assert losses[-1] < losses[0]


def test_the_frozen_part_in_torch_is_that_in_onnxruntime(
    fresh: FreshViews, backbone: Backbone, tmp_path: Path, stores: tuple[ViewStore, ViewStore]
) -> None:
    in_torch = FrozenPart(backbone, RECIPE, CUT, tmp_path, device=torch.device("cpu"))
    inputs = fresh.batch(np.arange(3), np.zeros(3, int))
    assert torch.allclose(in_torch.on_tensor(inputs), fresh.maps(inputs), atol=1e-4)
    assert np.allclose(in_torch(inputs.numpy()), fresh.maps(inputs).numpy(), atol=1e-4)


def test_a_compiled_tail_trains_as_the_plain_one(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, stores: tuple[ViewStore, ViewStore]
) -> None:
    compiled = SETTINGS.model_copy(update={"compile_with": "aot_eager"})
    plain, other = (_tuned(prepared, backbone, probe, stores, s, epochs=2) for s in (SETTINGS, compiled))
    assert [e.loss for e in other.history[1:]] == pytest.approx([e.loss for e in plain.history[1:]], rel=1e-4)


def test_relations_come_from_the_taxonomy() -> None:
    classes = ("tor-m1", "tor-m2k", "shilka", "t-90")
    relations = ClassRelations(classes, load_taxonomy())
    assert relations.family_of[0] == relations.family_of[1] != relations.family_of[2]
    assert relations.look_alikes[0, 1] == 1
    assert relations.look_alikes.diagonal().sum() == 0


def test_a_resumed_run_keeps_the_schedule_that_it_began_with(
    prepared: PreparedRun, backbone: Backbone, tmp_path: Path
) -> None:
    kept = Schedule(CUT, 3, 7, bfloat16=False, reasons=("timed on another day",))
    (tmp_path / "schedules.json").write_text(json.dumps({str(RECIPE): asdict(kept)}))
    tuner = Tuner(prepared, {"resnet10t": backbone}, tmp_path, run_dir=tmp_path)
    assert tuner._schedule_of(backbone, RECIPE, 512) == kept


def test_what_was_tuned_on_a_part_of_the_pictures_is_not_tuned_again(
    prepared: PreparedRun, backbone: Backbone, probe: LinearProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, held_out = np.arange(24), np.arange(24, 32)

    def tuned(seed: int) -> tuple[NDArray[np.float64], ...]:
        tuner = Tuner(prepared, {"resnet10t": backbone}, tmp_path / "cache", run_dir=tmp_path / "run")
        return tuner.tune_fold(RECIPE, probe, train, held_out, seed)

    first, of_another_seed = tuned(0), tuned(1)
    assert not np.array_equal(first[0], of_another_seed[0])
    monkeypatch.setattr("vision.train.tuner.tune_fold", lambda *args, **kwargs: pytest.fail("tuned again"))
    for before, after in zip(first, tuned(0), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_novelty_score_may_be_chosen_on_networks_tuned_without_some_classes(config: Config, tmp_path: Path) -> None:
    settings = config.model_dump(mode="json") | {"decide": {"novelty_tunings": 2}}
    prepared = prepare_run(Config.model_validate(settings))
    told: list[str] = []
    train_run(prepared, plan_run(prepared, tmp_path), tmp_path / "run", tmp_path, tell=told.append)
    assert "choosing the novelty score: 2 networks, each tuned without some of the classes" in told
    assert not (tmp_path / "run" / "folds").exists()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    decision = next(line for line in lines if "novelty_score" in line)
    assert decision["novelty_score"] == max(decision["novelty"], key=decision["novelty"].__getitem__)


def test_an_interrupt_exits_130_and_leaves_a_checkpoint(config: Config, tmp_path: Path) -> None:
    data = config.data.manifest.parent
    settings = ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64", "train.strategy=finetune"]
    settings += ["finetune.epochs=5000", "finetune.views=2", "finetune.from_stage=3", "finetune.patience=5000"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "vision", "train", str(data / "drawings.yaml"), *overrides]
    command += ["--cache", str(tmp_path / "cache"), "--runs", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / "drawings" / "checkpoint.pt"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130, told
    assert f"interrupted; the last finished epoch is kept in {checkpoint}; the same command with --resume" in told
