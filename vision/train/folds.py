"""Folds that keep groups together and classes balanced.

N images, F folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold


def group_folds(
    class_indices: NDArray[np.int64], groups: Sequence[str], num_folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Divisions into training and held-out rows; every row is held out once, no group stands on both sides.

    Args:
        class_indices: (N,).
        groups: N names; pictures of one name stay together.
        num_folds: F; fewer if there are fewer groups, or fewer pictures of every class.
        seed: Decides which groups go together.

    Returns:
        F pairs of row numbers (training, held out); none if there is nothing to divide.
    """
    num_folds = min(num_folds, len(set(groups)), int(np.bincount(class_indices).max()))
    if num_folds < 2:
        return []
    folds = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Classes with fewer pictures than folds: told to the user once, by `single_group_classes`.
        warnings.filterwarnings("ignore", message="The least populated class")
        divisions = folds.split(np.zeros(len(groups)), class_indices, np.asarray(groups))
        return [(train, held_out) for train, held_out in divisions if len(held_out)]


def single_group_classes(class_indices: NDArray[np.int64], groups: Sequence[str]) -> list[int]:
    """Classes whose pictures are all of one group: held out together, so never recognised out of fold."""
    groups_by_class: dict[int, set[str]] = {}
    for class_index, group in zip(class_indices.tolist(), groups, strict=True):
        groups_by_class.setdefault(class_index, set()).add(group)
    return sorted(class_index for class_index, names in groups_by_class.items() if len(names) == 1)
