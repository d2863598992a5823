"""Confident learning: by hand, against recorded figures of cleanlab, and on label errors planted on purpose.

N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from vision.evaluate.report.pages import report_environment
from vision.evaluate.suspicious_labels import (
    SuspiciousLabel,
    SuspiciousLabelFigures,
    calibrated_joint,
    confident_joint,
    confident_thresholds,
    find_suspicious,
    label_margins,
    pruned_by_class,
    pruned_by_noise_rate,
    self_confidences,
    suspicious_labels,
)
from vision.predictions import ClassProbability, Prediction, predictions_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Made = tuple[int, int, int, float]
CLASS_IDS = ("a", "b", "c", "d", "e", "f", "g", "h")


def noisy_labels(seed: int, num_images: int, num_classes: int, noise: float) -> tuple[Ints, Floats, Ints]:
    """Labels, probabilities, and the true classes. `RandomState` draws the same numbers in every version of numpy."""
    random = np.random.RandomState(seed)
    true = random.randint(num_classes, size=num_images)
    is_noise = random.random_sample(num_images) < noise
    given = np.where(is_noise, random.randint(num_classes, size=num_images), true)
    logits = random.normal(size=(num_images, num_classes))
    logits[np.arange(num_images), true] += 2
    exponentials = np.exp(logits)
    return given, exponentials / exponentials.sum(axis=1, keepdims=True), true


def rows(given: Ints, probabilities: Floats) -> pl.DataFrame:
    """A table of predictions, best class first."""

    def prediction(row: int) -> Prediction:
        order = np.argsort(-probabilities[row])
        top = tuple(ClassProbability(CLASS_IDS[k], float(probabilities[row, k])) for k in order)
        return Prediction(f"{row}.jpg", "", "ok", label=top[0].class_id, level="class", probability=0.5, top=top)

    truths = pl.Series("true_label", [CLASS_IDS[k] for k in given])
    return predictions_table(map(prediction, range(len(given)))).with_columns(truths)


SURE = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.05, 0.95]]
GIVEN = np.array([0, 0, 0, 1, 1, 1])  # the third is of class 1


def test_thresholds_and_joint_of_a_small_case_by_hand() -> None:
    probabilities = np.array(SURE)
    np.testing.assert_allclose(confident_thresholds(GIVEN, probabilities), [(0.9 + 0.8 + 0.1) / 3, 2.45 / 3])
    counts = confident_joint(GIVEN, probabilities)  # the pictures with 0.8 and 0.7 for class 1 count for none
    np.testing.assert_array_equal(counts, [[2, 1], [0, 1]])
    np.testing.assert_array_equal(calibrated_joint(counts, GIVEN), [[2, 1], [0, 3]])
    np.testing.assert_array_equal(np.flatnonzero(find_suspicious(GIVEN, probabilities)), [2])


def test_a_picture_that_reaches_two_thresholds_counts_for_the_more_probable_class() -> None:
    probabilities = np.array([[0.45, 0.55], [0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])
    given = np.array([0, 0, 1, 1])  # thresholds 0.325 and 0.4
    np.testing.assert_array_equal(confident_joint(given, probabilities), [[1, 2], [2, 1]])


@dataclass(frozen=True)
class Recorded:
    """What cleanlab 2.9.0 (numpy 2.4.6) gave for `given, probabilities, _ = noisy_labels(...)`.

    pip install cleanlab==2.9.0, then

        from cleanlab.count import compute_confident_joint
        from cleanlab.filter import find_label_issues
        joint = compute_confident_joint(given, probabilities, calibrate=False)
        calibrated = compute_confident_joint(given, probabilities)
        prune_by_noise_rate = find_label_issues(given, probabilities, filter_by="prune_by_noise_rate").nonzero()
        prune_by_class = find_label_issues(given, probabilities, filter_by="prune_by_class").nonzero()
        both = find_label_issues(given, probabilities, filter_by="both", return_indices_ranked_by="self_confidence")

    It is no dependency of the tests because it brings pandas: 90 MB for these numbers.
    """

    joint: list[list[int]]
    calibrated: list[list[int]]
    prune_by_noise_rate: list[int]
    prune_by_class: list[int]
    both: list[int]


RECORDED = {
    (0, 60, 3, 0.2): Recorded(
        joint=[[17, 0, 2], [1, 12, 0], [0, 1, 8]],
        calibrated=[[20, 0, 2], [2, 21, 0], [0, 2, 13]],
        prune_by_noise_rate=[7, 23, 29, 47, 54, 56],
        prune_by_class=[7, 23, 29, 47, 54, 56],
        both=[56, 47, 54, 29, 23, 7],
    ),
    (1, 200, 4, 0.1): Recorded(
        joint=[[31, 1, 0, 2], [0, 27, 4, 1], [0, 1, 24, 2], [2, 3, 0, 28]],
        calibrated=[[52, 2, 0, 3], [0, 40, 6, 2], [0, 2, 39, 3], [3, 5, 0, 43]],
        prune_by_noise_rate=[
            6,
            18,
            21,
            24,
            33,
            42,
            44,
            62,
            65,
            66,
            76,
            91,
            96,
            116,
            118,
            119,
            124,
            144,
            146,
            164,
            171,
            188,
            195,
            196,
            197,
        ],
        prune_by_class=[
            6,
            18,
            21,
            24,
            33,
            42,
            44,
            62,
            65,
            66,
            76,
            91,
            92,
            96,
            112,
            116,
            118,
            119,
            144,
            146,
            164,
            171,
            190,
            195,
            196,
            197,
        ],
        both=[119, 96, 116, 195, 6, 144, 197, 91, 164, 21, 44, 65, 66, 62, 33, 24, 171, 118, 76, 196, 18, 42, 146],
    ),
    (4, 25, 6, 0.3): Recorded(
        joint=[
            [4, 0, 0, 0, 0, 0],
            [0, 3, 1, 0, 0, 0],
            [0, 0, 2, 0, 1, 0],
            [1, 0, 2, 1, 0, 0],
            [0, 0, 0, 0, 1, 0],
            [0, 1, 0, 3, 0, 2],
        ],
        calibrated=[
            [5, 0, 0, 0, 0, 0],
            [0, 3, 1, 0, 0, 0],
            [0, 0, 3, 0, 1, 0],
            [1, 0, 3, 1, 0, 0],
            [0, 0, 0, 0, 1, 0],
            [0, 1, 0, 3, 0, 2],
        ],
        prune_by_noise_rate=[2, 3, 7, 8, 9, 15, 16, 17, 24],
        prune_by_class=[2, 3, 8, 9, 15, 16, 17, 19, 20, 24],
        both=[16, 24, 15, 8, 3, 17, 2, 9],
    ),
}
recorded = pytest.mark.parametrize(("made_by", "expected"), RECORDED.items(), ids=str)


@recorded
def test_the_confident_joint_is_that_of_cleanlab(made_by: Made, expected: Recorded) -> None:
    given, probabilities, _ = noisy_labels(*made_by)
    counts = confident_joint(given, probabilities)
    np.testing.assert_array_equal(counts, expected.joint)
    np.testing.assert_array_equal(calibrated_joint(counts, given), expected.calibrated)


@recorded
def test_what_is_pruned_is_what_cleanlab_prunes(made_by: Made, expected: Recorded) -> None:
    given, probabilities, _ = noisy_labels(*made_by)
    takes_for_another = label_margins(given, probabilities) < 0
    joint = np.array(expected.calibrated)
    by_rate = pruned_by_noise_rate(given, probabilities, joint) & takes_for_another
    by_class = pruned_by_class(given, probabilities, joint) & takes_for_another
    assert np.flatnonzero(by_rate).tolist() == expected.prune_by_noise_rate
    assert np.flatnonzero(by_class).tolist() == expected.prune_by_class


@recorded
def test_suspicious_labels_and_their_order_are_those_of_cleanlab(made_by: Made, expected: Recorded) -> None:
    figures = suspicious_labels(rows(*noisy_labels(*made_by)[:2]))
    assert figures is not None
    assert [label.file_name for label in figures.labels] == [f"{row}.jpg" for row in expected.both]


def test_rounding_keeps_the_sum_of_each_row() -> None:
    given = np.repeat([0, 1, 2], [7, 5, 1])
    joint = calibrated_joint(np.array([[1, 1, 1], [3, 1, 2], [0, 0, 1]]), given)
    np.testing.assert_array_equal(joint.sum(axis=1), [7, 5, 1])


def planted(seed: int) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """Labels, probabilities of a good model, and which labels are wrong: every twentieth."""
    generator = np.random.default_rng(seed)
    true = generator.integers(8, size=1000)
    logits = generator.normal(size=(1000, 8))
    logits[np.arange(1000), true] += 4
    exponentials = np.exp(1.5 * logits)
    is_wrong = np.arange(1000) % 20 == 0
    given = np.where(is_wrong, (true + generator.integers(1, 8, 1000)) % 8, true)
    return given, exponentials / exponentials.sum(axis=1, keepdims=True), is_wrong


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_found_and_little_else(seed: int) -> None:
    given, probabilities, is_wrong = planted(seed)
    found = find_suspicious(given, probabilities)
    assert (found & is_wrong).sum() / found.sum() > 0.9
    assert (found & is_wrong).sum() / is_wrong.sum() > 0.7


def test_labels_that_the_model_shares_are_never_suspicious() -> None:
    given, probabilities, _ = noisy_labels(3, 400, 5, 0.4)
    found = find_suspicious(given, probabilities)
    assert found.any()
    assert (probabilities[found].argmax(axis=1) != given[found]).all()


def test_the_order_of_pictures_and_of_classes_does_not_matter() -> None:
    given, probabilities, _ = noisy_labels(4, 300, 4, 0.2)
    found = find_suspicious(given, probabilities)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(find_suspicious(given[order], probabilities[order]), found[order])
    new_index = np.array([2, 0, 3, 1])
    renamed = np.empty_like(probabilities)
    renamed[:, new_index] = probabilities
    np.testing.assert_array_equal(
        confident_joint(new_index[given], renamed)[np.ix_(new_index, new_index)], confident_joint(given, probabilities)
    )


def test_one_picture_or_right_answers_alone_have_nothing_suspicious() -> None:
    assert not find_suspicious(np.array([0]), np.array([[0.1, 0.9]])).any()  # the only label of a class is believed
    assert not find_suspicious(np.array([0, 1, 1]), np.array([[1.0, 0], [0, 1], [0.1, 0.9]])).any()


def test_rows_become_suspicious_labels_least_believable_first() -> None:
    figures = suspicious_labels(rows(*planted(0)[:2]))
    assert figures is not None
    assert figures.num_images == 1000
    confidences = [label.self_confidence for label in figures.labels]
    assert confidences == sorted(confidences)
    given, probabilities, _ = planted(0)
    first = int(figures.labels[0].file_name.removesuffix(".jpg"))
    assert figures.labels[0].given == CLASS_IDS[given[first]]
    assert figures.labels[0].suggested == CLASS_IDS[probabilities[first].argmax()]
    assert figures.labels[0].margin == pytest.approx(label_margins(given, probabilities)[first])
    assert figures.labels[0].self_confidence == pytest.approx(self_confidences(given, probabilities)[first])


def test_unreadable_pictures_and_classes_the_model_does_not_know_are_not_judged() -> None:
    table = rows(GIVEN, np.array(SURE))
    failed = predictions_table([Prediction("broken.jpg", "", "error")]).with_columns(true_label=pl.lit("a"))
    novel = table.head(1).with_columns(true_label=pl.lit("z"))
    figures = suspicious_labels(pl.concat([failed, table, novel]))
    assert figures is not None
    assert (figures.num_images, [label.file_name for label in figures.labels]) == (6, ["2.jpg"])


def only_the_best(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("top").list.head(1))


CANNOT_TELL: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "some classes only": only_the_best,
    "no top": lambda table: table.drop("top"),
    "no known label": lambda table: table.with_columns(true_label=pl.lit("z")),
    "no rows": lambda table: table.filter(False),
}


@pytest.mark.parametrize("change", CANNOT_TELL.values(), ids=CANNOT_TELL.keys())
def test_rows_that_cannot_tell_have_no_figures(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    assert suspicious_labels(change(rows(GIVEN, np.array(SURE)))) is None


class Names:
    def name(self, class_id: str) -> str:
        return f"the {class_id}"


def page(figures: SuspiciousLabelFigures | None) -> str:
    environment = report_environment(percent=lambda value: f"{100 * value:.1f} %")
    return environment.get_template("_suspicious.html.j2").render(
        suspicious=figures,
        taxonomy=Names(),
        max_labels=200,
        # Stand-ins for the page's macros.
        more=lambda number: "",
        picture_link=lambda file_name, number: file_name,
        unfold=lambda of_what, number: "",
    )


def labels(names: Sequence[str]) -> SuspiciousLabelFigures:
    found = [SuspiciousLabel(file_name=n, given="a", suggested="b", self_confidence=0.1, margin=-0.7) for n in names]
    return SuspiciousLabelFigures(num_images=500, labels=tuple(found))


def test_the_page_shows_names_and_runs_none_of_them() -> None:
    shown = page(labels(["<script>alert(1)</script>.jpg"]))
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script" not in shown
    assert "1 of 500 labels" in shown
    assert "80.0 %" in shown


def test_the_page_says_how_many_it_leaves_out_and_when_there_are_none() -> None:
    assert "50 more" in page(labels([f"{n}.jpg" for n in range(250)]))
    assert "No label of 500 looks wrong" in page(labels([]))
    assert page(None).strip() == ""
