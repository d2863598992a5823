"""The files of an evaluation: figures, matrices, report; all made from predictions with their truth."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from vision.evaluate.evaluation import LEVELS, Evaluation, evaluate_predictions
from vision.evaluate.figures import save_confusion_csv, save_confusion_figures
from vision.evaluate.report.render import render_report
from vision.files import write_whole_text
from vision.taxonomy import Taxonomy

EVALUATION_FILE = "evaluation.json"
TAXONOMY_FILE = "taxonomy.json"
REPORT_PAGE = Path("report") / "index.html"


def write_evaluation(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    folder: Path,
    *,
    title: str,
    images_dir: Path | None,
    known_classes: tuple[str, ...] = (),
    seed: int = 0,
) -> Evaluation:
    """Write `evaluation.json`, `taxonomy.json`, `confusion*.csv|png|svg` and `report/index.html` into a folder.

    Args:
        table: Prediction rows with `true_label`.
        taxonomy: Order and names of classes, look-alikes.
        folder: Where the files go.
        title: Name of what was evaluated.
        images_dir: Where `file_name` starts; None if the pictures are not at hand.
        known_classes: Classes of the model.
        seed: Of the bootstrap.
    """
    relative = "" if images_dir is None else os.path.relpath(images_dir, folder)
    evaluation = evaluate_predictions(
        table,
        taxonomy,
        title=title,
        images_dir=relative,
        known_classes=known_classes,
        seed=seed,
    )
    write_whole_text(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=1) + "\n")
    class_ids = evaluation.matrix("class").true_ids
    write_whole_text(folder / TAXONOMY_FILE, taxonomy.restricted_to(class_ids).model_dump_json(indent=1) + "\n")
    for level in LEVELS:
        matrix = evaluation.matrix(level)
        stem = "confusion" if level == "class" else f"confusion_{level}"
        save_confusion_csv(matrix, folder / f"{stem}.csv", rates=False)
        save_confusion_csv(matrix, folder / f"{stem}_rates.csv", rates=True)
        paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        save_confusion_figures(matrix, paths, title=f"{title}: which {level} is taken for which")
    render_report(evaluation, table, taxonomy, (folder / REPORT_PAGE).parent, images_dir=images_dir)
    return evaluation


def recorded_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation that a folder holds already, if there is one that can be read."""
    try:
        return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded_taxonomy(folder: Path) -> Taxonomy | None:
    """The part of the taxonomy that an earlier evaluation in this folder was judged by."""
    try:
        return Taxonomy.model_validate_json((folder / TAXONOMY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded_images_dir(folder: Path) -> Path | None:
    """Where the pictures of the evaluation in this folder lie, if it says so and they are still there."""
    evaluation = recorded_evaluation(folder)
    if evaluation is None or not evaluation.images_dir:
        return None
    images_dir = folder / evaluation.images_dir
    return images_dir if images_dir.is_dir() else None
