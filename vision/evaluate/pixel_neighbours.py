"""The baseline that compares small grey pictures pixel by pixel: a weak recipe is seen at once beside it.

N pictures, R training pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def nearest_by_pixels(
    thumbnails: Iterable[NDArray[np.uint8] | None],
    known: NDArray[np.uint8],
    classes: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    known_groups: Sequence[str] = (),
) -> list[str | None]:
    """Class of the training picture whose pixels correlate best with each picture's.

    Args:
        thumbnails: N pictures of (32, 32); None for one that cannot be read.
        known: (R, 32, 32).
        classes: R class ids.
        groups: N names; training pictures of the same group are left out. None leaves none out.
        known_groups: R names, with `groups`.

    Returns:
        N class ids; None for a picture that cannot be read, or from whose group all training pictures are.
    """
    rows, names = _standardised(known), np.asarray(known_groups, dtype=np.str_)
    found: list[str | None] = []
    for position, thumbnail in enumerate(thumbnails):
        if thumbnail is None:
            found.append(None)
            continue
        correlations = rows @ _standardised(thumbnail[None])[0]
        if groups is not None:
            correlations[names == groups[position]] = -np.inf
        nearest = int(correlations.argmax())
        found.append(classes[nearest] if np.isfinite(correlations[nearest]) else None)
    return found


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(R, 32, 32) -> (R, 1024) with mean 0 and length 1, so that products are correlations."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), dtype=np.float32)
