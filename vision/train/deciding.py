"""What a bundle needs to decide: fitted on the calibration split, or on out-of-fold predictions where there is none.

N training pictures, M known pictures that the model was not fitted on, D features, K classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.bundle import DecisionInfo, LabelSets
from vision.classify.decision import calibrated_probabilities
from vision.classify.label_sets import fit_label_sets
from vision.classify.novelty import LOGIT_SCORES
from vision.classify.roll_up import build_class_tree, fit_roll_up_threshold
from vision.train.decision_fitting import (
    EMBEDDING_SCORES,
    NoveltyTrial,
    Refit,
    choose_calibration,
    choose_novelty_score,
    held_out_novelty_scores,
)
from vision.train.folds import group_folds
from vision.train.probe import LinearProbe, fit_probe, held_out_logits
from vision.train.training_set import PreparedRun

DEFAULT_SCORE = "nearest_neighbour"
_NUM_FOLDS = 5
_FOLDS_A_LEFT_OUT_CLASS = 2


@dataclass(frozen=True)
class FittedDecision:
    """What goes into the bundle.

    Attributes:
        info: Into `bundle.json`.
        arrays: Into `reference.npz`.
        novelty_trials: How well each score told left-out classes, best first.
        nll_before: Mean negative log-likelihood of held-out groups without calibration.
        nll_after: With the chosen calibration.
    """

    info: DecisionInfo
    arrays: dict[str, NDArray[Any]]
    novelty_trials: list[NoveltyTrial]
    nll_before: float
    nll_after: float


def fit_decision(
    prepared: PreparedRun,
    probe: LinearProbe,
    strength: float,
    of_training: NDArray[np.float32],
    of_calibration: NDArray[np.float32],
    *,
    untuned: NDArray[np.float32] | None = None,
) -> FittedDecision:
    """Calibration, novelty score, roll-up threshold and label sets; never sees the test or the novel split.

    Args:
        prepared: The run's data and settings.
        probe: The classifier of the bundle.
        strength: Of the regressions that leave out a class or a fold.
        of_training: (N, D).
        of_calibration: (M, D); without rows, out-of-fold predictions of the training pictures serve.
        untuned: (N, D') of the network before fine-tuning, if there was any: a tuned network has seen the classes that
            are left out in turn to choose the novelty score, and would seem to know better.
    """
    settings, training, seed = prepared.config.decide, prepared.training, prepared.config.seed
    truth, num_classes = training.class_indices, len(prepared.classes)
    embeddings = probe.standardised(of_training)

    def refit_on(features: NDArray[np.float32]) -> Refit:
        return lambda rows: fit_probe(features[rows], truth[rows], num_classes, strength).logits(features)

    refit = refit_on(of_training)
    chosen_by = of_training if untuned is None else untuned
    trials = choose_novelty_score(
        (chosen_by - chosen_by.mean(axis=0)) / np.maximum(chosen_by.std(axis=0), 1e-9),
        refit_on(chosen_by),
        truth,
        training.groups,
        num_folds=_FOLDS_A_LEFT_OUT_CLASS,
        seed=seed,
    )
    name = trials[0].name if trials else DEFAULT_SCORE
    novelty_arrays: dict[str, NDArray[Any]] = {}
    scorer = None
    if name not in LOGIT_SCORES:
        scorer = EMBEDDING_SCORES[name](embeddings, truth)
        novelty_arrays = {f"novelty_{key}": value for key, value in scorer.to_arrays().items()}
    if len(of_calibration):
        known, logits, fitted_on = prepared.calibration, probe.logits(of_calibration), "calibration split"
        scores = LOGIT_SCORES[name](logits) if scorer is None else scorer.score(probe.standardised(of_calibration))
    else:
        known, fitted_on = training, "out-of-fold predictions of the training split"
        folds = group_folds(truth, training.groups, _NUM_FOLDS, seed)
        logits, _ = held_out_logits(of_training, truth, folds, num_classes, strength)
        scores = held_out_novelty_scores(name, embeddings, refit, truth, training.groups, seed=seed)
    learnable = np.isfinite(logits[np.arange(len(logits)), known.class_indices])
    choice = choose_calibration(logits, known.class_indices, known.groups, seed=seed)
    calibrated = np.maximum(choice.calibration.calibrated_logits(logits), -1e3)
    probabilities = calibrated_probabilities(calibrated, 1.0)
    threshold = fit_roll_up_threshold(
        probabilities[learnable],
        known.class_indices[learnable],
        build_class_tree(prepared.taxonomy, prepared.classes),
        target_accuracy=settings.target_accuracy,
        confidence=settings.confidence,
    )
    sets = fit_label_sets(
        probabilities,
        known.class_indices,
        [image.sha256 for image in known.images],
        coverage=settings.coverage,
        seed=seed,
        class_conditional=settings.class_conditional,
    )
    info = DecisionInfo(
        calibration_method=choice.calibration.method,
        scale=tuple(choice.calibration.scale.tolist()),
        bias=tuple(choice.calibration.bias.tolist()),
        novelty_score=name,
        false_alarms=settings.false_alarms,
        target_accuracy=settings.target_accuracy,
        roll_up_threshold=threshold.value,
        is_promised=threshold.is_promised,
        costs=settings.costs,
        label_sets=LabelSets(**asdict(sets)),
        fitted_on=fitted_on,
        num_images=len(known.images),
    )
    arrays = novelty_arrays | {
        "known_probabilities": probabilities,
        "known_class_indices": known.class_indices,
        "known_novelty_scores": np.sort(scores[np.isfinite(scores)]),
    }
    after = choice.nll_vector if choice.calibration.method == "vector" else choice.nll_temperature
    return FittedDecision(info, arrays, trials, choice.nll_before, after)
