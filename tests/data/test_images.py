"""Awkward pictures: what is decoded is whole and upright, everything else is an ImageError with the path."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vision.data import images
from vision.data.images import crop_to_box, decode_image
from vision.errors import ImageError

ORIENTATION_TAG = 0x0112
GREY = (127, 127, 127)


def scene(width: int = 48, height: int = 40, mode: str = "RGB") -> Image.Image:
    """A smooth picture in which no two parts are alike."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)  # (H, W, 3)


def grey_16_bit() -> Image.Image:
    return Image.fromarray(np.array([[0, 257, 128 * 257], [200 * 257, 65535, 300]], dtype=np.uint16))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, bits: int, colour_type: int, scanlines: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(scanlines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


SMALL_FILES = {
    "jpeg": encoded(scene(), "JPEG"),
    "jpeg progressive": encoded(scene(), "JPEG", progressive=True),
    "jpeg cmyk": encoded(scene(mode="CMYK"), "JPEG"),
    "mpo": encoded(scene(), "MPO", save_all=True, append_images=[scene()]),
    "png": encoded(scene(), "PNG"),
    "png palette": encoded(scene(mode="P"), "PNG", transparency=3),
    "png 16 bit": encoded(grey_16_bit(), "PNG"),
    "gif": encoded(scene(mode="P"), "GIF"),
    "webp": encoded(scene(), "WEBP"),
    "webp lossless": encoded(scene(), "WEBP", lossless=True),
    "bmp": encoded(scene(), "BMP"),
    "tiff": encoded(scene(), "TIFF"),
    "tiff lzw": encoded(scene(), "TIFF", compression="tiff_lzw"),
    "tiff deflate": encoded(scene(), "TIFF", compression="tiff_adobe_deflate"),
    "tiff jpeg": encoded(scene(), "TIFF", compression="jpeg"),
    "avif": encoded(scene(), "AVIF"),
    "ppm": encoded(scene(), "PPM"),
}


def stored_as(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """How a camera stores a picture that a viewer shows as `upright`, by the table of EXIF 2.3."""
    turned_ccw, turned_cw = np.rot90(upright, 1), np.rot90(upright, -1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: turned_ccw,
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: turned_cw,
    }
    return np.ascontiguousarray(stored[orientation])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_every_exif_orientation_gives_the_same_upright_pixels(
    tmp_path: Path, file_format: str, options: dict[str, Any], orientation: int
) -> None:
    upright = np.asarray(scene(6, 4))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    stored = Image.fromarray(stored_as(upright, orientation))
    path = saved(tmp_path / "x", encoded(stored, file_format, exif=exif, **options))
    np.testing.assert_array_equal(pixels(decode_image(path)), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_of_a_jpeg_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = np.asarray(scene(64, 32))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    stored = Image.fromarray(stored_as(upright, orientation))
    path = saved(tmp_path / "x.jpg", encoded(stored, "JPEG", exif=exif, quality=95))
    difference = pixels(decode_image(path)) - upright
    assert np.abs(difference).mean() < 3


def test_an_impossible_exif_orientation_leaves_the_picture_as_it_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 99
    path = saved(tmp_path / "x.png", encoded(scene(), "PNG", exif=exif))
    np.testing.assert_array_equal(pixels(decode_image(path)), pixels(scene()))


def test_every_format_is_decoded(tmp_path: Path) -> None:
    for name, content in SMALL_FILES.items():
        assert decode_image(saved(tmp_path / name, content)).mode == "RGB", name


@pytest.mark.parametrize("name", ["png", "webp lossless", "bmp", "tiff", "tiff lzw", "tiff deflate", "ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "x", SMALL_FILES[name])
    np.testing.assert_array_equal(pixels(decode_image(path)), pixels(scene()))


def test_the_format_is_told_by_content_not_by_the_ending(tmp_path: Path) -> None:
    path = saved(tmp_path / "really-a-png.jpg", SMALL_FILES["png"])
    np.testing.assert_array_equal(pixels(decode_image(path)), pixels(scene()))


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image = decode_image(saved(tmp_path / "x.jpg", encoded(red, "JPEG", quality=95)))
    np.testing.assert_allclose(pixels(image)[8, 8], (255, 0, 0), atol=4)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    image = decode_image(saved(tmp_path / "x.png", encoded(palette, "PNG")))
    assert pixels(image).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_a_transparent_palette_entry_becomes_mid_grey(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    image = decode_image(saved(tmp_path / "x.png", encoded(palette, "PNG", transparency=1)))
    assert pixels(image).tolist() == [[[10, 20, 30], list(GREY)]]


def test_grey_with_alpha_is_laid_over_mid_grey(tmp_path: Path) -> None:
    image = Image.new("LA", (3, 1))
    for x, value in enumerate([(200, 255), (200, 0), (255, 128)]):
        image.putpixel((x, 0), value)
    row = pixels(decode_image(saved(tmp_path / "x.png", encoded(image, "PNG"))))[0, :, 0]
    assert row[:2].tolist() == [200, 127]
    assert abs(row[2] - 191) <= 1


@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_colour_with_alpha_is_laid_over_mid_grey(tmp_path: Path, file_format: str, options: dict[str, Any]) -> None:
    image = Image.new("RGBA", (3, 1))
    for x, value in enumerate([(250, 10, 20, 255), (250, 10, 20, 0), (255, 0, 0, 128)]):
        image.putpixel((x, 0), value)
    row = pixels(decode_image(saved(tmp_path / "x", encoded(image, file_format, **options))))[0]
    assert row[:2].tolist() == [[250, 10, 20], list(GREY)]
    np.testing.assert_allclose(row[2], (191, 63, 63), atol=1)


def test_the_colour_that_a_png_declares_transparent_becomes_mid_grey(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 1), (0, 255, 0))
    image.putpixel((1, 0), (1, 2, 3))
    decoded = decode_image(saved(tmp_path / "x.png", encoded(image, "PNG", transparency=(0, 255, 0))))
    assert pixels(decoded).tolist() == [[list(GREY), [1, 2, 3]]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_to_8_bits(tmp_path: Path, file_format: str) -> None:
    image = decode_image(saved(tmp_path / "x", encoded(grey_16_bit(), file_format)))
    assert pixels(image)[..., 0].tolist() == [[0, 1, 128], [200, 255, 1]]


def test_16_bit_grey_with_an_orientation_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    image = decode_image(saved(tmp_path / "x.png", encoded(grey_16_bit(), "PNG", exif=exif)))
    assert pixels(image)[..., 0].tolist() == [[200, 0], [255, 1], [1, 128]]


def test_16_bit_colour_loses_its_low_byte(tmp_path: Path) -> None:
    values = np.array([[0x0102, 0xFFFF, 0x8000, 0x00FF, 0x1234, 0x7FFF]], dtype=">u2")  # one row of two pixels
    content = png(2, 1, bits=16, colour_type=2, scanlines=b"\0" + values.tobytes())
    assert pixels(decode_image(saved(tmp_path / "x.png", content))).tolist() == [[[1, 255, 128], [0, 0x12, 0x7F]]]


def test_black_and_white_becomes_rgb(tmp_path: Path) -> None:
    image = decode_image(saved(tmp_path / "x.png", encoded(Image.new("1", (2, 2), 1), "PNG")))
    assert pixels(image).tolist() == [[[255] * 3] * 2] * 2


def test_floating_point_pixels_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = saved(tmp_path / "heat.tif", encoded(Image.new("F", (4, 4), 0.5), "TIFF"))
    with pytest.raises(ImageError, match=r"heat\.tif: floating-point pixels.*save it with 8 or 16 bits"):
        decode_image(path)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, file_format: str) -> None:
    red, blue = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
    content = encoded(red, file_format, save_all=True, append_images=[blue])
    image = decode_image(saved(tmp_path / "x", content))
    np.testing.assert_allclose(pixels(image)[8, 8], (255, 0, 0), atol=4)


def test_a_picture_of_one_pixel_is_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert pixels(decode_image(path, enough_px=100)).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("name", [name for name in SMALL_FILES if name not in ("avif", "ppm")])
def test_a_file_that_ends_early_is_an_error_or_the_whole_picture(tmp_path: Path, name: str) -> None:
    content = SMALL_FILES[name]
    whole = pixels(decode_image(saved(tmp_path / "whole", content)))
    num_bytes = len(content)
    wrong_cuts = []
    for cut in [*range(1, num_bytes, 29), num_bytes // 10, num_bytes // 2, num_bytes * 9 // 10, num_bytes - 1]:
        try:
            part = pixels(decode_image(saved(tmp_path / "part", content[:cut])))
        except ImageError:
            continue
        if not np.array_equal(part, whole):
            wrong_cuts.append(cut)
    assert wrong_cuts == []


@pytest.mark.parametrize("name", list(SMALL_FILES))
def test_half_a_file_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    content = SMALL_FILES[name]
    path = saved(tmp_path / "half.jpg", content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"half\.jpg: .*(broken picture|not a picture)"):
        decode_image(path)


def test_half_a_jpeg_is_an_error_at_reduced_size_too(tmp_path: Path) -> None:
    content = encoded(scene(800, 600), "JPEG", quality=95)
    path = saved(tmp_path / "half.jpg", content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"half\.jpg: broken picture .*get the file again"):
        decode_image(path, enough_px=64)


def test_bytes_after_the_end_of_a_picture_do_no_harm(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", SMALL_FILES["png"] + b"appended by a phone")
    np.testing.assert_array_equal(pixels(decode_image(path)), pixels(scene()))


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"x\.jpg: the file is empty \(0 bytes\)"):
        decode_image(saved(tmp_path / "x.jpg", b""))


def test_text_named_like_a_picture_is_told_with_the_formats_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"page\.jpg: not a picture in a format that is read \(JPEG.*PNG"):
        decode_image(saved(tmp_path / "page.jpg", b"<html>404 not found</html>" * 20))


def test_a_folder_named_like_a_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    with pytest.raises(ImageError, match=r"x\.jpg: a folder"):
        decode_image(tmp_path / "x.jpg")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"x\.jpg: no such file"):
        decode_image(tmp_path / "x.jpg")


def test_a_path_through_a_file_is_told_as_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", SMALL_FILES["jpeg"]) / "b.jpg"
    with pytest.raises(ImageError, match=r"a\.jpg/b\.jpg: no such file"):
        decode_image(path)


def test_a_loop_of_symbolic_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg: (a symbolic link that leads nowhere|cannot be read)"):
        decode_image(tmp_path / "a.jpg")


def test_a_symbolic_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match=r"a\.jpg: a symbolic link that leads nowhere"):
        decode_image(tmp_path / "a.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"pipe\.jpg: not a regular file"):
        decode_image(tmp_path / "pipe.jpg")


def test_a_nul_in_the_name_is_told() -> None:
    with pytest.raises(ImageError, match=r"no such file|not a possible file name"):
        decode_image(Path("a\0b.jpg"))


def test_a_name_longer_than_the_system_allows_is_told() -> None:
    with pytest.raises(ImageError, match=r"aaa\.jpg: cannot be read"):
        decode_image(Path("a" * 5000 + ".jpg"))


def test_too_many_pixels_are_refused_with_size_and_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    path = saved(tmp_path / "x.png", SMALL_FILES["png"])
    with pytest.raises(ImageError, match=r"x\.png: 48 x 40 px, more than the limit of 1,000 pixels; make it smaller"):
        decode_image(path)


def test_as_many_pixels_as_the_limit_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 48 * 40)
    assert decode_image(saved(tmp_path / "x.png", SMALL_FILES["png"])).size == (48, 40)


def test_too_many_bytes_are_refused_with_count_and_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 10)
    with pytest.raises(ImageError, match=r"x\.png: [\d,]+ bytes, more than the limit of 10"):
        decode_image(saved(tmp_path / "x.png", SMALL_FILES["png"]))


@pytest.mark.parametrize(
    "side", [10_001, 20_000, 2**31 - 1]
)  # below and above the limits at which Pillow warns, raises
def test_a_small_file_that_declares_a_huge_picture_is_told_to_be_too_large(tmp_path: Path, side: int) -> None:
    content = png(side, side, bits=8, colour_type=2, scanlines=b"\0")
    with pytest.raises(ImageError, match=r"huge\.png: .*more than the limit of .* pixels; make it smaller"):
        decode_image(saved(tmp_path / "huge.png", content))


def test_a_baseline_jpeg_over_the_limit_is_read_at_reduced_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    path = saved(tmp_path / "x.jpg", encoded(scene(400, 400), "JPEG"))
    assert decode_image(path, enough_px=50).size == (50, 50)


def test_a_progressive_jpeg_over_the_limit_is_refused_at_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    path = saved(tmp_path / "x.jpg", encoded(scene(400, 400), "JPEG", progressive=True))
    with pytest.raises(ImageError, match=r"x\.jpg: 400 x 400 px, more than the limit"):
        decode_image(path, enough_px=50)


@pytest.mark.parametrize("size", [(1000, 700), (701, 999), (801, 801), (1600, 100), (3, 900)])
@pytest.mark.parametrize("enough_px", [1, 99, 100, 101, 175, 350])
def test_reduced_decoding_keeps_enough_pixels_on_both_sides(
    tmp_path: Path, size: tuple[int, int], enough_px: int
) -> None:
    path = saved(tmp_path / "x.jpg", encoded(Image.new("RGB", size), "JPEG"))
    width, height = decode_image(path, enough_px=enough_px).size
    assert width >= min(size[0], enough_px)
    assert height >= min(size[1], enough_px)
    assert (width, height) == size or min(width, height) >= enough_px


def test_reduced_decoding_shows_the_same_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", encoded(scene(800, 640), "JPEG", quality=95))
    full, reduced = decode_image(path), decode_image(path, enough_px=100)
    assert reduced.size == (200, 160)
    averaged = full.resize(reduced.size, Image.Resampling.BOX)
    assert np.abs(pixels(averaged) - pixels(reduced)).max() <= 6


def test_a_reduced_picture_is_turned_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    path = saved(tmp_path / "x.jpg", encoded(scene(800, 400), "JPEG", exif=exif))
    assert decode_image(path, enough_px=100).size == (100, 200)


def test_other_formats_than_jpeg_are_decoded_at_full_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", encoded(scene(400, 400), "PNG"))
    assert decode_image(path, enough_px=50).size == (400, 400)


def test_a_jpeg_with_broken_exif_is_decoded(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    content = encoded(scene(), "JPEG", exif=exif)
    start = content.index(b"Exif\0\0") + 6
    broken = content[: start + 8] + b"\xff\xff" + content[start + 10 :]  # 65535 entries instead of one
    assert decode_image(saved(tmp_path / "x.jpg", broken)).mode == "RGB"


def damaged_files(num_cases: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Small files of every format with some bytes replaced, often in the header, and some cut short."""
    generator = random.Random(seed)
    names = list(SMALL_FILES)
    for case in range(num_cases):
        name = names[case % len(names)]
        content = bytearray(SMALL_FILES[name])
        reach = min(len(content), generator.choice([60, 300, len(content)]))
        for _ in range(generator.randint(1, 6)):
            content[generator.randrange(reach)] = generator.randrange(256)
        if generator.random() < 0.3:
            del content[generator.randrange(1, len(content)) :]
        yield f"case {case}, {name}", bytes(content)


@pytest.mark.parametrize("enough_px", [None, 8])
def test_damaged_files_give_a_picture_or_an_image_error_and_nothing_else(tmp_path: Path, enough_px: int | None) -> None:
    faults = []
    for case, content in damaged_files(425, seed=0):
        path = saved(tmp_path / "damaged", content)
        try:
            decoded = decode_image(path, enough_px=enough_px)
            faults += [] if decoded.mode == "RGB" else [f"{case}: mode {decoded.mode}"]
        except ImageError as error:
            faults += [] if str(error).startswith(f"{path}: ") else [f"{case}: no path in '{error}'"]
        except Exception as error:  # noqa: BLE001, whatever else comes out is the fault that is looked for
            faults.append(f"{case}: {type(error).__name__}: {error}")
    assert faults == []


def test_crop_takes_the_box_and_its_margin() -> None:
    image = scene(100, 80)
    cropped = crop_to_box(image, (20, 30, 40, 20), 0.5)
    assert cropped.size == (80, 40)
    np.testing.assert_array_equal(pixels(cropped), pixels(image)[20:60, 0:80])


def test_crop_stays_within_the_picture() -> None:
    assert crop_to_box(scene(100, 80), (-10, -10, 300, 300), 0.1).size == (100, 80)


def test_crop_of_a_box_smaller_than_a_pixel_is_one_pixel() -> None:
    assert crop_to_box(scene(100, 80), (50.2, 40.2, 0.1, 0.1), 0).size == (1, 1)
