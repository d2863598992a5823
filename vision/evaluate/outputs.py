"""The files of an evaluation: figures, matrices, report; all made from predictions with their truth."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import ValidationError

from vision.bundle import CARD_FILE
from vision.data.manifest import groups_of
from vision.evaluate.charts import answer_panels, draw_novelty, draw_reliability, draw_risk_coverage, reliability_panels
from vision.evaluate.evaluation import LEVELS, DataSource, Evaluation, PictureFigures, evaluate_predictions
from vision.evaluate.figures import save_confusion_csv, save_confusion_figures, save_figure, svg_of
from vision.evaluate.fitting_settings import fitting_settings
from vision.evaluate.gates import GATES_FILE, GateReport, GateResult, remove_gates
from vision.evaluate.model_card import bundle_part, filled_model_card
from vision.evaluate.promises import promise_figures
from vision.evaluate.report.render import render_report
from vision.evaluate.report.review_data import DecisionSettings
from vision.evaluate.report.review_rows import Overlay
from vision.evaluate.summary import SUMMARY_FILE, evaluation_markdown
from vision.files import whole_file, write_whole_text
from vision.predictions import load_predictions
from vision.taxonomy import Taxonomy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVALUATION_FILE = "evaluation.json"
TAXONOMY_FILE = "taxonomy.json"
SETTINGS_FILE = "decision.json"
CURVES_FILE = "curves.svg"
PDF_FILE = "report.pdf"
KNOWN_FILE = "known.parquet"
"""Beside the predictions of novel pictures: those of known ones, which novelty has to tell them from."""

REPORT_PAGE = Path("report") / "index.html"
EVIDENCE_DIR, EVIDENCE_FILE = "evidence", "evidence.json"
"""Beside the page: maps, and which picture each is of."""


def write_evaluation(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    folder: Path,
    *,
    title: str,
    images_dir: Path | None,
    known_classes: tuple[str, ...] = (),
    seed: int = 0,
    settings: DecisionSettings | None = None,
    overlays: Mapping[str, Overlay] | None = None,
    of_pictures: PictureFigures | None = None,
    data: DataSource | None = None,
    notes: Sequence[str] = (),
    card: str | None = None,
    decided_again: bool = False,
    known: pl.DataFrame | None = None,
) -> Evaluation:
    """Write `evaluation.json`, `taxonomy.json`, tables and figures as files, and `report/index.html` into a folder.

    Training curves that lie beside the folder, as in a run, are shown in the report. Files that an earlier evaluation
    left there, and that say nothing of this one, are removed: gates, a model card, the page as PDF.

    Args:
        table: Prediction rows with `true_label`.
        taxonomy: Order and names of classes, look-alikes.
        folder: Where the files go.
        title: Name of what was evaluated.
        images_dir: Where `file_name` starts; None if the pictures are not at hand.
        known_classes: Classes of the model.
        seed: Of the bootstrap.
        settings: How the bundle decides, kept as `decision.json`; by it the page decides anew for other targets.
        overlays: Evidence maps by `file_name`, for the page.
        of_pictures: What was found on the pictures themselves.
        data: Where pictures and truth come from, if that is known.
        notes: What could not be measured, and why, in sentences.
        card: Of the bundle that answered, Markdown; it is written with the figures.
        decided_again: The answers may follow from other targets than `settings` tells; these are looked for, and
            settings from which the answers do not follow are left out.
        known: See `evaluate_predictions`.
    """
    relative = "" if images_dir is None else os.path.relpath(images_dir, folder)
    evaluation = evaluate_predictions(
        table,
        taxonomy,
        title=title,
        images_dir=relative,
        known_classes=known_classes,
        of_pictures=of_pictures,
        data=data,
        notes=notes,
        promises=None if settings is None or decided_again else settings.promises,
        known=known,
        seed=seed,
    )
    if settings is not None and decided_again:
        settings = fitting_settings(settings, evaluation, table, taxonomy)
        evaluation = _with_promises(evaluation, table, taxonomy, settings)
    gates = recorded_gates(folder, evaluation)
    _remove_stale(folder, keeps_gates=bool(gates))
    if card is not None:
        write_whole_text(folder / CARD_FILE, filled_model_card(card, evaluation, taxonomy))
    write_whole_text(folder / EVALUATION_FILE, evaluation.model_dump_json(indent=1) + "\n")
    write_whole_text(folder / SUMMARY_FILE, evaluation_markdown(evaluation, taxonomy, gates))
    class_ids = evaluation.matrix("class").true_ids
    write_whole_text(folder / TAXONOMY_FILE, taxonomy.restricted_to(class_ids).model_dump_json(indent=1) + "\n")
    for level in LEVELS:
        matrix = evaluation.matrix(level)
        stem = "confusion" if level == "class" else f"confusion_{level}"
        save_confusion_csv(matrix, folder / f"{stem}.csv", rates=False)
        save_confusion_csv(matrix, folder / f"{stem}_rates.csv", rates=True)
        paths = [folder / f"{stem}.png", folder / f"{stem}.svg"]
        save_confusion_figures(matrix, paths, title=f"{title}: which {level} is taken for which")
    for stem, draw in _charts(evaluation).items():
        save_figure(draw, [folder / f"{stem}.png", folder / f"{stem}.svg"])
    charts = page_charts(evaluation, folder.resolve().parent / CURVES_FILE)
    overlays = _kept_layers(overlays or {}, (folder / REPORT_PAGE).parent)
    (folder / SETTINGS_FILE).unlink(missing_ok=True)  # it may be another model's
    if settings is not None:
        write_whole_text(folder / SETTINGS_FILE, settings.model_dump_json(indent=1) + "\n")
    render_report(
        evaluation,
        table,
        taxonomy,
        (folder / REPORT_PAGE).parent,
        images_dir=images_dir,
        charts=charts,
        settings=settings,
        overlays=overlays,
        gates=gates,
    )
    return evaluation


def _with_promises(
    evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy, settings: DecisionSettings | None
) -> Evaluation:
    """The evaluation with the promises that its answers turn out to follow from, and what was found of them."""
    if settings is None:
        return evaluation
    options = {"num_replicates": evaluation.num_replicates, "seed": evaluation.seed}
    figures = promise_figures(table, taxonomy, groups_of(table), settings.promises, **options)
    return evaluation.model_copy(update={"promises": figures})


def _remove_stale(folder: Path, *, keeps_gates: bool) -> None:
    """Remove what only some evaluations write; a bundle's own card, which has no figures, is none of it."""
    if not keeps_gates:
        remove_gates(folder)
    (folder / PDF_FILE).unlink(missing_ok=True)
    if recorded_card(folder) is not None:
        (folder / CARD_FILE).unlink()


def _kept_layers(overlays: Mapping[str, Overlay], report_dir: Path) -> dict[str, Overlay]:
    """The layers beside the page, copied there if they lie elsewhere, so that the folder can be mailed; no others."""
    folder = report_dir / EVIDENCE_DIR
    kept = {}
    for name, overlay in overlays.items():
        kept[name] = replace(overlay, path=folder / overlay.path.name)
        if overlay.path.resolve() != kept[name].path.resolve():
            with whole_file(kept[name].path) as temporary:
                shutil.copyfile(overlay.path, temporary)
    wanted = {overlay.path.name for overlay in kept.values()}
    for stale in folder.glob("*.png"):
        if stale.name not in wanted:
            stale.unlink()
    entries = {
        name: {"file": overlay.path.name, "answered": overlay.answered, "against": overlay.against}
        for name, overlay in kept.items()
    }
    (report_dir / EVIDENCE_FILE).unlink(missing_ok=True)
    if entries:
        write_whole_text(report_dir / EVIDENCE_FILE, json.dumps(entries, indent=1) + "\n")
    return kept


def _charts(evaluation: Evaluation) -> dict[str, Callable[[], Figure]]:
    """What to draw, by the stem of its files."""
    charts: dict[str, Callable[[], Figure]] = {}
    if evaluation.calibration is not None:
        charts["reliability"] = partial(draw_reliability, reliability_panels(evaluation.calibration))
        if evaluation.calibration.answers is not None:
            charts["answers"] = partial(draw_reliability, answer_panels(evaluation.calibration.answers))
        charts["risk_coverage"] = partial(draw_risk_coverage, evaluation.calibration.risk_coverage)
    if evaluation.novelty is not None:
        charts["novelty"] = partial(draw_novelty, evaluation.novelty)
    return charts


def page_charts(evaluation: Evaluation, curves_path: Path) -> dict[str, list[str]]:
    """The charts as SVG by the stem of their files; panels apart, so that a narrow page can put them one below another.

    Args:
        evaluation: The figures.
        curves_path: Training curves as SVG, which need not be there.
    """
    charts = {stem: [svg_of(draw)] for stem, draw in _charts(evaluation).items() if stem != "reliability"}
    if evaluation.calibration is not None:
        panels = reliability_panels(evaluation.calibration).items()
        charts["reliability"] = [svg_of(partial(draw_reliability, {name: figures})) for name, figures in panels]
    if curves_path.is_file():
        charts["curves"] = [curves_path.read_text(encoding="utf-8")]
    return charts


def recorded_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation that a folder holds already, if there is one that can be read."""
    try:
        return Evaluation.model_validate_json((folder / EVALUATION_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded_gates(folder: Path, evaluation: Evaluation) -> tuple[GateResult, ...]:
    """What became of the gates that the evaluation in this folder was held to, if it is of the same rows."""
    earlier = recorded_evaluation(folder)
    if earlier is None or not earlier.rows_digest or earlier.rows_digest != evaluation.rows_digest:
        return ()
    try:
        return GateReport.model_validate_json((folder / GATES_FILE).read_bytes()).results
    except (OSError, ValidationError):
        return ()


def recorded_taxonomy(folder: Path) -> Taxonomy | None:
    """The part of the taxonomy that an earlier evaluation in this folder was judged by."""
    try:
        return Taxonomy.model_validate_json((folder / TAXONOMY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded_overlays(folder: Path) -> dict[str, Overlay]:
    """The evidence maps that lie beside the page of this folder's evaluation, by file name."""
    report_dir = (folder / REPORT_PAGE).parent
    try:
        entries = json.loads((report_dir / EVIDENCE_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    overlays = {}
    for name, entry in entries.items():
        recorded = {"file": entry} if isinstance(entry, str) else entry  # older files do not tell the classes
        path = report_dir / EVIDENCE_DIR / Path(recorded["file"]).name
        overlays[name] = Overlay(path, recorded.get("answered", ""), recorded.get("against", ""))
    return {name: overlay for name, overlay in overlays.items() if overlay.path.is_file()}


def recorded_settings(folder: Path) -> DecisionSettings | None:
    """How the bundle decides whose evaluation this folder holds, if that was kept."""
    try:
        return DecisionSettings.model_validate_json((folder / SETTINGS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def recorded_card(folder: Path) -> str | None:
    """The bundle's card as it stands in the card that an evaluation in this folder filled, if there is one."""
    try:
        return bundle_part((folder / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def recorded_known(folder: Path) -> pl.DataFrame | None:
    """The known pictures that stand beside the novel ones of this folder's evaluation, if it has some."""
    path = folder / KNOWN_FILE
    return load_predictions(path) if path.is_file() else None


def recorded_images_dir(folder: Path) -> Path | None:
    """Where the pictures of the evaluation in this folder lie, if it says so and they are still there."""
    evaluation = recorded_evaluation(folder)
    if evaluation is None or not evaluation.images_dir:
        return None
    images_dir = folder / evaluation.images_dir
    return images_dir if images_dir.is_dir() else None
