"""Templates of all pages: what is shown is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vision.evaluate.parts import FigureWithInterval

PERCENT = "\N{NO-BREAK SPACE}%"


def page_environment(**filters: Callable[..., Any]) -> Environment:
    """The templates, with `percent`, `interval`, and filters of a page's own."""
    environment = Environment(
        loader=PackageLoader("vision.evaluate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, **filters}
    return environment


def percent(value: float | None) -> str:
    """A share as percent, to a tenth."""
    return "–" if value is None else f"{100 * value:.1f}{PERCENT}"


def interval(figure: FigureWithInterval) -> str:
    """The bounds of a share as percent; an empty text without."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.1f} – {100 * figure.high:.1f}{PERCENT}"
