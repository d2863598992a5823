"""Paint, wear and dirt: one texture for a whole vehicle, laid on from the side, from the front and from above.

Colours are linear reflectances. Lengths in m. H rows and W columns of the texture, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookalikes.common import Generator
from lookalikes.parts import Model

Colour = tuple[float, float, float]
Array = NDArray[np.float64]

_SCHEMES: dict[str, tuple[Colour, Colour, Colour]] = {
    "green": ((0.10, 0.13, 0.06), (0.10, 0.13, 0.06), (0.10, 0.13, 0.06)),
    "dark green": ((0.045, 0.06, 0.035), (0.045, 0.06, 0.035), (0.045, 0.06, 0.035)),
    "olive": ((0.14, 0.14, 0.08), (0.14, 0.14, 0.08), (0.14, 0.14, 0.08)),
    "sand": ((0.34, 0.28, 0.18), (0.34, 0.28, 0.18), (0.28, 0.23, 0.15)),
    "three colours": ((0.10, 0.13, 0.06), (0.19, 0.14, 0.08), (0.02, 0.02, 0.02)),
    "green and sand": ((0.10, 0.13, 0.06), (0.31, 0.26, 0.17), (0.10, 0.13, 0.06)),
    "green, sand and black": ((0.09, 0.12, 0.06), (0.30, 0.26, 0.17), (0.025, 0.025, 0.025)),
    "green and white": ((0.09, 0.12, 0.06), (0.09, 0.12, 0.06), (0.6, 0.62, 0.63)),
    "grey": ((0.17, 0.18, 0.18), (0.17, 0.18, 0.18), (0.26, 0.27, 0.27)),
}
_PLAIN: dict[str, Colour] = {
    "dark": (0.025, 0.025, 0.025),
    "rubber": (0.03, 0.03, 0.03),
    "metal": (0.06, 0.06, 0.065),
    "glass": (0.012, 0.016, 0.02),
    "canvas": (0.17, 0.15, 0.09),
    "red": (0.35, 0.03, 0.02),
}
_ROUGHNESS = {"glass": 0.08, "metal": 0.35, "dark": 0.6, "rubber": 0.85, "canvas": 0.9, "red": 0.3}
_DIRT: tuple[Colour, ...] = ((0.22, 0.17, 0.11), (0.12, 0.09, 0.06), (0.34, 0.29, 0.21), (0.17, 0.16, 0.14))

_SPAN_M = 16.0  # what a tile shows: x and y from -8 to 8, z from -0.5
_LARGE_PX, _SMALL_PX = 640, 160
_VIEWS = ("side", "front", "top")


@dataclass(frozen=True)
class PaintedMesh:
    """A vehicle ready to be rendered.

    Attributes:
        vertices: (3F, 3) float32, m; no two faces share one.
        faces: (F, 3) uint32.
        texture_coordinates: (3F, 2) float32 in [0, 1], from the first row and column.
        reflectance: (H, W, 3) float16.
        roughness: (H, W, 1) float16.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.uint32]
    texture_coordinates: NDArray[np.float32]
    reflectance: NDArray[np.float16]
    roughness: NDArray[np.float16]


def painted(vehicle: Model, random: Generator) -> PaintedMesh:
    """A vehicle in paint, camouflage, wear and dirt drawn at random."""
    tiles = _tiles(random)
    width = 3 * _LARGE_PX
    height = 2 * _LARGE_PX + 2 * _SMALL_PX
    reflectance = np.zeros((height, width, 3), np.float16)
    roughness = np.full((height, width, 1), 0.6, np.float16)
    corners: dict[tuple[str, str], tuple[int, int, int]] = {}
    small = 0
    for (paint, view), (colours, rough) in tiles.items():
        size = len(colours)
        if size == _LARGE_PX:
            top, left = (0 if paint == "body" else _LARGE_PX), _VIEWS.index(view) * _LARGE_PX
        else:
            top = 2 * _LARGE_PX + small // (width // _SMALL_PX) * _SMALL_PX
            left = small % (width // _SMALL_PX) * _SMALL_PX
            small += 1
        reflectance[top : top + size, left : left + size] = np.clip(colours, 0.004, 0.9)
        roughness[top : top + size, left : left + size] = rough
        corners[paint, view] = (top, left, size)

    vertices, coordinates = [], []
    for paint in sorted({paint for paint, _ in vehicle.parts}):
        mesh = trimesh.util.concatenate([mesh for name, mesh in vehicle.parts if name == paint])
        triangles = mesh.triangles  # (faces of this paint, 3 corners, 3 axes)
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        facing = np.abs(normals) @ np.diag([1.0, 1.0, 0.9])
        view_of_face = np.array([1, 0, 2])[facing.argmax(axis=1)]
        for index, view in enumerate(_VIEWS):
            chosen = view_of_face == index
            if chosen.any():
                vertices.append(triangles[chosen])
                place = _place_in_tile(triangles[chosen], normals[chosen], view)
                top, left, size = corners[paint, view]
                pixels = np.array([left, top]) + np.clip(place, 0.002, 0.998) * size
                coordinates.append(pixels / [width, height])
    points = np.concatenate(vertices).reshape(-1, 3)
    uv = np.concatenate(coordinates).reshape(-1, 2)
    return PaintedMesh(
        points.astype(np.float32),
        np.arange(len(points), dtype=np.uint32).reshape(-1, 3),
        uv.astype(np.float32),
        reflectance,
        roughness,
    )


def smooth_noise(random: Generator, size_px: int, cell: float, span: float) -> Array:
    """Noise of unit variance at its grid points, smooth over `cell` of `span`: (size_px, size_px)."""
    cells = max(2, round(span / cell))
    grid = random.normal(size=(cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((size_px, size_px), Image.Resampling.BICUBIC), dtype=np.float64)


def _place_in_tile(triangles: Array, normals: Array, view: str) -> Array:
    """Where the corners of faces lie in a tile: column and row in [0, 1] from its upper left."""
    x, y, z = triangles[..., 0], triangles[..., 1], triangles[..., 2]
    if view == "top":
        return np.stack([0.5 + x / _SPAN_M, 0.5 - y / _SPAN_M], axis=-1)
    up = 1 - (z + 0.5) / _SPAN_M
    if view == "side":  # mirrored on the left, so that writing reads well on both sides
        return np.stack([0.5 - np.sign(normals[:, 1])[:, None] * x / _SPAN_M, up], axis=-1)
    return np.stack([0.5 + np.sign(normals[:, 0])[:, None] * y / _SPAN_M, up], axis=-1)


def _tiles(random: Generator) -> dict[tuple[str, str], tuple[Array, Array]]:
    scheme = np.array(_SCHEMES[str(random.choice(list(_SCHEMES)))])
    tint = random.uniform(0.88, 1.14, 3) * random.uniform(0.75, 1.25)
    scale = float(random.uniform(1.0, 2.6))
    limits = np.sort(random.normal([-0.1, 0.75], 0.25))
    light = np.array([0.42, 0.43, 0.40]) * random.uniform(0.4, 1.1)
    light_is_body = bool(random.random() < 0.5)
    dirt = np.array(_DIRT[int(random.integers(len(_DIRT)))]) * random.uniform(0.7, 1.2)
    dirtiness, dirt_height = float(random.uniform(0.05, 0.95)), float(random.uniform(0.3, 1.4))
    gloss = float(random.uniform(0.35, 0.8))
    number = str(random.integers(100, 999)) if random.random() < 0.5 else ""
    tiles: dict[tuple[str, str], tuple[Array, Array]] = {}
    for paint in ("body", "light", *_PLAIN):
        size = _LARGE_PX if paint in ("body", "light") else _SMALL_PX
        for view in _VIEWS:
            if paint == "body" or (paint == "light" and light_is_body):
                pattern = smooth_noise(random, size, scale, _SPAN_M) + 0.25 * smooth_noise(random, size, 0.4, _SPAN_M)
                colours = scheme[np.digitize(pattern, limits)] * tint * (1.25 if paint == "light" else 1.0)
            else:
                colours = np.broadcast_to(light if paint == "light" else np.array(_PLAIN[paint]), (size, size, 3))
            rough = np.full((size, size, 1), _ROUGHNESS.get(paint, gloss))
            if paint == "body" and view != "top" and number:
                colours = _numbered(colours, number, random)
            if paint != "glass":
                colours = _worn(colours, random)
            cover = _dirt_cover(random, size, view, dirtiness, dirt_height) * (0.25 if paint == "glass" else 1.0)
            tiles[paint, view] = ((1 - cover) * colours + cover * dirt, (1 - cover) * rough + cover * 0.9)
    return tiles


def _worn(colours: Array, random: Generator) -> Array:
    """Bleached here, darker there, scratched to the metal in spots."""
    size = len(colours)
    fade = 1 + 0.10 * smooth_noise(random, size, 1.2, _SPAN_M) + 0.06 * random.normal(size=(size, size))
    spots = smooth_noise(random, size, 0.12, _SPAN_M) > random.uniform(2.2, 3.2)
    worn = colours * np.clip(fade, 0.5, 1.6)[..., None]
    worn[spots] = worn[spots] * 0.5 + 0.04
    return np.asarray(worn)


def _dirt_cover(random: Generator, size: int, view: str, dirtiness: float, dirt_height: float) -> Array:
    """How much of the paint dirt hides: (size, size, 1), 0 to 1. Mud from below, dust from above, streaks between."""
    patchy = 0.5 + 0.5 * np.tanh(smooth_noise(random, size, 0.5, _SPAN_M) + 0.6 * smooth_noise(random, size, 0.1, 8))
    if view == "top":
        return np.asarray(0.45 * dirtiness * patchy)[..., None]
    above = (1 - (np.arange(size) + 0.5) / size) * _SPAN_M - 0.5
    mud = dirtiness * np.exp(-np.maximum(above, 0) / dirt_height)[:, None] * (0.55 + 0.6 * patchy)
    streaks = smooth_noise(random, size, 0.1, _SPAN_M)[:1] * (0.5 + smooth_noise(random, size, 2.0, _SPAN_M))
    return np.asarray(np.clip(mud + 0.10 * dirtiness * np.maximum(streaks, 0), 0, 0.95))[..., None]


def _numbered(colours: Array, number: str, random: Generator) -> Array:
    """A tactical number in white on the tile, somewhere on hull or turret."""
    size = len(colours)
    per_m = size / _SPAN_M
    mask = Image.new("L", (size, size))
    font: Any = ImageFont.load_default(size=float(random.uniform(0.3, 0.55)) * per_m)
    place = (size / 2 + random.uniform(-2.5, 2.0) * per_m, size - (random.uniform(1.2, 2.6) + 0.5) * per_m)
    ImageDraw.Draw(mask).text(place, number, fill=255, font=font)
    share = np.asarray(mask, dtype=np.float64)[..., None] / 255
    return np.asarray((1 - share) * colours + share * 0.55)
