"""What a data set of any format says before its pictures are opened: the types between reading and importing.

A reader (`folders`, `tables`, `coco`, `yolo`) turns a source into an `ImportSource`; what is done with it (`importing`)
does not depend on which format it was. Labels are the source's own until `labels` has mapped them.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from vision.data.images import IMAGE_ENDINGS

SPLIT_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "calibration"), "calibration"),
    **dict.fromkeys(("test", "testing"), "test"),
    "novel": "novel",
}
"""What other data sets call their splits. Validation pictures become calibration pictures: they may set a model's
temperature and thresholds, and neither its weights nor the figure that is reported."""


_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


class SourceFormat(StrEnum):
    """How a data set is laid out."""

    FOLDERS = "folders"
    CSV = "csv"
    HUGGINGFACE = "huggingface"
    COCO = "coco"
    YOLO = "yolo"


@dataclass(frozen=True, slots=True)
class SourceBox:
    """A box as its source states it.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: Of the box.
        height: Of the box.
        is_share: Whether the four are shares of the picture's width and height instead of px.
        picture_size: Width and height in px of the picture that the box was drawn in, if the source states them.
    """

    x: float
    y: float
    width: float
    height: float
    is_share: bool = False
    picture_size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture with its label, or one of a picture's boxes.

    Attributes:
        path: The picture's file.
        label: In the words of the source.
        place: Where the source says so: file and line, or file and id.
        values: Cells of the manifest that the source states, by column.
        box: The part of the picture that the label is about; None for all of it.
    """

    path: str
    label: str
    place: str
    values: Mapping[str, str]
    box: SourceBox | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A picture or box that is not imported.

    Attributes:
        picture: The picture's file, as far as known.
        place: Where the source mentions it.
        label: In the words of the source, empty if it has none.
        reason: Why.
        is_fault: Whether something is broken or missing, and not just out of scope.
    """

    picture: str
    place: str
    label: str
    reason: str
    is_fault: bool = True


@dataclass
class ImportSource:
    """All that a data set's own files say.

    Attributes:
        format: How it is laid out.
        root: Folder that the names of pictures are kept relative to.
        entries: What could be read, in the order of the source.
        left_out: What could not.
        notes: What a person should know of how it was read, one sentence each.
    """

    format: SourceFormat
    root: Path
    entries: list[Entry] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave_out(
        self, picture: str | Path, place: str, reason: str, *, label: str = "", is_fault: bool = True
    ) -> None:
        """Note a picture or box that cannot be imported."""
        self.left_out.append(LeftOut(str(picture), place, label, reason, is_fault))


def find_pictures(folder: Path) -> Iterator[Path]:
    """Every file beneath a folder whose ending is a picture's, sorted; hidden files and folders are passed by."""
    for path in find_files(folder):
        if path.suffix.lower() in IMAGE_ENDINGS:
            yield path


def find_files(folder: Path) -> Iterator[Path]:
    """Every file beneath a folder, sorted; hidden ones, and what archives of macOS leave, are passed by."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)


def find_named_picture(name: str, folders: tuple[Path, ...]) -> Path:
    """The file that a source means by a name: as written, with Windows' separators, or in another Unicode form.

    Returns:
        The first of these that exists; else the name as written in the first folder.
    """
    as_written = folders[0] / name
    if _exists(as_written):
        return as_written
    spellings = dict.fromkeys(
        spelling
        for text in (name, name.replace("\\", "/"))
        for spelling in ((text,) if text.isascii() else (text, *(unicodedata.normalize(form, text) for form in _FORMS)))
    )
    candidates = (folder / spelling for folder in folders for spelling in spellings)
    return next((path for path in candidates if _exists(path)), as_written)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False
