"""Shortcut audit: can classes be told from what no answer should rest on?

Small models see only picture size, aspect, file size, border pixels or blurred colours. If one of them names classes
much better than chance, a network may have learnt the same instead of the vehicles, and its accuracy is worth less
than it seems (Geirhos et al. 2020, "Shortcut learning in deep neural networks").

Simulated with 300 pictures of 5 classes that say nothing of their class (groups of mixed and of one class, of equal and
unequal size, one class with 60 %, half of the variance the group's; 40 seeds each): no warning from 800 small models,
and p-values up to 0.05 from 3 % of them.

N pictures, K classes, S side of a thumbnail in px.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.data.images import crop_to_box, decode_image, upright_size
from vision.data.preprocessing import Box
from vision.errors import ImageError
from vision.evaluate.metrics import DEFAULT_REPLICATES, bootstrap_intervals
from vision.evaluate.parts import FigureWithInterval, Part
from vision.evaluate.shortcut_models import (
    Floats,
    Ints,
    Model,
    folds_of_groups,
    nearest_neighbours,
    permuted_labels,
    ridge,
)

THUMBNAIL_PX = 16
MAX_PICTURES = 4000
"""More are not looked at: 4,000 tell an accuracy to 1.6 percentage points, and decoding takes the time."""

NUM_PERMUTATIONS = 200
MIN_SHARE_OF_ERRORS = 0.05
"""A model that spares fewer of the errors of always answering the largest class is no reason for a warning."""


@dataclass(frozen=True)
class Glances:
    """What the small models see of N pictures; of the box where there is one.

    Attributes:
        sizes_px: (N, 2) width and height.
        sizes_bytes: (N,) of the files.
        thumbnails: (N, S, S, 3) means of colour, in [0, 255].
    """

    sizes_px: Floats
    sizes_bytes: Floats
    thumbnails: NDArray[np.uint8]


class ShortcutFigures(Part):
    """How far one small model gets.

    Attributes:
        name: Of what it sees, in a word or two.
        what_it_sees: In words.
        accuracy: Share of pictures that it names right; it was not fitted on pictures of their groups.
        chance: Share of the largest class: always answering it reaches that much.
        permuted: 95th percentile of its accuracy with permuted labels, or `chance` if that is more.
        p_value: Share of permuted labels with which it is as good, the true ones counted among them; 1 if it is no
            better than always answering the largest class.
        warns: Whether it does much better than chance: the low end of the interval is above `permuted`, and at least
            5 % of the errors of always answering the largest class are spared.
    """

    name: str
    what_it_sees: str
    accuracy: FigureWithInterval
    chance: float
    permuted: float
    p_value: float
    warns: bool


class ShortcutAudit(Part):
    """What all small models reach on the same pictures.

    Attributes:
        models: One for each thing that may be seen.
        num_images: Pictures looked at.
        num_groups: Of them.
        num_left_out: Pictures beyond `MAX_PICTURES`, left out by lot.
        num_unreadable: Pictures that could not be read, or whose box lies outside.
        num_permutations: Of labels.
    """

    models: tuple[ShortcutFigures, ...]
    num_images: int
    num_groups: int
    num_left_out: int
    num_unreadable: int
    num_permutations: int


def audit_shortcuts(
    paths: Sequence[Path],
    true_labels: Sequence[str],
    groups: Sequence[str],
    *,
    boxes: Sequence[Box | None] | None = None,
    box_margin: float = 0.0,
    most: int = MAX_PICTURES,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ShortcutAudit | None:
    """The audit of evaluated pictures; None with fewer than two classes or groups, where there is nothing to tell.

    Args:
        paths: N files.
        true_labels: N classes.
        groups: N names, as from `vision.data.manifest.group_names`.
        boxes: N parts that the classifier looks at, or None for whole pictures.
        box_margin: Of the classifier's preprocessing.
        most: Pictures that are looked at.
        num_replicates: Of the bootstrap.
        seed: Of folds, permutations and the bootstrap.
        on_progress: Told of each picture that is done.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(paths))[:most]).tolist()
    chosen_boxes = [None if boxes is None else boxes[row] for row in drawn]
    glances, is_read = read_glances([paths[row] for row in drawn], chosen_boxes, box_margin, on_progress=on_progress)
    rows = [row for row, read in zip(drawn, is_read, strict=True) if read]
    labels, names = [true_labels[row] for row in rows], [groups[row] for row in rows]
    if len(set(labels)) < 2 or len(set(names)) < 2:
        return None
    return ShortcutAudit(
        models=shortcut_figures(glances, labels, names, num_replicates=num_replicates, seed=seed),
        num_images=len(rows),
        num_groups=len(set(names)),
        num_left_out=len(paths) - len(drawn),
        num_unreadable=len(drawn) - len(rows),
        num_permutations=NUM_PERMUTATIONS,
    )


def shortcut_figures(
    glances: Glances,
    true_labels: Sequence[str],
    groups: Sequence[str],
    *,
    num_permutations: int = NUM_PERMUTATIONS,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> tuple[ShortcutFigures, ...]:
    """Figures of every small model, by cross-validation with groups held apart.

    Args:
        glances: Of N pictures.
        true_labels: N classes, two different ones at least.
        groups: N names, two different ones at least.
        num_permutations: Of labels.
        num_replicates: Of the bootstrap.
        seed: Of folds, permutations and the bootstrap.
    """
    class_ids, labels = np.unique(np.asarray(true_labels, dtype=object), return_inverse=True)
    group_indices = np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
    folds = folds_of_groups(group_indices, seed=seed)
    chance = float(np.bincount(labels).max() / len(labels))
    figures = []
    for view in _VIEWS:
        answers_for = view.model(view.features_of(glances), folds, len(class_ids))
        is_right = answers_for(labels) == labels
        accuracy = _accuracy(is_right, groups, num_replicates, seed)
        generator = np.random.default_rng(seed)
        others = (permuted_labels(labels, group_indices, generator) for _ in range(num_permutations))
        permuted = np.array([(answers_for(other) == other).mean() for other in others])
        figures.append(_figures(view, accuracy, chance, permuted))
    return tuple(figures)


def read_glances(
    paths: Sequence[Path],
    boxes: Sequence[Box | None],
    box_margin: float = 0.0,
    *,
    on_progress: Callable[[int], None] = lambda count: None,
) -> tuple[Glances, list[bool]]:
    """What is seen of the pictures that can be read, and which of the given ones these are.

    Args:
        paths: Files, each decoded once and at reduced size.
        boxes: A part x y width height in px, or None for the whole, of each.
        box_margin: Share of a box's width and height added on each side.
        on_progress: Told of each picture that is done.
    """
    found: list[_Glance | None] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for glance in pool.map(lambda path, box: _glance_or_none(path, box, box_margin), paths, boxes):
            found.append(glance)
            on_progress(1)
    read = [glance for glance in found if glance is not None]
    glances = Glances(
        sizes_px=np.array([glance.size_px for glance in read], dtype=np.float64).reshape(-1, 2),
        sizes_bytes=np.array([glance.size_bytes for glance in read], dtype=np.float64),
        thumbnails=np.array([glance.thumbnail for glance in read], np.uint8).reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX, 3),
    )
    return glances, [glance is not None for glance in found]


@dataclass(frozen=True)
class _View:
    """What a small model sees, and which model it is."""

    name: str
    what_it_sees: str
    features_of: Callable[[Glances], Floats]
    model: Model


@dataclass(frozen=True)
class _Glance:
    size_px: tuple[float, float]
    size_bytes: int
    thumbnail: NDArray[np.uint8]


def _border(glances: Glances) -> Floats:
    """(N, 3 * 4 * (S - 1)) colours of the outermost ring."""
    is_inside = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), dtype=bool)
    is_inside[1:-1, 1:-1] = True
    ring: Floats = glances.thumbnails[:, ~is_inside].reshape(len(glances.thumbnails), -1) / 255
    return ring


def _blurred_colours(glances: Glances) -> Floats:
    """(N, 3 * 8 * 8) means of colour."""
    half = THUMBNAIL_PX // 2
    fields = glances.thumbnails.reshape(-1, half, 2, half, 2, 3).mean(axis=(2, 4)) / 255
    colours: Floats = fields.reshape(len(fields), -1)
    return colours


_VIEWS = (
    _View("picture size", "width and height in px", lambda g: np.log(g.sizes_px), nearest_neighbours),
    _View("aspect", "width over height", lambda g: np.log(g.sizes_px[:, :1] / g.sizes_px[:, 1:]), nearest_neighbours),
    _View("file size", "bytes of the file", lambda g: np.log(g.sizes_bytes)[:, None], nearest_neighbours),
    _View("border", f"outermost pixels of {THUMBNAIL_PX} x {THUMBNAIL_PX}", _border, ridge),
    _View("blurred colours", f"{THUMBNAIL_PX // 2} x {THUMBNAIL_PX // 2} fields of colour", _blurred_colours, ridge),
)


def _figures(view: _View, accuracy: FigureWithInterval, chance: float, permuted: Floats) -> ShortcutFigures:
    found, low = accuracy.value or 0.0, accuracy.low or 0.0
    # A model that has nothing to see may fall below chance, as the class that is frequent in training is less so in
    # the rest; to fall less far is no finding.
    permuted = np.maximum(permuted, chance)
    beyond_permuted = float(np.quantile(permuted, 0.95))
    is_much = found - chance >= MIN_SHARE_OF_ERRORS * (1 - chance)
    return ShortcutFigures(
        name=view.name,
        what_it_sees=view.what_it_sees,
        accuracy=accuracy,
        chance=chance,
        permuted=beyond_permuted,
        p_value=float((1 + (permuted >= found - 1e-12).sum()) / (1 + len(permuted))),
        warns=bool(low > beyond_permuted and is_much),
    )


def _accuracy(is_right: NDArray[np.bool_], groups: Sequence[str], num_replicates: int, seed: int) -> FigureWithInterval:
    # One class and an answer that hits it or not: the accuracy of that is the share of right answers.
    truth: Ints = np.zeros(len(is_right), dtype=np.int64)
    answers = np.where(is_right, 0, 1).astype(np.int64)
    intervals = bootstrap_intervals(truth, answers, groups, 1, num_replicates=num_replicates, seed=seed)
    return FigureWithInterval.of(intervals.accuracy)


def _glance_or_none(path: Path, box: Box | None, box_margin: float) -> _Glance | None:
    try:
        return _glance(path, box, box_margin)
    except ImageError:
        return None


def _glance(path: Path, box: Box | None, box_margin: float) -> _Glance:
    # Twice the thumbnail leaves the filter something to average; a box may be any part, so it needs all pixels.
    image = decode_image(path, enough_px=2 * THUMBNAIL_PX if box is None else None)
    size_px = upright_size(path, image) if box is None else (box[2], box[3])
    seen = image if box is None else crop_to_box(image, box, box_margin)
    thumbnail = seen.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    return _Glance(size_px, path.stat().st_size, np.asarray(thumbnail, dtype=np.uint8))
