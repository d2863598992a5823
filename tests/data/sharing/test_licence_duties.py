from pathlib import Path

import polars as pl
import pytest

from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.manifest import manifest_from_rows
from vision.data.sharing.licence_duties import (
    Duty,
    applying_licences,
    combination_statement,
    duty_lines,
    licence_duties,
    share_alike_paragraphs,
    summarise_duties,
)


def table(*licences: str | None) -> pl.DataFrame:
    rows = [{"file_name": f"{n}.jpg", "label": "buk", "licence": licence} for n, licence in enumerate(licences)]
    return manifest_from_rows(Path("m.csv"), rows).table


def open_licences() -> list[str]:
    from license_expression import get_spdx_licensing

    symbols = [*get_spdx_licensing().known_symbols, "LicenseRef-US-Government-Work"]
    return [symbol for symbol in symbols if licence_refusal(symbol, LicencePolicy.OPEN) is None]


def test_every_licence_of_the_open_policy_has_its_duties_with_a_source_on_the_web() -> None:
    known = [licence_duties(licence) for licence in open_licences()]
    assert len(known) > 25
    assert all(each is not None and "https://" in each.source and each.url.startswith("https://") for each in known)


def test_share_alike_is_asked_by_the_licences_with_sa_in_their_name_alone() -> None:
    for licence in open_licences():
        duties = licence_duties(licence)
        assert duties is not None
        assert (Duty.SHARE_ALIKE in duties.duties) == ("-SA-" in licence), licence


def test_attribution_asks_for_credit_licence_changes_and_the_notices() -> None:
    duties = licence_duties("CC-BY-4.0")
    assert duties is not None
    assert duties.duties == (Duty.CREDIT, Duty.LICENCE_LINK, Duty.CHANGES, Duty.NOTICES)
    assert duties.source == "section 3(a): https://creativecommons.org/licenses/by/4.0/legalcode"


def test_a_licence_of_a_country_has_its_own_address() -> None:
    duties = licence_duties("CC-BY-SA-3.0-DE")
    assert duties is not None
    assert duties.url == "https://creativecommons.org/licenses/by-sa/3.0/de/"


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC-BY-ND-3.0", "MIT", "unknown", "()", "A OR"])
def test_nothing_is_said_of_other_licences(licence: str) -> None:
    assert applying_licences(licence) is None


def test_of_alternatives_the_one_that_asks_least_applies_and_of_both_each() -> None:
    def ids(expression: str) -> list[str] | None:
        parts = applying_licences(expression)
        return None if parts is None else [part.licence for part in parts]

    assert ids("CC-BY-SA-3.0 OR CC0-1.0") == ["CC0-1.0"]
    assert ids("GFDL-1.2-only OR CC-BY-SA-3.0") == ["CC-BY-SA-3.0"]
    assert ids("CC-BY-4.0 AND CC-BY-SA-3.0") == ["CC-BY-4.0", "CC-BY-SA-3.0"]
    assert ids("CC-BY-4.0 AND MIT") is None


def test_the_summary_counts_pictures_by_duty_and_those_without() -> None:
    summary = summarise_duties(table("CC-BY-4.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT", None))
    for_three = (Duty.CREDIT, Duty.LICENCE_LINK, Duty.CHANGES, Duty.NOTICES)
    assert summary.by_duty == {**dict.fromkeys(for_three, 3), Duty.SHARE_ALIKE: 1}
    assert (summary.num_pictures, summary.num_without_duty, summary.num_unknown) == (6, 1, 2)
    assert duty_lines(summary)[4] == f"- {Duty.SHARE_ALIKE.value}: 1"
    assert "ask the author" in duty_lines(summary)[-1]


def test_duties_of_an_expression_count_once_a_picture() -> None:
    assert summarise_duties(table("CC-BY-4.0 AND CC-BY-SA-4.0")).by_duty[Duty.CREDIT] == 1


def test_a_work_of_several_versions_takes_the_highest_but_never_with_version_one() -> None:
    assert combination_statement(["CC-BY-SA-4.0"]) == ""
    assert "CC-BY-SA-4.0:" in combination_statement(["CC-BY-SA-2.5", "CC-BY-SA-4.0", "CC-BY-SA-3.0"])
    assert "Keep such pictures apart" in combination_statement(["CC-BY-SA-1.0", "CC-BY-SA-4.0"])


def test_whether_a_model_is_an_adaptation_is_left_open() -> None:
    paragraphs = share_alike_paragraphs(summarise_duties(table("CC-BY-SA-4.0")))
    assert any("open question" in text and "not decided here" in text for text in paragraphs)
    assert share_alike_paragraphs(summarise_duties(table("CC-BY-4.0"))) == []


def test_what_was_not_read_in_the_text_is_marked_wherever_it_is_shown() -> None:
    for licence in open_licences():
        duties = licence_duties(licence)
        assert duties is not None
        was_read = licence in {f"CC-BY-{n}.0" for n in (1, 2, 3, 4)} | {"CC-BY-SA-2.0", "CC-BY-SA-4.0"}
        assert ("unchecked" in duties.source) != was_read, licence
    assert "no later version (unchecked)" in combination_statement(["CC-BY-SA-1.0", "CC-BY-SA-4.0"])
    assert "unchecked for others" in combination_statement(["CC-BY-SA-3.0", "CC-BY-SA-4.0"])
    assert "unchecked" not in combination_statement(["CC-BY-SA-2.0", "CC-BY-SA-4.0"])
