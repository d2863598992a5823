"""Names of the imported files: those of the source, each once, and such that every file system takes them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

FOLDER = "images"
_MOST_BYTES = 200
"""Of one part of a path; file systems take 255, and numbers and endings are put behind."""


class NameRegister:
    """Gives out names beneath `images/`, none twice, also not on file systems that ignore case."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.abspath(root)  # noqa: PTH100  # `Path.resolve` would follow symbolic links
        self._taken: set[str] = set()
        self._folders: dict[str, str] = {}

    def name_of(self, path: str) -> str:
        """The name of a picture that is kept whole."""
        stem, ending = self._wanted(path)
        return self._free(stem, (ending,)) + ending

    def stems_of_crops(self, path: str, count: int) -> list[str]:
        """Names of a picture's crops, without the ending `.jpg` or `.png`, which the picture's content decides."""
        stem, _ = self._wanted(path)
        return [self._free(f"{stem}-box{number}", (".jpg", ".png")) for number in range(1, count + 1)]

    def _wanted(self, path: str) -> tuple[str, str]:
        """The path relative to the source's folder, without its ending, and the ending."""
        parent, name = os.path.split(path)
        if parent not in self._folders:
            self._folders[parent] = self._folder_for(parent)
        stem, ending = os.path.splitext(_fit_name(name))  # noqa: PTH122  # a million times
        return f"{self._folders[parent]}/{stem}", ending

    def _folder_for(self, parent: str) -> str:
        """The folder beneath `images/` for the pictures of a folder; those outside the source go to the top."""
        inside = os.path.relpath(os.path.abspath(parent), self._root)  # noqa: PTH100
        parts: Sequence[str] = Path(inside).parts
        if ".." in parts or Path(inside).is_absolute():
            parts = ()
        if parts[:1] == (FOLDER,):
            parts = parts[1:]
        return str(PurePosixPath(FOLDER, *map(_fit_name, parts)))

    def _free(self, stem: str, endings: tuple[str, ...]) -> str:
        number, candidate = 1, stem
        while any(_key(candidate + ending) in self._taken for ending in endings):
            number += 1
            candidate = f"{stem}-{number}"
        self._taken.update(_key(candidate + ending) for ending in endings)
        return candidate


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _fit_name(part: str) -> str:
    """A part of a path as UTF-8 without control characters and separators of Windows, and not too long."""
    if part.isascii() and part.isprintable() and len(part) <= _MOST_BYTES and not {"\\", ":"} & set(part):
        return part
    text = part.encode("utf-8", "replace").decode("utf-8")
    text = "".join(character if character.isprintable() and character not in "\\:" else "_" for character in text)
    stem, dot, ending = text.rpartition(".")
    if len(text.encode()) <= _MOST_BYTES or not dot or len(ending) > 5:
        return text.encode()[:_MOST_BYTES].decode("utf-8", "ignore")
    return stem.encode()[: _MOST_BYTES - len(ending.encode()) - 1].decode("utf-8", "ignore") + dot + ending
