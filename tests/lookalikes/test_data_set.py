"""The data set that comes along: whole, divided by scene, and telling the class by nothing but the vehicle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from vision.config import BackboneSettings
from vision.data.demo import demo_data_folder
from vision.data.manifest import load_manifest
from vision.train.backbones import load_backbones
from vision.train.features import FeatureRecipe, vectors_of
from vision.train.probe import fit_probe

NOVEL = "dprk-tor-like"
CROP_PX = 72


@pytest.fixture(scope="module")
def folder() -> Path:
    return demo_data_folder()


@pytest.fixture(scope="module")
def table(folder: Path) -> pl.DataFrame:
    """The manifest's rows with the outlines of the vehicles."""
    outlines = pl.read_csv(folder / "outlines.csv").rename(lambda name: name if name == "file_name" else f"o_{name}")
    joined = load_manifest(folder / "manifest.csv").table.join(outlines, on="file_name", how="left")
    assert joined["o_left"].null_count() == 0
    return joined


def test_every_class_has_its_pictures_and_the_whole_is_small(table: pl.DataFrame, folder: Path) -> None:
    counts = dict(table.group_by("label").len().iter_rows())
    assert len(counts) >= 14
    assert min(counts.values()) >= 110
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 30e6
    assert set(table["licence"]) == {"CC0-1.0"}


def test_a_place_is_in_one_split_and_the_novel_class_in_none_that_is_trained_on(table: pl.DataFrame) -> None:
    assert table.group_by("group").agg(pl.col("split").n_unique()).max()["split"][0] == 1
    assert set(table.filter(pl.col("label") == NOVEL)["split"]) == {"novel"}
    assert set(table.filter(pl.col("split") == "novel")["label"]) == {NOVEL}
    for split, least in (("train", 60), ("calibration", 20), ("test", 20)):
        per_class = table.filter(pl.col("split") == split).group_by("label").len()["len"]
        assert len(per_class) == table["label"].n_unique() - 1
        assert per_class.min() >= least


@pytest.mark.parametrize("column", ["view", "camera_height", "distance", "weather", "occlusion"])
def test_how_pictures_are_taken_does_not_depend_on_the_class(table: pl.DataFrame, column: str) -> None:
    # Chi-squared over classes and values; beyond this limit in one of 1,000 sets where nothing depends on the class.
    from scipy.stats import chi2_contingency

    counts = table.pivot(on=column, index="label", values="file_name", aggregate_function="len").fill_null(0)
    assert chi2_contingency(counts.drop("label").to_numpy()).pvalue > 1e-3


def test_the_states_of_a_vehicle_are_all_there(table: pl.DataFrame) -> None:
    states = dict(table.group_by("label").agg(pl.col("state").unique()).iter_rows())
    assert min(map(len, states.values())) >= 2
    assert any("folded" in state for state in states["tor-m1"])
    assert any("upright" in state for state in states["s-300p-tel"])


@pytest.mark.slow
def test_the_background_does_not_tell_the_class(table: pl.DataFrame, folder: Path) -> None:
    """A network that sees only a corner without the vehicle is near chance; one that sees the vehicle is not."""
    known = table.filter(pl.col("split").is_in(["train", "test"]))
    corners = [_corner(folder / row["file_name"], row) for row in known.iter_rows(named=True)]
    has_corner = np.array([corner is not None for corner in corners])
    assert has_corner.mean() > 0.5
    shown = known.filter(pl.Series(has_corner))
    background = _vectors([corner for corner in corners if corner is not None])
    whole = _vectors([_opened(folder / name) for name in shown["file_name"]])
    chance = 1 / shown["label"].n_unique()
    assert _accuracy(background, shown) < 1.8 * chance
    assert _accuracy(whole, shown) > 4 * chance  # the same classifier, so the limit above means something


def test_file_size_and_colours_do_not_tell_the_class(table: pl.DataFrame, folder: Path) -> None:
    known = table.filter(pl.col("split").is_in(["train", "test"]))
    facts = [_plain_facts(folder / name) for name in known["file_name"]]
    chance = 1 / known["label"].n_unique()
    assert _accuracy(np.log([[size] for size, _ in facts]), known) < 1.6 * chance
    assert _accuracy(np.array([colours for _, colours in facts]), known) < 1.8 * chance


def _accuracy(features: NDArray[np.floating], rows: pl.DataFrame) -> float:
    """Share of the test rows that a regression fitted to the training rows names rightly."""
    classes = sorted(set(rows["label"]))
    truth = np.array([classes.index(label) for label in rows["label"]])
    train = (rows["split"] == "train").to_numpy()
    best = 0.0
    for strength in (0.1, 1.0, 10.0):  # the best of three, chosen on the test rows: a leak gets every chance
        probe = fit_probe(features[train].astype(np.float32), truth[train], len(classes), strength)
        best = max(best, float((probe.logits(features[~train]).argmax(axis=1) == truth[~train]).mean()))
    return best


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _corner(path: Path, row: dict[str, int]) -> Image.Image | None:
    """The first corner of the picture that the vehicle's outline does not reach into."""
    picture = _opened(path)
    right, bottom = row["o_left"] + row["o_width"], row["o_top"] + row["o_height"]
    for left in (0, picture.width - CROP_PX):
        for top in (picture.height - CROP_PX, 0):
            apart = left >= right or left + CROP_PX <= row["o_left"] or top >= bottom or top + CROP_PX <= row["o_top"]
            if apart:
                return picture.crop((left, top, left + CROP_PX, top + CROP_PX))
    return None


def _vectors(pictures: list[Image.Image]) -> NDArray[np.float32]:
    backbone = load_backbones(BackboneSettings(), seed=0)["tf_efficientnet_lite0"]
    recipe = FeatureRecipe("tf_efficientnet_lite0", 96, "stage", "avg", False, "squash", 0.0)
    arrays = np.stack([np.asarray(picture.resize((96, 96)), dtype=np.float32) / 255 for picture in pictures])
    inputs = torch.from_numpy(((arrays - np.array(backbone.mean)) / np.array(backbone.std)).astype(np.float32))
    inputs = inputs.permute(0, 3, 1, 2)
    batches = [vectors_of(backbone.model, batch, [recipe])[recipe] for batch in inputs.split(64)]
    return np.concatenate(batches)


def _plain_facts(path: Path) -> tuple[int, NDArray[np.float64]]:
    colours = np.asarray(_opened(path))
    histograms = [np.histogram(colours[..., channel], bins=16, range=(0, 256))[0] for channel in range(3)]
    return path.stat().st_size, np.concatenate(histograms) / colours[..., 0].size
