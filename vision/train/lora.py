"""Low-rank adapters on a transformer's linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685), by the library peft.

The base weights stay as they are; a product of two small matrices beside each is trained, and in the end added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from vision.config import FinetuneSettings
from vision.errors import ConfigError

_ADAPTED = r"(?:.+\.)?(?:attn\.(?:qkv|q|k|v|proj)|mlp\.(?:fc1|fc2))"
"""Names of timm for the linear layers of a transformer's blocks: attention and the network behind it."""


def adaptable_cuts(stages: Iterable[nn.Module], cuts: Sequence[int], backbone_name: str) -> list[int]:
    """Those of the cuts from which on there is attention to adapt; below the first of it nothing would be trained.

    Args:
        stages: Of the network, as far as it is pooled.
        cuts: Possible first trained stages.
        backbone_name: For the message.

    Raises:
        ConfigError: There is none, as in a ConvNet, or all cuts lie above it.
    """
    adaptable = [position for position, stage in enumerate(stages) if _has_attention(stage)]
    if not adaptable:
        raise ConfigError(
            f"train.strategy: 'lora' adapts attention, and '{backbone_name}' has none; "
            "choose a ViT, DeiT or Swin, or strategy: finetune"
        )
    kept = list(dict.fromkeys(max(cut, adaptable[0]) for cut in cuts if cut <= adaptable[-1]))
    if not kept:
        raise ConfigError(
            f"finetune.from_stage: {min(cuts)} leaves no attention to adapt; choose at most {adaptable[-1]}"
        )
    return kept


def add_adapters(stages: nn.ModuleList, settings: FinetuneSettings, backbone_name: str, *, seed: int) -> None:
    """Freeze the stages and put an adapter beside each linear layer, in place; their outputs stay what they were.

    Raises:
        ConfigError: There is nothing to adapt.
    """
    from peft import LoraConfig, inject_adapter_in_model

    adaptable_cuts(stages, [0], backbone_name)
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=_ADAPTED,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the first of the two matrices; the second starts at 0
        inject_adapter_in_model(config, stages)


def merge_adapters(stages: nn.ModuleList) -> None:
    """Add what adapters learnt to the weights, in place, and remove them; without adapters nothing happens."""
    for name, layer in list(stages.named_modules()):
        adapted: Any = layer
        if hasattr(adapted, "get_base_layer"):  # peft's own mark, so that it need not be installed
            adapted.merge()
            stages.set_submodule(name, adapted.get_base_layer())


def _has_attention(stage: nn.Module) -> bool:
    names = (name for name, layer in stage.named_modules() if isinstance(layer, nn.Linear))
    return any(re.fullmatch(_ADAPTED, name) and "attn." in name for name in names)
