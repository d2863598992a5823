"""Parts that the sections of `evaluation.json` share."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from vision.evaluate.metrics import Interval


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


Figure = Annotated[float | None, BeforeValidator(_none_for_nan)]
"""A figure, or None where nothing was there to count."""


class Part(BaseModel):
    """A part of `evaluation.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FigureWithInterval(Part):
    """A figure and its 95 % bootstrap interval over groups."""

    value: Figure
    low: Figure
    high: Figure

    @classmethod
    def of(cls, interval: Interval) -> FigureWithInterval:
        """The same, as a part."""
        return cls(value=interval.value, low=interval.low, high=interval.high)
