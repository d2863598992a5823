"""Slices: how properties are cut, their figures by hand and against other code, and how often chance is flagged.

N pictures, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from numpy.typing import NDArray

from vision.evaluate.metrics import MAX_UNITS, bootstrap_intervals
from vision.evaluate.multiple_tests import holm_p_values
from vision.evaluate.report.pages import report_environment
from vision.evaluate.slices import SliceFigures, SliceValue, slice_columns, slice_figures
from vision.predictions import ClassProbability, Prediction, predictions_table

Bools = NDArray[np.bool_]


def rows(is_right: Sequence[bool] | Bools, **columns: Sequence[Any]) -> pl.DataFrame:
    """Predictions of class `a`, right or wrong, and columns beside them; the most probable class is always `a`."""
    top = (ClassProbability("a", 0.7), ClassProbability("b", 0.3))
    answers = [Prediction("x.jpg", "", "ok", label="a" if hit else "b", level="class", top=top) for hit in is_right]
    beside = [pl.Series(name, values) for name, values in columns.items()]
    return predictions_table(answers).with_columns(pl.lit("a").alias("true_label"), *beside)


def each_alone(num_images: int) -> list[str]:
    return [str(number) for number in range(num_images)]


def figures_of(table: pl.DataFrame, groups: Sequence[str] | None = None, **options: Any) -> tuple[SliceFigures, ...]:
    return slice_figures(
        table, options.pop("properties", None), groups or each_alone(len(table)), **{"num_replicates": 200, **options}
    )


def names(figures: SliceFigures) -> list[str]:
    return [value.name for value in figures.values]


RIGHT = [True, True, True, False, False, True, False, False, False, True, True, True]
VIEWS = ["front"] * 5 + ["side"] * 7


def test_figures_of_a_small_case_by_hand() -> None:
    groups = ["g1", "g1", "g2", "g2", "g2", "g3", "g3", "g3", "g4", "g4", "g5", "g5"]
    (figures,) = figures_of(rows(RIGHT, view=VIEWS), groups)
    front, side = figures.values
    assert (figures.name, front.name, front.num_images, front.num_groups, side.num_groups) == ("view", "front", 5, 2, 3)
    assert (front.accuracy.value, side.accuracy.value) == (3 / 5, 4 / 7)
    assert front.difference.value == pytest.approx(3 / 5 - 4 / 7)
    assert side.difference.value == pytest.approx(4 / 7 - 3 / 5)
    assert front.most_probable is not None
    assert front.most_probable.value == 1


def test_unreadable_pictures_count_as_not_recognised() -> None:
    failed = predictions_table([Prediction("y", "", "error")] * 5).with_columns(
        true_label=pl.lit("a"), view=pl.lit("n")
    )
    (figures,) = figures_of(pl.concat([rows(RIGHT, view=VIEWS), failed]))
    assert [value.accuracy.value for value in figures.values] == [3 / 5, 0, 4 / 7]


def test_only_further_columns_are_slices() -> None:
    table = rows([True], view=["x"], group=["g"], split=["test"], author=["me"], uncalibrated=[[1.0]], weather=["fog"])
    assert slice_columns(table) == ["view", "weather"]


def test_pictures_without_a_value_are_counted_and_not_compared() -> None:
    table = rows([True, False, True, False], view=["x", "y", None, ""])
    (figures,) = figures_of(table)
    assert (figures.num_without, names(figures)) == (2, ["x", "y"])
    assert figures.values[0].difference.value == 1


SKIPPED = {
    "many texts": ([f"text {number}" for number in range(30)], "30 different texts, more than 20"),
    "one value": (["same"] * 30, "the same for all pictures"),
    "one number": ([5.0] * 30, "the same for all pictures"),
    "no value": ([None] * 30, "no picture has a value"),
}


@pytest.mark.parametrize(("values", "reason"), SKIPPED.values(), ids=SKIPPED.keys())
def test_a_column_that_cannot_be_compared_is_skipped_with_its_reason(values: list[Any], reason: str) -> None:
    (figures,) = figures_of(rows([True] * 30, column=pl.Series(values, dtype=pl.String, strict=False)))
    assert (figures.skipped, figures.values) == (reason, ())


def test_numbers_with_many_values_are_cut_into_quarters_whose_names_say_what_they_hold() -> None:
    numbers = [str(number / 7) for number in range(200)]
    (figures,) = figures_of(rows([True] * 200, distance=numbers))
    assert names(figures)[0] == "lowest quarter: below 7.11"
    assert names(figures)[1] == "second quarter: 7.11 to below 14.2"
    assert names(figures)[3] == "highest quarter: 21.3 and more"
    values = np.array(numbers, dtype=float)
    assert figures.values[1].num_images == ((values >= 7.11) & (values < 14.2)).sum()


def test_few_different_numbers_stay_as_they_are_in_order() -> None:
    (figures,) = figures_of(rows([True] * 30, storeys=["10", "9", "2"] * 10))
    assert names(figures) == ["2", "9", "10"]


def test_many_equal_numbers_make_fewer_parts() -> None:
    properties = pl.DataFrame({"short_side_px": [480] * 60 + [481, 1080] * 20, **dict.fromkeys(MEASURED, [1.0] * 100)})
    figures = figures_of(rows([True] * 100), properties=properties)
    assert [(value.name, value.num_images) for value in figures[0].values] == [
        ("below 481", 60),
        ("481 and more", 40),
    ]
    assert all(each.is_measured for each in figures)
    assert [each.skipped for each in figures[1:]] == ["the same for all pictures"] * 3


MEASURED = ("aspect", "brightness", "sharpness")


def test_unreadable_pictures_have_no_measured_values() -> None:
    values = [None, float("nan"), *np.linspace(0, 1, 98)]
    properties = pl.DataFrame(dict.fromkeys(("short_side_px", *MEASURED), values), strict=False)
    figures = figures_of(rows([True] * 100), properties=properties)
    assert [each.num_without for each in figures] == [2] * 4


def test_the_interval_is_about_that_of_the_whole_evaluation_on_the_same_pictures() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    is_right = generator.random(300) < generator.beta(2, 1, 60)[groups]
    is_front = generator.random(60)[groups] < 0.5
    table = rows(is_right, view=np.where(is_front, "front", "side"))
    (figures,) = figures_of(table, groups.astype(str).tolist(), num_replicates=4000)
    wrong, zeros = (~is_right[is_front]).astype(np.int64), np.zeros(is_front.sum(), dtype=np.int64)
    expected = bootstrap_intervals(zeros, wrong, groups[is_front].astype(str).tolist(), 1, num_replicates=4000)
    found = figures.values[0].accuracy
    assert [found.low, found.high] == pytest.approx([expected.accuracy.low, expected.accuracy.high], abs=0.02)


def test_a_part_of_one_group_has_no_interval() -> None:
    (figures,) = figures_of(rows(RIGHT, view=VIEWS), VIEWS)
    assert (figures.values[0].accuracy.low, figures.values[0].difference.high) == (None, None)


def test_with_every_picture_its_own_group_the_p_value_is_fishers() -> None:
    is_right = np.repeat([True, False, True, False], [10, 9, 36, 5])
    table = rows(is_right, view=["front"] * 19 + ["side"] * 41)
    front, side = figures_of(table, num_replicates=20_000)[0].values
    expected = scipy.stats.fisher_exact([[10, 9], [36, 5]], alternative="less").pvalue
    assert front.p_worse == pytest.approx(expected, abs=0.004)
    assert side.p_worse is not None
    assert side.p_worse > 0.99


def test_with_groups_of_one_view_the_p_value_is_that_of_all_ways_to_deal_the_groups_out() -> None:
    right_of_groups = np.array([0, 1, 1, 3, 3, 2, 3])  # of 3 pictures each; the first three are front views
    table = rows(np.concatenate([np.arange(3) < hits for hits in right_of_groups]), view=["front"] * 9 + ["side"] * 12)
    (figures,) = figures_of(table, np.repeat(np.arange(7), 3).astype(str).tolist(), num_replicates=20_000)
    ways = [sum(dealt[:3]) <= 2 for dealt in permutations(right_of_groups.tolist())]
    assert figures.values[0].p_worse == pytest.approx(np.mean(ways), abs=0.005)


def test_with_both_views_in_each_group_the_p_value_is_that_of_random_signs() -> None:
    differences = [-1, -1, -1, -1, 1, 0, -1, 0]  # front minus side, a picture each
    is_right = [hit for d in differences for hit in (d > 0, d < 0)]
    groups = [str(group) for group in range(8) for _ in range(2)]
    (figures,) = figures_of(rows(is_right, view=["front", "side"] * 8), groups, num_replicates=20_000)
    expected = scipy.stats.binomtest(1, 6, alternative="less").pvalue  # the sign test: 1 of 6 is better
    assert figures.values[0].p_worse == pytest.approx(expected, abs=0.01)


def test_parts_of_few_pictures_are_shown_but_not_tested() -> None:
    (figures,) = figures_of(rows([False] * 4 + [True] * 30, view=["rare"] * 4 + ["front"] * 15 + ["side"] * 15))
    rare = figures.values[1]
    assert (rare.name, rare.accuracy.value, rare.p_worse, rare.p_worse_corrected, rare.is_worse) == (
        ("rare", 0, None, None, False)
    )
    assert figures.values[0].p_worse is not None


def test_a_part_that_is_much_worse_is_flagged_even_among_many_others() -> None:
    generator = np.random.default_rng(1)
    is_night = generator.random(2000) < 0.2
    is_right = generator.random(2000) < np.where(is_night, 0.5, 0.9)
    others = {f"other {number}": generator.integers(0, 10, 2000).astype(str) for number in range(8)}
    figures = figures_of(rows(is_right, night=is_night.astype(str), **others))
    flagged = [(each.name, value.name) for each in figures for value in each.values if value.is_worse]
    assert flagged == [("night", "True")]


def test_one_bad_group_is_no_bad_slice() -> None:
    is_right = np.array([False] * 40 + [True] * 460)
    groups = [f"g{row // 10 if row >= 40 else 0}" for row in range(500)]
    (figures,) = figures_of(rows(is_right, view=["night"] * 40 + ["day"] * 460), groups)
    assert not any(value.is_worse for value in figures.values)


def test_figures_depend_on_the_seed_alone_and_not_on_the_order_of_rows_with_few_groups() -> None:
    table = rows(RIGHT, view=VIEWS)
    groups = [str(row // 2) for row in range(12)]
    assert figures_of(table, groups, seed=3) == figures_of(table, groups, seed=3)
    assert figures_of(table[::-1], groups[::-1], seed=3) == figures_of(table, groups, seed=3)


def test_more_groups_than_are_drawn_one_by_one_give_about_the_same_interval() -> None:
    num_images = 3 * MAX_UNITS
    is_right = np.random.default_rng(2).random(num_images) < 0.8
    (figures,) = figures_of(rows(is_right, view=["front", "side", "rear"] * MAX_UNITS), num_replicates=1000)
    found = figures.values[0].accuracy
    assert found.high is not None
    assert found.low is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / MAX_UNITS), rel=0.1)


def tables_without_difference(kind: str, generator: np.random.Generator) -> tuple[pl.DataFrame, list[str]]:
    """Four properties that make no difference; pictures of a group are alike."""
    sizes = np.minimum(generator.geometric(0.2, 40), 20)
    groups = np.repeat(np.arange(40), sizes)
    is_right = generator.random(len(groups)) < generator.beta(1.6, 0.4, 40)[groups]
    columns = {}
    for number, share in enumerate((0.5, 0.3, 0.15, 0.1)):
        chance = {
            "same within groups": lambda share=share: (generator.random(40) < share).astype(float),
            "anywhere": lambda share=share: np.full(40, share),
            "more in some groups": lambda share=share: generator.beta(share, 1 - share, 40),
            "more in large groups": lambda: (generator.random(40) < np.where(sizes > 5, 0.5, 0.1)).astype(float),
        }[kind]()
        columns[f"property {number}"] = (generator.random(len(groups)) < chance[groups]).astype(str)
    return rows(is_right, **columns), groups.astype(str).tolist()


@pytest.mark.parametrize("kind", ["same within groups", "anywhere", "more in some groups", "more in large groups"])
def test_chance_is_flagged_in_at_most_about_five_of_a_hundred_tables(kind: str) -> None:
    generator = np.random.default_rng(4)
    num_flagged = 0
    for draw in range(100):
        table, groups = tables_without_difference(kind, generator)
        figures = figures_of(table, groups, seed=draw)
        num_flagged += any(value.is_worse for each in figures for value in each.values)
    assert num_flagged <= 11  # 5 are expected at most; 12 or more have a chance of 0.4 %


def test_holms_correction_by_hand() -> None:
    found = holm_p_values(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_array_equal(holm_p_values(np.array([0.6, 0.9])), [1, 1])
    assert len(holm_p_values(np.zeros(0))) == 0


def test_holms_correction_rejects_as_its_steps_say() -> None:
    p_values = np.random.default_rng(5).random(20) ** 4
    rejected = set()
    for step, position in enumerate(np.argsort(p_values).tolist()):
        if p_values[position] * (20 - step) >= 0.05:
            break
        rejected.add(position)
    assert set(np.flatnonzero(holm_p_values(p_values) < 0.05).tolist()) == rejected
    assert 0 < len(rejected) < 20


def page(slices: tuple[SliceFigures, ...]) -> str:
    environment = report_environment(
        percent=lambda value: "–" if value is None else f"{100 * value:.1f} %",
        interval=lambda figure: "" if figure.low is None else f"{figure.low:.3f} – {figure.high:.3f}",
    )
    return environment.get_template("_slices.html.j2").render(
        slices=slices, num_groups=12, has_parts=[False] * len(slices)
    )


def test_the_page_says_what_is_worse_and_what_is_left_out() -> None:
    table = rows([False] * 50 + [True] * 150, view=["<b>rear"] * 50 + ["front"] * 150, note=each_alone(200))
    shown = page(figures_of(table.with_columns(note="note " + pl.col("note"))))
    assert "Worse beyond chance:" in shown
    assert "<bdi>&lt;b&gt;rear</bdi> (0.0 %, −100.0 points)" in shown
    assert "<bdi>note</bdi>: left out, 200 different texts" in shown


def test_the_page_of_no_slices_is_empty_and_of_none_worse_says_so() -> None:
    assert page(()).strip() == ""
    assert "No part is worse beyond chance" in page(figures_of(rows(RIGHT, view=VIEWS)))
    assert "Too few pictures" in page(figures_of(rows([True, False], view=["a", "b"])))


def test_no_rows_have_no_figures() -> None:
    assert figures_of(rows([True], view=["x"]).filter(False))[0].skipped == "no picture has a value"


def test_a_value_of_a_slice_is_written_and_read_again() -> None:
    (figures,) = figures_of(rows(RIGHT, view=VIEWS))
    assert SliceFigures.model_validate_json(figures.model_dump_json()) == figures
    assert isinstance(figures.values[0], SliceValue)
