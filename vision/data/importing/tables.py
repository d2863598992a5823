"""Tables with one row per picture: CSV, JSON lines and Parquet of any columns, and Hugging Face's `metadata` files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from vision.data.importing.columns import BoxColumns, choose_columns
from vision.data.importing.source import (
    SPLIT_NAMES,
    Entry,
    ImportSource,
    SourceBox,
    SourceFormat,
    find_files,
    find_named_picture,
)
from vision.data.manifest import SPLITS, parse_box
from vision.data.manifest_files import ENDINGS
from vision.errors import InputPathError, UsageError, nearest_name_hint

_Box = SourceBox | str | None
"""A row's box; what is wrong with it; or none."""

METADATA_NAMES = frozenset(f"metadata{ending}" for ending in ENDINGS)


def read_table(path: Path, columns: Mapping[str, str]) -> ImportSource:
    """One entry per row of a table; paths in it are relative to its folder, or absolute.

    Args:
        path: A `.csv`, `.jsonl` or `.parquet` file.
        columns: The manifest's column by the table's column, as the user says; an empty text leaves a column out.

    Raises:
        InputPathError: The file cannot be read.
        UsageError: It has no columns for the picture and the label, or some that a manifest cannot have.
    """
    source = ImportSource(SourceFormat.CSV, path.parent)
    _add_table(source, path, columns, None)
    _check_splits(source)
    return source


def read_hugging_face_folder(root: Path, columns: Mapping[str, str]) -> ImportSource:
    """One entry per row of every `metadata` file beneath a folder; splits by folder names, as Hugging Face has them.

    Raises:
        InputPathError: A file cannot be read.
        UsageError: One has no columns for the picture and the label, or some that a manifest cannot have.
    """
    source = ImportSource(SourceFormat.HUGGINGFACE, root)
    for path in find_metadata_files(root):
        _add_table(source, path, columns, root)
    _check_splits(source)
    return source


def find_metadata_files(root: Path) -> list[Path]:
    """Every `metadata.csv`, `.jsonl` or `.parquet` beneath a folder."""
    return [path for path in find_files(root) if path.name in METADATA_NAMES]


def _add_table(source: ImportSource, path: Path, columns: Mapping[str, str], root: Path | None) -> None:
    table = _table_in(path)
    choice = choose_columns(path, table, columns)
    source.notes.extend(note for note in choice.notes if note not in source.notes)
    label_names = _label_names_of_hugging_face(path, choice.label)
    wanted = [choice.picture, choice.label, *choice.others]
    texts = table.select(pl.col(name).cast(pl.String).str.strip_chars() for name in wanted)
    boxes: Iterator[_Box] = iter([None] * len(table)) if choice.box is None else _boxes(table, choice.box)
    for place, row, box in zip(_places(path, table), texts.iter_rows(), boxes, strict=True):
        name, label, *others = (value or "" for value in row)
        values = {ours: value for ours, value in zip(choice.others.values(), others, strict=True) if value}
        _add_row(source, path, place, name, label_names.get(label, label), values, box, root)


def _boxes(table: pl.DataFrame, columns: BoxColumns) -> Iterator[_Box]:
    """The box of each row, None where all four cells are empty; or what is wrong with it.

    Numbers that are nowhere above 1 are shares of the picture's sides.
    """
    texts = table.select(pl.col(name).cast(pl.String).str.strip_chars() for name in columns.names)
    numbers = texts.select(pl.all().cast(pl.Float64, strict=False))
    highest = numbers.select(pl.max_horizontal(pl.all().max())).item()
    is_share = highest is not None and highest <= 1
    sizes: Iterator[tuple[int | None, ...]] = iter([()] * len(table))
    if columns.picture_size:
        chosen = table.select(pl.col(name).cast(pl.String) for name in columns.picture_size)
        sizes = chosen.select(pl.all().cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)).iter_rows()
    for row, four, size in zip(texts.iter_rows(), numbers.iter_rows(), sizes, strict=True):
        if not any(row):
            yield None
        elif not all(number is not None and math.isfinite(number) for number in four):
            shown = ", ".join(f"{name} '{text or ''}'" for name, text in zip(columns.names, row, strict=True))
            yield f"the box is not four numbers: {shown}"
        else:
            x, y, third, fourth = four
            sides = (third - x, fourth - y) if columns.are_corners else (third, fourth)
            told = (size[0], size[1]) if len(size) == 2 and size[0] and size[1] and not is_share else None
            yield SourceBox(x, y, *sides, is_share=is_share, picture_size=told)


def _add_row(
    source: ImportSource,
    path: Path,
    place: str,
    name: str,
    label: str,
    values: dict[str, str],
    box: _Box,
    root: Path | None,
) -> None:
    if not name:
        source.leave_out("", place, "names no picture", label=label)
    elif "://" in name:
        source.leave_out(name, place, "is an address, not a file; download it first", label=label)
    else:
        picture = find_named_picture(name, (path.parent,))
        if root is not None and "split" not in values and (split := _split_of_folders(picture, root)):
            values["split"] = split
        if stated := values.pop("box", ""):
            try:
                box = SourceBox(*parse_box(stated))
            except ValueError as error:
                box = f"box is not 'x y width height' in px ({error})"
        if isinstance(box, str):
            source.leave_out(picture, place, box, label=label)
            return
        source.entries.append(Entry(str(picture), label, place, values, box))


def _split_of_folders(picture: Path, root: Path) -> str:
    """The split that the first folder beneath `root` with the name of one says."""
    folders = picture.parent.relative_to(root).parts if picture.is_relative_to(root) else ()
    return next((SPLIT_NAMES[name.lower()] for name in folders if name.lower() in SPLIT_NAMES), "")


def _table_in(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        if path.suffix == ".csv":
            return _csv_in(path)
        return pl.read_ndjson(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputPathError(f"{path}: cannot be read as {path.suffix[1:]} ({reason}); {_remedy(path)}") from error


def _csv_in(path: Path) -> pl.DataFrame:
    with path.open("rb") as stream:
        start = stream.read(1_000)
    if b"\0" in start:  # no text in UTF-8 has one, any in UTF-16 has
        raise InputPathError(f"{path}: is UTF-16, or no text; save it as CSV in UTF-8")
    table = pl.read_csv(path, infer_schema=False)  # all columns as text: a label '007' stays one
    separator = next((mark for mark in ";\t|" if mark in table.columns[0]), "")
    if table.width == 1 and separator:
        shown = "tabs" if separator == "\t" else f"'{separator}'"
        raise InputPathError(f"{path}: its columns are separated by {shown}; save it with commas")
    return table


def _remedy(path: Path) -> str:
    return "save it in UTF-8, with commas between the columns" if path.suffix == ".csv" else "export it again"


def _places(path: Path, table: pl.DataFrame) -> Iterator[str]:
    """`file:line` of each row; `file: row N` for Parquet."""
    if path.suffix == ".parquet":
        return (f"{path}: row {row}" for row in range(1, len(table) + 1))
    if path.suffix != ".csv":
        with path.open("rb") as stream:
            lines = [number for number, line in enumerate(stream, start=1) if line.strip()]
        return (f"{path}:{line}" for line in lines)
    texts = [pl.col(name).str.count_matches("\n").fill_null(0) for name in table.columns]
    breaks = table.select(pl.sum_horizontal(texts).alias("n"))["n"]
    first = 2 + sum(name.count("\n") for name in table.columns)
    lines = (breaks.cum_sum().shift(1, fill_value=0) + pl.int_range(first, len(table) + first, eager=True)).to_list()
    return (f"{path}:{line}" for line in lines)


def _label_names_of_hugging_face(path: Path, label: str) -> dict[str, str]:
    """Names of the numbers in a Parquet's label column, where `datasets` has noted them as a ClassLabel."""
    if path.suffix != ".parquet":
        return {}
    try:
        noted = json.loads(pl.read_parquet_metadata(path).get("huggingface", "{}"))
        names = noted["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(number): str(name) for number, name in enumerate(names)} if isinstance(names, list) else {}


def _check_splits(source: ImportSource) -> None:
    """Give every entry one of our splits.

    Raises:
        UsageError: With each split that is none, and how often it is there.
    """
    found = Counter(entry.values["split"] for entry in source.entries if "split" in entry.values)
    unknown = {split: count for split, count in found.items() if split.lower() not in SPLIT_NAMES}
    if unknown:
        lines = [
            f"split '{split}' ({count} times) is none{nearest_name_hint(split, SPLIT_NAMES)}"
            for split, count in unknown.items()
        ]
        remedy = f"splits are {', '.join(SPLITS)}; leave the column out with --column split="
        raise UsageError("\n".join([*lines[:20], remedy]))
    for entry in source.entries:
        if isinstance(entry.values, dict) and "split" in entry.values:
            entry.values["split"] = SPLIT_NAMES[entry.values["split"].lower()]
    if renamed := sorted({split for split in found if SPLIT_NAMES[split.lower()] != split}):
        source.notes.append(
            "splits are renamed: " + ", ".join(f"{split} to {SPLIT_NAMES[split.lower()]}" for split in renamed)
        )
