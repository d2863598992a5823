"""A split made better after the groups were dealt: single groups move, two change places, while classes are off.

Dealing looks at no group twice, so the last large group of a class may find no place where it fits. Here groups of the
classes that are off are tried elsewhere by chance, as threshold accepting does (Dueck and Scheuer, 1990): a change for
the worse is taken now and then, less and less, and the best split that was met is what comes back.

U groups, S strata, K splits, E entries (a group's pictures in one stratum).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from vision.data.splitting.dealing import Groups, Integers

MOST_STEPS, STEPS_A_GROUP = 300_000, 800
"""Tries: some for each group of the classes that are off, and so many in all, which take some seconds."""

GOAL = 0.01
"""A class whose shares are no farther off is left as it is; so is one that is off by one picture."""

_MOST_CANDIDATES = 5_000  # of a class, of all sizes
_NUM_ROUNDS = 4  # each from the best split so far
_CHECKED_EVERY = 16  # tries; then the classes that are off are looked for anew
_FIRST_THRESHOLD = 0.1  # of what may become worse, in the units of a squared share
_MISSING, _LATER = 10, 0.05  # a split without a class of enough groups (else 1), and how much less the next ones count
_SLICE = 0.25  # all values of a slice together, where the class counts 1


def balance(
    groups: Groups,
    dealt: Integers,
    order: Integers,
    targets: NDArray[np.float64],
    placed: Integers,
    preference: Sequence[int],
    seed: int,
) -> Integers:
    """The split of each group, after classes that miss a split or whose shares are off were made better.

    Args:
        groups: The groups that were dealt.
        dealt: (U,), the split of each.
        order: (U,), all groups, in an order that depends on names and sizes alone.
        targets: (S, K), pictures that each split should have of each stratum.
        placed: (S, K), pictures that stood in a split before.
        preference: The splits in the order in which they get a class that has too few groups for all.
        seed: Of chance.
    """
    search = _Search(groups, dealt, order, targets, placed, preference)
    search.run(Random(seed))
    return search.split


class _Search:
    """A split, how far off it is, and the way back to the best that was met."""

    def __init__(
        self,
        groups: Groups,
        dealt: Integers,
        order: Integers,
        targets: NDArray[np.float64],
        placed: Integers,
        preference: Sequence[int],
    ) -> None:
        self.groups, self.order, self.split = groups, order, dealt.copy()
        self._num_splits = targets.shape[1]
        num_classes = groups.num_classes
        owner = np.repeat(np.arange(len(dealt)), np.diff(groups.starts))  # (E,)
        cells = groups.strata * self._num_splits + dealt[owner]
        there = placed + np.bincount(cells, weights=groups.counts, minlength=placed.size).reshape(placed.shape)
        is_class = groups.strata < num_classes
        self._owner = owner
        totals = np.maximum(targets.sum(axis=1), 1)  # (S,)
        self._lacks: list[list[float]] = (targets - there).tolist()
        self._there: list[list[float]] = there[:num_classes].tolist()
        shares = np.where(np.arange(len(totals)) < num_classes, 1, _SLICE * totals / totals[groups.class_of])
        self._weights: list[float] = (shares / totals**2).tolist()
        largest = np.zeros(num_classes)
        np.maximum.at(largest, groups.strata[is_class], groups.counts[is_class])
        # What no move can mend: old pictures, and a group that is larger than what any split lacks.
        excess = placed[:num_classes] - targets[:num_classes]
        least = np.maximum(excess.max(axis=1), (largest[:, None] + excess).min(axis=1))
        self._allowed: list[float] = np.maximum(least, np.maximum(1, GOAL * totals[:num_classes])).tolist()
        num_groups = np.bincount(groups.strata[is_class], minlength=num_classes)
        self._open: list[int] = np.flatnonzero(num_groups).tolist()  # classes that have free groups
        reachable = (placed[:num_classes] > 0).sum(axis=1) + num_groups
        self._most_missing: list[int] = np.maximum(self._num_splits - reachable, 0).tolist()
        needs_all = np.where(reachable >= self._num_splits, _MISSING, 1)
        sooner = 1 - _LATER * np.argsort(preference)
        self._missing: list[list[float]] = np.outer(needs_all, sooner).tolist()
        self._candidates: dict[int, list[int]] = {}
        self._entries: dict[int, list[tuple[int, int]]] = {}
        self._way_back: list[tuple[int, int]] = []
        self._energy = self._best = 0.0  # against the split that was dealt

    def run(self, chance: Random) -> None:
        """Try changes until no class is off, or for as long as is worth it; the split is the best one then."""
        off = self._off()
        num_tries = min(MOST_STEPS, STEPS_A_GROUP * sum(len(self._candidates_of(index)) for index in off))
        for number in range(num_tries):
            if number % _CHECKED_EVERY == 0:
                off = self._off()
                if not off:
                    return
            at = number * _NUM_ROUNDS % num_tries
            if at < _NUM_ROUNDS:
                self._back_to_best()
            self._try(off, _FIRST_THRESHOLD * (1 - at / num_tries) ** 2, chance)
        self._back_to_best()

    def _off(self) -> list[int]:
        """Classes with free groups that are farther off than need be, or miss a split that they could have."""
        return [
            index
            for index in self._open
            if any(abs(lack) > self._allowed[index] + 1e-9 for lack in self._lacks[index])
            or sum(not count for count in self._there[index]) > self._most_missing[index]
        ]

    def _try(self, off: list[int], threshold: float, chance: Random) -> None:
        """Move a group of a class that is off, or let it change places with another; keep what is not much worse."""
        candidates = self._candidates_of(off[int(chance.random() * len(off))])
        group = candidates[int(chance.random() * len(candidates))]
        other = candidates[int(chance.random() * len(candidates))]
        old, there = int(self.split[group]), int(self.split[other])
        if chance.random() < 0.5 and there != old:
            changes = [(group, there), (other, old)]
        else:
            changes = [(group, (old + 1 + int(chance.random() * (self._num_splits - 1))) % self._num_splits)]
        before, undo = self._energy, [(group, old), (other, there)][: len(changes)]
        for change in changes:
            self._move(*change)
        if self._energy - before > threshold * chance.random() ** 4:
            for change in reversed(undo):
                self._move(*change)
            self._energy = before
        elif self._energy < self._best - 1e-12:
            self._best = self._energy
            self._way_back.clear()
        else:
            self._way_back += undo

    def _move(self, group: int, new: int) -> None:
        """Put a group into another split."""
        old = int(self.split[group])
        change = 0.0
        for stratum, count in self._entries_of(group):
            lacks = self._lacks[stratum]
            change += 2 * self._weights[stratum] * count * (lacks[old] - lacks[new] + count)
            lacks[old] += count
            lacks[new] -= count
            if stratum < self.groups.num_classes:
                there = self._there[stratum]
                change -= self._missing[stratum][new] * (not there[new])
                there[old] -= count
                there[new] += count
                change += self._missing[stratum][old] * (not there[old])
        self.split[group] = new
        self._energy += change

    def _back_to_best(self) -> None:
        for group, split in reversed(self._way_back):
            self._move(group, split)
        self._way_back.clear()
        self._energy = self._best

    def _entries_of(self, group: int) -> list[tuple[int, int]]:
        """Stratum and number of pictures, for each stratum of a group."""
        if group not in self._entries:
            some = slice(*self.groups.starts[group : group + 2].tolist())
            self._entries[group] = list(
                zip(self.groups.strata[some].tolist(), self.groups.counts[some].tolist(), strict=True)
            )
        return self._entries[group]

    def _candidates_of(self, class_index: int) -> list[int]:
        """Free groups of a class, in the given order; some of all sizes where there are very many."""
        if class_index not in self._candidates:
            is_of_class = np.zeros(len(self.split), dtype=bool)
            is_of_class[self._owner[self.groups.strata == class_index]] = True
            groups = self.order[is_of_class[self.order]]
            step = -(-len(groups) // _MOST_CANDIDATES)
            self._candidates[class_index] = groups[:: max(step, 1)].tolist()
        return self._candidates[class_index]
