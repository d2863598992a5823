"""Tests of paired differences against scipy, against every sign flip one by one, and against each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from simulate_comparison import Scenario, scenarios, shares

from vision.evaluate.metrics import bootstrap_intervals
from vision.evaluate.paired_tests import (
    LEAST_P_VALUE,
    group_differences,
    mcnemar_p_value,
    paired_figures,
    sign_flip_p_value,
)

COUNTS = [(0, 0), (0, 1), (1, 0), (3, 3), (0, 5), (1, 9), (12, 25), (40, 61), (700, 640), (50_300, 49_700)]


@pytest.mark.parametrize(("only_a", "only_b"), COUNTS)
def test_mcnemar_is_the_binomial_test_of_scipy(only_a: int, only_b: int) -> None:
    expected = 1.0 if only_a + only_b == 0 else scipy.stats.binomtest(only_a, only_a + only_b).pvalue
    assert mcnemar_p_value(only_a, only_b) == pytest.approx(expected, rel=1e-6)


def test_mcnemar_by_hand_one_against_nine() -> None:
    assert mcnemar_p_value(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)


def test_mcnemar_of_a_hundred_thousand_pictures_on_one_side_is_the_least_p_value() -> None:
    assert mcnemar_p_value(0, 100_000) == LEAST_P_VALUE


@pytest.mark.parametrize(
    "differences", [[3], [1, -1], [2, 2, -1], [5, 0, 0, 1, 1, -2], [1, 2, 3, 4, -5, 6, 7, -1, 2, 2]]
)
def test_the_sign_flip_test_counts_every_way_to_exchange_groups(differences: list[int]) -> None:
    found = abs(sum(differences))
    flips = itertools.product((-1, 1), repeat=len(differences))
    reached = [abs(np.dot(signs, differences)) >= found for signs in flips]
    assert sign_flip_p_value(np.array(differences)) == pytest.approx(np.mean(reached), abs=1e-12)


def test_the_sign_flip_test_is_the_permutation_test_of_scipy() -> None:
    differences = np.random.default_rng(3).integers(-4, 6, 15)
    done = scipy.stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p_value(differences) == pytest.approx(done.pvalue, abs=1e-9)


@pytest.mark.parametrize(("only_a", "only_b"), COUNTS)
def test_groups_of_one_picture_make_it_mcnemars_test(only_a: int, only_b: int) -> None:
    differences = np.repeat([-1, 1], [only_a, only_b])
    assert sign_flip_p_value(differences) == pytest.approx(mcnemar_p_value(only_a, only_b), rel=1e-6, abs=2e-12)


def test_pictures_that_stand_and_fall_together_count_as_one() -> None:
    assert mcnemar_p_value(0, 20) < 1e-4
    assert sign_flip_p_value(np.array([20])) == pytest.approx(1)
    assert sign_flip_p_value(np.array([10, 10])) == pytest.approx(0.5)


def test_differences_of_groups_are_wins_of_b_less_wins_of_a() -> None:
    right_a, right_b = np.array([1, 0, 0, 1, 1], bool), np.array([1, 1, 1, 0, 1], bool)
    assert group_differences(right_a, right_b, np.array([0, 0, 0, 1, 2])).tolist() == [2, -1, 0]


def answers(seed: int, num: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    groups = [f"g{number}" for number in generator.integers(0, 40, num)]
    return generator.integers(0, 3, num), generator.random(num) < 0.7, generator.random(num) < 0.8, groups


def test_each_sides_intervals_are_those_of_an_evaluation_of_it_alone() -> None:
    truth, right_a, right_b, groups = answers(0)
    paired = paired_figures(truth, right_a, right_b, groups, 4, num_replicates=300, seed=5)
    alone = bootstrap_intervals(truth, np.where(right_b, truth, 4), groups, 4, num_replicates=300, seed=5)
    for found, expected in zip([paired.accuracy, *paired.recall[:3]], [alone.accuracy, *alone.recall[:3]], strict=True):
        assert (found.b.value, found.b.low, found.b.high) == pytest.approx(
            (expected.value, expected.low, expected.high)
        )
    assert paired.macro_recall.b.low == pytest.approx(alone.macro_recall.low)


def test_differences_are_b_minus_a_and_a_class_without_pictures_has_none() -> None:
    truth, right_a, right_b, groups = answers(1)
    paired = paired_figures(truth, right_a, right_b, groups, 4, num_replicates=50)
    assert paired.accuracy.difference.value == pytest.approx(right_b.mean() - right_a.mean())
    of_class = truth == 2
    assert paired.recall[2].difference.value == pytest.approx(right_b[of_class].mean() - right_a[of_class].mean())
    assert np.isnan(paired.recall[3].difference.value)


def test_the_same_draws_for_both_make_equal_answers_differ_by_nothing() -> None:
    truth, right_a, _, groups = answers(2)
    same = paired_figures(truth, right_a, right_a, groups, 3, num_replicates=50).accuracy
    assert (same.difference.low, same.difference.high) == (0, 0)
    assert same.a.low < same.a.high


def test_the_paired_interval_agrees_with_the_normal_one_where_pictures_are_independent() -> None:
    truth, right_a, right_b, _ = answers(3, num=4000)
    names = [str(number) for number in range(4000)]
    found = paired_figures(truth, right_a, right_b, names, 3, num_replicates=1000).accuracy.difference
    each = right_b.astype(float) - right_a
    half = 1.96 * each.std() / np.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.1 * half)


def test_one_group_has_no_interval() -> None:
    found = paired_figures(np.array([0, 0]), np.array([True, False]), np.array([True, True]), ["g", "g"], 1)
    assert found.accuracy.difference.value == 0.5
    assert np.isnan(found.accuracy.difference.low)


def test_where_groups_like_one_or_the_other_only_the_test_by_groups_keeps_its_promise() -> None:
    mcnemar, by_groups, _, _ = shares(
        Scenario("clustered", (40,) * 10, 0.12), num_trials=400, num_intervals=2, num_replicates=20, seed=0
    )
    assert mcnemar > 0.25
    assert by_groups < 0.09  # 5 % and four standard errors


def test_the_simulation_asks_each_scenario_with_and_without_a_difference() -> None:
    gains = [scenario.gain for scenario in scenarios(0.06)]
    assert gains.count(0) == gains.count(0.06) == len(gains) / 2
