"""Each class left out in turn: what a model that had never been shown it would have answered.

The classifier is the probe on frozen features, which takes seconds a class; a tuned network would have to be tuned
again for each. Everything is chosen and fitted without the class: features and strength, calibration, novelty score,
thresholds.

N pictures, D features, K classes, S novelty scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.classify.decision import calibrated_probabilities, decide, rules_from
from vision.classify.novelty import LOGIT_SCORES, NoveltyRanking
from vision.errors import ManifestError
from vision.evaluate.left_out import BASELINES, AskedPictures, LeftOutTrial, ScoreComparison
from vision.train.deciding import FittedDecision, fit_decision
from vision.train.decision_fitting import held_out_novelty
from vision.train.features import FeatureCache, FeatureRecipe
from vision.train.folds import group_folds
from vision.train.out_of_fold import try_all
from vision.train.probe import LinearProbe, fit_probe
from vision.train.run import plan_run
from vision.train.training_set import PreparedRun, TrainingSet, test_set

Floats = NDArray[np.float64]
Features = Mapping[FeatureRecipe, NDArray[np.float32]]

NUM_FOLDS = 5
"""For known pictures out of fold, where there is no test split."""
LEAST_CLASSES = 3


@dataclass(frozen=True)
class FeaturedRun:
    """A run's pictures with their vectors.

    Attributes:
        prepared: Training and calibration pictures.
        test: Pictures of the known classes in the split `test`; may be empty.
        features: For each recipe (N, D): of training, calibration and test pictures, one after another.
    """

    prepared: PreparedRun
    test: TrainingSet
    features: Features

    @property
    def sets(self) -> tuple[TrainingSet, TrainingSet, TrainingSet]:
        """Training, calibration, test, in the order of the features' rows."""
        return self.prepared.training, self.prepared.calibration, self.test

    @property
    def known_pictures(self) -> str:
        """Which pictures stand for the known ones."""
        return "test split" if self.test.images else "training pictures out of fold"

    def features_of(self, recipe: FeatureRecipe) -> list[NDArray[np.float32]]:
        """Of training, calibration and test pictures."""
        return np.split(self.features[recipe], np.cumsum([len(part.images) for part in self.sets])[:-1])


@dataclass(frozen=True)
class FittedRun:
    """A probe and what it decides by, with the pictures that they come from."""

    run: FeaturedRun
    recipe: FeatureRecipe
    strength: float
    probe: LinearProbe
    decision: FittedDecision

    @property
    def name(self) -> str:
        """Of the chosen novelty score."""
        return self.decision.info.novelty_score


def featured_run(
    prepared: PreparedRun, cache_folder: Path, *, on_progress: Callable[[int], None] = lambda count: None
) -> FeaturedRun:
    """A run's pictures, test split included, as vectors from the cache.

    Args:
        prepared: Data after its checks.
        cache_folder: Where features are kept between runs.
        on_progress: Told how many picture passes are done.
    """
    test = test_set(prepared)
    images = [*prepared.training.images, *prepared.calibration.images, *test.images]
    plan = plan_run(prepared, cache_folder)
    cache = FeatureCache(cache_folder / "features", plan.backbones)
    batch_size = prepared.config.train.batch_size
    return FeaturedRun(
        prepared, test, cache.features(images, plan.recipes, batch_size=batch_size, on_progress=on_progress)
    )


def leave_one_out(run: FeaturedRun, *, tell: Callable[[str], None] = lambda text: None) -> list[LeftOutTrial]:
    """A trial for each class: fit without it, ask about all its pictures and about known ones.

    Args:
        run: Pictures and vectors.
        tell: Told each class.

    Raises:
        ManifestError: There are fewer than three classes.
    """
    classes = run.prepared.classes
    if len(classes) < LEAST_CLASSES:
        raise ManifestError(
            f"{run.prepared.manifest.path}: {len(classes)} classes to train on; "
            f"to leave each out in turn takes at least {LEAST_CLASSES}"
        )
    trials = []
    for number, class_id in enumerate(classes, start=1):
        tell(f"{number}/{len(classes)} without {class_id}")
        trials.append(left_out_trial(run, class_id))
    return trials


def left_out_trial(run: FeaturedRun, class_id: str) -> LeftOutTrial:
    """Fit without a class and ask about it. Only its own pictures go; others of the same groups stay."""
    others, of_class = divided_by_class(run, class_id)
    fitted = fit_run(others)
    features = np.concatenate(of_class.features_of(fitted.recipe))
    logits, embeddings = fitted.probe.logits(features), fitted.probe.standardised(features)
    ranking = fitted.decision.ranking
    novel = _asked(fitted, _joined(of_class.sets), logits, ranking.ranks(logits, embeddings))
    known, comparisons = (
        _tested(fitted, _novelty(ranking, logits, embeddings)) if others.test.images else _held_out(fitted, features)
    )
    return LeftOutTrial(class_id, fitted.name, novel, known, comparisons)


def divided_by_class(run: FeaturedRun, class_id: str) -> tuple[FeaturedRun, FeaturedRun]:
    """The run without a class, and the pictures of that class; in the second, class indices mean nothing."""
    position = run.prepared.classes.index(class_id)
    is_class = [part.class_indices == position for part in run.sets]
    return _kept(run, [~flags for flags in is_class], position), _kept(run, is_class, position)


def fit_run(run: FeaturedRun) -> FittedRun:
    """Features, strength, probe and decision as `vision train` would choose and fit them."""
    prepared, num_classes = run.prepared, len(run.prepared.classes)
    num_training = len(prepared.training.images)
    of_training = {recipe: rows[:num_training] for recipe, rows in run.features.items()}
    config = prepared.config
    best = try_all(config, of_training, prepared.training, range(num_training), num_classes, config.seed)[0]
    training, calibration, _ = run.features_of(best.recipe)
    probe = fit_probe(training, prepared.training.class_indices, num_classes, best.strength)
    decision = fit_decision(prepared, probe, best.strength, training, calibration)
    return FittedRun(run, best.recipe, best.strength, probe, decision)


def _tested(fitted: FittedRun, novel_scores: Floats) -> tuple[AskedPictures, list[ScoreComparison]]:
    """Answers for the test pictures, and their novelty beside that of the left-out class (S, N)."""
    test = fitted.run.features_of(fitted.recipe)[2]
    logits, embeddings = fitted.probe.logits(test), fitted.probe.standardised(test)
    ranking = fitted.decision.ranking
    known = _asked(fitted, fitted.run.test, logits, ranking.ranks(logits, embeddings))
    scores = _novelty(ranking, logits, embeddings)
    return known, [ScoreComparison(np.arange(len(test)), scores, novel_scores)]


def _held_out(fitted: FittedRun, of_novel: NDArray[np.float32]) -> tuple[AskedPictures, list[ScoreComparison]]:
    """Answers for training pictures by probes that were fitted without their fold, and novelty by the same probes.

    Without a calibration split, calibration and thresholds were fitted to the same pictures out of fold.

    Args:
        fitted: Without the left-out class.
        of_novel: (N, D) of the left-out class.
    """
    known, num_classes = fitted.run.prepared.training, len(fitted.run.prepared.classes)
    features, truth = fitted.run.features_of(fitted.recipe)[0], known.class_indices
    folds = group_folds(truth, known.groups, NUM_FOLDS, fitted.run.prepared.config.seed)
    probes = [fit_probe(features[train], truth[train], num_classes, fitted.strength) for train, _ in folds]
    logits = np.zeros((len(truth), num_classes))
    for probe, (_, held_out) in zip(probes, folds, strict=True):
        logits[held_out] = probe.logits(features[held_out])
    novelty = held_out_novelty(fitted.name, logits, fitted.probe.standardised(features), truth, folds)
    comparisons = []
    for number, (probe, (train, held_out)) in enumerate(zip(probes, folds, strict=True)):
        rows = held_out[np.isin(truth[held_out], truth[train])]
        of_fold = NoveltyRanking(fitted.name, novelty.fitted[number : number + 1], ())
        asked = (features[rows], of_novel)
        pair = [_novelty(of_fold, probe.logits(part), fitted.probe.standardised(part)) for part in asked]
        comparisons.append(ScoreComparison(rows, *pair))
    return _asked(fitted, known, logits, novelty.ranks), comparisons


def _novelty(ranking: NoveltyRanking, logits: Floats, embeddings: Floats) -> Floats:
    """(S, N) by the chosen score, then by the baselines."""
    baselines = (LOGIT_SCORES[baseline](logits) for baseline in BASELINES)
    return np.stack([ranking.mean_scores(logits, embeddings), *baselines])


def _asked(fitted: FittedRun, asked: TrainingSet, logits: Floats, ranks: Floats) -> AskedPictures:
    """Answers for pictures with logits (N, K) and ranks of their novelty (N,)."""
    info, prepared = fitted.decision.info, fitted.run.prepared
    rules = replace(rules_from(info, prepared.taxonomy, prepared.classes), label_sets=None)
    probabilities = calibrated_probabilities(logits * np.array(info.scale) + np.array(info.bias), 1.0)
    predictions = []
    for row, image in enumerate(asked.images):
        rank = float(ranks[row]) if np.isfinite(ranks[row]) else None
        decision = decide(
            probabilities[row], rules.classes, rules.taxonomy, top_k=len(rules.classes), rules=rules, novelty_rank=rank
        )
        predictions.append(decision.row(asked.table["file_name"][row], image.sha256, novelty_rank=rank))
    return AskedPictures(
        predictions,
        asked.table["label"].to_list(),
        asked.groups,
        calibrated_probabilities(logits, 1.0).max(axis=1),
    )


def _kept(run: FeaturedRun, kept: list[NDArray[np.bool_]], position: int) -> FeaturedRun:
    """The pictures with a flag, of the classes without the one at `position`."""
    training, calibration, test = (_rows_of(part, flags, position) for part, flags in zip(run.sets, kept, strict=True))
    classes = tuple(class_id for index, class_id in enumerate(run.prepared.classes) if index != position)
    prepared = replace(run.prepared, classes=classes, training=training, calibration=calibration)
    rows = np.concatenate(kept)
    return FeaturedRun(prepared, test, {recipe: matrix[rows] for recipe, matrix in run.features.items()})


def _rows_of(part: TrainingSet, flags: NDArray[np.bool_], position: int) -> TrainingSet:
    rows = np.flatnonzero(flags)
    indices = part.class_indices[rows]
    return TrainingSet(
        part.table[rows],
        [part.images[row] for row in rows],
        indices - (indices > position),
        [part.groups[row] for row in rows],
    )


def _joined(parts: tuple[TrainingSet, ...]) -> TrainingSet:
    return TrainingSet(
        pl.concat([part.table for part in parts]),
        [image for part in parts for image in part.images],
        np.concatenate([part.class_indices for part in parts]),
        [group for part in parts for group in part.groups],
    )
