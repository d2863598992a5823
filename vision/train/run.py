"""A whole training run: features, choice of candidates, out-of-fold predictions, fit, calibration, bundle.

N images, D features, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.bundle import Bundle, Calibration, load_bundle
from vision.data.manifest import truth_columns
from vision.files import write_whole_text
from vision.predictions import save_predictions
from vision.train.backbones import Backbone, load_backbones
from vision.train.bundling import environment, write_bundle
from vision.train.deciding import fit_decision, tuned_novelty_trials
from vision.train.decision_fitting import NoveltyTrial
from vision.train.devices import open_accelerator, tracked
from vision.train.feasibility import check_tuning, feature_sizes, unused_settings
from vision.train.features import FeatureCache, FeatureRecipe, feature_recipes
from vision.train.finetune import Schedule
from vision.train.out_of_fold import out_of_fold_predictions, try_all
from vision.train.probe import Candidate, LinearProbe, fit_probe, fit_temperature
from vision.train.run_folder import (
    BUNDLE_DIR,
    CHECKPOINT_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    OUT_OF_FOLD_FILE,
    MetricsLog,
    remove_working_state,
)
from vision.train.training_set import PreparedRun, TrainingSet
from vision.train.tuner import Tuner, planned_schedule
from vision.train.views import FrozenPart, size_of_views

Tell = Callable[[str], None]


@dataclass(frozen=True)
class TrainingPlan:
    """What a run would do, before it does it.

    Attributes:
        backbones: The networks, weights loaded.
        recipes: Candidates for the features.
        num_images_to_see: Times that a picture's features are needed: pictures times networks and sizes.
        num_passes: How many of these the cache lacks, so that the network has to run.
        seconds_for_features: Estimate from a batch that was timed on this machine.
        feature_bytes: Memory of all candidates' vectors.
        fine_tuning: What fine-tuning the first candidate would be, and why; empty for a probe.
        warnings: Settings that nothing uses, in words.
    """

    backbones: dict[str, Backbone]
    recipes: list[FeatureRecipe]
    num_images_to_see: int
    num_passes: int
    seconds_for_features: float
    feature_bytes: int
    fine_tuning: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_run(prepared: PreparedRun, cache_folder: Path, *, with_schedule: bool = False) -> TrainingPlan:
    """Load the networks, check that the settings go with them, and time one batch of each; trains nothing.

    Args:
        prepared: Data after its checks.
        cache_folder: Where features are kept between runs.
        with_schedule: Also time fine-tuning, and say what `auto` would choose.

    Raises:
        ConfigError: The networks do not take the settings.
        MissingExtraError: A tracker is not installed.
        WeightsError: Weights are missing or do not fit.
        LicenceError: Their licence does not allow the use.
    """
    config = prepared.config
    backbones = load_backbones(config.backbone, seed=config.seed, input_px=config.features.input_px)
    recipes = feature_recipes(config)
    cache = FeatureCache(cache_folder / "features", backbones)
    num_to_see, num_passes, seconds = 0, 0, 0.0
    images = [*prepared.training.images, *prepared.calibration.images]
    sizes = feature_sizes(backbones, recipes)
    if config.train.strategy != "probe":
        check_tuning(config, backbones, sizes)
    feature_bytes = sum(4 * len(images) * size for size in sizes.values())
    for name, size in sorted({(recipe.backbone, recipe.input_px) for recipe in recipes}):
        alike = [recipe for recipe in recipes if (recipe.backbone, recipe.input_px) == (name, size)]
        missing = cache.num_missing(images, alike)
        num_to_see += len(images)
        num_passes += missing
        if missing:
            seconds += missing * cache.seconds_per_image(alike, len(images))
    fine_tuning: tuple[str, ...] = ()
    if with_schedule and config.train.strategy != "probe":
        recipe = recipes[0]
        schedule = planned_schedule(prepared, backbones[recipe.backbone], recipe, sizes[recipe], cache_folder)
        fine_tuning = (*schedule.reasons, _room_for_views(prepared, backbones, recipe, schedule, cache_folder))
    warnings = tuple(unused_settings(config))
    return TrainingPlan(backbones, recipes, num_to_see, num_passes, seconds, feature_bytes, fine_tuning, warnings)


def _room_for_views(
    prepared: PreparedRun,
    backbones: Mapping[str, Backbone],
    recipe: FeatureRecipe,
    schedule: Schedule,
    cache_folder: Path,
) -> str:
    """How much of the disk the views of a schedule take, in words."""
    frozen = FrozenPart(backbones[recipe.backbone], recipe, schedule.from_stage, cache_folder / "views")
    of_training = size_of_views(frozen, len(prepared.training.images), schedule.views or 0)
    size_bytes = of_training + size_of_views(frozen, len(prepared.calibration.images), 0)
    size = f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
    return f"views take {size} in {cache_folder / 'views'}"


@dataclass(frozen=True)
class TrainingResult:
    """What a run left behind.

    Attributes:
        bundle: The bundle, as loaded again from disk.
        candidates: Everything that cross-validation tried on the training split, best first.
        out_of_fold_path: Predictions of every training picture while held out; None without `train.folds`.
    """

    bundle: Bundle
    candidates: list[Candidate]
    out_of_fold_path: Path | None


def train_run(
    prepared: PreparedRun,
    plan: TrainingPlan,
    run_dir: Path,
    cache_folder: Path,
    *,
    tell: Tell = lambda text: None,
    on_progress: Callable[[int], None] = lambda count: None,
    on_views: Callable[[int], None] = lambda count: None,
) -> TrainingResult:
    """Train as configured and write the bundle into `run_dir`.

    Of several processes each calls this; the first prepares and writes, all train, and all return the same bundle.

    Args:
        prepared: Data after its checks.
        plan: Networks and candidates.
        run_dir: The run's folder, made by `open_run_folder`.
        cache_folder: Where features are kept between runs.
        tell: Told each stage in words.
        on_progress: Told how many picture passes are done.
        on_views: Told how many pictures have their views for fine-tuning.
    """
    config, training = prepared.config, prepared.training
    is_tuned = config.train.strategy != "probe"
    accelerator = (
        open_accelerator(config.train.device, trackers=config.train.trackers, folder=run_dir) if is_tuned else None
    )
    is_first = accelerator is None or accelerator.is_main_process
    log = MetricsLog(run_dir / METRICS_FILE if is_first else None)
    if is_first:
        write_whole_text(run_dir / ENVIRONMENT_FILE, json.dumps(environment(), indent=2) + "\n")
    cache = FeatureCache(cache_folder / "features", plan.backbones)
    images = [*training.images, *prepared.calibration.images]
    with accelerator.main_process_first() if accelerator is not None else nullcontext():
        features = cache.features(images, plan.recipes, batch_size=config.train.batch_size, on_progress=on_progress)
    of_training = {recipe: rows[: len(training.images)] for recipe, rows in features.items()}

    tuner = None
    if accelerator is not None:
        tuner = Tuner(prepared, plan.backbones, cache_folder, accelerator, tell, on_views, run_dir)
    out_of_fold_path = None
    if config.train.folds:
        tell(f"out-of-fold predictions, {config.train.folds} folds")
        rows, chosen = out_of_fold_predictions(
            prepared, of_training, seed=config.seed, tune=tuner.tune_fold if tuner is not None else None
        )
        out_of_fold_path = run_dir / OUT_OF_FOLD_FILE
        if is_first:
            save_predictions(rows, out_of_fold_path, extra_columns=truth_columns(training.table))
        hits = [row.label == label for row, label in zip(rows, training.table["label"], strict=True)]
        log.write("out_of_fold", accuracy=float(np.mean(hits)), chosen=[_candidate_dict(c) for c in chosen])

    tell(f"choosing among {len(plan.recipes) * len(config.train.strengths)} candidates")
    candidates = try_all(config, of_training, training, range(len(training.images)), len(prepared.classes), config.seed)
    best = candidates[0]
    for candidate in candidates:
        log.write("candidate", **_candidate_dict(candidate))
    tell(f"chosen: {best.recipe}, C = {best.strength:g}; {best.accuracy:.1%} right in cross-validation")
    untuned, calibration_features = np.split(features[best.recipe], [len(training.images)])
    del features, of_training  # those of the other candidates take memory for nothing
    probe = fit_probe(untuned, training.class_indices, len(prepared.classes), best.strength)
    backbone, fitted_features = plan.backbones[best.recipe.backbone], untuned
    tuned_trials: list[NoveltyTrial] = []
    if tuner is not None and accelerator is not None:
        with tracked(accelerator, config.name, config.model_dump(mode="json")):
            network = tuner.tune(
                best.recipe, probe, checkpoint=run_dir / CHECKPOINT_FILE, log=log, curves=run_dir / "curves"
            )
        tuned_trials = _tuned_novelty(prepared, tuner, best, untuned, tell)
        backbone, probe = network.backbone, network.probe
        fitted_features, calibration_features = network.of_training, network.of_calibration
        tuner = None  # its views are mapped into memory
    if not is_first:
        assert accelerator is not None
        accelerator.wait_for_everyone()
        return TrainingResult(load_bundle(run_dir / BUNDLE_DIR), candidates, out_of_fold_path)
    calibration = _calibrate(best, probe, calibration_features, prepared.calibration)
    log.write("calibration", **calibration.model_dump())
    tell("fitting what answers promise: calibration, novelty, roll-up, label sets")
    decision = fit_decision(
        prepared,
        probe,
        best.strength,
        fitted_features,
        calibration_features,
        untuned=untuned if is_tuned else None,
        tuned_trials=tuned_trials,
    )
    log.write(
        "decision",
        nll_before=decision.nll_before,
        nll_after=decision.nll_after,
        novelty={trial.name: trial.mean_auroc for trial in decision.novelty_trials},
        **decision.info.model_dump(exclude={"scale", "bias", "label_sets"}),
    )
    for line in decision.in_words(config.decide):
        tell(line)

    tell("writing the bundle")
    bundle = write_bundle(prepared, backbone, best, probe, calibration, decision, fitted_features, run_dir / BUNDLE_DIR)
    log.write("bundle", digest=bundle.digest)
    remove_working_state(run_dir)
    if accelerator is not None:
        accelerator.wait_for_everyone()
    return TrainingResult(bundle, candidates, out_of_fold_path)


def _tuned_novelty(
    prepared: PreparedRun, tuner: Tuner, best: Candidate, features: NDArray[np.float32], tell: Callable[[str], None]
) -> list[NoveltyTrial]:
    config = prepared.config
    num_tunings = prepared.num_novelty_tunings
    if not num_tunings:
        return []
    tell(f"choosing the novelty score: {num_tunings} networks, each tuned without some of the classes")
    return tuned_novelty_trials(
        prepared.training,
        features,
        len(prepared.classes),
        best.strength,
        lambda probe, train, asked: tuner.tune_fold(best.recipe, probe, train, asked, config.seed),
        num_tunings=num_tunings,
        seed=config.seed,
    )


def _calibrate(
    best: Candidate, probe: LinearProbe, features: NDArray[np.float32], calibration_set: TrainingSet
) -> Calibration:
    """Temperature from the calibration split, or from cross-validation where there is none."""
    if len(calibration_set.images) == 0:
        return Calibration(
            temperature=best.temperature, fitted_on="cross-validation on the training split", num_images=0
        )
    temperature = fit_temperature(probe.logits(features), calibration_set.class_indices)
    return Calibration(temperature=temperature, fitted_on="calibration split", num_images=len(calibration_set.images))


def _candidate_dict(candidate: Candidate) -> dict[str, Any]:
    return {
        "recipe": str(candidate.recipe),
        "strength": candidate.strength,
        "accuracy": candidate.accuracy,
        "nll": candidate.nll,
        "temperature": candidate.temperature,
    }
