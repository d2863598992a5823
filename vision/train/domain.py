"""Are the pictures near to those that the network was pretrained on, or so far that its features miss what counts?

Radar chips, for instance, look like no photograph: a picture's nearest neighbour pixel by pixel tells more of its class
there than a classifier on frozen features does. That is found out on some training pictures, groups apart, in seconds.

N pictures, G groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vision.config import AugmentationSettings, Config, FeatureSettings, FinetuneSettings
from vision.data.images import decode_image
from vision.data.preprocessing import load_thumbnail
from vision.errors import ConfigError
from vision.evaluate.pixel_neighbours import nearest_by_pixels
from vision.train.backbones import load_backbones
from vision.train.features import FeatureCache, TrainingImage, feature_recipes
from vision.train.folds import group_folds
from vision.train.probe import held_out_logits
from vision.train.training_set import PreparedRun

MIDDLES = (1.0, 0.7, 0.5, 0.35)
"""Shares of a picture's sides that are tried: what is to be told apart may stand in the middle of much clutter."""

MARGIN = 0.1
"""By how much pixels must tell more than features; docs/log.md has the figures of three data sets, -0.25 to 0.34."""

MOST_IMAGES = 400
_STRENGTH = 10.0
_NUM_FOLDS = 4

_FAR_FINETUNE: dict[str, Any] = {
    "from_stage": 0,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "layer_decay": 1.0,
    "ema": 0.9,
    "norm_statistics": True,
    "restart": True,
}
"""What trained best on radar-like chips; docs/log.md has what did not."""


Settings = TypeVar("Settings", FeatureSettings, FinetuneSettings, AugmentationSettings)


@dataclass(frozen=True)
class Diagnosis:
    """What tells some training pictures apart while their groups are held out.

    Attributes:
        by_pixels: Share of pictures whose nearest neighbour of another group is of the same class, by the share of the
            picture's middle that is compared.
        by_features: Share that a probe on the frozen features recognises.
        num_images: N.
        side_px: Median of the pictures' shorter sides.
    """

    by_pixels: Mapping[float, float]
    by_features: float
    num_images: int
    side_px: int

    @property
    def middle(self) -> float:
        """The share of the picture in which pixels tell most; the whole picture if none is better."""
        return max(self.by_pixels, key=lambda share: (self.by_pixels[share], share))

    @property
    def is_far(self) -> bool:
        """Whether frozen features are not enough."""
        return self.by_pixels[self.middle] > self.by_features + MARGIN

    def __str__(self) -> str:
        """One sentence."""
        where = "whole pictures" if self.middle == 1 else f"the middle {self.middle:.0%} of the side"
        return (
            f"of {self.num_images} training pictures the nearest neighbour by pixels of {where} tells the class of "
            f"{self.by_pixels[self.middle]:.0%}, frozen features tell {self.by_features:.0%}"
        )


def diagnose(prepared: PreparedRun, cache_folder: Path) -> Diagnosis | None:
    """Compare pixels and frozen features on some training pictures; None if their groups cannot be held apart."""
    training, seed = prepared.training, prepared.config.seed
    rows = np.sort(np.random.default_rng(seed).permutation(len(training.images))[:MOST_IMAGES])
    images, truth = [training.images[row] for row in rows], training.class_indices[rows]
    names = [training.groups[row] for row in rows]
    folds = group_folds(truth, names, _NUM_FOLDS, seed)
    if not folds:
        return None
    config = prepared.config
    recipe = feature_recipes(config)[0]
    backbones = load_backbones(config.backbone, seed=seed, input_px=config.features.input_px)
    cache = FeatureCache(cache_folder / "features", backbones)
    features = cache.features(images, [recipe], batch_size=config.train.batch_size)[recipe]
    logits, _ = held_out_logits(features, truth, folds, len(prepared.classes), _STRENGTH)
    groups = np.unique(names, return_inverse=True)[1]
    preprocessing = recipe.preprocessing(backbones[recipe.backbone])
    by_pixels = {}
    for share in MIDDLES:
        seen = preprocessing.model_copy(update={"middle": share, "fit": "crop"})
        thumbnails = np.stack([load_thumbnail(image.path, seen, box=image.box) for image in images])
        by_pixels[share] = _neighbour_accuracy(thumbnails, truth, groups)
    by_features = float((logits.argmax(axis=1) == truth).mean())
    return Diagnosis(by_pixels, by_features, len(rows), _side_px(images))


def suited_run(prepared: PreparedRun, cache_folder: Path, *, dry_run: bool = False) -> tuple[PreparedRun, list[str]]:
    """The run with its settings suited to how far its pictures are from pretraining, and what to tell the user.

    Args:
        prepared: The run as configured.
        cache_folder: Where features are kept between runs.
        dry_run: Also look at pictures for a probe, to warn that frozen features are not enough.
    """
    is_tuned, domain = prepared.config.train.strategy == "finetune", prepared.config.finetune.domain
    if domain == "near" or not (is_tuned or dry_run or domain == "far"):
        return prepared, []
    if domain == "far" and prepared.config.train.strategy == "lora":
        raise ConfigError("finetune.domain: 'far' trains whole networks, not lora; set train.strategy to finetune")
    diagnosis = diagnose(prepared, cache_folder)
    if diagnosis is None and domain == "far" and is_tuned:
        raise ConfigError("finetune.domain: 'far' needs groups that can be held apart; give the settings one by one")
    if diagnosis is None or not (diagnosis.is_far or (domain == "far" and is_tuned)):
        return prepared, []
    if not is_tuned:
        return prepared, [f"{diagnosis}: frozen features are not enough here, set train.strategy to finetune"]
    suited = adapted(prepared, diagnosis)
    changed = ", ".join(_changes(prepared.config, suited.config)) or "nothing, as the configuration says it all"
    return suited, [
        f"{diagnosis}: these pictures are far from those that the network was pretrained on; set for them: {changed}; "
        "finetune.domain: near trains as on photographs"
    ]


def adapted(prepared: PreparedRun, diagnosis: Diagnosis) -> PreparedRun:
    """The run with settings for pictures far from pretraining, wherever its configuration leaves them open."""
    config = prepared.config
    shown_px = diagnosis.side_px * diagnosis.middle
    features = {
        "middle": diagnosis.middle,
        "input_px": (min(max(32, 16 * math.ceil(shown_px / 16)), config.features.input_px[0]),),
        "flip": False,
    }
    settings = config.model_copy(
        update={
            "features": _filled_in(config.features, features),
            "finetune": _filled_in(config.finetune, _FAR_FINETUNE),
            "augment": _filled_in(config.augment, {"preset": "light", "flip": False}),
        }
    )
    return replace(prepared, config=settings)


def _filled_in(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with other values where the configuration says nothing."""
    return settings.model_copy(update={k: v for k, v in values.items() if k not in settings.model_fields_set})


def _changes(before: Config, after: Config) -> list[str]:
    """What is set otherwise, as `finetune.restart True`."""
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in ("features", "finetune", "augment")]
    return [
        f"{name}.{key} {new[0] if isinstance(new, tuple) else new}"
        for name, old, settings in pairs
        for key, new in settings
        if getattr(old, key) != new
    ]


def _neighbour_accuracy(thumbnails: NDArray[np.uint8], truth: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """Share of pictures whose most similar picture of another group is of their class."""
    labels, names = truth.astype(np.str_).tolist(), groups.astype(np.str_).tolist()
    nearest = nearest_by_pixels(thumbnails, thumbnails, labels, groups=names, known_groups=names)
    return float(np.mean([found == label for found, label in zip(nearest, labels, strict=True)]))


def _side_px(images: list[TrainingImage]) -> int:
    """Of pictures of which the manifest may not tell the size."""
    sides = [min(decode_image(image.path).size) if image.box is None else min(image.box[2:]) for image in images[:20]]
    return int(np.median(sides))
