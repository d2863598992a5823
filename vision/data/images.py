"""One way to decode every picture, for every use, to 8-bit RGB.

The rules, in this order:

1. Formats: JPEG (MPO too), PNG, WebP, GIF, BMP, TIFF, AVIF, PPM, told by content, never by the file's ending.
2. Of an animation or a multi-page file, the first frame.
3. JPEGs far larger than needed are decoded at 1/2, 1/4 or 1/8 of their size; both sides stay at or above `enough_px`.
4. EXIF orientation is applied; widths, heights and boxes are those of the upright picture.
5. 16-bit grey is scaled by 255/65535; 16-bit colour loses its low byte. Floating-point and 32-bit pixels are refused:
   nothing says which value is white.
6. CMYK, YCbCr and Lab are converted by Pillow without colour profile; embedded profiles are ignored.
7. Transparent parts are laid over mid grey (127, 127, 127), which networks see as "nothing".
8. Palette, black-and-white and grey pictures become RGB.

A file that ends early is an `ImageError`, never a picture with a grey patch. Damage inside a file that its decoder does
not notice (a JPEG has no checksum) cannot be told from a picture.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vision.errors import ImageError

_ENDINGS = ".jpg .jpeg .jpe .jfif .mpo .png .webp .gif .bmp .tif .tiff .avif .ppm .pgm .pbm .pnm"
IMAGE_ENDINGS = frozenset(_ENDINGS.split())
"""Endings, in lower case, by which a folder's pictures are told from its other files."""

MAX_PIXELS = 100_000_000
"""Pixels that may be decoded from one file; 300 MB in RGB."""

MAX_FILE_BYTES = 500_000_000

_TURNED_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM")

# What Pillow's readers raise on broken files besides OSError, found by fuzzing them in tests/data/test_images.py.
DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    EOFError,
    AssertionError,
    NotImplementedError,
    ZeroDivisionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


def decode_image(path: Path, *, enough_px: int | None = None) -> Image.Image:
    """The picture in a file as an upright 8-bit RGB image, by the rules of this module.

    Args:
        path: The file.
        enough_px: A large JPEG may be decoded at reduced size as long as both sides keep this many pixels; None
            decodes at full size.

    Raises:
        ImageError: There is no such file, it is no picture, it is broken, or it has more than `MAX_PIXELS` pixels.
    """
    _check_is_readable_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            full_size = image.size
            if enough_px is not None and image.format in ("JPEG", "MPO"):  # MPO: a JPEG with more behind it
                _reduce_while_decoding(image, enough_px)
            _check_num_pixels(path, image, full_size)
            image.load()
            return _as_upright_rgb(path, image)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture in a format that is read ({', '.join(_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: more than the limit of {MAX_PIXELS:,} pixels; make it smaller") from error
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); ask for the right to read it") from error
    except DECODER_FAULTS as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise ImageError(f"{path}: broken picture ({reason}); get the file again or leave it out") from error


def upright_size(path: Path, decoded: Image.Image | None = None) -> tuple[int, int]:
    """Width and height in px of a picture that can be decoded, also where it was decoded at a reduced size.

    Args:
        path: The file.
        decoded: What `decode_image` made of it; without, the header alone is asked.
    """
    with Image.open(path) as image:
        if decoded is not None and image.format not in ("JPEG", "MPO"):  # no others are reduced
            return decoded.size
        width, height = image.size
        is_sideways = image.getexif().get(ExifTags.Base.Orientation) in _TURNED_SIDEWAYS
    return (height, width) if is_sideways else (width, height)


def crop_to_box(image: Image.Image, box: tuple[float, float, float, float], margin: float) -> Image.Image:
    """The part of a picture around a box, widened by `margin` of the box's size on each side, within the picture.

    Args:
        image: The upright picture, at full size.
        box: x, y, width, height in px.
        margin: Share of the box's width and height added on each side.

    Raises:
        ImageError: The box lies outside the picture.
    """
    return image.crop(crop_rectangle(image.size, box, margin))


def crop_rectangle(
    size: tuple[int, int], box: tuple[float, float, float, float], margin: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part that `crop_to_box` takes, in whole px.

    Args:
        size: Width and height of the upright picture in px.
        box: x, y, width, height in px.
        margin: Share of the box's width and height added on each side.

    Raises:
        ImageError: The box lies outside the picture.
    """
    x, y, width, height = box
    if x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0:
        raise ImageError(f"box '{x:g} {y:g} {width:g} {height:g}' lies outside the picture of {size[0]} x {size[1]} px")
    left, top = x - margin * width, y - margin * height
    right, bottom = x + (1 + margin) * width, y + (1 + margin) * height
    left, top = max(0, round(left)), max(0, round(top))
    right, bottom = min(size[0], round(right)), min(size[1], round(bottom))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _check_is_readable_file(path: Path) -> None:
    try:
        if not path.is_file():
            what = _what_it_is(path)
            raise ImageError(f"{path}: {what}")
        num_bytes = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a NUL in the name
        raise ImageError(f"{str(path)!r}: not a possible file name ({error})") from error
    if num_bytes == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes)")
    if num_bytes > MAX_FILE_BYTES:
        raise ImageError(f"{path}: {num_bytes:,} bytes, more than the limit of {MAX_FILE_BYTES:,}")


def _what_it_is(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "not a regular file"
    return "a symbolic link that leads nowhere" if path.is_symlink() else "no such file"


def _reduce_while_decoding(image: Image.Image, enough_px: int) -> None:
    """Ask the JPEG decoder for the smallest size whose sides are both at least `enough_px`."""
    shorter = min(image.size)
    if shorter > enough_px:
        scale = enough_px / shorter
        image.draft("RGB", (max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _check_num_pixels(path: Path, image: Image.Image, full_size: tuple[int, int]) -> None:
    # A progressive JPEG holds all its coefficients in memory, so reducing it does not help.
    progressive = bool(image.info.get("progressive"))
    width, height = full_size if progressive else image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{path}: {full_size[0]} x {full_size[1]} px, more than the limit of {MAX_PIXELS:,} pixels; make it smaller"
        )


def _as_upright_rgb(path: Path, image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    values = np.asarray(upright).astype(np.int64) if upright.mode.startswith("I") else None
    if upright.mode == "F" or (values is not None and not 0 <= values.min() <= values.max() <= 65535):
        kind = "floating-point" if upright.mode == "F" else "32-bit"
        raise ImageError(f"{path}: {kind} pixels, no value is known to be white; save it with 8 or 16 bits")
    if values is not None:
        scaled = (values * 255 + 32767) // 65535
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (127, 127, 127, 255)), rgba).convert("RGB")
    # `convert` copies also when the mode is RGB already, so the result outlives the closed file.
    return upright.convert("RGB")
