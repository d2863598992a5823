"""What a bundle's card says of its answers."""

from __future__ import annotations

import re

from vision.bundle import AnswerBound, Bundle, DecisionInfo
from vision.train.model_card import _decision_lines


def lines_of(bundle: Bundle, **changes: object) -> str:
    assert bundle.info.decision is not None
    return _decision_lines(DecisionInfo.model_validate(bundle.info.decision.model_dump() | changes))


def test_the_card_of_a_run_tells_its_threshold_and_both_bounds(bundle: Bundle) -> None:
    card = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert lines_of(bundle) in card
    assert re.search(r"An answer at class, family or role (needs [\d.]+ %|is never given)", card)
    assert "if pictures count one by one" in card
    assert "if pictures of a group count together" in card


def test_vector_scaling_is_not_told_as_a_temperature(bundle: Bundle) -> None:
    text = lines_of(bundle, calibration_method="vector", scale=(0.5, 1, 1, 2.0))
    assert "Calibration: vector scaling, scales 0.500 to 2.000." in text
    assert "temperature" not in text
    assert "temperature scaling, 2.000" in lines_of(bundle, calibration_method="temperature", scale=(0.5,) * 4)


def test_a_best_effort_is_told_with_its_reason_and_bounds(bundle: Bundle) -> None:
    bound = AnswerBound(lower_bound=0.8765, num_answers=30, sample_size=12)
    text = lines_of(bundle, is_promised=False, bound_by_groups=bound.model_dump(), target_accuracy=0.95)
    assert "Best effort, not promised (too few pictures or too many wrong answers): 95 % of them right." in text
    assert "at least 87.6 % are right if pictures of a group count together (sample size 12" in text
    learnt = lines_of(bundle, is_promised=False, may_promise=False)
    assert "not promised (the network has learnt from these pictures)" in learnt


def test_a_threshold_that_nothing_reaches_and_costs_are_told(bundle: Bundle) -> None:
    assert "is never given: no threshold keeps the target" in lines_of(bundle, roll_up_threshold=2.0)
    text = lines_of(bundle, costs="taxonomy", unknown_cost=1.5)
    assert 'the one of least expected cost is given; "unknown" costs 1.5.' in text
