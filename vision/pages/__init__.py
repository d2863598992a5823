"""HTML pages of all rooms: one style, what is shown is escaped, and a name that a template misspells is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

PERCENT = "\N{NO-BREAK SPACE}%"


def page_environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """The templates in a package's folder `templates`, and those that all share, such as `page.css`.

    Args:
        package: Such as `vision.evaluate.report`.
        filters: Of a page's own, beside `percent`.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("vision.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, **filters}
    return environment


def percent(value: float | None) -> str:
    """A share as percent, to a tenth."""
    return "–" if value is None else f"{100 * value:.1f}{PERCENT}"
