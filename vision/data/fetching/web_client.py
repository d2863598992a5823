"""A client that asks servers as their owners wish: one request at a time, named, patient, and never more than allowed.

It follows https://www.mediawiki.org/wiki/API:Etiquette, https://foundation.wikimedia.org/wiki/Policy:User-Agent_policy
and https://wikitech.wikimedia.org/wiki/Robot_policy. What it raises falls in two: a `OneFileError` from `download`
concerns that file alone, so that the caller notes it and goes on; any other `FetchError` ends the run, which can be
taken up again later.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from vision import __version__
from vision.data.fetching.plain_text import plain_text
from vision.data.fetching.web_address import AllowList, check_contact
from vision.data.fetching.web_body import BodyLimits, BrokenBodyError, read_body
from vision.data.fetching.web_patience import PassingError, Patience, asked_wait_s, told_of
from vision.errors import (
    AnswerError,
    BrokenDownloadError,
    FetchError,
    ForbiddenError,
    MissingFileError,
    RefusedAddressError,
    TooLargeError,
    UnavailableError,
)
from vision.files import whole_file

_MAX_REDIRECTS = 5
_MAX_WRONG_DIGESTS = 3
_MAX_UNREACHED = 3  # who is offline should not wait for minutes to be told so
_MAX_ANSWER_S = 900.0
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_TIMEOUT = httpx2.Timeout(30.0, read=60.0)


@dataclass(frozen=True)
class Downloaded:
    """A file that has arrived whole.

    Attributes:
        sha1: Hex digest of the bytes.
        sha256: Hex digest of the bytes.
        size_bytes: Of the file on disk.
        media_type: As the server says, such as `image/jpeg`; empty if it does not.
    """

    sha1: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True)
class _Ends:
    """The errors that a kind of request ends in."""

    refused: type[FetchError]
    broken: type[FetchError]


_JSON_ENDS = _Ends(refused=AnswerError, broken=UnavailableError)
_FILE_ENDS = _Ends(refused=MissingFileError, broken=BrokenDownloadError)


class PoliteClient:
    """Asks servers on a list, one request at a time; used with `with`.

    Args:
        contact: Mail address or https page of whoever runs this, sent in the User-Agent as the sources demand.
        allowed_hosts: See `AllowList`; every address, also those of redirects, is held against it.
        min_interval_s: Least time from the start of one request to that of the next.
        max_attempts: How often one request is tried at most.
        max_bytes: Most bytes of an answer that is read into memory, after decompression.
        max_wait_s: The longest that a server may ask to be left alone (Retry-After) before the run ends.
        max_bits_per_s: The mean download rate is kept below this by waiting. Wikimedia's robot policy: 25 Mbit/s.
        transport: For tests.
        sleep: Waits; for tests.
        clock: Seconds from any start, never going back; for tests.
        on_wait: Told before a wait that a fault makes necessary: seconds, and why.
        jitter: In [0, 1), for waits that do not fall together with those of others.

    Raises:
        FetchError: The contact is none, or an allowed host is no host.
    """

    def __init__(
        self,
        contact: str,
        allowed_hosts: Collection[str],
        *,
        min_interval_s: float = 1.0,
        max_attempts: int = 5,
        max_bytes: int = 32_000_000,
        max_wait_s: float = 300.0,
        max_bits_per_s: float = 25e6,
        on_wait: Callable[[float, str], None] | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.user_agent = f"vision/{__version__} ({check_contact(contact)}) httpx2/{httpx2.__version__}"
        self._allowed = AllowList(allowed_hosts)
        self._min_interval_s = min_interval_s
        self._max_bytes = max_bytes
        self._max_bits_per_s = max_bits_per_s
        self._sleep, self._clock = sleep, clock
        self._patience = Patience(max_attempts, max_wait_s, sleep, jitter, on_wait)
        self._next_turn_s: float | None = None
        self._one_at_a_time = threading.Lock()
        self._http = httpx2.Client(
            headers={"User-Agent": self.user_agent}, follow_redirects=False, timeout=_TIMEOUT, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def read_json(
        self,
        url: str,
        params: Mapping[str, str | int] | None = None,
        *,
        ask_again: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that a server answers with.

        Args:
            url: Address without a query.
            params: The query, in order.
            ask_again: Why an answer means "not now, ask again later"; None if it is a proper answer. For servers that
                say so in the body of a good answer.

        Raises:
            UnavailableError: No answer after all attempts, or the server asks for more patience than `max_wait_s`.
            ForbiddenError: HTTP 401 or 403.
            AnswerError: Any other refusal, or an answer that is no JSON object.
            RefusedAddressError: The address, or one that it redirects to, may not be asked.
            TooLargeError: The answer is larger than `max_bytes`.
        """
        limits = BodyLimits(self._max_bytes, _MAX_ANSWER_S)

        def once() -> dict[str, Any]:
            with self._answer(url, params, _JSON_ENDS, accept_encoding="gzip") as response:
                body = b"".join(self._pieces(response, limits, _JSON_ENDS))
                answer = _parse_object(body, response)
                if ask_again and (reason := ask_again(answer)):
                    raise PassingError(reason, UnavailableError, wait_s=asked_wait_s(response))
            return answer

        return self._patience.result_of(url, once)

    def download(self, url: str, target: Path, *, max_bytes: int, sha1: str | None = None) -> Downloaded:
        """Save a file, whole or not at all.

        Args:
            url: Of the file.
            target: Where it goes; its folder is made if it is missing.
            max_bytes: Most bytes to take; the transfer ends when there are more.
            sha1: Hex digest that the bytes must have; None if it is not known.

        Raises:
            MissingFileError: HTTP 404, 410 or another refusal of this address.
            TooLargeError: More than `max_bytes`.
            BrokenDownloadError: Cut short, another SHA-1, or a fault of the server (HTTP 500) each time.
            RefusedAddressError: The address, or one that it redirects to, may not be asked.
            UnavailableError: No answer after all attempts (ends the run).
            ForbiddenError: HTTP 401 or 403 (ends the run).
            OutputError: The file cannot be written (ends the run).
        """
        limits = BodyLimits(max_bytes, _MAX_ANSWER_S)

        def once() -> Downloaded:
            # Unpacked by the server or not, the digest is that of the file: so it is asked for as it is.
            with self._answer(url, None, _FILE_ENDS, accept_encoding="identity") as response:
                with whole_file(target) as part:
                    downloaded = _save(self._pieces(response, limits, _FILE_ENDS), part, _media_type(response))
                    _check_digest(downloaded, sha1)
                return downloaded

        return self._patience.result_of(url, once)

    @contextmanager
    def _answer(
        self, url: str, params: Mapping[str, str | int] | None, ends: _Ends, *, accept_encoding: str
    ) -> Iterator[httpx2.Response]:
        """The head of a good answer (HTTP 200), after redirects to allowed addresses."""
        query = None if params is None else {name: str(value) for name, value in params.items()}
        with self._one_at_a_time:
            for _ in range(_MAX_REDIRECTS + 1):
                response = self._send(url, query, accept_encoding)
                try:
                    if not response.has_redirect_location:
                        self._check_status(response, ends)
                        yield response
                        return
                    url, query = _redirect_target(response), None
                finally:
                    response.close()
        raise RefusedAddressError(
            f"{url}: redirected more than {_MAX_REDIRECTS} times; open it in a browser to see why"
        )

    def _send(self, url: str, query: dict[str, str] | None, accept_encoding: str) -> httpx2.Response:
        try:
            address = httpx2.URL(url, params=query) if query else httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise RefusedAddressError(f"{url[:500]!r}: not an address ({error})") from error
        # What is checked is what the client made of the address: another reading of odd spellings finds no gap.
        self._allowed.check(str(address))
        self._wait_for_turn()
        request = self._http.build_request("GET", address, headers={"Accept-Encoding": accept_encoding})
        try:
            return self._http.send(request, stream=True)
        except httpx2.TransportError as error:
            most = _MAX_UNREACHED if isinstance(error, httpx2.ConnectError) else None
            raise PassingError(told_of(error), UnavailableError, max_attempts=most) from error

    def _wait_for_turn(self) -> None:
        now_s = self._clock()
        if self._next_turn_s is not None and self._next_turn_s > now_s:
            self._sleep(self._next_turn_s - now_s)
            now_s = max(self._clock(), self._next_turn_s)
        self._next_turn_s = now_s + self._min_interval_s

    def _pieces(self, response: httpx2.Response, limits: BodyLimits, ends: _Ends) -> Iterator[bytes]:
        """The body, which counts towards the download rate."""
        start_s = self._clock()
        try:
            yield from read_body(response, limits, self._clock)
        except BrokenBodyError as error:
            raise PassingError(str(error), ends.broken) from error
        finally:
            least_s = response.num_bytes_downloaded * 8 / self._max_bits_per_s
            self._next_turn_s = max(self._next_turn_s or start_s, start_s + least_s)

    def _check_status(self, response: httpx2.Response, ends: _Ends) -> None:
        status = response.status_code
        if status == 200:
            return
        told = f"HTTP {status}{self._words_of(response)}"
        if status in _PASSING_STATUS:
            # A file that makes the server stumble, such as one that it cannot scale, need not stop the others.
            end = ends.broken if status == 500 else UnavailableError
            raise PassingError(told, end, wait_s=asked_wait_s(response))
        if status in (401, 403):
            raise ForbiddenError(
                f"{_shown(response)}: {told}; the server refuses this client: see whether the contact "
                f"is right ({self.user_agent}) and what the server's policy asks"
            )
        raise ends.refused(f"{_shown(response)}: {told}; check the address")

    def _words_of(self, response: httpx2.Response) -> str:
        """What the body of a refusal says, in brackets; empty if it says nothing readable."""
        if not _media_type(response).startswith(("text/", "application/json")):
            return ""
        try:
            body = b"".join(read_body(response, BodyLimits(20_000, 30.0), self._clock))
        except (BrokenBodyError, TooLargeError):
            return ""
        words = plain_text(body.decode("utf-8", "replace"), max_length=200)
        return f" ({words})" if words else ""


def _save(pieces: Iterator[bytes], part: Path, media_type: str) -> Downloaded:
    sha1, sha256, size_bytes = hashlib.sha1(usedforsecurity=False), hashlib.sha256(), 0
    with part.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
            sha1.update(piece)
            sha256.update(piece)
            size_bytes += len(piece)
        stream.flush()
        os.fsync(stream.fileno())  # a name must not outlive a power cut without its bytes
    return Downloaded(sha1.hexdigest(), sha256.hexdigest(), size_bytes, media_type)


def _check_digest(downloaded: Downloaded, sha1: str | None) -> None:
    if sha1 is not None and downloaded.sha1 != sha1.lower():
        raise PassingError(
            f"the bytes have SHA-1 {downloaded.sha1}, the source says {sha1.lower()}",
            BrokenDownloadError,
            max_attempts=_MAX_WRONG_DIGESTS,
        )


def _parse_object(body: bytes, response: httpx2.Response) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        start = plain_text(body[:2000].decode("utf-8", "replace"), max_length=120)
        raise AnswerError(
            f"{_shown(response)}: the answer is no JSON ({_media_type(response) or 'no media type'}: '{start}'); "
            "check the address of the API"
        ) from error
    if not isinstance(answer, dict):
        raise AnswerError(f"{_shown(response)}: the answer is no JSON object; check the address of the API")
    return answer


def _redirect_target(response: httpx2.Response) -> str:
    try:
        return str(response.url.join(response.headers["location"]))
    except httpx2.InvalidURL as error:
        location = response.headers["location"][:500]
        raise RefusedAddressError(f"{response.url}: redirects to {location!r}, which is no address") from error


def _media_type(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).split(";")[0].strip().lower()


def _shown(response: httpx2.Response) -> str:
    """The address without its query, which may be as long as 50 titles."""
    return str(response.url.copy_with(query=None))
