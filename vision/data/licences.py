"""Which licences allow a picture to be trained on and its bundle to be passed on.

Identifiers are those of SPDX (https://spdx.org/licenses/). A row may hold an expression: `A OR B` is allowed if one of
them is, `A AND B` if both are.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Any

from vision.errors import nearest_name_hint

US_GOVERNMENT_WORK = "LicenseRef-US-Government-Work"
"""Works of the US government: public domain by 17 U.S.C. 105. SPDX has no id of its own for them."""


class LicencePolicy(StrEnum):
    """What may be trained on.

    `open`: CC0, public domain mark, CC-BY, CC-BY-SA, Open Government Licences, works of the US government. `any`: for
    measurements in private; the bundle is marked as not to be passed on.
    """

    OPEN = "open"
    ANY = "any"


_OPEN_LICENCE = re.compile(
    r"CC0-1\.0|CC-PDM-1\.0|CC-BY-\d\.\d(-[A-Z]{2,3})?|CC-BY-SA-\d\.\d(-[A-Z]{2,3})?|OGL-(UK|Canada)-\d\.\d"
    rf"|NIST-PD(-fallback)?|{US_GOVERNMENT_WORK}|LicenseRef-CC-BY(-SA)?-[123]\.\d-[A-Z]{{2,3}}"
)
# References to licences that SPDX's list lacks: a licence of Creative Commons adapted to one country's law among them.
_OWN_REFERENCE = re.compile(rf"{US_GOVERNMENT_WORK}|LicenseRef-CC-BY(-SA)?-[123]\.\d-[A-Z]{{2,3}}")


def licence_refusal(licence: str | None, policy: LicencePolicy) -> str | None:
    """Why a licence is refused under a policy, with the remedy; None if it is allowed."""
    if policy is LicencePolicy.ANY:
        return None
    if licence is None or not licence.strip():
        return "licence is missing; state its SPDX id or leave the picture out"
    return _refusal_under_open(licence.strip())


@lru_cache(maxsize=4096)
def _refusal_under_open(licence: str) -> str | None:
    from license_expression import ExpressionError, ExpressionParseError

    licensing = _spdx_licensing()
    try:
        expression = licensing.parse(licence, validate=False, strict=False)
        unknown = [key for key in licensing.unknown_license_keys(expression) if not _OWN_REFERENCE.fullmatch(key)]
    except (ExpressionError, ExpressionParseError, IndexError):  # IndexError: `()`
        return f"not an SPDX licence expression{_spelling_hint(licence)}"
    if unknown:
        return f"'{unknown[0]}' is not an SPDX licence id{_spelling_hint(unknown[0])}"
    if _allows(expression):
        return None
    return f"{_reason(licence)}; the policy 'open' does not allow it"


def _allows(expression: Any) -> bool:
    """Whether an expression's operators are satisfied by open licences."""
    operator = getattr(expression, "operator", "").strip().upper()
    if operator == "OR":
        return any(_allows(part) for part in expression.args)
    if operator == "AND":
        return all(_allows(part) for part in expression.args)
    # `A WITH exception` has no key of its own; none that the policy names has an exception.
    return _OPEN_LICENCE.fullmatch(str(getattr(expression, "key", ""))) is not None


def _reason(licence: str) -> str:
    if "-NC" in licence.upper():
        return "no commercial use (NC)"
    if "-ND" in licence.upper():
        return "no derivatives (ND), and a trained model may be one"
    return "not an open-content licence that the policy names"


def _spelling_hint(licence: str) -> str:
    tidy = re.sub(r"[\s_]+", "-", licence.strip()).upper().replace("CC-0", "CC0-1.0")
    if _OPEN_LICENCE.fullmatch(tidy) and tidy in _spdx_licensing().known_symbols:
        return f", did you mean '{tidy}'?"
    return nearest_name_hint(licence, _spdx_licensing().known_symbols)


@lru_cache(maxsize=1)
def _spdx_licensing() -> Any:
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()
