"""The nearest training picture, by features and by pixels, stands beside every model's figures."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from command_line import run_vision
from PIL import Image

from vision.bundle import Bundle, load_bundle
from vision.data.manifest import load_manifest
from vision.data.preprocessing import THUMBNAIL_PX, load_thumbnail
from vision.evaluate.pixel_neighbours import nearest_by_pixels
from vision.evaluate.run import evaluate_bundle, taxonomy_for


def test_both_baselines_stand_in_the_evaluation_and_agree_with_the_rows(drawn_run: Path) -> None:
    folder = drawn_run / "run" / "evaluation"
    baselines = json.loads((folder / "evaluation.json").read_text())["baselines"]
    assert [baseline["name"] for baseline in baselines] == [
        "nearest training picture by features",
        "nearest training picture by pixels",
    ]
    table = pl.read_parquet(folder / "predictions.parquet")
    by_features = [near[0]["class_id"] for near in table["nearest"].to_list()]
    for baseline, answers in zip(baselines, (by_features, table["nearest_by_pixels"].to_list()), strict=True):
        assert baseline["accuracy"]["value"] == np.mean(np.array(answers) == table["true_label"].to_numpy())


def test_a_training_picture_is_its_own_nearest_by_pixels(bundle: Bundle, drawn_run: Path, tmp_path: Path) -> None:
    manifest = load_manifest(drawn_run / "data" / "manifest.csv")
    evaluate_bundle(bundle, manifest, taxonomy_for(bundle, None), tmp_path, split="train")
    table = pl.read_parquet(tmp_path / "predictions.parquet")
    assert table["nearest_by_pixels"].to_list() == table["true_label"].to_list()


def test_thumbnails_of_the_bundle_are_those_of_the_files(bundle: Bundle, drawn_run: Path) -> None:
    thumbnails = bundle.reference.thumbnails
    assert thumbnails is not None
    assert thumbnails.shape == (32, THUMBNAIL_PX, THUMBNAIL_PX)
    path = drawn_run / "data" / bundle.reference.file_names[3]
    assert np.array_equal(thumbnails[3], load_thumbnail(path, bundle.info.preprocessing))


def test_an_unreadable_picture_has_no_nearest_and_counts_as_missed(drawn_run: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(drawn_run / "data", tmp_path / "data"))
    (data / "images" / "tor-m1-11.jpg").write_bytes(b"no picture")
    bundle = drawn_run / "run" / "bundle"
    out = tmp_path / "e"
    done = run_vision("evaluate", "-m", bundle, "--manifest", data / "manifest.csv", "--split", "test", "-o", out)
    assert done.returncode == 1
    table = pl.read_parquet(out / "predictions.parquet")
    assert table.filter(pl.col("status") == "error")["nearest_by_pixels"].to_list() == [None]
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert all(baseline["accuracy"]["value"] <= 11 / 12 for baseline in evaluation["baselines"])


def test_a_model_that_is_worse_than_its_nearest_neighbours_is_warned_of(drawn_run: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(drawn_run / "run" / "evaluation" / "predictions.parquet")
    wrong = table.with_columns(pl.col("top").list.reverse())
    wrong.write_parquet(tmp_path / "p.parquet")
    done = run_vision("report", tmp_path / "p.parquet", "-o", tmp_path / "r")
    assert "is right more often than the model" in done.stderr


def test_a_bundle_without_thumbnails_is_evaluated_without_them(bundle: Bundle, drawn_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    with np.load(folder / "reference.npz") as arrays:
        kept = {name: arrays[name] for name in arrays if name != "thumbnails"}
    np.savez(folder / "reference.npz", **kept)
    info = json.loads((folder / "bundle.json").read_text())
    info["files"]["reference.npz"] = hashlib.sha256((folder / "reference.npz").read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(info))
    older = load_bundle(folder)
    manifest = load_manifest(drawn_run / "data" / "manifest.csv")
    evaluation = evaluate_bundle(older, manifest, taxonomy_for(older, None), tmp_path / "e", split="test")
    assert [baseline.name for baseline in evaluation.baselines] == ["nearest training picture by features"]


def test_the_nearest_of_another_group_is_not_the_nearest_of_all() -> None:
    generator = np.random.default_rng(0)
    known = generator.integers(0, 256, (4, THUMBNAIL_PX, THUMBNAIL_PX)).astype(np.uint8)
    noise = generator.integers(-20, 20, known.shape)
    known[1] = np.clip(known[0].astype(int) + noise[1], 0, 255)
    known[2] = np.clip(known[0].astype(int) + 4 * noise[2], 0, 255)
    classes, groups = ["tor-m1", "tor-m1", "buk-m1", "shilka"], ["a", "a", "b", "c"]
    assert nearest_by_pixels([known[0], None], known, classes) == ["tor-m1", None]
    apart = nearest_by_pixels([known[0]], known, classes, groups=["a"], known_groups=groups)
    assert apart == ["buk-m1"]
    assert nearest_by_pixels([known[0]], known[:2], classes[:2], groups=["a"], known_groups=["a", "a"]) == [None]


def test_a_thumbnail_is_small_and_grey(tmp_path: Path, bundle: Bundle) -> None:
    picture = Image.new("RGB", (64, 64), (255, 0, 0))
    picture.save(tmp_path / "red.png")
    thumbnail = load_thumbnail(tmp_path / "red.png", bundle.info.preprocessing)
    assert thumbnail.dtype == np.uint8
    assert set(thumbnail.flatten().tolist()) == {85}
