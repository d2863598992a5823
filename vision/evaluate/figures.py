"""Figures as files, and confusion matrices as CSV with counts and rates, PNG and SVG.

K true classes, A answers.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vision.evaluate.evaluation import ConfusionMatrix
from vision.evaluate.metrics import confusion_rates
from vision.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_IMAGES = "no images"
_MOST_CELLS_WITH_TEXT = 30


def save_confusion_csv(matrix: ConfusionMatrix, path: Path, *, rates: bool) -> None:
    """Write counts, or shares of each row; a row without pictures reads `no images`."""
    counts = matrix.array()
    shares = confusion_rates(counts)
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["true \\ answer", *matrix.answer_ids, "images"])
        for index, true_id in enumerate(matrix.true_ids):
            num_images = int(counts[index].sum())
            if num_images == 0:
                cells: list[object] = [NO_IMAGES] * len(matrix.answer_ids)
            else:
                cells = [f"{share:.6f}" for share in shares[index]] if rates else counts[index].tolist()
            writer.writerow([true_id, *cells, num_images])


def save_confusion_figures(matrix: ConfusionMatrix, paths: list[Path], *, title: str) -> None:
    """Draw the matrix, counts over row percentages, into files whose endings name the formats (`.png`, `.svg`)."""
    save_figure(lambda: _draw(matrix, title), paths)


def save_figure(draw: Callable[[], Figure], paths: list[Path]) -> None:
    """Write what `draw` makes into files whose endings name the formats; equal figures make equal files."""
    with _fixed_look():
        figure = draw()
        for path in paths:
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], dpi=150, **_options(path.suffix[1:]))


def svg_of(draw: Callable[[], Figure]) -> str:
    """What `draw` makes as SVG, to put into a page."""
    stream = io.StringIO()
    with _fixed_look():
        draw().savefig(stream, format="svg", **_options("svg"))
    return stream.getvalue()


@contextmanager
def _fixed_look() -> Iterator[None]:
    """Text stays text in SVG, and its ids are the same every time."""
    import matplotlib

    look: Any = {"svg.fonttype": "none", "svg.hashsalt": "vision", "font.family": "DejaVu Sans"}
    with warnings.catch_warnings(), matplotlib.rc_context(look):
        # A title in a script that the font lacks is drawn as boxes in PNG; SVG and the report have the text itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _options(kind: str) -> dict[str, Any]:
    return {"bbox_inches": "tight", "metadata": {"Date": None} if kind == "svg" else {}}


def _draw(matrix: ConfusionMatrix, title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    counts = matrix.array()
    rates = confusion_rates(counts)
    num_rows, num_columns = counts.shape
    side = 0.62 if num_columns <= _MOST_CELLS_WITH_TEXT else 0.28
    figure = Figure(figsize=(2.4 + side * num_columns, 1.8 + side * num_rows))
    axes = figure.add_subplot()
    axes.set_facecolor("#eeeeee")
    image = axes.imshow(rates, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(num_columns), matrix.answer_ids, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num_rows), matrix.true_ids)
    axes.set_xlabel("answer")
    axes.set_ylabel("true")
    axes.set_title(title, parse_math=False)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    for index in range(num_rows):
        axes.add_patch(Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor="#333333", linewidth=1))
    if num_columns <= _MOST_CELLS_WITH_TEXT:
        for row, column in np.argwhere(counts > 0).tolist():
            colour = "white" if rates[row, column] > 0.55 else "black"
            text = f"{counts[row, column]}\n{rates[row, column]:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    for row in np.flatnonzero(counts.sum(axis=1) == 0).tolist():
        axes.text((num_columns - 1) / 2, row, NO_IMAGES, ha="center", va="center", color="#555555", fontsize=8)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03, label="share of the true class")
    return figure
