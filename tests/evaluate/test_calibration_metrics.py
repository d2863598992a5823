"""Calibration, risk-coverage and novelty figures against scikit-learn and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score, roc_curve

from vision.evaluate.calibration_metrics import (
    RocCounts,
    auroc_score,
    brier_losses,
    expected_calibration_error,
    false_positive_rate,
    group_bootstrap_intervals,
    nll_losses,
    reliability_bins,
    risk_coverage,
    wilson_interval,
)
from vision.evaluate.metrics import Interval

REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=50)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=20).map(np.array)


def pictures(num: int, seed: int = 0) -> tuple[Floats, Ints]:
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.ones(4), num), generator.integers(4, size=num)


def test_nll_and_brier_agree_with_scikit_learn() -> None:
    probabilities, truths = pictures(100)
    expected = log_loss(truths, probabilities, labels=range(4))
    assert nll_losses(probabilities, truths).mean() == pytest.approx(expected)
    expected = brier_score_loss(truths, probabilities, labels=range(4), scale_by_half=False)
    assert brier_losses(probabilities, truths).mean() == pytest.approx(expected)


def test_nll_of_an_impossible_truth_is_large_and_finite() -> None:
    (loss,) = nll_losses(np.array([[1.0, 0.0]]), np.array([1]))
    assert loss == pytest.approx(-math.log(np.finfo(np.float64).eps))


def test_brier_by_hand() -> None:
    assert brier_losses(np.array([[0.8, 0.2], [0.0, 1.0]]), np.array([0, 0])).tolist() == pytest.approx([0.08, 2])


def test_reliability_by_hand_with_empty_bins_as_nan() -> None:
    bins = reliability_bins(np.array([0.5, 0.6, 0.7, 1.0]), np.array([True, False, True, True]), num_bins=4)
    np.testing.assert_array_equal(bins.count, [0, 1, 2, 1])
    np.testing.assert_allclose(bins.confidence, [np.nan, 0.5, 0.65, 1.0])
    np.testing.assert_allclose(bins.accuracy, [np.nan, 1.0, 0.5, 1.0])
    assert expected_calibration_error(bins) == pytest.approx((0.5 + 2 * 0.15 + 0) / 4)


def test_ece_of_equal_widths_agrees_with_the_definition_as_a_loop() -> None:
    generator = np.random.default_rng(1)
    confidences, is_right = generator.random(300), generator.random(300) < 0.6
    expected = 0.0
    for lower, upper in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = (confidences > lower) & (confidences <= upper)
        if inside.any():
            expected += inside.mean() * abs(is_right[inside].mean() - confidences[inside].mean())
    bins = reliability_bins(confidences, is_right)
    assert expected_calibration_error(bins) == pytest.approx(expected)


def test_honest_probabilities_have_a_small_ece_and_boastful_ones_a_large_one() -> None:
    generator = np.random.default_rng(3)
    confidences = generator.uniform(0.3, 1, 20_000)
    is_right = generator.random(20_000) < confidences
    boastful = confidences**0.3
    honest_ece, boastful_ece = (
        expected_calibration_error(reliability_bins(stated, is_right)) for stated in (confidences, boastful)
    )
    assert honest_ece < 0.02
    assert boastful_ece == pytest.approx((boastful - confidences).mean(), abs=0.02)


def test_risk_coverage_by_hand() -> None:
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.excess_area == pytest.approx(curve.area - (0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_an_ideal_order_has_no_excess_area() -> None:
    curve = risk_coverage(np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False]))
    assert curve.excess_area == pytest.approx(0)


@REPEATABLE
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=5))
def test_the_area_with_ties_is_the_mean_over_all_orders_of_the_tied(rows: list[tuple[int, bool]]) -> None:
    areas = []
    for order in itertools.permutations(range(len(rows))):
        ranked = sorted(order, key=lambda row: -rows[row][0])
        wrong = np.cumsum([not rows[row][1] for row in ranked])
        areas.append((wrong / np.arange(1, len(rows) + 1)).mean())
    curve = risk_coverage(np.array([row[0] for row in rows], dtype=np.float64), np.array([row[1] for row in rows]))
    # Every order within ties stands equally often among all permutations.
    assert curve.area == pytest.approx(np.mean(areas))
    assert curve.coverage[-1] == 1
    assert curve.risk[-1] == pytest.approx(np.mean([not row[1] for row in rows]))


@REPEATABLE
@given(SCORES, SCORES)
def test_auroc_with_ties_agrees_with_scikit_learn(known: Floats, novel: Floats) -> None:
    is_novel = np.concatenate([np.zeros(len(known)), np.ones(len(novel))])
    assert auroc_score(known, novel) == pytest.approx(roc_auc_score(is_novel, np.concatenate([known, novel])))


@REPEATABLE
@given(SCORES, SCORES)
def test_auroc_of_swapped_pictures_is_the_rest(known: Floats, novel: Floats) -> None:
    assert auroc_score(novel, known) == pytest.approx(1 - auroc_score(known, novel))


@REPEATABLE
@given(SCORES, SCORES)
def test_the_false_positive_rate_is_that_of_openood(known: Floats, novel: Floats) -> None:
    is_novel = np.concatenate([np.zeros(len(known)), np.ones(len(novel))])
    rates, hits, _ = roc_curve(is_novel, np.concatenate([known, novel]), drop_intermediate=False)
    assert false_positive_rate(known, novel) == pytest.approx(rates[np.argmax(hits >= 0.95)])


@REPEATABLE
@given(SCORES, SCORES, st.integers(0, 1000))
def test_counted_pictures_give_the_figures_of_repeated_ones(known: Floats, novel: Floats, seed: int) -> None:
    scores, is_novel = np.concatenate([known, novel]), np.arange(len(known) + len(novel)) >= len(known)
    counts = np.random.default_rng(seed).integers(3, size=len(scores))
    curve = RocCounts.of(np.unique(scores, return_inverse=True)[1], is_novel, counts)
    repeated = [np.repeat(scores[rows], counts[rows]) for rows in (~is_novel, is_novel)]
    assert curve.auroc == pytest.approx(auroc_score(*repeated), nan_ok=True)
    assert curve.false_positive_rate() == pytest.approx(false_positive_rate(*repeated), nan_ok=True)


def test_the_false_positive_rate_by_hand() -> None:
    known = np.array([1.0, 2.0, 3.0, 4.0])
    assert false_positive_rate(known, np.arange(3.0, 23.0)) == 0.25  # 19 of 20 are 4 or more
    assert false_positive_rate(known, np.full(5, 9.0)) == 0.0


def test_without_pictures_figures_are_nan() -> None:
    empty = np.empty(0)
    no_pictures = np.empty((0, 3)), np.empty(0, dtype=np.int64)
    assert len(nll_losses(*no_pictures)) == len(brier_losses(*no_pictures)) == 0
    assert math.isnan(expected_calibration_error(reliability_bins(empty, empty > 0)))
    assert math.isnan(risk_coverage(empty, empty > 0).area)
    assert math.isnan(auroc_score(empty, np.ones(1)))
    assert math.isnan(false_positive_rate(np.ones(1), empty))


def test_no_figure_depends_on_the_order_of_pictures() -> None:
    generator = np.random.default_rng(4)
    confidences = np.round(generator.random(80), 1)
    is_right, order = generator.random(80) < confidences, generator.permutation(80)
    first, again = (
        expected_calibration_error(reliability_bins(confidences[rows], is_right[rows]))
        for rows in (np.arange(80), order)
    )
    assert again == pytest.approx(first)
    first_area, again_area = (risk_coverage(confidences[r], is_right[r]).area for r in (np.arange(80), order))
    assert again_area == pytest.approx(first_area)


def test_counting_a_picture_twice_is_having_it_twice() -> None:
    confidences = np.array([0.9, 0.9, 0.6, 0.4, 0.2])
    is_right, counts = np.array([True, False, True, False, True]), np.array([2, 1, 0, 3, 1])
    rows = np.repeat(np.arange(5), counts)
    counted, repeated = (
        reliability_bins(confidences, is_right, counts=counts),
        reliability_bins(confidences[rows], is_right[rows]),
    )
    assert expected_calibration_error(counted) == pytest.approx(expected_calibration_error(repeated))
    np.testing.assert_array_equal(counted.count, repeated.count)
    curve, again = risk_coverage(confidences, is_right, counts=counts), risk_coverage(confidences[rows], is_right[rows])
    np.testing.assert_allclose(curve.risk, again.risk)
    assert (curve.area, curve.excess_area) == pytest.approx((again.area, again.excess_area))


def test_wilson_intervals_are_those_of_scipy() -> None:
    hits, totals = np.array([0, 3, 7, 10]), np.array([1, 5, 7, 40])
    low, high = wilson_interval(hits / totals, totals)
    for index, (hit, total) in enumerate(zip(hits.tolist(), totals.tolist(), strict=True)):
        expected = binomtest(hit, total).proportion_ci(method="wilson")
        assert (low[index], high[index]) == pytest.approx((expected.low, expected.high), abs=1e-6)


def mean_interval(values: Floats, groups: list[str]) -> Interval:
    (interval,) = group_bootstrap_intervals(lambda counts: [float(np.average(values, weights=counts))], groups)
    return interval


def test_the_bootstrap_interval_of_a_mean_is_about_two_standard_errors_each_way() -> None:
    values = np.random.default_rng(5).normal(size=200)
    interval = mean_interval(values, [str(i) for i in range(200)])
    assert interval.value == pytest.approx(values.mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(200), rel=0.15)


def test_pictures_of_few_groups_have_a_wide_interval() -> None:
    values = np.repeat(np.random.default_rng(6).normal(size=20), 10)
    grouped = mean_interval(values, [str(i // 10) for i in range(200)])
    alone = mean_interval(values, [str(i) for i in range(200)])
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_one_group_has_no_interval() -> None:
    interval = mean_interval(np.array([1.0, 3.0]), ["a", "a"])
    assert interval.value == 2
    assert math.isnan(interval.low)
