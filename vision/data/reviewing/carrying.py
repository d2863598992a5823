"""What a manifest that a review left had been given since, carried over when the review is applied again.

A second round of fetching and reviewing writes the same file anew. Splits, groups and columns that stand in it were
made for it by other commands or by hand; dealt anew, pictures of the old test would become training pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from vision.data.manifest import COLUMNS, Manifest, divided_groups, load_manifest
from vision.data.reviewing.applying import AppliedReview, dropped_path
from vision.data.reviewing.decisions import ReviewLine
from vision.errors import OutputError

_TOLD = ("dropped_because", "review_note")
"""The last two columns of a table of dropped pictures; a `_` may follow."""

_OF_THE_FILE = ("file_name", "sha256", "label", "width", "height")
_GIVEN_LATER = ("split", "group")


@dataclass(frozen=True)
class CarriedReview:
    """A review, applied, with what an earlier output had been given since.

    Attributes:
        applied: With the earlier output's splits, groups and columns.
        num_carried: Pictures that stood in the earlier output, the same byte for byte.
        divided_groups: Groups of the earlier output that stood in several splits; they were not carried over.
        labels_kept: Labels that were changed in the earlier output itself and stay, one line each.
        gone: Rows of the earlier output that the manifest has no more.
    """

    applied: AppliedReview
    num_carried: int
    divided_groups: tuple[str, ...]
    labels_kept: tuple[str, ...]
    gone: tuple[str, ...]


def earlier_output(output: Path, manifest: Manifest) -> pl.DataFrame | None:
    """What applying a review wrote to a place before, dropped pictures last; None if nothing of the kind stands there.

    Returns:
        Names as in `manifest`, each once.

    Raises:
        OutputError: It was made of another manifest.
        ManifestError: It cannot be read.
    """
    target = dropped_path(output)
    if not output.exists() or not is_table_of_dropped(target):
        return None
    kept, dropped = load_manifest(output).table, load_manifest(target).table
    both = pl.concat([kept, dropped.drop(dropped.columns[-2:])], how="diagonal")
    folder, above = manifest.folder.resolve(), output.parent.resolve()
    inner = folder.relative_to(above).as_posix() if folder.is_relative_to(above) else "."
    named = both.with_columns(pl.col("file_name").str.strip_prefix("" if inner == "." else f"{inner}/"))
    if len(named) and not named["file_name"].is_in(manifest.file_names).any():
        raise OutputError(
            f"{output}: none of its pictures is in {manifest.path}, so it was made of another manifest; write "
            "elsewhere, or make it anew with --overwrite"
        )
    return named.unique("file_name", keep="first", maintain_order=True)


def is_table_of_dropped(path: Path) -> bool:
    """Whether a file is what applying a review writes beside its output."""
    if not path.exists():
        return False
    last = load_manifest(path).table.columns[-2:]
    return len(last) == 2 and all(name.rstrip("_") == told for name, told in zip(last, _TOLD, strict=True))


def carry_over(
    applied: AppliedReview, earlier: pl.DataFrame, manifest: Manifest, lines: Iterable[ReviewLine]
) -> CarriedReview:
    """A review's outcome with what stood in an earlier output, for the pictures that are the same still.

    Splits, groups and further columns are the earlier output's where it has them; of all other columns it fills
    what the manifest leaves empty. A new picture of a group that has got another name since gets that name too. A label
    that neither the manifest nor a decision can have made was changed by hand, and stays.

    A group that stands in several splits was made after the split, as where a new picture is a copy of two old ones.
    Nothing could be dealt any more, also when the new picture is rejected: its rows get the manifest's groups back.

    Args:
        applied: What a review makes of the manifest now.
        earlier: Of `earlier_output`.
        manifest: The manifest that the review is of.
        lines: Its decisions, those that were taken back too.
    """
    divided = divided_groups(earlier.filter(pl.col("split").is_not_null()))["group"].to_list()
    earlier = earlier.with_columns(group=pl.when(~pl.col("group").is_in(divided)).then(pl.col("group")))
    possible = _possible_labels(manifest, lines)
    kept, num_kept = _with_earlier(applied.kept, earlier)
    dropped, num_dropped = _with_earlier(applied.dropped, earlier)
    told = applied.dropped.columns[-2:]
    kept, labels_kept = _with_labels_of_hand(kept, earlier, possible)
    known = set(manifest.file_names)
    return CarriedReview(
        replace(applied, kept=kept, dropped=dropped.select(pl.exclude(told), pl.col(told))),
        num_kept + num_dropped,
        tuple(divided),
        labels_kept,
        tuple(name for name in earlier["file_name"] if name not in known),
    )


def _with_earlier(table: pl.DataFrame, earlier: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    rows = _same_rows(table, earlier)  # in `earlier`, null where there is none
    renamed = _renamed_groups(table["group"], earlier["group"].gather(rows))
    told = table.columns[-2:]
    columns = []
    for name in earlier.columns:
        if name in _OF_THE_FILE or (name in told and name not in COLUMNS and name.rstrip("_") in _TOLD):
            continue
        before = earlier[name].gather(rows)
        own = table[name] if name in table.columns else pl.Series([None] * len(table), dtype=before.dtype)
        is_given = name in _GIVEN_LATER or name not in COLUMNS
        first, second = (before, own) if is_given else (own, before)
        columns.append(first.zip_with(first.is_not_null(), second).alias(name))
    carried = table.with_columns(columns)
    new = rows.is_null() & carried["group"].is_in(list(renamed))
    names = carried["group"].replace(renamed).zip_with(new, carried["group"]) if renamed else carried["group"]
    return carried.with_columns(names.alias("group")), rows.count()


def _same_rows(table: pl.DataFrame, earlier: pl.DataFrame) -> pl.Series:
    """The row of the same picture in `earlier`: of the same name and, where both tell it, the same digest."""
    before = earlier.select("file_name", sha256_before="sha256").with_row_index("row_before")
    joined = table.select("file_name", "sha256").join(before, on="file_name", how="left", maintain_order="left")
    is_same = pl.col("sha256").eq(pl.col("sha256_before")).fill_null(value=True)
    return joined.select(pl.when(is_same).then(pl.col("row_before")).alias("row"))["row"]


def _renamed_groups(own: pl.Series, before: pl.Series) -> dict[str, str]:
    """The manifest's groups that have one other name in the earlier output, as where a cluster joined two of them."""
    names: dict[str, set[str]] = defaultdict(set)
    for group, name in zip(own, before, strict=True):
        if group is not None and name is not None:
            names[group].add(name)
    return {group: next(iter(found)) for group, found in names.items() if len(found) == 1 and group not in found}


def _possible_labels(manifest: Manifest, lines: Iterable[ReviewLine]) -> dict[str, set[str]]:
    """Labels that the manifest or a decision, also one that was taken back, can have given each picture."""
    possible: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        possible[line.file_name] |= {line.label, line.class_id}
    for name, label in manifest.table.select("file_name", "label").iter_rows():
        possible[name].add(label or "")
    return possible


def _with_labels_of_hand(
    table: pl.DataFrame, earlier: pl.DataFrame, possible: Mapping[str, Set[str]]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    before = earlier["label"].gather(_same_rows(table, earlier))
    labels, kept = [], []
    for name, label, old in zip(table["file_name"], table["label"], before, strict=True):
        is_of_hand = old is not None and old not in possible[name]
        labels.append(old if is_of_hand else label)
        if is_of_hand:
            kept.append(f"{name}: '{old}', and not '{label}' of manifest and review")
    return table.with_columns(label=pl.Series(labels, dtype=pl.String)), tuple(kept)
