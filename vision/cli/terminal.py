"""What all commands share: lines on stderr, bars, options that mean the same everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.errors import MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


class Policy(StrEnum):
    """The values of `vision.data.licences.LicencePolicy`, here again so that this module imports nothing heavy."""

    OPEN = "open"
    ANY = "any"


ManifestArgument = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest: .csv, .jsonl or .parquet.")]
ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A run's configuration, such as configs/photos.yaml.")
]
ModelOption = Annotated[Path, typer.Option("--model", "-m", help="A bundle: the folder that training wrote.")]
TaxonomyOption = Annotated[
    Path | None, typer.Option("--taxonomy", help="A taxonomy of your own instead of the one that comes along.")
]
OverridesOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override one setting: --set train.folds=5. May be repeated.")
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Where features are kept. Default: $VISION_CACHE or ~/.cache/vision.")
]


def say(text: str) -> None:
    """A line on stderr; names that are not UTF-8 are shown with their bytes escaped."""
    print(printable(text), file=sys.stderr)


def refuse_overwriting_input(output: Path, *inputs: Path) -> None:
    """Make sure that what a command writes does not replace what it reads, links resolved.

    Raises:
        UsageError: It would.
    """
    for path in inputs:
        if output.resolve() == path.resolve() or (output.exists() and path.exists() and output.samefile(path)):
            raise UsageError(f"{output}: is the input itself, {path}, which would be lost; give another path")


def refuse_existing(output: Path, *, overwrite: bool) -> None:
    """Make sure that a file that is there already is replaced only if that was asked for.

    Raises:
        OutputError: It is there, and was not to be replaced.
    """
    if output.exists() and not overwrite:
        raise OutputError(f"{output}: is there already; use --overwrite, or write elsewhere")


def need_training_extra(*also: str) -> None:
    """Make sure that what training imports is installed.

    Raises:
        MissingExtraError: It is not.
    """
    _need_extra(
        "train", ("torch", "timm", "sklearn", "onnx", "onnxscript", "albumentations", "accelerate", "peft", *also)
    )


def need_data_extra() -> None:
    """Make sure that what fetching, comparing and reviewing pictures imports is installed.

    Raises:
        MissingExtraError: It is not.
    """
    _need_extra("data", ("httpx2", "bs4", "defusedxml", "imagehash", "faiss", "fastapi", "uvicorn"))


def _need_extra(extra: str, needed: Sequence[str]) -> None:
    from importlib.util import find_spec

    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"this needs the extra '{extra}' ({', '.join(missing)} missing); pip install 'vision[{extra}]', "
            f"in a checkout: pip install -e '.[{extra}]'"
        )


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """A sign on stderr that something goes on; nothing where stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def progress_bar(text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr with the time left; nothing where stderr is no terminal."""
    with progress_bars((text, total)) as (advance,):
        yield advance


@contextmanager
def progress_bars(*bars: tuple[str, int | None]) -> Iterator[list[Callable[[int], None]]]:
    """Several bars, each shown from its first step on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield [lambda count: None for _ in bars]
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def bar(text: str, total: int | None, *, is_first: bool) -> Callable[[int], None]:
            task = progress.add_task(text, total=total, visible=is_first, start=is_first)

            def advance(count: int) -> None:
                progress.start_task(task)
                progress.update(task, advance=count, visible=True)

            return advance

        yield [bar(text, total, is_first=position == 0) for position, (text, total) in enumerate(bars)]


def printable(text: str) -> str:
    """Text that any terminal takes: bytes of names that are not UTF-8 are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
