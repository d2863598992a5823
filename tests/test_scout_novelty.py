"""The script that scouts for better novelty scores: what it joins, what it measures, what it never looks at."""

from __future__ import annotations

import numpy as np
import pytest
from scout_novelty import COMBINATIONS, Judged, ranks_among, residual_lengths, table, trial_scores, with_combinations

from vision.evaluate.calibration_metrics import auroc_score


def clouds(num_classes: int = 4, of_each: int = 12) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Well-separated classes whose pictures come in six groups."""
    truth = np.repeat(np.arange(num_classes), of_each)
    rows = 8 * np.eye(num_classes, 10)[truth] + np.random.default_rng(0).normal(size=(len(truth), 10))
    return rows.astype(np.float32), truth, [f"place {number % 6}" for number in range(len(truth))]


def test_a_combination_is_the_mean_of_ranks_among_known_pictures() -> None:
    parts = {part for names in COMBINATIONS.values() for part in names}
    known, novel = np.arange(4.0), np.array([1.5, 9.0])
    scores = dict.fromkeys(parts, (known, novel)) | {"max_softmax": (known, 9 - novel)}
    joined = with_combinations(scores)["mahalanobis + softmax"]
    np.testing.assert_allclose(joined[0], [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(joined[1], [(0.5 + 1) / 2, (1 + 0.125) / 2])
    np.testing.assert_allclose(ranks_among(np.array([1.0, 1.0]), np.array([1.0])), [0.5])


def test_a_residual_is_what_lies_outside_of_the_references_directions() -> None:
    generator = np.random.default_rng(1)
    references = np.zeros((50, 4), dtype=np.float32)
    references[:, :2] = generator.normal(size=(50, 2))
    inside, outside = np.float32([[3, 3, 0, 0]]), np.float32([[0, 0, 2, 0]])
    _, of_inside, of_outside = residual_lengths(references, (inside, outside), 0.999)
    assert of_inside[0] == pytest.approx(0, abs=1e-5)
    assert of_outside[0] == pytest.approx(2, abs=1e-5)


def test_a_far_class_that_is_left_out_is_told_by_distance_in_every_fold() -> None:
    trials = list(trial_scores(*clouds(), 1.0, 3, seed=0))
    assert len(trials) == 3
    for trial in trials:
        assert auroc_score(*trial["nearest_neighbour"]) > 0.9


def test_the_table_is_sorted_and_says_what_is_gained_on_the_best_single_score() -> None:
    auroc = np.array([[[0.6, 0.7]], [[0.8, 0.9]], [[0.7, 0.9]]])
    names = ("max_softmax", "all five", "relative_mahalanobis")
    lines = table(Judged(names, auroc, 1 - auroc))
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| all five", "| relative_mahalanobis", "| max_softmax"]
    assert "+0.050 (+0.000 to +0.100)" in lines[2]
    assert "best single score by seed: relative_mahalanobis 1" in lines[-1]
