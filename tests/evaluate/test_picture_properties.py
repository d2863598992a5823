"""Properties of drawn pictures, whose values are known, and of files that are no pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageFilter

from vision.errors import ImageError
from vision.evaluate.picture_properties import (
    SCHEMA,
    grey_thumbnail,
    picture_properties,
    read_properties,
    sharpness_of,
)

SIDEWAYS = 6  # EXIF orientation


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def save(image: Image.Image, path: Path, orientation: int | None = None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def test_size_aspect_bytes_and_brightness_are_those_of_the_file(tmp_path: Path) -> None:
    path = save(Image.new("RGB", (600, 300), (51, 51, 51)), tmp_path / "a.png")
    found = read_properties(path)
    assert (found.width, found.height, found.short_side_px, found.aspect) == (600, 300, 300, 2)
    assert found.size_bytes == path.stat().st_size
    assert found.brightness == pytest.approx(0.2)
    assert found.sharpness == 0


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_a_picture_that_lies_on_its_side_has_its_upright_size(tmp_path: Path, ending: str) -> None:
    path = save(noise((64, 32)), tmp_path / f"a.{ending}", orientation=SIDEWAYS)
    found = read_properties(path)
    assert (found.width, found.height) == (32, 64)


def test_a_large_jpeg_that_is_decoded_smaller_keeps_its_size(tmp_path: Path) -> None:
    found = read_properties(save(noise((4000, 2400)), tmp_path / "large.jpg"))
    assert (found.width, found.height, found.short_side_px) == (4000, 2400, 2400)


def test_sharpness_is_the_variance_of_scipys_laplacian() -> None:
    thumbnail = grey_thumbnail(noise((300, 200)))
    expected = scipy.ndimage.laplace(thumbnail)[1:-1, 1:-1].var()
    assert sharpness_of(thumbnail) == pytest.approx(expected)


def test_sharpness_of_a_single_bright_pixel_by_hand() -> None:
    thumbnail = np.zeros((5, 5))
    thumbnail[2, 2] = 1
    laplacian = np.array([0, 1, 0, 1, -4, 1, 0, 1, 0])
    assert sharpness_of(thumbnail) == pytest.approx(laplacian.var())


def test_blur_lowers_the_sharpness(tmp_path: Path) -> None:
    picture = noise((300, 300))
    blurred = [picture.filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 3)]
    found = [read_properties(save(each, tmp_path / f"{n}.png")).sharpness for n, each in enumerate(blurred)]
    assert found[0] > 2 * found[1] > 4 * found[2] > 0


def test_of_a_box_brightness_and_sharpness_are_its_own(tmp_path: Path) -> None:
    picture = Image.new("RGB", (100, 100), "black")
    picture.paste("white", (50, 0, 100, 100))
    path = save(picture, tmp_path / "a.png")
    assert read_properties(path).brightness == pytest.approx(0.5, abs=0.01)
    found = read_properties(path, (50, 0, 50, 100))
    assert (found.brightness, found.sharpness, found.width) == (1, 0, 100)


def test_rows_stand_in_the_given_order_and_unreadable_ones_are_null(tmp_path: Path) -> None:
    good = save(noise((40, 30)), tmp_path / "good.png")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(good.read_bytes()[:200])
    done: list[int] = []
    table = picture_properties([broken, good, tmp_path / "none.png"], on_progress=done.append)
    assert table.columns == list(SCHEMA)
    assert table["width"].to_list() == [None, 40, None]
    assert all(table[name].null_count() == 2 for name in SCHEMA)
    assert sum(done) == 3


def test_a_box_outside_the_picture_is_null_and_no_pictures_are_no_rows(tmp_path: Path) -> None:
    path = save(noise((40, 30)), tmp_path / "a.png")
    table = picture_properties([path, path], [(50, 50, 5, 5), None])
    assert table["brightness"].is_null().to_list() == [True, False]
    assert picture_properties([]).shape == (0, len(SCHEMA))
    with pytest.raises(ImageError, match="outside the picture"):
        read_properties(path, (50, 50, 5, 5))
