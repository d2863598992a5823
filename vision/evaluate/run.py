"""Judging a bundle on a labelled data set: classify, keep the rows, write the figures and the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.bundle import CARD_FILE, Bundle
from vision.classify.engine import Engine
from vision.classify.evidence import EvidenceMaker
from vision.data.check import check_labelled_table
from vision.data.manifest import Manifest, groups_of, parse_box, truth_columns
from vision.data.preprocessing import Box
from vision.errors import BundleError, ManifestError, OutputError, nearest_name_hint
from vision.evaluate.evaluation import DataSource, Evaluation, PictureFigures
from vision.evaluate.near_duplicates import near_duplicate_figures, thumbnails_from_files
from vision.evaluate.outputs import EVALUATION_FILE, EVIDENCE_DIR, KNOWN_FILE, REPORT_PAGE, write_evaluation
from vision.evaluate.picture_properties import PICTURE_COLUMNS, picture_properties
from vision.evaluate.pixel_neighbours import nearest_by_pixels
from vision.evaluate.report.evidence import LayerTask, write_layers
from vision.evaluate.report.left_out import JSON_FILE as LEFT_OUT_FILE
from vision.evaluate.report.review_data import DecisionSettings
from vision.evaluate.report.review_rows import Overlay
from vision.evaluate.shortcuts import audit_shortcuts
from vision.files import whole_file
from vision.predictions import PREDICTIONS_FILE, Prediction, load_predictions, save_predictions
from vision.taxonomy import Taxonomy, load_taxonomy

NOVEL = "novel"
"""The split of classes that are kept out of training."""

MAX_EVIDENCE = 150
"""Wrong answers that get an evidence map, the surest first; each takes about as long as classifying two pictures."""


def evaluate_bundle(
    bundle: Bundle,
    manifest: Manifest,
    taxonomy: Taxonomy,
    folder: Path,
    *,
    split: str | None = None,
    known: pl.DataFrame | None = None,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Classify a manifest's pictures and write `predictions.parquet` and the evaluation's files into a folder.

    Args:
        bundle: The model.
        manifest: Pictures and truth.
        taxonomy: Order and names of classes; it must know every label.
        folder: Where the files go.
        split: Only rows of this split; None for all. Beside the split `novel`, pictures of `known_rows` are classified
            and kept as `known.parquet`, for novelty to be told from.
        known: Rows of those that there are already, by the same bundle.
        on_progress: Told of each picture that is done.

    Raises:
        ManifestError: The table is at fault, or no row is of that split.
        TaxonomyError: The taxonomy does not know a class of the bundle.
    """
    check_labelled_table(manifest, taxonomy)
    for class_id in bundle.info.classes:
        taxonomy.vehicle_class(class_id)
    rows = rows_of_split(manifest, split)
    engine = Engine(bundle, top_k=len(bundle.info.classes))
    paths, boxes = _pictures(rows, manifest)
    answered = _answered(engine, rows, manifest, on_progress)
    (folder / KNOWN_FILE).unlink(missing_ok=True)
    if split == NOVEL:
        known = _known_beside(engine, known, manifest, folder / KNOWN_FILE, on_progress)
    path = folder / PREDICTIONS_FILE
    thumbnail_of = thumbnails_from_files(paths, bundle.info.preprocessing, boxes)
    known_thumbnails = bundle.reference.thumbnails
    thumbnails = [thumbnail_of(row) if known_thumbnails is not None else None for row in range(len(rows))]
    found: list[str | None] = [None] * len(rows)
    if known_thumbnails is not None:
        classes = [bundle.info.classes[index] for index in bundle.reference.class_indices.tolist()]
        found = nearest_by_pixels(thumbnails, known_thumbnails, classes)
    by_pixels = pl.Series("nearest_by_pixels", found, dtype=pl.String)
    measured = picture_properties(paths, boxes).select(PICTURE_COLUMNS)
    beside = truth_columns(rows).with_columns(by_pixels, *measured.get_columns())
    save_predictions(answered, path, extra_columns=beside)
    table = load_predictions(path)
    which = f"split {split}" if split else "all pictures"
    return write_evaluation(
        table,
        taxonomy,
        folder,
        title=f"{bundle.info.name} on {which} of {manifest.path.parent.resolve().name}",
        images_dir=manifest.folder,
        known_classes=bundle.info.classes,
        of_pictures=_of_pictures(bundle, table, paths, boxes, thumbnails),
        settings=DecisionSettings.of(bundle),
        data=DataSource.of(manifest, split),
        known=known,
        overlays=_evidence(engine, table, paths, boxes, (folder / REPORT_PAGE).parent / EVIDENCE_DIR),
        card=(bundle.folder / CARD_FILE).read_text(encoding="utf-8"),
    )


def _pictures(rows: pl.DataFrame, manifest: Manifest) -> tuple[list[Path], list[Box | None]]:
    """Where the pictures of a manifest's rows lie, and their boxes."""
    paths = [manifest.image_path(name) for name in rows["file_name"]]
    return paths, [parse_box(box) if box else None for box in rows["box"]]


def _answered(
    engine: Engine, rows: pl.DataFrame, manifest: Manifest, on_progress: Callable[[int], None]
) -> list[Prediction]:
    answered = []
    for prediction in engine.stream(zip(rows["file_name"], *_pictures(rows, manifest), strict=True)):
        on_progress(1)
        answered.append(prediction)
    return answered


def _known_beside(
    engine: Engine,
    known: pl.DataFrame | None,
    manifest: Manifest,
    path: Path,
    on_progress: Callable[[int], None],
) -> pl.DataFrame | None:
    """Rows of the known pictures, from the file that they are kept in; None if the manifest has none."""
    if known is None:
        rows = known_rows(manifest, engine.bundle)
        if len(rows) == 0:
            return None
        save_predictions(_answered(engine, rows, manifest, on_progress), path, extra_columns=truth_columns(rows))
    else:
        with whole_file(path) as temporary:
            known.write_parquet(temporary)
    return load_predictions(path)


def known_rows(manifest: Manifest, bundle: Bundle) -> pl.DataFrame:
    """Pictures of a bundle's classes that it was not trained on: the split `test`, or `calibration` if there is none.

    May be empty.
    """
    is_known = pl.col("label").is_in(bundle.info.classes) & ~pl.col("sha256").is_in(bundle.reference.sha256).fill_null(
        False
    )
    for split in ("test", "calibration"):
        rows = manifest.table.filter((pl.col("split") == split) & is_known)
        if len(rows):
            return rows
    return manifest.table.clear()


def _evidence(
    engine: Engine, table: pl.DataFrame, paths: Sequence[Path], boxes: Sequence[Box | None], folder: Path
) -> dict[str, Overlay]:
    """Maps of the surest wrong answers by file name; none from bundles whose classifier cannot be read."""
    try:
        maker = EvidenceMaker(engine)
    except BundleError:
        return {}
    is_wrong = (pl.col("status") == "ok") & (pl.col("label") != pl.col("true_label"))
    wrong = table.with_row_index("_row").filter(is_wrong)
    shown = wrong.sort("probability", descending=True, maintain_order=True).head(MAX_EVIDENCE)
    known = engine.bundle.info.classes
    tasks = []
    for row, name, label, truth in shown.select("_row", "file_name", "label", "true_label").iter_rows():
        answered = label if label in known else None
        against = truth if answered is not None and truth in known else None
        tasks.append(LayerTask(name, paths[row], boxes[row], answered, against))
    return write_layers(maker, tasks, folder, num_threads=os.cpu_count() or 1) if len(known) > 1 else {}


def _of_pictures(
    bundle: Bundle,
    table: pl.DataFrame,
    paths: Sequence[Path],
    boxes: Sequence[Box | None],
    thumbnails: Sequence[NDArray[np.uint8] | None],
) -> PictureFigures:
    groups, margin = groups_of(table), bundle.info.preprocessing.box_margin
    return PictureFigures(
        audit_shortcuts(paths, table["true_label"].to_list(), groups, boxes=boxes, box_margin=margin),
        near_duplicate_figures(table, groups, bundle.reference, bundle.info.classes, thumbnails.__getitem__),
    )


def taxonomy_for(bundle: Bundle, path: Path | None) -> Taxonomy:
    """The taxonomy to judge a bundle by: the given one; else the one that comes along; else the bundle's own.

    Raises:
        TaxonomyError: The given file is at fault.
    """
    taxonomy = load_taxonomy(path)
    if path is None and not set(bundle.info.classes) <= set(taxonomy.class_ids):
        return bundle.info.taxonomy
    return taxonomy


def rows_of_split(manifest: Manifest, split: str | None) -> pl.DataFrame:
    """The manifest's rows of a split, or all.

    Raises:
        ManifestError: There are none; names the splits that there are.
    """
    if split is None:
        return manifest.table
    rows = manifest.table.filter(pl.col("split") == split)
    if len(rows) == 0:
        there = manifest.table["split"].fill_null("(empty)").unique().sort().to_list()
        hint = nearest_name_hint(split, there)
        raise ManifestError(f"{manifest.path}: no row of split '{split}'{hint}; there are: {', '.join(there)}")
    return rows


def check_may_write(folder: Path, *, overwrite: bool) -> None:
    """Refuse to mix an evaluation with an earlier one.

    Raises:
        OutputError: There is one, and overwriting was not asked for.
    """
    if any((folder / name).exists() for name in (EVALUATION_FILE, LEFT_OUT_FILE)) and not overwrite:
        raise OutputError(f"{folder}: holds an evaluation already; use --overwrite, or another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file, not a folder; choose another with --out")
