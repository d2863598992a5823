"""Wheeled vehicles. Dimensions in metres, from general knowledge of the types: unchecked against drawings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lookalikes import fittings as fit
from lookalikes.common import Built, Generator, turned_turret
from lookalikes.parts import Mesh, Model, Point, box, curved_antenna, disc, loft, prism, tube
from lookalikes.tracked import tor_turret, turned_tor_turret


def tor_m2k(random: Generator) -> Built:
    """Tor-M2K: the Tor turret on a smooth three-axle hull with the cab moulded into it."""
    model = Model(cues=["one-piece slab-sided hull, no gap between cab and body", "three evenly spaced axles"])
    xs, radius = (2.65, 0.2, -2.25), 0.64
    model.join(fit.axles(xs, radius=radius, gauge=2.3, width=0.46))
    deck, half = 1.72, 1.44
    model.add("body", prism([(-4.0, 0.95), (-4.05, deck), (3.9, deck), (4.35, 1.3), (4.2, 0.85), (-3.8, 0.75)], 1.7))
    for side in (-1, 1):  # flanks above the wheels, and between them
        model.add("body", box(8.0, 0.62, deck - 1.34, (-0.05, side * (half - 0.31), 1.34)))
        for x in (3.85, 1.43, -1.03, -3.65):
            width = 0.6 if x in (3.85, -3.65) else 0.95
            model.add(
                "body",
                loft(
                    [
                        [(x + d * width / 2, y, 1.36) for d in (-1, 1) for y in (side * half, side * 0.85)],
                        [(x + d * width / 2.6, y, 0.8) for d in (-1, 1) for y in (side * (half - 0.05), side * 0.85)],
                    ]
                ),
            )
        for x in xs:
            model.add("body", fit.mudguard(x, side * (half - 0.1), radius, 0.76, 0.26))
        model.add(
            "dark", *(fit.seam((x, side * half, 1.53), (0.85, 0.03, 0.26), 0.02) for x in (-3.2, -2.1, -1.0, 0.1, 1.2))
        )
        model.add("metal", fit.ladder((1.45, side * (half + 0.03), 0.75), 0.4, 0.95, lengthwise=True))
        model.join(fit.mirror(4.0, side * 1.33, 2.2, side))
        model.join(fit.door((3.3, side * 1.4, 1.98), (0.85, 0.12, 1.05)))
        model.add("glass", box(0.7, 0.06, 0.46, (3.28, side * 1.36, 2.12)))
        model.join(fit.grille((-3.6, side * half, 1.5), (0.6, 0.06, 0.28), 5))
    screen = ((4.25, 1.95), (3.95, 2.72))
    roof = [(2.25, 1.65), (2.25, 2.6), (2.45, 2.76), screen[1], screen[0], (4.32, 1.5), (4.25, 1.4)]
    model.add("body", prism(roof, 2 * half - 0.02, top_width=2.62))
    panes = fit.between(*screen, 0.1), fit.between(*screen, 0.86)
    for y in (-0.64, 0.64):
        model.add("glass", fit.slope_plate(*panes, y - 0.57, y + 0.57, 0.05))
        model.add(
            "dark", fit.rod([(panes[0][0] + 0.05, y + 0.3, panes[0][1]), (panes[1][0] + 0.12, y - 0.1, 2.35)], 0.014)
        )
        model.join(fit.hatch((3.1, y, 2.75), 0.3, opened=bool(random.random() < 0.1)))
        model.join(fit.lamp((4.3, y * 1.75, 1.25), 0.11, guard=bool(random.random() < 0.5)))
    model.join(fit.grille((4.33, 0, 1.55), (0.05, 1.1, 0.22), 4))
    model.add("body", box(0.22, 2.5, 0.3, (4.28, 0, 0.9)))
    model.add("dark", box(0.2, 0.5, 0.2, (4.36, 0, 0.95)))
    model.join(fit.tow_gear((4.32, 0.95), (-3.95, 0.95), 0.8))
    model.join(fit.tail_lamps(-4.06, 1.15, 1.5))
    model.join(fit.door((-4.03, 0.0, 1.35), (0.06, 1.3, 0.6)))
    for x in (-3.3, -2.9):
        model.join(fit.grille((x + 0.05, 0, deck), (0.3, 1.9, 0.05), 3))
    if random.random() < 0.5:
        model.join(fit.toolbox((-3.6, float(random.choice([-1.0, 1.0])), deck), (0.6, 0.6, 0.35), 1))
    if random.random() < 0.7:
        model.join(fit.whip(random, (2.4, float(random.choice([-1.1, 1.1])), 2.7), float(random.uniform(1.5, 2.6))))
    turret, state = tor_turret(random, mesh_antenna=False)
    return fit.varied(model.join(turned_tor_turret(turret, random).moved(x=-0.65, z=deck)), random), state


def dprk_tor_like(random: Generator) -> Built:
    """Stands for a wheeled Tor-type that was not seen in training: a Tor-type turret on a truck with a cab of its own.

    No source gives axle count, chassis maker or antenna shapes of the North Korean vehicle.
    """
    model = Model(cues=["Tor-style module on a wheeled chassis", "separate driving cab in front of the module"])
    xs = (3.35, -1.0, -2.45)
    model.join(fit.axles(xs, radius=0.58, gauge=2.08, width=0.46, steered=fit.steering(random, 1)))
    model.join(fit.truck_frame(random, -4.15, 4.2, (0.2, 2.4)))
    model.join(fit.flat_cab(random, 2.7, 4.4, width=2.5, height=1.85))
    model.add("body", box(5.7, 2.75, 0.42, (-1.35, 0, 1.3)))
    for side in (-1, 1):
        for x, length in ((-3.75, 0.75), (0.75, 1.3)):
            model.join(fit.toolbox((x, side * 1.12, 0.8), (length, 0.48, 0.5), side))
        model.add("dark", *(fit.mudguard(x, side * 1.04, 0.58, 0.68, 0.5) for x in xs[1:]))
        model.add(
            "dark", *(fit.seam((x, side * 1.375, 1.51), (1.0, 0.03, 0.3), 0.02) for x in (-3.5, -2.3, -1.1, 0.1, 1.0))
        )
    if random.random() < 0.6:
        model.join(fit.spare_wheel((2.05, float(random.choice([-0.7, 0.7])), 1.75), 0.56, 0.36, (1, 0, 0)))
    model.add("body", box(0.45, 1.2, 0.9, (1.85, 0, 1.2)))
    model.join(fit.tow_gear((4.45, 0.75), (-4.15, 0.8), 0.6))
    turret, state = tor_turret(random, mesh_antenna=False)
    return fit.varied(model.join(turned_tor_turret(turret, random).moved(x=-1.35, z=1.7)), random), state


def osa_akm(random: Generator) -> Built:
    """Osa-AKM: a boat hull on three axles, six ribbed boxes, a big antenna with two small ones, a lattice on top."""
    model = Model(cues=["boat-shaped amphibious hull with two raked windscreens", "three axles"])
    xs, radius, deck, half = (1.8, -0.87, -3.0), 0.61, 2.1, 1.38
    model.join(fit.axles(xs, radius=radius, gauge=2.22, width=0.48))
    ledge = 1.28
    model.add(
        "body",
        prism(
            [(-4.5, 1.3), (-4.55, deck), (3.05, deck), (3.6, 1.66), (3.55, 0.75), (2.75, 0.7), (2.45, ledge)], 2 * half
        ),
    )
    bow = [
        [(3.6, s * half, z) for s in (-1, 1) for z in (0.72, 1.66)],
        [(4.55, s * 1.05, z) for s in (-1, 1) for z in (1.2, 1.46)],
    ]
    model.add("body", loft(bow))
    model.add("body", prism([(-4.2, 1.3), (-3.9, 0.62), (2.9, 0.55), (3.3, 0.9), (3.3, 1.35)], 1.66))
    screen = ((3.6, 1.66), (2.85, 2.36))
    model.add(
        "body",
        prism([(1.2, deck - 0.05), (1.3, 2.36), screen[1], screen[0], (3.3, 1.64)], 2 * half - 0.04, top_width=2.5),
    )
    panes = fit.between(*screen, 0.16), fit.between(*screen, 0.84)
    covers_shut = random.random() < 0.1
    for y in (-0.62, 0.62):
        model.add("body" if covers_shut else "glass", fit.slope_plate(*panes, y - 0.53, y + 0.53, 0.06))
        if not covers_shut:
            model.add("body", box(0.5, 1.05, 0.04, (2.5, y, 2.39)))
        model.add(
            "dark",
            fit.rod([(panes[0][0] + 0.05, y + 0.2, panes[0][1] + 0.03), (panes[1][0] + 0.2, y - 0.1, 2.14)], 0.014),
        )
        model.join(fit.hatch((1.85, y, 2.36), 0.33, opened=bool(random.random() < 0.12)))
    vane = ((4.5, 1.5), (3.75, 1.66))
    model.add("body", fit.slope_plate(*vane, -1.0, 1.0, 0.06))
    model.add("body", *(fit.slope_plate(*vane, y - 0.03, y + 0.03, 0.14) for y in np.linspace(-0.9, 0.9, 6)))
    for side in (-1, 1):
        for x in xs:
            model.add("body", fit.mudguard(x, side * (half - 0.12), radius, 0.73, 0.27))
        for start, end in ((1.8 - 0.73, -0.87 + 0.73), (-0.87 - 0.73, -3.0 + 0.73), (-3.73, -4.4)):
            model.add(
                "body", prism([(start, 0.85), (start, 1.3), (end, 1.3), (end, 0.85)], 0.04, y=side * (half - 0.03))
            )
        model.add("body", *(box(7.2, 0.05, 0.05, (-0.75, side * half, z)) for z in (1.48, 1.72, 1.96)))
        model.add("glass", box(0.6, 0.05, 0.34, (2.62, side * (half - 0.025), 1.75)))
        model.add("metal", fit.ladder((0.45, side * (half + 0.04), 1.0), 0.34, 1.05, lengthwise=True))
        model.join(fit.lamp((3.72, side * 1.18, 1.76), 0.1, guard=True))
        model.add("metal", fit.handrail((0.9, side * 1.25, deck), (0.3, side * 1.25, deck), (0, 0, 0.14)))
        if random.random() < 0.6:
            model.join(fit.toolbox((-2.6, side * 1.22, deck), (0.9, 0.28, 0.22), side))
        model.join(fit.grille((-3.95, side * 0.6, deck), (0.8, 0.85, 0.05), 6))
        model.add("body", disc((-4.56, side * 0.65, 1.62), 0.28, 0.1, (1, 0, 0)))
        model.add("dark", disc((-4.6, side * 0.65, 1.62), 0.22, 0.05, (1, 0, 0)))
        model.add(
            "metal",
            fit.rod(
                [
                    (-0.2, side * (half + 0.03), 1.4),
                    (-1.6, side * (half + 0.05), 1.36),
                    (-2.2, side * (half + 0.03), 1.42),
                ],
                0.022,
            ),
        )
    model.join(fit.door((-4.53, 0, 1.7), (0.05, 0.55, 0.55)))
    model.join(fit.tail_lamps(-4.56, 1.15, 1.95))
    model.join(fit.tow_gear((4.42, 1.2), (-4.5, 1.35), 0.7))
    model.join(fit.whip(random, (-3.9, 1.2, deck), float(random.uniform(1.5, 2.6))))
    turret, raised = _osa_turret(random)
    model.join(turret.moved(x=-0.5, z=deck))
    return fit.varied(model, random), f"search antenna {'up' if raised else 'folded'}"


def _osa_turret(random: Generator) -> tuple[Model, bool]:
    """The Osa's turret, its ring's middle at the origin, and whether its search antenna is up."""
    turret = Model(cues=["six ribbed containers in two packs of three", "one big and two small round antennas"])
    turret.add("dark", tube((0, 0, -0.02), (0, 0, 0.08), 1.12, sections=28))
    turret.add(
        "body",
        loft(
            [
                [(x, y, 0.06) for x in (1.25, -1.45) for y in (-1.05, 1.05)],
                [(x, y, 0.42) for x in (1.25, -1.45) for y in (-1.05, 1.05)],
                [(x, y, 0.56) for x in (1.15, -1.4) for y in (-0.9, 0.9)],
            ]
        ),
    )
    for side in (-1, 1):
        turret.add(
            "dark", *(fit.seam((x, side * 1.05, 0.26), (0.46, 0.04, 0.26), 0.02) for x in np.linspace(-1.1, 0.9, 5))
        )
    head = Model().add(
        "body", box(0.75, 0.92, 1.2, (0.75, 0, 0.5)), tube((0.75, 0, 0.5), (0.75, 0, 0.72), 0.62, sections=22)
    )
    radome = str(random.choice(["light", "body"]))
    shield = [(-0.34, 0.0), (0.34, 0.0), (0.5, 0.5), (0.46, 1.0), (0.28, 1.3), (-0.28, 1.3), (-0.46, 1.0), (-0.5, 0.5)]
    scale = float(random.uniform(1.05, 1.15))
    for depth, paint, share in ((1.2, "body", 1.0), (1.25, radome, 0.93)):
        outline = [
            (depth + d, y * share * scale, 0.56 + (z - 0.65) * share * scale + 0.65)
            for d in (0, 0.08)
            for y, z in shield
        ]
        head.add(paint, loft([outline]))
    head.add("dark", fit.rod([(1.3, 0.0, 0.7), (1.62, 0.0, 1.12)], 0.03), disc((1.62, 0, 1.18), 0.1, 0.12, (1, 0, 0)))
    for side in (-1, 1):
        head.add("body", tube((0.9, side * 0.86, 1.32), (1.28, side * 0.86, 1.32), 0.22, 0.31, sections=20))
        head.add(radome, disc((1.29, side * 0.86, 1.32), 0.28, 0.05, (1, 0, 0)))
        head.add("body", tube((0.9, 0, 1.32), (0.9, side * 0.86, 1.32), 0.09, sections=12))
        head.add("body", box(0.5, 0.36, 0.3, (0.95, side * 0.8, 0.58)))
        head.add("glass", disc((1.21, side * 0.8, 0.74), 0.1, 0.03, (1, 0, 0)))
    head.add("body", box(0.4, 0.4, 0.2, (0.8, 0, 1.7)))
    head.add("glass", disc((1.01, 0.1, 1.8), 0.06, 0.02, (1, 0, 0)))
    turret.join(fit.merged(head))
    elevation = float(random.choice([0.0, 0.0, 0.0, 12.0, 28.0]))
    pivot = (-2.3, 0.0, 0.62)
    loaded = [int(random.choice([3, 3, 3, 2])) for _ in range(2)]
    for side, count in zip((-1, 1), loaded, strict=True):
        pack = Model().add("body", box(2.6, 1.0, 0.07, (-1.0, side * 0.98, 0.6)))
        for number in range(count):
            y = side * (0.64 + 0.32 * number)
            pack.add("body", box(3.3, 0.29, 0.42, (-0.85, y, 0.68)))
            pack.add("dark", *(box(0.05, 0.31, 0.45, (x, y, 0.665)) for x in np.linspace(-2.35, 0.65, 12)))
            pack.add("light", box(0.05, 0.25, 0.36, (0.81, y, 0.71)))
        turret.join(fit.merged(pack).turned(-elevation, (0, 1, 0), pivot))
        turret.add("body", fit.rod([(-1.3, side * 0.7, 0.4), (-2.3, side * 0.7, 0.6)], 0.07))
    raised = bool(random.random() < 0.65)
    search = Model(cues=["curved lattice search antenna on a short mast"])
    search.add("metal", *curved_antenna((-0.15, 0, 0.5), 1.75, 0.75, 0.24, lattice=True))
    search.add("metal", *curved_antenna((-0.1, 0, 1.32), 0.7, 0.28, 0.06, lattice=True))
    search.add("body", box(0.28, 0.24, 0.22, (0, 0, 0.34)), fit.rod([(-0.15, 0, 0.4), (-0.2, 0, 1.4)], 0.035))
    search.add("dark", fit.rod([(0, 0, 0.45), (0.6, 0, 0.5)], 0.035), box(0.12, 0.3, 0.14, (0.62, 0, 0.46)))
    search = fit.merged(search).turned(float(random.uniform(0, 360)) if raised else 0.0)
    search.add("body", tube((0, 0, 0), (0, 0, 0.36), 0.09, sections=12))
    if not raised:
        search = search.turned(-90, (0, 1, 0), (0, 0, 0.02))
    search.add("body", box(0.3, 0.34, 0.2, (0, 0, -0.12)))
    turret.join(search.moved(x=0.45, z=1.78))
    return turned_turret(fit.merged(turret), random, (0, 0, 0), spread=35), raised


def pantsir_s1_kamaz(random: Generator) -> Built:
    """Pantsir-S1 on KamAZ: cab, tall box, a turret with six tubes and two barrels on each side, a plate on top."""
    model = Model(cues=["flat-fronted truck cab, tall equipment box behind it", "four axles: pair, long gap, pair"])
    xs = (4.05, 2.1, -2.3, -3.75)
    model.join(fit.axles(xs, radius=0.62, gauge=2.05, width=0.42, steered=fit.steering(random, 2)))
    model.join(fit.truck_frame(random, -5.0, 5.2, (-1.4, 1.3)))
    model.join(fit.flat_cab(random, 3.55, 5.25, width=2.5, height=1.85, rake=0.2, panes=int(random.choice([2, 3]))))
    model.add("body", box(2.75, 2.5, 2.0, (2.0, 0, 1.22)))
    for side in (-1, 1):
        wall = side * 1.25
        model.join(fit.door((2.7, wall, 2.05), (0.75, 0.05, 1.4)))
        model.join(fit.grille((1.25, wall, 2.55), (0.8, 0.06, 0.45), 5))
        model.add("dark", fit.seam((1.3, wall, 1.75), (1.0, 0.03, 0.8), 0.02))
        model.add("metal", fit.ladder((2.7, side * 1.28, 0.55), 0.5, 0.8, lengthwise=True))
        model.add("dark", *(fit.mudguard(x, side * 1.03, 0.62, 0.73, 0.46) for x in xs))
        model.add("dark", *(fit.seam((x, side * 1.26, 1.6), (1.0, 0.03, 0.6), 0.02) for x in (-4.2, -3.1, -2.0, -0.9)))
        model.join(fit.toolbox((-0.6, side * 1.05, 0.55), (1.1, 0.4, 0.6), side))
        for x in (-4.7, 0.35):
            model.add("metal", tube((x, side * 1.12, 0.5), (x, side * 1.12, 1.25), 0.09, sections=12))
            model.add("dark", disc((x, side * 1.12, 0.48), 0.2, 0.06, (0, 0, 1)))
    for x in (0.62, 3.38):
        model.add("body", *(box(0.05, 0.05, 2.0, (x, side * 1.25, 1.22)) for side in (-1, 1)))
    model.join(fit.hatch((2.4, 0.6, 3.22), 0.3))
    if random.random() < 0.6:
        model.add("body", box(0.9, 1.1, 0.25, (1.6, -0.4, 3.22)))
    model.add("body", box(5.2, 2.5, 0.85, (-2.3, 0, 1.2)))
    model.add("body", box(0.6, 2.1, 0.3, (-4.5, 0, 2.05)), box(0.5, 2.2, 0.35, (0.25, 0, 2.05)))
    model.join(fit.door((-4.92, 0, 1.6), (0.05, 1.2, 0.7)))
    if random.random() < 0.5:
        model.join(fit.spare_wheel((0.35, float(random.choice([-0.65, 0.65])), 2.6), 0.56, 0.34, (1, 0, 0)))
    turret = Model(
        cues=["twelve slim tubes in two blocks of six", "twin barrels each side", "flat rectangular plate on top"]
    )
    turret.add("dark", tube((0, 0, -0.06), (0, 0, 0.1), 1.0, sections=26))
    turret.add(
        "body",
        loft(
            [
                [(x, y, 0.08) for x in (0.75, -1.25) for y in (-0.6, 0.6)],
                [(x, y, 1.15) for x in (0.45, -1.2) for y in (-0.5, 0.5)],
            ]
        ),
    )
    turret.add("body", box(0.9, 1.5, 0.35, (-0.5, 0, 0.1)))
    turret.join(fit.grille((-1.23, 0, 0.65), (0.06, 0.75, 0.6), 6))
    elevation = float(random.choice([0.0, 0.0, 8.0, 18.0, 28.0]))
    loaded = random.random(12) < (1.0 if random.random() < 0.6 else 0.75)
    pivot = (-0.15, 0.0, 0.8)
    for side in (-1, 1):
        arm = Model().add("body", tube((-0.15, side * 0.5, 0.8), (-0.15, side * 1.15, 0.8), 0.26, sections=18))
        for number in range(6):
            y, z = side * (1.2 + 0.23 * (number % 3)), 0.88 + 0.25 * (number // 3)
            if not loaded[number + 3 * (side + 1)]:
                continue
            arm.add("body", tube((-1.2, y, z), (1.45, y, z), 0.1), tube((1.45, y, z), (1.9, y, z), 0.085))
            arm.add("dark", tube((1.9, y, z), (1.94, y, z), 0.088), tube((-1.0, y, z), (-0.95, y, z), 0.107))
            arm.add("dark", tube((1.42, y, z), (1.48, y, z), 0.107))
        arm.add(
            "body",
            *(box(0.1, 0.76, 0.58, (x, side * 1.43, 0.72)) for x in (-0.75, 0.55)),
            box(1.7, 0.72, 0.07, (-0.1, side * 1.43, 0.7)),
        )
        guns = side * 0.93
        arm.add("body", prism([(-0.9, 0.4), (-0.9, 0.78), (0.7, 0.78), (1.0, 0.65), (1.0, 0.42)], 0.3, y=guns))
        for z in (0.48, 0.65):
            arm.add("metal", tube((0.9, guns, z), (2.4, guns, z), 0.045), tube((2.4, guns, z), (3.1, guns, z), 0.033))
            arm.add("dark", tube((3.0, guns, z), (3.2, guns, z), 0.048))
        arm.add("metal", *(box(0.06, 0.08, 0.27, (x, guns, 0.43)) for x in (1.5, 2.35, 2.9)))
        turret.join(fit.merged(arm).turned(-elevation, (0, 1, 0), pivot))
    radome = str(random.choice(["light", "body"]))
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    face = [(0.48 * float(np.cos(a)), 0.72 + 0.66 * float(np.sin(a))) for a in angles]
    turret.add(
        "body",
        loft([[(0.5, y * 0.7, z) for y, z in face], [(0.95, y, z) for y, z in face], [(1.02, y, z) for y, z in face]]),
    )
    turret.add(
        radome,
        loft(
            [
                [(1.0, y * 0.92, 0.72 + (z - 0.72) * 0.92) for y, z in face],
                [(1.08, y * 0.8, 0.72 + (z - 0.72) * 0.8) for y, z in face],
            ]
        ),
    )
    turret.add("body", box(0.3, 0.34, 0.36, (0.2, -0.32, 1.12)))
    turret.add("glass", disc((0.36, -0.32, 1.32), 0.11, 0.03, (1, 0, 0)))
    raised = bool(random.random() < 0.7)
    search = Model().add("body", box(0.2, 1.75, 0.8, (0, 0, 0.32)), box(0.24, 0.4, 0.3, (-0.18, 0, 0.5)))
    search.add(radome, box(0.04, 1.63, 0.68, (0.11, 0, 0.38)))
    search.add("body", *(box(0.12, 0.05, 0.72, (-0.14, y, 0.36)) for y in (-0.7, -0.35, 0.35, 0.7)))
    search = fit.merged(search).turned(-8, (0, 1, 0), (0, 0, 0.3))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-82, (0, 1, 0), (0, 0, 0.12))
    search.add("dark", tube((0, 0, -0.05), (0, 0, 0.36), 0.14))
    search.add("body", box(0.5, 0.55, 0.14, (0, 0, -0.06)))
    turret.join(search.moved(x=-0.75, z=1.2))
    turret = fit.merged(turret)
    backwards = bool(random.random() < 0.35)
    degrees = 180.0 + float(random.normal(0, 2)) if backwards else float(random.normal(0, 25))
    state = f"turret {'to the rear' if backwards else 'forward'}, search antenna {'up' if raised else 'folded'}"
    return fit.varied(model.join(turret.turned(degrees).moved(x=-2.3, z=2.1)), random), state


def s_300p_tel(random: Generator) -> Built:
    """5P85S: a cab pod on the left, louvres on the right, a control cabin, four big tubes level or upright behind."""
    model = Model(cues=["split front: cab on the left, engine side on the right", "four axles with large tyres"])
    xs = (4.35, 2.15, -1.35, -3.55)
    model.join(fit.axles(xs, radius=0.75, gauge=2.4, width=0.52))
    model.join(fit.truck_frame(random, -5.4, 5.6, (-0.5, 1.3), z=1.05))
    model.add("body", box(8.9, 1.5, 0.3, (-1.2, 0, 1.3)), box(11.0, 2.9, 0.1, (-0.3, 0, 1.62)))
    for side in (-1, 1):
        model.add("body", *(fit.mudguard(x, side * 1.22, 0.75, 0.88, 0.6) for x in xs))
        for x, length in ((0.4, 1.3), (-5.0, 0.8)):
            model.join(fit.toolbox((x, side * 1.2, 0.95), (length, 0.55, 0.65), side))
        model.add("dark", *(fit.seam((x, side * 1.45, 1.67), (1.2, 0.03, 0.08), 0.02) for x in (-4.0, -2.0, 0.0)))
    # the driver's pod on the left, the engine side on the right, a low deck between
    low, high = (6.1, 2.1), (5.78, 2.72)
    model.add("body", prism([(3.75, 1.15), (3.75, 2.72), high, low, (6.2, 1.5), (6.0, 0.95), (5.3, 1.2)], 1.02, y=0.98))
    glass = fit.between(low, high, 0.12), fit.between(low, high, 0.88)
    model.add("glass", fit.slope_plate(*glass, 0.54, 0.97, 0.05), fit.slope_plate(*glass, 1.0, 1.42, 0.05))
    for x in (5.25, 4.3):
        model.add("glass", box(0.62, 0.04, 0.42, (x, 1.485, 2.14)), box(0.62, 0.04, 0.36, (x, 0.475, 2.16)))
        model.join(fit.door((x, 1.49, 1.95), (0.8, 0.03, 1.3)))
    model.join(fit.mirror(5.95, 1.47, 2.15, 1))
    model.join(fit.hatch((4.7, 0.98, 2.72), 0.3))
    model.add(
        "body",
        prism(
            [(3.75, 1.15), (3.75, 2.2), (5.6, 2.1), (6.15, 1.85), (6.2, 1.4), (6.0, 0.95), (5.3, 1.2)], 1.02, y=-0.98
        ),
    )
    model.join(fit.grille((6.15, -0.98, 1.58), (0.14, 0.8, 0.5), 6))
    for x in (4.15, 4.95):
        model.join(fit.grille((x, -1.48, 1.75), (0.65, 0.05, 0.5), 6))
        model.join(fit.grille((x, -0.98, 2.17), (0.6, 0.75, 0.08), 5))
    model.add("dark", tube((3.95, -0.55, 2.1), (3.95, -0.55, 2.75), 0.09, sections=12))
    model.add(
        "body", box(1.9, 1.0, 0.55, (4.75, 0, 1.15)), prism([(5.6, 1.0), (5.6, 1.6), (6.1, 1.35), (6.1, 0.95)], 0.95)
    )
    model.join(fit.grille((5.0, 0, 1.72), (0.9, 0.75, 0.06), 6))
    model.add("body", box(0.25, 3.0, 0.34, (6.18, 0, 0.9)))
    for y in (-1.2, -0.75, 0.75, 1.2):
        model.join(fit.lamp((6.3, y, 1.15), 0.11, guard=bool(random.random() < 0.5)))
    model.join(fit.tow_gear((6.25, 0.8), (-5.4, 0.95), 0.5))
    # the control cabin
    model.add("body", prism([(1.35, 1.68), (1.35, 3.2), (3.0, 3.2), (3.6, 2.75), (3.6, 1.68)], 2.95, top_width=2.75))
    for side in (-1, 1):
        model.join(fit.door((2.0, side * 1.43, 2.4), (0.75, 0.1, 1.2)))
        model.join(fit.grille((3.0, side * 1.44, 2.35), (0.7, 0.08, 0.45), 5))
        model.add("metal", fit.ladder((2.0, side * 1.5, 0.8), 0.45, 0.9, lengthwise=True))
    model.add("body", box(0.8, 0.9, 0.25, (2.2, float(random.choice([-0.5, 0.5])), 3.2)))
    model.join(fit.whip(random, (1.6, 1.1, 3.2), float(random.uniform(1.5, 2.5))))
    if random.random() < 0.4:  # the folded mast on the roof
        model.add(
            "metal", tube((1.45, -1.1, 3.28), (3.1, -1.1, 3.28), 0.08), tube((1.5, -0.9, 3.26), (3.0, -0.9, 3.26), 0.06)
        )
    block = Model(cues=["four big ribbed round tubes in a 2 x 2 block"])
    length, radius = 7.75, 0.46
    for y in (-0.52, 0.52):
        for z in (0.58, 1.6):
            block.add("body", tube((0, y, z), (length, y, z), radius, sections=28))
            block.add(
                "body",
                *(
                    tube((x, y, z), (x + 0.1, y, z), radius + 0.04, sections=28)
                    for x in np.linspace(0.3, length - 0.5, 9)
                ),
            )
            block.add("dark", *(tube((x, y, z), (x + 0.05, y, z), radius + 0.055, sections=28) for x in (1.6, 4.6)))
            block.add("body", tube((length, y, z), (length + 0.08, y, z), radius + 0.05, radius - 0.02, sections=28))
            block.add("dark", tube((-0.06, y, z), (0, y, z), radius * 0.8, sections=20))
            block.add("light", box(0.35, 0.02, 0.18, (5.6, y + (0.47 if y > 0 else -0.47), z - 0.09)))
    for x in (1.0, 3.2, 5.4):
        block.add("body", box(0.18, 2.1, 0.2, (x, 0, 0.0)), *(box(0.14, 0.1, 1.9, (x, y, 0.1)) for y in (-1.02, 1.02)))
        block.add("body", box(0.14, 2.1, 0.08, (x, 0, 2.05)))
    for y in (-0.62, 0.62):
        block.add("metal", tube((0.1, y, 0.06), (6.2, y, 0.06), 0.09, sections=10))
    rungs = np.linspace(0.5, 6.0, 8)
    for a, b in pairwise(rungs):
        block.add("metal", tube((float(a), -0.62, 0.06), (float(b), 0.62, 0.06), 0.045, sections=6))
    upright = bool(random.random() < 0.4)
    block = fit.merged(block)
    if upright:
        block = block.turned(-90, (0, 1, 0), (0, 0, 0)).moved(x=-4.75, z=0.35)
        for y in (-0.62, 0.62):
            model.add("metal", tube((-1.6, y, 1.6), (-3.4, y, 3.2), 0.13), tube((-3.4, y, 3.2), (-4.8, y, 4.4), 0.08))
        model.add("body", box(1.4, 0.5, 0.5, (-4.4, 0, 1.3)))
    else:
        block = block.moved(x=-6.62, z=1.72)
    for side in (-1, 1):
        for x in (-4.75, 1.35):
            foot = 0.06 if upright else 0.6
            model.add("metal", tube((x, side * 1.3, foot), (x, side * 1.3, 1.5), 0.09, sections=12))
            model.add("body", tube((x, side * 1.3, 0.9), (x, side * 1.3, 1.6), 0.14, sections=12))
            model.add("dark", disc((x, side * 1.3, foot), 0.22, 0.08, (0, 0, 1)))
    return fit.varied(model.join(block), random), f"tubes {'upright' if upright else 'level'}"


def iris_t_slm_launcher(random: Generator) -> Built:
    """IRIS-T SLM: a flat cab, an equipment box, eight slim canisters in two rows, lying or upright at the rear."""
    model = Model(cues=["plain flat-fronted military cab", "equipment box between cab and canisters"])
    upright = bool(random.random() < 0.55)
    xs = (3.95, 2.2, -2.3, -3.75)
    model.join(fit.axles(xs, radius=0.64, gauge=2.05, width=0.42, steered=fit.steering(random, 2)))
    model.join(fit.truck_frame(random, -4.9, 5.0, (-1.4, 1.4)))
    model.join(fit.flat_cab(random, 3.15, 5.1, width=2.5, height=1.9, rake=0.3, angular=bool(random.random() < 0.5)))
    model.add(
        "dark", box(0.35, 2.3, 0.9, (2.95, 0, 1.15)), tube((2.95, -0.95, 1.6), (2.95, -0.95, 3.0), 0.1, sections=12)
    )
    if random.random() < 0.7:
        model.join(fit.spare_wheel((2.85, 0.5, 2.1), 0.6, 0.38, (1, 0, 0)))
    model.add(
        "body", box(7.5, 2.44, 0.16, (-1.15, 0, 1.2)), *(box(7.5, 0.14, 0.2, (-1.15, y, 1.2)) for y in (-1.18, 1.18))
    )
    depth = float(random.uniform(1.25, 1.5))
    model.add("body", box(depth, 2.4, 1.7, (1.75, 0, 1.38)))
    model.add("body", *(box(depth + 0.06, 0.08, 0.08, (1.75, s * 1.19, z)) for s in (-1, 1) for z in (1.38, 3.02)))
    for side in (-1, 1):
        model.join(fit.door((1.6, side * 1.2, 2.2), (0.7, 0.05, 1.3)))
        model.join(fit.grille((2.15, side * 1.2, 2.6), (0.35, 0.06, 0.5), 6))
        model.add("dark", *(fit.mudguard(x, side * 1.03, 0.64, 0.75, 0.46) for x in xs))
        model.join(fit.toolbox((0.3, side * 1.0, 0.55), (1.1, 0.45, 0.6), side))
        for x in (-4.75, 0.95):
            foot = 0.06 if upright else 0.6
            model.add("metal", tube((x, side * 1.3, foot), (x, side * 1.3, 1.25), 0.07, sections=12))
            model.add("body", box(0.2, 0.3, 0.5, (x, side * 1.2, 0.85)))
            model.add("dark", disc((x, side * 1.3, foot), 0.22, 0.06, (0, 0, 1)))
        for x in (-4.85, 2.5):
            model.add("body", box(0.18, 0.18, 0.2, (x, side * 1.15, 1.18)))
    if random.random() < 0.5:
        model.join(fit.whip(random, (1.3, 0.9, 3.05), float(random.uniform(1.2, 2.2))))
    if random.random() < 0.4:  # a generator on the box
        model.add("body", box(0.8, 0.9, 0.3, (1.7, -0.5, 3.08)))
    block = Model(cues=["eight slim canisters in two rows of four"])
    length, wide = 4.3, 0.46
    for y in (-0.9, -0.3, 0.3, 0.9):
        for z in (0.42, 1.0):
            block.add("body", loft([[(x, y + a, z + b) for x in (0, length)] for a, b in _octagon(wide / 2)]))
            for x in (0.25, 1.25, 2.25, 3.25, length - 0.12):
                block.add("body", box(0.07, wide + 0.06, wide + 0.06, (x, y, z - wide / 2 - 0.03)))
            block.add("dark", box(0.04, wide * 0.8, wide * 0.8, (length + 0.01, y, z - wide * 0.4)))
            block.add("dark", box(0.06, wide * 0.7, wide * 0.7, (-0.02, y, z - wide * 0.35)))
    for x in (0.7, 2.7):
        block.add("body", box(0.16, 2.38, 0.1, (x, 0, 0.66)), box(0.2, 2.4, 0.12, (x, 0, 0.04)))
        block.add("body", *(box(0.14, 0.07, 1.25, (x, y, 0.06)) for y in (-1.18, 1.18)))
    block.add("body", *(box(length - 0.6, 0.14, 0.14, (length / 2 - 0.2, y, 0.02)) for y in (-0.7, 0.7)))
    block = fit.merged(block)
    if upright:
        block = block.turned(-90, (0, 1, 0), (0, 0, 0)).moved(x=-3.75, z=1.1)
        model.add("metal", *(tube((-1.4, y, 1.4), (-3.75, y, 3.4), 0.08) for y in (-0.7, 0.7)))
        model.add("body", *(box(0.5, 0.12, 0.6, (-3.9, y, 1.2)) for y in (-1.0, 1.0)))
    else:
        block = block.moved(x=-4.7, z=1.38)
    return fit.varied(model.join(block), random), f"canisters {'upright' if upright else 'level'}"


def giraffe_amb(random: Generator) -> Built:
    """Giraffe AMB: a truck with a container, a tall slim mast that carries a small antenna."""
    model = Model(cues=["container body on a truck", "tall slim mast with a small antenna on top"])
    raised = bool(random.random() < 0.6)
    xs = (3.3, -1.45, -2.85)
    model.join(fit.axles(xs, radius=0.58, gauge=2.05, width=0.42, steered=fit.steering(random, 1)))
    model.join(fit.truck_frame(random, -4.3, 4.3, (0.2, 2.3)))
    model.join(fit.flat_cab(random, 2.6, 4.4, width=2.5, height=1.85, rake=0.25))
    floor, height, middle, length = 1.22, 2.3, -1.15, 6.05
    model.add("body", box(length, 2.4, height, (middle, 0, floor)))
    ends = (middle - length / 2, middle + length / 2)
    for x in ends:
        model.add("body", *(box(0.16, 0.16, height + 0.06, (x, s * 1.18, floor - 0.03)) for s in (-1, 1)))
    for side in (-1, 1):
        wall = side * 1.2
        model.add("body", *(box(length, 0.12, 0.14, (middle, side * 1.2, z)) for z in (floor, floor + height - 0.12)))
        model.add(
            "body",
            *(
                box(0.07, 0.05, height - 0.3, (float(x), wall, floor + 0.15))
                for x in np.arange(ends[0] + 0.35, ends[1] - 0.2, 0.42)
            ),
        )
        model.add("dark", *(fit.mudguard(x, side * 1.03, 0.58, 0.68, 0.46) for x in xs[1:]))
        foot = 0.05 if raised else 0.7
        for x in (-3.9, 1.6):
            model.add("metal", tube((x, side * 1.3, foot), (x, side * 1.3, 1.7), 0.07, sections=12))
            model.add("body", box(0.18, 0.25, 0.9, (x, side * 1.28, 1.2)))
            model.add("dark", disc((x, side * 1.3, foot), 0.24, 0.06, (0, 0, 1)))
        model.join(fit.toolbox((0.9, side * 1.0, 0.6), (1.0, 0.4, 0.55), side))
    door_side = int(random.choice([-1, 1]))
    model.add("body", box(0.95, 0.06, 1.95, (0.4, door_side * 1.215, floor + 0.15)))
    model.join(fit.door((0.4, door_side * 1.25, floor + 1.1), (0.85, 0.03, 1.8)))
    model.add("metal", fit.ladder((0.4, door_side * 1.3, 0.4), 0.5, 0.9, lengthwise=True))
    model.join(fit.grille((-2.6, -door_side * 1.23, floor + 1.6), (0.9, 0.06, 0.6), 6))
    model.join(fit.grille((1.89, 0.5, floor + 1.6), (0.06, 0.7, 0.6), 6))
    model.add("body", box(0.5, 1.3, 0.8, (2.15, -0.2, floor + 1.3)))
    model.add("metal", fit.ladder((-4.23, 0.85, floor), 0.4, height, lengthwise=False))
    model.join(fit.door((-4.19, -0.3, floor + 1.1), (0.04, 1.2, 1.8)))
    roof = floor + height
    head = Model().add("body", tube((0, 0, 0), (0, 0, 0.25), 0.22, 0.3, sections=18))
    radome = str(random.choice(["light", "body", "light"]))
    head.add("body", loft([[(x, y, z) for x in (-0.42, 0.42) for y in (-0.72, 0.72)] for z in (0.22, 0.32)]))
    head.add(
        radome, loft([_oval(0.52, 0.84, 0.32), _oval(0.6, 0.92, 0.42), _oval(0.6, 0.92, 0.78), _oval(0.46, 0.76, 0.9)])
    )
    head.add("body", box(0.1, 0.6, 0.12, (-0.15, 0, 0.88)))
    lower, upper = 4.0, float(random.uniform(3.6, 4.1))
    if raised:
        foot, elbow = (0.0, 0.0, 0.0), (-0.75, 0.0, lower)
        top = (0.0, 0.0, lower + upper)
        mast = Model().add("body", *_arm(foot, elbow, 0.44, 0.34), *_arm(elbow, top, 0.34, 0.22))
        mast.add("dark", tube((-0.75, -0.3, lower), (-0.75, 0.3, lower), 0.24, sections=16))
        mast.add("metal", tube((1.0, 0, 0.05), (-0.3, 0, 1.9), 0.07, sections=10))
        mast.join(head.turned(float(random.uniform(0, 360))).moved(z=top[2]))
        mast.add("dark", fit.rod([(0.2, 0.2, 0), (-0.5, 0.22, lower), (0.1, 0.15, top[2])], 0.03))
    else:
        mast = Model().add(
            "body", *_arm((0, 0, 0.15), (3.9, 0, 0.2), 0.44, 0.36), *_arm((3.9, 0, 0.55), (0.6, 0, 0.55), 0.34, 0.24)
        )
        mast.add("dark", tube((3.9, -0.26, 0.38), (3.9, 0.26, 0.38), 0.3, sections=16))
        mast.join(head.moved(x=-0.1, z=0.35))
    mast.add("body", box(0.8, 0.9, 0.22, (0, 0, -0.04)))
    model.join(fit.merged(mast).moved(x=-3.2, z=roof))
    return fit.varied(model, random), f"mast {'up' if raised else 'folded'}"


def _arm(start: Point, end: Point, wide: float, narrow: float) -> list[Mesh]:
    """A square beam that tapers, with its stiffening bands."""

    def at(share: float) -> Point:
        x, y, z = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        return (x, y, z)

    meshes = [tube(start, end, wide * 0.6, narrow * 0.6, sections=8)]
    for share in (0.02, 0.26, 0.5, 0.74, 0.95):
        radius = (wide + share * (narrow - wide)) * 0.68
        meshes.append(tube(at(share), at(share + 0.02), radius, sections=8))
    return meshes


def _octagon(half: float) -> list[tuple[float, float]]:
    """Corners (y, z) of a square with its corners cut, round the origin."""
    cut = half * 0.55
    return [(a * half, b * cut) for a in (-1, 1) for b in (-1, 1)] + [
        (a * cut, b * half) for a in (-1, 1) for b in (-1, 1)
    ]


def _oval(half_length: float, half_width: float, z: float) -> list[Point]:
    """A level oval round the z axis."""
    angles = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    return [(half_length * float(np.cos(a)), half_width * float(np.sin(a)), z) for a in angles]
