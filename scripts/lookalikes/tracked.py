"""Tracked air-defence vehicles. Dimensions in metres, from general knowledge of the types: unchecked against drawings.

Each function takes a random generator for the state and small options, and returns the model and its state in words.
"""

from __future__ import annotations

import math

import numpy as np

from lookalikes import fittings as fit
from lookalikes.common import Built, Generator, stowage, turned_turret
from lookalikes.parts import Model, Point, box, curved_antenna, disc, dish, loft, prism, tracks, tube


def tor_m1(random: Generator) -> Built:
    """Tor-M1: a low nose, one tall slab-sided turret, a square panel in front, an open mesh antenna on the roof."""
    model = Model(cues=["low driver's deck at the nose", "seven road wheels, sprocket at the rear"])
    wheel_xs = np.linspace(2.45, -2.5, 7)
    model.join(_gm_hull(random, wheel_xs, nose=3.7, roof=1.5, break_x=2.3))
    for side in (-1, 1):
        model.join(fit.whip(random, (-3.5, side * 1.45, 1.5), float(random.uniform(2.2, 3.2))))
    turret, state = tor_turret(random, mesh_antenna=True)
    return fit.varied(model.join(turned_tor_turret(turret, random).moved(x=-0.75, z=1.5)), random), state


def turned_tor_turret(turret: Model, random: Generator) -> Model:
    """A Tor's turret nearly always forward, seldom a little aside."""
    degrees = float(random.normal(0, 3)) if random.random() < 0.85 else float(random.uniform(-40, 40))
    return turret.turned(degrees)


def tor_turret(random: Generator, *, mesh_antenna: bool) -> tuple[Model, str]:
    """The turret of the Tor family, its ring's middle at the origin: no weapon to be seen, two antennas.

    Args:
        random: Of the state.
        mesh_antenna: An open mesh and a square panel as on Tor-M1, else a flat plate and a narrow portrait panel.
    """
    model = Model(cues=["tall slab-sided box turret", "no missile and no launch tube visible from outside"])
    model.add("dark", tube((0, 0, 0), (0, 0, 0.16), 1.28, sections=28))
    bottom, top, front, rear, half = 0.06, 1.86, 1.5, -2.15, 1.36
    bevel = top - 0.2
    lower, upper = _rounded_plan(front, rear, half, 0.5), _rounded_plan(front - 0.12, rear + 0.06, half - 0.1, 0.5)
    model.add(
        "body", loft([[(x, y, z) for x, y in plan] for plan, z in ((lower, bottom), (lower, bevel), (upper, top))])
    )
    for side in (-1, 1):
        face = side * half
        model.join(fit.door((-0.35, face, 0.95), (0.95, 0.05, 1.2)))
        model.join(fit.grille((-1.55, face, 1.25), (0.75, 0.05, 0.4), 5))
        model.add("dark", fit.seam((-1.55, face, 0.62), (0.9, 0.04, 0.6)))
        model.add("body", box(0.75, 0.1, 0.5, (0.72, side * (half + 0.03), 0.35)))
        model.add("dark", fit.seam((0.72, side * (half + 0.085), 0.6), (0.66, 0.02, 0.4), 0.02))
        model.add("metal", fit.ladder((0.72, side * (half + 0.06), 0.9), 0.36, 0.75, lengthwise=True))
        for x in (-0.6, 0.9):
            model.add("dark", tube((x, face * 0.98, bevel - 0.12), (x, face * 1.06, bevel - 0.12), 0.05, sections=8))
        model.add("metal", fit.handrail((-1.9, side * 1.15, top), (-0.9, side * 1.15, top), (0, 0, 0.16)))
        model.add("body", box(0.3, 0.28, 0.55, (front - 0.1, side * 0.95, bevel - 0.75)))
    model.join(fit.grille((rear, 0.4, 0.9), (0.05, 0.9, 0.7), 7))
    model.join(fit.door((rear, -0.65, 0.9), (0.05, 0.6, 1.0)))
    if random.random() < 0.5:
        model.join(fit.toolbox((rear - 0.2, float(random.uniform(-0.3, 0.3)), 0.2), (0.4, 1.3, 0.35), 1))
    for x in (-0.75, -0.32, 0.11, 0.54):  # eight flush lids
        model.add("body", *(box(0.4, 0.46, 0.05, (x, y, top - 0.01)) for y in (-0.27, 0.27)))
        model.add("dark", *(fit.seam((x, y, top + 0.01), (0.41, 0.5, 0.05), 0.03) for y in (-0.27, 0.27)))
    model.join(fit.cupola((0.75, -0.85, top - 0.02), 0.26, 0.16))
    radome = str(random.choice(["light", "light", "body"]))
    width, height = (1.6, 1.55) if mesh_antenna else (1.1, 1.75)
    tilt = float(random.choice([0.0, 0.0, 12.0]))
    panel = Model(cues=["flat tracking panel upright on the turret front"])
    middle = 0.52 + height / 2
    back = [(front - 0.05, y * 0.38, middle + z * 0.38) for y, z in _clipped(width, height)]
    rim = [(front + 0.36, y, middle + z) for y, z in _clipped(width, height)]
    face = [(front + 0.5, y, middle + z) for y, z in _clipped(width, height)]
    panel.add("body", loft([back, rim]), loft([rim, face]))
    inset = [
        (front + depth, y * 0.92, middle + z * 0.92) for depth in (0.49, 0.525) for y, z in _clipped(width, height)
    ]
    panel.add(radome, loft([inset]))
    panel.add("dark", *(fit.seam((front + 0.52, 0, middle), (0.02, width * k, height * k), 0.02) for k in (0.8,)))
    if mesh_antenna:
        panel.add("dark", disc((front + 0.56, 0, middle), 0.17, 0.1, (1, 0, 0)))
        panel.add("light", disc((front + 0.62, 0, middle), 0.11, 0.05, (1, 0, 0)))
    panel.add("body", box(0.5, 0.3, 0.34, (front - 0.02, width / 2 + 0.22, middle - 0.05)))
    panel.add("glass", disc((front + 0.24, width / 2 + 0.22, middle + 0.12), 0.12, 0.03, (1, 0, 0)))
    panel.add("light", disc((front + 0.2, -width / 2 - 0.2, middle + 0.3), 0.13, 0.22, (1, 0, 0)))
    panel.add("dark", tube((front, -width / 2 - 0.2, middle + 0.3), (front + 0.1, 0, middle), 0.05, sections=8))
    model.join(panel.turned(-tilt, (0, 1, 0), (front, 0, 0.7)))
    raised = bool(random.random() < 0.65)
    search = Model(cues=["open mesh search antenna" if mesh_antenna else "flat plate search antenna"])
    if mesh_antenna:
        sheet = Model().add("metal", *curved_antenna((-0.12, 0, 0.4), 1.95, 1.2, 0.12, lattice=True))
        search.join(sheet.turned(-12, (0, 1, 0), (0, 0, 0.4)))
        search.add("body", box(0.12, 1.3, 0.12, (-0.1, 0, 0.36)), box(0.4, 0.3, 0.28, (0.02, 0, 0.2)))
        for y in (-0.4, 0.4):
            search.add("dark", fit.rod([(-0.3, y, 0.95), (-0.1, y * 0.6, 0.45)], 0.03))
        search.add("dark", fit.rod([(0, 0, 0.38), (0.55, 0, 0.36), (0.75, 0, 0.62)], 0.035))
        search.add("dark", box(0.16, 0.42, 0.14, (0.75, 0, 0.58)))
    else:
        search.add(
            "body",
            loft([_slab(-0.16, 0.95, 0.55, 0.42), _slab(-0.06, 0.95, 0.55, 0.42)]).apply_translation((0, 0, 0.55)),
        )
        search.add("body", box(0.1, 1.9, 1.05, (0.02, 0, 0.42)), box(0.45, 0.34, 0.34, (-0.06, 0, 0.2)))
        search.add(radome, box(0.03, 1.78, 0.93, (0.075, 0, 0.48)))
        search.add("dark", *(box(0.035, 1.78, 0.018, (0.078, 0, z)) for z in np.linspace(0.6, 1.3, 6)))
        search.add("body", *(box(0.14, 0.05, 0.95, (-0.09, y, 0.47)) for y in (-0.6, 0.0, 0.6)))
        search.add("body", box(0.1, 0.9, 0.12, (0.0, 0, 1.48)))
        search = search.turned(-6, (0, 1, 0), (0, 0, 0.4))
    search = fit.merged(search)
    search = search.turned(float(random.uniform(0, 360)) if raised else 0.0)
    if not raised:
        search = search.turned(-86, (0, 1, 0), (0, 0, 0.28))
    search.add("body", tube((0, 0, -0.05), (0, 0, 0.16), 0.42, 0.3, sections=18))
    search.add("dark", tube((0, 0, 0.1), (0, 0, 0.42), 0.15))
    model.join(search.moved(x=-1.15, z=top))
    return fit.merged(model), f"search antenna {'up' if raised else 'folded'}"


def tunguska(random: Generator) -> Built:
    """2S6: a big turret, on each side two barrels one above the other and four tubes; a round dish in front."""
    model = Model(cues=["six unevenly spaced road wheels", "flat-roofed tracked hull"])
    model.join(_gm_hull(random, (2.5, 1.6, 0.55, -0.5, -1.7, -2.6), nose=3.8, roof=1.6, break_x=2.4))
    turret = Model(
        cues=["two long barrels one above the other on each side", "four missile tubes outboard on each side"]
    )
    base, top = 1.62, 2.78
    lower = [(1.25, 0.62), (0.95, 0.98), (-1.75, 1.1), (-2.1, 0.85)]
    upper = [(0.75, 0.5), (0.55, 0.72), (-1.7, 0.88), (-1.95, 0.7)]
    outline = [(x, s * y, base + 0.06) for x, y in lower for s in (-1, 1)]
    turret.add("body", loft([outline, [(x, s * y, top) for x, y in upper for s in (-1, 1)]]))
    turret.add("dark", tube((-0.3, 0, base - 0.05), (-0.3, 0, base + 0.1), 1.15, sections=28))
    turret.join(fit.cupola((-0.25, 0.4, top - 0.02), 0.36, 0.24))
    turret.add("body", tube((0.4, -0.42, top - 0.05), (0.4, -0.42, top + 0.24), 0.2, sections=14))
    turret.add("glass", box(0.04, 0.2, 0.14, (0.6, -0.42, top + 0.06)))
    turret.join(fit.hatch((-0.75, -0.45, top), 0.28, opened=bool(random.random() < 0.15)))
    turret.join(fit.grille((-1.98, 0, 2.25), (0.05, 0.8, 0.5), 6))
    for side in (-1, 1):
        turret.join(fit.door((-1.1, side * 0.99, 2.2), (0.7, 0.05, 0.6)))
        turret.add("metal", fit.handrail((-1.5, side * 0.75, top), (-0.8, side * 0.75, top), (0, 0, 0.1)))
    turret.join(fit.whip(random, (-1.8, -0.6, top), float(random.uniform(1.2, 2.2))))
    elevation = float(random.choice([0.0, 0.0, 3.0, 20.0, 35.0]))
    tubes = float(random.choice([0.0, 0.0, 5.0, 20.0]))
    loaded = [int(random.choice([4, 4, 4, 4, 2, 3])) for _ in range(2)]
    trunnion = (-0.1, 0.0, 2.28)
    for side, count in zip((-1, 1), loaded, strict=True):
        y = side * 1.2
        guns = Model().add(
            "body", prism([(-0.85, 2.02), (-0.85, 2.5), (0.9, 2.56), (1.35, 2.45), (1.35, 2.1), (0.9, 1.98)], 0.34, y=y)
        )
        guns.add("dark", fit.seam((0.15, y + side * 0.17, 2.27), (1.2, 0.03, 0.36)))
        guns.add("body", disc((trunnion[0], side * 1.05, trunnion[2]), 0.36, 0.4, (0, 1, 0)))
        for z in (2.16, 2.41):
            guns.add("metal", tube((1.3, y, z), (3.0, y, z), 0.062), tube((3.0, y, z), (3.75, y, z), 0.042))
            guns.add("dark", tube((1.3, y, z), (1.65, y, z), 0.085, 0.07))
            guns.add("dark", tube((3.7, y, z), (3.98, y, z), 0.062))
        for x in (2.05, 3.0, 3.6):
            guns.add("metal", box(0.07, 0.09, 0.4, (x, y, 2.09)))
        guns.add("dark", tube((3.85, y, 2.41), (4.05, y, 2.41), 0.085))
        turret.join(fit.merged(guns).turned(-elevation, (0, 1, 0), trunnion))
        pack = Model().add(
            "body", box(0.9, 0.5, 0.09, (-0.35, side * 1.55, 1.98)), box(0.3, 0.3, 0.2, (-0.35, side * 1.3, 1.9))
        )
        for number in range(count):
            ty, tz = side * (1.48 + 0.22 * (number % 2)), 2.17 + 0.22 * (number // 2)
            pack.add("body", tube((-1.45, ty, tz), (1.2, ty, tz), 0.095))
            pack.add("dark", *(tube((x, ty, tz), (x + 0.05, ty, tz), 0.104) for x in (-1.0, -0.1, 0.8)))
            pack.add("light", tube((1.19, ty, tz), (1.22, ty, tz), 0.085))
        pack.add("dark", *(box(0.05, 0.48, 0.05, (x, side * 1.59, 2.26)) for x in (-0.9, 0.4)))
        turret.join(fit.merged(pack).turned(-tubes, (0, 1, 0), (-0.35, 0, 2.1)))
    radome = str(random.choice(["light", "body"]))
    turret.add(
        "body", box(0.5, 0.5, 0.62, (1.1, 0, 1.98)), *(box(0.5, 0.08, 0.4, (1.2, s * 0.36, 2.08)) for s in (-1, 1))
    )
    dish_axis = (1.0, 0.0, 0.06)
    turret.add("body", tube((1.25, 0, 2.28), (1.62, 0, 2.3), 0.38, 0.58, sections=24))
    turret.add("body", disc((1.68, 0, 2.3), 0.58, 0.14, dish_axis))
    turret.add(radome, tube((1.74, 0, 2.31), (1.84, 0, 2.316), 0.55, 0.42, sections=24))
    raised = bool(random.random() < 0.6)
    search = Model(cues=["round dish in front, broad curved search antenna behind"])
    search.add("body", *curved_antenna((-0.1, 0, 0.22), 2.3, 0.85, 0.28, lattice=False))
    search.add(
        "dark",
        *(
            tube((-0.16 + 0.3 * s * s, 2.1 * s * 0.5, 0.3), (-0.16 + 0.3 * s * s, 2.1 * s * 0.5, 1.0), 0.025)
            for s in (-0.9, -0.4, 0.4, 0.9)
        ),
    )
    search.add(
        "body", fit.rod([(-0.1, 0, 0.28), (0.45, 0, 0.16), (0.7, 0, 0.4)], 0.045), box(0.14, 0.5, 0.14, (0.7, 0, 0.38))
    )
    search.add("body", box(0.3, 1.0, 0.16, (-0.12, 0, 0.16)))
    search = fit.merged(search)
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-92, (0, 1, 0), (0, 0, 0.2))
    search.add("dark", tube((0, 0, -0.15), (0, 0, 0.3), 0.15))
    search.add("body", box(0.45, 0.6, 0.25, (0, 0, -0.2)))
    turret.join(search.moved(x=-1.65, z=top + 0.12))
    turret = fit.merged(turret)
    model.join(turned_turret(turret, random, (-0.3, 0, 0), spread=40))
    return fit.varied(model, random), _guns_and_antenna(elevation, raised)


def gepard(random: Generator) -> Built:
    """Gepard: a Leopard 1 hull, a large turret with one long barrel in a housing on each side, a drum in front."""
    model = Model(cues=["Leopard 1 hull, seven road wheels", "flat engine deck"])
    wheel_xs = np.linspace(2.35, -2.35, 7)
    rear_wheel = (-3.15, 0.74, 0.32)
    model.join(
        tracks(
            wheel_xs,
            radius=0.33,
            gauge=2.7,
            track_width=0.55,
            front=(3.1, 0.74, 0.3),
            rear=rear_wheel,
            return_rollers=(1.6, 0.0, -1.6),
            roller_z=0.97,
        )
    )
    model.join(fit.road_wheel_faces(wheel_xs, radius=0.33, gauge=2.7, track_width=0.55, sprocket=rear_wheel))
    glacis = ((1.7, 1.5), (3.45, 1.0))
    model.add("body", prism([(-3.55, 0.75), (-3.4, 1.45), (1.6, 1.5), (3.45, 1.0), (3.0, 0.5), (-3.1, 0.45)], 2.1))
    model.add(
        "body",
        prism([(-3.4, 1.18), (-3.4, 1.42), (1.7, 1.5), (3.3, 1.05), (3.2, 1.02), (1.7, 1.2)], 3.28, top_width=2.9),
    )
    model.join(fit.track_guards(-3.4, 3.2, 1.63, 1.2, 0.5))
    if random.random() < 0.4:
        model.add(
            "body",
            *(box(0.96, 0.04, 0.46, (x, side * 1.64, 0.7)) for side in (-1, 1) for x in np.linspace(-2.6, 2.4, 6)),
        )
    model.join(fit.hatch((2.0, -0.55, 1.38), 0.3, viewers=0, opened=bool(random.random() < 0.12)))
    model.add("glass", *(box(0.08, 0.18, 0.07, (2.4, -0.55 + dy, 1.36)) for dy in (-0.22, 0.0, 0.22)))
    model.add(
        "body", fit.slope_plate(fit.between(*glacis, 0.25), fit.between(*glacis, 0.62), 0.25, 1.0, 0.16)
    )  # auxiliary engine
    model.add("dark", tube((1.2, 1.5, 1.33), (-1.3, 1.5, 1.33), 0.07, sections=10))  # its exhaust
    for side in (-1, 1):
        model.add("dark", box(0.08, 0.1, 0.2, (3.06, side * 1.12, 1.0)))
        model.join(fit.lamp((3.12, side * 1.12, 1.21), 0.09, guard=True))
        model.join(fit.grille((-2.7, side * 1.44, 1.34), (1.1, 0.3, 0.12), 5))
        model.join(fit.toolbox((-0.9 - 0.4 * side, side * 1.46, 1.38), (0.95, 0.26, 0.2), side))
    for x in (-3.0, -2.45, -1.95):
        model.join(fit.grille((x, 0, 1.46), (0.4, 1.7, 0.04), 4))
    model.join(_hull_ends(random, front=(3.42, 0.85), rear=(-3.5, 0.85), y=0.75, deck_rear=-3.45))
    turret = Model(cues=["one long barrel in a housing outside each side", "round drum between the guns"])
    base, top = 1.5, 2.62
    lower = [(1.2, 0.7), (0.95, 0.98), (-1.5, 1.05), (-2.0, 0.85)]
    upper = [(0.6, 0.6), (0.45, 0.78), (-1.45, 0.88), (-1.8, 0.72)]
    turret.add(
        "body",
        loft([[(x, s * y, z) for x, y in plan for s in (-1, 1)] for plan, z in ((lower, base + 0.08), (upper, top))]),
    )
    turret.add("dark", tube((-0.2, 0, base - 0.06), (-0.2, 0, base + 0.12), 1.1, sections=28))
    turret.join(fit.cupola((-0.45, 0.0, top - 0.02), 0.44, 0.2))
    for y in (-0.42, 0.42):  # the two panoramic sights
        turret.add(
            "body",
            tube((0.32, y, top - 0.1), (0.32, y, top + 0.2), 0.1, sections=10),
            box(0.22, 0.22, 0.2, (0.34, y, top + 0.18)),
        )
        turret.add("glass", box(0.03, 0.16, 0.12, (0.455, y, top + 0.22)))
    turret.join(fit.grille((-1.9, 0, 2.1), (0.06, 1.0, 0.55), 6))
    elevation = float(random.choice([0.0, 0.0, 0.0, 4.0, 15.0, 30.0]))
    trunnion = (-0.15, 0.0, 2.1)
    for side in (-1, 1):
        y = side * 1.32
        guns = Model().add(
            "body",
            prism([(-1.1, 1.85), (-1.1, 2.35), (0.55, 2.42), (1.05, 2.25), (1.05, 1.95), (0.5, 1.8)], 0.42, y=y),
        )
        guns.add("body", disc((trunnion[0], side * 1.2, trunnion[2]), 0.46, 0.5, (0, 1, 0)))
        guns.add("dark", disc((trunnion[0], side * 1.46, trunnion[2]), 0.2, 0.04, (0, 1, 0)))
        guns.add("dark", fit.seam((-0.75, y + side * 0.21, 2.1), (0.5, 0.03, 0.36)))
        guns.add("body", tube((1.0, y, 2.1), (1.6, y, 2.1), 0.12, 0.09))
        guns.add("metal", tube((1.5, y, 2.1), (2.6, y, 2.1), 0.07), tube((2.6, y, 2.1), (3.75, y, 2.1), 0.05))
        guns.add("dark", tube((3.6, y, 2.1), (3.82, y, 2.1), 0.065), box(0.26, 0.17, 0.19, (3.95, y, 2.0)))
        turret.join(fit.merged(guns).turned(-elevation, (0, 1, 0), trunnion))
        turret.join(fit.smoke_launchers((0.55, side * 1.02, 1.78), side, 4))
        turret.add("metal", fit.handrail((-1.5, side * 0.82, top), (-0.9, side * 0.82, top), (0, 0, 0.1)))
    radome = str(random.choice(["body", "body", "light"]))
    turret.add(
        "body", box(0.45, 0.9, 0.5, (0.95, 0, 1.85)), *(box(0.5, 0.08, 0.34, (1.2, s * 0.5, 1.95)) for s in (-1, 1))
    )
    turret.add("body", tube((1.05, 0, 2.1), (1.5, 0, 2.13), 0.56, sections=28))
    turret.add("dark", tube((1.38, 0, 2.12), (1.44, 0, 2.125), 0.575, sections=28))
    turret.add(radome, tube((1.48, 0, 2.13), (1.64, 0, 2.14), 0.54, 0.36, sections=28))
    raised = bool(random.random() < 0.6)
    search = Model(cues=["search antenna on a folding arm at the turret's rear"])
    if random.random() < 0.6:
        search.add("body", *curved_antenna((-0.1, 0, 0.85), 1.9, 0.6, 0.14, lattice=False))
        search.add("body", box(0.12, 1.6, 0.1, (-0.16, 0, 0.8)), fit.rod([(0, 0, 0.8), (0.5, 0, 0.75)], 0.04))
        search.add("dark", box(0.1, 1.1, 0.1, (0.5, 0, 0.72)))
    else:  # Dutch: a plain beam
        search.add("body", box(0.3, 1.95, 0.36, (0, 0, 0.8)))
        search.add("light", box(0.03, 1.85, 0.28, (0.16, 0, 0.84)))
    search.add("body", box(0.34, 0.4, 0.2, (0, 0, 0.64)))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(0.0)
    search.add("body", *(box(0.16, 0.1, 0.95, (0, y, -0.25)) for y in (-0.18, 0.18)), box(0.3, 0.5, 0.2, (0, 0, 0.5)))
    search = fit.merged(search) if raised else fit.merged(search).turned(-97, (0, 1, 0), (0, 0, -0.15))
    turret.join(search.moved(x=-1.85, z=top - 0.05))
    if random.random() < 0.6:
        turret.join(fit.whip(random, (-1.5, 0.7, top), float(random.uniform(1.2, 2.2))))
    turret = fit.merged(turret)
    model.join(turned_turret(turret, random, (-0.2, 0, 0), spread=40))
    return fit.varied(model, random), _guns_and_antenna(elevation, raised)


def strela_10(random: Generator) -> Built:
    """9A35: the low MT-LB carrier, four square ribbed boxes on a frame, a small round dish between them."""
    model = Model(cues=["low flat MT-LB hull with front mudguards", "six equal road wheels, front sprocket"])
    wheel_xs = np.linspace(1.95, -2.35, 6)
    sprocket = (2.75, 0.76, 0.28)
    model.join(tracks(wheel_xs, radius=0.34, gauge=2.5, track_width=0.36, front=sprocket, rear=(-3.0, 0.62, 0.28)))
    model.join(fit.road_wheel_faces(wheel_xs, radius=0.34, gauge=2.5, track_width=0.36, sprocket=sprocket))
    roof = 1.55
    glacis = ((1.75, roof), (3.25, 1.0))
    model.add("body", prism([(-3.3, 0.7), (-3.2, roof), (1.75, roof), (3.25, 1.0), (2.95, 0.5), (-3.0, 0.42)], 2.1))
    model.add(
        "body",
        prism([(-3.25, 1.1), (-3.2, roof - 0.02), (1.75, roof - 0.02), (2.3, 1.34), (1.9, 1.1)], 2.78, top_width=2.6),
    )
    model.join(fit.track_guards(-3.2, 2.75, 1.41, 1.14, 0.4))
    vane = fit.between(*glacis, 0.45), fit.between(*glacis, 0.92)
    model.add("body", fit.slope_plate(*vane, -0.95, 0.95, 0.09))
    for y in (-0.8, -0.4, 0.0, 0.4, 0.8):
        model.add(
            "body", fit.slope_plate(fit.between(*glacis, 0.47), fit.between(*glacis, 0.9), y - 0.03, y + 0.03, 0.15)
        )
    pane = fit.between(*glacis, 0.08), fit.between(*glacis, 0.34)
    for y in (-0.62, 0.62):
        model.add("glass", fit.slope_plate(*pane, y - 0.33, y + 0.33, 0.06))
        model.add(
            "body",
            fit.slope_plate((pane[0][0] - 0.02, pane[0][1] + 0.06), (1.2, roof + 0.14), y - 0.36, y + 0.36, 0.03),
        )
        model.join(fit.hatch((0.95, y, roof), 0.3, opened=bool(random.random() < 0.12)))
    model.add("body", tube((1.35, -0.62, roof), (1.35, -0.62, roof + 0.28), 0.42, 0.34, sections=18))
    if random.random() < 0.5:
        model.add("metal", tube((1.65, -0.62, roof + 0.16), (2.25, -0.62, roof + 0.2), 0.025, sections=8))
    for side in (-1, 1):
        model.add("dark", box(0.08, 0.1, 0.2, (2.56, side * 1.2, 1.12)))
        model.join(fit.lamp((2.62, side * 1.2, 1.3), 0.09, guard=True))
        model.join(fit.grille((0.3, side * 0.8, roof), (0.8, 0.5, 0.05), 5))
        model.join(fit.door((-3.24, side * 0.55, 1.1), (0.06, 0.75, 0.7)))
        model.add("body", box(0.14, 0.6, 0.5, (-3.28, side * 0.55, 0.85)))
        model.join(fit.tools(-1.5, side * 1.3, 1.54))
        if random.random() < 0.5:
            model.join(fit.toolbox((-2.5, side * 1.2, roof - 0.02), (0.9, 0.3, 0.28), side))
    model.join(_hull_ends(random, front=(3.15, 0.8), rear=(-3.25, 0.75), y=0.7, deck_rear=-3.2))
    launcher = Model(cues=["four square-section ribbed containers", "small central round dish"])
    raised = bool(random.random() < 0.65)
    elevation = float(random.choice([0.0, 8.0, 20.0, 40.0])) if raised else 0.0
    lift = 1.45 if raised else 0.34
    loaded = random.random(4) < 0.93
    for side in (-1, 1):
        for number in range(2):
            y = side * (0.52 + 0.37 * number)
            if not loaded[number + (side + 1)]:
                continue
            launcher.add("body", box(2.35, 0.31, 0.33, (0.15, y, lift + 0.05)))
            launcher.add("dark", *(box(0.05, 0.34, 0.36, (x, y, lift + 0.035)) for x in np.linspace(-0.95, 1.25, 7)))
            launcher.add("light", box(0.04, 0.25, 0.27, (1.32, y, lift + 0.08)))
        launcher.add("body", box(1.3, 0.75, 0.08, (0.0, side * 0.7, lift - 0.03)))
    launcher.add(
        "body", box(0.9, 0.44, 0.42, (0.3, 0, lift)), tube((-0.1, -1.0, lift - 0.02), (-0.1, 1.0, lift - 0.02), 0.06)
    )
    launcher.add("light", dish((0.82, 0, lift + 0.38), 0.26, 0.1, (1, 0, 0)))
    launcher.add("dark", tube((0.7, 0, lift + 0.38), (0.96, 0, lift + 0.38), 0.05, sections=10))
    launcher.add("glass", box(0.04, 0.22, 0.12, (0.76, 0, lift + 0.02)))
    launcher = fit.merged(launcher).turned(-elevation, (0, 1, 0), (-0.1, 0, lift))
    if raised:
        for y in (-0.28, 0.28):
            launcher.add(
                "body",
                loft(
                    [
                        [(x, y + d, 0.3) for x in (-0.75, 0.15) for d in (-0.06, 0.06)],
                        [(x, y + d, lift) for x in (-0.28, 0.08) for d in (-0.06, 0.06)],
                    ]
                ),
            )
        launcher.add("metal", tube((-0.6, 0, 0.3), (-0.1, 0, lift - 0.1), 0.05, sections=10))
    launcher.add("body", tube((-0.2, 0, 0), (-0.2, 0, 0.26), 0.75, 0.62, sections=20))
    launcher.add(
        "body",
        loft([[(0.1, y, 0.2), (0.62, y, 0.0), (0.5, y * 0.8, 0.45), (0.1, y * 0.8, 0.45)] for y in (-0.3, 0.3)])
        if raised
        else box(0.4, 0.4, 0.2, (0.2, 0, 0.1)),
    )
    if raised:
        launcher.add("glass", fit.slope_plate((0.61, 0.1), (0.52, 0.4), -0.18, 0.18, 0.05))
    degrees = (
        float(random.choice([0.0, random.uniform(-60, 60), 180.0], p=[0.6, 0.3, 0.1]))
        if raised
        else float(random.choice([0.0, 180.0]))
    )
    model.join(launcher.turned(degrees).moved(x=-1.1, z=roof))
    return fit.varied(model, random), f"launcher {'up' if raised else 'folded'}"


def roland(random: Generator) -> Built:
    """Roland on the Marder hull: a small turret with one tube on an arm on each side, a bar antenna on top."""
    model = Model(cues=["Marder infantry-carrier hull"])
    wheel_xs = np.linspace(2.1, -2.2, 6)
    sprocket = (3.05, 0.8, 0.3)
    model.join(
        tracks(
            wheel_xs,
            radius=0.33,
            gauge=2.7,
            track_width=0.45,
            front=sprocket,
            rear=(-3.1, 0.72, 0.3),
            return_rollers=(1.3, 0.0, -1.4),
            roller_z=0.98,
        )
    )
    model.join(fit.road_wheel_faces(wheel_xs, radius=0.33, gauge=2.7, track_width=0.45, sprocket=sprocket))
    roof = 1.82
    glacis = ((1.15, roof), (3.4, 1.08))
    model.add("body", prism([(-3.4, 0.75), (-3.3, roof), (1.15, roof), (3.4, 1.08), (3.05, 0.5), (-3.2, 0.45)], 2.15))
    model.add("body", prism([(-3.35, 1.18), (-3.25, roof), (1.1, roof), (3.2, 1.14), (3.2, 1.1)], 3.2, top_width=2.35))
    model.join(fit.track_guards(-3.3, 3.2, 1.61, 1.18, 0.5))
    if random.random() < 0.5:
        model.add(
            "body", *(box(1.0, 0.04, 0.42, (x, s * 1.62, 0.75)) for s in (-1, 1) for x in np.linspace(-2.6, 2.0, 5))
        )
    model.add("body", fit.slope_plate(fit.between(*glacis, 0.3), fit.between(*glacis, 0.8), -0.95, 0.1, 0.08))
    model.add("dark", fit.slope_plate(fit.between(*glacis, 0.32), fit.between(*glacis, 0.6), 0.3, 0.95, 0.06))
    for number in range(5):
        share = 0.34 + 0.055 * number
        model.add(
            "body", fit.slope_plate(fit.between(*glacis, share), fit.between(*glacis, share + 0.025), 0.3, 0.95, 0.12)
        )
    model.join(fit.hatch((0.75, 0.6, roof), 0.32, viewers=3, opened=bool(random.random() < 0.12)))
    if random.random() < 0.6:
        model.join(fit.hatch((0.75, -0.6, roof), 0.3))
    for side in (-1, 1):
        model.add("dark", box(0.08, 0.1, 0.25, (3.02, side * 1.15, 1.08)))
        model.join(fit.lamp((3.1, side * 1.15, 1.32), 0.1, guard=True))
        model.add("dark", *(fit.seam((x, side * 1.42, 1.45), (0.7, 0.06, 0.35), 0.02) for x in (-2.5, -1.6)))
        model.join(fit.toolbox((-0.2, side * 1.42, 1.2), (1.1, 0.3, 0.3), side))
    model.add("dark", tube((-1.0, -1.5, 1.35), (-2.8, -1.5, 1.35), 0.08, sections=10))
    model.join(fit.door((-3.34, 0, 1.2), (0.06, 1.5, 0.9)))
    model.join(_hull_ends(random, front=(3.32, 0.82), rear=(-3.38, 0.8), y=0.75, deck_rear=-3.3))
    turret = Model(cues=["exactly two launch tubes, one on an arm each side", "flat-faced tracking antenna in front"])
    turret.add("body", tube((0, 0, roof - 0.03), (0, 0, roof + 0.22), 0.98, 0.9, sections=24))
    turret.add(
        "body",
        loft(
            [
                [
                    (0.6, y, roof + 0.15),
                    (-1.0, y, roof + 0.15),
                    (0.45, y * 0.85, roof + 0.78),
                    (-0.9, y * 0.85, roof + 0.78),
                ]
                for y in (-0.52, 0.52)
            ]
        ),
    )
    turret.join(fit.hatch((-0.15, 0.2, roof + 0.78), 0.24))
    turret.add("body", box(0.24, 0.22, 0.26, (0.3, -0.28, roof + 0.75)))
    turret.add("glass", box(0.03, 0.15, 0.13, (0.43, -0.28, roof + 0.83)))
    elevation = float(random.choice([0.0, 0.0, 4.0, 18.0]))
    height = roof + 0.55
    tubes = random.random(2) < 0.94
    for side, loaded in zip((-1, 1), tubes, strict=True):
        arm = Model().add(
            "body",
            tube((0, side * 0.4, height), (0, side * 1.0, height), 0.15),
            box(0.9, 0.16, 0.26, (0, side * 0.98, height - 0.15)),
        )
        if loaded:
            y = side * 1.22
            arm.add("body", tube((-1.2, y, height), (1.3, y, height), 0.15, sections=22))
            arm.add("body", *(tube((x, y, height), (x + 0.14, y, height), 0.18, sections=22) for x in (-1.25, 1.2)))
            arm.add("dark", *(tube((x, y, height), (x + 0.05, y, height), 0.165, sections=22) for x in (-0.45, 0.45)))
            arm.add("light", tube((1.33, y, height), (1.36, y, height), 0.15, sections=22))
        turret.join(fit.merged(arm).turned(-elevation, (0, 1, 0), (0, 0, height)))
    radome = str(random.choice(["light", "body"]))
    turret.add("body", tube((0.5, 0, roof + 0.62), (0.78, 0, roof + 0.66), 0.3, 0.5, sections=26))
    turret.add("body", disc((0.82, 0, roof + 0.66), 0.5, 0.1, (1, 0, 0)))
    turret.add(radome, disc((0.88, 0, roof + 0.66), 0.46, 0.05, (1, 0, 0)))
    turret.add("dark", disc((0.92, 0, roof + 0.66), 0.08, 0.05, (1, 0, 0)))
    raised = bool(random.random() < 0.65)
    search = Model(cues=["bar-shaped search antenna on top"])
    search.add(
        "body", loft([_slab(-0.14, 0.8, 0.12, 0.13), _slab(0.1, 0.85, 0.18, 0.18)]).apply_translation((0, 0, 0.42))
    )
    search.add(radome, box(0.04, 1.62, 0.3, (0.12, 0, 0.27)))
    search.add("dark", box(0.2, 0.26, 0.2, (-0.1, 0, 0.1)))
    search = search.turned(float(random.uniform(0, 360))) if raised else search.turned(-88, (0, 1, 0), (0, 0, 0.08))
    search.add("dark", tube((0, 0, -0.05), (0, 0, 0.3), 0.1))
    turret.join(search.moved(x=-0.75, z=roof + 0.78))
    if random.random() < 0.5:
        turret.join(fit.whip(random, (-0.85, 0.4, roof + 0.78), float(random.uniform(1.0, 2.0))))
    turret = fit.merged(turret)
    model.join(turned_turret(turret.moved(x=-0.6), random, (-0.6, 0, 0), spread=40))
    return fit.varied(model, random), f"search antenna {'up' if raised else 'folded'}"


def _guns_and_antenna(elevation: float, raised: bool) -> str:
    return f"guns {'raised' if elevation > 10 else 'level'}, search antenna {'up' if raised else 'folded'}"


def _gm_hull(
    random: Generator, wheel_xs: tuple[float, ...] | np.ndarray, *, nose: float, roof: float, break_x: float
) -> Model:
    """The hull that Tor and Tunguska share in its main lines: a long flat roof, a shallow nose, sprockets behind.

    Args:
        random: Of the small options.
        wheel_xs: Where the road wheels stand.
        nose: x of the front edge.
        roof: Height of the roof.
        break_x: Where the roof bends down to the nose.
    """
    sprocket = (-3.35, 0.83, 0.33)
    model = tracks(
        wheel_xs,
        radius=0.35,
        gauge=2.75,
        track_width=0.42,
        front=(3.2, 0.85, 0.3),
        rear=sprocket,
        return_rollers=(1.4, -0.4, -2.0),
        roller_z=1.0,
    )
    model.join(fit.road_wheel_faces(wheel_xs, radius=0.35, gauge=2.75, track_width=0.42, sprocket=sprocket))
    glacis = ((break_x, roof), (nose, 1.12))
    model.add("body", prism([(-3.75, 0.75), (-3.65, roof), glacis[0], glacis[1], (nose - 0.35, 0.6), (-3.4, 0.5)], 2.3))
    sponson = [
        (-3.65, 1.22),
        (-3.65, roof - 0.02),
        (break_x, roof - 0.02),
        (nose - 0.12, 1.16),
        (nose - 0.2, 1.13),
        (2.6, 1.22),
    ]
    model.add("body", prism(sponson, 3.22, top_width=3.05))
    model.join(fit.track_guards(-3.62, nose - 0.25, 1.62, 1.24, 0.5))
    model.join(fit.hatch((break_x - 0.05, 0.75, roof - 0.02), 0.32, viewers=3, opened=bool(random.random() < 0.15)))
    model.add("body", fit.slope_plate(fit.between(*glacis, 0.1), fit.between(*glacis, 0.75), -1.2, -0.2, 0.06))
    model.add("dark", fit.slope_plate(fit.between(*glacis, 0.46), fit.between(*glacis, 0.49), -1.22, -0.18, 0.07))
    for side in (-1, 1):
        x, z = fit.between(*glacis, 0.8)
        model.add("dark", box(0.08, 0.1, 0.16, (x, side * 1.22, z - 0.1)))
        model.join(fit.lamp((x + 0.05, side * 1.22, z + 0.12), 0.1, guard=True))
        model.add("dark", box(0.1, 0.12, 0.1, (x, side * 1.42, z + 0.05)))
        for position in random.permutation(np.arange(-2.9, 1.9, 1.2))[: int(random.integers(2, 4))]:
            model.join(fit.toolbox((float(position) + 0.4, side * 1.62, 1.24), (1.0, 0.1, 0.22), side))
        model.join(fit.grille((-3.0, side * 1.56, 1.37), (0.9, 0.08, 0.18), 4))
    model.join(fit.grille((-3.2, 0.55, roof), (0.7, 0.9, 0.06), 6))
    model.join(fit.grille((-3.2, -0.6, roof), (0.7, 0.8, 0.06), 6))
    model.add("dark", tube((-3.3, -1.62, 1.34), (-3.85, -1.62, 1.34), 0.1, sections=12))
    model.join(fit.tools(1.2, -1.35, roof))
    if random.random() < 0.3:
        model.add("rubber", *(box(6.4, 0.02, 0.24, (-0.1, side * 1.6, 0.95)) for side in (-1, 1)))
    if random.random() < 0.3:
        for x in (-3.3, -2.7):
            model.add("canvas", tube((x, -1.3, roof + 0.14), (x, -0.2, roof + 0.14), 0.12, sections=12))
    model.join(_hull_ends(random, front=(nose - 0.08, 0.9), rear=(-3.68, 0.85), y=0.85, deck_rear=-3.72))
    if random.random() < 0.4:
        model.join(stowage(random, x_from=-2.6, x_to=1.8, y=1.5, z=roof - 0.14))
    return model


def _hull_ends(
    random: Generator, *, front: tuple[float, float], rear: tuple[float, float], y: float, deck_rear: float
) -> Model:
    """Hooks, a tow cable, lamps and what hangs at the rear of a tracked hull."""
    model = fit.tow_gear(front, rear, y)
    model.join(fit.tail_lamps(deck_rear - 0.03, 1.2, rear[1] + 0.3))
    if random.random() < 0.6:
        x, z = front
        cable: list[Point] = [
            (x - 0.02, -y, z + 0.05),
            (x + 0.12, -y * 0.4, z - 0.12),
            (x + 0.12, y * 0.4, z - 0.12),
            (x - 0.02, y, z + 0.05),
        ]
        model.add("metal", fit.rod(cable, 0.025))
    if random.random() < 0.5:
        model.add(
            "canvas",
            tube((deck_rear - 0.14, -0.8, rear[1] + 0.42), (deck_rear - 0.14, 0.8, rear[1] + 0.42), 0.12, sections=12),
        )
    if random.random() < 0.4:
        cans = np.linspace(-0.9, 0.9, int(random.integers(2, 5)))
        for place in cans:
            model.join(fit.jerrycan((deck_rear - 0.18, float(place), rear[1] - 0.1)))
    return fit.merged(model)


def _rounded_plan(front: float, rear: float, half: float, radius: float) -> list[tuple[float, float]]:
    """An oblong seen from above: rounded in front, its corners cut a little behind."""
    points = []
    for degrees in (0, 18, 36, 54, 72, 90):
        angle = math.radians(degrees)
        points.append((front - radius + radius * math.cos(angle), half - radius + radius * math.sin(angle)))
    points += [(rear + 0.2, half), (rear, half - 0.2)]
    return points + [(x, -y) for x, y in points]


def _clipped(width: float, height: float) -> list[tuple[float, float]]:
    """Corners (y, z) of a panel with its corners cut, round the origin."""
    y, z, cut = width / 2, height / 2, min(width, height) * 0.16
    quarter = [(y, z - cut), (y - cut, z)]
    return [(a * s, b * t) for a, b in quarter for s in (-1, 1) for t in (-1, 1)]


def _slab(x: float, half_width: float, lower: float, upper: float) -> list[Point]:
    """An upright rectangle at an x, from below to above z = 0."""
    return [(x, side * half_width, z) for side in (-1, 1) for z in (-lower, upper)]
