"""A vehicle at a place, seen by a camera: the path-traced picture and how it was taken.

Nothing but the vehicle depends on its class: places, light, weather, camera and framing are drawn alike for all. The
lens is chosen so that the vehicle fills a drawn share of the picture, as a photographer would; where the camera stands
is drawn without regard to the vehicle. Lengths in m, angles in degrees unless named otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mitsuba as mi
import numpy as np
import pyoidn
from numpy.typing import NDArray
from PIL import Image

from lookalikes.camera import developed
from lookalikes.common import Generator
from lookalikes.paint import PaintedMesh, painted, smooth_noise
from lookalikes.parts import Model
from lookalikes.surroundings import Coloured, Place, behind, grass, ground_mesh, in_front

Array = NDArray[np.float64]

WEATHER = ("clear", "overcast", "dusk", "haze", "rain", "dust")
_MOST_HIDDEN = {"none": 0.04, "some": 0.3, "much": 0.6}
_FILLED = {"near": (0.78, 1.05), "middle": (0.5, 0.78), "far": (0.28, 0.5)}


@dataclass(frozen=True)
class Shot:
    """How a picture was taken: the slices of the manifest.

    Attributes:
        view: From where round the hull: front, front side, side, rear side or rear.
        camera_height: eye (1.4 to 2 m), raised (2.5 to 4.5 m) or roof (6 to 12 m).
        distance: How much of the picture the vehicle fills: near (78 % or more), middle, far (50 % or less).
        weather: clear, overcast, dusk, haze, rain or dust.
        occlusion: Share of the vehicle's outline behind other things: none (4 % at most), some (30 %), much (60 %).
    """

    view: str
    camera_height: str
    distance: str
    weather: str
    occlusion: str


@dataclass(frozen=True)
class Photograph:
    """A picture and what is known of it.

    Attributes:
        image: 8 bits a channel.
        shot: How it was taken.
        box: The vehicle's outline in the picture: left, top, width, height in px.
        hidden: Share of the outline that other things hide.
    """

    image: Image.Image
    shot: Shot
    box: tuple[int, int, int, int]
    hidden: float


@dataclass(frozen=True)
class _View:
    camera: Array
    aim: Array
    up: list[float]
    field_of_view: float  # horizontal


def photograph(vehicle: Model, place: Place, random: Generator, *, width: int, height: int, samples: int) -> Photograph:
    """A picture of a vehicle at a place.

    Args:
        vehicle: The model.
        place: Where it stands.
        random: Of paint, light, camera and everything else.
        width: px.
        height: px.
        samples: Paths a pixel.
    """
    mesh = painted(vehicle, random)
    vehicle_shape = _vehicle_shape(mesh)
    raised = str(random.choice(["eye", "eye", "eye", "raised", "roof"]))
    far = str(random.choice(["near", "near", "near", "middle", "middle", "far"]))
    weather = str(random.choice(WEATHER, p=[0.42, 0.28, 0.08, 0.08, 0.08, 0.06]))
    blocked = str(random.choice(["none", "none", "some", "much"]))
    place = _turned_place(place, float(random.uniform(0, 2 * math.pi)))
    ground = _ground_shape(place)
    points = mesh.vertices[:: max(1, len(mesh.vertices) // 3000)].astype(np.float64)
    size = float(np.ptp(points[:, :2], axis=0).max())
    while True:
        azimuth, view = _drawn_view(random, place, points, raised, far, height / width)
        num_in_front = {"none": 0, "some": int(random.integers(1, 3)), "much": int(random.integers(2, 5))}[blocked]
        obstacles = in_front(random, place, view.camera, size, float(points[:, 2].max()), num_in_front)
        standing = behind(place, view.camera, room=0.5 * size + 1.5)
        others = _coloured_shape([*standing, *obstacles, *grass(random, place, view.camera)])
        sensor = _sensor(random, view, width, height, samples)
        outline, hidden, depth = _outline(sensor, vehicle_shape, [ground, others])
        least = {"none": -1.0, "some": _MOST_HIDDEN["none"], "much": _MOST_HIDDEN["some"]}[blocked]
        if least < hidden <= _MOST_HIDDEN[blocked]:
            break
    scene = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 4},
        "sensor": sensor,
        **_light(random, weather),
        "vehicle": vehicle_shape,
        "ground": ground,
        "others": others,
    }
    radiance = _denoised(scene)
    distance = float(np.linalg.norm(view.camera))
    image = developed(radiance, depth, random, weather, distance)
    return Photograph(image, Shot(_view_name(azimuth), raised, far, weather, blocked), outline, hidden)


def _denoised(scene: dict[str, Any]) -> Array:
    """The path-traced light, (H, W, 3), with the noise of few paths taken out by Open Image Denoise."""
    noisy = np.asarray(mi.render(mi.load_dict(scene)))[..., :3]
    sampler = {**scene["sensor"]["sampler"], "sample_count": 4}
    guide = {"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"}
    layers = np.asarray(
        mi.render(mi.load_dict({**scene, "integrator": guide, "sensor": {**scene["sensor"], "sampler": sampler}}))
    )[..., -6:]
    clean = pyoidn.denoise(
        np.ascontiguousarray(noisy, dtype=np.float32),
        albedo=np.ascontiguousarray(np.clip(layers[..., :3], 0, 1), dtype=np.float32),
        normal=np.ascontiguousarray(layers[..., 3:], dtype=np.float32),
        hdr=True,
    )
    return np.asarray(clean, dtype=np.float64)


def _drawn_view(
    random: Generator, place: Place, points: Array, raised: str, far: str, height_of_width: float
) -> tuple[float, _View]:
    azimuth = float(random.uniform(0, 360))
    reach = float(np.exp(random.uniform(math.log(10), math.log(50))))
    x, y = reach * math.cos(math.radians(azimuth)), reach * math.sin(math.radians(azimuth))
    eye = {"eye": (1.4, 2.0), "raised": (2.5, 4.5), "roof": (6.0, 12.0)}[raised]
    camera = np.array([x, y, float(place.height_at(x, y)) + float(random.uniform(*eye))])
    towards = points - camera
    angle_up = np.arctan2(towards[:, 2], np.hypot(towards[:, 0], towards[:, 1]))
    angle_aside = np.arctan2(towards[:, 1], towards[:, 0]) - math.atan2(-y, -x)
    angle_aside = (angle_aside + math.pi) % (2 * math.pi) - math.pi
    wide, tall = float(np.ptp(angle_aside)), float(np.ptp(angle_up))
    share = float(random.uniform(*_FILLED[far]))
    field = max(wide, tall / height_of_width) / share  # radians, across the picture
    slack = np.maximum(0, np.array([field - wide, field * height_of_width - tall])) / 2
    aside, up = np.array([angle_aside.max() + angle_aside.min(), angle_up.max() + angle_up.min()]) / 2
    aside, up = np.array([aside, up]) + slack * random.uniform(-0.8, 0.8, 2)
    heading = math.atan2(-y, -x) + aside
    forward = np.array([math.cos(heading) * math.cos(up), math.sin(heading) * math.cos(up), math.sin(up)])
    roll = math.radians(float(random.normal(0, 2.0)))
    upward = [-math.sin(heading) * math.sin(roll), math.cos(heading) * math.sin(roll), math.cos(roll)]
    return azimuth, _View(camera, camera + forward, upward, math.degrees(2 * math.atan(field / 2)))


def _sensor(random: Generator, view: _View, width: int, height: int, samples: int) -> dict[str, Any]:
    return {
        "type": "perspective",
        "fov": view.field_of_view,
        "near_clip": 0.05,
        "to_world": mi.ScalarTransform4f().look_at(view.camera.tolist(), view.aim.tolist(), view.up),
        "film": {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "gaussian"}},
        "sampler": {"type": "independent", "sample_count": samples, "seed": int(random.integers(2**31))},
    }


def _outline(sensor: dict[str, Any], vehicle: Any, others: list[Any]) -> tuple[tuple[int, int, int, int], float, Array]:
    """The vehicle's box in px, the share of its outline that is hidden, and the depth of the whole view in m.

    The same rays are cast with and without the rest of the scene.
    """
    film = {**sensor["film"], "rfilter": {"type": "box"}}
    quick = {**sensor, "film": film, "sampler": {**sensor["sampler"], "sample_count": 1}}
    depths = []
    for shapes in ([vehicle], [vehicle, *others]):
        scene = {"type": "scene", "integrator": {"type": "depth"}, "sensor": quick}
        scene |= {f"shape{number}": shape for number, shape in enumerate(shapes)}
        depths.append(np.asarray(mi.render(mi.load_dict(scene)), dtype=np.float64)[..., 0])
    alone, together = depths
    mask = alone > 0
    if not mask.any():
        return (0, 0, 0, 0), 1.0, together
    hidden = float(np.mean(together[mask] < alone[mask] - 0.02))
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
    return box, hidden, together


def _light(random: Generator, weather: str) -> dict[str, Any]:
    azimuth = float(random.uniform(0, 2 * math.pi))
    if weather in ("clear", "haze", "dusk"):
        elevation = math.radians(float(random.uniform(3, 9) if weather == "dusk" else random.uniform(16, 65)))
        direction = [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
        turbidity = float(random.uniform(2.2, 6) if weather != "haze" else random.uniform(6, 9))
        sun = float(random.uniform(0.35, 1.0))  # thin cloud before the sun
        return {"sky": {"type": "sunsky", "sun_direction": direction, "turbidity": turbidity, "sun_scale": sun}}
    return {
        "sky": {
            "type": "envmap",
            "bitmap": mi.Bitmap(_clouds(random)),
            "to_world": mi.ScalarTransform4f().rotate([1, 0, 0], 90),
        }
    }


def _clouds(random: Generator) -> NDArray[np.float32]:
    """An overcast sky, lighter overhead and towards the hidden sun: (128, 256, 3)."""
    rows, columns = 128, 256
    pattern = sum(
        weight * smooth_noise(random, rows, cell, 1.0) for cell, weight in ((0.25, 0.5), (0.1, 0.3), (0.04, 0.2))
    )
    pattern = np.concatenate([pattern, np.asarray(pattern)[:, ::-1]], axis=1)  # no seam where the ends meet
    up = np.cos(np.linspace(0, math.pi, rows))[:, None]
    towards = np.linspace(-math.pi, math.pi, columns)[None, :] - random.uniform(-math.pi, math.pi)
    glow = np.exp(2 * (np.cos(towards) - 1))
    brightness = np.clip(0.55 + 0.5 * np.maximum(up, 0) + 0.35 * glow + 0.12 * np.asarray(pattern), 0.05, 3)
    tint = np.array([0.95, 0.98, 1.03]) * (1 + random.normal(0, 0.02, 3))
    return np.asarray(brightness[..., None] * tint, dtype=np.float32)


def _turned_place(place: Place, angle: float) -> Place:
    """The same place, turned about the vehicle's stand, so that views of it differ."""
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    waves = place.waves.copy()
    waves[:, 1] += angle
    things = []
    for thing in place.things:
        x, y, _ = matrix @ np.array([thing.x, thing.y, 0])
        shape = Coloured(thing.shape.triangles @ matrix.T, thing.shape.colours)
        things.append(type(thing)(float(x), float(y), thing.reach, shape))
    return Place(place.kind, waves, place.ground_colours, tuple(things), place.leaf)


def _vehicle_shape(mesh: PaintedMesh) -> Any:
    bsdf = {
        "type": "twosided",
        "nested": {
            "type": "principled",
            "base_color": {"type": "bitmap", "bitmap": mi.Bitmap(mesh.reflectance), "raw": True, "wrap_mode": "clamp"},
            "roughness": {"type": "bitmap", "bitmap": mi.Bitmap(mesh.roughness), "raw": True, "wrap_mode": "clamp"},
            "specular": 0.4,
        },
    }
    return _shape("vehicle", mesh.vertices, mesh.faces, bsdf, texture_coordinates=mesh.texture_coordinates)


def _ground_shape(place: Place) -> Any:
    vertices, faces, coordinates = ground_mesh(place)
    texture = {"type": "bitmap", "bitmap": mi.Bitmap(place.ground_colours), "raw": True}
    return _shape("ground", vertices, faces, _diffuse(texture), texture_coordinates=coordinates)


def _coloured_shape(shapes: list[Coloured]) -> Any:
    nothing = Coloured(np.full((1, 3, 3), -50.0), np.zeros((1, 3)))  # under the ground: a mesh may not be empty
    triangles = np.concatenate([shape.triangles for shape in [nothing, *shapes]])
    colours = np.concatenate([shape.colours for shape in [nothing, *shapes]])
    faces = np.arange(3 * len(triangles), dtype=np.uint32).reshape(-1, 3)
    bsdf = _diffuse({"type": "mesh_attribute", "name": "face_color"})
    return _shape("others", triangles.reshape(-1, 3), faces, bsdf, face_colours=colours)


def _diffuse(reflectance: dict[str, Any]) -> dict[str, Any]:
    return {"type": "twosided", "nested": {"type": "diffuse", "reflectance": reflectance}}


def _shape(
    name: str,
    vertices: NDArray[Any],
    faces: NDArray[np.uint32],
    bsdf: dict[str, Any],
    *,
    texture_coordinates: NDArray[Any] | None = None,
    face_colours: Array | None = None,
) -> Any:
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(bsdf)
    properties["face_normals"] = True
    has_texture = texture_coordinates is not None
    mesh = mi.Mesh(name, len(vertices), len(faces), has_vertex_texcoords=has_texture, props=properties)
    if face_colours is not None:
        mesh.add_attribute("face_color", 3, face_colours.astype(np.float32).ravel())
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = vertices.astype(np.float32).ravel()
    parameters["faces"] = faces.ravel()
    if texture_coordinates is not None:
        parameters["vertex_texcoords"] = texture_coordinates.astype(np.float32).ravel()
    parameters.update()
    return mesh


def _view_name(azimuth: float) -> str:
    off_front = abs((azimuth + 180) % 360 - 180)
    limits = ((25, "front"), (65, "front side"), (115, "side"), (155, "rear side"), (181, "rear"))
    return next(name for limit, name in limits if off_front <= limit)
