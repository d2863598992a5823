"""Counting what a data set holds, by its manifest alone: no picture is opened.

Every figure is an aggregation that polars does over whole columns, one after the other, so that ten million rows take
seconds and little more memory than the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from vision import __version__
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.manifest import COLUMNS, SPLITS, Manifest, divided_groups
from vision.data.statistics.figures import (
    AgeStatistics,
    AuthorStatistics,
    ColumnStatistics,
    DataSetStatistics,
    LicenceStatistics,
    Quantiles,
    SizeBin,
    SizeStatistics,
    SliceStatistics,
    SliceValue,
    YearCount,
)
from vision.data.statistics.labels import (
    count_by_label,
    count_values,
    family_statistics,
    label_statistics,
    split_counts,
)
from vision.taxonomy import Taxonomy

SMALL_PX = 224
"""Side of the square that most networks see; a smaller picture is blown up for them."""

SIZE_EDGES_PX = (0, 64, 128, 224, 320, 480, 640, 800, 1024, 1600, 2400, 4000)
"""Where bins of the shorter side begin; the last has no end."""

MAX_LICENCES, MAX_AUTHORS, MAX_SLICE_VALUES, MAX_UNKNOWN_SPLITS = 200, 20, 20, 10

MAX_VALUES_COUNTED = 50_000
"""A column with more different values is no slice but a text or an identifier; they are not counted one by one."""

FIRST_YEAR, LAST_YEAR = 1826, 2099
"""No photograph is older (Niépce's view from the window at Le Gras); a date beyond the last is a slip."""


def data_set_statistics(
    manifest: Manifest,
    taxonomy: Taxonomy,
    policy: LicencePolicy,
    *,
    max_authors: int = MAX_AUTHORS,
    max_slice_values: int = MAX_SLICE_VALUES,
) -> DataSetStatistics:
    """All figures of a data set; of an empty one, zeros.

    Args:
        manifest: The rows.
        taxonomy: Tells which labels are classes, and their order.
        policy: Judges the licences.
        max_authors: How many authors to list.
        max_slice_values: How many values of a slice to list.
    """
    table = manifest.table
    labels, num_not_listed = label_statistics(table, taxonomy)
    licences = count_values(table, "licence")
    by_author = count_values(table, "author").filter(pl.col("value").is_not_null())
    listed = _licence_statistics(licences.head(MAX_LICENCES), policy)
    return DataSetStatistics(
        created_by=f"vision {__version__}",
        data_set=manifest.folder.resolve().name,
        manifest=manifest.path.name,
        policy=policy.value,
        num_images=len(table),
        num_groups=table["group"].drop_nulls().n_unique(),
        num_divided_groups=len(divided_groups(table)),
        num_without_group=table["group"].null_count(),
        splits=split_counts(count_values(table, "split").rows()),
        unknown_splits=_unknown_splits(table),
        labels=labels,
        num_labels_not_listed=num_not_listed,
        families=family_statistics(labels, taxonomy),
        licences=listed,
        num_licences_not_listed=len(licences) - len(listed),
        num_images_refused=sum(each.num_images for each in listed if each.refusal),
        num_authors=len(by_author),
        num_without_author=table["author"].null_count(),
        authors=_author_statistics(table, by_author.head(max_authors)),
        slices=tuple(
            _slice_statistics(table, name, [each.label for each in labels], max_slice_values)
            for name in table.columns
            if name not in COLUMNS
        ),
        sizes=_size_statistics(table),
        ages=_age_statistics(table),
        columns=tuple(ColumnStatistics(column=name, num_missing=table[name].null_count()) for name in table.columns),
    )


def _unknown_splits(table: pl.DataFrame) -> tuple[str, ...]:
    unknown = count_values(table, "split").filter(pl.col("value").is_not_null() & ~pl.col("value").is_in(SPLITS))
    return tuple(unknown["value"].head(MAX_UNKNOWN_SPLITS))


def _licence_statistics(counts: pl.DataFrame, policy: LicencePolicy) -> tuple[LicenceStatistics, ...]:
    return tuple(
        LicenceStatistics(licence=licence, num_images=count, refusal=licence_refusal(licence, policy))
        for licence, count in counts.iter_rows()
    )


def _author_statistics(table: pl.DataFrame, counts: pl.DataFrame) -> tuple[AuthorStatistics, ...]:
    num_labels = dict(
        table.lazy()
        .filter(pl.col("author").is_in(counts["value"].to_list()))
        .group_by("author")
        .agg(pl.col("label").n_unique())
        .collect()
        .iter_rows()
    )
    return tuple(
        AuthorStatistics(author=author, num_images=count, share=count / len(table), num_labels=num_labels[author])
        for author, count in counts.iter_rows()
    )


def _slice_statistics(
    table: pl.DataFrame, column: str, labels: Sequence[str | None], max_values: int
) -> SliceStatistics:
    num_missing = table[column].null_count()
    # The estimate may be off by some percent, which does not matter here; counting a column of texts would.
    estimate = int(table.select(pl.col(column).approx_n_unique()).item()) if len(table) else 0
    if estimate > MAX_VALUES_COUNTED:
        return SliceStatistics(
            column=column,
            num_values=estimate,
            is_estimate=True,
            num_missing=num_missing,
            values=(),
            num_in_other_values=len(table) - num_missing,
        )
    by_label = count_by_label(table, column).filter(pl.col("value").is_not_null())
    counts = (
        by_label.group_by("value").agg(pl.col("num_images").sum()).sort("num_images", "value", descending=[True, False])
    )
    listed = counts.head(max_values)
    pairs = by_label.filter(pl.col("value").is_in(listed["value"].to_list()))
    cells = {(value, label): count for label, value, count in pairs.iter_rows()}
    return SliceStatistics(
        column=column,
        num_values=len(counts),
        is_estimate=False,
        num_missing=num_missing,
        values=tuple(
            SliceValue(
                value=value, num_images=count, num_by_label=tuple(cells.get((value, label), 0) for label in labels)
            )
            for value, count in listed.iter_rows()
        ),
        num_in_other_values=len(table) - num_missing - int(listed["num_images"].sum()),
    )


def _size_statistics(table: pl.DataFrame) -> SizeStatistics:
    width, height = table["width"], table["height"]
    is_measured = width.is_not_null() & height.is_not_null() & (width > 0) & (height > 0)
    width, height = width.filter(is_measured), height.filter(is_measured)
    shorter = pl.select(pl.min_horizontal(width, height)).to_series()
    num_below = [int((shorter < edge).sum()) for edge in SIZE_EDGES_PX] + [len(shorter)]
    ends = (*SIZE_EDGES_PX[1:], None)
    return SizeStatistics(
        num_measured=len(shorter),
        num_missing=len(table) - len(shorter),
        width=_quantiles(width),
        height=_quantiles(height),
        shorter_side=_quantiles(shorter),
        megapixels=_quantiles(width * height / 1_000_000),
        small_px=SMALL_PX,
        num_small=int((shorter < SMALL_PX).sum()),
        bins=tuple(
            SizeBin(from_px=start, below_px=end, num_images=num_below[place + 1] - num_below[place])
            for place, (start, end) in enumerate(zip(SIZE_EDGES_PX, ends, strict=True))
        ),
    )


def _quantiles(values: pl.Series) -> Quantiles | None:
    if not len(values):
        return None
    ordered = values.sort()
    places = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    found = [float(ordered[round(place * (len(ordered) - 1))]) for place in places]
    return Quantiles(**dict(zip(Quantiles.model_fields, found, strict=True)))


def _age_statistics(table: pl.DataFrame) -> AgeStatistics:
    # Grouped by day before it is parsed: there are few days, also where there are many rows and times of day.
    days = (
        table.lazy()
        .group_by(pl.col("date"), pl.col("retrieved_at").str.slice(0, 10))
        .agg(pl.len().cast(pl.Int64).alias("num_images"))
        .with_columns(by_date=_year(pl.col("date")), by_retrieval=_year(pl.col("retrieved_at")))
        .collect()
    )
    has_date, has_retrieval = pl.col("by_date").is_not_null(), pl.col("by_retrieval").is_not_null()
    counted = pl.col("num_images")
    totals = days.select(
        num_dated=counted.filter(has_date).sum(),
        num_by_retrieval=counted.filter(~has_date & has_retrieval).sum(),
        num_without_year=counted.filter(~has_date & ~has_retrieval).sum(),
        num_unreadable_dates=counted.filter(pl.col("date").is_not_null() & ~has_date).sum(),
    ).row(0, named=True)
    years = (
        days.filter(has_date | has_retrieval)
        .group_by(pl.coalesce("by_date", "by_retrieval").alias("year"))
        .agg(
            num_by_date=counted.filter(has_date).sum(),
            num_by_retrieval=counted.filter(~has_date).sum(),
        )
        .sort("year")
    )
    return AgeStatistics(**totals, years=tuple(YearCount(**row) for row in years.iter_rows(named=True)))


def _year(text: pl.Expr) -> pl.Expr:
    """The year of `YYYY`, `YYYY-MM` or `YYYY-MM-DD`; null for anything else and for years that cannot be."""
    year = text.str.extract(r"^(\d{4})(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?$").cast(pl.Int64)
    return pl.when(year.is_between(FIRST_YEAR, LAST_YEAR)).then(year)
