"""Synthetic scenes, and copies of pictures as they go round: what `benchmark_duplicates.py` is made of.

A scene has a sky, a ground, trees, houses and a vehicle, all by chance, so that two scenes share nothing but their
kind.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

SIZES_PX = ((400, 300), (360, 270), (360, 360), (300, 400), (420, 280))
QUALITY = 88

Random = np.random.Generator
Colour = tuple[int, int, int]
Vary = Callable[[Image.Image, Random], Image.Image]


def scene(random: Random, *, vehicle: Random | None = None) -> Image.Image:
    """A scene; two with equal `random` and other `vehicle` are one place with two vehicles."""
    width, height = SIZES_PX[random.integers(len(SIZES_PX))]
    horizon = int(height * random.uniform(0.25, 0.65))
    pixels = np.empty((height, width, 3), dtype=np.float32)
    pixels[:horizon] = _layer(random, (horizon, width), random.uniform((110, 130, 150), (200, 215, 245)), 30)
    pixels[horizon:] = _layer(random, (height - horizon, width), random.uniform((70, 70, 40), (170, 160, 130)), 26)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(random.integers(2, 7)):
        _house(draw, random, width, horizon)
    for _ in range(random.integers(3, 12)):
        _tree(draw, random, width, horizon)
    _vehicle(draw, vehicle or random, width, height, horizon)
    grain = random.normal(0, random.uniform(1, 5), (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def _layer(random: Random, shape: tuple[int, int], colour: NDArray[np.float64], depth: float) -> NDArray[np.float32]:
    """Clouds or earth: noise of four grains, and a gradient from top to bottom."""
    height, width = shape
    total = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(random.normal(0, 15))
    total = np.repeat(total, width, axis=1)
    for cells in (3, 7, 17, 43):
        grid = random.normal(0, depth / cells**0.5, (max(2, cells * height // width), cells)).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(total[:, :, None] + colour, dtype=np.float32)


def _any_colour(random: Random, low: int, high: int) -> Colour:
    red, green, blue = random.integers(low, high, 3).tolist()
    return red, green, blue


def _house(draw: ImageDraw.ImageDraw, random: Random, width: int, horizon: int) -> None:
    left, wide = int(random.integers(-20, width)), int(random.integers(20, 110))
    top, bottom = horizon - int(random.integers(15, 90)), horizon + int(random.integers(0, 12))
    draw.rectangle((left, top, left + wide, bottom), fill=_any_colour(random, 60, 220))
    if random.random() < 0.5:
        draw.polygon(
            [(left - 4, top), (left + wide // 2, top - 22), (left + wide + 4, top)], fill=_any_colour(random, 50, 160)
        )
    step, pane = int(random.integers(10, 22)), _any_colour(random, 20, 120)
    for x in range(left + 5, left + wide - 6, step):
        for y in range(top + 5, bottom - 8, step):
            draw.rectangle((x, y, x + step // 2, y + step // 2), fill=pane)


def _tree(draw: ImageDraw.ImageDraw, random: Random, width: int, horizon: int) -> None:
    x, foot, tall = (int(random.integers(*span)) for span in ((0, width), (horizon - 5, horizon + 50), (20, 110)))
    draw.line((x, foot, x, foot - tall), fill=(70, 55, 40), width=int(random.integers(2, 6)))
    leaf = _any_colour(random, 20, 130)
    for _ in range(random.integers(4, 14)):
        dx, dy, radius = random.normal(0, tall / 5), random.normal(0, tall / 6), random.uniform(4, tall / 3)
        centre = (x + dx, foot - tall + dy)
        draw.ellipse((centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius), fill=leaf)


def _vehicle(draw: ImageDraw.ImageDraw, random: Random, width: int, height: int, horizon: int) -> None:
    long = width * random.uniform(0.25, 0.6)
    tall, left = long * random.uniform(0.16, 0.3), random.uniform(0, width - long)
    foot = random.uniform(horizon + tall, height) if horizon + tall < height else height
    paint, dark = _any_colour(random, 50, 140), _any_colour(random, 10, 60)
    slope = random.uniform(0, long / 4)
    draw.polygon(
        [(left, foot), (left + slope, foot - tall), (left + long * 0.95, foot - tall), (left + long, foot)], fill=paint
    )
    wheels = int(random.integers(3, 8))
    for wheel in range(wheels):
        x, radius = left + long * (wheel + 0.5) / wheels, long / wheels / random.uniform(2.2, 3.2)
        draw.ellipse((x - radius, foot - radius, x + radius, foot + radius), fill=dark)
    at, wide = left + long * random.uniform(0.15, 0.6), long * random.uniform(0.2, 0.4)
    top = foot - tall * random.uniform(1.5, 2.4)
    draw.polygon(
        [(at, foot - tall), (at + wide * 0.2, top), (at + wide * 0.9, top), (at + wide, foot - tall)], fill=paint
    )
    for _ in range(random.integers(1, 5)):
        end = (at + random.uniform(-1, 1.6) * long * 0.6, top - random.uniform(-0.2, 1) * tall)
        draw.line((at + wide / 2, top + 3, *end), fill=dark, width=int(random.integers(2, 6)))


def crop(share: float) -> Vary:
    """A part of the picture: twice `share` is gone of each side's length, divided by chance between both ends."""

    def vary(picture: Image.Image, random: Random) -> Image.Image:
        width, height = picture.size
        wide, tall = round(width * (1 - 2 * share)), round(height * (1 - 2 * share))
        left, top = int(random.integers(0, width - wide + 1)), int(random.integers(0, height - tall + 1))
        return picture.crop((left, top, left + wide, top + tall))

    return vary


def trim(picture: Image.Image, random: Random) -> Image.Image:
    """Another share is gone on each of the four sides, up to 10 %: the aspect changes too."""
    width, height = picture.size
    left, top, right, bottom = random.uniform(0, 0.1, 4)
    return picture.crop(
        (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
    )


def flip(picture: Image.Image, random: Random) -> Image.Image:
    """Mirrored."""
    return ImageOps.mirror(picture)


def recompress(picture: Image.Image, random: Random) -> Image.Image:
    """JPEG at quality 30."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=30)
    return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")


def resize(scale: float) -> Vary:
    """Smaller on both sides."""

    def vary(picture: Image.Image, random: Random) -> Image.Image:
        return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)

    return vary


def logo(picture: Image.Image, random: Random) -> Image.Image:
    """A box with a name over one corner, 18 to 30 % of the width and 8 to 14 % of the height."""
    marked = picture.copy()
    width, height = picture.size
    wide, tall = int(width * random.uniform(0.18, 0.3)), int(height * random.uniform(0.08, 0.14))
    left = int(random.choice([4, width - wide - 4]))
    top = int(random.choice([4, height - tall - 4]))
    draw = ImageDraw.Draw(marked)
    draw.rectangle((left, top, left + wide, top + tall), fill=_any_colour(random, 0, 255))
    draw.text((left + 4, top + 3), "PRESS 24", fill=_any_colour(random, 0, 255))
    return marked


def colour(picture: Image.Image, random: Random) -> Image.Image:
    """Other brightness, contrast and saturation, each between 0.65 and 1.4; one in four grey."""
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhancer(picture).enhance(float(random.uniform(0.65, 1.4)))
    return picture.convert("L").convert("RGB") if random.random() < 0.25 else picture


def cut(picture: Image.Image, random: Random) -> Image.Image:
    """A fifth is gone at one of the four sides."""
    width, height = picture.size
    boxes = [
        (0, 0, width, round(height * 0.8)),
        (0, round(height * 0.2), width, height),
        (0, 0, round(width * 0.8), height),
        (round(width * 0.2), 0, width, height),
    ]
    return picture.crop(boxes[int(random.integers(4))])


def strip(picture: Image.Image, random: Random) -> Image.Image:
    """A strip of one colour over 6 to 12 % of the height, at the top or the bottom; half of them with words in it."""
    marked = picture.copy()
    width, height = picture.size
    tall = round(height * random.uniform(0.06, 0.12))
    top = int(random.choice([0, height - tall]))
    draw = ImageDraw.Draw(marked)
    draw.rectangle((0, top, width, top + tall), fill=_any_colour(random, 0, 255))
    if random.random() < 0.5:
        draw.text((6, top + 2), "PRESS AGENCY 24, all rights reserved", fill=_any_colour(random, 0, 255))
    return marked


def bars(picture: Image.Image, random: Random) -> Image.Image:
    """Black bars left and right, or above and below, until one side is a third or two thirds longer."""
    width, height = picture.size
    longer = float(random.choice([4 / 3, 5 / 3]))
    size = (round(width * longer), height) if random.random() < 0.5 else (width, round(height * longer))
    return ImageOps.pad(picture, size, color="black")


def turn(picture: Image.Image, random: Random) -> Image.Image:
    """A quarter turn, one way or the other."""
    return picture.transpose(Image.Transpose.ROTATE_90 if random.random() < 0.5 else Image.Transpose.ROTATE_270)


def upside_down(picture: Image.Image, random: Random) -> Image.Image:
    """Turned by half, or mirrored from top to bottom."""
    return picture.transpose(Image.Transpose.ROTATE_180) if random.random() < 0.5 else ImageOps.flip(picture)


KINDS: dict[str, Vary] = {
    "crop 5 %": crop(0.05),
    "crop 10 %": crop(0.10),
    "crop 15 %": crop(0.15),
    "trim to 10 %": trim,
    "flip": flip,
    "JPEG 30": recompress,
    "half": resize(0.5),
    "quarter": resize(0.25),
    "logo": logo,
    "colour": colour,
    "cut 20 %": cut,
    "strip": strip,
    "bars": bars,
    "turn": turn,
    "upside down": upside_down,
}
TWO_AT_ONCE = ("crop 5 %", "crop 10 %", "flip", "JPEG 30", "half", "quarter", "logo", "colour")


def vary(picture: Image.Image, kind: str, random: Random) -> Image.Image:
    """A copy by a name of `KINDS`, or by `two`: two of them by chance."""
    if kind != "two":
        return KINDS[kind](picture, random)
    for name in random.choice(TWO_AT_ONCE, 2, replace=False).tolist():
        picture = KINDS[name](picture, random)
    return picture
