"""What can be said of a picture without knowing what it shows: size, brightness, sharpness."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from vision.data.images import crop_to_box, decode_image, upright_size
from vision.data.preprocessing import Box
from vision.errors import ImageError

THUMBNAIL_PX = 256
"""Side of the grey square that brightness and sharpness are measured on, so that large pictures compare with small."""

SCHEMA: dict[str, type[pl.DataType]] = {
    "width": pl.Int64,
    "height": pl.Int64,
    "short_side_px": pl.Int64,
    "aspect": pl.Float64,
    "brightness": pl.Float64,
    "sharpness": pl.Float64,
    "size_bytes": pl.Int64,
}

PICTURE_COLUMNS = tuple(name for name in SCHEMA if name not in ("width", "height"))
"""Columns that stand in predictions; width and height are the manifest's."""


@dataclass(frozen=True)
class PictureProperties:
    """Properties of one picture.

    Attributes:
        width: px, of the whole upright picture.
        height: px, of the whole upright picture.
        short_side_px: The smaller of the two.
        aspect: Width over height.
        brightness: Mean grey of the picture, or of its box, in [0, 1].
        sharpness: Of the picture, or of its box; see `sharpness_of`.
        size_bytes: Of the file.
    """

    width: int
    height: int
    short_side_px: int
    aspect: float
    brightness: float
    sharpness: float
    size_bytes: int


def measured_properties(table: pl.DataFrame) -> pl.DataFrame | None:
    """The properties that stand beside predictions; None if they were not measured."""
    is_measured = all(name in table.columns and table.schema[name].is_numeric() for name in PICTURE_COLUMNS)
    return table.select(PICTURE_COLUMNS) if is_measured else None


def picture_properties(
    paths: Sequence[Path],
    boxes: Sequence[Box | None] | None = None,
    *,
    on_progress: Callable[[int], None] = lambda count: None,
) -> pl.DataFrame:
    """A row of `SCHEMA` for each picture, in the given order; all null where a picture cannot be read.

    Args:
        paths: N files.
        boxes: N parts, x y width height in px, or None for the whole picture; None if there are no boxes at all.
        on_progress: Told of each picture that is done.
    """
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for properties in pool.map(_properties_or_none, paths, boxes or [None] * len(paths)):
            rows.append(dict.fromkeys(SCHEMA) if properties is None else asdict(properties))
            on_progress(1)
    return pl.DataFrame(rows, schema=SCHEMA)


def read_properties(path: Path, box: Box | None = None) -> PictureProperties:
    """The properties of the picture in a file.

    Raises:
        ImageError: It is no whole picture, or the box lies outside it.
    """
    # Twice the thumbnail leaves the filter something to average; a box may be any part, so it needs all pixels.
    image = decode_image(path, enough_px=2 * THUMBNAIL_PX if box is None else None)
    width, height = upright_size(path, image)
    thumbnail = grey_thumbnail(image if box is None else crop_to_box(image, box, margin=0))
    return PictureProperties(
        width=width,
        height=height,
        short_side_px=min(width, height),
        aspect=width / height,
        brightness=float(thumbnail.mean() / 255),
        sharpness=sharpness_of(thumbnail),
        size_bytes=path.stat().st_size,
    )


def grey_thumbnail(image: Image.Image) -> NDArray[np.float64]:
    """The picture in grey (ITU-R 601 luma), stretched to a square of `THUMBNAIL_PX`, in [0, 255]."""
    grey = image.convert("L").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC)
    return np.asarray(grey, dtype=np.float64)


def sharpness_of(thumbnail: NDArray[np.float64]) -> float:
    """Variance of the Laplacian, without the outermost pixels; low for blurred, flat and enlarged pictures.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study", with the four
    direct neighbours. It depends on what a picture shows, too: a clear sky is as smooth as a blurred hull.
    """
    middle = thumbnail[1:-1, 1:-1]
    neighbours = thumbnail[:-2, 1:-1] + thumbnail[2:, 1:-1] + thumbnail[1:-1, :-2] + thumbnail[1:-1, 2:]
    return float((neighbours - 4 * middle).var())


def _properties_or_none(path: Path, box: Box | None) -> PictureProperties | None:
    try:
        return read_properties(path, box)
    except ImageError:
        return None
