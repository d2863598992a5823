"""Whether two small pictures are one picture: the one is laid over the other, then detail is compared part by part.

Plain correlation of pixels is of no use here: sky above and ground below make strangers correlate at 0.9, and a crop of
5 % takes a copy down to 0.5. So a placement (left, top, width, height) is refined until detail fits best, by the steps
of Evangelidis and Psarakis (2008, "Parametric image alignment using enhanced correlation coefficient maximization"),
here for moving and scaling along each axis alone. Brightness and contrast as such make no difference.

Then the picture is cut into 8 x 8 blocks. In a copy nearly every block fits, save those under a logo; in two pictures
of one place, or of two vehicles of one kind from one side, some blocks fit well and others not at all.

P pairs, S = 64 side of a thumbnail in px, F side of the frame in which two are compared, G = 8 blocks a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Singles = NDArray[np.float32]

SIDE_PX = 64
NUM_BLOCKS = 8

_COARSE, _FINE = (32, 7, 6), (48, 5, 5)  # side of the frame, pixels around whose mean is taken off, steps
_LEAST_COARSE = 0.4  # strangers have 0.34 in the median, copies 0.44 and more
_BLOCK_FITS = 0.8
_LEAST_TEXTURE = 0.15  # of a block's share of all detail, where all blocks alike would have 1
_FEWEST_BLOCKS = 6
_LEAST_COMMON = 0.45  # share of the frame that is compared
_EDGE_PX = 2
_SURELY_AGREES = 0.9
_LONGEST_STEP_PX = 2.0
_SCALES = (0.4, 1.6)


@dataclass(frozen=True)
class Fit:
    """How well each pair fits.

    Attributes:
        correlations: (P,) of the detail of all that both show.
        agreements: (P,) share of the blocks with detail that correlate at 0.8 or more; 0 where too few have detail.
        middle_agreements: (P,) the same without the outermost blocks, where logos and captions lie.
    """

    correlations: Singles
    agreements: Singles
    middle_agreements: Singles


def fit_pairs(pictures: NDArray[np.uint8], others: NDArray[np.uint8], placements: Singles) -> Fit:
    """How well `others` fit into `pictures`.

    Args:
        pictures: (P, S, S) grey, each stretched to a square.
        others: (P, S, S) grey, mirrored already where that is asked.
        placements: (P, 4) left, top, width and height of the part of the picture that the other may show, as shares.
    """
    wholes, parts = pictures.astype(np.float32), others.astype(np.float32)
    measures = _measures(wholes, parts, placements, 0)
    # A frame or a band at the edge leads the steps astray; without the edge fewer crops are met, so it comes second.
    doubtful = np.flatnonzero((measures[0] > 0) & (measures[1] < _SURELY_AGREES))
    if len(doubtful):
        second = _measures(wholes[doubtful], parts[doubtful], placements[doubtful], _EDGE_PX)
        measures[:, doubtful] = np.where(second[1] > measures[1, doubtful], second, measures[:, doubtful])
    return Fit(*measures)


def _measures(pictures: Singles, others: Singles, placements: Singles, edge_px: int) -> Singles:
    """(3, P) correlation, agreement, and that of the middle; zeros for pairs that have nothing in common.

    Args:
        pictures: (P, S, S).
        others: (P, S, S).
        placements: (P, 4) to start from.
        edge_px: What is left out at each edge of the frame.
    """
    measures = np.zeros((3, len(pictures)), dtype=np.float32)
    refined, coarse = _refined(pictures, others, placements, *_COARSE, edge_px)
    hopeful = np.flatnonzero(coarse.correlations() >= _LEAST_COARSE)
    if len(hopeful):
        _, fine = _refined(pictures[hopeful], others[hopeful], refined[hopeful], *_FINE, edge_px)
        measures[:, hopeful] = fine.correlations(), *fine.agreements()
    return measures


@dataclass(frozen=True)
class _Overlaid:
    """Detail of both pictures in one frame, each of unit length over what both cover: (P, F, F)."""

    picture: Singles
    other: Singles
    common: Singles  # 1 where both pictures have pixels, else 0
    strength: Singles  # (P, 1, 1) length of the picture's detail before it was made 1

    def correlations(self) -> Singles:
        """(P,), 0 where less than `_LEAST_COMMON` is common."""
        products = _float32(np.einsum("pij,pij->p", self.picture, self.other))
        return np.where(self.common.mean(axis=(1, 2)) >= _LEAST_COMMON, products, np.float32(0))

    def agreements(self) -> tuple[Singles, Singles]:
        """(P,) share of the blocks with detail that fit, and the same of those in the middle."""
        pixels = (self.common.shape[1] // NUM_BLOCKS) ** 2
        energies = _block_sums(self.picture**2), _block_sums(self.other**2)
        has_detail = np.maximum(*energies) > _LEAST_TEXTURE / NUM_BLOCKS**2
        has_detail &= _block_sums(self.common) > pixels / 2
        products = _block_sums(self.picture * self.other)
        fits = (products >= _BLOCK_FITS * np.sqrt(energies[0] * energies[1])) & has_detail
        enough = has_detail.sum(axis=(1, 2)) >= _FEWEST_BLOCKS
        inner = slice(1, -1)
        of_all, of_middle = _share(fits, has_detail), _share(fits[:, inner, inner], has_detail[:, inner, inner])
        return _float32(of_all * enough), _float32(of_middle * enough)


def _share(fits: NDArray[np.bool_], has_detail: NDArray[np.bool_]) -> Singles:
    """(P,) of blocks (P, G, G); 1 where none has detail, as nothing speaks against it."""
    num_blocks = has_detail.sum(axis=(1, 2))
    return _float32(np.where(num_blocks > 0, fits.sum(axis=(1, 2)) / np.maximum(num_blocks, 1), 1))


def _refined(
    pictures: Singles,
    others: Singles,
    placements: Singles,
    frame_px: int,
    blur_px: int,
    num_steps: int,
    edge_px: int,
) -> tuple[Singles, _Overlaid]:
    """Placements after some steps, and what lies over each other then."""
    whole = np.array([[0, 0, 1, 1]], dtype=np.float32)
    looked_for = _detail(_placed(others, np.repeat(whole, len(others), axis=0), frame_px, 0)[0], blur_px)
    for _ in range(num_steps):
        seen, common = _placed(pictures, placements, frame_px, edge_px)
        placements = _stepped(placements, seen, _overlay(seen, common, looked_for, blur_px), blur_px)
    seen, common = _placed(pictures, placements, frame_px, edge_px)
    return placements, _overlay(seen, common, looked_for, blur_px)


def _overlay(seen: Singles, common: Singles, looked_for: Singles, blur_px: int) -> _Overlaid:
    picture, strength = _unit(_detail(seen, blur_px) * common)
    other, _ = _unit(looked_for * common)
    return _Overlaid(picture, other, common, strength)


def _stepped(placements: Singles, seen: Singles, overlaid: _Overlaid, blur_px: int) -> Singles:
    """Placements after one Gauss-Newton step towards the greatest correlation, no longer than 2 px."""
    num_pairs, frame_px = len(seen), seen.shape[-1]
    changes = _detail(_changes(seen), blur_px) * overlaid.common[:, None] / overlaid.strength[:, None]
    changes = changes.reshape(num_pairs, 4, -1)
    picture, other = overlaid.picture.reshape(num_pairs, 1, -1), overlaid.other.reshape(num_pairs, 1, -1)
    # Only what turns the picture's detail counts, not what makes it longer.
    changes = changes - (changes @ picture.transpose(0, 2, 1)) * picture
    correlations = (picture * other).sum(axis=2, keepdims=True)  # (P, 1, 1)
    slopes = changes @ (other - correlations * picture).transpose(0, 2, 1)  # (P, 4, 1)
    curvature = changes @ changes.transpose(0, 2, 1) * np.maximum(correlations, 0.3)
    damping = 1e-3 * np.trace(curvature, axis1=1, axis2=2) + 1e-6
    curvature = curvature + damping[:, None, None] * np.eye(4, dtype=np.float32)
    steps = np.linalg.solve(curvature, slopes)[..., 0]
    steps = np.clip(steps, -_LONGEST_STEP_PX / frame_px, _LONGEST_STEP_PX / frame_px)
    moved = placements + steps * placements[:, [2, 3, 2, 3]]
    moved[:, :2] = np.clip(moved[:, :2], -_SCALES[0], 2 * _SCALES[0])
    moved[:, 2:] = np.clip(moved[:, 2:], *_SCALES)
    return _float32(moved)


def _changes(seen: Singles) -> Singles:
    """(P, 4, F, F) how each pixel changes with left, top, width and height, in shares of the placement."""
    frame_px = seen.shape[-1]
    at = _float32((np.arange(frame_px) + 0.5) / frame_px)
    down, right = (_float32(gradient * frame_px) for gradient in np.gradient(seen, axis=(1, 2)))
    return np.stack([right, down, right * at, down * at[:, None]], axis=1)


def _placed(pictures: Singles, placements: Singles, frame_px: int, edge_px: int) -> tuple[Singles, Singles]:
    """Parts of pictures on a frame, and where they have pixels and are not at its edge: (P, F, F) each."""
    across, has_column = _sampling(placements[:, 0], placements[:, 2], frame_px)
    along, has_row = _sampling(placements[:, 1], placements[:, 3], frame_px)
    common = has_row[:, :, None] & has_column[:, None, :]
    inner = np.arange(frame_px)
    is_inner = (inner >= edge_px) & (inner < frame_px - edge_px)
    common &= is_inner[:, None] & is_inner
    return _float32(along @ pictures @ across.transpose(0, 2, 1)), _float32(common)


def _sampling(starts: Singles, lengths: Singles, frame_px: int) -> tuple[Singles, NDArray[np.bool_]]:
    """(P, F, S) linear interpolation along one axis, averaging where it makes smaller, and (P, F) what lies inside."""
    centres = _float32((np.arange(frame_px) + 0.5) / frame_px)
    at = (starts[:, None] + lengths[:, None] * centres) * SIDE_PX - 0.5
    inside = (at > -0.51) & (at < SIDE_PX - 0.49)
    reach = np.maximum(lengths * SIDE_PX / frame_px, 1)[:, None, None]
    distances = np.abs(np.clip(at, 0, SIDE_PX - 1)[:, :, None] - np.arange(SIDE_PX, dtype=np.float32))
    weights = np.maximum(0, 1 - distances / reach)
    return _float32(weights / weights.sum(axis=2, keepdims=True)), inside


def _detail(pictures: Singles, blur_px: int) -> Singles:
    """Pictures (..., F, F) without what varies slowly."""
    blur = _blur_matrix(pictures.shape[-1], blur_px)
    return _float32(pictures - blur @ pictures @ blur.T)


def _unit(pictures: Singles) -> tuple[Singles, Singles]:
    """Pictures of length 1, and their lengths (P, 1, 1) before, kept off 0."""
    lengths = np.sqrt((pictures**2).sum(axis=(1, 2), keepdims=True))
    lengths = np.maximum(lengths, _least_length(pictures.shape[-1]))
    return _float32(pictures / lengths), _float32(lengths)


def _least_length(frame_px: int) -> float:
    """Detail of half a grey level; less is rounding and noise."""
    return 0.5 * frame_px


def _block_sums(pictures: Singles) -> Singles:
    """(P, G, G)."""
    block_px = pictures.shape[-1] // NUM_BLOCKS
    return _float32(pictures.reshape(len(pictures), NUM_BLOCKS, block_px, NUM_BLOCKS, block_px).sum(axis=(2, 4)))


def _float32(values: NDArray[np.generic]) -> Singles:
    return np.asarray(values, dtype=np.float32)


@cache
def _blur_matrix(side_px: int, blur_px: int) -> Singles:
    """(F, F): mean of the pixels around along one axis; those beyond the edge are as the edge."""
    matrix = np.zeros((side_px, side_px), dtype=np.float32)
    for offset in range(-(blur_px // 2), blur_px // 2 + 1):
        np.add.at(matrix, (np.arange(side_px), np.clip(np.arange(side_px) + offset, 0, side_px - 1)), 1 / blur_px)
    return matrix
