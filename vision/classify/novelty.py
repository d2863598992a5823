"""How unlike the known classes a picture is: scores from logits and from embeddings, higher = more novel.

N pictures, R reference pictures, K classes, D features, r <= D dimensions that are kept of them.

Embeddings may come in any length; they are scaled to unit length here. What a score is worth, and from which value on
a picture counts as unknown, is settled in `vision.train.decision_fitting`.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_RANK = 256
"""Dimensions kept of the embeddings where all of them would take too long: 0.1 ms a picture on one core."""

EXACT_REFERENCES = 2000
"""Up to so many references, neighbours are found in all dimensions: 0.1 ms a picture for 1,000 of 1,280."""

_BLOCK = 256  # pictures compared with all references at once: 25 MB for 25,000 of them
_LEAST_VARIANCE_SHARE = 1e-6  # of the mean variance: keeps distances finite where pictures do not vary


class EmbeddingScore(Protocol):
    """A fitted score on embeddings."""

    def score(self, embeddings: NDArray[np.floating]) -> Floats:
        """(N, D) -> (N,), higher = more novel; fast, and rounded differently in batches of different sizes."""

    def score_one(self, embedding: NDArray[np.floating]) -> float:
        """(D,) -> the score that answers rest on: of one picture whatever stands beside it, to the last bit."""

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that `load_embedding_score` needs, for an .npz without pickles."""


class FitEmbeddingScore(Protocol):
    """Fits a score on embeddings (R, D) and class indices (R,)."""

    def __call__(
        self, embeddings: NDArray[np.floating], class_indices: Ints, /, *, overwrite: bool = ...
    ) -> EmbeddingScore:
        """With `overwrite` the embeddings are the fit's own, to compute in."""


def max_softmax_score(logits: NDArray[np.floating]) -> Floats:
    """1 - the largest probability, (N, K) -> (N,) in [0, 1) (Hendrycks and Gimpel 2017, arXiv 1610.02136)."""
    score: Floats = 1 - np.exp(_log_softmax(logits)).max(axis=1)
    return score


def energy_score(logits: NDArray[np.floating], temperature: float = 1.0) -> Floats:
    """-T log sum exp(logits / T), (N, K) -> (N,) (Liu et al. 2020, arXiv 2010.03759). In units of logits."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    largest = scaled.max(axis=1)
    score: Floats = -temperature * (largest + np.log(np.exp(scaled - largest[:, None]).sum(axis=1)))
    return score


def entropy_score(logits: NDArray[np.floating]) -> Floats:
    """Entropy of the probabilities in nats, (N, K) -> (N,) in [0, log K]."""
    log_probabilities = _log_softmax(logits)
    probabilities = np.exp(log_probabilities)
    # A class that a probe never saw has the logit -inf: it adds nothing, where 0 * -inf would add NaN.
    terms = probabilities * np.where(probabilities > 0, log_probabilities, 0.0)
    entropy: Floats = np.maximum(-terms.sum(axis=1), 0.0)
    return entropy


LOGIT_SCORES: Mapping[str, Callable[[NDArray[np.floating]], Floats]] = {
    "max_softmax": max_softmax_score,
    "energy": energy_score,
    "entropy": entropy_score,
}
"""The baselines by name."""


@dataclass(frozen=True)
class NearestNeighbourScore:
    """Cosine distance to the k-th nearest reference picture, in [0, 2] (Sun et al. 2022, arXiv 2204.06507).

    With very many references the distance is taken in the subspace in which they are largest. What a picture has
    outside of it counts as like no reference: distances only grow by it.

    Attributes:
        references: (R, D) unit length, or (R, r) their coordinates in the basis; single precision.
        basis: (D, r) with orthonormal columns, or (D, 0) if distances are taken in all D dimensions.
        k: Which neighbour.
    """

    references: NDArray[np.float32]
    basis: NDArray[np.float32]
    k: int

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.floating],
        class_indices: Ints | None = None,
        *,
        k: int = 1,
        max_rank: int = MAX_RANK,
        exact_up_to: int = EXACT_REFERENCES,
        overwrite: bool = False,
    ) -> NearestNeighbourScore:
        """The score against these references.

        Args:
            embeddings: (R, D).
            class_indices: Not needed; there so that all scores are fitted alike.
            k: 1 for dozens of pictures; their paper takes 50 for 50,000. At most R.
            max_rank: Dimensions to keep with more references than `exact_up_to`.
            exact_up_to: With so many references all dimensions are kept.
            overwrite: Embeddings in double precision are not needed any more: spares a copy of them.
        """
        rows = _unit_rows(embeddings, overwrite=overwrite)
        _check_rows(rows)
        basis = np.empty((rows.shape[1], 0))
        if len(rows) > exact_up_to and rows.shape[1] > max_rank:
            basis = _main_directions(rows, max_rank)
            rows = rows @ basis
        return cls(rows.astype(np.float32), basis.astype(np.float32), min(max(k, 1), len(rows)))

    def score(self, embeddings: NDArray[np.floating]) -> Floats:
        """(N, D) -> (N,)."""
        rows = _unit_rows(embeddings).astype(np.float32)
        if self.basis.shape[1]:
            rows = rows @ self.basis
        blocks = [self._distances(rows[block]) for block in row_blocks(len(rows))]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def score_one(self, embedding: NDArray[np.floating]) -> float:
        """(D,) -> distance."""
        row = unit_row(embedding).astype(np.float32)
        if self.basis.shape[1]:
            row = self._basis_rows @ row
        return self.distance_of(self.references @ row)

    def distance_of(self, similarities: NDArray[np.float32]) -> float:
        """The score from cosine similarities to all references (R,)."""
        place = len(similarities) - self.k
        nearest = similarities.max() if self.k == 1 else np.partition(similarities, place)[place]
        return min(max(1 - float(nearest), 0.0), 2.0)

    @cached_property
    def _basis_rows(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.basis.T)

    def _distances(self, rows: NDArray[np.float32]) -> Floats:
        similarities = rows @ self.references.T  # (N, R)
        place = similarities.shape[1] - self.k
        nearest = np.partition(similarities, place, axis=1)[:, place].astype(np.float64)
        return np.clip(1 - nearest, 0.0, 2.0)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """For an .npz."""
        kind = np.array("nearest_neighbour")
        return {"kind": kind, "references": self.references, "basis": self.basis, "k": np.array(self.k)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> NearestNeighbourScore:
        """The score that `to_arrays` wrote."""
        return cls(
            np.asarray(arrays["references"], dtype=np.float32),
            np.asarray(arrays["basis"], dtype=np.float32),
            int(arrays["k"].item()),
        )


@dataclass(frozen=True)
class RelativeMahalanobis:
    """Distance to the nearest class less the distance to all pictures together (Ren et al. 2021, arXiv 2106.09022).

    Classes are Gaussians with means of their own and one shared covariance S; the background is one Gaussian with the
    mean and covariance S0 of all references. Both covariances are shrunk towards a multiple of the identity by Ledoit
    and Wolf (2004), so that there may be fewer pictures than features. The score is, squared,
    `min_c d(x, mean_c; S) - d(x, mean; S0)`; it may be negative.

    Everything is computed in the subspace in which the references vary most, with axes in which S is the identity and
    S0 diagonal. Outside of it both covariances are taken as multiples of the identity: exact if all directions of the
    references are kept, else an approximation as in probabilistic PCA.

    Attributes:
        centre: (D,) mean of the references.
        basis: (D, r) with orthonormal columns.
        whitener: (r, r) from coordinates in the basis to axes in which S is the identity.
        class_means: (C, r) in those axes, of the C classes that have pictures.
        background_variances: (r,) of S0 in those axes.
        residual_weight: What a unit of squared length outside of the basis adds to the score.
    """

    centre: Floats
    basis: Floats
    whitener: Floats
    class_means: Floats
    background_variances: Floats
    residual_weight: float

    @classmethod
    def fit(
        cls,
        embeddings: NDArray[np.floating],
        class_indices: Ints,
        *,
        max_rank: int | None = MAX_RANK,
        overwrite: bool = False,
    ) -> RelativeMahalanobis:
        """The score against these references.

        Args:
            embeddings: (R, D).
            class_indices: (R,).
            max_rank: Dimensions to keep; None keeps all, exact and slower.
            overwrite: Embeddings in double precision are not needed any more: spares a copy of them.
        """
        centred = _unit_rows(embeddings, overwrite=overwrite)
        _check_rows(centred)
        centre = centred.mean(axis=0)
        centred -= centre  # (R, D)
        present, positions = np.unique(class_indices, return_inverse=True)
        sums = np.zeros((len(present), centred.shape[1]))
        np.add.at(sums, positions, centred)
        means = sums / np.bincount(positions)[:, None]  # (C, D)
        basis = _main_directions(centred, max_rank)
        least = max(_LEAST_VARIANCE_SHARE * float((centred**2).mean()), 1e-12)
        background, background_outside = _shrunk_covariance(centred, basis, least)
        for rows in row_blocks(len(centred)):
            centred[rows] -= means[positions[rows]]
        within, within_outside = _shrunk_covariance(centred, basis, least)
        whitener, variances = _common_axes(within, background)
        return cls(
            centre=centre,
            basis=basis,
            whitener=whitener,
            class_means=means @ basis @ whitener,
            background_variances=variances,
            residual_weight=1 / within_outside - 1 / background_outside,
        )

    def score(self, embeddings: NDArray[np.floating]) -> Floats:
        """(N, D) -> (N,)."""
        centred = _unit_rows(embeddings) - self.centre
        basis, class_means, weights = self._sum_of_squares
        axes = centred.astype(np.float32) @ basis  # (N, r)
        # |x - m|^2 - |x|^2, so that the square that all classes share is counted once.
        to_classes = self._mean_squares - 2 * axes @ class_means.T  # (N, C)
        shared = axes.astype(np.float64) ** 2 @ weights + self.residual_weight * (centred**2).sum(axis=1)
        score: Floats = to_classes.min(axis=1) + shared
        return score

    def score_one(self, embedding: NDArray[np.floating]) -> float:
        """(D,) -> score."""
        centred = unit_row(embedding) - self.centre
        _, class_means, weights = self._sum_of_squares
        axes = self._basis_rows @ centred.astype(np.float32)  # (r,)
        to_classes = self._mean_squares - 2 * (class_means @ axes)  # (C,)
        shared = float(axes.astype(np.float64) ** 2 @ weights) + self.residual_weight * float(centred @ centred)
        return float(to_classes.min()) + shared

    @cached_property
    def _basis_rows(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._sum_of_squares[0].T)

    @cached_property
    def _mean_squares(self) -> Floats:
        return (self.class_means**2).sum(axis=1)  # type: ignore[no-any-return]

    @cached_property
    def _sum_of_squares(self) -> tuple[NDArray[np.float32], NDArray[np.float32], Floats]:
        """Axes (D, r) in which all that classes share is a sum of squares, class means (C, r) and weights (r,) there.

        So a picture takes one product, in single precision: it moves scores by some 1e-5 of their deviation.
        """
        to_background = self.whitener * (1 / self.background_variances - 1) @ self.whitener.T
        # The length outside of the basis is the whole length less that inside.
        weights, turn = np.linalg.eigh(-to_background - self.residual_weight * np.eye(len(self.whitener)))
        basis, class_means = self.basis @ turn, self.class_means @ self.whitener.T @ turn
        return basis.astype(np.float32), class_means.astype(np.float32), weights

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """For an .npz."""
        return {
            "kind": np.array("relative_mahalanobis"),
            "centre": self.centre,
            "basis": self.basis,
            "whitener": self.whitener,
            "class_means": self.class_means,
            "background_variances": self.background_variances,
            "residual_weight": np.array(self.residual_weight),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> RelativeMahalanobis:
        """The score that `to_arrays` wrote."""
        names = ("centre", "basis", "whitener", "class_means", "background_variances")
        values = {name: np.asarray(arrays[name], dtype=np.float64) for name in names}
        return cls(**values, residual_weight=float(arrays["residual_weight"].item()))


@dataclass(frozen=True)
class StandardisedScore:
    """A score on embeddings that are standardised first, by the pictures that it was fitted on and no others.

    With statistics of all pictures, those held out and classes left out would have a say in the axes, and seem known.

    Attributes:
        mean: (D,) of the references.
        scale: (D,) their standard deviation; 1 where they do not vary.
        inner: The score on standardised embeddings.
    """

    mean: Floats
    scale: Floats
    inner: EmbeddingScore

    @classmethod
    def fit(
        cls,
        fit: FitEmbeddingScore,
        embeddings: NDArray[np.floating],
        class_indices: Ints,
    ) -> StandardisedScore:
        """A score of any kind, fitted by `fit` on references (R, D) of classes (R,)."""
        exact = np.asarray(embeddings, dtype=np.float64)
        mean, deviation = exact.mean(axis=0), exact.std(axis=0)
        scale = np.where(deviation > 1e-9, deviation, 1.0)  # as in the probe
        return cls(mean, scale, fit(standardised(exact, mean, scale), class_indices, overwrite=True))

    def score(self, embeddings: NDArray[np.floating]) -> Floats:
        """(N, D) -> (N,)."""
        return self.inner.score(standardised(embeddings, self.mean, self.scale))

    def score_one(self, embedding: NDArray[np.floating]) -> float:
        """(D,) -> score."""
        return self.inner.score_one((embedding - self.mean) / self.scale)

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """For an .npz."""
        return {**self.inner.to_arrays(), "mean": self.mean, "scale": self.scale}


@dataclass(frozen=True)
class NoveltyRanking:
    """How novel pictures are beside known pictures, each by a score that was fitted without it.

    Scores of two fits cannot be compared, least of all Mahalanobis distances fitted on fewer pictures than features.
    So where known pictures were held out in folds, a picture is compared with those of each fold by the score of that
    fold: cross-conformal prediction (Vovk 2015, arXiv 1208.0806; CV+ of Barber et al. 2021, arXiv 1905.02928).

    Attributes:
        name: Of the score.
        scores: F, one for each fold, or one; none for a name in `LOGIT_SCORES`, which need no fit.
        known: Scores of known pictures, ascending, for each of these; a single one for logits.
    """

    name: str
    scores: tuple[EmbeddingScore, ...]
    known: tuple[Floats, ...]

    @classmethod
    def of(cls, name: str, scores: Sequence[EmbeddingScore], known_scores: Floats, known_folds: Ints) -> NoveltyRanking:
        """The ranking among known pictures with these scores (S,), each by the score with its number in (S,)."""
        folds = [known_scores[known_folds == number] for number in range(max(len(scores), 1))]
        return cls(name, tuple(scores), tuple(np.sort(of_fold) for of_fold in folds))

    def rank(self, logits: NDArray[np.floating], embedding: NDArray[np.floating]) -> float:
        """Share of the known pictures that are less novel than one, logits (K,) and embedding (D,), in [0, 1)."""
        if self.name in LOGIT_SCORES:
            return self.rank_of([float(LOGIT_SCORES[self.name](logits[None])[0])])
        return self.rank_of([score.score_one(embedding) for score in self.scores])

    def rank_of(self, scores: Sequence[float]) -> float:
        """The rank of a picture with these scores, one by each fit."""
        count = sum(bisect_left(known, score) for known, score in zip(self._ascending, scores, strict=True))
        # As in split-conformal tests, the picture counts as one of them: with few pictures nothing is beyond all.
        return count / self._num_ranks

    def ranks(self, logits: NDArray[np.floating], embeddings: NDArray[np.floating]) -> Floats:
        """(N, K) and (N, D) -> (N,), one by one: a batch gets the ranks of its pictures alone."""
        return np.array([self.rank(*of_picture) for of_picture in zip(logits, embeddings, strict=True)])

    @cached_property
    def _ascending(self) -> tuple[list[float], ...]:
        return tuple(known.tolist() for known in self.known)

    @cached_property
    def _num_ranks(self) -> int:
        return sum(map(len, self.known)) + 1

    def mean_scores(self, logits: NDArray[np.floating], embeddings: NDArray[np.floating]) -> Floats:
        """Novelty itself, which tells pictures apart that are beyond all known ones: mean over folds, (N,)."""
        mean: Floats = np.mean(self._by_fold(logits, embeddings), axis=0)
        return mean

    def _by_fold(self, logits: NDArray[np.floating], embeddings: NDArray[np.floating]) -> list[Floats]:
        if self.name in LOGIT_SCORES:
            return [LOGIT_SCORES[self.name](logits)]
        return [score.score(embeddings) for score in self.scores]


def known_probability(ranks: NDArray[np.floating], unknown_share: float, exponent: float) -> Floats:
    """Probability that a picture is of a class which the model knows, by its novelty's rank; (N,) in (0, 1].

    Bayes' rule. Ranks of known pictures are uniform. Those of classes left out have the density a r^(a-1), which rises
    with r; its mean a / (a + 1) is the AUROC of the novelty score. A picture without a rank (NaN) has the share.

    Args:
        ranks: (N,), from `NoveltyRanking`.
        unknown_share: Of pictures whose class is none of the model's, in [0, 1).
        exponent: a >= 1; 1 if ranks say nothing.
    """
    density = np.where(np.isnan(ranks), 1.0, exponent * np.asarray(ranks, dtype=np.float64) ** (exponent - 1))
    probability: Floats = (1 - unknown_share) / (1 - unknown_share + unknown_share * density)
    return probability


def known_probability_of_one(rank: float | None, unknown_share: float, exponent: float) -> float:
    """`known_probability` of one picture; None is no rank."""
    density = 1.0 if rank is None else exponent * rank ** (exponent - 1)
    return (1 - unknown_share) / (1 - unknown_share + unknown_share * density)


def scores_one_by_one(score: EmbeddingScore, embeddings: NDArray[np.floating]) -> Floats:
    """(N, D) -> (N,), each as `score_one` has it: what answers are compared with."""
    return np.array([score.score_one(row) for row in embeddings])


def load_embedding_score(arrays: Mapping[str, NDArray[np.generic]]) -> EmbeddingScore:
    """The score that some `to_arrays` wrote, of whichever kind.

    Raises:
        ValueError: The arrays are of no known kind.
    """
    if "mean" in arrays:
        inner = {key: array for key, array in arrays.items() if key not in ("mean", "scale")}
        mean, scale = (np.asarray(arrays[key], dtype=np.float64) for key in ("mean", "scale"))
        return StandardisedScore(mean, scale, load_embedding_score(inner))
    kind = str(arrays["kind"])
    if kind == "nearest_neighbour":
        return NearestNeighbourScore.from_arrays(arrays)
    if kind == "relative_mahalanobis":
        return RelativeMahalanobis.from_arrays(arrays)
    raise ValueError(f"novelty score of kind '{kind}'; known are nearest_neighbour and relative_mahalanobis")


def ledoit_wolf_shrinkage(rows: Floats) -> float:
    """How far the covariance of centred rows (N, D) should move to a multiple of the identity, in [0, 1].

    Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", lemma 3.3.
    """
    num_rows, num_features = rows.shape
    squares = (rows**2).sum(axis=1)  # (N,)
    gram = rows @ rows.T if num_rows <= num_features else rows.T @ rows
    squared_norm = float((gram**2).sum()) / num_rows**2  # of the covariance
    mean_variance = float(squares.sum()) / num_rows / num_features
    spread = squared_norm / num_features - mean_variance**2
    noise = (float((squares**2).mean()) - squared_norm) / (num_rows * num_features)
    return max(0.0, min(noise, spread) / spread) if spread > 0 else 0.0


def _log_softmax(logits: NDArray[np.floating]) -> Floats:
    exact = np.asarray(logits, dtype=np.float64)
    shifted = exact - exact.max(axis=1, keepdims=True)
    log_probabilities: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities


def unit_row(embedding: NDArray[np.floating]) -> Floats:
    """An embedding (D,) at length 1; zeros, which have no direction, stay."""
    row: Floats = np.asarray(embedding, dtype=np.float64)
    length = math.sqrt(float(row @ row))
    return row / length if length > 0 else row


def standardised(rows: NDArray[np.floating], mean: Floats, scale: Floats) -> Floats:
    """(N, D) less the mean (D,), in units of the scale (D,)."""
    result: Floats = rows - mean
    result /= scale  # in place: a quotient would be one more matrix
    return result


def row_blocks(num_rows: int) -> Iterator[slice]:
    """Slices of some rows after the other, so that what is computed row by row needs no second whole matrix."""
    return (slice(start, start + _BLOCK) for start in range(0, num_rows, _BLOCK))


def _unit_rows(embeddings: NDArray[np.floating], *, overwrite: bool = False) -> Floats:
    """Rows at length 1, in place if they may be overwritten; a row of zeros, which has no direction, stays."""
    rows = np.asarray(embeddings, dtype=np.float64) if overwrite else np.array(embeddings, dtype=np.float64)
    for block in row_blocks(len(rows)):
        lengths = np.linalg.norm(rows[block], axis=1, keepdims=True)
        rows[block] /= np.where(lengths > 0, lengths, 1.0)
    return rows


def _check_rows(rows: Floats) -> None:
    if len(rows) == 0:
        raise ValueError("a novelty score needs at least one reference embedding")
    if not np.isfinite(rows).all():
        raise ValueError("reference embeddings must be finite numbers")


def _main_directions(rows: Floats, max_rank: int | None) -> Floats:
    """(D, r) orthonormal: the directions along which rows (N, D) are largest; r = 0 if all are zero."""
    is_wide = rows.shape[0] <= rows.shape[1]
    squares, vectors = np.linalg.eigh(rows @ rows.T if is_wide else rows.T @ rows)  # ascending
    rank = int((squares > max(squares[-1], 1e-30) * 1e-12).sum())
    rank = rank if max_rank is None else min(rank, max_rank)
    kept = vectors[:, len(squares) - rank :][:, ::-1]
    # Through the small Gram matrix weak directions come out slightly askew: made orthogonal again.
    basis: Floats = np.linalg.qr(rows.T @ kept)[0] if is_wide else kept
    return np.ascontiguousarray(basis)


def _shrunk_covariance(rows: Floats, basis: Floats, least: float) -> tuple[Floats, float]:
    """Covariance of centred rows (N, D): (r, r) within the basis, and the variance in any direction outside of it."""
    num_rows, num_features = rows.shape
    rank = basis.shape[1]
    shrinkage = ledoit_wolf_shrinkage(rows)
    total = float((rows**2).sum()) / num_rows
    coordinates = rows @ basis
    inside = coordinates.T @ coordinates / num_rows
    outside = max(total - float(np.trace(inside)), 0.0) / max(num_features - rank, 1)
    mean_variance = max(total / num_features, least)
    shrunk = (1 - shrinkage) * inside + (shrinkage * mean_variance + least) * np.eye(rank)
    return shrunk, (1 - shrinkage) * outside + shrinkage * mean_variance + least


def _common_axes(within: Floats, background: Floats) -> tuple[Floats, Floats]:
    """(r, r) map to axes in which `within` is the identity, and the variances (r,) of `background` there."""
    variances, directions = np.linalg.eigh(within)
    whitener = directions / np.sqrt(variances)
    background_variances, turn = np.linalg.eigh(whitener.T @ background @ whitener)
    return whitener @ turn, background_variances
