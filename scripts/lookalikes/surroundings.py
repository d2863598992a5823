"""Where a vehicle stands: the ground with its relief, what grows and stands on it, and what hides part of the view.

A place is drawn once and used for every class. Lengths in m, colours as linear reflectances, F faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from lookalikes.common import Generator
from lookalikes.paint import smooth_noise
from lookalikes.parts import Mesh, Model, box, disc, prism, tube

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

_GROUNDS: dict[str, tuple[Colour, Colour]] = {
    "grass": ((0.07, 0.11, 0.035), (0.15, 0.16, 0.06)),
    "dry grass": ((0.22, 0.19, 0.10), (0.13, 0.13, 0.06)),
    "soil": ((0.20, 0.15, 0.10), (0.28, 0.22, 0.15)),
    "sand": ((0.42, 0.35, 0.24), (0.36, 0.29, 0.20)),
    "asphalt": ((0.09, 0.09, 0.09), (0.14, 0.14, 0.14)),
    "concrete": ((0.34, 0.33, 0.31), (0.26, 0.26, 0.24)),
    "snow": ((0.75, 0.77, 0.80), (0.50, 0.50, 0.50)),
}
_GROUND_SHARES = (0.25, 0.16, 0.16, 0.1, 0.17, 0.1, 0.06)
_BLADES = {"grass": 1.0, "dry grass": 1.0, "soil": 0.15}
_GROUND_PX, _GROUND_M = 1024, 48.0
_FLAT_M = 8.0  # no relief nearer to the vehicle, which would float or sink


@dataclass(frozen=True)
class Coloured:
    """Triangles with a colour each.

    Attributes:
        triangles: (F, 3, 3) corners in m.
        colours: (F, 3) reflectances.
    """

    triangles: Array
    colours: Array


@dataclass(frozen=True)
class Thing:
    """Something that stands at a place.

    Attributes:
        x: Of its middle.
        y: Of its middle.
        reach: Radius of what it covers on the ground.
        shape: Its triangles.
    """

    x: float
    y: float
    reach: float
    shape: Coloured


@dataclass(frozen=True)
class Place:
    """A ground and what stands on it, the vehicle's stand at the origin.

    Attributes:
        kind: Of the ground.
        waves: Amplitude, direction, wave length and phase of the relief: (num_waves, 4).
        ground_colours: (1024, 1024, 3), repeated over the plain.
        things: Nearest 12 m away, farthest 260 m.
        leaf: Colour of what grows here at this time of the year.
    """

    kind: str
    waves: Array
    ground_colours: NDArray[np.float16]
    things: tuple[Thing, ...]
    leaf: Array

    def height_at(self, x: Any, y: Any) -> Any:
        """Height of the ground; 0 near the vehicle."""
        relief = sum(
            amplitude * np.sin((x * math.cos(angle) + y * math.sin(angle)) / length + phase)
            for amplitude, angle, length, phase in self.waves
        )
        return relief * np.clip((np.hypot(x, y) - _FLAT_M) / 25, 0, 1)


def drawn_place(random: Generator) -> Place:
    """A place drawn at random."""
    kind = str(random.choice(list(_GROUNDS), p=_GROUND_SHARES))
    rough = float(random.uniform(0.2, 1.2))
    waves = np.stack(
        [
            random.uniform(0.03, 0.16, 12) * rough * np.repeat([1.5, 0.25], 6),
            random.uniform(0, 2 * math.pi, 12),
            np.repeat([11.0, 2.5], 6) * random.uniform(0.6, 1.8, 12),
            random.uniform(0, 2 * math.pi, 12),
        ],
        axis=1,
    )
    leaves = [(0.05, 0.09, 0.025), (0.08, 0.11, 0.03), (0.035, 0.06, 0.025), (0.20, 0.14, 0.04), (0.13, 0.12, 0.09)]
    leaf = np.array(leaves[int(random.integers(len(leaves)))])
    place = Place(kind, waves, _ground_colours(random, kind), (), leaf)
    things = []
    for _ in range(int(random.integers(6, 26))):
        far = float(np.exp(random.uniform(math.log(12), math.log(90))))
        things.append(_standing(random, place, far, float(random.uniform(0, 2 * math.pi))))
    if random.random() < 0.75:  # the edge of a wood, or a row of houses
        start, width, far = random.uniform(0, 2 * math.pi), random.uniform(1.2, 5.0), random.uniform(60, 200)
        kind_of_row = str(random.choice(["tree", "tree", "tree", "house"]))
        num = int(width * (far / 4.5 if kind_of_row == "tree" else far / 16))
        things += [
            _standing(random, place, float(far * random.uniform(0.9, 1.2)), float(angle), kind_of_row, coarse=True)
            for angle in np.linspace(start, start + width, num)
        ]
    return Place(kind, waves, place.ground_colours, tuple(things), leaf)


def ground_mesh(place: Place) -> tuple[Array, NDArray[np.uint32], Array]:
    """The plain to 3 km: vertices (V, 3), faces (F, 3), texture coordinates (V, 2)."""
    side, num = 3000.0, 170
    steps = np.linspace(-1, 1, num)
    axis = np.sign(steps) * np.abs(steps) ** 4 * side  # fine near the vehicle
    xs, ys = np.meshgrid(axis, axis)
    zs = place.height_at(xs, ys) - 0.01
    vertices = np.stack([xs, ys, zs], axis=-1).reshape(-1, 3)
    index = np.arange(num * num, dtype=np.uint32).reshape(num, num)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    return vertices, faces, vertices[:, :2] / _GROUND_M


def grass(random: Generator, place: Place, camera: Array) -> list[Coloured]:
    """Blades round the vehicle and towards the camera."""
    share = _BLADES.get(place.kind, 0.0)
    num = int(share * random.uniform(8_000, 30_000))
    if not num:
        return []
    along = random.uniform(0, 0.9, num)[:, None] ** 1.5
    spread = 9 * (1 - along) + 1.5
    points = along * camera[:2] + random.normal(0, 1, (num, 2)) * spread
    base = np.column_stack([points, place.height_at(points[:, 0], points[:, 1]) - 0.02])
    height = random.uniform(0.05, random.uniform(0.12, 0.4), num)
    width = 0.25 * height
    turn = random.uniform(0, 2 * math.pi, num)
    side = np.column_stack([np.cos(turn) * width, np.sin(turn) * width, np.zeros(num)])
    tip = base + np.column_stack([random.normal(0, 0.4, (num, 2)) * height[:, None], height])
    low, high = (np.array(colour) for colour in _GROUNDS[place.kind])
    mix = random.random((num, 1))
    colours = ((1 - mix) * low + mix * high) * random.uniform(0.7, 1.4, (num, 1))
    return [Coloured(np.stack([base - side, base + side, tip], axis=1), colours)]


def in_front(random: Generator, place: Place, camera: Array, size: float, tall: float, num: int) -> list[Coloured]:
    """Things between camera and vehicle, near the line of sight.

    Args:
        random: Of kind and place.
        place: The ground that they stand on.
        camera: Where the camera stands.
        size: Largest extent of the vehicle on the ground.
        tall: Height of the vehicle.
        num: How many.
    """
    things: list[Coloured] = []
    reach = float(np.linalg.norm(camera[:2]))
    to_camera = camera[:2] / reach
    across = np.array([-to_camera[1], to_camera[0]])
    nearest = min(0.6 * size + 0.5, 0.6 * reach)
    for _ in range(num):
        along = float(random.uniform(nearest, max(nearest + 0.1, 0.5 * reach)))
        narrowing = 1 - along / reach
        x, y = to_camera * along + across * random.uniform(-0.5, 0.5) * size * narrowing
        kind = str(random.choice(["tree", "bush", "bush", "pole", "person", "person", "box", "branches"]))
        line_of_sight = camera[2] * along / reach + tall / 2 * narrowing
        things.append(
            _made(random, place, float(x), float(y), kind, max(0.5, line_of_sight * random.uniform(0.8, 1.6))).shape
        )
    return things


def behind(place: Place, camera: Array, room: float) -> list[Coloured]:
    """All of a place's things but those that stand in the view of the vehicle, or on it."""
    reach = float(np.linalg.norm(camera[:2]))
    to_camera = camera[:2] / reach
    shown = []
    for thing in place.things:
        along = thing.x * to_camera[0] + thing.y * to_camera[1]
        aside = abs(-thing.x * to_camera[1] + thing.y * to_camera[0])
        hides = along > 0 and aside < room + thing.reach
        if not hides and math.hypot(thing.x, thing.y) > room + thing.reach:
            shown.append(thing.shape)
    return shown


def _ground_colours(random: Generator, kind: str) -> NDArray[np.float16]:
    first, second = (np.array(colour) * random.uniform(0.8, 1.15) for colour in _GROUNDS[kind])
    octaves = ((8.0, 0.5), (2.0, 0.35), (0.5, 0.25), (0.12, 0.25))
    pattern = sum(weight * smooth_noise(random, _GROUND_PX, cell, _GROUND_M) for cell, weight in octaves)
    mix = np.clip(0.5 + 0.6 * np.asarray(pattern), 0, 1)[..., None]
    colours = (1 - mix) * first + mix * second
    colours = colours * (1 + 0.12 * random.normal(size=(_GROUND_PX, _GROUND_PX, 1)))
    if random.random() < 0.5:  # where wheels have been
        rows = np.arange(_GROUND_PX) / _GROUND_PX * _GROUND_M
        bend = 1.5 * np.sin(rows / 7 + random.uniform(0, 6)) + random.uniform(8, 40)
        for shift in (-1.2, 1.2):
            off = np.abs(rows[None, :] - bend[:, None] - shift)
            rut = np.clip(1 - off / 0.35, 0, 1)[..., None] * 0.5
            colours = (1 - rut) * colours + rut * second * 0.7
    return np.clip(colours, 0.01, 0.9).astype(np.float16)


def _standing(
    random: Generator, place: Place, far: float, angle: float, kind: str = "", *, coarse: bool = False
) -> Thing:
    kind = kind or str(
        random.choice(["tree", "tree", "tree", "bush", "wall", "pole", "box", "house", "car", "truck", "person"])
    )
    tall = {"tree": random.uniform(4, 14), "bush": random.uniform(0.6, 2), "pole": random.uniform(4, 9)}.get(
        kind, random.uniform(1.2, 3.0)
    )
    return _made(random, place, far * math.cos(angle), far * math.sin(angle), kind, float(tall), coarse=coarse)


def _made(
    random: Generator, place: Place, x: float, y: float, kind: str, tall: float, *, coarse: bool = False
) -> Thing:
    z = float(place.height_at(x, y))
    if kind in ("tree", "bush", "branches"):
        shape, reach = _plant(random, place, kind, tall, coarse=coarse), 0.35 * tall
    elif kind == "pole":
        shape, reach = _plain(tube((0, 0, -0.3), (0, 0, tall), 0.06 + 0.008 * tall, sections=8), (0.2, 0.19, 0.17)), 0.3
    elif kind == "person":
        shape, reach = _person(random), 0.4
    elif kind in ("car", "truck"):
        shape, reach = _road_vehicle(random, kind), 3.5
    else:
        shape, reach = _block(random, kind, tall)
    return Thing(x, y, reach, Coloured(shape.triangles + np.array([x, y, z]), shape.colours))


def _plant(random: Generator, place: Place, kind: str, tall: float, *, coarse: bool) -> Coloured:
    """A stem and leaves: small triangles in clumps."""
    num_leaves = int((350 if coarse else 8000) * (1.0 if kind == "tree" else 0.5))
    num_clumps = 16 if kind == "tree" else 7
    low, high = {"tree": (0.35, 0.95), "bush": (0.1, 0.8), "branches": (0.55, 1.0)}[kind]
    spread = tall * (0.14 if kind != "bush" else 0.35)
    clumps = np.column_stack(
        [random.normal(0, spread, (num_clumps, 2)), random.uniform(low * tall, high * tall, num_clumps)]
    )
    chosen = random.integers(0, num_clumps, num_leaves)
    middles = clumps[chosen] + random.normal(0, 0.075 * tall, (num_leaves, 3))
    size = (0.05 * tall + 0.03) if coarse else (0.006 * tall + 0.016)
    corners = middles[:, None, :] + random.normal(0, size, (num_leaves, 3, 3))
    shade = random.uniform(0.6, 1.4, (num_clumps, 1))[chosen] * random.uniform(0.75, 1.3, (num_leaves, 1))
    leaves = Coloured(corners, np.clip(place.leaf * shade, 0.005, 0.9))
    stem = _plain(tube((0, 0, -0.4), (0, 0, 0.75 * tall), 0.022 * tall, sections=7), (0.09, 0.07, 0.055))
    return leaves if kind == "bush" else _joined([leaves, stem])


def _person(random: Generator) -> Coloured:
    cloth, skin = random.uniform(0.03, 0.25) * random.uniform(0.6, 1.3, 3), (0.3, 0.2, 0.15)
    stand = float(random.uniform(0.92, 1.08))
    legs = [_plain(tube((0, y, 0), (0, y * 0.7, 0.85), 0.08, 0.1, sections=8), cloth * 0.8) for y in (-0.13, 0.13)]
    arms = [_plain(tube((0, y, 1.4), (0.08, y * 1.25, 0.8), 0.055, sections=8), cloth) for y in (-0.24, 0.24)]
    torso = _plain(box(0.24, 0.42, 0.62, (0, 0, 0.82)), cloth)
    head = _plain(box(0.2, 0.17, 0.24, (0, 0, 1.5)), skin)
    turned = _joined([*legs, *arms, torso, head])
    return Coloured(_turned(turned.triangles, float(random.uniform(0, 6.3))) * stand, turned.colours)


def _road_vehicle(random: Generator, kind: str) -> Coloured:
    paint = random.uniform(0.03, 0.6) * random.uniform(0.7, 1.2, 3)
    model = Model()
    if kind == "car":
        model.add("body", prism([(-2.1, 0.35), (-2.15, 0.85), (2.1, 0.8), (2.2, 0.4)], 1.75))
        model.add("glass", prism([(-1.7, 0.85), (-1.2, 1.4), (0.3, 1.42), (1.1, 0.85)], 1.6, top_width=1.35))
        axles = ((-1.3, 0.32), (1.35, 0.32))
    else:
        model.add("body", box(1.9, 2.3, 1.9, (2.2, 0, 0.7)), box(4.6, 2.4, random.uniform(0.7, 2.2), (-1.3, 0, 1.1)))
        model.add("glass", box(0.1, 2.0, 0.7, (3.13, 0, 1.7)))
        axles = ((-2.4, 0.48), (2.2, 0.48))
    for x, radius in axles:
        model.add("rubber", *(disc((x, y, radius), radius, 0.3, (0, 1, 0)) for y in (-0.8, 0.8)))
    colours = {"body": paint, "glass": (0.02, 0.025, 0.03), "rubber": (0.03, 0.03, 0.03)}
    joined = _joined([_plain(mesh, colours[name]) for name, mesh in model.parts])
    return Coloured(_turned(joined.triangles, float(random.uniform(0, 6.3))), joined.colours)


def _block(random: Generator, kind: str, tall: float) -> tuple[Coloured, float]:
    colour = random.uniform(0.08, 0.5) * random.uniform(0.8, 1.15, 3)
    if kind == "house":
        length, width, walls = random.uniform(7, 14), random.uniform(5, 9), random.uniform(2.6, 6)
        roof = prism([(-width / 2, walls), (0, walls + random.uniform(0.3, 2.5)), (width / 2, walls)], length)
        shape = [_plain(box(width, length, walls, (0, 0, 0)), colour), _plain(roof, colour * random.uniform(0.3, 0.8))]
        shape += [
            _plain(box(width + 0.06, 1.0, 1.2, (0, side, 1.0)), (0.03, 0.035, 0.04))
            for side in np.arange(-length / 2 + 1, length / 2 - 0.5, 2.2)
        ]
        reach = length / 2
    else:
        length = tall * random.uniform(1, 3) if kind == "wall" else random.uniform(0.8, 2.4)
        width = 0.35 if kind == "wall" else random.uniform(0.6, 1.6)
        height = tall if kind == "wall" else min(tall, random.uniform(0.5, 1.6))
        shape, reach = [_plain(box(width, length, height + 0.4, (0, 0, -0.4)), colour)], length / 2
    joined = _joined(shape)
    return Coloured(_turned(joined.triangles, float(random.uniform(0, 6.3))), joined.colours), float(reach)


def _plain(mesh: Mesh, colour: Any) -> Coloured:
    triangles = np.asarray(mesh.triangles)
    return Coloured(triangles, np.tile(np.asarray(colour, dtype=float), (len(triangles), 1)))


def _joined(shapes: list[Coloured]) -> Coloured:
    return Coloured(
        np.concatenate([shape.triangles for shape in shapes]), np.concatenate([shape.colours for shape in shapes])
    )


def _turned(triangles: Array, angle: float) -> Array:
    matrix = trimesh.transformations.rotation_matrix(angle, (0, 0, 1))[:3, :3]
    return np.asarray(triangles @ matrix.T)
