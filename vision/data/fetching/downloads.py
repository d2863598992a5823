"""Downloading what was chosen, one picture after the other, so that it can be cut off anywhere and taken up again.

The order in which a picture gets on the disk: whole into `.incoming/`, decoded, moved into `images/`, a line in
`fetched.jsonl`. A picture that a kill left in one of the two folders without its line is taken from there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from vision.data.fetching.choice import TOO_LARGE, TOO_SMALL, Candidate, Limits
from vision.data.fetching.journal import Decision, Journal, Outcome
from vision.data.fetching.naming import picture_path
from vision.data.fetching.sources import ClassQuery
from vision.data.fetching.web_client import PoliteClient
from vision.data.images import decode_image
from vision.errors import (
    BrokenDownloadError,
    FetchError,
    ForbiddenError,
    ImageError,
    LeftAloneError,
    MissingFileError,
    OneFileError,
    OutputError,
    RefusedAddressError,
    TooLargeError,
)
from vision.files import is_part_of_whole_file, sha256_of_file

INCOMING_NAME = ".incoming"
FAILURES_UNTIL_DOWN = 3
"""A host that fails for so many files in a row is left alone for the rest of the run."""

_KIND_OF_ERROR: Mapping[type[FetchError], tuple[Outcome, str]] = {
    MissingFileError: (Outcome.UNUSABLE, "not there"),
    TooLargeError: (Outcome.UNUSABLE, TOO_LARGE),
    RefusedAddressError: (Outcome.UNUSABLE, "host not allowed"),
    BrokenDownloadError: (Outcome.FAILED, "broken download"),
}


class Progress(Protocol):
    """Who is told how a fetch goes."""

    def asking(self, class_query: ClassQuery) -> None:
        """A query is answered next."""
        ...

    def found(self, num_pictures: int) -> None:
        """So many pictures came."""
        ...

    def fetching(self, num_pictures: int) -> None:
        """So many pictures will be downloaded."""
        ...

    def fetched(self, decision: Decision) -> None:
        """One more of them is decided on."""
        ...


class Downloads:
    """Downloads one picture after the other and decides on each."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        open_client: Callable[[str], PoliteClient],
        limits: Limits,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.journal = journal
        self.open_client = open_client
        self.limits = limits
        self.progress = progress
        self.down: dict[str, str] = {}
        self.failures: Counter[str] = Counter()
        self.taken_by_sha256 = {decision.sha256: decision for decision in journal.taken()}

    def run(self, wanted: Sequence[Candidate]) -> Iterator[Decision]:
        """What becomes of each; those that failed earlier come last, so that they cannot hold the others up."""
        self.progress.fetching(len(wanted))
        for candidate in sorted(wanted, key=self._has_failed_before):
            decision = self._decide(candidate)
            self.journal.record(decision)
            if decision.outcome is Outcome.TAKEN:
                self.taken_by_sha256[decision.sha256] = decision
            self.progress.fetched(decision)
            yield decision

    def _has_failed_before(self, candidate: Candidate) -> bool:
        known = self.journal.decisions.get(candidate.key)
        return known is not None and known.outcome is Outcome.FAILED

    def _decide(self, candidate: Candidate) -> Decision:
        path = picture_path(candidate.picture, candidate.class_id)
        target = self.folder / path
        incoming = self.folder / INCOMING_NAME / target.name
        refused = candidate.left_out("", "")
        if not target.exists() and not incoming.exists():
            failure = self._download(candidate, incoming)
            if failure is not None:
                outcome, kind, reason = failure
                limit = self.limits.max_file_bytes if kind == TOO_LARGE else 0
                at = _utc(datetime.now(UTC))
                return replace(refused, outcome=outcome, kind=kind, reason=reason, at=at, limit=limit)
        arrived = target if target.exists() else incoming
        decision = self._judge(candidate, arrived, path)
        if decision.outcome is not Outcome.TAKEN:
            arrived.unlink()
        elif arrived is incoming:
            _move(incoming, target)
        return decision

    def _download(self, candidate: Candidate, incoming: Path) -> tuple[Outcome, str, str] | None:
        """Why a file did not arrive; None if it did."""
        picture = candidate.picture
        host = urlsplit(picture.file_url).netloc
        if host in self.down:
            return Outcome.FAILED, "not tried", self.down[host]
        sha1 = None if picture.changes else picture.sha1  # the digest is that of the original
        try:
            client = self.open_client(picture.source)
            client.download(picture.file_url, incoming, max_bytes=self.limits.max_file_bytes, sha1=sha1)
        except OneFileError as error:
            self.failures[host] = 0
            outcome, kind = _KIND_OF_ERROR.get(type(error), (Outcome.FAILED, "failed download"))
            return outcome, kind, str(error)
        except FetchError as error:
            self.failures[host] += 1
            is_told_so = isinstance(error, LeftAloneError | ForbiddenError)
            if is_told_so or self.failures[host] >= FAILURES_UNTIL_DOWN:
                self.down[host] = str(error)
            return Outcome.FAILED, "no answer", str(error)
        self.failures[host] = 0
        return None

    def _judge(self, candidate: Candidate, arrived: Path, path: str) -> Decision:
        """What a file that has arrived is worth."""
        at = _utc(datetime.fromtimestamp(arrived.stat().st_mtime, UTC))  # also right if an earlier run fetched it
        refused = replace(candidate.left_out("", ""), outcome=Outcome.UNUSABLE, at=at)
        try:
            width, height = decode_image(arrived).size
        except ImageError as error:
            return replace(refused, kind="broken picture", reason=str(error).removeprefix(f"{arrived}: "))
        least = self.limits.min_side_px
        if not candidate.picture.changes and min(width, height) < least:
            reason = f"{width} x {height} px; min_side_px is {least}"
            return replace(refused, kind=TOO_SMALL, reason=reason, limit=least)
        sha256 = sha256_of_file(arrived)
        twin = self.taken_by_sha256.get(sha256)
        if twin is not None and twin.key != candidate.key:
            kind = "same picture" if twin.class_id == candidate.class_id else "two classes"
            return replace(refused, kind=kind, reason=f"byte for byte {twin.picture.title} ({twin.path})")
        return replace(
            refused,
            outcome=Outcome.TAKEN,
            path=path,
            sha256=sha256,
            width=width,
            height=height,
            size_bytes=arrived.stat().st_size,
        )


def remove_parts(folder: Path) -> None:
    """Remove what a killed run left half written."""
    for place in (folder, folder / INCOMING_NAME):
        for part in place.glob(".*.part"):
            if is_part_of_whole_file(part) and part.is_file():
                part.unlink(missing_ok=True)


def remove_empty_incoming(folder: Path) -> None:
    """Remove the folder that files arrive in, once none is left in it."""
    with suppress(OSError):  # not there, or a file in it that waits for its turn
        (folder / INCOMING_NAME).rmdir()


def _move(source: Path, target: Path) -> None:
    """Move a whole file, on the disk before its line in the journal is."""
    try:
        with source.open("rb") as stream:
            os.fsync(stream.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot write here ({error.strerror}); make room or give the right") from error


def _utc(time: datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
