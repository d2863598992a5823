"""The bundle's model card with the figures of an evaluation."""

from __future__ import annotations

from vision.evaluate.evaluation import ClassFigures, Evaluation
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.summary import evaluation_markdown, markdown_text
from vision.taxonomy import Taxonomy


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
        f"{card.rstrip()}\n\n## Figures\n\n{summary}\n### By class\n\n"
        f"| class | pictures | recall | precision |\n|---|---|---|---|\n{rows}\n\n"
        "Intervals are 95 % bootstrap intervals over groups. Figures hold for pictures like these; the report beside "
        "this file has the pictures, slices, shortcuts and near duplicates. Authors and licences of the training "
        "pictures stand in the bundle's ATTRIBUTION.md.\n"
    )


def _class_row(figures: ClassFigures) -> str:
    recall = _shown(figures.recall) if figures.num_images else "no images"
    precision = _shown(figures.precision) if figures.num_answers else "no answers"
    return f"| {markdown_text(figures.class_id)} | {figures.num_images} | {recall} | {precision} |"


def _shown(figure: FigureWithInterval) -> str:
    if figure.value is None:
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" ({figure.low:.2f} to {figure.high:.2f})"
    return f"{figure.value:.2f}{interval}"
