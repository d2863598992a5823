"""A network as a row of stages: the first of them frozen and run once, the rest trained.

N images, D features, K classes; C, h, w the shape that the frozen part hands on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from vision.config import Layer, Pooling
from vision.errors import ConfigError
from vision.train.backbones import Backbone, feature_maps
from vision.train.export import ProbeModule
from vision.train.features import FeatureRecipe, pooled
from vision.train.probe import LinearProbe

_CHECKED_AT_PX = 64
_LEAST_BIAS = -30.0  # of a class without pictures: the probe has -inf, from which nothing can be trained


def stages_of(backbone: Backbone) -> list[nn.Module]:
    """The network's parts in the order in which a picture passes them; run one after another they are the network.

    Raises:
        ConfigError: The network is of a family whose stages cannot be told apart.
    """
    model: Any = backbone.model
    stages: list[nn.Module] = []
    if all(hasattr(model, part) for part in ("conv_stem", "bn1", "blocks", "conv_head", "bn2")):  # EfficientNet
        stages = [nn.Sequential(model.conv_stem, model.bn1), *model.blocks, nn.Sequential(model.conv_head, model.bn2)]
    elif all(hasattr(model, part) for part in ("conv1", "bn1", "act1", "maxpool", "layer4")):  # ResNet
        stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool)
        stages = [stem, model.layer1, model.layer2, model.layer3, model.layer4]
    elif all(hasattr(model, part) for part in ("stem", "s1", "s4", "final_conv")):  # RegNet
        stages = [model.stem, model.s1, model.s2, model.s3, model.s4, model.final_conv]
    elif all(hasattr(model, part) for part in ("stem", "stages", "norm_pre")):  # ConvNeXt
        stages = [model.stem, *model.stages, model.norm_pre]
    if not stages or not _are_the_network(stages, model):
        raise ConfigError(
            f"backbone.name: the stages of '{backbone.name}' cannot be told apart, so it cannot be fine-tuned; "
            "choose an EfficientNet, ResNet, RegNet or ConvNeXt, or strategy: probe"
        )
    return stages


def _are_the_network(stages: Sequence[nn.Module], model: nn.Module) -> bool:
    network: Any = model
    images = _example()
    with torch.inference_mode():
        expected = network.forward_features(images)
    out = _outputs(stages, images)[-1]
    return out.shape == expected.shape and bool(torch.allclose(out, expected, atol=1e-5))


def _example() -> torch.Tensor:
    """Two pictures to tell stages apart by."""
    return torch.linspace(-1, 1, 2 * 3 * _CHECKED_AT_PX**2).reshape(2, 3, _CHECKED_AT_PX, _CHECKED_AT_PX)


@torch.inference_mode()
def _outputs(stages: Sequence[nn.Module], images: torch.Tensor) -> list[torch.Tensor]:
    """What each stage makes of the pictures."""
    outputs = [images]
    for stage in stages:
        outputs.append(stage(outputs[-1]))
    return outputs[1:]


def tap_stages(backbone: Backbone, stages: Sequence[nn.Module], layer: Layer) -> list[int]:
    """Which stages' outputs a choice of `features.layers` pools: their positions, in the order of the maps.

    Raises:
        ConfigError: A map is no stage's output.
    """
    images = _example()
    with torch.inference_mode():
        wanted = feature_maps(backbone.model, images)[layer]
    outputs = _outputs(stages, images)
    taps = []
    for feature_map in wanted:
        equal = [i for i, o in enumerate(outputs) if o.shape == feature_map.shape and torch.allclose(o, feature_map)]
        if not equal:
            raise ConfigError(
                f"features.layers: '{layer}' of '{backbone.name}' is not the output of one stage; choose another layer"
            )
        taps.append(equal[-1])
    return taps


class Tail(ProbeModule):
    """The trained stages, pooling, and the classifier that starts as the fitted probe (LP-FT, arXiv 2202.10054).

    Batch normalisation keeps the statistics that it was pretrained with: a batch of a few look-alikes has none of its
    own that are worth having.
    """

    def __init__(
        self, backbone: Backbone, recipe: FeatureRecipe, from_stage: int, probe: LinearProbe, *, norm_statistics: bool
    ) -> None:
        super().__init__()
        stages = stages_of(backbone)
        taps = tap_stages(backbone, stages, recipe.layer)
        if min(taps) < from_stage:
            raise ConfigError(
                f"finetune.from_stage: {from_stage} would freeze what features.layers '{recipe.layer}' pools; "
                f"choose at most {min(taps)}"
            )
        last = max(taps) + 1
        self.stages = nn.ModuleList(copy.deepcopy(stage) for stage in stages[from_stage:last])
        self.taps = [tap - from_stage for tap in taps]
        self.pooling: Pooling = recipe.pooling
        self.norm_statistics = norm_statistics
        self.take_probe(replace(probe, bias=np.maximum(probe.bias, _LEAST_BIAS)))
        self.requires_grad_(True)

    def train(self, mode: bool = True) -> Tail:
        """Training mode, in which the norms' statistics stay as they are unless asked otherwise."""
        super().train(mode)
        if not self.norm_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def vectors(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the frozen part handed on, (N, C, h, w), as vectors (N, D)."""
        maps: dict[int, torch.Tensor] = {}
        out = inputs
        for position, stage in enumerate(self.stages):
            out = stage(out)
            if position in self.taps:
                maps[position] = out
        return pooled([maps[tap].float() for tap in self.taps], self.pooling)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> logits (N, K)."""
        return self.logits(self.vectors(inputs))

    def logits(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D) -> (N, K)."""
        logits: torch.Tensor = self.classifier((vectors - self.mean) / self.scale)
        return logits

    def probe(self) -> LinearProbe:
        """The classifier as it stands."""
        return LinearProbe(
            self.mean.double().numpy().copy(),
            self.scale.double().numpy().copy(),
            self.classifier.weight.detach().double().numpy().copy(),
            self.classifier.bias.detach().double().numpy().copy(),
        )

    def parameter_groups(self, learning_rate: float, layer_decay: float, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters with a learning rate that falls by `layer_decay` a stage from the classifier down.

        Biases and norms are not decayed.
        """
        groups = []
        depth = len(self.stages)
        for level, module in [*enumerate(self.stages), (depth, self.classifier)]:
            rate = learning_rate * layer_decay ** (depth - level)
            decayed = [p for p in module.parameters() if p.ndim > 1]
            plain = [p for p in module.parameters() if p.ndim <= 1]
            groups.append({"params": decayed, "lr": rate, "weight_decay": weight_decay})
            groups.append({"params": plain, "lr": rate, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]


def tuned_backbone(backbone: Backbone, tail: Tail, from_stage: int) -> Backbone:
    """A copy of the network with the tail's stages in their places."""
    model = copy.deepcopy(backbone.model)
    copied = replace(backbone, model=model)
    for place, trained in zip(stages_of(copied)[from_stage:], tail.stages, strict=False):
        place.load_state_dict(trained.state_dict())
    model.eval().requires_grad_(False)
    return copied
