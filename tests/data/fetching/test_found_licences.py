"""Licences as Commons, Flickr and others state them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.data.fetching.found_licences import found_licence
from vision.data.licences import LicencePolicy, licence_refusal

CC = "creativecommons.org"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"https://{CC}/licenses/by/4.0", "CC-BY-4.0"),
        (f"http://www.{CC}/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        (f"//{CC}/licenses/by-sa/2.5", "CC-BY-SA-2.5"),
        (f"{CC}/licenses/by/2.0/", "CC-BY-2.0"),
        (f"HTTPS://{CC.upper()}/Licenses/BY-SA/3.0/Deed.EN", "CC-BY-SA-3.0"),
        (f"https://{CC}/licenses/by-sa/3.0/deed.en", "CC-BY-SA-3.0"),
        (f"https://{CC}/licenses/by/4.0/deed", "CC-BY-4.0"),
        (f"https://{CC}/licenses/by/4.0/legalcode.de", "CC-BY-4.0"),
        (f"https://{CC}/licenses/by/4.0/legalcode", "CC-BY-4.0"),
        (f"https://{CC}/licenses/by-sa/3.0/de/", "CC-BY-SA-3.0-DE"),
        (f"https://{CC}/licenses/by-sa/3.0/de/deed.fr?x=1#y", "CC-BY-SA-3.0-DE"),
        (f"https://{CC}/licenses/by/3.0/igo/", "CC-BY-3.0-IGO"),
        (f"https://{CC}/licenses/by-sa/2.1/jp/", "CC-BY-SA-2.1-JP"),
        (f"https://{CC}/licenses/by-sa/2.0/nl/", "LicenseRef-CC-BY-SA-2.0-NL"),
        (f"https://{CC}/licenses/by/2.1/es/", "LicenseRef-CC-BY-2.1-ES"),
        (f"https://{CC}/licenses/by-nc-sa/4.0/", "CC-BY-NC-SA-4.0"),
        (f"https://{CC}/licenses/by-nd/2.0/", "CC-BY-ND-2.0"),
        (f"https://{CC}/licenses/nd-nc-by/3.0/pl/", "CC-BY-NC-ND-3.0"),
        (f"https://{CC}/publicdomain/zero/1.0/deed.en", "CC0-1.0"),
        (f"https://{CC}/publicdomain/zero/1.0", "CC0-1.0"),
        (f"https://{CC}/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/", "OGL-UK-3.0"),
        ("http://nationalarchives.gov.uk/doc/open-government-licence/version/1", "OGL-UK-1.0"),
        ("https://open.canada.ca/en/open-government-licence-canada", "OGL-Canada-2.0"),
        ("https://www.usa.gov/government-works", "LicenseRef-US-Government-Work"),
        ("http://www.usa.gov/copyright.shtml", "LicenseRef-US-Government-Work"),
        (f"https://{CC}/licenses/by/9.9/", "unknown"),
        (f"https://{CC}/licenses/sampling+/1.0/", "unknown"),
        (f"https://{CC}/licenses/sa/1.0/", "unknown"),
        (f"https://{CC}/", "unknown"),
        (f"https://{CC}.evil.net/licenses/by/4.0/", "unknown"),
        (f"https://evil.net/{CC}/licenses/by/4.0/", "unknown"),
        ("https://nationalarchives.gov.uk/doc/non-commercial-government-licence/version/2/", "unknown"),
        ("https://[::1", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_says_which_licence_it_is(url: str, expected: str) -> None:
    assert found_licence(url, []) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA 3.0 DE", "CC-BY-SA-3.0-DE"),
        ("cc-by-3.0-us", "CC-BY-3.0-US"),
        ("cc-by-sa-3.0-migrated", "CC-BY-SA-3.0"),
        ("CC_BY_2.0", "CC-BY-2.0"),
        ("BY 2.0", "CC-BY-2.0"),
        ("Attribution-ShareAlike 4.0", "CC-BY-SA-4.0"),
        ("Attribution-Share Alike 4.0 International", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-Share Alike 3.0 Germany", "CC-BY-SA-3.0-DE"),
        ("Creative Commons Attribution 2.0 Generic License", "CC-BY-2.0"),
        ("CC BY-NC 2.0", "CC-BY-NC-2.0"),
        ("Attribution-NonCommercial-NoDerivs 2.0", "CC-BY-NC-ND-2.0"),
        ("Attribution-Noncommercial-No Derivative Works 3.0", "CC-BY-NC-ND-3.0"),
        (
            "CC-BY-SA-3.0,2.5,2.0,1.0",
            "CC-BY-SA-3.0 OR CC-BY-SA-2.5 OR CC-BY-SA-2.0 OR CC-BY-SA-1.0",
        ),
        ("CC0", "CC0-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("cc-zero", "CC0-1.0"),
        ("Creative Commons Zero, Public Domain Dedication", "CC0-1.0"),
        ("Public Domain Mark 1.0", "CC-PDM-1.0"),
        ("CC PDM 1.0", "CC-PDM-1.0"),
        ("OGL 3", "OGL-UK-3.0"),
        ("OGL v1.0", "OGL-UK-1.0"),
        ("Open Government Licence version 2.0", "OGL-UK-2.0"),
        ("OGL-UK-3.0", "OGL-UK-3.0"),
        ("OGL-Canada-2.0", "OGL-Canada-2.0"),
        ("Open Government Licence - British Columbia", "unknown"),
        ("GFDL", "GFDL-1.2-or-later"),
        ("GFDL 1.2", "GFDL-1.2-only"),
        ("GFDL 1.3+", "GFDL-1.3-or-later"),
        ("FAL", "LAL-1.3"),
        ("PD-USGov-Military-Army", "LicenseRef-US-Government-Work"),
        ("United States Government Work", "LicenseRef-US-Government-Work"),
        ("LicenseRef-US-Government-Work", "LicenseRef-US-Government-Work"),
        ("Attribution", "unknown"),
        ("CC BY", "unknown"),
        ("CC BY-SA 4.0 for teachers", "unknown"),
        ("Public domain", "unknown"),
        ("pd", "unknown"),
        ("PD-Russia", "unknown"),
        ("No known copyright restrictions", "unknown"),
        ("All rights reserved", "unknown"),
        ("Fair use", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_name_says_which_licence_it_is(name: str, expected: str) -> None:
    assert found_licence("", [name]) == expected


BY_SA_3 = f"https://{CC}/licenses/by-sa/3.0/"


@pytest.mark.parametrize(
    ("url", "names", "expected"),
    [
        (BY_SA_3, ["CC BY-SA 3.0", "cc-by-sa-3.0", "Creative Commons Attribution-Share Alike 3.0"], "CC-BY-SA-3.0"),
        (BY_SA_3, ["CC BY-SA 3.0 de"], "CC-BY-SA-3.0-DE"),
        (BY_SA_3, ["CC-BY-SA-3.0,2.5,2.0,1.0"], "CC-BY-SA-3.0"),
        (BY_SA_3, ["Licence of the museum"], "CC-BY-SA-3.0"),
        (BY_SA_3, ["Attribution-ShareAlike"], "CC-BY-SA-3.0"),
        (f"https://{CC}/publicdomain/mark/1.0/", ["Public domain", "pd"], "CC-PDM-1.0"),
        ("http://www.gnu.org/copyleft/fdl.html", ["GFDL"], "GFDL-1.2-or-later"),
        (BY_SA_3, ["CC BY-NC-SA 3.0"], "unknown"),
        (BY_SA_3, ["CC BY 3.0"], "unknown"),
        (BY_SA_3, ["CC BY-SA 4.0"], "unknown"),
        (BY_SA_3, ["for non-commercial use"], "unknown"),
        (BY_SA_3, ["no derivatives, please"], "unknown"),
        (BY_SA_3, ["Public domain"], "unknown"),
        (BY_SA_3, ["CC0"], "unknown"),
        (BY_SA_3, ["All rights reserved"], "unknown"),
        (f"https://{CC}/licenses/by-nc/2.0/", ["non-commercial"], "CC-BY-NC-2.0"),
        ("", ["CC BY 3.0", "CC BY-SA 3.0"], "unknown"),
    ],
)
def test_address_and_names_must_agree(url: str, names: list[str], expected: str) -> None:
    assert found_licence(url, names) == expected


@pytest.mark.parametrize(
    "category", ["PD US Army", "PD US Air Force", "PD US Navy", "PD US Marines", "PD US Government"]
)
def test_public_domain_of_the_us_government_is_told_by_its_categories(category: str) -> None:
    assert found_licence("", ["Public domain", "pd"], ["Patriot", category]) == "LicenseRef-US-Government-Work"


@pytest.mark.parametrize("category", ["PD-old", "CC-PD-Mark", "Author died more than 70 years ago", "US Army"])
def test_public_domain_for_other_reasons_stays_unknown(category: str) -> None:
    assert found_licence("", ["Public domain"], [category]) == "unknown"


def test_categories_count_where_nothing_else_is_said() -> None:
    assert found_licence("", [], ["CC-BY-SA-4.0", "Tanks"]) == "CC-BY-SA-4.0"
    assert found_licence("", [], ["CC-BY-SA-4.0", "GFDL"]) == "unknown"
    assert found_licence("", ["My own licence"], ["CC-BY-SA-4.0"]) == "unknown"
    assert found_licence("https://museum.org/terms", [], ["CC-BY-SA-4.0"]) == "unknown"


@pytest.mark.parametrize(
    ("licence", "is_allowed"),
    [
        ("LicenseRef-CC-BY-SA-2.0-NL", True),
        ("CC-BY-SA-3.0 OR GFDL-1.2-or-later", True),
        ("GFDL-1.2-or-later", False),
        ("LicenseRef-CC-BY-NC-2.0-NL", False),
        ("LicenseRef-CC-BY-4.0-NL", False),
        ("LicenseRef-My-Own", False),
        ("CC-BY-9.9", False),
        ("unknown", False),
    ],
)
def test_the_policy_takes_what_is_found_to_be_open(licence: str, is_allowed: bool) -> None:
    assert (licence_refusal(licence, LicencePolicy.OPEN) is None) == is_allowed


WORDS = st.lists(
    st.sampled_from(["cc", "by", "sa", "nc", "nd", "4.0", "3.0", "de", "zero", "pd", "igo", "gfdl", "x"]), max_size=6
)


@given(words=WORDS, other=st.text(max_size=20))
def test_a_name_with_nc_or_nd_is_never_found_to_be_open(words: list[str], other: str) -> None:
    for name in ("-".join(words), " ".join(words), f"{other} {' '.join(words)}"):
        found = found_licence("", [name])
        if {"nc", "nd"} & set(words):
            assert found == "unknown" or "-NC" in found or "-ND" in found


@pytest.mark.parametrize(
    "name",
    [
        "Attribution Non Commercial 4.0",
        "not for commercial use",
        "no commercial use",
        "for research use only",
        "Editorial use only",
        "Alle Rechte vorbehalten",
        "with written permission",
        "no modifications",
    ],
)
def test_what_is_forbidden_in_words_beside_an_open_address_is_not_open(name: str) -> None:
    assert found_licence("https://creativecommons.org/licenses/by/4.0/", [name]) == "unknown"
    assert found_licence("https://creativecommons.org/licenses/by/4.0/", ["CC BY 4.0", name]) == "unknown"


@pytest.mark.parametrize("name", ["no CC BY 3.0", "CC BY 3.0 or", "CC BY 3.0 xx"])
def test_a_word_of_two_letters_is_no_country(name: str) -> None:
    assert found_licence("", [name]) == "unknown"


@pytest.mark.parametrize(
    "categories",
    [["CC-BY-SA-4.0", "All non-free files"], ["PD US Army", "CC-BY-NC-2.0"], ["PD US Army", "CC-BY-ND-2.0"]],
)
def test_categories_that_forbid_something_leave_nothing_open(categories: list[str]) -> None:
    assert found_licence("", [], categories) == "unknown"
    assert found_licence("", ["Public domain"], categories) == "unknown"
