"""The script that divides pictures again and again: its halves, the answers that ship, its table and plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawings import write_drawings
from measure_honesty import Pool, divide, division, draw, fit_and_ask, judge, judged_pictures, table

from vision.classify.decision import DecisionRules, decide, fit_threshold
from vision.classify.roll_up import NO_THRESHOLD
from vision.config import load_config
from vision.errors import ManifestError
from vision.taxonomy import load_taxonomy
from vision.train.training_set import prepare_run

CLASSES = ("tor-m1", "tor-m2k", "shilka", "gepard")
TAXONOMY = load_taxonomy()
TARGET = 0.95


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Honest logits: truths are drawn from their softmax; groups of five; novelty says nothing, and is allowed for."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 6, (400, 4))
    truths = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return Pool(
        logits,
        generator.random(400),
        truths,
        [str(row // 5) for row in range(400)],
        [str(row) for row in range(400)],
        DecisionRules(TAXONOMY, CLASSES, 0.05, NO_THRESHOLD, None, False, 0.1, 2.0),
        coverage=0.95,
        confidence=0.9,
    )


def test_a_division_halves_the_groups_and_divides_none(pool: Pool) -> None:
    fitted, judged = division(pool.groups, seed=0)
    assert len(fitted) == len(judged) == 200
    assert not {pool.groups[row] for row in fitted} & {pool.groups[row] for row in judged}
    assert not np.array_equal(fitted, division(pool.groups, seed=1)[0])


def test_honest_probabilities_keep_their_promises(pool: Pool) -> None:
    found = divide(pool, [0.9], [division(pool.groups, seed) for seed in range(4)])[0.9]
    kept, num_promised = found.share_kept(0.9)
    assert num_promised == 4
    assert kept >= 0.75
    assert found.share_broken(0.9) == pytest.approx(1 - kept)
    assert found.coverage.mean() == pytest.approx(0.95, abs=0.04)
    assert found.flagged.mean() == pytest.approx(0.05, abs=0.03)
    assert found.answered.min() > 0.5
    judged = found.probabilities.any(axis=1)
    np.testing.assert_allclose(found.probabilities[judged].sum(axis=1), 1, atol=1e-9)
    assert found.allowed[judged].sum(axis=1).mean() < 0.95


def test_the_answers_are_those_that_ship(pool: Pool) -> None:
    """One by one by `decide`, with the threshold of the division: as many answers, as many of them right."""
    fitted, asked = fit_and_ask(pool, *division(pool.groups, 0))
    threshold = fit_threshold(fitted.known, pool.rules, target_accuracy=TARGET, confidence=0.9)
    rules = replace(pool.rules, roll_up_threshold=threshold.value)
    decisions = [
        decide(row, CLASSES, TAXONOMY, top_k=4, rules=rules, novelty_rank=float(rank))
        for row, rank in zip(asked.probabilities, asked.ranks, strict=True)
    ]
    truths = [CLASSES[index] for index in asked.class_indices]
    right = [
        label in (truth, TAXONOMY.family_id(truth), TAXONOMY.role_id(truth))
        for truth, label in zip(truths, (each.label for each in decisions), strict=True)
        if label != "unknown"
    ]
    _, accuracy, answered, *_ = judge(pool, fitted, asked, TARGET)
    assert answered == pytest.approx(len(right) / len(decisions))
    assert accuracy == pytest.approx(np.mean(right))


def test_probabilities_that_lie_are_answered_less_often(pool: Pool) -> None:
    guesses = replace(pool, logits=np.random.default_rng(1).permutation(pool.logits))
    divisions = [division(pool.groups, seed) for seed in range(2)]
    lying, honest = (divide(each, [TARGET], divisions)[TARGET] for each in (guesses, pool))
    assert lying.answered.mean() < honest.answered.mean() / 2
    assert lying.set_size.mean() > honest.set_size.mean()


def test_the_table_has_a_column_for_each_way_to_divide_a_part_for_each_target_and_the_plot_both(pool: Pool) -> None:
    divisions = divide(pool, [TARGET, 0.8], [division(pool.groups, seed) for seed in range(2)])
    found = {"groups": divisions, "pictures": divisions}
    lines = table(pool, found)
    assert lines[0].split() == ["by", "groups", "by", "pictures"]
    assert [line for line in lines if "accuracy of 80%" in line]
    assert sum("AURC" in line for line in lines) == 3
    assert len(draw(pool, found).axes) == 2


def test_where_nothing_is_promised_nothing_is_said_to_be_kept(pool: Pool) -> None:
    divisions = divide(pool, [0.999], [division(pool.groups, 0)])
    lines = table(pool, {"groups": divisions, "pictures": divisions})
    (kept,) = [line for line in lines if "kept, of those" in line]
    assert kept.count("nothing to keep") == 2
    assert "nan" not in "".join(lines)


def test_without_pictures_to_divide_the_script_says_which_splits_it_needs(tmp_path: Path) -> None:
    config = write_drawings(tmp_path)
    manifest = tmp_path / "manifest.csv"
    text = manifest.read_text(encoding="utf-8").replace(",test,", ",train,").replace(",calibration,", ",train,")
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(
        ManifestError, match=r"manifest\.csv: the splits calibration and test have fewer than two groups"
    ):
        judged_pictures(prepare_run(load_config(config)))


def test_ranks_of_the_second_half_are_among_the_first(pool: Pool) -> None:
    first, second = division(pool.groups, 0)
    moved = replace(pool, novelty=np.where(np.isin(np.arange(400), second), 9.0, pool.novelty))
    asked = fit_and_ask(moved, first, second)[1]
    np.testing.assert_allclose(asked.ranks, 200 / 201)
