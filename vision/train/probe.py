"""The probe: multinomial logistic regression on frozen features.

N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from vision.classify.novelty import row_blocks, standardised
from vision.train.features import FeatureRecipe
from vision.train.folds import group_folds

_LOG_TEMPERATURE_DEVIATION = 1.0
"""How far the temperature is expected from 1, as a standard deviation of its logarithm."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier: logits = ((x - mean) / scale) @ weight.T + bias.

    Attributes:
        mean: (D,) of the training features.
        scale: (D,) their standard deviation.
        weight: (K, D).
        bias: (K,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def standardised(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, D) with the training features' mean 0 and deviation 1."""
        return standardised(features, self.mean, self.scale)

    def unit_embeddings(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) standardised, every row at length 1: as pictures are compared with each other."""
        unit = np.empty(features.shape, np.float32)
        for rows in row_blocks(len(features)):
            unit[rows] = unit_rows(self.standardised(features[rows]))
        return unit

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K)."""
        return self.standardised(features) @ self.weight.T + self.bias

    @classmethod
    def blank(cls, num_features: int, num_classes: int) -> LinearProbe:
        """One that knows nothing, to time a network with."""
        ones = np.ones(num_features)
        return cls(0 * ones, ones, np.zeros((num_classes, num_features)), np.zeros(num_classes))


def unit_rows(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, D) with every row scaled to length 1."""
    unit: NDArray[np.float64] = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return unit


@dataclass(frozen=True)
class Candidate:
    """One combination that cross-validation tried.

    Attributes:
        recipe: How features were made.
        strength: C of the regression.
        accuracy: Share of training pictures recognised while held out.
        nll: Mean negative log-likelihood of the truth, after the best temperature, where the class was there to learn.
        temperature: That temperature.
    """

    recipe: FeatureRecipe
    strength: float
    accuracy: float
    nll: float
    temperature: float


def fit_probe(
    features: NDArray[np.float32],
    class_indices: NDArray[np.int64],
    num_classes: int,
    strength: float,
    *,
    weights: NDArray[np.float64] | None = None,
) -> LinearProbe:
    """Multinomial logistic regression with an L2 penalty on standardised features.

    The penalty does not change under rotations, so with fewer pictures than features the fit runs in the space that
    the pictures span: the same solution, in N instead of D dimensions.

    Args:
        features: (N, D).
        class_indices: (N,), in [0, K).
        num_classes: K; classes without pictures get the logit -inf and are never answered.
        strength: C, on features divided by the square root of D.
        weights: (N,) how much each picture counts; all alike by default.
    """
    rows = features.astype(np.float64)  # (N, D), the one matrix that is held in double precision
    mean = np.average(rows, axis=0, weights=weights)
    rows -= mean
    scale = np.sqrt(np.average(np.square(rows, out=rows), axis=0, weights=weights))
    scale = np.where(scale > 1e-9, scale, 1.0)
    norm = np.sqrt(features.shape[1])
    np.subtract(features, mean, out=rows)
    rows /= scale
    rows /= norm
    basis = None
    if rows.shape[0] < rows.shape[1]:
        basis = np.linalg.svd(rows, full_matrices=False)[2]  # (N, D)
        rows = rows @ basis.T
    present = np.unique(class_indices)
    weight = np.zeros((num_classes, rows.shape[1]))
    bias = np.full(num_classes, -np.inf)
    if len(present) == 1:
        bias[present] = 0.0
    else:
        # newton-cg: exact and, in these few dimensions, several times faster than lbfgs.
        # It fits two classes as one difference; both halves of it make the same probabilities.
        model = LogisticRegression(C=strength, max_iter=500, tol=1e-5, solver="newton-cg")
        model.fit(rows, class_indices, sample_weight=weights)
        if len(present) == 2:
            weight[present] = np.concatenate([-model.coef_, model.coef_]) / 2
            bias[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2
        else:
            weight[present], bias[present] = model.coef_, model.intercept_
    if basis is not None:
        weight = weight @ basis
    return LinearProbe(mean, scale, weight / norm, bias)


def held_out_logits(
    features: NDArray[np.float32],
    class_indices: NDArray[np.int64],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    num_classes: int,
    strength: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits of every picture from the probe that was fitted without its fold.

    Returns:
        (N, K) logits, and (N,) whether the picture's class was there to learn: where a class is held out whole, its
        pictures are misses, but say nothing about how sure the probe should be.
    """
    logits = np.zeros((len(features), num_classes))
    learnable = np.zeros(len(features), dtype=np.bool_)
    for train, held_out in folds:
        probe = fit_probe(features[train], class_indices[train], num_classes, strength)
        logits[held_out] = probe.logits(features[held_out])
        learnable[held_out] = np.isin(class_indices[held_out], class_indices[train])
    return logits, learnable


def fit_temperature(logits: NDArray[np.float64], class_indices: NDArray[np.int64]) -> float:
    """The temperature that makes the truth most likely (Guo et al. 2017), between 0.05 and 20; 1 without pictures.

    Where every picture is right, likelihood alone would make the answers ever surer. So the temperature is expected
    near 1 beforehand (a normal prior on its logarithm), which hundreds of pictures overrule and a dozen do not.
    """
    if len(logits) == 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        prior = 0.5 * (log_temperature / _LOG_TEMPERATURE_DEVIATION) ** 2
        return len(logits) * _nll(logits / np.exp(log_temperature), class_indices) + prior

    bounds = (np.log(0.05), np.log(20.0))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def nll_at_best_temperature(logits: NDArray[np.float64], class_indices: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the truth once the temperature is fitted to the same pictures."""
    return _nll(logits / fit_temperature(logits, class_indices), class_indices)


def try_candidates(
    features: Mapping[FeatureRecipe, NDArray[np.float32]],
    class_indices: NDArray[np.int64],
    groups: Sequence[str],
    num_classes: int,
    *,
    strengths: Sequence[float],
    num_folds: int,
    seed: int,
    rows: NDArray[np.int64] | None = None,
) -> list[Candidate]:
    """Every recipe with every strength, judged on held-out groups of the given pictures.

    Args:
        features: Matrices, for each recipe (N, D).
        class_indices: (N,).
        groups: N names; never divided between fitting and judging.
        num_classes: K.
        strengths: Values of C.
        num_folds: Folds that groups are held out in.
        seed: Of the folds.
        rows: The given pictures' rows in matrices that have others too; N rows by default.

    Returns:
        Best first: by likelihood of the truth, which on few pictures is less noisy than the count of right answers.
    """
    folds = group_folds(class_indices, groups, num_folds, seed)
    candidates = []
    for recipe, matrix in features.items():
        given = matrix if rows is None else matrix[rows]  # a copy: of one recipe at a time
        for strength in strengths:
            logits, learnable = held_out_logits(given, class_indices, folds, num_classes, strength)
            temperature = fit_temperature(logits[learnable], class_indices[learnable])
            accuracy = float((learnable & (logits.argmax(axis=1) == class_indices)).mean())
            nll = _nll(logits[learnable] / temperature, class_indices[learnable])
            candidates.append(Candidate(recipe, strength, accuracy, nll, temperature))
    return sorted(candidates, key=lambda c: (c.nll, c.strength, c.recipe))


def _nll(logits: NDArray[np.float64], class_indices: NDArray[np.int64]) -> float:
    if len(logits) == 0:
        return float("inf")
    log_probabilities = log_softmax(logits, axis=1)
    return float(-log_probabilities[np.arange(len(logits)), class_indices].mean())
