"""What each query found, kept for some days, so that a second run need not ask again.

`found.jsonl` has one line for each query that was answered to its end. A query that was cut off is asked anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from vision.data.fetching.found import FoundPicture, PictureSource, Query, QueryProblem
from vision.data.fetching.journal import LineFile, picture_from_json, picture_to_json
from vision.data.fetching.sources import ClassQuery
from vision.errors import AnswerError, FetchError, OneFileError, OutputError
from vision.files import write_whole_text

LISTS_NAME = "found.jsonl"
LISTS_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class FoundList:
    """The answer to one query.

    Attributes:
        pictures: In the order of the source.
        problems: What of the query yields nothing, in words.
    """

    pictures: tuple[FoundPicture, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The answers to all queries that were asked for.

    Attributes:
        lists: By query.
        unanswered: Queries without an answer, and why.
        num_asked: Queries that went to a source; the others were answered before.
    """

    lists: Mapping[ClassQuery, FoundList]
    unanswered: Mapping[ClassQuery, str]
    num_asked: int


class KeptLists:
    """The answers in a folder's `found.jsonl`.

    Args:
        folder: Of the data set.
        width: px that sources scale to; an answer for another width is none.
        addresses: Of the API, by name of source.
        refresh: Whether kept answers count for nothing.
        now: The time, in UTC.
    """

    def __init__(
        self,
        folder: Path,
        width: int | None,
        addresses: Mapping[str, str],
        *,
        refresh: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = LineFile(folder / LISTS_NAME)
        self._width = width
        self._addresses = addresses
        self._now = now
        self._lines: dict[str, dict[str, Any]] = {}
        num_lines = 0
        for line in self._file.read():
            num_lines += 1
            self._lines[str(line.get("key"))] = line
        if num_lines > 2 * len(self._lines):
            self._rewrite()
        self._refresh = refresh
        self._of_this_run: set[str] = set()

    def find(self, class_query: ClassQuery, *, at_any_age: bool = False) -> FoundList | None:
        """The kept answer to a query; None if there is none, or it is too old."""
        key = self._key(class_query)
        line = self._lines.get(key)
        if line is None:
            return None
        try:
            age = self._now() - datetime.fromisoformat(line["at"])
            is_young = key in self._of_this_run or (age < LISTS_KEPT and not self._refresh)
            if not (is_young or at_any_age):
                return None
            return FoundList(tuple(map(picture_from_json, line["pictures"])), tuple(line["problems"]))
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(f"{self._file.path}: not as this version writes it ({error}); remove the file") from error

    def keep(self, class_query: ClassQuery, found: FoundList) -> None:
        """Keep an answer."""
        line: dict[str, Any] = {
            "key": self._key(class_query),
            "at": self._now().isoformat(timespec="seconds"),
            "source": class_query.source,
            "query": class_query.text,
            "problems": list(found.problems),
            "pictures": [picture_to_json(picture) for picture in found.pictures],
        }
        self._file.append([line])
        self._lines[line["key"]] = line
        self._of_this_run.add(line["key"])

    def _key(self, class_query: ClassQuery) -> str:
        asked = _query_values(class_query.query)
        address = self._addresses[class_query.source]
        text = json.dumps([class_query.source, address, self._width, asked], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]

    def _rewrite(self) -> None:
        """Drop answers that newer ones took the place of."""
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in self._lines.values())
        write_whole_text(self._file.path, "".join(lines))


def find_all(
    queries: Sequence[ClassQuery],
    kept: KeptLists,
    open_source: Callable[[str], PictureSource],
    on_query: Callable[[ClassQuery], None],
    on_found: Callable[[int], None],
) -> Found:
    """The answers to queries, from what was kept and from the sources.

    A source that fails is not asked again in this run; the others are.

    Args:
        queries: In the order in which they are asked.
        kept: Earlier answers; new ones are added.
        open_source: Gives the source of a name.
        on_query: Called before each query.
        on_found: Called with the number of pictures that came.
    """
    lists: dict[ClassQuery, FoundList] = {}
    unanswered: dict[ClassQuery, str] = {}
    down: dict[str, str] = {}
    num_asked = 0
    for class_query in queries:
        on_query(class_query)
        found = kept.find(class_query)
        if found is None and class_query.source not in down:
            num_asked += 1
            try:
                found = _ask(open_source(class_query.source), class_query.query, on_found)
                kept.keep(class_query, found)
            except (OneFileError, AnswerError) as error:  # what concerns this query alone
                unanswered[class_query] = str(error)
                continue
            except FetchError as error:
                down[class_query.source] = str(error)
        if found is None:
            unanswered[class_query] = down[class_query.source]
        else:
            lists[class_query] = found
    return Found(lists, unanswered, num_asked)


def _ask(source: PictureSource, query: Query, on_found: Callable[[int], None]) -> FoundList:
    pictures: dict[str, FoundPicture] = {}
    problems: list[str] = []
    for answer in _counted(source.find(query), on_found):
        if isinstance(answer, QueryProblem):
            problems.append(answer.message)
        else:
            pictures.setdefault(answer.identity, answer)
    return FoundList(tuple(pictures.values()), tuple(dict.fromkeys(problems)))


def _counted(
    answers: Iterator[FoundPicture | QueryProblem], on_found: Callable[[int], None]
) -> Iterator[FoundPicture | QueryProblem]:
    for answer in answers:
        on_found(1)
        yield answer


def _query_values(query: Query) -> list[Any]:
    return [type(query).__name__, asdict(query)]
