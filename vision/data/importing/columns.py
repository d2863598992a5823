"""Which column of somebody's table is which column of a manifest: as the user says, else by its name, and told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.data.manifest import find_column_name_problems
from vision.errors import UsageError, nearest_name_hint

PICTURE_NAMES = ("file_name", "filename", "file", "path", "filepath", "file_path", "image", "image_path", "img")
LABEL_NAMES = ("label", "labels", "class", "class_id", "class_name", "category", "target")
_OTHER_NAMES = {
    "license": "licence",
    "license_url": "licence_url",
    "page_url": "source_url",
    "creator": "author",
    "artist": "author",
    "photographer": "author",
}
_MEASURED = ("sha256", "width", "height")
"""Columns that are measured on the imported files, whatever the source says of its own."""

_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIDES = (
    ("x", "y", "w", "h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("x", "y", "width", "height"),
)
"""Names of four columns that hold a box, the corners or a corner and the sides."""


@dataclass(frozen=True)
class BoxColumns:
    """The four columns of a table that hold a box.

    Attributes:
        names: Left, upper; then right, lower or width, height.
        are_corners: Whether the last two are the other corner.
        picture_size: Columns with the width and the height of the picture that the box was drawn in; empty if none.
    """

    names: tuple[str, ...]
    are_corners: bool
    picture_size: tuple[str, ...]


@dataclass(frozen=True)
class ColumnChoice:
    """Where a table's columns go.

    Attributes:
        picture: Column with the picture's path.
        label: Column with the label.
        others: Column of the manifest, or a slice, by the table's column.
        notes: What was guessed, one sentence each.
        box: The columns of a box; None if there are none, or a column `box` holds it.
    """

    picture: str
    label: str
    others: Mapping[str, str]
    notes: tuple[str, ...]
    box: BoxColumns | None = None


def choose_columns(path: Path, table: pl.DataFrame, given: Mapping[str, str]) -> ColumnChoice:
    """The column of the manifest for each of the table's.

    Args:
        path: The table's file, for messages.
        table: The rows.
        given: The manifest's column by the table's column; an empty text leaves a column out.

    Raises:
        UsageError: With everything that does not fit: unknown names, two columns for one, none for picture or label,
            names that a manifest cannot have.
    """
    _check_given(path, table.columns, given)
    chosen = {name: given[name] for name in table.columns if name in given}
    notes: list[str] = []
    for ours, candidates in (("file_name", PICTURE_NAMES), ("label", LABEL_NAMES)):
        if ours not in chosen.values():
            theirs = _first_of(candidates, table.columns, chosen)
            if theirs is None:
                raise UsageError(_missing(path, ours, table.columns))
            chosen[theirs] = ours
    for name in table.columns:
        if name not in chosen:
            ours = _OTHER_NAMES.get(name.lower(), name)
            chosen[name] = name if ours in (*chosen.values(), *table.columns) else ours
    notes += [
        f"column '{theirs}' is taken as {ours}" for theirs, ours in chosen.items() if _is_guess(theirs, ours, given)
    ]
    box = None if "box" in chosen.values() else _box_columns(chosen)
    in_box = box.names if box else ()
    notes += [f"columns {', '.join(in_box)} are taken as the box"] if box else []
    measured = [name for name in table.columns if chosen[name] in _MEASURED and name not in in_box]
    notes += [f"{', '.join(measured)}: measured again on the imported files"] if measured else []
    kept = {theirs: ours for theirs, ours in chosen.items() if ours and ours not in _MEASURED and theirs not in in_box}
    _check_kept(path, table, kept)
    by_ours = {ours: theirs for theirs, ours in kept.items()}
    others = {theirs: ours for theirs, ours in kept.items() if ours not in ("file_name", "label")}
    return ColumnChoice(by_ours["file_name"], by_ours["label"], others, tuple(notes), box)


def parse_column_options(options: list[str]) -> dict[str, str]:
    """The manifest's column by the table's column, from `THEIRS=OURS`; `THEIRS=` leaves a column out.

    Raises:
        UsageError: One is not of that form.
    """
    wrong = [option for option in options if not option.partition("=")[1] or not option.partition("=")[0].strip()]
    if wrong:
        raise UsageError(f"--column {wrong[0]}: not of the form THEIRS=OURS, such as --column photo=file_name")
    return {theirs.strip(): ours.strip() for theirs, _, ours in (option.rpartition("=") for option in options)}


def _box_columns(chosen: Mapping[str, str]) -> BoxColumns | None:
    """The first of the known sets of four names that a table has whole, as its user calls the columns."""
    theirs = {ours.lower(): name for name, ours in reversed(list(chosen.items()))}
    for sets, are_corners in ((_CORNERS, True), (_SIDES, False)):
        for names in sets:
            if all(name in theirs for name in names):
                is_told = "width" in theirs and "height" in theirs and "width" not in names
                size = (theirs["width"], theirs["height"]) if is_told else ()
                return BoxColumns(tuple(theirs[name] for name in names), are_corners, size)
    return None


def _is_guess(theirs: str, ours: str, given: Mapping[str, str]) -> bool:
    return bool(ours) and theirs != ours and theirs not in given


def _first_of(candidates: Sequence[str], names: Sequence[str], taken: Mapping[str, str]) -> str | None:
    by_lower_case = {name.lower(): name for name in reversed(names) if name not in taken}
    return next((by_lower_case[candidate] for candidate in candidates if candidate in by_lower_case), None)


def _missing(path: Path, ours: str, names: Sequence[str]) -> str:
    meaning = {"file_name": "the picture's path", "label": "the label"}[ours]
    return (
        f"{path}: no column is known to hold {meaning}; there are: {', '.join(names)}; "
        f"name it with --column THEIRS={ours}"
    )


def _check_given(path: Path, names: Sequence[str], given: Mapping[str, str]) -> None:
    faults = [
        f"{path}: --column {theirs}={ours}: there is no column '{theirs}'"
        f"{nearest_name_hint(theirs, names) or '; there are: ' + ', '.join(names)}"
        for theirs, ours in given.items()
        if theirs not in names
    ]
    if faults:
        raise UsageError("\n".join(faults))


def _check_kept(path: Path, table: pl.DataFrame, kept: Mapping[str, str]) -> None:
    """Everything that would make the written manifest one that cannot be read."""
    faults = [
        f"{path}: {count} columns are taken as {ours} ({', '.join(t for t, o in kept.items() if o == ours)}); "
        f"leave one out with --column THEIRS="
        for ours, count in Counter(kept.values()).items()
        if count > 1
    ]
    names = {ours: theirs for theirs, ours in kept.items()}
    faults += [
        f"{path}: column '{names[problem.column]}' {problem.message}; name it with --column "
        f"'{names[problem.column]}=NEW_NAME', or leave it out with --column '{names[problem.column]}='"
        for problem in find_column_name_problems(path, [*names, *_MEASURED])
    ]
    faults += [
        f"{path}: column '{theirs}' holds {table.schema[theirs]}, not text or numbers; leave it out with "
        f"--column '{theirs}='"
        for theirs in kept
        if table.schema[theirs].is_nested() or table.schema[theirs] == pl.Binary
    ]
    if faults:
        raise UsageError("\n".join(faults))
