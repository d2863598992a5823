"""From light to a camera's picture: haze, exposure, tone, lens, motion, noise, JPEG. H rows, W columns."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from lookalikes.common import Generator

Array = NDArray[np.float64]

_VEILS: dict[str, tuple[float, float, tuple[float, float, float]]] = {
    # shortest and longest reach as a multiple of the distance to the vehicle, colour against grey
    "clear": (30, 200, (0.96, 0.99, 1.04)),
    "overcast": (20, 150, (0.98, 1.0, 1.02)),
    "dusk": (20, 120, (1.05, 0.98, 0.95)),
    "haze": (2.2, 8, (0.98, 1.0, 1.02)),
    "rain": (3, 15, (0.97, 1.0, 1.02)),
    "dust": (1.8, 7, (1.12, 1.0, 0.82)),
}


def developed(radiance: Array, depth: Array, random: Generator, weather: str, distance: float) -> Image.Image:
    """A picture of 8 bits a channel.

    Args:
        radiance: (H, W, 3), linear.
        depth: (H, W) in m, 0 where there is only sky.
        random: Of the camera and the weather.
        weather: One of the names in `Shot.weather`.
        distance: From the camera to the vehicle, in m.
    """
    light = _veiled(np.maximum(np.nan_to_num(radiance), 0), depth, random, weather, distance)
    light = _blurred(light, random)
    middle = light[light.shape[0] // 4 : -light.shape[0] // 4, light.shape[1] // 4 : -light.shape[1] // 4]
    metered = 0.5 * np.percentile(light.mean(axis=-1), 60) + 0.5 * middle.mean()
    exposure = 0.22 * float(np.exp(random.normal(0, 0.25))) / max(float(metered), 1e-6)
    toned = 1 - np.exp(-1.6 * light * exposure * (1 + random.normal(0, 0.035, 3)))
    values = np.clip(toned, 0, 1) ** (1 / 2.2)
    contrast = float(random.uniform(0.0, 0.9))  # how far along the way to an S-shaped curve
    values = (1 - contrast) * values + contrast * values**2 * (3 - 2 * values)
    grey = values.mean(axis=-1, keepdims=True)
    values = grey + (values - grey) * float(random.uniform(0.75, 1.4))
    rows, columns = values.shape[:2]
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    values = values * (1 - float(random.uniform(0, 0.18)) * (x**2 + y**2))[..., None]
    if weather == "rain":
        values = values + 0.06 * _streaks(random, (rows, columns))[..., None]
    picture = Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))
    if random.random() < 0.5:
        picture = picture.filter(
            ImageFilter.UnsharpMask(radius=1.2, percent=int(random.integers(30, 140)), threshold=2)
        )
    coarse = random.normal(0, 1, ((rows + 1) // 2, (columns + 1) // 2, 3)).repeat(2, 0).repeat(2, 1)[:rows, :columns]
    noise = float(np.exp(random.uniform(math.log(0.3), math.log(5.0)))) * (
        0.7 * random.normal(0, 1, values.shape) + 0.5 * coarse
    )
    noisy = np.asarray(picture, dtype=np.float64) + noise
    if random.random() < 0.08:
        noisy = np.repeat(noisy.mean(axis=-1, keepdims=True), 3, axis=-1)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def compressed(picture: Image.Image, random: Generator) -> bytes:
    """The picture as a JPEG of a quality drawn at random."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(random.integers(62, 93)))
    return stream.getvalue()


def _veiled(light: Array, depth: Array, random: Generator, weather: str, distance: float) -> Array:
    shortest, longest, tint = _VEILS[weather]
    seen = np.where(depth > 0, depth, 60 * distance)
    reach = distance * float(np.exp(random.uniform(math.log(shortest), math.log(longest))))
    veil = 1 - np.exp(-seen / reach)[..., None]
    colour = np.percentile(light.mean(axis=-1), 85) * np.array(tint) * random.uniform(0.8, 1.05)
    # The sky keeps its own colours in clear air.
    veil = np.where(depth[..., None] > 0, veil, veil if weather in ("haze", "rain", "dust") else 0.25 * veil)
    return np.asarray((1 - veil) * light + veil * colour)


def _blurred(light: Array, random: Generator) -> Array:
    """A lens a little out of focus, and at times a camera that moved."""
    radius = float(random.choice([0.0, 0.0, 0.4, 0.7, 1.0]))
    moved = int(random.choice([1, 1, 1, 1, 2, 3]))
    out_of_focus = ndimage.gaussian_filter(np.minimum(light, 50), (radius, radius, 0)) if radius else light
    return np.asarray(ndimage.uniform_filter1d(out_of_focus, moved, axis=1))


def _streaks(random: Generator, shape: tuple[int, int]) -> Array:
    drops = (random.random(shape) > 0.996).astype(np.float64)
    lean = int(random.integers(-3, 4))
    streaks = sum(np.roll(drops, (shift, lean * shift // 4), axis=(0, 1)) for shift in range(10))
    return np.clip(np.asarray(streaks), 0, 1)
