"""A network as a row of stages: the first of them frozen and run once, the rest trained.

N images, D features, K classes, T tokens. The frozen part hands on maps (N, C, h, w), or tokens (N, T, D).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import nn

from vision.config import FinetuneSettings, Layer, Pooling, Strategy
from vision.errors import ConfigError
from vision.train.backbones import Backbone, feature_maps, map_layout
from vision.train.export import ProbeModule
from vision.train.features import FeatureRecipe, pooled
from vision.train.lora import add_adapters, merge_adapters
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
    elif all(hasattr(model, part) for part in ("patch_embed", "pos_embed", "norm_pre", "blocks", "norm")):  # ViT, DeiT
        stages = [_Tokens(model), *model.blocks, model.norm]
    elif all(hasattr(model, part) for part in ("patch_embed", "layers", "norm")):  # Swin
        stages = [model.patch_embed, *model.layers, model.norm]
    if not stages or not _are_the_network(stages, model):
        raise ConfigError(
            f"backbone.name: the stages of '{backbone.name}' cannot be told apart, so it cannot be fine-tuned; "
            "choose an EfficientNet, ResNet, RegNet, ConvNeXt, ViT, DeiT or Swin, or strategy: probe"
        )
    return stages


class _Tokens(nn.Module):
    """What a vision transformer does before its blocks: tokens of patches with positions, behind those of no place."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # The model itself, parameters shared, with nothing after its first part: each variant has its own way there.
        before = dict(takewhile(lambda part: part[0] != "blocks", model._modules.items()))
        self.front = copy.copy(model)
        self.front.__dict__["_modules"] = {**before, "blocks": nn.Sequential(), "norm": nn.Identity()}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) -> (N, T, D)."""
        front: Any = self.front
        tokens: torch.Tensor = front.forward_features(images)
        return tokens


def _are_the_network(stages: Sequence[nn.Module], model: nn.Module) -> bool:
    network: Any = model
    images = _example(model)
    with torch.inference_mode():
        expected = network.forward_features(images)
    out = _outputs(stages, images)[-1]
    return out.shape == expected.shape and bool(torch.allclose(out, expected, atol=1e-5))


def _example(model: nn.Module) -> torch.Tensor:
    """Two pictures to tell stages apart by, of the size that a transformer is made for."""
    side = getattr(getattr(model, "patch_embed", None), "img_size", (_CHECKED_AT_PX,))[0]
    return torch.linspace(-1, 1, 2 * 3 * side**2).reshape(2, 3, side, side)


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
    layout = map_layout(backbone.model)
    outputs = [layout.as_map(output) for output in _outputs(stages, _example(backbone.model))]
    taps = []
    for feature_map in _tapped_maps(backbone, layer):
        equal = [i for i, o in enumerate(outputs) if o.shape == feature_map.shape and torch.allclose(o, feature_map)]
        if not equal:
            raise ConfigError(
                f"features.layers: '{layer}' of '{backbone.name}' is not the output of one stage; choose another layer"
            )
        taps.append(equal[-1])
    return taps


@torch.inference_mode()
def _tapped_maps(backbone: Backbone, layer: Layer) -> list[torch.Tensor]:
    """The example's maps that a choice of `features.layers` pools."""
    return feature_maps(backbone.model, _example(backbone.model))[layer]


class Tail(ProbeModule):
    """The trained stages, pooling, and the classifier that starts as the fitted probe (LP-FT, arXiv 2202.10054).

    Batch normalisation keeps the statistics that it was pretrained with: a batch of a few look-alikes has none of its
    own that are worth having. Queries of attention pooling start at 0, which is the recipe's own mean.
    """

    def __init__(
        self,
        backbone: Backbone,
        recipe: FeatureRecipe,
        from_stage: int,
        probe: LinearProbe,
        *,
        norm_statistics: bool,
        attention_pooling: bool = False,
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
        self.flip = recipe.flip
        self.layout = map_layout(backbone.model)
        tapped = _tapped_maps(backbone, recipe.layer) if attention_pooling else []
        self.queries = nn.ParameterList(torch.zeros(feature_map.shape[1]) for feature_map in tapped)
        self.norm_statistics = norm_statistics
        self.take_probe(replace(probe, bias=np.maximum(probe.bias, _LEAST_BIAS)))
        self.requires_grad_(True)
        # Whatever was done with the network before: another layout rounds otherwise, and a run would not repeat.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> Tail:
        """Training mode, in which the norms' statistics stay as they are unless asked otherwise."""
        super().train(mode)
        if not self.norm_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def freeze_depthwise(self) -> None:
        """Leave the weights of depthwise convolutions as they are."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                module.weight.requires_grad_(False)

    def vectors(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the frozen part handed on, as vectors (N, D)."""
        maps: dict[int, torch.Tensor] = {}
        out = inputs
        for position, stage in enumerate(self.stages):
            out = stage(out)
            if position in self.taps:
                maps[position] = self.layout.as_map(out).float()
        return pooled([maps[tap] for tap in self.taps], self.pooling, list(self.queries))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the frozen part handed on -> logits (N, K)."""
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

        Biases, norms and queries are not decayed; what adapters keep frozen is left out.
        """
        groups = []
        depth = len(self.stages)
        for level, module in [*enumerate(self.stages), (depth, self.queries), (depth, self.classifier)]:
            rate = learning_rate * layer_decay ** (depth - level)
            trained = [p for p in module.parameters() if p.requires_grad]
            decayed = [p for p in trained if p.ndim > 1]
            plain = [p for p in trained if p.ndim <= 1]
            groups.append({"params": decayed, "lr": rate, "weight_decay": weight_decay})
            groups.append({"params": plain, "lr": rate, "weight_decay": 0.0})
        return [group for group in groups if group["params"]]


def build_tail(
    backbone: Backbone,
    recipe: FeatureRecipe,
    from_stage: int,
    probe: LinearProbe,
    settings: FinetuneSettings,
    strategy: Strategy,
    *,
    seed: int,
) -> Tail:
    """A tail as the settings want it, with adapters for `lora`; whatever they say, it starts as the probe.

    Raises:
        ConfigError: The network, or this part of it, does not go with the settings.
    """
    if settings.cutmix and from_stage > 0 and settings.views != "fresh" and hasattr(backbone.model, "patch_embed"):
        raise ConfigError(
            f"finetune.cutmix: the frozen part of '{backbone.name}' hands on tokens, which have no rectangles; "
            "set finetune.views to fresh, or use mixup"
        )
    tail = Tail(
        backbone,
        recipe,
        from_stage,
        probe,
        norm_statistics=settings.norm_statistics,
        attention_pooling=settings.attention_pooling,
    )
    if settings.freeze_depthwise:
        tail.freeze_depthwise()
    if strategy == "lora":
        add_adapters(tail.stages, settings, backbone.name, seed=seed)
    return tail


def tuned_backbone(backbone: Backbone, tail: Tail, from_stage: int) -> Backbone:
    """A copy of the network with the tail's stages in their places, and its queries; the tail's adapters are merged."""
    merge_adapters(tail.stages)
    model = copy.deepcopy(backbone.model)
    queries = tuple(query.detach().clone() for query in tail.queries)
    copied = replace(backbone, model=model, queries=queries)
    for place, trained in zip(stages_of(copied)[from_stage:], tail.stages, strict=False):
        place.load_state_dict(trained.state_dict())
    model.eval().requires_grad_(False)
    return copied
