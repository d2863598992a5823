"""Templates of the report's pages, with the figures that they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment

from vision.evaluate.parts import FigureWithInterval
from vision.pages import PERCENT, page_environment


def report_environment(**filters: Callable[..., Any]) -> Environment:
    """The templates, with `percent`, `interval`, and filters of a page's own."""
    return page_environment("vision.evaluate.report", **({"interval": interval} | filters))


def interval(figure: FigureWithInterval) -> str:
    """The bounds of a share as percent; an empty text without."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.1f} – {100 * figure.high:.1f}{PERCENT}"
