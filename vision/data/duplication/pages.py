"""What `find_pairs` found, as a table and as a page with the pictures side by side."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from vision.data.duplication.duplicates import Duplicates
from vision.data.duplication.pairs import PairKind
from vision.data.thumbnails import thumbnail_jpeg
from vision.errors import ImageError, OutputError
from vision.files import whole_file, write_whole_text
from vision.pages import PAGE_FILE, check_may_write_page, page_environment

MAX_PAIRS = 500
"""Pairs that the page shows; the table has them all."""

PAIR_ENDINGS = (".csv", ".json")

GENERATOR = "vision data duplicates"
"""Stands in the head of a page."""

KIND_TEXTS = {
    PairKind.BYTES: "the files are equal, byte for byte",
    PairKind.COPY: "one picture, also where it was cropped, mirrored, made smaller, compressed, marked or recoloured",
    PairKind.SIMILAR: "much of the detail fits, but not all: second shots, or look-alikes from one side; please look",
    PairKind.ALIKE: "only the network finds them alike; please look",
}

_SIDE = ("file_name", "label", "split", "group")
_MEASURES = ("agreement", "middle_agreement", "correlation", "phash_bits", "embedding_similarity")


def check_pairs_path(path: Path) -> None:
    """Make sure that pairs can be written to a path.

    Raises:
        OutputError: Its ending is none of `PAIR_ENDINGS`.
    """
    if path.suffix.lower() not in PAIR_ENDINGS:
        raise OutputError(f"{path}: pairs are written to {' or '.join(PAIR_ENDINGS)}, not to '{path.suffix}'")


def summary_of(found: Duplicates) -> dict[str, int]:
    """Counts for people and for programs."""
    return {
        "rows": len(found.manifest.table),
        "not_readable": len(found.seen.faults),
        **{f"pairs_{kind.value}": found.num_pairs(kind) for kind in PairKind},
        "clusters": found.num_clusters,
        "rows_in_clusters": found.num_in_clusters,
        "clusters_in_several_splits": found.num_leaks,
        "clusters_with_several_labels": found.num_contradictions,
    }


def save_pairs(found: Duplicates, path: Path) -> None:
    """Write all pairs, whole or not at all; JSON has the summary too.

    Raises:
        OutputError: The ending is wrong, or the place cannot be written to.
    """
    check_pairs_path(path)
    table = _as_listed(found)
    if path.suffix.lower() == ".csv":
        with whole_file(path) as temporary:
            table.write_csv(temporary)
    else:
        content = {"summary": summary_of(found), "pairs": table.to_dicts()}
        write_whole_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _as_listed(found: Duplicates) -> pl.DataFrame:
    """The pairs' columns in the order in which people read them."""
    first = [
        "file_name",
        "other_file_name",
        "kind",
        "is_leak",
        "is_contradiction",
        "is_mirrored",
        "degrees_turned",
        *_MEASURES,
    ]
    sides = [f"{side}{name}" for name in _SIDE[1:] for side in ("", "other_")]
    return found.pairs.select(*first, *sides, "cluster").with_columns(pl.selectors.float().round(4))


@dataclass(frozen=True)
class _Picture:
    """One side of a pair on the page."""

    file_name: str
    label: str
    split: str
    group: str
    thumbnail: str  # path beside the page, empty if it could not be made


@dataclass(frozen=True)
class _Pair:
    """A pair on the page."""

    kind: str
    is_leak: bool
    is_contradiction: bool
    is_mirrored: bool
    degrees_turned: int
    measures: dict[str, float | int | None]
    pictures: tuple[_Picture, _Picture]


def write_duplicate_page(found: Duplicates, folder: Path) -> Path:
    """Write `index.html` and its thumbnails into a folder; return the page's path.

    Raises:
        OutputError: The folder has a page of another origin, or cannot be made or written to.
    """
    check_may_write_page(folder, GENERATOR)
    rows = found.pairs.head(MAX_PAIRS).to_dicts()
    thumbnails = _write_thumbnails(found, {row[end] for row in rows for end in ("row", "other")}, folder)
    page = folder / PAGE_FILE
    template = page_environment("vision.data", number=_number).get_template("duplicates.html.j2")
    text = template.render(
        generator=GENERATOR,
        title=found.manifest.folder.resolve().name,
        manifest_path=str(found.manifest.path),
        summary=summary_of(found),
        weakest=found.weakest.value,
        kinds={kind.value: text for kind, text in KIND_TEXTS.items()},
        pairs=[_pair(row, thumbnails) for row in rows],
        num_pairs=len(found.pairs),
        faults=[(found.manifest.place(row), fault) for row, fault in sorted(found.seen.faults.items())[:MAX_PAIRS]],
    )
    write_whole_text(page, text)
    return page


def _pair(row: dict[str, Any], thumbnails: dict[int, str]) -> _Pair:
    def side(prefix: str, end: str) -> _Picture:
        values = {name: row[f"{prefix}{name}"] or "" for name in _SIDE}
        return _Picture(**values, thumbnail=thumbnails[row[end]])

    return _Pair(
        kind=row["kind"],
        is_leak=row["is_leak"],
        is_contradiction=row["is_contradiction"],
        is_mirrored=row["is_mirrored"],
        degrees_turned=row["degrees_turned"],
        measures={name: row[name] for name in _MEASURES},
        pictures=(side("", "row"), side("other_", "other")),
    )


def _write_thumbnails(found: Duplicates, rows: set[int], folder: Path) -> dict[int, str]:
    """From row to the path of its thumbnail, relative to the page; one file for equal pictures."""
    names = {row: f"thumbnails/{found.seen.digests[row][:24]}.jpg" for row in sorted(rows)}
    first_rows = {name: row for row, name in reversed(names.items())}

    def write(name: str) -> str:
        try:
            small = thumbnail_jpeg(found.manifest.image_path(found.manifest.file_names[first_rows[name]]))
        except ImageError:  # gone since it was read
            return ""
        with whole_file(folder / name) as temporary:
            temporary.write_bytes(small)
        return name

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        written = dict(zip(first_rows, pool.map(write, first_rows), strict=True))
    return {row: written[name] for row, name in names.items()}


def _number(value: float | int | None) -> str:
    """Two decimals, a whole number as such."""
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"
