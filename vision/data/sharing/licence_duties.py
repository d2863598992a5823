"""What the licences of pictures ask of those who pass them on, in plain words, with the place that says so.

This is no legal advice: it sums up the licences' texts, which alone count. The licences are those of the policy `open`
(`vision.data.licences`); for others nothing is said.

Read in the texts, as SPDX and choosealicense.com print them, were the sections of those in `_READ`; what is said of the
others is from memory, and is shown with `UNCHECKED` wherever it is shown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import polars as pl

from vision.data.licences import US_GOVERNMENT_WORK


class Duty(StrEnum):
    """One thing that a licence asks; the value is what to do."""

    CREDIT = "name the author and the title, as far as stated, and link to the source"
    LICENCE_LINK = "name the licence and link to its text"
    CHANGES = "say what was changed, if anything was"
    NOTICES = "keep the notices that came with it: of copyright, of the licence, of the disclaimer of warranties"
    SHARE_ALIKE = "give an edited copy the same licence, or one that it allows"
    NOTICE = "keep the notice that came with the picture"


UNCHECKED = "unchecked"
"""Stands behind what was not read in the licence's text."""

NO_LEGAL_ADVICE = "This sums up the licences' texts and is no legal advice; the texts alone count."

COPIES_AND_CROPS = (
    "Share-alike does not reach unchanged copies side by side: each stays under its own licence, whatever the others "
    "are under. It reaches an edited copy, such as a crop, that is passed on. Whether every crop is an adaptation in "
    "the licence's sense depends on the law of the place; taking it as one is the careful reading."
)

TRAINED_MODELS = (
    "Whether a model trained on such pictures is an adaptation of them, so that share-alike would reach it, is an open "
    "question, answered differently by country and not decided here "
    "(https://creativecommons.org/using-cc-licensed-works-for-ai-training-2/). What either answer needs, titles, "
    "authors, sources, licences and changes, stands in the ATTRIBUTION.md that goes with the pictures and with a model."
)


@dataclass(frozen=True)
class LicenceDuties:
    """What one licence asks.

    Attributes:
        licence: SPDX id.
        duties: In the order of `Duty`; none for works in the public domain.
        url: Where people read the licence.
        source: The sections that say so, and their address; with `UNCHECKED` where they were not read.
    """

    licence: str
    duties: tuple[Duty, ...]
    url: str
    source: str


@dataclass(frozen=True)
class LicenceCount:
    """How many pictures are under a licence or expression, and what it asks.

    Attributes:
        licence: As the manifest states it.
        num_pictures: With it.
        parts: The licences in it whose duties apply; None if one is not known here.
    """

    licence: str
    num_pictures: int
    parts: tuple[LicenceDuties, ...] | None

    @property
    def duties(self) -> tuple[Duty, ...]:
        """All that the parts ask; none where it is not known."""
        asked = {duty for part in self.parts or () for duty in part.duties}
        return tuple(duty for duty in Duty if duty in asked)


@dataclass(frozen=True)
class DutySummary:
    """What passing on a data set's pictures asks.

    Attributes:
        licences: By name.
        num_pictures: All.
        num_without_duty: Pictures whose licence asks nothing.
        num_unknown: Pictures without a licence, or with one that is not known here.
    """

    licences: tuple[LicenceCount, ...]
    num_pictures: int
    num_without_duty: int
    num_unknown: int

    @property
    def by_duty(self) -> dict[Duty, int]:
        """Pictures that each duty applies to; duties that apply to none are left out."""
        counts = {d: sum(each.num_pictures for each in self.licences if d in each.duties) for d in Duty}
        return {duty: count for duty, count in counts.items() if count}

    @property
    def share_alike_ids(self) -> tuple[str, ...]:
        """Share-alike licences that occur."""
        found = {p.licence for each in self.licences for p in each.parts or () if Duty.SHARE_ALIKE in p.duties}
        return tuple(sorted(found))


_CC = re.compile(r"CC-(?P<kind>BY|BY-SA)-(?P<version>\d\.\d)(-(?P<port>[A-Z]{2,3}))?")
_CC_SECTIONS = {
    "4.0": {"BY": "section 3(a)", "BY-SA": "sections 3(a) and 3(b)"},
    "3.0": {"BY": "sections 3(b), 4(a) and 4(b)", "BY-SA": "sections 3(b), 4(a), 4(b) and 4(c)"},
}
_CC_SECTIONS_BEFORE = {"BY": "sections 4(a) and 4(b)", "BY-SA": "sections 4(a), 4(b) and 4(c)"}
_READ = frozenset(
    ("CC-BY-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-2.0", "CC-BY-SA-4.0")
)  # not those adapted to a country's law
_ATTRIBUTION = (Duty.CREDIT, Duty.LICENCE_LINK, Duty.CHANGES, Duty.NOTICES)
_OGL = (Duty.CREDIT, Duty.LICENCE_LINK)
_OGL_UK = "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/"


def _other_licences() -> dict[str, LicenceDuties]:
    rows = [
        ("CC0-1.0", (), "https://creativecommons.org/publicdomain/zero/1.0/", "section 2"),
        ("CC-PDM-1.0", (), "https://creativecommons.org/publicdomain/mark/1.0/", "a mark, not a licence"),
        (US_GOVERNMENT_WORK, (), "https://www.govinfo.gov/link/uscode/17/105", "17 U.S.C. 105, for the US"),
        ("NIST-PD", (Duty.CHANGES,), "https://spdx.org/licenses/NIST-PD.html", "last sentence"),
        ("NIST-PD-fallback", (Duty.NOTICE,), "https://spdx.org/licenses/NIST-PD-fallback.html", "first paragraph"),
        *((f"OGL-UK-{n}.0", _OGL, f"{_OGL_UK}{n}/", "'You must', first item") for n in (1, 2, 3)),
        ("OGL-Canada-2.0", _OGL, "https://open.canada.ca/en/open-government-licence-canada", "'You must'"),
    ]
    return {
        licence: LicenceDuties(licence, duties, url, f"{where} ({UNCHECKED}): {url}")
        for licence, duties, url, where in rows
    }


_OTHER_LICENCES = _other_licences()


def licence_duties(licence: str) -> LicenceDuties | None:
    """What a licence asks; None if it is none of the policy `open`.

    Args:
        licence: One SPDX id, no expression.
    """
    match = _CC.fullmatch(licence)
    if match is None:
        return _OTHER_LICENCES.get(licence)
    kind, version, port = match["kind"], match["version"], match["port"]
    url = f"https://creativecommons.org/licenses/{kind.lower()}/{version}/" + (f"{port.lower()}/" if port else "")
    where = _CC_SECTIONS.get(version, _CC_SECTIONS_BEFORE)[kind]
    checked = "" if licence in _READ else f" ({UNCHECKED})"
    duties = (*_ATTRIBUTION, Duty.SHARE_ALIKE) if kind == "BY-SA" else _ATTRIBUTION
    return LicenceDuties(licence, duties, url, f"{where}{checked}: {url}legalcode")


@lru_cache(maxsize=4096)
def applying_licences(expression: str) -> tuple[LicenceDuties, ...] | None:
    """The licences of an SPDX expression whose duties apply; None if they are not known here.

    Of `A OR B` the one that asks least applies, for it may be chosen; of `A AND B` both do.
    """
    single = licence_duties(expression.strip())
    if single is not None:
        return (single,)
    from license_expression import ExpressionError, ExpressionParseError

    try:
        return _applying(_spdx_licensing().parse(expression, validate=False, strict=False))
    except (ExpressionError, ExpressionParseError, IndexError):  # IndexError: `()`
        return None


def summarise_duties(table: pl.DataFrame) -> DutySummary:
    """What passing on the pictures of a manifest's table asks."""
    counts = table.group_by(pl.col("licence").fill_null("")).len().sort("licence")
    licences = tuple(
        LicenceCount(licence or "licence not stated", number, applying_licences(licence) if licence else None)
        for licence, number in counts.iter_rows()
    )
    return DutySummary(
        licences,
        num_pictures=len(table),
        num_without_duty=sum(each.num_pictures for each in licences if each.parts is not None and not each.duties),
        num_unknown=sum(each.num_pictures for each in licences if each.parts is None),
    )


def combination_statement(share_alike_ids: Iterable[str]) -> str:
    """Under which licence one work made of pictures with these share-alike licences may stand.

    2.0 allows later versions (section 4(b)), and so does 4.0 (section 3(b)). That 2.5 and 3.0 do too, and that 1.0
    allows itself alone (section 4(b)), was not read in their texts.
    """
    versions = {each: str(match["version"]) for each in share_alike_ids if (match := _CC.fullmatch(each))}
    if len(set(versions.values())) < 2:
        return ""
    names = ", ".join(sorted(versions))
    old = sorted(each for each, version in versions.items() if version == "1.0")
    if old:
        return (
            f"One work made of several of them, such as a collage, cannot obey {names} together: {old[0]} allows "
            f"itself alone, no later version ({UNCHECKED}). Keep such pictures apart."
        )
    return (
        f"One work made of several of them ({names}), such as a collage, may stand under the highest version, "
        f"CC-BY-SA-{max(versions.values())}: each allows later versions of itself, none an earlier one"
        f"{'' if set(names.split(', ')) <= _READ else f' ({UNCHECKED} for others than 2.0 and 4.0)'}."
    )


def duty_lines(summary: DutySummary) -> list[str]:
    """A Markdown list: each duty and how many pictures it applies to."""
    lines = [f"- {duty.value}: {count}" for duty, count in summary.by_duty.items()]
    if summary.num_without_duty:
        lines.append(f"- nothing, by copyright (public domain): {summary.num_without_duty}")
    if summary.num_unknown:
        lines.append(
            f"- not known, as the licence is missing or not an open one: {summary.num_unknown}; ask the author"
        )
    return lines


def share_alike_paragraphs(summary: DutySummary) -> list[str]:
    """What share-alike means for copies, crops, works made of several, and models; none where it does not occur."""
    if not summary.share_alike_ids:
        return []
    combined = combination_statement(summary.share_alike_ids)
    return [COPIES_AND_CROPS, *([combined] if combined else []), TRAINED_MODELS]


def _applying(expression: Any) -> tuple[LicenceDuties, ...] | None:
    operator = getattr(expression, "operator", "").strip().upper()
    if not operator:
        one = licence_duties(str(getattr(expression, "key", "")))
        return None if one is None else (one,)
    parts = [_applying(part) for part in expression.args]
    known = [part for part in parts if part is not None]
    if operator == "OR":
        return min(known, key=_num_duties, default=None)
    return tuple(one for part in known for one in part) if len(known) == len(parts) else None


def _num_duties(parts: tuple[LicenceDuties, ...]) -> int:
    return len(Counter(duty for part in parts for duty in part.duties))


@lru_cache(maxsize=1)
def _spdx_licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()
