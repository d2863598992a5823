"""Parts that vehicles are built from: meshes in metres with the name of their paint.

x points forward, y to the left, z up; the ground is z = 0, the middle of the vehicle x = 0. V vertices, F faces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import trimesh
from numpy.typing import NDArray

Point = tuple[float, float, float]
Mesh = trimesh.Trimesh


@dataclass
class Model:
    """A vehicle, or a piece of one: meshes by paint.

    Attributes:
        parts: Pairs of paint (`body`, `dark`, `rubber`, `metal`, `glass`, `light`, `canvas`, `red`) and mesh.
        cues: The cues of the taxonomy that the model shows, in words.
    """

    parts: list[tuple[str, Mesh]] = field(default_factory=list)
    cues: list[str] = field(default_factory=list)

    def add(self, paint: str, *meshes: Mesh) -> Model:
        """Add meshes of one paint."""
        self.parts.extend((paint, mesh) for mesh in meshes)
        return self

    def join(self, other: Model) -> Model:
        """Add all of another model's parts and cues."""
        self.parts.extend(other.parts)
        self.cues.extend(other.cues)
        return self

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Model:
        """The same, shifted."""
        return self._transformed(trimesh.transformations.translation_matrix((x, y, z)))

    def turned(self, degrees: float, axis: Point = (0, 0, 1), about: Point = (0, 0, 0)) -> Model:
        """The same, turned about a point."""
        return self._transformed(trimesh.transformations.rotation_matrix(math.radians(degrees), axis, about))

    def mirrored(self) -> Model:
        """The same, left and right exchanged."""
        return self._transformed(np.diag([1.0, -1.0, 1.0, 1.0]))

    def _transformed(self, matrix: NDArray[np.float64]) -> Model:
        parts = []
        for paint, mesh in self.parts:
            copy = mesh.copy()
            copy.apply_transform(matrix)
            parts.append((paint, copy))
        return Model(parts, list(self.cues))


def box(length: float, width: float, height: float, at: Point) -> Mesh:
    """A box whose bottom's middle is at a point."""
    x, y, z = at
    mesh = trimesh.creation.box((length, width, height))
    mesh.apply_translation((x, y, z + height / 2))
    return mesh


def prism(profile: Sequence[tuple[float, float]], width: float, y: float = 0.0, top_width: float | None = None) -> Mesh:
    """A convex side view (x, z) drawn out across the vehicle, by default straight, else narrower at its highest points.

    Args:
        profile: Corners of the side view.
        width: Across, at the lowest corners.
        y: Middle.
        top_width: Across, at the highest corners; corners between go in proportion.
    """
    lowest, highest = min(z for _, z in profile), max(z for _, z in profile)
    top = width if top_width is None else top_width
    points = []
    for x, z in profile:
        share = 0.0 if highest == lowest else (z - lowest) / (highest - lowest)
        half = (width + share * (top - width)) / 2
        points += [(x, y - half, z), (x, y + half, z)]
    return trimesh.convex.convex_hull(np.array(points))


def loft(outlines: Iterable[Sequence[Point]]) -> Mesh:
    """The convex hull of several outlines."""
    return trimesh.convex.convex_hull(np.array([point for outline in outlines for point in outline]))


def tube(start: Point, end: Point, radius: float, end_radius: float | None = None, sections: int = 20) -> Mesh:
    """A round bar from one point to another, a cone's stump if the radii differ."""
    if end_radius is None or end_radius == radius:
        return trimesh.creation.cylinder(radius, segment=(start, end), sections=sections)
    along = np.subtract(end, start)
    axis = along / np.linalg.norm(along)
    helper = np.array([0.0, 0.0, 1.0]) if abs(axis[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    side = np.cross(axis, helper)
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    angles = np.linspace(0, 2 * math.pi, sections, endpoint=False)
    ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * other
    return trimesh.convex.convex_hull(np.concatenate([start + radius * ring, end + max(end_radius, 1e-3) * ring]))


def disc(at: Point, radius: float, thickness: float, axis: Point) -> Mesh:
    """A flat round plate with its middle at a point."""
    half = thickness / 2 * np.asarray(axis) / np.linalg.norm(axis)
    return tube(tuple(np.subtract(at, half)), tuple(np.add(at, half)), radius, sections=28)


def dish(at: Point, radius: float, depth: float, axis: Point) -> Mesh:
    """A bowl that looks along an axis: rings of a paraboloid, both sides."""
    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    helper = np.array([0.0, 0.0, 1.0]) if abs(unit[2]) < 0.9 else np.array([0.0, 1.0, 0.0])
    side = np.cross(unit, helper)
    side /= np.linalg.norm(side)
    other = np.cross(unit, side)
    num_rings, num_sections = 6, 28
    vertices = []
    for ring in range(num_rings):
        share = ring / (num_rings - 1)
        for angle in np.linspace(0, 2 * math.pi, num_sections, endpoint=False):
            spread = radius * share * (math.cos(angle) * side + math.sin(angle) * other)
            vertices.append(np.asarray(at) + spread + depth * share**2 * unit)
    faces = []
    for ring in range(num_rings - 1):
        for section in range(num_sections):
            a, b = ring * num_sections + section, ring * num_sections + (section + 1) % num_sections
            c, d = a + num_sections, b + num_sections
            faces += [(a, c, b), (b, c, d), (a, b, c), (b, d, c)]
    return Mesh(np.array(vertices), np.array(faces), process=False)


def curved_antenna(at: Point, width: float, height: float, bulge: float, lattice: bool) -> list[Mesh]:
    """A search antenna, curved across, looking forward: a sheet, or the bars of an open mesh.

    Args:
        at: Middle of its lower edge.
        width: Across, in m.
        height: Up, in m.
        bulge: How far its sides stand before its middle, in m.
        lattice: Bars instead of a sheet.
    """
    x, y, z = at
    columns = np.linspace(-0.5, 0.5, 9)

    def point(share_y: float, share_z: float) -> Point:
        return (x + bulge * 4 * share_y**2, y + width * share_y, z + height * share_z)

    if lattice:
        bars = []
        for share_z in np.linspace(0, 1, 7):
            bars += [tube(point(a, share_z), point(b, share_z), 0.018, sections=6) for a, b in pairwise(columns)]
        bars += [tube(point(column, 0), point(column, 1), 0.022, sections=6) for column in columns]
        return bars
    panels = []
    for a, b in pairwise(columns):
        corners = [point(a, 0), point(b, 0), point(a, 1), point(b, 1)]
        back = [(cx - 0.05, cy, cz) for cx, cy, cz in corners]
        panels.append(loft([corners, back]))
    return panels


def wheel(at: Point, radius: float, width: float, *, tyre: bool) -> Model:
    """A road wheel or a truck's tyre, its middle at a point, its hub towards the outside."""
    x, y, z = at
    outward = math.copysign(1.0, y)
    model = Model()
    model.add("rubber", disc(at, radius, width, (0, 1, 0)))
    hub = (x, y + outward * (width / 2 + 0.005), z)
    model.add("body" if not tyre else "dark", disc(hub, radius * (0.58 if tyre else 0.78), 0.05, (0, 1, 0)))
    model.add("dark", disc((x, y + outward * (width / 2 + 0.03), z), radius * 0.22, 0.09, (0, 1, 0)))
    return model


def tracks(
    wheel_xs: Sequence[float],
    *,
    radius: float,
    gauge: float,
    track_width: float,
    front: tuple[float, float, float],
    rear: tuple[float, float, float],
    return_rollers: Sequence[float] = (),
    roller_z: float = 0.0,
) -> Model:
    """Two tracks with their road wheels.

    Args:
        wheel_xs: Where the road wheels stand, in m.
        radius: Of a road wheel, in m.
        gauge: Between the middles of the tracks, in m.
        track_width: In m.
        front: x, z and radius of the wheel in front.
        rear: x, z and radius of the wheel behind.
        return_rollers: Where rollers carry the upper run.
        roller_z: Their height.
    """
    thickness = 0.07
    model = Model()
    for side in (-1, 1):
        y = side * gauge / 2
        loop = [(wheel_x, radius + thickness, radius) for wheel_x in wheel_xs]
        loop += [(front[0], front[1], front[2]), (rear[0], rear[1], rear[2])]
        loop += [(roller_x, roller_z, 0.12) for roller_x in return_rollers]
        model.add("dark", *_track_band(loop, y, track_width, thickness))
        for wheel_x in wheel_xs:
            model.join(wheel((wheel_x, y, radius + thickness), radius, track_width * 0.75, tyre=False))
        for end_x, end_z, end_radius in (front, rear):
            model.join(wheel((end_x, y, end_z), end_radius, track_width * 0.6, tyre=False))
        for roller_x in return_rollers:
            model.add("body", disc((roller_x, y, roller_z), 0.12, track_width * 0.6, (0, 1, 0)))
    return model


def _track_band(circles: Sequence[tuple[float, float, float]], y: float, width: float, thickness: float) -> list[Mesh]:
    """Links along the hull of circles (x, z, radius): a taut band."""
    points = []
    for x, z, radius in circles:
        for angle in np.linspace(0, 2 * math.pi, 24, endpoint=False):
            reach = radius + thickness / 2
            points.append((x + reach * math.cos(angle), z + reach * math.sin(angle)))
    outline = np.array(points)
    hull = outline[_convex_order(outline)]
    links = []
    for start, end in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        length = float(np.linalg.norm(end - start))
        num_links = max(1, round(length / 0.16))
        for index in range(num_links):
            a = start + (end - start) * (index + 0.04) / num_links
            b = start + (end - start) * (index + 0.96) / num_links
            middle, angle = (a + b) / 2, math.atan2(*(b - a)[::-1])
            link = trimesh.creation.box((float(np.linalg.norm(b - a)), width, thickness))
            link.apply_transform(trimesh.transformations.rotation_matrix(-angle, (0, 1, 0)))
            link.apply_translation((middle[0], y, middle[1]))
            links.append(link)
    return links


def _convex_order(points: NDArray[np.float64]) -> NDArray[np.int64]:
    from scipy.spatial import ConvexHull

    return np.asarray(ConvexHull(points).vertices)
