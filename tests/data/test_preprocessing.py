from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from vision.data.preprocessing import Preprocessing, fit_to_square, load_network_input, network_input
from vision.errors import ImageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocessing(**changes: Any) -> Preprocessing:
    settings = {"input_px": 8, "fit": "pad", "mean": MEAN, "std": STD, "interpolation": "bicubic", "box_margin": 0.0}
    return Preprocessing.model_validate(settings | changes)


def halves(width: int, height: int) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def test_network_input_is_float32_channels_first() -> None:
    array = network_input(halves(20, 10), preprocessing())
    assert array.shape == (3, 8, 8)
    assert array.dtype == np.float32
    assert array.flags["C_CONTIGUOUS"]


def test_network_input_is_normalised_by_mean_and_standard_deviation() -> None:
    array = network_input(Image.new("RGB", (8, 8), (255, 0, 51)), preprocessing())
    expected = [(1 - MEAN[0]) / STD[0], (0 - MEAN[1]) / STD[1], (0.2 - MEAN[2]) / STD[2]]
    np.testing.assert_allclose(array[:, 3, 4], expected, rtol=1e-5)


def test_pad_keeps_the_whole_picture_on_the_mean_colour() -> None:
    square = np.asarray(fit_to_square(halves(16, 8), preprocessing(interpolation="bilinear")))
    assert square[0, 0].tolist() == [124, 116, 104]
    assert square[7, 7].tolist() == [124, 116, 104]
    assert square[4, 0].tolist() == [255, 0, 0]
    assert square[4, 7].tolist() == [0, 0, 255]


def test_pad_becomes_nothing_after_normalisation() -> None:
    array = network_input(halves(16, 8), preprocessing())
    assert np.abs(array[:, 0, :]).max() < 0.01


def test_pad_keeps_one_pixel_of_a_very_long_picture() -> None:
    square = np.asarray(fit_to_square(Image.new("RGB", (1000, 1), (255, 255, 255)), preprocessing()))
    assert (square == 255).all(axis=2).sum() == 8


def test_squash_fills_the_square() -> None:
    square = np.asarray(fit_to_square(halves(32, 8), preprocessing(fit="squash")))
    assert (square[:, 0] == (255, 0, 0)).all()
    assert (square[:, 7] == (0, 0, 255)).all()


def test_crop_takes_the_middle() -> None:
    image = Image.new("RGB", (24, 8), (255, 0, 0))
    image.paste((0, 255, 0), (8, 0, 16, 8))
    square = np.asarray(fit_to_square(image, preprocessing(fit="crop", interpolation="bilinear")))
    assert (square == (0, 255, 0)).all()


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_every_fit_gives_the_square_for_every_shape(fit: str, size: tuple[int, int]) -> None:
    assert fit_to_square(halves(*size), preprocessing(fit=fit)).size == (8, 8)


def test_a_box_shows_only_that_part(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    halves(20, 10).save(path)
    array = load_network_input(path, preprocessing(fit="squash"), box=(10, 0, 10, 10))
    blue = network_input(Image.new("RGB", (8, 8), (0, 0, 255)), preprocessing())
    np.testing.assert_allclose(array, blue, atol=1e-5)


def test_the_margin_widens_a_box(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    halves(20, 10).save(path)
    whole = load_network_input(path, preprocessing(fit="squash"))
    widened = load_network_input(path, preprocessing(fit="squash", box_margin=1.0), box=(7, 3, 6, 4))
    with_all = load_network_input(path, preprocessing(fit="squash", box_margin=2.0), box=(7, 3, 6, 4))
    np.testing.assert_array_equal(with_all, whole)
    assert not np.array_equal(widened, whole)


def test_a_large_jpeg_gives_nearly_the_array_of_its_full_size(tmp_path: Path) -> None:
    y, x = np.mgrid[0:640, 0:800]
    picture = np.stack([x * 255 // 800, y * 255 // 640, (x + y) * 255 // 1440], axis=-1).astype(np.uint8)
    path = tmp_path / "x.jpg"
    Image.fromarray(picture).save(path, quality=95)
    full = network_input(Image.open(path).convert("RGB"), preprocessing(input_px=32))
    np.testing.assert_allclose(load_network_input(path, preprocessing(input_px=32)), full, atol=0.06)


def test_a_broken_picture_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"x\.jpg: not a picture"):
        load_network_input(tmp_path / "x.jpg", preprocessing())


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="input_size"):
        preprocessing(input_size=224)
