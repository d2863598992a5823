"""Answers by other promises than the bundle's own, at classify time or from saved rows without inference.

N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from vision.bundle import Bundle, KnownPictures
from vision.classify.decision import Decider, DecisionRules, fit_threshold, promise_of, rules_of
from vision.classify.label_sets import LabelSetRule, fit_label_sets
from vision.errors import BundleError, PredictionsError, UsageError
from vision.predictions import Prediction

Value = TypeVar("Value")


@dataclass(frozen=True)
class OtherPromises:
    """What to promise instead of what the bundle does; None leaves it. The fields are settings under `decide:`."""

    target_accuracy: float | None = None
    confidence: float | None = None
    false_alarms: float | None = None
    unknown_share: float | None = None
    coverage: float | None = None
    class_conditional: bool | None = None
    costs: Literal["none", "taxonomy"] | None = None
    unknown_cost: float | None = None


def rules_with(bundle: Bundle, others: OtherPromises | None = None) -> DecisionRules:
    """A bundle's rules with other promises; thresholds follow from the known pictures that the bundle keeps.

    Raises:
        BundleError: The bundle keeps none, or not enough of them.
        UsageError: A cost of "unknown" is given where costs play no part.
    """
    rules, info, known = rules_of(bundle), bundle.info.decision, bundle.reference.known
    if rules is None or info is None or known is None:
        raise BundleError(f"{bundle.folder}: written before bundles kept what decisions follow from; train it again")
    if others is None or others == OtherPromises():
        return rules
    rules = replace(
        rules,
        false_alarms=_stated(others.false_alarms, rules.false_alarms),
        unknown_share=_stated(others.unknown_share, rules.unknown_share),
        use_costs=rules.use_costs if others.costs is None else others.costs == "taxonomy",
        unknown_cost=_stated(others.unknown_cost, rules.unknown_cost),
        label_sets=_label_sets(bundle, known, others),
    )
    if others.unknown_cost is not None and not rules.use_costs:
        raise UsageError(
            f"--unknown-cost {others.unknown_cost:g} says nothing without costs; give --costs taxonomy, too"
        )
    target_accuracy = _stated(others.target_accuracy, info.target_accuracy)
    confidence = _stated(others.confidence, info.confidence)
    fitted = fit_threshold(known, rules, target_accuracy=target_accuracy, confidence=confidence)
    promise = promise_of(known, rules, fitted, target_accuracy=target_accuracy, confidence=confidence)
    # The network had learnt from these pictures: bundles of that kind have not always said so in a field.
    is_honest = info.may_promise and "learnt from the same pictures" not in info.fitted_on
    promise = replace(promise, is_promised=promise.is_promised and is_honest)
    return replace(rules, roll_up_threshold=fitted.value, promise=promise)


def redecided(
    rows: Iterator[Prediction],
    rules: DecisionRules,
    *,
    trained_on: Container[str] = frozenset(),
    model: str | None = None,
) -> Iterator[Prediction]:
    """Rows with answers by these rules; rows of unreadable pictures stay as they are.

    Args:
        rows: With the probabilities of all classes.
        rules: What to answer by.
        trained_on: SHA-256 of pictures that the model knows by heart.
        model: Digest of the bundle that the rows must be of; None takes rows of any.

    Raises:
        PredictionsError: A row does not list all classes, or other classes, or is by another bundle.
    """
    index = {class_id: position for position, class_id in enumerate(rules.classes)}
    decider = Decider(rules.classes, rules.taxonomy, top_k=len(rules.classes), rules=rules, trained_on=trained_on)
    for number, row in enumerate(rows, start=1):
        if row.status != "ok":
            yield row
            continue
        _check_row(row, number, index, model)
        probabilities = np.zeros(len(index))
        for item in row.top:
            probabilities[index[item.class_id]] = item.probability
        decision = decider.decide(probabilities, row.novelty_rank, row.sha256)
        yield replace(
            row,
            label=decision.label,
            level=decision.level,
            probability=decision.probability,
            reason=decision.reason,
            label_set=decision.label_set,
        )


def _stated(stated: Value | None, own: Value) -> Value:
    return own if stated is None else stated


def _label_sets(bundle: Bundle, known: KnownPictures, others: OtherPromises) -> LabelSetRule:
    assert bundle.info.decision is not None
    info = bundle.info.decision
    own = LabelSetRule(**info.label_sets.model_dump())
    if others.coverage is None and others.class_conditional is None:
        return own
    if known.sha256 is None:
        raise BundleError(
            f"{bundle.folder}: keeps no digests of its known pictures, so that the coverage of label sets "
            f"({own.coverage:g}) cannot be changed; leave out --coverage and --class-conditional, or train it again"
        )
    return fit_label_sets(
        known.probabilities,
        known.class_indices,
        known.sha256.tolist(),
        coverage=_stated(others.coverage, own.coverage),
        regularisation=own.regularisation,
        k_reg=own.k_reg,
        seed=own.seed,
        class_conditional=_stated(others.class_conditional, info.class_conditional),
        allow_empty=own.allow_empty,
    )


def _check_row(row: Prediction, number: int, index: dict[str, int], model: str | None) -> None:
    if {item.class_id for item in row.top} != set(index):
        raise PredictionsError(
            f"row {number} ('{row.file_name}') lists {len(row.top)} classes, the bundle has {len(index)}; decide "
            "from rows that `vision evaluate` or `vision classify -o` wrote with the same bundle"
        )
    if model is not None and row.model != model:
        by = f"by the bundle {row.model[:16]}" if row.model else "by no bundle that it names"
        raise PredictionsError(
            f"row {number} ('{row.file_name}') is {by}, not by this one, {model[:16]}, whose thresholds mean nothing "
            "for it; give the bundle of the rows with --model, or --any-model to decide all the same"
        )
