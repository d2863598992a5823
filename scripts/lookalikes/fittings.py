"""Fittings that many vehicles carry: wheels with dished hubs, cabs, lamps, hatches, grilles, rails, tools.

Dimensions in metres, directions as in `parts`. A panel's `size` has its thin side across the panel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import trimesh

from lookalikes.common import Generator
from lookalikes.parts import Mesh, Model, Point, box, disc, loft, prism, tube

Profile = Sequence[tuple[float, float]]


def merged(model: Model) -> Model:
    """The same with one mesh for each paint, quicker to turn and to move."""
    groups: dict[str, list[Mesh]] = {}
    for paint, mesh in model.parts:
        groups.setdefault(paint, []).append(mesh)
    parts = [(paint, joined(meshes)) for paint, meshes in groups.items()]
    return Model(parts, list(model.cues))


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), faces, process=False)


def varied(model: Model, random: Generator) -> Model:
    """The same, a little longer or shorter, wider or narrower, taller or lower."""
    factors = [float(value) for value in np.clip(random.normal(1, 0.01, 3), 0.98, 1.02)]
    model = merged(model)
    for _, mesh in model.parts:
        mesh.apply_scale(factors)
    return model


def steering(random: Generator, count: int) -> list[float]:
    """Degrees that the foremost axles' wheels are turned, the first the most; often none."""
    angle = float(random.normal(0, 9)) if random.random() < 0.5 else 0.0
    return [angle * (1 - 0.3 * number) for number in range(count)]


def revolved(profile: Profile, sections: int = 24) -> Mesh:
    """A profile (radius, y) turned round the y axis."""
    angles = np.linspace(0, 2 * math.pi, sections, endpoint=False)
    circle = np.stack([np.cos(angles), np.zeros(sections), np.sin(angles)], axis=1)
    vertices = np.concatenate([radius * circle + (0, y, 0) for radius, y in profile])
    near = np.arange(sections)
    far = (near + 1) % sections
    faces = []
    for row in range(len(profile) - 1):
        a, b = row * sections + near, row * sections + far
        c, d = a + sections, b + sections
        faces += [np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)]
    return Mesh(vertices, np.concatenate(faces), process=False)


def spokes(count: int, radius: float, y: float, size: tuple[float, float, float]) -> Mesh:
    """Boxes in a circle round the y axis: bolts, teeth, lugs of a tread."""
    meshes = []
    for number in range(count):
        mesh = trimesh.creation.box(size)
        mesh.apply_translation((0, y, radius))
        mesh.apply_transform(trimesh.transformations.rotation_matrix(2 * math.pi * number / count, (0, 1, 0)))
        meshes.append(mesh)
    return joined(meshes)


def tyre(radius: float, width: float, rim: str = "body") -> Model:
    """A cross-country tyre on a dished rim, its middle at the origin, its hub towards the left."""
    half = width / 2
    carcass = [(0.55, -0.8), (0.86, -1), (0.96, -0.8), (0.96, 0.8), (0.86, 1), (0.6, 0.95), (0.55, 0.75)]
    bowl = [(0.56, 0.78), (0.52, 0.5), (0.33, 0.25), (0.3, 0.55), (0.2, 0.65), (0.17, 0.95), (0.0, 1.0)]
    model = Model().add("rubber", revolved([(a * radius, b * half) for a, b in carcass]))
    for side in (-1, 1):
        model.add("rubber", spokes(18, 0.97 * radius, side * half * 0.52, (0.09, half * 0.85, 0.05 * radius)))
    model.add(rim, revolved([(a * radius, b * half) for a, b in bowl]))
    model.add("dark", spokes(8, 0.4 * radius, half * 0.42, (0.035, 0.05, 0.035)))
    return merged(model)


def axles(xs: Sequence[float], *, radius: float, gauge: float, width: float, steered: Sequence[float] = ()) -> Model:
    """Wheels of a truck with their axles.

    Args:
        xs: Where the axles are.
        radius: Of a tyre.
        gauge: Between the middles of the tyres.
        width: Of a tyre.
        steered: For each axle, degrees its wheels are turned; none are by default.
    """
    model = Model()
    left = tyre(radius, width)
    right = left.mirrored()
    for number, x in enumerate(xs):
        angle = steered[number] if number < len(steered) else 0.0
        for side, piece in ((1, left), (-1, right)):
            model.join((piece.turned(angle) if angle else piece).moved(x, side * gauge / 2, radius))
        model.add("dark", tube((x, -gauge / 2, radius), (x, gauge / 2, radius), 0.1, sections=8))
        model.add("dark", box(0.4, 0.45, 0.4, (x, 0, radius - 0.2)))
    return model


def road_wheel_faces(
    xs: Sequence[float], *, radius: float, gauge: float, track_width: float, sprocket: tuple[float, float, float]
) -> Model:
    """What `parts.tracks` leaves out: dished faces of the road wheels, teeth of the sprocket (x, z, radius)."""
    face = track_width * 0.75 / 2
    rise = [(0.8, 0.0), (0.77, 0.06), (0.66, 0.06), (0.5, 0.027)]
    cap = [(0.31, 0.03), (0.27, 0.1), (0.0, 0.115)]
    piece = Model().add("body", revolved([(a * radius, face + b) for a, b in rise], 20))
    piece.add("body", revolved([(a * radius, face + b) for a, b in cap], 14))
    piece.add("dark", spokes(8, 0.42 * radius, face + 0.03, (0.035, 0.03, 0.035)))
    left = merged(piece)
    x, z, tooth_radius = sprocket
    teeth = Model()
    edge = track_width * 0.6 / 2
    for y in (-edge, edge):
        teeth.add("dark", spokes(12, tooth_radius + 0.06, y, (0.07, 0.05, 0.14)))
    teeth.add("dark", spokes(6, 0.55 * tooth_radius, edge + 0.04, (0.09, 0.02, 0.09)))
    teeth.add(
        "body", revolved([(0.3 * tooth_radius, edge + 0.02), (0.25 * tooth_radius, edge + 0.12), (0, edge + 0.12)], 14)
    )
    teeth = merged(teeth)
    model = Model()
    for side in (1, -1):
        piece, end = (left, teeth) if side == 1 else (left.mirrored(), teeth.mirrored())
        for wheel_x in xs:
            model.join(piece.moved(wheel_x, side * gauge / 2, radius + 0.07))
        model.join(end.moved(x, side * gauge / 2, z))
    return model


def slope_plate(start: tuple[float, float], end: tuple[float, float], y_from: float, y_to: float, thick: float) -> Mesh:
    """A flat plate that lies on the line between two points (x, z) of a side view."""
    along = np.subtract(end, start)
    normal = np.array([-along[1], along[0]]) / np.linalg.norm(along) * thick / 2
    corners = []
    for sign in (-1, 1):
        for x, z in (start, end):
            corners += [(x + sign * normal[0], y, z + sign * normal[1]) for y in (y_from, y_to)]
    return loft([corners])


def between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    """A point of the line between two points (x, z)."""
    return (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))


def rod(points: Sequence[Point], radius: float = 0.018) -> Mesh:
    """A bent bar: a handrail, a cable."""
    return joined([tube(a, b, radius, sections=6) for a, b in pairwise(points)])


def handrail(start: Point, end: Point, away: Point) -> Mesh:
    """A bar between two points, held off by its bent ends."""
    return rod([start, tuple(np.add(start, away)), tuple(np.add(end, away)), end], 0.016)


def ladder(at: Point, width: float, height: float, *, lengthwise: bool) -> Mesh:
    """A ladder whose lower edge's middle is at a point, along a flank or across a rear."""
    x, y, z = at
    dx, dy = (width / 2, 0.0) if lengthwise else (0.0, width / 2)
    bars = [tube((x + s * dx, y + s * dy, z), (x + s * dx, y + s * dy, z + height), 0.02, sections=6) for s in (-1, 1)]
    rungs = np.arange(z + 0.12, z + height, 0.27)
    bars += [tube((x - dx, y - dy, rung), (x + dx, y + dy, rung), 0.017, sections=6) for rung in rungs]
    return joined(bars)


def _panel_axes(size: tuple[float, float, float]) -> tuple[int, int, int]:
    """Which axis is the thin one, the long one and the other one."""
    thin, other, long = np.argsort(size)
    return int(thin), int(long), int(other)


def grille(at: Point, size: tuple[float, float, float], slats: int = 6) -> Model:
    """Slats in a dark opening, the panel's middle at a point."""
    thin, _, other = _panel_axes(size)
    back = trimesh.creation.box(size)
    back.apply_translation(at)
    model = Model().add("dark", back)
    extent = list(size)
    extent[other] = size[other] / slats * 0.45
    extent[thin] = size[thin] + 0.04
    bars = []
    for number in range(slats):
        bar = trimesh.creation.box(extent)
        middle = np.array(at, dtype=float)
        middle[other] += size[other] * ((number + 0.5) / slats - 0.5)
        bar.apply_translation(middle)
        bars.append(bar)
    return model.add("body", joined(bars))


def seam(at: Point, size: tuple[float, float, float], line: float = 0.025) -> Mesh:
    """The dark outline of a door or lid, its middle at a point."""
    _, long, other = _panel_axes(size)
    bars = []
    for across in (long, other):
        for side in (-1, 1):
            extent = list(size)
            extent[across] = line
            middle = np.array(at, dtype=float)
            middle[across] += side * size[across] / 2
            bar = trimesh.creation.box(extent)
            bar.apply_translation(middle)
            bars.append(bar)
    return joined(bars)


def door(at: Point, size: tuple[float, float, float]) -> Model:
    """An upright door in a wall: its outline, a handle, two hinges."""
    thin, _, _ = _panel_axes(size)
    wide = 1 - thin if thin < 2 else 0
    model = Model().add("dark", seam(at, size))
    for share, height, paint in ((0.38, 0.0, "metal"), (-0.46, 0.3, "body"), (-0.46, -0.3, "body")):
        extent = [0.05, 0.05, 0.12]
        extent[thin] = size[thin] + 0.07
        middle = np.array(at, dtype=float)
        middle[wide] += share * size[wide]
        middle[2] += height * size[2]
        mesh = trimesh.creation.box(extent)
        mesh.apply_translation(middle)
        model.add(paint, mesh)
    return model


def toolbox(at: Point, size: tuple[float, float, float], outward: int) -> Model:
    """A box with a lid's seam and latches, the middle of its bottom at a point, its face to one side."""
    x, y, z = at
    model = Model().add("body", box(*size, at))
    face = y + outward * (size[1] / 2 + 0.004)
    model.add("dark", box(size[0] * 0.98, 0.012, 0.02, (x, face, z + size[2] * 0.68)))
    model.add("metal", *(box(0.05, 0.03, 0.1, (x + s * size[0] * 0.3, face, z + size[2] * 0.6)) for s in (-1, 1)))
    return model


def lamp(at: Point, radius: float = 0.1, *, guard: bool = False) -> Model:
    """A headlight that looks forward, with bars before it or none."""
    x, y, z = at
    model = Model().add("dark", tube((x - 0.1, y, z), (x + 0.02, y, z), radius * 1.15, sections=14))
    model.add("light", tube((x, y, z), (x + 0.03, y, z), radius * 0.95, sections=14))
    if guard:
        for dy in (-radius * 1.3, radius * 1.3):
            bent = [(x - 0.12, y + dy, z - radius * 1.3), (x + 0.14, y + dy, z), (x - 0.12, y + dy, z + radius * 1.4)]
            model.add("dark", rod(bent, 0.014))
    return model


def tail_lamps(x: float, y: float, z: float) -> Model:
    """Red lamps at both rear corners."""
    model = Model()
    for side in (-1, 1):
        model.add("dark", box(0.06, 0.22, 0.11, (x, side * y, z - 0.015)))
        model.add("red", box(0.08, 0.12, 0.08, (x - 0.01, side * (y + 0.03), z)))
    return model


def hatch(at: Point, radius: float, *, opened: bool = False, viewers: int = 0) -> Model:
    """A round hatch with its lid, shut or standing open, and viewing blocks before it."""
    x, y, z = at
    model = Model().add("dark", tube((x, y, z - 0.02), (x, y, z + 0.05), radius, sections=18))
    if opened:
        model.add("body", disc((x - radius, y, z + radius * 0.95), radius * 0.93, 0.05, (1, 0, 0.25)))
    else:
        model.add("body", tube((x, y, z), (x, y, z + 0.09), radius * 0.94, radius * 0.86, sections=18))
        model.add("metal", handrail((x - 0.1, y, z + 0.08), (x + 0.1, y, z + 0.08), (0, 0, 0.05)))
    for number in range(viewers):
        angle = math.radians((number - (viewers - 1) / 2) * 42)
        px, py = x + (radius + 0.08) * math.cos(angle), y + (radius + 0.08) * math.sin(angle)
        model.add("body", box(0.14, 0.18, 0.1, (px, py, z)))
        model.add("glass", box(0.02, 0.14, 0.05, (px + 0.07, py, z + 0.03)))
    return model


def cupola(at: Point, radius: float, height: float) -> Model:
    """A raised ring of viewing blocks with a lid."""
    x, y, z = at
    model = Model().add("body", tube((x, y, z), (x, y, z + height), radius, radius * 0.92, sections=20))
    for angle in np.linspace(0, 2 * math.pi, 8, endpoint=False):
        reach = radius * 0.97
        centre = (x + reach * math.cos(angle), y + reach * math.sin(angle), z + height * 0.35)
        model.add("glass", box(0.13, 0.13, height * 0.35, centre))
    return model.add("body", tube((x, y, z + height), (x, y, z + height + 0.06), radius * 0.75, sections=18))


def whip(random: Generator, at: Point, height: float) -> Model:
    """A whip antenna on its foot, never quite straight."""
    x, y, z = at
    dx, dy = (float(value) for value in random.normal(0, 0.05, 2))
    model = Model().add("dark", tube(at, (x, y, z + 0.18), 0.045, sections=8))
    bend = [(x, y, z), (x + dx * height * 0.4, y + dy * height * 0.4, z + height * 0.6)]
    return model.add("metal", rod([*bend, (x + dx * height, y + dy * height, z + height)], 0.012))


def mirror(x: float, y: float, z: float, side: int) -> Model:
    """An outside mirror on its bracket."""
    out = y + side * 0.22
    model = Model().add(
        "dark", rod([(x, y, z + 0.35), (x + 0.08, out, z + 0.35), (x + 0.08, out, z - 0.1), (x, y, z - 0.1)])
    )
    return model.add("dark", box(0.06, 0.2, 0.36, (x + 0.08, out, z - 0.05)))


def jerrycan(at: Point) -> Model:
    """A can with its handle, the middle of its bottom at a point."""
    x, y, z = at
    model = Model().add("body", box(0.34, 0.16, 0.42, at))
    model.add("dark", box(0.26, 0.17, 0.02, (x, y, z + 0.2)))
    return model.add("dark", handrail((x - 0.12, y, z + 0.42), (x + 0.12, y, z + 0.42), (0, 0, 0.04)))


def smoke_launchers(at: Point, side: int, count: int) -> Model:
    """Short tubes in a row on a bracket, to the front and upwards."""
    x, y, z = at
    model = Model().add("dark", box(0.12 * count, 0.1, 0.12, (x, y, z - 0.06)))
    for number in range(count):
        px = x + 0.12 * (number - (count - 1) / 2)
        model.add("dark", tube((px, y, z), (px + 0.2, y + side * 0.17, z + 0.2), 0.045, sections=10))
    return model


def tools(x: float, y: float, z: float) -> Model:
    """A shovel and a bar on a ledge."""
    model = Model().add("canvas", tube((x, y, z + 0.03), (x + 0.95, y, z + 0.03), 0.022, sections=6))
    model.add("dark", box(0.26, 0.2, 0.03, (x + 1.05, y, z)))
    return model.add("dark", tube((x - 0.1, y - 0.1, z + 0.03), (x + 1.1, y - 0.1, z + 0.03), 0.018, sections=6))


def spare_wheel(at: Point, radius: float, width: float, axis: Point) -> Model:
    """A spare wheel, its middle at a point, its hub along an axis."""
    piece = tyre(radius, width)
    matrix = trimesh.geometry.align_vectors((0, 1, 0), axis)
    model = Model()
    for paint, mesh in piece.parts:
        mesh.apply_transform(matrix)
        mesh.apply_translation(at)
        model.add(paint, mesh)
    return model


def mudguard(x: float, y: float, z: float, radius: float, width: float) -> Mesh:
    """Half a ring of sheets round the upper side of a wheel whose middle is (x, z)."""
    angles = np.radians([5, 40, 70, 110, 140, 175])
    points = [(x + radius * math.cos(angle), z + radius * math.sin(angle)) for angle in angles]
    return joined([slope_plate(a, b, y - width / 2, y + width / 2, 0.03) for a, b in pairwise(points)])


def track_guards(x_from: float, x_to: float, y: float, z: float, width: float) -> Model:
    """Flaps before and behind the tracks and a lip along the ledges' edges; y is the ledges' outer edge."""
    model = Model()
    for side in (-1, 1):
        inner, outer = side * (y - width), side * y
        low, high = min(inner, outer), max(inner, outer)
        model.add("body", slope_plate((x_to - 0.05, z), (x_to + 0.28, z - 0.26), low, high, 0.03))
        model.add("rubber", slope_plate((x_from + 0.03, z), (x_from - 0.1, z - 0.42), low, high, 0.025))
        model.add("body", box(x_to - x_from, 0.03, 0.12, ((x_from + x_to) / 2, side * (y + 0.004), z - 0.1)))
        for x in np.arange(x_from + 0.5, x_to - 0.3, 0.9):
            model.add("dark", box(0.03, 0.02, 0.1, (float(x), side * (y + 0.015), z - 0.09)))
    return model


def tow_gear(front: tuple[float, float], rear: tuple[float, float], y: float) -> Model:
    """Hooks at both ends (x, z)."""
    model = Model()
    for (x, z), outward in ((front, 1), (rear, -1)):
        for side in (-1, 1):
            model.add("dark", box(0.22, 0.12, 0.1, (x + outward * 0.05, side * y, z)))
            model.add("dark", disc((x + outward * 0.16, side * y, z + 0.02), 0.08, 0.05, (0, 1, 0)))
    return model


def truck_frame(random: Generator, rear: float, front: float, gap: tuple[float, float], z: float = 0.85) -> Model:
    """The frame of a truck with bumper, lamps and what hangs in the gap between its axles."""
    middle = (front + rear) / 2
    model = Model().add("dark", *(box(front - rear, 0.12, 0.28, (middle, y, z)) for y in (-0.42, 0.42)))
    for x in np.linspace(rear + 0.3, front - 0.3, 5):
        model.add("dark", box(0.12, 0.8, 0.2, (float(x), 0, z + 0.04)))
    length = gap[1] - gap[0]
    gap_middle = (gap[0] + gap[1]) / 2
    if length > 0.7:
        tank = min(length * 0.85, 1.5)
        for side in (-1, 1):
            if random.random() < 0.5:
                ends = [(gap_middle + s * tank / 2, side * 0.9, z - 0.05) for s in (-1, 1)]
                model.add("body", tube(*ends, 0.3, sections=18))
                straps = [gap_middle + s * tank * 0.25 for s in (-1, 1)]
                model.add(
                    "dark", *(tube((x, side * 0.9, z - 0.05), (x + 0.05, side * 0.9, z - 0.05), 0.315) for x in straps)
                )
            else:
                model.join(toolbox((gap_middle, side * 0.92, z - 0.32), (tank, 0.5, 0.55), side))
    if random.random() < 0.4:
        side = float(random.choice([-1, 1]))
        for number in range(int(random.integers(1, 4))):
            model.join(jerrycan((gap[0] + 0.2 + 0.4 * number, side * 1.16, z + 0.02)))
    model.add("dark", box(0.12, 2.3, 0.2, (rear, 0, z - 0.05)))
    model.join(tail_lamps(rear - 0.06, 0.95, z))
    return model


def flat_cab(
    random: Generator,
    rear: float,
    front: float,
    *,
    width: float,
    height: float,
    floor: float = 1.0,
    rake: float = 0.28,
    panes: int = 2,
    angular: bool = False,
) -> Model:
    """A cab over the engine with windscreens, doors, mirrors, steps, wipers, bumper, grille and lamps.

    Args:
        random: Of the roof's fittings.
        rear: Its back wall.
        front: Its face.
        width: Across.
        height: From its floor to the roof.
        floor: Height of its floor.
        rake: How far the windscreen leans back at the top.
        panes: Of the windscreen.
        angular: Flat plates with small windows, as on armoured cabs.
    """
    belt, top = floor + height * 0.5, floor + height
    low, high = (front, belt), (front - rake, top)
    profile = [(rear, floor), (rear, top), high, low, (front, floor)]
    model = Model().add("body", prism(profile, width, top_width=width - (0.3 if angular else 0.1)))
    glass_from, glass_to = between(low, high, 0.14 if not angular else 0.25), between(low, high, 0.84)
    span = (width - (0.7 if angular else 0.36)) / panes
    for number in range(panes):
        y = (number - (panes - 1) / 2) * span
        model.add("glass", slope_plate(glass_from, glass_to, y - span / 2 + 0.04, y + span / 2 - 0.04, 0.05))
        wiper = between(low, high, 0.5)
        model.add(
            "dark", rod([(glass_from[0] + 0.05, y + 0.2, glass_from[1]), (wiper[0] + 0.05, y - 0.15, wiper[1])], 0.014)
        )
    wall = width / 2 - (0.07 if angular else 0.02)
    door_length = min(1.05, (front - rear) * 0.66)
    door_x = front - 0.2 - door_length / 2
    for side in (-1, 1):
        window = (door_length * (0.62 if angular else 0.8), 0.07, height * 0.27)
        model.add("glass", box(*window, (door_x - rake * 0.25, side * (wall - 0.01), belt + height * 0.08)))
        model.join(door((door_x, side * (width / 2 - 0.01), floor + height * 0.48), (door_length, 0.05, height * 0.86)))
        model.join(mirror(front - 0.1, side * (width / 2 - 0.02), belt + 0.25, side))
        model.add("dark", box(door_length * 0.7, 0.1, 0.05, (door_x, side * (width / 2 - 0.06), floor - 0.15)))
        model.add("dark", box(door_length * 0.7, 0.1, 0.05, (door_x, side * (width / 2 - 0.06), floor - 0.45)))
        model.add(
            "metal", rod([(door_x - door_length / 2 - 0.06, side * (width / 2 + 0.02), floor + s) for s in (0.2, 1.1)])
        )
    bumper = floor - 0.42
    model.add("body", box(0.28, width, 0.4, (front - 0.02, 0, bumper)))
    model.add("dark", box(0.2, width * 0.9, 0.2, (front - 0.05, 0, bumper - 0.1)))
    model.join(grille((front + 0.01, 0, floor + height * 0.2), (0.04, width * 0.5, height * 0.24), 5))
    for y in (-width * 0.4, width * 0.4):
        model.join(lamp((front + 0.13, y, bumper + 0.22), 0.1, guard=bool(random.random() < 0.4)))
        model.add("dark", box(0.1, 0.1, 0.08, (front + 0.1, y * 0.55, bumper + 0.02)))
    model.add("dark", seam((front, 0, floor + height * 0.24), (0.04, width * 0.86, height * 0.4), 0.015))
    if random.random() < 0.6:
        model.join(hatch((front - rake - 0.7, -width * 0.2, top), 0.32, opened=bool(random.random() < 0.15)))
    if random.random() < 0.5:
        model.add("light", *(box(0.08, 0.1, 0.07, (high[0] - 0.05, y, top)) for y in (-0.8, -0.25, 0.25, 0.8)))
    if random.random() < 0.5:
        model.add("red", tube((rear + 0.3, 0.7, top), (rear + 0.3, 0.7, top + 0.16), 0.08, sections=12))
    if random.random() < 0.25:
        model.add("canvas", tube((rear + 0.45, -0.9, top + 0.1), (rear + 0.45, 0.5, top + 0.1), 0.12, sections=12))
    if random.random() < 0.6:
        model.join(whip(random, (rear + 0.15, float(random.choice([-0.9, 0.9])), top), float(random.uniform(1.2, 2.4))))
    return model
