"""From logits to an answer.

The steps, in this order, wherever an answer is made:

1. logits * scale + bias, softmax: calibrated probabilities of the classes;
2. a picture that is more novel than all but `false_alarms` of the known pictures held out is "unknown";
3. else all probabilities are multiplied by that of the class being one of the model's, which falls with novelty;
4. the finest of class, family and role whose probability reaches the threshold, or "unknown" if none does; with
   costs, the class is the one of least expected cost. The probability of "unknown" is the novelty's rank in step 2, and
   here that of the most probable role being wrong;
5. beside it, always: the classes with their probabilities, the label set, the cue against the runner-up; these take the
   class as one of the model's.

K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vision.bundle import Bundle, BundleInfo, DecisionInfo, KnownPictures, Reference
from vision.classify.label_sets import LabelSetRule
from vision.classify.novelty import NoveltyRanking, known_probability, load_embedding_score
from vision.classify.roll_up import (
    ClassTree,
    RollUpThreshold,
    build_class_tree,
    fit_roll_up_threshold,
    least_cost_class,
    node_probabilities,
    rolled_up_answers,
)
from vision.predictions import ClassProbability, Level, Prediction
from vision.taxonomy import Taxonomy

UNKNOWN: Final = "unknown"


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
        answer = {field.name: getattr(self, field.name) for field in fields(self)}
        return Prediction(file_name, sha256, "ok", **{**answer, **others})


@dataclass(frozen=True)
class DecisionRules:
    """What turns probabilities and novelty into an answer.

    Attributes:
        taxonomy: Families, roles, costs.
        classes: K ids.
        false_alarms: Unknown if the novelty's rank is above 1 minus this.
        roll_up_threshold: Least probability of an answer.
        label_sets: What makes the label set; None for none.
        use_costs: Answer the class of least expected cost.
        unknown_share: Of pictures whose class is none of the model's; probabilities allow for it.
        novelty_exponent: How much more novel these are, see `known_probability`.
    """

    taxonomy: Taxonomy
    classes: tuple[str, ...]
    false_alarms: float
    roll_up_threshold: float
    label_sets: LabelSetRule | None
    use_costs: bool
    unknown_share: float = 0.0
    novelty_exponent: float = 1.0

    @cached_property
    def tree(self) -> ClassTree:
        """Classes, families and roles."""
        return build_class_tree(self.taxonomy, self.classes)

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """(K, K)."""
        return self.taxonomy.cost_matrix(self.classes)


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

    def rank(self, logits: NDArray[np.floating], embedding: NDArray[np.floating]) -> float:
        """Of one picture, logits (K,) and embedding (D,): in [0, 1)."""
        return float(self._ranking.ranks(logits[None], embedding[None])[0])


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
    )


def fit_threshold(
    known: KnownPictures,
    tree: ClassTree,
    *,
    unknown_share: float,
    novelty_exponent: float,
    target_accuracy: float,
    confidence: float,
) -> RollUpThreshold:
    """The threshold that keeps a promise about pictures of known classes, where probabilities allow for others.

    Without such an allowance, or if novelty says nothing, answers are those of the probabilities alone.
    """
    is_learnt = known.probabilities[np.arange(len(known.class_indices)), known.class_indices] > 0
    is_known = known_probability(known.novelty_ranks, unknown_share, novelty_exponent)
    return fit_roll_up_threshold(
        (known.probabilities * is_known[:, None])[is_learnt],
        known.class_indices[is_learnt],
        tree,
        target_accuracy=target_accuracy,
        confidence=confidence,
        scale=1 - unknown_share,
    )


def bundle_probabilities(logits: NDArray[np.floating], info: BundleInfo) -> NDArray[np.float64]:
    """Calibrated probabilities as a bundle makes them; same shape."""
    if info.decision is None:
        return calibrated_probabilities(logits, info.calibration.temperature)
    scaled = np.asarray(logits, dtype=np.float64) * np.array(info.decision.scale) + np.array(info.decision.bias)
    return calibrated_probabilities(scaled, 1.0)


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
    """The answer for one picture.

    Args:
        probabilities: (K,), calibrated.
        classes: K ids, in the same order.
        taxonomy: Where look-alikes and their cues stand.
        top_k: How many of the most probable classes the answer lists.
        rules: What an answer needs; without, it is the most probable class.
        novelty_rank: Share of held-out known pictures that are less novel.
        digest: SHA-256 of the picture, which the label set's randomisation follows from.
    """
    # A stable sort of the negatives: equal probabilities keep the order of the taxonomy.
    order = np.argsort(-probabilities, kind="stable")[: max(top_k, 2)]
    ranked = [ClassProbability(classes[index], float(probabilities[index])) for index in order]
    first = ranked[0]
    cues: tuple[str, ...] = ()
    if len(ranked) > 1:
        cues = tuple(str(cue) for cue in taxonomy.separating_cues(first.class_id, ranked[1].class_id))
    top = tuple(ranked[:top_k])
    if rules is None:
        return Decision(first.class_id, "class", first.probability, _class_reason(ranked, cues), top, cues)
    label_set: tuple[str, ...] = ()
    if rules.label_sets is not None:
        chosen = rules.label_sets.label_sets(probabilities[None], [digest])[0]
        label_set = tuple(class_id for class_id, is_in in zip(classes, chosen, strict=True) if is_in)
    if novelty_rank is not None and novelty_rank > 1 - rules.false_alarms:
        reason = (
            f"less like any training picture than {novelty_rank:.0%} of the known pictures held out: "
            "a class that training did not show, or no vehicle"
        )
        return Decision(UNKNOWN, UNKNOWN, novelty_rank, reason, top, cues, label_set)
    rank = np.array([np.nan if novelty_rank is None else novelty_rank])
    is_known = known_probability(rank, rules.unknown_share, rules.novelty_exponent)[0]
    # The second row is the same picture without a rank: what the first adds to its coarseness is due to novelty.
    allowed = np.outer([is_known, 1 - rules.unknown_share], probabilities)  # (2, K)
    answers = rolled_up_answers(allowed, rules.tree, rules.roll_up_threshold)
    level_index, node_index = int(answers.level_indices[0]), int(answers.node_indices[0])
    doubt = ""
    if novelty_rank is not None and level_index > answers.level_indices[1]:
        doubt = (
            f"less like the training pictures than {novelty_rank:.0%} of known pictures, "
            "so allowing for classes never seen: "
        )
    if level_index == len(rules.tree.levels):
        unsure = f"{doubt}no class, family or role reaches {rules.roll_up_threshold:.0%}"
        by_role = float(node_probabilities(allowed[:1], rules.tree)[-1].max())
        return Decision(UNKNOWN, UNKNOWN, 1 - by_role, unsure, top, cues, label_set)
    level = rules.tree.levels[level_index]
    label, probability = level.node_ids[node_index], float(answers.probabilities[0])
    if level.level != "class":
        alike = ", look-alikes" if cues else ""
        reason = (
            f"{doubt}no class is probable enough ({rules.roll_up_threshold:.0%}): {first.class_id} and "
            f"{ranked[1].class_id}{alike} come first; the {level.level} is"
        )
        return Decision(label, level.level, probability, reason, top, cues, label_set)
    reason = _class_reason(ranked, cues)
    if rules.use_costs:
        cheapest = int(least_cost_class(allowed[:1], rules.costs)[0])
        if classes[cheapest] != label:
            reason = f"least expected cost; {label} is more probable, but costs more where it is wrong"
            label, probability = classes[cheapest], float(allowed[0, cheapest])
    return Decision(label, "class", probability, reason, top, cues, label_set)


def _class_reason(ranked: Sequence[ClassProbability], cues: tuple[str, ...]) -> str:
    if not cues:
        return "most probable class"
    return f"most probable class; the runner-up {ranked[1].class_id} is a look-alike, check the cue"
