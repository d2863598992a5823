"""Small copies of pictures, for pages."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from vision.data.images import decode_image

THUMBNAIL_PX = 240


def thumbnail_jpeg(source: Path) -> bytes:
    """A small picture as the bytes of a JPEG.

    Raises:
        ImageError: The file is no whole picture.
    """
    image = decode_image(source, enough_px=2 * THUMBNAIL_PX)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return stream.getvalue()
