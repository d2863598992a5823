"""Charts of how far probabilities and novelty can be trusted.

Colours are of Okabe and Ito (2008), which the colour-blind can tell apart; lines and marks differ as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vision.evaluate.calibration_metrics import wilson_interval
from vision.evaluate.confidence import (
    AnswerReliability,
    CalibrationFigures,
    NoveltyFigures,
    ProbabilityFigures,
    RiskCoverageFigures,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#666666"
_PANEL_INCHES = 4.4


def reliability_panels(calibration: CalibrationFigures) -> dict[str, ProbabilityFigures]:
    """What there is to show, under its heading: plain softmax, if it is known, and the probabilities that are shown."""
    before = {"plain softmax": calibration.before} if calibration.before is not None else {}
    return {**before, "calibrated": calibration.after}


def answer_panels(answers: AnswerReliability) -> dict[str, AnswerReliability]:
    """The answers that are given, under their heading."""
    return {"answers": answers}


def draw_reliability(panels: Mapping[str, ProbabilityFigures | AnswerReliability]) -> Figure:
    """Share of right answers over the probability that was stated, side by side; below, how many pictures there are."""
    figure = _figure(len(panels), 4.9)
    rows = figure.subplots(2, len(panels), sharex=True, squeeze=False, height_ratios=(3, 1))
    for column, (heading, figures) in enumerate(panels.items()):
        _draw_bins(rows[0, column], rows[1, column], figures)
        of = "the answer" if isinstance(figures, AnswerReliability) else "the most probable class"
        rows[1, column].set_xlabel(f"probability of {of}")
        rows[0, column].set_title(
            f"{heading}: calibration error {figures.calibration_error.value or 0:.3f}", fontsize=11
        )
    rows[0, 0].set_ylabel("share right")
    rows[1, 0].set_ylabel("pictures")
    return figure


def _draw_bins(diagram: Axes, histogram: Axes, figures: ProbabilityFigures | AnswerReliability) -> None:
    edges = np.linspace(0, 1, len(figures.bins) + 1)
    counts = np.array([each.num_images for each in figures.bins])
    filled = counts > 0
    confidence, accuracy = (
        np.array([getattr(each, name) for each in figures.bins if each.num_images], dtype=np.float64)
        for name in ("confidence", "accuracy")
    )
    low, high = wilson_interval(accuracy, counts[filled])
    diagram.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="as stated")
    whiskers = np.maximum([accuracy - low, high - accuracy], 0)  # rounding at 0 and 1
    diagram.errorbar(confidence, accuracy, whiskers, color=BLUE, fmt="o", capsize=2, label="found, 95 %")
    diagram.set_ylim(-0.03, 1.03)
    diagram.legend(loc="upper left", frameon=False, fontsize=9)
    histogram.bar(edges[:-1], counts, np.diff(edges), align="edge", color=BLUE, edgecolor="white")
    for centre, count in zip((edges[:-1] + edges[1:])[filled] / 2, counts[filled].tolist(), strict=True):
        histogram.annotate(str(count), (centre, count), ha="center", va="bottom", fontsize=7)
    histogram.set_ylim(0, counts.max() * 1.25)
    histogram.set_xlim(0, 1)


def draw_risk_coverage(curve: RiskCoverageFigures) -> Figure:
    """Share of wrong answers over the share of pictures that are answered, the surest first."""
    figure = _figure(1, 3.6)
    axes = figure.subplots()
    num_right = 1 - curve.risk[-1]
    shares = np.linspace(0.001, 1, 500)
    axes.plot(curve.coverage, curve.risk, color=BLUE, label="by probability")
    axes.plot(shares, np.maximum(1 - num_right / shares, 0), color=GREY, linestyle="--", label="ideal order")
    axes.axhline(curve.risk[-1], color=ORANGE, linestyle=":", label="order by chance")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)
    axes.set_xlabel("share of the pictures answered, surest first")
    axes.set_ylabel("share of these that are wrong")
    axes.set_title(f"area {curve.area.value or 0:.3f}, {curve.excess_area.value or 0:.3f} above the ideal", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    return figure


def draw_novelty(novelty: NoveltyFigures) -> Figure:
    """Shares of known and of novel pictures by novelty rank, with the least rank that was called unknown."""
    figure = _figure(1, 3.6)
    axes = figure.subplots()
    edges = np.linspace(0, 1, len(novelty.known) + 1)
    kinds = ((novelty.known, "known", BLUE, None), (novelty.novel, "never seen", ORANGE, "//"))
    for counts, name, colour, hatch in kinds:
        if sum(counts):
            axes.stairs(
                np.array(counts) / sum(counts), edges, fill=True, alpha=0.45, color=colour, hatch=hatch,
                label=f"{name}: {sum(counts)} pictures",
            )  # fmt: skip
    if novelty.threshold is not None:
        axes.axvline(novelty.threshold, color="black", linestyle="--", label=f"unknown from {novelty.threshold:.3f}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)  # room for the legend
    axes.set_xlabel("share of held-out known pictures that are less novel")
    axes.set_ylabel("share of the pictures")
    if novelty.auroc.value is not None:
        axes.set_title(f"area under the ROC curve {novelty.auroc.value:.3f}", fontsize=11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return figure


def _figure(num_panels: int, height_inches: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_PANEL_INCHES * num_panels, height_inches), layout="constrained")
