"""What a bundle says of pictures without any vehicle that it knows: flat, noise, text, drawings, other photographs.

    python scripts/odd_pictures.py runs/photos/bundle -o odd --also cat.png

The right answer to every one is "unknown". Two photographs come with scikit-learn (CC-BY-2.0, named in its
datasets/images/README.txt). Where scikit-image is installed, which the project does not ask for, its cat, motorcycle,
cup, astronaut and rocket are shown too (named with their licences in its data/README.txt). More can be given with
--also.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vision.bundle import load_bundle
from vision.classify.engine import Engine
from vision.errors import VisionError
from vision.predictions import Prediction

WIDTH_PX, HEIGHT_PX = 640, 480
SCIKIT_IMAGES = ("chelsea.png", "motorcycle_left.png", "coffee.png", "astronaut.png", "rocket.jpg")
"""Chelsea is a cat."""


def main() -> None:
    """Write the pictures and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("odd"))
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="further pictures")
    arguments = parser.parse_args()
    try:
        engine = Engine(load_bundle(arguments.bundle))
    except VisionError as error:
        parser.error(str(error))
    paths = [*save_pictures(arguments.output), *packaged_photographs(), *arguments.also]
    print("| picture | answer | level | probability | novelty rank | most probable class | reason |")
    print("|---|---|---|---|---|---|---|")
    rows = [engine.classify(path) for path in paths]
    for path, row in zip(paths, rows, strict=True):
        print(table_row(path.stem, row))
    named = [path.stem for path, row in zip(paths, rows, strict=True) if row.level not in ("unknown", "")]
    print(f"\n{len(named)} of {len(rows)} got a name: {', '.join(named) or 'none'}")


def table_row(name: str, row: Prediction) -> str:
    """A line of a Markdown table."""
    if row.status == "error":
        return f"| {name} | error | | | | | {row.error} |"
    rank = "" if row.novelty_rank is None else f"{row.novelty_rank:.3f}"
    first = f"{row.top[0].class_id} {row.top[0].probability:.3f}"
    return f"| {name} | {row.label} | {row.level} | {row.probability:.3f} | {rank} | {first} | {row.reason} |"


def save_pictures(folder: Path) -> list[Path]:
    """Draw all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PICTURES.items():
        paths.append(folder / f"{name}.png")
        draw().save(paths[-1])
    return paths


def packaged_photographs() -> list[Path]:
    """A temple and a flower; and of scikit-image, if it is there, a cat and others."""
    found = [Path(str(files("sklearn.datasets"))) / "images" / name for name in ("china.jpg", "flower.jpg")]
    beside = find_spec("skimage")
    if beside is not None and beside.origin is not None:
        folder = Path(beside.origin).parent / "data"
        found += [folder / name for name in SCIKIT_IMAGES if (folder / name).is_file()]
    return found


def flat(colour: str) -> Callable[[], Image.Image]:
    """A picture of one colour."""
    return lambda: Image.new("RGB", (WIDTH_PX, HEIGHT_PX), colour)


def noise() -> Image.Image:
    """Every pixel by itself, evenly spread."""
    pixels = np.random.default_rng(0).integers(256, size=(HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def gradient() -> Image.Image:
    """From dark to light."""
    row = np.linspace(0, 255, WIDTH_PX).astype(np.uint8)
    return Image.fromarray(np.tile(row, (HEIGHT_PX, 1))).convert("RGB")


def checkerboard() -> Image.Image:
    """Squares of 40 px."""
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX] // 40
    return Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("RGB")


def text() -> Image.Image:
    """A page of lines."""
    image = flat("white")()
    draw = ImageDraw.Draw(image)
    for line in range(14):
        draw.text((30, 20 + 32 * line), f"{line + 1}. This page shows no vehicle at all.", "black", font_size=24)
    return image


def cat() -> Image.Image:
    """A face with ears and whiskers."""
    image = flat("#b8d0a0")()
    draw = ImageDraw.Draw(image)
    for ear in ([(200, 200), (220, 60), (320, 150)], [(440, 200), (420, 60), (320, 150)]):
        draw.polygon(ear, "#d98a3a", "black", width=3)
    draw.ellipse((180, 120, 460, 400), "#d98a3a", "black", width=3)
    for eye in (260, 380):
        draw.ellipse((eye - 28, 210, eye + 28, 266), "#f0f0a0", "black", width=3)
        draw.ellipse((eye - 8, 215, eye + 8, 261), "black")
    draw.polygon([(305, 290), (335, 290), (320, 310)], "#c05060")
    for rise in (-20, 0, 20):
        draw.line((300, 310, 170, 310 + rise), "black", 2)
        draw.line((340, 310, 470, 310 + rise), "black", 2)
    return image


def street() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Sky, road, and something to draw on them with."""
    image = flat("#9cc3e6")()
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 330, WIDTH_PX, HEIGHT_PX), "#70706c")
    draw.rectangle((0, 300, WIDTH_PX, 330), "#7a9a5a")
    return image, draw


def wheels(draw: ImageDraw.ImageDraw, *centres_px: int) -> None:
    """Wheels that stand on the road."""
    for centre in centres_px:
        draw.ellipse((centre - 38, 332, centre + 38, 408), "#202020")
        draw.ellipse((centre - 18, 352, centre + 18, 388), "#b0b0b0")


def car() -> Image.Image:
    """A red saloon from the side."""
    image, draw = street()
    draw.polygon(
        [(110, 370), (110, 300), (200, 285), (265, 215), (410, 215), (475, 285), (535, 300), (535, 370)], "#c02020"
    )
    draw.polygon([(225, 285), (275, 230), (330, 230), (330, 285)], "#d8ecf8")
    draw.polygon([(345, 285), (345, 230), (402, 230), (448, 285)], "#d8ecf8")
    wheels(draw, 205, 445)
    return image


def lorry() -> Image.Image:
    """A delivery lorry with a white box."""
    image, draw = street()
    draw.rectangle((60, 130, 440, 350), "#f4f4f4", "#888888", width=3)
    draw.polygon([(450, 350), (450, 190), (530, 190), (575, 270), (575, 350)], "#2050a0")
    draw.polygon([(475, 265), (475, 205), (523, 205), (555, 265)], "#d8ecf8")
    draw.text((130, 210), "FRESH BREAD", "#b03030", font_size=36)
    wheels(draw, 140, 350, 515)
    return image


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "black": flat("black"),
    "white": flat("white"),
    "grey": flat("#808080"),
    "noise": noise,
    "gradient": gradient,
    "checkerboard": checkerboard,
    "text": text,
    "cat": cat,
    "car": car,
    "lorry": lorry,
}


if __name__ == "__main__":
    main()
