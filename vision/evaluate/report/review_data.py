"""What the page of review computes with: for each picture the truth, the recorded answer, and what others may follow.

N pictures, K classes, M nodes (classes, families, roles, then other answers), L = 3 levels, class to role.

An answer for other settings follows from few figures of a picture: at each level its most probable node and that node's
probability, and its novelty's rank (see `vision.classify.decision`). The page has these and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.bundle import Bundle
from vision.classify.decision import fit_threshold, rules_of
from vision.classify.novelty import known_probability
from vision.classify.roll_up import build_class_tree, build_cost_rule, expected_costs
from vision.evaluate.evaluation import LEVELS, NO_ANSWER, UNKNOWN, Evaluation, answer_at_level, answers_of
from vision.evaluate.parts import Part
from vision.evaluate.promises import Promises
from vision.evaluate.report.seriation import confusion_order
from vision.taxonomy import Taxonomy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TARGET_STOPS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995)
"""Where the slider of target accuracy stops, beside the bundle's own target."""

_STEPS = 100  # of the slider of thresholds, where no bundle tells what they promise
_WHOLE = 1e-3  # probabilities that add up to less lack classes


class TargetThreshold(Part):
    """The threshold that a target accuracy leads to, from the known pictures that a bundle keeps.

    Attributes:
        target_accuracy: Of the answers at class, family or role.
        threshold: Least probability of an answer; above 1 if no answer keeps the target.
        is_promised: Whether the finite-sample bound holds.
    """

    target_accuracy: float
    threshold: float
    is_promised: bool


class DecisionSettings(Part):
    """How a bundle decides, so that a page without the bundle can decide anew.

    Attributes:
        classes: Of the model, in its order.
        unknown_share: That probabilities allow for.
        novelty_exponent: See `known_probability`.
        false_alarms: Share of known pictures that may be called unknown.
        target_accuracy: The bundle's own.
        confidence: Of the bound behind promised thresholds.
        roll_up_threshold: The bundle's own.
        use_costs: Whether the sure answer of least expected cost is given.
        targets: Thresholds of other targets, ascending, the bundle's own among them.
        unknown_cost: With costs, what "unknown" costs; None if it is only said where nothing is sure enough.
        coverage: Promised of label sets; None in files from before it was kept.
    """

    classes: tuple[str, ...]
    unknown_share: float
    novelty_exponent: float
    false_alarms: float
    target_accuracy: float
    confidence: float
    roll_up_threshold: float
    use_costs: bool
    targets: tuple[TargetThreshold, ...]
    unknown_cost: float | None = None
    coverage: float | None = None

    @property
    def promises(self) -> Promises:
        """What was promised of known pictures."""
        return Promises(target_accuracy=self.target_accuracy, coverage=self.coverage, false_alarms=self.false_alarms)

    @classmethod
    def of(cls, bundle: Bundle) -> DecisionSettings | None:
        """Those of a bundle; None in bundles from before there were any."""
        rules, info, known = rules_of(bundle), bundle.info.decision, bundle.reference.known
        if rules is None or info is None or known is None:
            return None
        own = TargetThreshold(
            target_accuracy=info.target_accuracy, threshold=info.roll_up_threshold, is_promised=info.is_promised
        )
        targets = [own]
        for target in TARGET_STOPS:
            if abs(target - info.target_accuracy) < 1e-9:
                continue
            fitted = fit_threshold(known, rules, target_accuracy=target, confidence=info.confidence)
            targets.append(
                TargetThreshold(target_accuracy=target, threshold=fitted.value, is_promised=fitted.is_promised)
            )
        return cls(
            classes=rules.classes,
            unknown_share=rules.unknown_share,
            novelty_exponent=rules.novelty_exponent,
            false_alarms=rules.false_alarms,
            target_accuracy=info.target_accuracy,
            confidence=info.confidence,
            roll_up_threshold=rules.roll_up_threshold,
            use_costs=rules.use_costs,
            unknown_cost=rules.unknown_cost,
            targets=tuple(sorted(targets, key=lambda each: each.target_accuracy)),
            coverage=info.label_sets.coverage,
        )


@dataclass(frozen=True)
class ReviewLevel:
    """A level of the matrix.

    Attributes:
        name: class, family or role.
        true_nodes: Its rows by the taxonomy, indices of nodes.
        by_confusion: The same, those taken for each other side by side.
        node_at: (M,) what each node says at this level: a class at family level is its family.
    """

    name: str
    true_nodes: list[int]
    by_confusion: list[int]
    node_at: list[int]


@dataclass(frozen=True)
class Review:
    """The pictures in the page's order: wrong answers first, cell by cell, in it surest first.

    Attributes:
        node_ids: M ids.
        names: M names to show.
        levels: Class, family, role.
        novel: Nodes of classes that the model does not know.
        positions: (N,) row of each picture in the table.
        truth: (N,) class.
        recorded: (N,) answer.
        probability: (N,) recorded, NaN without.
        truth_probability: (N,) of the true class, 0 where it is not listed.
        candidates: (L, N) most probable node of each level.
        reached: (L, N) its probability; it never falls from class to role.
        novelty_rank: (N,) NaN without.
        threshold: Where the slider begins, as near to the recorded answers as can be told.
        false_alarms: Likewise.
        num_unlike: Answers that these settings do not give as they were recorded.
        is_whole: Whether all classes are listed on every picture that lists any.
        settings: Of the bundle; None if they are not at hand.
    """

    node_ids: tuple[str, ...]
    names: tuple[str, ...]
    levels: tuple[ReviewLevel, ...]
    novel: tuple[int, ...]
    positions: Ints
    truth: Ints
    recorded: Ints
    probability: Floats
    truth_probability: Floats
    candidates: Ints
    reached: Floats
    novelty_rank: Floats
    threshold: float
    false_alarms: float
    num_unlike: int
    is_whole: bool
    settings: DecisionSettings | None

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(N,) whether the recorded answer is the true class."""
        right: NDArray[np.bool_] = self.truth == self.recorded
        return right

    @property
    def can_decide(self) -> bool:
        """Whether there is anything to decide anew from."""
        return bool((self.reached > 0).any())


@dataclass(frozen=True)
class _Listed:
    """What the rows list, in the table's order: (N, K) probabilities and (N,) whether there are any."""

    probabilities: Floats
    has_any: NDArray[np.bool_]


def build_review(
    evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy, settings: DecisionSettings | None = None
) -> Review:
    """The columns of a page.

    Args:
        evaluation: Of the same table.
        table: Prediction rows with `true_label`.
        taxonomy: Families, roles, names, costs.
        settings: Of the bundle that answered.
    """
    class_ids = evaluation.matrix("class").true_ids
    answers = answers_of(table)
    node_ids = _node_ids(class_ids, answers.unique().to_list(), taxonomy)
    index = {node_id: position for position, node_id in enumerate(node_ids)}
    truth, recorded = _codes(table["true_label"], index), _codes(answers, index)
    probability = table["probability"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    listed = _listed(table, class_ids)
    ranks = _ranks(table)
    candidates, reached = _candidates(listed.probabilities, ranks, node_ids, class_ids, taxonomy, settings)
    _fill_unlisted(candidates, reached, listed, recorded, probability, _level_of(node_ids, class_ids, taxonomy))
    threshold, false_alarms = _first_settings(settings, recorded, probability, ranks, node_ids)
    now = redecided_answers(candidates, reached, ranks, recorded, node_ids, threshold, false_alarms)
    order = np.lexsort((-np.nan_to_num(probability, nan=-1.0), recorded, truth, truth == recorded))
    return Review(
        node_ids=node_ids,
        names=tuple(taxonomy.name(node_id) for node_id in node_ids),
        levels=tuple(_level(evaluation, name, node_ids, taxonomy) for name in LEVELS),
        novel=tuple(index[each.class_id] for each in evaluation.novel),
        positions=order,
        truth=truth[order],
        recorded=recorded[order],
        probability=probability[order],
        truth_probability=listed.probabilities[order, truth[order]],
        candidates=candidates[:, order],
        reached=reached[:, order],
        novelty_rank=ranks[order],
        threshold=threshold,
        false_alarms=false_alarms,
        num_unlike=int((now != recorded).sum()),
        is_whole=bool((listed.probabilities.sum(axis=1)[listed.has_any] > 1 - _WHOLE).all()),
        settings=settings,
    )


def redecided_answers(
    candidates: Ints,
    reached: Floats,
    novelty_rank: Floats,
    recorded: Ints,
    node_ids: Sequence[str],
    threshold: float,
    false_alarms: float,
) -> Ints:
    """Answers by other settings, (N,) nodes; the page's script does the same.

    Args:
        candidates: (L, N).
        reached: (L, N).
        novelty_rank: (N,), NaN is never too novel.
        recorded: (N,), of which those without an answer stay so.
        node_ids: M ids, the last two `unknown` and `no answer`.
        threshold: Least probability of an answer.
        false_alarms: Unknown if the rank is above 1 minus this.
    """
    unknown, no_answer = len(node_ids) - 2, len(node_ids) - 1
    # Single precision, as in the page, so that a probability equal to the threshold reaches it here and there.
    is_sure = reached.astype(np.float32) >= np.float32(threshold)
    choices = np.concatenate([candidates, np.full_like(candidates[:1], unknown)])
    everything = np.ones_like(is_sure[:1])
    level = np.concatenate([is_sure, everything]).argmax(axis=0)
    answers = choices[level, np.arange(len(recorded))]
    with np.errstate(invalid="ignore"):
        is_too_novel = novelty_rank.astype(np.float32) > np.float32(1 - false_alarms)
    answers = np.where(is_too_novel, unknown, answers)
    return np.asarray(np.where(recorded == no_answer, no_answer, answers), dtype=np.int64)


def _node_ids(class_ids: Sequence[str], answers: Sequence[str], taxonomy: Taxonomy) -> tuple[str, ...]:
    """Classes, families and roles by the taxonomy, other answers by name, `unknown`, `no answer`."""
    inner = [answer_at_level(class_id, level, taxonomy) for level in LEVELS for class_id in class_ids]
    said = {answer_at_level(answer, level, taxonomy) for level in LEVELS for answer in answers}
    others = sorted(said - {*inner, UNKNOWN, NO_ANSWER})
    return (*dict.fromkeys(inner), *others, UNKNOWN, NO_ANSWER)


def _codes(values: pl.Series, index: dict[str, int]) -> Ints:
    return values.replace_strict(index, return_dtype=pl.Int64).to_numpy()


def _ranks(table: pl.DataFrame) -> Floats:
    if "novelty_rank" not in table.columns:
        return np.full(len(table), np.nan)
    return table["novelty_rank"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _listed(table: pl.DataFrame, class_ids: Sequence[str]) -> _Listed:
    probabilities = np.zeros((len(table), len(class_ids)))
    has_any = (table["top"].list.len() > 0).fill_null(False).to_numpy()
    if has_any.any():
        rows = table.select("top").with_row_index("row").filter(has_any).explode("top").unnest("top")
        columns = _codes(rows["class_id"], {class_id: column for column, class_id in enumerate(class_ids)})
        probabilities[rows["row"].to_numpy(), columns] = rows["probability"].to_numpy()
    return _Listed(probabilities, has_any)


def _candidates(
    probabilities: Floats,
    ranks: Floats,
    node_ids: Sequence[str],
    class_ids: Sequence[str],
    taxonomy: Taxonomy,
    settings: DecisionSettings | None,
) -> tuple[Ints, Floats]:
    """Most probable node of each level and its probability, (L, N) each, as the bundle decides."""
    allowed = probabilities
    if settings is not None:
        allowed = probabilities * known_probability(ranks, settings.unknown_share, settings.novelty_exponent)[:, None]
    index = {node_id: position for position, node_id in enumerate(node_ids)}
    candidates, reached = [], []
    for level in LEVELS:
        nodes = np.array([index[answer_at_level(class_id, level, taxonomy)] for class_id in class_ids])
        names, places = np.unique(nodes, return_inverse=True)
        sums = np.zeros((len(allowed), len(names)))
        for column, place in enumerate(places):
            sums[:, place] += allowed[:, column]
        candidates.append(names[sums.argmax(axis=1)])
        reached.append(np.minimum(sums.max(axis=1), 1.0))
    if settings is not None and settings.use_costs:
        columns = [class_ids.index(class_id) for class_id in settings.classes]
        candidates = _cheapest_upwards(candidates, probabilities[:, columns], node_ids, taxonomy, settings)
    return np.stack(candidates), np.maximum.accumulate(np.stack(reached), axis=0)


def _cheapest_upwards(
    candidates: list[Ints],
    probabilities: Floats,
    node_ids: Sequence[str],
    taxonomy: Taxonomy,
    settings: DecisionSettings,
) -> list[Ints]:
    """At each level the cheapest of its candidate and the coarser ones: what costs choose if that level is sure enough.

    Only the most probable node of a level is one: of two that are sure enough, below a threshold of one half, the page
    knows the first.
    """
    tree = build_class_tree(taxonomy, settings.classes)
    rule = build_cost_rule(tree, taxonomy.cost_matrix(settings.classes), of_everything=settings.unknown_cost)
    column_of = np.zeros(len(node_ids), dtype=np.int64)
    inner = [node_id for level in tree.levels for node_id in level.node_ids]
    column_of[[node_ids.index(node_id) for node_id in inner]] = np.arange(len(inner))
    expected, pictures = expected_costs(probabilities, rule.of_nodes), np.arange(len(probabilities))
    best = np.full(len(probabilities), len(node_ids) - 2)  # unknown
    least = np.full(len(probabilities), np.inf if rule.of_everything is None else rule.of_everything)
    chosen = []
    for nodes in candidates[::-1]:
        costs = expected[pictures, column_of[nodes]]
        best, least = np.where(costs <= least, nodes, best), np.minimum(costs, least)
        chosen.append(best)
    return chosen[::-1]


def _level_of(node_ids: Sequence[str], class_ids: Sequence[str], taxonomy: Taxonomy) -> Ints:
    """(M,) 0 for classes, 1 for families, 2 for roles, L for anything else."""
    families, roles = {each.id for each in taxonomy.families}, {each.id for each in taxonomy.roles}
    known = (set(class_ids), families, roles)
    return np.array([next((i for i, ids in enumerate(known) if node in ids), len(known)) for node in node_ids])


def _fill_unlisted(
    candidates: Ints, reached: Floats, listed: _Listed, recorded: Ints, probability: Floats, level_of: Ints
) -> None:
    """Let pictures that list no classes keep their recorded answer as the one that is probable."""
    levels = level_of[recorded]
    for level in range(len(candidates)):
        rows = np.flatnonzero(~listed.has_any & (levels == level) & ~np.isnan(probability))
        candidates[level:, rows], reached[level:, rows] = recorded[rows], probability[rows]


def _first_settings(
    settings: DecisionSettings | None, recorded: Ints, probability: Floats, ranks: Floats, node_ids: Sequence[str]
) -> tuple[float, float]:
    """Threshold and false alarms of the recorded answers, or what these allow to guess."""
    if settings is not None:
        return settings.roll_up_threshold, settings.false_alarms
    is_answered = recorded < len(node_ids) - 2
    stated, seen = probability[is_answered], ranks[is_answered]
    stated, seen = stated[~np.isnan(stated)], seen[~np.isnan(seen)]
    least = float(np.floor(stated.min() * _STEPS + 1e-9) / _STEPS) if len(stated) else 0.0
    too_novel = ranks[(recorded == len(node_ids) - 2) & (ranks > seen.max(initial=0.0))]
    return least, float(1 - seen.max()) if len(seen) and len(too_novel) else 0.0


def _level(evaluation: Evaluation, name: str, node_ids: Sequence[str], taxonomy: Taxonomy) -> ReviewLevel:
    level = next(level for level in LEVELS if level == name)
    matrix = evaluation.matrix(level)
    index = {node_id: position for position, node_id in enumerate(node_ids)}
    true_nodes = [index[node_id] for node_id in matrix.true_ids]
    return ReviewLevel(
        name=level,
        true_nodes=true_nodes,
        by_confusion=[true_nodes[position] for position in confusion_order(matrix.array())],
        node_at=[index[answer_at_level(node_id, level, taxonomy)] for node_id in node_ids],
    )
