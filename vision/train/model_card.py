"""The page that goes with a bundle: what it is for, what it knows, what it does not."""

from __future__ import annotations

from collections.abc import Mapping

from vision.bundle import AnswerBound, DecisionInfo, Licensing
from vision.classify.decision import as_percent
from vision.config import Config
from vision.taxonomy import Taxonomy
from vision.train.probe import Candidate


def render_model_card(
    config: Config,
    taxonomy: Taxonomy,
    num_images: Mapping[str, int],
    chosen: Candidate,
    decision: DecisionInfo,
    licensing: Licensing,
    *,
    num_boxes: int,
) -> str:
    """The model card as Markdown.

    Args:
        config: The run.
        taxonomy: For names.
        num_images: Training pictures of each class, in the bundle's order.
        chosen: The candidate that was fitted, with its figures from cross-validation.
        decision: How answers are decided, and what is promised of them.
        licensing: What may be done with the bundle.
        num_boxes: Training pictures that were cropped to the box of the vehicle.
    """
    passing_on = "may be passed on with ATTRIBUTION.md" if licensing.may_be_passed_on else "must NOT be passed on"
    classes = "\n".join(
        f"| {class_id} | {taxonomy.name(class_id)} | {taxonomy.family_id(class_id)} | {count} |"
        for class_id, count in num_images.items()
    )
    boxes = (
        f"- {num_boxes} of {sum(num_images.values())} training pictures were cropped to the vehicle's box. Whole "
        "pictures look different to the model: crop them to the vehicle before classifying.\n"
        if num_boxes
        else ""
    )
    pictures = "\n".join(f"- {licence}: {count}" for licence, count in licensing.pictures.items())
    return f"""# Model card: {config.name}

## Intended use

Still photographs, at a desk, decided by people: a suggestion of what a vehicle is, how sure, and which cues to check.

## Out of scope

Live feeds, tracking, positions, targeting, anything on board of anything. It knows only the classes below: of another
vehicle it should say "unknown", and sometimes names one of these. It cannot tell a decoy or a mock-up from the real
thing, nor whose vehicle it is.

## Classes

| class | name | family | training pictures |
|---|---|---|---|
{classes}

## How it was made

- Strategy: {config.train.strategy}; {chosen.recipe}; C = {chosen.strength:g}; seed {config.seed}.
- Cross-validation on the training split, groups apart, after choosing the best of the candidates (so it flatters):
  {chosen.accuracy:.1%} right, negative log-likelihood {chosen.nll:.3f}.
{boxes}- Figures on held-out pictures stand in the card of the run's evaluation, not in the bundle's.

## How answers are decided

{_decision_lines(decision)}

## Licences

The bundle {passing_on}. Policy for pictures: `{licensing.policy}`. Pictures by licence:

{pictures}

Pretrained weights: {licensing.weights} ({licensing.weights_source}).
"""


def _decision_lines(decision: DecisionInfo) -> str:
    """What answers go through and what is promised of them, as a Markdown list."""
    scaling = (
        f"temperature scaling, {1 / decision.scale[0]:.3f}"
        if decision.calibration_method == "temperature"
        else f"vector scaling, scales {min(decision.scale):.3f} to {max(decision.scale):.3f}"
    )
    sets = "within every class" if decision.class_conditional else "on average over classes"
    threshold = (
        f"needs {as_percent(decision.roll_up_threshold)}"
        if decision.roll_up_threshold <= 1
        else "is never given: no threshold keeps the target"
    )
    lines = [
        f"Fitted on {decision.num_images} pictures: {decision.fitted_on}.",
        f"Calibration: {scaling}.",
        f"Unknown by novelty ({decision.novelty_score.replace('_', ' ')}): beyond "
        f"{as_percent(1 - decision.false_alarms)} of known pictures.",
        f"Probabilities allow for {as_percent(decision.unknown_share)} of pictures of unknown classes.",
        f"An answer at class, family or role {threshold}. {_promise(decision)}",
        *_bounds(decision),
        f"Label sets hold the class on {as_percent(decision.label_sets.coverage)} of known pictures, {sets}.",
    ]
    if decision.costs == "taxonomy":
        unknown = "" if decision.unknown_cost is None else f'; "unknown" costs {decision.unknown_cost:g}'
        lines.append(f"Of the answers that are probable enough, the one of least expected cost is given{unknown}.")
    lines.append("Promises are about pictures like those that they were fitted on, and not about unknown classes.")
    return "\n".join(f"- {line}" for line in lines)


def _promise(decision: DecisionInfo) -> str:
    what = f"{as_percent(decision.target_accuracy)} of them right"
    if decision.is_promised:
        return f"Promised: {what}, with {as_percent(decision.confidence)} confidence."
    why = (
        "too few pictures or too many wrong answers"
        if decision.may_promise
        else "the network has learnt from these pictures"
    )
    return f"Best effort, not promised ({why}): {what}."


def _bounds(decision: DecisionInfo) -> list[str]:
    """Lower bounds by pictures and by groups, if the bundle has them."""
    found: list[tuple[str, AnswerBound | None]] = [
        ("pictures count one by one", decision.bound),
        ("pictures of a group count together", decision.bound_by_groups),
    ]
    return [
        f"Of {bound.num_answers} answers about these pictures at least {as_percent(bound.lower_bound)} are right if "
        f"{how} (sample size {bound.sample_size}, {as_percent(decision.confidence)} confidence)."
        for how, bound in found
        if bound is not None
    ]
