"""The finest answer that is sure enough: class, family, role, or everything; or the sure one of least expected cost.

N pictures, K classes, L = 3 levels below "everything", M nodes of a level or of all, T thresholds.

The probability of a node is the sum of its classes'. At each level the most probable node is the candidate; the answer
is the candidate of the finest level whose probability reaches the threshold. Where none does, the answer is
"everything": nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vision.predictions import Level
from vision.taxonomy import Taxonomy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NO_THRESHOLD = 2.0
"""A threshold that no probability reaches: every answer is "everything"."""

STEP_COST = 0.5
"""What an answer costs for each level that it leaves open, so half the distance of two classes of a family. Without it
a role, which costs as the cheapest of its classes, would never cost more than a class."""

# Tested from the first to the last. Fixed before any data are seen: that is what makes the tests valid.
THRESHOLDS: tuple[float, ...] = (0.999, *(step / 200 for step in range(199, 19, -1)))
_TEST_SHARES = {0.999: 0.5, 0.95: 0.25, 0.8: 0.25}  # of the allowed chance of failure, at the threshold where it enters


@dataclass(frozen=True)
class TreeLevel:
    """One level of the tree over a model's classes.

    Attributes:
        level: Its name in a prediction.
        node_ids: M ids.
        node_of_class: (K,) index into `node_ids`.
    """

    level: Level
    node_ids: tuple[str, ...]
    node_of_class: Ints


@dataclass(frozen=True)
class ClassTree:
    """Classes, families and roles over a model's K classes, finest level first."""

    levels: tuple[TreeLevel, ...]


@dataclass(frozen=True)
class RolledUpAnswers:
    """The answers for N pictures.

    Attributes:
        level_indices: (N,) into the tree's levels; L for "everything".
        node_indices: (N,) into the level's nodes; 0 for "everything".
        probabilities: (N,) of the answered node; 1 for "everything".
    """

    level_indices: Ints
    node_indices: Ints
    probabilities: Floats


@dataclass(frozen=True)
class CostRule:
    """Of the nodes that are probable enough, the one of least expected cost is answered, whatever its level.

    Of equally cheap ones it is the finest, then the first in order. Costs are expected by the probabilities of the
    classes, as if the picture were of one of them.

    Attributes:
        of_nodes: (K, M) for each true class; nodes of all levels, finest level first.
        of_everything: Of saying nothing; None if it is only said where no node is probable enough.
    """

    of_nodes: Floats
    of_everything: float | None = None


@dataclass(frozen=True)
class RollUpThreshold:
    """A threshold and what it was seen to give on the calibration pictures.

    Attributes:
        value: Answer the finest node whose probability is at least this.
        is_promised: Whether the finite-sample bound holds. If not, the pictures were too few or the answers too often
            wrong, and the value is a best effort.
        accuracy: Share of right answers among the calibration pictures that got one; NaN if none did.
        lower_bound: One-sided lower confidence bound of that accuracy, at this threshold alone; 0 without answers.
        num_answers: Calibration pictures that got an answer below "everything".
        sample_size: Independent pictures that these answers count as; less than `num_answers` where groups were given.
    """

    value: float
    is_promised: bool
    accuracy: float
    lower_bound: float
    num_answers: int
    sample_size: int


@dataclass(frozen=True)
class _Trial:
    """What a threshold gives on the calibration pictures."""

    threshold: float
    accuracy: float
    num_answers: int
    sample_size: int

    @property
    def num_wrong(self) -> int:
        """Wrong answers among the sample size, rounded up, so that a test stays on the safe side."""
        return 0 if self.num_answers == 0 else math.ceil((1 - self.accuracy) * self.sample_size - 1e-9)


def build_class_tree(taxonomy: Taxonomy, class_ids: Sequence[str]) -> ClassTree:
    """The tree over these classes, whose order is that of the model's outputs.

    Raises:
        TaxonomyError: A class is not in the taxonomy.
    """
    parents: dict[Level, Callable[[str], str]] = {"class": str, "family": taxonomy.family_id, "role": taxonomy.role_id}
    return ClassTree(tuple(_tree_level(level, [parent(c) for c in class_ids]) for level, parent in parents.items()))


def node_probabilities(probabilities: Floats, tree: ClassTree) -> tuple[Floats, ...]:
    """Probability of every node, (N, M) for each level, finest first."""
    return tuple(_sum_columns(probabilities, level.node_of_class, len(level.node_ids)) for level in tree.levels)


def rolled_up_answers(
    probabilities: Floats,
    tree: ClassTree,
    threshold: float,
    *,
    is_known: Floats | None = None,
    cost_rule: CostRule | None = None,
) -> RolledUpAnswers:
    """The finest sure answer for each picture, or with costs the cheapest sure one.

    Args:
        probabilities: (N, K), as if the class were one of these.
        tree: Over the K classes.
        threshold: Least probability of an answer.
        is_known: (N,) probability of the class being one of these, which all others are multiplied by; None for 1.
        cost_rule: What chooses among the sure answers; None for the finest.
    """
    return _answers_by_threshold(probabilities, tree, is_known, cost_rule)(threshold)


def build_cost_rule(tree: ClassTree, costs: Floats, *, of_everything: float | None = None) -> CostRule:
    """Costs of all nodes: a family or role costs as the cheapest of its classes, and `STEP_COST` for each level up.

    Args:
        tree: Over K classes.
        costs: (K, K), rows true, columns predicted: `Taxonomy.cost_matrix`.
        of_everything: See `CostRule`.
    """
    columns = [
        costs[:, level.node_of_class == node].min(axis=1) + STEP_COST * height
        for height, level in enumerate(tree.levels)
        for node in range(len(level.node_ids))
    ]
    return CostRule(np.stack(columns, axis=1), of_everything)


def right_answers(answers: RolledUpAnswers, class_indices: Ints, tree: ClassTree) -> Bools:
    """(N,) whether the true class is under the answered node; always so for "everything"."""
    truths = np.stack([*(level.node_of_class[class_indices] for level in tree.levels), np.zeros_like(class_indices)])
    right: Bools = truths[answers.level_indices, np.arange(len(class_indices))] == answers.node_indices
    return right


def fit_roll_up_threshold(
    probabilities: Floats,
    class_indices: Ints,
    tree: ClassTree,
    *,
    target_accuracy: float = 0.95,
    confidence: float = 0.9,
    groups: Sequence[str] | None = None,
    scale: float = 1.0,
    is_known: Floats | None = None,
    cost_rule: CostRule | None = None,
) -> RollUpThreshold:
    """The lowest threshold at which answers are right as often as wanted, with a finite-sample promise.

    The accuracy is that of the answers below "everything", so that saying nothing is not rewarded. (Goren et al. 2024
    count "everything" as right.) With probability `confidence` over calibration sets,
    the accuracy on further pictures is at least the target. At one threshold, the answers are independent and wrong
    with one chance, so "the chance is above 1 - target" is rejected by an exact one-sided binomial test, which is
    to say that the lower bound of Clopper and Pearson (1934) reaches the target. Trying many thresholds and keeping
    the best would break this. So they are a fixed list that is tested from the highest on by the fallback procedure of
    Wiens (2003): the allowed chance of failure enters in three places of the list, is handed on from a test that
    succeeds and lost at one that fails; the lowest success counts. This holds whatever the tests have to do with each
    other (it is "learn then test", Angelopoulos et al. 2021, arXiv 2110.01052).

    With no error at all, a target of 0.95 takes 59 independent answers above 0.999, or 72 above 0.95. Without
    the promise, the value is the lowest threshold, not below the target itself, at which the share of right answers
    among the calibration pictures is not below the target.

    Args:
        probabilities: (N, K), calibrated, of pictures that no model was fitted on.
        class_indices: (N,).
        tree: Over the K classes.
        target_accuracy: In (0, 1).
        confidence: In (0, 1).
        groups: N names. Pictures of one group rise and fall together; then the sample size is the number of groups
            that have answers, or less where groups are of unequal size (Kish 1965: square of the sum of the sizes by
            the sum of their squares). None takes all pictures as independent.
        scale: What `THRESHOLDS` and the least of a best effort are multiplied by, in (0, 1]: the share of pictures of
            known classes, where probabilities allow for others.
        is_known: As in `rolled_up_answers`.
        cost_rule: As in `rolled_up_answers`: the promise is about the answers that are given.
    """
    answers = _answers_by_threshold(probabilities, tree, is_known, cost_rule)
    trials = [_trial(answers(value * scale), class_indices, tree, value, groups) for value in THRESHOLDS]
    promised = None
    level = 0.0
    for trial in trials:
        level += (1 - confidence) * _TEST_SHARES.get(trial.threshold, 0.0)
        if level > 0 and binomial_cdf(trial.num_wrong, trial.sample_size, 1 - target_accuracy) <= level:
            promised = trial
        else:
            level = 0.0
    chosen = promised or _best_effort(trials, target_accuracy)
    return RollUpThreshold(
        value=NO_THRESHOLD if chosen.threshold == NO_THRESHOLD else chosen.threshold * scale,
        is_promised=promised is not None,
        accuracy=chosen.accuracy,
        lower_bound=accuracy_lower_bound(chosen.num_wrong, chosen.sample_size, confidence),
        num_answers=chosen.num_answers,
        sample_size=chosen.sample_size,
    )


def bound_at(
    answers: RolledUpAnswers, class_indices: Ints, tree: ClassTree, *, confidence: float, groups: Sequence[str]
) -> tuple[float, int]:
    """What the answers at a threshold bear out where pictures of a group rise and fall together.

    Args:
        answers: Of N pictures.
        class_indices: (N,) truth.
        tree: Over the classes.
        confidence: Of the bound, in (0, 1).
        groups: N names.

    Returns:
        One-sided lower bound of the accuracy, and the independent pictures that the answers count as.
    """
    trial = _trial(answers, class_indices, tree, 0.0, groups)
    return accuracy_lower_bound(trial.num_wrong, trial.sample_size, confidence), trial.sample_size


def expected_costs(probabilities: Floats, costs: Floats) -> Floats:
    """Expected cost of each of M answers, (N, M).

    Args:
        probabilities: (N, K).
        costs: (K, M), rows true.
    """
    expected = np.zeros((len(probabilities), costs.shape[1]))
    # Not a matrix product, whose rounding changes with N: a tie must fall alike in a batch and alone.
    for class_index, row in enumerate(costs):
        expected += probabilities[:, class_index, None] * row
    return expected


def binomial_cdf(num_wrong: int, num_trials: int, chance: float) -> float:
    """Probability of at most `num_wrong` in `num_trials`, each of which goes wrong with `chance` in (0, 1)."""
    if num_wrong >= num_trials:
        return 1.0
    wrong = np.arange(1, num_wrong + 1)
    # log C(n, w) as a running sum: numpy has no log-gamma.
    log_ways = np.concatenate([[0.0], np.cumsum(np.log((num_trials - wrong + 1) / wrong))])
    wrong = np.arange(num_wrong + 1)
    log_terms = log_ways + wrong * math.log(chance) + (num_trials - wrong) * math.log1p(-chance)
    return min(float(np.exp(log_terms).sum()), 1.0)


def accuracy_lower_bound(num_wrong: int, num_trials: int, confidence: float) -> float:
    """One-sided lower bound of Clopper and Pearson for the share of right answers; 0 without trials."""
    if num_wrong >= num_trials:
        return 0.0
    low, high = num_wrong / num_trials, 1.0  # the error rate's upper bound lies between
    for _ in range(60):
        middle = (low + high) / 2
        is_plausible = 0 < middle < 1 and binomial_cdf(num_wrong, num_trials, middle) > 1 - confidence
        low, high = (middle, high) if is_plausible else (low, middle)
    return 1 - high


def _tree_level(level: Level, parents: list[str]) -> TreeLevel:
    node_ids = tuple(dict.fromkeys(parents))
    positions = {node_id: index for index, node_id in enumerate(node_ids)}
    return TreeLevel(level, node_ids, np.array([positions[parent] for parent in parents], dtype=np.int64))


def _sum_columns(probabilities: Floats, node_of_class: Ints, num_nodes: int) -> Floats:
    """(N, K) -> (N, M). Added one after another, so that rounding does not depend on N."""
    num_rows = len(probabilities)
    places = np.arange(num_rows)[:, None] * num_nodes + node_of_class  # (N, K)
    sums = np.bincount(places.ravel(), weights=probabilities.ravel(), minlength=num_rows * num_nodes)
    return np.asarray(sums.reshape(num_rows, num_nodes), dtype=np.float64)


def _candidates(probabilities: Floats, tree: ClassTree) -> tuple[Ints, Floats]:
    """The most probable node of every level and its probability, (L, N) each; it never falls from level to level."""
    by_level = node_probabilities(probabilities, tree)
    nodes = np.stack([level.argmax(axis=1) for level in by_level])
    # A sum over many classes can round to just above 1, and to just below a part of it.
    reached = np.minimum(np.stack([level.max(axis=1) for level in by_level]), 1.0)
    return nodes, np.maximum.accumulate(reached, axis=0)


def _answers_by_threshold(
    probabilities: Floats, tree: ClassTree, is_known: Floats | None, cost_rule: CostRule | None
) -> Callable[[float], RolledUpAnswers]:
    allowed = probabilities if is_known is None else probabilities * is_known[:, None]
    if cost_rule is None:
        return partial(_finest_sure, *_candidates(allowed, tree))
    reached = np.minimum(np.concatenate(node_probabilities(allowed, tree), axis=1), 1.0)
    return partial(_cheapest_sure, reached, expected_costs(probabilities, cost_rule.of_nodes), cost_rule, tree)


def _cheapest_sure(
    reached: Floats, expected: Floats, cost_rule: CostRule, tree: ClassTree, threshold: float
) -> RolledUpAnswers:
    """The answers from the probabilities and expected costs of all nodes, (N, M) each."""
    sure = np.where(reached >= threshold, expected, np.inf)
    pictures, columns = np.arange(len(sure)), sure.argmin(axis=1)
    least = sure[pictures, columns]
    most = np.inf if cost_rule.of_everything is None else cost_rule.of_everything
    is_answer = (least < np.inf) & (least <= most)
    sizes = [len(level.node_ids) for level in tree.levels]
    level_of, node_of = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
    return RolledUpAnswers(
        level_indices=np.where(is_answer, level_of[columns], len(sizes)),
        node_indices=np.where(is_answer, node_of[columns], 0),
        probabilities=np.where(is_answer, reached[pictures, columns], 1.0),
    )


def _finest_sure(nodes: Ints, reached: Floats, threshold: float) -> RolledUpAnswers:
    """The answers from the candidates of every level and their probabilities, (L, N) each."""
    everything = np.ones_like(reached[:1])
    level_indices = np.concatenate([reached >= threshold, everything > 0]).argmax(axis=0)
    pictures = np.arange(reached.shape[1])
    return RolledUpAnswers(
        level_indices=level_indices,
        node_indices=np.concatenate([nodes, np.zeros_like(nodes[:1])])[level_indices, pictures],
        probabilities=np.concatenate([reached, everything])[level_indices, pictures],
    )


def _trial(
    answers: RolledUpAnswers, class_indices: Ints, tree: ClassTree, threshold: float, groups: Sequence[str] | None
) -> _Trial:
    is_answer = answers.level_indices < len(tree.levels)
    right = right_answers(answers, class_indices, tree)[is_answer]
    sample_size = len(right)
    if groups is not None and sample_size:
        sizes = np.unique(np.asarray(groups, dtype=object)[is_answer], return_counts=True)[1]
        sample_size = int(sizes.sum() ** 2 // (sizes**2).sum())
    return _Trial(threshold, float(right.mean()) if len(right) else math.nan, len(right), sample_size)


def _best_effort(trials: Sequence[_Trial], target_accuracy: float) -> _Trial:
    for trial in reversed(trials):
        if trial.threshold >= target_accuracy and not trial.accuracy < target_accuracy:
            return trial
    return _Trial(NO_THRESHOLD, math.nan, 0, 0)
