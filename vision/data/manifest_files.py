"""Manifests' files as tables: which endings there are, how each is read in pieces, and on which lines rows stand."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from vision.errors import ManifestError
from vision.files import whole_file

ENDINGS = (".csv", ".jsonl", ".ndjson", ".parquet")


def check_ending(path: Path) -> None:
    """Make sure that a manifest can be read from, or written to, a file of this name.

    Raises:
        ManifestError: The ending is none that a manifest has.
    """
    if path.suffix not in ENDINGS:
        raise ManifestError(f"{path}: a manifest ends in {', '.join(ENDINGS)}, not in '{path.suffix}'")


def scan_file(path: Path) -> pl.LazyFrame:
    """A file as a lazy table, as it stands; CSV with all columns as text.

    Raises:
        ManifestError: There is no such file, its ending is none that a manifest has, or it cannot be read.
    """
    scans: dict[str, Callable[[Path], pl.LazyFrame]] = {
        ".csv": _scan_csv,
        ".jsonl": _scan_json_lines,
        ".ndjson": _scan_json_lines,
        ".parquet": _scan_parquet,
    }
    check_ending(path)
    if path.is_dir() or not path.exists():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise ManifestError(f"{path}: {what}; give the path of a manifest")
    with told_as_unreadable(path):
        return scans[path.suffix](path)


def _scan_csv(path: Path) -> pl.LazyFrame:
    # All columns as text: a label '007' stays one, and a wrong number is reported with its line.
    return pl.scan_csv(path, infer_schema=False, glob=False)


def _scan_json_lines(path: Path) -> pl.LazyFrame:
    # Of a path the reader would take `[`, `*` and `?` for patterns.
    with path.open("rb") as stream:
        return pl.read_ndjson(stream, infer_schema_length=None).lazy()


def _scan_parquet(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


@contextmanager
def told_as_unreadable(path: Path) -> Iterator[None]:
    """What goes wrong in reading a file, as a ManifestError that names it."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise ManifestError(f"{path}: cannot be read as {path.suffix[1:]} ({reason})") from error


def write_file(table: pl.LazyFrame, path: Path) -> None:
    """Write a table in pieces, whole or not at all.

    Raises:
        ManifestError: The ending is none that a manifest has.
    """
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": table.sink_csv,
        ".jsonl": table.sink_ndjson,
        ".ndjson": table.sink_ndjson,
        ".parquet": table.sink_parquet,
    }
    check_ending(path)
    with whole_file(path) as temporary:
        writers[path.suffix](temporary)


def csv_lines(table: pl.LazyFrame) -> pl.Series:
    """Line numbers of a CSV's rows: a quoted value may hold line breaks, and so may a name in the header."""
    schema = table.collect_schema()
    breaks = [
        pl.col(name).str.count_matches("\n", literal=True).fill_null(0)
        for name, kind in schema.items()
        if kind == pl.String
    ]
    per_row = table.select(pl.sum_horizontal(breaks).alias("n")).collect(engine="streaming")["n"]
    first = 2 + sum(name.count("\n") for name in schema)
    before = per_row.cast(pl.Int64).cum_sum().shift(1, fill_value=0)
    return before + pl.int_range(first, len(per_row) + first, eager=True)


def lines_with_content(path: Path, num_rows: int) -> pl.Series:
    """Line numbers of the rows of a JSON lines file, which may have empty lines between them."""
    if path.is_file():
        with path.open("rb") as stream:
            lines = pl.Series([number for number, line in enumerate(stream, start=1) if line.strip()], dtype=pl.Int64)
        if len(lines) == num_rows:
            return lines
    return pl.int_range(1, num_rows + 1, eager=True)


def repeated_names(path: Path) -> list[str]:
    """Names that stand more than once in a CSV's header; the reader would rename the second without a word."""
    if path.suffix != ".csv":
        return []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        header = next(csv.reader(stream), [])
    return [name for name, count in Counter(header).items() if count > 1]
