"""HTML pages of all rooms: one style, what is shown is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vision.errors import OutputError

PAGE_FILE = "index.html"
PERCENT = "\N{NO-BREAK SPACE}%"
_LONG = 80
_LATIN = re.compile(r"[\x00-\u024f]*")
_ISOLATES = re.compile(r"[\u2066-\u2069]")


def page_environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """The templates in a package's folder `templates`, and those that all share, such as `page.css`.

    Args:
        package: Such as `vision.evaluate.report`.
        filters: Of a page's own, beside `percent`, `bdi` and `isolated`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("vision.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "bdi": bdi, "isolated": isolated, **filters}
    return environment


def check_may_write_page(folder: Path, generator: str) -> None:
    """Refuse to write over anything but an earlier page of the same command.

    Args:
        folder: Where `index.html` is to go.
        generator: The command; its pages have it in their head, so that the next one knows what it may replace.

    Raises:
        OutputError: The folder is a file, or has an `index.html` of another origin.
    """
    page = folder / PAGE_FILE
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file, not a folder; --page takes a folder")
    if page.exists() and not _is_page_of(page, generator):
        raise OutputError(f"{page}: another page is here already; choose another folder with --page")


def _is_page_of(page: Path, generator: str) -> bool:
    try:
        with page.open("rb") as stream:
            return f'<meta name="generator" content="{generator}">'.encode() in stream.read(4000)
    except OSError as error:
        raise OutputError(f"{page}: cannot be read ({error.strerror}); choose another folder with --page") from error


def percent(value: float | None) -> str:
    """A share as percent, to a tenth."""
    return "–" if value is None else f"{100 * value:.1f}{PERCENT}"


def bdi(text: str) -> Markup:
    """A text from data as an element, so that its direction of writing cannot turn the text around it.

    Of long ones a few lines are shown, and all of it under a pointer.
    """
    if len(text) > _LONG:
        return Markup('<bdi class="long" title="{0}">{0}</bdi>').format(text)
    return Markup("<bdi>{}</bdi>").format(text)


def isolated(text: str) -> str:
    """The same for attributes, which hold no elements: marks of Unicode around texts beyond Latin letters."""
    if _LATIN.fullmatch(text):
        return text
    return f"\N{FIRST STRONG ISOLATE}{_ISOLATES.sub('', text)}\N{POP DIRECTIONAL ISOLATE}"
