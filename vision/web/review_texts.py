"""What a source says of its pictures beyond the manifest: the description and the categories that fetching noted."""

from __future__ import annotations

from dataclasses import dataclass

from vision.data.fetching.journal import JOURNAL_NAME, LineFile
from vision.data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class SourceTexts:
    """The words of a picture's source.

    Attributes:
        description: Plain text.
        categories: Names, or tags where a source has no categories.
    """

    description: str = ""
    categories: tuple[str, ...] = ()


def load_source_texts(manifest: Manifest) -> dict[str, SourceTexts]:
    """By file name, what `vision data fetch` noted beside the manifest; a column `description` counts first.

    Raises:
        OutputError: The journal of fetching is damaged.
    """
    named = set(manifest.file_names)
    texts = {}
    for line in LineFile(manifest.folder / JOURNAL_NAME).read():
        path, picture = line.get("path"), line.get("picture")
        if path in named and isinstance(picture, dict):
            categories = picture.get("categories")
            listed = map(str, categories) if isinstance(categories, list) else ()
            texts[str(path)] = SourceTexts(str(picture.get("description") or ""), tuple(listed))
    if "description" in manifest.table.columns:
        for name, text in manifest.table.select("file_name", "description").drop_nulls().iter_rows():
            texts[name] = SourceTexts(text, texts.get(name, SourceTexts()).categories)
    return texts
