"""The evaluation of out-of-fold predictions: each training picture by a model trained without its group.

These models are gone, each with its fold. So there is no decision of theirs to show other targets of, and no map of
what spoke for an answer; pictures, shortcuts and near duplicates in other folds can be looked at as in any evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.bundle import CARD_FILE, Bundle
from vision.data.manifest import Manifest, groups_of, parse_box
from vision.evaluate.evaluation import DataSource, Evaluation, PictureFigures
from vision.evaluate.near_duplicates import near_duplicate_figures, thumbnails_from_files
from vision.evaluate.outputs import write_evaluation
from vision.evaluate.picture_properties import PICTURE_COLUMNS, picture_properties
from vision.evaluate.pixel_neighbours import nearest_by_pixels
from vision.evaluate.shortcuts import audit_shortcuts
from vision.predictions import load_predictions, predictions_table, read_rows, save_predictions
from vision.taxonomy import Taxonomy

NOTES = (
    "Each picture was answered by a model trained without its group; the bundle, trained on all, may do better.",
    "There are no evidence maps and no promises here: they belong to the models of the folds, which are not kept.",
)


def evaluate_out_of_fold(
    path: Path, bundle: Bundle, manifest: Manifest, taxonomy: Taxonomy, *, title: str, seed: int = 0
) -> Evaluation:
    """Write the evaluation's files beside the predictions, and what is measured on the pictures into these.

    Args:
        path: Prediction rows with truth, groups and boxes.
        bundle: What the same run trained on all of these pictures.
        manifest: Of the run.
        taxonomy: Order and names of classes.
        title: Name of what was evaluated; what is missing is told behind it.
        seed: Of the bootstrap.
    """
    table = load_predictions(path)
    paths = [manifest.image_path(name) for name in table["file_name"]]
    boxes = [parse_box(box) if box else None for box in table["box"]]
    groups, preprocessing, labels = groups_of(table), bundle.info.preprocessing, table["true_label"].to_list()
    thumbnails = list(map(thumbnails_from_files(paths, preprocessing, boxes), range(len(paths))))
    measured = picture_properties(paths, boxes).select(PICTURE_COLUMNS)
    by_pixels = pl.Series("nearest_by_pixels", _nearest_of_other_groups(thumbnails, groups, labels), dtype=pl.String)
    table = table.with_columns(by_pixels, *measured.get_columns())
    own = predictions_table([]).columns
    save_predictions(read_rows(table), path, extra_columns=table.drop(own, strict=False))
    # Every picture is in the bundle's reference itself. Equal files are of one group, so that none was trained on.
    others = replace(bundle.reference, sha256=[""] * len(bundle.reference.sha256))
    return write_evaluation(
        table,
        taxonomy,
        path.parent,
        title=f"{title} (no evidence maps: they need the models of the folds)",
        images_dir=manifest.folder,
        known_classes=bundle.info.classes,
        seed=seed,
        of_pictures=PictureFigures(
            audit_shortcuts(paths, labels, groups, boxes=boxes, box_margin=preprocessing.box_margin),
            near_duplicate_figures(table, groups, others, bundle.info.classes, thumbnails.__getitem__),
        ),
        data=DataSource.of(manifest, "train"),
        notes=NOTES,
        card=(bundle.folder / CARD_FILE).read_text(encoding="utf-8"),
    )


def _nearest_of_other_groups(
    thumbnails: Sequence[NDArray[np.uint8] | None], groups: Sequence[str], labels: Sequence[str]
) -> list[str | None]:
    """Class of the picture of another group that is most alike pixel by pixel, be it of the same fold or not."""
    rows = [row for row, thumbnail in enumerate(thumbnails) if thumbnail is not None]
    if not rows:
        return [None] * len(labels)
    known = np.stack([thumbnail for thumbnail in thumbnails if thumbnail is not None])
    of_known = [labels[row] for row in rows]
    return nearest_by_pixels(thumbnails, known, of_known, groups=groups, known_groups=[groups[row] for row in rows])
