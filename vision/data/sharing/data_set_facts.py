"""What a manifest does not tell of its data set: name, description, version, who made it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import polars as pl

from vision.data.manifest import Manifest
from vision.errors import UsageError

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][0-9A-Za-z.+-]+)?")  # semver.org


@dataclass(frozen=True)
class DataSetFacts:
    """What people say of a data set.

    Attributes:
        name: Of the data set.
        description: In a sentence or two.
        version: MAJOR.MINOR.PATCH.
        url: Page of the data set, or an empty text.
        creators: Persons, as they wish to be named.
        date_published: YYYY-MM-DD, or empty if it is not known.
    """

    name: str
    description: str
    version: str = "1.0.0"
    url: str = ""
    creators: tuple[str, ...] = ()
    date_published: str = ""


def stated_facts(
    manifest: Manifest,
    *,
    name: str | None,
    description: str | None,
    version: str,
    url: str,
    creators: Sequence[str] | None,
    date: str,
) -> DataSetFacts:
    """The facts as options give them, with what the manifest has to say where they give nothing."""
    return DataSetFacts(
        name=name or manifest.folder.resolve().name,
        # No counts: it stands in the part of the card that is not renewed.
        description=description or "Labelled pictures of vehicles.",
        version=version,
        url=url,
        creators=tuple(creators or ()),
        date_published=date or latest_date(manifest.table),
    )


def check_facts(facts: DataSetFacts) -> None:
    """Make sure that the facts can be published.

    Raises:
        UsageError: Names the option and the value.
    """
    if not _VERSION.fullmatch(facts.version):
        raise UsageError(f"--version '{facts.version}': not MAJOR.MINOR.PATCH, such as 1.0.0")
    if facts.date_published and not _is_day(facts.date_published):
        raise UsageError(f"--date '{facts.date_published}': not a day; write YYYY-MM-DD")
    parts = urlsplit(facts.url)
    is_local = parts.hostname in (None, "localhost", "127.0.0.1", "::1")
    if facts.url and (parts.scheme not in ("http", "https") or is_local):
        raise UsageError(f"--url '{facts.url}': not an address on the web; write https://...")


def latest_date(table: pl.DataFrame) -> str:
    """The latest day in `retrieved_at`; an empty text without one."""
    days = table["retrieved_at"].str.extract(r"^(\d{4}-\d{2}-\d{2})").drop_nulls().unique()
    return max((day for day in days if _is_day(day)), default="")


def citation(facts: DataSetFacts) -> str:
    """A BibTeX entry of the data set."""
    key = re.sub(r"[^a-z0-9]+", "-", facts.name.lower()).strip("-") or "dataset"
    values = {
        "title": facts.name,
        "author": " and ".join(f"{{{creator}}}" for creator in facts.creators),
        "year": facts.date_published[:4],
        "version": facts.version,
        "url": facts.url,
    }
    return f"@misc{{{key}, " + ", ".join(f"{name} = {{{text}}}" for name, text in values.items() if text) + "}"


def _is_day(text: str) -> bool:
    from datetime import date

    try:
        return bool(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False
