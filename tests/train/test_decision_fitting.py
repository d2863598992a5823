"""Calibration against scikit-learn and by simulation; the choice of a novelty score and its threshold."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from vision.classify.novelty import (
    LOGIT_SCORES,
    EmbeddingScore,
    NearestNeighbourScore,
    NoveltyRanking,
)
from vision.train.deciding import tuned_novelty_trials
from vision.train.decision_fitting import (
    EMBEDDING_SCORES,
    MOST_UNKNOWN,
    LeftOutPictures,
    NoveltyTrial,
    _mean_surprise,
    choose_calibration,
    choose_novelty_score,
    held_out_novelty,
    rows_of_other_groups,
    temperature_calibration,
    vector_calibration,
)
from vision.train.folds import group_folds
from vision.train.probe import LinearProbe, fit_probe, fit_temperature
from vision.train.training_set import TrainingSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def outputs(num: int, seed: int, scale: Floats, bias: Floats) -> tuple[Floats, Ints, list[str]]:
    """Logits whose honest form is logits * scale + bias; truths drawn from it; groups of two."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (num, len(scale)))
    honest = softmax(logits * scale + bias, axis=1)
    truths = np.minimum((honest.cumsum(axis=1) < generator.random((num, 1))).sum(axis=1), len(scale) - 1)
    return logits, truths, [str(row // 2) for row in range(num)]


def mean_nll(logits: Floats, truths: Ints) -> float:
    return float(-log_softmax(logits, axis=1)[np.arange(len(truths)), truths].mean())


EVEN = np.full(4, 0.5), np.zeros(4)
UNEVEN = np.array([0.3, 0.6, 1.2, 2.0]), np.array([2.0, 0.0, -1.0, 0.0])


def test_temperature_calibration_is_the_temperature_of_the_probe() -> None:
    logits, truths, _ = outputs(300, 0, *EVEN)
    calibration = temperature_calibration(logits, truths)
    np.testing.assert_allclose(calibration.calibrated_logits(logits), logits / fit_temperature(logits, truths))
    np.testing.assert_allclose(calibration.scale, 0.5, rtol=0.25)


def test_vector_scaling_recovers_scales_and_biases() -> None:
    logits, truths, _ = outputs(20_000, 1, *UNEVEN)
    calibration = vector_calibration(logits, truths, deviation=3.0)
    np.testing.assert_allclose(calibration.scale, UNEVEN[0], rtol=0.1)
    np.testing.assert_allclose(calibration.bias - calibration.bias.mean(), UNEVEN[1] - UNEVEN[1].mean(), atol=0.12)


def test_vector_scaling_of_two_classes_is_a_logistic_regression() -> None:
    """Two classes with mirrored logits: only the sum of scales and the difference of biases matter."""
    generator = np.random.default_rng(2)
    margin = generator.normal(0, 2, 4000)
    logits = np.stack([np.zeros(4000), margin], axis=1)
    truths = (generator.random(4000) < 1 / (1 + np.exp(-(0.7 * margin + 0.4)))).astype(np.int64)
    model = LogisticRegression(C=1e6).fit(margin[:, None], truths)
    calibration = vector_calibration(logits, truths, deviation=50.0)
    assert calibration.scale[1] == pytest.approx(model.coef_[0, 0], rel=0.01)
    assert calibration.bias[1] - calibration.bias[0] == pytest.approx(model.intercept_[0], abs=0.01)


def test_a_tight_prior_makes_vector_scaling_temperature_scaling() -> None:
    logits, truths, _ = outputs(200, 3, *UNEVEN)
    calibration = vector_calibration(logits, truths, deviation=1e-3)
    np.testing.assert_allclose(calibration.scale, 1 / fit_temperature(logits, truths), rtol=1e-2)
    np.testing.assert_allclose(calibration.bias, 0, atol=1e-2)


def test_pictures_that_are_all_right_do_not_make_the_scale_endless() -> None:
    logits, truths = np.eye(4)[np.arange(12) % 4] * 3.0, np.arange(12) % 4
    calibration = vector_calibration(logits, truths, deviation=1e-3)
    np.testing.assert_allclose(calibration.scale, 1 / fit_temperature(logits, truths), rtol=1e-2)


def test_the_probe_may_lack_classes_and_pictures_of_them_are_left_out() -> None:
    logits, truths, _ = outputs(300, 4, *UNEVEN)
    lacking = logits.copy()
    lacking[:, 2] = -np.inf
    calibration = vector_calibration(lacking, truths, deviation=0.5)
    learnt = truths != 2
    without = vector_calibration(lacking[learnt], truths[learnt], deviation=0.5)
    assert np.isfinite(calibration.scale).all()
    np.testing.assert_allclose(calibration.bias, without.bias)
    assert (calibration.calibrated_logits(lacking)[:, 2] == -np.inf).all()


@pytest.mark.parametrize(("truth", "expected"), [(EVEN, "temperature"), (UNEVEN, "vector")])
def test_the_simpler_calibration_is_chosen_unless_the_other_wins(truth: tuple[Floats, Floats], expected: str) -> None:
    logits, truths, groups = outputs(600, 5, *truth)
    choice = choose_calibration(logits, truths, groups)
    assert choice.calibration.method == expected
    assert choice.nll_before == pytest.approx(mean_nll(logits, truths))
    assert (choice.nll_vector + choice.margin < choice.nll_temperature) == (expected == "vector")
    # On further pictures it is close to what honest probabilities have.
    fresh, fresh_truths, _ = outputs(20_000, 6, *truth)
    honest = mean_nll(fresh * truth[0] + truth[1], fresh_truths)
    assert mean_nll(choice.calibration.calibrated_logits(fresh), fresh_truths) < honest + 0.03


@pytest.mark.parametrize("seed", [4, 10, 18, 23])
def test_chance_shares_of_classes_do_not_make_vector_scaling_win(seed: int) -> None:
    """Seeds at which it does win if folds are balanced by class, or if a win by less than a standard error counts."""
    choice = choose_calibration(*outputs(80, seed, *EVEN))
    assert choice.nll_vector < choice.nll_temperature
    assert choice.calibration.method == "temperature"


def test_few_pictures_choose_temperature_scaling() -> None:
    logits, truths, groups = outputs(12, 7, *EVEN)
    assert choose_calibration(logits, truths, groups).calibration.method == "temperature"


def test_one_group_cannot_be_divided_and_gets_temperature_scaling_without_figures() -> None:
    logits, truths, _ = outputs(40, 8, *UNEVEN)
    choice = choose_calibration(logits, truths, ["a"] * 40)
    assert choice.calibration.method == "temperature"
    assert math.isnan(choice.nll_temperature)


def test_no_pictures_leave_logits_as_they_are() -> None:
    choice = choose_calibration(np.empty((0, 3)), np.empty(0, dtype=np.int64), [])
    np.testing.assert_array_equal(choice.calibration.scale, np.ones(3))


def test_copies_of_a_picture_do_not_stand_on_both_sides() -> None:
    """Groups of many copies: divided, they would reward fitting to chance."""
    logits, truths, _ = outputs(12, 9, *EVEN)
    copies = np.repeat(np.arange(12), 30)
    choice = choose_calibration(logits[copies], truths[copies], [str(row) for row in copies])
    assert choice.calibration.method == "temperature"
    assert choice.nll_vector > mean_nll(
        vector_calibration(logits[copies], truths[copies], 1.0).calibrated_logits(logits), truths
    )


NO_LOGITS = np.empty((0, 5))


def vehicles(num_per_class: int = 24, seed: int = 0, dims: int = 12) -> tuple[Floats, Ints, list[str]]:
    """Five classes as tight clusters; groups of three."""
    generator = np.random.default_rng(seed)
    means = 3 * generator.normal(size=(5, dims))
    class_indices = np.repeat(np.arange(5), num_per_class)
    rows = means[class_indices] + generator.normal(0, 0.8, (len(class_indices), dims))
    return rows, class_indices, [f"group-{row // 3}" for row in range(len(rows))]


def test_a_distance_wins_where_clusters_are_tight_and_the_classifier_is_deaf_to_it() -> None:
    rows, class_indices, groups = vehicles()

    def refit(train: Ints) -> Floats:
        probe = fit_probe(rows[train].astype(np.float32), class_indices[train], 5, 1.0)
        return probe.logits(rows.astype(np.float32))

    trials = choose_novelty_score(rows, refit, class_indices, groups)
    by_name = {trial.name: trial for trial in trials}
    assert set(by_name) == {*EMBEDDING_SCORES, *LOGIT_SCORES}
    assert [t.mean_auroc for t in trials] == sorted((t.mean_auroc for t in trials), reverse=True)
    assert trials[0].name in EMBEDDING_SCORES
    assert trials[0].mean_auroc > 0.95
    assert trials[0].mean_auroc > by_name["max_softmax"].mean_auroc
    assert trials[0].auroc.shape == trials[0].false_positive_rate.shape == (5,)
    assert trials[0].mean_auroc == pytest.approx(trials[0].auroc.mean())


def test_a_logit_score_wins_where_only_the_classifier_sees_the_class() -> None:
    rows, class_indices, groups = vehicles()
    noise = np.random.default_rng(1).normal(size=rows.shape)

    def refit(train: Ints) -> Floats:
        known = np.unique(class_indices[train])
        return 9.0 * (class_indices[:, None] == np.arange(5)) * np.isin(np.arange(5), known)

    trials = choose_novelty_score(noise, refit, class_indices, groups)
    assert trials[0].name in LOGIT_SCORES
    assert trials[0].mean_auroc == 1.0
    assert max(t.mean_auroc for t in trials if t.name in EMBEDDING_SCORES) < 0.75


def test_the_left_out_class_and_held_out_groups_are_never_fitted_on() -> None:
    rows, class_indices, groups = vehicles(9)
    fits: list[Ints] = []

    def refit(train: Ints) -> Floats:
        fits.append(train)
        return np.zeros((len(rows), 5))

    choose_novelty_score(rows, refit, class_indices, groups, num_folds=3)
    assert len(fits) == 15
    for index, train in enumerate(fits):
        left_out = index // 3
        assert left_out not in class_indices[train]
        inside = {groups[row] for row in train}
        others = np.flatnonzero(class_indices != left_out)
        held_out = {groups[row] for row in others} - inside
        assert held_out
        assert len(train) == sum(groups[row] in inside for row in others)  # groups whole


def test_pictures_of_the_left_out_class_come_from_groups_that_are_not_trained_on_where_there_are_such() -> None:
    groups = ["north", "north", "south", "east"]
    rows = np.arange(4)
    assert rows_of_other_groups(rows[1:], rows[:1], groups).tolist() == [2, 3]
    assert rows_of_other_groups(rows[1:2], rows[:1], groups).tolist() == [1]


def test_the_limit_is_for_the_worst_of_the_left_out_classes_or_for_their_mean() -> None:
    """The class that will come may be as hard as the hardest; the mean takes most of its weight from easy ones."""
    hard = LeftOutPictures(np.full(10, 0.99), np.full(10, 0.5))
    easy = LeftOutPictures(np.full(10, 0.3), np.full(10, 0.5))
    trial = NoveltyTrial("energy", np.array([0.7]), np.array([0.5]), 0.7, 2.0, (hard, *[easy] * 9))
    assert trial.least_unknown_share(0.02, 0.1, 0.05, of="mean") == 0.02
    assert trial.least_unknown_share(0.02, 0.1, 0.05, of="worst") == 0.10  # 0.9 x 0.99 < 0.9
    assert trial.least_unknown_share(0.02, 0.1, 0.05) == 0.10


def trial_of(confidences: list[float], ranks: list[float]) -> NoveltyTrial:
    pictures = LeftOutPictures(np.array(confidences), np.array(ranks))
    return NoveltyTrial("energy", np.array([0.7]), np.array([0.5]), 0.7, 2.0, (pictures,))


def test_the_lead_of_a_score_is_a_mean_over_the_classes_that_both_judged() -> None:
    first, second = (
        NoveltyTrial("any", np.array(auroc), np.zeros(4), 0.0, 1.0, ())
        for auroc in ([0.9, 0.8, 0.7, np.nan], [0.5, 0.8, 0.9, 0.1])
    )
    lead = first.lead_over(second)
    assert lead.value == pytest.approx(0.2 / 3)
    assert lead.low == pytest.approx(-0.2)
    assert lead.high == pytest.approx(0.4)
    assert np.isnan(trial_of([], []).lead_over(trial_of([], [])).low)  # of one class nothing can be drawn


def test_the_share_of_unknown_classes_is_raised_until_few_left_out_pictures_are_named_with_confidence() -> None:
    trial = trial_of([0.99, 0.95, 0.5, 1.0], [0.5, 0.5, 0.5, 0.97])
    # Of density 2 r = 1 at rank 0.5, the probability of a known class is 1 - share; 0.97 is unknown in any case.
    assert trial.left_out[0].share_named(0.02, 2.0, 0.05) == 0.5
    assert trial.least_unknown_share(0.02, 0.5, 0.05) == 0.02
    assert trial.least_unknown_share(0.02, 0.25, 0.05) == 0.06  # 0.94 x 0.95 < 0.9
    assert trial.least_unknown_share(0.02, 0.1, 0.05) == 0.10  # 0.9 x 0.99 < 0.9


def test_a_share_of_none_is_kept_and_so_is_one_beyond_a_half() -> None:
    sure = trial_of([1.0], [0.0])  # no picture is less novel, so none is more surely known
    assert sure.least_unknown_share(0.0, 0.02, 0.05) == 0.0
    assert sure.least_unknown_share(0.7, 0.02, 0.05) == 0.7


def test_the_search_ends_at_a_half_whether_that_is_enough_or_not() -> None:
    sure = trial_of([1.0], [0.0])
    assert sure.least_unknown_share(0.1, 0.02, 0.05) == MOST_UNKNOWN
    late = trial_of([1.0], [0.0565])  # density 0.113: known with 0.902 at 0.49, 0.898 at a half
    assert late.left_out[0].share_named(0.49, 2.0, 0.05) == 1
    assert late.least_unknown_share(0.1, 0.02, 0.05) == MOST_UNKNOWN


def test_tuned_networks_never_see_the_classes_that_they_are_asked_about() -> None:
    rows, truth, groups = vehicles(12)
    features = rows.astype(np.float32)
    training = TrainingSet(pl.DataFrame(), [], truth, groups)
    tuned: list[tuple[set[int], set[int]]] = []

    def tune(probe: LinearProbe, train: Ints, asked: Ints) -> tuple[Floats, Floats, Floats]:
        tuned.append((set(truth[train].tolist()), set(truth[asked].tolist())))
        assert not {groups[row] for row in train} & {groups[row] for row in asked}
        return probe.logits(features[asked]), features[asked], features[train]

    trials = tuned_novelty_trials(training, features, 5, 1.0, tune, num_tunings=2, seed=0)
    lots = [asked - trained for trained, asked in tuned]
    assert sorted(map(len, lots)) == [2, 3]
    assert set.union(*lots) == set(range(5))
    assert np.isfinite(trials[0].auroc).all()
    assert trials[0].name in EMBEDDING_SCORES
    assert trials[0].mean_auroc > 0.95


def test_two_classes_are_too_few_to_leave_one_out() -> None:
    rows, class_indices, groups = vehicles()
    two = class_indices < 2
    trials = choose_novelty_score(rows[two], lambda train: np.zeros((48, 2)), class_indices[two], groups[:48])
    assert trials == []


def test_a_class_without_pictures_is_nan_and_left_out_of_the_mean() -> None:
    rows, class_indices, groups = vehicles(9)
    moved = np.where(class_indices >= 2, class_indices + 1, class_indices)
    trial = choose_novelty_score(rows, lambda train: np.zeros((45, 6)), moved, groups)[0]
    assert np.isnan(trial.auroc).tolist() == [False, False, True, False, False, False]
    assert trial.mean_auroc == pytest.approx(np.nanmean(trial.auroc))


def test_held_out_scores_are_those_of_a_score_that_never_saw_the_group() -> None:
    rows, class_indices, groups = vehicles(9)
    for row in range(1, len(rows), 3):
        rows[row] = rows[row - 1]  # twins within a group
    held_out = held_out_novelty(
        "nearest_neighbour", NO_LOGITS, rows, class_indices, group_folds(class_indices, groups, 5, 0)
    )
    assert (held_out.scores > 1e-4).all()
    assert (NearestNeighbourScore.fit(rows).score(rows) < 1e-5).all()


def test_held_out_scores_of_logits_and_their_ranks_among_one_another() -> None:
    rows, class_indices, groups = vehicles(9)
    logits = np.arange(1.0, 46)[:, None] * np.eye(5)[class_indices]  # surer and surer
    held_out = held_out_novelty("max_softmax", logits, rows, class_indices, group_folds(class_indices, groups, 5, 0))
    np.testing.assert_allclose(held_out.scores, LOGIT_SCORES["max_softmax"](logits))
    np.testing.assert_allclose(held_out.ranks[:20], np.arange(44, 24, -1) / 45)
    assert held_out.fitted == ()


def test_a_class_of_one_group_has_no_held_out_score() -> None:
    rows, class_indices, groups = vehicles(9)
    groups = ["only" if c == 4 else g for c, g in zip(class_indices, groups, strict=True)]
    folds = group_folds(class_indices, groups, 5, 0)
    held_out = held_out_novelty("nearest_neighbour", NO_LOGITS, rows, class_indices, folds)
    np.testing.assert_array_equal(np.isnan(held_out.scores), class_indices == 4)
    np.testing.assert_array_equal(np.isnan(held_out.ranks), class_indices == 4)


def test_the_left_out_class_and_held_out_groups_have_no_say_in_the_axes() -> None:
    rows, class_indices, groups = vehicles(9)
    seen: list[Floats] = []

    def fit(embeddings: Floats, of_classes: Ints, *, overwrite: bool = False) -> EmbeddingScore:
        seen.append(embeddings)
        return NearestNeighbourScore.fit(embeddings, of_classes)

    choose_novelty_score(rows, lambda train: np.zeros((45, 5)), class_indices, groups, candidates={"any": fit})
    folds = group_folds(class_indices, groups, 3, 0)
    held_out_novelty("any", NO_LOGITS, rows, class_indices, folds, candidates={"any": fit})
    assert len(seen) == 5 * 3 + 3
    for standardised in seen:
        np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(standardised.std(axis=0), 1)


@pytest.mark.parametrize("name", ["nearest_neighbour", "relative_mahalanobis"])
def test_out_of_fold_ranks_of_further_known_pictures_are_even(name: str) -> None:
    """With more features than pictures, as with photographs; a score of all pictures would rank them far too low."""
    ranks = []
    for seed in range(12):
        rows, class_indices, groups = vehicles(24, seed, dims=150)
        is_old = np.arange(len(rows)) % 24 < 12
        old, of_old = rows[is_old], class_indices[is_old]
        folds = group_folds(of_old, [g for g, is_in in zip(groups, is_old, strict=True) if is_in], 4, 0)
        held_out = held_out_novelty(name, NO_LOGITS, old, of_old, folds)
        ranking = NoveltyRanking.of(name, held_out.fitted, held_out.scores, held_out.folds)
        ranks.append(ranking.ranks(np.empty((60, 5)), rows[~is_old]))
    shares = [(np.concatenate(ranks) > 1 - share).mean() for share in (0.05, 0.2, 0.5)]
    np.testing.assert_allclose(shares, [0.05, 0.2, 0.5], atol=0.05)


def test_the_exponent_follows_the_auroc() -> None:
    """Ranks of density a r^(a-1) have the mean a / (a + 1), which is the AUROC."""
    generator = np.random.default_rng(12)
    known = generator.random(4000)
    for exponent in (1.0, 2.0, 5.0):
        surprise = _mean_surprise(known, generator.random(4000) ** (1 / exponent))
        assert 1 / surprise == pytest.approx(exponent, rel=0.05)


def test_a_score_that_tells_nothing_has_the_exponent_of_no_information() -> None:
    rows, class_indices, groups = vehicles()
    trials = choose_novelty_score(rows, lambda train: np.zeros((len(rows), 5)), class_indices, groups)
    by_name = {trial.name: trial for trial in trials}
    assert by_name["energy"].exponent == 1.0
    assert by_name["nearest_neighbour"].exponent > 5
