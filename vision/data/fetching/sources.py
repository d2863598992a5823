"""The file `sources.yaml`: which queries to which sources find the pictures of each class.

A query names a category, a search or files; where it goes (`commons`, `openverse` or a wiki of one's own) is its
`source`. Whether the name leads anywhere is its `verified`, which `vision data sources --write` fills in.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vision.data.fetching.found import CategoryQuery, FilesQuery, Query, SearchQuery
from vision.data.fetching.found_licences import UNKNOWN, found_licence
from vision.data.fetching.web_address import AllowList
from vision.errors import ConfigError, FetchError, nearest_name_hint
from vision.settings_file import Location, SettingsFile, parse_settings
from vision.taxonomy import Taxonomy

COMMONS = "commons"
OPENVERSE = "openverse"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
POLITE_INTERVAL_S = 1.0

Text = Annotated[str, Field(min_length=1)]
ClassId = str


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Site(_Part):
    """Where an API stands, and which hosts may be asked and downloaded from."""

    api: str = Field(pattern=r"^https?://")
    allowed_hosts: tuple[str, ...] = Field(min_length=1)
    """As `vision.data.fetching.web_address.AllowList` has them; plain http is for this machine alone."""
    min_interval_s: float = Field(default=POLITE_INTERVAL_S, ge=0, le=600)
    """Least time between two requests."""
    licence: str = ""
    """Of files of which the site states none: an SPDX id, or a licence's name."""
    author: str = ""
    """Of files of which the site states none."""

    @field_validator("licence")
    @classmethod
    def _as_spdx_id(cls, licence: str) -> str:
        if licence and (known := found_licence("", [licence])) == UNKNOWN:
            raise ValueError(f"licence '{licence}' is none that is known; write its SPDX id, such as CC-BY-SA-4.0")
        return known if licence else ""

    @model_validator(mode="after")
    def _check_hosts(self) -> Site:
        if self.api.startswith("http:") and urlsplit(self.api).hostname not in LOOPBACK_HOSTS:
            raise ValueError(f"api is not https; plain http is for {', '.join(LOOPBACK_HOSTS)} alone")
        try:
            AllowList(self.allowed_hosts).check(self.api)
        except FetchError as error:
            raise ValueError(str(error)) from error
        if self.min_interval_s < POLITE_INTERVAL_S and urlsplit(self.api).hostname not in LOOPBACK_HOSTS:
            raise ValueError(f"min_interval_s is at least {POLITE_INTERVAL_S:g} for servers that others use too")
        if self.licence and (urlsplit(self.api).hostname or "").endswith((".wikimedia.org", ".wikipedia.org")):
            raise ValueError("licence is for wikis that state none; each file here states its own")
        return self


COMMONS_SITE = Site(
    api="https://commons.wikimedia.org/w/api.php",
    allowed_hosts=("commons.wikimedia.org", "upload.wikimedia.org"),
)
OPENVERSE_SITE = Site(
    api="https://api.openverse.org/v1/images/",
    allowed_hosts=("api.openverse.org", "*.staticflickr.com"),
    min_interval_s=3.0,
)
"""Flickr holds most of what Openverse finds; files on other hosts are left out until these are allowed. Unnamed users
may ask 20 times a minute."""


class FetchDefaults(_Part):
    """What holds for every class unless a query says otherwise."""

    width: int | None = Field(default=None, ge=64, le=20_000)
    """px that the source scales pictures to; None fetches the originals."""
    depth: int = Field(default=1, ge=0, le=10)
    """Levels of subcategories."""
    search_limit: int = Field(default=50, ge=1, le=10_000)
    """Most files of one search."""
    max_per_class: int = Field(default=500, ge=1)
    min_side_px: int = Field(default=300, ge=1)
    """Shorter side of the original."""
    max_file_mb: int = Field(default=100, ge=1, le=500)
    """Megabytes (1,000,000 bytes) of one file."""


class QueryEntry(_Part):
    """One entry in a class's list: a category, a search or names of files."""

    category: Text | None = None
    depth: int | None = Field(default=None, ge=0, le=10)
    search: Text | None = None
    limit: int | None = Field(default=None, ge=1, le=10_000)
    files: tuple[Text, ...] | None = None
    source: str = COMMONS
    verified: bool | datetime.date = False
    note: str = ""

    @model_validator(mode="after")
    def _check_one_kind(self) -> QueryEntry:
        kinds = [name for name in ("category", "search", "files") if getattr(self, name) is not None]
        if len(kinds) != 1:
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            raise ValueError(f"needs exactly one of category, search, files; {found}")
        if self.files == ():
            raise ValueError("files is empty; name some, or take the entry out")
        if self.depth is not None and self.category is None:
            raise ValueError("depth is for category alone")
        if self.limit is not None and self.search is None:
            raise ValueError("limit is for search alone")
        return self

    def query(self, defaults: FetchDefaults) -> Query:
        """What to ask the source."""
        if self.category is not None:
            depth = defaults.depth if self.depth is None else self.depth
            return CategoryQuery(_without_prefix(self.category, ("category:",)), depth)
        if self.search is not None:
            return SearchQuery(self.search, self.limit or defaults.search_limit)
        return FilesQuery(tuple(_without_prefix(name, ("file:", "image:")) for name in self.files or ()))


class Sources(_Part):
    """All of a sources.yaml."""

    version: Literal[1]
    contact: Text | None = None
    wikis: dict[str, Site] = {}
    openverse: Site = OPENVERSE_SITE
    defaults: FetchDefaults = FetchDefaults()
    classes: dict[ClassId, tuple[QueryEntry, ...]] = Field(min_length=1)
    without_sources: dict[ClassId, Text] = {}
    """Classes that nothing is known to find, and why; a test may hold that no class is forgotten."""

    def site(self, name: str) -> Site | None:
        """The site of a source; None if no source has this name."""
        known = {COMMONS: COMMONS_SITE, **self.wikis, OPENVERSE: self.openverse}
        return known.get(name)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names that a query's `source` may have."""
        return tuple(dict.fromkeys((COMMONS, OPENVERSE, *self.wikis)))


@dataclass(frozen=True)
class ClassQuery:
    """A query, whom it is for and where it stands.

    Attributes:
        class_id: Class that the pictures are of.
        source: Name of the source to ask.
        query: What to ask.
        entry: As the file has it.
        location: Of the entry in the file.
        place: `file:line` of the entry.
    """

    class_id: str
    source: str
    query: Query
    entry: QueryEntry
    location: Location
    place: str

    @property
    def text(self) -> str:
        """The query in words, such as `category Tor-M1, depth 1`."""
        return describe_query(self.query)


@dataclass(frozen=True)
class SourcesFile:
    """A sources.yaml that was found to be sound.

    Attributes:
        path: The file.
        sources: Its content.
        queries: One for each entry, in the order of the file.
    """

    path: Path
    sources: Sources
    queries: tuple[ClassQuery, ...]

    def queries_of(self, class_ids: Sequence[str]) -> tuple[ClassQuery, ...]:
        """The queries of some classes, of all if none is named.

        Raises:
            ConfigError: A class has no queries in this file.
        """
        for class_id in class_ids:
            if class_id not in self.sources.classes:
                why = self.sources.without_sources.get(class_id)
                hint = f" ({why})" if why else _class_hint(class_id, self.sources.classes)
                raise ConfigError(f"{self.path}: class '{class_id}' has no queries here{hint}")
        return tuple(q for q in self.queries if not class_ids or q.class_id in class_ids)


def load_sources(path: Path, taxonomy: Taxonomy) -> SourcesFile:
    """The sources in a file.

    Raises:
        ConfigError: With every fault, its line and its remedy.
    """
    settings = SettingsFile(path, ConfigError)
    sources = parse_settings(Sources, settings)
    faults = [*_class_faults(sources, taxonomy, settings), *_source_faults(sources, settings)]
    if faults:
        raise ConfigError("\n".join(faults))
    return SourcesFile(path, sources, tuple(_class_queries(sources, settings)))


def describe_query(query: Query) -> str:
    """A query in words."""
    if isinstance(query, CategoryQuery):
        return f"category {query.name}" + (f", depth {query.depth}" if query.depth else "")
    if isinstance(query, SearchQuery):
        return f"search '{query.text}', at most {query.limit}"
    return f"file {query.names[0]}" if len(query.names) == 1 else f"{len(query.names)} files, {query.names[0]} first"


def _class_hint(class_id: str, known: Collection[str]) -> str:
    """Which class may be meant: the nearest, those whose id holds this one, or any."""
    if hint := nearest_name_hint(class_id, known):
        return hint
    alike = [name for name in known if class_id.lower() in name]
    return f", did you mean one of {', '.join(alike)}?" if alike else f"; there are {', '.join(known)}"


def _class_queries(sources: Sources, settings: SettingsFile) -> Iterable[ClassQuery]:
    for class_id, entries in sources.classes.items():
        for index, entry in enumerate(entries):
            location: Location = ("classes", class_id, index)
            query = entry.query(sources.defaults)
            yield ClassQuery(class_id, entry.source, query, entry, location, settings.place(location))


def _class_faults(sources: Sources, taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    faults = []
    for key in ("classes", "without_sources"):
        for class_id in getattr(sources, key):
            if class_id not in taxonomy.class_ids:
                hint = nearest_name_hint(class_id, taxonomy.class_ids) or "; `vision taxonomy` lists them"
                faults.append(f"{settings.place((key, class_id))}: class '{class_id}' is not in the taxonomy{hint}")
    for class_id in sources.without_sources:
        if sources.classes.get(class_id):
            place = settings.place(("without_sources", class_id))
            faults.append(f"{place}: class '{class_id}' stands under classes too; keep one of them")
    return faults


def _source_faults(sources: Sources, settings: SettingsFile) -> list[str]:
    faults = []
    if OPENVERSE in sources.wikis:
        faults.append(f"{settings.place(('wikis', OPENVERSE))}: openverse is no wiki; use the key 'openverse'")
    for class_id, entries in sources.classes.items():
        for index, entry in enumerate(entries):
            place = settings.place(("classes", class_id, index, "source"))
            if entry.source not in sources.source_names:
                hint = nearest_name_hint(entry.source, sources.source_names)
                known = hint or f"; there are {', '.join(sources.source_names)}; others stand under 'wikis'"
                faults.append(f"{place}: source '{entry.source}' is not known{known}")
            elif entry.source == OPENVERSE and entry.category is not None:
                faults.append(f"{place}: openverse has no categories; use 'search'")
    return faults


def _without_prefix(name: str, prefixes: tuple[str, ...]) -> str:
    plain = name.replace("_", " ").strip()
    for prefix in prefixes:
        if plain.lower().startswith(prefix):
            return plain[len(prefix) :].strip()
    return plain
