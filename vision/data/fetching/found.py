"""What a source of pictures on the web offers: the types between searching, judging and downloading.

A source (`commons`, `openverse`) turns a `Query` into `FoundPicture`s; what is done with them (`fetch`) does not depend
on which source it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class CategoryQuery:
    """All files in a category of a wiki.

    Attributes:
        name: Without the prefix `Category:`.
        depth: How many levels of subcategories are searched too; 0 is the category alone.
    """

    name: str
    depth: int = 0


@dataclass(frozen=True)
class SearchQuery:
    """Files that a full-text search finds.

    Attributes:
        text: As the source's own search page takes it.
        limit: Most files to take, in the order of the source.
    """

    text: str
    limit: int


@dataclass(frozen=True)
class FilesQuery:
    """Files by name.

    Attributes:
        names: Without the prefix `File:`; identifiers where a source has no names.
    """

    names: tuple[str, ...]


Query = CategoryQuery | SearchQuery | FilesQuery


@dataclass(frozen=True)
class FoundPicture:
    """One file that a source offers, before it is downloaded.

    Attributes:
        source: Name of the source, such as `commons`.
        key: What names the file for ever within its source: a title or an identifier.
        title: Title of the work.
        page_url: Page that a person reads about the file.
        file_url: The file itself, as large as was asked for.
        changes: What the source changes on delivery, such as `scaled to 1280 px`; empty for the original.
        media_type: Such as `image/jpeg`; empty if the source does not tell.
        size_bytes: Of the original; None if the source does not tell.
        sha1: Hex digest of the original; None if the source does not tell.
        width: px, of the original; None if the source does not tell.
        height: px, of the original; None if the source does not tell.
        author: Plain text, empty if not stated.
        licence: SPDX id, or `unknown`.
        licence_stated: The licence in the source's words.
        licence_url: Address of the licence's text, empty if not stated.
        date: When the picture was taken or published, as far as told: YYYY, YYYY-MM or YYYY-MM-DD; else empty.
        description: Plain text.
        categories: Names, without prefix.
        is_author_of_site: Whether the author was not stated and is the one that holds for all of a site's files, which
            tells none of them apart.
    """

    source: str
    key: str
    title: str
    page_url: str
    file_url: str
    changes: str = ""
    media_type: str = ""
    size_bytes: int | None = None
    sha1: str | None = None
    width: int | None = None
    height: int | None = None
    author: str = ""
    licence: str = "unknown"
    licence_stated: str = ""
    licence_url: str = ""
    date: str = ""
    description: str = ""
    categories: tuple[str, ...] = ()
    is_author_of_site: bool = False

    @property
    def identity(self) -> str:
        """What names the file among those of all sources."""
        return f"{self.source}:{self.key}"

    @property
    def states_no_licence(self) -> bool:
        """Whether the source says nothing of a licence, not even anything that is not understood."""
        return self.licence in ("", "unknown") and not self.licence_stated and not self.licence_url


@dataclass(frozen=True)
class QueryProblem:
    """A query, or a file of it, that yields nothing, such as a category that does not exist."""

    query: Query
    message: str


class PictureSource(Protocol):
    """Where pictures are found; one object for one run."""

    name: str

    def find(self, query: Query) -> Iterator[FoundPicture | QueryProblem]:
        """What a query yields, in the order of the source, page after page; a file may come twice.

        Raises:
            FetchError: The source cannot be asked: no network, refused, an answer that is none.
        """
        ...

    def count(self, query: Query) -> int | None:
        """How many files there are, by the cheapest question; None if the query leads nowhere."""
        ...
