"""What the page shows of each picture, in files of 1,000 pictures that a browser loads when a cell is opened.

They are scripts, since a page that is opened from disk may load nothing else.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.evaluate.report.review_data import Review
from vision.evaluate.report.thumbnails import Thumbnails
from vision.evaluate.slices import SliceFigures
from vision.files import write_whole_text

ROWS_DIR, SLICES_FILE = "rows", "slices.js"
CHUNK_ROWS = 1000
NUM_TOP = 5

_TEXTS = ("title", "author", "licence", "source_url")
_NEAREST = ("file_name", "class_id", "similarity", "attribution")


@dataclass(frozen=True)
class Overlay:
    """An evidence map, to be laid over a picture.

    Attributes:
        path: A picture, transparent where nothing speaks.
        answered: Class that orange places speak for; empty if that was not recorded.
        against: Class that blue places speak for; likewise.
    """

    path: Path
    answered: str = ""
    against: str = ""


def script_json(value: object) -> str:
    """JSON that is the same in a script, whatever texts it holds: nothing in it ends the script or a line."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for character, escape in escapes.items():
        text = text.replace(character, escape)
    # Halves of surrogate pairs cannot be written as UTF-8.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_rows(
    review: Review,
    table: pl.DataFrame,
    report_dir: Path,
    *,
    build: str,
    thumbnails: Thumbnails,
    overlays: Mapping[str, Overlay] | None = None,
) -> int:
    """Write `rows/000.js` and so on; how many there are. Those of an earlier page are removed.

    Args:
        review: The pictures.
        table: The prediction rows that it was made of.
        report_dir: Folder of the page.
        build: Mark of the page, which refuses rows of another one.
        thumbnails: Which pictures have one.
        overlays: Evidence map by file name.
    """
    for stale in (report_dir / ROWS_DIR).glob("*.js"):
        stale.unlink()
    columns = _shown_columns(table)[review.positions]
    addressed = {name: (page_address(each.path, report_dir), each) for name, each in (overlays or {}).items()}
    num_chunks = 0
    for start, chunk in _chunks(columns):
        content = _chunk(chunk, start, review, thumbnails) | _overlay_columns(chunk["file_name"].to_list(), addressed)
        text = f"visionReviewRows({script_json(build)},{num_chunks},{script_json(content)});\n"
        write_whole_text(report_dir / ROWS_DIR / f"{num_chunks:03}.js", text)
        num_chunks += 1
    return num_chunks


def _chunks(columns: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    for start in range(0, len(columns), CHUNK_ROWS):
        yield start, columns[start : start + CHUNK_ROWS]


def _shown_columns(table: pl.DataFrame) -> pl.DataFrame:
    """What is shown, lists cut to what is shown of them; columns that are not there are empty."""

    def field(column: str, name: str, num: int) -> pl.Expr:
        return pl.col(column).list.head(num).list.eval(pl.element().struct.field(name)).alias(f"{column}_{name}")

    there = set(table.columns)
    shown = [field("top", "class_id", NUM_TOP), field("top", "probability", NUM_TOP)]
    shown += [pl.col(name) for name in ("file_name", "error", "reason", "label_set", "cues") if name in there]
    shown += [pl.col(name).cast(pl.String) for name in _TEXTS if name in there]
    if "nearest" in there:
        shown += [field("nearest", name, NUM_TOP) for name in _NEAREST]
    return table.select(shown)


def write_slices(
    review: Review, slices: Sequence[SliceFigures], codes: Sequence[NDArray[np.int64]], report_dir: Path, *, build: str
) -> None:
    """Write `slices.js`: which part of each slice a picture is of. Slices whose counts the codes do not give have none.

    Args:
        review: The pictures.
        slices: As the page shows them.
        codes: (N,) position of each picture's value by slice, in the table's order.
        report_dir: Folder of the page.
        build: Mark of the page.
    """
    (report_dir / SLICES_FILE).unlink(missing_ok=True)
    if not slices:
        return
    content = [
        [
            each.name,
            [value.name for value in each.values],
            _part_numbers(of_pictures[review.positions]) if is_slice_of(each, of_pictures) else None,
        ]
        for each, of_pictures in zip(slices, codes, strict=True)
    ]
    text = f"visionReviewSlices({script_json(build)},{script_json(content)});\n"
    write_whole_text(report_dir / SLICES_FILE, text)


def is_slice_of(figures: SliceFigures, codes: NDArray[np.int64]) -> bool:
    """Whether figures, which an older release may have written, are of these parts."""
    counts = np.bincount(codes[codes >= 0], minlength=len(figures.values)).tolist()
    return bool(figures.values) and counts == [value.num_images for value in figures.values]


def _part_numbers(codes: NDArray[np.int64]) -> str:
    """One byte a picture, 255 for none, as base64."""
    return base64.b64encode(np.where(codes < 0, 255, codes).astype(np.uint8).tobytes()).decode("ascii")


def page_address(path: Path, report_dir: Path) -> str:
    """A file as the page names it: relative, so that both can move together."""
    try:
        return quote(Path(os.path.relpath(path, report_dir)).as_posix())
    except ValueError:  # another drive, where there are drives
        return path.resolve().as_uri()


def _overlay_columns(names: Sequence[str], addressed: Mapping[str, tuple[str, Overlay]]) -> dict[str, list[list[str]]]:
    """Maps of some pictures: address, class of orange, class of blue; nothing without one."""
    found = [addressed.get(name) for name in names]
    return {"overlay": [[] if each is None else [each[0], each[1].answered, each[1].against] for each in found]}


def _chunk(columns: pl.DataFrame, start: int, review: Review, thumbnails: Thumbnails) -> dict[str, Any]:
    """Some pictures, a list a column; all texts but file names are numbers of `texts`, and -1 is none."""
    num, places = len(columns), dict[str, int]()
    place, values = places.setdefault, columns.to_dict(as_series=False)

    def texts(column: Sequence[str | None]) -> list[int]:
        return [place(text, len(places)) if text else -1 for text in column]

    def lists(name: str) -> list[list[int]]:
        return [texts(row) if row else [] for row in values.get(name) or [None] * num]

    def rounded(name: str, digits: int) -> list[list[float]]:
        return [[round(value, digits) for value in row or ()] for row in values.get(name) or [None] * num]

    names: list[str] = values["file_name"]
    content = {
        "file_name": names,
        "top": lists("top_class_id"),
        "top_probability": rounded("top_probability", 4),
        "truth_probability": review.truth_probability[start : start + num].round(4).tolist(),
        "label_set": lists("label_set"),
        "cues": lists("cues"),
        "nearest": lists("nearest_file_name"),
        "nearest_class": lists("nearest_class_id"),
        "nearest_attribution": lists("nearest_attribution"),
        "similarity": rounded("nearest_similarity", 3),
        **{name: texts(values.get(name) or [None] * num) for name in ("error", "reason", *_TEXTS)},
        "has_thumbnail": [int(start + row in thumbnails.made) for row in range(num)],
        "fault": texts([thumbnails.faults.get(start + row) for row in range(num)]),
    }
    return content | {"texts": list(places)}
