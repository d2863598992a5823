"""Small classifiers for the shortcut audit, asked about pictures whose group they were not fitted on.

Both are linear in the labels: what they need of the features is worked out once, and then they answer for the true and
for a few hundred permuted labels alike.

N pictures, G groups, K classes, D features, U distinct points of the features, V of them in training, M neighbours.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Answerer = Callable[[Ints], Ints]
"""From labels (N,) to answers (N,), each by a model fitted on the labels of the other folds alone."""

Model = Callable[[Floats, list[Ints], int], Answerer]
"""From features (N, D), the rows of each fold and K to what answers."""

NUM_FOLDS = 5
NUM_NEIGHBOURS = 10
_MOST_DISTANCES = 4_000_000  # at a time: 32 MB


def folds_of_groups(group_indices: Ints, *, num_folds: int = NUM_FOLDS, seed: int = 0) -> list[Ints]:
    """Rows of each fold; no group is divided, and every row is in one fold.

    Unlike `vision.train.folds` it does not look at the classes: folds that fit the true labels better than permuted
    ones would make the true ones look better than chance.

    Args:
        group_indices: (N,) in [0, G).
        num_folds: Fewer if there are fewer groups.
        seed: Order of groups of the same size.
    """
    sizes = np.bincount(group_indices)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    largest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    emptiest = [(0, fold) for fold in range(min(num_folds, len(sizes)))]
    fold_of = np.zeros(len(sizes), dtype=np.int64)
    for group in largest_first.tolist():
        num_rows, fold_of[group] = emptiest[0]
        heapq.heapreplace(emptiest, (num_rows + int(sizes[group]), int(fold_of[group])))
    return [np.flatnonzero(fold_of[group_indices] == fold) for fold in range(len(emptiest))]


def permuted_labels(labels: Ints, group_indices: Ints, generator: np.random.Generator) -> Ints:
    """Labels dealt out anew in runs, so that those of one group mostly come to one group again.

    Pictures of a group often are of one class and look alike; single labels dealt out one by one would call that a
    shortcut. Counts of classes stay as they are; where groups differ in size a run may end in the next group.

    Args:
        labels: (N,).
        group_indices: (N,).
        generator: Draws the order of groups, and of pictures within groups.
    """
    permuted = np.empty_like(labels)
    permuted[_order_by_group(group_indices, generator)] = labels[_order_by_group(group_indices, generator)]
    return permuted


def _order_by_group(group_indices: Ints, generator: np.random.Generator) -> Ints:
    """(N,) rows, group by group, both in random order."""
    places = generator.permutation(int(group_indices.max()) + 1)[group_indices]
    order: Ints = np.lexsort((generator.random(len(group_indices)), places))
    return order


def ridge(features: Floats, folds: list[Ints], num_classes: int) -> Answerer:
    """One-vs-rest ridge regression on standardised features (Hoerl and Kennard 1970).

    The penalty is D: as much as if all features together explained half of the variance.
    """
    fits = [_RidgeFit.of(features, _others(folds, held_out), held_out) for held_out in folds]

    def answers(labels: Ints) -> Ints:
        truth = np.eye(num_classes)[labels]  # (N, K)
        sums = [features[rows].T @ truth[rows] for rows in folds]  # (D, K) each
        counts = [truth[rows].sum(axis=0) for rows in folds]
        found = np.empty_like(labels)
        for fit, of_fold, num_of_fold in zip(fits, sums, counts, strict=True):
            scores = fit.scores(sum(sums) - of_fold, sum(counts) - num_of_fold)
            found[fit.held_out] = scores.argmax(axis=1)
        return found

    return answers


def nearest_neighbours(features: Floats, folds: list[Ints], num_classes: int) -> Answerer:
    """Most frequent class among the ten nearest by standardised features (Fix and Hodges 1951).

    Pictures with the very same features all have a vote, however many they are: sizes often repeat.
    """
    means, deviations = _means_and_deviations(features)
    points, point_of = np.unique((features - means) / deviations, axis=0, return_inverse=True)
    point_of = point_of.reshape(-1)
    fits = [_NeighbourFit.of(points, point_of, _others(folds, held_out), held_out) for held_out in folds]

    def answers(labels: Ints) -> Ints:
        found = np.empty_like(labels)
        for fit in fits:
            cells = fit.place_of_train * num_classes + labels[fit.train]
            size = (fit.num_places + 1) * num_classes  # the last place has no pictures
            counts = np.bincount(cells, minlength=size).reshape(-1, num_classes).astype(np.int32)  # (V + 1, K)
            votes = np.zeros((len(fit.neighbours), num_classes), dtype=np.int32)
            for column in fit.neighbours.T:
                votes += counts[column]
            found[fit.held_out] = votes.argmax(axis=1)[fit.place_of_held_out]
        return found

    return answers


@dataclass(frozen=True)
class _RidgeFit:
    """All but the labels: `weights` is X_h (X'X + penalty)^-1 of standardised features, (held-out rows, D)."""

    held_out: Ints
    means: Floats
    deviations: Floats  # infinite for features that do not vary
    weights: Floats

    @classmethod
    def of(cls, features: Floats, train: Ints, held_out: Ints) -> _RidgeFit:
        means, deviations = _means_and_deviations(features[train])
        inputs = (features[train] - means) / deviations
        penalised = inputs.T @ inputs + features.shape[1] * np.eye(features.shape[1])
        weights = np.linalg.solve(penalised, ((features[held_out] - means) / deviations).T).T
        return cls(held_out, means, deviations, weights)

    def scores(self, sums: Floats, counts: Floats) -> Floats:
        """(held-out rows, K), from the sums of training features by class, (D, K), and pictures by class, (K,)."""
        products = (sums - np.outer(self.means, counts)) / self.deviations[:, None]  # X'Y of standardised features
        return np.asarray(self.weights @ products + counts / counts.sum())


@dataclass(frozen=True)
class _NeighbourFit:
    """Places are distinct points of the training rows, V of them; place V is none."""

    train: Ints
    held_out: Ints
    num_places: int
    place_of_train: Ints
    place_of_held_out: Ints  # row of `neighbours`
    neighbours: Ints  # (points of held-out rows, M)

    @classmethod
    def of(cls, points: Floats, point_of: Ints, train: Ints, held_out: Ints) -> _NeighbourFit:
        known, place_of_train = np.unique(point_of[train], return_inverse=True)
        asked, place_of_held_out = np.unique(point_of[held_out], return_inverse=True)
        neighbours = _nearest_places(points[asked], points[known], np.bincount(place_of_train))
        return cls(train, held_out, len(known), place_of_train, place_of_held_out, neighbours)


def _nearest_places(asked: Floats, known: Floats, num_rows: Ints) -> Ints:
    """As many of the nearest known points as are needed for ten rows, nearest first, filled up with V."""
    num_kept = min(NUM_NEIGHBOURS, len(known))
    found = np.empty((len(asked), num_kept), dtype=np.int64)
    step = max(1, _MOST_DISTANCES // len(known))
    for start in range(0, len(asked), step):
        some = asked[start : start + step]
        squares = np.zeros((len(some), len(known)))
        for column in range(asked.shape[1]):
            squares += (some[:, column, None] - known[None, :, column]) ** 2
        kept = np.argpartition(squares, num_kept - 1, axis=1)[:, :num_kept]
        order = np.argsort(np.take_along_axis(squares, kept, axis=1), axis=1, kind="stable")
        kept = np.take_along_axis(kept, order, axis=1)
        before = np.cumsum(num_rows[kept], axis=1) - num_rows[kept]
        found[start : start + step] = np.where(before < NUM_NEIGHBOURS, kept, len(known))
    return found


def _others(folds: list[Ints], held_out: Ints) -> Ints:
    return np.concatenate([rows for rows in folds if rows is not held_out])


def _means_and_deviations(features: Floats) -> tuple[Floats, Floats]:
    """(D,) each; the deviation of what does not vary is infinite, so that dividing by it leaves nothing."""
    deviations = features.std(axis=0)
    return features.mean(axis=0), np.where(deviations > 1e-9, deviations, np.inf)
