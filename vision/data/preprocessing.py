"""From a decoded picture to the array that a network reads. Training and classifying both use this and nothing else.

S is the side of the network's square input in px.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from vision.data.images import crop_to_box, decode_image
from vision.errors import ImageError

Box = tuple[float, float, float, float]

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


class Preprocessing(BaseModel):
    """How a picture is fitted and scaled; part of every bundle.

    Attributes:
        input_px: S.
        fit: `pad` keeps the whole picture, on grey; `squash` stretches it; `crop` takes its middle.
        mean: Subtracted from each channel in [0, 1].
        std: What the difference is divided by.
        interpolation: Filter for resizing; Pillow's, which averages when it makes smaller.
        box_margin: Share of a box's width and height added on each side, where a box is given.
        middle: Share of the picture's, or the box's, sides that is looked at, round its centre.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_px: int = Field(gt=0)
    fit: Literal["squash", "pad", "crop"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"]
    box_margin: float = Field(ge=0)
    middle: float = Field(default=1.0, gt=0, le=1)


def load_network_input(path: Path, preprocessing: Preprocessing, *, box: Box | None = None) -> NDArray[np.float32]:
    """A file, or the part of it in a box, as the array that the network reads.

    Returns:
        (3, S, S), normalised.

    Raises:
        ImageError: The file is no whole picture.
    """
    # Twice the size leaves the resampling filter something to average; a box may be any part, so it needs it all.
    enough_px = math.ceil(2 * preprocessing.input_px / preprocessing.middle) if box is None else None
    image = decode_image(path, enough_px=enough_px)
    if box is not None:
        try:
            image = crop_to_box(image, box, preprocessing.box_margin)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
    return network_input(_middle_of(image, preprocessing.middle), preprocessing)


THUMBNAIL_PX = 32


def load_thumbnail(path: Path, preprocessing: Preprocessing, *, box: Box | None = None) -> NDArray[np.uint8]:
    """A file, or the part of it in a box, in grey and small, fitted as the network's input is: (32, 32).

    What the baseline sees that compares pictures pixel by pixel.

    Raises:
        ImageError: The file is no whole picture.
    """
    small = preprocessing.model_copy(update={"input_px": THUMBNAIL_PX, "mean": (0.5,) * 3, "std": (1.0,) * 3})
    values = load_network_input(path, small, box=box)
    return np.asarray(np.clip((values.mean(axis=0) + 0.5) * 255 + 0.5, 0, 255), dtype=np.uint8)


def _middle_of(image: Image.Image, share: float) -> Image.Image:
    """A share of a picture's width and height, round its centre."""
    width, height = image.size
    left, top = round(width * (1 - share) / 2), round(height * (1 - share) / 2)
    return image if share == 1 else image.crop((left, top, max(left + 1, width - left), max(top + 1, height - top)))


def pixels_of(values: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The picture that a network input was made of, as the network saw it: (3, S, S), normalised -> (S, S, 3)."""
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    deviation = np.array(preprocessing.std, np.float32)[:, None, None]
    pixels = np.clip((values * deviation + mean) * 255 + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(pixels.transpose(1, 2, 0))


def network_input(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """An RGB picture as the array that the network reads, (3, S, S), normalised."""
    pixels = np.asarray(fit_to_square(image, preprocessing), dtype=np.float32)  # (S, S, 3)
    scale = 1 / (255 * np.asarray(preprocessing.std, dtype=np.float32))
    shift = np.asarray(preprocessing.mean, dtype=np.float32) / np.asarray(preprocessing.std, dtype=np.float32)
    return np.ascontiguousarray((pixels * scale - shift).transpose(2, 0, 1))


def fit_to_square(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The picture on a square of S px, by the rule `fit`."""
    side = preprocessing.input_px
    resampling = _RESAMPLING[preprocessing.interpolation]
    if preprocessing.fit == "squash":
        return image.resize((side, side), resampling)
    width, height = image.size
    if preprocessing.fit == "crop":
        shorter = min(width, height)
        left, top = (width - shorter) / 2, (height - shorter) / 2
        return image.resize((side, side), resampling, box=(left, top, left + shorter, top + shorter))
    scale = side / max(width, height)
    fitted = (max(1, round(width * scale)), max(1, round(height * scale)))
    grey = tuple(round(255 * value) for value in preprocessing.mean)
    square = Image.new("RGB", (side, side), grey)
    square.paste(image.resize(fitted, resampling), ((side - fitted[0]) // 2, (side - fitted[1]) // 2))
    return square
