"""Manifests: one row per picture, as CSV, JSON lines or Parquet.

A `Manifest` always has all the columns of `COLUMNS`, in that order, empty where the file lacks them; further columns
are slices, kept as text. Paths in `file_name` are relative to the manifest's folder.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from vision.data.manifest_files import (
    csv_lines,
    lines_with_content,
    repeated_names,
    scan_file,
    told_as_unreadable,
    write_file,
)
from vision.errors import ManifestError, nearest_name_hint

COLUMNS: dict[str, str] = {
    "file_name": "path of the picture, relative to the manifest's folder",
    "label": "class id of the taxonomy",
    "split": "train, calibration, test, novel, or empty",
    "group": "pictures of one vehicle, event or photographer; never divided between splits",
    "sha256": "digest of the file",
    "width": "px, of the upright picture",
    "height": "px, of the upright picture",
    "title": "title of the work",
    "author": "author of the work",
    "licence": "SPDX id or expression",
    "licence_url": "address of the licence's text",
    "source_url": "page that the picture comes from",
    "date": "when it was taken or published, as its source tells: YYYY, YYYY-MM or YYYY-MM-DD",
    "changes": "what was changed since",
    "retrieved_at": "when it was fetched",
    "box": "the vehicle: x y width height in px, separated by spaces",
}
REQUIRED_COLUMNS = ("file_name", "label")
INTEGER_COLUMNS = ("width", "height")
RESERVED_COLUMNS = frozenset(
    ("status", "error", "level", "probability", "reason", "top", "label_set", "novelty", "nearest", "cues", "model")
) | {
    "true_label",
    "nearest_by_pixels",
    "novelty_rank",
    "logits",
    "short_side_px",
    "aspect",
    "brightness",
    "sharpness",
    "size_bytes",
}
"""Names that stand beside a manifest's columns in files of predictions; a slice needs another name."""

SPLITS = ("train", "calibration", "test", "novel")
NO_SPLIT = "(no split)"
"""How the split of a row without one is called where splits are compared."""

DOMINANT_SHARE = 0.5
"""One author or group that has more of a class than this dominates it: a model may learn the author, and the class's
figure says more of this author's or event's pictures than of the class."""

MOST_LISTED_ROWS = 1000
"""Rows that one rule lists one by one; the rest is counted. Ten million wrong rows help nobody, and fill the memory."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Attributes:
        place: File and line.
        column: The column concerned, or an empty text.
        value: The value found, or an empty text.
        message: What is wrong and what to do.
        kind: Short name by which equal problems are counted, such as `missing file`.
        is_licence: Whether it is the licence policy that refuses.
        is_warning: Whether the data set can be used all the same.
        num_rows: How many rows this stands for: more than 1 where a rule's first rows are listed one by one and the
            rest together.
    """

    place: str
    column: str
    value: str
    message: str
    kind: str
    is_licence: bool = False
    is_warning: bool = False
    num_rows: int = 1

    def __str__(self) -> str:
        """`place: column 'value': message`."""
        subject = f"{self.column} '{self.value}': " if self.value else f"{self.column}: " if self.column else ""
        return f"{self.place}: {subject}{self.message}"


@dataclass(frozen=True)
class Manifest:
    """The rows of a data set and where they come from.

    Attributes:
        path: The file.
        table: All of `COLUMNS` (text; `width` and `height` are Int64), then the slices (text).
    """

    path: Path
    table: pl.DataFrame

    @property
    def folder(self) -> Path:
        """The folder that pictures' paths are relative to."""
        return self.path.parent

    @cached_property
    def file_names(self) -> list[str]:
        """`file_name` of every row."""
        return self.table["file_name"].to_list()

    def image_path(self, file_name: str) -> Path:
        """Where a picture lies."""
        return self.folder / file_name

    def place(self, row: int) -> str:
        """`file:line` of a row, counted from 0; for Parquet `file: row N`, counted from 1."""
        if self.path.suffix == ".parquet":
            return f"{self.path}: row {row + 1}"
        return f"{self.path}:{self._lines[row]}"

    @cached_property
    def _lines(self) -> pl.Series:
        """Line of every row, counted from 1."""
        if self.path.suffix != ".csv":
            return lines_with_content(self.path, len(self.table))
        # The file may have columns that the table lacks; a table that was made here may have no file yet.
        try:
            lines = csv_lines(scan_file(self.path))
        except (ManifestError, pl.exceptions.PolarsError):
            return csv_lines(self.table.lazy())
        return lines if len(lines) == len(self.table) else csv_lines(self.table.lazy())


def load_manifest(path: Path, columns: Collection[str] | None = None) -> Manifest:
    """The manifest in a file, or some columns of it, as `read_manifest` reads them.

    Raises:
        ManifestError: It cannot be read, or its columns are wrong; every fault on a line of its own.
    """
    manifest, problems = read_manifest(path, columns)
    faults = [problem for problem in problems if not problem.is_warning]
    if faults:
        raise ManifestError("\n".join(map(str, faults)))
    return manifest


def read_manifest(path: Path, columns: Collection[str] | None = None) -> tuple[Manifest, list[Problem]]:
    """The manifest in a file, and what is wrong with its columns.

    Args:
        path: The file.
        columns: Read these alone, for tables of millions of rows: the other known columns are empty in the table, the
            other slices are not there. Names that the file lacks do no harm. By default all.

    Raises:
        ManifestError: The file cannot be read as a table at all.
    """
    scan = scan_file(path)
    with told_as_unreadable(path):
        schema = scan.collect_schema()
        problems = _find_schema_problems(path, schema)
        kept = [name for name in schema.names() if columns is None or name in columns]
        # In pieces: of ten million rows no column stands twice in the memory.
        table = _with_known_columns(_flat(scan), kept).collect(engine="streaming")
    read = Manifest(path, table)
    return _with_whole_numbers(read), problems + _find_number_problems(read)


def column_names(path: Path) -> list[str]:
    """The columns that a manifest's file has, without reading its rows.

    Raises:
        ManifestError: It cannot be read.
    """
    scan = scan_file(path)
    with told_as_unreadable(path):
        return scan.collect_schema().names()


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all; columns that are empty throughout are left out.

    Raises:
        ManifestError: The ending is none that a manifest has.
    """
    table = manifest.table
    empty = [name for name in table.columns if name not in REQUIRED_COLUMNS and table[name].null_count() == len(table)]
    write_file(table.drop(empty).lazy(), path)


def copy_with_column(source: Path, output: Path, name: str, values: pl.Series) -> None:
    """`copy_with_columns` of one column."""
    copy_with_columns(source, output, values.rename(name).to_frame())


def copy_with_columns(source: Path, output: Path, values: pl.DataFrame) -> None:
    """Write a copy of a manifest with columns replaced or added, whole or not at all; `output` may be `source`.

    All else stays as it stands in the file, row for row, without ever being in the memory as a whole. The manifest must
    be one that `load_manifest` takes.

    Args:
        source: The manifest.
        output: The copy; its ending may be another one, its values stay what they are.
        values: A column for each of `COLUMNS` or slice to replace or add, in row order.

    Raises:
        ManifestError: The ending is none that a manifest has, or the file cannot be read.
    """
    scan = scan_file(source)
    with told_as_unreadable(source):
        order = scan.collect_schema().names()
        for name in values.columns:
            order = order if name in order else _with_name_in_order(order, name)
        kept = scan.drop(values.columns, strict=False)
        write_file(pl.concat([kept, values.lazy()], how="horizontal").select(order), output)


def manifest_from_rows(path: Path, rows: Iterable[dict[str, str | int | None]]) -> Manifest:
    """A manifest made of dicts, to be saved at `path`."""
    listed = list(rows)
    raw = pl.DataFrame(listed, infer_schema_length=None) if listed else pl.DataFrame(schema=REQUIRED_COLUMNS)
    return _with_whole_numbers(Manifest(path, _with_known_columns(raw.lazy(), raw.columns).collect()))


def find_column_name_problems(path: Path, names: Sequence[str]) -> list[Problem]:
    """What would be wrong with a manifest at `path` that had these columns."""
    return [*_misspelt_and_reserved(path, names), *_missing_columns(path, names)]


def row_problems(manifest: Manifest, rows: pl.Series, problem_of: Callable[[int], Problem]) -> list[Problem]:
    """The problems of one rule: one for each of the first rows, and one that stands for all the rest.

    Args:
        manifest: Where the rows stand.
        rows: Numbers of the wrong rows, ascending.
        problem_of: What is wrong with a row.
    """
    listed = [problem_of(row) for row in rows.head(MOST_LISTED_ROWS)]
    num_rest = len(rows) - len(listed)
    if not num_rest:
        return listed
    message = f"{num_rest:,} more rows have the same fault"
    return [*listed, replace(listed[-1], place=str(manifest.path), value="", message=message, num_rows=num_rest)]


def divided_groups(table: pl.DataFrame) -> pl.DataFrame:
    """Groups with pictures in several splits: `group` and `row_index` of its first row, in that order.

    Args:
        table: With `group` and `split`; rows without a split count as in one of their own.
    """
    split = pl.col("split").fill_null(NO_SPLIT)
    return (
        table.select("group", split, row_index=pl.int_range(pl.len(), dtype=pl.UInt32))
        .filter(pl.col("group").is_not_null())
        .group_by("group")
        .agg(pl.col("row_index").min(), is_divided=pl.col("split").min() != pl.col("split").max())
        .filter("is_divided")
        .drop("is_divided")
        .sort("row_index")
    )


def truth_columns(table: pl.DataFrame) -> pl.DataFrame:
    """What judging needs beside predictions: a manifest's rows with the truth as `true_label`."""
    return table.select(pl.col("label").alias("true_label"), pl.exclude("file_name", "sha256", "label"))


def group_names(groups: Iterable[object]) -> list[str]:
    """The group of every row; a row without one gets a name that no group in a file can have."""
    return [f"\0row {row}" if group in (None, "") else str(group) for row, group in enumerate(groups)]


def groups_of(table: pl.DataFrame) -> list[str]:
    """`group_names` of a table, which need not have the column."""
    return group_names(table["group"] if "group" in table.columns else [None] * len(table))


def parse_box(text: str) -> tuple[float, float, float, float]:
    """`x y width height` as numbers.

    Raises:
        ValueError: There are not four numbers, or width or height is not positive.
    """
    x, y, width, height = (float(part) for part in text.split())
    if not (width > 0 and height > 0 and all(map(math.isfinite, (x, y, width, height)))):
        raise ValueError("numbers must be finite, width and height positive")
    return x, y, width, height


def _with_name_in_order(names: Sequence[str], name: str) -> list[str]:
    """The names of a file with a new one: after those that stand before it in `COLUMNS`, or at the end."""
    known = list(COLUMNS)
    before = known[: known.index(name)] if name in COLUMNS else names
    position = max((index + 1 for index, other in enumerate(names) if other in before), default=0)
    return [*names[:position], name, *names[position:]]


def _find_schema_problems(path: Path, schema: Mapping[str, pl.DataType]) -> list[Problem]:
    problems = [
        Problem(f"{path}:1", name, "", "stands twice in the header; rename or remove one", "repeated column")
        for name in repeated_names(path)
    ]
    problems += [
        Problem(str(path), name, "", f"holds {kind}, not text or numbers; write one value a cell", "nested column")
        for name, kind in schema.items()
        if _is_nested(kind)
    ]
    return problems + find_column_name_problems(path, list(schema))


def _is_nested(kind: pl.DataType) -> bool:
    return kind.is_nested() or kind == pl.Binary


def _misspelt_and_reserved(path: Path, names: Sequence[str]) -> Iterator[Problem]:
    known_but_absent = [name for name in COLUMNS if name not in names]
    for name in names:
        hint = nearest_name_hint(name, known_but_absent) if name not in COLUMNS else ""
        if hint and _is_probably_misspelt(name, known_but_absent):
            message = f"unknown column{hint} (a column for slices needs a name farther from the known ones)"
            yield Problem(f"{path}:1", name, "", message, "misspelt column")
        if name in RESERVED_COLUMNS:
            message = "has the name of a column of predictions; give this slice another name"
            yield Problem(f"{path}:1", name, "", message, "reserved column")


def _missing_columns(path: Path, names: Sequence[str]) -> Iterator[Problem]:
    for name in REQUIRED_COLUMNS:
        if name not in names:
            message = f"required column is missing; there are: {', '.join(names)}"
            yield Problem(f"{path}:1", name, "", message, "missing column")


def _is_probably_misspelt(name: str, known: list[str]) -> bool:
    return bool(difflib.get_close_matches(name.lower().replace("license", "licence"), known, n=1, cutoff=0.8))


def _find_number_problems(read: Manifest) -> list[Problem]:
    """Cells of whole-number columns, still text, that are none."""
    return [problem for name in INTEGER_COLUMNS for problem in _wrong_numbers(read, name)]


def _wrong_numbers(read: Manifest, name: str) -> list[Problem]:
    value = pl.col(name)
    is_number = value.str.contains(r"^\+?[0-9]+$") & (value.cast(pl.Int64, strict=False).fill_null(0) > 0)
    wrong = read.table.select(value.is_not_null() & ~is_number).to_series().arg_true()
    message = "not a whole number of pixels, 1 or more"
    return row_problems(
        read, wrong, lambda row: Problem(read.place(row), name, read.table[name][row], message, "wrong number")
    )


def _flat(scan: pl.LazyFrame) -> pl.LazyFrame:
    """The table with columns of lists, structs and bytes, which are told as a fault, emptied."""
    nested = [name for name, kind in scan.collect_schema().items() if _is_nested(kind)]
    return scan.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in nested)


def _with_known_columns(raw: pl.LazyFrame, kept: Sequence[str]) -> pl.LazyFrame:
    """All of `COLUMNS`, then the others that are kept, all as text; empty texts become null."""
    columns = []
    for name in [*COLUMNS, *(name for name in kept if name not in COLUMNS)]:
        if name not in kept:
            columns.append(pl.lit(None, dtype=pl.String).alias(name))
            continue
        text = _as_text(name)
        text = text.str.to_lowercase() if name == "sha256" else text
        columns.append(pl.when(text != "").then(text).otherwise(None).alias(name))
    return raw.select(columns)


def _as_text(name: str) -> pl.Expr:
    """A column as text, whatever a file's types are: so a wrong number can be told as it stands."""
    text = pl.col(name).cast(pl.String)
    return text.str.strip_suffix(".0") if name in INTEGER_COLUMNS else text


def _with_whole_numbers(manifest: Manifest) -> Manifest:
    """The table with `width` and `height` as numbers; empty where they are none."""
    numbers = [pl.col(name).cast(pl.Int64, strict=False) for name in INTEGER_COLUMNS]
    return replace(manifest, table=manifest.table.with_columns(numbers))
