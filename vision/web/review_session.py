"""One sitting of reviewing: the queue, what was decided, what there is to know about each picture."""

from __future__ import annotations

import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
from PIL import Image

from vision.data.check import LEADS_OUTSIDE, read_file_facts
from vision.data.images import DECODER_FAULTS, decode_image, upright_size
from vision.data.manifest import Manifest, parse_box
from vision.data.reviewing.decisions import UNDECIDED, UNKNOWN_CLASS, ReviewHistory, ReviewLine, ReviewLog, Verdict, now
from vision.errors import ImageError, ManifestError, ReviewError, nearest_name_hint
from vision.files import is_inside, sha256_of_file
from vision.taxonomy import Taxonomy
from vision.web.review_order import QueuedPicture
from vision.web.review_texts import SourceTexts, load_source_texts

PICTURE_PX = 1600
"""Longer side of the pictures that are shown."""

CODES = {
    Verdict.KEEP: "k",
    Verdict.REJECT: "r",
    Verdict.NOT_THIS_CLASS: "n",
    Verdict.INTERIOR: "i",
    Verdict.MODEL: "m",
    Verdict.WRECK: "w",
    Verdict.SKIP: "s",
    Verdict.NOTE: ".",
}
"""A letter for what stands about a picture, which is also its key; `.` for nothing."""


@dataclass(frozen=True)
class Shown:
    """A picture as it is sent to the page."""

    jpeg: bytes
    sha256: str


class ReviewSession:
    """What the page asks and tells; positions count the queue from 0. Safe to use from several threads."""

    def __init__(
        self,
        manifest: Manifest,
        queue: Sequence[QueuedPicture],
        taxonomy: Taxonomy,
        log: ReviewLog,
        lines: Iterable[ReviewLine] = (),
        *,
        again: bool = False,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.manifest, self.taxonomy, self.queue, self.again = manifest, taxonomy, queue, again
        _check_names(manifest)
        self._folder = manifest.folder.resolve()
        self._names = [manifest.file_names[picture.row] for picture in queue]
        labels = manifest.table["label"].fill_null("").to_list()
        self.labels = [labels[picture.row] for picture in queue]
        self._texts = load_source_texts(manifest)
        self._position_of = {name: position for position, name in enumerate(self._names)}
        self._history, self._log = ReviewHistory(lines), log
        self._digests: dict[int, str] = {}  # of files as they were shown
        self._lock = threading.RLock()
        self._decoding = threading.BoundedSemaphore(os.cpu_count() or 1)  # a large picture takes 300 MB
        self.changed = self._read_digests_of_decided(on_progress)
        self._codes = [self._code(position) for position in range(len(queue))]

    @property
    def num_pictures(self) -> int:
        """How many there are to review."""
        return len(self.queue)

    @property
    def codes(self) -> str:
        """What stands about each position, a letter of `CODES` each."""
        return "".join(self._codes)

    def num_by_code(self) -> Counter[str]:
        """Pictures by letter of `CODES`."""
        with self._lock:
            return Counter(self._codes)

    def position_of_row(self, row: int) -> int | None:
        """Where a row of the manifest stands in the queue."""
        if not 0 <= row < len(self.manifest.table):
            return None
        return self._position_of.get(self.manifest.file_names[row])

    def show(self, position: int) -> Shown:
        """The picture, upright and no larger than a screen.

        Raises:
            ImageError: It cannot be shown; it can be decided about all the same.
        """
        path = self._path(position)
        with self._decoding:
            digest = self._digest_now(position)
            with self._lock:
                self._digests[position] = digest
            image = decode_image(path, enough_px=PICTURE_PX)
            image.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.BICUBIC)
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=88)
        return Shown(stream.getvalue(), digest)

    def describe(self, position: int) -> dict[str, object]:
        """What the page says about a picture."""
        picture = self.queue[position]
        row = self.manifest.table.row(picture.row, named=True)
        line = self._standing(position)
        source = self._texts.get(self._names[position], SourceTexts())
        texts = ("file_name", "label", "title", "author", "licence", "date", "changes", "split")
        return {
            **{name: row[name] or "" for name in texts},
            "position": position,
            "row": picture.row,
            "licence_url": _web_address(row["licence_url"]),
            "source_url": _web_address(row["source_url"]),
            "description": source.description,
            "categories": list(source.categories),
            "box": self._box_in_shares(position, row["box"], row["width"], row["height"]),
            "size": f"{row['width']} x {row['height']} px" if row["width"] and row["height"] else "",
            "why": picture.why,
            "is_odd": picture.is_odd,
            "says": picture.says,
            "code": self._codes[position],
            "class": line.class_id if line is not None else "",
            "note": line.note if line is not None else "",
        }

    def _box_in_shares(
        self, position: int, text: str | None, width_px: int | None, height_px: int | None
    ) -> tuple[float, ...] | None:
        """Left, top, width and height of the box as shares of the upright picture; None if there is none that fits."""
        try:
            x, y, width, height = parse_box(text or "")
            across, down = (width_px, height_px) if width_px and height_px else upright_size(self._path(position))
        except (*DECODER_FAULTS, ImageError, Image.DecompressionBombError):
            return None
        return x / across, y / down, width / across, height / down

    def decide(self, position: int, decision: Verdict, *, class_id: str = UNKNOWN_CLASS, note: str = "") -> None:
        """Put a decision on the disk.

        Raises:
            ReviewError: The class is none.
            OutputError: It could not be written; nothing has changed.
        """
        if class_id != UNKNOWN_CLASS and class_id not in self.taxonomy.class_ids:
            raise ReviewError(f"no class '{class_id}'{nearest_name_hint(class_id, self.taxonomy.class_ids)}")
        with self._lock:
            self._append(position, decision, class_id=class_id, note=note)

    def undo(self) -> int | None:
        """Take back the youngest line about a picture of the queue; its position, or None if there is no line.

        Raises:
            OutputError: It could not be written; nothing has changed.
        """
        with self._lock:
            name = self._history.last_decided(self._position_of)
            if name is None:
                return None
            position = self._position_of[name]
            self._append(position, Verdict.UNDO)
            return position

    def _append(self, position: int, decision: Verdict, *, class_id: str = UNKNOWN_CLASS, note: str = "") -> None:
        line = ReviewLine(
            file_name=self._names[position],
            sha256=self._digest(position),
            decision=decision,
            label=self.labels[position],
            class_id=class_id if decision is Verdict.NOT_THIS_CLASS else UNKNOWN_CLASS,
            note=note.strip(),
            decided_at=now(),
        )
        self._log.append(line)
        self._history.add(line)
        self._codes[position] = self._code(position)

    def _code(self, position: int) -> str:
        line = self._standing(position)
        return "." if line is None else CODES[line.decision]

    def _standing(self, position: int) -> ReviewLine | None:
        """The line that holds, unless it was about other bytes."""
        line = self._history.standing(self._names[position])
        return line if line is not None and line.sha256 == self._digest(position) else None

    def _digest(self, position: int) -> str:
        """Of the file as it was shown; empty if it cannot be read."""
        if position not in self._digests:
            self._digests[position] = self._digest_now(position)
        return self._digests[position]

    def _digest_now(self, position: int) -> str:
        try:
            return sha256_of_file(self._path(position))
        except (OSError, ValueError, ImageError):
            return ""

    def _path(self, position: int) -> Path:
        """Where the file lies: within the manifest's folder, whatever its name says and links lead to."""
        name = self._names[position]
        path = self.manifest.image_path(name)
        try:
            leads_outside = not is_inside(path, self._folder)
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
            raise ImageError(f"{name}: not a possible file name ({error})") from error
        if leads_outside:
            raise ImageError(f"{name}: {LEADS_OUTSIDE}")
        return path

    def _read_digests_of_decided(self, on_progress: Callable[[], None]) -> tuple[str, ...]:
        """Read the files that there are lines about; the names of those that are not what they were."""
        positions = [p for p, name in enumerate(self._names) if self._history.standing(name) is not None]
        decided = pl.DataFrame({"file_name": [self._names[p] for p in positions]}, schema={"file_name": pl.String})
        facts = read_file_facts(Manifest(self.manifest.path, decided), decode=False, on_progress=on_progress)
        self._digests |= {position: fact.sha256 for position, fact in zip(positions, facts, strict=True)}
        return tuple(self._names[position] for position in positions if self._standing(position) is None)


def is_waiting(code: str) -> bool:
    """Whether a picture still waits for a decision."""
    return code in {CODES[decision] for decision in UNDECIDED}


def _check_names(manifest: Manifest) -> None:
    names = manifest.table["file_name"]
    if names.null_count() or names.n_unique() < len(names):
        problem = "a row has no file_name" if names.null_count() else "a file_name stands twice"
        raise ManifestError(f"{manifest.path}: {problem}; `vision data check --skip-files` names the lines")


def _web_address(text: str | None) -> str:
    """An address that a page may link to; empty for anything else, such as `javascript:`."""
    try:
        return text if text and urlsplit(text).scheme in ("http", "https") else ""
    except ValueError:
        return ""
