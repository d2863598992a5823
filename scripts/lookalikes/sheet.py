"""A contact sheet: of every class in every state the pictures that show it best, with their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

_TILE = (264, 198)
_CAPTION_PX = 18
_PER_ROW = 5
_DISTANCES = ("near", "middle", "far")
_CLEARNESS = ("clear", "overcast", "dusk", "haze", "dust", "rain")


def contact_sheet(folder: Path, rows: Iterable[Mapping[str, Any]], *, per_state: int = 3) -> Image.Image:
    """Pictures side by side, class by class.

    Args:
        folder: The data set's.
        rows: Of its journal: `file_name`, `label`, `state` and how the picture was taken.
        per_state: Pictures of a class in one state; those that show it unhidden, near and in clear weather come first.
    """

    def how_well(row: Mapping[str, Any]) -> tuple[float, int, int, str]:
        return (
            round(row["hidden"], 1),
            _DISTANCES.index(row["distance"]),
            _CLEARNESS.index(row["weather"]),
            row["file_name"],
        )

    chosen = []
    ordered = sorted(rows, key=lambda row: (row["label"], row["state"]))
    for _, alike in groupby(ordered, key=lambda row: (row["label"], row["state"])):
        chosen += sorted(alike, key=how_well)[:per_state]
    width, height = _TILE[0], _TILE[1] + _CAPTION_PX
    sheet = Image.new("RGB", (_PER_ROW * width, -(-len(chosen) // _PER_ROW) * height), "white")
    font = ImageFont.load_default(size=10)
    for number, row in enumerate(chosen):
        left, top = number % _PER_ROW * width, number // _PER_ROW * height
        with Image.open(folder / row["file_name"]) as picture:
            sheet.paste(picture.resize(_TILE, Image.Resampling.LANCZOS), (left, top + _CAPTION_PX))
        # A caption that is too long is cut at its tile, not written over the next.
        caption = Image.new("RGB", (width - 4, _CAPTION_PX), "white")
        ImageDraw.Draw(caption).text((3, 2), f"{row['label']}: {row['state']}", fill="black", font=font)
        sheet.paste(caption, (left, top))
    return sheet
