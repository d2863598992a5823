import pytest

from vision.data.licences import LicencePolicy, licence_refusal


def refusal(licence: str | None) -> str | None:
    return licence_refusal(licence, LicencePolicy.OPEN)


@pytest.mark.parametrize(
    "licence",
    [
        "CC0-1.0",
        "CC-PDM-1.0",
        "CC-BY-1.0",
        "CC-BY-2.5",
        "CC-BY-4.0",
        "CC-BY-3.0-DE",
        "CC-BY-3.0-IGO",
        "CC-BY-SA-2.0",
        "CC-BY-SA-2.1-JP",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "OGL-UK-3.0",
        "OGL-Canada-2.0",
        "NIST-PD",
        "LicenseRef-US-Government-Work",
        " CC-BY-4.0 ",
        "cc-by-4.0",
    ],
)
def test_open_licences_are_allowed(licence: str) -> None:
    assert refusal(licence) is None


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-ND-2.0", "cc-by-nc-4.0"])
def test_non_commercial_licences_are_refused_with_that_reason(licence: str) -> None:
    assert refusal(licence) == "no commercial use (NC); the policy 'open' does not allow it"


def test_no_derivatives_is_refused_with_that_reason() -> None:
    assert refusal("CC-BY-ND-4.0") == (
        "no derivatives (ND), and a trained model may be one; the policy 'open' does not allow it"
    )


@pytest.mark.parametrize("licence", ["MIT", "GPL-3.0-only", "GFDL-1.2-only", "ODbL-1.0"])
def test_licences_that_the_policy_does_not_name_are_refused(licence: str) -> None:
    assert refusal(licence) == "not an open-content licence that the policy names; the policy 'open' does not allow it"


@pytest.mark.parametrize("licence", ["CC-BY-4.0-NC", "CC-BY-4.0-ND", "CC-BY-SA-4.0-NC", "CC-BY-9.9", "CC-BY-3.0-XX"])
def test_ids_that_spdx_does_not_have_are_refused_however_open_they_look(licence: str) -> None:
    message = refusal(licence)
    assert message is not None
    assert message.startswith(f"'{licence}' is not an SPDX licence id")


@pytest.mark.parametrize(
    "expression",
    [
        "CC-BY-4.0 OR MIT",
        "GFDL-1.2-only OR CC-BY-SA-3.0",
        "CC-BY-4.0 AND CC0-1.0",
        "(MIT OR CC-BY-4.0) AND CC-BY-SA-4.0",
        "LicenseRef-US-Government-Work AND CC-BY-4.0",
        "CC-BY-NC-4.0 OR CC-BY-4.0",
    ],
)
def test_expressions_that_can_be_met_with_open_licences_are_allowed(expression: str) -> None:
    assert refusal(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["CC-BY-4.0 AND MIT", "CC-BY-4.0 AND CC-BY-NC-4.0", "MIT OR GPL-3.0-only", "(MIT OR CC-BY-4.0) AND CC-BY-ND-4.0"],
)
def test_expressions_that_need_another_licence_are_refused(expression: str) -> None:
    message = refusal(expression)
    assert message is not None
    assert message.endswith("; the policy 'open' does not allow it")


@pytest.mark.parametrize("licence", ["GPL-2.0-only WITH Classpath-exception-2.0", "MIT WITH Classpath-exception-2.0"])
def test_a_licence_with_an_exception_is_refused(licence: str) -> None:
    message = refusal(licence)
    assert message is not None
    assert message.endswith("the policy 'open' does not allow it")


@pytest.mark.parametrize(
    ("licence", "meant"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("cc_by_sa_3.0", "CC-BY-SA-3.0"),
        ("CC0", "CC0-1.0"),
        ("CC0 1.0", "CC0-1.0"),
        ("CC-0", "CC0-1.0"),
        ("CC-BY-SA", "CC-BY-SA-4.0"),
        ("OGL UK 3.0", "OGL-UK-3.0"),
    ],
)
def test_a_misspelt_licence_is_told_with_the_right_id(licence: str, meant: str) -> None:
    assert refusal(licence) == f"'{licence}' is not an SPDX licence id, did you mean '{meant}'?"


def test_one_unknown_id_in_an_expression_is_named() -> None:
    message = refusal("CC-BY-4.0 OR CC-BYY-4.0")
    assert message is not None
    assert message.startswith("'CC-BYY-4.0' is not an SPDX licence id, did you mean 'CC-BY-4.0'?")


@pytest.mark.parametrize("licence", ["(CC-BY-4.0", "CC-BY-4.0 OR", "CC-BY-4.0, CC0-1.0", "AND", "()", "?", "/", "&&"])
def test_a_text_that_is_no_expression_is_told(licence: str) -> None:
    message = refusal(licence)
    assert message is not None
    assert "not an SPDX licence" in message


@pytest.mark.parametrize("licence", [None, "", "  "])
def test_a_missing_licence_is_refused_with_a_remedy(licence: str | None) -> None:
    assert refusal(licence) == "licence is missing; state its SPDX id or leave the picture out"


@pytest.mark.parametrize("licence", [None, "CC-BY-NC-4.0", "all rights reserved"])
def test_the_policy_any_refuses_nothing(licence: str | None) -> None:
    assert licence_refusal(licence, LicencePolicy.ANY) is None
