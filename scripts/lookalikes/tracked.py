"""Tracked vehicles. Dimensions in metres, from general knowledge of the types: unchecked against drawings.

Each function takes a random generator for the state and small options, and returns the model and its state in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lookalikes.parts import Mesh, Model, box, curved_antenna, disc, dish, loft, prism, tracks, tube

Generator = np.random.Generator
Built = tuple[Model, str]


def shilka(random: Generator) -> Built:
    """ZSU-23-4: a low hull with vertical sides, a wide flat turret, four barrels in front, a dish on a stalk behind."""
    model = Model(cues=["low boxy hull with vertical upper sides", "wide flat square turret with sloping flanks"])
    model.join(
        tracks(
            np.linspace(1.95, -2.0, 6),
            radius=0.33,
            gauge=2.5,
            track_width=0.38,
            front=(2.75, 0.72, 0.27),
            rear=(-2.8, 0.72, 0.31),
        )
    )
    model.add("body", prism([(-3.15, 0.6), (-3.1, 1.25), (2.4, 1.25), (3.2, 0.85), (2.7, 0.42), (-2.7, 0.42)], 2.1))
    model.add("body", prism([(-3.1, 1.0), (-3.1, 1.32), (2.3, 1.32), (3.0, 1.0)], 2.95))  # over the tracks
    model.add("dark", box(0.9, 0.5, 0.02, (-2.3, 0.6, 1.32)), box(0.6, 0.45, 0.02, (1.9, 0.5, 1.32)))
    model.add("body", box(0.75, 0.55, 0.16, (2.0, 0.62, 1.28)))  # driver's hatch
    model.join(_stowage(random, x_from=-2.6, x_to=1.2, y=1.44, z=1.05))
    turret = Model()
    base, top = 1.32, 2.12
    turret.add(
        "body",
        loft(
            [
                [(1.25, -1.05, base), (1.25, 1.05, base), (-1.75, 1.32, base), (-1.75, -1.32, base)],
                [(0.85, -0.85, top - 0.05), (0.85, 0.85, top - 0.05), (-1.55, 1.05, top), (-1.55, -1.05, top)],
            ]
        ),
    )
    turret.add("body", disc((-0.2, 0.5, top + 0.08), 0.34, 0.2, (0, 0, 1)), box(0.5, 0.5, 0.15, (-0.9, -0.55, top)))
    elevation = float(random.choice([0.0, 5.0, 25.0, 55.0]))
    guns = Model().add("body", box(0.6, 0.72, 0.52, (0.95, 0, 1.5)))
    for y in (-0.22, 0.22):
        for z in (1.66, 1.9):
            guns.add("metal", tube((1.2, y, z), (2.75, y, z), 0.035), tube((1.2, y, z), (2.05, y, z), 0.058))
            guns.add("dark", tube((2.7, y, z), (2.95, y, z), 0.05, 0.07))
    turret.join(guns.turned(-elevation, (0, 1, 0), (0.9, 0, 1.75)))
    raised = bool(random.random() < 0.6)
    radar = Model().add(
        "dark", tube((-1.35, 0, top), (-1.35, 0, top + 0.55), 0.11), box(0.3, 0.5, 0.25, (-1.35, 0, top + 0.5))
    )
    radar.add("light", dish((-1.28, 0, top + 0.72), 0.56, 0.16, (1, 0, 0.05)))
    radar.add("dark", tube((-1.28, 0, top + 0.72), (-0.88, 0, top + 0.74), 0.025))
    if not raised:
        radar = radar.turned(-80, (0, 1, 0), (-1.5, 0, top + 0.1))
    turret.join(radar)
    model.cues += ["four short barrels close together", "one round dish on a stalk at the turret's rear"]
    state = f"guns {elevation:.0f}, radar {'up' if raised else 'laid back'}"
    return model.join(_turned_turret(turret, random, (0.15, 0, 0))), state


def buk_m1(random: Generator) -> Built:
    """9A310M1: four bare missiles over a turret with panels, the big rounded radar housing in front."""
    model = _gm569_hull()
    base = 1.75
    turret = Model(cues=["four bare missiles with light nose cones on top", "big rounded radar housing in front"])
    turret.add("body", disc((0, 0, base + 0.05), 1.25, 0.25, (0, 0, 1)))
    turret.add(
        "body",
        loft(
            [
                [(1.2, -1.3, base + 0.1), (1.2, 1.3, base + 0.1), (-3.3, 1.3, base + 0.1), (-3.3, -1.3, base + 0.1)],
                [
                    (1.2, -1.0, base + 0.85),
                    (1.2, 1.0, base + 0.85),
                    (-3.2, 0.95, base + 0.8),
                    (-3.2, -0.95, base + 0.8),
                ],
            ]
        ),
    )
    for side in (-1, 1):  # rows of hinged panels
        for x in np.linspace(-2.8, 0.6, 6):
            turret.add("body", box(0.5, 0.05, 0.42, (float(x), side * 1.2, base + 0.25)))
    radar = [
        disc((x, 0, base + 0.72), radius, 0.3, (1, 0, 0)) for x, radius in ((1.35, 0.82), (1.6, 0.85), (1.9, 0.83))
    ]
    turret.add("light", *radar, disc((2.12, 0, base + 0.72), 0.76, 0.16, (1, 0, 0)))
    turret.add(
        "body", box(0.35, 0.3, 0.75, (1.2, 0.95, base + 0.5)), disc((1.42, 0.95, base + 1.1), 0.14, 0.1, (1, 0, 0))
    )
    elevation = float(random.choice([0.0, 0.0, 6.0, 30.0]))
    rails = Model()
    for y in (-0.96, -0.32, 0.32, 0.96):
        rails.join(_buk_missile(y, base + 1.28))
        rails.add("body", box(4.2, 0.16, 0.12, (-1.2, y, base + 0.86)))
    for x in (-2.6, -0.6, 0.7):
        rails.add("metal", tube((x, -1.25, base + 0.9), (x, 1.25, base + 0.9), 0.05))
        for y in (-1.22, 1.22):
            rails.add("metal", tube((x, y, base + 0.85), (x, y, base + 1.5), 0.03))
    turret.join(rails.turned(-elevation, (0, 1, 0), (-3.0, 0, base + 0.9)))
    state = "travelling" if elevation < 10 else "launcher up"
    return model.join(_turned_turret(turret, random, (0, 0, 0), spread=20 if elevation < 10 else 60)), state


def _buk_missile(y: float, z: float) -> Model:
    tail, nose = -3.4, 1.3
    missile = Model().add("light", tube((tail, y, z), (nose, y, z), 0.2))
    missile.add("light", tube((nose, y, z), (nose + 0.85, y, z), 0.2, 0.02))
    for angle in (45, 135, 225, 315):
        dy, dz = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for start, end, span in ((-2.3, 0.3, 0.42), (-3.35, -2.8, 0.52)):
            corners = [(start, y + 0.18 * dy, z + 0.18 * dz), (end, y + 0.18 * dy, z + 0.18 * dz)]
            tip = [(start, y + span * dy, z + span * dz), (start + 0.3, y + span * dy, z + span * dz)]
            missile.add("light", _plate([*corners, *tip]))
    return missile


def _gm569_hull() -> Model:
    """The carrier of Buk: six wheels, raised idler in front, raised sprocket behind, a ledge over the wheels."""
    model = Model(cues=["six road wheels, raised sprocket at the rear", "flat deck with a ledge over the wheels"])
    model.join(
        tracks(
            np.linspace(2.7, -2.7, 6),
            radius=0.36,
            gauge=2.72,
            track_width=0.44,
            front=(3.75, 0.85, 0.33),
            rear=(-3.75, 0.82, 0.34),
            return_rollers=(1.6, -0.2, -2.0),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-4.3, 0.7), (-4.25, 1.6), (3.0, 1.6), (4.5, 1.15), (4.1, 0.6), (-3.9, 0.5)], 2.25))
    model.add("body", prism([(-4.25, 1.2), (-4.25, 1.72), (2.9, 1.72), (4.2, 1.25), (4.2, 1.18)], 3.2))
    model.add("dark", *(box(0.6, 0.03, 0.3, (x, side * 1.61, 1.3)) for x in (-3.2, -2.2, 2.0) for side in (-1, 1)))
    model.add("glass", *(box(0.06, 0.42, 0.2, (3.62, y, 1.5)) for y in (-0.75, 0.75)))
    model.add("body", box(0.9, 2.6, 0.12, (2.9, 0, 1.7)))
    return model


def bmp_2(random: Generator) -> Built:
    """BMP-2: a long wedge of a nose, a small flat turret, one thin barrel, a missile rail on the roof."""
    model = Model(cues=["long wedge-shaped nose", "small flat turret with one thin barrel"])
    model.join(
        tracks(
            np.linspace(1.75, -2.15, 6),
            radius=0.3,
            gauge=2.55,
            track_width=0.32,
            front=(2.75, 0.78, 0.3),
            rear=(-2.95, 0.66, 0.26),
            return_rollers=(1.3, -0.2, -1.7),
            roller_z=0.95,
        )
    )
    model.add("body", prism([(-3.2, 0.65), (-3.15, 1.5), (0.8, 1.55), (3.45, 0.95), (3.1, 0.5), (-2.9, 0.42)], 2.1))
    model.add("body", prism([(-3.15, 1.02), (-3.1, 1.5), (0.8, 1.52), (3.2, 1.0)], 2.98, top_width=2.5))
    for side in (-1, 1):
        model.add("dark", *(disc((x, side * 1.32, 1.3), 0.08, 0.12, (0, 1, 0)) for x in (-0.4, -1.1, -1.8)))
        model.add("body", prism([(-3.5, 0.7), (-3.45, 1.42), (-3.1, 1.48), (-3.1, 0.6)], 0.95, y=side * 0.52))
    for x in np.linspace(1.0, 2.4, 8):  # ribbed nose plate
        model.add("body", box(0.05, 2.2, 0.05, (float(x), 0, 1.5 - 0.227 * (float(x) - 0.8))))
    model.add("body", disc((0.55, 0.6, 1.58), 0.34, 0.1, (0, 0, 1)))
    turret = Model()
    turret.add("body", tube((0, 0, 1.52), (0, 0, 2.0), 1.08, 0.78, sections=28))
    turret.add(
        "body", disc((-0.25, 0.4, 2.08), 0.3, 0.16, (0, 0, 1)), disc((-0.25, -0.42, 2.05), 0.28, 0.12, (0, 0, 1))
    )
    elevation = float(random.choice([0.0, 3.0, 12.0]))
    gun = Model().add("metal", tube((0.6, 0, 1.82), (3.0, 0, 1.82), 0.04), tube((2.9, 0, 1.82), (3.15, 0, 1.82), 0.06))
    gun.add("body", box(0.5, 0.3, 0.26, (0.8, 0, 1.7)))
    turret.join(gun.turned(-elevation, (0, 1, 0), (0.7, 0, 1.82)))
    if random.random() < 0.5:
        turret.add("body", tube((-0.5, 0, 2.28), (0.7, 0, 2.28), 0.08))
        turret.add("metal", tube((-0.2, 0, 2.0), (-0.2, 0, 2.28), 0.05))
    turret.add("dark", *(tube((0.5, s * 0.85, 1.75), (0.75, s * 0.95, 1.95), 0.045) for s in (-1, 1) for _ in range(2)))
    return model.join(_turned_turret(turret, random, (-0.2, 0, 0))), f"gun {elevation:.0f}"


def t_90(random: Generator) -> Built:
    """T-90: six large wheels, a rounded low turret with wedges and two dazzler boxes, a long thick gun."""
    model = Model(
        cues=["six large road wheels", "wedge-shaped armour on the turret front", "dazzler boxes beside the gun"]
    )
    model.join(
        tracks(
            np.linspace(2.1, -2.15, 6),
            radius=0.375,
            gauge=2.79,
            track_width=0.58,
            front=(2.95, 0.75, 0.3),
            rear=(-3.0, 0.72, 0.33),
            return_rollers=(1.3, -0.1, -1.5),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-3.3, 0.7), (-3.2, 1.25), (1.7, 1.28), (3.3, 0.85), (2.9, 0.5), (-2.9, 0.48)], 2.15))
    model.add("body", prism([(-3.3, 1.05), (-3.2, 1.25), (2.9, 1.2), (3.2, 0.95)], 3.4))
    skirt = float(random.uniform(0.3, 0.55))
    model.add("dark", *(box(5.6, 0.05, skirt, (-0.2, side * 1.72, 1.15 - skirt)) for side in (-1, 1)))
    for x in (2.0, 2.5):
        for y in (-0.9, -0.3, 0.3, 0.9):
            model.add("body", box(0.42, 0.5, 0.1, (x, y, 1.3 - 0.27 * (x - 1.7))))
    if random.random() < 0.5:  # fuel drums behind
        model.add("body", *(tube((-3.55, s * 0.15, 1.2), (-3.55, s * 1.1, 1.2), 0.3) for s in (-1, 1)))
    turret = Model()
    turret.add("body", tube((0.0, 0, 1.28), (-0.05, 0, 1.95), 1.35, 1.0, sections=32))
    turret.add("body", box(1.0, 2.0, 0.45, (-1.25, 0, 1.4)))
    for side in (-1, 1):
        wedge = [(1.75, side * 0.35, 1.6), (0.4, side * 1.55, 1.6), (0.9, side * 0.3, 1.95), (0.2, side * 1.2, 1.95)]
        turret.add("body", loft([wedge, [(1.2, side * 0.35, 1.35), (0.3, side * 1.35, 1.35)]]))
        turret.add("dark", box(0.18, 0.36, 0.32, (1.45, side * 0.62, 1.62)))
        turret.add(
            "dark",
            *(tube((-0.3 - 0.25 * k, side * 1.15, 1.75), (0.0 - 0.25 * k, side * 1.4, 1.95), 0.05) for k in range(4)),
        )
    turret.add("body", disc((-0.3, 0.5, 2.02), 0.34, 0.2, (0, 0, 1)), disc((-0.3, -0.5, 2.06), 0.36, 0.26, (0, 0, 1)))
    turret.add("metal", tube((-0.2, -0.5, 2.35), (0.9, -0.5, 2.4), 0.03))
    elevation = float(random.choice([0.0, 2.0, 8.0]))
    gun = Model().add("body", tube((1.0, 0, 1.68), (6.3, 0, 1.68), 0.075), tube((3.4, 0, 1.68), (4.1, 0, 1.68), 0.12))
    gun.add("body", box(0.6, 0.55, 0.35, (1.3, 0, 1.5)))
    turret.join(gun.turned(-elevation, (0, 1, 0), (1.0, 0, 1.68)))
    return model.join(_turned_turret(turret, random, (-0.1, 0, 0))), f"gun {elevation:.0f}"


def t_14(random: Generator) -> Built:
    """T-14: seven wheels under long skirts, a tall faceted turret without a crew, a sight tower on it."""
    model = Model(
        cues=["seven road wheels a side under long skirts", "tall faceted unmanned turret", "sight tower on the roof"]
    )
    model.join(
        tracks(
            np.linspace(2.75, -2.85, 7),
            radius=0.36,
            gauge=2.85,
            track_width=0.58,
            front=(3.7, 0.75, 0.3),
            rear=(-3.75, 0.75, 0.33),
            return_rollers=(1.5, -0.5, -2.2),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-4.2, 0.7), (-4.15, 1.45), (2.0, 1.5), (4.2, 0.95), (3.6, 0.5), (-3.7, 0.48)], 2.2))
    model.add("body", prism([(-4.2, 1.05), (-4.15, 1.5), (2.0, 1.55), (4.0, 1.05)], 3.4))
    model.add("body", *(box(4.6, 0.1, 0.62, (1.1, side * 1.72, 0.72)) for side in (-1, 1)))
    model.add("dark", *(box(2.2, 0.05, 0.55, (-2.6, side * 1.72, 0.8)) for side in (-1, 1)))
    turret = Model()
    turret.add(
        "body",
        loft(
            [
                [
                    (1.9, -0.55, 1.55),
                    (1.9, 0.55, 1.55),
                    (-2.3, 1.35, 1.55),
                    (-2.3, -1.35, 1.55),
                    (0.6, 1.45, 1.55),
                    (0.6, -1.45, 1.55),
                ],
                [
                    (1.2, -0.4, 2.35),
                    (1.2, 0.4, 2.35),
                    (-2.2, 0.95, 2.45),
                    (-2.2, -0.95, 2.45),
                    (0.2, 1.0, 2.4),
                    (0.2, -1.0, 2.4),
                ],
            ]
        ),
    )
    for side in (-1, 1):
        turret.add(
            "dark",
            *(tube((0.9 - 0.22 * k, side * 1.2, 1.72), (1.4 - 0.22 * k, side * 1.5, 1.74), 0.07) for k in range(5)),
        )
        turret.add("dark", box(0.5, 0.4, 0.3, (-0.9, side * 0.8, 2.42)))
    turret.add("body", box(0.6, 0.6, 0.6, (0.2, 0.35, 2.4)), disc((0.2, 0.35, 3.05), 0.22, 0.2, (0, 0, 1)))
    turret.add("glass", box(0.04, 0.35, 0.25, (0.52, 0.35, 2.6)))
    turret.add("metal", tube((0.1, 0.35, 3.15), (1.0, 0.35, 3.2), 0.03))
    elevation = float(random.choice([0.0, 2.0, 8.0]))
    gun = Model().add("body", tube((1.6, 0, 1.95), (7.1, 0, 1.95), 0.08), tube((1.6, 0, 1.95), (2.6, 0, 1.95), 0.16))
    gun.add("body", tube((4.2, 0, 1.95), (5.0, 0, 1.95), 0.13), box(0.7, 0.6, 0.5, (1.7, 0, 1.7)))
    turret.join(gun.turned(-elevation, (0, 1, 0), (1.5, 0, 1.95)))
    return model.join(_turned_turret(turret, random, (-0.2, 0, 0))), f"gun {elevation:.0f}"


def tor_m1(random: Generator) -> Built:
    """Tor-M1: a low nose, one tall slab-sided turret, a square panel in front, an open mesh antenna on the roof."""
    model = Model(cues=["low driver's deck at the nose", "seven road wheels, sprocket at the rear"])
    model.join(
        tracks(
            np.linspace(2.45, -2.5, 7),
            radius=0.33,
            gauge=2.75,
            track_width=0.42,
            front=(3.2, 0.85, 0.3),
            rear=(-3.3, 0.8, 0.33),
            return_rollers=(1.4, -0.4, -2.0),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-3.75, 0.7), (-3.7, 1.5), (2.2, 1.5), (3.8, 1.1), (3.5, 0.6), (-3.4, 0.5)], 2.2))
    model.add("body", prism([(-3.7, 1.1), (-3.7, 1.55), (2.1, 1.55), (3.5, 1.15)], 3.2))
    model.add("body", box(0.6, 0.6, 0.14, (2.3, 0.7, 1.42)))
    model.add("metal", *(tube((-3.6, side * 1.5, 1.5), (-3.75, side * 1.5, 4.2), 0.015) for side in (-1, 1)))
    model.join(_stowage(random, x_from=-2.5, x_to=1.5, y=1.55, z=1.2))
    turret, state = tor_turret(random, mesh_antenna=True)
    return model.join(_turned_turret(turret.moved(x=-0.55, z=1.55), random, (-0.55, 0, 0), spread=90)), state


def tor_turret(random: Generator, *, mesh_antenna: bool) -> tuple[Model, str]:
    """The turret of the Tor family, its ring's middle at the origin: no weapon to be seen, two antennas.

    Args:
        random: Of the state.
        mesh_antenna: An open mesh and a square panel as on Tor-M1, else a flat plate and a narrow portrait panel.
    """
    model = Model(cues=["tall slab-sided box turret", "no missile and no launch tube visible from outside"])
    model.add("body", disc((0, 0, 0.06), 1.3, 0.14, (0, 0, 1)))
    bottom, top, front, rear = 0.12, 1.62, 1.35, -1.95
    model.add(
        "body",
        loft([[(front, y, bottom), (front - 0.25, y, top), (rear, y, bottom), (rear, y, top)] for y in (-1.32, 1.32)]),
    )
    for side in (-1, 1):  # doors and boxes on the flanks
        model.add("body", box(1.1, 0.06, 0.9, (-0.9, side * 1.35, 0.4)), box(0.7, 0.12, 0.45, (0.4, side * 1.36, 0.3)))
        model.add("dark", box(0.5, 0.02, 0.25, (-0.9, side * 1.39, 0.75)))
    for x in (-1.05, -0.6, -0.15, 0.3):  # eight flush lids
        model.add("dark", *(box(0.4, 0.42, 0.03, (x, y, top)) for y in (-0.28, 0.28)))
    panel_width, panel_height = (1.35, 1.3) if mesh_antenna else (0.95, 1.55)
    tilt = float(random.choice([0.0, 10.0, 35.0]))
    panel = Model(cues=["flat tracking panel upright on the turret front"])
    panel.add("light", box(0.22, panel_width, panel_height, (front + 0.22, 0, 0.45)))
    panel.add(
        "dark",
        disc((front + 0.36, 0, 0.5 + panel_height / 2), 0.12, 0.1, (1, 0, 0)),
        box(0.5, 0.5, 0.6, (front - 0.05, 0, 0.6)),
    )
    panel.add("light", disc((front + 0.2, panel_width / 2 + 0.22, 1.3), 0.14, 0.2, (1, 0, 0)))
    model.join(panel.turned(-tilt, (0, 1, 0), (front, 0, 0.6)))
    raised = bool(random.random() < 0.6)
    search = Model(cues=["open mesh search antenna" if mesh_antenna else "flat plate search antenna"])
    if mesh_antenna:
        search.add("metal", *curved_antenna((0, 0, 0.35), 1.75, 1.05, 0.18, lattice=True))
        search.add("metal", tube((0, 0, 0.4), (0.65, 0, 0.25), 0.03), box(0.12, 0.5, 0.1, (0.65, 0, 0.22)))
    else:
        search.add("body", box(0.16, 1.75, 0.95, (0, 0, 0.35)))
        search.add("dark", box(0.03, 1.6, 0.8, (0.09, 0, 0.42)))
    search = search.turned(float(random.uniform(0, 360)) if raised else 0.0)
    if not raised:
        search = search.turned(-92, (0, 1, 0), (0, 0, 0.3))
    search.add("dark", tube((0, 0, 0), (0, 0, 0.4), 0.16))
    model.join(search.moved(x=-1.45, z=top))
    return model, f"search antenna {'up' if raised else 'folded'}"


def tunguska(random: Generator) -> Built:
    """2S6: a big turret, on each side two barrels one above the other and four tubes; a round dish in front."""
    model = Model(cues=["six unevenly spaced road wheels", "flat-roofed tracked hull"])
    model.join(
        tracks(
            (2.5, 1.6, 0.55, -0.5, -1.7, -2.6),
            radius=0.34,
            gauge=2.7,
            track_width=0.42,
            front=(3.4, 0.85, 0.3),
            rear=(-3.45, 0.85, 0.33),
            return_rollers=(1.2, -0.8, -2.2),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-3.9, 0.7), (-3.85, 1.6), (2.4, 1.6), (3.95, 1.15), (3.6, 0.6), (-3.5, 0.5)], 2.2))
    model.add("body", prism([(-3.85, 1.15), (-3.85, 1.66), (2.4, 1.66), (3.7, 1.2)], 3.2))
    turret = Model(
        cues=["two long barrels one above the other on each side", "four missile tubes outboard on each side"]
    )
    turret.add(
        "body",
        loft(
            [
                [(1.3, y * 0.8, 1.66), (0.9, y * 0.75, 2.65), (-1.9, y, 1.66), (-1.8, y * 0.9, 2.7)]
                for y in (-1.15, 1.15)
            ]
        ),
    )
    turret.add("body", disc((-0.3, 0.45, 2.78), 0.36, 0.24, (0, 0, 1)), box(0.3, 0.3, 0.3, (0.5, -0.5, 2.65)))
    elevation = float(random.choice([0.0, 0.0, 10.0, 35.0]))
    tubes = float(random.choice([0.0, 4.0, 30.0]))
    loaded = int(random.choice([4, 4, 4, 2]))
    for side in (-1, 1):
        guns = Model().add("body", box(2.0, 0.42, 0.62, (0.2, side * 1.32, 1.95)))
        for z in (2.1, 2.38):
            guns.add("metal", tube((1.1, side * 1.32, z), (3.9, side * 1.32, z), 0.045))
        guns.add(
            "metal",
            tube((3.6, side * 1.32, 2.05), (3.6, side * 1.32, 2.43), 0.05),
            tube((3.75, side * 1.32, 2.1), (4.0, side * 1.32, 2.1), 0.07),
        )
        turret.join(guns.turned(-elevation, (0, 1, 0), (0, 0, 2.2)))
        pack = Model().add("body", box(0.5, 0.5, 0.2, (-0.2, side * 1.78, 1.98)))
        for number in range(loaded):
            y, z = side * (1.68 + 0.24 * (number % 2)), 2.0 + 0.25 * (number // 2)
            pack.add("body", tube((-1.3, y, z), (1.3, y, z), 0.1), tube((1.28, y, z), (1.34, y, z), 0.11))
        turret.join(pack.turned(-tubes, (0, 1, 0), (-0.2, 0, 2.0)))
    turret.add("dark", box(0.5, 0.5, 0.5, (1.15, 0, 1.95)))
    turret.add("light", dish((1.45, 0, 2.25), 0.45, 0.16, (1, 0, 0)), disc((1.62, 0, 2.25), 0.42, 0.1, (1, 0, 0)))
    raised = bool(random.random() < 0.6)
    search = Model(cues=["round dish in front, broad curved search antenna behind"])
    search.add("body", *curved_antenna((0, 0, 0.2), 2.2, 0.75, 0.22, lattice=False))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-95, (0, 1, 0), (0, 0, 0.1))
    search.add("dark", tube((0, 0, -0.1), (0, 0, 0.3), 0.12))
    turret.join(search.moved(x=-1.6, z=2.72))
    state = f"guns {elevation:.0f}, tubes {tubes:.0f}, radar {'up' if raised else 'folded'}"
    return model.join(_turned_turret(turret, random, (-0.3, 0, 0))), state


def gepard(random: Generator) -> Built:
    """Gepard: a Leopard 1 hull, a large turret with one long barrel in a housing on each side, a drum in front."""
    model = Model(cues=["Leopard 1 hull, seven road wheels", "flat engine deck"])
    model.join(
        tracks(
            np.linspace(2.35, -2.35, 7),
            radius=0.33,
            gauge=2.7,
            track_width=0.55,
            front=(3.1, 0.72, 0.3),
            rear=(-3.15, 0.72, 0.32),
            return_rollers=(1.6, 0.0, -1.6),
            roller_z=0.95,
        )
    )
    model.add("body", prism([(-3.5, 0.65), (-3.4, 1.3), (1.6, 1.35), (3.45, 0.95), (3.0, 0.5), (-3.1, 0.45)], 2.1))
    model.add("body", prism([(-3.4, 1.02), (-3.35, 1.35), (1.6, 1.4), (3.2, 1.0)], 3.2))
    if random.random() < 0.4:
        model.add("dark", *(box(5.6, 0.04, 0.42, (-0.2, side * 1.62, 0.68)) for side in (-1, 1)))
    turret = Model(cues=["one long barrel in a housing outside each side", "round drum between the guns"])
    turret.add(
        "body",
        loft(
            [
                [(1.15, y * 0.85, 1.4), (0.75, y * 0.8, 2.45), (-1.6, y, 1.4), (-1.5, y * 0.9, 2.4)]
                for y in (-1.05, 1.05)
            ]
        ),
    )
    turret.add("body", disc((-0.5, 0.4, 2.5), 0.32, 0.2, (0, 0, 1)), box(0.25, 0.25, 0.4, (0.1, -0.5, 2.4)))
    elevation = float(random.choice([0.0, 0.0, 12.0, 45.0]))
    for side in (-1, 1):
        guns = Model().add("body", box(1.7, 0.42, 0.6, (-0.1, side * 1.36, 1.75)))
        guns.add(
            "metal",
            tube((0.7, side * 1.36, 2.05), (3.9, side * 1.36, 2.05), 0.05),
            tube((3.65, side * 1.36, 2.05), (3.95, side * 1.36, 2.05), 0.08),
        )
        turret.join(guns.turned(-elevation, (0, 1, 0), (-0.2, 0, 2.05)))
    turret.add("light", disc((1.2, 0, 2.0), 0.5, 0.45, (1, 0, 0.15)), disc((1.45, 0, 2.03), 0.42, 0.12, (1, 0, 0.15)))
    raised = bool(random.random() < 0.6)
    search = Model(cues=["search antenna on a folding arm at the turret's rear"])
    search.add(
        "body", *curved_antenna((0, 0, 0.5), 1.5, 0.55, 0.12, lattice=False), box(0.1, 1.4, 0.12, (-0.1, 0, 0.45))
    )
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-100, (0, 1, 0), (0, 0, 0.2))
    search.add("body", tube((-0.05, 0, -0.3), (0, 0, 0.55), 0.1))
    turret.join(search.moved(x=-1.5, z=2.45))
    state = f"guns {elevation:.0f}, search antenna {'up' if raised else 'folded'}"
    return model.join(_turned_turret(turret, random, (-0.2, 0, 0))), state


def strela_10(random: Generator) -> Built:
    """9A35: the low MT-LB carrier, four square ribbed boxes on a frame, a small round dish between them."""
    model = Model(cues=["low flat MT-LB hull with front mudguards", "six equal road wheels, front sprocket"])
    model.join(
        tracks(
            np.linspace(1.95, -2.35, 6),
            radius=0.33,
            gauge=2.5,
            track_width=0.36,
            front=(2.75, 0.72, 0.27),
            rear=(-3.0, 0.6, 0.28),
        )
    )
    model.add("body", prism([(-3.3, 0.6), (-3.2, 1.4), (1.9, 1.4), (3.25, 0.95), (3.0, 0.5), (-3.0, 0.42)], 2.1))
    model.add("body", prism([(-3.2, 0.98), (-3.2, 1.4), (1.8, 1.4), (2.6, 1.05)], 2.8))
    model.add("body", prism([(2.2, 1.3), (2.9, 1.1), (2.9, 1.18), (2.2, 1.38)], 1.9))  # trim vane
    model.add("glass", *(box(0.05, 0.5, 0.18, (2.05, y, 1.22)) for y in (-0.65, 0.65)))
    launcher = Model(cues=["four square-section ribbed containers", "small central round dish"])
    raised = bool(random.random() < 0.65)
    elevation = float(random.choice([0.0, 15.0, 40.0])) if raised else 0.0
    lift = 0.95 if raised else 0.22
    for side in (-1, 1):
        for number in range(2):
            y = side * (0.55 + 0.36 * number)
            launcher.add("body", box(2.3, 0.3, 0.32, (0.1, y, lift + 0.15)))
            launcher.add("dark", *(box(0.05, 0.33, 0.35, (x, y, lift + 0.135)) for x in np.linspace(-0.9, 1.1, 6)))
    launcher.add("light", dish((0.95, 0, lift + 0.3), 0.24, 0.08, (1, 0, 0)))
    launcher.add("dark", box(0.7, 0.45, 0.4, (0.45, 0, lift + 0.1)))
    launcher = launcher.turned(-elevation, (0, 1, 0), (-0.2, 0, lift + 0.2))
    if raised:
        launcher.add("body", *(tube((-0.3, y, 0.0), (-0.1, y, lift + 0.2), 0.07) for y in (-0.35, 0.35)))
    launcher.add("body", disc((-0.2, 0, 0.1), 0.62, 0.22, (0, 0, 1)), box(0.5, 0.6, 0.35, (0.2, 0, 0.05)))
    degrees = float(random.uniform(-120, 120)) if raised else float(random.choice([0.0, 180.0]))
    model.join(launcher.turned(degrees).moved(x=-0.9, z=1.4))
    return model, f"launcher {'up' if raised else 'folded'}"


def roland(random: Generator) -> Built:
    """Roland on the Marder hull: a small turret with one tube on an arm on each side, a bar antenna on top."""
    model = Model(cues=["Marder infantry-carrier hull"])
    model.join(
        tracks(
            np.linspace(2.1, -2.2, 6),
            radius=0.33,
            gauge=2.7,
            track_width=0.45,
            front=(3.05, 0.8, 0.3),
            rear=(-3.1, 0.72, 0.3),
            return_rollers=(1.3, 0.0, -1.4),
            roller_z=0.98,
        )
    )
    model.add("body", prism([(-3.4, 0.65), (-3.35, 1.85), (1.2, 1.85), (3.4, 1.05), (3.1, 0.5), (-3.2, 0.45)], 2.15))
    model.add("body", prism([(-3.35, 1.05), (-3.3, 1.88), (1.1, 1.88), (3.2, 1.1)], 3.15, top_width=2.3))
    turret = Model(cues=["exactly two launch tubes, one on an arm each side", "flat-faced tracking antenna in front"])
    turret.add("body", tube((0, 0, 1.85), (0, 0, 2.25), 0.95), box(1.3, 1.0, 0.5, (-0.05, 0, 2.2)))
    elevation = float(random.choice([0.0, 5.0, 25.0]))
    for side in (-1, 1):
        arm = Model().add("body", tube((0, side * 0.5, 2.4), (0, side * 1.15, 2.4), 0.12))
        arm.add(
            "body",
            tube((-1.25, side * 1.2, 2.45), (1.2, side * 1.2, 2.45), 0.15),
            tube((1.15, side * 1.2, 2.45), (1.3, side * 1.2, 2.45), 0.18),
        )
        turret.join(arm.turned(-elevation, (0, 1, 0), (0, 0, 2.4)))
    turret.add("light", disc((0.78, 0, 2.55), 0.46, 0.18, (1, 0, 0)))
    raised = bool(random.random() < 0.65)
    search = Model(cues=["bar-shaped search antenna on top"]).add("body", box(0.25, 1.7, 0.32, (0, 0, 0.35)))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-90, (0, 1, 0), (0, 0, 0.1))
    search.add("dark", tube((0, 0, 0), (0, 0, 0.4), 0.1))
    turret.join(search.moved(x=-0.6, z=2.7))
    return model.join(
        _turned_turret(turret.moved(x=-0.6), random, (-0.6, 0, 0))
    ), f"search antenna {'up' if raised else 'folded'}"


def _turned_turret(turret: Model, random: Generator, about: tuple[float, float, float], spread: float = 50) -> Model:
    """A turret mostly forward, at times turned to a side."""
    degrees = float(random.normal(0, 6)) if random.random() < 0.65 else float(random.uniform(-spread, spread))
    return turret.turned(degrees, (0, 0, 1), about)


def _stowage(random: Generator, *, x_from: float, x_to: float, y: float, z: float) -> Model:
    """Boxes, tools and rolled canvas on the ledges, some of them, somewhere."""
    model = Model()
    for side in (-1, 1):
        x = x_from
        while x < x_to:
            length = float(random.uniform(0.5, 1.1))
            kind = random.random()
            if kind < 0.4:
                model.add("body", box(length * 0.9, 0.22, 0.26, (x + length / 2, side * y, z)))
            elif kind < 0.55:
                model.add("canvas", tube((x, side * y, z + 0.3), (x + length, side * y, z + 0.3), 0.12))
            x += length
    return model


def _plate(corners: Sequence[tuple[float, float, float]], thickness: float = 0.03) -> Mesh:
    shifted = [(x + thickness, y + thickness, z + thickness) for x, y, z in corners]
    return loft([corners, shifted])
