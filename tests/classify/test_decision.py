"""From logits to an answer."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from vision.classify.decision import calibrated_probabilities, decide
from vision.taxonomy import Taxonomy

CLASSES = ("tor-m1", "tor-m2", "buk")


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": "missile", "name": "Missile"}],
            "families": [{"id": "any-family", "role": "missile", "name": "Any"}],
            "classes": [{"id": c, "family": "any-family", "names": [c]} for c in CLASSES],
            "look_alikes": [
                {
                    "classes": ["tor-m1", "tor-m2"],
                    "cues": [
                        {"text": "mesh or plate", "provenance": "derived"},
                        {"text": "low or tall", "provenance": "unchecked"},
                    ],
                }
            ],
        }
    )


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.5])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 3, 5)])
def test_probabilities_agree_with_scipy(shape: tuple[int, ...], temperature: float) -> None:
    logits = np.random.default_rng(3).normal(0, 6, shape)
    expected = scipy.special.softmax(logits / temperature, axis=-1)
    np.testing.assert_allclose(calibrated_probabilities(logits, temperature), expected, rtol=1e-12)


def test_huge_logits_neither_overflow_nor_warn() -> None:
    np.testing.assert_array_equal(calibrated_probabilities(np.array([1e6, 0.0, -1e6]), 1.0), [1, 0, 0])


def test_single_precision_logits_give_double_precision_probabilities() -> None:
    probabilities = calibrated_probabilities(np.array([0.1, 0.2, 0.3], dtype=np.float32), 1.0)
    assert probabilities.dtype == np.float64
    assert abs(probabilities.sum() - 1) < 1e-15


def test_a_batch_gets_the_probabilities_of_its_pictures_one_by_one() -> None:
    logits = np.random.default_rng(4).normal(size=(6, 3))
    one_by_one = [calibrated_probabilities(row, 2.0) for row in logits]
    np.testing.assert_array_equal(calibrated_probabilities(logits, 2.0), one_by_one)


def test_a_higher_temperature_is_less_sure_of_the_same_class() -> None:
    logits = np.array([3.0, 1.0, 0.0])
    cold, warm = calibrated_probabilities(logits, 1.0), calibrated_probabilities(logits, 4.0)
    assert cold.argmax() == warm.argmax() == 0
    assert warm.max() < cold.max()


def test_the_answer_is_the_most_probable_class_with_its_probability(taxonomy: Taxonomy) -> None:
    decision = decide(np.array([0.2, 0.1, 0.7]), CLASSES, taxonomy, top_k=3)
    assert (decision.label, decision.level, decision.probability) == ("buk", "class", 0.7)
    assert [(item.class_id, item.probability) for item in decision.top] == [
        ("buk", 0.7),
        ("tor-m1", 0.2),
        ("tor-m2", 0.1),
    ]


def test_equal_probabilities_keep_the_order_of_the_classes(taxonomy: Taxonomy) -> None:
    decision = decide(np.array([0.25, 0.5, 0.25]), CLASSES, taxonomy, top_k=3)
    assert [item.class_id for item in decision.top] == ["tor-m2", "tor-m1", "buk"]
    all_equal = decide(np.full(3, 1 / 3), CLASSES, taxonomy, top_k=3)
    assert [item.class_id for item in all_equal.top] == list(CLASSES)


@pytest.mark.parametrize("probabilities", [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]])
def test_look_alikes_bring_their_cues_whichever_comes_first(taxonomy: Taxonomy, probabilities: list[float]) -> None:
    decision = decide(np.array(probabilities), CLASSES, taxonomy, top_k=2)
    assert decision.cues == ("mesh or plate", "low or tall (unchecked)")
    assert f"runner-up {decision.top[1].class_id} is a look-alike" in decision.reason


def test_a_runner_up_that_is_no_look_alike_brings_no_cue(taxonomy: Taxonomy) -> None:
    decision = decide(np.array([0.6, 0.1, 0.3]), CLASSES, taxonomy, top_k=3)
    assert decision.cues == ()
    assert decision.reason == "most probable class"


def test_top_one_lists_one_class_and_still_checks_the_runner_up(taxonomy: Taxonomy) -> None:
    decision = decide(np.array([0.6, 0.3, 0.1]), CLASSES, taxonomy, top_k=1)
    assert [item.class_id for item in decision.top] == ["tor-m1"]
    assert decision.cues[0] == "mesh or plate"


def test_more_than_all_classes_lists_all_classes(taxonomy: Taxonomy) -> None:
    assert len(decide(np.array([0.6, 0.3, 0.1]), CLASSES, taxonomy, top_k=99).top) == 3


def test_a_single_class_is_answered_without_a_runner_up(taxonomy: Taxonomy) -> None:
    decision = decide(np.array([1.0]), ("buk",), taxonomy, top_k=5)
    assert (decision.label, decision.probability, decision.cues) == ("buk", 1.0, ())
