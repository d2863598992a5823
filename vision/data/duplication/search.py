"""Which pictures of many may be copies of each other, without comparing all with all.

Each picture is described by the low frequencies of its whole, as pHash does, but with their sizes kept: one bit a
frequency is too coarse to meet crops. The same is made of 50 windows of it, so that a crop meets the window that it
nearly is; of the mirror image by turning the signs of the odd frequencies, of the picture turned by a quarter by
exchanging its axes too. Windows, and wholes that are turned, look for wholes in a graph of neighbours (HNSW, Malkov and
Yashunin 2018), which takes about the logarithm of the number of pictures for each. Pairs whose pHash is near are
candidates as well, found by a graph of their own: a wide strip or a word changes the sizes of frequencies more than
which of them are large.

N pictures, S side of a thumbnail in px, W windows, D = 63 frequencies, C candidate pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from vision.data.duplication.alignment import SIDE_PX

Singles = NDArray[np.float32]

WINDOW_SHARES = ((0.9, 3), (0.8, 4), (0.7, 5))
"""Share of the sides, and how many places along each axis."""

STRIP_SHARES = ((0.8, (0.0, 0.2)), (0.75, (0.125,)))
"""Share of one side, the other being whole, and where it starts: for pictures cut at one side, or made wider."""

PHASH_BITS = 10
"""Pictures whose pHash differs in no more of 64 bits are candidates, the usual threshold."""

_NUM_FREQUENCIES = 8  # along each axis, as pHash has
_GRID_PX = 32  # as pHash has
_LEAST_DETAIL = 24.0  # length of the weighted frequencies; less is a blank page
_LEAST_SIMILARITY = 0.70  # what the lowest 1 % of copies cropped by 15 % a side has; by 10 %, 0.80
_NEIGHBOURS_A_WINDOW = 6
_CANDIDATES_A_PICTURE = 12
_LINKS, _BREADTH = 16, 48  # of the graph: neighbours a point, points that are kept in sight
_CHUNK = 512  # pictures whose windows are looked up at a time: 6.6 MB

CANDIDATE_COLUMNS: dict[str, type[pl.DataType]] = {
    "row": pl.Int64,
    "other": pl.Int64,
    "window": pl.Int64,
    "is_mirrored": pl.Boolean,
    "quarter_turns": pl.Int64,
    "similarity": pl.Float32,
}


def find_candidates(
    thumbnails: NDArray[np.uint8], *, on_progress: Callable[[int], None] = lambda count: None
) -> pl.DataFrame:
    """Pairs of pictures of which the one may show what the other shows, or a part of it.

    Args:
        thumbnails: (N, S, S) grey, each stretched to a square.
        on_progress: Told how many pictures were looked up, N in all.

    Returns:
        `CANDIDATE_COLUMNS` and `is_phash_near`, one line for each pair: a window of picture `row` is similar to the
        whole of `other` after that was mirrored, if so, and then turned clockwise.
    """
    found = [pl.DataFrame(schema=CANDIDATE_COLUMNS)]
    described = [describe(thumbnails[some], windows()[:1])[:, 0] for some in _chunks(len(thumbnails))]
    wholes = np.concatenate(described) if described else np.zeros((0, _NUM_FREQUENCIES**2 - 1), dtype=np.float32)
    has_detail = np.linalg.norm(wholes, axis=1) > 0.5
    rows = np.flatnonzero(has_detail)
    if len(rows) > 1:
        neighbours = NearestNeighbours(np.concatenate([wholes[rows], mirrored(wholes[rows])]))
        for some in _chunks(len(rows)):
            found.append(_looked_up(thumbnails, rows, some, neighbours))
            on_progress(len(rows[some]))
    candidates = _best_candidates(pl.concat(found))
    return _with_near_by_phash(candidates, thumbnails, rows)


@cache
def windows() -> Singles:
    """(W, 4) left, top, width and height as shares; the first is the whole."""
    parts = [(0.0, 0.0, 1.0, 1.0)]
    for share, num_places in WINDOW_SHARES:
        offsets = np.linspace(0, 1 - share, num_places).tolist()
        parts += [(left, top, share, share) for left in offsets for top in offsets]
    for share, starts in STRIP_SHARES:
        parts += [(0.0, start, 1.0, share) for start in starts] + [(start, 0.0, share, 1.0) for start in starts]
    return np.array(parts, dtype=np.float32)


def describe(thumbnails: NDArray[np.uint8], parts: Singles) -> Singles:
    """(N, W, D) of unit length: low frequencies of parts of pictures; zeros for a part without detail.

    It is the discrete cosine transform of pHash (Zauner 2010; `imagehash.phash`), each frequency multiplied by its
    distance from 0, as the spectrum of pictures falls with it (Field 1987), and without the mean.
    """
    pictures = thumbnails.astype(np.float32)
    described = np.empty((len(pictures), len(parts), _NUM_FREQUENCIES**2 - 1), dtype=np.float32)
    for number, (left, top, width, height) in enumerate(parts.tolist()):
        frequencies = _transform(top, height) @ pictures @ _transform(left, width).T
        described[:, number] = (frequencies * _weights()).reshape(len(pictures), -1)[:, 1:]
    lengths = np.linalg.norm(described, axis=2, keepdims=True)
    return np.asarray(np.where(lengths >= _LEAST_DETAIL, described / np.maximum(lengths, 1e-6), 0), dtype=np.float32)


def mirrored(described: Singles) -> Singles:
    """What `describe` makes of the mirror image."""
    signs = np.tile((-1.0) ** np.arange(_NUM_FREQUENCIES), _NUM_FREQUENCIES)[1:]
    return np.asarray(described * signs, dtype=np.float32)


def turned(described: Singles, quarter_turns: int) -> Singles:
    """What `describe` makes of the picture turned clockwise."""
    for _ in range(quarter_turns % 4):
        full = np.zeros((len(described), _NUM_FREQUENCIES**2), dtype=np.float32)
        full[:, 1:] = described
        exchanged = full.reshape(-1, _NUM_FREQUENCIES, _NUM_FREQUENCIES).transpose(0, 2, 1)
        described = mirrored(exchanged.reshape(len(described), -1)[:, 1:])
    return np.asarray(described, dtype=np.float32)


def phash_signs(thumbnails: NDArray[np.uint8]) -> Singles:
    """(N, 64) of unit length: the bits of pHash as signs; each bit that differs takes 2 / 64 off the cosine of two."""
    scales = np.sqrt(np.where(np.arange(_NUM_FREQUENCIES) == 0, 2, 1))  # pHash takes the transform as SciPy scales it
    transform = _transform(0, 1) * scales[:, None]
    frequencies = (transform @ thumbnails.astype(np.float32) @ transform.T).reshape(len(thumbnails), -1)
    is_large = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.asarray(np.where(is_large, 1, -1) / _NUM_FREQUENCIES, dtype=np.float32)


class NearestNeighbours:
    """Points of unit length and a graph by which their nearest are found; the same points give the same graph."""

    def __init__(self, points: Singles) -> None:
        import faiss

        self._index = faiss.IndexHNSWFlat(points.shape[1], _LINKS)
        self._index.hnsw.efSearch = _BREADTH
        num_threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # with several, the graph would depend on which is first
        self._index.add(np.ascontiguousarray(points))
        faiss.omp_set_num_threads(num_threads)

    def nearest(self, asked: Singles, num_nearest: int) -> tuple[NDArray[np.int64], Singles]:
        """Places (Q, num_nearest) of the most similar points, -1 where there are no more, and their cosines."""
        squares, places = self._index.search(np.ascontiguousarray(asked), num_nearest)
        return places, np.asarray(1 - squares / 2, dtype=np.float32)


def _looked_up(
    thumbnails: NDArray[np.uint8], rows: NDArray[np.int64], some: slice, neighbours: NearestNeighbours
) -> pl.DataFrame:
    """Candidates of some of the rows with detail."""
    asking = rows[some]
    described = describe(thumbnails[asking], windows())
    num_windows = described.shape[1]
    wholes = described[:, 0]
    found = _near(described.reshape(-1, described.shape[2]), asking, num_windows, rows, neighbours)
    # A picture is like another's whole after that was turned back by what this one was turned.
    by_turn = [_near(turned(wholes, turns), asking, 1, rows, neighbours, (-turns) % 4) for turns in (1, 2, 3)]
    return _best_of_each_pair(pl.concat([found, *by_turn]))


def _near(
    described: Singles,
    asking: NDArray[np.int64],
    num_windows: int,
    rows: NDArray[np.int64],
    neighbours: NearestNeighbours,
    quarter_turns: int = 0,
) -> pl.DataFrame:
    """Wholes that are near to descriptions, `num_windows` of each picture that asks."""
    places, similarities = neighbours.nearest(described, _NEIGHBOURS_A_WINDOW + 1)
    is_near = (places >= 0) & (similarities >= _LEAST_SIMILARITY)
    asked, _ = np.nonzero(is_near)
    place = places[is_near]
    columns = {
        "row": asking[asked // num_windows],
        "other": rows[place % len(rows)],
        "window": asked % num_windows,
        "is_mirrored": place >= len(rows),
        "quarter_turns": np.full(len(place), quarter_turns),
        "similarity": similarities[is_near],
    }
    return pl.DataFrame(columns, schema=CANDIDATE_COLUMNS).filter(pl.col("row") != pl.col("other"))


def _with_near_by_phash(
    candidates: pl.DataFrame, thumbnails: NDArray[np.uint8], rows: NDArray[np.int64]
) -> pl.DataFrame:
    """Candidates and the pairs that pHash adds, to be compared as wholes, with `is_phash_near`."""
    if len(rows) < 2:
        return candidates.with_columns(is_phash_near=pl.lit(False))
    near = _near_by_phash(thumbnails, rows)
    pair = (pl.min_horizontal("row", "other").alias("low"), pl.max_horizontal("row", "other").alias("high"))
    both = pl.concat([candidates, near]).with_columns(pair)
    # A pair that both found keeps the window in which it is most similar.
    both = both.unique(["low", "high"], keep="first", maintain_order=True)
    flags = near.select(pair).with_columns(is_phash_near=pl.lit(True))
    return (
        both.join(flags, on=["low", "high"], how="left", maintain_order="left")
        .with_columns(pl.col("is_phash_near").fill_null(False))
        .drop("low", "high")
    )


def _near_by_phash(thumbnails: NDArray[np.uint8], rows: NDArray[np.int64]) -> pl.DataFrame:
    """Pairs whose pHash is near."""
    signs = np.concatenate([phash_signs(thumbnails[rows[some]]) for some in _chunks(len(rows))])
    places, cosines = NearestNeighbours(signs).nearest(signs, _NEIGHBOURS_A_WINDOW + 1)
    is_near = (places >= 0) & (cosines >= 1 - (2 * PHASH_BITS + 1) / _NUM_FREQUENCIES**2)
    asked, _ = np.nonzero(is_near)
    columns = {
        "row": rows[asked],
        "other": rows[places[is_near]],
        "window": np.zeros(len(asked), dtype=np.int64),
        "is_mirrored": np.zeros(len(asked), dtype=bool),
        "quarter_turns": np.zeros(len(asked), dtype=np.int64),
        "similarity": cosines[is_near],
    }
    found = pl.DataFrame(columns, schema=CANDIDATE_COLUMNS).filter(pl.col("row") != pl.col("other"))
    return _best_of_each_pair(found)


def _best_of_each_pair(candidates: pl.DataFrame) -> pl.DataFrame:
    """One line for each pair, whichever of both was asked; an own order, so that ties fall alike every time."""
    pair = (pl.min_horizontal("row", "other").alias("low"), pl.max_horizontal("row", "other").alias("high"))
    ranked = candidates.with_columns(pair).sort(
        ["similarity", "row", "other", "window", "is_mirrored", "quarter_turns"],
        descending=[True, False, False, False, False, False],
    )
    return ranked.unique(["low", "high"], keep="first", maintain_order=True).drop("low", "high")


def _best_candidates(candidates: pl.DataFrame) -> pl.DataFrame:
    """Pairs that are among the best `_CANDIDATES_A_PICTURE` of either picture."""
    pairs = _best_of_each_pair(candidates).with_row_index("pair")
    sides = pl.concat([pairs.select("pair", at=pl.col(name)) for name in ("row", "other")]).sort("pair")
    kept = sides.filter(pl.int_range(pl.len()).over("at") < _CANDIDATES_A_PICTURE)["pair"].unique()
    return pairs.filter(pl.col("pair").is_in(kept.implode())).drop("pair")


def _chunks(num_rows: int) -> Iterator[slice]:
    for start in range(0, num_rows, _CHUNK):
        yield slice(start, min(start + _CHUNK, num_rows))


@cache
def _transform(start: float, share: float) -> Singles:
    """(8, S) low frequencies of a part of one axis, resampled to 32 px by Pillow's filter."""
    identity = Image.fromarray(np.eye(SIDE_PX, dtype=np.float32))
    box = (0.0, start * SIDE_PX, float(SIDE_PX), min(float(SIDE_PX), (start + share) * SIDE_PX))
    resized = np.asarray(identity.resize((SIDE_PX, _GRID_PX), Image.Resampling.BICUBIC, box=box), dtype=np.float32)
    angles = np.pi * np.outer(np.arange(_NUM_FREQUENCIES), np.arange(_GRID_PX) + 0.5) / _GRID_PX
    cosines = np.cos(angles) * np.sqrt(np.where(np.arange(_NUM_FREQUENCIES) == 0, 1, 2) / _GRID_PX)[:, None]
    return np.asarray(cosines @ resized, dtype=np.float32)


@cache
def _weights() -> Singles:
    """(8, 8) distance of each frequency from 0."""
    numbers = np.arange(_NUM_FREQUENCIES)
    return np.asarray(np.hypot(numbers[:, None], numbers), dtype=np.float32)
