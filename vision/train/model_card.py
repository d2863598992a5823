"""The page that goes with a bundle: what it is for, what it knows, what it does not."""

from __future__ import annotations

from collections.abc import Mapping

from vision.bundle import Calibration, Licensing
from vision.config import Config
from vision.taxonomy import Taxonomy
from vision.train.probe import Candidate


def render_model_card(
    config: Config,
    taxonomy: Taxonomy,
    num_images: Mapping[str, int],
    chosen: Candidate,
    calibration: Calibration,
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
        calibration: How probabilities were calibrated.
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
{boxes}- Calibration: temperature {calibration.temperature:.3f}, from {calibration.fitted_on}.
- Figures on held-out pictures stand in the card of the run's evaluation, not in the bundle's.

## Licences

The bundle {passing_on}. Policy for pictures: `{licensing.policy}`. Pictures by licence:

{pictures}

Pretrained weights: {licensing.weights} ({licensing.weights_source}).
"""
