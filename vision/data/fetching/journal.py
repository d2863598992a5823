"""What a fetch has done so far, line by line, so that it can be killed at any moment and run again.

`fetched.jsonl` has one line for each file that was decided on; of several lines about one file the last holds. Lines
are appended and flushed to the disk one by one, so the most that a kill can damage is the last line, which is dropped.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from vision.data.fetching.found import FoundPicture
from vision.errors import OutputError

JOURNAL_NAME = "fetched.jsonl"
LOCK_NAME = ".fetch.lock"


class Outcome(StrEnum):
    """What became of a file.

    `taken`: it is in `images/`. `left out`: for what its source says of it; asked again in every run. `unusable`: it
    was asked for and is no use; not asked for again. `failed`: it did not arrive; the next run tries again.
    """

    TAKEN = "taken"
    LEFT_OUT = "left out"
    UNUSABLE = "unusable"
    FAILED = "failed"


@dataclass(frozen=True)
class Decision:
    """What became of one file, for one class.

    Attributes:
        class_id: Class that it was found for.
        query: The query that found it, in words.
        picture: What its source says of it.
        outcome: What became of it.
        kind: Short name by which equal reasons are counted, such as `licence`; empty if it was taken.
        reason: Why it was not taken; empty if it was.
        path: Where it lies, relative to the folder; empty if it was not taken.
        sha256: Of the file, empty if it was not taken.
        width: px, upright, as delivered; 0 if it was not taken.
        height: px, upright, as delivered; 0 if it was not taken.
        size_bytes: Of the file as delivered; 0 if it was not taken.
        at: When, in UTC.
        limit: Bytes or px that it was too large or too small for when it arrived; 0 for any other outcome.
    """

    class_id: str
    query: str
    picture: FoundPicture
    outcome: Outcome
    kind: str = ""
    reason: str = ""
    path: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    size_bytes: int = 0
    at: str = ""
    limit: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the decisions about other files and classes."""
        return self.picture.identity, self.class_id


class LineFile:
    """A file of JSON objects, one a line, that is only ever appended to.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[dict[str, Any]]:
        """Every line that was written whole.

        Raises:
            OutputError: A line is no JSON object; with its number. Or the file cannot be read.
        """
        try:
            with self.path.open("rb") as stream:
                for number, line in enumerate(stream, start=1):
                    if not line.endswith(b"\n"):
                        return  # a kill came between; `append` overwrites it
                    yield self._parsed(line, number)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be read ({error.strerror}); give the right to read it, or another folder"
            ) from error

    def append(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Add lines, all of them on the disk when this returns.

        Raises:
            OutputError: The file cannot be written.
        """
        lines = "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects)
        if not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as stream:
                stream.truncate(_end_of_last_line(stream.fileno()))
                stream.write(lines.encode("utf-8", "surrogatepass"))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot write here ({error.strerror}); make room or give the right"
            ) from error

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            parsed = json.loads(line)
        except ValueError as error:  # also UnicodeDecodeError
            raise self._damage(number, str(error)) from error
        if not isinstance(parsed, dict):
            raise self._damage(number, "no JSON object")
        return parsed

    def _damage(self, number: int, why: str) -> OutputError:
        return OutputError(f"{self.path}:{number}: damaged ({why}); remove the line, its file is then decided on again")


class Journal:
    """The decisions in a folder's `fetched.jsonl`.

    Attributes:
        decisions: The last one for each file and class.
        listed: Every path that once stood in the manifest.
    """

    def __init__(self, folder: Path) -> None:
        self._file = LineFile(folder / JOURNAL_NAME)
        self.decisions: dict[tuple[str, str], Decision] = {}
        self.listed: set[str] = set()
        for number, line in enumerate(self._file.read(), start=1):
            self._take_in(line, number)

    def record(self, *decisions: Decision) -> None:
        """Keep decisions that say something new."""
        new = [decision for decision in decisions if not self._is_known(decision)]
        self._file.append(_line_of(decision) for decision in new)
        self.decisions.update((decision.key, decision) for decision in new)

    def record_listed(self, paths: Iterable[str]) -> None:
        """Keep that paths stand in the manifest: one that is gone later was removed by the user."""
        new = sorted(set(paths) - self.listed)
        if new:
            self._file.append([{"listed": new}])
            self.listed.update(new)

    def taken(self) -> list[Decision]:
        """What lies in `images/`, in the order in which it was taken."""
        return [decision for decision in self.decisions.values() if decision.outcome is Outcome.TAKEN]

    def _is_known(self, decision: Decision) -> bool:
        known = self.decisions.get(decision.key)
        if known is None or decision.outcome is not Outcome.LEFT_OUT:
            return False
        return (known.outcome, known.kind, known.reason) == (decision.outcome, decision.kind, decision.reason)

    def _take_in(self, line: dict[str, Any], number: int) -> None:
        try:
            if "listed" in line:
                self.listed.update(line["listed"])
                return
            decision = _decision_of(line)
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{self._file.path}:{number}: not a line that this version wrote ({error}); remove it, or fetch into "
                "another folder"
            ) from error
        self.decisions.pop(decision.key, None)  # so that the order is that of the last decisions
        self.decisions[decision.key] = decision


def picture_to_json(picture: FoundPicture) -> dict[str, Any]:
    """A found picture as plain values, without those that say nothing."""
    return {name: value for name, value in asdict(picture).items() if value not in ("", None, ())}


def picture_from_json(values: Mapping[str, Any]) -> FoundPicture:
    """What `picture_to_json` was made of."""
    return FoundPicture(**{**values, "categories": tuple(values.get("categories", ()))})


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder.

    The lock is the system's (flock): it ends with the process that holds it, however that dies, so a lock file that
    lies about is none. Windows has no flock: there a fetch ends here with a ModuleNotFoundError.

    Raises:
        OutputError: Another run holds it, or the folder cannot be written to.
    """
    import fcntl

    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot write here ({error.strerror}); choose another folder") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OutputError(f"{path}: cannot be locked ({error.strerror}); choose a local folder") from error
            stream.seek(0)
            raise OutputError(
                f"{folder}: another run fetches into it (process {stream.read().strip() or 'unknown'}); "
                "wait for its end, or give another folder"
            ) from error
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def _end_of_last_line(descriptor: int) -> int:
    """Where the last whole line of an open file ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65_536)
        block = os.pread(descriptor, end - start, start)
        if b"\n" in block:
            return start + block.rindex(b"\n") + 1
        end = start
    return 0


def _line_of(decision: Decision) -> dict[str, Any]:
    values = {name: value for name, value in vars(decision).items() if value not in ("", 0)}
    return {**values, "picture": picture_to_json(decision.picture)}


def _decision_of(line: dict[str, Any]) -> Decision:
    return Decision(**{**line, "picture": picture_from_json(line["picture"]), "outcome": Outcome(line["outcome"])})
