"""A whole training run: features, choice of candidates, out-of-fold predictions, fit, calibration, bundle.

N images, D features, K classes.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import vision
from vision.bundle import (
    ATTRIBUTION_FILE,
    BUNDLE_FILES,
    CARD_FILE,
    INFO_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Calibration,
    Licensing,
    Provenance,
    load_bundle,
)
from vision.classify.decision import calibrated_probabilities, decide
from vision.classify.engine import NUM_NEAREST, nearest_similarities
from vision.config import Config, Layer
from vision.data.attribution import attribution_line, render_attribution
from vision.data.licences import LicencePolicy
from vision.data.manifest import truth_columns
from vision.data.preprocessing import Preprocessing, load_network_input, load_thumbnail
from vision.errors import BundleError, ConfigError
from vision.files import sha256_of_file, whole_file, write_whole_text
from vision.predictions import NearestImage, Prediction, save_predictions
from vision.train.backbones import Backbone, feature_maps, load_backbones
from vision.train.deciding import FittedDecision, fit_decision
from vision.train.export import ProbedNetwork, check_export, export_onnx, run_graph
from vision.train.features import FeatureCache, FeatureRecipe, TrainingImage, feature_recipes, vectors_of
from vision.train.finetune import EpochFigures
from vision.train.folds import group_folds
from vision.train.model_card import render_model_card
from vision.train.probe import Candidate, LinearProbe, fit_probe, fit_temperature, try_candidates
from vision.train.run_folder import ENVIRONMENT_FILE, METRICS_FILE
from vision.train.training_set import PreparedRun, TrainingSet
from vision.train.tuning import PreparedViews, TunedNetwork, prepare_views, save_curves, tune_fold, tune_network

FEATURE_ROUNDING = 1e-3
HALF_PRECISION_ROUNDING = 3e-2
"""Largest difference of logits between cached features and the graph, relative to the largest logit."""

Features = Mapping[FeatureRecipe, NDArray[np.float32]]
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
    """

    backbones: dict[str, Backbone]
    recipes: list[FeatureRecipe]
    num_images_to_see: int
    num_passes: int
    seconds_for_features: float
    feature_bytes: int


def plan_run(prepared: PreparedRun, cache_folder: Path) -> TrainingPlan:
    """Load the networks and time one batch of each; trains nothing.

    Raises:
        WeightsError: Weights are missing or do not fit.
        LicenceError: Their licence does not allow the use.
    """
    config = prepared.config
    backbones = load_backbones(config.backbone, seed=config.seed)
    recipes = feature_recipes(config)
    cache = FeatureCache(cache_folder / "features", backbones)
    num_to_see, num_passes, seconds = 0, 0, 0.0
    images = [*prepared.training.images, *prepared.calibration.images]
    sizes = _feature_sizes(backbones, recipes)
    feature_bytes = sum(4 * len(images) * size for size in sizes.values())
    for name, size in sorted({(recipe.backbone, recipe.input_px) for recipe in recipes}):
        alike = [recipe for recipe in recipes if (recipe.backbone, recipe.input_px) == (name, size)]
        missing = cache.num_missing(images, alike)
        num_to_see += len(images)
        num_passes += missing
        if missing:
            seconds += missing * _seconds_per_image(backbones[name], alike[0])
    return TrainingPlan(backbones, recipes, num_to_see, num_passes, seconds, feature_bytes)


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
) -> TrainingResult:
    """Train as configured and write the bundle into `run_dir`.

    Args:
        prepared: Data after its checks.
        plan: Networks and candidates.
        run_dir: The run's folder, made by `open_run_folder`.
        cache_folder: Where features are kept between runs.
        tell: Told each stage in words.
        on_progress: Told how many picture passes are done.
    """
    config, training = prepared.config, prepared.training
    log = _MetricsLog(run_dir / METRICS_FILE)
    write_whole_text(run_dir / ENVIRONMENT_FILE, json.dumps(environment(), indent=2) + "\n")
    cache = FeatureCache(cache_folder / "features", plan.backbones)
    images = [*training.images, *prepared.calibration.images]
    features = cache.features(images, plan.recipes, batch_size=config.train.batch_size, on_progress=on_progress)
    of_training = {recipe: rows[: len(training.images)] for recipe, rows in features.items()}
    of_calibration = {recipe: rows[len(training.images) :] for recipe, rows in features.items()}

    tuner = _Tuner(prepared, plan.backbones, cache_folder, tell) if config.train.strategy == "finetune" else None
    out_of_fold_path = None
    if config.train.folds:
        tell(f"out-of-fold predictions, {config.train.folds} folds")
        rows, chosen = out_of_fold_predictions(
            prepared, of_training, seed=config.seed, tune=tuner.tune_fold if tuner is not None else None
        )
        out_of_fold_path = run_dir / "out_of_fold" / "predictions.parquet"
        save_predictions(rows, out_of_fold_path, extra_columns=truth_columns(training.table))
        hits = [row.label == label for row, label in zip(rows, training.table["label"], strict=True)]
        log.write("out_of_fold", accuracy=float(np.mean(hits)), chosen=[_candidate_dict(c) for c in chosen])

    tell(f"choosing among {len(plan.recipes) * len(config.train.strengths)} candidates")
    candidates = try_all(config, of_training, training, range(len(training.images)), len(prepared.classes), config.seed)
    best = candidates[0]
    for candidate in candidates:
        log.write("candidate", **_candidate_dict(candidate))
    tell(f"chosen: {best.recipe}, C = {best.strength:g}; {best.accuracy:.1%} right in cross-validation")
    probe = fit_probe(of_training[best.recipe], training.class_indices, len(prepared.classes), best.strength)
    backbone, fitted_features, calibration_features = (
        plan.backbones[best.recipe.backbone],
        of_training[best.recipe],
        of_calibration[best.recipe],
    )
    if tuner is not None:
        network = tuner.tune(best.recipe, probe, run_dir, log)
        backbone, probe = network.backbone, network.probe
        fitted_features, calibration_features = network.of_training, network.of_calibration
    calibration = _calibrate(best, probe, calibration_features, prepared.calibration)
    log.write("calibration", **calibration.model_dump())
    tell("fitting what answers promise: calibration, novelty, roll-up, label sets")
    decision = fit_decision(
        prepared,
        probe,
        best.strength,
        fitted_features,
        calibration_features,
        untuned=of_training[best.recipe] if tuner is not None else None,
    )
    log.write(
        "decision",
        nll_before=decision.nll_before,
        nll_after=decision.nll_after,
        novelty={trial.name: trial.mean_auroc for trial in decision.novelty_trials},
        **decision.info.model_dump(exclude={"scale", "bias", "label_sets"}),
    )
    if not decision.info.is_promised:
        tell(
            f"{decision.info.num_images} pictures to calibrate on are too few to promise "
            f"{decision.info.target_accuracy:.0%} right answers; the threshold is a best effort"
        )

    tell("writing the bundle")
    bundle = _write_bundle(prepared, backbone, best, probe, calibration, decision, fitted_features, run_dir / "bundle")
    log.write("bundle", digest=bundle.digest)
    return TrainingResult(bundle, candidates, out_of_fold_path)


class _Tuner:
    """Fine-tuning within one run: views are made once for each recipe."""

    def __init__(
        self, prepared: PreparedRun, backbones: Mapping[str, Backbone], cache_folder: Path, tell: Tell
    ) -> None:
        self._prepared, self._backbones, self._cache_folder, self._tell = prepared, backbones, cache_folder, tell
        self._views: dict[FeatureRecipe, PreparedViews] = {}

    def tune(self, recipe: FeatureRecipe, probe: LinearProbe, run_dir: Path, log: _MetricsLog) -> TunedNetwork:
        """Fine-tune on all training pictures, with a checkpoint after each epoch."""
        views = self._views_of(recipe, probe)
        seconds: list[float] = []

        def on_epoch(figures: EpochFigures) -> None:
            seconds.append(figures.seconds)
            log.write("epoch", **asdict(figures))
            self._tell(_epoch_line(figures, float(np.median(seconds)), views.schedule.epochs))

        log.write("schedule", **asdict(views.schedule))
        network = tune_network(
            self._prepared,
            self._backbones[recipe.backbone],
            recipe,
            probe,
            views,
            checkpoint=run_dir / "checkpoint.pt",
            on_epoch=on_epoch,
        )
        chosen = network.tuned.chosen_epoch
        self._tell(f"kept epoch {chosen}" if chosen else "no epoch was better than the probe, which is kept")
        log.write("kept", epoch=chosen)
        save_curves(network.tuned.history, chosen, run_dir / "curves")
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
        return tune_fold(
            self._prepared,
            self._backbones[recipe.backbone],
            recipe,
            probe,
            self._views_of(recipe, probe),
            train,
            held_out,
            seed=seed,
        )

    def _views_of(self, recipe: FeatureRecipe, probe: LinearProbe) -> PreparedViews:
        if recipe not in self._views:
            self._tell(f"views for fine-tuning: {recipe}")
            backbone = self._backbones[recipe.backbone]
            self._views[recipe] = prepare_views(
                self._prepared, backbone, recipe, probe, self._cache_folder, tell=self._tell
            )
        return self._views[recipe]


def _epoch_line(figures: EpochFigures, seconds_an_epoch: float, epochs: int) -> str:
    parts = [f"epoch {figures.epoch}/{epochs}"]
    parts.append(f"loss {figures.loss:.3f}" if figures.epoch else "the probe")
    if not np.isnan(figures.calibration_nll):
        parts.append(f"calibration loss {figures.calibration_nll:.3f}, {figures.calibration_accuracy:.1%} right")
    if figures.epoch:
        parts.append(f"{(epochs - figures.epoch) * seconds_an_epoch:.0f} s left")
    return ", ".join(parts)


TuneFold = Callable[
    [FeatureRecipe, LinearProbe, NDArray[np.int64], NDArray[np.int64], int],
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
]


def out_of_fold_predictions(
    prepared: PreparedRun, features: Features, *, seed: int, tune: TuneFold | None = None
) -> tuple[list[Prediction], list[Candidate]]:
    """Predictions of every training picture by probes, or networks tuned from them, that never saw its group.

    In each fold, recipe, strength and temperature are chosen on the other folds alone.

    Args:
        prepared: The run's data.
        features: (N, D) for each candidate recipe.
        seed: Decides the folds.
        tune: Trains further from a fold's probe; None for the probe alone.

    Returns:
        N rows in the order of the training pictures, and each fold's choice.
    """
    training, config = prepared.training, prepared.config
    num_classes = len(prepared.classes)
    rows: list[Prediction | None] = [None] * len(training.images)
    chosen = []
    for train, held_out in group_folds(training.class_indices, training.groups, config.train.folds, seed):
        best = try_all(config, features, training, train, num_classes, seed)[0]
        chosen.append(best)
        matrix = features[best.recipe]
        probe = fit_probe(matrix[train], training.class_indices[train], num_classes, best.strength)
        if tune is None:
            logits, embeddings = probe.logits(matrix[held_out]), probe.standardised(matrix[held_out])
            references = _unit_rows(probe.standardised(matrix[train]))
        else:
            logits, embeddings, of_train = tune(best.recipe, probe, train, held_out, seed)
            references = _unit_rows(of_train)
        probabilities = calibrated_probabilities(logits, best.temperature)
        for position, row in enumerate(held_out):
            nearest = _nearest_of(embeddings[position], references, train, training)
            decision = decide(probabilities[position], prepared.classes, prepared.taxonomy, top_k=num_classes)
            rows[row] = Prediction(
                training.table["file_name"][int(row)],
                training.images[row].sha256,
                "ok",
                label=decision.label,
                level=decision.level,
                probability=decision.probability,
                reason=decision.reason,
                top=decision.top,
                novelty=1 - nearest[0].similarity,
                nearest=nearest,
                cues=decision.cues,
                model=f"out-of-fold, seed {seed}",
            )
    assert all(row is not None for row in rows), "every picture is held out once"
    return [row for row in rows if row is not None], chosen


def environment() -> dict[str, str]:
    """Versions that decide the result, and the machine."""
    packages = ("numpy", "scipy", "scikit-learn", "torch", "timm", "onnx", "onnxscript", "onnxruntime", "pillow")
    return {
        "vision": vision.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "git_revision": git_revision(),
        "machine": platform.machine(),
        "system": platform.system(),
        "device": "cpu" if not torch.cuda.is_available() else torch.cuda.get_device_name(),
    }


def git_revision() -> str:
    """The commit that this code stands at, with `+changes` if files differ from it; `unknown` outside a checkout."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class _MetricsLog:
    """One JSON object a line, appended as the run goes."""

    def __init__(self, path: Path) -> None:
        write_whole_text(path, "")  # a resumed run tells its story from the beginning
        self._path = path
        self._start = time.monotonic()

    def write(self, event: str, **values: Any) -> None:
        line = {"event": event, "elapsed_s": round(time.monotonic() - self._start, 3), **values}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def try_all(
    config: Config,
    features: Features,
    training: TrainingSet,
    rows: Sequence[int] | NDArray[np.int64],
    num_classes: int,
    seed: int,
) -> list[Candidate]:
    """Every candidate on some rows of the training set, best first."""
    chosen_rows = np.asarray(rows)
    return try_candidates(
        {recipe: matrix[chosen_rows] for recipe, matrix in features.items()},
        training.class_indices[chosen_rows],
        [training.groups[row] for row in chosen_rows],
        num_classes,
        strengths=config.train.strengths,
        num_folds=config.train.inner_folds,
        seed=seed,
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


def _write_bundle(
    prepared: PreparedRun,
    backbone: Backbone,
    best: Candidate,
    probe: LinearProbe,
    calibration: Calibration,
    decision: FittedDecision,
    features: NDArray[np.float32],
    folder: Path,
) -> Bundle:
    training, config = prepared.training, prepared.config
    preprocessing = best.recipe.preprocessing(backbone)
    network = ProbedNetwork(backbone, best.recipe, probe)
    with whole_file(folder / MODEL_FILE) as temporary:
        export_onnx(network, temporary, input_px=preprocessing.input_px)
        rows = np.unique(np.linspace(0, len(training.images) - 1, 8).astype(np.int64))
        samples = np.stack([_network_input_of(training.images[row], preprocessing) for row in rows])
        check_export(network, temporary, samples, shown=folder / MODEL_FILE)
        rounding = HALF_PRECISION_ROUNDING if config.train.strategy == "finetune" else FEATURE_ROUNDING
        _check_features(temporary, samples, probe.logits(features[rows]), rounding)
    with whole_file(folder / WEIGHTS_FILE) as temporary:
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, temporary)
    with whole_file(folder / REFERENCE_FILE) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            embeddings=_unit_rows(probe.standardised(features)).astype(np.float32),
            file_names=np.array(training.table["file_name"].to_list(), dtype=np.str_),
            sha256=np.array([image.sha256 for image in training.images], dtype=np.str_),
            class_indices=training.class_indices,
            **decision.arrays,  # type: ignore[arg-type]
            thumbnails=np.stack(
                [load_thumbnail(image.path, preprocessing, box=image.box) for image in training.images]
            ),
            attributions=np.array(
                [attribution_line(row) for row in training.table.iter_rows(named=True)], dtype=np.str_
            ),
        )
    write_whole_text(
        folder / ATTRIBUTION_FILE,
        render_attribution(training.table, heading=f"Pictures that {config.name} was trained on"),
    )
    licensing = _licensing(config, training.table, backbone)
    counts = {class_id: int((training.class_indices == i).sum()) for i, class_id in enumerate(prepared.classes)}
    write_whole_text(
        folder / CARD_FILE,
        render_model_card(
            config,
            prepared.taxonomy,
            counts,
            best,
            calibration,
            licensing,
            num_boxes=sum(image.box is not None for image in training.images),
        ),
    )
    info = BundleInfo(
        name=config.name,
        classes=prepared.classes,
        taxonomy=prepared.taxonomy.restricted_to(prepared.classes),
        preprocessing=preprocessing,
        embedding={
            "backbone": backbone.name,
            "layer": best.recipe.layer,
            "pooling": best.recipe.pooling,
            "flip": best.recipe.flip,
            "size": int(probe.weight.shape[1]),
        },
        calibration=calibration,
        decision=decision.info,
        licensing=licensing,
        provenance=Provenance(
            config=_shareable(config),
            seed=config.seed,
            versions={key: value for key, value in environment().items() if key not in ("git_revision", "device")},
            git_revision=git_revision(),
            manifest_sha256=sha256_of_file(prepared.manifest.path),
            num_images_per_class=counts,
        ),
        files={name: sha256_of_file(folder / name) for name in BUNDLE_FILES},
    )
    write_whole_text(folder / INFO_FILE, info.model_dump_json(indent=2) + "\n")
    return load_bundle(folder)


def _network_input_of(image: TrainingImage, preprocessing: Preprocessing) -> NDArray[np.float32]:
    return load_network_input(image.path, preprocessing, box=image.box)


def _check_features(path: Path, samples: NDArray[np.float32], expected: NDArray[np.float64], rounding: float) -> None:
    """Make sure that the graph makes of pictures what training was fitted on: cache, order and preprocessing agree.

    Raises:
        BundleError: They do not.
    """
    logits = run_graph(path, samples)[0]
    difference = float(np.abs(logits - expected).max())
    if not difference <= rounding * max(1.0, float(np.abs(expected).max())):
        raise BundleError(
            f"{MODEL_FILE}: logits differ from those of the cached features by {difference:.2g}; "
            "the cache is stale, remove its folder (~/.cache/vision, or --cache) and train again"
        )


def _licensing(config: Config, table: pl.DataFrame, backbone: Backbone) -> Licensing:
    counts = table.group_by(pl.col("licence").fill_null("not stated")).len().sort("licence")
    return Licensing(
        may_be_passed_on=config.data.licence_policy is LicencePolicy.OPEN and config.backbone.accept_licence is None,
        policy=config.data.licence_policy.value,
        weights=backbone.weights.licence,
        weights_source=backbone.weights.source,
        pictures=dict(counts.iter_rows()),
    )


def _shareable(config: Config) -> dict[str, Any]:
    """The settings without the folders of this machine."""
    settings = config.model_dump(mode="json")
    settings["data"]["manifest"] = config.data.manifest.name
    if config.taxonomy is not None:
        settings["taxonomy"] = config.taxonomy.name
    if config.backbone.weights not in ("bundled", "hub", "none"):
        settings["backbone"]["weights"] = Path(config.backbone.weights).name
    return settings


def _nearest_of(
    embedding: NDArray[np.float64], references: NDArray[np.float64], rows: NDArray[np.int64], training: TrainingSet
) -> tuple[NearestImage, ...]:
    similarities = nearest_similarities(embedding, references.astype(np.float32))
    nearest = []
    for position in np.argsort(-similarities, kind="stable")[:NUM_NEAREST]:
        values = training.table.row(int(rows[position]), named=True)
        nearest.append(
            NearestImage(values["file_name"], values["label"], float(similarities[position]), attribution_line(values))
        )
    return tuple(nearest)


def _unit_rows(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return unit


@torch.inference_mode()
def _feature_sizes(backbones: Mapping[str, Backbone], recipes: Sequence[FeatureRecipe]) -> dict[FeatureRecipe, int]:
    """D of every recipe, which also tells whether each network takes each size of input.

    Raises:
        ConfigError: A network does not.
    """
    maps_of: dict[tuple[str, int], dict[Layer, list[torch.Tensor]]] = {}
    for name, size in {(recipe.backbone, recipe.input_px) for recipe in recipes}:
        try:
            maps_of[name, size] = feature_maps(backbones[name].model, torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"features.input_px: {name} does not take {size} px ({reason}); choose another size"
            ) from error
    return {
        recipe: sum(m.shape[1] for m in maps_of[recipe.backbone, recipe.input_px][recipe.layer]) for recipe in recipes
    }


def _seconds_per_image(backbone: Backbone, recipe: FeatureRecipe) -> float:
    """Measured on four grey pictures, after one that warms up."""
    inputs = torch.zeros(4, 3, recipe.input_px, recipe.input_px).to(memory_format=torch.channels_last)
    vectors_of(backbone.model, inputs[:1], [recipe])
    start = time.perf_counter()
    vectors_of(backbone.model, inputs, [recipe])
    return (time.perf_counter() - start) / len(inputs)


def _candidate_dict(candidate: Candidate) -> dict[str, Any]:
    return {
        "recipe": str(candidate.recipe),
        "strength": candidate.strength,
        "accuracy": candidate.accuracy,
        "nll": candidate.nll,
        "temperature": candidate.temperature,
    }


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
