"""From a chosen recipe and its probe to a fine-tuned network: what to train, on which views, and how it went.

N training pictures, M calibration pictures, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from vision.files import whole_file
from vision.train.backbones import Backbone
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.finetune import EpochFigures, Schedule, Tuned, fine_tune, tuned_vectors
from vision.train.losses import ClassRelations
from vision.train.probe import LinearProbe
from vision.train.stages import build_tail, tuned_backbone
from vision.train.training_set import PreparedRun
from vision.train.views import FreshViews, FrozenPart, ViewSource, ViewStore, stored_views


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
