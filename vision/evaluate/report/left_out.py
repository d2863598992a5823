"""The page "What if this class had been unknown to us", and the table beside it.

A page is one HTML file with everything in it; it loads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.evaluate.left_out import LeftOut, LeftOutClass
from vision.evaluate.report.pages import report_environment
from vision.files import whole_file, write_whole_text
from vision.pages import PERCENT
from vision.taxonomy import Taxonomy

JSON_FILE, CSV_FILE, PAGE_FILE = "left_out.json", "left_out.csv", "left_out.html"

BAR_WIDTH = 300
"""Of 100 %, in units of the drawing, which scales with the page."""


@dataclass(frozen=True)
class BarPart:
    """A part of a class's bar; parts differ in lightness and pattern too, not in colour alone.

    Attributes:
        kind: Name of its style.
        said: What it stands for.
        share: In [0, 1].
        left: Where it begins, in units of the drawing.
        width: In units of the drawing.
    """

    kind: str
    said: str
    share: float
    left: float
    width: float


KINDS = {
    "unknown": "unknown",
    "right-above": "right family or role",
    "wrong-above": "wrong family or role",
    "wrong": "wrong class, below 90 %",
    "sure": "wrong class, 90 % or more",
}
"""The parts of a bar in their order, with what the legend says."""


def write_left_out(figures: LeftOut, taxonomy: Taxonomy, folder: Path) -> Path:
    """Write `left_out.json`, `left_out.csv` and `left_out.html` into a folder; the page's path.

    Args:
        figures: Of all classes.
        taxonomy: For names.
        folder: Where the files go.
    """
    write_whole_text(folder / JSON_FILE, figures.model_dump_json(indent=1) + "\n")
    with whole_file(folder / CSV_FILE) as temporary:
        left_out_table(figures).write_csv(temporary)
    environment = report_environment(whole=_whole, plain=_plain)
    page = environment.get_template("left_out.html.j2").render(
        figures=figures,
        taxonomy=taxonomy,
        kinds=KINDS,
        bar_width=BAR_WIDTH,
        bars={row.class_id: bar_parts(row) for row in figures.classes},
    )
    write_whole_text(folder / PAGE_FILE, page)
    return folder / PAGE_FILE


def left_out_table(figures: LeftOut) -> pl.DataFrame:
    """One row a class, most dangerous first; the columns are the fields of `LeftOutClass`, a column for each score."""
    rows = []
    for each in figures.classes:
        row = each.model_dump(exclude={"auroc", "false_positive_rate"}) | {"cues": "; ".join(each.cues)}
        of_scores = {"auroc": each.auroc, "false_positive_rate": each.false_positive_rate}
        row |= {f"{name}_{score}": value for name, scores in of_scores.items() for score, value in scores.items()}
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def bar_parts(row: LeftOutClass) -> list[BarPart]:
    """The parts of a class's bar from left to right, those without pictures left out."""
    shares = (
        row.unknown,
        row.right_family + row.right_role,
        row.wrong_above,
        row.wrong_class - row.confident_wrong_class,
        row.confident_wrong_class,
    )
    parts, left = [], 0.0
    for (kind, said), share in zip(KINDS.items(), shares, strict=True):
        if share > 1e-9:
            parts.append(BarPart(kind, said, share, round(left, 2), round(BAR_WIDTH * share, 2)))
        left += BAR_WIDTH * share
    return parts


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}{PERCENT}"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
