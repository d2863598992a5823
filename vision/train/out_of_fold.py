"""Predictions of every training picture while its group is held out: the honest figure of a small data set.

N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vision.classify.decision import calibrated_probabilities, decide
from vision.classify.engine import NUM_NEAREST, nearest_similarities
from vision.config import Config
from vision.data.sharing.attribution import attribution_line
from vision.predictions import NearestImage, Prediction
from vision.train.features import FeatureRecipe
from vision.train.folds import group_folds
from vision.train.probe import Candidate, LinearProbe, fit_probe, try_candidates, unit_rows
from vision.train.training_set import PreparedRun, TrainingSet

Features = Mapping[FeatureRecipe, NDArray[np.float32]]
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
            references = probe.unit_embeddings(matrix[train])
        else:
            logits, embeddings, of_train = tune(best.recipe, probe, train, held_out, seed)
            references = unit_rows(of_train).astype(np.float32)
        probabilities = calibrated_probabilities(logits, best.temperature)
        for position, row in enumerate(held_out):
            nearest = _nearest_of(embeddings[position], references, train, training)
            decision = decide(probabilities[position], prepared.classes, prepared.taxonomy, top_k=num_classes)
            rows[row] = decision.row(
                training.table["file_name"][int(row)],
                training.images[row].sha256,
                novelty=1 - nearest[0].similarity,
                nearest=nearest,
                model=f"out-of-fold, seed {seed}",
                # As in a bundle's rows, which JSON has to hold: none where a class was held out whole.
                logits=tuple(logits[position].tolist()) if np.isfinite(logits[position]).all() else (),
            )
    assert all(row is not None for row in rows), "every picture is held out once"
    return [row for row in rows if row is not None], chosen


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
    is_all = np.array_equal(chosen_rows, np.arange(len(training.images)))
    return try_candidates(
        features,
        training.class_indices[chosen_rows],
        [training.groups[row] for row in chosen_rows],
        num_classes,
        strengths=config.train.strengths,
        num_folds=config.train.inner_folds,
        seed=seed,
        rows=None if is_all else chosen_rows,
    )


def _nearest_of(
    embedding: NDArray[np.float64], references: NDArray[np.float32], rows: NDArray[np.int64], training: TrainingSet
) -> tuple[NearestImage, ...]:
    similarities = nearest_similarities(embedding, references)
    nearest = []
    for position in np.argsort(-similarities, kind="stable")[:NUM_NEAREST]:
        values = training.table.row(int(rows[position]), named=True)
        nearest.append(
            NearestImage(values["file_name"], values["label"], float(similarities[position]), attribution_line(values))
        )
    return tuple(nearest)
