"""Label sets by hand, and their promise over many divisions."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision.classify.label_sets import (
    LabelSetRule,
    conformal_quantile,
    fit_label_sets,
    picture_uniforms,
    raps_scores,
)

REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=50)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def pictures(num: int, num_classes: int = 6, seed: int = 0, sharpness: float = 1.5) -> tuple[Floats, Ints, list[str]]:
    """Probabilities that are too sure of themselves, truths, and digests."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, sharpness, (num, num_classes))
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truths = (exact.cumsum(axis=1) < generator.random((num, 1))).sum(axis=1)
    sure = exact**2 / (exact**2).sum(axis=1, keepdims=True)
    return sure, np.minimum(truths, num_classes - 1), [f"{seed}-{index}" for index in range(num)]


def test_scores_of_one_picture_by_hand() -> None:
    scores = raps_scores(np.array([[0.2, 0.5, 0.3]]), np.array([0.5]), regularisation=0.1, k_reg=1)
    # ranks: class 1, then 2, then 0
    np.testing.assert_allclose(scores, [[0.5 + 0.3 + 0.1 + 0.2, 0.25, 0.5 + 0.15 + 0.1]])


@REPEATABLE
@given(st.integers(0, 10_000), st.booleans())
def test_a_picture_alone_has_the_set_that_it_has_in_a_batch(seed: int, allow_empty: bool) -> None:
    probabilities, truths, digests = pictures(30, seed=seed)
    rule = fit_label_sets(probabilities, truths, digests, coverage=0.6, allow_empty=allow_empty, k_reg=1)
    orders = np.argsort(-probabilities, axis=1, kind="stable").tolist()
    alone = [rule.label_set(*of_one) for of_one in zip(probabilities.tolist(), orders, digests, strict=True)]
    np.testing.assert_array_equal(rule.label_sets(probabilities, digests), alone)


def test_scores_agree_with_the_formula_written_as_loops() -> None:
    probabilities, _, digests = pictures(40)
    uniforms = picture_uniforms(digests, 3)
    expected = np.zeros_like(probabilities)
    for picture, row in enumerate(probabilities):
        for of_class, own in enumerate(row):
            rank = 1 + int((row > own).sum())
            penalty = 0.05 * max(rank - 2, 0)
            expected[picture, of_class] = row[row > own].sum() + uniforms[picture] * own + penalty
    np.testing.assert_allclose(raps_scores(probabilities, uniforms, regularisation=0.05, k_reg=2), expected)


def test_equally_probable_classes_rank_in_their_order() -> None:
    scores = raps_scores(np.full((1, 4), 0.25), np.zeros(1), regularisation=0, k_reg=0)
    np.testing.assert_allclose(scores, [[0, 0.25, 0.5, 0.75]])


@REPEATABLE
@given(st.integers(0, 60), st.floats(0.5, 0.99))
def test_the_quantile_is_the_score_of_the_finite_sample_rank(num: int, coverage: float) -> None:
    scores = np.random.default_rng(num).random(num)
    quantile = conformal_quantile(scores, coverage)
    if math.isinf(quantile):
        assert num < (num + 1) * coverage
    else:
        share = (scores <= quantile).sum() / (num + 1)
        assert share >= coverage - 1e-9
        assert share - 1 / (num + 1) < coverage


@pytest.mark.parametrize(("num", "is_finite"), [(18, False), (19, True)])
def test_nineteen_pictures_are_the_fewest_for_ninety_five_percent(num: int, is_finite: bool) -> None:
    assert math.isfinite(conformal_quantile(np.arange(num, dtype=np.float64), 0.95)) == is_finite


@pytest.mark.parametrize("num", [0, 5])
def test_too_few_pictures_give_the_set_of_all_classes(num: int) -> None:
    probabilities, truths, digests = pictures(num)
    rule = fit_label_sets(probabilities, truths, digests, coverage=0.95)
    fresh, _, fresh_digests = pictures(30, seed=1)
    assert rule.label_sets(fresh, fresh_digests).all()


def test_the_rule_survives_json() -> None:
    probabilities, truths, digests = pictures(5)
    rule = fit_label_sets(probabilities, truths, digests)
    text = json.dumps(asdict(rule), allow_nan=False)
    values = json.loads(text)
    assert LabelSetRule(**{**values, "quantiles": tuple(values["quantiles"])}) == rule


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_contain_the_truth_as_often_as_promised_over_divisions(coverage: float) -> None:
    covered = []
    num_calibration, num_test = 150, 300
    probabilities, truths, digests = pictures(900, seed=11)
    for division in range(200):
        order = np.random.default_rng(division).permutation(900)
        fit_rows, test_rows = order[:num_calibration], order[num_calibration : num_calibration + num_test]
        rule = fit_label_sets(
            probabilities[fit_rows],
            truths[fit_rows],
            [digests[row] for row in fit_rows],
            coverage=coverage,
            seed=division,
            allow_empty=True,
        )
        sets = rule.label_sets(probabilities[test_rows], [digests[row] for row in test_rows])
        covered.append(sets[np.arange(num_test), truths[test_rows]].mean())
    # Over divisions the mean lies between the promise and 1/(n+1) more; 3 standard errors for chance. Divisions of the
    # same pictures are not independent, so the error of the whole set of 900 is allowed for.
    error = 3 * np.sqrt(coverage * (1 - coverage) * (1 / 900 + 1 / (200 * num_test)))
    assert coverage - error <= np.mean(covered) <= coverage + 1 / (num_calibration + 1) + error
    # One division: beta-binomial (Vovk 2012); 95 % of them within two deviations or so.
    deviation = np.sqrt(coverage * (1 - coverage) * (1 / num_calibration + 1 / num_test))
    assert (np.abs(np.array(covered) - coverage) < 2.2 * deviation).mean() > 0.9


def test_a_class_conditional_rule_keeps_the_promise_for_the_hard_class_too() -> None:
    probabilities, truths, digests = pictures(6000, num_classes=3, seed=5)
    # Class 2 is often taken for class 0.
    fooled = (truths == 2) & (np.arange(6000) % 3 > 0)
    probabilities[fooled] = probabilities[fooled][:, [2, 1, 0]] * [1, 1, 0.2] + [0.6, 0, 0]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    half, rest = slice(0, 3000), slice(3000, None)
    coverages = {}
    for conditional in (False, True):
        rule = fit_label_sets(
            probabilities[half], truths[half], digests[half], coverage=0.9, class_conditional=conditional
        )
        sets = rule.label_sets(probabilities[rest], digests[rest])
        hard = truths[rest] == 2
        coverages[conditional] = sets[hard, 2].mean()
    assert coverages[False] < 0.88
    assert coverages[True] > 0.88


def test_classes_with_too_few_pictures_share_the_pooled_quantile() -> None:
    probabilities, truths, digests = pictures(400, num_classes=3)
    truths[truths == 1] = 0
    truths[:5] = 1
    pooled = fit_label_sets(probabilities, truths, digests, coverage=0.9)
    conditional = fit_label_sets(probabilities, truths, digests, coverage=0.9, class_conditional=True)
    assert conditional.quantiles[1] == pooled.quantiles[1]
    assert conditional.quantiles[0] != pooled.quantiles[0]


def test_the_same_picture_has_the_same_set_in_any_batch() -> None:
    probabilities, truths, digests = pictures(200)
    rule = fit_label_sets(probabilities, truths, digests, coverage=0.8)
    together = rule.label_sets(probabilities, digests)
    alone = [rule.label_sets(probabilities[row : row + 1], [digests[row]])[0] for row in range(200)]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(rule.label_sets(probabilities[::-1], digests[::-1]), together[::-1])


def test_randomisation_follows_digest_and_seed_and_is_even() -> None:
    digests = [f"{index:064x}" for index in range(4000)]
    uniforms = picture_uniforms(digests, 0)
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    assert np.abs(np.histogram(uniforms, 10, (0, 1))[0] - 400).max() < 80
    assert picture_uniforms(digests[:1], 1)[0] != uniforms[0]
    assert picture_uniforms(digests[7:8], 0)[0] == uniforms[7]


def test_a_set_has_at_least_the_most_probable_class_unless_it_may_be_empty() -> None:
    probabilities, _, digests = pictures(100)
    may_be_empty = LabelSetRule(0.5, 0.0, 0, 0, (0.1,) * 6, allow_empty=True)
    never_empty = LabelSetRule(0.5, 0.0, 0, 0, (0.1,) * 6)
    assert (may_be_empty.label_sets(probabilities, digests).sum(axis=1) == 0).any()
    sets = never_empty.label_sets(probabilities, digests)
    assert sets.any(axis=1).all()
    assert sets[np.arange(100), probabilities.argmax(axis=1)].all()


def test_sets_grow_with_the_promise_and_shrink_with_regularisation() -> None:
    probabilities, truths, digests = pictures(2000, num_classes=20, sharpness=0.7)
    half, rest = slice(0, 1000), slice(1000, None)

    def largest_size(coverage: float, regularisation: float) -> tuple[float, int]:
        rule = fit_label_sets(
            probabilities[half], truths[half], digests[half], coverage=coverage, regularisation=regularisation
        )
        sizes = rule.label_sets(probabilities[rest], digests[rest]).sum(axis=1)
        return float(sizes.mean()), int(sizes.max())

    assert largest_size(0.95, 0.0)[0] > largest_size(0.8, 0.0)[0]
    assert largest_size(0.8, 0.5)[1] < largest_size(0.8, 0.0)[1]


@pytest.mark.parametrize("wrong", [{"coverage": 1.0}, {"regularisation": -0.1}, {"k_reg": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    probabilities, truths, digests = pictures(30)
    with pytest.raises(ValueError, match="must be in"):
        fit_label_sets(probabilities, truths, digests, **wrong)  # type: ignore[arg-type]
