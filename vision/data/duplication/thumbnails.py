"""Every picture of a data set once, small and grey, kept on disk by its digest.

N rows, M different files that can be read, S side of a thumbnail in px.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vision.data.check import FileFacts, read_file_facts
from vision.data.duplication.alignment import SIDE_PX
from vision.data.images import decode_image
from vision.data.manifest import Manifest
from vision.errors import ImageError
from vision.files import whole_file

_VERSION = 2
"""To be raised when a picture's thumbnail would become another."""

Progress = Callable[[int], None]

_LEAST_BAR, _LEAST_LEFT = 0.015, 0.4
"""Share of a side that a bar takes at least, and that bars leave at least."""
_BAR_SPREAD, _BAR_STEP = 5.0, 10.0
"""Grey levels by which a bar varies at most (JPEG adds some), and by which what borders on it differs at least."""


@dataclass(frozen=True)
class SeenPictures:
    """What was read of a data set.

    Attributes:
        digests: N, SHA-256 of each row's file; empty where it cannot be used.
        faults: From row to why its file cannot be used.
        rows: (M,) the first row of each different file, ascending.
        thumbnails: (M, S, S) grey, each stretched to a square.
    """

    digests: tuple[str, ...]
    faults: dict[int, str]
    rows: NDArray[np.int64]
    thumbnails: NDArray[np.uint8]


def see_pictures(manifest: Manifest, cache_dir: Path, *, on_progress: Progress = lambda count: None) -> SeenPictures:
    """All pictures of a manifest, read on all cores; broken ones are told, not raised.

    Digests are made anew from the files: one in the manifest may be of a file that has changed since.

    Args:
        manifest: N rows.
        cache_dir: Where thumbnails are kept; what is there is not decoded again, so an interrupted run goes on.
        on_progress: Told how many rows are done; N for their digests, then N for their thumbnails.
    """
    facts = read_file_facts(manifest, decode=False, on_progress=lambda: on_progress(1))
    first_rows: dict[str, int] = {}
    for row, fact in enumerate(facts):
        if not fact.fault:
            first_rows.setdefault(fact.sha256, row)
    paths = {digest: manifest.image_path(manifest.file_names[row]) for digest, row in first_rows.items()}
    on_progress(len(facts) - len(paths))
    thumbnails, broken = _thumbnails_of(paths, cache_dir, on_progress)
    is_read = np.array([digest not in broken for digest in first_rows], dtype=bool)
    return SeenPictures(
        digests=tuple("" if fact.fault or fact.sha256 in broken else fact.sha256 for fact in facts),
        faults=_faults(facts, broken),
        rows=np.array(list(first_rows.values()), dtype=np.int64)[is_read],
        thumbnails=thumbnails[is_read] if broken else thumbnails,
    )


def grey_thumbnail(path: Path) -> NDArray[np.uint8]:
    """A file's picture without bars at its edges, (S, S) grey, stretched to a square.

    Raises:
        ImageError: The file is no whole picture.
    """
    image = without_bars(decode_image(path, enough_px=2 * SIDE_PX).convert("L"))
    return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))


def without_bars(image: Image.Image) -> Image.Image:
    """A grey picture without strips of one colour along its edges: letterboxes, frames, strips for a caption.

    A strip ends in a straight line beyond which most pixels differ; a clear sky or a bright ground does not and stays.
    """
    pixels = np.asarray(image, dtype=np.float32)
    top, bottom = _inner(pixels)
    left, right = _inner(pixels[top:bottom].T)
    if (top, bottom) == (0, len(pixels)):  # bars at the sides may have hidden those above and below
        top, bottom = _inner(pixels[:, left:right])
    return image.crop((left, top, right, bottom))


def _inner(lines: NDArray[np.float32]) -> tuple[int, int]:
    """Which lines of a picture lie between bars: the first, and the one after the last."""
    num_lines = len(lines)
    first, last = _bar_height(lines), num_lines - _bar_height(lines[::-1])
    return (first, last) if last - first >= _LEAST_LEFT * num_lines else (0, num_lines)


def _bar_height(lines: NDArray[np.float32]) -> int:
    """Lines from the first one on that are a bar; 0 if there is none."""
    colour = float(np.median(lines[0]))
    height = next((place for place, line in enumerate(lines) if not _is_plain(line, colour)), len(lines))
    if height < max(1, _LEAST_BAR * len(lines)) or height + 3 > len(lines):
        return 0
    # The line after the bar's last may be half bar, half picture.
    differs = np.abs(lines[height + 1 : height + 3] - colour).max(axis=0) >= _BAR_STEP
    return height + 1 if differs.mean() >= 0.5 else 0


def _is_plain(line: NDArray[np.float32], colour: float) -> bool:
    """Whether nearly all of a line is of one colour."""
    return bool((np.abs(line - colour) <= _BAR_SPREAD).mean() >= 0.95)


def _faults(facts: Sequence[FileFacts], broken: dict[str, str]) -> dict[int, str]:
    of_rows = {row: fact.fault or broken.get(fact.sha256, "") for row, fact in enumerate(facts)}
    return {row: fault for row, fault in of_rows.items() if fault}


def _thumbnails_of(
    paths: dict[str, Path], cache_dir: Path, on_progress: Progress
) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """One thumbnail for each digest, in order, and from digest to why there is none."""
    thumbnails = np.zeros((len(paths), SIDE_PX, SIDE_PX), dtype=np.uint8)
    places = {digest: place for place, digest in enumerate(paths)}
    broken: dict[str, str] = {}
    by_prefix: dict[str, list[str]] = {}
    for digest in paths:
        by_prefix.setdefault(digest[:2], []).append(digest)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for prefix, digests in sorted(by_prefix.items()):
            kept_path = cache_dir / f"grey-{SIDE_PX}-v{_VERSION}" / f"{prefix}.npz"
            kept = _load_kept(kept_path)
            missing = [digest for digest in digests if digest not in kept]
            made = dict(zip(missing, pool.map(lambda digest: _thumbnail_or_fault(paths[digest]), missing), strict=True))
            new = {digest: made_of for digest, made_of in made.items() if not isinstance(made_of, str)}
            broken |= {digest: fault for digest, fault in made.items() if isinstance(fault, str)}
            if new:
                _save_kept(kept_path, kept | new)
            for digest in digests:
                if digest not in broken:
                    thumbnails[places[digest]] = new[digest] if digest in new else kept[digest]
            on_progress(len(digests))
    return thumbnails, broken


def _thumbnail_or_fault(path: Path) -> NDArray[np.uint8] | str:
    try:
        return grey_thumbnail(path)
    except ImageError as error:
        return str(error).removeprefix(f"{path}: ")


def _load_kept(path: Path) -> dict[str, NDArray[np.uint8]]:
    """What was kept; a file that was cut or damaged counts as empty."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            digests, thumbnails = stored["digests"].tolist(), stored["thumbnails"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    if thumbnails.shape != (len(digests), SIDE_PX, SIDE_PX):
        return {}
    return dict(zip(digests, thumbnails, strict=True))


def _save_kept(path: Path, kept: dict[str, NDArray[np.uint8]]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, digests=np.array(list(kept)), thumbnails=np.stack(list(kept.values())))
