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


def lathe(profile: Sequence[tuple[float, float]], at: Point, axis: Point, sections: int = 24) -> Mesh:
    """A turned body: a curve of (radius, distance along the axis) swept round the axis.

    Args:
        profile: Corners of the curve, from the axis to the axis, or a loop whose last corner is the first.
        at: Where the distance is zero.
        axis: Direction in which the distance counts.
        sections: Around.
    """
    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    helper = np.array([0.0, 0.0, 1.0]) if abs(unit[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    side = np.cross(unit, helper)
    side /= np.linalg.norm(side)
    angles = np.linspace(0, 2 * math.pi, sections, endpoint=False)
    ring = np.cos(angles)[:, None] * side + np.sin(angles)[:, None] * np.cross(unit, side)
    vertices = np.concatenate([np.asarray(at) + radius * ring + along * unit for radius, along in profile])
    here, beside = np.arange(sections), (np.arange(sections) + 1) % sections
    faces = []
    for index in range(len(profile) - 1):
        low, high = index * sections, (index + 1) * sections
        if profile[index][0] > 0:
            faces.append(np.stack([low + here, low + beside, high + here], axis=1))
        if profile[index + 1][0] > 0:
            faces.append(np.stack([low + beside, high + beside, high + here], axis=1))
    triangles = np.concatenate(faces)
    corners = vertices[triangles] - np.asarray(at)
    if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        triangles = triangles[:, ::-1]
    return Mesh(vertices, triangles, process=False)


def bars(middles: NDArray[np.float64], along: NDArray[np.float64], size: Point) -> Mesh:
    """Many equal boxes as one mesh, each lying along a direction without a sideways part.

    Args:
        middles: (N, 3) middles.
        along: (N, 3) unit directions of their length, y being 0.
        size: Length, width (along y), thickness.
    """
    template = trimesh.creation.box()
    corners = np.asarray(template.vertices) * size
    across = np.array([0.0, 1.0, 0.0])
    frames = np.stack([along, np.broadcast_to(across, along.shape), np.cross(along, across)], axis=1)
    vertices = middles[:, None, :] + np.einsum("vk,nki->nvi", corners, frames)
    faces = np.asarray(template.faces)[None] + 8 * np.arange(len(middles))[:, None, None]
    return Mesh(vertices.reshape(-1, 3), faces.reshape(-1, 3), process=False)


def road_wheel(radius: float, width: float, *, ribs: int = 0, dish: float = 0.07) -> Model:
    """A double road wheel at the origin, outside towards +y: two rubber tyres, a dished disc, a hub, ribs if any."""
    half, groove, inner = width / 2, width * 0.1, radius * 0.84
    tyres = [(inner, -half), (radius, -half), (radius, -groove), (inner, -groove), (inner, groove), (radius, groove)]
    model = Model().add("rubber", lathe([*tyres, (radius, half), (inner, half), (inner, -half)], (0, 0, 0), (0, 1, 0)))
    face = [(0, half + 0.03), (radius * 0.2, half + 0.03), (radius * 0.24, half - 0.01), (radius * 0.36, half - dish)]
    rim = [(radius * 0.68, half - dish * 0.8), (radius * 0.76, half + 0.012), (radius * 0.86, half + 0.012)]
    back = [(radius * 0.86, -half + 0.01), (0, -half + 0.01)]
    model.add("body", lathe([*face, *rim, *back], (0, 0, 0), (0, 1, 0)))
    if ribs:
        angles = np.linspace(0, 2 * math.pi, ribs, endpoint=False)
        along = np.stack([np.cos(angles), np.zeros(ribs), np.sin(angles)], axis=1)
        middles = along * radius * 0.48 + np.array([0, half - dish * 0.5, 0])
        model.add("body", bars(middles, along, (radius * 0.48, dish, radius * 0.09)))
    model.add("dark", disc((0, half + 0.035, 0), radius * 0.11, 0.03, (0, 1, 0)))
    return model


def toothed_wheel(radius: float, width: float, teeth: int = 13) -> Model:
    """A drive sprocket at the origin, outside towards +y."""
    half = width / 2
    face = [(0, half + 0.04), (radius * 0.3, half + 0.04), (radius * 0.4, half - 0.03), (radius * 0.9, half)]
    model = Model().add("body", lathe([*face, (radius * 0.9, -half), (0, -half)], (0, 0, 0), (0, 1, 0)))
    angles = np.linspace(0, 2 * math.pi, teeth, endpoint=False)
    along = np.stack([np.cos(angles), np.zeros(teeth), np.sin(angles)], axis=1)
    for side in (-1, 1):
        middles = along * radius * 0.95 + np.array([0, side * (half - 0.02), 0])
        model.add("metal", bars(middles, along, (radius * 0.3, 0.045, radius * 0.2)))
    angles = angles[::2] + 0.2
    along = np.stack([np.cos(angles), np.zeros(len(angles)), np.sin(angles)], axis=1)
    model.add("dark", bars(along * radius * 0.62 + np.array([0, half, 0]), along, (radius * 0.2, 0.03, radius * 0.16)))
    return model


def running_gear(
    wheel_xs: Sequence[float],
    *,
    radius: float,
    gauge: float,
    track_width: float,
    front: tuple[float, float, float],
    rear: tuple[float, float, float],
    drive: str,
    return_rollers: Sequence[float] = (),
    roller_z: float = 0.0,
    ribs: int = 0,
    dish: float = 0.07,
    sag: float = 0.04,
) -> Model:
    """Two tracks like `tracks`, with dished wheels, a toothed sprocket, a sagging upper run and cleats on the links.

    Args:
        wheel_xs: Where the road wheels stand, in m.
        radius: Of a road wheel, in m.
        gauge: Between the middles of the tracks, in m.
        track_width: In m.
        front: x, z and radius of the wheel in front.
        rear: x, z and radius of the wheel behind.
        drive: `front` or `rear`, the end with the sprocket.
        return_rollers: Where rollers carry the upper run.
        roller_z: Their height.
        ribs: Ribs on a road wheel.
        dish: How far a road wheel's disc stands behind its rim, in m.
        sag: How far the upper run hangs through between two supports, in m.
    """
    thickness, pitch = 0.07, 0.14
    circles = [(wheel_x, radius + thickness, radius) for wheel_x in wheel_xs] + [front, rear]
    circles += [(roller_x, roller_z, 0.12) for roller_x in return_rollers]
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    points = np.concatenate(
        [np.array([x, z]) + (r + thickness / 2) * np.stack([np.cos(angles), np.sin(angles)], 1) for x, z, r in circles]
    )
    hull = points[_convex_order(points)]
    hull = np.concatenate([hull, hull[:1]])
    reached = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(hull, axis=0), axis=1))])
    num_links = round(reached[-1] / pitch)
    where = np.arange(num_links) * reached[-1] / num_links
    path = np.stack([np.interp(where, reached, hull[:, axis]) for axis in (0, 1)], axis=1)
    for end, start in pairwise(sorted([front[0], rear[0], *return_rollers])):
        share = (path[:, 0] - end) / (start - end)
        upper = (share > 0) & (share < 1) & (path[:, 1] > radius + 2 * thickness)
        path[upper, 1] -= 4 * sag * (share * (1 - share))[upper]
    tangents = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    along = np.stack([tangents[:, 0], np.zeros(num_links), tangents[:, 1]], axis=1)
    outward = np.stack([tangents[:, 1], np.zeros(num_links), -tangents[:, 0]], axis=1)
    middles = np.stack([path[:, 0], np.zeros(num_links), path[:, 1]], axis=1)
    side_model = Model().add("dark", bars(middles, along, (pitch * 0.9, track_width, thickness * 0.7)))
    side_model.add("metal", bars(middles + outward * 0.035, along, (pitch * 0.24, track_width * 0.94, 0.035)))
    wheel_model = road_wheel(radius, track_width * 0.78, ribs=ribs, dish=dish)
    for wheel_x in wheel_xs:
        side_model.join(wheel_model.moved(wheel_x, 0, radius + thickness))
    for name, (x, z, end_radius) in (("front", front), ("rear", rear)):
        end = toothed_wheel(end_radius, track_width * 0.7)
        if name != drive:
            end = road_wheel(end_radius, track_width * 0.6, ribs=6, dish=0.05)
        side_model.join(end.moved(x, 0, z))
    for roller_x in return_rollers:
        side_model.add("body", disc((roller_x, 0, roller_z), 0.12, track_width * 0.6, (0, 1, 0)))
    left = side_model.moved(0, gauge / 2)
    return left.mirrored().join(left)
