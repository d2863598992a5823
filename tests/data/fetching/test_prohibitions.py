"""What is forbidden in words is never found to be open, in whatever form or language the words come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.data.fetching.cc_ports import is_port
from vision.data.fetching.found_licences import found_licence
from vision.data.fetching.prohibitions import contradicts
from vision.data.importing.embedded_provenance import stated_licence

BY = "https://creativecommons.org/licenses/by/4.0/"
FORBIDDEN = (
    *(
        "not for commercial use",
        "no commercial use",
        "Non Commercial",
        "noncommercially",
        "non\u2013commercial",
        "by_nc",
    ),
    *("CC BYNC 4.0", "cannot be used commercially", "can\u2019t be used commercially", "commercial use prohibited"),
    *("commercial use is not allowed", "commercial licence needed", "not to be sold", "nonprofit", "not for profit"),
    *("for research use", "research only", "for educational and private purposes", "editorial use", "press use only"),
    *("personal, non-profit use", "only for personal projects", "academic purposes", "do not modify", "CC_BY_ND"),
    *(
        "may not be altered",
        "no derivative works",
        "NoDerivs",
        "without changes",
        "All  Rights Reserved",
        "rights managed",
    ),
    *("Alle Rechte vorbehalten", "Tous droits réservés", "Todos los derechos reservados", "Tutti i diritti riservati"),
    *("Todos os direitos reservados", "Alle rechten voorbehouden", "Wszelkie prawa zastrze\u017cone"),
    *("Все права защищены", "版权所有"),
    *("nicht kommerziell", "keine kommerzielle Nutzung", "pas d'utilisation commerciale", "uso no comercial"),
    *("некоммерческое использование", "with written permission"),
    *("prior permission required", "used by permission", "licence required", "no reproduction", "do not copy"),
)


@pytest.mark.parametrize("words", FORBIDDEN)
def test_words_that_forbid_contradict_an_open_licence_in_a_web_answer_and_in_a_file(words: str) -> None:
    for names in ([words], ["CC BY 4.0", words], [f"(c) A. Person, CC BY 4.0, {words}"]):
        assert found_licence(BY, names) == "unknown"
    assert stated_licence([BY, words]) == ""
    assert stated_licence([f"(c) A. Person, CC BY 4.0, {words}"]) == ""


@given(st.sampled_from(FORBIDDEN), st.text(" abcXYZ019,;-", max_size=20), st.text(" abcXYZ019,;-", max_size=20))
def test_words_that_forbid_do_so_among_any_others(words: str, before: str, after: str) -> None:
    assert found_licence(BY, [f"{before} {words} {after}"]) == "unknown"


@pytest.mark.parametrize(
    "words",
    [
        "Attribution 4.0 International",
        "free to use for any purpose, even commercially",
        "\u00a9 A. Person",
        "own work",
        "Press service of the ministry",
        "Permission is granted to copy, distribute and/or modify this document",
        "This work is licensed under a Creative Commons Attribution 4.0 International License.",
        "https://example.org/home/use/",
    ],
)
def test_words_that_forbid_nothing_leave_a_licence_open(words: str) -> None:
    assert not contradicts(words, "CC-BY-4.0")
    assert found_licence(BY, [words]) == "CC-BY-4.0"


def test_a_licence_that_forbids_the_same_is_not_contradicted() -> None:
    assert not contradicts("no commercial use", "CC-BY-NC-4.0")
    assert not contradicts("no derivatives", "CC-BY-ND-4.0")
    assert contradicts("no derivatives", "CC-BY-NC-4.0")


def test_only_countries_with_a_licence_of_that_version_are_ports() -> None:
    assert is_port("no", ["3.0"])
    assert is_port("in", ["3.0", "2.5"])
    assert not is_port("in", ["3.0"])
    assert not is_port("no", ["4.0"])
    assert found_licence("", ["CC BY 3.0 no"]) == "LicenseRef-CC-BY-3.0-NO"
    assert found_licence("", ["CC BY 4.0 no"]) == "unknown"


def test_a_category_of_a_closed_licence_alone_says_which_it_is() -> None:
    assert found_licence("", [], ["CC-BY-NC-2.0"]) == "CC-BY-NC-2.0"
    assert found_licence("", [], ["CC-BY-4.0", "Files with all rights reserved"]) == "unknown"
