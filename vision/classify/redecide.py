"""New answers from saved rows: other promises, no inference.

N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vision.bundle import Bundle
from vision.classify.decision import DecisionRules, decide, fit_threshold, rules_of
from vision.errors import PredictionsError
from vision.predictions import Prediction


def rules_with(
    bundle: Bundle,
    *,
    target_accuracy: float | None = None,
    false_alarms: float | None = None,
    unknown_share: float | None = None,
) -> DecisionRules:
    """A bundle's rules with other promises; the threshold follows from the known pictures that the bundle keeps.

    Raises:
        PredictionsError: The bundle keeps none.
    """
    rules, info, known = rules_of(bundle), bundle.info.decision, bundle.reference.known
    if rules is None or info is None or known is None:
        raise PredictionsError(
            f"{bundle.folder}: written before bundles kept what decisions follow from; train it again"
        )
    if false_alarms is not None:
        rules = replace(rules, false_alarms=false_alarms)
    if unknown_share is not None:
        rules = replace(rules, unknown_share=unknown_share)
    if target_accuracy is None and unknown_share is None:
        return rules
    threshold = fit_threshold(
        known,
        rules.tree,
        unknown_share=rules.unknown_share,
        novelty_exponent=rules.novelty_exponent,
        target_accuracy=info.target_accuracy if target_accuracy is None else target_accuracy,
        confidence=info.confidence,
    )
    return replace(rules, roll_up_threshold=threshold.value)


def redecided(rows: Iterator[Prediction], rules: DecisionRules) -> Iterator[Prediction]:
    """Rows with answers by these rules; rows of unreadable pictures stay as they are.

    Raises:
        PredictionsError: A row does not list all classes, or other classes.
    """
    index = {class_id: position for position, class_id in enumerate(rules.classes)}
    for number, row in enumerate(rows, start=1):
        if row.status != "ok":
            yield row
            continue
        if {item.class_id for item in row.top} != set(index):
            raise PredictionsError(
                f"row {number} ('{row.file_name}') lists {len(row.top)} classes, the bundle has {len(index)}; decide "
                f"from rows of `vision evaluate`, or of `vision classify --top-k {len(index)}`, by the same bundle"
            )
        probabilities = np.zeros(len(index))
        for item in row.top:
            probabilities[index[item.class_id]] = item.probability
        decision = decide(
            probabilities,
            rules.classes,
            rules.taxonomy,
            top_k=len(index),
            rules=rules,
            novelty_rank=row.novelty_rank,
            digest=row.sha256,
        )
        yield replace(
            row,
            label=decision.label,
            level=decision.level,
            probability=decision.probability,
            reason=decision.reason,
            label_set=decision.label_set,
        )
