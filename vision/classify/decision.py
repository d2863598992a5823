"""From logits to an answer.

The steps, in this order, wherever an answer is made:

1. logits * scale + bias, softmax: calibrated probabilities of the classes;
2. a picture that is more novel than all but `false_alarms` of the known pictures held out is "unknown";
3. else all probabilities are multiplied by that of the class being one of the model's, which falls with novelty;
4. the finest of class, family and role whose probability reaches the threshold, or "unknown" if none does. With costs,
   of all classes, families and roles that reach it, the one of least expected cost. The probability of "unknown" is the
   novelty's rank in step 2, and here that of the most probable role being wrong;
5. beside it, always: the classes with their probabilities, the label set, the cue against the runner-up; these take the
   class as one of the model's.

The threshold is fitted to what these steps answer about known pictures that step 2 lets pass.

K classes, D features, M known pictures.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vision.bundle import AnswerBound, Bundle, BundleInfo, DecisionInfo, KnownPictures, Reference
from vision.classify.label_sets import LabelSetRule
from vision.classify.novelty import (
    NearestNeighbourScore,
    NoveltyRanking,
    known_probability,
    known_probability_of_one,
    load_embedding_score,
)
from vision.classify.roll_up import (
    ClassTree,
    CostRule,
    RollUpThreshold,
    bound_at,
    build_class_tree,
    build_cost_rule,
    fit_roll_up_threshold,
    rolled_up_answers,
)
from vision.predictions import ClassProbability, Level, Prediction
from vision.taxonomy import Taxonomy

UNKNOWN: Final = "unknown"

_LESS_ALIKE = "less like any training picture than"
_NOVELTY_IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "nearest_neighbour": _LESS_ALIKE,
        "fifth_neighbour": "with fewer training pictures like it than",
        "relative_mahalanobis": "less like the training pictures of any class than",
        "max_softmax": "with a less probable first class than",
        "entropy": "with the classes more alike in probability than",
        "energy": "with less that speaks for any class (energy) than",
    }
)


@dataclass(frozen=True)
class Decision:
    """An answer and what it rests on; the fields are those of `vision.predictions.Prediction`."""

    label: str
    level: Level
    probability: float
    reason: str
    top: tuple[ClassProbability, ...]
    cues: tuple[str, ...]
    label_set: tuple[str, ...] = ()

    def row(self, file_name: str, sha256: str, **others: Any) -> Prediction:
        """The answer as the row of its picture; other fields of the row are given, or instead of the answer's."""
        return Prediction(file_name, sha256, "ok", **{**{name: getattr(self, name) for name in _FIELDS}, **others})


_FIELDS = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True)
class Promise:
    """What a threshold promises of the answers at class, family or role, and what bears it out.

    Attributes:
        target_accuracy: Share of right answers.
        confidence: Over draws of the known pictures.
        is_promised: Whether the finite-sample bound holds; else the threshold is a best effort.
        bound: Of the known pictures' answers, each picture counting for itself; None in older bundles.
        by_groups: The same where pictures of a group rise and fall together.
    """

    target_accuracy: float
    confidence: float
    is_promised: bool
    bound: AnswerBound | None = None
    by_groups: AnswerBound | None = None

    def __str__(self) -> str:
        """One line for people."""
        what = "promised" if self.is_promised else "best effort, not promised"
        text = f"{what}: {as_percent(self.target_accuracy)} of the answers right"
        if self.bound is not None:
            text += f"; {self.bound.num_answers} answers about known pictures bear out {_bound_in_words(self.bound)}"
        if self.by_groups is not None:
            text += (
                f", or {_bound_in_words(self.by_groups)} if pictures of a group count together "
                f"(as {self.by_groups.sample_size})"
            )
        return f"{text}, with {as_percent(self.confidence)} confidence"


@dataclass(frozen=True)
class DecisionRules:
    """What turns probabilities and novelty into an answer.

    Attributes:
        taxonomy: Families, roles, costs.
        classes: K ids.
        false_alarms: Unknown if the novelty's rank is above 1 minus this.
        roll_up_threshold: Least probability of an answer.
        label_sets: What makes the label set; None for none.
        use_costs: Of the answers that are probable enough, give the one of least expected cost.
        unknown_share: Of pictures whose class is none of the model's; probabilities allow for it.
        novelty_exponent: How much more novel these are, see `known_probability`.
        unknown_cost: What "unknown" costs; None if it is only said where nothing is probable enough.
        novelty_score: Its name, for words.
        promise: What the threshold promises.
    """

    taxonomy: Taxonomy
    classes: tuple[str, ...]
    false_alarms: float
    roll_up_threshold: float
    label_sets: LabelSetRule | None
    use_costs: bool
    unknown_share: float = 0.0
    novelty_exponent: float = 1.0
    unknown_cost: float | None = None
    novelty_score: str = "nearest_neighbour"
    promise: Promise | None = None

    @cached_property
    def tree(self) -> ClassTree:
        """Classes, families and roles."""
        return build_class_tree(self.taxonomy, self.classes)

    @cached_property
    def cost_rule(self) -> CostRule | None:
        """What chooses among sure answers, if costs do."""
        if not self.use_costs:
            return None
        return build_cost_rule(self.tree, self.taxonomy.cost_matrix(self.classes), of_everything=self.unknown_cost)


class NoveltyMeter:
    """A bundle's novelty score, as the share of held-out known pictures that are less novel."""

    def __init__(self, info: BundleInfo, reference: Reference) -> None:
        assert info.decision is not None
        known = reference.known
        assert known is not None
        scores = [load_embedding_score(arrays) for arrays in reference.novelty]
        self._ranking = NoveltyRanking.of(
            info.decision.novelty_score, scores, known.novelty_scores, known.novelty_folds
        )
        only = scores[0] if len(scores) == 1 else None
        self._neighbours = (
            only
            if isinstance(only, NearestNeighbourScore)
            and np.array_equal(only.references, reference.embeddings)
            and not only.basis.shape[1]
            else None
        )

    def rank(
        self,
        logits: NDArray[np.floating],
        embedding: NDArray[np.floating],
        similarities: NDArray[np.float32] | None = None,
    ) -> float:
        """Of one picture, in [0, 1).

        Args:
            logits: (K,).
            embedding: (D,).
            similarities: (R,) cosines to the training pictures, which spare a score on these its product.
        """
        if self._neighbours is not None and similarities is not None:
            return self._ranking.rank_of([self._neighbours.distance_of(similarities)])
        return self._ranking.rank(logits, embedding)


def rules_of(bundle: Bundle) -> DecisionRules | None:
    """The rules that training left in a bundle; None in bundles from before there were any."""
    info = bundle.info
    if info.decision is None or bundle.reference.known is None:
        return None
    return rules_from(info.decision, info.taxonomy, info.classes)


def rules_from(decision: DecisionInfo, taxonomy: Taxonomy, classes: tuple[str, ...]) -> DecisionRules:
    """The rules that were fitted for these K classes."""
    return DecisionRules(
        taxonomy,
        classes,
        decision.false_alarms,
        decision.roll_up_threshold,
        LabelSetRule(**decision.label_sets.model_dump()),
        decision.costs == "taxonomy",
        decision.unknown_share,
        decision.novelty_exponent,
        decision.unknown_cost,
        decision.novelty_score,
        Promise(
            decision.target_accuracy,
            decision.confidence,
            decision.is_promised,
            decision.bound,
            decision.bound_by_groups,
        ),
    )


def fit_threshold(
    known: KnownPictures, rules: DecisionRules, *, target_accuracy: float, confidence: float
) -> RollUpThreshold:
    """The threshold that keeps a promise about the answers that these rules give on pictures of known classes.

    Pictures that novelty calls unknown get no other answer and do not count. Without an allowance for unknown classes,
    or if novelty says nothing, answers are those of the probabilities alone.

    Args:
        known: Pictures that no model was fitted on.
        rules: All but the threshold, which is not looked at.
        target_accuracy: In (0, 1).
        confidence: In (0, 1).
    """
    asked = _asked_pictures(known, rules)
    return fit_roll_up_threshold(
        known.probabilities[asked],
        known.class_indices[asked],
        rules.tree,
        target_accuracy=target_accuracy,
        confidence=confidence,
        scale=1 - rules.unknown_share,
        is_known=known_probability(known.novelty_ranks[asked], rules.unknown_share, rules.novelty_exponent),
        cost_rule=rules.cost_rule,
    )


def promise_of(
    known: KnownPictures, rules: DecisionRules, fitted: RollUpThreshold, *, target_accuracy: float, confidence: float
) -> Promise:
    """What a fitted threshold promises, with its bound by pictures and by groups; arguments as in `fit_threshold`."""
    bound = AnswerBound(lower_bound=fitted.lower_bound, num_answers=fitted.num_answers, sample_size=fitted.sample_size)
    by_groups = None
    if known.groups is not None:
        asked = _asked_pictures(known, rules)
        answers = rolled_up_answers(
            known.probabilities[asked],
            rules.tree,
            fitted.value,
            is_known=known_probability(known.novelty_ranks[asked], rules.unknown_share, rules.novelty_exponent),
            cost_rule=rules.cost_rule,
        )
        groups = known.groups[asked].tolist()
        lower, size = bound_at(answers, known.class_indices[asked], rules.tree, confidence=confidence, groups=groups)
        by_groups = AnswerBound(lower_bound=lower, num_answers=fitted.num_answers, sample_size=size)
    return Promise(target_accuracy, confidence, fitted.is_promised, bound, by_groups)


def _asked_pictures(known: KnownPictures, rules: DecisionRules) -> NDArray[np.bool_]:
    """(M,) of classes that were learnt, and not called unknown for their novelty; a missing rank never is."""
    is_learnt = known.probabilities[np.arange(len(known.class_indices)), known.class_indices] > 0
    asked: NDArray[np.bool_] = is_learnt & ~(known.novelty_ranks > 1 - rules.false_alarms)
    return asked


def logit_scaling(info: BundleInfo) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a bundle multiplies logits (K,) by and then adds, before the softmax; (K,) each."""
    if info.decision is None:
        return np.full(len(info.classes), 1 / info.calibration.temperature), np.zeros(len(info.classes))
    return np.array(info.decision.scale), np.array(info.decision.bias)


def bundle_probabilities(logits: NDArray[np.floating], info: BundleInfo) -> NDArray[np.float64]:
    """Calibrated probabilities as a bundle makes them; same shape."""
    scale, bias = logit_scaling(info)
    return calibrated_probabilities(np.asarray(logits, dtype=np.float64) * scale + bias, 1.0)


def calibrated_probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax of logits / temperature over the last axis; same shape, in [0, 1]."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def decide(
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    taxonomy: Taxonomy,
    *,
    top_k: int,
    rules: DecisionRules | None = None,
    novelty_rank: float | None = None,
    digest: str = "",
) -> Decision:
    """The answer for one picture; for many, a `Decider` prepares what they share.

    Args:
        probabilities: (K,), calibrated.
        classes: K ids, in the same order.
        taxonomy: Where look-alikes and their cues stand.
        top_k: How many of the most probable classes the answer lists.
        rules: What an answer needs; without, it is the most probable class.
        novelty_rank: Share of held-out known pictures that are less novel.
        digest: SHA-256 of the picture, which the label set's randomisation follows from.
    """
    return Decider(classes, taxonomy, top_k=top_k, rules=rules).decide(probabilities, novelty_rank, digest)


@dataclass(frozen=True)
class _Node:
    """An answer that may be given; `level_index` L is "unknown"."""

    level_index: int
    index: int
    probability: float
    cost: float = 0.0


class Decider:
    """Decides picture after picture. Plain Python: arrays of a few classes take longer to call than to compute.

    Args:
        classes: K ids, in the order of all probabilities.
        taxonomy: Where look-alikes and their cues stand.
        top_k: How many of the most probable classes an answer lists.
        rules: What an answer needs; without, it is the most probable class.
        trained_on: SHA-256 of pictures that the model knows by heart, which is told.
    """

    def __init__(
        self,
        classes: Sequence[str],
        taxonomy: Taxonomy,
        *,
        top_k: int,
        rules: DecisionRules | None = None,
        trained_on: Container[str] = frozenset(),
    ) -> None:
        self._classes = tuple(classes)
        self._taxonomy = taxonomy
        self._top_k = top_k
        self._rules = rules
        self._trained_on = trained_on
        self._cues: dict[tuple[int, int], tuple[str, ...]] = {}
        levels = rules.tree.levels if rules is not None else ()
        self._nodes_of = [(level.node_of_class.tolist(), len(level.node_ids)) for level in levels]
        cost_rule = rules.cost_rule if rules is not None else None
        self._costs = cost_rule.of_nodes.tolist() if cost_rule is not None else None

    def decide(
        self, probabilities: NDArray[np.float64], novelty_rank: float | None = None, digest: str = ""
    ) -> Decision:
        """The answer for one picture; arguments as in the function `decide`."""
        of_classes: list[float] = probabilities.tolist()
        # A stable sort: equal probabilities keep the order of the taxonomy.
        order = sorted(range(len(of_classes)), key=lambda index: -of_classes[index])
        top = tuple([ClassProbability(self._classes[index], of_classes[index]) for index in order[: self._top_k]])
        cues = self._cues_between(order)
        label, level, probability, reason = self._answer(of_classes, order, cues, novelty_rank)
        if digest in self._trained_on:
            reason = f"trained on this very picture; {reason}"
        label_set: tuple[str, ...] = ()
        if self._rules is not None and self._rules.label_sets is not None:
            chosen = self._rules.label_sets.label_set(of_classes, order, digest)
            label_set = tuple([class_id for class_id, is_in in zip(self._classes, chosen, strict=True) if is_in])
        return Decision(label, level, probability, reason, top, cues, label_set)

    def _cues_between(self, order: list[int]) -> tuple[str, ...]:
        if len(order) < 2:
            return ()
        pair = (order[0], order[1])
        if pair not in self._cues:
            first, second = (self._classes[index] for index in pair)
            self._cues[pair] = tuple(str(cue) for cue in self._taxonomy.separating_cues(first, second))
        return self._cues[pair]

    def _answer(
        self, of_classes: list[float], order: list[int], cues: tuple[str, ...], rank: float | None
    ) -> tuple[str, Level, float, str]:
        """Label, level, probability and reason."""
        rules = self._rules
        if rules is None:
            return self._classes[order[0]], "class", of_classes[order[0]], self._class_reason(order, cues)
        if rank is not None and rank > 1 - rules.false_alarms:
            reason = (
                f"{self._novelty_in_words} {as_percent(rank)} of the known pictures held out: "
                "a class that training did not show, or no vehicle"
            )
            return UNKNOWN, UNKNOWN, rank, reason
        is_known = known_probability_of_one(rank, rules.unknown_share, rules.novelty_exponent)
        finest = self._finest(of_classes, is_known)
        if self._costs is not None:
            cheapest = self._cheapest(of_classes, is_known, self._costs)
            if (cheapest.level_index, cheapest.index) != (finest.level_index, finest.index):
                return self._answered(cheapest, self._cost_reason(cheapest, finest, of_classes))
        if finest.level_index == 0:
            return self._answered(finest, self._class_reason(order, cues))
        return self._answered(finest, self._coarse_reason(finest, of_classes, order, cues, is_known, rank))

    def _answered(self, node: _Node, reason: str) -> tuple[str, Level, float, str]:
        if node.level_index == len(self._nodes_of):
            return UNKNOWN, UNKNOWN, node.probability, reason
        assert self._rules is not None
        level = self._rules.tree.levels[node.level_index]
        return level.node_ids[node.index], level.level, node.probability, reason

    def _finest(self, of_classes: list[float], is_known: float) -> _Node:
        """What `rolled_up_answers` says of a picture; "unknown" with the probability that the first role is wrong."""
        assert self._rules is not None
        reached = largest = 0.0
        for level_index in range(len(self._nodes_of)):
            sums = self._node_probabilities(of_classes, is_known, level_index)
            largest = max(sums)
            reached = max(reached, min(largest, 1.0))
            if reached >= self._rules.roll_up_threshold:
                return _Node(level_index, sums.index(largest), reached)
        return _Node(len(self._nodes_of), 0, 1 - largest)

    def _cheapest(self, of_classes: list[float], is_known: float, costs: list[list[float]]) -> _Node:
        """The same with a cost rule."""
        assert self._rules is not None
        assert self._rules.cost_rule is not None
        expected = self._expected_costs(of_classes, costs)
        sums: list[float] = []
        best, column = _Node(len(self._nodes_of), 0, 0.0, math.inf), 0
        for level_index in range(len(self._nodes_of)):
            sums = self._node_probabilities(of_classes, is_known, level_index)
            for index, probability in enumerate(sums):
                if probability >= self._rules.roll_up_threshold and expected[column] < best.cost:
                    best = _Node(level_index, index, min(probability, 1.0), expected[column])
                column += 1
        of_everything = self._rules.cost_rule.of_everything
        if best.cost < math.inf and (of_everything is None or best.cost <= of_everything):
            return best
        return _Node(len(self._nodes_of), 0, 1 - max(sums))

    def _node_probabilities(self, of_classes: list[float], is_known: float, level_index: int) -> list[float]:
        """Added in the order of the classes, as `node_probabilities` adds them."""
        node_of_class, num_nodes = self._nodes_of[level_index]
        sums = [0.0] * num_nodes
        for node, probability in zip(node_of_class, of_classes, strict=True):
            sums[node] += probability * is_known
        return sums

    def _expected_costs(self, of_classes: list[float], costs: list[list[float]]) -> list[float]:
        expected = [0.0] * len(costs[0])
        for probability, row in zip(of_classes, costs, strict=True):
            expected = [so_far + probability * cost for so_far, cost in zip(expected, row, strict=True)]
        return expected

    @property
    def _novelty_in_words(self) -> str:
        assert self._rules is not None
        return _NOVELTY_IN_WORDS.get(self._rules.novelty_score, _LESS_ALIKE)

    def _class_reason(self, order: list[int], cues: tuple[str, ...]) -> str:
        if not cues:
            return "most probable class"
        return f"most probable class; the runner-up {self._classes[order[1]]} is a look-alike, check the cue"

    def _coarse_reason(
        self,
        given: _Node,
        of_classes: list[float],
        order: list[int],
        cues: tuple[str, ...],
        is_known: float,
        rank: float | None,
    ) -> str:
        """Why no class is answered, and for "unknown" no family or role either."""
        assert self._rules is not None
        levels, threshold = self._rules.tree.levels, self._rules.roll_up_threshold
        if threshold > 1:
            return "no threshold keeps the promise on the known pictures, so no class, family or role is answered"
        needs = f"an answer needs {as_percent(threshold)}"
        is_unknown = given.level_index == len(levels)
        then = "" if is_unknown else f"; the {levels[given.level_index].level} has it"
        undoubted = self._finest(of_classes, 1.0) if is_known < 1 else given
        if undoubted.level_index < given.level_index:
            name = levels[undoubted.level_index].node_ids[undoubted.index]
            than = ""
            if rank is not None and self._rules.novelty_exponent > 1:
                than = f", in a picture {self._novelty_in_words} {as_percent(rank)} of the known ones"
            return (
                f"{name} has {as_percent(undoubted.probability)}, but {as_percent(undoubted.probability * is_known)} "
                f"once {as_percent(self._rules.unknown_share)} unknown classes are allowed for{than}; {needs}{then}"
            )
        if is_unknown:
            return f"no class, family or role is probable enough; {needs}"
        first, second = (self._classes[index] for index in order[:2])
        alike = ", look-alikes," if cues else ""
        return f"{first} and {second}{alike} come first and neither is probable enough; {needs}{then}"

    def _cost_reason(self, given: _Node, finest: _Node, of_classes: list[float]) -> str:
        """Why the answer is not the finest one that is probable enough, with both expected costs."""
        assert self._rules is not None
        assert self._costs is not None
        levels = self._rules.tree.levels
        column = sum(len(level.node_ids) for level in levels[: finest.level_index]) + finest.index
        cost = self._expected_costs(of_classes, self._costs)[column]
        name = levels[finest.level_index].node_ids[finest.index]
        if given.level_index == len(levels):
            return (
                f"unknown costs {self._rules.unknown_cost:g}, any answer that is probable enough more; "
                f"{name} is expected to cost {cost:.2f}"
            )
        return f"least expected cost, {given.cost:.2f}; {name} is probable enough, but is expected to cost {cost:.2f}"


def as_percent(share: float) -> str:
    """A share with one decimal, never rounded up: "100 %" is said of nothing less."""
    return f"{math.floor(1000 * share + 1e-6) / 10:g} %"


def _bound_in_words(bound: AnswerBound) -> str:
    return f"at least {as_percent(bound.lower_bound)}"
