"""A file as MediaWiki's API describes it, and the picture that it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from vision.data.fetching.found import FoundPicture
from vision.data.fetching.found_licences import UNKNOWN, found_licence
from vision.data.fetching.plain_text import one_line
from vision.data.fetching.prohibitions import NOT_FREE
from vision.data.fetching.wiki_metadata import date_taken, plain_field, raw_text

_LICENCE_NAMES = ("LicenseShortName", "License", "UsageTerms")
_MAX_NAME = 300
_MAX_DESCRIPTION = 2_000


@dataclass(frozen=True)
class WikiFile:
    """What one or more answers tell of a file.

    Attributes:
        page_id: None if the page does not exist.
        title: With the namespace, such as `File:Tor.jpg`.
        info: Its latest version, as `imageinfo` has it; None if not told.
        categories: Names without prefix.
        hidden_categories: Those that the wiki does not show, such as those of licences.
        said: Why the wiki knows no such page; empty if it does.
    """

    page_id: int | None
    title: str
    info: Mapping[str, Any] | None
    categories: tuple[str, ...]
    hidden_categories: tuple[str, ...]
    said: str = ""

    @property
    def identity(self) -> str:
        """The same in all answers about the file."""
        return self.title if self.page_id is None else str(self.page_id)

    @property
    def problem(self) -> str:
        """Why this is no file that can be had; empty if it is one."""
        if self.said:
            return self.said
        if self.info is None:
            return "is a page without a file"
        if not isinstance(self.info.get("url"), str) or "filehidden" in self.info or "filemissing" in self.info:
            return "is hidden or lost"
        return ""

    def merged_with(self, later: WikiFile) -> WikiFile:
        """With what a further answer adds; what is known already stays."""
        return replace(
            self,
            info=self.info if self.info is not None else later.info,
            categories=tuple(dict.fromkeys((*self.categories, *later.categories))),
            hidden_categories=tuple(dict.fromkeys((*self.hidden_categories, *later.hidden_categories))),
        )


def parse_file(page: Mapping[str, Any]) -> WikiFile:
    """One element of `query.pages`."""
    page_id, versions = page.get("pageid"), page.get("imageinfo")
    info = versions[0] if isinstance(versions, list) and versions and isinstance(versions[0], Mapping) else None
    told = page.get("categories")
    categories = [entry for entry in told if isinstance(entry, Mapping)] if isinstance(told, list) else []
    return WikiFile(
        page_id=page_id if isinstance(page_id, int) and not page.get("missing") else None,
        title=str(page.get("title", "")),
        info=info,
        categories=tuple(
            _without_namespace(str(entry.get("title"))) for entry in categories if not entry.get("hidden")
        ),
        hidden_categories=tuple(
            _without_namespace(str(entry.get("title"))) for entry in categories if entry.get("hidden")
        ),
        said=_why_missing(page, has_info=info is not None),
    )


def picture_of(file: WikiFile, *, source: str, base_url: str) -> FoundPicture:
    """A file without a problem as a picture.

    Args:
        file: With `info`.
        source: Name of the source.
        base_url: What addresses without a host are relative to.
    """
    info = file.info or {}
    told = info.get("extmetadata")
    metadata = told if isinstance(told, Mapping) else {}  # PHP writes an empty table as a list
    name = _without_namespace(file.title)
    file_url, changes = _delivered(info)
    licence_url = plain_field(metadata, "LicenseUrl", max_length=1_000)
    return FoundPicture(
        source=source,
        key=name,
        title=plain_field(metadata, "ObjectName", max_length=_MAX_NAME) or name.rpartition(".")[0] or name,
        page_url=_address(base_url, _text(info, "descriptionurl")),
        file_url=_address(base_url, file_url),
        changes=changes,
        media_type=_text(info, "thumbmime" if changes else "mime") or _text(info, "mime"),
        size_bytes=_whole(info, "size"),
        sha1=_text(info, "sha1") or None,
        width=_whole(info, "width"),
        height=_whole(info, "height"),
        author=_author(metadata),
        licence=_licence(metadata, licence_url, (*file.categories, *file.hidden_categories)),
        licence_stated=_licence_stated(metadata, (*file.categories, *file.hidden_categories)),
        licence_url=_address("https://", licence_url),
        date=date_taken(raw_text(metadata, "DateTimeOriginal")),
        description=plain_field(metadata, "ImageDescription", max_length=_MAX_DESCRIPTION),
        categories=tuple(one_line(category) for category in file.categories),
    )


def _author(metadata: Mapping[str, Any]) -> str:
    """Who made it, with the credit line that the author asks for where it says more."""
    artist = plain_field(metadata, "Artist", max_length=_MAX_NAME)
    credit = plain_field(metadata, "Attribution", max_length=_MAX_NAME)
    if not artist or artist in credit:
        return credit or artist
    return f"{artist} ({credit})" if credit and credit not in artist else artist


def _delivered(info: Mapping[str, Any]) -> tuple[str, str]:
    """Address of the file as it will be delivered, and what the wiki does to it before."""
    original, scaled = _text(info, "url"), _text(info, "thumburl")
    # The wiki answers with the original where that is no wider than asked for; it may add a query to its address.
    if not scaled or scaled.partition("?")[0] == original.partition("?")[0]:
        return original, ""
    width, original_width = _whole(info, "thumbwidth"), _whole(info, "width")
    changes = [] if width is None or width == original_width else [f"scaled to {width} px"]
    media_type, original_type = _text(info, "thumbmime"), _text(info, "mime")
    if media_type and media_type != original_type:
        changes.append(f"converted from {original_type} to {media_type}")
    return scaled, ", ".join(changes) or "compressed again"


def _licence(metadata: Mapping[str, Any], licence_url: str, categories: tuple[str, ...]) -> str:
    if _is_non_free(metadata) or raw_text(metadata, "DeletionReason"):
        return UNKNOWN  # whoever asks for its deletion contests the licence more often than not
    names = [plain_field(metadata, field, max_length=_MAX_NAME) for field in _LICENCE_NAMES]
    return found_licence(licence_url, names, categories)


def _is_non_free(metadata: Mapping[str, Any]) -> bool:
    return raw_text(metadata, "NonFree").strip().lower() not in ("", "0", "false")


def _licence_stated(metadata: Mapping[str, Any], categories: Iterable[str]) -> str:
    names = [plain_field(metadata, field, max_length=_MAX_NAME) for field in _LICENCE_NAMES]
    remarks = [next((name for name in names if name), "")]
    if _is_non_free(metadata) or any(map(NOT_FREE.search, categories)):
        remarks.append("non-free")
    if restrictions := plain_field(metadata, "Restrictions", max_length=_MAX_NAME):
        remarks.append(f"restrictions: {restrictions.replace('|', ', ')}")
    if reason := plain_field(metadata, "DeletionReason", max_length=_MAX_NAME):
        remarks.append(f"to be deleted: {reason}")
    return "; ".join(remark for remark in remarks if remark)


def _why_missing(page: Mapping[str, Any], *, has_info: bool) -> str:
    if page.get("invalid"):
        reason = page.get("invalidreason")
        text = reason.get("text") if isinstance(reason, Mapping) else reason
        return f"cannot be the title of a page ({text})" if text else "cannot be the title of a page"
    # A file that a wiki shares with another one (`known`) has no page of its own, and may be had all the same.
    return "does not exist; check the spelling" if page.get("missing") and not has_info else ""


def _address(base_url: str, url: str) -> str:
    """An address of the web, whole; empty for any other, which no page may link to."""
    try:
        whole = urljoin(base_url, url) if url else ""
    except ValueError:
        return ""
    return whole if whole.startswith(("https://", "http://")) else ""


def _without_namespace(title: str) -> str:
    return title.partition(":")[2] or title


def _text(info: Mapping[str, Any], name: str) -> str:
    value = info.get(name)
    return one_line(value) if isinstance(value, str) else ""


def _whole(info: Mapping[str, Any], name: str) -> int | None:
    value = info.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
