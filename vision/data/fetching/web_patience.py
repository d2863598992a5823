"""When to ask a server again, how long to wait before, and when to give up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2

from vision.errors import BrokenDownloadError, FetchError, LeftAloneError, UnavailableError

_FIRST_BACK_OFF_S = 5.0
"""Wikimedia asks for at least 5 s when its databases lag: https://www.mediawiki.org/wiki/Manual:Maxlag_parameter."""
_LONGEST_BACK_OFF_S = 120.0
_REMEDIES: Mapping[type[FetchError], str] = {
    UnavailableError: "run again later, it goes on from here",
    BrokenDownloadError: "left out; run again later, or take it out of the sources if it stays so",
}

Result = TypeVar("Result")


class PassingError(Exception):
    """Something that may be gone at the next attempt.

    Args:
        reason: What happened.
        end: The error that it becomes if it does not pass.
        wait_s: What the server asks for before the next attempt.
        max_attempts: Fewer than are made otherwise.
    """

    def __init__(
        self, reason: str, end: type[FetchError], *, wait_s: float = 0.0, max_attempts: int | None = None
    ) -> None:
        super().__init__(reason)
        self.end = end
        self.wait_s = wait_s
        self.max_attempts = max_attempts


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long is waited in between: twice as long each time, or as it is asked for.

    Attributes:
        max_attempts: How often one request is tried at most.
        max_wait_s: The longest that a server may ask to be left alone before the run ends.
        sleep: Waits.
        jitter: In [0, 1), for waits that do not fall together with those of others.
        on_wait: Told before each wait: seconds, and why.
    """

    max_attempts: int
    max_wait_s: float
    sleep: Callable[[float], None]
    jitter: Callable[[], float]
    on_wait: Callable[[float, str], None] | None

    def result_of(self, url: str, once: Callable[[], Result]) -> Result:
        """The result of the first attempt that gives one.

        Args:
            url: For messages.
            once: One attempt.

        Raises:
            LeftAloneError: The server asks for more than `max_wait_s`.
            FetchError: The `end` of the error that did not pass; whatever else an attempt raises.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return once()
            except PassingError as error:
                self._check_wait(url, error)
                if attempt >= min(self.max_attempts, error.max_attempts or self.max_attempts):
                    raise error.end(f"{url}: {error} ({_times(attempt)}); {_REMEDIES[error.end]}") from error
                self._wait(url, error, attempt)

    def _check_wait(self, url: str, error: PassingError) -> None:
        if error.wait_s > self.max_wait_s:
            raise LeftAloneError(
                f"{url}: {error}; the server asks to be left alone for {error.wait_s:,.0f} s, and at most "
                f"{self.max_wait_s:,.0f} s are waited; run again later, it goes on from here"
            ) from error

    def _wait(self, url: str, error: PassingError, attempt: int) -> None:
        back_off_s = min(_FIRST_BACK_OFF_S * 2 ** (attempt - 1), _LONGEST_BACK_OFF_S)
        wait_s = max(error.wait_s, back_off_s) * (1.0 + 0.25 * self.jitter())
        if self.on_wait is not None:
            self.on_wait(wait_s, f"{url}: {error}")
        self.sleep(wait_s)


def asked_wait_s(response: httpx2.Response) -> float:
    """Seconds that Retry-After asks for, as a number or a date; 0 if it asks for nothing that can be read."""
    told = response.headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        until = parsedate_to_datetime(told)
        # By the server's own clock where it tells the time: this machine's may be wrong.
        now = parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):  # TypeError: one of the two dates names no zone
        return 0.0


def told_of(error: httpx2.TransportError) -> str:
    """What went wrong on the way to a server."""
    kind = "no answer in time" if isinstance(error, httpx2.TimeoutException) else "no connection"
    return f"{kind} ({str(error) or type(error).__name__})"


def _times(attempts: int) -> str:
    return "tried once" if attempts == 1 else f"tried {attempts} times"
