"""Sets of classes that contain the truth as often as promised: randomised RAPS by split-conformal calibration.

N pictures, K classes. Angelopoulos, Bates, Malik and Jordan 2021, "Uncertainty sets for image classifiers using
conformal prediction", arXiv 2009.14193.

The promise is for pictures that are exchangeable with the calibration pictures: none for classes outside the taxonomy,
and a weaker one where calibration pictures come in groups.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING = 1e-9  # (n + 1) * 0.95 must not become a whole number and a bit


@dataclass(frozen=True)
class LabelSetRule:
    """What makes the set of a picture; all values are finite, so that they fit into JSON.

    Attributes:
        coverage: Share of pictures whose set is to contain the truth.
        regularisation: Lambda: what each rank beyond `k_reg` adds to a class's score; makes large sets smaller.
        k_reg: Ranks that cost nothing.
        seed: Of the randomisation.
        quantiles: K; a class is in the set if its score is at most this.
        allow_empty: Whether a set may be empty, as exact coverage needs; else it has at least the most probable class.
    """

    coverage: float
    regularisation: float
    k_reg: int
    seed: int
    quantiles: tuple[float, ...]
    allow_empty: bool = False

    def label_set(self, probabilities: Sequence[float], order: Sequence[int], digest: str) -> list[bool]:
        """Which of K classes are in the set of one picture; what `label_sets` says of it, in less time.

        Args:
            probabilities: K, calibrated.
            order: The classes, most probable first; of equal ones the first in order.
            digest: SHA-256 of the picture's file.
        """
        uniform = picture_uniform(digest, self.seed)
        is_in, before = [False] * len(order), 0.0
        for index, penalty in zip(order, self._penalties, strict=True):
            probability = probabilities[index]
            is_in[index] = before + uniform * probability + penalty <= self.quantiles[index]
            before += probability
        if not self.allow_empty and True not in is_in:
            is_in[order[0]] = True
        return is_in

    @cached_property
    def _penalties(self) -> list[float]:
        penalties = rank_penalties(len(self.quantiles), regularisation=self.regularisation, k_reg=self.k_reg)
        return [float(penalty) for penalty in penalties]

    def label_sets(self, probabilities: Floats, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Which classes are in the set of each picture, (N, K).

        Args:
            probabilities: (N, K), calibrated.
            digests: N SHA-256 digests of the pictures' files: the same picture always has the same set.
        """
        uniforms = picture_uniforms(digests, self.seed)
        scores = raps_scores(probabilities, uniforms, regularisation=self.regularisation, k_reg=self.k_reg)
        sets: NDArray[np.bool_] = scores <= np.asarray(self.quantiles)
        if not self.allow_empty:
            empty = ~sets.any(axis=1)
            sets[empty, probabilities[empty].argmax(axis=1)] = True
        return sets


def fit_label_sets(
    probabilities: Floats,
    class_indices: Ints,
    digests: Sequence[str],
    *,
    coverage: float = 0.95,
    regularisation: float = 0.01,
    k_reg: int = 2,
    seed: int = 0,
    class_conditional: bool = False,
    least_pictures: int = 20,
    allow_empty: bool = False,
) -> LabelSetRule:
    """The rule that keeps the promise on pictures like these, which no model may have been fitted on.

    Args:
        probabilities: (N, K), calibrated.
        class_indices: (N,).
        digests: N SHA-256 digests.
        coverage: In (0, 1).
        regularisation: At least 0.
        k_reg: At least 0.
        seed: Of the randomisation.
        class_conditional: Keep the promise within every class instead of on average. Larger sets.
        least_pictures: Classes with fewer calibration pictures share the quantile of all pictures.
        allow_empty: See `LabelSetRule`.

    Raises:
        ValueError: A setting is out of range.
    """
    if not 0 < coverage < 1 or regularisation < 0 or k_reg < 0:
        raise ValueError(f"coverage {coverage} must be in (0, 1), lambda {regularisation} and k_reg {k_reg} >= 0")
    num_classes = probabilities.shape[1]
    uniforms = picture_uniforms(digests, seed)
    scores = raps_scores(probabilities, uniforms, regularisation=regularisation, k_reg=k_reg)
    of_truth = scores[np.arange(len(scores)), class_indices]  # (N,)
    # No score reaches this, so every class is in the set: what an infinite quantile would do.
    all_classes = 2 + regularisation * num_classes
    quantiles = np.full(num_classes, min(conformal_quantile(of_truth, coverage), all_classes))
    if class_conditional:
        for class_index in range(num_classes):
            of_class = of_truth[class_indices == class_index]
            if len(of_class) >= max(least_pictures, 1):
                quantiles[class_index] = min(conformal_quantile(of_class, coverage), all_classes)
    return LabelSetRule(coverage, regularisation, k_reg, seed, tuple(quantiles.tolist()), allow_empty)


def raps_scores(probabilities: Floats, uniforms: Floats, *, regularisation: float, k_reg: int) -> Floats:
    """How badly each class fits each picture, (N, K): equation (4) of the paper.

    Probability of all more probable classes + u * its own + lambda * (rank - k_reg, if positive). Of equally probable
    classes the first in order has the better rank.

    Args:
        probabilities: (N, K).
        uniforms: (N,) u in [0, 1).
        regularisation: Lambda.
        k_reg: Ranks that cost nothing.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")  # (N, K) class at each rank
    ranked = np.take_along_axis(probabilities, order, axis=1)
    before = np.zeros_like(ranked)
    np.cumsum(ranked[:, :-1], axis=1, out=before[:, 1:])
    penalties = rank_penalties(ranked.shape[1], regularisation=regularisation, k_reg=k_reg)
    ranked_scores = before + uniforms[:, None] * ranked + penalties
    scores: Floats = np.empty_like(ranked_scores)
    np.put_along_axis(scores, order, ranked_scores, axis=1)
    return scores


def rank_penalties(num_classes: int, *, regularisation: float, k_reg: int) -> Floats:
    """(K,) what each rank adds to the score of its class."""
    penalties: Floats = regularisation * np.maximum(np.arange(1, num_classes + 1) - k_reg, 0)
    return penalties


def conformal_quantile(scores: Floats, coverage: float) -> float:
    """The ceil((n + 1) * coverage)-th smallest of n scores; infinite if there are too few for such a one.

    A further score, exchangeable with these, is at most this with probability `coverage` or more.
    """
    rank = math.ceil((len(scores) + 1) * coverage - _ROUNDING)
    if rank > len(scores):
        return math.inf
    return float(np.partition(scores, rank - 1)[rank - 1])


def picture_uniforms(digests: Sequence[str], seed: int) -> Floats:
    """(N,) numbers in [0, 1), evenly spread over pictures and fixed by digest and seed."""
    return np.array([picture_uniform(digest, seed) for digest in digests], dtype=np.float64)


def picture_uniform(digest: str, seed: int) -> float:
    """The number of one picture."""
    text = hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()
    return int(text[:13], 16) / 16**13  # 13 digits: 52 bits, exact
