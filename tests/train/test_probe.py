"""The probe against scikit-learn, and the choice of candidates."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from vision.train.features import FeatureRecipe
from vision.train.folds import group_folds, single_group_classes
from vision.train.probe import (
    LinearProbe,
    fit_probe,
    fit_temperature,
    held_out_logits,
    try_candidates,
    unit_rows,
)

RECIPES = [FeatureRecipe("net", px, "stage", "gem", True, "pad", 0.1) for px in (100, 200)]


def clusters(
    num_per_class: int, num_features: int, num_classes: int = 3, spread: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(num_classes), num_per_class)
    centres = 3 * generator.standard_normal((num_classes, num_features))
    features = centres[classes] + spread * generator.standard_normal((len(classes), num_features))
    return features.astype(np.float32), classes


@pytest.mark.parametrize(("num_per_class", "num_features"), [(40, 6), (5, 60)])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_probe_gives_scikit_learns_probabilities(num_per_class: int, num_features: int, num_classes: int) -> None:
    features, classes = clusters(num_per_class, num_features, num_classes, spread=3)
    rows = StandardScaler().fit_transform(features.astype(np.float64)) / np.sqrt(num_features)
    reference = LogisticRegression(C=10, max_iter=5000, tol=1e-8).fit(rows, classes)
    logits = fit_probe(features, classes, num_classes, 10.0).logits(features)
    ours = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, reference.predict_proba(rows), atol=2e-3)


def test_a_class_without_training_pictures_is_never_answered() -> None:
    features, classes = clusters(10, 4)
    logits = fit_probe(features, classes, 5, 1.0).logits(features)
    assert logits.shape == (30, 5)
    assert logits[:, 3:].max() < logits[:, :3].max(axis=1).min()


def test_one_class_alone_is_always_answered() -> None:
    features, _ = clusters(4, 5)
    logits = fit_probe(features, np.full(12, 1), 3, 1.0).logits(features)
    assert (logits.argmax(axis=1) == 1).all()


def test_a_feature_that_never_changes_does_no_harm() -> None:
    features, classes = clusters(10, 4)
    features[:, 2] = 7
    assert np.isfinite(fit_probe(features, classes, 3, 1.0).logits(features)).all()


def test_the_temperature_of_logits_that_are_twice_too_sure_is_two() -> None:
    generator = np.random.default_rng(0)
    logits = 2 * generator.standard_normal((20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    classes = (probabilities.cumsum(axis=1) < generator.random((len(logits), 1))).sum(axis=1)
    assert fit_temperature(2 * logits, classes) == pytest.approx(2, rel=0.05)


def test_a_class_that_is_held_out_whole_does_not_spoil_the_temperature_of_the_others() -> None:
    features, classes = clusters(20, 6, num_classes=4, spread=3)
    groups = [f"group {row % 10}" if label < 3 else "the only one" for row, label in enumerate(classes)]
    recipe = RECIPES[0]
    with_it = try_candidates({recipe: features}, classes, groups, 4, strengths=[10.0], num_folds=5, seed=0)[0]
    known = classes < 3
    few = [group for group, kept in zip(groups, known, strict=True) if kept]
    without = try_candidates({recipe: features[known]}, classes[known], few, 3, strengths=[10.0], num_folds=5, seed=0)[
        0
    ]
    assert with_it.temperature == pytest.approx(without.temperature, rel=0.4)
    assert with_it.accuracy <= 0.75


def test_a_dozen_pictures_that_are_all_right_do_not_make_answers_ever_surer() -> None:
    logits = 2.0 * np.eye(4)[np.arange(12) % 4]
    assert 0.3 < fit_temperature(logits, np.arange(12) % 4) < 1


def test_held_out_logits_never_come_from_a_probe_that_saw_the_picture() -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((60, 200)).astype(np.float32)
    classes = np.arange(60) % 2
    folds = group_folds(classes, [str(row) for row in range(60)], 5, seed=0)
    fitted = fit_probe(features, classes, 2, 1000.0).logits(features).argmax(axis=1)
    held_out = held_out_logits(features, classes, folds, 2, 1000.0)[0].argmax(axis=1)
    assert (fitted == classes).all()  # noise is learnt by heart
    assert (held_out == classes).mean() < 0.75  # and of no use on what was held out


def test_the_candidate_with_the_features_that_tell_the_classes_apart_is_chosen() -> None:
    good, classes = clusters(12, 6)
    noise = np.random.default_rng(1).standard_normal(good.shape).astype(np.float32)
    groups = [f"group {row % 12}" for row in range(36)]
    ranked = try_candidates(
        {RECIPES[0]: noise, RECIPES[1]: good}, classes, groups, 3, strengths=[1.0, 100.0], num_folds=4, seed=0
    )
    assert len(ranked) == 4
    assert ranked[0].recipe == RECIPES[1]
    assert ranked[0].accuracy > 0.9 > ranked[-1].accuracy


def test_candidates_on_some_rows_are_those_of_the_rows_alone() -> None:
    features, classes = clusters(12, 6, spread=3)
    rows, groups = np.arange(36)[::-1][:30], [f"group {row % 10}" for row in range(30)]

    def tried(matrix: NDArray[np.float32], chosen: NDArray[np.int64] | None) -> object:
        pair = {RECIPES[0]: matrix, RECIPES[1]: 2 * matrix[:, :3]}
        return try_candidates(pair, classes[rows], groups, 3, strengths=[1.0], num_folds=4, seed=0, rows=chosen)

    assert tried(features, rows) == tried(features[rows], None)


def test_unit_embeddings_are_standardised_rows_at_length_one() -> None:
    features, classes = clusters(200, 7, spread=3)
    probe = fit_probe(features, classes, 3, 10.0)
    expected = unit_rows((features - probe.mean) / probe.scale).astype(np.float32)
    np.testing.assert_array_equal(probe.unit_embeddings(features), expected)


@pytest.mark.parametrize(
    ("most", "compute"),
    [
        (2.5, lambda probe, features, classes: fit_probe(features, classes, 3, 10.0)),
        (2.5, lambda probe, features, classes: probe.logits(features)),
        (1.5, lambda probe, features, classes: probe.unit_embeddings(features)),
    ],
    ids=["fit_probe", "logits", "unit_embeddings"],
)
def test_of_many_pictures_no_more_than_one_matrix_in_double_precision_is_held(
    most: float, compute: Callable[[LinearProbe, NDArray[np.float32], NDArray[np.int64]], object]
) -> None:
    features, classes = clusters(2000, 256, spread=9)
    probe = fit_probe(features[::10], classes[::10], 3, 10.0)  # imports what it needs
    tracemalloc.start()
    compute(probe, features, classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most * features.nbytes  # features are in single precision


@pytest.mark.parametrize("seed", range(5))
def test_no_group_stands_on_both_sides_of_a_fold(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = [f"group {number}" for number in generator.integers(12, size=80)]
    folds = group_folds(generator.integers(4, size=80), groups, 5, seed)
    held_out_rows = np.concatenate([held_out for _, held_out in folds])
    assert sorted(held_out_rows.tolist()) == list(range(80))
    for train, held_out in folds:
        assert not {groups[row] for row in train} & {groups[row] for row in held_out}


def test_fewer_groups_than_folds_give_as_many_folds_as_groups() -> None:
    assert len(group_folds(np.array([0, 1] * 6), ["a", "a", "b", "b", "c", "c"] * 2, 5, seed=0)) == 3


def test_a_class_of_one_group_is_found() -> None:
    assert single_group_classes(np.array([0, 0, 1, 1]), ["a", "b", "c", "c"]) == [1]
