"""Pictures of Wikimedia Commons, or of any wiki that runs MediaWiki, by its action API.

A query is answered in two steps: lists of page ids (500 an answer), then what is known of 50 files at a time. Asking by
page id keeps addresses short, which 50 titles in Cyrillic would not be. The API: https://www.mediawiki.org/wiki/API:Query,
API:Continue, API:Errors_and_warnings, API:Imageinfo, API:Categorymembers, API:Search, Manual:Maxlag_parameter.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from vision.data.fetching.found import CategoryQuery, FilesQuery, FoundPicture, Query, QueryProblem, SearchQuery
from vision.data.fetching.plain_text import one_line, plain_text
from vision.data.fetching.web_client import PoliteClient
from vision.data.fetching.wiki_files import WikiFile, parse_file, picture_of
from vision.data.fetching.wiki_metadata import FIELDS
from vision.errors import AnswerError

COMMONS_WIDTHS_PX = (120, 250, 330, 500, 960, 1280, 1920, 3840)
"""Widths that Wikimedia's servers scale to; they refuse others: https://www.mediawiki.org/wiki/Common_thumbnail_sizes"""

_FILES_AT_ONCE = 50  # most titles or page ids in a request: https://www.mediawiki.org/wiki/API:Query
_MAX_TITLES_LENGTH = 5_000  # characters of titles in an address, percent-encoded; servers take 8,000
_MAX_LAG_S = 5  # seconds that the databases may lag; 5 is what Wikimedia recommends: Manual:Maxlag_parameter
_COMMON: Mapping[str, str | int] = {
    "action": "query",
    "format": "json",
    "formatversion": 2,
    "errorformat": "plaintext",
    "uselang": "en",
    "maxlag": _MAX_LAG_S,
}
_PASSING_ERRORS = ("maxlag", "ratelimited", "readonly", "cirrussearch-too-busy-error", "cirrussearch-backend-error")
_LISTED_AT_ONCE = 500
_PREFIX = re.compile(r"(file|image)\s*:\s*", re.I)
_NO_TITLE = re.compile(r"[#<>\[\]{|}\x00-\x1f\x7f]")  # https://www.mediawiki.org/wiki/Manual:Page_title


class MediaWikiSource:
    """A `PictureSource` over one wiki's API.

    Args:
        name: Of the source, such as `commons`.
        api_url: Where the wiki's api.php is.
        client: Whose list of hosts holds the wiki's and that of its files.
        width: px that pictures are scaled to if they are wider; None for the originals. Commons scales to
            `COMMONS_WIDTHS_PX` alone. No wiki tells the SHA-1 of a scaled file, so that it cannot be checked.
    """

    def __init__(self, name: str, api_url: str, client: PoliteClient, *, width: int | None) -> None:
        self.name = name
        self.warnings: list[str] = []
        """What the API warned of, each once, in its words."""
        self._api_url = api_url
        self._client = client
        self._width = width

    def find(self, query: Query) -> Iterator[FoundPicture | QueryProblem]:
        """What a query yields, in the order of the wiki, page after page.

        Raises:
            FetchError: The wiki cannot be asked, refuses, or answers with an error.
        """
        if isinstance(query, FilesQuery):
            yield from self._find_files(query)
            return
        page_ids = self._category_files(query) if isinstance(query, CategoryQuery) else self._search(query)
        num_listed = 0
        while batch := list(islice(page_ids, _FILES_AT_ONCE)):
            num_listed += len(batch)
            yield from self._describe_ids(batch, query)
        if num_listed == 0:
            yield QueryProblem(query, self._why_nothing(query))

    def count(self, query: Query) -> int | None:
        """How many files there are: in the category itself, that a search finds, or of those named.

        Returns:
            None if the category does not exist.
        """
        if isinstance(query, CategoryQuery):
            return self._count_category(query.name)
        if isinstance(query, SearchQuery):
            answer = self._ask(_search_params(query.text, limit=1))
            info = _query(answer).get("searchinfo")
            hits = info.get("totalhits") if isinstance(info, Mapping) else None
            return hits if isinstance(hits, int) else None
        return sum(isinstance(found, FoundPicture) for found in self._find_files(query))

    def _count_category(self, name: str) -> int | None:
        if not name.strip() or _NO_TITLE.search(name):
            return None
        answer = self._ask({"prop": "categoryinfo", "titles": _category_title(name)})
        for page in _pages(answer):
            info = page.get("categoryinfo")
            if isinstance(info, Mapping):  # also of a category without a page of its own, if it has members
                files = info.get("files")
                return files if isinstance(files, int) else None
            return None if page.get("missing") or page.get("invalid") else 0
        return None

    def _why_nothing(self, query: CategoryQuery | SearchQuery) -> str:
        if isinstance(query, SearchQuery):
            return f"{self.name}: the search '{query.text}' finds no files; try fewer words"
        place = f"{self.name}: category '{query.name}'"
        if self._count_category(query.name) is None:
            return f"{place} does not exist; look for its name on the wiki, it may have been moved"
        return f"{place} holds no files down to depth {query.depth}; it may have been moved, or needs a larger depth"

    def _category_files(self, query: CategoryQuery) -> Iterator[int]:
        """Page ids of the files in a category and those below it, level by level; no file and no category twice."""
        if not query.name.strip() or _NO_TITLE.search(query.name):
            return
        seen_files: set[int] = set()
        # Subcategories go in circles on every large wiki.
        seen_categories = {_as_the_wiki_spells(_category_title(query.name))}
        waiting = deque([(_category_title(query.name), query.depth)])
        while waiting:
            title, depth = waiting.popleft()
            for member in self._members(title, with_subcategories=depth > 0):
                page_id, member_title = member.get("pageid"), str(member.get("title", ""))
                if member.get("type") == "subcat":
                    if member_title not in seen_categories:
                        seen_categories.add(member_title)
                        waiting.append((member_title, depth - 1))
                elif isinstance(page_id, int) and page_id not in seen_files:
                    seen_files.add(page_id)
                    yield page_id

    def _members(self, category: str, *, with_subcategories: bool) -> Iterator[Mapping[str, Any]]:
        params = {
            "list": "categorymembers",
            "cmtitle": category,
            "cmtype": "file|subcat" if with_subcategories else "file",
            "cmprop": "ids|title|type",
            "cmlimit": "max",
        }
        for answer in self._answers(params):
            yield from _objects(_query(answer).get("categorymembers"))

    def _search(self, query: SearchQuery) -> Iterator[int]:
        params = _search_params(query.text, limit=min(query.limit, _LISTED_AT_ONCE))
        hits = (hit for answer in self._answers(params) for hit in _objects(_query(answer).get("search")))
        yield from islice((hit["pageid"] for hit in hits if isinstance(hit.get("pageid"), int)), query.limit)

    def _describe_ids(self, page_ids: list[int], query: Query) -> Iterator[FoundPicture | QueryProblem]:
        by_id = {file.page_id: file for file in self._describe({"pageids": "|".join(map(str, page_ids))})[0]}
        # The id of a redirect leads to a page with another id, which comes last.
        ordered = [by_id.pop(page_id) for page_id in page_ids if page_id in by_id]
        for file in (*ordered, *by_id.values()):
            yield self._judge(file, query)

    def _find_files(self, query: FilesQuery) -> Iterator[FoundPicture | QueryProblem]:
        for names in _batches(query.names):
            asked = [name for name in names if name.strip() and not _NO_TITLE.search(name)]
            files, moved = self._describe({"titles": "|".join(map(_file_title, asked))}) if asked else ([], {})
            by_title = {file.title: file for file in files}
            for name in names:
                title = _file_title(name)
                for _ in range(3):  # spelled as the wiki does, then redirected, once or twice
                    title = moved.get(title, title)
                if title in by_title:
                    yield self._judge(by_title[title], query)
                else:
                    yield QueryProblem(query, f"{self.name}: '{name}' cannot be the name of a file; check the spelling")

    def _judge(self, file: WikiFile, query: Query) -> FoundPicture | QueryProblem:
        """A file as a picture, or why it is none."""
        if file.problem:
            return QueryProblem(query, f"{self.name}: '{file.title or file.page_id}' {file.problem}")
        return picture_of(file, source=self.name, base_url=self._api_url)

    def _describe(self, selection: Mapping[str, str]) -> tuple[list[WikiFile], dict[str, str]]:
        """What is known of up to 50 files, and which titles stand for which others."""
        params: dict[str, str | int] = {
            **selection,
            "redirects": 1,
            "prop": "imageinfo|categories",
            "iiprop": "url|size|sha1|mime|thumbmime|extmetadata",
            "iiextmetadatafilter": "|".join(FIELDS),
            "iiextmetadatalanguage": "en",
            "clprop": "hidden",
            "cllimit": "max",
        }
        if self._width is not None:
            params["iiurlwidth"] = self._width
        files: dict[str, WikiFile] = {}
        moved: dict[str, str] = {}
        for answer in self._answers(params):
            for kind in ("normalized", "redirects"):
                moved |= {str(pair.get("from")): str(pair.get("to")) for pair in _objects(_query(answer).get(kind))}
            for page in _pages(answer):
                file = parse_file(page)
                files[file.identity] = files[file.identity].merged_with(file) if file.identity in files else file
        return list(files.values()), moved

    def _answers(self, params: Mapping[str, str | int]) -> Iterator[dict[str, Any]]:
        """All answers to a question, each continued where the one before ended."""
        following: dict[str, Any] = {}
        while True:
            answer = self._ask({**params, **following})
            yield answer
            more = answer.get("continue")
            # `iistart` alone leads to the older versions of a file that was asked for alone.
            if not isinstance(more, dict) or set(more) <= {"continue", "iistart"}:
                return
            if more == following:
                raise AnswerError(
                    f"{self._api_url}: the answer continues where it began ({more}); the wiki is at fault"
                )
            following = more

    def _ask(self, params: Mapping[str, str | int]) -> dict[str, Any]:
        """One answer that holds no error.

        Raises:
            AnswerError: It holds one, in the API's own words, or nothing that was asked for.
        """
        answer = self._client.read_json(self._api_url, {**_COMMON, **params}, ask_again=_passing_error)
        if (problem := _error_of(answer)) is not None:
            code, text = problem
            raise AnswerError(f"{self._api_url}: the API answers '{code}': {text}")
        warnings = _warnings_of(answer)
        self.warnings += [warning for warning in dict.fromkeys(warnings) if warning not in self.warnings]
        if not {"query", "batchcomplete", "continue"} & set(answer) or not isinstance(answer.get("query", {}), Mapping):
            said = f" ({'; '.join(warnings)})" if warnings else f" (it has {', '.join(list(answer)[:5]) or 'nothing'})"
            raise AnswerError(f"{self._api_url}: the answer is not that of MediaWiki's API{said}; check the address")
        return answer


def _passing_error(answer: Mapping[str, Any]) -> str | None:
    """Why to ask again later, if an answer says so."""
    if (problem := _error_of(answer)) is None:
        return None
    code, text = problem
    is_passing = code in _PASSING_ERRORS or code.startswith("internal_api_error")
    return f"the API answers '{code}': {text}" if is_passing else None


def _error_of(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and text of the first error in an answer."""
    errors = answer.get("errors")
    legacy = answer.get("error")  # before MediaWiki 1.29
    if not isinstance(errors, list) or not errors:
        errors = [legacy] if legacy else []
    if not errors:
        return None
    first = errors[0] if isinstance(errors[0], Mapping) else {}
    text = first.get("text") or first.get("info") or first.get("html") or "no text"
    return one_line(str(first.get("code", "no code"))), plain_text(str(text), max_length=500)


def _warnings_of(answer: Mapping[str, Any]) -> list[str]:
    return [plain_text(str(entry.get("text", entry)), max_length=300) for entry in _objects(answer.get("warnings"))]


def _query(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    query = answer.get("query")
    return query if isinstance(query, Mapping) else {}  # left out where nothing was found


def _pages(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return _objects(_query(answer).get("pages"))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a list; nothing where there is no list."""
    return (entry for entry in value if isinstance(entry, Mapping)) if isinstance(value, list) else iter(())


def _search_params(text: str, *, limit: int) -> dict[str, str | int]:
    return {
        "list": "search",
        "srsearch": text,
        "srnamespace": 6,  # files
        "srinfo": "totalhits",
        "srprop": "",
        "srlimit": limit,
    }


def _batches(names: Sequence[str]) -> Iterator[list[str]]:
    """Names in order, as many at a time as fit into one request."""
    batch: list[str] = []
    length = 0
    for name in names:
        name_length = len(quote(_file_title(name))) + 3
        if batch and (len(batch) == _FILES_AT_ONCE or length + name_length > _MAX_TITLES_LENGTH):
            yield batch
            batch, length = [], 0
        batch.append(name)
        length += name_length
    if batch:
        yield batch


def _file_title(name: str) -> str:
    return f"File:{_PREFIX.sub('', name.strip())}"


def _category_title(name: str) -> str:
    return f"Category:{name.strip()}"


def _as_the_wiki_spells(title: str) -> str:
    """`Category:tor_missile` as `Category:Tor missile`."""
    namespace, _, name = title.partition(":")
    name = " ".join(name.replace("_", " ").split())
    return f"{namespace}:{name[:1].upper()}{name[1:]}"
