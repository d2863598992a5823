"""Whole runs: the same seed gives the same bundle, the graph equals torch, run folders are not mixed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

from vision.config import BackboneSettings, Config, load_config
from vision.data.preprocessing import Preprocessing
from vision.errors import BundleError, ConfigError, ManifestError, OutputError
from vision.predictions import load_predictions
from vision.train.backbones import load_backbones
from vision.train.export import OUTPUT_NAMES, ProbedNetwork, check_export, export_onnx
from vision.train.features import FeatureRecipe
from vision.train.probe import LinearProbe
from vision.train.run import TrainingResult, plan_run, train_run
from vision.train.run_folder import open_run_folder
from vision.train.training_set import prepare_run


def train(config: Config, folder: Path, cache: Path) -> TrainingResult:
    prepared = prepare_run(config)
    return train_run(prepared, plan_run(prepared, cache), folder, cache)


@pytest.fixture(scope="module")
def small_config(drawn_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Random weights of a small network on the drawn pictures: seconds, and every stage of a run."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(drawn_run / "data", folder, dirs_exist_ok=True)
    overrides = ["backbone.name=resnet10t", "backbone.weights=none", "features.input_px=64", "train.folds=3"]
    return load_config(folder / "drawings.yaml", overrides)


@pytest.fixture(scope="module")
def small_run(small_config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("run")
    return train(small_config, folder, folder / "cache")


def test_the_same_seed_gives_the_same_bundle_with_nothing_cached(
    small_config: Config, small_run: TrainingResult, tmp_path: Path
) -> None:
    again = train(small_config, tmp_path / "run", tmp_path / "cache")
    assert again.bundle.info.files == small_run.bundle.info.files
    assert again.bundle.digest == small_run.bundle.digest


def test_out_of_fold_predictions_have_a_row_for_each_training_picture_with_its_truth(small_run: TrainingResult) -> None:
    assert small_run.out_of_fold_path is not None
    table = load_predictions(small_run.out_of_fold_path)
    assert len(table) == 32
    assert table["true_label"].value_counts().sort("true_label")["count"].to_list() == [8, 8, 8, 8]
    assert table["file_name"].n_unique() == 32
    assert table["logits"].list.len().unique().to_list() == [4]  # what calibration changed is told here, too


def test_the_nearest_picture_out_of_fold_is_never_of_the_same_group(small_config: Config, tmp_path: Path) -> None:
    manifest = pl.read_csv(small_config.data.manifest).with_columns(
        pl.concat_str(pl.lit("group "), pl.int_range(pl.len()) % 7).alias("group"), pl.lit("train").alias("split")
    )
    path = small_config.data.manifest.with_name("grouped.csv")
    manifest.write_csv(path)
    config = small_config.model_copy(update={"data": small_config.data.model_copy(update={"manifest": path})})
    result = train(config, tmp_path / "run", tmp_path / "cache")
    assert result.out_of_fold_path is not None
    group_of = dict(manifest.select("file_name", "group").iter_rows())
    for row in load_predictions(result.out_of_fold_path).iter_rows(named=True):
        assert row["group"] not in {group_of[near["file_name"]] for near in row["nearest"]}


def test_the_calibration_split_is_used_for_calibration(small_run: TrainingResult) -> None:
    assert small_run.bundle.info.calibration.fitted_on == "calibration split"
    assert small_run.bundle.info.calibration.num_images == 12


def test_the_bundle_tells_no_folder_of_this_machine(small_run: TrainingResult, small_config: Config) -> None:
    folder = str(small_config.data.manifest.parent)
    for path in small_run.bundle.folder.iterdir():
        assert folder.encode() not in path.read_bytes(), path.name
    assert b"site-packages" not in small_run.bundle.model_path.read_bytes()


def test_whoever_may_read_one_file_of_a_bundle_may_read_all(small_run: TrainingResult) -> None:
    assert len({path.stat().st_mode for path in small_run.bundle.folder.iterdir()}) == 1


def test_attribution_of_every_training_picture_is_in_the_bundle(small_run: TrainingResult) -> None:
    page = (small_run.bundle.folder / "ATTRIBUTION.md").read_text()
    assert page.count("the tests of vision") == 32
    assert "32 pictures" in page


def test_metrics_are_one_json_object_a_line(small_run: TrainingResult) -> None:
    lines = (small_run.bundle.folder.parent / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["out_of_fold", "candidate", "candidate", "calibration", "decision", "bundle"]


@pytest.mark.parametrize(("layer", "pooling", "flip"), [("two_stages", "gem", True), ("final", "avg", False)])
def test_the_exported_graph_equals_torch_for_any_batch(layer: str, pooling: str, flip: bool, tmp_path: Path) -> None:
    network = random_network(layer, pooling, flip)
    export_onnx(network, tmp_path / "model.onnx", input_px=64)
    samples = np.random.default_rng(0).standard_normal((5, 3, 64, 64)).astype(np.float32)
    assert check_export(network, tmp_path / "model.onnx", samples) < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    with torch.inference_mode():
        expected = network(torch.from_numpy(samples[:1]))
    for ours, torchs in zip(session.run(list(OUTPUT_NAMES), {"images": samples[:1]}), expected, strict=True):
        np.testing.assert_allclose(ours, torchs.numpy(), atol=1e-4)


def test_a_graph_that_differs_from_torch_is_refused(tmp_path: Path) -> None:
    network = random_network("final", "avg", False)
    export_onnx(network, tmp_path / "model.onnx", input_px=64)
    with torch.no_grad():
        network.classifier.bias[0] += 1e-3
    with pytest.raises(BundleError, match=r"model\.onnx: logits differ from torch's by 0\.001"):
        check_export(network, tmp_path / "model.onnx", np.zeros((1, 3, 64, 64), np.float32))


def test_with_average_pooling_the_feature_map_adds_up_to_the_logits() -> None:
    network = random_network("stage", "avg", False)
    with torch.inference_mode():
        logits, _, feature_map = network(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        activation = torch.einsum("kd,ndhw->nkhw", network.classifier.weight, feature_map).mean((2, 3))
    torch.testing.assert_close(activation + network.classifier.bias, logits, atol=1e-4, rtol=1e-4)


def random_network(layer: str, pooling: str, flip: bool) -> ProbedNetwork:
    backbone = load_backbones(BackboneSettings(name=("resnet10t",), weights="none"))["resnet10t"]
    size = {"stage": 512, "final": 512, "two_stages": 768}[layer]
    generator = np.random.default_rng(0)
    probe = LinearProbe(np.zeros(size), np.ones(size), generator.standard_normal((3, size)) / size, np.zeros(3))
    return ProbedNetwork(backbone, FeatureRecipe("resnet10t", 64, layer, pooling, flip, "pad", 0.1), probe)  # type: ignore[arg-type]


def test_a_folder_with_something_in_it_is_refused(small_config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="not empty; use --resume to go on, --overwrite to start anew"):
        open_run_folder(tmp_path, small_config, resume=False, overwrite=False)


def test_overwriting_spares_a_folder_that_is_no_run(small_config: Config, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match=r"not a run's folder \(it lacks config\.yaml"):
        open_run_folder(tmp_path, small_config, resume=False, overwrite=True)
    assert (tmp_path / "mine.txt").exists()


def test_overwriting_never_removes_the_folder_that_one_stands_in(
    small_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_run_folder(tmp_path, small_config, resume=False, overwrite=False)
    (tmp_path / "inner").mkdir()
    (tmp_path / "environment.json").touch()
    monkeypatch.chdir(tmp_path / "inner")
    with pytest.raises(OutputError, match="holds the folder that you are in, so it is not removed"):
        open_run_folder(tmp_path, small_config, resume=False, overwrite=True)


def test_resuming_leaves_a_folder_that_is_no_run_alone(small_config: Config, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="not a run's folder"):
        open_run_folder(tmp_path, small_config, resume=True, overwrite=False)


def changed_manifest(config: Config, folder: Path, **columns: pl.Expr) -> Config:
    """The configuration on a copy of its data with other columns."""
    shutil.copytree(config.data.manifest.parent, folder / "data")
    path = folder / "data" / "manifest.csv"
    pl.read_csv(path).with_columns(**columns).write_csv(path)
    return config.model_copy(update={"data": config.data.model_copy(update={"manifest": path})})


def test_pictures_of_one_group_alone_are_refused(small_config: Config, tmp_path: Path) -> None:
    config = changed_manifest(small_config, tmp_path, group=pl.lit("all"), split=pl.lit("train"))
    with pytest.raises(ManifestError, match=r"all pictures to train on are of one group, 'all'; .* fill"):
        prepare_run(config)


def test_the_same_picture_twice_is_of_one_group(small_config: Config, tmp_path: Path) -> None:
    config = changed_manifest(small_config, tmp_path, split=pl.lit("train"))
    folder = config.data.manifest.parent
    table = pl.read_csv(config.data.manifest)
    shutil.copy(folder / "images" / "shilka-00.jpg", folder / "images" / "twin.jpg")
    twin = table.filter(pl.col("file_name") == "images/shilka-00.jpg").with_columns(file_name=pl.lit("images/twin.jpg"))
    pl.concat([table, twin]).write_csv(config.data.manifest)
    prepared = prepare_run(config)
    group_of = dict(zip(prepared.training.table["file_name"], prepared.training.groups, strict=True))
    assert group_of["images/twin.jpg"] == group_of["images/shilka-00.jpg"]
    assert any("it counts twice" in warning for warning in prepared.warnings)


def test_a_stale_cache_is_found_before_a_bundle_is_written(small_config: Config, tmp_path: Path) -> None:
    train(small_config, tmp_path / "first", tmp_path / "cache")
    generator = np.random.default_rng(0)
    for path in (tmp_path / "cache").rglob("*.npy"):
        np.save(path, generator.random(np.load(path).shape, dtype=np.float32))
    with pytest.raises(BundleError, match=r"differ from those of the cached features .* the cache is stale"):
        train(small_config, tmp_path / "second", tmp_path / "cache")
    assert not (tmp_path / "second" / "bundle" / "bundle.json").exists()


def test_a_size_that_the_network_does_not_take_is_told_in_the_plan(small_config: Config, tmp_path: Path) -> None:
    backbone = BackboneSettings(name=("vit_tiny_patch16_224",), weights="none")
    features = small_config.features.model_copy(update={"input_px": (70,)})
    config = small_config.model_copy(update={"backbone": backbone, "features": features})
    with pytest.raises(ConfigError, match=r"features\.input_px: vit_tiny_patch16_224 needs a multiple of 16 px, not"):
        plan_run(prepare_run(config), tmp_path)


def test_a_run_is_resumed_with_its_own_configuration_only(small_config: Config, tmp_path: Path) -> None:
    open_run_folder(tmp_path, small_config, resume=False, overwrite=False)
    open_run_folder(tmp_path, small_config, resume=True, overwrite=False)
    with pytest.raises(OutputError, match=r"config\.yaml: differs from the configuration given"):
        open_run_folder(tmp_path, small_config.model_copy(update={"seed": 9}), resume=True, overwrite=False)


def test_a_picture_that_changed_since_its_digest_was_noted_is_not_trained_on(
    small_config: Config, tmp_path: Path
) -> None:
    shutil.copytree(small_config.data.manifest.parent, tmp_path / "data")
    data = small_config.data.model_copy(update={"manifest": tmp_path / "data" / "manifest.csv"})
    shutil.copy(tmp_path / "data" / "images" / "shilka-00.jpg", tmp_path / "data" / "images" / "tor-m1-03.jpg")
    with pytest.raises(ManifestError, match=r"manifest\.csv:5: sha256 '.*': the file's digest is"):
        prepare_run(small_config.model_copy(update={"data": data}))


def test_a_dry_run_finds_broken_pictures_and_names_them_all(small_config: Config, tmp_path: Path) -> None:
    shutil.copytree(small_config.data.manifest.parent, tmp_path / "data")
    data = small_config.data.model_copy(update={"manifest": tmp_path / "data" / "manifest.csv"})
    for name in ("tor-m1-03.jpg", "buk-m1-01.jpg"):
        (tmp_path / "data" / "images" / name).write_text("broken")
    with pytest.raises(ManifestError, match=r"(?s)manifest\.csv:5: .*tor-m1-03.*manifest\.csv:45: .*buk-m1-01"):
        prepare_run(small_config.model_copy(update={"data": data}), decode=True)


def test_preprocessing_of_the_bundle_is_that_of_the_chosen_features(small_run: TrainingResult) -> None:
    chosen = small_run.candidates[0].recipe
    settings = small_run.bundle.info.preprocessing
    assert settings == replace_px(settings, chosen.input_px)
    assert settings.fit == chosen.fit


def replace_px(settings: Preprocessing, input_px: int) -> Preprocessing:
    return settings.model_copy(update={"input_px": input_px})


def test_a_recipe_reads_well(small_run: TrainingResult) -> None:
    recipe = replace(small_run.candidates[0].recipe, flip=True)
    assert str(recipe) == "resnet10t stage gem 64 px flip pad"
