"""Contact sheets as pictures: a heading for every class, below it captioned tiles."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vision.data.one_line import plain_line
from vision.data.statistics.contact_sheets import ShownPicture, Tile
from vision.data.thumbnails import THUMBNAIL_PX
from vision.errors import OutputError
from vision.files import whole_file

MAX_SHEET_PX = 60_000
"""Highest sheet: a JPEG ends at 65,535 px, and few programs show as much."""

SHEET_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}

_PAPER, _TILE, _INK, _MUTED, _FAULT = "#ffffff", "#f4f6f8", "#1c2430", "#5b6673", "#a34507"
_COLUMNS, _GAP_PX, _LINE_PX, _TEXT_PX, _HEADING_PX = 4, 14, 17, 13, 20
_CAPTION_LINES = 4


def sheet_file_names(labels: Sequence[str | None]) -> list[str]:
    """A file name for every label's sheet: `sheet-<label>.jpg`, without what no file system likes, each once."""
    names: list[str] = []
    for label in labels:
        stem = "sheet-" + (re.sub(r"[^A-Za-z0-9._-]", "_", label)[:80] if label is not None else "no-label")
        known = {name.lower() for name in names}  # some file systems take A for a
        number = 1
        while f"{stem}{'' if number == 1 else f'-{number}'}.jpg".lower() in known:
            number += 1
        names.append(f"{stem}{'' if number == 1 else f'-{number}'}.jpg")
    return names


def save_contact_sheet(sections: Mapping[str, Sequence[Tile]], path: Path) -> Image.Image:
    """Draw a sheet and write it, whole or not at all; what was drawn.

    Raises:
        OutputError: As `check_contact_sheet`; or it cannot be written there.
    """
    check_contact_sheet(path, [len(tiles) for tiles in sections.values()])
    sheet = draw_contact_sheet(sections)
    with whole_file(path) as temporary:
        sheet.save(temporary, SHEET_FORMATS[path.suffix.lower()], quality=88)
    return sheet


def check_contact_sheet(path: Path, num_tiles: Sequence[int]) -> None:
    """Make sure that a sheet of sections with so many tiles each can be written there.

    Raises:
        OutputError: The path's ending is none that a sheet has, or the sheet would be too high.
    """
    if path.suffix.lower() not in SHEET_FORMATS:
        raise OutputError(f"{path}: a sheet ends in {', '.join(SHEET_FORMATS)}; a folder for sheets has no ending")
    height = contact_sheet_height(num_tiles)
    if height > MAX_SHEET_PX:
        raise OutputError(
            f"{path}: the sheet would be {height:,} px high, more than {MAX_SHEET_PX:,}; give a folder instead, choose "
            "classes, or show fewer pictures of each"
        )


def draw_contact_sheet(sections: Mapping[str, Sequence[Tile]]) -> Image.Image:
    """One picture with a heading and a grid of captioned tiles for every section.

    Args:
        sections: Headings and their tiles; one without tiles says so.
    """
    width = _GAP_PX + _COLUMNS * (THUMBNAIL_PX + _GAP_PX)
    sheet = Image.new("RGB", (width, contact_sheet_height([len(tiles) for tiles in sections.values()])), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP_PX
    for heading, tiles in sections.items():
        draw.text((_GAP_PX, top), fitted(heading, width - 2 * _GAP_PX, _HEADING_PX), fill=_INK, font=_font(_HEADING_PX))
        for place, tile in enumerate(tiles):
            left = _GAP_PX + place % _COLUMNS * (THUMBNAIL_PX + _GAP_PX)
            _draw_tile(sheet, draw, tile, left, top + 2 * _HEADING_PX + place // _COLUMNS * _row_px())
        top += _section_px(len(tiles))
    return sheet


def contact_sheet_height(num_tiles: Sequence[int]) -> int:
    """Height in px of the sheet of sections with so many tiles each."""
    return _GAP_PX + sum(_section_px(count) for count in num_tiles)


def _section_px(num_tiles: int) -> int:
    return 2 * _HEADING_PX + -(-num_tiles // _COLUMNS) * _row_px()


def _row_px() -> int:
    return THUMBNAIL_PX + _CAPTION_LINES * _LINE_PX + _GAP_PX


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    draw.rectangle((left, top, left + THUMBNAIL_PX - 1, top + THUMBNAIL_PX - 1), fill=_TILE)
    if tile.fault:
        lines = ["cannot be shown:", *wrapped(tile.fault, THUMBNAIL_PX - 2 * _GAP_PX, most_lines=10)]
        for number, line in enumerate(lines):
            draw.text((left + _GAP_PX, top + _GAP_PX + number * _LINE_PX), line, fill=_FAULT, font=_font(_TEXT_PX))
    else:
        picture = _opened(tile.jpeg)
        middle = (left + (THUMBNAIL_PX - picture.width) // 2, top + (THUMBNAIL_PX - picture.height) // 2)
        sheet.paste(picture, middle)
    for number, (line, colour) in enumerate(zip(caption(tile.picture), (_INK, _MUTED, _INK, _MUTED), strict=True)):
        place = (left, top + THUMBNAIL_PX + 3 + number * _LINE_PX)
        draw.text(place, fitted(line, THUMBNAIL_PX, _TEXT_PX), fill=colour, font=_font(_TEXT_PX))


def caption(picture: ShownPicture) -> tuple[str, str, str, str]:
    """File name, split, author and licence, each a line."""
    return (
        Path(picture.file_name).name if picture.file_name else "no file name",
        f"split {picture.split}" if picture.split else "no split",
        picture.author or "author not stated",
        picture.licence or "licence not stated",
    )


def fitted(text: str, width_px: float, text_px: int) -> str:
    """One line of text, cut with an ellipsis where it is too wide."""
    line = plain_line(text)
    if _font(text_px).getlength(line) <= width_px:
        return line
    low, high = 0, len(line)  # the longest beginning that fits lies between them
    while low < high:
        middle = (low + high + 1) // 2
        fits = _font(text_px).getlength(line[:middle] + "…") <= width_px
        low, high = (middle, high) if fits else (low, middle - 1)
    return line[:low] + "…"


def wrapped(text: str, width_px: float, *, most_lines: int) -> list[str]:
    """Text on several lines, broken between words where that is possible; the last may end in an ellipsis."""
    lines = [""]
    for word in plain_line(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(_TEXT_PX).getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    kept = [*lines[: most_lines - 1], " ".join(lines[most_lines - 1 :])]
    return [fitted(line, width_px, _TEXT_PX) for line in kept if line]


@lru_cache(maxsize=4)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """DejaVu, which comes with matplotlib and has Cyrillic, Greek, Arabic and more; Pillow's own has Latin alone."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size_px)


def _opened(jpeg: bytes) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.convert("RGB")
