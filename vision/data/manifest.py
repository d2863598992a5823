"""Manifests: one row per picture, as CSV, JSON lines or Parquet.

A `Manifest` always has all the columns of `COLUMNS`, in that order, empty where the file lacks them; further columns
are slices, kept as text. Paths in `file_name` are relative to the manifest's folder.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from vision.errors import ManifestError, nearest_name_hint
from vision.files import whole_file

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
    "short_side_px",
    "aspect",
    "brightness",
    "sharpness",
    "size_bytes",
}
"""Names that stand beside a manifest's columns in files of predictions; a slice needs another name."""

SPLITS = ("train", "calibration", "test", "novel")


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
    """

    place: str
    column: str
    value: str
    message: str
    kind: str
    is_licence: bool = False
    is_warning: bool = False

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
    def _lines(self) -> list[int]:
        """Line of every row, counted from 1."""
        if self.path.suffix != ".csv":
            return _lines_with_content(self.path, len(self.table))
        # A quoted value may hold line breaks, and so may a name in the header.
        texts = [
            pl.col(name).str.count_matches("\n").fill_null(0)
            for name, kind in self.table.schema.items()
            if kind == pl.String
        ]
        breaks = self.table.select(pl.sum_horizontal(texts).alias("n"))["n"]
        first = 2 + sum(name.count("\n") for name in self.table.columns)
        before = breaks.cum_sum().shift(1, fill_value=0)
        return (before + pl.int_range(first, len(self.table) + first, eager=True)).to_list()


def load_manifest(path: Path) -> Manifest:
    """The manifest in a file.

    Raises:
        ManifestError: It cannot be read, or its columns are wrong; every fault on a line of its own.
    """
    manifest, problems = read_manifest(path)
    faults = [problem for problem in problems if not problem.is_warning]
    if faults:
        raise ManifestError("\n".join(map(str, faults)))
    return manifest


def read_manifest(path: Path) -> tuple[Manifest, list[Problem]]:
    """The manifest in a file, and what is wrong with its columns.

    Raises:
        ManifestError: The file cannot be read as a table at all.
    """
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".csv": _read_csv,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".parquet": pl.read_parquet,
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise ManifestError(f"{path}: a manifest ends in {', '.join(readers)}, not in '{path.suffix}'")
    if path.is_dir() or not path.exists():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise ManifestError(f"{path}: {what}; give the path of a manifest")
    try:
        raw = reader(path)
        repeated = _repeated_names(path)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"{path}: cannot be read as {path.suffix[1:]} ({reason})") from error
    problems = [
        Problem(f"{path}:1", name, "", "stands twice in the header; rename or remove one", "repeated column")
        for name in repeated
    ]
    nested = [name for name, kind in raw.schema.items() if kind.is_nested() or kind == pl.Binary]
    problems += [
        Problem(
            str(path),
            name,
            "",
            f"holds {raw.schema[name]}, not text or numbers; write one value a cell",
            "nested column",
        )
        for name in nested
    ]
    raw = raw.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in nested)
    problems += _find_column_problems(path, raw)
    raw = _with_integers_as_text(raw)
    return Manifest(path, _with_known_columns(raw)), problems + _find_number_problems(path, raw)


def save_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest, whole or not at all; columns that are empty throughout are left out.

    Raises:
        ManifestError: The ending is none that a manifest has.
    """
    table = manifest.table
    empty = [name for name in table.columns if name not in REQUIRED_COLUMNS and table[name].null_count() == len(table)]
    table = table.drop(empty)
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": table.write_csv,
        ".jsonl": table.write_ndjson,
        ".ndjson": table.write_ndjson,
        ".parquet": table.write_parquet,
    }
    if path.suffix not in writers:
        raise ManifestError(f"{path}: a manifest ends in {', '.join(writers)}, not in '{path.suffix}'")
    with whole_file(path) as temporary:
        writers[path.suffix](temporary)


def manifest_from_rows(path: Path, rows: Iterable[dict[str, str | int | None]]) -> Manifest:
    """A manifest made of dicts, to be saved at `path`."""
    listed = list(rows)
    raw = pl.DataFrame(listed, infer_schema_length=None) if listed else pl.DataFrame(schema=REQUIRED_COLUMNS)
    return Manifest(path, _with_known_columns(raw))


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


def _read_csv(path: Path) -> pl.DataFrame:
    # All columns as text: a label '007' stays one, and a wrong number is reported with its line.
    return pl.read_csv(path, infer_schema=False)


def _read_json_lines(path: Path) -> pl.DataFrame:
    return pl.read_ndjson(path, infer_schema_length=None)


def _find_column_problems(path: Path, raw: pl.DataFrame) -> list[Problem]:
    problems = []
    known_but_absent = [name for name in COLUMNS if name not in raw.columns]
    for name in raw.columns:
        hint = nearest_name_hint(name, known_but_absent) if name not in COLUMNS else ""
        if hint and _is_probably_misspelt(name, known_but_absent):
            message = f"unknown column{hint} (a column for slices needs a name farther from the known ones)"
            problems.append(Problem(f"{path}:1", name, "", message, "misspelt column"))
        if name in RESERVED_COLUMNS:
            message = "has the name of a column of predictions; give this slice another name"
            problems.append(Problem(f"{path}:1", name, "", message, "reserved column"))
    for name in REQUIRED_COLUMNS:
        if name not in raw.columns:
            message = f"required column is missing; there are: {', '.join(raw.columns)}"
            problems.append(Problem(f"{path}:1", name, "", message, "missing column"))
    return problems


def _is_probably_misspelt(name: str, known: list[str]) -> bool:
    return bool(difflib.get_close_matches(name.lower().replace("license", "licence"), known, n=1, cutoff=0.8))


def _with_integers_as_text(raw: pl.DataFrame) -> pl.DataFrame:
    """Integer columns as text, whatever a file's types are: so a wrong number can be reported as it stands."""
    present = [name for name in INTEGER_COLUMNS if name in raw.columns]
    return raw.with_columns(pl.col(name).cast(pl.String).str.strip_suffix(".0") for name in present)


def _find_number_problems(path: Path, raw: pl.DataFrame) -> list[Problem]:
    problems = []
    for name in INTEGER_COLUMNS:
        if name in raw.columns:
            value = pl.col(name)
            is_number = value.str.contains(r"^\+?[0-9]+$") & (value.cast(pl.Int64, strict=False).fill_null(0) > 0)
            wrong = raw.with_row_index("row_index").filter(value.is_not_null() & (value != "") & ~is_number)
            manifest = Manifest(path, raw)
            for row, text in wrong.select("row_index", name).iter_rows():
                message = "not a whole number of pixels, 1 or more"
                problems.append(Problem(manifest.place(row), name, text, message, "wrong number"))
    return problems


def _repeated_names(path: Path) -> list[str]:
    """Names that stand more than once in a CSV's header; the reader would rename the second without a word."""
    if path.suffix != ".csv":
        return []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream), [])
    return [name for name, count in Counter(header).items() if count > 1]


def _lines_with_content(path: Path, num_rows: int) -> list[int]:
    """Line numbers of the rows of a JSON lines file, which may have empty lines between them."""
    if path.is_file():
        with path.open("rb") as stream:
            lines = [number for number, line in enumerate(stream, start=1) if line.strip()]
        if len(lines) == num_rows:
            return lines
    return list(range(1, num_rows + 1))


def _with_known_columns(raw: pl.DataFrame) -> pl.DataFrame:
    """All of `COLUMNS`, then the others; empty texts become null."""
    columns = []
    for name in [*COLUMNS, *(name for name in raw.columns if name not in COLUMNS)]:
        kind = pl.Int64 if name in INTEGER_COLUMNS else pl.String
        if name not in raw.columns:
            columns.append(pl.lit(None, dtype=kind).alias(name))
        elif kind == pl.String:
            text = pl.col(name).cast(pl.String)
            text = text.str.to_lowercase() if name == "sha256" else text
            columns.append(pl.when(text != "").then(text).otherwise(None).alias(name))
        else:
            columns.append(pl.col(name).cast(kind, strict=False))
    return raw.select(columns)
