"""Test pictures that are nearly in the training set, and what they do to accuracy.

A picture that the model was trained on, or a copy of one, is recognised by heart; the share of right answers then says
little of new pictures. Candidates are the nearest training pictures that each prediction lists, so no two sets need be
compared as wholes. A copy is missed only where three other training pictures are more similar and none is a copy.

N pictures, P pairs, C candidates each.

The thresholds come from 200 renders against the three nearest of 936 training pictures, and from 75 photographs against
each other, by a network tuned on renders. Copies: JPEG at quality 30, half the size, brighter by 30 %, flatter by 30 %,
grey, mirrored, cropped by 2 and 5 % on each side, moved by 3 %.

| | similarity | aligned correlation |
|---|---|---|
| copies, lowest | 0.91 | 0.88 |
| cropped by 10 % on each side, lowest and median | 0.90, 0.94 | 0.50, 0.68 (photographs), 0.72 (renders) |
| nearest three that are no copies, 99 % and highest | 0.94, 0.94 | 0.64, 0.73 |
| the one pair of second shots among the photographs | 0.96 | 0.61 and 0.53, as either is moved |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.bundle import Reference
from vision.data.preprocessing import Box, Preprocessing, load_thumbnail
from vision.errors import ImageError
from vision.evaluate.aligned_correlation import aligned_correlations
from vision.evaluate.calibration_metrics import Bools, Floats, Ints, group_bootstrap_intervals
from vision.evaluate.metrics import DEFAULT_REPLICATES
from vision.evaluate.parts import Figure, FigureWithInterval, Part

MIN_SIMILARITY, MIN_CORRELATION = 0.85, 0.8
"""Of copies."""

SECOND_SHOT_SIMILARITY, SECOND_SHOT_CORRELATION = 0.95, 0.5
"""Of two shots of one scene, which are alike in what they show rather than in pixels."""

MAX_PAIRS = 500
"""Pairs that are listed; all are counted."""

_CHUNK = 1024  # pictures whose thumbnails are held at a time
_BEST: dict[str, type[pl.DataType]] = {
    "row": pl.UInt32,
    "column": pl.Int64,
    "correlation": pl.Float64,
    "is_mirrored": pl.Boolean,
}

ThumbnailOf = Callable[[int], NDArray[np.uint8] | None]
"""From a row to its picture in grey, (32, 32), as `load_thumbnail` makes it; None if it cannot be read."""


class NearDuplicate(Part):
    """A test picture and the training picture that it repeats.

    Attributes:
        file_name: Of the test picture.
        training_file_name: As in the manifest that the model was trained on.
        similarity: Cosine of the two embeddings; None if the prediction does not list the training picture.
        correlation: Greatest correlation of detail over small moves; None where it was not needed, or not to be had.
        same_class: Whether their labels agree; if not, one of them is wrong.
        same_bytes: Whether the two files are equal.
        is_mirrored: Whether one fits better mirrored.
    """

    file_name: str
    training_file_name: str
    similarity: Figure
    correlation: Figure
    same_class: bool
    same_bytes: bool
    is_mirrored: bool


class FlatteryFigures(Part):
    """Accuracy with and without the test pictures that repeat training pictures.

    Attributes:
        num_images: Pictures judged.
        num_near_duplicates: Of them, those that repeat a training picture.
        num_same_bytes: Of these, equal files.
        num_other_class: Of these, those whose training picture has another label.
        num_unchecked: Pictures with a similar training picture whose pixels were not at hand.
        pairs: One for each near duplicate, equal files first, then by correlation; `MAX_PAIRS` at most.
        accuracy_with: Share of all pictures answered with their own class.
        accuracy_without: The same of pictures that are no near duplicates; None if there is none.
        difference: With minus without, paired: above 0 where near duplicates flatter.
    """

    num_images: int
    num_near_duplicates: int
    num_same_bytes: int
    num_other_class: int
    num_unchecked: int
    pairs: tuple[NearDuplicate, ...]
    accuracy_with: FigureWithInterval
    accuracy_without: FigureWithInterval
    difference: FigureWithInterval

    @property
    def flatters(self) -> bool:
        """Whether accuracy is higher for them beyond chance."""
        return self.difference.low is not None and self.difference.low > 0


def near_duplicate_figures(
    table: pl.DataFrame,
    groups: Sequence[str],
    reference: Reference,
    class_ids: Sequence[str],
    thumbnail_of: ThumbnailOf,
    *,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> FlatteryFigures | None:
    """Figures of predictions with `true_label`; None if none of them lists a nearest training picture.

    Args:
        table: N prediction rows.
        groups: N names.
        reference: The training pictures of the bundle that predicted; without thumbnails only equal files are found.
        class_ids: The bundle's classes.
        thumbnail_of: Asked of the rows that are similar to a training picture, on several threads.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    if "nearest" not in table.columns or not (table["nearest"].list.len() > 0).any():
        return None
    copies = _equal_files(table, reference, class_ids)
    candidates = _candidates(table, reference, set(copies["row"]))
    found, num_unchecked = _alike(candidates, reference, thumbnail_of)
    ranking = ["same_bytes", "correlation"]
    pairs = pl.concat([copies, found.select(copies.columns)]).sort(ranking, descending=True, nulls_last=True)
    is_duplicate = np.zeros(len(table), dtype=bool)
    is_duplicate[pairs["row"].to_numpy()] = True
    is_right = (table["label"] == table["true_label"]).fill_null(False).to_numpy()
    with_all, without, difference = _accuracies(is_right, is_duplicate, groups, num_replicates, seed)
    columns = list(NearDuplicate.model_fields)
    return FlatteryFigures(
        num_images=len(table),
        num_near_duplicates=len(pairs),
        num_same_bytes=int(pairs["same_bytes"].sum()),
        num_other_class=int((~pairs["same_class"]).sum()),
        num_unchecked=num_unchecked,
        pairs=tuple(NearDuplicate(**row) for row in pairs.head(MAX_PAIRS).select(columns).iter_rows(named=True)),
        accuracy_with=with_all,
        accuracy_without=without,
        difference=difference,
    )


def flattery_of_now(
    figures: FlatteryFigures,
    table: pl.DataFrame,
    groups: Sequence[str],
    *,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> FlatteryFigures | None:
    """The same near duplicates with other answers or labels; None if not all of them are listed or in the table.

    Args:
        figures: Of the same pictures.
        table: N prediction rows with `true_label`.
        groups: N names.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """
    names = pl.Series([pair.file_name for pair in figures.pairs], dtype=pl.String)
    is_duplicate = table["file_name"].is_in(names.implode()).to_numpy()
    is_whole = len(names) == figures.num_near_duplicates == is_duplicate.sum()
    if not is_whole or len(table) != figures.num_images:
        return None
    listed = _listed(table).select("file_name", "training_file_name", "same_class")
    agrees = dict(zip(listed.select("file_name", "training_file_name").iter_rows(), listed["same_class"], strict=True))
    pairs = tuple(
        pair.model_copy(update={"same_class": agrees.get((pair.file_name, pair.training_file_name), pair.same_class)})
        for pair in figures.pairs
    )
    is_right = (table["label"] == table["true_label"]).fill_null(False).to_numpy()
    with_all, without, difference = _accuracies(is_right, is_duplicate, groups, num_replicates, seed)
    return figures.model_copy(
        update={
            "num_other_class": sum(not pair.same_class for pair in pairs),
            "pairs": pairs,
            "accuracy_with": with_all,
            "accuracy_without": without,
            "difference": difference,
        }
    )


def thumbnails_from_files(
    paths: Sequence[Path], preprocessing: Preprocessing, boxes: Sequence[Box | None] | None = None
) -> ThumbnailOf:
    """What reads the thumbnail of a row when it is asked for.

    Args:
        paths: N files.
        preprocessing: Of the bundle, so that a picture is fitted as the training pictures were.
        boxes: N parts that the classifier looked at, or None for whole pictures.
    """

    def thumbnail_of(row: int) -> NDArray[np.uint8] | None:
        try:
            return load_thumbnail(paths[row], preprocessing, box=boxes[row] if boxes else None)
        except ImageError:
            return None

    return thumbnail_of


@dataclass(frozen=True)
class _Candidates:
    """Rows that list similar training pictures, with those: (P,), and (P, C) filled up with -1 and 0."""

    rows: Ints
    places: Ints
    similarities: Floats
    pairs: pl.DataFrame  # one line for each of the pairs: row, column, and what a `NearDuplicate` has

    def take(self, positions: Ints) -> _Candidates:
        """Some of the rows; the lines are not divided."""
        return _Candidates(self.rows[positions], self.places[positions], self.similarities[positions], self.pairs)


def _equal_files(table: pl.DataFrame, reference: Reference, class_ids: Sequence[str]) -> pl.DataFrame:
    """Pairs of equal files, one for each row that has one."""
    known = pl.DataFrame(
        {
            "sha256": reference.sha256,
            "training_file_name": reference.file_names,
            "training_class": [class_ids[index] for index in reference.class_indices.tolist()],
        },
        schema={"sha256": pl.String, "training_file_name": pl.String, "training_class": pl.String},
    )
    known = known.filter(pl.col("sha256") != "").unique("sha256", keep="first", maintain_order=True)
    given = table["sha256"] if "sha256" in table.columns else pl.Series([""] * len(table), dtype=pl.String)
    asked = table.select("file_name", "true_label").with_row_index("row").with_columns(sha256=given.str.to_lowercase())
    listed = _listed(table).select("row", "training_file_name", "similarity").unique(["row", "training_file_name"])
    found = asked.join(known, on="sha256", how="inner")
    found = found.join(listed, on=["row", "training_file_name"], how="left", maintain_order="left")
    return found.select(
        "row",
        "file_name",
        "training_file_name",
        "similarity",
        pl.lit(None, dtype=pl.Float64).alias("correlation"),
        same_class=pl.col("training_class") == pl.col("true_label"),
        same_bytes=pl.lit(True),
        is_mirrored=pl.lit(False),
    )


def _listed(table: pl.DataFrame) -> pl.DataFrame:
    """One line for each training picture that a row lists."""
    near = table.select("file_name", "true_label", "nearest").with_row_index("row")
    near = near.filter(pl.col("nearest").list.len() > 0).explode("nearest")
    item = pl.col("nearest").struct
    return near.select(
        "row",
        "file_name",
        training_file_name=item.field("file_name"),
        similarity=item.field("similarity"),
        same_class=item.field("class_id") == pl.col("true_label"),
    )


def _candidates(table: pl.DataFrame, reference: Reference, settled: set[int]) -> _Candidates:
    """Listed training pictures that are similar enough; a name that stands for several boxes counts as each of them."""
    places = pl.DataFrame(
        {"training_file_name": reference.file_names, "place": range(len(reference.file_names))},
        schema={"training_file_name": pl.String, "place": pl.Int64},
    )
    near = _listed(table).filter((pl.col("similarity") >= MIN_SIMILARITY) & ~pl.col("row").is_in(list(settled)))
    pairs = near.join(places, on="training_file_name", how="inner", maintain_order="left_right")
    pairs = pairs.with_columns(column=pl.int_range(pl.len()).over("row"))
    rows, of_row = np.unique(pairs["row"].to_numpy().astype(np.int64), return_inverse=True)
    columns = pairs["column"].to_numpy()
    shape = (len(rows), int(columns.max(initial=-1)) + 1) if len(pairs) else (0, 0)
    place_of, similarities = np.full(shape, -1, dtype=np.int64), np.zeros(shape)
    place_of[of_row, columns] = pairs["place"].to_numpy()
    similarities[of_row, columns] = pairs["similarity"].to_numpy()
    return _Candidates(rows, place_of, similarities, pairs)


def _alike(candidates: _Candidates, reference: Reference, thumbnail_of: ThumbnailOf) -> tuple[pl.DataFrame, int]:
    """The best pair of each row that has a near duplicate, and how many rows could not be looked at."""
    found = [pl.DataFrame(schema=_BEST)]
    num_looked_at = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(candidates.rows) if reference.thumbnails is not None else 0, _CHUNK):
            some = candidates.take(np.arange(start, min(start + _CHUNK, len(candidates.rows))))
            seen = list(pool.map(thumbnail_of, some.rows.tolist()))
            read = [each for each in seen if each is not None]
            if read:
                is_read = np.array([each is not None for each in seen])
                found.append(_best_matches(some.take(np.flatnonzero(is_read)), np.stack(read), reference))
            num_looked_at += len(read)
    pairs = candidates.pairs.join(pl.concat(found), on=["row", "column"], how="inner", maintain_order="left")
    return pairs.with_columns(same_bytes=pl.lit(False)), len(candidates.rows) - num_looked_at


def _best_matches(some: _Candidates, thumbnails: NDArray[np.uint8], reference: Reference) -> pl.DataFrame:
    """A line of `_BEST` for each row that has a near duplicate."""
    assert reference.thumbnails is not None
    both = aligned_correlations(thumbnails, reference.thumbnails[some.places]).astype(np.float64)  # (P, C, 2)
    correlations = both.max(axis=2)
    matches = _matches(correlations, some.similarities) & (some.places >= 0)
    columns = np.where(matches, correlations, -2).argmax(axis=1)
    places = np.arange(len(columns))
    best = {
        "row": some.rows,
        "column": columns,
        "correlation": correlations[places, columns],
        "is_mirrored": both[places, columns].argmax(axis=1) == 1,
    }
    return pl.DataFrame(best, schema=_BEST).filter(pl.Series(matches.any(axis=1)))


def _matches(correlations: Floats, similarities: Floats) -> Bools:
    """(P, C) which candidates are copies or second shots."""
    is_copy = (similarities >= MIN_SIMILARITY) & (correlations >= MIN_CORRELATION)
    is_second_shot = (similarities >= SECOND_SHOT_SIMILARITY) & (correlations >= SECOND_SHOT_CORRELATION)
    matches: Bools = is_copy | is_second_shot
    return matches


def _accuracies(
    is_right: Bools, is_duplicate: Bools, groups: Sequence[str], num_replicates: int, seed: int
) -> list[FigureWithInterval]:
    """Accuracy with near duplicates, without, and the difference; groups are resampled as wholes."""
    names, group_of = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    parts = (is_right, np.ones(len(is_right)), is_right & ~is_duplicate, ~is_duplicate)
    sums = np.stack([np.bincount(group_of, weights=part, minlength=len(names)) for part in parts])  # (4, groups)

    def figures(counts: Ints) -> list[float]:
        right, num_images, right_of_rest, num_rest = (sums @ counts).tolist()
        with_all = right / num_images if num_images else float("nan")
        without = right_of_rest / num_rest if num_rest else float("nan")
        return [with_all, without, with_all - without]

    # One entry a group instead of one a picture: the same draws, without a sum over all pictures for each.
    intervals = group_bootstrap_intervals(figures, names.tolist(), num_replicates=num_replicates, seed=seed)
    return [FigureWithInterval.of(interval) for interval in intervals]
