"""The body of an answer, piece by piece: never more than allowed, unpacked or not, and known to be whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from vision.errors import TooLargeError

_PIECE_BYTES = 65_536
_GZIP = 31  # zlib's wbits for a gzip header and the largest window


class BrokenBodyError(Exception):
    """A body that did not arrive whole; another attempt may bring it."""


@dataclass(frozen=True)
class BodyLimits:
    """What a body may cost.

    Attributes:
        max_bytes: Of the transfer, and of what it unpacks to.
        max_duration_s: For a server that sends a byte a minute.
    """

    max_bytes: int
    max_duration_s: float


def read_body(response: httpx2.Response, limits: BodyLimits, clock: Callable[[], float]) -> Iterator[bytes]:
    """The unpacked body in pieces of at most 64 kB.

    Args:
        response: Of which only the head has been read.
        limits: Checked while reading: what the head says of the length is not trusted.
        clock: Seconds from any start.

    Raises:
        TooLargeError: More than `max_bytes`.
        BrokenBodyError: Cut short, garbled or too slow.
    """
    url = str(response.url)
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    pieces = _transfer(response, limits, clock)
    if encoding not in ("identity", ""):
        if encoding not in ("gzip", "x-gzip"):
            raise BrokenBodyError(f"the answer is packed as '{encoding}', which was not asked for")
        pieces = _unpack(pieces)
    size_bytes = 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > limits.max_bytes:
            raise _too_large(url, f"more than {limits.max_bytes:,} bytes", limits)
        yield piece


def _transfer(response: httpx2.Response, limits: BodyLimits, clock: Callable[[], float]) -> Iterator[bytes]:
    """The bytes as they come, as many as the head announces."""
    told = response.headers.get("content-length", "")
    expected_bytes = int(told) if told.isascii() and told.isdigit() else None
    if expected_bytes is not None and expected_bytes > limits.max_bytes:
        raise _too_large(str(response.url), f"{expected_bytes:,} bytes", limits)
    start_s = clock()
    num_bytes = 0
    try:
        for piece in response.iter_raw():
            num_bytes += len(piece)
            if num_bytes > limits.max_bytes:
                raise _too_large(str(response.url), f"more than {limits.max_bytes:,} bytes", limits)
            if clock() - start_s > limits.max_duration_s:
                raise BrokenBodyError(f"not whole after {limits.max_duration_s:.0f} s")
            yield piece
    except httpx2.TransportError as error:
        raise BrokenBodyError(f"cut short after {_count(num_bytes, expected_bytes)}") from error
    if expected_bytes is not None and num_bytes != expected_bytes:
        raise BrokenBodyError(f"cut short after {_count(num_bytes, expected_bytes)}")


def _unpack(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A gzip stream unpacked in small pieces: a kilobyte may stand for a megabyte."""
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        for packed in pieces:
            rest = packed
            while (piece := unpacker.decompress(rest, _PIECE_BYTES)) or unpacker.unconsumed_tail:
                yield piece
                rest = unpacker.unconsumed_tail
    except zlib.error as error:
        raise BrokenBodyError(f"cannot be unpacked ({error})") from error
    if not unpacker.eof:
        raise BrokenBodyError("cut short: the packed stream has no end")


def _too_large(url: str, size: str, limits: BodyLimits) -> TooLargeError:
    return TooLargeError(
        f"{url}: {size}, and at most {limits.max_bytes:,} may be taken; raise the limit or leave it out"
    )


def _count(num_bytes: int, expected_bytes: int | None) -> str:
    return f"{num_bytes:,} bytes" if expected_bytes is None else f"{num_bytes:,} of {expected_bytes:,} bytes"
