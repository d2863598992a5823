"""Wheeled vehicles. Dimensions in metres, from general knowledge of the types: unchecked against drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lookalikes.parts import Model, box, curved_antenna, disc, dish, loft, prism, tube, wheel
from lookalikes.tracked import Built, Generator, tor_turret


def tor_m2k(random: Generator) -> Built:
    """Tor-M2K: the Tor turret on a smooth three-axle hull with the cab moulded into it."""
    model = Model(cues=["one-piece slab-sided hull, no gap between cab and body", "three evenly spaced axles"])
    model.join(_axles((2.7, 0.3, -2.1), radius=0.62, gauge=2.25, width=0.45))
    model.add("body", prism([(-3.9, 0.95), (-3.9, 1.75), (2.2, 1.75), (4.2, 1.6), (4.3, 0.95)], 2.75))
    model.add("body", prism([(2.1, 1.7), (2.3, 2.65), (3.95, 2.55), (4.25, 1.65)], 2.7, top_width=2.45))
    model.add("glass", *(_window(4.16, y, 2.05, 1.05, 0.5) for y in (-0.6, 0.6)))
    model.add("glass", *(box(0.6, 0.04, 0.45, (3.3, side * 1.3, 2.0)) for side in (-1, 1)))
    turret, state = tor_turret(random, mesh_antenna=False)
    return model.join(_turned(turret, random, spread=90).moved(x=-0.7, z=1.75)), state


def dprk_tor_like(random: Generator) -> Built:
    """Stands for a wheeled Tor-type that was not seen in training: a Tor-type turret on a truck with a cab of its own.

    No source gives axle count, chassis maker or antenna shapes of the North Korean vehicle.
    """
    model = Model(cues=["Tor-style module on a wheeled chassis", "separate driving cab in front of the module"])
    model.join(_axles((3.3, -0.6, -2.2), radius=0.58, gauge=2.05, width=0.5))
    model.join(_truck_frame(-4.1, 4.2))
    model.join(_flat_cab(2.75, 4.35, width=2.5, height=1.95))
    model.add("body", box(5.6, 2.75, 0.75, (-1.3, 0, 1.15)))
    turret, state = tor_turret(random, mesh_antenna=False)
    return model.join(_turned(turret, random, spread=90).moved(x=-1.1, z=1.9)), state


def osa_akm(random: Generator) -> Built:
    """Osa-AKM: a boat hull on three axles, six ribbed boxes, a big antenna with two small ones, a lattice on top."""
    model = Model(cues=["boat-shaped amphibious hull with two raked windscreens", "three axles"])
    model.join(_axles((2.75, 0.15, -2.25), radius=0.58, gauge=2.3, width=0.4))
    model.add(
        "body",
        prism([(-4.4, 0.85), (-4.4, 1.75), (2.6, 1.75), (4.6, 1.3), (3.9, 0.65), (-4.1, 0.6)], 2.7, top_width=2.6),
    )
    model.add("glass", *(_window(3.55, y, 1.5, 0.85, 0.32, slope=-55) for y in (-0.55, 0.55)))
    model.add("body", prism([(3.3, 1.45), (4.5, 1.2), (4.5, 1.26), (3.3, 1.51)], 1.4))
    model.add("dark", *(disc((-4.42, y, 1.0), 0.28, 0.08, (1, 0, 0)) for y in (-0.7, 0.7)))
    turret = Model(cues=["six ribbed containers in two packs of three", "one big and two small round antennas"])
    turret.add("body", tube((0, 0, 1.75), (0, 0, 2.25), 1.15), box(1.9, 1.3, 0.75, (0, 0, 2.1)))
    elevation = float(random.choice([0.0, 0.0, 12.0, 28.0]))
    for side in (-1, 1):
        pack = Model()
        for number in range(3):
            y, z = side * (1.02 + 0.05 * number), 2.35 + 0.3 * number
            pack.add("body", box(3.1, 0.42, 0.26, (-0.5, y, z)))
            pack.add("dark", *(box(0.05, 0.45, 0.28, (x, y, z - 0.01)) for x in np.linspace(-1.8, 0.9, 7)))
        turret.join(pack.turned(-elevation, (0, 1, 0), (-1.2, 0, 2.4)))
        turret.add("light", dish((1.15, side * 0.85, 2.3), 0.3, 0.12, (1, 0, 0)))
        turret.add("body", tube((0.8, side * 0.5, 2.3), (1.1, side * 0.85, 2.3), 0.08))
    turret.add("light", dish((1.15, 0, 2.75), 0.62, 0.2, (1, 0, 0)), disc((1.1, 0, 2.75), 0.3, 0.2, (1, 0, 0)))
    raised = bool(random.random() < 0.65)
    search = Model(cues=["curved lattice search antenna on a short mast"])
    search.add("metal", *curved_antenna((0, 0, 0.5), 1.8, 0.8, 0.3, lattice=True))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-95, (0, 1, 0), (0, 0, 0.2))
    search.add("body", tube((0, 0, -0.4), (0, 0, 0.55), 0.12))
    turret.join(search.moved(x=-0.7, z=3.2))
    return model.join(
        _turned(turret, random, spread=60).moved(x=-0.4)
    ), f"search antenna {'up' if raised else 'folded'}"


def pantsir_s1_kamaz(random: Generator) -> Built:
    """Pantsir-S1 on KamAZ: cab, tall box, a turret with six tubes and two barrels on each side, a plate on top."""
    model = Model(cues=["flat-fronted truck cab, tall equipment box behind it", "four axles: pair, long gap, pair"])
    model.join(_axles((4.1, 2.4, -2.2, -3.7), radius=0.6, gauge=2.05, width=0.45))
    model.join(_truck_frame(-5.1, 5.2))
    model.join(_flat_cab(3.75, 5.35, width=2.5, height=1.85))
    model.add("body", box(3.1, 2.5, 2.0, (1.95, 0, 1.2)), box(4.6, 2.5, 0.95, (-2.6, 0, 1.15)))
    model.add("dark", *(box(0.7, 0.03, 0.8, (1.9, side * 1.26, 1.8)) for side in (-1, 1)))
    turret = Model(
        cues=["twelve slim tubes in two blocks of six", "twin barrels each side", "flat rectangular plate on top"]
    )
    turret.add("body", box(1.9, 1.25, 1.25, (0, 0, 0)), disc((0, 0, 0.0), 1.0, 0.2, (0, 0, 1)))
    elevation = float(random.choice([0.0, 0.0, 10.0, 35.0]))
    for side in (-1, 1):
        arm = Model()
        for number in range(6):
            y, z = side * (1.35 + 0.22 * (number % 3)), 0.75 + 0.24 * (number // 3)
            arm.add("body", tube((-1.5, y, z), (1.7, y, z), 0.095))
        arm.add("body", box(0.6, 0.9, 0.12, (0, side * 1.5, 0.6)))
        arm.add("metal", *(tube((0.5, side * 0.95, z), (3.2, side * 0.95, z), 0.04) for z in (0.45, 0.62)))
        arm.add("body", box(1.3, 0.3, 0.4, (0.2, side * 0.95, 0.35)))
        turret.join(arm.turned(-elevation, (0, 1, 0), (0, 0, 0.6)))
    turret.add("light", disc((1.1, 0, 0.65), 0.5, 0.4, (1, 0, 0)), disc((1.32, 0, 0.65), 0.42, 0.1, (1, 0, 0)))
    raised = bool(random.random() < 0.7)
    search = Model().add("light", box(0.18, 1.6, 0.75, (0, 0, 0.3)))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-90, (0, 1, 0), (0, 0, 0.1))
    search.add("dark", tube((0, 0, 0), (0, 0, 0.35), 0.12))
    turret.join(search.moved(x=-0.5, z=1.25))
    backwards = bool(random.random() < 0.35)
    degrees = 180.0 if backwards else float(random.uniform(-60, 60))
    state = f"turret {'to the rear' if backwards else 'forward'}, plate {'up' if raised else 'folded'}"
    return model.join(turret.turned(degrees).moved(x=-2.3, z=2.15)), state


def s_300p_tel(random: Generator) -> Built:
    """5P85S: a cab pod on the left, louvres on the right, a control cabin, four big tubes level or upright behind."""
    model = Model(cues=["split front: cab on the left, engine side on the right", "four axles with large tyres"])
    model.join(_axles((4.6, 2.4, -2.0, -4.2), radius=0.72, gauge=2.4, width=0.5))
    model.join(_truck_frame(-6.2, 6.0))
    model.add("body", box(12.0, 2.9, 0.5, (-0.1, 0, 1.15)))
    model.add("body", prism([(4.0, 1.6), (4.0, 2.65), (5.7, 2.6), (6.1, 1.9), (6.1, 1.1)], 1.05, y=0.95))
    model.add("body", prism([(4.0, 1.5), (4.0, 2.2), (5.9, 2.0), (6.1, 1.1)], 0.95, y=-0.98))
    model.add("dark", *(box(0.06, 0.75, 0.06, (6.06, -0.98, 1.3 + 0.12 * k)) for k in range(4)))
    model.add("glass", _window(5.95, 0.95, 2.1, 0.85, 0.4), box(0.6, 0.03, 0.4, (5.0, 1.48, 2.1)))
    model.add("body", prism([(2.2, 1.6), (2.3, 3.1), (3.7, 2.9), (3.8, 1.6)], 2.7, top_width=2.5))
    block = Model(cues=["four big ribbed round tubes in a 2 x 2 block"])
    for y in (-0.52, 0.52):
        for z in (0.5, 1.52):
            block.add("body", tube((0, y, z), (7.6, y, z), 0.47))
            block.add("dark", *(tube((x, y, z), (x + 0.08, y, z), 0.5) for x in np.linspace(0.4, 7.2, 7)))
    block.add("metal", *(tube((0, y, 0.05), (6.5, y, 0.05), 0.08) for y in (-0.6, 0.6)))
    upright = bool(random.random() < 0.4)
    block = block.turned(-90 if upright else 0, (0, 1, 0), (0, 0, 0)).moved(x=-6.0, z=1.7)
    if upright:
        model.add("metal", *(tube((-2.6, y, 1.6), (-5.6, y, 5.2), 0.1) for y in (-0.8, 0.8)))
    model.add("metal", *(tube((-5.6, y, 0.1), (-5.6, y, 1.2), 0.12) for y in (-1.35, 1.35)))
    return model.join(block), f"tubes {'upright' if upright else 'level'}"


def iris_t_slm_launcher(random: Generator) -> Built:
    """IRIS-T SLM: a flat cab, an equipment box, eight slim canisters in two rows, lying or upright at the rear."""
    model = Model(cues=["plain flat-fronted military cab", "equipment box between cab and canisters"])
    model.join(_axles((4.0, 2.5, -2.0, -3.4), radius=0.62, gauge=2.05, width=0.45))
    model.join(_truck_frame(-4.9, 5.1))
    model.join(_flat_cab(3.4, 5.1, width=2.5, height=1.95))
    model.add("body", box(7.6, 2.5, 0.28, (-1.0, 0, 1.15)), box(1.5, 2.4, 1.4, (2.2, 0, 1.4)))
    block = Model(cues=["eight slim canisters in two rows of four"])
    for y in (-0.9, -0.3, 0.3, 0.9):
        for z in (0.35, 0.9):
            block.add("body", box(4.4, 0.5, 0.5, (2.2, y, z - 0.25)))
            block.add("dark", *(box(0.06, 0.54, 0.54, (x, y, z - 0.27)) for x in (0.3, 1.6, 2.9, 4.2)))
    upright = bool(random.random() < 0.55)
    block = block.turned(-90 if upright else 0, (0, 1, 0), (0, 0, 0)).moved(x=-4.7, z=1.5)
    if upright:
        model.add("metal", *(tube((-2.3, y, 1.4), (-4.5, y, 3.6), 0.08) for y in (-0.7, 0.7)))
    model.add(
        "metal", *(tube((x, side * 1.35, 0.1), (x, side * 1.35, 1.2), 0.08) for x in (-4.4, 1.2) for side in (-1, 1))
    )
    return model.join(block), f"canisters {'upright' if upright else 'level'}"


def giraffe_amb(random: Generator) -> Built:
    """Giraffe AMB: a truck with a container, a tall slim mast that carries a small antenna."""
    model = Model(cues=["container body on a truck", "tall slim mast with a small antenna on top"])
    model.join(_axles((3.3, -1.3, -2.7), radius=0.58, gauge=2.05, width=0.45))
    model.join(_truck_frame(-4.2, 4.3))
    model.join(_flat_cab(2.75, 4.4, width=2.5, height=1.85))
    model.add("body", box(5.9, 2.44, 2.2, (-1.35, 0, 1.2)))
    model.add("dark", box(0.8, 0.03, 1.7, (-2.6, 1.23, 1.5)), box(0.6, 0.03, 0.5, (0.4, -1.23, 2.3)))
    raised = bool(random.random() < 0.6)
    mast = Model()
    height = float(random.uniform(5.0, 7.5)) if raised else 5.0
    mast.add("body", tube((0, 0, 0), (0, 0, height), 0.16, 0.11))
    mast.add(
        "light", tube((0, 0, height), (0, 0, height + 0.5), 0.62), disc((0, 0, height + 0.55), 0.5, 0.1, (0, 0, 1))
    )
    if not raised:
        mast = mast.turned(88, (0, 1, 0), (0, 0, 0))
    model.join(mast.moved(x=-3.6, z=3.45 if raised else 3.65))
    return model, f"mast {'up' if raised else 'folded'}"


def _axles(xs: Sequence[float], *, radius: float, gauge: float, width: float) -> Model:
    model = Model()
    for x in xs:
        for side in (-1, 1):
            model.join(wheel((x, side * gauge / 2, radius), radius, width, tyre=True))
        model.add("dark", tube((x, -gauge / 2, radius), (x, gauge / 2, radius), 0.12))
    return model


def _truck_frame(rear: float, front: float) -> Model:
    model = Model().add("dark", *(box(front - rear, 0.14, 0.26, ((front + rear) / 2, y, 0.9)) for y in (-0.45, 0.45)))
    model.add("body", *(box(0.9, 0.5, 0.5, ((front + rear) / 2 + 0.4, side * 0.95, 0.62)) for side in (-1, 1)))
    return model.add("body", box(0.2, 2.4, 0.3, (front, 0, 0.75)), box(0.12, 2.3, 0.25, (rear, 0, 0.8)))


def _flat_cab(rear: float, front: float, *, width: float, height: float) -> Model:
    model = Model()
    floor = 1.0
    profile = [
        (rear, floor),
        (rear, floor + height),
        (front - 0.25, floor + height),
        (front, floor + 0.9),
        (front, floor),
    ]
    model.add("body", prism(profile, width, top_width=width - 0.15))
    model.add("glass", _window(front - 0.1, 0, floor + 1.0, width - 0.4, 0.65, slope=-13))
    model.add(
        "glass",
        *(box(0.75, 0.04, 0.55, ((rear + front) / 2 + 0.1, side * width / 2.03, floor + 1.02)) for side in (-1, 1)),
    )
    model.add("light", *(disc((front + 0.02, y, floor + 0.25), 0.13, 0.05, (1, 0, 0)) for y in (-0.9, 0.9)))
    model.add("dark", box(0.04, 1.2, 0.3, (front + 0.02, 0, floor + 0.4)))
    return model


def _window(x: float, y: float, z: float, width: float, height: float, slope: float = -10) -> object:
    pane = loft(
        [[(x + dx, y + dy, z + dz) for dx in (-0.03, 0.03) for dy in (-width / 2, width / 2) for dz in (0, height)]]
    )
    angle = math.radians(slope)
    from trimesh.transformations import rotation_matrix

    pane.apply_transform(rotation_matrix(angle, (0, 1, 0), (x, y, z)))
    return pane


def _turned(turret: Model, random: Generator, spread: float) -> Model:
    degrees = float(random.normal(0, 6)) if random.random() < 0.6 else float(random.uniform(-spread, spread))
    return turret.turned(degrees)
