"""Stores of views: named after what decides them, with all their room on the disk, decoded ahead of the network."""

from __future__ import annotations

import errno
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from drawings import write_drawings

from vision.config import AugmentationSettings, BackboneSettings, load_config
from vision.errors import OutputError
from vision.train.backbones import load_backbones
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.training_set import prepare_run
from vision.train.views import FrozenPart, ViewStore, _made_ahead, size_of_views, stored_views

RECIPE = FeatureRecipe("resnet10t", 64, "final", "avg", False, "pad", 0.1)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[TrainingImage]:
    config = write_drawings(tmp_path_factory.mktemp("drawings"))
    return prepare_run(load_config(config)).training.images[:3]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> FrozenPart:
    backbone = load_backbones(BackboneSettings(name=("resnet10t",), weights="none"), seed=0)["resnet10t"]
    return FrozenPart(backbone, RECIPE, 0, tmp_path_factory.mktemp("graph"))  # no graph to export: views are pictures


def stored(
    frozen: FrozenPart,
    images: list[TrainingImage],
    folder: Path,
    *,
    preset: str = "light",
    num_augmented: int = 0,
    seed: int = 0,
) -> ViewStore:
    augmentation = AugmentationSettings.model_validate({"preset": preset})
    return stored_views(frozen, images, folder, augmentation=augmentation, num_augmented=num_augmented, seed=seed)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("views-*.npy") if ".done" not in path.name)


def test_plain_pictures_are_kept_once_whatever_the_seed_and_the_preset(
    frozen: FrozenPart, images: list[TrainingImage], tmp_path: Path
) -> None:
    stored(frozen, images, tmp_path)
    stored(frozen, images, tmp_path, seed=1)
    stored(frozen, images, tmp_path, preset="field")
    assert len(names(tmp_path)) == 1
    for more in ({"seed": 1}, {"preset": "field"}, {}):
        stored(frozen, images, tmp_path, num_augmented=1, **more)  # type: ignore[arg-type]
    assert len(names(tmp_path)) == 4


def test_a_store_has_the_size_that_was_told_and_all_its_blocks(
    frozen: FrozenPart, images: list[TrainingImage], tmp_path: Path
) -> None:
    store = stored(frozen, images, tmp_path, num_augmented=2)
    assert store.outputs.nbytes == size_of_views(frozen, len(images), 2)
    (name,) = names(tmp_path)
    status = (tmp_path / name).stat()
    assert status.st_blocks * 512 >= status.st_size


def test_the_shape_of_a_view_is_known_before_one_is_made(frozen: FrozenPart, tmp_path: Path) -> None:
    deeper = FrozenPart(frozen.backbone, RECIPE, 3, tmp_path, device=torch.device("cpu"))
    assert deeper(np.zeros((2, 3, 64, 64), np.float32)).shape[1:] == deeper.output_shape == (128, 8, 8)


def test_a_disk_that_is_too_full_is_told_with_what_is_needed_and_free(
    frozen: FrozenPart, images: list[TrainingImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(9999, 9000, 999))
    with pytest.raises(OutputError, match=r"views need [0-9,]+ bytes more and the disk has 999 free; .*fewer finetune"):
        stored(frozen, images, tmp_path)
    assert not names(tmp_path)


def test_a_disk_that_refuses_the_room_is_told_and_nothing_is_left_on_it(
    frozen: FrozenPart, images: list[TrainingImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(OutputError, match=r"views need .* bytes more .*from_stage or another --cache"):
        stored(frozen, images, tmp_path)
    assert not names(tmp_path)


def test_a_store_that_an_earlier_run_left_with_holes_is_filled_before_it_is_written_to(
    frozen: FrozenPart, images: list[TrainingImage], tmp_path: Path
) -> None:
    whole = np.array(stored(frozen, images, tmp_path).outputs)
    (name,) = names(tmp_path)
    np.lib.format.open_memmap(tmp_path / name, mode="w+", dtype=np.float16, shape=whole.shape)  # sparse
    (tmp_path / name.replace(".npy", ".done.npy")).unlink()
    again = stored(frozen, images, tmp_path)
    assert np.array_equal(again.outputs, whole)
    status = (tmp_path / name).stat()
    assert status.st_blocks * 512 >= status.st_size


def test_the_next_pictures_are_made_while_the_first_is_worked_on() -> None:
    began = threading.Event()

    def make(row: int) -> int:
        if row == 1:
            began.set()
        return 10 * row

    rows = []
    for row, made in _made_ahead(make, range(50)):
        assert began.wait(60)
        rows.append((row, made))
    assert rows == [(row, 10 * row) for row in range(50)]
    assert list(_made_ahead(make, [])) == []
