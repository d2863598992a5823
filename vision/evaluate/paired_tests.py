"""Whether two classifiers differ on the same pictures beyond chance.

N pictures, G groups, K classes. The two are A and B; a difference is always B minus A.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision.evaluate.calibration_metrics import Bools, Floats, Ints, group_bootstrap_intervals
from vision.evaluate.metrics import DEFAULT_REPLICATES, Interval

LEAST_P_VALUE = 1e-12
"""Below this rounding takes over; smaller p-values are given as this one."""


@dataclass(frozen=True)
class PairedIntervals:
    """A figure of A, of B, and their difference, each with its 95 % interval."""

    a: Interval
    b: Interval
    difference: Interval


@dataclass(frozen=True)
class PairedFigures:
    """Figures of both on the same pictures; `recall` has one entry a class, NaN where it has no pictures."""

    accuracy: PairedIntervals
    macro_recall: PairedIntervals
    recall: list[PairedIntervals]


def mcnemar_p_value(num_only_a: int, num_only_b: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947): could both be right equally often?

    Pictures on which one is right and the other wrong fall to either side like a fair coin, if pictures are
    independent. Where they come in groups they are not, and the test finds differences that are none: see
    `sign_flip_p_value`.

    Args:
        num_only_a: Pictures on which only A is right.
        num_only_b: Pictures on which only B is right.
    """
    total, fewer = num_only_a + num_only_b, min(num_only_a, num_only_b)
    log_choices = math.lgamma(total + 1) - math.lgamma(fewer + 1) - math.lgamma(total - fewer + 1)
    # From the largest term downwards, C(n, k - 1) = C(n, k) * k / (n - k + 1): no term overflows.
    k = np.arange(fewer, 0, -1)
    relative_terms = 1 + np.cumprod(k / (total - k + 1)).sum()
    tail = math.exp(log_choices - total * math.log(2)) * float(relative_terms)
    return _bounded(2 * tail)


def sign_flip_p_value(differences: Ints) -> float:
    """Two-sided p-value of the exact sign-flip test over groups: could A and B be exchanged within groups?

    If they could, a group's difference is as likely as its opposite. Of all 2^G ways to exchange A and B in whole
    groups it is the share with at least the total difference that was found (Fisher 1935, section 21; for groups Canay,
    Romano and Shaikh 2017, Econometrica 85). With groups of one picture it is McNemar's exact test.

    The distribution of a sum of +-d_g has the characteristic function prod cos(t d_g); as the d_g are whole numbers,
    a discrete Fourier transform gives every probability, and nothing needs to be drawn.

    Args:
        differences: (G,) pictures on which only B is right minus those on which only A is.
    """
    sizes, repeats = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    furthest, found = int(sizes @ repeats), abs(int(differences.sum()))
    if found == 0:
        return 1.0
    num_points = 2 * furthest + 2  # sums lie in [-furthest, furthest], so none falls on another
    angles = 2 * np.pi / num_points * np.arange(furthest + 2)
    transform = np.ones(len(angles))
    for size, repeat in zip(sizes, repeats, strict=True):
        transform *= np.cos(size * angles) ** int(repeat)
    probabilities = np.fft.irfft(transform, num_points)
    return _bounded(2 * float(probabilities[found : furthest + 1].sum()))


def group_differences(is_right_a: Bools, is_right_b: Bools, group_indices: Ints) -> Ints:
    """(G,) pictures of each group on which only B is right minus those on which only A is.

    Args:
        is_right_a: (N,).
        is_right_b: (N,).
        group_indices: (N,) in [0, G).
    """
    signs = is_right_b.astype(np.int64) - is_right_a.astype(np.int64)
    return np.bincount(group_indices, weights=signs).astype(np.int64)


def paired_figures(
    true_indices: Ints,
    is_right_a: Bools,
    is_right_b: Bools,
    groups: Sequence[str],
    num_classes: int,
    *,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> PairedFigures:
    """Accuracy, macro recall and recalls of both, with 95 % intervals from the same draws of groups for both.

    What makes a picture hard makes it hard for both; drawn together, that falls out of the difference. Macro recall is
    the mean over classes that have pictures, in each draw.

    Args:
        true_indices: (N,), in [0, K).
        is_right_a: (N,).
        is_right_b: (N,).
        groups: N names.
        num_classes: K.
        num_replicates: Of the bootstrap.
        seed: Of the resampling.
    """
    outcomes = 4 * true_indices + 2 * is_right_a + is_right_b  # (N,) class and who is right

    def figures(counts: Ints) -> Floats:
        table = np.bincount(outcomes, weights=counts, minlength=4 * num_classes).reshape(num_classes, 4)
        right = np.array([table[:, 2] + table[:, 3], table[:, 1] + table[:, 3]])  # (2, K)
        return _figures_of(right, table.sum(axis=1)).ravel()

    found = group_bootstrap_intervals(figures, groups, num_replicates=num_replicates, seed=seed)  # type: ignore[arg-type]
    a, b, difference = (found[part * (2 + num_classes) :][: 2 + num_classes] for part in range(3))
    accuracy, macro_recall, *recall = map(PairedIntervals, a, b, difference)
    return PairedFigures(accuracy, macro_recall, recall)


def _figures_of(right: Floats, num_images: Floats) -> Floats:
    """Accuracy, macro recall and recalls of A, of B, and B minus A, (3, 2 + K).

    Args:
        right: (2, K) right answers of both.
        num_images: (K,).
    """
    recall = np.full(right.shape, np.nan)
    np.divide(right, num_images, out=recall, where=num_images > 0)
    accuracy = right.sum(axis=1) / num_images.sum()
    macro_recall = recall[:, num_images > 0].mean(axis=1)
    both = np.column_stack([accuracy, macro_recall, recall])
    return np.vstack([both, both[1] - both[0]])


def _bounded(p_value: float) -> float:
    return min(max(p_value, LEAST_P_VALUE), 1.0)
