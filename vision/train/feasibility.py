"""Whether a run can be done as its settings ask, found out in seconds, before any picture goes through a network.

D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel

from vision.config import Config, Layer
from vision.errors import ConfigError
from vision.train.backbones import Backbone, feature_maps, load_backbones
from vision.train.devices import check_backend, check_devices
from vision.train.features import FeatureRecipe, feature_recipes
from vision.train.lora import adaptable_cuts
from vision.train.probe import LinearProbe
from vision.train.stages import build_tail, stages_of, tap_stages


def check_settings(config: Config) -> None:
    """Make sure that the networks take the settings, and that what fine-tuning asks for is here.

    `plan_run` does so too; this is for what comes before it and takes long.

    Raises:
        ConfigError: The networks do not take the settings, or what they ask for is not here.
        MissingExtraError: A tracker is not installed.
        WeightsError: Weights are missing or do not fit.
        LicenceError: Their licence does not allow the use.
    """
    if config.train.strategy != "probe":
        backbones = load_backbones(config.backbone, seed=config.seed, input_px=config.features.input_px)
        check_tuning(config, backbones, feature_sizes(backbones, feature_recipes(config)))


def check_tuning(config: Config, backbones: Mapping[str, Backbone], sizes: Mapping[FeatureRecipe, int]) -> None:
    """The same for networks that are loaded, each of which cross-validation may pick.

    Args:
        config: Settings of a run that fine-tunes.
        backbones: Its networks.
        sizes: D of its recipes.

    Raises:
        ConfigError: The networks do not take the settings, or what they ask for is not here.
        MissingExtraError: A tracker is not installed.
    """
    settings, strategy = config.finetune, config.train.strategy
    check_devices(config.train.device, config.train.trackers)
    if settings.compile_with:
        check_backend(settings.compile_with)
    for recipe in {(recipe.backbone, recipe.layer): recipe for recipe in sizes}.values():
        backbone = backbones[recipe.backbone]
        stages = stages_of(backbone)
        taps = tap_stages(backbone, stages, recipe.layer)
        cut = min(taps) if settings.from_stage == "auto" else settings.from_stage
        if strategy == "lora":
            cut = adaptable_cuts(stages[: max(taps) + 1], [cut], backbone.name)[0]
        build_tail(backbone, recipe, cut, LinearProbe.blank(sizes[recipe], 2), settings, strategy, seed=config.seed)


@torch.inference_mode()
def feature_sizes(backbones: Mapping[str, Backbone], recipes: Sequence[FeatureRecipe]) -> dict[FeatureRecipe, int]:
    """D of every recipe, which also tells whether each network takes each size of input.

    Raises:
        ConfigError: A network does not.
    """
    maps_of: dict[tuple[str, int], dict[Layer, list[torch.Tensor]]] = {}
    for name, size in {(recipe.backbone, recipe.input_px) for recipe in recipes}:
        try:
            maps_of[name, size] = feature_maps(backbones[name].model, torch.zeros(1, 3, size, size))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"features.input_px: {name} does not take {size} px ({reason}); choose another size"
            ) from error
    return {
        recipe: sum(m.shape[1] for m in maps_of[recipe.backbone, recipe.input_px][recipe.layer]) for recipe in recipes
    }


def unused_settings(config: Config) -> list[str]:
    """What is set though the strategy does not use it: a sentence for each section of the settings."""
    strategy = config.train.strategy
    unused: list[list[str]] = []
    if strategy == "probe":
        unused = [
            _set_otherwise(config.finetune, "finetune", but=("domain",)),
            _set_otherwise(config.train, "train", only=("budget", "device", "trackers")),
            _set_otherwise(config.augment, "augment"),
        ]
    elif strategy == "finetune":
        unused = [_set_otherwise(config.finetune, "finetune", only=("lora_rank", "lora_alpha", "lora_dropout"))]
    return [f"{', '.join(names)}: train.strategy is '{strategy}', which uses none of that" for names in unused if names]


def _set_otherwise(
    settings: BaseModel, section: str, *, only: Sequence[str] | None = None, but: Sequence[str] = ()
) -> list[str]:
    """Dotted names of a section's settings that are not what they are by default: those that say something."""
    return [
        f"{section}.{name}"
        for name, field in type(settings).model_fields.items()
        if (only is None or name in only) and name not in but and getattr(settings, name) != field.default
    ]
