"""From a chosen recipe and its probe to a fine-tuned network: what to train, on which views, and how it went.

N training pictures, M calibration pictures, D features.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from vision.config import FinetuneSettings, Strategy
from vision.files import whole_file
from vision.train.backbones import Backbone
from vision.train.devices import mixed_precision
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.finetune import EpochFigures, Schedule, Tuned, fine_tune, tuned_vectors
from vision.train.lora import adaptable_cuts
from vision.train.losses import ClassRelations
from vision.train.probe import LinearProbe
from vision.train.stages import build_tail, stages_of, tap_stages, tuned_backbone
from vision.train.training_set import PreparedRun
from vision.train.views import FreshViews, FrozenPart, ViewSource, ViewStore, stored_views

DEFAULT_EPOCHS = 20
DEFAULT_VIEWS = 6
_FEWEST_EPOCHS, _FEWEST_VIEWS = 10, 3
_TIMED_IMAGES, _TIMED_BATCH = 8, 16
"""Of a step that is timed to choose the depth, and at most to compare precisions, which differ more in batches."""
_PROCESSOR = torch.device("cpu")


@dataclass(frozen=True)
class TunedNetwork:
    """A fine-tuned network and what it makes of the run's pictures.

    Attributes:
        backbone: The network with its trained stages.
        probe: The classifier on it.
        of_training: (N, D).
        of_calibration: (M, D).
        schedule: What was trained.
        tuned: Chosen epoch and history.
    """

    backbone: Backbone
    probe: LinearProbe
    of_training: NDArray[np.float32]
    of_calibration: NDArray[np.float32]
    schedule: Schedule
    tuned: Tuned


@dataclass(frozen=True)
class PreparedViews:
    """What training reads, under one schedule.

    Attributes:
        schedule: The schedule.
        training: Views to train on.
        plain: Training pictures and their mirror images; the same as `training` where views are kept.
        calibration: Calibration pictures and their mirror images; None without a calibration split.
    """

    schedule: Schedule
    training: ViewSource
    plain: ViewStore
    calibration: ViewStore | None


def prepare_views(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    schedule: Schedule,
    cache_folder: Path,
    *,
    accelerator: Accelerator | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> PreparedViews:
    """Run the frozen part over all views that a schedule keeps.

    Args:
        prepared: The run's data.
        backbone: The network.
        recipe: How pictures are made its inputs.
        schedule: What is frozen, and how many views are kept.
        cache_folder: Where views are kept between runs.
        accelerator: Its device computes if it is a GPU, else onnxruntime.
        on_progress: Told how many pictures of `num_pictures_to_view` are done.
    """
    config, folder = prepared.config, cache_folder / "views"
    device = accelerator.device if accelerator is not None and accelerator.device.type == "cuda" else None
    frozen = FrozenPart(backbone, recipe, schedule.from_stage, folder, device=device)

    def stored(images: Sequence[TrainingImage], num_augmented: int) -> ViewStore:
        return stored_views(
            frozen,
            images,
            folder,
            augmentation=config.augment,
            num_augmented=num_augmented,
            seed=config.seed,
            on_progress=on_progress,
        )

    plain = stored(prepared.training.images, schedule.views or 0)
    training: ViewSource = plain
    if schedule.views is None:
        training = FreshViews(prepared.training.images, frozen.preprocessing, config.augment, config.seed, frozen)
    calibration = stored(prepared.calibration.images, 0) if prepared.calibration.images else None
    return PreparedViews(schedule, training, plain, calibration)


def tune_network(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    views: PreparedViews,
    *,
    checkpoint: Path | None,
    on_epoch: Callable[[EpochFigures], None],
    accelerator: Accelerator | None = None,
) -> TunedNetwork:
    """Fine-tune on all training pictures, and bring the result into the form that a bundle is written from."""
    tuned = _fine_tuned(
        prepared,
        backbone,
        recipe,
        probe,
        views,
        seed=prepared.config.seed,
        calibration=views.calibration,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        accelerator=accelerator,
    )
    of_training = tuned_vectors(tuned.tail, views.plain, flip=recipe.flip)
    of_calibration = (
        tuned_vectors(tuned.tail, views.calibration, flip=recipe.flip)
        if views.calibration is not None
        else np.zeros((0, of_training.shape[1]), np.float32)
    )
    tuned.tail.to("cpu")
    network = tuned_backbone(backbone, tuned.tail, views.schedule.from_stage)
    return TunedNetwork(network, tuned.tail.probe(), of_training, of_calibration, views.schedule, tuned)


def tune_fold(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    views: PreparedViews,
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    *,
    seed: int,
    accelerator: Accelerator | None = None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fine-tune on some training rows, to the end of the schedule: nothing is left to choose an epoch by.

    Returns:
        Logits of the held-out rows (H, K), their standardised vectors (H, D), and those of the training rows.
    """
    tail = _fine_tuned(
        prepared,
        backbone,
        recipe,
        probe,
        views,
        seed=seed,
        calibration=None,
        rows=train,
        on_epoch=on_epoch,
        accelerator=accelerator,
    ).tail
    of_held_out = tuned_vectors(tail, views.plain, flip=recipe.flip, rows=held_out)
    of_train = tuned_vectors(tail, views.plain, flip=recipe.flip, rows=train)
    tuned = tail.to("cpu").probe()
    return tuned.logits(of_held_out), tuned.standardised(of_held_out), tuned.standardised(of_train)


def _fine_tuned(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    views: PreparedViews,
    *,
    seed: int,
    calibration: ViewStore | None,
    rows: NDArray[np.int64] | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
    accelerator: Accelerator | None = None,
) -> Tuned:
    """A tail that starts as the probe, trained by the run's settings on all training pictures or on some rows."""
    settings, strategy = prepared.config.finetune, prepared.config.train.strategy
    return fine_tune(
        build_tail(backbone, recipe, views.schedule.from_stage, probe, settings, strategy, seed=seed),
        views.training,
        prepared.training.class_indices,
        calibration,
        prepared.calibration.class_indices,
        views.schedule,
        settings,
        ClassRelations(prepared.classes, prepared.taxonomy),
        seed=seed,
        rows=rows,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        accelerator=accelerator,
    )


def choose_schedule(
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    settings: FinetuneSettings,
    budget_s: float,
    num_training: int,
    num_calibration: int,
    *,
    strategy: Strategy = "finetune",
    num_tunings: int = 1,
    num_processes: int = 1,
    device: torch.device = _PROCESSOR,
    with_estimate: bool = True,
) -> Schedule:
    """How deep, on how many views and how long to train, so that it fits into the budget on this machine.

    Where the settings leave nothing open and no estimate is wanted, nothing is timed. Else each possible cut is timed
    on this machine, from the shallowest down. Of those that fit, the deepest is taken: what is deeper can learn more,
    and the averaged weights and the calibration split keep it from learning too much.
    """
    stages = stages_of(backbone)
    taps = tap_stages(backbone, stages, recipe.layer)
    batch_size = _batch_size(num_training) if settings.batch_size == "auto" else settings.batch_size
    timing = _Timing(backbone, recipe, probe, settings, strategy, device)
    is_fresh = settings.views == "fresh"
    epochs = DEFAULT_EPOCHS if settings.epochs == "auto" else settings.epochs
    views = settings.views if isinstance(settings.views, int) else (0 if is_fresh else DEFAULT_VIEWS)
    cuts = list(range(min(taps), -1, -1)) if settings.from_stage == "auto" else [settings.from_stage]
    if strategy == "lora":
        cuts = adaptable_cuts(stages[: max(taps) + 1], cuts, backbone.name)
    is_open = "auto" in (settings.from_stage, settings.views, settings.epochs, settings.precision)

    def said(cut: int, *, bfloat16: bool) -> str:
        return (
            f"training stages {cut} to {max(taps)} of {len(stages)} and the classifier, {epochs} epochs on "
            f"{'fresh views' if is_fresh else f'{views} views'} of {num_training} pictures, batches of {batch_size}, "
            f"{'bfloat16' if bfloat16 else 'float32'}"
        )

    if not (is_open or with_estimate):
        bfloat16 = settings.precision == "bfloat16"
        reasons = (said(cuts[0], bfloat16=bfloat16),)
        return Schedule(cuts[0], None if is_fresh else views, epochs, bfloat16, batch_size, reasons)
    chosen: int | None = None

    def total_s(cut: int) -> float:
        frozen_s = timing.frozen_s if cut else 0.02 * timing.frozen_s
        once = frozen_s * (num_training * (2 + views) + 2 * num_calibration)
        afresh = frozen_s if is_fresh else 0.0
        each = num_training * (afresh + timing.tail_s(cut)) + 0.7 * num_calibration * timing.tail_s(cut)
        return once + num_tunings * epochs * each / num_processes

    while True:
        for cut in cuts:
            if total_s(cut) > budget_s:
                break
            chosen = cut
        if chosen is not None:
            break
        if settings.views == "auto" and views > _FEWEST_VIEWS:
            views = _FEWEST_VIEWS
        elif settings.epochs == "auto" and epochs > _FEWEST_EPOCHS:
            epochs = _FEWEST_EPOCHS
        else:
            break
    fits = chosen is not None
    cut = chosen if chosen is not None else cuts[0]
    why = ""
    if settings.from_stage == "auto" and fits:
        why = "; the deepest that fits" if cut else "; the whole network fits"
    bfloat16 = settings.precision == "bfloat16" or (
        settings.precision == "auto" and timing.is_bfloat16_faster(cut, batch_size)
    )
    reasons = (
        f"{said(cut, bfloat16=bfloat16)}: about {total_s(cut):.0f} s of {budget_s:.0f} s"
        + (why if fits else "; more than the budget, and nothing is left to leave out"),
    )
    return Schedule(cut, None if is_fresh else views, epochs, bfloat16, batch_size, reasons)


def _batch_size(num_training: int) -> int:
    """32, or of fewer than 1,600 pictures the power of two that gives fifty steps an epoch or more, 8 at least.

    On 432 look-alikes batches of 8, 16 and 32 gave 0.681, 0.649 and 0.614 in as many epochs (docs/log.md, 2026-11-27).
    """
    return min(32, max(8, 1 << int(math.log2(max(num_training / 50, 1)))))


class _Timing:
    """How long a picture takes on this machine, measured when first asked."""

    def __init__(
        self,
        backbone: Backbone,
        recipe: FeatureRecipe,
        probe: LinearProbe,
        settings: FinetuneSettings,
        strategy: Strategy,
        device: torch.device,
    ) -> None:
        self._backbone, self._recipe, self._probe, self._settings = backbone, recipe, probe, settings
        self._strategy: Strategy = strategy
        self._device = device
        self._of_tail: dict[tuple[int, int, bool], float] = {}

    @cached_property
    def frozen_s(self) -> float:
        """Seconds a view for the whole network in eager torch: more than the frozen part will take in onnxruntime."""
        return _frozen_seconds(self._backbone, self._recipe, self._device)

    def tail_s(self, cut: int, num_images: int = _TIMED_IMAGES, *, bfloat16: bool = False) -> float:
        """Seconds a picture for one training step, on so many, of the stages from `cut` on."""
        if (cut, num_images, bfloat16) not in self._of_tail:
            self._of_tail[cut, num_images, bfloat16] = _tail_seconds(
                self._backbone,
                self._recipe,
                self._probe,
                self._settings,
                self._strategy,
                cut,
                num_images,
                self._device,
                bfloat16=bfloat16,
            )
        return self._of_tail[cut, num_images, bfloat16]

    def is_bfloat16_faster(self, cut: int, batch_size: int) -> bool:
        """Whether half precision is worth it; on some processors it is slower."""
        num_images = min(batch_size, _TIMED_BATCH)
        return self.tail_s(cut, num_images, bfloat16=True) < 0.9 * self.tail_s(cut, num_images)


def _tail_seconds(
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    settings: FinetuneSettings,
    strategy: Strategy,
    cut: int,
    num_images: int,
    device: torch.device,
    *,
    bfloat16: bool,
) -> float:
    tail = build_tail(backbone, recipe, cut, probe, settings, strategy, seed=0).train()
    tail.to(device)
    inputs = torch.zeros(num_images, 3, recipe.input_px, recipe.input_px)
    with torch.inference_mode():
        for stage in stages_of(backbone)[:cut]:
            inputs = stage(inputs)
    inputs = inputs.clone().to(device)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        with mixed_precision(device, bfloat16=bfloat16):
            loss = tail(inputs).float().square().mean()
        loss.backward()
        float(loss.detach())  # waits for a GPU to be done
        best = min(best, time.perf_counter() - started)
    return float(best) / num_images


@torch.inference_mode()
def _frozen_seconds(backbone: Backbone, recipe: FeatureRecipe, device: torch.device) -> float:
    """Seconds a view for the whole network in eager torch: more than the frozen part will take in onnxruntime."""
    inputs = torch.zeros(_TIMED_IMAGES, 3, recipe.input_px, recipe.input_px).contiguous(
        memory_format=torch.channels_last
    )
    inputs = inputs.to(device)
    model = (backbone.model if device.type == "cpu" else copy.deepcopy(backbone.model).to(device)).to(
        memory_format=torch.channels_last
    )
    best = np.inf
    for _ in range(2):
        started = time.perf_counter()
        float(model(inputs).sum())  # waits for a GPU to be done
        best = min(best, time.perf_counter() - started)
    return float(best) / _TIMED_IMAGES


def save_curves(history: list[EpochFigures], chosen_epoch: int, stem: Path) -> None:
    """The curves of loss and accuracy as `curves.png` and `curves.svg`; nothing if no epoch was trained.

    Without calibration pictures there is the training loss alone.
    """
    if len(history) < 2:
        return
    from matplotlib.figure import Figure

    is_judged = any(np.isfinite(figures.calibration_nll) for figures in history)
    epochs = [figures.epoch for figures in history]
    figure = Figure(figsize=(8 if is_judged else 4.4, 3.2), layout="constrained")
    left, *right = figure.subplots(1, 2 if is_judged else 1, squeeze=False)[0]
    trained = history[1:]  # before training there is no loss
    left.plot([f.epoch for f in trained], [f.loss for f in trained], color="#0072b2", label="training loss")
    left.set_ylabel("negative log-likelihood")
    for axes in right:
        left.plot(epochs, [figures.calibration_nll for figures in history], color="#d55e00", label="calibration loss")
        axes.plot(epochs, [figures.calibration_accuracy for figures in history], color="#d55e00", label="calibration")
        axes.set_ylabel("share right")
    for axes in (left, *right):
        axes.axvline(chosen_epoch, color="#666666", linestyle=":", label=f"kept: epoch {chosen_epoch}")
        axes.set_xlabel("epoch (0: before training)")
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    for ending in ("png", "svg"):
        with whole_file(stem.with_suffix(f".{ending}")) as temporary:
            figure.savefig(temporary, format=ending, dpi=150)
