"""The confusion report: a page with its data, details and thumbnails as files beside it, which opens from disk.

K true classes, A answers.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
from markupsafe import Markup
from numpy.typing import NDArray

from vision.evaluate.evaluation import (
    LEVELS,
    NO_ANSWER,
    UNKNOWN,
    ConfusedPair,
    ConfusionMatrix,
    Evaluation,
    FigureWithInterval,
    answer_at_level,
)
from vision.evaluate.metrics import confusion_rates
from vision.evaluate.report.pages import report_environment
from vision.evaluate.report.review_data import DecisionSettings, Review, build_review
from vision.evaluate.report.review_rows import CHUNK_ROWS, Overlay, page_address, script_json, write_rows
from vision.evaluate.report.thumbnails import MAX_THUMBNAILS, Thumbnails, write_thumbnails
from vision.files import write_whole_text
from vision.predictions import read_rows
from vision.taxonomy import Taxonomy

PAGE_FILE, DATA_FILE = "index.html", "data.js"
MAX_PAIRS = 60
"""Rows of the list of confusions; the others stand in `confusion.csv`."""

NUM_SHADES = 9
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Cell:
    """One cell of a matrix, ready to draw.

    Attributes:
        count: Pictures.
        share: Of the true class, in [0, 1]; None where it has no pictures.
        kind: `right`; `above` for a family or role that the truth is in, or "unknown" for a class that the model does
            not know; `silent` for other pictures without a name; `wrong`.
        shade: 0 without pictures, to `NUM_SHADES`.
        hint: What a pointer over the cell shows.
    """

    count: int
    share: float | None
    kind: str
    shade: int
    hint: str


def render_report(
    evaluation: Evaluation,
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    report_dir: Path,
    *,
    images_dir: Path | None,
    charts: Mapping[str, Sequence[str]] | None = None,
    settings: DecisionSettings | None = None,
    overlays: Mapping[str, Overlay] | None = None,
    max_thumbnails: int = MAX_THUMBNAILS,
) -> Path:
    """Write `index.html` and return its path; beside it go `data.js`, `rows/` and `thumbnails/`.

    Args:
        evaluation: The figures.
        table: The prediction rows with `true_label`, the same that were evaluated.
        taxonomy: For names.
        report_dir: Where the page goes.
        images_dir: Where `file_name` starts; None if the pictures are not at hand.
        charts: SVG by name: `reliability`, `risk_coverage`, `novelty`, `curves`.
        settings: How the bundle decides; without, the page cannot say which threshold keeps which promise.
        overlays: Evidence map of a picture, by `file_name`.
        max_thumbnails: Cap.
    """
    review = build_review(evaluation, table, taxonomy, settings)
    names: list[str] = table["file_name"].gather(review.positions).to_list()
    thumbnails = write_thumbnails(review, names, images_dir, report_dir, most=max_thumbnails)
    images = None if images_dir is None else page_address(images_dir, report_dir)
    data = _page_data(review, taxonomy, thumbnails, images, len(overlays or {}))
    build = hashlib.sha256("\0".join([script_json(data), *names]).encode("utf-8", "replace")).hexdigest()[:16]
    write_rows(review, table, report_dir, build=build, thumbnails=thumbnails, overlays=overlays)
    write_whole_text(report_dir / DATA_FILE, f"window.visionReviewData={script_json({'build': build, **data})};\n")
    page = _page(evaluation, table, taxonomy, build, charts or {})
    write_whole_text(report_dir / PAGE_FILE, page)
    return report_dir / PAGE_FILE


def _page(
    evaluation: Evaluation, table: pl.DataFrame, taxonomy: Taxonomy, build: str, charts: Mapping[str, Sequence[str]]
) -> str:
    environment = report_environment(
        plain=_plain,
        plain_interval=_plain_interval,
        data_address=_svg_address,
        cell_address=_cell_address,
    )
    environment.globals["longest"] = lambda names: max(map(len, names))
    script = (_TEMPLATES / "review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    novel = {each.class_id for each in evaluation.novel}
    wrong_pairs = [
        pair
        for pair in evaluation.confused_pairs
        if _kind(pair.true_id, pair.answer_id, _above(pair.true_id, taxonomy), pair.true_id in novel) == "wrong"
    ]
    return environment.get_template("report.html.j2").render(
        evaluation=evaluation,
        taxonomy=taxonomy,
        matrices=[(matrix, _cells(matrix, taxonomy, novel)) for matrix in evaluation.matrices],
        wrong_pairs=wrong_pairs,
        max_pairs=MAX_PAIRS,
        num_unnamed=sum(pair.num_images for pair in evaluation.confused_pairs)
        - sum(pair.num_images for pair in wrong_pairs),
        slices=evaluation.slices,
        num_groups=evaluation.num_groups,
        suspicious=evaluation.suspicious,
        shortcuts=evaluation.shortcuts,
        near_duplicates=evaluation.near_duplicates,
        failures=list(read_rows(table.filter(pl.col("status") == "error"))),
        charts=defaultdict(list, charts),
        build=build,
        script=Markup(script),  # the project's own file, not data: it alone is not escaped
        script_digest=digest,
    )


def _page_data(
    review: Review, taxonomy: Taxonomy, thumbnails: Thumbnails, images: str | None, num_maps: int
) -> dict[str, Any]:
    """What `review.js` reads; its counterpart stands at the top of that file."""
    code = np.uint8 if len(review.node_ids) < 256 else np.uint16 if len(review.node_ids) < 65536 else np.uint32
    candidates, reached = review.candidates, review.reached
    has_ranks = not np.isnan(review.novelty_rank).all()
    return {
        "numRows": len(review.truth),
        "chunkRows": CHUNK_ROWS,
        "ids": review.node_ids,
        "names": review.names,
        "levels": [
            {
                "name": level.name,
                "taxonomy": level.true_nodes,
                "confusion": level.by_confusion,
                "nodeAt": level.node_at,
            }
            for level in review.levels
        ],
        "novel": review.novel,
        "cues": _cues(review, taxonomy),
        "codeBytes": code().itemsize,
        "truth": _base64(review.truth.astype(code)),
        "recorded": _base64(review.recorded.astype(code)),
        "candidates": [_base64(each.astype(code)) for each in candidates],
        "reached": [_base64(each.astype("<f4")) for each in reached],
        "probability": _base64(review.probability.astype("<f4")),
        "noveltyRank": _base64(review.novelty_rank.astype("<f4")) if has_ranks else None,
        "canDecide": review.can_decide,
        "threshold": review.threshold,
        "falseAlarms": review.false_alarms,
        "numUnlike": review.num_unlike,
        "isWhole": review.is_whole,
        "targetAccuracy": review.settings.target_accuracy if review.settings else None,
        "confidence": review.settings.confidence if review.settings else None,
        "targets": [
            [each.target_accuracy, each.threshold, each.is_promised]
            for each in (review.settings.targets if review.settings else ())
        ],
        "images": images,
        "numThumbnails": len(thumbnails.made),
        "numLeftOut": thumbnails.num_left_out,
        "numWrongLeftOut": thumbnails.num_wrong_left_out,
        "numMaps": num_maps,
        "numWrong": int((~review.is_right & (review.recorded != len(review.node_ids) - 1)).sum()),
    }


def _cues(review: Review, taxonomy: Taxonomy) -> list[list[Any]]:
    """Pairs of look-alike classes with what separates them: node, node, cues."""
    index = {node_id: position for position, node_id in enumerate(review.node_ids)}
    return [
        [*(index[class_id] for class_id in pair.classes), [str(cue) for cue in pair.cues]]
        for pair in taxonomy.look_alikes
        if set(pair.classes) <= set(index)
    ]


def _base64(values: NDArray[Any]) -> str:
    """Bytes of an array, little-endian as in every browser."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode("ascii")


def _cells(matrix: ConfusionMatrix, taxonomy: Taxonomy, novel: set[str]) -> list[list[Cell]]:
    counts = matrix.array()
    rates = confusion_rates(counts)
    # Shades by the square root, so that small shares are seen beside large ones.
    shades = np.ceil(NUM_SHADES * np.sqrt(np.nan_to_num(rates)) - 1e-9).astype(int)
    names = {node_id: taxonomy.name(node_id) for node_id in (*matrix.true_ids, *matrix.answer_ids)}
    rows = []
    for row, true_id in enumerate(matrix.true_ids):
        cells, above = [], _above(true_id, taxonomy)
        for column, answer_id in enumerate(matrix.answer_ids):
            count = int(counts[row, column])
            share = None if np.isnan(rates[row, column]) else float(rates[row, column])
            shown = "no images" if share is None else f"{count} of {counts[row].sum()} ({share:.0%})"
            hint = f"true {names[true_id]}, answered {names[answer_id]}: {shown}"
            kind = _kind(true_id, answer_id, above, true_id in novel)
            cells.append(Cell(count, share, kind, int(shades[row, column]), hint))
        rows.append(cells)
    return rows


def _above(true_id: str, taxonomy: Taxonomy) -> set[str]:
    """A class, family or role, and what it is in."""
    return {answer_at_level(true_id, level, taxonomy) for level in LEVELS}


def _kind(true_id: str, answer_id: str, above: set[str], is_novel: bool) -> str:
    """How an answer stands to the truth, whose family and role are `above`; see `Cell`."""
    if answer_id == true_id:
        return "right"
    if answer_id in (UNKNOWN, NO_ANSWER):
        return "above" if answer_id == UNKNOWN and is_novel else "silent"
    return "above" if answer_id in above else "wrong"


def _cell_address(pair: ConfusedPair) -> str:
    """What `review.js` opens the pictures of a cell by."""
    return f"#class/{quote(pair.true_id, safe='')}/{quote(pair.answer_id, safe='')}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain_interval(figure: FigureWithInterval) -> str:
    return "no interval" if figure.low is None or figure.high is None else f"{figure.low:.3f} – {figure.high:.3f}"


def _svg_address(svg: str) -> str:
    """The drawing as a data address: kept apart from the page, its ids and styles clash with nothing."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
