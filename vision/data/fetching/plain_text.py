"""Plain text out of what wikis and web pages tell in HTML: authors, titles, descriptions."""

from __future__ import annotations

import re
import unicodedata
from html import unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import Tag

_BLOCKS = (
    *("address", "blockquote", "br", "dd", "div", "dl", "dt", "hr", "li", "ol"),
    *("p", "table", "td", "th", "tr", "ul"),
)
_UNSEEN = ("audio", "head", "noscript", "script", "style", "template", "title", "video")
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
# Text without any of these is left alone: `a < b` is no HTML.
_MARKUP = re.compile(r"<[a-zA-Z/!]|&(#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);")
_MAX_HTML = 10_000
"""Characters; more is cut before parsing, which takes time with the square of tags that are nested or never closed."""


def plain_text(html: str, *, max_length: int) -> str:
    """What a reader sees of `html`, on one line.

    Without hidden elements, control characters and marks of writing direction, which could make a name read as another.

    Args:
        html: A piece of HTML, or text.
        max_length: Characters; a longer text is cut at a word and ends in ` …`.
    """
    text = _visible_text(html[:_MAX_HTML]) if _MARKUP.search(html) else html
    return _cut(one_line(text), max_length)


def one_line(text: str) -> str:
    """Text without control characters and direction marks, each run of white space one space."""
    spaced = "".join(" " if character.isspace() else character for character in unicodedata.normalize("NFC", text))
    # Cc control, Cf format (direction marks, zero-width), Cs lone surrogates, Co private use, Cn not assigned.
    return " ".join("".join(c for c in spaced if not unicodedata.category(c).startswith("C")).split())


def _visible_text(html: str) -> str:
    if "<" not in html:
        return unescape(html)
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(html, "html.parser")
    for tag in soup.find_all(_is_hidden):
        tag.extract()
    for tag in soup.find_all(_BLOCKS):
        tag.insert_before(" ")
        tag.append(" ")
    return soup.get_text()


def _is_hidden(tag: Tag) -> bool:
    if tag.name in _UNSEEN or tag.has_attr("hidden") or tag.get("aria-hidden") == "true":
        return True
    return _HIDDEN_STYLE.search(str(tag.get("style") or "")) is not None


def _cut(text: str, max_length: int) -> str:
    if len(text) <= max_length:
        return text
    head = text[: max_length - 2]
    whole_words = head.rsplit(" ", 1)[0] if " " in head[max_length // 2 :] else head
    return f"{whole_words} …"
