"""Other views of a training picture: turned, cropped, hidden in part, in other weather, through a worse camera.

Look-alike vehicles differ in small cues, so every kind stops where a person would still name the vehicle. What is done
to a view follows from (seed, picture, view) and nothing else: no worker, no epoch and no clock has a say in it.

Importing this module loads neither torch nor OpenCV nor albumentations, so that `vision.config` may. H, W are the
sides of a picture in px.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision.config import AugmentationSettings, Preset

GREY = (127, 127, 127)
"""What lies outside the picture, as under transparent parts in `vision.data.images`. All three channels are written
out: OpenCV would take one number for the first and fill the others with 0, which is red."""

# The furthest that each kind goes, at strength 1; chosen by looking at sheets of `vision.train.preview`.
MAX_TURN_DEG = 12.0
MAX_SHEAR_DEG = 8.0
MAX_PERSPECTIVE = 0.08  # corners move by this share of the side, as a standard deviation
MAX_LOST_AREA = 0.4
MAX_ZOOM_OUT = 0.35
MAX_HOLES = 4
MAX_HOLE_SIDE = 0.25
MAX_FOG = 0.7
MAX_SHADOW = 0.7
MAX_BLUR = 0.015  # radius, as share of the shorter side
MAX_NOISE = 0.08  # standard deviation, as share of white
MAX_LOST_RESOLUTION = 0.65
MIN_JPEG_QUALITY = 12
MAX_LIGHT_CHANGE = 0.35  # brightness and contrast
MAX_SATURATION_CHANGE = 0.5
MAX_HUE_CHANGE = 0.04  # of the colour circle: 14 degrees

# How often a kind is seen, at any strength above 0. Crops and colours always are, so that no two views are equal.
VIEWPOINT_CHANCE = 0.7
OCCLUSION_CHANCE = 0.5
WEATHER_CHANCE = 0.6
BLUR_CHANCE = 0.5

MIN_SIDE_PX = 8
"""A picture with a shorter side is left as it is: nothing is to be recognised there, and albumentations
fails on single rows of pixels."""


class _Strengths(NamedTuple):
    viewpoint: float = 0.0
    scale: float = 0.0
    occlusion: float = 0.0
    weather: float = 0.0
    blur: float = 0.0
    camera: float = 0.0
    colour: float = 0.0
    greyscale: float = 0.0
    flip: bool = False


_PRESETS: dict[Preset, _Strengths] = {
    "none": _Strengths(),
    "light": _Strengths(scale=0.3, colour=0.3, flip=True),
    "standard": _Strengths(viewpoint=0.5, scale=0.6, occlusion=0.5, blur=0.4, camera=0.4, colour=0.5, flip=True),
    "field": _Strengths(
        viewpoint=0.7,
        scale=0.8,
        occlusion=0.7,
        weather=0.7,
        blur=0.7,
        camera=0.9,
        colour=0.7,
        greyscale=0.15,
        flip=True,
    ),
}


def augmented(
    image: NDArray[np.uint8], settings: AugmentationSettings, *, seed: int, picture: str, view: int
) -> NDArray[np.uint8]:
    """One view of a picture; the same arguments give the same view in every process.

    Args:
        image: (H, W, 3), as the network is to see it.
        settings: What is varied, and how strongly.
        seed: The run's.
        picture: SHA-256 of the picture's file: views of two pictures are independent.
        view: 0 is the picture itself; a number that differs in every epoch gives views that never repeat.

    Returns:
        (H, W, 3), an array of its own.
    """
    assert image.dtype == np.uint8, image.dtype
    assert image.ndim == 3, image.shape
    assert image.shape[2] == 3, image.shape
    untouched = image.copy()
    strengths = _strengths(settings)
    if view == 0 or not any(strengths) or min(image.shape[:2]) < MIN_SIDE_PX:
        return untouched
    pipeline = _pipeline(strengths, *image.shape[:2], threading.get_ident())
    # Compose(seed=...) would start every step on the same number: what is mirrored would also be hidden and blurred.
    # Generators that all steps share let each draw its own.
    digest = hashlib.sha256(f"{seed}\n{picture}\n{view}".encode()).digest()
    pipeline.set_random_state(
        np.random.default_rng(int.from_bytes(digest[:16])), random.Random(int.from_bytes(digest[16:]))
    )
    result: NDArray[np.uint8] = np.ascontiguousarray(pipeline(image=untouched)["image"])  # (H, W, 3)
    return result


def describe(settings: AugmentationSettings) -> list[str]:
    """What is done to a training picture, one line for each kind that is on, in the order in which it is done."""
    s = _strengths(settings)
    lines = {
        "flip": (s.flip, "half of the views are mirrored left to right"),
        "viewpoint": (
            s.viewpoint,
            f"{VIEWPOINT_CHANCE:.0%} are turned by up to {MAX_TURN_DEG * s.viewpoint:.0f}° and sheared by up to "
            f"{MAX_SHEAR_DEG * s.viewpoint:.0f}°, half of all seen in another perspective",
        ),
        "scale": (
            s.scale,
            f"all are crops of at least {1 - MAX_LOST_AREA * s.scale:.0%} of the area, or are made smaller by up to "
            f"{MAX_ZOOM_OUT * s.scale:.0%} on grey",
        ),
        "occlusion": (
            s.occlusion,
            f"{OCCLUSION_CHANCE:.0%} have up to {_num_holes(s.occlusion)} boxes, with sides up to "
            f"{MAX_HOLE_SIDE * s.occlusion:.0%} of the picture's, hidden under grey, a colour or noise",
        ),
        "weather": (
            s.weather,
            f"{WEATHER_CHANCE:.0%} have fog (up to {MAX_FOG * s.weather:.0%}), rain, glare of the sun, or shadows (up "
            f"to {MAX_SHADOW * s.weather:.0%} darker)",
        ),
        "colour": (
            s.colour,
            f"all change brightness and contrast by up to {MAX_LIGHT_CHANGE * s.colour:.0%}, saturation by up to "
            f"{MAX_SATURATION_CHANGE * s.colour:.0%}, hue by up to {360 * MAX_HUE_CHANGE * s.colour:.0f}°, half of "
            "them gamma",
        ),
        "greyscale": (s.greyscale, f"{s.greyscale:.0%} lose their colours"),
        "blur": (
            s.blur,
            f"{BLUR_CHANCE:.0%} are blurred, with a radius of up to {MAX_BLUR * s.blur:.1%} of the shorter side",
        ),
        "camera": (
            s.camera,
            f"lower resolution (down to {1 - MAX_LOST_RESOLUTION * s.camera:.0%}), noise (up to "
            f"{MAX_NOISE * s.camera:.1%}) and JPEG (quality from {_jpeg_quality(s.camera)}), each in about half",
        ),
    }
    return [f"{kind}: {words}" for kind, (strength, words) in lines.items() if strength] or ["nothing is varied"]


def _strengths(settings: AugmentationSettings) -> _Strengths:
    """The preset's strengths with the user's on top."""
    return _PRESETS[settings.preset]._replace(**settings.model_dump(exclude={"preset"}, exclude_none=True))


@cache
def _albumentations() -> Any:
    # At import it would ask PyPI for a newer version of itself.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations
    import cv2

    # OpenCV's threads do not survive the fork of a data loader's worker, and workers fill the cores anyway.
    cv2.setNumThreads(0)
    return albumentations


@lru_cache(maxsize=64)
def _pipeline(strengths: _Strengths, height: int, width: int, thread: int) -> Any:
    """The steps, built once for each thread, as their generators are set for each picture; building takes as long."""
    return _albumentations().Compose(_transforms(strengths, height, width))


def _transforms(strengths: _Strengths, height: int, width: int) -> list[Any]:
    """The steps for a picture of this size, in the order of the world: vehicle, scene, light, lens, sensor, file."""
    albumentations = _albumentations()
    shorter = min(height, width)
    steps: list[Any] = []
    if strengths.flip:
        steps.append(albumentations.HorizontalFlip(p=0.5))
    if strengths.viewpoint:
        steps += _viewpoint(strengths.viewpoint)
    if strengths.scale:
        steps.append(_scale(strengths.scale, height, width))
    if strengths.occlusion:
        steps.append(_occlusion(strengths.occlusion))
    if strengths.weather:
        steps.append(_weather(strengths.weather, shorter))
    if strengths.colour:
        steps += _colour(strengths.colour)
    if strengths.greyscale:
        steps.append(albumentations.ToGray(p=strengths.greyscale))
    if strengths.blur:
        steps.append(_blur(strengths.blur, shorter))
    if strengths.camera:
        steps += _camera(strengths.camera)
    return steps


def _viewpoint(strength: float) -> list[Any]:
    import cv2

    turn, shear = MAX_TURN_DEG * strength, MAX_SHEAR_DEG * strength
    outside = {"border_mode": cv2.BORDER_CONSTANT, "fill": GREY, "interpolation": cv2.INTER_CUBIC}
    return [
        _albumentations().Affine(
            rotate=(-turn, turn),
            shear={"x": (-shear, shear), "y": (-shear / 2, shear / 2)},
            p=VIEWPOINT_CHANCE,
            **outside,
        ),
        # `fit_output` keeps the corners in the picture, so that only `scale` crops.
        _albumentations().Perspective(scale=(0, MAX_PERSPECTIVE * strength), fit_output=True, p=0.5, **outside),
    ]


def _scale(strength: float, height: int, width: int) -> Any:
    import cv2

    smallest = 1 - MAX_ZOOM_OUT * strength
    stretch = 1 + 0.15 * strength
    crop = _albumentations().RandomResizedCrop(
        (height, width),
        scale=(1 - MAX_LOST_AREA * strength, 1),
        ratio=(width / height / stretch, width / height * stretch),
        interpolation=cv2.INTER_CUBIC,
        area_for_downscale=None,
        p=1,
    )
    smaller = _albumentations().Affine(
        scale=(smallest, 1),
        keep_ratio=True,
        interpolation=cv2.INTER_AREA,
        border_mode=cv2.BORDER_CONSTANT,
        fill=GREY,
        p=0.5,
    )
    return _albumentations().OneOf([crop, smaller], p=1)  # two crops for one made smaller


def _occlusion(strength: float) -> Any:
    side = MAX_HOLE_SIDE * strength
    boxes = [
        _albumentations().CoarseDropout(
            num_holes_range=(1, _num_holes(strength)),
            hole_height_range=(side / 3, side),
            hole_width_range=(side / 3, side),
            fill=fill,
            p=1,
        )
        for fill in (GREY, "random_uniform", "random")
    ]
    return _albumentations().OneOf(boxes, p=OCCLUSION_CHANCE)


def _num_holes(strength: float) -> int:
    return max(1, round(MAX_HOLES * strength))


def _weather(strength: float, shorter: int) -> Any:
    albumentations = _albumentations()
    veil, dark = MAX_FOG * strength, MAX_SHADOW * strength
    # RandomFog blurs until the vehicle is gone, and RandomShadow draws stars with sharp edges; clouds of noise look
    # like what they stand for.
    fog = albumentations.PlasmaBrightnessContrast(
        brightness_range=(0.3 * veil, veil), contrast_range=(-veil, -0.5 * veil), roughness=0.3, p=1
    )
    shadow = albumentations.PlasmaShadow(shadow_intensity_range=(0.5 * dark, dark), roughness=0.3, p=1)
    rain = albumentations.RandomRain(
        slant_range=(-15, 15),
        drop_length=max(2, shorter // 25),
        drop_width=max(1, shorter // 300),
        drop_color=(180, 180, 180),
        blur_value=max(1, shorter // 150),
        brightness_coefficient=1 - 0.2 * strength,
        p=1,
    )
    sun = albumentations.RandomSunFlare(
        flare_roi=(0, 0, 1, 0.4),
        src_radius=max(2, round(0.4 * strength * shorter)),
        num_flare_circles_range=(1, 3),
        method="physics_based",
        p=1,
    )
    return albumentations.OneOf([fog, rain, sun, shadow], p=WEATHER_CHANCE)


def _colour(strength: float) -> list[Any]:
    light = MAX_LIGHT_CHANGE * strength
    return [
        _albumentations().ColorJitter(
            brightness=(1 - light, 1 + light),
            contrast=(1 - light, 1 + light),
            saturation=(1 - MAX_SATURATION_CHANGE * strength, 1 + MAX_SATURATION_CHANGE * strength),
            hue=(-MAX_HUE_CHANGE * strength, MAX_HUE_CHANGE * strength),
            p=1,
        ),
        _albumentations().RandomGamma(gamma_limit=(100 - 35 * strength, 100 + 50 * strength), p=0.5),
    ]


def _blur(strength: float, shorter: int) -> Any:
    albumentations = _albumentations()
    radius = MAX_BLUR * strength * shorter
    return albumentations.OneOf(
        [
            albumentations.MotionBlur(blur_limit=(3, 3 + 2 * round(radius)), p=1),
            albumentations.Defocus(radius=(1, max(1, round(radius))), alias_blur=(0.1, 0.3), p=1),
            albumentations.GaussianBlur(sigma_limit=(radius / 4, radius / 2), blur_limit=0, p=1),
        ],
        p=BLUR_CHANCE,
    )


def _camera(strength: float) -> list[Any]:
    import cv2

    albumentations = _albumentations()
    return [
        albumentations.Downscale(
            scale_range=(1 - MAX_LOST_RESOLUTION * strength, 1 - 0.2 * strength),
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR},
            p=0.5,
        ),
        albumentations.GaussNoise(std_range=(0.2 * MAX_NOISE * strength, MAX_NOISE * strength), p=0.4),
        albumentations.ImageCompression(quality_range=(_jpeg_quality(strength), 90), p=0.6),
    ]


def _jpeg_quality(strength: float) -> int:
    return round(90 - (90 - MIN_JPEG_QUALITY) * strength)
