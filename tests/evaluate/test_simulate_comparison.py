"""The script that asks how often intervals hold the truth."""

from __future__ import annotations

import math

import pytest
from simulate_comparison import Held, class_shapes, held_by_class


def test_intervals_of_many_groups_hold_the_truth_about_as_often_as_they_say() -> None:
    for held in held_by_class((1,) * 200, 0.0, num_intervals=40, num_replicates=200, seed=1):
        assert (held.num_there, held.num_without_width) == (40, 0)
        assert 33 <= held.num_holding <= 40  # 0.95 of 40 are 38; fewer than 33 would come by chance once in 1,400 times


def test_intervals_of_a_class_with_one_or_two_groups_often_have_no_width() -> None:
    recall, *_ = held_by_class((3,) * 6, 0.2, num_intervals=40, num_replicates=50, seed=0)
    assert recall.num_without_width > 0
    assert recall.num_holding < recall.num_there


def test_a_share_is_shown_with_its_standard_error() -> None:
    assert str(Held(100, 90, 5)).split() == ["90.0", f"({100 * math.sqrt(0.09 / 100):.1f})", "5.0"]


@pytest.mark.parametrize(("sizes", "spread"), [shape[1:] for shape in class_shapes()])
def test_no_chance_of_a_shape_leaves_its_range(sizes: tuple[int, ...], spread: float) -> None:
    assert sizes
    assert 0 <= 0.75 - spread <= 0.75 + spread <= 1
