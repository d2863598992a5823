"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vision.errors import OutputError


def check_new_folder(folder: Path, *, overwrite: bool, mark: str) -> None:
    """Make sure that a folder may be written: it is not there, or is empty, or may be replaced.

    Args:
        folder: To be written.
        overwrite: Whether a folder that is there is to be replaced.
        mark: A file that a folder must hold to be replaced, so that a wrong path costs nobody their home.

    Raises:
        OutputError: It may not.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder; choose another place")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise OutputError(f"{folder}: is not empty; choose another folder, or replace it whole with --overwrite")
    if not (folder / mark).is_file():
        raise OutputError(f"{folder}: holds no {mark}, so it is no data set to be replaced; choose another folder")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`; it takes its place when the block ends without an error.

    Temporary folders of the same name that a killed process left are removed; one that another process writes is not.

    Raises:
        OutputError: It cannot be written.
    """
    final = folder.resolve()
    temporary = final.with_name(f".{final.name[:40]}.{uuid.uuid4().hex}.part")
    replaced = final.with_name(f".{final.name[:40]}.{uuid.uuid4().hex}.old")
    try:
        _remove_left_behind(final)
        temporary.mkdir(parents=True)
        with _lock(temporary):
            yield temporary
            _take_place(temporary, final, replaced)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, final: Path, replaced: Path) -> None:
    """Put a folder in the place of another, which becomes `replaced`; or leave both as they were."""
    try:
        if final.exists():
            final.rename(replaced)
        temporary.rename(final)
    except BaseException:  # Ctrl-C, too, may come between the two
        if replaced.exists() and not final.exists():
            replaced.rename(final)
        raise


def _remove_left_behind(final: Path) -> None:
    name = re.compile(rf"\.{re.escape(final.name[:40])}\.[0-9a-f]{{32}}\.part")
    left = [path for path in final.parent.iterdir() if name.fullmatch(path.name)] if final.parent.is_dir() else []
    for path in left:
        with _lock(path) as is_ours:
            if is_ours:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold a folder with the system's lock (flock), which ends with its process; whether it could be had.

    Where there are no such locks, as on Windows, none is had, and nothing is removed.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, OSError):
        yield False
        return
    try:
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_ours = False
        yield is_ours
    finally:
        os.close(descriptor)
