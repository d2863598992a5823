"""From logits to an answer. The steps: temperature, softmax, most probable class, cue against the runner-up.

K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.predictions import ClassProbability, Level
from vision.taxonomy import Taxonomy


@dataclass(frozen=True)
class Decision:
    """An answer and what it rests on; the fields are those of `vision.predictions.Prediction`."""

    label: str
    level: Level
    probability: float
    reason: str
    top: tuple[ClassProbability, ...]
    cues: tuple[str, ...]


def calibrated_probabilities(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Softmax of logits / temperature over the last axis; same shape, in [0, 1]."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def decide(probabilities: NDArray[np.float64], classes: Sequence[str], taxonomy: Taxonomy, *, top_k: int) -> Decision:
    """The answer for one picture.

    Args:
        probabilities: (K,), calibrated.
        classes: K ids, in the same order.
        taxonomy: Where look-alikes and their cues stand.
        top_k: How many of the most probable classes the answer lists.
    """
    # A stable sort of the negatives: equal probabilities keep the order of the taxonomy.
    order = np.argsort(-probabilities, kind="stable")[: max(top_k, 2)]
    ranked = [ClassProbability(classes[index], float(probabilities[index])) for index in order]
    answer = ranked[0]
    cues: tuple[str, ...] = ()
    reason = "most probable class"
    if len(ranked) > 1:
        runner_up = ranked[1]
        cues = tuple(str(cue) for cue in taxonomy.separating_cues(answer.class_id, runner_up.class_id))
        if cues:
            reason = f"most probable class; the runner-up {runner_up.class_id} is a look-alike, check the cue"
    return Decision(answer.class_id, "class", answer.probability, reason, tuple(ranked[:top_k]), cues)
