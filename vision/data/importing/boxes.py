"""Boxes of other data sets in px of the upright picture, and the crops that are made of them.

Which pixels a box counts: boxes are drawn on a screen, where a picture stands upright, so a box is taken to refer to
the upright picture (as OpenCV's `imread` and Ultralytics' loader have it, which apply EXIF orientation). Where the
source states the picture's width and height, as COCO does, and they are those of the stored picture and not of the
upright one, the box is turned along.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from vision.data.images import crop_rectangle
from vision.data.importing.embedded_provenance import Provenance
from vision.data.importing.source import SourceBox

Box = tuple[float, float, float, float]
Size = tuple[int, int]

CROP_JPEG_QUALITY = 95
LEAST_BOX_PX = 1.0
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


class BoxError(ValueError):
    """A box that cannot be used, and why."""


@dataclass(frozen=True)
class PlacedBox:
    """A box in the upright picture.

    Attributes:
        box: x, y, width, height in px, within the picture, in quarters of a px.
        is_clipped: Whether it reached more than half a pixel outside.
        is_assumed_upright: Whether the picture is turned by EXIF and nothing tells which pixels the box counts.
    """

    box: Box
    is_clipped: bool
    is_assumed_upright: bool


@dataclass(frozen=True)
class Crop:
    """A part of a picture around a box.

    Attributes:
        image: The part.
        rectangle: Left, top, right, bottom in px of the upright picture.
        box: The box in px of the part.
    """

    image: Image.Image
    rectangle: tuple[int, int, int, int]
    box: Box

    def changes(self, margin: float, ending: str) -> str:
        """What was done, for whoever must tell it."""
        left, top, right, bottom = self.rectangle
        how = f"JPEG of quality {CROP_JPEG_QUALITY}" if ending == ".jpg" else "PNG"
        where = f"{left} {top} {right - left} {bottom - top}"
        return f"cropped to {where} of the original (box with margin {margin:g}), saved as {how}"


def stored_orientation(path: Path) -> int:
    """The EXIF orientation of a picture that can be decoded; 1 where none is stated."""
    with Image.open(path) as image:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def place_box(box: SourceBox, upright: Size, orientation: int, *, counts_stored_pixels: bool = False) -> PlacedBox:
    """Where a box lies in the upright picture.

    Args:
        box: As the source states it.
        upright: Width and height of the upright picture in px.
        orientation: Of EXIF, 1 to 8.
        counts_stored_pixels: What holds where the source does not state the picture's size, or it fits both ways.

    Raises:
        BoxError: The box has no area, lies outside, or was drawn in a picture of another size.
    """
    stored = upright[::-1] if orientation in _SIDEWAYS else upright
    told = _refers_to_stored(box.picture_size, upright, stored)
    is_stored = counts_stored_pixels if told is None else told
    size = stored if is_stored else upright
    scale = size if box.is_share else (1, 1)
    numbers = (box.x * scale[0], box.y * scale[1], box.width * scale[0], box.height * scale[1])
    if not (numbers[2] > 0 and numbers[3] > 0):
        raise BoxError(f"the box has no area: width {box.width:g}, height {box.height:g}")
    turned = turn_box(numbers, stored, orientation) if is_stored else numbers
    clipped, is_clipped = _clipped(turned, upright)
    return PlacedBox(clipped, is_clipped, orientation != 1 and told is None and not counts_stored_pixels)


def turn_box(box: Box, stored: Size, orientation: int) -> Box:
    """A box of the stored picture in the upright one.

    Args:
        box: x, y, width, height in px of the stored picture.
        stored: Its width and height in px.
        orientation: As in EXIF 2.32, tag 0x0112.
    """
    x, y, width, height = box
    from_right, from_bottom = stored[0] - x - width, stored[1] - y - height
    return {
        1: (x, y, width, height),
        2: (from_right, y, width, height),
        3: (from_right, from_bottom, width, height),
        4: (x, from_bottom, width, height),
        5: (y, x, height, width),
        6: (from_bottom, x, height, width),
        7: (from_bottom, from_right, height, width),
        8: (y, from_right, height, width),
    }[orientation]


def cut_out(image: Image.Image, box: Box, margin: float) -> Crop:
    """The part of an upright picture around a box within it."""
    x, y, width, height = box
    left, top, right, bottom = crop_rectangle(image.size, box, margin)
    # Its edges are rounded; where the margin is small, a part of a pixel of the box would be lost.
    left, top = min(left, math.floor(x)), min(top, math.floor(y))
    rectangle = (left, top, max(right, math.ceil(x + width)), max(bottom, math.ceil(y + height)))
    return Crop(image.crop(rectangle), rectangle, (x - rectangle[0], y - rectangle[1], width, height))


def crop_ending(path: Path) -> str:
    """`.jpg` for the crops of a JPEG, whose pixels have lost something already; `.png` for all others."""
    with Image.open(path) as image:
        return ".jpg" if image.format in ("JPEG", "MPO") else ".png"


def save_crop(image: Image.Image, path: Path, provenance: Provenance) -> None:
    """Write a crop, with author, copyright, title and source of the picture that it comes from.

    Nothing else of the original's metadata goes along: it may hold the place where the picture was taken, a thumbnail
    of all of it, or an orientation that is no longer true.
    """
    exif = Image.Exif()
    for tag, text in (
        (ExifTags.Base.Artist, provenance.author),
        (ExifTags.Base.Copyright, "; ".join(filter(None, (provenance.copyright, provenance.licence_url)))),
        (ExifTags.Base.ImageDescription, provenance.title or provenance.description),
    ):
        if text:
            exif[tag] = text.encode()
    if path.suffix == ".jpg":
        comment = f"File source: {provenance.source_url}" if provenance.source_url else ""
        image.save(path, "JPEG", quality=CROP_JPEG_QUALITY, subsampling=0, exif=exif, comment=comment.encode())
    else:
        texts = PngInfo()
        if provenance.source_url:
            texts.add_itxt("Source", provenance.source_url)
        image.save(path, "PNG", exif=exif, pnginfo=texts)


def box_text(box: Box) -> str:
    """`x y width height`, as a manifest has it."""
    return " ".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in box)


def _refers_to_stored(stated: Size | None, upright: Size, stored: Size) -> bool | None:
    """Whether the stated size is that of the stored picture; None if it fits both or none is stated.

    Raises:
        BoxError: It fits neither.
    """
    if stated is None or stated == upright == stored:
        return None
    if stated not in (upright, stored):
        raise BoxError(
            f"the box was drawn in a picture of {stated[0]} x {stated[1]} px, this one has {upright[0]} x {upright[1]}"
        )
    return stated == stored


def _clipped(box: Box, size: Size) -> tuple[Box, bool]:
    """The part of a box within the picture, in quarters of a px, whose sums are exact, and whether much was cut.

    Raises:
        BoxError: Less than a pixel of it lies within.
    """
    x, y, width, height = box
    edges = (x, y, x + width, y + height)
    limits = (size[0], size[1], size[0], size[1])
    within = [round(4 * min(max(edge, 0), limit)) / 4 for edge, limit in zip(edges, limits, strict=True)]
    kept = (within[0], within[1], within[2] - within[0], within[3] - within[1])
    if kept[2] < LEAST_BOX_PX or kept[3] < LEAST_BOX_PX:
        where = (
            "outside" if x >= size[0] or y >= size[1] or edges[2] <= 0 or edges[3] <= 0 else "with less than 1 px in"
        )
        raise BoxError(f"box {box_text(box)} lies {where} the picture of {size[0]} x {size[1]} px")
    return kept, any(abs(edge - inner) > 0.5 for edge, inner in zip(edges, within, strict=True))
