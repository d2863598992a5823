"""What the command line's paths mean: files, folders, patterns, lists, standard input; one picture after another."""

from __future__ import annotations

import codecs
import glob
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from vision.data.images import IMAGE_ENDINGS
from vision.errors import InputPathError


def expand_inputs(arguments: Iterable[str], *, recursive: bool, stdin: BinaryIO) -> Iterator[Path]:
    """The pictures that the arguments name, in the order given; folders and patterns in order of name.

    A file that is named is taken whatever its ending; in folders, entries with the ending of a picture are. A file
    that does not exist is passed on, so that it gets its row.

    Args:
        arguments: Files, folders, patterns such as `a/**/*.jpg`, `@list.txt` with a path per line, `-` for paths on
            standard input. `./@x` and `./-` are files of that name.
        recursive: Whether folders are searched to their ends.
        stdin: Where `-` reads.

    Raises:
        InputPathError: A list cannot be read, a pattern matches nothing, or a folder holds no picture.
    """
    for argument in arguments:
        if argument == "-":
            yield from _listed_paths(stdin)
        elif argument.startswith("@"):
            yield from _paths_of_list(Path(argument[1:]))
        elif _is_folder(argument):
            yield from _pictures_of_folder(Path(argument), recursive)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            yield from _matches(argument)
        else:
            yield Path(argument)


def check_inputs(arguments: Iterable[str], *, recursive: bool) -> None:
    """Make sure, before the first picture is classified, that lists, patterns and folders lead somewhere.

    Raises:
        InputPathError: As `expand_inputs` would later.
    """
    for argument in arguments:
        if argument != "-" and (argument.startswith("@") or glob.has_magic(argument) or _is_folder(argument)):
            next(expand_inputs([argument], recursive=recursive, stdin=io.BytesIO()), None)


def _is_folder(argument: str) -> bool:
    return os.path.isdir(argument)  # noqa: PTH112, Path.is_dir raises where a name is too long


def _paths_of_list(path: Path) -> Iterator[Path]:
    try:
        with path.open("rb") as stream:
            yield from _listed_paths(stream)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputPathError(f"@{path}: cannot read the list ({reason}); check the path after '@'") from error


def _listed_paths(stream: BinaryIO) -> Iterator[Path]:
    for number, line in enumerate(stream):
        text = line.rstrip(b"\r\n")
        if number == 0:
            text = text.removeprefix(codecs.BOM_UTF8)
        if text.strip():
            yield Path(os.fsdecode(text))


def _matches(pattern: str) -> Iterator[Path]:
    matches = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207, Path.glob takes no absolute pattern
    if not matches:
        raise InputPathError(f"{pattern}: the pattern matches no file; check it, and quote it against the shell")
    yield from map(Path, matches)


def _pictures_of_folder(folder: Path, recursive: bool) -> Iterator[Path]:
    found = False
    for path in _walk(folder, recursive):
        found = True
        yield path
    if not found:
        hint = "" if recursive else "; use --recursive to look into its folders"
        raise InputPathError(f"{folder}: no picture in the folder{hint}")


def _walk(folder: Path, recursive: bool) -> Iterator[Path]:
    """Entries with the ending of a picture, by name; a folder with such an ending is one that cannot be read."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputPathError(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in entries:
        if Path(entry.name).suffix.lower() in IMAGE_ENDINGS:
            yield Path(entry.path)
        if recursive and entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), recursive)
