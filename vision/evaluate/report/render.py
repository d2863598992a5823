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
    ConfusionMatrix,
    Evaluation,
    FigureWithInterval,
    answer_at_level,
)
from vision.evaluate.gates import GateResult, failed_first, limit_words
from vision.evaluate.metrics import confusion_rates
from vision.evaluate.near_duplicates import NearDuplicate
from vision.evaluate.picture_properties import measured_properties
from vision.evaluate.report.pages import report_environment
from vision.evaluate.report.review_data import DecisionSettings, Review, build_review
from vision.evaluate.report.review_rows import (
    CHUNK_ROWS,
    Overlay,
    is_slice_of,
    page_address,
    script_json,
    write_rows,
    write_slices,
)
from vision.evaluate.report.thumbnails import (
    MAX_THUMBNAILS,
    Thumbnails,
    thumbnail_name,
    write_thumbnails,
    write_training_thumbnails,
)
from vision.evaluate.slices import slice_codes
from vision.files import write_whole_text
from vision.pages import isolated
from vision.predictions import read_rows
from vision.taxonomy import Taxonomy

PAGE_FILE, DATA_FILE = "index.html", "data.js"
MAX_PAIRS = 60
"""Rows of the list of confusions; the others stand in `confusion.csv`."""

MAX_LABELS, MAX_NEAR_DUPLICATES = 200, 100
"""Rows of the lists of suspicious labels and of near duplicates; the others stand in `evaluation.json`."""

NUM_UNFOLDED = 15
"""Rows of long lists that are shown at first."""

NUM_SHADES = 9
# Data are escaped, so that no text of theirs is one of these.
_GATES_FROM, _GATES_TO = "<!-- gates -->", "<!-- end of gates -->"
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
    gates: Sequence[GateResult] = (),
) -> Path:
    """Write `index.html` and return its path; beside it go `data.js`, `slices.js`, `rows/` and `thumbnails/`.

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
        gates: What became of the gates, if it was held to any; `show_gates` puts in later ones.
    """
    review = build_review(evaluation, table, taxonomy, settings)
    names: list[str] = table["file_name"].gather(review.positions).to_list()
    places = _listed_places(evaluation, names)
    before = list(places.values())
    thumbnails = write_thumbnails(review, names, images_dir, report_dir, most=max_thumbnails, before=before)
    images = None if images_dir is None else page_address(images_dir, report_dir)
    data = _page_data(review, taxonomy, thumbnails, images, len(overlays or {})) | {"places": list(places.items())}
    build = hashlib.sha256("\0".join([script_json(data), *names]).encode("utf-8", "replace")).hexdigest()[:16]
    write_rows(review, table, report_dir, build=build, thumbnails=thumbnails, overlays=overlays)
    codes = slice_codes(table, measured_properties(table)) if evaluation.slices else []
    write_slices(review, evaluation.slices, codes, report_dir, build=build)
    write_whole_text(report_dir / DATA_FILE, f"window.visionReviewData={script_json({'build': build, **data})};\n")
    shown = {name: thumbnail_name(place) for name, place in places.items() if place in thumbnails.made}
    with_parts = [is_slice_of(*each) for each in zip(evaluation.slices, codes, strict=True)]
    pairs = evaluation.near_duplicates.pairs[:MAX_NEAR_DUPLICATES] if evaluation.near_duplicates else ()
    links = _Links(shown, with_parts, write_training_thumbnails(pairs, images_dir, report_dir))
    page = _page(evaluation, table, taxonomy, build, charts or {}, links)
    write_whole_text(report_dir / PAGE_FILE, page)
    if gates:
        show_gates(report_dir / PAGE_FILE, gates)
    return report_dir / PAGE_FILE


def show_gates(page: Path, gates: Sequence[GateResult]) -> None:
    """Put what became of the gates into a page that stands, in place of what it says of earlier ones."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(_GATES_FROM)
    _, _, behind = rest.partition(_GATES_TO)
    template = report_environment(limit_words=limit_words).get_template("_gates.html.j2")
    write_whole_text(page, "".join([before, mark, template.render(gates=failed_first(gates)), _GATES_TO, behind]))


@dataclass(frozen=True)
class _Links:
    """What leads from the page's tables to pictures.

    Attributes:
        thumbnails: Address by file name, of those that are listed and have one.
        has_parts: By slice, whether it is known which picture is of which part.
        training_thumbnails: Address of the training picture by near duplicate, of those that can be shown.
    """

    thumbnails: Mapping[str, str]
    has_parts: Sequence[bool]
    training_thumbnails: Mapping[NearDuplicate, str]


def _listed_places(evaluation: Evaluation, names: Sequence[str]) -> dict[str, int]:
    """Where pictures that the page's tables list stand among all; of several with one name the first."""
    labels = evaluation.suspicious.labels[:MAX_LABELS] if evaluation.suspicious else ()
    pairs = evaluation.near_duplicates.pairs[:MAX_NEAR_DUPLICATES] if evaluation.near_duplicates else ()
    wanted = dict.fromkeys([*(label.file_name for label in labels), *(pair.file_name for pair in pairs)])
    found = {name: place for place, name in reversed(list(enumerate(names))) if name in wanted}
    return {name: found[name] for name in wanted if name in found}


def _page(
    evaluation: Evaluation,
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    build: str,
    charts: Mapping[str, Sequence[str]],
    links: _Links,
) -> str:
    environment = report_environment(
        plain=_plain,
        plain_interval=_plain_interval,
        data_address=_svg_address,
        cell_address=lambda pair: _address("class", pair.true_id, pair.answer_id),
        true_address=lambda class_id: _address("class", class_id, ""),
        answer_address=lambda class_id: _address("class", "", class_id),
        picture_address=lambda file_name: _address("picture", file_name),
        thumbnail=links.thumbnails.get,
        training_thumbnail=links.training_thumbnails.get,
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
        max_labels=MAX_LABELS,
        max_near_duplicates=MAX_NEAR_DUPLICATES,
        num_unfolded=NUM_UNFOLDED,
        gates_from=Markup(_GATES_FROM),
        gates_to=Markup(_GATES_TO),
        num_unnamed=sum(pair.num_images for pair in evaluation.confused_pairs)
        - sum(pair.num_images for pair in wrong_pairs),
        slices=evaluation.slices,
        has_parts=links.has_parts,
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
            hint = f"true {isolated(names[true_id])}, answered {isolated(names[answer_id])}: {shown}"
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


def _address(*words: str) -> str:
    """What `review.js` opens pictures by."""
    return "#" + "/".join(quote(word.encode("utf-8", "replace"), safe="") for word in words)


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain_interval(figure: FigureWithInterval) -> str:
    return "no interval" if figure.low is None or figure.high is None else f"{figure.low:.3f} – {figure.high:.3f}"


def _svg_address(svg: str) -> str:
    """The drawing as a data address: kept apart from the page, its ids and styles clash with nothing."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
