"""Small copies of pictures, as files beside the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision.data.images import decode_image
from vision.data.preprocessing import THUMBNAIL_PX as SIDE_PX
from vision.data.thumbnails import thumbnail_jpeg
from vision.errors import ImageError
from vision.evaluate.aligned_correlation import aligned_correlations
from vision.evaluate.near_duplicates import NearDuplicate
from vision.evaluate.report.review_data import Review
from vision.files import whole_file

MAX_THUMBNAILS = 2000
"""Of about 10 kB and 15 ms each; the page says how many pictures are left out."""

THUMBNAILS_DIR = "thumbnails"
_KEPT_CORRELATION = 0.8  # of what was found on other cuts of the pictures


@dataclass(frozen=True)
class Thumbnails:
    """Which pictures of the page have one.

    Attributes:
        made: Places of pictures on the page.
        faults: Why a picture has none, by its place.
        num_left_out: Pictures beyond the cap.
        num_wrong_left_out: Those of them whose answer is wrong.
    """

    made: frozenset[int]
    faults: dict[int, str]
    num_left_out: int = 0
    num_wrong_left_out: int = 0


def thumbnail_name(place: int) -> str:
    """File of a picture's thumbnail, from the page's folder."""
    return f"{THUMBNAILS_DIR}/{place:06}.jpg"


def thumbnail_order(review: Review) -> NDArray[np.int64]:
    """Places of pictures, those that a reviewer looks at first before others.

    Wrong answers come first, in turn from each cell its surest, so that a cap leaves no cell without any.
    """
    same_cell = (np.diff(review.truth) == 0) & (np.diff(review.recorded) == 0)
    starts = np.concatenate([[True], ~same_cell])[: len(review.truth)]
    places = np.arange(len(review.truth))
    in_cell = places - np.maximum.accumulate(np.where(starts, places, 0))
    order: NDArray[np.int64] = np.lexsort((places, in_cell, review.is_right))
    return order


def write_thumbnails(
    review: Review,
    file_names: Sequence[str],
    images_dir: Path | None,
    report_dir: Path,
    *,
    most: int = MAX_THUMBNAILS,
    before: Sequence[int] = (),
) -> Thumbnails:
    """Write thumbnails of the first `most` pictures in `thumbnail_order`; unreadable ones are told, not made.

    Args:
        review: The pictures.
        file_names: N names, in the page's order.
        images_dir: Where they start; None if the pictures are not at hand.
        report_dir: Folder of the page. Thumbnails of an earlier page are removed.
        most: Cap.
        before: Places of pictures that come before all others.
    """
    for stale in (report_dir / THUMBNAILS_DIR).glob("*.jpg"):
        stale.unlink()
    if images_dir is None:
        return Thumbnails(frozenset(), {})
    order = np.array(list(dict.fromkeys([*before, *thumbnail_order(review).tolist()])), dtype=np.int64)
    made, faults = set(), {}
    for place in order[:most].tolist():
        try:
            _write_thumbnail(images_dir / file_names[place], report_dir / thumbnail_name(place))
            made.add(place)
        except ImageError as error:
            faults[place] = str(error).replace(f"{images_dir}{os.sep}", "")  # the page may be mailed
    left_out = order[most:]
    return Thumbnails(frozenset(made), faults, len(left_out), int((~review.is_right[left_out]).sum()))


def write_training_thumbnails(
    pairs: Sequence[NearDuplicate], images_dir: Path | None, report_dir: Path
) -> dict[NearDuplicate, str]:
    """Write small copies of training pictures that lie where the judged ones do; addresses by pair.

    The pictures of another data set may have the same names: one is shown only if its details are nearly as much those
    of the judged picture as was found.

    Args:
        pairs: Judged and training pictures.
        images_dir: Where both start; None if the pictures are not at hand.
        report_dir: Folder of the page, in which `write_thumbnails` has removed what was there before.
    """
    written: dict[NearDuplicate, str] = {}
    if images_dir is None:
        return written
    for number, pair in enumerate(pairs):
        address, source = f"{THUMBNAILS_DIR}/training-{number:03}.jpg", images_dir / pair.training_file_name
        least = _KEPT_CORRELATION * (1.0 if pair.correlation is None else pair.correlation)
        try:
            if _correlation(images_dir / pair.file_name, source) >= least:
                _write_thumbnail(source, report_dir / address)
                written[pair] = address
        except ImageError:
            continue  # its name is told
    return written


def _correlation(first: Path, second: Path) -> float:
    small = [
        np.asarray(decode_image(path, enough_px=2 * SIDE_PX).convert("L").resize((SIDE_PX, SIDE_PX)))
        for path in (first, second)
    ]
    return float(aligned_correlations(small[0][None], small[1][None, None]).max())


def _write_thumbnail(source: Path, target: Path) -> None:
    content = thumbnail_jpeg(source)
    with whole_file(target) as temporary:
        temporary.write_bytes(content)
