"""Author, licence and source as they stand in a picture's own file.

Where several kinds of metadata say something, the first in this order counts, field by field: XMP, IPTC, EXIF, text
chunks of a PNG, the comment of a JPEG or GIF. So does the IPTC Photo Metadata Standard: XMP is what editors write last.

The licence is judged from all statements together. One that is an address of a licence, or words that are a licence's
name, counts; a copyright line alone is none. Two different licences are no answer: the field stays empty, and
`licence_stated` has both.

Nothing that stands in a file raises an error here: what cannot be read is left empty.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image

from vision.data.fetching.found_licences import UNKNOWN, found_licence
from vision.data.images import DECODER_FAULTS
from vision.data.importing.embedded_statements import (
    Statements,
    comment_statements,
    exif_statements,
    find_web_address,
    find_web_addresses,
    iptc_statements,
    png_statements,
    xmp_statements,
)

_PARTS = re.compile(r"[,;|()]|\s[/–—-]\s")


@dataclass(frozen=True)
class Provenance:
    """What a picture's file says of itself; every field is empty where it says nothing.

    Attributes:
        author: As stated; several are separated by commas.
        licence: SPDX id; empty if none is stated, or two that differ.
        licence_stated: The words and addresses that speak of rights, separated by `; `.
        licence_url: Address of the licence's text.
        source_url: Page that the picture comes from.
        title: Title of the work.
        description: Caption.
        date: When it was taken: YYYY, YYYY-MM or YYYY-MM-DD.
        copyright: The copyright line, which is no licence.
    """

    author: str = ""
    licence: str = ""
    licence_stated: str = ""
    licence_url: str = ""
    source_url: str = ""
    title: str = ""
    description: str = ""
    date: str = ""
    copyright: str = ""

    def __bool__(self) -> bool:
        """Whether the file says anything."""
        return any(getattr(self, field.name) for field in fields(self))


def read_provenance(path: Path) -> Provenance:
    """What a picture's file says of author, licence and source; nothing where it cannot be read."""
    try:
        with Image.open(path) as image:
            return _provenance(_all_statements(image))
    except (*DECODER_FAULTS, Image.DecompressionBombError):
        return Provenance()


def _all_statements(image: Image.Image) -> list[Statements]:
    """What each kind of metadata says, in the order in which they count."""
    info = image.info
    readers: tuple[Callable[[], Statements], ...] = (
        lambda: xmp_statements(info["xmp"]) if "xmp" in info else {},
        lambda: iptc_statements(image),
        lambda: exif_statements(image),
        lambda: png_statements(getattr(image, "text", {})),
        lambda: comment_statements(info["comment"]) if "comment" in info else {},
    )
    return [_what_can_be_read(reader) for reader in readers]


def _what_can_be_read(reader: Callable[[], Statements]) -> Statements:
    try:
        return reader()
    except DECODER_FAULTS:
        return {}


def _provenance(said: list[Statements]) -> Provenance:
    first = {name: text for statements in reversed(said) for name, text in statements.items()}
    rights = _rights(said)
    licence = stated_licence(rights)
    pages = (find_web_address(statements.get("source_url", "")) for statements in said)
    return Provenance(
        author=first.get("author", ""),
        licence=licence,
        licence_stated="; ".join(rights),
        licence_url=next(filter(_is_licence_address, _addresses(rights)), "") if licence else "",
        source_url=next((page for page in pages if page and not _is_licence_address(page)), ""),
        title=first.get("title", ""),
        description=first.get("description", ""),
        date=next((date for s in said if (date := short_date(s.get("date", "")))), ""),
        copyright=first.get("copyright", ""),
    )


def _rights(said: list[Statements]) -> list[str]:
    """Everything that speaks of rights, once each, the plainest first."""
    names = ("licence_url", "licence_stated", "copyright")
    return list(dict.fromkeys(statements[name] for name in names for statements in said if name in statements))


def stated_licence(rights: Sequence[str]) -> str:
    """SPDX id of the licence that statements about one picture name together; empty if there is none, or two.

    `© A. Person, CC BY-SA 4.0, via Wikimedia Commons` names one, between commas; `no CC BY` does not, and with
    `all rights reserved` nothing does.
    """
    names = [*rights, *(part for text in rights for part in _PARTS.split(text) if _is_content_licence(part.strip()))]
    addresses = list(filter(_is_licence_address, _addresses(rights)))
    found = {found_licence(address, names) for address in addresses or [""]}
    return found.pop() if len(found) == 1 and UNKNOWN not in found else ""


def _addresses(rights: Sequence[str]) -> list[str]:
    return [address for text in rights for address in find_web_addresses(text)]


def _is_licence_address(address: str) -> bool:
    return found_licence(address, []) != UNKNOWN


def _is_content_licence(name: str) -> bool:
    """Whether a part of a sentence is the name of a licence for works; `MIT` there is a school."""
    return found_licence("", [name]).startswith(("CC", "OGL", "GFDL", "LAL", "LicenseRef-"))


def short_date(text: str) -> str:
    """YYYY, YYYY-MM or YYYY-MM-DD of a date as EXIF, IPTC or XMP write it, as far as a calendar has it; else empty.

    These are machines' dates; `vision.data.fetching.wiki_metadata.date_taken` reads those that people write.
    """
    found = re.match(r"(\d{4})(?:[:/-]?(\d\d)(?:[:/-]?(\d\d))?)?(?!\d)", text.strip())
    if not found or not 1800 <= int(found[1]) <= 2200:
        return ""
    month, day = found[2], found[3]
    if month is None or not 1 <= int(month) <= 12:
        return found[1]
    try:
        return datetime.date(int(found[1]), int(month), int(day or 0)).isoformat()
    except ValueError:
        return f"{found[1]}-{month}"
