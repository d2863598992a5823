"""The SPDX id of a licence that a source on the web states in its own way: by address, by name, by category.

The address of the licence's text counts first, since it leaves no doubt. What is said beside it must not contradict it:
where it does, or where nothing certain is said, the licence is `unknown`, and the picture is not taken. A bare "public
domain" is nothing certain: it does not say why, nor in which country. Works of the US government are told by the
categories that Commons' templates for them set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from vision.data.fetching.cc_ports import is_port, port_code
from vision.data.fetching.prohibitions import FORBIDS_ALL, NOT_FREE, contradicts
from vision.data.licences import US_GOVERNMENT_WORK

UNKNOWN = "unknown"

_ELEMENTS = ("by", "nc", "nd", "sa")
_VERSION = re.compile(r"[1-4]\.\d")
_CC_PATH = re.compile(
    r"/licenses/(?P<elements>[a-z-]+)/(?P<version>\d\.\d)(/(?P<port>[a-z]{2}|igo|scotland))?(/(deed|legalcode).*)?/?"
)
_OGL_UK_PATH = re.compile(r"/doc/open-government-licence/version/(?P<version>[123])(/.*)?")
_OGL_UK_NAME = re.compile(
    r"(ogl|open government licen[cs]e)([ -]uk)?,?[ -]*(version |v)?(?P<version>[123])(\.0)?( \(uk\))?", re.I
)
_GFDL_NAME = re.compile(
    r"(gfdl|gnu fdl|gnu free documentation licen[cs]e),?[ -]*"
    r"(version |v)?(?P<version>1\.[123])?(?P<later>\+| or later)?",
    re.I,
)
_CC0_NAME = re.compile(
    r"(cc|creative commons)[ -]?(0|zero)([ -]1\.0)?( universal)?(,? \(?public domain dedication\)?)?", re.I
)
_PDM_NAME = re.compile(r"(cc[ -]pdm|pdm[ -]owner|(cc )?public domain mark)([ -]1\.0)?", re.I)
_FREE_ART_NAME = re.compile(r"(fal|free art licen[cs]e|licence art libre)([ -]1\.3)?", re.I)
_FREE_OF_RIGHTS = ("CC0-1.0", "CC-PDM-1.0", "CC-PDDC", US_GOVERNMENT_WORK)
_PUBLIC_DOMAIN = re.compile(r"pd|public[ -]domain", re.I)
# Templates such as {{PD-USGov-Military-Army}} call themselves "Public domain" and set categories such as "PD US Army".
_US_GOVERNMENT = re.compile(
    r"PD[- ]?US[- ]?(Gov(ernment)?(-.+)?|Army|Navy|Air ?Force|Marines?( Corps)?|Coast Guard|Military|DOD)|"
    r"united states government work",
    re.I,
)
_SPOKEN = (
    (re.compile(r"creative ?commons"), "cc"),
    (re.compile(r"non\W*commercial"), "nc"),
    (re.compile(r"no[ -]?deriv(ative)?s?( works)?"), "nd"),
    (re.compile(r"share[ -]?alike"), "sa"),
    (re.compile(r"attribution"), "by"),
)
_FILLING = frozenset(
    (
        "cc",
        "license",
        "licence",
        "the",
        "generic",
        "unported",
        "international",
        "version",
        "migrated",
        "only",
        "licensed",
        "under",
    )
)


@dataclass(frozen=True)
class _CreativeCommons:
    """A licence of Creative Commons as far as it is told."""

    elements: frozenset[str]
    versions: tuple[str, ...]
    port: str

    def agrees_with(self, other: _CreativeCommons) -> bool:
        """Whether both can be the same licence: what one of them leaves out does not count."""
        return (
            self.elements == other.elements
            and (not self.versions or not other.versions or bool(set(self.versions) & set(other.versions)))
            and (not self.port or not other.port or self.port == other.port)
        )

    def merged_with(self, other: _CreativeCommons) -> _CreativeCommons:
        """This licence with what only the other says."""
        return _CreativeCommons(self.elements, self.versions or other.versions, self.port or other.port)

    @property
    def expression(self) -> str:
        """SPDX id; an OR of several versions; `unknown` without a version, which is no licence yet."""
        ids = [_spdx_id(self.elements, version, self.port) for version in self.versions]
        return " OR ".join(ids) if ids and UNKNOWN not in ids else UNKNOWN


def found_licence(url: str, names: Sequence[str], categories: Iterable[str] = ()) -> str:
    """The SPDX id (or expression) of what a source states, or `unknown`.

    Args:
        url: Address of the licence's text; empty if not stated.
        names: What the licence is called, in any spelling; empty ones do not count.
        categories: Of the file, hidden ones too. They count where neither address nor name says anything certain.
    """
    names = [name.strip() for name in names if name.strip()]
    by_url = _by_url(url.strip())
    categories = list(categories)
    if any(map(FORBIDS_ALL.search, names)) or any(map(NOT_FREE.search, categories)):
        return UNKNOWN
    stated = [by_url] if by_url is not None else []
    by_names = [(name, _by_name(name)) for name in names]
    stated += [licence for _, licence in by_names if licence is not None]
    merged = _merged(stated)
    if merged is None:
        return UNKNOWN if stated else _by_categories(names, categories, has_url=bool(url.strip()))
    if any(licence is None and _contradicts(name, merged) for name, licence in by_names):
        return UNKNOWN
    return merged


def _merged(stated: Sequence[_CreativeCommons | str]) -> str | None:
    """What all statements say together; None if they contradict each other, or there are none."""
    if not stated:
        return None
    first = stated[0]
    for other in stated[1:]:
        if isinstance(first, _CreativeCommons) and isinstance(other, _CreativeCommons):
            if not first.agrees_with(other):
                return None
            first = first.merged_with(other)
        elif first != other:
            return None
    return first.expression if isinstance(first, _CreativeCommons) else first


def _contradicts(name: str, licence: str) -> bool:
    """Whether a name that is no licence's says something else than the licence."""
    return contradicts(name, licence) or bool(_PUBLIC_DOMAIN.fullmatch(name) and licence not in _FREE_OF_RIGHTS)


def _by_url(url: str) -> _CreativeCommons | str | None:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    path = re.sub("/+", "/", parts.path).lower()
    if host == "creativecommons.org":
        return _by_cc_path(path)
    if host == "nationalarchives.gov.uk" and (match := _OGL_UK_PATH.fullmatch(path)):
        return f"OGL-UK-{match['version']}.0"
    if host == "open.canada.ca" and "/open-government-licence-canada" in path:
        return "OGL-Canada-2.0"
    if host == "usa.gov" and re.search(r"copyright|government-works", path):
        return US_GOVERNMENT_WORK
    return None


def _by_cc_path(path: str) -> _CreativeCommons | str | None:
    if re.match(r"/publicdomain/zero/1\.0(/|$)", path):
        return "CC0-1.0"
    if re.match(r"/publicdomain/mark/1\.0(/|$)", path):
        return "CC-PDM-1.0"
    match = _CC_PATH.fullmatch(path)
    if match is None:
        return UNKNOWN if path.startswith("/licenses/") else None
    elements = frozenset(match["elements"].split("-"))
    if "by" not in elements or not elements <= set(_ELEMENTS):
        return UNKNOWN
    return _CreativeCommons(elements, (match["version"],), (match["port"] or "").upper())


@lru_cache(maxsize=4096)
def _by_name(name: str) -> _CreativeCommons | str | None:
    """What a name says; None if it is not understood, also for a bare "public domain"."""
    name = " ".join(name.split())
    if _CC0_NAME.fullmatch(name):
        return "CC0-1.0"
    if _PDM_NAME.fullmatch(name):
        return "CC-PDM-1.0"
    if name == US_GOVERNMENT_WORK or _US_GOVERNMENT.fullmatch(name):
        return US_GOVERNMENT_WORK
    if match := _OGL_UK_NAME.fullmatch(name):
        return f"OGL-UK-{match['version']}.0"
    if match := _GFDL_NAME.fullmatch(name):
        return _gfdl(match["version"], is_or_later=match["later"] is not None)
    if _FREE_ART_NAME.fullmatch(name):
        return "LAL-1.3"
    return _by_cc_name(name) or _spdx_ids().get(name.lower())


def _gfdl(version: str | None, *, is_or_later: bool) -> str:
    # Without a version Commons' template says "Version 1.2 or any later version".
    return f"GFDL-{version or '1.2'}-{'or-later' if is_or_later or version is None else 'only'}"


def _by_cc_name(name: str) -> _CreativeCommons | None:
    """Such as `CC BY-SA 3.0 de`, `cc-by-sa-4.0`, `CC-BY-SA-3.0,2.5`, `Creative Commons Attribution 2.0 Generic`."""
    spoken = name.lower()
    for pattern, short in _SPOKEN:
        spoken = pattern.sub(short, spoken)
    words = [word for word in re.split(r"[\s,()/_-]+", spoken) if word and word not in _FILLING]
    words = [port_code(word) for word in words]
    elements = frozenset(word for word in words if word in _ELEMENTS)
    versions = tuple(dict.fromkeys(word for word in words if _VERSION.fullmatch(word)))
    rest = [word for word in words if word not in elements and word not in versions]
    if "by" not in elements or len(rest) > 1 or not all(is_port(word, versions) for word in rest):
        return None
    if rest and words.index(rest[0]) < words.index("by"):  # "no CC BY" is none of Norway
        return None
    return _CreativeCommons(elements, versions, rest[0].upper() if rest else "")


def _by_categories(names: Sequence[str], categories: Sequence[str], *, has_url: bool) -> str:
    """What the categories of a licence's template say, where the file says no more than "public domain", or nothing."""
    if has_url or not all(_PUBLIC_DOMAIN.fullmatch(name) for name in names):
        return UNKNOWN
    found = _by_category_names(names, categories)
    return UNKNOWN if any(contradicts(category, found) for category in categories) else found


def _by_category_names(names: Sequence[str], categories: Sequence[str]) -> str:
    if any(_US_GOVERNMENT.fullmatch(category) for category in categories):
        return US_GOVERNMENT_WORK
    if names:
        return UNKNOWN
    found = {merged for category in categories if (licence := _by_name(category)) and (merged := _merged([licence]))}
    return found.pop() if len(found) == 1 else UNKNOWN


def _spdx_id(elements: frozenset[str], version: str, port: str) -> str:
    """The id on SPDX's list; a port that is not on it gets a reference of its own, as SPDX's rules have it."""
    parts = [element.upper() for element in _ELEMENTS if element in elements]
    unported = "-".join(("CC", *parts, version))
    spdx_id = f"{unported}-{port}" if port else unported
    if spdx_id.lower() in _spdx_ids():
        return spdx_id
    if unported.lower() not in _spdx_ids() and not port:
        return UNKNOWN
    # Whatever forbids commerce or changes is refused, ported or not; the id without the port says why.
    return unported if {"nc", "nd"} & elements else f"LicenseRef-{spdx_id}"


@lru_cache(maxsize=1)
def _spdx_ids() -> dict[str, str]:
    """SPDX's ids by their lower-case spelling."""
    from license_expression import get_spdx_licensing

    return {str(key).lower(): str(key) for key in get_spdx_licensing().known_symbols}
