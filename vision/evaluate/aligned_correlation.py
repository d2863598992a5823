"""Whether two small pictures show the same, also if one was cropped a little, moved or mirrored.

Plain correlation of pixels is of no use here: sky above and ground below make strangers correlate at 0.9, and a crop of
5 % takes a copy down to 0.5. So only detail is compared, with the one picture moved and scaled to fit the other.

P pairs, C candidates each, S side in px, W side of what is compared, V placements.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from vision.data.preprocessing import THUMBNAIL_PX

Singles = NDArray[np.float32]

_WINDOW_PX = 20
_SCALED_PX = (28, 30, 32, 34, 36)  # a thumbnail of 32 px made smaller and larger by up to an eighth
_MOST_SHIFT_PX = 5
_DETAIL_PX = 5  # what is left after taking off the mean of so many pixels around
_LEAST_NORM = 0.5 * _WINDOW_PX  # detail of half a grey level; less is rounding and noise
_CHUNK = 128  # pictures at a time: 30 MB


def aligned_correlations(thumbnails: NDArray[np.uint8], candidates: NDArray[np.uint8]) -> Singles:
    """Greatest correlation of detail over all placements, of each picture with each of its candidates.

    It is normalised cross-correlation (Lewis 1995) after a high-pass. A picture without detail correlates with none.

    Args:
        thumbnails: (P, 32, 32) grey.
        candidates: (P, C, 32, 32) grey.

    Returns:
        (P, C, 2) in [-1, 1]: as they are, and with the candidate mirrored.
    """
    found = np.empty((*candidates.shape[:2], 2), dtype=np.float32)
    for start in range(0, len(thumbnails), _CHUNK):
        some = slice(start, start + _CHUNK)
        found[some] = _of_chunk(thumbnails[some].astype(np.float32), candidates[some].astype(np.float32))
    return found


def _of_chunk(thumbnails: Singles, candidates: Singles) -> Singles:
    edge = (THUMBNAIL_PX - _WINDOW_PX) // 2
    middle = _detail(candidates)[..., edge:-edge, edge:-edge]
    both = np.stack([middle, middle[..., ::-1]], axis=2)  # (P, C, 2, W, W)
    looked_for = _unit_rows(both.reshape(len(both), -1, _WINDOW_PX**2)).transpose(0, 2, 1)  # (P, W * W, 2 * C)
    best = np.full((len(both), 2 * candidates.shape[1]), -1, dtype=np.float32)
    for scaled_px in _SCALED_PX:
        resize = _resize_matrix(scaled_px)
        windows = _windows(_detail(_float32(resize @ thumbnails @ resize.T)))  # (P, V, W * W)
        means = windows.mean(axis=2)
        norms = np.sqrt(np.maximum((windows**2).sum(axis=2) - _WINDOW_PX**2 * means**2, _LEAST_NORM**2))
        # What is looked for has mean 0, so the windows' means need not be taken off.
        best = np.maximum(best, (windows @ looked_for / norms[:, :, None]).max(axis=1))
    return np.clip(best, -1, 1).reshape(both.shape[:3])


def _windows(pictures: Singles) -> Singles:
    """(P, V, W * W) parts of pictures (P, S, S), at most `_MOST_SHIFT_PX` from the middle."""
    spare = pictures.shape[-1] - _WINDOW_PX
    first, last = max(0, spare // 2 - _MOST_SHIFT_PX), min(spare, spare - spare // 2 + _MOST_SHIFT_PX)
    views = sliding_window_view(pictures, (_WINDOW_PX, _WINDOW_PX), axis=(1, 2))
    return views[:, first : last + 1, first : last + 1].reshape(len(pictures), -1, _WINDOW_PX**2)


def _detail(pictures: Singles) -> Singles:
    """Pictures (..., S, S) without what varies slowly."""
    blur = _blur_matrix(pictures.shape[-1])
    return _float32(pictures - blur @ pictures @ blur.T)


def _unit_rows(rows: Singles) -> Singles:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return _float32(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), _LEAST_NORM))


def _float32(values: NDArray[np.floating]) -> Singles:
    return np.asarray(values, dtype=np.float32)


@cache
def _resize_matrix(scaled_px: int) -> Singles:
    """(scaled, 32): bicubic resizing of one axis, Pillow's."""
    identity = Image.fromarray(np.eye(THUMBNAIL_PX, dtype=np.float32))
    return np.asarray(identity.resize((THUMBNAIL_PX, scaled_px), Image.Resampling.BICUBIC), dtype=np.float32)


@cache
def _blur_matrix(side_px: int) -> Singles:
    """(S, S): mean of the pixels around along one axis; those beyond the edge are as the edge."""
    matrix = np.zeros((side_px, side_px), dtype=np.float32)
    for offset in range(-(_DETAIL_PX // 2), _DETAIL_PX // 2 + 1):
        np.add.at(matrix, (np.arange(side_px), np.clip(np.arange(side_px) + offset, 0, side_px - 1)), 1 / _DETAIL_PX)
    return matrix
