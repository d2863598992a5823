"""Fine-tuning within a run: the schedule chosen once, views made once for each recipe, figures told as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from vision.files import whole_file, write_whole_text
from vision.train.backbones import Backbone
from vision.train.devices import from_first_process, open_accelerator
from vision.train.features import FeatureRecipe
from vision.train.finetune import EpochFigures, Schedule
from vision.train.probe import LinearProbe
from vision.train.run_folder import FOLDS_DIR, SCHEDULES_FILE, MetricsLog
from vision.train.scheduling import choose_schedule, seconds_a_view
from vision.train.training_set import PreparedRun
from vision.train.tuning import (
    PreparedViews,
    TunedNetwork,
    prepare_views,
    save_curves,
    tune_fold,
    tune_network,
)

Tell = Callable[[str], None]


class Tuner:
    """Everything that a run fine-tunes, whole or fold by fold."""

    def __init__(
        self,
        prepared: PreparedRun,
        backbones: Mapping[str, Backbone],
        cache_folder: Path,
        accelerator: Accelerator | None = None,
        tell: Tell = lambda text: None,
        on_views: Callable[[int], None] = lambda count: None,
        run_dir: Path | None = None,
    ) -> None:
        """Without an accelerator, this process on the device that the settings name.

        In `run_dir` is kept what `auto` chose and what was tuned on parts of the pictures, so that a run that is
        resumed trains as it began, and nothing twice.
        """
        self._schedules = run_dir / SCHEDULES_FILE if run_dir is not None else None
        self._folds_dir = run_dir / FOLDS_DIR if run_dir is not None else None
        self._prepared, self._backbones, self._cache_folder = prepared, backbones, cache_folder
        self._accelerator = open_accelerator(prepared.config.train.device) if accelerator is None else accelerator
        self._tell, self._on_views = tell, on_views
        self._views: dict[FeatureRecipe, PreparedViews] = {}

    def tune(
        self,
        recipe: FeatureRecipe,
        probe: LinearProbe,
        *,
        checkpoint: Path | None = None,
        log: MetricsLog | None = None,
        curves: Path | None = None,
    ) -> TunedNetwork:
        """Fine-tune on all training pictures.

        Args:
            recipe: The features that the probe was fitted on.
            probe: Where training starts.
            checkpoint: File that is written after each epoch, and gone on from.
            log: Told the schedule, each epoch and the one that is kept.
            curves: Where the curves go, without an ending.
        """
        log = MetricsLog(None) if log is None else log
        views = self._views_of(recipe, probe)
        seconds: list[float] = []

        def on_epoch(figures: EpochFigures) -> None:
            if figures.epoch:  # the first only looks at the calibration pictures
                seconds.append(figures.seconds)
            log.write("epoch", **asdict(figures))
            self._accelerator.log(
                {name: value for name, value in asdict(figures).items() if name != "epoch" and np.isfinite(value)},
                step=figures.epoch,
            )
            self._tell(_epoch_line(figures, float(np.median(seconds or [0])), views.schedule.epochs))

        log.write("schedule", **asdict(views.schedule))
        network = tune_network(
            self._prepared,
            self._backbones[recipe.backbone],
            recipe,
            probe,
            views,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
            accelerator=self._accelerator,
        )
        chosen = network.tuned.chosen_epoch
        self._tell(f"kept epoch {chosen}" if chosen else "no epoch was better than the start, which is kept")
        log.write("kept", epoch=chosen)
        if curves is not None and self._accelerator.is_main_process:
            save_curves(network.tuned.history, chosen, curves)
        return network

    def tune_fold(
        self,
        recipe: FeatureRecipe,
        probe: LinearProbe,
        train: NDArray[np.int64],
        held_out: NDArray[np.int64],
        seed: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Logits of held-out rows, and embeddings of these and of the training rows."""
        kept = self._folds_dir / f"{_key_of(recipe, probe, train, held_out, seed)}.npz" if self._folds_dir else None
        if kept is not None and from_first_process(self._accelerator, kept.exists()):
            self._tell(f"tuned before on {len(train)} pictures without {len(held_out)}")
            with np.load(kept) as arrays:
                return arrays["logits"], arrays["of_held_out"], arrays["of_train"]
        views = self._views_of(recipe, probe)
        seconds: list[float] = []

        def on_epoch(figures: EpochFigures) -> None:
            seconds.append(figures.seconds)
            if figures.epoch == views.schedule.epochs:
                self._tell(
                    f"tuned on {len(train)} pictures without {len(held_out)}: {figures.epoch} epochs, "
                    f"loss {figures.loss:.3f}, {sum(seconds):.0f} s"
                )

        logits, of_held_out, of_train = tune_fold(
            self._prepared,
            self._backbones[recipe.backbone],
            recipe,
            probe,
            views,
            train,
            held_out,
            seed=seed,
            accelerator=self._accelerator,
            on_epoch=on_epoch,
        )
        if kept is not None and self._accelerator.is_main_process:
            with whole_file(kept) as temporary, temporary.open("wb") as stream:
                np.savez(stream, logits=logits, of_held_out=of_held_out, of_train=of_train)
        return logits, of_held_out, of_train

    def _views_of(self, recipe: FeatureRecipe, probe: LinearProbe) -> PreparedViews:
        if recipe not in self._views:
            backbone = self._backbones[recipe.backbone]
            self._tell(f"views for fine-tuning: {recipe}")
            schedule = self._schedule_of(backbone, recipe, len(probe.mean))
            for reason in schedule.reasons:
                self._tell(reason)
            with self._accelerator.main_process_first():
                self._views[recipe] = prepare_views(
                    self._prepared,
                    backbone,
                    recipe,
                    schedule,
                    self._cache_folder,
                    accelerator=self._accelerator,
                    on_progress=self._on_views,
                )
        return self._views[recipe]

    def _schedule_of(self, backbone: Backbone, recipe: FeatureRecipe, num_features: int) -> Schedule:
        path, name = self._schedules, str(recipe)
        kept = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
        kept = from_first_process(self._accelerator, kept)
        if name in kept:
            return Schedule(**{**kept[name], "reasons": tuple(kept[name]["reasons"])})
        schedule = planned_schedule(
            self._prepared, backbone, recipe, num_features, self._cache_folder, self._accelerator, with_estimate=False
        )
        if path is not None and self._accelerator.is_main_process:
            write_whole_text(path, json.dumps({**kept, name: asdict(schedule)}, indent=1) + "\n")
        return schedule


def _key_of(
    recipe: FeatureRecipe, probe: LinearProbe, train: NDArray[np.int64], held_out: NDArray[np.int64], seed: int
) -> str:
    """Names all that decides what is tuned on a part of a run's pictures, beside the run's own settings and inputs."""
    digest = hashlib.sha256(f"{recipe} {seed} {len(train)}".encode())
    for array in (train, held_out, probe.mean, probe.scale, probe.weight, probe.bias):
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]


def planned_schedule(
    prepared: PreparedRun,
    backbone: Backbone,
    recipe: FeatureRecipe,
    num_features: int,
    cache_folder: Path,
    accelerator: Accelerator | None = None,
    *,
    with_estimate: bool = True,
) -> Schedule:
    """What `auto` chooses for a run on this machine; the same in all processes.

    Args:
        prepared: The run's data and settings.
        backbone: The network.
        recipe: The features.
        num_features: D of the recipe.
        cache_folder: Where the frozen part's graph is kept between runs.
        accelerator: Processes and device; by default this process on the device that the settings name.
        with_estimate: Time the training also where the settings leave nothing open.
    """
    config = prepared.config
    accelerator = open_accelerator(config.train.device) if accelerator is None else accelerator
    schedule = choose_schedule(
        backbone,
        recipe,
        LinearProbe.blank(num_features, len(prepared.classes)),
        config.finetune,
        config.train.budget_s,
        len(prepared.training.images),
        len(prepared.calibration.images),
        partial(
            seconds_a_view,
            backbone=backbone,
            recipe=recipe,
            images=prepared.training.images,
            augmentation=config.augment,
            folder=cache_folder / "views",
            device=accelerator.device,
        ),
        strategy=config.train.strategy,
        num_tunings=1 + config.train.folds + prepared.num_novelty_tunings,
        num_processes=accelerator.num_processes,
        device=accelerator.device,
        with_estimate=with_estimate,
    )
    chosen: Schedule = from_first_process(accelerator, schedule)
    return chosen


def _epoch_line(figures: EpochFigures, seconds_an_epoch: float, epochs: int) -> str:
    parts = [f"epoch {figures.epoch}/{epochs}"]
    parts.append(f"loss {figures.loss:.3f}" if figures.epoch else "before training")
    if not np.isnan(figures.calibration_nll):
        parts.append(f"calibration loss {figures.calibration_nll:.3f}, {figures.calibration_accuracy:.1%} right")
    if figures.epoch:
        parts.append(f"{(epochs - figures.epoch) * seconds_an_epoch:.0f} s left")
    return ", ".join(parts)
