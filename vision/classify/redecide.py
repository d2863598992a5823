"""New answers from saved rows: other promises, no inference.

N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vision.bundle import Bundle
from vision.classify.decision import DecisionRules, decide, rules_of
from vision.classify.roll_up import build_class_tree, fit_roll_up_threshold
from vision.errors import PredictionsError
from vision.predictions import Prediction


def rules_with(bundle: Bundle, *, target_accuracy: float | None, false_alarms: float | None) -> DecisionRules:
    """A bundle's rules with other promises; the threshold follows from the known pictures that the bundle keeps.

    Raises:
        PredictionsError: The bundle keeps none.
    """
    rules = rules_of(bundle)
    known = bundle.reference.known
    if rules is None or known is None:
        raise PredictionsError(
            f"{bundle.folder}: written before bundles kept what decisions follow from; train it again"
        )
    if target_accuracy is not None:
        learnable = known.probabilities[np.arange(len(known.class_indices)), known.class_indices] > 0
        threshold = fit_roll_up_threshold(
            known.probabilities[learnable],
            known.class_indices[learnable],
            build_class_tree(rules.taxonomy, rules.classes),
            target_accuracy=target_accuracy,
        )
        rules = replace(rules, roll_up_threshold=threshold.value)
    return rules if false_alarms is None else replace(rules, false_alarms=false_alarms)


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
