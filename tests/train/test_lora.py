"""Adapters: they start as nothing, train alone, and end as plain weights that need no library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from vision.config import BackboneSettings, FinetuneSettings
from vision.errors import ConfigError
from vision.train.backbones import Backbone, load_backbones
from vision.train.export import ProbedNetwork, check_export, export_onnx
from vision.train.features import FeatureRecipe
from vision.train.lora import adaptable_cuts, add_adapters, merge_adapters
from vision.train.probe import LinearProbe
from vision.train.stages import Tail, build_tail, stages_of, tuned_backbone

RECIPE = FeatureRecipe("test_vit", 64, "final", "avg", False, "pad", 0.1)
CUT = 3
SETTINGS = FinetuneSettings(lora_rank=4, attention_pooling=True)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbones(BackboneSettings(name=("test_vit",), weights="none"), input_px=[64])["test_vit"]


@pytest.fixture
def tail(backbone: Backbone) -> Tail:
    return build_tail(backbone, RECIPE, CUT, random_probe(), SETTINGS, "lora", seed=0).eval()


def random_probe() -> LinearProbe:
    generator = np.random.default_rng(0)
    return LinearProbe(np.zeros(64), np.ones(64), generator.standard_normal((3, 64)), np.zeros(3))


def frozen_outputs(backbone: Backbone) -> torch.Tensor:
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for stage in stages_of(backbone)[:CUT]:
            images = stage(images)
    return images


def train(tail: Tail, tokens: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(tail.parameter_groups(0.01, 1.0, 0.0))
    tail.train()
    for _ in range(5):
        optimizer.zero_grad()
        functional.cross_entropy(tail(tokens), torch.arange(6) % 3).backward()
        optimizer.step()
    tail.eval()


def test_with_adapters_the_tail_starts_as_the_probe(backbone: Backbone, tail: Tail) -> None:
    plain = Tail(backbone, RECIPE, CUT, random_probe(), norm_statistics=False).eval()
    tokens = frozen_outputs(backbone)
    torch.testing.assert_close(tail(tokens), plain(tokens), atol=1e-5, rtol=1e-5)


def test_only_adapters_queries_and_classifier_are_trained(backbone: Backbone, tail: Tail) -> None:
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    train(tail, frozen_outputs(backbone))
    changed = {name for name, value in tail.state_dict().items() if not torch.equal(value, before[name])}
    trained = {name for name in before if "lora_" in name or name.startswith(("queries.", "classifier."))}
    assert changed == trained
    assert len(changed) > 20


def test_merged_weights_give_the_same_logits_without_the_library(backbone: Backbone, tail: Tail) -> None:
    tokens = frozen_outputs(backbone)
    started = tail(tokens)
    train(tail, tokens)
    trained = tail(tokens)
    merge_adapters(tail.stages)
    torch.testing.assert_close(tail(tokens), trained, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(started, trained, atol=1e-2)
    assert not any("lora_" in name or "base_layer" in name for name in tail.state_dict())


def test_the_exported_graph_is_the_merged_network(backbone: Backbone, tail: Tail, tmp_path: Path) -> None:
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    train(tail, frozen_outputs(backbone))
    expected = tail(frozen_outputs(backbone))
    network = ProbedNetwork(tuned_backbone(backbone, tail, CUT), RECIPE, tail.probe())
    torch.testing.assert_close(network(images)[0], expected, atol=1e-4, rtol=1e-4)
    export_onnx(network, tmp_path / "model.onnx", input_px=64)
    assert check_export(network, tmp_path / "model.onnx", images.numpy()) < 1e-4


def test_the_same_seed_gives_the_same_adapters_whatever_was_drawn_before(backbone: Backbone) -> None:
    def adapters(seed: int) -> torch.Tensor:
        torch.rand(3)
        tail = build_tail(backbone, RECIPE, CUT, random_probe(), SETTINGS, "lora", seed=seed)
        return torch.cat([value.flatten() for name, value in tail.state_dict().items() if "lora_A" in name])

    assert torch.equal(adapters(1), adapters(1))
    assert not torch.equal(adapters(1), adapters(2))


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext"])
def test_a_network_without_attention_is_refused(name: str) -> None:
    network = load_backbones(BackboneSettings(name=(name,), weights="none"))[name]
    with pytest.raises(ConfigError, match=f"'lora' adapts attention, and '{name}' has none.*strategy: finetune"):
        add_adapters(torch.nn.ModuleList(stages_of(network)), SETTINGS, name, seed=0)


def test_cuts_without_attention_to_adapt_are_left_out(backbone: Backbone) -> None:
    stages = stages_of(backbone)
    last = len(stages) - 2  # the last stage is the norm
    assert adaptable_cuts(stages, range(last + 1, -1, -1), "test_vit") == list(range(last, 0, -1))
    with pytest.raises(ConfigError, match=f"from_stage: {last + 1} leaves no attention.*at most {last}"):
        adaptable_cuts(stages, [last + 1], "test_vit")


@pytest.mark.slow
def test_the_library_is_loaded_only_for_adapters_and_warns_of_nothing() -> None:
    code = "import sys, vision.train.lora; assert 'peft' not in sys.modules; import peft"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
