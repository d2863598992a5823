"""From a chosen recipe and its probe to a fine-tuned network: what to train, on which views, and how it went.

N training pictures, M calibration pictures, D features.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vision.config import FinetuneSettings
from vision.files import whole_file
from vision.train.backbones import Backbone
from vision.train.features import FeatureRecipe
from vision.train.finetune import ClassRelations, EpochFigures, Schedule, Tuned, fine_tune, tuned_vectors
from vision.train.probe import LinearProbe
from vision.train.stages import Tail, stages_of, tap_stages, tuned_backbone
from vision.train.training_set import PreparedRun
from vision.train.views import FrozenPart, ViewStore, stored_views

DEFAULT_EPOCHS = 20
DEFAULT_VIEWS = 6
_FEWEST_EPOCHS, _FEWEST_VIEWS = 10, 3
_TIMED_IMAGES = 8

Tell = Callable[[str], None]


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
    """The frozen part's output for a run's pictures, under one schedule."""

    schedule: Schedule
    training: ViewStore
    calibration: ViewStore | None


def prepare_views(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    cache_folder: Path,
    *,
    tell: Tell,
    on_progress: Callable[[int], None] = lambda count: None,
) -> PreparedViews:
    """Choose the schedule and run the frozen part over all views."""
    config = prepared.config
    num_training, num_calibration = len(prepared.training.images), len(prepared.calibration.images)
    schedule = choose_schedule(
        backbone, recipe, probe, config.finetune, config.train.budget_s, num_training, num_calibration
    )
    for reason in schedule.reasons:
        tell(reason)
    folder = cache_folder / "views"
    frozen = FrozenPart(backbone, recipe, schedule.from_stage, folder)
    augmentation = config.augment
    training = stored_views(
        frozen,
        prepared.training.images,
        folder,
        augmentation=augmentation,
        num_augmented=schedule.views,
        seed=config.seed,
        on_progress=on_progress,
    )
    calibration = None
    if num_calibration:
        calibration = stored_views(
            frozen,
            prepared.calibration.images,
            folder,
            augmentation=augmentation,
            num_augmented=0,
            seed=config.seed,
            on_progress=on_progress,
        )
    return PreparedViews(schedule, training, calibration)


def tune_network(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    views: PreparedViews,
    *,
    checkpoint: Path | None,
    on_epoch: Callable[[EpochFigures], None],
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
    )
    of_training = tuned_vectors(tuned.tail, views.training, flip=recipe.flip)
    of_calibration = (
        tuned_vectors(tuned.tail, views.calibration, flip=recipe.flip)
        if views.calibration is not None
        else np.zeros((0, of_training.shape[1]), np.float32)
    )
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
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Fine-tune on some training rows, to the end of the schedule: nothing is left to choose an epoch by.

    Returns:
        Logits of the held-out rows (H, K), their standardised vectors (H, D), and those of the training rows.
    """
    tail = _fine_tuned(prepared, backbone, recipe, probe, views, seed=seed, calibration=None, rows=train).tail
    tuned = tail.probe()
    of_held_out = tuned_vectors(tail, views.training, flip=recipe.flip, rows=held_out)
    of_train = tuned_vectors(tail, views.training, flip=recipe.flip, rows=train)
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
) -> Tuned:
    """A tail that starts as the probe, trained by the run's settings on all training pictures or on some rows."""
    settings = prepared.config.finetune
    return fine_tune(
        Tail(backbone, recipe, views.schedule.from_stage, probe, norm_statistics=settings.norm_statistics),
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
    )


def choose_schedule(
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    settings: FinetuneSettings,
    budget_s: float,
    num_training: int,
    num_calibration: int,
) -> Schedule:
    """How deep, on how many views and how long to train, so that it fits into the budget on this machine.

    Each possible cut is timed on this machine, from the shallowest down. Of those that fit, the deepest is taken: what
    is deeper can learn more, and the averaged weights and the calibration split keep it from learning too much.
    """
    stages = stages_of(backbone)
    taps = tap_stages(backbone, stages, recipe.layer)
    epochs = DEFAULT_EPOCHS if settings.epochs == "auto" else settings.epochs
    views = DEFAULT_VIEWS if settings.views == "auto" else settings.views
    cuts = list(range(min(taps), -1, -1)) if settings.from_stage == "auto" else [settings.from_stage]
    frozen_s = _frozen_seconds(backbone, recipe)
    chosen: int | None = None

    def total_s(cut: int, tail_s: float) -> float:
        share_frozen = frozen_s if cut else 0.02 * frozen_s
        once = share_frozen * (num_training * (2 + views) + 2 * num_calibration)
        return once + epochs * tail_s * (num_training + 0.7 * num_calibration)

    timed: dict[int, float] = {}
    while True:
        for cut in cuts:
            if cut not in timed:
                timed[cut] = _tail_seconds(backbone, recipe, probe, settings, cut, bfloat16=False)
            if total_s(cut, timed[cut]) > budget_s:
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
    bfloat16 = settings.precision == "bfloat16"
    seconds = timed[cut]
    if settings.precision == "auto":
        half = _tail_seconds(backbone, recipe, probe, settings, cut, bfloat16=True)
        bfloat16, seconds = half < 0.9 * seconds, min(half, seconds)
    reasons = (
        f"training stages {cut} to {max(taps)} of {len(stages)} and the "
        f"classifier, {epochs} epochs on {views} views of {num_training} pictures, "
        f"{'bfloat16' if bfloat16 else 'float32'}: about {total_s(cut, seconds):.0f} s of {budget_s:.0f} s"
        + ("" if fits else "; more than the budget, and nothing is left to leave out"),
    )
    return Schedule(cut, views, epochs, bfloat16, reasons)


def _tail_seconds(
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    settings: FinetuneSettings,
    cut: int,
    *,
    bfloat16: bool,
) -> float:
    """Seconds a picture for one training step of the stages from `cut` on."""
    tail = Tail(backbone, recipe, cut, probe, norm_statistics=settings.norm_statistics).train()
    tail.to(memory_format=torch.channels_last)
    inputs = torch.zeros(_TIMED_IMAGES, 3, recipe.input_px, recipe.input_px)
    with torch.inference_mode():
        for stage in stages_of(backbone)[:cut]:
            inputs = stage(inputs)
    inputs = inputs.clone().contiguous(memory_format=torch.channels_last)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = tail(inputs).float().square().mean()
        loss.backward()
        best = min(best, time.perf_counter() - started)
    return float(best) / _TIMED_IMAGES


@torch.inference_mode()
def _frozen_seconds(backbone: Backbone, recipe: FeatureRecipe) -> float:
    """Seconds a view for the whole network in eager torch: more than the frozen part will take in onnxruntime."""
    inputs = torch.zeros(_TIMED_IMAGES, 3, recipe.input_px, recipe.input_px).contiguous(
        memory_format=torch.channels_last
    )
    model = backbone.model.to(memory_format=torch.channels_last)
    best = np.inf
    for _ in range(2):
        started = time.perf_counter()
        model(inputs)
        best = min(best, time.perf_counter() - started)
    return float(best) / _TIMED_IMAGES


def save_curves(history: list[EpochFigures], chosen_epoch: int, stem: Path) -> None:
    """The curves of loss and accuracy as `curves.png` and `curves.svg`; nothing if no epoch was trained."""
    if len(history) < 2:
        return
    from matplotlib.figure import Figure

    epochs = [figures.epoch for figures in history]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [figures.loss for figures in history], color="#0072b2", label="training loss")
    left.plot(epochs, [figures.calibration_nll for figures in history], color="#d55e00", label="calibration loss")
    right.plot(epochs, [figures.calibration_accuracy for figures in history], color="#d55e00", label="calibration")
    right.set_ylabel("share right")
    left.set_ylabel("negative log-likelihood")
    for axes in (left, right):
        axes.axvline(chosen_epoch, color="#666666", linestyle=":", label=f"kept: epoch {chosen_epoch}")
        axes.set_xlabel("epoch (0: the probe)")
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    for ending in ("png", "svg"):
        with whole_file(stem.with_suffix(f".{ending}")) as temporary:
            figure.savefig(temporary, format=ending, dpi=150)
