"""Rolled-up answers by hand, thresholds against scipy and against their promise, answers of least cost."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision.classify.roll_up import (
    NO_THRESHOLD,
    THRESHOLDS,
    ClassTree,
    accuracy_lower_bound,
    binomial_cdf,
    bound_at,
    build_class_tree,
    build_cost_rule,
    expected_costs,
    fit_roll_up_threshold,
    node_probabilities,
    right_answers,
    rolled_up_answers,
)
from vision.errors import TaxonomyError
from vision.taxonomy import load_taxonomy

REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=50)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASSES = ("tor-m1", "tor-m2", "osa-akm", "buk-m1", "buk-m2")


@pytest.fixture(scope="module")
def tree() -> ClassTree:
    return build_class_tree(load_taxonomy(), CLASSES)


def pictures(num: int, seed: int, sureness: float = 1.0) -> tuple[Floats, Ints]:
    """Probabilities that are right, or too sure with a sureness above 1; look-alikes share theirs."""
    generator = np.random.default_rng(seed)
    families = np.array([0, 0, 1, 2, 2])
    logits = 4 * generator.normal(size=(num, 3))[:, families] + generator.normal(0, 1.5, (num, 5))
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    truths = np.minimum((exact.cumsum(axis=1) < generator.random((num, 1))).sum(axis=1), 4)
    stated = exact**sureness
    return stated / stated.sum(axis=1, keepdims=True), truths


def accuracy_of_answers(probabilities: Floats, truths: Ints, tree: ClassTree, threshold: float) -> float:
    answers = rolled_up_answers(probabilities, tree, threshold)
    is_answer = answers.level_indices < 3
    return float(right_answers(answers, truths, tree)[is_answer].mean()) if is_answer.any() else 1.0


def test_the_tree_has_classes_families_and_roles_in_their_order(tree: ClassTree) -> None:
    assert [level.level for level in tree.levels] == ["class", "family", "role"]
    assert [level.node_ids for level in tree.levels] == [
        CLASSES,
        ("tor-family", "osa-family", "buk-family"),
        ("shorad-missile", "medium-missile"),
    ]
    assert [level.node_of_class.tolist() for level in tree.levels[1:]] == [[0, 0, 1, 2, 2], [0, 0, 0, 1, 1]]


def test_a_class_outside_the_taxonomy_is_named() -> None:
    with pytest.raises(TaxonomyError, match="'tor-m9'"):
        build_class_tree(load_taxonomy(), ["tor-m9"])


def test_classes_in_any_order_find_their_family() -> None:
    mixed = build_class_tree(load_taxonomy(), ("buk-m1", "tor-m1", "buk-m2"))
    families = node_probabilities(np.array([[0.5, 0.2, 0.3]]), mixed)[1]
    np.testing.assert_allclose(families, [[0.8, 0.2]])


def test_probabilities_are_summed_up_the_tree(tree: ClassTree) -> None:
    by_level = node_probabilities(np.array([[0.3, 0.25, 0.2, 0.15, 0.1]]), tree)
    np.testing.assert_allclose(by_level[1], [[0.55, 0.2, 0.25]])
    np.testing.assert_allclose(by_level[2], [[0.75, 0.25]])


@pytest.mark.parametrize(
    ("threshold", "level", "node", "probability"),
    [(0.3, 0, 0, 0.3), (0.31, 1, 0, 0.55), (0.6, 2, 0, 0.75), (0.8, 3, 0, 1.0), (NO_THRESHOLD, 3, 0, 1.0)],
)
def test_the_answer_is_the_finest_node_that_is_sure_enough(
    tree: ClassTree, threshold: float, level: int, node: int, probability: float
) -> None:
    answers = rolled_up_answers(np.array([[0.3, 0.25, 0.2, 0.15, 0.1]]), tree, threshold)
    assert (answers.level_indices[0], answers.node_indices[0]) == (level, node)
    assert answers.probabilities[0] == pytest.approx(probability)


def test_the_most_probable_family_need_not_be_that_of_the_most_probable_class(tree: ClassTree) -> None:
    answers = rolled_up_answers(np.array([[0.0, 0.0, 0.4, 0.3, 0.3]]), tree, 0.5)
    assert tree.levels[answers.level_indices[0]].node_ids[answers.node_indices[0]] == "buk-family"


def test_an_answer_is_right_if_the_true_class_is_under_it(tree: ClassTree) -> None:
    probabilities = np.tile([0.4, 0.4, 0.1, 0.05, 0.05], (5, 1))
    truths = np.arange(5)
    by_threshold = {t: right_answers(rolled_up_answers(probabilities, tree, t), truths, tree) for t in (0.3, 0.7, 0.9)}
    np.testing.assert_array_equal(by_threshold[0.3], [True, False, False, False, False])
    np.testing.assert_array_equal(by_threshold[0.7], [True, True, False, False, False])
    np.testing.assert_array_equal(by_threshold[0.9], [True, True, True, False, False])
    assert right_answers(rolled_up_answers(probabilities, tree, NO_THRESHOLD), truths, tree).all()


@REPEATABLE
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_answers_grow_coarser_with_the_threshold(tree: ClassTree, seed: int, first: float, second: float) -> None:
    probabilities, _ = pictures(8, seed)
    low, high = sorted([first, second])
    at_low, at_high = (rolled_up_answers(probabilities, tree, t) for t in (low, high))
    assert (at_low.level_indices <= at_high.level_indices).all()
    assert (at_low.probabilities <= at_high.probabilities).all()
    assert (at_high.probabilities >= high).all()


def test_a_batch_gets_the_answers_of_its_pictures_one_by_one(tree: ClassTree) -> None:
    probabilities, _ = pictures(100, 1)
    together = rolled_up_answers(probabilities, tree, 0.8)
    for row in range(100):
        alone = rolled_up_answers(probabilities[row : row + 1], tree, 0.8)
        assert alone.level_indices[0] == together.level_indices[row]
        assert alone.node_indices[0] == together.node_indices[row]
        assert alone.probabilities[0] == together.probabilities[row]


@pytest.mark.parametrize("num", [1, 20, 500, 20_000])
@pytest.mark.parametrize("chance", [0.01, 0.05, 0.4])
def test_binomial_probabilities_agree_with_scipy(num: int, chance: float) -> None:
    for wrong in sorted({0, 1, num // 20, num // 3, num}):
        assert binomial_cdf(wrong, num, chance) == pytest.approx(
            scipy.stats.binom.cdf(wrong, num, chance), rel=1e-8, abs=1e-300
        )


@pytest.mark.parametrize(("wrong", "num"), [(0, 1), (0, 59), (3, 100), (50, 100), (99, 100)])
def test_the_lower_bound_is_that_of_clopper_and_pearson(wrong: int, num: int) -> None:
    expected = scipy.stats.beta.ppf(0.1, num - wrong, wrong + 1)
    assert accuracy_lower_bound(wrong, num, 0.9) == pytest.approx(expected, abs=1e-9)


def test_the_lower_bound_without_right_answers_is_nothing() -> None:
    assert accuracy_lower_bound(0, 0, 0.9) == 0
    assert accuracy_lower_bound(7, 7, 0.9) == 0


@pytest.mark.parametrize(("sureness", "num"), [(1.0, 300), (2.0, 300), (2.0, 100), (0.5, 200)])
def test_answers_are_right_as_often_as_wanted_in_nine_of_ten_divisions(
    tree: ClassTree, sureness: float, num: int
) -> None:
    probabilities, truths = pictures(20_000, 3, sureness)
    # The true accuracy at every threshold, from far more pictures than are calibrated on.
    true_accuracy = {t: accuracy_of_answers(probabilities, truths, tree, t) for t in THRESHOLDS}
    kept, promised = 0, 0
    for division in range(50):
        rows = np.random.default_rng(division).choice(20_000, num, replace=False)
        fitted = fit_roll_up_threshold(probabilities[rows], truths[rows], tree, target_accuracy=0.9)
        promised += fitted.is_promised
        kept += not fitted.is_promised or true_accuracy[fitted.value] >= 0.9
    assert kept >= 45
    assert promised >= 40  # and the promise is made where it can be


def test_a_too_sure_model_gets_a_higher_threshold_than_an_honest_one(tree: ClassTree) -> None:
    honest, boastful = (
        fit_roll_up_threshold(*pictures(2000, 4, sureness), tree, target_accuracy=0.9) for sureness in (1.0, 2.5)
    )
    assert honest.is_promised
    assert boastful.is_promised
    assert boastful.value > honest.value


def test_a_higher_target_gives_a_higher_threshold(tree: ClassTree) -> None:
    probabilities, truths = pictures(3000, 5)
    values = [fit_roll_up_threshold(probabilities, truths, tree, target_accuracy=t).value for t in (0.8, 0.9, 0.97)]
    assert values == sorted(values)
    assert values[0] < values[2]


def test_what_is_reported_of_the_threshold_is_what_it_gives(tree: ClassTree) -> None:
    probabilities, truths = pictures(500, 6)
    fitted = fit_roll_up_threshold(probabilities, truths, tree, target_accuracy=0.9)
    assert fitted.accuracy == accuracy_of_answers(probabilities, truths, tree, fitted.value)
    answered = rolled_up_answers(probabilities, tree, fitted.value).level_indices < 3
    assert fitted.num_answers == fitted.sample_size == answered.sum()
    assert 0.9 <= fitted.lower_bound < fitted.accuracy


def test_fifty_nine_sure_and_right_pictures_are_the_fewest_for_a_promise_of_ninety_five_percent(
    tree: ClassTree,
) -> None:
    probabilities = np.tile([1.0, 0, 0, 0, 0], (59, 1))
    truths = np.zeros(59, dtype=np.int64)
    assert fit_roll_up_threshold(probabilities, truths, tree).is_promised
    fewer = fit_roll_up_threshold(probabilities[1:], truths[1:], tree)
    assert (fewer.is_promised, fewer.value) == (False, 0.95)


def test_without_a_promise_the_threshold_is_no_lower_than_the_target_and_right_so_far(tree: ClassTree) -> None:
    probabilities = np.array([[0.97, 0.03, 0, 0, 0]] * 2 + [[0.99, 0.01, 0, 0, 0]] * 10)
    truths = np.array([1, 1] + [0] * 10)  # the class wrong twice, the family always right
    fitted = fit_roll_up_threshold(probabilities, truths, tree)
    assert not fitted.is_promised
    assert fitted.value == 0.975
    assert (fitted.accuracy, fitted.num_answers) == (1.0, 12)


def test_a_model_that_is_always_wrong_answers_nothing(tree: ClassTree) -> None:
    probabilities = np.tile([1.0, 0, 0, 0, 0], (200, 1))
    fitted = fit_roll_up_threshold(probabilities, np.full(200, 3), tree)
    assert (fitted.value, fitted.is_promised, fitted.num_answers) == (NO_THRESHOLD, False, 0)


def test_no_pictures_give_the_target_as_threshold_and_no_promise(tree: ClassTree) -> None:
    fitted = fit_roll_up_threshold(np.empty((0, 5)), np.empty(0, dtype=np.int64), tree, target_accuracy=0.9)
    assert (fitted.value, fitted.is_promised, fitted.sample_size, fitted.lower_bound) == (0.9, False, 0, 0.0)


def test_a_failed_test_hands_nothing_on_however_sure_the_next_one_is(tree: ClassTree) -> None:
    """Right answers at 0.97 alone, in a list whose tests start at 0.999 and 0.95, both amid wrong answers."""
    top = np.repeat([1.0, 0.97, 0.96], [200, 50_000, 50_000])
    probabilities = np.zeros((len(top), 5))
    probabilities[:, 0], probabilities[:, 3] = top, 1 - top
    truths = np.where(top == 0.97, 0, 3)
    fitted = fit_roll_up_threshold(probabilities, truths, tree, target_accuracy=0.97)
    assert (fitted.is_promised, fitted.value) == (False, 0.97)


def test_groups_count_as_one_picture_each(tree: ClassTree) -> None:
    probabilities = np.tile([1.0, 0, 0, 0, 0], (300, 1))
    truths = np.zeros(300, dtype=np.int64)
    lone = fit_roll_up_threshold(probabilities, truths, tree, groups=[str(row) for row in range(300)])
    tens = fit_roll_up_threshold(probabilities, truths, tree, groups=[str(row // 10) for row in range(300)])
    uneven = fit_roll_up_threshold(probabilities, truths, tree, groups=[str(min(row, 200)) for row in range(300)])
    assert (lone.sample_size, tens.sample_size) == (300, 30)
    assert lone.is_promised
    assert not tens.is_promised
    assert uneven.sample_size == 300**2 // (200 + 100**2)  # 200 of their own, one group of 100


def test_grouped_pictures_keep_the_promise_where_independent_ones_would_not(tree: ClassTree) -> None:
    """Ten copies of each picture: taken as ten pictures, chance looks like proof."""
    kept = {True: 0, False: 0}
    everything, all_truths = pictures(20_000, 8, 2.0)
    true_accuracy = {t: accuracy_of_answers(everything, all_truths, tree, t) for t in THRESHOLDS}
    for division in range(20):
        rows = np.repeat(np.random.default_rng(division).choice(20_000, 60, replace=False), 10)
        for use_groups in (True, False):
            groups = [str(row) for row in rows] if use_groups else None
            fitted = fit_roll_up_threshold(everything[rows], all_truths[rows], tree, target_accuracy=0.9, groups=groups)
            kept[use_groups] += not fitted.is_promised or true_accuracy[fitted.value] >= 0.9
    assert kept[True] >= 18
    assert kept[False] < 18


def test_a_node_costs_as_its_cheapest_class_and_half_a_step_more_for_each_level(tree: ClassTree) -> None:
    rule = build_cost_rule(tree, load_taxonomy().cost_matrix(CLASSES))
    of_osa = rule.of_nodes[CLASSES.index("osa-akm")]
    np.testing.assert_array_equal(of_osa, [2, 2, 0, 3, 3, 2.5, 0.5, 3.5, 1, 4])  # classes, families, roles


def test_a_costly_confusion_is_avoided_by_a_coarser_answer_that_is_sure_enough(tree: ClassTree) -> None:
    costs = load_taxonomy().cost_matrix(CLASSES)
    costs[CLASSES.index("osa-akm"), CLASSES.index("tor-m1")] = 20
    probabilities = np.array([[0.9, 0.0, 0.1, 0.0, 0.0], [0.99, 0.0, 0.01, 0.0, 0.0]])
    rule = build_cost_rule(tree, costs)
    answers = rolled_up_answers(probabilities, tree, 0.8, cost_rule=rule)
    # Naming tor-m1 costs 0.1 x 20, the family 0.5 + 0.1 x 2; with 0.01 the name is worth it.
    assert (answers.level_indices.tolist(), answers.node_indices.tolist()) == ([1, 0], [0, 0])
    np.testing.assert_allclose(answers.probabilities, [0.9, 0.99])


def test_costs_never_choose_what_is_not_probable_enough(tree: ClassTree) -> None:
    probabilities, _ = pictures(300, 10)
    costs = np.random.default_rng(0).uniform(0, 30, (5, 5)) * (1 - np.eye(5))
    answers = rolled_up_answers(probabilities, tree, 0.6, cost_rule=build_cost_rule(tree, costs))
    assert (answers.probabilities >= 0.6).all()
    finest = rolled_up_answers(probabilities, tree, 0.6)
    assert (answers.level_indices >= finest.level_indices).all()
    assert (answers.level_indices > finest.level_indices).any()


def test_saying_nothing_is_chosen_where_it_costs_less_than_any_sure_answer(tree: ClassTree) -> None:
    costs = load_taxonomy().cost_matrix(CLASSES)
    probabilities = np.array([[0.9, 0.1, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5, 0.0]])
    rule = build_cost_rule(tree, costs, of_everything=0.3)
    answers = rolled_up_answers(probabilities, tree, 0.4, cost_rule=rule)
    assert answers.level_indices.tolist() == [0, 3]  # 0.1 for the class; 1.5 for either class of the second


def test_the_promise_with_costs_is_about_the_answers_that_costs_choose(tree: ClassTree) -> None:
    probabilities, truths = pictures(3000, 4, 1.5)
    costs = np.where(np.eye(5) > 0, 0.0, 30.0)
    rule = build_cost_rule(tree, costs)
    fitted = fit_roll_up_threshold(probabilities, truths, tree, target_accuracy=0.9, cost_rule=rule)
    answers = rolled_up_answers(probabilities, tree, fitted.value, cost_rule=rule)
    is_answer = answers.level_indices < 3
    assert fitted.num_answers == is_answer.sum()
    assert fitted.accuracy == pytest.approx(right_answers(answers, truths, tree)[is_answer].mean())
    assert fitted.value < fit_roll_up_threshold(probabilities, truths, tree, target_accuracy=0.9).value


def test_the_bound_by_groups_counts_pictures_of_a_group_as_fewer(tree: ClassTree) -> None:
    probabilities, truths = pictures(300, 3)
    answers = rolled_up_answers(probabilities, tree, 0.9)
    of_pictures, of_tens = (
        bound_at(answers, truths, tree, confidence=0.9, groups=[str(row // size) for row in range(300)])
        for size in (1, 10)
    )
    assert of_pictures[1] == (answers.level_indices < 3).sum()
    assert of_tens[1] <= 30
    assert of_tens[0] < of_pictures[0]


def test_expected_costs_are_a_matrix_product_and_equal_in_any_batch() -> None:
    probabilities, _ = pictures(50, 11)
    costs = load_taxonomy().cost_matrix(CLASSES)
    together = expected_costs(probabilities, costs)
    np.testing.assert_allclose(together, probabilities @ costs, rtol=1e-12)
    alone = np.concatenate([expected_costs(row[None], costs) for row in probabilities])
    np.testing.assert_array_equal(together, alone)
