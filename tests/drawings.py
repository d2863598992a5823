"""A handful of drawn pictures with a manifest: flat shapes after a few cues, quick to make and quick to learn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from vision.data.check import read_file_facts, with_file_facts
from vision.data.manifest import manifest_from_rows, save_manifest
from vision.files import whole_file, write_whole_text

WIDTH_PX, HEIGHT_PX = 320, 240
IMAGES_PER_CLASS = 14
_TEST_FROM, _CALIBRATION_FROM = 11, 8

CONFIG = """name: drawings
data:
  manifest: manifest.csv
features:
  input_px: 224
train:
  folds: 0
  strengths: [1, 100]
"""


def write_drawings(folder: Path, *, seed: int = 0) -> Path:
    """Draw the pictures, write their manifest and a configuration; return the configuration's path."""
    rows: list[dict[str, str | int | None]] = []
    for class_id, draw_vehicle in _VEHICLES.items():
        for number in range(IMAGES_PER_CLASS):
            name = f"images/{class_id}-{number:02}.jpg"
            picture = _scene(random.Random(f"{seed}/{class_id}/{number}"), draw_vehicle)
            with whole_file(folder / name) as temporary:
                picture.save(temporary, "JPEG", quality=88)
            split = "test" if number >= _TEST_FROM else "calibration" if number >= _CALIBRATION_FROM else "train"
            rows.append(
                {
                    "file_name": name,
                    "label": class_id,
                    "split": split,
                    "title": f"Drawing {class_id} {number}",
                    "author": "the tests of vision",
                    "licence": "CC0-1.0",
                }
            )
    manifest = manifest_from_rows(folder / "manifest.csv", rows)
    save_manifest(with_file_facts(manifest, read_file_facts(manifest)), manifest.path)
    write_whole_text(folder / "drawings.yaml", CONFIG)
    return folder / "drawings.yaml"


Draw = ImageDraw.ImageDraw
Colour = tuple[int, int, int]


def _scene(generator: random.Random, draw_vehicle: Callable[[Draw, random.Random, Colour], None]) -> Image.Image:
    """Sky, ground, a vehicle somewhere on it, blur and a turn; the same for all classes."""
    grey = generator.randint(150, 235)
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (grey, grey, min(255, grey + generator.randint(0, 25))))
    draw = ImageDraw.Draw(picture)
    horizon = generator.randint(110, 150)
    earth = generator.choice([(120, 110, 80), (96, 112, 70), (140, 130, 110), (90, 90, 88)])
    draw.rectangle((0, horizon, WIDTH_PX, HEIGHT_PX), fill=earth)
    for _ in range(generator.randint(0, 5)):
        x, radius = generator.randint(0, WIDTH_PX), generator.randint(8, 30)
        draw.ellipse(
            (x - radius, horizon - radius, x + radius, horizon + radius // 2), fill=(50, generator.randint(70, 100), 45)
        )
    vehicle = Image.new("RGBA", (200, 140), (0, 0, 0, 0))
    paint = generator.choice([(78, 86, 58), (104, 96, 70), (70, 74, 66), (122, 112, 84)])
    draw_vehicle(ImageDraw.Draw(vehicle), generator, paint)
    if generator.random() < 0.5:
        vehicle = vehicle.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = generator.uniform(0.75, 1.25)
    vehicle = vehicle.resize((round(200 * scale), round(140 * scale)), Image.Resampling.BICUBIC)
    vehicle = vehicle.rotate(generator.uniform(-5, 5), Image.Resampling.BICUBIC, expand=True)
    left = generator.randint(0, max(0, WIDTH_PX - vehicle.width))
    picture.paste(vehicle, (left, horizon + 70 - vehicle.height), vehicle)
    return picture.filter(ImageFilter.GaussianBlur(generator.uniform(0, 1.2)))


def _tracks(draw: Draw, num_wheels: int, paint: Colour) -> None:
    draw.rounded_rectangle((8, 98, 192, 130), 14, fill=(40, 40, 38))
    for wheel in range(num_wheels):
        x = 24 + wheel * 152 / (num_wheels - 1)
        draw.ellipse((x - 11, 104, x + 11, 126), fill=(66, 66, 60), outline=(20, 20, 20))
    draw.polygon([(6, 98), (24, 76), (188, 76), (196, 98)], fill=paint)


def _wheels(draw: Draw, num_wheels: int, paint: Colour) -> None:
    draw.polygon([(4, 110), (22, 78), (190, 78), (196, 110)], fill=paint)
    for wheel in range(num_wheels):
        x = 30 + wheel * 140 / (num_wheels - 1)
        draw.ellipse((x - 16, 98, x + 16, 130), fill=(30, 30, 30), outline=(90, 90, 84), width=4)


def _shade(paint: Colour, change: int) -> Colour:
    red, green, blue = (max(0, min(255, value + change)) for value in paint)
    return red, green, blue


def _tor(draw: Draw, generator: random.Random, paint: Colour) -> None:
    """A tall box turret, a square panel in front, an open search antenna on top, nothing that shoots."""
    _tracks(draw, 7, paint)
    draw.rectangle((62, 30, 168, 78), fill=_shade(paint, 12))
    draw.rectangle((46, 34, 64, 66), fill=_shade(paint, 35), outline=(30, 30, 30))
    tilt = generator.randint(-14, 4)
    draw.arc((110, 4 + tilt // 4, 160, 40), 180, 350, fill=(40, 40, 40), width=3)
    draw.line((136, 30, 136, 14), fill=(40, 40, 40), width=3)


def _osa(draw: Draw, generator: random.Random, paint: Colour) -> None:
    """Three axles, a boat bow, packs of ribbed containers, a round antenna and a lattice antenna."""
    _wheels(draw, 3, paint)
    draw.rectangle((78, 54, 150, 80), fill=_shade(paint, 8))
    for row in range(3):
        draw.rectangle((92, 28 + 10 * row, 176, 36 + 10 * row), fill=_shade(paint, 22), outline=(40, 40, 40))
    draw.ellipse((66, 38, 94, 70), fill=_shade(paint, 40), outline=(30, 30, 30))
    draw.arc((104, 4, 148, 30), 180 + generator.randint(-10, 10), 360, fill=(40, 40, 40), width=4)


def _shilka(draw: Draw, generator: random.Random, paint: Colour) -> None:
    """A low square turret, four short barrels in front, a dish on a stalk at the rear."""
    _tracks(draw, 6, paint)
    draw.polygon([(52, 78), (66, 48), (150, 48), (164, 78)], fill=_shade(paint, 12))
    rise = generator.randint(0, 22)
    for barrel in range(4):
        draw.line((60, 58 + 4 * barrel, 14, 58 + 4 * barrel - rise), fill=(28, 28, 28), width=2)
    draw.line((146, 50, 152, 34), fill=(40, 40, 40), width=4)
    draw.ellipse((138, 12, 172, 40), fill=_shade(paint, 30), outline=(30, 30, 30))


def _buk(draw: Draw, generator: random.Random, paint: Colour) -> None:
    """Four bare missiles on top and a rounded radar housing in front."""
    _tracks(draw, 6, paint)
    draw.polygon([(40, 78), (52, 54), (160, 54), (170, 78)], fill=_shade(paint, 8))
    draw.ellipse((26, 40, 66, 78), fill=_shade(paint, 26), outline=(30, 30, 30))
    angle = math.radians(generator.uniform(0, 16))
    for missile in range(4):
        y = 26 + 7 * missile
        x_end, y_end = 186 - 10 * missile, y
        x_nose, y_nose = x_end - 120 * math.cos(angle), y - 120 * math.sin(angle) + 12
        draw.line((x_end, y_end, x_nose, y_nose), fill=(214, 214, 206), width=5)


_VEHICLES: dict[str, Callable[[Draw, random.Random, Colour], None]] = {
    "tor-m1": _tor,
    "osa-akm": _osa,
    "shilka": _shilka,
    "buk-m1": _buk,
}
