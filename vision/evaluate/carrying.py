"""What of an earlier evaluation still holds for the same pictures with other answers or other labels.

Answers change when rows are decided again, labels when a manifest is mended. What was found on the pictures themselves
cannot be had from predictions, so it is kept wherever it still says something true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from vision.data.manifest import groups_of
from vision.evaluate.evaluation import DataSource, Evaluation, PictureFigures, rows_digest, truth_digest
from vision.evaluate.near_duplicates import flattery_of_now
from vision.evaluate.outputs import (
    KNOWN_FILE,
    recorded_card,
    recorded_evaluation,
    recorded_known,
    recorded_overlays,
    recorded_settings,
)
from vision.evaluate.report.review_data import DecisionSettings
from vision.evaluate.report.review_rows import Overlay
from vision.predictions import PREDICTIONS_FILE, load_predictions


@dataclass(frozen=True)
class Carried:
    """What `write_evaluation` may be given of an earlier evaluation.

    Attributes:
        is_same: Whether it is of the very same rows.
        known_classes: Of the model.
        of_pictures: What was found on the pictures.
        settings: How the bundle decides, which the answers need not follow from.
        known: Rows of known pictures that novelty is told from; of the very same answers alone.
        overlays: Evidence maps of pictures with the same answer and truth.
        data: Where the truth comes from.
        notes: What could not be measured.
        card: The bundle's.
        dropped: What does not hold any more, in words.
    """

    is_same: bool = False
    known_classes: tuple[str, ...] = ()
    of_pictures: PictureFigures | None = None
    settings: DecisionSettings | None = None
    known: pl.DataFrame | None = None
    overlays: Mapping[str, Overlay] = field(default_factory=dict)
    data: DataSource | None = None
    notes: tuple[str, ...] = ()
    card: str | None = None
    dropped: tuple[str, ...] = ()


def carried(folder: Path, predictions: Path, table: pl.DataFrame) -> Carried:
    """What of the evaluation in a folder holds for prediction rows with `true_label`; nothing if there is none.

    Args:
        folder: Of the earlier evaluation.
        predictions: The file that the rows come from, perhaps with other truths.
        table: The rows.
    """
    earlier = recorded_evaluation(folder)
    if earlier is None:
        return Carried()
    is_same = earlier.rows_digest == rows_digest(table)
    if not is_same and not _is_of_same_model(earlier, table):
        return Carried(dropped=("all that the evaluation beside these rows tells, which is of another model",))
    of_pictures, dropped = kept_figures(earlier, table)
    overlays = recorded_overlays(folder)
    if not is_same:
        unchanged = _unchanged_names(folder / PREDICTIONS_FILE, predictions, earlier, table)
        num_before = len(overlays)
        overlays = {name: overlay for name, overlay in overlays.items() if name in unchanged}
        if len(overlays) < num_before:
            told = f"evidence maps of {num_before - len(overlays)} pictures, whose answer or label changed"
            dropped = (*dropped, told)
        if (folder / KNOWN_FILE).is_file():
            dropped = (*dropped, "the known pictures beside these novel ones, which were not decided again")
    return Carried(
        is_same=is_same,
        known_classes=earlier.known_classes,
        of_pictures=of_pictures,
        settings=recorded_settings(folder),
        known=recorded_known(folder) if is_same else None,
        overlays=overlays,
        data=earlier.data if is_same or earlier.truth_digest == truth_digest(table) else None,
        notes=earlier.notes,
        card=recorded_card(folder),
        dropped=dropped,
    )


def kept_figures(earlier: Evaluation, table: pl.DataFrame) -> tuple[PictureFigures, tuple[str, ...]]:
    """What was found on the pictures, as far as it holds for these rows, and what had to be left out, in words.

    Args:
        earlier: Of the same pictures.
        table: Prediction rows with `true_label`.
    """
    if earlier.rows_digest == rows_digest(table):
        return PictureFigures(earlier.shortcuts, earlier.near_duplicates), ()
    dropped = []
    shortcuts = earlier.shortcuts if earlier.truth_digest == truth_digest(table) else None
    if earlier.shortcuts is not None and shortcuts is None:
        dropped.append("the audit of shortcuts, which is of other labels or groups; `vision evaluate` makes it again")
    flattery = earlier.near_duplicates
    if flattery is not None:
        flattery = flattery_of_now(
            flattery, table, groups_of(table), num_replicates=earlier.num_replicates, seed=earlier.seed
        )
        if flattery is None:
            dropped.append("near duplicates, of which not all are listed here; `vision evaluate` finds them again")
    return PictureFigures(shortcuts, flattery), tuple(dropped)


def _is_of_same_model(earlier: Evaluation, table: pl.DataFrame) -> bool:
    models = set(table["model"].drop_nulls().unique()) - {""} if "model" in table.columns else set()
    return models == ({earlier.model} if earlier.model else set())


def _unchanged_names(recorded: Path, predictions: Path, earlier: Evaluation, table: pl.DataFrame) -> set[str]:
    """Pictures with the answer and truth of the rows that the earlier evaluation is of; none if these are gone."""
    path = recorded if recorded.is_file() else predictions
    before = load_predictions(path)
    if "true_label" not in before.columns or rows_digest(before) != earlier.rows_digest:
        return set()
    columns = ["file_name", "label", "true_label"]
    same = table.select(columns).join(before.select(columns), on=columns, how="semi")
    return set(same["file_name"])
