"""Parts that the sections of `evaluation.json`, `comparison.json` and `gates.json` share."""

from __future__ import annotations

import inspect
import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from vision.evaluate.metrics import Interval


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)

Figure = Annotated[float | None, BeforeValidator(_none_for_nan)]
"""A figure, or None where nothing was there to count."""


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Put the lines under `Attributes:` of a docstring where a schema has descriptions: at the properties."""
    text, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("\n\nAttributes:\n")
    schema["description"] = " ".join(text.split())
    for name, description in _ATTRIBUTE.findall(attributes):
        if name in schema.get("properties", {}):
            schema["properties"][name]["description"] = " ".join(description.split())


class Part(BaseModel):
    """A part of `evaluation.json`; its schema takes descriptions from the docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_describe)


class FigureWithInterval(Part):
    """A figure and its 95 % bootstrap interval over groups.

    Attributes:
        value: The figure; null where nothing was there to count.
        low: Low end of the interval; null where one group gives nothing to draw from.
        high: High end, likewise.
    """

    value: Figure
    low: Figure
    high: Figure

    @classmethod
    def of(cls, interval: Interval) -> FigureWithInterval:
        """The same, as a part."""
        return cls(value=interval.value, low=interval.low, high=interval.high)
