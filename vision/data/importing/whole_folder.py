"""Folders that are written whole or not at all."""

from __future__ import annotations

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

    Raises:
        OutputError: It cannot be written.
    """
    final = folder.resolve()
    temporary = final.with_name(f".{final.name[:40]}.{uuid.uuid4().hex}.part")
    replaced = final.with_name(f".{final.name[:40]}.{uuid.uuid4().hex}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            if final.exists():
                final.rename(replaced)
            temporary.rename(final)
        except BaseException:  # Ctrl-C, too, may come between the two
            if replaced.exists() and not final.exists():
                replaced.rename(final)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error}); choose another place") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
