"""Options of `classify` and `decide`: what answers promise, instead of what the bundle's training asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import say

if TYPE_CHECKING:
    from vision.classify.decision import DecisionRules


class Costs(StrEnum):
    """The values of `decide.costs`."""

    NONE = "none"
    TAXONOMY = "taxonomy"


_PANEL = "Other promises than the bundle's own"

TargetAccuracyOption = Annotated[
    float | None,
    typer.Option(
        "--target-accuracy",
        min=0.5,
        max=0.999,
        help="Share of right answers at class, family or role.",
        rich_help_panel=_PANEL,
    ),
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option("--confidence", min=0.5, max=0.999, help="Of the bound behind it.", rich_help_panel=_PANEL),
]
FalseAlarmsOption = Annotated[
    float | None,
    typer.Option(
        "--false-alarms",
        min=0.0001,
        max=0.5,
        help="Share of known pictures that may be called unknown for their novelty.",
        rich_help_panel=_PANEL,
    ),
]
UnknownShareOption = Annotated[
    float | None,
    typer.Option(
        "--unknown-share",
        min=0,
        max=0.99,
        help="Share of pictures whose class no reference set has.",
        rich_help_panel=_PANEL,
    ),
]
CoverageOption = Annotated[
    float | None,
    typer.Option(
        "--coverage",
        min=0.5,
        max=0.999,
        help="Share of label sets that contain the truth.",
        rich_help_panel=_PANEL,
    ),
]
ClassConditionalOption = Annotated[
    bool | None,
    typer.Option(
        "--class-conditional/--on-average",
        help="Whether label sets keep that within every class.",
        rich_help_panel=_PANEL,
    ),
]
CostsOption = Annotated[
    Costs | None,
    typer.Option(
        "--costs",
        help="taxonomy: of the answers that are probable enough, the one of least expected cost.",
        rich_help_panel=_PANEL,
    ),
]
UnknownCostOption = Annotated[
    float | None,
    typer.Option(
        "--unknown-cost",
        min=0,
        help='With costs: what "unknown" costs, to be said where any answer would cost more.',
        rich_help_panel=_PANEL,
    ),
]


def tell_best_effort(rules: DecisionRules | None) -> None:
    """Say once, on stderr, that the rules promise nothing; nothing where they do."""
    if rules is not None and rules.promise is not None and not rules.promise.is_promised:
        say(str(rules.promise))
