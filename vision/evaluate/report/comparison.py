"""The page that shows two sets of predictions beside each other, the files beside it, and the lines for a terminal.

The page is one HTML file with everything in it; it loads nothing. R true classes, C answers.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.data.thumbnails import thumbnail_jpeg
from vision.errors import ImageError, OutputError
from vision.evaluate.comparison import (
    AccuracyChange,
    ChangedPicture,
    ComparedFigure,
    Comparison,
    significant_loss,
)
from vision.evaluate.multiple_tests import SIGNIFICANT
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.report.pages import report_environment
from vision.evaluate.report.review_rows import page_address
from vision.files import whole_file, write_whole_text
from vision.taxonomy import Taxonomy

JSON_FILE, CSV_FILE, PAGE_FILE = "comparison.json", "changed.csv", "comparison.html"

FEW_GROUPS = 20
"""With fewer groups bootstrap intervals are too narrow, as `metrics.bootstrap_intervals` says."""

MAX_THUMBNAILS_PER_LIST = 24
MAX_CELLS_LISTED = 40
MAX_LINKS_PER_CELL = 8
MAX_LABEL = 28
"""Characters of a class's id along the matrix."""

LARGE_CELL, SMALL_CELL = 54, 30
MAX_LARGE_CELLS = 16
PLOT_WIDTH = 140
"""Of the drawing of a class's interval, in its own units."""

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class DifferenceCell:
    """A cell of the matrix that changed, or one of its diagonal.

    Attributes:
        row: Number of the true class.
        true_id: Row.
        answer_id: Column.
        column: Its number.
        difference: Pictures, B minus A.
        share: The same of the true class, in [-1, 1].
        num_a: Pictures in A.
        num_b: Pictures in B.
        kind: `better`, `worse`, `neither` or `same`: name of its style.
        is_right: Whether the answer is the truth.
        shade: How strong it is coloured, in [0, 1].
    """

    row: int
    true_id: str
    answer_id: str
    column: int
    difference: int
    share: float
    num_a: int
    num_b: int
    kind: str
    is_right: bool
    shade: float


@dataclass(frozen=True)
class IntervalPlot:
    """Where the difference of a class and its interval lie in a drawing `PLOT_WIDTH` wide with zero in the middle."""

    value: float
    low: float | None
    high: float | None


def check_may_compare_into(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write over an earlier comparison.

    Raises:
        OutputError: There is one, and overwriting was not asked for.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file, not a folder; choose another with --out")
    if (folder / JSON_FILE).exists() and not overwrite:
        raise OutputError(f"{folder}: holds a comparison already; use --overwrite, or another folder with --out")


def write_comparison(
    comparison: Comparison,
    changed: pl.DataFrame,
    taxonomy: Taxonomy,
    folder: Path,
    *,
    images_dir_a: Path | None = None,
    images_dir_b: Path | None = None,
) -> Path:
    """Write `comparison.json`, `changed.csv` and `comparison.html` into a folder; the page's path.

    Args:
        comparison: The figures.
        changed: All changed pictures, from `changed_pictures`.
        taxonomy: For names.
        folder: Where the files go.
        images_dir_a: Where `file_name` of A starts; None if its pictures are not at hand.
        images_dir_b: The same for B; asked where A's are not at hand.
    """
    write_whole_text(folder / JSON_FILE, comparison.model_dump_json(indent=1) + "\n")
    with whole_file(folder / CSV_FILE) as temporary:
        changed.write_csv(temporary)
    page = render_comparison(comparison, taxonomy, images_dir_a=images_dir_a, images_dir_b=images_dir_b, folder=folder)
    write_whole_text(folder / PAGE_FILE, page)
    return folder / PAGE_FILE


def render_comparison(
    comparison: Comparison,
    taxonomy: Taxonomy,
    *,
    images_dir_a: Path | None = None,
    images_dir_b: Path | None = None,
    folder: Path | None = None,
) -> str:
    """The page as HTML; arguments as those of `write_comparison`. Without a folder nothing links to originals."""

    def path_of(picture: ChangedPicture) -> Path | None:
        if images_dir_a is not None:
            return images_dir_a / picture.file_name
        return None if images_dir_b is None else images_dir_b / picture.file_name_b

    def thumbnail(picture: ChangedPicture) -> str:
        path = path_of(picture)
        return "" if path is None else _thumbnail(path)

    def original(picture: ChangedPicture) -> str:
        path = path_of(picture)
        return "" if path is None or folder is None or not _is_file(path) else page_address(path, folder)

    environment = report_environment(
        points=_points,
        whole_points=_whole_points,
        points_interval=_points_interval,
        signed=_signed,
        p_value=_p_value,
        thumbnail=thumbnail,
        original=original,
        shorter=_shorter,
    )
    rows, of_cells = difference_cells(comparison), _pictures_of_cells(comparison)
    listed = sorted((cell for row in rows for cell in row if cell.difference), key=lambda cell: -abs(cell.difference))
    return environment.get_template("comparison.html.j2").render(
        comparison=comparison,
        taxonomy=taxonomy,
        verdict=verdict(comparison.answer, comparison.num_groups),
        rows=rows,
        listed=listed[:MAX_CELLS_LISTED],
        linked={(cell.row, cell.column) for cell in listed[:MAX_CELLS_LISTED]},
        of_cells=of_cells,
        most_links=MAX_LINKS_PER_CELL,
        num_cells=len(listed),
        cell=LARGE_CELL if len(comparison.matrix.answer_ids) <= MAX_LARGE_CELLS else SMALL_CELL,
        plots={change.class_id: interval_plot(change.recall.difference) for change in comparison.classes},
        plot_width=PLOT_WIDTH,
        few_groups=FEW_GROUPS,
        has_pictures=images_dir_a is not None or images_dir_b is not None,
        most_shown=len(max((each.pictures for each in comparison.changed), key=len)),
        most_thumbnails=MAX_THUMBNAILS_PER_LIST,
    )


def difference_cells(comparison: Comparison) -> list[list[DifferenceCell]]:
    """The cells of every row that changed, and the diagonal.

    More right answers and fewer wrong names are better. An answer that names no class is neither: whether silence is
    an improvement depends on what it replaces, which the other cells of the row tell.
    """
    matrix = comparison.matrix
    differences, shares = matrix.differences(), matrix.shares()
    strongest = max(float(abs(shares).max(initial=0.0)), 0.05)
    rows = []
    for row, true_id in enumerate(matrix.true_ids):
        own = matrix.answer_ids.index(true_id)
        columns = sorted({own, *differences[row].nonzero()[0].tolist()})
        rows.append(
            [
                DifferenceCell(
                    row=row,
                    true_id=true_id,
                    answer_id=matrix.answer_ids[column],
                    column=column,
                    difference=int(differences[row, column]),
                    share=float(shares[row, column]),
                    num_a=matrix.counts_a[row][column],
                    num_b=matrix.counts_b[row][column],
                    kind=_kind(int(differences[row, column]), column == own, column < matrix.num_classes),
                    is_right=column == own,
                    shade=abs(float(shares[row, column])) / strongest,
                )
                for column in columns
            ]
        )
    return rows


def verdict(change: AccuracyChange, num_groups: int) -> str:
    """One sentence: which of the two is right more often, and whether that can be chance."""
    difference, p_value = change.accuracy.difference, change.test.group_p_value
    value = difference.value or 0.0
    if change.test.num_only_a == change.test.num_only_b:
        return "Both are right equally often on these pictures."
    what = f"B is right {'more' if value > 0 else 'less'} often than A"
    if difference.low is None or difference.high is None:
        return f"{what} here, but one group says nothing about other pictures."
    excludes_zero, unlikely = difference.low > 0 or difference.high < 0, p_value < SIGNIFICANT
    if excludes_zero and unlikely:
        return f"{what}, and chance is an unlikely reason."
    if excludes_zero or unlikely:
        few = f"; {num_groups} groups are few" if num_groups < FEW_GROUPS else ""
        return f"{what} here, but interval and test disagree on whether that can be chance{few}."
    return f"{what} here, but chance may well be the reason."


def interval_plot(figure: FigureWithInterval) -> IntervalPlot:
    """Where to draw a difference in [-1, 1]."""

    def place(value: float | None) -> float | None:
        return None if value is None else round(PLOT_WIDTH * (value + 1) / 2, 1)

    return IntervalPlot(place(figure.value) or 0.0, place(figure.low), place(figure.high))


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """What to tell on a terminal."""
    # Not every terminal's encoding has the page's minus sign.
    return (line.replace(_MINUS, "-") for line in _lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    test = comparison.answer.test
    yield f"{comparison.title}: {comparison.num_images} pictures, {comparison.num_groups} groups"
    if comparison.num_only_in_a or comparison.num_only_in_b:
        yield f"left out: {comparison.num_only_in_a} pictures that A alone has, {comparison.num_only_in_b} of B alone"
    yield f"A: {comparison.a.title} ({comparison.a.source})"
    yield f"B: {comparison.b.title} ({comparison.b.source})"
    yield f"{'':<28} {'A':>7} {'B':>7}  B minus A, points (95 % interval over groups)"
    yield _figure_line("right class named", comparison.answer.accuracy)
    if comparison.most_probable is not None:
        yield _figure_line("most probable class right", comparison.most_probable.accuracy)
    yield _figure_line("macro recall", comparison.macro_recall)
    yield (
        f"right in both {test.num_both_right}, in A alone {test.num_only_a}, in B alone {test.num_only_b}, "
        f"in neither {test.num_neither}"
    )
    yield f"p-values: {_p_value(test.group_p_value)} by groups, {_p_value(test.mcnemar_p_value)} by pictures (McNemar)"
    for change in comparison.classes:
        if change.is_significant:
            points, p_value = _points(change.recall.difference.value), _p_value(change.holm_p_value)
            yield f"  {change.class_id}: recall {points} points, p {p_value} (Holm)"
    for each in comparison.changed:
        yield f"  {each.num_images:>7} from {each.change}"
    yield verdict(comparison.answer, comparison.num_groups)
    if significant_loss(comparison) and comparison.answer.test.group_p_value < SIGNIFICANT:
        yield "B loses accuracy: the whole interval lies below zero"


def _figure_line(name: str, figure: ComparedFigure) -> str:
    between = f" ({_points_interval(figure.difference)})" if figure.difference.low is not None else ""
    both = " ".join(f"{'-' if side.value is None else f'{side.value:.3f}':>7}" for side in (figure.a, figure.b))
    return f"{name:<28} {both}  {_points(figure.difference.value)}{between}"


def _kind(difference: int, is_right: bool, is_class: bool) -> str:
    if difference == 0:
        return "same"
    if not is_class:
        return "neither"
    return "better" if (difference > 0) == is_right else "worse"


def _pictures_of_cells(comparison: Comparison) -> dict[tuple[str, str], list[tuple[str, ChangedPicture]]]:
    """By truth and answer: the pictures that came into a cell or left it, with their anchors in the page."""
    found = defaultdict(list)
    for number, each in enumerate(comparison.changed):
        for place, picture in enumerate(each.pictures):
            for answer in dict.fromkeys((picture.label_a, picture.label_b)):
                found[picture.true_label, answer].append((f"picture-{number}-{place}", picture))
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _shorter(text: str) -> str:
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def _thumbnail(path: Path) -> str:
    """A small JPEG of the picture as a data address; empty if it cannot be read."""
    try:
        content = thumbnail_jpeg(path)
    except ImageError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def _points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    if value is None:
        return "–"
    shown = f"{100 * value:+.1f}"
    return "0.0" if float(shown) == 0 else shown.replace("-", _MINUS)


def _whole_points(value: float) -> str:
    return _signed(round(100 * value))


def _points_interval(figure: FigureWithInterval) -> str:
    return "" if figure.low is None else f"{_points(figure.low)} to {_points(figure.high)}"


def _signed(count: int) -> str:
    return f"{count:+d}".replace("-", _MINUS) if count else "0"


def _p_value(value: float) -> str:
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}"
