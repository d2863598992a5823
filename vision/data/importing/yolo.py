"""Boxes of YOLO: per picture a text file with lines `class x y width height`, centre and size as shares of the sides.

`data.yaml` names the classes and the folders of the splits; without it, `images/` and `labels/` lie side by side and
`classes.txt` may name the classes. A line with more numbers is a polygon (segments, turned boxes): its bounds count.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision.data.importing.source import (
    SPLIT_NAMES,
    Entry,
    ImportSource,
    SourceBox,
    SourceFormat,
    find_pictures,
)
from vision.errors import InputPathError
from vision.settings_file import SettingsFile

SLACK = 1e-3
"""How far a share may pass 0 or 1 by rounding."""


@dataclass(frozen=True)
class _Layout:
    """Where the pictures of a YOLO data set lie.

    Attributes:
        pictures: Files or folders of pictures, or lists of them, with the split they belong to.
        names: Class name by index; None if nothing names the classes, and indices are the labels.
    """

    pictures: tuple[tuple[str, Path], ...]
    names: Mapping[int, str] | None


def read_yolo(path: Path) -> ImportSource:
    """One entry per box of a YOLO data set.

    Args:
        path: Its `data.yaml`, or the folder with it, or the folder with `images/` and `labels/`.

    Raises:
        InputPathError: The file or a folder that it names is not there, or it names no classes.
    """
    settings_path = path if path.is_file() else find_data_yaml(path)
    root = path if path.is_dir() else path.parent
    layout = _layout_of_file(settings_path) if settings_path else _layout_of_folder(root)
    source = ImportSource(SourceFormat.YOLO, root)
    seen: set[Path] = set()
    for split, place in layout.pictures:
        values = {"split": split} if split else {}
        for picture in _pictures_in(place):
            if picture not in seen:
                seen.add(picture)
                _add_picture(source, picture, _label_path(picture), layout.names, values)
    return source


def find_data_yaml(root: Path) -> Path | None:
    """The YAML file in a folder that has the keys `names` and `train` or `val`."""
    found = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in (".yaml", ".yml") and path.is_file() and _is_data_yaml(path)
    ]
    return found[0] if found else None


def has_yolo_folders(root: Path) -> bool:
    """Whether `images/` and `labels/` lie side by side in a folder."""
    return (root / "images").is_dir() and (root / "labels").is_dir()


def _is_data_yaml(path: Path) -> bool:
    try:
        content = SettingsFile(path, InputPathError).content
    except InputPathError:
        return False
    return isinstance(content, dict) and "names" in content and bool({"train", "val", "test"} & content.keys())


def _layout_of_file(path: Path) -> _Layout:
    settings = SettingsFile(path, InputPathError)
    content = settings.content
    if not isinstance(content, dict) or "names" not in content:
        raise InputPathError(f"{path}: no data.yaml of YOLO, it has no key 'names'; choose another --format")
    base = path.parent / str(content.get("path") or "")
    pictures = []
    for key, value in content.items():
        if str(key) in SPLIT_NAMES and value:
            listed = value if isinstance(value, list) else [value]
            pictures += [(SPLIT_NAMES[str(key)], _place(settings, str(key), str(name), base)) for name in listed]
    if not pictures:
        raise InputPathError(f"{path}: names no pictures; give folders under 'train', 'val' or 'test'")
    return _Layout(tuple(pictures), _class_names(settings, content["names"]))


def _place(settings: SettingsFile, key: str, name: str, base: Path) -> Path:
    """The file or folder that is meant; exports often say `../train/images` for `train/images` beside the file."""
    folder = settings.path.parent
    plain = name.replace("\\", "/")
    inner = plain.removeprefix("./")
    while inner.startswith("../"):
        inner = inner[3:]
    candidates = (base / plain, folder / plain, folder / inner)
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        looked_at = ", ".join(dict.fromkeys(os.path.normpath(path) for path in candidates))
        raise InputPathError(
            f"{settings.place((key,))}: {key}: '{name}' is not there (looked at {looked_at}); correct the path"
        )
    return found


def _class_names(settings: SettingsFile, names: Any) -> dict[int, str]:
    if isinstance(names, list):
        return dict(enumerate(map(str, names)))
    try:
        return {int(index): str(name) for index, name in names.items()}
    except (AttributeError, ValueError, TypeError):
        raise InputPathError(
            f"{settings.place(('names',))}: names: neither a list of names nor names by number; correct it"
        ) from None


def _layout_of_folder(root: Path) -> _Layout:
    if not has_yolo_folders(root):
        raise InputPathError(f"{root}: no data.yaml, and not both of images/ and labels/; choose another --format")
    lists = [path for name in ("classes.txt", "labels/classes.txt", "obj.names") if (path := root / name).is_file()]
    names = dict(enumerate(lists[0].read_text("utf-8-sig", "replace").split("\n"))) if lists else None
    named = {index: name.strip() for index, name in names.items() if name.strip()} if names else None
    folders = [path for path in sorted((root / "images").iterdir()) if path.is_dir()]
    splits = {path: SPLIT_NAMES[path.name.lower()] for path in folders if path.name.lower() in SPLIT_NAMES}
    places = [(split, path) for path, split in splits.items()]
    return _Layout((*places, ("", root / "images")), named)


def _pictures_in(place: Path) -> Iterator[Path]:
    """The pictures in a folder, or those that a list in a file names, relative to the list."""
    if place.is_dir():
        yield from find_pictures(place)
        return
    for line in place.read_text("utf-8-sig", "replace").splitlines():
        if line.strip():
            yield place.parent / line.strip().replace("\\", "/")


def _label_path(picture: Path) -> Path:
    """Where a picture's boxes stand: `labels` for the last `images` in its path, `.txt` for its ending."""
    parts = list(picture.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _add_picture(
    source: ImportSource, picture: Path, labels: Path, names: Mapping[int, str] | None, values: dict[str, str]
) -> None:
    try:
        lines = labels.read_text("utf-8-sig", "replace").splitlines()
    except FileNotFoundError:
        source.leave_out(picture, str(labels), "there is no such file of labels: a background picture", is_fault=False)
        return
    except OSError as error:
        source.leave_out(picture, str(labels), f"cannot be read ({error.strerror})")
        return
    filled = [(f"{labels}:{number}", line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        source.leave_out(picture, str(labels), "the file of labels is empty: a background picture", is_fault=False)
    for place, parts in filled:
        try:
            label = _label(parts[0], names)
            box = _box(parts[1:])
        except ValueError as error:
            source.leave_out(picture, place, str(error))
        else:
            source.entries.append(Entry(str(picture), label, place, values, box))


def _label(text: str, names: Mapping[int, str] | None) -> str:
    """The name of a class.

    Raises:
        ValueError: It is no index, or there is no such class.
    """
    try:
        number = float(text)
        index = int(number)
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is no number of a class") from None
    if index != number or index < 0 or (names is not None and index not in names):
        known = f", which are {min(names)} to {max(names)}" if names else ""
        raise ValueError(f"'{text}' is no number of a class{known}")
    return str(index) if names is None else names[index]


def _box(parts: list[str]) -> SourceBox:
    """The box of a line without its class.

    Raises:
        ValueError: The numbers are too few or too many, or no shares.
    """
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"'{' '.join(parts)[:80]}' are not all numbers") from None
    if len(numbers) != 4 and (len(numbers) < 6 or len(numbers) % 2):
        raise ValueError(f"has {len(numbers)} values after the class, not x y width height, and not a polygon's")
    if not all(math.isfinite(number) and -SLACK <= number <= 1 + SLACK for number in numbers):
        raise ValueError(f"'{' '.join(parts)[:80]}' are not all shares between 0 and 1; are they px?")
    if len(numbers) == 4:
        x, y, width, height = numbers
        return SourceBox(x - width / 2, y - height / 2, width, height, is_share=True)
    xs, ys = numbers[::2], numbers[1::2]
    return SourceBox(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys), is_share=True)
