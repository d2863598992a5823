"""Vehicles of which there are photographs to compare with in `../shared/photos`.

Dimensions in metres, from general knowledge of the types and by eye from the photographs: unchecked against drawings.

Each function takes a random generator for the state and small options, and returns the model and its state in words.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from lookalikes.common import Built, Generator, plate, turned_turret
from lookalikes.parts import Mesh, Model, Point, box, disc, lathe, loft, prism, running_gear, tube


def shilka(random: Generator) -> Built:
    """ZSU-23-4: a low hull with vertical sides, a wide flat turret, four barrels in front, a dish on a stalk behind."""
    model = Model(cues=["low boxy hull with vertical upper sides", "wide flat square turret with sloping flanks"])
    model.join(
        running_gear(
            np.linspace(1.78, -2.12, 6),
            radius=0.335,
            gauge=2.6,
            track_width=0.38,
            front=(2.5, 0.66, 0.26),
            rear=(-2.85, 0.68, 0.28),
            drive="rear",
            ribs=10,
            dish=0.045,
            sag=0.1,
        )
    )
    model.join(_shilka_hull(random))
    turret = _shilka_turret(random)
    elevation = float(random.choice([0.0, 4.0, 12.0, 25.0, 50.0]))
    guns = Model().add("body", box(0.75, 0.74, 0.46, (0.75, 0, 1.68)), disc((1.05, 0, 1.92), 0.3, 0.74, (0, 1, 0)))
    for y in (-0.24, -0.1) if random.random() < 0.15 else (-0.22, 0.22):
        for z in (1.78, 2.04):
            guns.add("metal", tube((1.1, y, z), (2.85, y, z), 0.03, sections=10))
            guns.add("metal", tube((1.1, y, z), (2.3, y, z), 0.05, sections=12))
            guns.add("dark", tube((2.8, y, z), (3.02, y, z), 0.036, 0.06, sections=12))
            guns.add("metal", *(disc((x, y, z), 0.062, 0.04, (1, 0, 0)) for x in (1.5, 1.9)))
        guns.add("metal", box(0.05, 0.05, 0.3, (2.1, y, 1.76)))
    turret.join(guns.turned(-elevation, (0, 1, 0), (0.95, 0, 1.9)))
    raised = bool(random.random() < 0.65)
    turret.join(_shilka_radar(random, raised))
    model.cues += ["four short barrels close together", "one round dish on a stalk at the turret's rear"]
    state = f"guns {'raised' if elevation > 20 else 'level'}, radar {'up' if raised else 'laid back'}"
    return _jittered(model.join(turned_turret(turret, random, (-0.1, 0, 0))), random), state


def _shilka_hull(random: Generator) -> Model:
    model = Model()
    model.add("body", prism([(-3.1, 0.55), (-3.2, 1.0), (2.6, 1.0), (3.2, 0.78), (2.8, 0.42), (-2.7, 0.42)], 2.15))
    model.add("body", prism([(-1.0, 1.0), (-1.0, 1.56), (1.35, 1.56), (3.25, 0.8), (3.15, 0.62), (2.0, 0.6)], 2.05))
    model.add(
        "body",
        prism(
            [(-3.2, 0.98), (-3.22, 1.46), (-3.05, 1.58), (1.45, 1.58), (1.75, 1.45), (1.9, 0.98)], 2.98, top_width=2.9
        ),
    )
    for side in (-1, 1):
        model.add("body", box(5.4, 0.07, 0.05, (-0.5, side * 1.5, 0.98)))  # ledge over the track
        model.add(
            "body",
            loft(
                [
                    [(x, side * y, z) for y in (1.04, 1.54)]
                    for x, z in ((1.8, 1.02), (1.8, 0.97), (2.75, 0.98), (2.75, 0.93))
                ]
            ),
        )
        flap = [(2.72, 0.98), (3.0, 0.86), (3.06, 0.62), (3.02, 0.62)]
        model.add(
            "dark" if random.random() < 0.5 else "body",
            loft([[(x, side * y, z) for y in (1.05, 1.53)] for x, z in flap]),
        )
        model.add("dark", box(0.04, 0.44, 0.34, (-3.22, side * 1.28, 0.6)))
        # the box in front of the upper side that holds the lamps
        ear = [(1.5, 1.57), (2.1, 1.5), (2.14, 1.42), (1.5, 1.36)]
        model.add("body", loft([[(x, side * y, z) for y in (0.98, 1.52)] for x, z in ear]))
        model.add(
            "body",
            loft(
                [
                    [(1.6, side * y, z), (2.02, side * y, z)]
                    for y, z in ((1.45, 1.45), (1.49, 1.45), (1.45, 1.05), (1.49, 1.05))
                ]
            ),
        )
        model.add("dark", box(0.06, 0.4, 0.28, (1.85, side * 1.22, 1.1)))
        model.join(_headlight((1.98, side * 1.15, 1.26), 0.1))
        if random.random() < 0.7:
            model.join(_headlight((1.98, side * 1.36, 1.22), 0.08))
        for x in (0.95, -0.1, -1.05, -2.1):  # raised covers
            if random.random() < 0.85:
                length = float(random.uniform(0.36, 0.55))
                model.add("body", box(length, 0.05, 0.32, (x, side * 1.48, 1.14)))
                model.add("metal", box(0.14, 0.04, 0.05, (x - 0.1, side * 1.52, 1.28)))
        model.add("metal", tube((-2.6, side * 1.5, 1.34), (-1.2, side * 1.5, 1.32), 0.018, sections=6))
        model.add("metal", *(disc((3.18, side * y, 0.72), 0.07, 0.05, (1, 0, 0)) for y in (0.25, 0.85)))
    model.add("body", loft([[(2.42, y, 1.17), (2.46, y, 1.3), (2.4, y, 1.13)] for y in (-0.98, 0.98)]))  # splash board
    for y in (-0.9, 0.05, 0.95):  # seams of the glacis
        model.add(
            "body",
            loft(
                [
                    [(x, y + dy, 1.56 - 0.4 * (x - 1.35) + lift) for x in (1.4, 3.1)]
                    for dy in (0, 0.05)
                    for lift in (0, 0.04)
                ]
            ),
        )
    if random.random() < 0.5:
        model.join(_cable([(3.15, -0.85, 0.86), (2.7, -0.75, 1.06), (2.6, 0.7, 1.1), (3.15, 0.85, 0.86)]))
    if random.random() < 0.5:  # links of track carried on the nose
        model.add("dark", *(box(0.05, 0.34, 0.12, (3.1 - 0.02 * abs(k), 0.36 * k, 0.6)) for k in (-1, 0, 1)))
    opened = bool(random.random() < 0.2)
    hatch = [(x, y, 1.56 - 0.4 * (x - 1.35)) for x in (1.45, 2.25) for y in (0.2, 0.85)]
    model.add(
        "dark" if opened else "body", loft([hatch, [(x, y, z + (0.01 if opened else 0.06)) for x, y, z in hatch]])
    )
    if opened:
        model.add("body", box(0.06, 0.66, 0.6, (1.45, 0.52, 1.55)))
    model.add("glass", *(box(0.05, 0.22, 0.08, (1.75, y, 1.46)) for y in (0.5, -0.35)))
    model.add("body", box(0.5, 0.7, 0.1, (1.75, -0.5, 1.36)))
    model.join(_grille(-2.35, 0.62, 1.58, 0.9, 0.6)).join(_grille(-2.35, -0.62, 1.58, 0.9, 0.6))
    if random.random() < 0.4:
        model.join(_load(random, (-2.4, 1.58), 1.15))
    if random.random() < 0.4:
        model.add("metal", tube((-3.28, -0.9, 1.15), (-3.28, 0.9, 1.15), 0.1, sections=12))
    return model


def _shilka_turret(random: Generator) -> Model:
    turret = Model().add("dark", disc((-0.1, 0, 1.61), 1.2, 0.1, (0, 0, 1)))

    def outline(z: float, front: float, rear: float, half: float, cut: float) -> list[Point]:
        right = [(front, half - cut, z), (front - cut, half, z), (rear + cut * 0.6, half, z), (rear, half - cut, z)]
        return [*right, *((x, -y, z) for x, y, _ in right)]

    turret.add(
        "body",
        loft(
            [
                outline(1.66, 0.85, -1.6, 1.2, 0.25),
                outline(1.86, 0.9, -1.78, 1.42, 0.25),
                outline(1.98, 0.85, -1.78, 1.4, 0.3),
                outline(2.3, 0.75, -1.65, 1.14, 0.25),
            ]
        ),
    )
    for side in (-1, 1):  # cheeks beside the guns
        rings = []
        for z, front, half, inner in (
            (1.68, 1.15, 1.15, 0.44),
            (1.86, 1.5, 1.42, 0.42),
            (1.98, 1.48, 1.4, 0.42),
            (2.27, 1.18, 1.1, 0.42),
        ):
            rings.append(
                [
                    (front, side * inner, z),
                    (front - 0.05, side * (half - 0.4), z),
                    (front - 0.5, side * half, z),
                    (0.2, side * half, z),
                    (0.2, side * inner, z),
                ]
            )
        turret.add("body", loft(rings))
        turret.add(
            "body", box(0.7, 0.06, 0.2, (-0.55, side * 1.4, 1.8)), box(0.55, 0.06, 0.22, (-1.25, side * 1.4, 1.8))
        )
        turret.add("body", box(1.2, 0.05, 0.04, (0.3, side * 1.28, 2.06)))
    turret.join(_hatch(random, (0.2, 0.68, 2.26), 0.3))
    turret.add("body", box(0.8, 0.55, 0.08, (-0.15, -0.55, 2.25)), box(0.9, 0.8, 0.1, (0.35, 0, 2.24)))
    turret.join(_periscopes((0.2, 0.68, 2.36), 0.3, 4))
    if random.random() < 0.5:
        turret.add("body", disc((0.35, -0.75, 2.38), 0.12, 0.24, (0, 0, 1)))
    if random.random() < 0.6:
        turret.join(_antenna(random, (-1.3, float(random.choice([-1.0, 1.0])), 2.2)))
    if random.random() < 0.35:
        turret.add("body", box(0.35, float(random.uniform(0.8, 1.8)), 0.4, (-1.9, 0, 1.75)))
    if random.random() < 0.2:
        turret.join(_crew((0.2, 0.68, 2.3)))
    return turret


def _shilka_radar(random: Generator, raised: bool) -> Model:
    x, z = -1.12, 3.02
    stand = Model().add("body", disc((x, 0, 2.32), 0.5, 0.12, (0, 0, 1)), disc((x, 0, 2.42), 0.38, 0.12, (0, 0, 1)))
    for side in (-1, 1):
        stand.add("dark", tube((x - 0.2, side * 0.28, 2.4), (x - 0.08, side * 0.3, 2.98), 0.045, sections=8))
        stand.add("dark", tube((x + 0.12, side * 0.28, 2.4), (x - 0.08, side * 0.3, 2.98), 0.035, sections=8))
    radius = float(random.uniform(0.46, 0.52))
    head = Model()
    rim = [(radius * 0.92, 0.2), (radius, 0.14), (radius, -0.02), (radius * 0.75, -0.14), (0, -0.18)]
    face = [(0, 0.26), (radius * 0.5, 0.25)] if random.random() < 0.6 else [(0, 0.1), (radius * 0.5, 0.12)]
    head.add("light" if random.random() < 0.3 else "body", lathe([*face, *rim], (x, 0, z), (1, 0, 0.03), sections=32))
    head.add("body", box(0.3, 0.36, 0.34, (x - 0.26, 0, z - 0.2)), box(0.16, 0.7, 0.12, (x - 0.1, 0, z - 0.06)))
    head.add("dark", tube((x - 0.4, 0.1, z), (x - 0.2, 0.1, z - 0.5), 0.04, sections=8))
    if raised:
        pitch, bearing = float(random.uniform(-18, 5)), float(random.choice([0, 0, 0, 60, 130, 200, 300]))
    else:
        pitch, bearing = float(random.uniform(-110, -70)), float(random.choice([0, 0, 180]))
    head = head.turned(pitch, (0, 1, 0), (x - 0.08, 0, 2.98))
    return stand.join(head).turned(bearing, (0, 0, 1), (x, 0, 0)).moved(0, 0, 0 if raised else -0.15)


def buk_m1(random: Generator) -> Built:
    """9A310M1: four bare missiles over a turret with panels, the big rounded radar housing in front."""
    model = _gm569_hull(random)
    base = 2.15
    turret = Model(cues=["big rounded radar housing in front"])
    turret.add("dark", disc((0, 0, base + 0.02), 1.3, 0.16, (0, 0, 1)))

    def outline(x: float, low: float, high: float, low_half: float, high_half: float) -> list[Point]:
        return [(x, side * half, z) for half, z in ((low_half, low), (high_half, high)) for side in (-1, 1)]

    low, ledge, roof = base + 0.08, base + 0.62, base + 1.22
    turret.add("body", loft([outline(-3.1, low, ledge, 1.3, 1.26), outline(1.75, low, ledge, 1.4, 1.36)]))
    cabin = [outline(-1.25, ledge - 0.05, ledge, 1.26, 1.2), outline(0.25, ledge - 0.05, roof, 1.32, 0.9)]
    turret.add("body", loft([*cabin, outline(1.8, ledge - 0.05, roof - 0.02, 1.34, 0.95)]))
    for side in (-1, 1):  # rows of hinged panels
        for x in np.linspace(-2.8, 1.3, 7):
            turret.add("body", box(0.54, 0.05, 0.38, (float(x), side * (1.33 + 0.02 * x), low + 0.09)))
            turret.add("dark", box(0.1, 0.04, 0.05, (float(x), side * (1.36 + 0.02 * x), low + 0.4)))
        for x in (0.55, 1.25):
            panel = [
                (x + dx, side * (1.36 - 0.42 * share), ledge + 0.6 * share)
                for dx in (-0.3, 0.3)
                for share in (0.1, 0.85)
            ]
            turret.add("body", loft([panel, [(px, py + side * 0.04, pz + 0.02) for px, py, pz in panel]]))
        brace = [
            (-0.9 + dx, side * (1.3 - 0.34 * share), ledge + 0.5 * share) for dx, share in ((0, 0.1), (0.95, 0.85))
        ]
        turret.add("body", tube(*brace, 0.03, sections=6))
    turret.join(_buk_radar(random, base))
    travelling = bool(random.random() < 0.75)
    elevation = float(random.choice([0.0, 2.0])) if travelling else float(random.choice([20.0, 40.0, 62.0]))
    loaded = bool(random.random() < 0.88) or not travelling
    if loaded:
        turret.cues.insert(0, "four bare missiles with light nose cones on top")
    turret.join(_buk_launcher(random, base, loaded).turned(-elevation, (0, 1, 0), (-2.5, 0, base + 0.75)))
    for y in (-0.8, 0.8):  # working platforms behind
        grid = [
            tube(
                (-3.12 - s, y - 0.42, base + 0.3 - s * 0.6),
                (-3.12 - s, y + 0.42, base + 0.3 - s * 0.6),
                0.016,
                sections=5,
            )
            for s in np.linspace(0, 0.5, 5)
        ]
        grid += [
            tube((-3.12, y + s, base + 0.3), (-3.62, y + s, base), 0.014, sections=5) for s in np.linspace(-0.4, 0.4, 6)
        ]
        turret.add("dark", *grid)
    for _ in range(int(random.integers(0, 3))):
        turret.join(_antenna(random, (float(random.uniform(-2.5, -1.2)), float(random.choice([-1.2, 1.2])), ledge)))
    backward = bool(random.random() < (0.45 if travelling else 0.15))
    turret = turned_turret(turret, random, (0, 0, 0), spread=15 if travelling else 60)
    if backward:  # in travel the radar often points to the rear
        turret = turret.turned(180)
    state = "travelling" if travelling else "launcher up"
    if not loaded:
        state += ", no missiles"
    return _jittered(model.join(turret), random), state


def _buk_radar(random: Generator, base: float) -> Model:
    """The radar's housing, an eight-cornered rounded block, with the camera and its guard beside it on the roof."""
    low, high, half = base + 0.12, base + 1.3, 1.22

    def ring(x: float, shrink: float, cut: float) -> list[Point]:
        a, b, c = half - shrink, low + shrink, high - shrink
        right = [(x, a - cut, b), (x, a, b + cut * 0.8), (x, a, c - cut * 1.1), (x, a - cut * 1.1, c)]
        corners = [*right, *((px, -py, pz) for px, py, pz in reversed(right))]
        rounded = []
        for before, here, after in zip(corners[-1:] + corners[:-1], corners, corners[1:] + corners[:1], strict=True):
            rounded += [tuple(0.8 * a + 0.2 * b for a, b in zip(here, other, strict=True)) for other in (before, after)]
        return rounded

    model = Model()
    sizes = ((1.75, 0.02, 0.2), (2.7, 0.0, 0.26), (2.9, 0.04, 0.3), (3.03, 0.11, 0.33), (3.1, 0.22, 0.36))
    rings = [ring(*size) for size in sizes]
    paint = "body" if random.random() < 0.7 else "light"
    model.add(paint, *(loft(pair) for pair in pairwise(rings)))
    model.add("dark", loft([ring(1.78, -0.02, 0.2), ring(1.84, -0.02, 0.2)]))
    side = float(random.choice([-1.0, 1.0, 1.0]))
    z = base + 1.22
    model.add(
        "body", box(0.28, 0.3, 0.22, (1.5, side * 0.72, z)), disc((1.55, side * 0.72, z + 0.32), 0.15, 0.4, (0, 1, 0))
    )
    model.add(
        "dark",
        disc((1.72, side * 0.72, z + 0.32), 0.1, 0.14, (1, 0, 0)),
        box(0.3, 0.14, 0.16, (1.5, side * 0.98, z + 0.2)),
    )
    for y in (-1.0, 1.0):  # hoops along the missiles' noses
        x0, x1, top = 0.1, 1.35, base + float(random.uniform(1.75, 1.95))
        corners = [
            (x0, y, base + 1.0),
            (x0 + 0.05, y, top - 0.15),
            (x0 + 0.25, y, top),
            (x1 - 0.2, y, top),
            (x1, y, top - 0.2),
            (x1, y, base + 1.15),
        ]
        model.add("dark", *_pipe(corners, 0.026))
    return model


def _buk_launcher(random: Generator, base: float, loaded: bool) -> Model:
    launcher = Model()
    axis = base + 1.5
    paint = "body" if random.random() < 0.7 else "light"
    wing = "light" if random.random() < 0.35 else paint
    nozzle = "red" if random.random() < 0.12 else "dark"
    missiles = [
        _buk_missile(paint, wing, cap, nozzle) for cap in ("light", "red" if random.random() < 0.08 else "light")
    ]
    spacing = 0.62
    for index in range(4):
        y = (index - 1.5) * spacing
        if loaded:
            launcher.join(missiles[index % 2].moved(0, y, axis))
        launcher.add("body", box(3.6, 0.16, 0.14, (-1.95, y, base + 1.08)), box(0.5, 0.3, 0.3, (-2.9, y, base + 0.88)))
        launcher.add(
            "dark", box(0.16, 0.26, 0.16, (-0.6, y, base + 1.16)), box(0.16, 0.26, 0.16, (-2.6, y, base + 1.16))
        )
        launcher.add("metal", tube((-3.2, y - 0.1, base + 0.85), (-2.4, y + 0.12, base + 1.0), 0.07, sections=8))
    launcher.add("body", box(0.6, 2.3, 0.26, (-2.5, 0, base + 0.72)), box(0.2, 2.3, 0.16, (-1.2, 0, base + 0.95)))
    for x in (-2.9, -1.2):
        y = 1.24
        top = base + 1.9
        corners = [(x, -y, base + 0.7), (x, -y, top - 0.2), (x, -y + 0.2, top)]
        if x < -2:
            launcher.add("dark", *_pipe([*corners, (x, y - 0.2, top), (x, y, top - 0.2), (x, y, base + 0.7)], 0.03))
        else:
            launcher.add(
                "dark", *(tube((x, s * y, base + 0.7), (x, s * y, base + 1.3), 0.025, sections=6) for s in (-1, 1))
            )
    return launcher


def _buk_missile(paint: str, wing: str, cap: str, nozzle: str) -> Model:
    """9M38 along x, its axis at the origin's height: long wings, tail fins, a hollow nozzle. Takes paints."""
    tail, nose, radius = -4.0, 0.75, 0.2
    missile = Model()
    shell = [(radius * 0.98, tail), (radius, -0.4), (radius * 0.88, -0.25), (radius * 0.86, nose), (0, nose)]
    missile.add(
        paint,
        lathe([(0, tail + 0.35), (radius * 0.7, tail + 0.3), (radius * 0.85, tail), *shell], (0, 0, 0), (1, 0, 0)),
    )
    missile.add(nozzle, disc((tail + 0.32, 0, 0), radius * 0.7, 0.04, (1, 0, 0)))
    cone = [(radius * (1 - share**1.7) * 0.86, nose + 0.85 * share) for share in (0, 0.2, 0.4, 0.6, 0.8, 0.93, 1)]
    missile.add(cap, lathe([(0, nose), *cone], (0, 0, 0), (1, 0, 0)))
    for angle in (45, 135, 225, 315):
        dy, dz = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for corners in (
            ((-2.9, 0.18), (-0.6, 0.18), (-1.5, 0.42), (-2.9, 0.44)),
            ((-3.95, 0.18), (-3.4, 0.18), (-3.6, 0.5), (-3.92, 0.52)),
        ):
            missile.add(wing, plate([(x, reach * dy, reach * dz) for x, reach in corners], 0.02))
    missile.add("dark", disc((nose - 0.02, 0, 0), radius * 0.9, 0.03, (1, 0, 0)))
    return missile


def _gm569_hull(random: Generator) -> Model:
    """The carrier of Buk: six wheels, raised idler in front, raised sprocket behind, a ledge over the wheels."""
    model = Model(cues=["six road wheels, raised sprocket at the rear", "flat deck with a ledge over the wheels"])
    model.join(
        running_gear(
            np.linspace(2.55, -2.6, 6),
            radius=0.35,
            gauge=2.7,
            track_width=0.44,
            front=(3.35, 0.67, 0.28),
            rear=(-3.4, 0.68, 0.29),
            drive="rear",
            return_rollers=(1.7, 0.0, -1.7),
            roller_z=0.86,
            dish=0.1,
        )
    )
    model.add("body", prism([(-3.7, 0.6), (-3.95, 1.15), (3.7, 1.15), (4.05, 0.95), (3.7, 0.55), (-3.4, 0.45)], 2.2))
    roof = 2.12
    model.add("body", prism([(-4.0, 1.12), (-4.0, roof), (2.9, roof), (3.75, 1.55), (4.02, 1.12)], 3.0, top_width=2.84))
    for side in (-1, 1):
        lip = [(1.45, 1.22), (1.62, 1.1), (1.62, 1.05), (1.45, 1.17)]
        model.add("body", loft([[(x, side * y, z) for y, z in lip] for x in (-3.95, 3.7)]))
        front = [(3.65, 1.2), (3.65, 1.04), (4.1, 1.0), (4.12, 0.76), (4.08, 0.76)]
        model.add("body", loft([[(x, side * y, z) for y in (1.12, 1.6)] for x, z in front]))
        model.add(
            "body",
            loft(
                [
                    [(x, side * y, z) for y in (1.12, 1.6)]
                    for x, z in ((-3.95, 1.15), (-4.12, 1.02), (-4.14, 0.66), (-3.95, 1.05))
                ]
            ),
        )
        x = -3.6
        while x < 2.6:  # boxes and covers along the side
            length = float(random.uniform(0.45, 1.15))
            if random.random() < 0.8:
                height = float(random.uniform(0.45, 0.7))
                model.add(
                    "body",
                    box(length - 0.1, float(random.choice([0.1, 0.16])), height, (x + length / 2, side * 1.5, 1.24)),
                )
                model.add("dark", box(0.1, 0.05, 0.06, (x + length / 2, side * 1.58, 1.24 + height * 0.8)))
            elif random.random() < 0.5:
                model.add("dark", box(length - 0.15, 0.06, 0.22, (x + length / 2, side * 1.5, 1.34)))
            x += length
        model.add("dark", box(1.5, 0.05, 0.16, (-2.6, side * 1.475, 1.84)))
        model.join(_headlight((3.85, side * 1.15, 1.52), 0.1)).join(_headlight((3.95, side * 0.95, 1.36), 0.08))
        model.add("metal", *(disc((4.0, side * y, 1.08), 0.09, 0.05, (1, 0, 0)) for y in (0.4, 0.85)))
        model.add("red", box(0.03, 0.12, 0.08, (-4.02, side * 1.3, 1.75)))
    slope = (2.12 - 1.55) / 0.85
    for y in (-0.72, 0.72):  # windows of the crew in front, shut or open
        for paint, lift in (("body", 0.05), ("glass" if random.random() < 0.6 else "dark", 0.08)):
            shrink = 0.0 if paint == "body" else 0.12
            pane = [
                (x, y + dy, roof - slope * (x - 2.9) + lift)
                for x in (3.05 + shrink, 3.6 - shrink)
                for dy in (-0.45 + shrink, 0.45 - shrink)
            ]
            model.add(paint, loft([pane, [(px, py, pz - 0.06) for px, py, pz in pane]]))
    model.join(_grille(-3.4, 0.7, roof, 0.9, 0.8)).join(_grille(-3.4, -0.7, roof, 0.9, 0.8))
    model.add("body", box(0.06, 1.2, 0.6, (-4.02, 0, 1.35)), box(0.1, 0.5, 0.4, (-4.03, -1.0, 1.35)))
    if random.random() < 0.5:
        model.join(_cable([(4.05, -0.9, 1.08), (4.1, -0.3, 0.92), (4.12, 0.3, 0.9), (4.05, 0.9, 1.08)]))
    return model


def bmp_2(random: Generator) -> Built:
    """BMP-2: a long wedge of a nose, a small flat turret, one thin barrel, a missile rail on the roof."""
    model = Model(cues=["long wedge-shaped nose", "small flat turret with one thin barrel"])
    model.join(
        running_gear(
            np.linspace(1.68, -1.98, 6),
            radius=0.305,
            gauge=2.56,
            track_width=0.32,
            front=(2.55, 0.75, 0.27),
            rear=(-2.78, 0.68, 0.25),
            drive="front",
            return_rollers=(1.2, -0.3, -1.8),
            roller_z=0.88,
            sag=0.06,
        )
    )
    model.join(_bmp_2_hull(random))
    turret, ring = Model(), (-0.25, 0.0)
    x0 = ring[0]
    turret.add("body", tube((x0, 0, 1.6), (x0 - 0.08, 0, 2.06), 1.12, 0.72, sections=36))
    turret.add("dark", disc((x0, 0, 1.6), 1.14, 0.06, (0, 0, 1)))
    turret.add("body", disc((x0 - 0.08, 0, 2.07), 0.72, 0.03, (0, 0, 1)), box(0.9, 0.34, 0.12, (x0 + 0.35, 0, 1.98)))
    turret.join(_hatch(random, (x0 - 0.2, 0.36, 2.08), 0.27)).join(_periscopes((x0 - 0.2, 0.36, 2.14), 0.27, 4))
    turret.add("body", disc((x0 - 0.15, -0.38, 2.14), 0.3, 0.14, (0, 0, 1)))
    turret.join(_hatch(random, (x0 - 0.15, -0.38, 2.2), 0.25)).join(_periscopes((x0 - 0.15, -0.38, 2.2), 0.28, 5))
    turret.join(_searchlight((x0 + 0.25, -0.42, 2.32), 0.13)).join(_searchlight((x0 + 0.45, 0.4, 2.2), 0.1))
    turret.add("body", box(0.3, 0.24, 0.18, (x0 + 0.4, 0.4, 2.04)))
    elevation = float(random.choice([0.0, 2.0, 4.0, 12.0, 28.0]))
    gun = Model().add("metal", tube((0.6, 0, 1.85), (3.0, 0, 1.85), 0.036, sections=12))
    gun.add("dark", tube((2.92, 0, 1.85), (3.14, 0, 1.85), 0.055, sections=12))
    gun.add("body", tube((0.5, 0, 1.85), (1.25, 0, 1.85), 0.09, 0.06, sections=12), box(0.5, 0.3, 0.28, (0.6, 0, 1.72)))
    if random.random() < 0.3:
        gun.add("canvas", tube((0.55, 0, 1.84), (1.0, 0, 1.85), 0.2, 0.1, sections=12))
    gun.add("metal", tube((0.7, -0.16, 1.8), (1.15, -0.16, 1.8), 0.02, sections=8))
    turret.join(gun.turned(-elevation, (0, 1, 0), (0.6, 0, 1.85)))
    if random.random() < 0.45:
        launcher = Model().add("body", tube((-0.75, 0, 2.42), (0.4, 0, 2.42), 0.085, sections=14))
        launcher.add("dark", box(0.5, 0.14, 0.1, (-0.2, 0, 2.26)), tube((-0.3, 0, 2.05), (-0.3, 0, 2.3), 0.06))
        turret.join(launcher.turned(float(random.uniform(-10, 3)), (0, 1, 0), (-0.2, 0, 2.4)))
    else:
        turret.add(
            "dark", tube((x0 - 0.1, 0, 2.05), (x0 - 0.1, 0, 2.24), 0.06), box(0.4, 0.16, 0.08, (x0 - 0.05, 0, 2.2))
        )
    for side in (-1, 1):
        turret.join(_smoke(3, (x0 - 0.3, side * 0.92, 1.8), side, step=(-0.17, -0.02 * side, 0)))
    if random.random() < 0.7:
        turret.join(_antenna(random, (x0 - 0.75, float(random.choice([-0.4, 0.4])), 1.95)))
    if random.random() < 0.35:
        turret.join(_crew((x0 - 0.15, -0.38, 2.12)))
    model.join(turned_turret(turret, random, (x0, 0, 0)))
    return _jittered(model, random), "gun raised" if elevation > 10 else "gun level"


def _bmp_2_hull(random: Generator) -> Model:
    model = Model()
    model.add("body", prism([(-3.2, 0.6), (-3.3, 1.1), (2.6, 1.1), (3.1, 0.98), (2.35, 0.44), (-2.9, 0.42)], 2.15))
    # the upper hull leans in above the ledge; the nose keeps its full width up to the tip
    roof = 1.64
    ends = [
        (-3.32, 1.12, 1.46),
        (-3.32, 1.34, 1.48),
        (-3.25, roof, 1.2),
        (0.6, roof, 1.2),
        (0.9, roof - 0.04, 1.25),
        (2.0, 1.12, 1.47),
    ]
    model.add("body", loft([[(x, side * half, z) for x, z, half in ends] for side in (-1, 1)]))
    nose = [
        (0.6, roof - 0.01, 1.2),
        (3.36, 1.26, 1.4),
        (3.37, 1.2, 1.42),
        (2.85, 0.72, 1.05),
        (2.2, 0.46, 1.02),
        (0.6, 1.0, 1.02),
        (1.2, 1.3, 1.4),
    ]
    model.add("body", loft([[(x, side * half, z) for x, z, half in nose] for side in (-1, 1)]))
    tilt = (roof - 1.26) / 2.76
    ribbed = float(random.uniform(0.0, 0.5))
    for x in np.linspace(0.95, 2.5, 9):
        model.add("body", box(0.06, 1.9, 0.035, (float(x), -0.1 + ribbed * 0.2, roof - tilt * (float(x) - 0.6))))
    for side in (-1, 1):
        # armour over the track with long grooves, rounded down in front
        skirt = [(1.42, 1.34), (1.56, 1.3), (1.58, 1.04), (1.44, 1.02)]
        model.add("body", loft([[(x, side * y, z) for y, z in skirt] for x in (-3.1, 1.75)]))
        model.add(
            "body",
            loft(
                [
                    [(1.75, side * y, z) for y, z in skirt],
                    [(2.3, side * y, z) for y, z in ((1.4, 1.2), (1.5, 1.14), (1.5, 0.86), (1.4, 0.86))],
                ]
            ),
        )
        for z in (1.1, 1.17, 1.24):
            model.add("dark" if z < 1.15 else "body", box(4.7, 0.03, 0.022, (-0.7, side * 1.58, z)))
        model.add(
            "body",
            loft(
                [
                    [(x, side * y, z) for y in (1.12, 1.5)]
                    for x, z in ((2.2, 1.12), (2.9, 1.0), (3.0, 0.86), (2.2, 1.06))
                ]
            ),
        )
        model.add("dark", box(0.04, 0.36, 0.3, (-3.32, side * 1.3, 0.8)))
        for x in (-0.6, -1.15, -1.7, -2.3):  # firing ports with their periscopes
            model.add("dark", disc((x, side * 1.36, 1.46), 0.07, 0.08, (0, 1, 0)))
            model.add("glass", box(0.18, 0.08, 0.06, (x, side * 1.12, roof)))
        model.add("body", prism([(-3.62, 0.72), (-3.55, 1.48), (-3.2, 1.54), (-3.2, 0.6)], 0.98, y=side * 0.53))
        model.add(
            "dark",
            disc((-3.63, side * 0.5, 1.2), 0.07, 0.04, (1, 0, 0)),
            box(0.06, 0.16, 0.1, (-3.6, side * 0.3, 1.36)),
        )
        model.add("red", box(0.04, 0.1, 0.12, (-3.34, side * 1.3, 1.36)))
        model.join(_headlight((2.55, side * 1.2, 1.47), 0.09))
        model.add(
            "metal",
            *_pipe(
                [
                    (2.4, side * 1.35, 1.3),
                    (2.72, side * 1.35, 1.58),
                    (2.72, side * 1.08, 1.58),
                    (2.4, side * 1.02, 1.36),
                ],
                0.02,
            ),
        )
        model.add("metal", disc((3.2, side * 0.85, 1.0), 0.08, 0.08, (1, 0, 0)))
        model.add("body", box(1.5, 0.75, 0.05, (-2.2, side * 0.5, roof)))  # roof hatches
    if random.random() < 0.8:  # board against the water, folded on the nose
        x0, x1 = 2.3, 3.2
        board = [(x, y, roof - tilt * (x - 0.6) + 0.03) for x in (x0, x1) for y in (-1.15, 1.15)]
        model.add("body", loft([board, [(x, y, z + 0.04) for x, y, z in board]]))
    model.join(_hatch(random, (1.15, 0.75, 1.58), 0.26)).join(_periscopes((1.15, 0.75, 1.62), 0.3, 3))
    model.join(_hatch(random, (0.55, 0.85, 1.64), 0.26))
    model.join(_grille(0.75, -0.72, roof - 0.02, 0.6, 0.7))
    model.add("body", box(0.4, 0.5, 0.1, (1.5, -0.7, 1.5)))
    if random.random() < 0.5:
        side = float(random.choice([-1.0, 1.0]))
        model.add("metal", tube((-2.6, side * 1.4, 1.42), (-0.6, side * 1.36, 1.46), 0.03, sections=6))
    if random.random() < 0.35:
        model.join(_load(random, (-2.1, roof + 0.04), 0.8))
    if random.random() < 0.3:
        model.join(_crew((0.55, 0.85, 1.5)))
    return model


def t_90(random: Generator) -> Built:
    """T-90: six large wheels, a rounded low turret with wedges and two dazzler boxes, a long thick gun."""
    model = Model(cues=["six large road wheels", "wedge-shaped armour on the turret front"])
    model.join(
        running_gear(
            np.linspace(2.15, -2.1, 6),
            radius=0.375,
            gauge=2.79,
            track_width=0.58,
            front=(2.95, 0.74, 0.28),
            rear=(-2.95, 0.76, 0.32),
            drive="rear",
            return_rollers=(1.3, -0.1, -1.5),
            roller_z=0.96,
            dish=0.12,
        )
    )
    model.join(_t_90_hull(random))
    late = bool(random.random() < 0.25)
    turret = _t_90_late_turret(random) if late else _t_90_turret(random)
    elevation = float(random.choice([0.0, 1.0, 3.0, 8.0, 13.0]))
    axis = 1.76
    gun = Model().add("body", tube((0.9, 0, axis), (6.1, 0, axis), 0.083, 0.075, sections=18))
    gun.add("dark", tube((6.06, 0, axis), (6.12, 0, axis), 0.06, sections=14))
    gun.add("body", tube((3.5, 0, axis), (4.2, 0, axis), 0.125, sections=18))
    gun.add("body", *(disc((x, 0, axis), 0.1, 0.06, (1, 0, 0)) for x in (2.2, 2.85, 4.85, 5.45)))
    gun.add(
        "body", tube((0.8, 0, axis), (1.8, 0, axis), 0.2, 0.13, sections=18), box(0.6, 0.6, 0.4, (1.0, 0, axis - 0.2))
    )
    turret.join(gun.turned(-elevation, (0, 1, 0), (0.9, 0, axis)))
    model.join(turned_turret(turret, random, (-0.15, 0, 0)))
    return _jittered(model, random), "gun raised" if elevation > 5 else "gun level"


def _t_90_hull(random: Generator) -> Model:
    model = Model()
    model.add("body", prism([(-3.25, 0.6), (-3.35, 1.32), (1.75, 1.32), (3.35, 0.88), (2.9, 0.47), (-2.9, 0.46)], 2.15))
    model.add("body", prism([(-3.35, 1.1), (-3.35, 1.36), (-1.2, 1.38), (1.6, 1.34), (1.9, 1.1)], 3.3))
    skirt, ragged = float(random.uniform(0.5, 0.62)), bool(random.random() < 0.2)
    for side in (-1, 1):
        # mudguards curve down in front and behind
        guard = [(1.6, 1.34), (2.5, 1.3), (3.1, 1.16), (3.42, 0.92), (3.46, 0.72)]
        for (xa, za), (xb, zb) in pairwise(guard):
            model.add(
                "body",
                loft(
                    [[(x, side * y, z + dz) for y in (1.1, 1.78) for dz in (0, -0.05)] for x, z in ((xa, za), (xb, zb))]
                ),
            )
            if xa > 2:
                model.add(
                    "body",
                    loft(
                        [
                            [(x, side * y, z - dz) for y in (1.74, 1.78) for dz in (0.02, 0.22)]
                            for x, z in ((xa, za), (xb, zb))
                        ]
                    ),
                )
        model.add(
            "dark",
            loft(
                [
                    [(x, side * y, z) for y in (1.12, 1.7)]
                    for x, z in ((-3.35, 1.2), (-3.5, 1.1), (-3.55, 0.7), (-3.52, 0.7))
                ]
            ),
        )
        paint = "dark" if random.random() < 0.3 else "body"
        for x in np.linspace(2.25, -2.75, 8):
            if not (ragged and random.random() < 0.3):
                model.add(paint, box(0.7, 0.03, skirt, (float(x), side * 1.76, 1.28 - skirt)))
        for x in (2.05, 1.3, 0.55):  # square armour panels
            if random.random() < 0.9:
                model.add("body", box(0.68, 0.07, 0.64, (x, side * 1.84, 0.64)))
        x = -3.2
        while x < 1.4:  # tanks and boxes on the ledge
            length = float(random.uniform(0.7, 1.0))
            model.add(
                "body", box(length - 0.06, 0.5, float(random.uniform(0.16, 0.24)), (x + length / 2, side * 1.44, 1.34))
            )
            x += length
        model.join(_headlight((2.75, side * 1.0, 1.22), 0.09))
        model.add(
            "metal",
            *_pipe(
                [
                    (2.7, side * 0.85, 1.02),
                    (2.95, side * 0.85, 1.28),
                    (2.95, side * 1.12, 1.28),
                    (2.7, side * 1.12, 1.15),
                ],
                0.02,
            ),
        )
        model.add("metal", box(0.14, 0.14, 0.2, (3.2, side * 0.75, 0.75)))
        model.add("red", box(0.04, 0.12, 0.08, (-3.38, side * 1.4, 1.2)))
    slope = (1.32 - 0.88) / 1.6
    for x in (1.98, 2.4, 2.82):  # bricks on the glacis
        for y in (-0.92, -0.55, -0.18, 0.18, 0.55, 0.92):
            if abs(y) > 0.3 or x > 2:
                model.add("body", box(0.38, 0.33, 0.09, (x, y, 1.33 - slope * (x - 1.75))))
    model.add("body", loft([[(2.9, y, 1.02), (3.0, y, 1.14), (3.02, y, 1.12)] for y in (-0.8, 0.8)]))
    model.add("body", box(0.1, 1.9, 0.3, (3.32, 0, 0.62)))  # dozer blade folded under the nose
    model.add("metal", *(tube((3.3, y, 0.86), (3.4, y, 0.6), 0.035, sections=6) for y in np.linspace(-0.8, 0.8, 7)))
    model.join(_hatch(random, (1.6, 0, 1.33), 0.25))
    model.join(_grille(-2.9, 0, 1.38, 0.6, 1.9)).join(_grille(-2.1, 0.3, 1.38, 0.5, 1.3))
    model.add("dark", box(0.5, 0.06, 0.14, (-1.9, 1.7, 1.36)))  # exhaust
    if random.random() < 0.5:  # fuel drums behind
        model.add("body", *(tube((-3.65, s * 0.12, 1.42), (-3.65, s * 1.05, 1.42), 0.3) for s in (-1, 1)))
        model.add("metal", *(box(0.5, 0.05, 0.06, (-3.5, s * y, 1.12)) for s in (-1, 1) for y in (0.3, 0.85)))
    if random.random() < 0.6:  # the log for soft ground
        model.add("canvas", tube((-3.5, -1.45, 0.98), (-3.5, 1.45, 0.98), 0.13, sections=12))
    if random.random() < 0.5:
        model.join(_cable([(3.3, 0.7, 0.95), (2.6, 0.85, 1.24), (1.9, 0.95, 1.4), (3.0, 0.2, 1.12), (3.3, -0.7, 0.95)]))
    if random.random() < 0.3:
        model.join(_crew((1.6, 0, 1.15)))
    return model


def _t_90_turret(random: Generator) -> Model:
    """The turret of the T-90 and T-90A: low, with wedges of bricks in front and the two dazzlers."""
    turret = Model().add("dark", disc((-0.15, 0, 1.38), 1.15, 0.08, (0, 0, 1)))
    x0 = -0.15
    dazzlers = bool(random.random() < 0.85)
    if dazzlers:
        turret.cues.append("dazzler boxes beside the gun")
    if random.random() < 0.5:  # cast, else welded
        turret.add("body", tube((x0, 0, 1.4), (x0, 0, 1.72), 1.22, 1.34, sections=28))
        turret.add("body", tube((x0, 0, 1.72), (x0 - 0.1, 0, 2.12), 1.34, 0.86, sections=28))
    else:
        shape = ((1.1, 0.55), (0.35, 1.28), (-0.9, 1.2), (-1.45, 0.8))
        rings = [
            [(x0 + x * k, s * y * k, z) for x, y in shape for s in (-1, 1)]
            for z, k in ((1.4, 0.94), (1.72, 1.0), (2.1, 0.76))
        ]
        turret.add("body", loft(rings))
    for side in (-1, 1):
        # wedges: an upper and a lower row meet in an edge
        for inner, outer in ((0.34, 0.64), (0.7, 0.98), (1.04, 1.34)):
            xa, xb = 1.66 - 0.62 * (inner - 0.34), 1.66 - 0.62 * (outer - 0.34) - 0.12 * (outer > 1.2)
            edge = [(xa, side * inner, 1.7), (xb, side * outer, 1.7)]
            back = [(xa - 0.75, side * inner * 0.95, 2.08), (xb - 0.7, side * outer * 0.92, 2.04)]
            under = [(xa - 0.5, side * inner, 1.44), (xb - 0.5, side * outer * 0.95, 1.44)]
            turret.add(
                "body", loft([edge, back, [(x - 0.1, y, z - 0.1) for x, y, z in back]]), loft([edge, under, back])
            )
        for x in (0.35, -0.05):
            turret.add(
                "body",
                loft(
                    [
                        [(x + dx, side * y, z) for dx in (-0.18, 0.18)]
                        for y, z in ((1.3, 1.6), (1.5, 1.72), (1.12, 2.04))
                    ]
                ),
            )
        if dazzlers:
            turret.add("body", box(0.3, 0.36, 0.34, (1.42, side * 0.62, 1.62)))
            turret.add(
                "red" if random.random() < 0.25 else "glass", disc((1.58, side * 0.62, 1.79), 0.13, 0.04, (1, 0, 0))
            )
        turret.join(_smoke(6 if side > 0 else 5, (-0.2, side * 1.26, 1.66), side, step=(-0.13, -0.03 * side, 0.01)))
        turret.add("body", box(0.6, 0.4, float(random.uniform(0.36, 0.48)), (-1.05, side * 1.1, 1.54)))
        turret.add("body", box(0.4, 0.5, float(random.uniform(0.3, 0.46)), (-1.6, side * 0.85, 1.54)))
    turret.add("body", box(0.5, 1.9, 0.38, (-1.62, 0, 1.54)))
    if random.random() < 0.7:  # snorkel across the rear
        turret.add("body", tube((-1.98, -1.0, 1.72), (-1.98, 1.0, 1.72), 0.13, sections=14))
    if random.random() < 0.4:
        turret.add("canvas", tube((-1.95, -0.8, 1.98), (-1.95, 0.7, 1.98), 0.12, sections=12))
    turret.add("body", disc((-0.35, -0.5, 2.18), 0.42, 0.2, (0, 0, 1)), disc((-0.3, 0.52, 2.14), 0.36, 0.1, (0, 0, 1)))
    turret.join(_hatch(random, (-0.3, 0.52, 2.18), 0.28)).join(_periscopes((-0.35, -0.5, 2.26), 0.4, 6))
    turret.join(_hatch(random, (-0.4, -0.5, 2.28), 0.28))
    turret.add("body", box(0.45, 0.36, 0.26, (0.4, 0.5, 2.02)), box(0.3, 0.3, 0.22, (0.35, -0.45, 2.06)))
    turret.add("glass", box(0.03, 0.22, 0.14, (0.63, 0.5, 2.08)), box(0.03, 0.2, 0.12, (0.5, -0.45, 2.12)))
    if random.random() < 0.9:  # the commander's gun with its boxes and sight
        station = _machine_gun((-0.05, -0.62, 2.56), float(random.choice([0.0, 5.0, 25.0, 45.0, 60.0])))
        station.add("body", box(0.42, 0.26, 0.34, (-0.35, -0.95, 2.32)), box(0.3, 0.24, 0.26, (-0.05, -0.3, 2.28)))
        station.add("body", box(0.4, 0.5, 0.14, (-0.1, -0.55, 2.26))).add(
            "glass", box(0.02, 0.16, 0.12, (0.11, -0.3, 2.36))
        )
        turret.join(station.turned(float(random.normal(0, 20)), (0, 0, 1), (-0.35, -0.5, 0)))
    turret.add(
        "metal",
        tube((-1.2, 0.3, 2.05), (-1.2, 0.3, 2.5), 0.035, sections=8),
        disc((-1.2, 0.3, 2.45), 0.08, 0.16, (0, 0, 1)),
    )
    if random.random() < 0.8:
        turret.join(_antenna(random, (-1.2, float(random.choice([-0.7, 0.7])), 2.0)))
    if random.random() < 0.35:
        turret.join(_crew((-0.4, -0.5, 2.2)))
    return turret


def _t_90_late_turret(random: Generator) -> Model:
    """The turret of the T-90M: bigger wedges, a box behind the turret, a weapon station on the roof."""
    turret = Model().add("dark", disc((-0.15, 0, 1.38), 1.15, 0.08, (0, 0, 1)))
    shape = ((1.5, 0.42), (0.3, 1.5), (-1.2, 1.45), (-1.5, 1.1))
    turret.add(
        "body",
        loft(
            [
                [(x * k, s * y * k, z) for x, y in shape for s in (-1, 1)]
                for z, k in ((1.42, 0.86), (1.7, 1.0), (2.12, 0.74))
            ]
        ),
    )
    turret.add(
        "body",
        loft(
            [
                [(x, s * y, z) for x in (-1.2, -2.5) for s in (-1, 1)]
                for y, z in ((1.25, 1.56), (1.3, 1.7), (1.15, 2.12))
            ]
        ),
    )
    for side in (-1, 1):
        for xa, ya, xb, yb in ((1.5, 0.42, 0.95, 0.9), (0.88, 0.96, 0.34, 1.46)):
            brick = [
                (xa, side * ya, 1.74),
                (xb, side * yb, 1.74),
                (xa * 0.74, side * ya * 0.8, 2.12),
                (xb * 0.74, side * yb * 0.8, 2.12),
            ]
            turret.add("body", loft([brick, [(x + 0.06, y + side * 0.05, z + 0.03) for x, y, z in brick]]))
        for x in (-0.05, -0.6, -1.15):
            turret.add("body", box(0.5, 0.08, 0.36, (x, side * 1.44, 1.6)))
        turret.join(_smoke(4, (-1.4, side * 1.3, 1.75), side, step=(-0.15, 0, 0.0)))
        turret.add("dark", *(box(1.2, 0.03, 0.03, (-1.9, side * 1.36, z)) for z in (1.55, 1.68, 1.81, 1.94)))
    turret.add("body", disc((-0.4, 0.52, 2.15), 0.36, 0.12, (0, 0, 1)), box(0.5, 0.5, 0.16, (-0.45, -0.5, 2.1)))
    turret.join(_hatch(random, (-0.4, 0.52, 2.2), 0.28))
    turret.add("body", box(0.42, 0.36, 0.34, (0.35, 0.5, 2.05)), box(0.34, 0.4, 0.5, (-0.3, -0.3, 2.25)))
    turret.add("glass", box(0.03, 0.22, 0.18, (0.57, 0.5, 2.14)), box(0.03, 0.2, 0.16, (-0.12, -0.3, 2.5)))
    turret.join(_machine_gun((-0.2, -0.62, 2.6), float(random.choice([0.0, 5.0]))))
    turret.add("body", box(0.4, 0.26, 0.3, (-0.35, -0.85, 2.4)))
    turret.join(_antenna(random, (-2.2, 0.9, 2.1))).add(
        "metal", tube((-1.4, 0.3, 2.1), (-1.4, 0.3, 2.55), 0.035, sections=8)
    )
    return turret


def t_14(random: Generator) -> Built:
    """T-14: seven wheels under long skirts, a tall faceted turret without a crew, a sight tower on it."""
    model = Model(
        cues=["seven road wheels a side under long skirts", "tall faceted unmanned turret", "sight tower on the roof"]
    )
    model.join(
        running_gear(
            np.linspace(2.62, -2.62, 7),
            radius=0.35,
            gauge=2.8,
            track_width=0.58,
            front=(3.4, 0.78, 0.3),
            rear=(-3.4, 0.78, 0.33),
            drive="rear",
            return_rollers=(1.7, 0.0, -1.7),
            roller_z=0.98,
            dish=0.12,
        )
    )
    model.join(_t_14_hull(random))
    turret = _t_14_turret(random)
    elevation = float(random.choice([0.0, 1.0, 3.0, 8.0, 12.0]))
    axis, trunnion = 2.14, 0.6
    gun = Model().add("body", tube((trunnion, 0, axis), (6.45, 0, axis), 0.095, 0.075, sections=18))
    gun.add("dark", tube((6.4, 0, axis), (6.47, 0, axis), 0.062, sections=14))
    gun.add("body", tube((trunnion, 0, axis), (2.1, 0, axis), 0.22, 0.14, sections=18))
    gun.add("body", *(disc((x, 0, axis), 0.105, 0.06, (1, 0, 0)) for x in (2.6, 3.3, 4.9, 5.6)))
    gun.add(
        "body",
        tube((3.9, 0, axis), (4.5, 0, axis), 0.11, sections=18),
        box(0.7, 0.6, 0.46, (trunnion + 0.3, 0, axis - 0.23)),
    )
    turret.join(gun.turned(-elevation, (0, 1, 0), (trunnion, 0, axis)))
    model.join(turned_turret(turret, random, (-0.9, 0, 0), spread=35))
    return _jittered(model, random), "gun raised" if elevation > 5 else "gun level"


def _t_14_hull(random: Generator) -> Model:
    model = Model()
    roof = 1.68
    model.add("body", prism([(-4.0, 0.6), (-4.25, 1.2), (2.6, 1.2), (4.3, 1.06), (3.7, 0.55), (-3.7, 0.46)], 2.2))
    model.add(
        "body",
        prism([(-4.3, 1.15), (-4.3, 1.6), (-4.1, roof), (1.4, roof), (4.35, 1.2), (4.3, 1.05)], 3.3, top_width=2.9),
    )
    skirted = bool(random.random() < 0.85)
    for side in (-1, 1):
        for x in (-2.3, 0.8):
            model.add("body", box(1.4, 0.5, 0.07, (x, side * 1.2, roof)))
        if skirted:
            low = float(random.uniform(0.54, 0.64))
            # heavy blocks to the middle, closed with a slanted nose
            block = [(1.42, 1.66), (1.76, 1.5), (1.78, 0.95), (1.74, low), (1.7, low)]
            end = [(1.42, 1.3), (1.66, 1.2), (1.68, 1.0), (1.6, 0.84), (1.5, 0.84)]
            xs = np.linspace(-1.55, 3.3, 6)
            for a, b in pairwise(xs):
                model.add("body", loft([[(float(x), side * y, z) for y, z in block] for x in (a, b - 0.025)]))
            model.add("body", loft([[(3.3, side * y, z) for y, z in block], [(4.25, side * y, z) for y, z in end]]))
            model.add("dark", box(4.8, 0.03, 0.16, (0.9, side * 1.72, low - 0.14)))
            model.add(
                "dark", *(box(1.1, 0.03, 0.5, (float(x), side * 1.72, low - 0.1)) for x in np.linspace(-3.2, -2.05, 2))
            )
            # bars beside the engine
            for z in np.linspace(0.85, 1.6, 7):
                model.add("dark", box(2.2, 0.04, 0.035, (-2.75, side * 1.8, float(z))))
            model.add("body", *(box(0.05, 0.1, 0.85, (x, side * 1.77, 0.8)) for x in (-3.8, -3.2, -2.5, -1.75)))
            model.add("body", box(2.6, 0.06, 0.6, (-2.85, side * 1.7, 0.98)))
        else:
            model.add("body", box(5.8, 0.2, 0.3, (-0.6, side * 1.6, 1.3)))
        model.add(
            "body",
            loft(
                [
                    [(x, side * y, z) for y in (1.1, 1.7)]
                    for x, z in ((3.5, 1.42), (4.2, 1.26), (4.38, 0.95), (4.34, 0.95), (3.5, 1.36))
                ]
            ),
        )
        model.join(_headlight((3.95, side * 1.32, 1.38), 0.08)).add(
            "dark", box(0.2, 0.3, 0.16, (3.8, side * 1.34, 1.26))
        )
        model.add("dark", box(0.05, 0.6, 0.4, (-4.32, side * 1.4, 0.75)))
        model.add("red", box(0.04, 0.14, 0.08, (-4.32, side * 1.5, 1.45)))
        model.add("body", box(0.16, 0.7, 0.5, (-4.35, side * 1.2, 1.05)))
    slope = (roof - 1.2) / 2.95
    plate_x = (1.95, 4.0)
    for y0, y1 in ((-1.35, -0.5), (-0.46, 0.46), (0.5, 1.35)):  # plates of the glacis
        corners = [(x, y, roof - slope * (x - 1.4) + 0.03) for x in plate_x for y in (y0, y1)]
        model.add("body", loft([corners, [(x, y, z - 0.08) for x, y, z in corners]]))
    for y in (-0.55, 0.55):
        model.join(_hatch(random, (1.35, y, roof + 0.02), 0.27)).join(_periscopes((1.35, y, roof + 0.05), 0.3, 3))
    model.add("body", box(0.3, 0.5, 0.12, (2.2, -0.6, 1.58)), box(0.16, 0.5, 0.16, (3.1, 0, 1.42)))
    model.join(_grille(-3.4, 0.65, roof, 1.0, 0.9)).join(_grille(-3.4, -0.65, roof, 1.0, 0.9))
    model.join(_cable([(-4.36, -0.7, 1.1), (-4.4, -0.2, 1.45), (-4.4, 0.2, 1.1), (-4.36, 0.7, 1.4)]))
    model.add("dark", *(disc((-4.33, y, 1.3), 0.22, 0.06, (1, 0, 0)) for y in (-0.35, 0.35)))
    if random.random() < 0.4:
        model.join(_crew((1.35, 0.55, roof - 0.1)))
    return model


def _t_14_turret(random: Generator) -> Model:
    turret = Model().add("dark", disc((-0.9, 0, 1.72), 1.2, 0.14, (0, 0, 1)))

    def ring(z: float, corners: tuple[tuple[float, float], ...]) -> list[Point]:
        return [(x, side * y, z) for x, y in corners for side in (-1, 1)]

    low = ring(1.8, ((1.0, 0.42), (0.1, 1.05), (-1.9, 1.1), (-2.2, 0.9)))
    middle = ring(2.2, ((1.25, 0.42), (0.0, 1.42), (-1.5, 1.38), (-2.3, 1.1)))
    top = ring(2.62, ((0.35, 0.4), (-0.3, 0.86), (-1.8, 0.92), (-2.3, 0.86)))
    turret.add("body", loft([low, middle, top]))
    bustle = [
        ring(2.0, ((-1.9, 1.05), (-3.15, 1.0))),
        ring(2.25, ((-1.9, 1.2), (-3.3, 1.05))),
        ring(2.6, ((-1.9, 0.95), (-3.25, 0.9))),
    ]
    turret.add("body", loft(bustle), box(0.8, 0.9, 0.06, (-0.9, 0.1, 2.61)))
    for side in (-1, 1):
        for k in range(5):  # launch tubes under the cheeks
            start = (-0.35 - 0.3 * k, side * 1.02, 1.84)
            end = (start[0] + 0.42, side * 1.4, 1.9)
            turret.add("dark", tube(start, end, 0.085, sections=12))
            turret.add("metal", disc(end, 0.065, 0.03, np.subtract(end, start)))
        turret.add("dark", box(0.45, 0.1, 0.22, (-0.72, side * 1.36, 2.1)))
        turret.add("body", box(0.75, 0.08, 0.3, (-1.75, side * 1.24, 2.12)))
        turret.add("dark", box(0.3, 0.2, 0.2, (0.35, side * 0.75, 2.32)))  # flat antennas of the protection's radar
        if random.random() < 0.85:
            launcher = Model().add("body", box(0.4, 0.34, 0.12, (-2.45, side * 0.82, 2.6)))
            launcher.add(
                "dark",
                *(
                    tube((-2.6 + 0.1 * k, side * y, 2.7), (-2.6 + 0.1 * k, side * y, 2.86), 0.04, sections=8)
                    for k in range(4)
                    for y in (0.75, 0.89)
                ),
            )
            turret.join(launcher)
        if random.random() < 0.75:
            turret.join(_antenna(random, (-2.9, side * 0.75, 2.6)))
    turret.add("body", box(0.55, 0.5, 0.36, (-0.35, 0.55, 2.5)))
    turret.add("glass", box(0.04, 0.34, 0.2, (-0.06, 0.55, 2.6)))
    x, y = -1.3, float(random.choice([-0.3, -0.2]))  # sight tower with the machine gun
    tower = Model().add("body", disc((x, y, 2.68), 0.36, 0.16, (0, 0, 1)), box(0.56, 0.54, 0.6, (x + 0.05, y, 2.74)))
    tower.add("glass", box(0.03, 0.3, 0.26, (x + 0.34, y, 2.98)), box(0.03, 0.12, 0.1, (x + 0.34, y - 0.12, 2.82)))
    tower.add("body", box(0.6, 0.24, 0.4, (x - 0.1, y - 0.42, 2.82)), box(0.35, 0.16, 0.3, (x - 0.1, y + 0.34, 2.86)))
    tower.join(_machine_gun((x + 0.05, y - 0.42, 3.22), float(random.choice([0.0, 0.0, 8.0]))))
    turret.join(tower.turned(float(random.normal(0, 15)), (0, 0, 1), (x, y, 0)))
    turret.add("metal", tube((-2.0, 0.45, 2.6), (-2.0, 0.45, 3.1), 0.04, 0.02, sections=8))
    return turret


def _jittered(model: Model, random: Generator) -> Model:
    """The same, stretched by a percent or so along each axis."""
    stretch = np.diag([*random.normal(1.0, 0.012, 3).clip(0.97, 1.03), 1.0])
    for _, mesh in model.parts:
        mesh.apply_transform(stretch)
    return model


def _pipe(corners: list[Point], radius: float) -> list[Mesh]:
    return [tube(a, b, radius, sections=6) for a, b in pairwise(corners)]


def _load(random: Generator, middle: tuple[float, float], y: float) -> Model:
    """A box or a roll of canvas on each side of a flat deck, its middle at (x, z), or nothing there."""
    x, z = middle
    model = Model()
    for side in (-1, 1):
        length, kind = float(random.uniform(0.5, 1.1)), random.random()
        if kind < 0.4:
            model.add("body", box(length, 0.3, float(random.uniform(0.15, 0.3)), (x, side * y, z)))
        elif kind < 0.8:
            ends = [(x + sign * length / 2, side * y, z + 0.12) for sign in (-1, 1)]
            model.add("canvas", tube(*ends, 0.13, sections=12))
    return model


def _cable(corners: list[Point]) -> Model:
    return Model().add("metal", *_pipe(corners, 0.025))


def _grille(x: float, y: float, z: float, length: float, width: float) -> Model:
    """Slats over an opening in a flat deck, its middle at (x, y)."""
    model = Model().add("dark", box(length, width, 0.03, (x, y, z)))
    slats = np.arange(-length / 2 + 0.05, length / 2, 0.11)
    return model.add("body", *(box(0.045, width, 0.06, (x + float(slat), y, z)) for slat in slats))


def _headlight(at: Point, radius: float) -> Model:
    x, y, z = at
    model = Model().add("body", tube((x - 0.12, y, z), (x, y, z), radius * 0.6, radius, sections=14))
    model.add("body", box(0.05, 0.05, 0.2, (x - 0.06, y, z - 0.2)))
    return model.add("light", disc((x + 0.005, y, z), radius * 0.85, 0.02, (1, 0, 0)))


def _searchlight(at: Point, radius: float) -> Model:
    x, y, z = at
    model = Model().add("body", tube((x - 0.14, y, z), (x + 0.05, y, z), radius * 0.75, radius, sections=16))
    model.add("body", box(0.06, 0.08, radius + 0.14, (x, y, z - radius - 0.14)))
    return model.add("glass", disc((x + 0.055, y, z), radius * 0.9, 0.02, (1, 0, 0)))


def _antenna(random: Generator, foot: Point) -> Model:
    """A whip with its base, leaning a little to the rear."""
    x, y, z = foot
    height = float(random.uniform(1.2, 2.6))
    lean = float(random.normal(0.1, 0.15)) * height
    model = Model().add("dark", tube((x, y, z), (x, y, z + 0.2), 0.045, 0.03, sections=8))
    return model.add("dark", tube((x, y, z), (x - lean, y, z + height), 0.017, 0.008, sections=5))


def _hatch(random: Generator, at: Point, radius: float) -> Model:
    """A round hatch on a roof, mostly shut, else its lid standing up behind a dark opening."""
    x, y, z = at
    model = Model().add("body", disc((x, y, z), radius * 1.08, 0.07, (0, 0, 1)))
    if random.random() < 0.75:
        return model.add("body", disc((x, y, z + 0.05), radius * 0.95, 0.06, (0, 0, 1)))
    model.add("dark", disc((x, y, z + 0.03), radius * 0.9, 0.03, (0, 0, 1)))
    return model.add("body", disc((x - radius, y, z + radius), radius * 0.95, 0.06, (1, 0, 0.15)))


def _periscopes(middle: Point, radius: float, num: int) -> Model:
    """Small sight blocks round the front half of a hatch."""
    x, y, z = middle
    model = Model()
    for degrees in np.linspace(-80, 80, num):
        block = Model().add("body", box(0.1, 0.16, 0.1, (x + radius, y, z - 0.02)))
        block.add("glass", box(0.02, 0.12, 0.05, (x + radius + 0.055, y, z + 0.02)))
        model.join(block.turned(float(degrees), (0, 0, 1), (x, y, 0)))
    return model


def _machine_gun(at: Point, elevation: float) -> Model:
    """A heavy machine gun on a post, turned up by degrees."""
    x, y, z = at
    gun = Model().add(
        "dark", box(0.65, 0.1, 0.16, (x, y, z - 0.06)), box(0.26, 0.2, 0.2, (x - 0.02, y + 0.16, z - 0.12))
    )
    gun.add("metal", tube((x + 0.3, y, z + 0.02), (x + 1.2, y, z + 0.02), 0.026, sections=8))
    gun.add("dark", tube((x + 1.12, y, z + 0.02), (x + 1.3, y, z + 0.02), 0.042, sections=8))
    gun = gun.turned(-elevation, (0, 1, 0), at)
    return gun.add("dark", box(0.14, 0.14, 0.3, (x, y, z - 0.32)))


def _smoke(num: int, at: Point, side: int, step: Point) -> Model:
    """A row of smoke dischargers that point forward, up and out."""
    model = Model()
    for index in range(num):
        x, y, z = (a + index * b for a, b in zip(at, step, strict=True))
        model.add("dark", tube((x, y, z), (x + 0.2, y + side * 0.14, z + 0.18), 0.05, sections=10))
    return model


def _crew(at: Point) -> Model:
    """Head and shoulders out of a hatch."""
    x, y, z = at[0], at[1], at[2] - 0.22
    model = Model().add(
        "canvas",
        loft(
            [
                [(x + a, y + b, z + c) for a in (-0.12, 0.12) for b in (-w, w)]
                for c, w in ((0, 0.2), (0.45, 0.24), (0.55, 0.14))
            ]
        ),
    )
    return model.add(
        "dark",
        lathe([(0, 0.85), (0.09, 0.81), (0.12, 0.7), (0.09, 0.58), (0.05, 0.5), (0, 0.5)], (x, y, z), (0, 0, 1), 14),
    )
