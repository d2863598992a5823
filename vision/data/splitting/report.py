"""What a split came to: shares of each class, and what stands in the way of the asked ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from vision.data.manifest import DOMINANT_SHARE, SPLITS, Problem
from vision.data.splitting.splitting import Splitting

TOLERANCE = 0.02
"""Shares that are nearer than 2 points to the asked ones are what was asked."""

FEWEST_TO_JUDGE = 50
"""Pictures of a class in a slice, at least, whose shares are told: of fewer, one picture is more than `TOLERANCE`."""


def class_shares(splitting: Splitting) -> pl.DataFrame:
    """Pictures of each class in each split.

    Returns:
        A row for each class in alphabetical order: `label`, `num_pictures`, `num_groups`, a column of counts for each
        of `SPLITS`, and `deviation`: how far the share of a split is from the asked one at most, in [0, 1]; empty for
        a class of which no picture was to be dealt.
    """
    rows = splitting.manifest.table.select("label", "split", group=splitting.group)
    groups = rows.group_by("label").agg(num_groups=pl.col("group").n_unique())
    return _counted(rows, ["label"], splitting).join(groups, on="label").sort("label")


def slice_shares(splitting: Splitting, name: str) -> pl.DataFrame:
    """Pictures of each class within each value of a slice: `label`, the slice, counts and `deviation` as above."""
    rows = splitting.manifest.table.select("label", "split", name)
    return _counted(rows, ["label", name], splitting).sort("label", name)


def widest_in_slice(splitting: Splitting, name: str) -> str:
    """A line about the class and value of a slice whose shares are farthest from the asked ones."""
    within = slice_shares(splitting, name).filter(
        (pl.col("num_pictures") >= FEWEST_TO_JUDGE) & pl.col("deviation").is_not_null()
    )
    if not len(within):
        return f"slice {name}: no class has {FEWEST_TO_JUDGE} pictures of one value; their shares say nothing"
    label, value, num_pictures, deviation = (
        within.sort("deviation", "label", name, descending=[True, False, False])
        .select("label", name, "num_pictures", "deviation")
        .row(0)
    )
    return (
        f"slice {name}: off by {100 * deviation:.1f} points at most (class '{label}', {name} '{value or ''}', "
        f"{num_pictures:,} pictures; of {len(within):,} with {FEWEST_TO_JUDGE} pictures or more)"
    )


def _counted(rows: pl.DataFrame, by: list[str], splitting: Splitting) -> pl.DataFrame:
    asked = splitting.settings.shares
    counts = rows.group_by(by).agg(
        pl.len().alias("num_pictures"), *((pl.col("split") == name).sum().alias(name) for name in SPLITS)
    )
    dealt = pl.sum_horizontal(list(asked))
    off = [(pl.col(name) / dealt - share).abs() for name, share in asked.items()]
    return counts.with_columns(deviation=pl.when(dealt > 0).then(pl.max_horizontal(off)))


def find_split_warnings(splitting: Splitting, shares: pl.DataFrame) -> list[Problem]:
    """What a reader of the test's figure must know of a split; each names the class and, where there is one, the group.

    Args:
        splitting: The split.
        shares: As `class_shares` counts them.
    """
    return [
        *_forgotten(splitting),
        *_dominated(splitting, shares),
        *_missing(splitting, shares),
        *_off(splitting, shares),
    ]


def _warning(splitting: Splitting, label: str, message: str, kind: str) -> Problem:
    return Problem(str(splitting.manifest.path), "label", label, message, kind, is_warning=True)


def _forgotten(splitting: Splitting) -> Iterator[Problem]:
    """Classes that stood in split novel and are dealt now."""
    for label in sorted(splitting.no_longer_novel):
        message = "stood in split novel, and training sees it now; name it by --novel if it was to stay there"
        yield _warning(splitting, label, message, "no longer novel")


def _dominated(splitting: Splitting, shares: pl.DataFrame) -> Iterator[Problem]:
    """Classes of which one author or one group has most pictures, of all or of the test's."""
    table = splitting.manifest.table
    # Few labels and splits stand in many rows: numbers are counted sooner than texts.
    few = pl.Enum(table["label"].drop_nulls().unique().sort()), pl.Enum(SPLITS)
    rows = table.select(
        pl.col("label").cast(few[0]), pl.col("split").cast(few[1]), pl.col("author"), group=splitting.group
    )
    for column in ("author", "group"):
        dominated = {}
        for label, value, count, total in _largest(rows, column).iter_rows():
            if count > DOMINANT_SHARE * total:
                dominated[label] = value
                who = f"{column} '{_name(splitting, column, value)}'"
                message = f"{who} has {count:,} of its {total:,} pictures; add pictures of others"
                yield _warning(splitting, label, message, f"dominant {column}")
        for label, value, count, total in _largest(rows.filter(pl.col("split") == "test"), column).iter_rows():
            if dominated.get(label) != value and count > DOMINANT_SHARE * total:
                who = f"{column} '{_name(splitting, column, value)}'"
                message = (
                    f"{who} has {count:,} of its {total:,} test pictures; its test figure says little of others; "
                    "add pictures"
                )
                yield _warning(splitting, label, message, f"dominant {column} in test")


def _name(splitting: Splitting, column: str, value: Any) -> str:
    return str(splitting.group_names[value] if column == "group" else value)


def _largest(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Of each class with two pictures or more: the most frequent value, its pictures, and those of the class."""
    counts = rows.group_by("label", column).agg(pl.len().alias("count"))
    totals = counts.group_by("label").agg(pl.col("count").sum().alias("total"))
    named = counts.filter(pl.col(column).is_not_null())
    most = named.group_by("label").agg(pl.col("count").max())
    return (
        named.join(most, on=["label", "count"], how="semi")
        .group_by("label")
        .agg(pl.col(column).min(), pl.col("count").first())
        .join(totals.filter(pl.col("total") > 1), on="label")
        .sort("label")
    )


def _missing(splitting: Splitting, shares: pl.DataFrame) -> Iterator[Problem]:
    """Classes that a split lacks."""
    for row in shares.filter(pl.col("deviation").is_not_null()).iter_rows(named=True):
        lacking = [name for name in splitting.settings.shares if not row[name]]
        if lacking:
            needed = len(splitting.settings.shares)
            why = (
                f"it has {row['num_groups']} group{'s' if row['num_groups'] > 1 else ''}, {needed} are needed"
                if row["num_groups"] < needed
                else "its groups have their splits already, or hold other classes"
            )
            message = f"no picture in {' and '.join(lacking)}: {why}; add pictures of other vehicles or events"
            yield _warning(splitting, row["label"], message, "class missing in split")


def _off(splitting: Splitting, shares: pl.DataFrame) -> Iterator[Problem]:
    """Classes whose shares are not the asked ones, and why."""
    dealt = pl.sum_horizontal(list(splitting.settings.shares))
    # One picture more or less is what no split can help.
    off = shares.filter(pl.col("deviation") > pl.max_horizontal(TOLERANCE + 1e-9, 1 / dealt))
    if not len(off):
        return
    rows = splitting.manifest.table.select("label", group=splitting.group)
    of_label = rows.filter(pl.col("label").is_in(off["label"].to_list()))
    largest = {label: rest for label, *rest in _largest(of_label, "group").iter_rows()}
    mixed = rows.group_by("group").agg(pl.col("label").n_unique()).filter(pl.col("label") > 1)["group"]
    with_others = set(of_label.filter(pl.col("group").is_in(mixed.implode()))["label"])
    asked = splitting.settings.shares
    for row in off.iter_rows(named=True):
        dealt = sum(row[name] for name in asked)
        reached = ", ".join(f"{name} {row[name] / dealt:.1%} for {share:.1%}" for name, share in asked.items())
        group, count, _ = largest.get(row["label"], [0, 1, 1])
        if count > (max(asked.values()) + TOLERANCE) * dealt:
            why = f"group '{splitting.group_names[group]}' holds {count:,} of its {dealt:,} pictures together"
        elif row["label"] in splitting.kept_classes:
            why = "its old pictures keep their splits; add new ones, or deal all anew by --reassign"
        elif row["label"] in with_others:
            why = "its groups hold other classes too, whose shares count as well"
        else:
            why = (
                f"no better way was found to divide its {row['num_groups']:,} groups, of which the largest holds "
                f"{count:,} of {dealt:,} pictures; add pictures of other vehicles or events"
            )
        yield _warning(splitting, row["label"], f"{reached}: {why}", "shares off")
