"""What the network will see in training: one sheet of pictures with their augmented views."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vision.config import AugmentationSettings
from vision.data.preprocessing import Preprocessing, load_network_input, pixels_of
from vision.errors import ImageError, ManifestError
from vision.train.augmentation import augmented
from vision.train.training_set import PreparedRun

_PAPER, _INK = "white", "black"
_GAP_PX = 4
_TEXT_PX = 13
_LINE_PX = 20


def preview_sheet(
    images: Sequence[tuple[str, NDArray[np.uint8]]],
    settings: AugmentationSettings,
    *,
    seed: int,
    views: int = 6,
    tile_px: int = 160,
) -> Image.Image:
    """A header with the preset, then one row a picture: its name, the untouched picture, and views 1 to `views`.

    A picture's digest is that of its pixels here, so the views are of the same kind as those of a training run with
    the same seed, not the same ones.

    Args:
        images: Names and square pictures (S, S, 3), of the size that the network gets: blur and noise depend on it.
        settings: What is varied, and how strongly.
        seed: Decides the views.
        views: Columns beside the untouched picture.
        tile_px: Side of a picture on the sheet.
    """
    if views < 1 or tile_px < 1:
        raise ValueError(f"a sheet needs views and tiles of at least 1, not {views} and {tile_px}")
    for name, image in images:
        if image.shape[0] != image.shape[1]:
            raise ValueError(f"{name}: {image.shape[1]} x {image.shape[0]} px; a sheet shows square pictures")
    row_px = _LINE_PX + tile_px + _GAP_PX
    size = (_GAP_PX + (1 + views) * (tile_px + _GAP_PX), _LINE_PX + len(images) * row_px + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    _write(sheet, 0, f"{_title(settings)}; untouched, then views 1 to {views} of seed {seed}")
    for row, (name, image) in enumerate(images):
        top = _LINE_PX + row * row_px
        _write(sheet, top, name)
        picture = hashlib.sha256(image.tobytes()).hexdigest()
        for view in range(1 + views):
            tile = Image.fromarray(augmented(image, settings, seed=seed, picture=picture, view=view))
            place = (_GAP_PX + view * (tile_px + _GAP_PX), top + _LINE_PX)
            sheet.paste(tile.resize((tile_px, tile_px), Image.Resampling.BICUBIC), place)
    return sheet


def sheet_of_run(prepared: PreparedRun, *, rows: int, views: int) -> Image.Image:
    """The sheet of a run's training pictures, taken in turn from each class, at the size that the network gets.

    Args:
        prepared: The run, with its settings suited to its pictures, as `suited_run` leaves it.
        rows: Pictures.
        views: Of each, beside the untouched picture.

    Raises:
        ManifestError: One of the pictures cannot be decoded.
    """
    config = prepared.config
    labels = prepared.training.table["label"].to_list()
    seen: Counter[str] = Counter()
    turns = []
    for row, label in enumerate(labels):
        turns.append((seen[label], row))
        seen[label] += 1
    chosen = [row for _, row in sorted(turns)[:rows]]
    neutral = Preprocessing(
        input_px=max(config.features.input_px),
        fit=config.features.fit,
        mean=(0.5, 0.5, 0.5),  # so that padding is the grey that networks get
        std=(1.0, 1.0, 1.0),
        interpolation="bicubic",
        box_margin=config.data.box_margin,
        middle=config.features.middle,
    )
    pictures = []
    for row in chosen:
        image = prepared.training.images[row]
        try:
            values = load_network_input(image.path, neutral, box=image.box)
        except ImageError as error:
            raise ManifestError(str(error)) from error
        pictures.append((f"{labels[row]}: {image.path.name}", pixels_of(values, neutral)))
    return preview_sheet(pictures, config.augment, seed=config.seed, views=views)


def _title(settings: AugmentationSettings) -> str:
    """The preset and what overrides it."""
    changed = settings.model_dump(exclude={"preset"}, exclude_none=True)
    return ", ".join([f"preset {settings.preset}", *(f"{kind} {value}" for kind, value in changed.items())])


def _write(sheet: Image.Image, top: int, text: str) -> None:
    """One line of text, cut at the sheet's edge."""
    font = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(sheet).text((_GAP_PX, top + 2), " ".join(text.split()), fill=_INK, font=font)
