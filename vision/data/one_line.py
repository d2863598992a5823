"""Text from data, made fit to stand on one line of a terminal or of a drawn sheet."""

from __future__ import annotations

import unicodedata

_UNFIT = ("Cc", "Cs", "Co", "Cn")
"""Control characters, halves of surrogate pairs, private and unassigned characters."""

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that reverse what follows them, far beyond their own text."""


def plain_line(text: str, *, most: int = 400) -> str:
    """The text on one line, cut after `most` characters; what no line can show becomes a replacement character."""
    one_line = " ".join(text[: most + 1].split())
    cut = one_line if len(text) <= most else one_line[: most - 1] + "…"
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_unfit(each) else each for each in cut)


def _is_unfit(character: str) -> bool:
    return character in _TURNING or unicodedata.category(character) in _UNFIT
