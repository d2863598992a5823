"""Deciding: the order of the steps, new promises from saved rows, and bundles from before there were any."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import run_vision

from vision.bundle import Bundle, KnownPictures
from vision.classify.decision import DecisionRules, decide, fit_threshold, rules_of
from vision.classify.redecide import redecided, rules_with
from vision.errors import PredictionsError
from vision.predictions import load_predictions, read_rows
from vision.taxonomy import load_taxonomy

CLASSES = ("tor-m1", "tor-m2k", "osa-akm", "shilka")
TAXONOMY = load_taxonomy()


def rules(**changed: object) -> DecisionRules:
    plain = DecisionRules(TAXONOMY, CLASSES, 0.05, 0.8, None, use_costs=False)
    return replace(plain, **changed)  # type: ignore[arg-type]


def answer(probabilities: list[float], rank: float | None = 0.5, **changed: object) -> tuple[str, str, float]:
    decision = decide(
        np.array(probabilities), CLASSES, TAXONOMY, top_k=4, rules=rules(**changed), novelty_rank=rank, digest="ab"
    )
    return decision.label, decision.level, round(decision.probability, 6)


def test_a_sure_class_is_named_a_pair_of_one_family_rolls_up_and_a_spread_is_unknown() -> None:
    assert answer([0.9, 0.05, 0.03, 0.02]) == ("tor-m1", "class", 0.9)
    assert answer([0.5, 0.45, 0.03, 0.02]) == (TAXONOMY.family_id("tor-m1"), "family", 0.95)
    assert answer([0.4, 0.3, 0.25, 0.05]) == (TAXONOMY.role_id("tor-m1"), "role", 0.95)
    label, level, _ = answer([0.3, 0.1, 0.2, 0.4])
    assert (label, level) == ("unknown", "unknown")


def test_novelty_comes_before_everything_and_its_reason_says_so() -> None:
    sure = np.array([0.99, 0.01, 0.0, 0.0])
    decision = decide(sure, CLASSES, TAXONOMY, top_k=4, rules=rules(), novelty_rank=0.97)
    assert (decision.label, decision.probability) == ("unknown", 0.97)
    assert "97% of the known pictures" in decision.reason
    assert decision.top[0].class_id == "tor-m1"
    assert answer([0.99, 0.01, 0.0, 0.0], rank=0.95) == ("tor-m1", "class", 0.99)


ALLOWANCE = {"unknown_share": 0.2, "novelty_exponent": 3.0}


def test_probabilities_allow_for_classes_never_seen_and_the_list_of_classes_does_not() -> None:
    known = 0.8 / (0.8 + 0.2 * 3 * 0.5**2)
    assert answer([0.99, 0.01, 0.0, 0.0], **ALLOWANCE)[2] == round(0.99 * known, 6)
    half = rules(roll_up_threshold=0.5, **ALLOWANCE)
    decision = decide(np.array([0.99, 0.01, 0.0, 0.0]), CLASSES, TAXONOMY, top_k=4, rules=half)
    assert decision.probability == pytest.approx(0.99 * 0.8)  # no rank: the share alone
    assert sum(item.probability for item in decision.top) == pytest.approx(1)


def test_no_share_of_unknown_classes_changes_nothing_and_no_information_scales() -> None:
    probabilities = [0.5, 0.45, 0.03, 0.02]
    assert answer(probabilities, 0.9, unknown_share=0.0, novelty_exponent=7.0) == answer(probabilities, 0.9)
    scaled = answer(probabilities, 0.9, unknown_share=0.1, roll_up_threshold=0.8 * 0.9)
    assert scaled == (TAXONOMY.family_id("tor-m1"), "family", 0.855)


def test_novelty_makes_an_answer_coarser_and_its_reason_says_so() -> None:
    probabilities = np.array([0.9, 0.09, 0.01, 0.0])
    strict = rules(roll_up_threshold=0.7, **ALLOWANCE)
    near, far = (
        decide(probabilities, CLASSES, TAXONOMY, top_k=4, rules=strict, novelty_rank=rank) for rank in (0.3, 0.72)
    )
    assert (near.level, near.reason[:4]) == ("class", "most")
    assert far.level == "family"
    assert far.reason.startswith("less like the training pictures than 72% of known pictures, so allowing for")
    sure_of_family = decide(np.array([0.5, 0.5, 0.0, 0.0]), CLASSES, TAXONOMY, top_k=4, rules=strict, novelty_rank=0.6)
    assert sure_of_family.level == "family"
    assert sure_of_family.reason.startswith("no class is probable enough")


def test_a_share_of_unknown_classes_without_information_leaves_the_fitted_answers() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(4, 0.1), 300)
    truths = np.array([generator.choice(4, p=row) for row in probabilities])
    known = KnownPictures(probabilities, truths, np.empty(0), np.empty(0, dtype=np.int64), generator.random(300))
    fit = partial(fit_threshold, known, rules().tree, target_accuracy=0.8, confidence=0.9)
    plain = fit(unknown_share=0.0, novelty_exponent=1.0)
    scaled = fit(unknown_share=0.3, novelty_exponent=1.0)
    assert scaled.value == pytest.approx(0.7 * plain.value)
    assert (scaled.is_promised, scaled.num_answers, scaled.accuracy) == (True, plain.num_answers, plain.accuracy)
    informed = fit(unknown_share=0.3, novelty_exponent=3.0)
    assert informed.accuracy >= 0.8


def test_costs_can_change_the_class_and_are_told() -> None:
    probabilities = np.array([0.45, 0.0, 0.1, 0.45])
    assert answer(probabilities.tolist(), roll_up_threshold=0.4)[0] == "tor-m1"
    taxonomy = TAXONOMY
    costs = taxonomy.cost_matrix(CLASSES)
    cheapest = CLASSES[int((probabilities @ costs).argmin())]
    decision = decide(
        probabilities, CLASSES, taxonomy, top_k=4, rules=rules(roll_up_threshold=0.4, use_costs=True), novelty_rank=0.1
    )
    assert decision.label == cheapest


def test_a_bundle_answers_by_its_rules_and_sets_hold_the_most_probable(bundle: Bundle, drawn_run: Path) -> None:
    assert rules_of(bundle) is not None
    table = load_predictions(drawn_run / "run" / "evaluation" / "predictions.parquet")
    for row in read_rows(table):
        assert row.label_set
        assert row.novelty_rank is not None
        assert 0 <= row.novelty_rank < 1
        if row.level == "class":
            assert row.label == row.top[0].class_id


def test_the_same_promises_give_the_same_answers_from_rows_alone(bundle: Bundle, drawn_run: Path) -> None:
    rows = list(read_rows(load_predictions(drawn_run / "run" / "evaluation" / "predictions.parquet")))
    own = rules_of(bundle)
    assert own is not None
    again = list(redecided(iter(rows), own))
    assert [(row.label, row.level, row.label_set) for row in again] == [
        (row.label, row.level, row.label_set) for row in rows
    ]


def test_a_lower_promise_answers_more_and_a_higher_one_less(drawn_run: Path, tmp_path: Path) -> None:
    saved = drawn_run / "run" / "evaluation" / "predictions.parquet"
    answered = {}
    for target in (0.5, 0.999):
        out = tmp_path / f"{target}.parquet"
        done = run_vision(
            "decide", saved, "-m", drawn_run / "run" / "bundle", "--target-accuracy", str(target), "-o", out
        )
        assert done.returncode == 0, done.stderr
        table = pl.read_parquet(out)
        assert "true_label" in table.columns
        answered[target] = (table["level"] != "unknown").sum()
    assert answered[0.5] >= answered[0.999]
    assert answered[0.5] > 0


def test_a_bundle_states_its_share_and_another_one_can_be_stated(bundle: Bundle) -> None:
    own = rules_with(bundle)
    assert own == rules_of(bundle)
    assert 0.1 <= own.unknown_share <= 0.5  # at least the stated one
    assert own.novelty_exponent >= 1
    none, many = (rules_with(bundle, unknown_share=share) for share in (0.0, 0.5))
    assert (none.unknown_share, many.unknown_share) == (0, 0.5)
    assert many.roll_up_threshold < none.roll_up_threshold
    assert rules_with(bundle, unknown_share=own.unknown_share).roll_up_threshold == pytest.approx(own.roll_up_threshold)


def test_rows_that_do_not_list_all_classes_are_refused(bundle: Bundle, drawn_run: Path) -> None:
    rows = list(read_rows(load_predictions(drawn_run / "run" / "evaluation" / "predictions.parquet")))
    short = replace(rows[0], top=rows[0].top[:2])
    with pytest.raises(PredictionsError, match=r"row 1 .* lists 2 classes, the bundle has 4; .*--top-k 4"):
        list(redecided(iter([short]), rules_with(bundle)))
