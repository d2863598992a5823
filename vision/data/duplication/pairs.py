"""Pairs of pictures that are one picture, or nearly: candidates, each laid over the other, and what is told of them.

M different pictures, D features, P pairs.

The thresholds come from pictures and copies that docs/duplicates.md does not judge by: 400 synthetic scenes, every
second render of datasets/lookalikes and every second photograph, with 12 copies each of 158 of them; as strangers all
renders against each other, and 200 pairs of scenes at one place with two vehicles. The least correlation of `SIMILAR`
comes from the photographs themselves: it lies between their one pair of second shots and the next pair. So does
`ALIKE_DISTANCE`.

| | agreement | of the middle | correlation |
|---|---|---|---|
| copies, lowest 1 %: crop by 10 % a side, JPEG 30, a quarter of the size, colour | 0.97 | 0.97 | 0.97 |
| the same, logo over a corner; two changes at once | 0.85; 0.82 | 0.92; 0.88 | 0.78; 0.77 |
| renders of one vehicle from nearly one side, highest | 0.59 | | 0.84 |
| one place with two vehicles, 95 % and highest | 0.78, 0.83 | 0.78, 0.90 | 0.95 |
| second shots among the photographs; the next pair | 0.21; 0.14 | | 0.55; 0.49 |
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from vision.data.duplication.alignment import Fit, fit_pairs
from vision.data.duplication.search import NearestNeighbours, find_candidates, windows
from vision.data.duplication.thumbnails import SeenPictures

Singles = NDArray[np.float32]

COPY_AGREEMENT, COPY_MIDDLE_AGREEMENT = 0.72, 0.85
"""Least share of the blocks with detail that fit in a copy, of all and of those not at the edge."""

SIMILAR_CORRELATION = 0.52
"""Least correlation of detail of pictures that a person should compare."""

ALIKE_DISTANCE = 0.4
"""Greatest distance of two embeddings of alike pictures, 1 being the median distance of a picture's fifth neighbour.

A cosine that means much in one network means nothing in another. Put between the photographs' one pair of second shots
and the next pair, in the networks that were at hand; docs/duplicates.md reports that same pair, and says so.
"""

_NEIGHBOURS = 5
_CHUNK = 128  # pairs that are laid over each other at a time: 40 MB

PAIR_COLUMNS: dict[str, type[pl.DataType]] = {
    "row": pl.Int64,
    "other": pl.Int64,
    "kind": pl.String,
    "is_mirrored": pl.Boolean,
    "degrees_turned": pl.Int64,
    "agreement": pl.Float64,
    "middle_agreement": pl.Float64,
    "correlation": pl.Float64,
    "phash_bits": pl.Int64,
    "embedding_similarity": pl.Float64,
}


class PairKind(StrEnum):
    """How two pictures are the same, the surest first."""

    BYTES = "bytes"
    """The files are equal."""

    COPY = "copy"
    """One picture, cropped, mirrored, made smaller, compressed, marked or coloured anew."""

    SIMILAR = "similar"
    """Much of the detail fits, but not all: second shots of one scene, or look-alikes from one side."""

    ALIKE = "alike"
    """Only the embeddings are close."""


SURE_KINDS = (PairKind.BYTES, PairKind.COPY)
WEAK_KINDS = (PairKind.SIMILAR, PairKind.ALIKE)


def find_pairs(
    seen: SeenPictures,
    embeddings: Singles | None = None,
    *,
    min_similarity: float | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> pl.DataFrame:
    """All pairs of a kind of `PairKind`, as `PAIR_COLUMNS`; `row` stands before `other`.

    Args:
        seen: M different pictures.
        embeddings: (M, D) of some network, zeros where there is none; without, no pair is `ALIKE`.
        min_similarity: Least cosine of embeddings of alike pictures; None takes it from `ALIKE_DISTANCE`.
        on_progress: Told how many pictures were looked up, M in all.
    """
    candidates = find_candidates(seen.thumbnails, on_progress=on_progress).with_columns(
        embedding_similarity=pl.lit(None, dtype=pl.Float64), is_alike=pl.lit(False)
    )
    if embeddings is not None:
        candidates = _with_embeddings(candidates, embeddings, min_similarity)
    judged = _judged(candidates, seen.thumbnails).filter(pl.col("kind").is_not_null())
    judged = judged.with_columns(phash_bits=pl.Series(_phash_bits(judged, seen.thumbnails), dtype=pl.Int64))
    rows = pl.Series(seen.rows, dtype=pl.Int64)
    named = judged.with_columns(
        row=rows.gather(judged.select(pl.min_horizontal("row", "other")).to_series()),
        other=rows.gather(judged.select(pl.max_horizontal("row", "other")).to_series()),
        # Seen from the other side, what was turned is turned back; a mirror image is its own inverse.
        degrees_turned=90
        * pl.when((pl.col("row") < pl.col("other")) | pl.col("is_mirrored"))
        .then(pl.col("quarter_turns"))
        .otherwise((4 - pl.col("quarter_turns")) % 4),
    )
    columns = {name: pl.col(name).cast(kind) for name, kind in PAIR_COLUMNS.items()}
    return pl.concat([_equal_files(seen), named.select(**columns)])


def _equal_files(seen: SeenPictures) -> pl.DataFrame:
    """Each further row of a file, with its first."""
    first_rows: dict[str, int] = {}
    pairs = [
        (first_rows[digest], row)
        for row, digest in enumerate(seen.digests)
        if digest and first_rows.setdefault(digest, row) != row
    ]
    values = {"kind": PairKind.BYTES.value, "is_mirrored": False, "degrees_turned": 0, "phash_bits": 0}
    values |= dict.fromkeys(("agreement", "middle_agreement", "correlation"), 1.0)
    ends = pl.DataFrame(pairs, schema=["row", "other"], orient="row")
    filled = ends.with_columns(embedding_similarity=None, **{name: pl.lit(value) for name, value in values.items()})
    return filled.select(pl.col(name).cast(kind) for name, kind in PAIR_COLUMNS.items())


def _with_embeddings(candidates: pl.DataFrame, embeddings: Singles, min_similarity: float | None) -> pl.DataFrame:
    """Candidates and the pairs that embeddings add, with the cosine of both pictures."""
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    units = np.asarray(embeddings / np.maximum(lengths, 1e-12), dtype=np.float32)
    near, least = alike_pairs(units, np.flatnonzero(lengths[:, 0] > 0), min_similarity)
    added = near.with_columns(pl.lit(None).alias(name) for name in candidates.columns if name not in near.columns)
    both = pl.concat([candidates, added.select(pl.col(name).cast(kind) for name, kind in candidates.schema.items())])
    # A pair that both found keeps the window in which its pixels fit.
    pair = (pl.min_horizontal("row", "other").alias("low"), pl.max_horizontal("row", "other").alias("high"))
    both = both.with_columns(pair).unique(["low", "high"], keep="first", maintain_order=True).drop("low", "high")
    cosines = np.einsum("pd,pd->p", units[both["row"].to_numpy()], units[both["other"].to_numpy()])
    return both.with_columns(embedding_similarity=pl.Series(cosines, dtype=pl.Float64), is_alike=cosines >= least)


def alike_pairs(units: Singles, places: NDArray[np.int64], min_similarity: float | None) -> tuple[pl.DataFrame, float]:
    """Pairs of pictures with close embeddings, each to be compared as a whole, and how close that is."""
    num_nearest = min(_NEIGHBOURS + 1, len(places))  # with the picture itself
    ends: dict[str, NDArray[np.int64]] = {"row": places[:0], "other": places[:0]}
    least = 1.0 if min_similarity is None else min_similarity
    if num_nearest > 1:
        found, cosines = NearestNeighbours(units[places]).nearest(units[places], num_nearest)
        if min_similarity is None and num_nearest > _NEIGHBOURS:
            least = 1 - ALIKE_DISTANCE * float(np.median(1 - cosines[:, -1]))
        asked, column = np.nonzero((found >= 0) & (cosines >= least))
        ends = {"row": places[asked], "other": places[found[asked, column]]}
    pairs = pl.DataFrame(ends, schema={"row": pl.Int64, "other": pl.Int64}).filter(pl.col("row") != pl.col("other"))
    as_they_are = {"window": 0, "quarter_turns": 0, "is_mirrored": False, "is_phash_near": False}
    return pairs.with_columns(pl.lit(value).alias(name) for name, value in as_they_are.items()), least


def _judged(candidates: pl.DataFrame, thumbnails: NDArray[np.uint8]) -> pl.DataFrame:
    """Candidates with agreement, correlation and kind, which is null for strangers."""
    fits = list(_fits(candidates, thumbnails))
    judged = candidates.with_columns(
        agreement=_series([fit.agreements for fit in fits]),
        middle_agreement=_series([fit.middle_agreements for fit in fits]),
        correlation=_series([fit.correlations for fit in fits]),
    )
    kind = (
        pl.when((pl.col("agreement") >= COPY_AGREEMENT) & (pl.col("middle_agreement") >= COPY_MIDDLE_AGREEMENT))
        .then(pl.lit(PairKind.COPY.value))
        .when((pl.col("correlation") >= SIMILAR_CORRELATION) | pl.col("is_phash_near"))
        .then(pl.lit(PairKind.SIMILAR.value))
        .when("is_alike")
        .then(pl.lit(PairKind.ALIKE.value))
    )
    return judged.with_columns(kind=kind)


def _turned(pixels: NDArray[np.uint8], is_mirrored: bool, quarter_turns: int) -> NDArray[np.uint8]:
    """A thumbnail (S, S) mirrored, if so, and then turned clockwise."""
    return np.rot90(pixels[:, ::-1] if is_mirrored else pixels, -quarter_turns)


def _series(parts: list[Singles]) -> pl.Series:
    return pl.Series(np.concatenate([np.zeros(0, dtype=np.float32), *parts]), dtype=pl.Float64)


def _fits(candidates: pl.DataFrame, thumbnails: NDArray[np.uint8]) -> Iterator[Fit]:
    """Chunks of candidates laid over each other, in order, on all cores."""

    def fit(some: pl.DataFrame) -> Fit:
        ends = some.select("other", "is_mirrored", "quarter_turns").iter_rows()
        others = np.stack([_turned(thumbnails[other], is_mirrored, turns) for other, is_mirrored, turns in ends])
        return fit_pairs(thumbnails[some["row"].to_numpy()], others, windows()[some["window"].to_numpy()])

    num_workers = os.cpu_count() or 1
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[Fit]] = deque()
        for some in candidates.iter_slices(_CHUNK):
            waiting.append(pool.submit(fit, some))
            if len(waiting) > num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _phash_bits(pairs: pl.DataFrame, thumbnails: NDArray[np.uint8]) -> list[int]:
    """Bits of 64 in which the pHash of both whole pictures differs, the one mirrored and turned where that fits."""
    import imagehash

    def phash(pixels: NDArray[np.uint8]) -> imagehash.ImageHash:
        return imagehash.phash(Image.fromarray(pixels))

    return [
        phash(thumbnails[row]) - phash(_turned(thumbnails[other], is_mirrored, turns))
        for row, other, is_mirrored, turns in pairs.select("row", "other", "is_mirrored", "quarter_turns").iter_rows()
    ]
