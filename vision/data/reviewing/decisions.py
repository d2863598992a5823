"""What people decide about the pictures of a data set, line by line in a file that only grows.

A line is a JSON object (`ReviewLine`). The last line for a picture wins; `undo` takes back the line of its picture
before it. So the files of several reviewers can be concatenated, and a line that a crash tore is one line lost, never
two.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision.errors import OutputError, ReviewError, nearest_name_hint

DECISIONS_FILE = "review.jsonl"
"""Beside the manifest, unless told otherwise."""

UNKNOWN_CLASS = ""
"""`ReviewLine.class_id` where the class is not the label's, and nobody knows which it is."""


class Verdict(StrEnum):
    """What a line says of its picture."""

    KEEP = "keep"
    REJECT = "reject"
    NOT_THIS_CLASS = "not-this-class"
    INTERIOR = "interior-or-detail"
    MODEL = "model-or-toy"
    WRECK = "wreck"
    SKIP = "skip"
    NOTE = "note"
    UNDO = "undo"


UNDECIDED = frozenset((Verdict.SKIP, Verdict.NOTE))
"""Lines after which a picture still waits for a decision."""


class ReviewLine(BaseModel):
    """One decision about one picture.

    Attributes:
        file_name: As in the manifest.
        sha256: Of the file that was looked at; empty if it could not be read.
        decision: What was decided.
        label: The label that the picture had then; `keep` means this one. Empty if not told.
        class_id: `class` in the file: what the vehicle is, where it is not the label; empty for unknown.
        note: In the reviewer's words.
        decided_at: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    file_name: str = Field(min_length=1)
    sha256: str = ""
    decision: Verdict
    label: str = ""
    class_id: str = Field(default=UNKNOWN_CLASS, alias="class")
    note: str = ""
    decided_at: str = ""

    def to_json(self) -> str:
        """The line, without its end; all ASCII, so that no editor's encoding can break it."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), ensure_ascii=True)


def now() -> str:
    """The time for `decided_at`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class ReviewFile:
    """The lines of a file of decisions.

    Attributes:
        lines: In the order of the file.
        torn: Places of lines that are no JSON, such as one that a crash cut short; they say nothing.
    """

    lines: tuple[ReviewLine, ...] = ()
    torn: tuple[str, ...] = ()


def load_review(path: Path) -> ReviewFile:
    """The decisions in a file.

    Raises:
        ReviewError: It cannot be read, or a line is JSON, but no decision; every such line is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "`vision data review` writes one; another file is given with --decisions"
        raise ReviewError(f"{path}: cannot be read as decisions ({error.strerror}); {remedy}") from error
    lines, torn, faults = [], [], []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            lines.append(ReviewLine.model_validate_json(raw))
        except ValidationError as error:
            place = f"{path}:{number}"
            if error.errors()[0]["type"] == "json_invalid":
                torn.append(place)
            else:
                faults.append(f"{place}: {_what_is_wrong(error)}")
    if faults:
        raise ReviewError("\n".join(faults))
    return ReviewFile(tuple(lines), tuple(torn))


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors()[0]
    column, value = ".".join(map(str, first["loc"])) or "the line", first["input"]
    if first["type"] == "missing":
        return f"lacks '{column}'; is it a file of `vision data review`?"
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in ReviewLine.model_fields.items()]
        return f"'{column}' is no part of a decision{nearest_name_hint(column, known) or '; remove it'}"
    if first["type"] == "enum":
        hint = nearest_name_hint(str(value), list(Verdict)) or f"; there are {', '.join(Verdict)}"
        return f"decision '{value}' is none{hint}"
    return f"{column} '{value}': {first['msg']}"


class ReviewHistory:
    """Lines, and what they leave standing."""

    def __init__(self, lines: Iterable[ReviewLine] = ()) -> None:
        self._of_picture: dict[str, list[ReviewLine]] = {}
        self._order: list[str] = []  # file names of the lines that nobody took back
        for line in lines:
            self.add(line)

    def add(self, line: ReviewLine) -> None:
        """Take a line in; one that takes back nothing changes nothing."""
        standing = self._of_picture.setdefault(line.file_name, [])
        if line.decision is not Verdict.UNDO:
            standing.append(line)
            self._order.append(line.file_name)
        elif standing:
            standing.pop()
            last = len(self._order) - 1 - self._order[::-1].index(line.file_name)
            del self._order[last]

    def standing(self, file_name: str) -> ReviewLine | None:
        """The line that holds for a picture."""
        lines = self._of_picture.get(file_name)
        return lines[-1] if lines else None

    def all_standing(self) -> Iterator[ReviewLine]:
        """The line that holds, of every picture that has one."""
        return (lines[-1] for lines in self._of_picture.values() if lines)

    def last_decided(self, among: Container[str]) -> str | None:
        """The picture, of these, whose line is the youngest that nobody took back."""
        return next((name for name in reversed(self._order) if name in among), None)


class ReviewLog:
    """A file of decisions, open to add to; a line is on the disk when `append` returns."""

    def __init__(self, path: Path, descriptor: int, *, is_torn: bool) -> None:
        self.path = path
        self._descriptor = descriptor
        self._is_torn = is_torn

    def append(self, line: ReviewLine) -> None:
        """Write a line.

        Raises:
            OutputError: It is not on the disk: full, or taken away.
        """
        content = (line.to_json() + "\n").encode()
        # What an earlier crash cut short gets its line's end, so that it spoils no other line.
        content = b"\n" + content if self._is_torn else content
        self._is_torn = True
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
            os.fsync(self._descriptor)
        except OSError as error:
            remedy = "make room, then decide again"
            raise OutputError(f"{self.path}: the decision could not be written ({error.strerror}); {remedy}") from error
        self._is_torn = False


@contextmanager
def open_review_log(path: Path) -> Iterator[ReviewLog]:
    """A file of decisions to add to, made if it is not there; one process has it at a time.

    Raises:
        OutputError: It cannot be written to, or another review does so.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        remedy = "choose another place with --decisions"
        raise OutputError(f"{path}: decisions cannot be written here ({error.strerror}); {remedy}") from error
    try:
        _lock(path, descriptor)
        _sync_folder(path)
        size = os.fstat(descriptor).st_size
        yield ReviewLog(path, descriptor, is_torn=size > 0 and os.pread(descriptor, 1, size - 1) != b"\n")
    finally:
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    import fcntl  # not on Windows, where everything else of this room works

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        remedy = "end it, or give --decisions a file of your own; the two can be concatenated later"
        raise OutputError(f"{path}: another review is writing here; {remedy}") from error
    except OSError:
        return  # a file system without locks: as safe as it can be


def _sync_folder(path: Path) -> None:
    """Make sure that a crash of the machine does not take back the file itself."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
