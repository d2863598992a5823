"""Accuracy on parts of the pictures: by columns of the manifest and by what pictures are like.

N pictures, G groups, V values of one or more properties, R random draws. A part may differ from the rest by chance,
more so as pictures of one group rise and fall together; the test here asks whether this one does by more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.data.manifest import COLUMNS, RESERVED_COLUMNS
from vision.evaluate.metrics import DEFAULT_REPLICATES, drawn_units, percentile_interval, ratio
from vision.evaluate.multiple_tests import SIGNIFICANT, holm_p_values
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.predictions import Prediction, most_probable_classes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PICTURE_SLICES = {
    "short_side_px": "short side in px",
    "aspect": "width over height",
    "brightness": "brightness",
    "sharpness": "sharpness",
}
"""Columns of `picture_properties` that are slices, and what the report calls them."""

MAX_TEXT_VALUES = 20
MAX_PLAIN_NUMBERS = 8
"""Numbers with more values are cut into quarters."""

MIN_TESTED_IMAGES = 5
"""Parts with fewer pictures, or beside fewer, are shown but not tested: they could only weaken the other tests."""

_DRAWS_PER_TEST = 40  # the least p-value of D draws is 1 / (D + 1); times the number of tests it must stay below 0.05
_CHUNK = 500  # draws held in memory at once
_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


class SliceValue(Part):
    """The pictures that share one value of a property.

    Attributes:
        name: The value, or the range of values.
        num_images: Pictures.
        num_groups: Groups that they are in.
        accuracy: Share whose answer is the true class.
        most_probable: Share whose most probable class is the true one; None where predictions do not tell it.
        difference: Accuracy minus that of all other pictures with a value of this property.
        p_worse: Chance of a difference at least this low if the property made none; None where it was not tested.
        p_worse_corrected: The same, corrected for all parts that were tested (Holm).
        is_worse: Whether that is below 0.05 and the difference negative: worse beyond chance.
    """

    name: str
    num_images: int
    num_groups: int
    accuracy: FigureWithInterval
    most_probable: FigureWithInterval | None
    difference: FigureWithInterval
    p_worse: Figure
    p_worse_corrected: Figure = None
    is_worse: bool = False


class SliceFigures(Part):
    """The figures of one property.

    Attributes:
        name: The column, or the property of the pictures.
        is_measured: Whether it was measured on the pictures; else it is a column of the manifest.
        values: Its values, in order; none if it was skipped.
        num_without: Pictures without a value; they are not compared.
        skipped: Why there are no figures, or an empty text.
    """

    name: str
    is_measured: bool
    values: tuple[SliceValue, ...]
    num_without: int
    skipped: str = ""


@dataclass(frozen=True)
class _Property:
    """A property cut into values.

    Attributes:
        name: What the report calls it.
        is_measured: Whether it was measured on the pictures.
        values: V names.
        codes: (N,) position of each picture's value; -1 without one.
        skipped: Why it has no figures, or an empty text.
    """

    name: str
    is_measured: bool
    values: tuple[str, ...]
    codes: Ints
    skipped: str = ""


@dataclass(frozen=True)
class _Outcomes:
    """What is compared, of every picture.

    Attributes:
        is_right: (N,) 1 where the answer is the true class.
        is_most_probable: (N,) 1 where the most probable class is the true one; None if not told.
        groups: (N,) position of each picture's group.
        units: (N,) position of the unit that is drawn: the group, or several.
        num_units: G.
        weights: (R, G) how often each draw with replacement has each unit.
    """

    is_right: Floats
    is_most_probable: Floats | None
    groups: Ints
    units: Ints
    num_units: int
    weights: Floats


def slice_figures(
    table: pl.DataFrame,
    properties: pl.DataFrame | None,
    groups: Sequence[str],
    *,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> tuple[SliceFigures, ...]:
    """Figures of every further column of the table, then of every property of the pictures.

    Args:
        table: Prediction rows with `true_label` and the manifest's columns.
        properties: Of the same pictures in the same order, as `picture_properties` makes them; None without.
        groups: N names.
        num_replicates: Draws of the intervals; the tests have as many, or more where there are many tests.
        seed: Of the draws.
    """
    cut = list(_cut_properties(table, properties))
    outcomes = _outcomes(table, groups, num_replicates, seed)
    num_tests = sum(_is_testable(property_.codes, value) for property_ in cut for value in range(len(property_.values)))
    num_draws = max(num_replicates, _DRAWS_PER_TEST * num_tests)
    sums = [_UnitSums.of(each, outcomes) for each in cut]
    p_values = _p_values(cut, sums, num_draws, np.random.default_rng(seed))
    return _with_corrected([_figures(*each, outcomes) for each in zip(cut, sums, p_values, strict=True)])


def slice_codes(table: pl.DataFrame, properties: pl.DataFrame | None) -> list[Ints]:
    """(N,) position of each picture's value, -1 without one, for each of `slice_figures` of the same arguments."""
    return [each.codes for each in _cut_properties(table, properties)]


def slice_columns(table: pl.DataFrame) -> list[str]:
    """Columns of a table of predictions that neither the manifest's contract nor a prediction row has."""
    known = {*COLUMNS, *RESERVED_COLUMNS, *Prediction.__dataclass_fields__}
    return [name for name, kind in table.schema.items() if name not in known and not kind.is_nested()]


# Cutting a property into values


def _cut_properties(table: pl.DataFrame, properties: pl.DataFrame | None) -> Iterator[_Property]:
    for name in slice_columns(table):
        yield _cut_column(table[name], name)
    if properties is not None:
        for column, name in PICTURE_SLICES.items():
            yield _cut_numbers(properties[column], name, is_measured=True)


def _cut_column(column: pl.Series, name: str) -> _Property:
    """A column of the manifest: numbers if all its values are, else text."""
    text = column.cast(pl.String).replace("", None)
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() > text.null_count():
        values = text.drop_nulls().unique().sort()
    elif numbers.n_unique() > MAX_PLAIN_NUMBERS:
        return _cut_numbers(numbers, name, is_measured=False)
    else:
        values = pl.DataFrame({"text": text, "number": numbers}).drop_nulls().sort("number", "text")["text"]
        values = values.unique(maintain_order=True)
    if len(values) > MAX_TEXT_VALUES:
        return _skipped(name, len(column), f"{len(values)} different texts, more than {MAX_TEXT_VALUES}")
    codes = text.replace_strict(values, np.arange(len(values)), default=-1, return_dtype=pl.Int64)
    return _with_two_values(_Property(name, False, tuple(values), codes.to_numpy()))


def _cut_numbers(column: pl.Series, name: str, *, is_measured: bool) -> _Property:
    """Numbers cut at their quartiles; fewer parts where many pictures have the same number."""
    numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    is_known = np.isfinite(numbers)
    edges = _round_edges(numbers[is_known])
    codes = np.where(is_known, np.searchsorted(edges, np.where(is_known, numbers, 0), side="right"), -1)
    return _with_two_values(_Property(name, is_measured, _range_names(edges), codes.astype(np.int64)))


def _round_edges(numbers: Floats) -> Floats:
    """Quartiles with as few digits as keep them apart, so that the names of the parts say exactly what they hold."""
    if len(numbers) == 0:
        return np.zeros(0)
    exact: Floats = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75]))
    exact = exact[exact > numbers.min()]  # below the first edge there must be something
    for digits in range(3, 17):
        edges = np.array([float(f"{edge:.{digits}g}") for edge in exact])
        if len(np.unique(np.searchsorted(np.sort(numbers), edges))) == len(edges) and (edges > numbers.min()).all():
            return edges
    return exact


def _range_names(edges: Floats) -> tuple[str, ...]:
    shown = [f"{edge:,.10g}" for edge in edges.tolist()]
    if not shown:
        return ("all",)
    between = [f"{low} to below {high}" for low, high in pairwise(shown)]
    ranges = [f"below {shown[0]}", *between, f"{shown[-1]} and more"]
    if len(ranges) < len(_QUARTERS):
        return tuple(ranges)
    return tuple(f"{quarter}: {range_}" for quarter, range_ in zip(_QUARTERS, ranges, strict=True))


def _with_two_values(property_: _Property) -> _Property:
    """The property, or why it is skipped."""
    num_values = len(np.unique(property_.codes[property_.codes >= 0]))
    if num_values >= 2:
        return property_
    reason = "no picture has a value" if num_values == 0 else "the same for all pictures"
    return _skipped(property_.name, len(property_.codes), reason, is_measured=property_.is_measured)


def _skipped(name: str, num_images: int, reason: str, *, is_measured: bool = False) -> _Property:
    return _Property(name, is_measured, (), np.full(num_images, -1), reason)


# Figures


def _outcomes(table: pl.DataFrame, groups: Sequence[str], num_replicates: int, seed: int) -> _Outcomes:
    units = drawn_units(groups, seed)
    num_units = int(units.max(initial=-1)) + 1
    chances = np.full(max(num_units, 1), 1 / max(num_units, 1))
    drawn = np.random.default_rng(seed).multinomial(num_units, chances, size=num_replicates)[:, :num_units]
    is_right = (pl.col("status") != "error") & (pl.col("label") == pl.col("true_label"))
    first = most_probable_classes(table)
    top_is_right = None if first is None else (first == table["true_label"]).fill_null(False).cast(pl.Float64)
    return _Outcomes(
        is_right=table.select(is_right.fill_null(False).cast(pl.Float64)).to_series().to_numpy(),
        is_most_probable=None if top_is_right is None else top_is_right.to_numpy(),
        groups=np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)[1],
        units=units,
        num_units=num_units,
        weights=drawn.astype(np.float64),
    )


@dataclass(frozen=True)
class _UnitSums:
    """Sums over the pictures of each unit, by value of a property: (G, V) each.

    Attributes:
        images: Pictures.
        right: Those whose answer is the true class.
        most_probable: Those whose most probable class is; None if not told.
    """

    images: Floats
    right: Floats
    most_probable: Floats | None

    @classmethod
    def of(cls, property_: _Property, outcomes: _Outcomes) -> _UnitSums:
        """The sums of a property; (G, 0) if it was skipped."""
        has_value, num_values = property_.codes >= 0, len(property_.values)
        cells = outcomes.units[has_value] * num_values + property_.codes[has_value]
        num_cells = outcomes.num_units * num_values

        def sums(values: Floats) -> Floats:
            added = np.bincount(cells, weights=values[has_value], minlength=num_cells)
            return added.astype(np.float64).reshape(outcomes.num_units, num_values)

        told = outcomes.is_most_probable
        return cls(
            images=sums(np.ones(len(has_value))),
            right=sums(outcomes.is_right),
            most_probable=None if told is None else sums(told),
        )


def _figures(property_: _Property, sums: _UnitSums, p_worse: Floats, outcomes: _Outcomes) -> SliceFigures:
    accuracy, rest = _accuracies(sums.images, sums.right, outcomes.weights)
    most_probable = None
    if sums.most_probable is not None:
        most_probable, _ = _accuracies(sums.images, sums.most_probable, outcomes.weights)
    values = []
    for value, name in enumerate(property_.values):
        has_value = property_.codes == value
        num_groups = len(np.unique(outcomes.groups[has_value]))
        enough = num_groups > 1  # drawing again from one group says nothing about other groups
        values.append(
            SliceValue(
                name=name,
                num_images=int(has_value.sum()),
                num_groups=num_groups,
                accuracy=_figure(accuracy[:, value], enough),
                most_probable=None if most_probable is None else _figure(most_probable[:, value], enough),
                difference=_figure(accuracy[:, value] - rest[:, value], enough),
                p_worse=float(p_worse[value]) if _is_testable(property_.codes, value) else None,
            )
        )
    return SliceFigures(
        name=property_.name,
        is_measured=property_.is_measured,
        values=tuple(values),
        num_without=int((property_.codes < 0).sum()),
        skipped=property_.skipped,
    )


def _accuracies(images: Floats, right: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Accuracy of each value and of the rest, (1 + R, V) each: first as it is, then of the draws; NaN of nothing."""
    counts, hits = (np.vstack([sums.sum(axis=0), weights @ sums]) for sums in (images, right))
    other_counts = counts.sum(axis=1, keepdims=True) - counts
    other_hits = hits.sum(axis=1, keepdims=True) - hits
    return ratio(hits, counts), ratio(other_hits, other_counts)


def _figure(values: Floats, enough: bool) -> FigureWithInterval:
    """A figure, (1 + R,), with the percentile interval of its draws."""
    return FigureWithInterval.of(percentile_interval(float(values[0]), values[1:], enough))


# The test


def _is_testable(codes: Ints, value: int) -> bool:
    num_images, num_all = int((codes == value).sum()), int((codes >= 0).sum())
    return MIN_TESTED_IMAGES <= num_images <= num_all - MIN_TESTED_IMAGES


def _p_values(
    cut: Sequence[_Property], sums: Sequence[_UnitSums], num_draws: int, generator: np.random.Generator
) -> list[Floats]:
    """(V,) `_p_worse` of each property; those that the same pictures have share their draws, which takes the time."""
    together = defaultdict(list)
    for position, property_ in enumerate(cut):
        if property_.values:
            together[(property_.codes >= 0).tobytes()].append(position)
    p_values = [np.zeros(0)] * len(cut)
    for positions in together.values():
        first = sums[positions[0]]
        test_sums = _TestSums.of(
            np.hstack([sums[position].images for position in positions]),
            np.hstack([sums[position].right for position in positions]),
            sizes=first.images.sum(axis=1),
            group_right=first.right.sum(axis=1),
        )
        ends = np.cumsum([len(cut[position].values) for position in positions])
        parts = np.split(_p_worse(test_sums, num_draws, generator), ends[:-1])
        for position, part in zip(positions, parts, strict=True):
            p_values[position] = part
    return p_values


def _p_worse(sums: _TestSums, num_draws: int, generator: np.random.Generator) -> Floats:
    """(V,) chance of a difference at least as low as the one found if the property made none.

    The covariance of "has this value" with "is right" over all pictures, which has the sign of the difference, is the
    sum of two parts, and each is drawn again from what could as well have been:

    - between groups: the group's share of the value times its right answers beyond the mean. Groups of about equal
      size (1, 2 - 3, 4 - 7 ... pictures) swap their shares at random (permutation; Good 2005, "Permutation, Parametric
      and Bootstrap Tests of Hypotheses").
    - within groups: pictures with the value against pictures of the same group without it, a paired comparison. Each
      group's difference gets a random sign (Fisher's randomisation test of paired data, 1935).

    If a property is the same within each group only the first is left; if every group has its whole range mainly the
    second. Assumed is that without an effect groups of about equal size are exchangeable whatever their share, and
    that differences within a group are as often positive as negative. Nothing is assumed about how alike pictures of
    one group are.
    """
    found = sums.beyond_mean @ sums.shares + sums.within.sum(axis=0)  # (V,)
    tolerance = 1e-9 * np.abs(sums.beyond_mean).sum()
    num_as_low = np.zeros(len(found), dtype=np.int64)
    for start in range(0, num_draws, _CHUNK):
        num = min(_CHUNK, num_draws - start)
        signs = 2.0 * generator.integers(0, 2, size=(num, len(sums.within)), dtype=np.int8) - 1
        drawn = sums.dealt(num, generator) @ sums.shares + signs @ sums.within
        num_as_low += (drawn <= found + tolerance).sum(axis=0)
    p_values: Floats = (1 + num_as_low) / (1 + num_draws)  # Phipson and Smyth 2010: never 0
    return p_values


@dataclass(frozen=True)
class _TestSums:
    """What the test draws from, of the G units that have pictures with a value.

    Attributes:
        shares: (G, V) share of each value among the unit's pictures.
        beyond_mean: (G,) right answers beyond what the mean accuracy lets expect; adds up to 0.
        within: (G, V) right answers with the value beyond what the unit's own accuracy lets expect.
        bounds: Where units of another size begin; units are in order of size.
    """

    shares: Floats
    beyond_mean: Floats
    within: Floats
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, images: Floats, right: Floats, *, sizes: Floats, group_right: Floats) -> _TestSums:
        """From pictures and right answers by value, (G, V) each, and of each unit as a whole, (G,) each."""
        size_classes = np.frexp(sizes)[1]  # powers of two
        order = np.argsort(size_classes, kind="stable")
        order = order[sizes[order] > 0]
        images, right, sizes, group_right = images[order], right[order], sizes[order], group_right[order]
        shares = images / sizes[:, None]
        return cls(
            shares=shares,
            beyond_mean=group_right - sizes * (group_right.sum() / sizes.sum()),
            within=right - shares * group_right[:, None],
            bounds=tuple((np.flatnonzero(np.diff(size_classes[order])) + 1).tolist()),
        )

    def dealt(self, num_draws: int, generator: np.random.Generator) -> Floats:
        """(draws, G) `beyond_mean`, dealt out anew among units of about equal size."""
        edges = (0, *self.bounds, len(self.beyond_mean))
        parts = [np.broadcast_to(self.beyond_mean[a:b], (num_draws, b - a)) for a, b in pairwise(edges)]
        return np.concatenate([generator.permuted(part, axis=1) for part in parts], axis=1)


def _with_corrected(figures: Sequence[SliceFigures]) -> tuple[SliceFigures, ...]:
    p_values = [np.nan if value.p_worse is None else value.p_worse for each in figures for value in each.values]
    corrected = iter(holm_p_values(np.array(p_values, dtype=np.float64)).tolist())
    return tuple(
        each.model_copy(update={"values": tuple(_corrected(value, next(corrected)) for value in each.values)})
        for each in figures
    )


def _corrected(value: SliceValue, p_value: float) -> SliceValue:
    if value.p_worse is None:
        return value
    # The test compares like with like, groups of one size and pictures of one group; the whole may lie the other way.
    is_worse = p_value < SIGNIFICANT and (value.difference.value or 0) < 0
    return value.model_copy(update={"p_worse_corrected": p_value, "is_worse": is_worse})
