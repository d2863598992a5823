"""Boxes of COCO: one JSON file, or several (one per split), with `images`, `annotations` and `categories`."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vision.data.fetching.found_licences import UNKNOWN, found_licence
from vision.data.importing.embedded_provenance import short_date
from vision.data.importing.embedded_statements import clean_text
from vision.data.importing.source import (
    SPLIT_NAMES,
    Entry,
    ImportSource,
    SourceBox,
    SourceFormat,
    find_files,
    find_named_picture,
)
from vision.errors import InputPathError

_COCO_MARKS = (b'"images"', b'"annotations"', b'"categories"')
_LOOKED_AT_BYTES = 1_000_000


def read_coco(path: Path) -> ImportSource:
    """One entry per annotated box of a COCO file, or of all COCO files beneath a folder.

    Raises:
        InputPathError: A file is not COCO's JSON.
    """
    root = path if path.is_dir() else path.parent
    source = ImportSource(SourceFormat.COCO, root)
    for file in find_coco_files(path) if path.is_dir() else [path]:
        _add_file(source, file)
    return source


def find_coco_files(root: Path) -> list[Path]:
    """JSON files beneath a folder that have COCO's three lists, as far as their beginning or end shows."""
    return [path for path in find_files(root) if path.suffix.lower() == ".json" and _looks_like_coco(path)]


def _looks_like_coco(path: Path) -> bool:
    with path.open("rb") as stream:
        seen = stream.read(_LOOKED_AT_BYTES)
        stream.seek(max(stream.tell(), path.stat().st_size - _LOOKED_AT_BYTES))
        seen += stream.read()
    return sum(mark in seen for mark in _COCO_MARKS) >= 2


def _add_file(source: ImportSource, path: Path) -> None:
    content = _content(path)
    split = _split_of_name(path, source.root)
    values = {"split": split} if split else {}
    folders = _picture_folders(path, source.root)
    categories = {c["id"]: str(c.get("name", c["id"])) for c in content["categories"] if _has_id(c)}
    pictures = _pictures_by_id(source, path, content["images"])
    licences = _licences(content.get("licenses"))
    annotations = defaultdict(list)
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation = annotation if isinstance(annotation, dict) else {}
        place = f"{path}: annotation {annotation.get('id', f'number {number}')}"
        image_id = annotation.get("image_id")
        if isinstance(image_id, int | str) and image_id in pictures:
            annotations[image_id].append((place, annotation))
        else:
            source.leave_out("", place, f"there is no single picture with the id {image_id!r}")
    for image_id, image in pictures.items():
        picture = find_named_picture(str(image["file_name"]), folders)
        if not annotations[image_id]:
            place = f"{path}: image {image_id}"
            source.leave_out(picture, place, "has no box: a background picture", is_fault=False)
        told = {**values, **_provenance(image, licences)}
        for place, annotation in annotations[image_id]:
            _add_annotation(source, picture, _size(image), place, annotation, categories, told)
    if unlisted := sum(image.get("license") not in (None, 0, *licences) for image in pictures.values()):
        source.notes.append(f"{path}: {unlisted} pictures name a licence that the file's `licenses` do not list")


def _add_annotation(
    source: ImportSource,
    picture: Path,
    size: tuple[int, int] | None,
    place: str,
    annotation: dict[str, Any],
    categories: dict[int | str, str],
    values: dict[str, str],
) -> None:
    category = annotation.get("category_id")
    label = categories.get(category, "") if isinstance(category, int | str) else ""
    if not label:
        source.leave_out(picture, place, f"there is no category with the id {category!r}")
    elif annotation.get("iscrowd"):
        source.leave_out(picture, place, "a crowd, not one vehicle", label=label, is_fault=False)
    elif (numbers := _four_numbers(annotation.get("bbox"))) is None:
        shown = repr(annotation.get("bbox"))[:80]
        source.leave_out(picture, place, f"bbox {shown} is not four finite numbers", label=label)
    else:
        source.entries.append(Entry(str(picture), label, place, values, SourceBox(*numbers, picture_size=size)))


def _licences(listed: Any) -> dict[int | str, dict[str, str]]:
    """The cells of a manifest that each of COCO's `licenses` fills, by id."""
    entries = [entry for entry in listed if _has_id(entry)] if isinstance(listed, list) else []
    return {entry["id"]: _licence_cells(_text(entry, "name"), _text(entry, "url")) for entry in entries}


def _licence_cells(name: str, url: str) -> dict[str, str]:
    licence = found_licence(url, [name])
    if licence == UNKNOWN:  # as stated, so that no other licence is taken for it, and `vision data check` refuses it
        licence = f"{name} ({url})" if name and url else name or url
    return {column: text for column, text in (("licence", licence), ("licence_url", url)) if text}


def _provenance(image: dict[str, Any], licences: Mapping[int | str, Mapping[str, str]]) -> dict[str, str]:
    """Licence, source and date of one of COCO's `images`."""
    number = image.get("license")
    stated = {
        "source_url": _text(image, "flickr_url") or _text(image, "coco_url"),
        "date": short_date(_text(image, "date_captured")),
    }
    licence = licences.get(number, {}) if isinstance(number, int | str) else {}
    return {**licence, **{column: text for column, text in stated.items() if text}}


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    return clean_text(value) if isinstance(value, str) else ""


def _content(path: Path) -> dict[str, Any]:
    """The file's content, with three lists.

    Raises:
        InputPathError: It is no JSON, or has not these lists.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputPathError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputPathError(f"{path}: not JSON ({str(error)[:200]}); export it again") from error
    wanted = ("images", "annotations", "categories")
    lacking = [name for name in wanted if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if lacking:
        raise InputPathError(f"{path}: no COCO file, it has no list '{lacking[0]}'; choose another --format")
    return dict(content)


def _pictures_by_id(source: ImportSource, path: Path, images: list[Any]) -> dict[int | str, dict[str, Any]]:
    """The pictures whose id is theirs alone; the others are left out, as nothing tells whose a box is."""
    usable = []
    for number, image in enumerate(images, start=1):
        if _has_id(image) and isinstance(image.get("file_name"), str) and image["file_name"]:
            usable.append(image)
        else:
            source.leave_out("", f"{path}: image number {number}", "has no id or no file_name")
    by_id = {image["id"]: image for image in usable}
    repeated = {image_id for image_id, count in Counter(_ids_with_names(usable)).items() if count > 1}
    for image in usable:
        if image["id"] in repeated:
            place = f"{path}: image {image['id']}"
            source.leave_out(image["file_name"], place, f"its id {image['id']} is that of another picture too")
    return {image_id: image for image_id, image in by_id.items() if image_id not in repeated}


def _ids_with_names(images: list[dict[str, Any]]) -> Iterator[int | str]:
    """Each id as often as different files have it: the same picture listed twice does no harm."""
    for image_id, _ in {(image["id"], image["file_name"]) for image in images}:
        yield image_id


def _has_id(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("id"), int | str)


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) and width > 0 < height else None


def _four_numbers(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in value):
        return None
    return value[0], value[1], value[2], value[3]


def _split_of_name(path: Path, root: Path) -> str:
    """The split that a file's name or the folder above it says, as in `instances_train2017.json` or `valid/x.json`."""
    words = [*path.relative_to(root).parts[:-1], *re.split(r"[^a-z]+", path.stem.lower())]
    return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), "")


def _picture_folders(path: Path, root: Path) -> tuple[Path, ...]:
    """Where pictures may lie: beside the file, in `images` there or above, in a folder of the file's last word."""
    word = re.split(r"[^A-Za-z0-9]+", path.stem)[-1]
    parents = [path.parent, path.parent.parent] if path.parent != root else [path.parent]
    return tuple(
        folder
        for parent in parents
        for folder in (parent, parent / "images", parent / "data", parent / word, parent / "images" / word)
    )
