"""Dealing groups of pictures to splits so that every class, and every class in every slice, gets its shares.

The field's name for it is iterative stratification (Sechidis, Tsoumakas, Vlahavas: On the stratification of multi-label
data, ECML PKDD 2011). Here a hand is dealt to the split that lacks most in the strata of the group, largest groups
first, as scikit-learn's StratifiedGroupKFold does; the shares may differ, and what is dealt already counts.

U groups, S strata, K splits, E entries (a group's pictures in one stratum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

MOST_ONE_BY_ONE = 200_000
"""Groups that are dealt one by one, some 5 us each. Beyond it, groups that are alike are dealt together."""

FEWEST_ALIKE = 8
"""Groups that are alike and fewer than this are dealt one by one: their shares, rounded down, would be nothing."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Groups:
    """Groups and the strata that their pictures belong to.

    Attributes:
        starts: (U + 1,), where the entries of each group start; each group has one at least.
        strata: (E,), ascending in each group. The first `num_classes` strata are the classes.
        counts: (E,), pictures of the group in the stratum.
        num_classes: How many strata are classes; the others are a class within one value of a slice.
        class_of: (S,), the class of each stratum.
    """

    starts: Integers
    strata: Integers
    counts: Integers
    num_classes: int
    class_of: Integers

    def entries_of(self, chosen: Integers) -> tuple[Integers, Integers]:
        """The entries of some groups: their indices, and to which of the chosen each belongs."""
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        owner = np.repeat(np.arange(len(chosen)), lengths)
        before = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(chosen) else lengths
        return np.arange(len(owner)) - before[owner] + self.starts[chosen][owner], owner


def deal(
    groups: Groups, order: Integers, targets: NDArray[np.float64], placed: Integers, preference: list[int]
) -> Integers:
    """The split of each group.

    Args:
        groups: The groups to deal.
        order: (U,), the groups from the largest to the smallest; equal ones by chance.
        targets: (S, K), pictures that each split should have of each stratum.
        placed: (S, K), pictures that stand in a split already.
        preference: The splits in the order in which they get a class that has too few groups for all.

    Returns:
        (U,), an index of a split for each group.
    """
    dealing = _Dealing(groups, targets, placed, preference)
    one_by_one, rest = np.split(order, [MOST_ONE_BY_ONE])
    dealing.deal_one_by_one(one_by_one)
    for classes_alone in (False, True):
        # Groups with the same pictures in the same slices first; if that leaves too many, in the same classes.
        if len(rest) > MOST_ONE_BY_ONE:
            rest = dealing.deal_alike(rest, classes_alone=classes_alone)
    dealing.deal_one_by_one(rest)
    return dealing.split


class _Dealing:
    """The groups dealt so far."""

    def __init__(self, groups: Groups, targets: NDArray[np.float64], placed: Integers, preference: list[int]) -> None:
        self.groups, self.targets, self.placed, self.preference = groups, targets, placed.copy(), preference
        self.split = np.full(len(groups.starts) - 1, -1)  # (U,)
        self.num_splits = targets.shape[1]
        is_class = groups.strata < groups.num_classes
        self.num_left = np.bincount(groups.strata[is_class], minlength=groups.num_classes)  # (classes,), groups

    def deal_one_by_one(self, order: Integers) -> None:
        """Each group to the split that lacks most of its strata's pictures, as a share of the stratum."""
        groups, num_classes, splits = self.groups, self.groups.num_classes, range(self.num_splits)
        weight = (1 / np.maximum(self.targets.sum(axis=1), 1)).tolist()  # (S,)
        lacks = (self.targets - self.placed).tolist()  # (S, K)
        waiting = _Waiting(self.placed[:num_classes] > 0, self.num_left, self.preference)
        entries, _ = groups.entries_of(order)
        strata, counts = groups.strata[entries].tolist(), groups.counts[entries].tolist()
        ends = np.cumsum(groups.starts[order + 1] - groups.starts[order]).tolist()
        dealt = []
        start = 0
        for end in ends:
            gains = [0.0] * self.num_splits
            for stratum, count in zip(strata[start:end], counts[start:end], strict=True):
                row, share = lacks[stratum], count * weight[stratum]
                for split in splits:
                    gains[split] += share * row[split]
            classes = [stratum for stratum in strata[start:end] if stratum < num_classes]
            best = max(waiting.candidates(classes), key=gains.__getitem__)
            waiting.deal(classes, best)
            for stratum, count in zip(strata[start:end], counts[start:end], strict=True):
                lacks[stratum][best] -= count
            dealt.append(best)
            start = end
        self._place(order, np.array(dealt, dtype=np.int64))

    def deal_alike(self, order: Integers, *, classes_alone: bool) -> Integers:
        """Of groups that are alike, to each split its share, rounded down; returns the groups left over."""
        signatures = self._signatures(order, classes_alone=classes_alone)
        _, first, kind, num_alike = np.unique(signatures, return_index=True, return_inverse=True, return_counts=True)
        quotas = np.floor(num_alike[:, None] * self._lacking_shares(order[first]) + 1e-9)
        quotas[num_alike < FEWEST_ALIKE] = 0
        by_kind = np.argsort(kind, kind="stable")  # within a kind in the order that was given
        rank = np.empty(len(order), dtype=np.int64)
        rank[by_kind] = np.arange(len(order)) - np.repeat(np.cumsum(num_alike) - num_alike, num_alike)
        split = (rank[:, None] >= np.cumsum(quotas, axis=1)[kind]).sum(axis=1)
        is_dealt = split < self.num_splits
        self._place(order[is_dealt], split[is_dealt])
        left_over: Integers = order[~is_dealt]
        return left_over

    def _signatures(self, order: Integers, *, classes_alone: bool) -> NDArray[np.uint64]:
        """(len(order),), equal for groups with equally many pictures in the same strata."""
        entries, owner = self.groups.entries_of(order)
        strata, counts = self.groups.strata[entries], self.groups.counts[entries]
        mixed = spread(strata.astype(np.uint64) * np.uint64(1 << 32) + counts.astype(np.uint64))
        if classes_alone:
            mixed[strata >= self.groups.num_classes] = 0
        return np.add.reduceat(mixed, np.flatnonzero(np.diff(owner, prepend=-1)))

    def _lacking_shares(self, chosen: Integers) -> NDArray[np.float64]:
        """(len(chosen), K), what each split lacks of the strata of a group; each row sums to 1."""
        lacks = np.maximum(self.targets - self.placed, 0) + 1e-6 * self.targets  # (S, K)
        shares = lacks / np.maximum(lacks.sum(axis=1, keepdims=True), 1e-300)
        entries, owner = self.groups.entries_of(chosen)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        weighted = shares[self.groups.strata[entries]] * self.groups.counts[entries, None]
        summed: NDArray[np.float64] = np.add.reduceat(weighted, starts, axis=0)
        normed: NDArray[np.float64] = summed / summed.sum(axis=1, keepdims=True)
        return normed

    def _place(self, chosen: Integers, split: Integers) -> None:
        self.split[chosen] = split
        entries, owner = self.groups.entries_of(chosen)
        strata = self.groups.strata[entries]
        cells = np.bincount(
            strata * self.num_splits + split[owner], weights=self.groups.counts[entries], minlength=self.placed.size
        )
        self.placed += cells.astype(np.int64).reshape(self.placed.shape)
        is_class = strata < self.groups.num_classes
        self.num_left -= np.bincount(strata[is_class], minlength=self.groups.num_classes)


class _Waiting:
    """Which splits still wait for a first group of a class."""

    def __init__(self, has_class: NDArray[np.bool_], num_left: Integers, preference: list[int]) -> None:
        self._waiting = [{split for split in preference if not row[split]} for row in has_class]
        self._num_left = num_left.tolist()
        # One group and two splits to serve: training comes first, then the test.
        self._is_short = [left < len(waiting) for left, waiting in zip(self._num_left, self._waiting, strict=True)]
        self._preference = preference

    def candidates(self, classes: list[int]) -> list[int]:
        """The splits that a group of these classes may go to: all, unless its classes' last groups are awaited."""
        candidates = self._preference
        for index in classes:
            waiting = self._waiting[index]
            if waiting and self._num_left[index] <= len(waiting):
                wanted = [split for split in candidates if split in waiting]
                candidates = (wanted[:1] if self._is_short[index] else wanted) or candidates
        return candidates

    def deal(self, classes: list[int], split: int) -> None:
        """A group of these classes went to a split."""
        for index in classes:
            self._waiting[index].discard(split)
            self._num_left[index] -= 1


def spread(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014): a different number for each number, spread over 64 bits."""
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
