"""Stand-ins for radar chips: whole, the same for the same seed, and telling the class by the vehicle alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from radar_chips import CLASSES, Shot, clutter, designed_vehicle, draw_chip, main, shadow_of, shots_of

from vision.data.check import find_file_problems, find_manifest_problems, read_file_facts
from vision.data.licences import LicencePolicy
from vision.data.manifest import Manifest, load_manifest
from vision.taxonomy import load_taxonomy


@pytest.fixture(scope="module")
def chips(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("chips")
    main(folder, num_train=100, num_calibration=20, num_test=30, seed=0, size_px=64)
    return load_manifest(folder / "manifest.csv")


def test_the_manifest_and_its_files_have_no_problems(chips: Manifest) -> None:
    assert find_manifest_problems(chips, load_taxonomy(), LicencePolicy.OPEN, min_images=5) == []
    assert find_file_problems(chips, read_file_facts(chips)) == []


def test_every_class_is_as_often_in_every_split_and_no_copy_is_in_two(chips: Manifest) -> None:
    counts = {(s, c): n for s, c, n in chips.table.group_by("split", "label").len().iter_rows()}
    assert counts == {(s, c): n for s, n in (("train", 10), ("calibration", 2), ("test", 3)) for c in CLASSES}
    assert chips.table.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1


def test_every_row_says_that_it_is_no_measurement(chips: Manifest) -> None:
    assert set(chips.table["changes"]) == {"synthetic stand-in, no radar measurement"}
    assert chips.table["title"].str.starts_with("Synthetic stand-in").all()


def test_pictures_are_grey_and_of_the_size_asked_for(chips: Manifest) -> None:
    with Image.open(chips.image_path(chips.file_names[0])) as picture:
        assert (picture.mode, picture.size) == ("L", (64, 64))


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    shot = Shot("bmp-2", "train", 1, 5)
    first, again, other = (draw_chip(shot, seed=seed, size_px=64) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).mean() > 0.5


def test_the_vehicle_is_brighter_and_its_shadow_darker_than_the_ground() -> None:
    chips = np.stack([draw_chip(shot, seed=0, size_px=96) for shot in shots_of("train", 50)]).astype(float)
    ground = np.median(chips[:, :16])
    assert np.median(chips[:, 36:52, 36:60].max(axis=(1, 2))) > 5 * ground
    assert np.median(chips[:, 54:60, 45:51]) < 0.5 * ground


def test_the_shadow_falls_away_from_the_radar_and_is_longer_at_a_lower_angle() -> None:
    vehicle, centre = designed_vehicle("t-72"), np.zeros(2)
    steep, shallow = (shadow_of(vehicle, 0.3, np.radians(angle), centre, 96) for angle in (45.0, 15.0))
    assert shallow.sum() > steep.sum()
    assert np.flatnonzero(shallow.any(axis=1)).mean() > 48
    assert not shallow[:30].any()


def test_clutter_has_the_spread_of_fully_developed_speckle() -> None:
    magnitude = np.abs(np.concatenate([clutter(64, np.random.default_rng(seed)).ravel() for seed in range(40)]))
    # Rayleigh: deviation 0.523 of the mean; patches add to it.
    assert 0.5 < magnitude.std() / magnitude.mean() < 0.75


def test_the_background_does_not_tell_the_class() -> None:
    train, test = (list(shots_of(split, 100)) for split in ("train", "test"))
    assert _nearest_neighbour_accuracy(train, test, slice(0, 20)) < 0.3


def test_nearest_neighbours_of_pixels_know_the_vehicles() -> None:
    train, test = (list(shots_of(split, count)) for split, count in (("train", 400), ("test", 100)))
    assert _nearest_neighbour_accuracy(train, test, slice(28, 68)) > 0.5


def _nearest_neighbour_accuracy(train: list[Shot], test: list[Shot], rows: slice) -> float:
    nearest = (_unit_pixels(test, rows) @ _unit_pixels(train, rows).T).argmax(axis=1)
    return float(np.mean([train[n].class_id == shot.class_id for n, shot in zip(nearest, test, strict=True)]))


def _unit_pixels(shots: list[Shot], rows: slice) -> NDArray[np.float64]:
    """Pixels (N, P) of a square or strip of each chip, mean 0 and length 1."""
    columns = slice(28, 68) if rows.start else slice(None)
    pixels = np.stack([draw_chip(shot, seed=0, size_px=96)[rows, columns].ravel() for shot in shots]).astype(float)
    pixels -= pixels.mean(axis=1, keepdims=True)
    return np.asarray(pixels / np.linalg.norm(pixels, axis=1, keepdims=True))
