"""Somebody's data set becomes one of ours: a folder with `manifest.csv`, `images/` and `left_out.csv`.

`open_source` reads what the data set says of its pictures, `labels` maps its labels, `plan_pictures` gives every
picture its name, and `import_data_set` brings the pictures over on all cores, whole or not at all. One row per picture
(or box) comes out, or a line in `left_out.csv` with the reason.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl

from vision.data.importing.coco import find_coco_files, read_coco
from vision.data.importing.folders import read_class_folders
from vision.data.importing.names import NameRegister
from vision.data.importing.pictures import ImportOptions, PictureOutcome, PictureTask, import_picture
from vision.data.importing.source import Entry, ImportSource, LeftOut, SourceFormat, find_pictures
from vision.data.importing.tables import (
    METADATA_NAMES,
    find_metadata_files,
    read_hugging_face_folder,
    read_table,
)
from vision.data.importing.whole_folder import whole_folder
from vision.data.importing.yolo import find_data_yaml, has_yolo_folders, read_yolo
from vision.data.manifest import Manifest, manifest_from_rows, save_manifest
from vision.data.manifest_files import ENDINGS
from vision.errors import InputPathError, OutputError, UsageError
from vision.files import write_whole_text

MANIFEST_NAME = "manifest.csv"
LEFT_OUT_NAME = "left_out.csv"
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class ImportedDataSet:
    """What an import left.

    Attributes:
        manifest: The new data set.
        left_out: Every picture and box that is not in it.
        notes: What a person should know of how it was done.
        reserved: Files that say all rights are reserved, with their words; they did not get the user's licence.
    """

    manifest: Manifest
    left_out: Sequence[LeftOut]
    notes: Sequence[str]
    reserved: Sequence[str]


def open_source(path: Path, chosen: SourceFormat | None, columns: Mapping[str, str]) -> ImportSource:
    """What a data set says of its pictures.

    Args:
        path: A folder, or the file that describes the data set.
        chosen: Its format; None finds it out.
        columns: The manifest's column by the table's column, for formats with tables.

    Raises:
        InputPathError: There is nothing, or not in this format.
        UsageError: The format is not clear, or options do not fit it.
    """
    if not path.exists():
        raise InputPathError(f"{path}: no such file or folder; check the path")
    form = chosen or find_format(path)
    if columns and form not in (SourceFormat.CSV, SourceFormat.HUGGINGFACE):
        raise UsageError(f"--column is for tables; {path} is read as {form.value}, which has no columns")
    source = _read(path, form, columns)
    if not source.entries and not source.left_out:
        raise InputPathError(
            f"{path}: no picture found in it as {form.value}; check the path, or choose another --format"
        )
    if form is SourceFormat.FOLDERS and not source.entries:
        raise InputPathError(f"{path}: {_loose(len(source.left_out))}")
    return source


def find_format(path: Path) -> SourceFormat:
    """How a data set is laid out, from the files that are there.

    Raises:
        UsageError: Nothing tells, or two formats are possible.
    """
    if path.is_file():
        return _format_of_file(path)
    found: dict[SourceFormat, str] = {}
    if data_yaml := find_data_yaml(path):
        found[SourceFormat.YOLO] = data_yaml.name
    elif has_yolo_folders(path) and any((path / "labels").rglob("*.txt")):
        found[SourceFormat.YOLO] = "images/ and labels/"
    if metadata := find_metadata_files(path):
        found[SourceFormat.HUGGINGFACE] = str(metadata[0].relative_to(path))
    if coco := find_coco_files(path):
        found[SourceFormat.COCO] = str(coco[0].relative_to(path))
    if not found and (tables := [p for p in sorted(path.iterdir()) if p.suffix in ENDINGS]):
        names = ", ".join(table.name for table in tables)
        raise UsageError(f"{path}: holds {names}; give that file as SOURCE, or --format folders to go by the folders")
    pictures = [] if found else list(find_pictures(path))
    if any(picture.parent != path for picture in pictures):
        return SourceFormat.FOLDERS
    if pictures:
        raise UsageError(f"{path}: {_loose(len(pictures))}")
    if len(found) == 1:
        return next(iter(found))
    known = " and ".join(f"{form.value} ({mark})" for form, mark in found.items())
    what = f"may be {known}" if found else "no known layout: no class folders with pictures, and no file of labels"
    raise UsageError(f"{path}: {what}; say which with --format {'|'.join(SourceFormat)}")


def plan_pictures(source: ImportSource, crop: bool | None) -> list[PictureTask]:
    """One task per picture, in the order of the source, with the names of its copies.

    Pictures that the source mentions several times without boxes are left out, but for the first mention if all agree.
    """
    register = NameRegister(source.root)
    tasks = []
    for path, entries in _by_picture(source.entries).items():
        if kept := _consistent(source, entries, crop):
            makes_crops = kept[0].box is not None and (crop or (crop is None and len(kept) > 1))
            stems = register.stems_of_crops(path, len(kept)) if makes_crops else []
            tasks.append(PictureTask(path, kept, "" if makes_crops else register.name_of(path), tuple(stems)))
    return tasks


def import_data_set(
    source: ImportSource,
    tasks: Sequence[PictureTask],
    folder: Path,
    options: ImportOptions,
    *,
    on_progress: Callable[[], None] = lambda: None,
) -> ImportedDataSet:
    """Write the new data set, whole or not at all, in the place of what is there.

    Args:
        source: Where the pictures come from; its labels are classes already.
        tasks: The pictures, from `plan_pictures`.
        folder: The new data set's.
        options: What is done with each picture.
        on_progress: Called after each picture.

    Raises:
        OutputError: It cannot be written.
        InputPathError: Not one row comes out; nothing is written, and what is there stays.
    """
    _check_not_within(source, folder)
    left_out, notes = list(source.left_out), list(source.notes)
    with whole_folder(folder) as temporary:
        tables: list[pl.DataFrame] = []
        counts: Counter[str] = Counter()
        rights: Counter[str] = Counter()
        reserved: list[str] = []
        work = partial(import_picture, folder=temporary, root=source.root, options=options)
        for outcomes in _in_batches(work, tasks, on_progress):
            rows = [row for outcome in outcomes for row in outcome.rows]
            tables.append(manifest_from_rows(temporary / MANIFEST_NAME, rows).table)
            left_out += [out for outcome in outcomes for out in outcome.left_out]
            _count(counts, outcomes)
            rights.update(outcome.other_rights for outcome in outcomes if outcome.other_rights)
            reserved += [
                f"{outcome.rows[0]['file_name']}: {outcome.reserved_rights[:120]}"
                for outcome in outcomes
                if outcome.reserved_rights and outcome.rows
            ]
        table = pl.concat(tables, how="diagonal") if tables else manifest_from_rows(temporary, []).table
        check_rows_come_out(len(table), left_out, source.root)
        save_manifest(Manifest(temporary / MANIFEST_NAME, table), temporary / MANIFEST_NAME)
        _write_left_out(temporary / LEFT_OUT_NAME, left_out, source.root)
    told = [*notes, *_outcome_notes(counts, rights)]
    return ImportedDataSet(Manifest(folder / MANIFEST_NAME, table), left_out, told, reserved)


def check_rows_come_out(num_rows: int, left_out: Sequence[LeftOut], root: Path) -> None:
    """Make sure that an import is worth writing.

    Raises:
        InputPathError: Everything is left out; says why, by the first that was.
    """
    if num_rows == 0:
        first = left_out[0] if left_out else None
        why = f"; the first, {relative_to_root(first.place, root)}: {first.reason}" if first else ""
        raise InputPathError(
            f"{root}: no row comes out of it, all {len(left_out)} pictures or boxes are left out{why}; mend them, or "
            "choose another --format or --column; nothing is written"
        )


def relative_to_root(text: str, root: Path) -> str:
    """A path or place as it stands beneath the source's folder, and fit for a text file."""
    return text.removeprefix(f"{root}/").encode("utf-8", "backslashreplace").decode("utf-8")


def _read(path: Path, form: SourceFormat, columns: Mapping[str, str]) -> ImportSource:
    if form is SourceFormat.CSV or (form is SourceFormat.HUGGINGFACE and path.is_file()):
        if path.is_dir():
            raise InputPathError(f"{path}: a folder; give the table in it as SOURCE")
        source = read_table(path, columns)
        source.format = form
        return source
    if form in (SourceFormat.FOLDERS, SourceFormat.HUGGINGFACE) and not path.is_dir():
        raise InputPathError(f"{path}: a file; {form.value} needs a folder")
    if form is SourceFormat.HUGGINGFACE:
        return read_hugging_face_folder(path, columns)
    readers = {SourceFormat.FOLDERS: read_class_folders, SourceFormat.COCO: read_coco, SourceFormat.YOLO: read_yolo}
    return readers[form](path)


def _loose(num_pictures: int) -> str:
    return (
        f"holds {num_pictures} pictures in no folder of a class; put them into folders named as the classes, "
        "or give a table of them as SOURCE"
    )


def _format_of_file(path: Path) -> SourceFormat:
    if path.name in METADATA_NAMES:
        return SourceFormat.HUGGINGFACE
    by_ending = {
        **dict.fromkeys(ENDINGS, SourceFormat.CSV),
        ".json": SourceFormat.COCO,
        ".yaml": SourceFormat.YOLO,
        ".yml": SourceFormat.YOLO,
    }
    if path.suffix not in by_ending:
        endings = ", ".join(by_ending)
        raise UsageError(f"{path}: a source is a folder, or a file that ends in {endings}, not in '{path.suffix}'")
    return by_ending[path.suffix]


def _by_picture(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(os.path.normpath(entry.path), []).append(entry)
    return found


def _consistent(source: ImportSource, entries: Sequence[Entry], crop: bool | None) -> tuple[Entry, ...]:
    """What is imported of a picture's entries; the others are left out with the reason."""
    boxed = [entry for entry in entries if entry.box is not None]
    whole = [entry for entry in entries if entry.box is None]
    if boxed:
        _leave_out(source, whole, "the picture has boxes elsewhere, so a label of the whole is none of them")
        if crop is False and len(boxed) > 1:
            _leave_out(source, boxed, f"{len(boxed)} boxes in one picture: one row can hold one; import with --crop")
            return ()
        return tuple(boxed)
    labels = sorted({entry.label for entry in whole})
    if len(labels) > 1:
        _leave_out(source, whole, f"stands several times, as {' and as '.join(labels)}; only one can be right")
        return ()
    _leave_out(source, whole[1:], f"stands already at {relative_to_root(whole[0].place, source.root)}")
    return (whole[0],)


def _leave_out(source: ImportSource, entries: Sequence[Entry], reason: str) -> None:
    source.left_out.extend(LeftOut(entry.path, entry.place, entry.label, reason, is_fault=False) for entry in entries)


def _check_not_within(source: ImportSource, folder: Path) -> None:
    """Make sure that replacing `folder` does not remove what is imported."""
    final = folder.resolve()
    parents = dict.fromkeys(str(Path(entry.path).parent) for entry in source.entries)
    inside = next((parent for parent in parents if Path(parent).resolve().is_relative_to(final)), None)
    if inside is not None:
        raise OutputError(f"{folder}: pictures in {inside} are to be imported and lie in it; choose another folder")


def _in_batches(
    work: Callable[[PictureTask], PictureOutcome], tasks: Sequence[PictureTask], on_progress: Callable[[], None]
) -> Iterator[list[PictureOutcome]]:
    remaining = iter(tasks)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(remaining, _ROWS_AT_ONCE)):
            outcomes = []
            for outcome in pool.map(work, batch):
                outcomes.append(outcome)
                on_progress()
            yield outcomes


def _count(counts: Counter[str], outcomes: Sequence[PictureOutcome]) -> None:
    for outcome in outcomes:
        counts["clipped"] += outcome.num_clipped
        counts["assumed upright"] += outcome.num_assumed_upright
        counts["with metadata"] += outcome.has_metadata
        counts["pictures"] += 1


def _outcome_notes(counts: Counter[str], rights: Counter[str]) -> Iterator[str]:
    yield f"{counts['with metadata']} of {counts['pictures']} files say something of author, licence, source or title"
    if counts["clipped"]:
        yield f"{counts['clipped']} boxes reached outside their picture and were clipped"
    if counts["assumed upright"]:
        yield (
            f"{counts['assumed upright']} boxes are of pictures that EXIF turns, and nothing tells which pixels they "
            "count: the upright picture's were taken; if that is wrong, import with --boxes-before-rotation"
        )
    if rights:
        example = rights.most_common(1)[0][0][:120]
        yield (
            f"{rights.total()} files speak of rights that are no licence, such as '{example}', and got the licence of "
            "--licence all the same: make sure that it holds for them"
        )


def _write_left_out(path: Path, left_out: Sequence[LeftOut], root: Path) -> None:
    columns = {
        "picture": [relative_to_root(out.picture, root) for out in left_out],
        "place": [relative_to_root(out.place, root) for out in left_out],
        "label": [relative_to_root(out.label, root) for out in left_out],
        "reason": [relative_to_root(out.reason, root) for out in left_out],
    }
    write_whole_text(path, pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_csv())
