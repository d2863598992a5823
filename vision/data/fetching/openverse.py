"""Openverse: a search over openly licensed pictures of many sites, by its API (https://api.openverse.org/v1/).

What its documentation says and this module keeps to: unnamed users get at most 20 results a page and 240 in all,
20 questions a minute and 200 a day; HTTP 429 says when to come back. Pictures lie on the hosts of the sites themselves,
so the list of allowed hosts decides which of them are downloaded. No digest is told.

Pictures that Wikimedia Commons holds are not asked for: they come from there, with their digest.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vision.data.fetching.found import CategoryQuery, FilesQuery, FoundPicture, Query, QueryProblem, SearchQuery
from vision.data.fetching.found_licences import found_licence
from vision.data.fetching.plain_text import one_line, plain_text
from vision.data.fetching.sources import OPENVERSE
from vision.data.fetching.web_client import PoliteClient
from vision.errors import AnswerError

_MAX_NAME = 300  # characters; longer ones are cut

PAGE_SIZE = 20
MOST_RESULTS = 240
"""As many as unnamed users can page through (https://github.com/WordPress/openverse/issues/4474)."""

OPEN_LICENCES = "by,by-sa,cc0,pdm"
"""Asked for alone: pictures under other licences would use up the 240."""

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class OpenverseSource:
    """Searches Openverse; one object for one run.

    Args:
        client: May ask the API's host.
        api: Address of the API for images, with a slash at its end.
        name: Of the source.
    """

    def __init__(self, client: PoliteClient, api: str, name: str = OPENVERSE) -> None:
        self.name = name
        self._client = client
        self._api = api.rstrip("/") + "/"

    def find(self, query: Query) -> Iterator[FoundPicture | QueryProblem]:
        """What a query yields; see `PictureSource`."""
        if isinstance(query, CategoryQuery):
            yield QueryProblem(query, f"{self.name} has no categories; use a search")
        elif isinstance(query, SearchQuery):
            yield from self._search(query)
        else:
            yield from self._details(query)

    def count(self, query: Query) -> int | None:
        """How many files there are, 240 at most; None if the query leads nowhere."""
        if isinstance(query, CategoryQuery):
            return None
        if isinstance(query, SearchQuery):
            answer = self._client.read_json(self._api, self._parameters(query, page=1, page_size=1))
            return _whole_number(answer.get("result_count")) or None
        return sum(isinstance(found, FoundPicture) for found in self._details(query)) or None

    def _search(self, query: SearchQuery) -> Iterator[FoundPicture | QueryProblem]:
        num_wanted = min(query.limit, MOST_RESULTS)
        num_found = 0
        page, num_pages = 1, 1
        while page <= num_pages and num_found < num_wanted:
            answer = self._client.read_json(self._api, self._parameters(query, page=page, page_size=PAGE_SIZE))
            results = answer.get("results")
            if not isinstance(results, list):
                raise AnswerError(f"{self._api}: the answer has no list 'results'; is this the API for images?")
            num_pages = min(_whole_number(answer.get("page_count")) or 0, MOST_RESULTS // PAGE_SIZE)
            for result in results[: num_wanted - num_found]:
                num_found += 1
                yield self._picture(result, query)
            page += 1
        if not num_found:
            yield QueryProblem(query, f"{self.name}: nothing found for '{query.text}'; try fewer words")

    def _details(self, query: FilesQuery) -> Iterator[FoundPicture | QueryProblem]:
        for identifier in query.names:
            if not _ID.fullmatch(identifier):
                yield QueryProblem(
                    query, f"{self.name}: '{identifier}' is no identifier, such as in the addresses of its pages"
                )
                continue
            try:
                answer = self._client.read_json(f"{self._api}{identifier.lower()}/")
            except AnswerError as error:
                yield QueryProblem(query, f"{self.name}: {identifier}: {error}")
                continue
            yield self._picture(answer, query)

    def _parameters(self, query: SearchQuery, *, page: int, page_size: int) -> dict[str, str | int]:
        return {
            "q": query.text,
            "license": OPEN_LICENCES,
            "excluded_source": "wikimedia",
            "mature": "false",
            "page": page,
            "page_size": page_size,
        }

    def _picture(self, result: object, query: Query) -> FoundPicture | QueryProblem:
        if not isinstance(result, dict) or not _text(result, "id") or not _text(result, "url"):
            return QueryProblem(query, f"{self.name}: a result without 'id' or 'url'")
        return FoundPicture(
            source=self.name,
            key=_text(result, "id"),
            title=plain_text(_text(result, "title"), max_length=_MAX_NAME) or _text(result, "id"),
            page_url=_address(result, "foreign_landing_url"),
            file_url=_text(result, "url"),
            media_type=_media_type(result),
            size_bytes=_whole_number(result.get("filesize")),
            width=_whole_number(result.get("width")),
            height=_whole_number(result.get("height")),
            author=plain_text(_text(result, "creator"), max_length=_MAX_NAME),
            licence=licence_of(result),
            licence_stated=_licence_name(result),
            licence_url=_address(result, "license_url"),
            categories=_tags(result),
        )


def licence_of(result: Mapping[str, Any]) -> str:
    """SPDX id of a result's licence; `unknown` where its fields say nothing certain, or contradict each other."""
    return found_licence(_text(result, "license_url"), [_licence_name(result)])


def _licence_name(result: Mapping[str, Any]) -> str:
    """The licence as people write it, such as `CC BY-SA 2.0`."""
    kind, version = _text(result, "license").lower(), _text(result, "license_version")
    names = {"pdm": "PDM", "cc0": "CC0"}
    return " ".join(filter(None, (names.get(kind, f"CC {kind.upper()}" if kind else ""), version)))


def _media_type(result: Mapping[str, Any]) -> str:
    """From the type of file, or the end of the address; empty if neither tells."""
    ending = _text(result, "filetype").lower().strip(".")
    name = f"file.{ending}" if ending else _text(result, "url").partition("?")[0]
    return mimetypes.guess_type(name)[0] or ""


def _tags(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Names that people gave; those that machines gave have an accuracy."""
    tags = result.get("tags")
    listed = [tag for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
    return tuple(dict.fromkeys(_text(tag, "name") for tag in listed if tag.get("accuracy") is None and tag.get("name")))


def _address(result: Mapping[str, Any], name: str) -> str:
    """An address of the web; empty for any other, which no page may link to."""
    address = _text(result, name)
    return address if address.startswith(("https://", "http://")) else ""


def _text(result: Mapping[str, Any], name: str) -> str:
    value = result.get(name)
    return one_line(value) if isinstance(value, str) else ""


def _whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
