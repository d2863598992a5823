"""Features: computed once, the same in any order, and the choices mean what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vision.config import BackboneSettings, load_config
from vision.errors import ConfigError, ManifestError
from vision.files import sha256_of_file
from vision.train import features as features_module
from vision.train.backbones import Backbone, load_backbones
from vision.train.export import ProbedNetwork, check_export, export_onnx
from vision.train.features import FeatureCache, FeatureRecipe, TrainingImage, looks_at, pooled, vectors_of
from vision.train.probe import LinearProbe

RECIPE = FeatureRecipe("resnet10t", 64, "stage", "avg", False, "pad", 0.1)


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    return load_backbones(BackboneSettings(name=("resnet10t",), weights="none"))


@pytest.fixture
def images(tmp_path: Path) -> list[TrainingImage]:
    generator = np.random.default_rng(0)
    found = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(generator.integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
        found.append(TrainingImage(path, sha256_of_file(path)))
    return found


def test_a_second_run_computes_nothing_again(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FeatureCache(tmp_path / "cache", backbones).features(images, [RECIPE], batch_size=2)[RECIPE]

    def forbidden(*_: object) -> None:
        raise AssertionError("the network ran again")

    monkeypatch.setattr(features_module, "_averaged", forbidden)
    cache = FeatureCache(tmp_path / "cache", backbones)
    assert cache.num_missing(images, [RECIPE]) == 0
    np.testing.assert_array_equal(cache.features(images[::-1], [RECIPE], batch_size=2)[RECIPE], first[::-1])


def test_an_interrupted_run_computes_only_what_is_missing(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage]
) -> None:
    cache = FeatureCache(tmp_path / "cache", backbones)
    cache.features(images[:3], [RECIPE], batch_size=2)
    assert cache.num_missing(images, [RECIPE]) == 2


@pytest.mark.parametrize(
    "other",
    [
        FeatureRecipe("resnet10t", 96, "stage", "avg", False, "pad", 0.1),
        FeatureRecipe("resnet10t", 64, "stage", "gem", False, "pad", 0.1),
        FeatureRecipe("resnet10t", 64, "two_stages", "avg", False, "pad", 0.1),
        FeatureRecipe("resnet10t", 64, "stage", "avg", True, "pad", 0.1),
        FeatureRecipe("resnet10t", 64, "stage", "avg", False, "squash", 0.1),
        FeatureRecipe("resnet10t", 64, "stage", "avg", False, "pad", 0.1, (1.0, 0.8)),
    ],
)
def test_another_recipe_finds_nothing_in_the_cache_and_gives_other_vectors(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage], other: FeatureRecipe
) -> None:
    cache = FeatureCache(tmp_path / "cache", backbones)
    first = cache.features(images, [RECIPE], batch_size=5)[RECIPE]
    assert cache.num_missing(images, [other]) == 5
    second = cache.features(images, [other], batch_size=5)[other]
    assert first.shape != second.shape or not np.allclose(first, second)


def test_a_box_is_cropped_and_cached_apart(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage]
) -> None:
    boxed = TrainingImage(images[0].path, images[0].sha256, box=(5, 5, 20, 20))
    cache = FeatureCache(tmp_path / "cache", backbones)
    whole, part = cache.features([images[0], boxed], [RECIPE], batch_size=2)[RECIPE]
    assert not np.allclose(whole, part)


def test_margins_of_boxes_are_told_apart(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage]
) -> None:
    boxed = TrainingImage(images[0].path, images[0].sha256, box=(15, 15, 10, 10))
    recipes = [FeatureRecipe("resnet10t", 64, "stage", "avg", False, "pad", margin) for margin in (0.0, 1.0)]
    found = FeatureCache(tmp_path / "cache", backbones).features([boxed], recipes, batch_size=2)
    assert not np.allclose(found[recipes[0]], found[recipes[1]])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY and nothing more"])
def test_a_damaged_file_of_the_cache_is_computed_anew(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage], content: bytes
) -> None:
    cache = FeatureCache(tmp_path / "cache", backbones)
    first = cache.features(images, [RECIPE], batch_size=2)[RECIPE]
    next((tmp_path / "cache").rglob("*.npy")).write_bytes(content)
    assert cache.num_missing(images, [RECIPE]) == 1
    np.testing.assert_allclose(cache.features(images, [RECIPE], batch_size=2)[RECIPE], first, rtol=1e-4)


@pytest.fixture
def graphs_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "GRAPH_PAYS_FROM", 1)


BOTH = [replace(RECIPE, flip=True, crops=(1.0, 0.8)), replace(RECIPE, flip=True, crops=(1.0, 0.8), layer="two_stages")]


def test_many_pictures_get_in_onnxruntime_the_vectors_of_eager_torch(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "cache", backbones)
    eager = cache.features(images, BOTH, batch_size=2)
    monkeypatch.setattr(features_module, "GRAPH_PAYS_FROM", 4 * len(images))
    assert cache.num_missing(images, BOTH) == len(images), "cached apart"
    graph = cache.features(images, BOTH, batch_size=2)
    for recipe in BOTH:
        np.testing.assert_allclose(graph[recipe], eager[recipe], rtol=1e-3, atol=1e-4)
        assert not np.array_equal(graph[recipe], eager[recipe]), "the graph has run"


@pytest.mark.usefixtures("graphs_for_all")
def test_a_graph_is_exported_once_and_anew_if_it_was_damaged(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FeatureCache(tmp_path, backbones).features(images[:3], [RECIPE], batch_size=2)[RECIPE]
    (graph,) = (tmp_path / "graphs").iterdir()
    exported = graph.read_bytes()
    graph.write_bytes(exported[: len(exported) // 2])
    FeatureCache(tmp_path, backbones).features(images, [RECIPE], batch_size=2)
    assert graph.read_bytes() == exported
    monkeypatch.setattr("vision.train.graphs.export_module", None)
    next(tmp_path.rglob("*.npy")).unlink()
    again = FeatureCache(tmp_path, backbones).features(images[:3], [RECIPE], batch_size=2)[RECIPE]
    np.testing.assert_allclose(again, first, rtol=1e-4)


@pytest.mark.parametrize("passes_for_a_graph", [1, 1000])
def test_the_time_a_picture_is_measured_on_what_will_run(
    tmp_path: Path, backbones: dict[str, Backbone], monkeypatch: pytest.MonkeyPatch, passes_for_a_graph: int
) -> None:
    monkeypatch.setattr(features_module, "GRAPH_PAYS_FROM", passes_for_a_graph)
    assert FeatureCache(tmp_path, backbones).seconds_per_image([RECIPE], 10) > 0
    assert len(list(tmp_path.rglob("*.onnx"))) == (1 if passes_for_a_graph == 1 else 0)


def test_all_broken_pictures_are_named_at_once(
    tmp_path: Path, backbones: dict[str, Backbone], images: list[TrainingImage]
) -> None:
    broken = []
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no picture")
        broken.append(TrainingImage(tmp_path / name, name))
    with pytest.raises(ManifestError, match=r"(?s)a\.jpg.*b\.jpg"):
        FeatureCache(tmp_path / "cache", backbones).features([broken[0], *images, broken[1]], [RECIPE], batch_size=2)


def test_with_flips_a_mirrored_picture_gets_the_same_vector(backbones: dict[str, Backbone]) -> None:
    flipping = FeatureRecipe("resnet10t", 64, "stage", "gem", True, "pad", 0.1)
    inputs = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = backbones["resnet10t"].model
    straight, mirrored = (vectors_of(model, view, [flipping])[flipping] for view in (inputs, inputs.flip(3)))
    np.testing.assert_allclose(straight, mirrored, rtol=1e-4)


def test_pooling_of_a_map_with_one_bright_place() -> None:
    feature_map = torch.zeros(1, 1, 2, 2)
    feature_map[0, 0, 0, 0] = 4.0
    assert pooled([feature_map], "avg").item() == 1
    assert pooled([feature_map], "max").item() == 4
    assert pooled([feature_map], "gem").item() == pytest.approx((4**3 / 4) ** (1 / 3))


def test_two_maps_become_one_vector() -> None:
    maps = [torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4)]
    assert pooled(maps, "gem").shape == (2, 8)


def test_queries_of_zeros_are_the_plain_mean_and_others_are_not() -> None:
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)]
    for pooling in ("avg", "gem"):
        plain = pooled(maps, pooling)
        torch.testing.assert_close(pooled(maps, pooling, [torch.zeros(3), torch.zeros(5)]), plain)
        assert not torch.allclose(pooled(maps, pooling, [torch.ones(3), torch.ones(5)]), plain)


def test_a_strong_query_picks_the_place_that_answers_it() -> None:
    feature_map = torch.zeros(1, 2, 2, 2)
    feature_map[0, :, 1, 0] = torch.tensor([3.0, 4.0])
    picked = pooled([feature_map], "avg", [torch.tensor([100.0, 0.0])])
    torch.testing.assert_close(picked, torch.tensor([[3.0, 4.0]]))


def test_crops_show_the_centre_larger() -> None:
    picture = torch.zeros(1, 3, 10, 10)
    picture[:, :, 2:8, 2:8] = 1
    whole, mirrored, centre, _ = looks_at(picture, [1.0, 0.6], flip=True)
    assert torch.equal(whole, picture)
    assert torch.equal(mirrored, picture.flip(3))
    torch.testing.assert_close(centre, torch.ones(1, 3, 10, 10))


def test_the_graph_averages_crops_and_mirror_images_as_the_features_do(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    recipe = FeatureRecipe("resnet10t", 64, "stage", "gem", True, "pad", 0.1, (1.0, 0.8))
    inputs = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    probe = LinearProbe(np.zeros(512), np.ones(512), np.ones((2, 512)) / 512, np.zeros(2))
    network = ProbedNetwork(backbones["resnet10t"], recipe, probe)
    vectors = vectors_of(backbones["resnet10t"].model, inputs, [recipe])[recipe]
    with torch.inference_mode():
        np.testing.assert_allclose(network(inputs)[1].numpy(), vectors, atol=1e-5)
    export_onnx(network, tmp_path / "model.onnx", input_px=64)
    assert check_export(network, tmp_path / "model.onnx", inputs.numpy()) < 1e-4


def test_a_recipe_names_its_crops() -> None:
    cropped = FeatureRecipe("resnet10t", 64, "stage", "gem", True, "pad", 0.1, (1.0, 0.8))
    assert str(cropped) == "resnet10t stage gem 64 px flip crops 1 0.8 pad"
    assert "crops" not in str(RECIPE)


@pytest.mark.parametrize("crops", ["[0.8]", "[1, 0.8, 0.8]", "[1, 0.1]"])
def test_crops_that_are_none_are_refused(tmp_path: Path, crops: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("{name: run, data: {manifest: m.csv}}")
    with pytest.raises(ConfigError, match=r"features\.crops"):
        load_config(path, [f"features.crops={crops}"])
