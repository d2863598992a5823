"""Charts hold what they are to show, as text that can be read."""

from __future__ import annotations

import re

import pytest

from vision.evaluate.charts import draw_novelty, draw_reliability, draw_risk_coverage, reliability_panels
from vision.evaluate.confidence import (
    CalibrationFigures,
    NoveltyFigures,
    ProbabilityFigures,
    ReliabilityBin,
    RiskCoverageFigures,
)
from vision.evaluate.evaluation import FigureWithInterval
from vision.evaluate.figures import svg_of


def figure(value: float) -> FigureWithInterval:
    return FigureWithInterval(value=value, low=None, high=None)


BINS = (
    ReliabilityBin(confidence=None, accuracy=None, num_images=0),
    ReliabilityBin(confidence=0.4, accuracy=0.0, num_images=1),
    ReliabilityBin(confidence=0.9, accuracy=1.0, num_images=37),
)
FIGURES = ProbabilityFigures(nll=figure(1), brier=figure(1), calibration_error=figure(0.123), bins=BINS)
CURVE = RiskCoverageFigures(coverage=(0.5, 1.0), risk=(0.0, 0.25), area=figure(0.111), excess_area=figure(0.022))
CALIBRATION = CalibrationFigures(num_images=38, before=FIGURES, after=FIGURES, risk_coverage=CURVE)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_reliability_shows_counts_and_error_before_and_after() -> None:
    shown = texts(svg_of(lambda: draw_reliability(reliability_panels(CALIBRATION))))
    assert shown.count("37") == 2
    assert "plain softmax: calibration error 0.123" in shown
    assert "calibrated: calibration error 0.123" in shown


def test_without_plain_softmax_there_is_one_panel() -> None:
    panels = reliability_panels(CALIBRATION.model_copy(update={"before": None}))
    assert list(panels) == ["calibrated"]
    assert "37" in texts(svg_of(lambda: draw_reliability(panels)))


def test_risk_coverage_names_its_area_and_all_right_answers_are_drawn() -> None:
    assert "area 0.111, 0.022 above the ideal" in texts(svg_of(lambda: draw_risk_coverage(CURVE)))
    all_right = CURVE.model_copy(update={"risk": (0.0, 0.0)})
    assert "ideal order" in texts(svg_of(lambda: draw_risk_coverage(all_right)))


@pytest.mark.parametrize("novel", [(0, 0), (1, 4)], ids=["known alone", "both"])
def test_novelty_names_the_kinds_that_there_are(novel: tuple[int, int]) -> None:
    nothing = FigureWithInterval(value=None, low=None, high=None)
    figures = NoveltyFigures(
        known=(8, 2), novel=novel, threshold=0.95, auroc=nothing, known_flagged_at_95=nothing, others={}
    )
    shown = " ".join(texts(svg_of(lambda: draw_novelty(figures))))
    assert "known: 10 pictures" in shown
    assert ("never seen: 5 pictures" in shown) == (sum(novel) > 0)
    assert "unknown from 0.950" in shown
