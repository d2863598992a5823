"""One picture of a source: read, copied or cropped, measured, and described by rows of a manifest."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from vision.data.fetching.prohibitions import FORBIDS_ALL
from vision.data.images import decode_image
from vision.data.importing.boxes import (
    BoxError,
    PlacedBox,
    box_text,
    crop_ending,
    cut_out,
    place_box,
    save_crop,
    stored_orientation,
)
from vision.data.importing.embedded_provenance import Provenance, read_provenance, stated_licence
from vision.data.importing.source import Entry, LeftOut
from vision.errors import ImageError
from vision.files import sha256_of_file

Row = dict[str, str | int | None]
_Placed = tuple[Entry, PlacedBox | None, str]
"""An entry, its box in the upright picture, and the name of its crop without ending."""
_SPDX_OPERATOR = re.compile(r"\s(OR|AND|WITH)\s")


@dataclass(frozen=True)
class ImportOptions:
    """What is done with every picture.

    Attributes:
        crop: Whether each box becomes a picture; None crops those pictures alone that have several boxes.
        margin: Share of a box's width and height that a crop shows around it.
        boxes_count_stored_pixels: Whether boxes refer to pictures before EXIF orientation, where nothing tells.
        link: Hard links instead of copies, where the file system can.
        group_by_folder: The folder that a picture lies in is its group.
        group_by_name: What this finds in a picture's name is its group: its first bracket, or all of it.
        stated: Cells for pictures of which neither the source nor the file says anything, by column.
        licence_overrides: Whether the licence in `stated` holds for files, too, that say all rights are reserved.
    """

    crop: bool | None = None
    margin: float = 0.1
    boxes_count_stored_pixels: bool = False
    link: bool = False
    group_by_folder: bool = False
    group_by_name: re.Pattern[str] | None = None
    stated: Mapping[str, str] = field(default_factory=dict)
    licence_overrides: bool = False


@dataclass(frozen=True, slots=True)
class PictureTask:
    """A picture of the source with what is said of it, and the names that its copies get.

    Attributes:
        path: The picture's file.
        entries: Its labels or boxes; those with boxes if there are any.
        name: Of the copy, beneath the new data set's folder; empty if crops are made.
        crop_stems: Names of the crops, without ending, one per entry; empty if the picture is kept whole.
    """

    path: str
    entries: tuple[Entry, ...]
    name: str
    crop_stems: tuple[str, ...]


@dataclass
class PictureOutcome:
    """What became of a picture.

    Attributes:
        rows: Of the manifest.
        left_out: The picture, or boxes of it.
        num_clipped: Boxes that reached outside.
        num_assumed_upright: Boxes of turned pictures of which nothing tells which pixels they count.
        has_metadata: Whether the file says anything of author, licence or source.
        other_rights: What the file says of rights, where that is no licence and the user's word stands instead.
        reserved_rights: What the file says, where that is that it may not be used, and the user's word does not count.
    """

    rows: list[Row] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    num_clipped: int = 0
    num_assumed_upright: int = 0
    has_metadata: bool = False
    other_rights: str = ""
    reserved_rights: str = ""


def import_picture(task: PictureTask, folder: Path, root: Path, options: ImportOptions) -> PictureOutcome:
    """Bring one picture into the folder of a new data set; a picture that cannot be read is told, not raised."""
    outcome = PictureOutcome()
    path = Path(task.path)
    try:
        image = decode_image(path)
        orientation = stored_orientation(path)
    except ImageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        outcome.left_out.extend(LeftOut(e.path, e.place, e.label, reason) for e in task.entries)
        return outcome
    provenance = read_provenance(path)
    outcome.has_metadata = bool(provenance)
    if "licence" in options.stated and not provenance.licence and "licence" not in task.entries[0].values:
        if FORBIDS_ALL.search(provenance.licence_stated) and not options.licence_overrides:
            outcome.reserved_rights = provenance.licence_stated
            without = {column: text for column, text in options.stated.items() if column != "licence"}
            options = replace(options, stated=without)
        else:
            outcome.other_rights = provenance.licence_stated
    placed = _placed_boxes(task, image.size, orientation, options, outcome)
    if task.crop_stems:
        _write_crops(task, image, placed, folder, root, provenance, options, outcome)
    else:
        for entry, box, _ in placed:
            _bring(path, folder / task.name, link=options.link)
            row = _row(entry, task, root, provenance, options)
            row |= _measured(folder, task.name, image.size)
            row["box"] = box_text(box.box) if box else None
            outcome.rows.append(row)
    return outcome


def _placed_boxes(
    task: PictureTask, size: tuple[int, int], orientation: int, options: ImportOptions, outcome: PictureOutcome
) -> list[_Placed]:
    """Every entry with its box in the upright picture; unusable boxes and repeated ones are left out."""
    placed: list[_Placed] = []
    seen: set[object] = set()
    for entry, stem in zip(task.entries, task.crop_stems or [""] * len(task.entries), strict=True):
        box = None
        try:
            if entry.box is not None:
                counts_stored = options.boxes_count_stored_pixels
                box = place_box(entry.box, size, orientation, counts_stored_pixels=counts_stored)
                if (entry.label, box.box) in seen:
                    raise BoxError("the same box with the same label stands already")
                seen.add((entry.label, box.box))
                outcome.num_clipped += box.is_clipped
                outcome.num_assumed_upright += box.is_assumed_upright
        except BoxError as error:
            outcome.left_out.append(LeftOut(entry.path, entry.place, entry.label, str(error)))
        else:
            placed.append((entry, box, stem))
    return placed


def _write_crops(
    task: PictureTask,
    image: Image.Image,
    placed: Sequence[_Placed],
    folder: Path,
    root: Path,
    provenance: Provenance,
    options: ImportOptions,
    outcome: PictureOutcome,
) -> None:
    ending = crop_ending(Path(task.path))
    for entry, box, stem in placed:
        assert box is not None  # only pictures whose entries all have boxes are cropped
        name = stem + ending
        crop = cut_out(image, box.box, options.margin)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_crop(crop.image, folder / name, provenance)
        row = _row(entry, task, root, provenance, options)
        row |= _measured(folder, name, crop.image.size)
        changes = crop.changes(options.margin, ending)
        row["changes"] = f"{row['changes']}; {changes}" if row.get("changes") else changes
        row["box"] = box_text(crop.box)
        outcome.rows.append(row)


def _measured(folder: Path, name: str, size: tuple[int, int]) -> Row:
    return {"file_name": name, "sha256": sha256_of_file(folder / name), "width": size[0], "height": size[1]}


def _row(entry: Entry, task: PictureTask, root: Path, provenance: Provenance, options: ImportOptions) -> Row:
    """What is known of a picture: the source's word first, then the file's, then what the user said of all."""
    embedded = {
        "author": provenance.author,
        "licence": provenance.licence,
        "licence_url": provenance.licence_url,
        "source_url": provenance.source_url,
        "title": provenance.title,
        "date": provenance.date,
    }
    if "licence" in entry.values or not provenance.licence:
        embedded["licence_url"] = ""  # the address of another licence, or of none
    row: Row = {**options.stated, **{column: text for column, text in embedded.items() if text}, **entry.values}
    row["label"] = entry.label
    if licence := row.get("licence"):
        row["licence"] = tidy_licence(str(licence))
    if not row.get("group"):
        row["group"] = _group(task, root, options)
    return row


def tidy_licence(text: str) -> str:
    """The SPDX id of a licence in another spelling; the text itself if it is none that is known."""
    return text if _SPDX_OPERATOR.search(text) else stated_licence([text]) or text


def versions_hint(text: str) -> str:
    """What to say of the name of a licence that lacks its version, such as `cc by`; empty for any other text."""
    if stated_licence([text]) or not (whole := stated_licence([f"{text} 4.0"])):
        return ""
    return f"the version is missing; such as '{whole}'"


def _group(task: PictureTask, root: Path, options: ImportOptions) -> str | None:
    """The group by folder or name; else crops of one picture are one, as they show one scene."""
    path = Path(task.path)
    # Of a picture outside of the source no path goes along: it tells of this machine.
    inside = path.relative_to(root) if path.is_relative_to(root) else None
    if options.group_by_folder:
        return _as_text(path.parent.name if inside is None else str(inside.parent))
    if options.group_by_name is not None and (found := options.group_by_name.search(path.name)):
        return _as_text(found[1] if found.re.groups else found[0])
    if len(task.crop_stems) < 2:
        return None
    return task.crop_stems[0] if inside is None else _as_text(str(inside))


def _as_text(name: str) -> str:
    """A name of a file as UTF-8; bytes that are none are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _bring(source: Path, target: Path, *, link: bool) -> None:
    """Copy or link a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(source.resolve(), target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)
