"""Options that state what no manifest tells of a data set: the same for its card and its Croissant."""

from __future__ import annotations

from typing import Annotated

import typer

NameOption = Annotated[str | None, typer.Option("--name", help="Of the data set. Default: the folder's name.")]
DescriptionOption = Annotated[str | None, typer.Option("--description", help="What it is, in a sentence.")]
UrlOption = Annotated[str, typer.Option("--url", help="Page of the data set.")]
VersionOption = Annotated[str, typer.Option("--version", help="MAJOR.MINOR.PATCH.")]
CreatorsOption = Annotated[list[str] | None, typer.Option("--creator", help="Who put it together. May be repeated.")]
DateOption = Annotated[
    str, typer.Option("--date", help="When it was published, YYYY-MM-DD. Default: the latest retrieved_at.")
]
