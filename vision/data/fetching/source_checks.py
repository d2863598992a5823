"""Whether what sources.yaml names is there: asked online, and written back as `verified: <date>`."""

from __future__ import annotations

import copy
import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vision.data.fetching.found import CategoryQuery, FilesQuery, FoundPicture, PictureSource, QueryProblem
from vision.data.fetching.sources import ClassQuery, SourcesFile
from vision.errors import AnswerError, ConfigError, FetchError, OneFileError
from vision.files import whole_file
from vision.settings_file import SettingsFile

_VERIFIED = re.compile(r"\bverified:\s*(?:false|true|no|yes|off|on|\d{4}-\d{2}-\d{2})(?=\s*(?:[,}#]|$))", re.I)
_FIRST_LINE = re.compile(r"(?P<indent> *)- (?:category|search): +\S.*")


@dataclass(frozen=True)
class QueryCheck:
    """What asking for a query gave.

    Attributes:
        class_query: The query.
        num_files: As the source counts them; None if the query leads nowhere.
        problems: What is wrong, in words.
        is_answered: Whether the source was there to ask; if not, nothing is known of the query.
    """

    class_query: ClassQuery
    num_files: int | None
    problems: tuple[str, ...]
    is_answered: bool = True

    @property
    def is_found(self) -> bool:
        """Whether all of it leads somewhere."""
        return self.num_files is not None and not self.problems


def check_queries(
    queries: Sequence[ClassQuery],
    open_source: Callable[[str], PictureSource],
    on_query: Callable[[int], None] = lambda count: None,
) -> list[QueryCheck]:
    """Ask for every query, by the cheapest question that there is; a source that does not answer is asked no more.

    Raises:
        FetchError: No source answers.
    """
    checks = []
    down: dict[str, str] = {}
    for class_query in queries:
        name = class_query.source
        if name not in down:
            try:
                checks.append(_check(class_query, open_source(name)))
            except (AnswerError, OneFileError) as error:  # concerns this query alone
                checks.append(QueryCheck(class_query, None, (str(error),)))
            except FetchError as error:
                down[name] = str(error)
        if name in down:
            checks.append(QueryCheck(class_query, None, (down[name],), is_answered=False))
        on_query(1)
    if checks and not any(check.is_answered for check in checks):
        raise FetchError("\n".join(down.values()))
    return checks


def check_lines(checks: Sequence[QueryCheck]) -> list[tuple[str, ...]]:
    """Rows for a terminal: place, class, query, whether it was verified, files, problem."""
    rows: list[tuple[str, ...]] = [("line", "files", "verified", "class", "query")]
    for check in checks:
        asked = check.class_query
        line = asked.place.rpartition(":")[2]
        verified = asked.entry.verified
        told = str(verified) if isinstance(verified, datetime.date) else "yes" if verified else "no"
        number = "none" if check.num_files is None else f"{check.num_files:,}"
        number = number if check.is_answered else "?"
        rows.append((line, number, told, asked.class_id, f"{asked.source}: {asked.text}"))
    return rows


def mark_verified(sources_file: SourcesFile, checks: Iterable[QueryCheck], day: datetime.date) -> tuple[int, list[str]]:
    """Write `verified: <day>` beside every query that was found, and change nothing else of the file.

    Returns:
        Number of entries that were marked, and the places of those that are written in a way that cannot be changed
        safely; these are for the user.

    Raises:
        ConfigError: The file was changed in the meantime so that it cannot be read.
        OutputError: The file cannot be written.
    """
    path = sources_file.path
    num_marked, left = 0, []
    for check in checks:
        if not check.is_found or check.class_query.entry.verified == day:
            continue
        # Read anew each time: a line that was added moves those below it.
        text = _marked(path, check.class_query, day)
        if text is None:
            left.append(check.class_query.place)
        else:
            with whole_file(path.resolve()) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="")
            num_marked += 1
    return num_marked, left


def _check(class_query: ClassQuery, source: PictureSource) -> QueryCheck:
    if not isinstance(class_query.query, FilesQuery):
        number = source.count(class_query.query)
        if number == 0 and isinstance(class_query.query, CategoryQuery) and class_query.query.depth:
            # Its files may all be in subcategories: the first answer tells.
            first = next(source.find(class_query.query), None)
            return QueryCheck(class_query, number, () if isinstance(first, FoundPicture) else ("holds no files",))
        return QueryCheck(class_query, number, () if number else ("leads nowhere",))
    answers = list(source.find(class_query.query))
    problems = tuple(answer.message for answer in answers if isinstance(answer, QueryProblem))
    return QueryCheck(class_query, sum(isinstance(answer, FoundPicture) for answer in answers), problems)


def _marked(path: Path, class_query: ClassQuery, day: datetime.date) -> str | None:
    """The file's text with one entry marked; None if that cannot be done by changing or adding one line."""
    settings = SettingsFile(path, ConfigError)
    with path.open(encoding="utf-8", newline="") as stream:  # line ends stay as they are
        lines = stream.read().splitlines(keepends=True)
    location = class_query.location
    line = settings.lines.get((*location, "verified"))
    if line is not None:
        lines[line - 1], num_changed = _VERIFIED.subn(f"verified: {day}", lines[line - 1])
        if num_changed != 1:
            return None
    else:
        first = settings.lines.get(location, 0)
        match = _FIRST_LINE.fullmatch(lines[first - 1].rstrip("\r\n")) if first else None
        if match is None:
            return None
        ending = "\r\n" if lines[first - 1].endswith("\r\n") else "\n"
        lines.insert(first, f"{match['indent']}  verified: {day}{ending}")
    text = "".join(lines)
    return text if _has_changed_only(settings.content, text, location, day) else None


def _has_changed_only(before: Any, text: str, location: tuple[str | int, ...], day: datetime.date) -> bool:
    """Whether a text is the same file but for one entry's `verified`."""
    expected = copy.deepcopy(before)
    entry = expected
    for key in location:
        entry = entry[key]
    entry["verified"] = day
    try:
        return bool(yaml.safe_load(text) == expected)
    except yaml.YAMLError:
        return False
