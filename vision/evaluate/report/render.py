"""The confusion report as one self-contained HTML page.

K true classes, A answers.
"""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image

from vision.data.images import decode_image
from vision.errors import ImageError
from vision.evaluate.evaluation import NO_ANSWER, ConfusedPair, ConfusionMatrix, Evaluation, FigureWithInterval
from vision.evaluate.metrics import confusion_rates
from vision.evaluate.report.pages import page_environment
from vision.files import write_whole_text
from vision.predictions import Prediction, read_rows
from vision.taxonomy import Taxonomy

THUMBNAIL_PX = 200
MAX_PICTURES_PER_PAIR = 24
MAX_PICTURES = 600
"""Thumbnails are embedded at about 8 kB each; the page says how many pictures it leaves out."""


UNREADABLE_ANCHOR = "not-readable"


@dataclass(frozen=True)
class Cell:
    """One cell of a matrix, ready to draw.

    Attributes:
        count: Pictures.
        share: Of the true class, in [0, 1]; None where it has no pictures.
        is_right: Whether the answer is the truth.
        link: Anchor of the pictures, if they are wrong ones.
        hint: What a pointer over the cell shows.
        shade: How strong the cell is coloured, in [0, 1].
    """

    count: int
    share: float | None
    is_right: bool
    link: str
    hint: str
    shade: float


@dataclass(frozen=True)
class Picture:
    """A wrong picture, ready to show."""

    prediction: Prediction
    thumbnail: str
    fault: str
    attribution: str
    source_url: str


@dataclass(frozen=True)
class PairSection:
    """A confused pair with its pictures, surest first."""

    pair: ConfusedPair
    anchor: str
    pictures: list[Picture]
    num_left_out: int


def render_report(
    evaluation: Evaluation,
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    report_dir: Path,
    *,
    images_dir: Path | None,
    charts: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write `index.html` and return its path.

    Args:
        evaluation: The figures.
        table: The prediction rows with `true_label`, the same that were evaluated.
        taxonomy: For names.
        report_dir: Where the page goes.
        images_dir: Where `file_name` starts; None if the pictures are not at hand.
        charts: SVG by name: `reliability`, `risk_coverage`, `novelty`, `curves`.
    """
    environment = page_environment(
        percent=_percent,
        interval=_interval,
        plain=_plain,
        plain_interval=_plain_interval,
        data_address=_svg_address,
    )
    environment.globals["longest"] = lambda names: max(map(len, names))
    page = environment.get_template("report.html.j2").render(
        evaluation=evaluation,
        taxonomy=taxonomy,
        matrices=[(matrix, _cells(matrix, taxonomy)) for matrix in evaluation.matrices],
        sections=list(_sections(evaluation, table, images_dir)),
        failures=list(read_rows(table.filter(pl.col("status") == "error"))),
        unreadable_anchor=UNREADABLE_ANCHOR,
        charts=defaultdict(list, charts or {}),
    )
    path = report_dir / "index.html"
    write_whole_text(path, page)
    return path


def _cells(matrix: ConfusionMatrix, taxonomy: Taxonomy) -> list[list[Cell]]:
    counts = matrix.array()
    rates = confusion_rates(counts)
    rows = []
    for row, true_id in enumerate(matrix.true_ids):
        cells = []
        for column, answer_id in enumerate(matrix.answer_ids):
            count = int(counts[row, column])
            share = None if rates[row, column] != rates[row, column] else float(rates[row, column])
            right = row == column
            shown = "no images" if share is None else f"{count} of {counts[row].sum()} ({share:.0%})"
            hint = f"true {taxonomy.name(true_id)}, answered {taxonomy.name(answer_id)}: {shown}"
            link = _anchor(true_id, answer_id) if count and not right and matrix.level == "class" else ""
            link = UNREADABLE_ANCHOR if link and answer_id == NO_ANSWER else link
            cells.append(Cell(count, share, right, link, hint, share or 0.0))
        rows.append(cells)
    return rows


def _sections(evaluation: Evaluation, table: pl.DataFrame, images_dir: Path | None) -> Iterator[PairSection]:
    budget = MAX_PICTURES
    wrong = table.filter((pl.col("status") == "ok") & (pl.col("label") != pl.col("true_label")))
    for pair in evaluation.confused_pairs:
        if pair.answer_id == NO_ANSWER:
            continue
        rows = wrong.filter((pl.col("true_label") == pair.true_id) & (pl.col("label") == pair.answer_id))
        shown = rows.sort("probability", descending=True, maintain_order=True).head(min(MAX_PICTURES_PER_PAIR, budget))
        budget -= len(shown)
        pictures = [
            _picture(prediction, values, images_dir)
            for prediction, values in zip(read_rows(shown), shown.iter_rows(named=True), strict=True)
        ]
        yield PairSection(pair, _anchor(pair.true_id, pair.answer_id), pictures, len(rows) - len(shown))


def _picture(prediction: Prediction, values: dict[str, object], images_dir: Path | None) -> Picture:
    thumbnail, fault = "", "the picture is not at hand"
    if images_dir is not None:
        try:
            thumbnail, fault = _thumbnail(images_dir / prediction.file_name), ""
        except ImageError as error:
            fault = str(error)
    title, author, licence, url = (str(values.get(key) or "") for key in ("title", "author", "licence", "source_url"))
    attribution = ", ".join(part for part in (title, author and f"by {author}", licence) if part)
    return Picture(prediction, thumbnail, fault, attribution, url if url.startswith(("https://", "http://")) else "")


def _thumbnail(path: Path) -> str:
    """A small JPEG of the picture as a data address."""
    image = decode_image(path, enough_px=2 * THUMBNAIL_PX)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _anchor(true_id: str, answer_id: str) -> str:
    return f"true-{true_id}-answer-{answer_id}".replace(" ", "-")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _interval(figure: FigureWithInterval) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{100 * figure.low:.1f} – {100 * figure.high:.1f} %"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _plain_interval(figure: FigureWithInterval) -> str:
    return "no interval" if figure.low is None or figure.high is None else f"{figure.low:.3f} – {figure.high:.3f}"


def _svg_address(svg: str) -> str:
    """The drawing as a data address: kept apart from the page, its ids and styles clash with nothing."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")
