"""Evidence maps as pictures: orange where a place spoke for the answered class, blue where against it.

Orange and blue stay apart in every common colour blindness (Okabe and Ito 2008). Where nothing speaks, nothing is
drawn. A layer is transparent and covers the whole picture, so that it can be laid over any size of it.

h and w are the sides of an evidence map.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.classify.engine import Engine
from vision.classify.evidence import Evidence, EvidenceMaker, interpolation
from vision.data.images import decode_image
from vision.data.preprocessing import Box
from vision.errors import ImageError
from vision.evaluate.report.review_rows import Overlay
from vision.files import whole_file
from vision.predictions import Prediction

FOR_COLOUR, AGAINST_COLOUR = (230, 97, 1), (0, 90, 200)
LAYER_PX = 120
"""Longer side of a layer beside the page; a map has some ten places a side, so that a browser may smooth the rest."""

MOST_OPAQUE = 0.7
"""Of the strongest place; the vehicle stays visible."""

_KEPT_COLOUR = 0.25  # of the picture below: else its own orange and blue are taken for evidence
_LEAST_FULL_LOG_ODDS = 1e-9
_MOST_STEM = 60


@dataclass(frozen=True)
class LayerTask:
    """A picture to make a layer of.

    Attributes:
        file_name: As in its prediction row.
        path: The file.
        box: The part that was looked at, in px.
        answered: Class to speak for; None for the most probable.
        against: Class to speak against; None for the most probable other one.
    """

    file_name: str
    path: Path
    box: Box | None = None
    answered: str | None = None
    against: str | None = None


def write_layers(
    maker: EvidenceMaker,
    tasks: Iterable[LayerTask],
    folder: Path,
    *,
    num_threads: int = 1,
    on_progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Overlay]:
    """Write transparent layers `000000.png` and so on; by `file_name`, what `render_report` takes as `overlays`.

    Args:
        maker: Of the bundle that made the predictions.
        tasks: Pictures; those that cannot be read have no layer.
        folder: Where they go. Layers of an earlier page are removed.
        num_threads: Pictures that are under way at a time.
        on_progress: Told of each picture that is done.
    """
    for stale in folder.glob("*.png"):
        stale.unlink()
    written = {}

    def layer_of(task: LayerTask) -> tuple[Evidence, bytes] | None:
        try:
            evidence = maker.evidence(task.path, box=task.box, answered=task.answered, against=task.against)
            size = layer_size(decode_image(task.path, enough_px=LAYER_PX).size)
        except ImageError:
            return None  # its row says why
        return evidence, png_bytes(evidence_layer(evidence, size))

    listed = list(tasks)
    with ThreadPoolExecutor(num_threads) as pool:
        for number, (task, made) in enumerate(zip(listed, pool.map(layer_of, listed), strict=True)):
            if made is not None:
                evidence, content = made
                overlay = Overlay(folder / f"{number:06}.png", evidence.answered, evidence.against)
                with whole_file(overlay.path) as temporary:
                    temporary.write_bytes(content)
                written[task.file_name] = overlay
            on_progress(1)
    return written


def layer_size(picture_size: tuple[int, int], longer_px: int = LAYER_PX) -> tuple[int, int]:
    """Width and height in px with the sides of a picture and a given longer one."""
    scale = longer_px / max(picture_size)
    return max(1, round(picture_size[0] * scale)), max(1, round(picture_size[1] * scale))


def evidence_layer(evidence: Evidence, size: tuple[int, int], *, full_log_odds: float | None = None) -> Image.Image:
    """A transparent layer to lay over the whole picture, RGBA.

    Args:
        evidence: Of the picture.
        size: Width and height in px; the picture's sides, at any scale.
        full_log_odds: What a place must add to be drawn most opaque; by default the strongest of this picture, so that
            pictures cannot be compared by their colours.
    """
    values = spread_over_picture(evidence, size)
    strongest = float(np.abs(evidence.grid).max()) if full_log_odds is None else full_log_odds
    strength = np.clip(np.abs(values) / max(strongest, _LEAST_FULL_LOG_ODDS), 0, 1)
    colours = np.where((values > 0)[:, :, None], np.array(FOR_COLOUR), np.array(AGAINST_COLOUR))
    alpha = np.round(255 * MOST_OPAQUE * strength)[:, :, None]
    return Image.fromarray(np.concatenate([colours, alpha], axis=2).astype(np.uint8), "RGBA")


def spread_over_picture(evidence: Evidence, size: tuple[int, int]) -> NDArray[np.float64]:
    """The map at each pixel of the whole picture, (height, width), linear between places; 0 where nothing was seen."""
    left, top, right, bottom = evidence.part
    rows = _weights((np.arange(size[1]) + 0.5) / size[1], top, bottom, evidence.grid.shape[0])
    columns = _weights((np.arange(size[0]) + 0.5) / size[0], left, right, evidence.grid.shape[1])
    return np.asarray(rows @ evidence.grid @ columns.T)


def _weights(positions: NDArray[np.float64], start: float, end: float, num_cells: int) -> NDArray[np.float64]:
    """(positions, cells), rows of 0 for positions that the grid does not cover."""
    within = (positions - start) / (end - start)
    is_covered = (within >= 0) & (within <= 1)
    return interpolation(within, num_cells) * is_covered[:, None]


def evidence_picture(path: Path, evidence: Evidence, *, longer_px: int = 480) -> Image.Image:
    """The part of a picture that the network saw, faded, with its evidence over it; RGB.

    Raises:
        ImageError: The file is no whole picture.
    """
    image = decode_image(path)
    left, top, right, bottom = (min(max(share, 0.0), 1.0) for share in evidence.part)
    seen = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    num_px = (max(1, round(seen[2] - seen[0])), max(1, round(seen[3] - seen[1])))
    small = image.resize(layer_size(num_px, longer_px), Image.Resampling.BICUBIC, box=seen)
    faded = Image.blend(small.convert("L").convert("RGB"), small, _KEPT_COLOUR).convert("RGBA")
    whole = layer_size(image.size, round(longer_px * max(image.size) / max(num_px)))
    layer = evidence_layer(evidence, whole)
    part = (left * whole[0], top * whole[1], right * whole[0], bottom * whole[1])
    return Image.alpha_composite(faded, layer.resize(small.size, box=part)).convert("RGB")


def write_evidence_picture(path: Path, evidence: Evidence, target: Path) -> None:
    """Write `evidence_picture` as a JPEG, whole or not at all."""
    picture = evidence_picture(path, evidence)
    with whole_file(target) as temporary:
        picture.save(temporary, "JPEG", quality=85)


def png_bytes(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def with_evidence_pictures(engine: Engine, rows: Iterator[Prediction], folder: Path) -> Iterator[Prediction]:
    """The same rows, each passed on once its picture is written: `00000-NAME-CLASS-not-CLASS.jpg`, numbered by row.

    A row that answers no class, but a family or "unknown", gets the map of its two most probable classes; a row with an
    error gets none.

    Args:
        engine: That made the rows.
        rows: Of whole pictures, named by their paths.
        folder: Where pictures go.
    """
    maker = EvidenceMaker(engine)
    for number, row in enumerate(rows):
        if row.status == "ok":
            path = Path(row.file_name)
            evidence = maker.evidence(path, answered=row.label if row.level == "class" else None)
            stem = re.sub(r"[^\w-]+", "_", path.stem, flags=re.ASCII)[:_MOST_STEM]
            name = f"{number:05}-{stem}-{evidence.answered}-not-{evidence.against}.jpg"
            write_evidence_picture(path, evidence, folder / name)
        yield row
