"""Files that are written whole or not at all, and their digests."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vision.errors import OutputError

_DISK_IS_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def packaged_path(name: str, in_checkout: str) -> Path:
    """A data file of the project: in the installed package under `name`, else in a source checkout."""
    package = Path(__file__).parent
    packaged = package / name
    return packaged if packaged.exists() else package.parent / in_checkout


def default_cache_folder() -> Path:
    """`$VISION_CACHE`, else `vision/` in the user's cache folder."""
    if "VISION_CACHE" in os.environ:
        return Path(os.environ["VISION_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vision"


def is_part_of_whole_file(path: Path) -> bool:
    """Whether a path has a name that `whole_file` gives: what a killed process left of a file."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}\.part", path.name) is not None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there replaces `path` when the block ends without an error.

    Readers see the old file or the new one, never a part, also when the process is killed half-way.

    Raises:
        OutputError: The folder cannot be made or written to.
    """
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.part")
    with _told_as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _DISK_IS_FULL:
                raise OutputError(f"{path}: cannot be written whole ({error.strerror}); make room") from error
            raise
        with _told_as_output_error(path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path`, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder or beneath it, whatever its name says and links lead to.

    Args:
        path: Of a file that need not be there.
        folder: Resolved already, as many files are asked about.

    Raises:
        OSError: The path cannot be followed.
        RuntimeError: A loop of symbolic links, in Python 3.11 and 3.12.
        ValueError: It is none: a NUL in the name.
    """
    return path.resolve().is_relative_to(folder)


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 lower-case hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _told_as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot write here ({error.strerror}); choose another place") from error
