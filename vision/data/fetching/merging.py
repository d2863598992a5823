"""The manifest of what was fetched, merged with what people have changed in it since."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.data.fetching.journal import Decision
from vision.data.fetching.naming import author_group
from vision.data.manifest import COLUMNS, Manifest, load_manifest, manifest_from_rows

MANIFEST_NAME = "manifest.csv"


@dataclass(frozen=True)
class Merged:
    """The manifest to be written, and what of it is the user's.

    Attributes:
        manifest: Old rows as they stood, then new ones.
        num_new: Rows that were added.
        num_changed: Old rows that differ from what was fetched, and stay as they are.
        num_own: Old rows that no fetch made, and stay.
    """

    manifest: Manifest
    num_new: int
    num_changed: int
    num_own: int


def existing_manifest(folder: Path) -> Manifest | None:
    """The manifest that stands in a folder; None if there is none.

    Raises:
        ManifestError: There is one that cannot be read; it is better mended than overwritten.
    """
    path = folder / MANIFEST_NAME
    return load_manifest(path) if path.exists() else None


def removed_paths(existing: Manifest | None, listed: Collection[str]) -> frozenset[str]:
    """Paths that once stood in the manifest and were taken out of it since; none if the whole file is gone."""
    return frozenset() if existing is None else frozenset(listed) - set(existing.file_names)


def merged_manifest(
    folder: Path, existing: Manifest | None, taken: Sequence[Decision], removed: Collection[str]
) -> Merged:
    """What was taken as a manifest; rows that stand already win, and rows that were removed stay out."""
    path = folder / MANIFEST_NAME
    rows = {decision.path: _row(decision) for decision in taken if decision.path not in removed}
    if existing is None:
        return Merged(manifest_from_rows(path, rows.values()), len(rows), 0, 0)
    old = set(existing.file_names)
    new = manifest_from_rows(path, [row for name, row in rows.items() if name not in old])
    table = pl.concat([existing.table, new.table], how="diagonal") if len(new.table) else existing.table
    num_changed = sum(
        _is_changed(values, rows[values["file_name"]])
        for values in existing.table.iter_rows(named=True)
        if values["file_name"] in rows
    )
    return Merged(Manifest(path, table), len(new.table), num_changed, len(old - set(rows)))


def _row(decision: Decision) -> dict[str, str | int | None]:
    picture = decision.picture
    return {
        "file_name": decision.path,
        "label": decision.class_id,
        "group": author_group(picture),
        "sha256": decision.sha256,
        "width": decision.width,
        "height": decision.height,
        "title": picture.title,
        "author": picture.author,
        "licence": picture.licence,
        "licence_url": picture.licence_url,
        "source_url": picture.page_url,
        "date": picture.date,
        "changes": picture.changes,
        "retrieved_at": decision.at,
    }


def _is_changed(values: dict[str, str | int | None], fetched: dict[str, str | int | None]) -> bool:
    """Whether a row holds anything else than what was fetched; the columns of slices count too."""
    known = {name: fetched.get(name) or None for name in COLUMNS}
    return any(value != known.get(name) for name, value in values.items() if value is not None or known.get(name))
