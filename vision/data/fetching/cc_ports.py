"""Countries for which Creative Commons wrote its licences anew, by version.

From a third party's list of the licences' addresses, unchecked against https://creativecommons.org/licenses/list; a
port that is missing here makes a licence unknown, never open.

Version 4.0 has none. Any other two letters behind a version are a word, such as the `or` of `CC BY 3.0 or GFDL`.
"""

from __future__ import annotations

from collections.abc import Iterable

_PORTS = {
    "1.0": "fi il nl",
    "2.0": "at au be br ca cl de es fr hr it jp kr nl pl tw uk za",
    "2.1": "au ca es jp",
    "2.5": "ar au bg br ca ch cn co dk es hr hu il in it mk mt mx my nl pe pl pt scotland se si tw za",
    "3.0": (
        "am at au az br ca ch cl cn cr cz de ec ee eg es fr ge gr gt hk hr ie igo it lu nl no nz ph pl pr pt ro rs sg "
        "th tw ug us ve vn za"
    ),
}
_NAMES = {
    "australia": "au",
    "austria": "at",
    "france": "fr",
    "germany": "de",
    "italy": "it",
    "japan": "jp",
    "netherlands": "nl",
    "poland": "pl",
    "spain": "es",
}


def port_code(word: str) -> str:
    """The code of a country that is named in full; any other word as it is."""
    return _NAMES.get(word, word)


def is_port(code: str, versions: Iterable[str]) -> bool:
    """Whether one of the versions was written anew for a country."""
    return any(code in _PORTS.get(version, "").split() for version in versions)
