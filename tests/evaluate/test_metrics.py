"""Metrics by hand, against scikit-learn, and by what must not change them.

N images, K true classes, A answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from vision.evaluate.metrics import (
    BootstrapIntervals,
    Interval,
    accuracy_score,
    bootstrap_intervals,
    class_metrics,
    confusion_counts,
    confusion_rates,
    macro_recall_score,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
K = 5
ANSWERS = K + 2  # a roll-up and `unknown`


def _random_answers(seed: int, num_images: int = 300, num_answers: int = ANSWERS) -> tuple[Ints, Ints]:
    """Truths and answers, mostly right; class K - 1 is never true."""
    generator = np.random.default_rng(seed)
    truths = generator.integers(K - 1, size=num_images)
    guesses = generator.integers(num_answers, size=num_images)
    return truths, np.where(generator.random(num_images) < 0.6, truths, guesses)


def _groups(num_images: int) -> list[str]:
    return [f"g{index % 17}" for index in range(num_images)]


def _counts(truths: Ints, answers: Ints) -> Ints:
    return confusion_counts(truths, answers, K, ANSWERS)


def _array(intervals: Sequence[Interval]) -> Floats:
    return np.array([(i.value, i.low, i.high) for i in intervals])


def _bootstrap(truths: Ints, answers: Ints, groups: Sequence[str]) -> BootstrapIntervals:
    return bootstrap_intervals(truths, answers, groups, K, num_replicates=50)


# Every metric as a function of truths, answers and groups; those of classes have a row for every class.
Metric = Callable[[Ints, Ints, Sequence[str]], Floats]
WHOLE: dict[str, Metric] = {
    "accuracy": lambda t, a, g: np.array(accuracy_score(_counts(t, a))),
    "macro recall": lambda t, a, g: np.array(macro_recall_score(_counts(t, a))),
    "accuracy interval": lambda t, a, g: _array([_bootstrap(t, a, g).accuracy]),
    "macro recall interval": lambda t, a, g: _array([_bootstrap(t, a, g).macro_recall]),
}
OF_CLASSES: dict[str, Metric] = {
    "rate of right answers": lambda t, a, g: np.diagonal(confusion_rates(_counts(t, a))),
    "precision": lambda t, a, g: class_metrics(_counts(t, a)).precision,
    "recall": lambda t, a, g: class_metrics(_counts(t, a)).recall,
    "f1": lambda t, a, g: class_metrics(_counts(t, a)).f1,
    "precision interval": lambda t, a, g: _array(_bootstrap(t, a, g).precision),
    "recall interval": lambda t, a, g: _array(_bootstrap(t, a, g).recall),
    "f1 interval": lambda t, a, g: _array(_bootstrap(t, a, g).f1),
}
every_metric = pytest.mark.parametrize("metric", [pytest.param(m, id=n) for n, m in {**WHOLE, **OF_CLASSES}.items()])
every_metric_of_classes = pytest.mark.parametrize("metric", [pytest.param(m, id=n) for n, m in OF_CLASSES.items()])
every_whole_metric = pytest.mark.parametrize("metric", [pytest.param(m, id=n) for n, m in WHOLE.items()])


@every_metric
def test_the_order_of_samples_does_not_matter(metric: Metric) -> None:
    truths, answers = _random_answers(1)
    groups = np.array(_groups(len(truths)))
    order = np.random.default_rng(2).permutation(len(truths))
    shuffled = metric(truths[order], answers[order], groups[order].tolist())
    np.testing.assert_array_equal(shuffled, metric(truths, answers, groups.tolist()))


@every_whole_metric
def test_the_order_of_classes_does_not_matter_for_the_whole(metric: Metric) -> None:
    truths, answers = _random_answers(3)
    groups = _groups(len(truths))
    new_index = np.array([3, 0, 4, 1, 2, 5, 6])
    renamed = metric(new_index[truths], new_index[answers], groups)
    np.testing.assert_allclose(renamed, metric(truths, answers, groups), rtol=1e-12)


@every_metric_of_classes
def test_the_order_of_classes_only_reorders_metrics_of_classes(metric: Metric) -> None:
    truths, answers = _random_answers(4)
    groups = _groups(len(truths))
    new_index = np.array([3, 0, 4, 1, 2, 5, 6])
    renamed = metric(new_index[truths], new_index[answers], groups)
    np.testing.assert_allclose(renamed[new_index[:K]], metric(truths, answers, groups), rtol=1e-12)


@every_metric_of_classes
def test_a_class_without_images_is_nan(metric: Metric) -> None:
    truths, answers = np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])
    values = metric(truths, answers, _groups(4))
    assert np.isnan(values[3:]).all()
    assert not np.isnan(values[:3]).any()


@every_whole_metric
def test_a_class_without_images_does_not_change_the_whole(metric: Metric) -> None:
    truths, answers = _random_answers(5, num_answers=K - 1)  # class K - 1 neither true nor answered
    last_seen = truths == K - 2
    moved = metric(np.where(last_seen, K - 1, truths), np.where(answers == K - 2, K - 1, answers), _groups(300))
    np.testing.assert_allclose(moved, metric(truths, answers, _groups(300)), rtol=1e-12)


@every_metric
def test_empty_input_is_nan(metric: Metric) -> None:
    nothing = np.zeros(0, dtype=np.int64)
    assert np.isnan(metric(nothing, nothing, [])).all()


@every_metric
def test_answers_that_are_all_right_score_one(metric: Metric) -> None:
    truths = np.arange(50) % K
    np.testing.assert_array_equal(np.unique(metric(truths, truths, _groups(50))), [1.0])


@every_metric
def test_answers_beyond_the_classes_are_not_right(metric: Metric) -> None:
    truths = np.arange(50) % K
    values = metric(truths, np.where(np.arange(50) % 2, K, K + 1), _groups(50))
    values = values[~np.isnan(values)]  # a class that is never answered has no precision
    assert (values == 0).all()


def test_figures_of_a_small_case_by_hand() -> None:
    counts = np.array([[3, 1, 0, 0], [1, 1, 0, 2], [0, 0, 0, 0]])  # columns a, b, c, unknown
    found = class_metrics(counts)
    np.testing.assert_allclose(found.recall, [3 / 4, 1 / 4, np.nan])
    np.testing.assert_allclose(found.precision, [3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(found.f1, [3 / 4, 1 / 3, np.nan])
    assert (accuracy_score(counts), macro_recall_score(counts)) == (0.5, 0.5)


def test_confusion_rates_by_hand() -> None:
    rates = confusion_rates(np.array([[3, 1, 0], [0, 2, 2]]))
    np.testing.assert_array_equal(rates, [[0.75, 0.25, 0], [0, 0.5, 0.5]])


def test_confusion_rates_of_an_unseen_class_are_nan_not_zero() -> None:
    rates = confusion_rates(np.array([[2, 0], [0, 0]]))
    np.testing.assert_array_equal(rates, [[1, 0], [np.nan, np.nan]])


def test_an_unseen_class_that_is_answered_has_a_precision_of_zero_and_no_recall() -> None:
    found = class_metrics(np.array([[1, 1], [0, 0]]))
    assert found.precision[1] == 0
    assert np.isnan([found.recall[1], found.f1[1]]).all()


@pytest.mark.parametrize("seed", range(5))
def test_counts_agree_with_scikit_learn(seed: int) -> None:
    truths, answers = _random_answers(seed)
    expected = sklearn_metrics.confusion_matrix(truths, answers, labels=range(ANSWERS))
    np.testing.assert_array_equal(_counts(truths, answers), expected[:K])


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_classes_agree_with_scikit_learn(seed: int) -> None:
    truths, answers = _random_answers(seed)
    found = class_metrics(_counts(truths, answers))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        truths, answers, labels=range(K), zero_division=np.nan
    )
    np.testing.assert_allclose(found.precision, precision)
    np.testing.assert_allclose(found.recall, recall)
    np.testing.assert_allclose(found.f1, np.where(support > 0, f1, np.nan))  # scikit-learn: 0 if answered, never seen


def test_a_class_that_is_never_answered_agrees_with_scikit_learn() -> None:
    truths, answers = np.array([0, 0, 1]), np.array([0, 0, 0])
    found = class_metrics(confusion_counts(truths, answers, 2, 2))
    expected = sklearn_metrics.precision_recall_fscore_support(truths, answers, zero_division=np.nan)
    np.testing.assert_allclose([found.precision, found.recall, found.f1], expected[:3])


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_and_macro_recall_agree_with_scikit_learn(seed: int) -> None:
    truths, answers = _random_answers(seed, num_answers=K - 1)
    counts = _counts(truths, answers)
    assert accuracy_score(counts) == pytest.approx(sklearn_metrics.accuracy_score(truths, answers))
    assert macro_recall_score(counts) == pytest.approx(sklearn_metrics.balanced_accuracy_score(truths, answers))


def test_the_bootstrap_values_are_the_metrics_themselves() -> None:
    truths, answers = _random_answers(6)
    intervals = _bootstrap(truths, answers, _groups(len(truths)))
    counts = _counts(truths, answers)
    found = class_metrics(counts)
    assert intervals.accuracy.value == accuracy_score(counts)
    assert intervals.macro_recall.value == macro_recall_score(counts)
    np.testing.assert_array_equal(_array(intervals.precision)[:, 0], found.precision)
    np.testing.assert_array_equal(_array(intervals.recall)[:, 0], found.recall)
    np.testing.assert_array_equal(_array(intervals.f1)[:, 0], found.f1)


@every_metric
def test_a_metric_is_the_same_each_time(metric: Metric) -> None:
    truths, answers = _random_answers(7)
    np.testing.assert_array_equal(metric(truths, answers, _groups(300)), metric(truths, answers, _groups(300)))


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    truths, answers = _random_answers(8)

    def bounds(seed: int) -> Floats:
        found = bootstrap_intervals(truths, answers, _groups(300), K, num_replicates=50, seed=seed)
        return _array([found.accuracy, *found.recall])

    np.testing.assert_array_equal(bounds(3), bounds(3))
    assert not np.array_equal(bounds(3), bounds(4), equal_nan=True)


def test_one_group_gives_values_without_bounds() -> None:
    truths, answers = _random_answers(9)
    found = _array([_bootstrap(truths, answers, ["only"] * 300).accuracy])[0]
    assert found[0] == accuracy_score(_counts(truths, answers))
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("seed", range(5))
def test_values_lie_within_their_bounds(seed: int) -> None:
    truths, answers = _random_answers(seed)
    found = _bootstrap(truths, answers, _groups(len(truths)))
    values, low, high = _array([found.accuracy, found.macro_recall, *found.recall[:-1], *found.f1[:-1]]).T
    assert (low < values).all()
    assert (values < high).all()


def test_doubling_every_picture_inside_its_group_leaves_the_intervals() -> None:
    truths, answers = _random_answers(10)
    groups = _groups(len(truths))
    once = _bootstrap(truths, answers, groups)
    twice = _bootstrap(np.repeat(truths, 2), np.repeat(answers, 2), [g for g in groups for _ in range(2)])
    np.testing.assert_allclose(_array([twice.accuracy, *twice.f1]), _array([once.accuracy, *once.f1]), rtol=1e-12)


def test_groups_that_are_right_or_wrong_as_a_whole_widen_the_interval() -> None:
    truths = np.zeros(200, dtype=np.int64)
    answers = np.repeat(np.arange(20) % 2, 10)
    groups = [f"g{index // 10}" for index in range(200)]
    by_group = bootstrap_intervals(truths, answers, groups, 2, num_replicates=300).accuracy
    by_picture = bootstrap_intervals(truths, answers, [str(i) for i in range(200)], 2, num_replicates=300).accuracy
    assert by_group.high - by_group.low > 2 * (by_picture.high - by_picture.low)


def test_the_interval_covers_the_true_accuracy_about_as_often_as_promised() -> None:
    generator = np.random.default_rng(11)
    num_groups, pictures_each, true_accuracy = 60, 4, 0.7
    truths = np.zeros(num_groups * pictures_each, dtype=np.int64)
    groups = [str(index) for index in range(num_groups) for _ in range(pictures_each)]
    num_covered = 0
    for draw in range(200):
        of_groups = generator.beta(7 * true_accuracy, 7 * (1 - true_accuracy), num_groups)  # mean 0.7, clustered
        right = generator.random(len(truths)) < np.repeat(of_groups, pictures_each)
        answers = np.where(right, 0, 1)
        interval = bootstrap_intervals(truths, answers, groups, 1, num_replicates=300, seed=draw).accuracy
        num_covered += interval.low <= true_accuracy <= interval.high
    assert 0.90 <= num_covered / 200 <= 0.98
