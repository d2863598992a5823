"""Some pictures of every class side by side: what is in a data set, seen at a glance.

Which pictures are shown depends on the manifest, the number and the seed alone. They are taken in turn from each
author, and of one author in turn from each group, so that a prolific photographer does not fill the sheet. Whoever made
a picture, and under which licence, stands below it: most licences ask for that wherever it is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from vision.data.check import LEADS_OUTSIDE
from vision.data.manifest import Manifest
from vision.data.thumbnails import thumbnail_jpeg
from vision.errors import ImageError
from vision.files import is_inside

MAX_CANDIDATES = 5_000
"""Of a class with more pictures, so many are drawn before turns are made: enough to find every author who matters."""


@dataclass(frozen=True)
class ShownPicture:
    """A picture that was chosen for a sheet, with what stands below it; None where the manifest is silent.

    Attributes:
        file_name: Relative to the manifest's folder; None is a row without one.
        label: Its class.
        split: Its split.
        title: Title of the work.
        author: Author of the work.
        licence: SPDX id or expression.
        licence_url: Address of the licence's text, as the manifest has it: not checked.
        source_url: Page that it comes from, as the manifest has it: not checked.
        changes: What was changed since.
    """

    file_name: str | None
    label: str | None
    split: str | None
    title: str | None
    author: str | None
    licence: str | None
    licence_url: str | None
    source_url: str | None
    changes: str | None


@dataclass(frozen=True)
class Tile:
    """A picture made small, or why that is impossible.

    Attributes:
        picture: What it is.
        jpeg: Bytes of a JPEG at most `thumbnails.THUMBNAIL_PX` wide and high; empty if there is a fault.
        fault: Why there is none; empty if there is.
    """

    picture: ShownPicture
    jpeg: bytes
    fault: str


def choose_pictures(
    manifest: Manifest, *, per_class: int, seed: int = 0, labels: Sequence[str | None] | None = None
) -> dict[str | None, list[ShownPicture]]:
    """Pictures of every label, spread over authors and groups.

    Args:
        manifest: The rows.
        per_class: Most pictures of a label.
        seed: Decides between pictures that may equally well be shown.
        labels: Which labels, in which order; None is all: by name, last the pictures without one.
    """
    table = manifest.table.select("label", "author", "group").with_columns(
        row=pl.int_range(pl.len()), draw=pl.Series(np.random.default_rng(seed).random(len(manifest.table)))
    )
    if labels is not None:
        table = table.filter(pl.col("label").is_in(list(labels), nulls_equal=True))
    turns = _in_turn(_candidates(table)).group_by("label", maintain_order=True).head(per_class)
    names = [field for field in ShownPicture.__dataclass_fields__ if field != "label"]
    rows = manifest.table[turns["row"]].select("label", *names)
    order = list(labels) if labels is not None else [*sorted(turns["label"].unique().drop_nulls()), None]
    chosen: dict[str | None, list[ShownPicture]] = {}
    for values in rows.iter_rows(named=True):
        chosen.setdefault(values["label"], []).append(ShownPicture(**values))
    return {label: chosen[label] for label in order if label in chosen}


def _candidates(table: pl.DataFrame) -> pl.DataFrame:
    """At most `MAX_CANDIDATES` rows of every label, drawn by chance."""
    if len(table) <= MAX_CANDIDATES:
        return table
    drawn = table.lazy().group_by("label").agg(pl.col("row").bottom_k_by("draw", MAX_CANDIDATES)).collect()
    return table[drawn["row"].explode().sort()]


def _in_turn(table: pl.DataFrame) -> pl.DataFrame:
    """Rows in the order in which they are shown: the first of every author, then the second of every author."""
    # A picture without a group stands alone, so it never waits for another one of its group.
    in_group = (
        pl.when(pl.col("group").is_null())
        .then(0)
        .otherwise(pl.col("draw").rank("ordinal").over("label", "author", "group"))
    )
    return (
        table.with_columns(turn_of_group=in_group)
        .sort("label", "author", "turn_of_group", "draw", nulls_last=True)
        .with_columns(turn_of_author=pl.int_range(pl.len()).over("label", "author"))
        .sort("label", "turn_of_author", "draw", nulls_last=True)
    )


def make_tiles(
    manifest: Manifest, pictures: Iterable[ShownPicture], *, on_progress: Callable[[], None] = lambda: None
) -> list[Tile]:
    """Small copies of pictures, in order; one that cannot be read is a tile with its fault."""
    folder = manifest.folder.resolve()
    waiting = iter(pictures)
    tiles = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while batch := list(islice(waiting, 64)):
            for tile in pool.map(lambda picture: _tile(manifest, folder, picture), batch):
                tiles.append(tile)
                on_progress()
    return tiles


def _tile(manifest: Manifest, folder: Path, picture: ShownPicture) -> Tile:
    if picture.file_name is None:
        return Tile(picture, b"", "the row has no file name")
    path = manifest.image_path(picture.file_name)
    try:
        if not is_inside(path, folder):
            return Tile(picture, b"", LEADS_OUTSIDE)
        return Tile(picture, thumbnail_jpeg(path), "")
    except ImageError as error:
        return Tile(picture, b"", str(error).removeprefix(f"{path}: "))
    # RuntimeError: a loop of symbolic links, in Python 3.11 and 3.12. ValueError: a NUL in the name.
    except (OSError, RuntimeError, ValueError) as error:
        return Tile(picture, b"", f"cannot be read ({getattr(error, 'strerror', None) or error})")
