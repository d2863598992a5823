"""What `extmetadata` of the MediaWiki API tells about a file, as plain text.

Its values are HTML or free text, as people wrote them on the file's page; a value may come in several languages, or as
a list: https://www.mediawiki.org/wiki/API:Imageinfo and https://commons.wikimedia.org/wiki/Commons:Machine-readable_data
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any

from vision.data.fetching.plain_text import plain_text

FIELDS = (
    "ObjectName",
    "DateTimeOriginal",
    "Artist",
    "Attribution",
    "LicenseShortName",
    "LicenseUrl",
    "License",
    "UsageTerms",
    "NonFree",
    "Restrictions",
    "DeletionReason",
    "ImageDescription",
)
_ISO_DATE = re.compile(r"(?P<year>\d{4})[-:](?P<month>\d\d)([-:](?P<day>\d\d))?(?!\d)")
_TIME_TAG = re.compile(r"<time\b[^>]*\bdatetime=[\"'](?P<date>[^\"']+)[\"']", re.I)
_FOUR_DIGITS = re.compile(r"(?<![\d-])\d{4}(?![\ds])")
_NOT_CERTAIN = re.compile(
    r"\b(ca?|circa|about|around|before|after|until|between|or|probably|possibly|unknown)\b|[?~]", re.I
)
_FIRST_PHOTOGRAPH = 1826


def raw_text(metadata: Mapping[str, Any], field: str) -> str:
    """A field's value as it comes: in English where there are several languages; empty if there is none."""
    entry = metadata.get(field)
    value = entry.get("value") if isinstance(entry, Mapping) else None
    if isinstance(value, Mapping):
        texts = {
            key: str(text) for key, text in value.items() if key != "_type" and isinstance(text, str | int | float)
        }
        if value.get("_type") == "lang":
            return texts.get("en") or texts.get("x-default") or next(iter(texts.values()), "")
        return ", ".join(texts.values())
    if isinstance(value, list):
        return ", ".join(str(text) for text in value if isinstance(text, str | int | float))
    return str(value) if isinstance(value, str | int | float) else ""


def plain_field(metadata: Mapping[str, Any], field: str, *, max_length: int) -> str:
    """A field's value as plain text on one line."""
    return plain_text(raw_text(metadata, field), max_length=max_length)


def date_taken(html: str) -> str:
    """YYYY-MM-DD, YYYY-MM or YYYY as far as `html` says so for certain, else empty.

    An ISO date at the beginning (or in a <time>) counts; else the year, if one year stands alone. "Circa 1985",
    "between 1985 and 1987" and dates that no calendar has are not certain.
    """
    tags = {match["date"] for match in _TIME_TAG.finditer(html)}
    text = plain_text(html, max_length=500)
    stated = tags.pop() if len(tags) == 1 else text
    if _ISO_DATE.match(stated):
        return _iso_date(stated)
    years = {year for year in _FOUR_DIGITS.findall(text) if _is_year(int(year))}
    return years.pop() if len(years) == 1 and not _NOT_CERTAIN.search(text) else ""


def _iso_date(text: str) -> str:
    match = _ISO_DATE.match(text)
    if match is None or not _is_year(int(match["year"])) or _NOT_CERTAIN.search(text[match.end() :]):
        return ""
    year, month, day = str(match["year"]), str(match["month"]), match["day"]
    if _FOUR_DIGITS.search(text, match.end()):  # a span of time: `2010-05-01 – 2012-06-01`
        return ""
    if not 1 <= int(month) <= 12:
        return year if month == "00" else ""
    if day is None or day == "00":
        return f"{year}-{month}"
    try:
        return datetime.date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return ""


def _is_year(year: int) -> bool:
    return _FIRST_PHOTOGRAPH <= year <= datetime.datetime.now(datetime.UTC).year
