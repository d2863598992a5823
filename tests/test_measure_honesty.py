"""The script that divides pictures again and again: its halves, its figures, its table and plot."""

from __future__ import annotations

import numpy as np
import pytest
from measure_honesty import Pool, divide, division, draw, table

from vision.classify.roll_up import build_class_tree
from vision.config import DecideSettings
from vision.taxonomy import load_taxonomy

CLASSES = ("tor-m1", "tor-m2k", "shilka", "gepard")
SETTINGS = DecideSettings()


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Honest logits: truths are drawn from their softmax; groups of five."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 6, (400, 4))
    truths = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    names = [str(row) for row in range(400)]
    return Pool(
        logits, truths, [str(row // 5) for row in range(400)], names, build_class_tree(load_taxonomy(), CLASSES)
    )


def test_a_division_halves_the_groups_and_divides_none(pool: Pool) -> None:
    fitted, judged = division(pool.groups, seed=0)
    assert len(fitted) == len(judged) == 200
    assert not {pool.groups[row] for row in fitted} & {pool.groups[row] for row in judged}
    assert not np.array_equal(fitted, division(pool.groups, seed=1)[0])


def test_honest_probabilities_keep_their_promises(pool: Pool) -> None:
    found = divide(pool, SETTINGS, [division(pool.groups, seed) for seed in range(8)])
    kept, num_promised = found.share_kept(SETTINGS.target_accuracy)
    assert num_promised == 8
    assert kept >= 0.75
    assert found.coverage.mean() == pytest.approx(0.95, abs=0.03)
    assert found.answered.min() > 0.5
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-9)


def test_probabilities_that_lie_are_answered_less_often(pool: Pool) -> None:
    generator = np.random.default_rng(1)
    guesses = Pool(generator.permutation(pool.logits), pool.class_indices, pool.groups, pool.digests, pool.tree)
    divisions = [division(pool.groups, seed) for seed in range(2)]
    lying, honest = (divide(each, SETTINGS, divisions) for each in (guesses, pool))
    assert lying.answered.mean() < honest.answered.mean() / 2
    assert lying.set_size.mean() > honest.set_size.mean()


def test_the_table_has_a_column_for_each_way_to_divide_and_the_plot_both(pool: Pool) -> None:
    divisions = divide(pool, SETTINGS, [division(pool.groups, seed) for seed in range(2)])
    found = {"groups": divisions, "pictures": divisions}
    lines = table(pool, SETTINGS, found)
    assert lines[0].split() == ["by", "groups", "by", "pictures"]
    assert any("promised 95%" in line for line in lines)
    assert len(draw(pool, SETTINGS, found).axes) == 2
