"""A scene round a vehicle, and its photograph: sky, ground, things in front, lens, weather, camera.

Everything is drawn from one generator; nothing but the vehicle depends on its class. Lengths in m, angles in degrees.
"""

from __future__ import annotations

import io
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mitsuba as mi
import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lookalikes.parts import Mesh, Model, box, tube

mi.set_variant("scalar_rgb")
mi.set_log_level(mi.LogLevel.Error)

Generator = np.random.Generator
Colour = tuple[float, float, float]

_CAMOUFLAGE: dict[str, tuple[Colour, Colour, Colour]] = {
    "green": ((0.10, 0.13, 0.06), (0.10, 0.13, 0.06), (0.10, 0.13, 0.06)),
    "olive": ((0.14, 0.14, 0.08), (0.14, 0.14, 0.08), (0.14, 0.14, 0.08)),
    "sand": ((0.34, 0.28, 0.18), (0.34, 0.28, 0.18), (0.30, 0.25, 0.16)),
    "three colours": ((0.12, 0.15, 0.07), (0.20, 0.16, 0.09), (0.03, 0.03, 0.03)),
    "green and sand": ((0.12, 0.15, 0.07), (0.32, 0.27, 0.17), (0.12, 0.15, 0.07)),
    "grey": ((0.17, 0.18, 0.18), (0.17, 0.18, 0.18), (0.28, 0.29, 0.29)),
}
_FIXED: dict[str, Colour] = {
    "dark": (0.025, 0.025, 0.025),
    "rubber": (0.03, 0.03, 0.03),
    "metal": (0.05, 0.05, 0.055),
    "glass": (0.015, 0.02, 0.025),
    "canvas": (0.17, 0.15, 0.09),
}
_GROUNDS: dict[str, tuple[Colour, Colour]] = {
    "grass": ((0.10, 0.14, 0.05), (0.17, 0.18, 0.08)),
    "soil": ((0.20, 0.15, 0.10), (0.28, 0.22, 0.15)),
    "sand": ((0.42, 0.35, 0.24), (0.36, 0.29, 0.20)),
    "asphalt": ((0.10, 0.10, 0.10), (0.14, 0.14, 0.14)),
    "concrete": ((0.34, 0.33, 0.31), (0.27, 0.27, 0.25)),
    "snow": ((0.75, 0.77, 0.80), (0.55, 0.55, 0.55)),
}


@dataclass(frozen=True)
class Shot:
    """How a picture was taken: the slices of the manifest.

    Attributes:
        view: front, front side, side, rear side or rear.
        height: eye, raised or roof.
        distance: near, middle or far.
        weather: clear, overcast, dusk, haze or rain.
        occlusion: Share of the vehicle's outline behind other things, in steps: none, some, much.
    """

    view: str
    height: str
    distance: str
    weather: str
    occlusion: str


def photograph(vehicle: Model, random: Generator, *, width: int, height: int, samples: int) -> tuple[Image.Image, Shot]:
    """A picture of a vehicle in a scene drawn at random, and how it was taken."""
    azimuth = float(random.uniform(0, 360))
    raised = str(random.choice(["eye", "eye", "raised", "roof"]))
    far = str(random.choice(["near", "middle", "middle", "far"]))
    weather = str(random.choice(["clear", "clear", "overcast", "dusk", "haze", "rain"]))
    blocked = str(random.choice(["none", "none", "some", "much"]))
    extent = np.concatenate([mesh.vertices for _, mesh in vehicle.parts])
    size = float(np.ptp(extent, axis=0).max())
    share = {"near": (0.75, 1.0), "middle": (0.45, 0.75), "far": (0.25, 0.45)}[far]
    lens = float(random.uniform(10, 45))  # horizontal field of view
    distance = size / float(random.uniform(*share)) / (2 * math.tan(math.radians(lens / 2)))
    eye = {"eye": (1.4, 2.0), "raised": (2.5, 4.5), "roof": (6.0, 12.0)}[raised]
    camera_z = float(random.uniform(*eye)) * (1 if raised != "roof" else max(1.0, distance / 30))
    camera = np.array(
        [distance * math.cos(math.radians(azimuth)), distance * math.sin(math.radians(azimuth)), camera_z]
    )
    middle = (extent.min(axis=0) + extent.max(axis=0)) / 2
    aim = middle + random.normal(0, 0.06, 3) * size * np.array([1, 1, 0.5])
    with tempfile.TemporaryDirectory() as folder:
        scene: dict[str, Any] = {"type": "scene"}
        depth = "depth:depth"
        scene["integrator"] = {"type": "aov", "aovs": depth, "img": {"type": "path", "max_depth": 5}}
        scene["sensor"] = _sensor(random, camera, aim, lens, width, height, samples)
        scene |= _light(random, weather)
        scene["ground"] = _ground(random, Path(folder))
        scene |= _shapes("vehicle", _painted(vehicle, random), Path(folder))
        scene |= _shapes("others", _surroundings(random, camera, aim, size, blocked), Path(folder))
        layers = np.array(mi.render(mi.load_dict(scene)))
    picture = _developed(layers[..., :3], layers[..., -1], random, weather, distance)
    return picture, Shot(_view_name(azimuth), raised, far, weather, blocked)


def compressed(picture: Image.Image, random: Generator) -> bytes:
    """The picture as a JPEG of a quality drawn at random."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(random.integers(62, 93)))
    return stream.getvalue()


def _sensor(
    random: Generator,
    camera: NDArray[np.float64],
    aim: NDArray[np.float64],
    lens: float,
    width: int,
    height: int,
    samples: int,
) -> dict[str, Any]:
    roll = math.radians(float(random.normal(0, 2.0)))
    up = [
        math.sin(roll) * -math.sin(math.atan2(camera[1], camera[0])),
        math.sin(roll) * math.cos(math.atan2(camera[1], camera[0])),
        math.cos(roll),
    ]
    return {
        "type": "perspective",
        "fov": lens,
        "to_world": mi.ScalarTransform4f().look_at(camera.tolist(), aim.tolist(), up),
        "film": {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "gaussian"}},
        "sampler": {"type": "independent", "sample_count": samples, "seed": int(random.integers(2**31))},
    }


def _light(random: Generator, weather: str) -> dict[str, Any]:
    azimuth = float(random.uniform(0, 2 * math.pi))
    if weather in ("clear", "haze", "dusk"):
        elevation = math.radians(float(random.uniform(4, 10) if weather == "dusk" else random.uniform(18, 65)))
        direction = [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
        turbidity = float(random.uniform(2.5, 5) if weather != "haze" else random.uniform(6, 9))
        return {"sky": {"type": "sunsky", "sun_direction": direction, "turbidity": turbidity, "sun_scale": 1.0}}
    grey = float(random.uniform(0.5, 1.0))
    return {
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [grey * 0.94, grey * 0.97, grey * 1.02]}},
        "glow": {
            "type": "directional",
            "direction": [math.cos(azimuth), math.sin(azimuth), -2.5],
            "irradiance": {"type": "rgb", "value": [0.3 * grey] * 3},
        },
    }


def _ground(random: Generator, folder: Path) -> Any:
    """A plain with low relief, its colour in patches of two, at two scales."""
    first, second = _GROUNDS[str(random.choice(list(_GROUNDS)))]
    side, num = 3000.0, 160
    axis = np.sign(np.linspace(-1, 1, num)) * np.abs(np.linspace(-1, 1, num)) ** 4 * side  # fine near the vehicle
    xs, ys = np.meshgrid(axis, axis)
    relief = _noise(random, xs, ys, 9.0) * 0.9 + _noise(random, xs, ys, 2.5) * 0.12
    distance = np.hypot(xs, ys)
    zs = relief * np.clip((distance - 5) / 25, 0, 1) - 0.01
    vertices = np.stack([xs, ys, zs], axis=-1).reshape(-1, 3)
    index = np.arange(num * num).reshape(num, num)
    a, b, c, d = (index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel())
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    mesh = Mesh(vertices, faces, process=False)
    centres = mesh.triangles_center
    blend = np.clip(
        0.5
        + _noise(random, centres[:, 0], centres[:, 1], 4.0)
        + 0.5 * _noise(random, centres[:, 0], centres[:, 1], 0.7),
        0,
        1,
    )
    colours = np.outer(1 - blend, first) + np.outer(blend, second)
    return _mesh(mesh, colours, folder / "ground.ply")


def _noise(random: Generator, xs: NDArray[np.float64], ys: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Smooth noise in about [-0.5, 0.5]: waves of random directions."""
    total = np.zeros_like(xs)
    for _ in range(9):
        angle, phase = random.uniform(0, 2 * math.pi, 2)
        length = scale * random.uniform(0.6, 1.8)
        total += np.sin((xs * math.cos(angle) + ys * math.sin(angle)) / length + phase)
    return total / 9


def _painted(vehicle: Model, random: Generator) -> list[tuple[Mesh, NDArray[np.float64]]]:
    """The vehicle's meshes in small faces with a colour each: paint in patches, wear, dirt from below."""
    scheme = _CAMOUFLAGE[str(random.choice(list(_CAMOUFLAGE)))]
    tint = random.uniform(0.8, 1.25, 3) * random.uniform(0.85, 1.2)
    light = (
        np.array([0.42, 0.43, 0.40]) * random.uniform(0.5, 1.1) if random.random() < 0.5 else np.array(scheme[0]) * 1.5
    )
    dirt, dirt_height = np.array([0.22, 0.17, 0.11]), float(random.uniform(0.3, 1.6))
    dirtiness = float(random.uniform(0.0, 0.9))
    scale = float(random.uniform(0.5, 1.1))
    waves = [(random.normal(0, 1, 3), random.uniform(0, 6.3)) for _ in range(8)]

    def patches(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum(np.sin(points @ direction / scale + phase) for direction, phase in waves) / math.sqrt(8)

    painted = []
    for paint, mesh in vehicle.parts:
        fine = mesh
        if paint in ("body", "light"):
            vertices, faces = trimesh.remesh.subdivide_to_size(mesh.vertices, mesh.faces, max_edge=0.35, max_iter=8)
            fine = Mesh(vertices, faces, process=False)
        centres = fine.triangles_center
        if paint == "body":
            value = patches(centres)
            colours = np.array(scheme)[np.digitize(value, [-0.35, 0.75])] * tint
        elif paint == "light":
            colours = np.tile(light, (len(centres), 1))
        else:
            colours = np.tile(_FIXED[paint], (len(centres), 1))
        colours = colours * random.normal(1, 0.05, (len(colours), 1))
        amount = dirtiness * np.exp(-np.maximum(centres[:, 2], 0) / dirt_height)[:, None]
        if paint != "glass":
            colours = (1 - amount) * colours + amount * dirt
        painted.append((fine, np.clip(colours, 0.005, 0.95)))
    return painted


def _surroundings(
    random: Generator, camera: NDArray[np.float64], aim: NDArray[np.float64], size: float, blocked: str
) -> list[tuple[Mesh, NDArray[np.float64]]]:
    """Trees, walls, poles and boxes behind the vehicle, and as many in front as `blocked` says."""
    things: list[tuple[Mesh, NDArray[np.float64]]] = []
    to_camera = camera[:2] / np.linalg.norm(camera[:2])
    across = np.array([-to_camera[1], to_camera[0]])
    for _ in range(int(random.integers(2, 14))):
        place = -to_camera * random.uniform(1.2, 6) * size + across * random.uniform(-3.5, 3.5) * size
        things += _thing(random, place, random.uniform(2.0, 9.0))
    num_in_front = {"none": 0, "some": 1, "much": 3}[blocked]
    reach = max(0.62 * size, 2.0)
    room = max(np.linalg.norm(camera[:2]) - 2.0, reach + 0.5)
    for _ in range(num_in_front):
        along = random.uniform(reach, min(room, 2.0 * size))
        narrowing = 1 - along / np.linalg.norm(camera[:2])
        place = to_camera * along + across * random.uniform(-0.45, 0.45) * size * max(narrowing, 0.2)
        tall = random.uniform(0.35, 0.9) * aim[2] * 2 * max(narrowing, 0.3)
        things += _thing(random, place, max(tall, 0.4), slim=True)
    return things


def _thing(
    random: Generator, place: NDArray[np.float64], tall: float, *, slim: bool = False
) -> list[tuple[Mesh, NDArray[np.float64]]]:
    x, y = float(place[0]), float(place[1])
    kind = str(
        random.choice(
            ["tree", "tree", "pole", "person", "bush"] if slim else ["tree", "tree", "wall", "pole", "box", "bush"]
        )
    )
    if kind in ("tree", "bush"):
        leaf = np.array([0.05, 0.09, 0.03]) * random.uniform(0.6, 2.0) + random.uniform(0, 0.03, 3)
        parts = []
        if kind == "tree":
            parts.append(_plain(tube((x, y, -0.5), (x, y, tall * 0.6), 0.03 * tall), (0.10, 0.07, 0.05)))
        for _ in range(6 if kind == "tree" else 3):
            ball = trimesh.creation.icosphere(subdivisions=2, radius=tall * random.uniform(0.14, 0.26))
            ball.vertices *= 1 + random.normal(0, 0.09, (len(ball.vertices), 1))
            lift = tall * random.uniform(0.45, 0.95) if kind == "tree" else tall * random.uniform(0.1, 0.3)
            ball.apply_translation((x + random.normal(0, 0.15) * tall, y + random.normal(0, 0.15) * tall, lift))
            parts.append(_plain(ball, leaf * random.uniform(0.7, 1.3)))
        return parts
    if kind == "pole":
        return [_plain(tube((x, y, -0.3), (x, y, tall * 1.3), 0.09), (0.2, 0.19, 0.17))]
    if kind == "person":
        cloth = random.uniform(0.03, 0.3, 3)
        return [
            _plain(tube((x, y, 0), (x, y, 1.45), 0.22, 0.16), cloth),
            _plain(box(0.2, 0.2, 0.26, (x, y, 1.5)), (0.3, 0.2, 0.15)),
        ]
    extent = (0.4, tall * random.uniform(1, 3)) if kind == "wall" else (random.uniform(2, 6), random.uniform(1.8, 2.6))
    mesh = box(float(extent[0]), float(extent[1]), tall * 0.6, (0, 0, -0.3))
    mesh.apply_transform(trimesh.transformations.rotation_matrix(random.uniform(0, math.pi), (0, 0, 1)))
    mesh.apply_translation((x, y, 0))
    return [_plain(mesh, random.uniform(0.08, 0.45) * random.uniform(0.8, 1.15, 3))]


def _plain(mesh: Mesh, colour: Any) -> tuple[Mesh, NDArray[np.float64]]:
    return mesh, np.tile(np.asarray(colour, dtype=float), (len(mesh.faces), 1))


def _shapes(name: str, coloured: list[tuple[Mesh, NDArray[np.float64]]], folder: Path) -> dict[str, Any]:
    """All meshes as one shape with a colour on each face."""
    if not coloured:
        return {}
    joined = trimesh.util.concatenate([mesh for mesh, _ in coloured])
    return {name: _mesh(joined, np.concatenate([colours for _, colours in coloured]), folder / f"{name}.ply")}


def _mesh(mesh: Mesh, colours: NDArray[np.float64], path: Path) -> Any:
    mesh.export(path)
    bsdf = {
        "type": "twosided",
        "b": {"type": "diffuse", "reflectance": {"type": "mesh_attribute", "name": "face_color"}},
    }
    shape = mi.load_dict({"type": "ply", "filename": str(path), "face_normals": True, "bsdf": bsdf})
    shape.add_attribute("face_color", 3, colours.astype(np.float32).ravel())
    return shape


def _developed(
    radiance: NDArray[np.float32], depth: NDArray[np.float32], random: Generator, weather: str, distance: float
) -> Image.Image:
    """Haze, exposure, tone, blur, noise: from light to a camera's 8 bits."""
    light = np.asarray(radiance, dtype=np.float64)
    if weather in ("haze", "rain"):
        seen = np.where(depth > 0, depth, 10 * distance)
        reach = distance * random.uniform(2, 8)
        haze = np.percentile(light, 92) * np.array([0.95, 0.98, 1.0])
        veil = 1 - np.exp(-seen / reach)[..., None]
        light = (1 - veil) * light + veil * haze
    exposure = random.uniform(0.75, 1.3) / max(np.percentile(light.mean(axis=-1), 75), 1e-6) * 0.42
    balance = 1 + random.normal(0, 0.03, 3)
    toned = 1 - np.exp(-1.15 * light * exposure * balance)
    values = np.clip(toned, 0, 1) ** (1 / 2.2)
    if weather == "rain":
        values = values + 0.07 * _streaks(random, values.shape[:2])[..., None]
    picture = Image.fromarray((values * 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(float(random.choice([0, 0, 0.4, 0.8])))
    )
    noisy = np.asarray(picture, dtype=np.float64) + random.normal(0, random.uniform(0.5, 5), values.shape)
    if random.random() < 0.08:
        noisy = np.repeat(noisy.mean(axis=-1, keepdims=True), 3, axis=-1)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _streaks(random: Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    drops = (random.random(shape) > 0.996).astype(np.float64)
    streaks = sum(np.roll(drops, shift, axis=0) for shift in range(9))
    return np.clip(streaks, 0, 1)


def _view_name(azimuth: float) -> str:
    off_front = abs((azimuth + 180) % 360 - 180)
    limits = ((25, "front"), (65, "front side"), (115, "side"), (155, "rear side"), (181, "rear"))
    return next(name for limit, name in limits if off_front <= limit)
