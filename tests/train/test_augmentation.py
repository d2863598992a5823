"""Augmentation: the same everywhere, never twice the same, and never so strong that the vehicle is lost."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from torch.utils.data import DataLoader, Dataset

from vision.config import AugmentationSettings, Preset
from vision.data.images import decode_image
from vision.data.preprocessing import Preprocessing, fit_to_square
from vision.train.augmentation import augmented, describe

STRENGTHS = ("viewpoint", "scale", "occlusion", "weather", "blur", "camera", "colour", "greyscale")
PRESETS: tuple[Preset, ...] = ("none", "light", "standard", "field")
FIELD = AugmentationSettings(preset="field")

FIT = Preprocessing(
    input_px=128, fit="pad", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", box_margin=0.1
)


def made_picture(height: int = 48, width: int = 48) -> NDArray[np.uint8]:
    """A coloured slope with noise, so that every change of place, colour or sharpness shows."""
    y, x = np.mgrid[0:height, 0:width]
    slope = np.stack([255 * x / width, 255 * y / height, np.full(x.shape, 90.0)], axis=2)
    noise = np.random.default_rng(0).normal(0, 20, slope.shape)
    return (slope + noise).clip(0, 255).astype(np.uint8)  # (H, W, 3)


def only(kind: str, value: float | bool) -> AugmentationSettings:
    return AugmentationSettings.model_validate({"preset": "none", kind: value})


def views_of(
    image: NDArray[np.uint8], settings: AugmentationSettings, number: int, *, seed: int = 0
) -> list[NDArray[np.uint8]]:
    return [augmented(image, settings, seed=seed, picture="p", view=view) for view in range(1, number + 1)]


def digest(arrays: list[NDArray[np.uint8]]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


IN_ANOTHER_PROCESS = """
import sys
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith(("socket.", "urllib.")) else None)
sys.path.insert(0, sys.argv[1])
import random
import numpy as np
import test_augmentation as here
random.seed(5)
np.random.seed(5)
print(here.digest(here.views_of(here.made_picture(), here.FIELD, 20)))
print([call for call in calls if call in ("socket.connect", "socket.getaddrinfo", "urllib.Request")])
"""


def test_another_process_makes_the_same_views_and_asks_nothing_of_the_network() -> None:
    command = [sys.executable, "-W", "error", "-c", IN_ANOTHER_PROCESS, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [digest(views_of(made_picture(), FIELD, 20)), "[]"]


class Epochs(Dataset[NDArray[np.uint8]]):
    """The same three pictures in every epoch, augmented in the loader's workers."""

    def __init__(self, settings: AugmentationSettings) -> None:
        self.settings = settings
        self.epoch = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return augmented(made_picture(), self.settings, seed=7, picture=str(index), view=self.epoch + 1)


def loaded(settings: AugmentationSettings) -> list[NDArray[np.uint8]]:
    """Two epochs through two workers."""
    pictures = Epochs(settings)
    views = []
    for pictures.epoch in range(2):
        loader = DataLoader(pictures, batch_size=None, num_workers=2, multiprocessing_context="fork")
        views += [np.asarray(view) for view in loader]
    return views


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12 warns of threads, as of OpenBLAS
@pytest.mark.parametrize("preset", ["light", "field"])
def test_workers_and_epochs_never_repeat_a_view_but_a_seed_repeats_the_run(preset: Preset) -> None:
    settings = AugmentationSettings(preset=preset)
    first, again = loaded(settings), loaded(settings)
    np.testing.assert_array_equal(first, again)
    assert len({view.tobytes() for view in first}) == 6  # one picture under three names, twice


@pytest.mark.parametrize("preset", PRESETS)
def test_view_0_is_the_picture_itself_and_a_copy(preset: Preset) -> None:
    image = made_picture()
    view = augmented(image, AugmentationSettings(preset=preset, viewpoint=1.0), seed=0, picture="p", view=0)
    np.testing.assert_array_equal(view, image)
    assert not np.shares_memory(view, image)


def test_the_picture_that_goes_in_is_left_as_it_is() -> None:
    image = made_picture()
    image.flags.writeable = False  # as `np.asarray` of a PIL picture is
    before = image.copy()
    views_of(image, FIELD, 10)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (8, 8), (9, 300), (300, 8), (640, 480)])
def test_views_keep_size_and_type(size: tuple[int, int]) -> None:
    strongest = AugmentationSettings.model_validate(dict.fromkeys(STRENGTHS, 1.0))
    for settings in (AugmentationSettings(preset="field"), strongest):
        for view in views_of(made_picture(*size), settings, 8):
            assert (view.shape, view.dtype) == ((*size, 3), np.uint8)
            assert view.flags.c_contiguous
            assert view.flags.writeable


def test_a_picture_too_small_to_show_anything_is_left_as_it_is() -> None:
    image = made_picture(7, 300)
    assert all(np.array_equal(view, image) for view in views_of(image, FIELD, 8))


@pytest.mark.parametrize("size", [(8, 8), (300, 9), (640, 480)])
def test_pictures_of_unusual_size_are_varied_too(size: tuple[int, int]) -> None:
    image = made_picture(*size)
    assert not any(np.array_equal(view, image) for view in views_of(image, FIELD, 8))


def test_a_grey_picture_stays_grey_under_light_and_colour() -> None:
    grey = np.repeat(made_picture()[:, :, :1], 3, axis=2)
    settings = AugmentationSettings(preset="light", colour=1.0, viewpoint=1.0)
    for view in views_of(grey, settings, 10):
        assert np.ptp(view.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize("kind", STRENGTHS)
def test_a_kind_at_1_changes_pictures_and_at_0_none(kind: str) -> None:
    image = made_picture(64, 64)
    changed = [np.abs(view.astype(int) - image).mean() for view in views_of(image, only(kind, 1.0), 12)]
    assert sum(difference > 0.5 for difference in changed) >= 3
    assert all(np.array_equal(view, image) for view in views_of(image, only(kind, 0.0), 12))


@pytest.mark.parametrize("kind", [kind for kind in STRENGTHS if kind != "greyscale"])
def test_a_stronger_kind_changes_more(kind: str) -> None:
    image = made_picture(64, 64).astype(int)

    def change(strength: float) -> float:
        views = np.asarray(views_of(made_picture(64, 64), only(kind, strength), 30))
        return float(np.abs(views - image).mean())

    assert change(0.2) < change(1.0)


def test_flip_mirrors_half_of_the_views_left_to_right_and_none_upside_down() -> None:
    image = made_picture()
    mirrored = [np.array_equal(view, image[:, ::-1]) for view in views_of(image, only("flip", True), 40)]
    straight = [np.array_equal(view, image) for view in views_of(image, only("flip", True), 40)]
    assert sum(mirrored) + sum(straight) == 40
    assert 10 <= sum(mirrored) <= 30


def test_steps_draw_apart_from_each_other() -> None:
    """albumentations' own `seed` would make every mirrored view a grey one and every other a coloured one."""
    image = made_picture()
    settings = AugmentationSettings(preset="none", flip=True, greyscale=0.5)
    found = set()
    for view in views_of(image, settings, 40):
        grey = bool((np.ptp(view.astype(int), axis=2) == 0).all())
        found.add((bool(view[:, :10].mean() > view[:, -10:].mean()), grey))
    assert found == set(product((True, False), repeat=2))


def test_seed_picture_and_view_each_make_another_view() -> None:
    image = made_picture()
    keys = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a1", 1), (0, "a", 11)]
    views = {augmented(image, FIELD, seed=s, picture=p, view=v).tobytes() for s, p, v in keys}
    assert len(views) == len(keys)


def test_crops_keep_most_of_the_area_at_full_strength() -> None:
    """The slopes of the two channels tell how much of the picture's width and height a view shows."""
    y, x = np.mgrid[0:100, 0:100]
    image = np.stack([x * 2, y * 2, np.zeros_like(x)], axis=2).astype(np.uint8)
    for view in views_of(image, only("scale", 1.0), 40):
        if (view[:, :, 2] == 127).any():
            continue  # made smaller on grey
        columns, rows = (np.ptp(view[5:-5, 5:-5, channel].astype(float)) / 2 / 89 for channel in (0, 1))
        assert columns * rows >= 0.55


def test_what_lies_outside_the_picture_is_grey() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    settings = AugmentationSettings(preset="none", viewpoint=1.0, scale=1.0)
    for view in views_of(white, settings, 30):
        assert np.ptp(view.astype(int), axis=2).max() == 0
        assert view.min() >= 90  # cubic filters overshoot


def test_presets_grow_in_strength_on_a_photograph(photos_dir: Path) -> None:
    path = sorted((photos_dir / "images").glob("*.jpg"))[0]
    image = np.asarray(fit_to_square(decode_image(path, enough_px=256), FIT))
    changes = {}
    for preset in PRESETS:
        views = np.asarray(views_of(image, AugmentationSettings(preset=preset, flip=False), 40))
        changes[preset] = float(np.abs(views.astype(int) - image).mean())
    assert changes["none"] == 0
    assert 0 < changes["light"] < changes["standard"] < changes["field"]


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"(?s)color\b.*Extra inputs are not permitted"):
        AugmentationSettings.model_validate({"color": 0.5})


@pytest.mark.parametrize(
    "wrong",
    [{"blur": 1.1}, {"blur": -0.1}, {"blur": float("nan")}, {"blur": True}, {"flip": 0.5}, {"preset": "heavy"}],
    ids=str,
)
def test_a_wrong_value_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        AugmentationSettings.model_validate(wrong)


def test_a_strength_of_ones_own_replaces_only_that_of_the_preset() -> None:
    preset = describe(AugmentationSettings(preset="standard"))
    own = describe(AugmentationSettings(preset="standard", blur=0.0, flip=False, weather=1))
    assert {line.partition(":")[0] for line in preset} ^ {line.partition(":")[0] for line in own} == {
        "blur",
        "flip",
        "weather",
    }
    assert [line for line in own if not line.startswith("weather")] == [
        line for line in preset if not line.startswith(("blur", "flip"))
    ]


def test_descriptions_name_the_strengths() -> None:
    assert describe(AugmentationSettings(preset="none")) == ["nothing is varied"]
    assert describe(only("greyscale", 0.25)) == ["greyscale: 25% lose their colours"]
    assert "at least 60% of the area" in describe(only("scale", 1.0))[0]


def test_the_module_loads_neither_torch_nor_opencv_nor_albumentations() -> None:
    code = (
        "import sys; from vision.train.augmentation import AugmentationSettings, describe; "
        "describe(AugmentationSettings()); "
        "print([name for name in ('torch', 'cv2', 'albumentations', 'scipy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_that_make_views_side_by_side_make_the_same_ones() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    settings = AugmentationSettings(preset="field")

    def made(view: int) -> bytes:
        return augmented(picture, settings, seed=0, picture="a", view=view).tobytes()

    one_by_one = [made(view) for view in range(1, 41)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(made, range(1, 41))) == one_by_one
