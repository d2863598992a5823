"""Synthetic stand-ins for radar chips: pictures far from ImageNet, to test training with.

    python scripts/radar_chips.py runs/chips                                  # 4,000 pictures, about half a minute
    python scripts/radar_chips.py runs/few --num-train 500 --seed 7

These are NO radar measurements and show no real vehicle. Ten invented arrangements of point scatterers borrow class ids
of the taxonomy, because a manifest needs labels from there; what a network learns here says nothing about the vehicles
that bear these names. What the set shares with measured chips is its difficulty: a greyscale square with an object of
some 25 px in the middle, a few bright points that come and go as the object turns, a shadow away from the radar,
speckle, and a background that does not tell the class. Training and test are seen at slightly different depression
angles, as is usual with such sets, and show different copies of each vehicle.

The same seed gives the same pictures. The vehicles are the same for every seed; copies, poses and backgrounds change.
N vehicles' points, S side in px, f spatial frequencies; lengths in metres, x ahead, y to the left, z up.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from vision.data.check import read_file_facts, with_file_facts
from vision.data.manifest import manifest_from_rows, save_manifest
from vision.files import whole_file

CLASSES = (
    "2s19-msta-s",
    "bmp-2",
    "brdm-2",
    "btr-80",
    "mt-lb",
    "shilka",
    "strela-10",
    "t-72",
    "t-90",
    "ural-4320",
)
PIXEL_M = 0.3
RESOLUTION_PX = 1.7  # half-power width of a point; measured chips are sampled somewhat finer than they resolve
DEPRESSION_DEG = {"train": 17.0, "calibration": 17.0, "test": 15.0}
COPIES = {"train": 4, "calibration": 2, "test": 3}
"""Vehicles of each class; a copy is a group, and in one split only."""

Floats = NDArray[np.float64]
_SOURCE = "synthetic stand-in, no radar measurement"


@dataclass(frozen=True)
class Vehicle:
    """Point scatterers and the box that throws the shadow.

    Attributes:
        points: (N, 3) in m.
        strength: (N,), amplitude where a point is seen best; clutter has about 1.
        facing: (N,) rad, the direction from which it is seen best.
        opening: (N,) rad, how wide the sector is in which it is seen.
        size: Length, width, height in m.
    """

    points: Floats
    strength: Floats
    facing: Floats
    opening: Floats
    size: Floats


def main(
    out: Annotated[Path, typer.Argument(help="The data set's folder.")],
    num_train: Annotated[int, typer.Option(min=10, help="Pictures to train on.")] = 2500,
    num_calibration: Annotated[int, typer.Option(min=0, help="Pictures for calibration.")] = 500,
    num_test: Annotated[int, typer.Option(min=0, help="Pictures for testing.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other pictures of the same ten vehicles.")] = 0,
    size_px: Annotated[int, typer.Option(min=48, help="Side of a chip.")] = 128,
) -> None:
    """Draw synthetic stand-ins for radar chips: ten classes, speckle, shadows, no measurements. CC0."""
    wanted = {"train": num_train, "calibration": num_calibration, "test": num_test}
    shots = [shot for split, count in wanted.items() for shot in shots_of(split, count)]

    def drawn(shot: Shot) -> dict[str, str | int | None]:
        name = f"images/{shot.class_id}-{shot.split}-{shot.number:05}.png"
        with whole_file(out / name) as temporary:
            Image.fromarray(draw_chip(shot, seed=seed, size_px=size_px)).save(temporary, "PNG")
        return _row_of(shot, name)

    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(drawn, shots))
    manifest = manifest_from_rows(out / "manifest.csv", rows)
    save_manifest(with_file_facts(manifest, read_file_facts(manifest)), manifest.path)
    typer.echo(f"{len(rows)} synthetic chips in {manifest.path}")


@dataclass(frozen=True)
class Shot:
    """One picture to be drawn: which class, split and copy of the vehicle, and its number in class and split."""

    class_id: str
    split: str
    copy: int
    number: int


def shots_of(split: str, count: int) -> Iterator[Shot]:
    """`count` pictures of a split, classes and copies as often as each other."""
    for picture in range(count):
        number, kind = divmod(picture, len(CLASSES))
        yield Shot(CLASSES[kind], split, number % COPIES[split], number)


def draw_chip(shot: Shot, *, seed: int, size_px: int) -> NDArray[np.uint8]:
    """One chip, (S, S): the echo of a vehicle on rough ground, seen from the top edge."""
    key = [seed, zlib.crc32(f"{shot.class_id}/{shot.split}".encode())]
    vehicle = varied_copy(designed_vehicle(shot.class_id), np.random.default_rng([*key, shot.copy, 1]))
    random = np.random.default_rng([*key, shot.number, 2])
    azimuth = random.uniform(0, 2 * np.pi)
    depression = np.radians(DEPRESSION_DEG[shot.split] + random.normal(0, 0.2))
    centre_m = random.normal(0, 0.6 * PIXEL_M, 2)
    ground = clutter(size_px, random) * ~shadow_of(vehicle, azimuth, depression, centre_m, size_px)
    ground = ground + 0.12 * _complex_normal((size_px, size_px), random)  # the receiver's noise, in shadows too
    spectrum = np.fft.fft2(ground) + echo_spectrum(vehicle, azimuth, depression, centre_m, size_px, random)
    magnitude = np.abs(np.fft.ifft2(spectrum * _passband(size_px)))
    return _as_grey(magnitude, random)


def designed_vehicle(class_id: str) -> Vehicle:
    """The invented vehicle of a class: the same in every data set."""
    random = np.random.default_rng(zlib.crc32(f"design of {class_id}".encode()))
    count = int(random.integers(18, 31))
    size = np.array([random.uniform(5.8, 7.4), random.uniform(2.6, 3.3), random.uniform(2.0, 2.8)])
    points = random.uniform(-0.5, 0.5, (count, 3)) * size
    on_edge = random.random(count) < 0.6  # corners and edges shine more than the middle of a plate
    side = random.integers(0, 2, count)
    rows = np.flatnonzero(on_edge)
    points[rows, side[rows]] = np.sign(points[rows, side[rows]]) * size[side[rows]] / 2
    points[:, 2] += size[2] / 2
    outward = np.arctan2(points[:, 1] / size[1], points[:, 0] / size[0])
    return Vehicle(
        points=points,
        strength=random.lognormal(3.0, 0.6, count),
        facing=outward + random.normal(0, 0.5, count),
        opening=random.uniform(0.8, 2.6, count),
        size=size,
    )


def varied_copy(vehicle: Vehicle, random: np.random.Generator) -> Vehicle:
    """Another copy of a vehicle: parts are mounted a little elsewhere, some are missing, some shine more."""
    count = len(vehicle.points)
    kept = random.random(count) > 0.04
    return replace(
        vehicle,
        points=vehicle.points + random.normal(0, 0.05, (count, 3)),
        strength=vehicle.strength * kept * random.lognormal(0, 0.2, count),
        facing=vehicle.facing + random.normal(0, 0.08, count),
    )


def echo_spectrum(
    vehicle: Vehicle,
    azimuth: float,
    depression: float,
    centre_m: Floats,
    size_px: int,
    random: np.random.Generator,
) -> NDArray[np.complex128]:
    """Fourier transform (f, f) of the points' echo, rows along range.

    High points come too early: they are nearer to the radar than the ground below them (layover).
    """
    across, along = _turned(vehicle.points[:, :2], azimuth)
    reach = (along + centre_m[1]) * np.cos(depression) - vehicle.points[:, 2] * np.sin(depression)
    # From the top edge the radar looks along +y of the picture: it sees what faces -y.
    off = np.angle(np.exp(1j * (vehicle.facing + azimuth + np.pi / 2)))
    seen = np.exp(-2 * (off / vehicle.opening) ** 2) + 0.05
    phase = random.uniform(0, 2 * np.pi, len(seen))  # a wavelength is far below a pixel: any phase is as likely
    amplitude = vehicle.strength * seen * np.exp(1j * phase)
    frequency = np.fft.fftfreq(size_px)
    middle = size_px / 2
    rows = np.exp(-2j * np.pi * np.outer(frequency, reach / PIXEL_M + middle))  # (f, N)
    columns = np.exp(-2j * np.pi * np.outer(frequency, (across + centre_m[0]) / PIXEL_M + middle))
    return np.asarray((rows * amplitude) @ columns.T)


def shadow_of(vehicle: Vehicle, azimuth: float, depression: float, centre_m: Floats, size_px: int) -> NDArray[np.bool_]:
    """Which pixels (S, S) the radar does not reach: a ray towards it meets the vehicle's box.

    Args:
        vehicle: Its `size` is the box.
        azimuth: Turn of the vehicle in rad.
        depression: Of the line of sight below the horizon, in rad.
        centre_m: Where the vehicle stands, across and along.
        size_px: S.
    """
    axis = (np.arange(size_px) - size_px / 2) * PIXEL_M
    across, along = np.meshgrid(axis - centre_m[0], axis / np.cos(depression) - centre_m[1])
    start = np.stack(_turned(np.stack([across.ravel(), along.ravel()], axis=1), -azimuth))  # (2, S * S)
    towards = np.array([[-np.sin(azimuth)], [-np.cos(azimuth)]])  # -y of the picture, in the vehicle's axes
    half = vehicle.size[:2, None] / 2
    towards = np.where(np.abs(towards) < 1e-9, 1e-9, towards)
    first, second = (-half - start) / towards, (half - start) / towards
    enters = np.minimum(first, second).max(axis=0)
    leaves = np.maximum(first, second).min(axis=0)
    reach = 0.85 * vehicle.size[2] / np.tan(depression)
    hidden = (enters <= leaves) & (leaves >= 0) & (enters <= reach)
    return np.asarray(hidden.reshape(size_px, size_px))


def clutter(size_px: int, random: np.random.Generator) -> NDArray[np.complex128]:
    """Echo of rough ground (S, S) with brighter and darker patches: fully developed speckle on a random texture."""
    frequency = np.fft.fftfreq(size_px)
    radius = np.hypot(frequency[:, None], frequency)
    patch_px = random.uniform(4, 24)
    texture = np.fft.ifft2(np.fft.fft2(random.normal(size=radius.shape)) * np.exp(-((radius * patch_px) ** 2))).real
    texture *= random.uniform(0.1, 0.6) / texture.std()
    return np.exp(texture / 2) * _complex_normal(radius.shape, random)


def _turned(points: Floats, angle: float) -> tuple[Floats, Floats]:
    """Coordinates of (N, 2) points after a turn."""
    x, y = points[:, 0], points[:, 1]
    return np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y


def _complex_normal(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.complex128]:
    """Circular complex normal noise of mean power 1: its magnitude is Rayleigh's."""
    return np.asarray((random.normal(size=shape) + 1j * random.normal(size=shape)) / np.sqrt(2))


def _passband(size_px: int) -> Floats:
    """Weights of the frequencies (f, f): a Gaussian taper, so that bright points have no side lobes."""
    width = RESOLUTION_PX / (2 * np.sqrt(np.log(2)))  # px, e-folding of the amplitude
    weight = np.exp(-((np.pi * np.fft.fftfreq(size_px) * width) ** 2))
    return np.outer(weight, weight)


def _as_grey(magnitude: Floats, random: np.random.Generator) -> NDArray[np.uint8]:
    """Magnitudes as 8 bits with a gain that says nothing about the class; the brightest points are clipped."""
    gain = 45 * random.lognormal(0, 0.2)
    return np.clip(gain * magnitude + 0.5, 0, 255).astype(np.uint8)


def _row_of(shot: Shot, name: str) -> dict[str, str | int | None]:
    return {
        "file_name": name,
        "label": shot.class_id,
        "split": shot.split,
        "group": f"{shot.class_id}-{shot.split}-{shot.copy}",
        "title": f"Synthetic stand-in for a radar chip, invented vehicle labelled {shot.class_id}, {shot.number}",
        "author": "the authors of vision",
        "licence": "CC0-1.0",
        "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
        "changes": _SOURCE,
        "depression": f"{DEPRESSION_DEG[shot.split]:.0f} degrees",
    }


if __name__ == "__main__":
    typer.run(main)
