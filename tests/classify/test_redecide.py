"""Deciding: the order of the steps, new promises from saved rows, and bundles from before there were any."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.bundle import Bundle, KnownPictures
from vision.classify.decision import (
    Decider,
    Decision,
    DecisionRules,
    as_percent,
    decide,
    fit_threshold,
    promise_of,
    rules_of,
)
from vision.classify.novelty import known_probability
from vision.classify.redecide import OtherPromises, redecided, rules_with
from vision.classify.roll_up import NO_THRESHOLD, rolled_up_answers
from vision.errors import BundleError, PredictionsError, UsageError
from vision.predictions import load_predictions, read_rows
from vision.taxonomy import ConfusionCost, Taxonomy, load_taxonomy

CLASSES = ("tor-m1", "tor-m2k", "osa-akm", "shilka")
TAXONOMY = load_taxonomy()
REPEATABLE = settings(deadline=None, derandomize=True, database=None, max_examples=50)


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
    assert decision.reason.startswith("less like any training picture than 97 % of the known pictures held out")
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


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ("relative_mahalanobis", "less like the training pictures of any class than 97 %"),
        ("entropy", "with the classes more alike in probability than 97 %"),
        ("max_softmax", "with a less probable first class than 97 %"),
        ("energy", "with less that speaks for any class (energy) than 97 %"),
    ],
)
def test_novelty_is_told_in_the_words_of_its_score(score: str, words: str) -> None:
    decision = decide(np.full(4, 0.25), CLASSES, TAXONOMY, top_k=4, rules=rules(novelty_score=score), novelty_rank=0.97)
    assert decision.reason.startswith(words)


def test_no_picture_is_told_to_be_beyond_100_percent_and_no_answer_to_need_200() -> None:
    assert as_percent(0.99999) == "99.9 %"
    never = rules(roll_up_threshold=NO_THRESHOLD)
    decision = decide(np.array([0.9, 0.1, 0, 0]), CLASSES, TAXONOMY, top_k=4, rules=never, novelty_rank=0.1)
    assert decision.label == "unknown"
    assert decision.reason == (
        "no threshold keeps the promise on the known pictures, so no class, family or role is answered"
    )


def test_novelty_makes_an_answer_coarser_and_its_reason_gives_both_probabilities() -> None:
    probabilities = np.array([0.9, 0.09, 0.01, 0.0])
    strict = rules(roll_up_threshold=0.7, **ALLOWANCE)
    near, far = (
        decide(probabilities, CLASSES, TAXONOMY, top_k=4, rules=strict, novelty_rank=rank) for rank in (0.3, 0.72)
    )
    assert (near.level, near.reason[:4]) == ("class", "most")
    assert far.level == "family"
    assert far.reason == (
        "tor-m1 has 90 %, but 64.8 % once 20 % unknown classes are allowed for, in a picture less like any training "
        "picture than 72 % of the known ones; an answer needs 70 %; the family has it"
    )


def test_the_reason_of_an_unsure_class_names_the_two_and_what_was_needed() -> None:
    strict = rules(roll_up_threshold=0.7, **ALLOWANCE)
    sure_of_family = decide(np.array([0.5, 0.5, 0.0, 0.0]), CLASSES, TAXONOMY, top_k=4, rules=strict, novelty_rank=0.6)
    assert sure_of_family.level == "family"
    assert sure_of_family.reason.startswith("tor-m1 and tor-m2k come first and neither is probable enough")
    spread = decide(np.full(4, 0.25), CLASSES, TAXONOMY, top_k=4, rules=rules(roll_up_threshold=0.8), novelty_rank=0.6)
    assert spread.reason == "no class, family or role is probable enough; an answer needs 80 %"


def test_a_picture_that_was_trained_on_is_told_wherever_it_is_decided() -> None:
    decider = Decider(CLASSES, TAXONOMY, top_k=4, rules=rules(), trained_on={"ab"})
    probabilities = np.array([0.9, 0.05, 0.03, 0.02])
    assert decider.decide(probabilities, 0.5, "ab").reason == "trained on this very picture; most probable class"
    row = decide(probabilities, CLASSES, TAXONOMY, top_k=4, rules=rules()).row("x", "ab", novelty_rank=0.5)
    (again,) = redecided(iter([row]), rules(), trained_on={"ab"})
    assert again.reason.startswith("trained on this very picture; ")


def known_pictures(num: int = 300, groups: list[str] | None = None) -> KnownPictures:
    """Honest probabilities, and ranks that say nothing."""
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(4, 0.1), num)
    truths = np.array([generator.choice(4, p=row) for row in probabilities])
    numbers = None if groups is None else np.unique(groups, return_inverse=True)[1]
    return KnownPictures(
        probabilities, truths, np.empty(0), np.empty(0, dtype=np.int64), generator.random(num), None, numbers
    )


FIT = {"target_accuracy": 0.8, "confidence": 0.9}


def test_a_share_of_unknown_classes_without_information_leaves_the_fitted_answers() -> None:
    fit = partial(fit_threshold, known_pictures(), **FIT)
    plain = fit(rules())
    scaled = fit(rules(unknown_share=0.3))
    assert scaled.value == pytest.approx(0.7 * plain.value)
    assert (scaled.is_promised, scaled.num_answers, scaled.accuracy) == (True, plain.num_answers, plain.accuracy)
    informed = fit(rules(unknown_share=0.3, novelty_exponent=3.0))
    assert informed.accuracy >= 0.8


def test_pictures_that_novelty_calls_unknown_do_not_bear_out_the_promise() -> None:
    known = known_pictures()
    flagged = known.novelty_ranks > 0.7
    wrong = np.where(flagged, (known.class_indices + 1) % 4, known.class_indices)
    fitted = fit_threshold(replace(known, class_indices=wrong), rules(false_alarms=0.3), **FIT)
    own = fit_threshold(known, rules(false_alarms=0.3), **FIT)
    assert (fitted.value, fitted.num_answers, fitted.accuracy) == (own.value, own.num_answers, own.accuracy)
    assert fitted.num_answers <= (~flagged).sum()
    assert not fit_threshold(replace(known, class_indices=wrong), rules(false_alarms=0.001), **FIT).is_promised


def test_a_promise_tells_its_bound_by_pictures_and_by_groups() -> None:
    known = known_pictures(groups=[str(row // 10) for row in range(300)])
    fitted = fit_threshold(known, rules(), **FIT)
    promise = promise_of(known, rules(), fitted, **FIT)
    assert promise.by_groups is not None
    assert promise.bound is not None
    assert promise.by_groups.sample_size <= 30 < promise.bound.sample_size
    assert promise.by_groups.lower_bound < promise.bound.lower_bound
    assert str(promise).startswith("promised: 80 % of the answers right; ")
    assert str(replace(promise, is_promised=False)).startswith("best effort, not promised: ")


def costly(**costs: float) -> Taxonomy:
    """The taxonomy with stated costs of answering tor-m1, by true class."""
    stated = [ConfusionCost(true_class=t, predicted_class="tor-m1", cost=c) for t, c in costs.items()]
    return TAXONOMY.model_copy(update={"costs": (*TAXONOMY.costs, *stated)})


def cost_answer(probabilities: list[float], taxonomy: Taxonomy = TAXONOMY, **changed: object) -> Decision:
    ruled = rules(taxonomy=taxonomy, use_costs=True, roll_up_threshold=0.4, **changed)
    return decide(np.array(probabilities), CLASSES, taxonomy, top_k=4, rules=ruled, novelty_rank=0.1)


def test_costs_can_change_the_answer_and_both_expected_costs_are_told() -> None:
    probabilities = [0.9, 0.0, 0.0, 0.1]
    assert cost_answer(probabilities).label == "tor-m1"
    decision = cost_answer(probabilities, costly(shilka=20))
    assert (decision.label, decision.probability) == ("tor-family", pytest.approx(0.9))
    assert decision.reason == "least expected cost, 0.80; tor-m1 is probable enough, but is expected to cost 2.00"


def test_of_two_classes_that_are_sure_enough_the_cheaper_one_is_named() -> None:
    decision = cost_answer([0.46, 0.0, 0.0, 0.54], costly(shilka=1))
    assert (decision.label, decision.level) == ("tor-m1", "class")  # 0.54 against 3 x 0.46
    assert rules(use_costs=False).cost_rule is None
    assert answer([0.46, 0.0, 0.0, 0.54], roll_up_threshold=0.4)[0] == "shilka"


def test_costs_never_name_what_is_not_probable_enough() -> None:
    assert cost_answer([0.9, 0.0, 0.0, 0.1], costly(shilka=1000)).probability >= 0.4
    unsure = cost_answer([0.9, 0.0, 0.0, 0.1], costly(shilka=1000), unknown_share=0.6)
    assert (unsure.label, unsure.level) == ("unknown", "unknown")


def test_unknown_is_answered_where_its_stated_cost_is_the_least() -> None:
    decision = cost_answer([0.9, 0.0, 0.0, 0.1], costly(shilka=20), unknown_cost=0.7)
    assert (decision.label, decision.probability) == ("unknown", pytest.approx(0.1))
    assert decision.reason == (
        "unknown costs 0.7, any answer that is probable enough more; tor-m1 is expected to cost 2.00"
    )


@REPEATABLE
@given(st.integers(0, 10_000), st.booleans(), st.floats(0.1, 1))
def test_a_picture_is_decided_as_the_promise_was_fitted_in_a_batch(seed: int, costs: bool, threshold: float) -> None:
    generator = np.random.default_rng(seed)
    probabilities, ranks = generator.dirichlet(np.full(4, 0.3), 30), generator.random(30)
    ruled = rules(use_costs=costs, roll_up_threshold=threshold, false_alarms=1e-9, **ALLOWANCE)
    answers = rolled_up_answers(
        probabilities,
        ruled.tree,
        threshold,
        is_known=known_probability(ranks, ruled.unknown_share, ruled.novelty_exponent),
        cost_rule=ruled.cost_rule,
    )
    names = [[*level.node_ids] for level in ruled.tree.levels] + [["unknown"]]
    together = [names[level][node] for level, node in zip(answers.level_indices, answers.node_indices, strict=True)]
    decider = Decider(CLASSES, TAXONOMY, top_k=4, rules=ruled)
    assert [decider.decide(*of_one).label for of_one in zip(probabilities, ranks.tolist(), strict=True)] == together


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
    none, many = (rules_with(bundle, OtherPromises(unknown_share=share)) for share in (0.0, 0.5))
    assert (none.unknown_share, many.unknown_share) == (0, 0.5)
    assert many.roll_up_threshold < none.roll_up_threshold
    same = rules_with(bundle, OtherPromises(unknown_share=own.unknown_share))
    assert same.roll_up_threshold == pytest.approx(own.roll_up_threshold)
    assert same.promise == own.promise


def test_rows_that_do_not_list_all_classes_are_refused(bundle: Bundle, drawn_run: Path) -> None:
    rows = list(read_rows(load_predictions(drawn_run / "run" / "evaluation" / "predictions.parquet")))
    short = replace(rows[0], top=rows[0].top[:2])
    with pytest.raises(PredictionsError, match=r"row 1 .* lists 2 classes, the bundle has 4; .*classify -o"):
        list(redecided(iter([short]), rules_with(bundle)))


def test_rows_of_another_bundle_are_refused_unless_that_is_wanted(bundle: Bundle, drawn_run: Path) -> None:
    rows = list(read_rows(load_predictions(drawn_run / "run" / "evaluation" / "predictions.parquet")))
    other = replace(rows[0], model="0123456789abcdef0123")
    with pytest.raises(
        PredictionsError, match=r"row 1 .* by the bundle 0123456789abcdef, not by this one, .*--any-model"
    ):
        list(redecided(iter([other]), rules_with(bundle), model=bundle.digest))
    assert len(list(redecided(iter(rows), rules_with(bundle), model=bundle.digest))) == len(rows)
    assert len(list(redecided(iter([other]), rules_with(bundle)))) == 1


def test_label_sets_follow_another_coverage_from_the_pictures_that_the_bundle_keeps(bundle: Bundle) -> None:
    same, wide = (rules_with(bundle, OtherPromises(coverage=coverage)).label_sets for coverage in (0.95, 0.6))
    own = rules_with(bundle).label_sets
    assert same == own
    assert wide is not None
    assert own is not None
    assert wide.coverage == 0.6
    assert max(wide.quantiles) < max(own.quantiles)


def test_an_older_bundle_says_that_its_coverage_cannot_be_changed(bundle: Bundle) -> None:
    known = bundle.reference.known
    assert known is not None
    older = Bundle(bundle.folder, bundle.info, bundle.digest)
    older.__dict__["reference"] = replace(bundle.reference, known=replace(known, sha256=None, groups=None))
    with pytest.raises(BundleError, match=r"keeps no digests of its known pictures, .*coverage .*\(0\.95\)"):
        rules_with(older, OtherPromises(coverage=0.9))
    assert rules_with(older, OtherPromises(target_accuracy=0.6)).promise is not None


def test_a_cost_of_unknown_without_costs_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"--unknown-cost 0\.5 .* --costs taxonomy"):
        rules_with(bundle, OtherPromises(unknown_cost=0.5))
    both = rules_with(bundle, OtherPromises(unknown_cost=0.5, costs="taxonomy"))
    assert both.cost_rule is not None
    assert both.cost_rule.of_everything == 0.5


def test_what_classify_wrote_can_be_decided_again_and_both_say_what_is_not_promised(
    drawn_run: Path, tmp_path: Path
) -> None:
    pictures, model = drawn_run / "data" / "images", drawn_run / "run" / "bundle"
    rows, out = tmp_path / "rows.jsonl", tmp_path / "decided.jsonl"
    strict = ("--target-accuracy", "0.99", "--confidence", "0.99", "--coverage", "0.9", "--costs", "taxonomy")
    done = run_vision("classify", pictures, "-m", model, "-o", rows, *strict)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("best effort, not promised: 99 % of the answers right") == 1
    again = run_vision("decide", rows, "-m", model, "-o", out, *strict)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("best effort, not promised: 99 % of the answers right") == 1
    assert out.read_text() == rows.read_text()
