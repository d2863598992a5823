"""Counting by label: classes of the taxonomy in its order, labels outside it, pictures without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from vision.data.manifest import SPLITS
from vision.data.statistics.figures import FamilyStatistics, LabelStatistics, SplitCounts
from vision.taxonomy import Taxonomy

MAX_LABELS_OUTSIDE = 50


def count_values(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """`value` and `num_images` of every value, empty ones too; the most frequent first, then by value."""
    return (
        table.lazy()
        .group_by(pl.col(column).alias("value"))
        .agg(pl.len().cast(pl.Int64).alias("num_images"))
        .sort("num_images", "value", descending=[True, False])
        .collect()
    )


def count_by_label(table: pl.DataFrame, column: str) -> pl.DataFrame:
    """`label`, `value` and `num_images` of every label and value that occur together."""
    return (
        table.lazy()
        .group_by("label", pl.col(column).alias("value"))
        .agg(pl.len().cast(pl.Int64).alias("num_images"))
        .collect()
    )


def split_counts(counts: Sequence[tuple[str | None, int]]) -> SplitCounts:
    """Pictures by split, from pairs of a split and its pictures."""
    known = {split: count for split, count in counts if split in SPLITS}
    no_split = sum(count for split, count in counts if split is None)
    unknown = sum(count for split, count in counts if split is not None and split not in SPLITS)
    return SplitCounts(**known, no_split=no_split, unknown=unknown)


def label_statistics(table: pl.DataFrame, taxonomy: Taxonomy) -> tuple[tuple[LabelStatistics, ...], int]:
    """Statistics of every label that is listed, and how many labels are not."""
    counts = count_values(table, "label")
    present = set(counts["value"].filter(counts["value"].is_in(taxonomy.class_ids)))
    outside = counts.filter(pl.col("value").is_not_null() & ~pl.col("value").is_in(taxonomy.class_ids))["value"]
    listed: list[str | None] = [*taxonomy.in_order(present), *outside.head(MAX_LABELS_OUTSIDE)]
    listed += [None] if table["label"].null_count() else []
    is_listed = pl.col("label").is_in(listed, nulls_equal=True)
    splits: dict[str | None, list[tuple[str | None, int]]] = {}
    for label, split, count in count_by_label(table, "split").filter(is_listed).iter_rows():
        splits.setdefault(label, []).append((split, count))
    groups = _summary_by_label(count_by_label(table, "group").filter(is_listed))
    authors = _summary_by_label(count_by_label(table, "author").filter(is_listed))
    statistics = tuple(
        _statistics_of_label(label, splits[label], groups[label], authors[label], taxonomy) for label in listed
    )
    return statistics, max(0, len(outside) - MAX_LABELS_OUTSIDE)


def _summary_by_label(counts: pl.DataFrame) -> dict[str | None, dict[str, int | str | None]]:
    """Of every label: different values, rows without one, the most frequent value and its rows."""
    stated = pl.col("value").is_not_null()
    most = pl.col("num_images").filter(stated).max()
    summary = counts.group_by("label").agg(
        stated.sum().cast(pl.Int64).alias("num_values"),
        pl.col("num_images").filter(~stated).sum().alias("num_missing"),
        pl.col("value").filter(stated & (pl.col("num_images") == most)).min().alias("largest"),
        most.fill_null(0).alias("num_of_largest"),
    )
    return {row.pop("label"): row for row in summary.iter_rows(named=True)}


def _statistics_of_label(
    label: str | None,
    splits: Sequence[tuple[str | None, int]],
    groups: Mapping[str, int | str | None],
    authors: Mapping[str, int | str | None],
    taxonomy: Taxonomy,
) -> LabelStatistics:
    is_class = label in taxonomy.class_ids
    num_images = sum(count for _, count in splits)
    num_of_largest = int(authors["num_of_largest"] or 0)
    return LabelStatistics(
        label=label,
        name="no label" if label is None else taxonomy.name(label) if is_class else label,
        family=taxonomy.family_id(label) if label is not None and is_class else None,
        num_images=num_images,
        splits=split_counts(splits),
        num_groups=int(groups["num_values"] or 0),
        num_without_group=int(groups["num_missing"] or 0),
        num_in_largest_group=int(groups["num_of_largest"] or 0),
        num_authors=int(authors["num_values"] or 0),
        num_without_author=int(authors["num_missing"] or 0),
        largest_author=str(authors["largest"]) if num_of_largest else None,
        num_of_largest_author=num_of_largest,
        share_of_largest_author=num_of_largest / num_images if num_of_largest else None,
    )


def family_statistics(labels: Sequence[LabelStatistics], taxonomy: Taxonomy) -> tuple[FamilyStatistics, ...]:
    """All families of the taxonomy, in its order, with or without pictures."""
    num_images = {each.label: each.num_images for each in labels}
    classes: dict[str, list[str]] = {}
    for class_id in taxonomy.class_ids:
        classes.setdefault(taxonomy.family_id(class_id), []).append(class_id)
    return tuple(
        FamilyStatistics(
            family=family,
            name=taxonomy.name(family),
            num_images=sum(num_images.get(class_id, 0) for class_id in class_ids),
            num_classes=sum(class_id in num_images for class_id in class_ids),
            classes_without_images=tuple(class_id for class_id in class_ids if class_id not in num_images),
        )
        for family, class_ids in classes.items()
    )
