"""The bundle's model card with the figures of an evaluation."""

from __future__ import annotations

from vision.evaluate.evaluation import ClassFigures, Evaluation
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.report.comparison import FEW_GROUPS
from vision.evaluate.summary import evaluation_markdown, markdown_text
from vision.taxonomy import Taxonomy

_FIGURES = "\n\n## Figures\n\n"


def bundle_part(card: str) -> str | None:
    """What `filled_model_card` was given; None for a card without figures."""
    return f"{card.split(_FIGURES)[0]}\n" if _FIGURES in card else None


def filled_model_card(card: str, evaluation: Evaluation, taxonomy: Taxonomy) -> str:
    """The card with a section of figures at its end; the bundle's own file stays as it was, for its digest.

    Args:
        card: Of the bundle, Markdown.
        evaluation: Of the same bundle.
        taxonomy: For names.
    """
    summary = evaluation_markdown(evaluation, taxonomy).replace("\n### ", "\n#### ").replace("## ", "### ", 1)
    rows = "\n".join(map(_class_row, evaluation.classes))
    return (
        f"{card.rstrip()}{_FIGURES}{summary}\n### Data of these figures\n\n{_data_rows(evaluation)}\n\n### By class\n\n"
        f"| class | pictures | recall | precision | F1 |\n|---|---|---|---|---|\n{rows}\n\n{_caveat(evaluation)}\n\n"
        "Figures hold for pictures like these; the report beside this file has the pictures, slices, shortcuts and "
        "near duplicates. Authors and licences of the training pictures stand in the bundle's ATTRIBUTION.md.\n"
    )


def _data_rows(evaluation: Evaluation) -> str:
    data = evaluation.data
    with_images = [figures for figures in evaluation.classes if figures.num_images]
    facts = {
        "data set": "not recorded" if data is None else markdown_text(data.name),
        "manifest, SHA-256": f"<code>{data.manifest_sha256}</code>" if data is not None else "not recorded",
        "split": "not recorded" if data is None else markdown_text(data.split) or "all pictures",
        "pictures": f"{evaluation.num_images}, of which {evaluation.num_errors} could not be read",
        "groups": str(evaluation.num_groups),
        "classes with pictures": f"{len(with_images)} of {len(evaluation.classes)}",
        "of classes that the model does not know": f"{sum(each.num_images for each in evaluation.novel)} pictures",
        "trained on": f"{evaluation.num_trained_on} pictures",
    }
    return "| fact | value |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in facts.items())


def _caveat(evaluation: Evaluation) -> str:
    few = (
        f" These are {evaluation.num_groups} groups: with fewer than about twenty, intervals are too narrow."
        if evaluation.num_groups < FEW_GROUPS
        else ""
    )
    return (
        "Intervals are 95 % bootstrap intervals over groups. Where all groups of a class agree, as where all of its "
        "pictures are right, drawing groups again shows nothing, and there is no interval: 3 right of 3 are no proof "
        "of more than 44 %. The fewer groups a class has, the less its interval says: with five groups a class, "
        "intervals of recall held the truth in 87 of 100 simulated evaluations instead of 95, with two in 44 "
        f"(scripts/simulate_comparison.py).{few}"
    )


def _class_row(figures: ClassFigures) -> str:
    recall, f1 = (_shown(each) if figures.num_images else "no images" for each in (figures.recall, figures.f1))
    precision = _shown(figures.precision) if figures.num_answers else "no answers"
    return f"| {markdown_text(figures.class_id)} | {figures.num_images} | {recall} | {precision} | {f1} |"


def _shown(figure: FigureWithInterval) -> str:
    if figure.value is None:
        return "–"
    has_width = figure.low is not None and figure.high is not None and figure.high > figure.low
    interval = f" ({figure.low:.2f} to {figure.high:.2f})" if has_width else " (no interval)"
    return f"{figure.value:.2f}{interval}"
