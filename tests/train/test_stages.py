"""Stages of transformers, attention pooling: at the start the network is the probe's, trained it stays one network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from vision.config import BackboneSettings, FinetuneSettings, Layer, Pooling, load_config
from vision.errors import ConfigError
from vision.train.backbones import Backbone, feature_maps, load_backbones
from vision.train.export import ProbedNetwork, check_export, export_onnx
from vision.train.features import FeatureRecipe, pooled
from vision.train.graphs import export_module
from vision.train.probe import LinearProbe
from vision.train.stages import Tail, build_tail, stages_of, tuned_backbone

IMAGES = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TRANSFORMERS = ["test_vit", "test_vit2", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224"]


def network(name: str) -> Backbone:
    return load_backbones(BackboneSettings(name=(name,), weights="none"), input_px=[64])[name]


def recipe(name: str, layer: Layer = "final", pooling: Pooling = "avg") -> FeatureRecipe:
    return FeatureRecipe(name, 64, layer, pooling, False, "pad", 0.1)


def random_probe(size: int) -> LinearProbe:
    generator = np.random.default_rng(0)
    return LinearProbe(np.zeros(size), np.ones(size), generator.standard_normal((3, size)), np.zeros(3))


def frozen_outputs(backbone: Backbone, cut: int) -> torch.Tensor:
    outputs = IMAGES
    with torch.no_grad():
        for stage in stages_of(backbone)[:cut]:
            outputs = stage(outputs)
    return outputs


def tail_of(backbone: Backbone, cut: int, recipe: FeatureRecipe, **settings: bool) -> Tail:
    with torch.no_grad():
        maps = feature_maps(backbone.model, IMAGES)[recipe.layer]
    probe = random_probe(sum(m.shape[1] for m in maps))
    return build_tail(backbone, recipe, cut, probe, FinetuneSettings(**settings), "finetune", seed=0).eval()


@pytest.mark.parametrize("layer", ["final", "stage", "two_stages"])
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_frozen_stages_and_tail_make_the_vectors_of_the_network(name: str, layer: Layer) -> None:
    backbone = network(name)
    tail = tail_of(backbone, 2, recipe(name, layer))
    with torch.no_grad():
        expected = pooled(feature_maps(backbone.model, IMAGES)[layer], "avg")
        torch.testing.assert_close(tail.vectors(frozen_outputs(backbone, 2)), expected)


@pytest.mark.parametrize("name", ["test_vit", pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow)])
def test_frozen_stages_of_a_transformer_and_the_whole_can_be_exported(name: str, tmp_path: Path) -> None:
    backbone = network(name)
    export_module(nn.Sequential(*stages_of(backbone)[:2]), tmp_path / "frozen.onnx", input_px=64, output_names=["out"])
    session = onnxruntime.InferenceSession(str(tmp_path / "frozen.onnx"), providers=["CPUExecutionProvider"])
    exported = torch.from_numpy(session.run(None, {"images": IMAGES.numpy()})[0])
    torch.testing.assert_close(exported, frozen_outputs(backbone, 2), atol=1e-4, rtol=1e-4)
    chosen = replace(recipe(name, "two_stages", "gem"), flip=True, crops=(1.0, 0.8))
    with torch.no_grad():
        size = sum(m.shape[1] for m in feature_maps(backbone.model, IMAGES)["two_stages"])
    whole = ProbedNetwork(backbone, chosen, random_probe(size))
    export_onnx(whole, tmp_path / "model.onnx", input_px=64)
    assert check_export(whole, tmp_path / "model.onnx", IMAGES.numpy()) < 1e-3


def test_a_vision_transformer_is_its_patches_its_blocks_and_its_norm() -> None:
    backbone = network("test_vit")
    first, *blocks, norm = stages_of(backbone)
    assert [*blocks, norm] == [*backbone.model.blocks, backbone.model.norm]
    assert first(IMAGES).shape == (3, 17, 64)
    assert "front.pos_embed" in first.state_dict()
    assert not any("blocks" in name for name in first.state_dict())


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224"])
def test_a_changed_tail_changes_a_copy_of_the_network_only(name: str) -> None:
    backbone = network(name)
    tail = tail_of(backbone, 0, recipe(name))
    with torch.no_grad():
        before = backbone.model(IMAGES)
        for parameter in tail.stages.parameters():
            parameter.mul_(1.1)
        copied = tuned_backbone(backbone, tail, 0)
        torch.testing.assert_close(pooled(feature_maps(copied.model, IMAGES)["final"], "avg"), tail.vectors(IMAGES))
        assert torch.equal(backbone.model(IMAGES), before)


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_attention_pooling_starts_as_the_recipes_mean(pooling: Pooling) -> None:
    backbone = network("resnet10t")
    chosen = recipe("resnet10t", "two_stages", pooling)
    plain, attentive = (tail_of(backbone, 2, chosen, attention_pooling=on) for on in (False, True))
    outputs = frozen_outputs(backbone, 2)
    assert [len(query) for query in attentive.queries] == [256, 512]
    torch.testing.assert_close(attentive(outputs), plain(outputs), atol=1e-4, rtol=1e-5)


def test_queries_are_trained_and_travel_with_the_network(tmp_path: Path) -> None:
    backbone = network("resnet10t")
    chosen = recipe("resnet10t", "two_stages", "gem")
    tail = tail_of(backbone, 2, chosen, attention_pooling=True)
    optimizer = torch.optim.AdamW(tail.parameter_groups(0.1, 0.0, 0.0))
    tail(frozen_outputs(backbone, 2)).square().sum().backward()
    assert all(query.grad.abs().sum() > 0 for query in tail.queries)
    optimizer.step()
    tuned = ProbedNetwork(tuned_backbone(backbone, tail, 2), chosen, tail.probe())
    with torch.no_grad():
        torch.testing.assert_close(tuned(IMAGES)[0], tail(frozen_outputs(backbone, 2)), atol=1e-3, rtol=1e-4)
    export_onnx(tuned, tmp_path / "model.onnx", input_px=64)
    assert check_export(tuned, tmp_path / "model.onnx", IMAGES.numpy()) < 1e-3
    assert {"queries.0", "queries.1"} <= set(tuned.state_dict())


def test_attention_pooling_with_max_is_refused_by_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("{name: run, data: {manifest: m.csv}, features: {pooling: [gem, max]}}")
    with pytest.raises(ConfigError, match=r"attention_pooling weighs a mean; leave 'max' out of features\.pooling"):
        load_config(path, ["finetune.attention_pooling=true"])
