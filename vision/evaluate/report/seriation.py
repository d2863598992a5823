"""An order of classes in which those that are taken for each other stand side by side.

K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vision.evaluate.metrics import confusion_rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def confusion_order(counts: Ints) -> list[int]:
    """The classes by confusion: those never confused with others last, in the order that they had.

    Within a connected group of confused classes it is the order of the Fiedler vector, the eigenvector of the second
    smallest eigenvalue of the Laplacian (Atkins, Boman and Hendrickson 1998, doi 10.1137/S0097539795285771): where some
    order puts larger confusions nearer to the diagonal throughout, this finds it. Groups stand by their confusion,
    the largest first. Each group begins at the end whose class comes first by number.

    Args:
        counts: (K, A), images of true class `row` answered as `column`; the first K columns are the classes.
    """
    similarity = _similarity(counts)
    groups = _connected_groups(similarity > 0)
    groups.sort(key=lambda group: (-float(similarity[np.ix_(group, group)].sum()), group[0]))
    return [int(index) for group in groups for index in group[_fiedler_order(similarity[np.ix_(group, group)])]]


def _similarity(counts: Ints) -> Floats:
    """(K, K) mean share of each two classes that were taken for the other; a class without images adds nothing."""
    rates = np.nan_to_num(confusion_rates(counts)[:, : len(counts)])
    np.fill_diagonal(rates, 0)
    return np.asarray((rates + rates.T) / 2, dtype=np.float64)


def _connected_groups(is_linked: NDArray[np.bool_]) -> list[Ints]:
    """Indices of each connected group, ascending."""
    reached = is_linked | np.eye(len(is_linked), dtype=np.bool_)
    for _ in range(max(len(reached), 1).bit_length()):  # squaring doubles the length of the paths
        reached = (reached.astype(np.float64) @ reached) > 0
    firsts = reached.argmax(axis=1) if len(reached) else np.empty(0, dtype=np.int64)
    return [np.flatnonzero(firsts == first) for first in np.unique(firsts)]


def _fiedler_order(similarity: Floats) -> Ints:
    """Order of one connected group, (K,)."""
    if len(similarity) < 3:
        return np.arange(len(similarity))
    laplacian = np.diag(similarity.sum(axis=1)) - similarity
    vector = np.linalg.eigh(laplacian)[1][:, 1].round(9)  # rounded: ties fall by number, not by noise
    order = np.argsort(vector, kind="stable")
    return order if order[0] < order[-1] else np.argsort(-vector, kind="stable")
