"""What several vehicles share: a turret that turns, stowage on the ledges, thin plates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalikes.parts import Mesh, Model, box, loft, tube

Generator = np.random.Generator
Built = tuple[Model, str]


def turned_turret(turret: Model, random: Generator, about: tuple[float, float, float], spread: float = 50) -> Model:
    """A turret mostly forward, at times turned to a side."""
    degrees = float(random.normal(0, 6)) if random.random() < 0.65 else float(random.uniform(-spread, spread))
    return turret.turned(degrees, (0, 0, 1), about)


def stowage(random: Generator, *, x_from: float, x_to: float, y: float, z: float) -> Model:
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


def plate(corners: Sequence[tuple[float, float, float]], thickness: float = 0.03) -> Mesh:
    """A thin plate over some corners, of about the given thickness in m."""
    shifted = [(x + thickness, y + thickness, z + thickness) for x, y, z in corners]
    return loft([corners, shifted])
