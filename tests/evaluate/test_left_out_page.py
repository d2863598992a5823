"""Figures of left-out classes, counted by hand, and the page that shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vision.cli.commands import _print_left_out
from vision.evaluate.left_out import AskedPictures, LeftOut, LeftOutTrial, ScoreComparison, left_out_figures
from vision.evaluate.novel import novel_figures
from vision.evaluate.report.left_out import BAR_WIDTH, bar_parts, left_out_table, write_left_out
from vision.predictions import ClassProbability, Level, Prediction, predictions_table
from vision.taxonomy import Taxonomy, load_taxonomy

TAXONOMY = load_taxonomy()
KNOWN = ("tor-m2k", "shilka", "gepard")


def row(label: str, level: Level, probability: float) -> Prediction:
    top = (ClassProbability("tor-m2k", 0.8), ClassProbability("shilka", 0.2))
    return Prediction("p.jpg", "", "ok", label=label, level=level, probability=probability, top=top)


def asked(rows: list[Prediction], label: str, softmax: float = 0.5) -> AskedPictures:
    groups = [f"place {number % 3}" for number in range(len(rows))]
    return AskedPictures(rows, [label] * len(rows), groups, np.full(len(rows), softmax))


def trial(class_id: str, *rows: Prediction, softmax: float = 0.5, shift: float = 2.0) -> LeftOutTrial:
    """Six known pictures, five of them answered, four of these rightly; ours tells novelty by `shift`, others not."""
    known = [row("shilka", "class", 0.9)] * 4 + [row("gepard", "class", 0.9), row("unknown", "unknown", 0.9)]
    of_known = np.tile(np.linspace(0, 1, 6), (4, 1))
    of_novel = np.tile(np.linspace(0, 1, len(rows)), (4, 1)) + np.array([[shift], [0], [0], [0]])
    comparison = ScoreComparison(np.arange(6), of_known, of_novel)
    return LeftOutTrial(
        class_id, "nearest_neighbour", asked(list(rows), class_id, softmax), asked(known, "shilka"), [comparison]
    )


EVERY_KIND = (
    row("unknown", "unknown", 0.99),
    row(TAXONOMY.family_id("tor-m1"), "family", 0.95),
    row(TAXONOMY.role_id("tor-m1"), "role", 0.95),
    row(TAXONOMY.family_id("shilka"), "family", 0.95),
    row("tor-m2k", "class", 0.6),
    row("tor-m2k", "class", 0.95),
    row("tor-m2k", "class", 0.97),
    row("shilka", "class", 0.98),
)


def figures_of(*trials: LeftOutTrial) -> LeftOut:
    return left_out_figures(trials, TAXONOMY, title="a run", known_pictures="test split", num_replicates=50)


def test_each_kind_of_answer_is_counted_as_what_it_is() -> None:
    (figures,) = figures_of(trial("tor-m1", *EVERY_KIND, softmax=0.95)).classes
    assert figures.unknown == figures.right_family == figures.right_role == figures.wrong_above == 1 / 8
    assert figures.wrong_class == 4 / 8
    assert figures.confident_wrong_class == 3 / 8
    assert figures.softmax_confident == 1.0
    assert (figures.called, figures.num_called) == ("tor-m2k", 3)
    assert figures.called_confidence == pytest.approx((0.6 + 0.95 + 0.97) / 3)
    assert figures.mean_confidence == pytest.approx((0.6 + 0.95 + 0.97 + 0.98) / 4)
    assert figures.median_confidence == pytest.approx(0.96)
    assert figures.known_answered == pytest.approx(5 / 6)
    assert figures.known_right == pytest.approx(4 / 5)


def test_shares_agree_with_those_of_an_evaluation() -> None:
    table = predictions_table(EVERY_KIND).with_columns(pl.lit("tor-m1").alias("true_label"))
    (expected,) = novel_figures(table, KNOWN, TAXONOMY)
    (figures,) = figures_of(trial("tor-m1", *EVERY_KIND)).classes
    for name in ("num_images", "unknown", "wrong_above", "wrong_class", "confident_wrong_class"):
        assert getattr(figures, name) == getattr(expected, name)
    assert figures.right_family + figures.right_role == expected.right_above


def test_danger_is_the_mean_cost_of_confident_names() -> None:
    (figures,) = figures_of(trial("tor-m1", *EVERY_KIND)).classes
    near, far = (float(TAXONOMY.distance("tor-m1", other)) for other in ("tor-m2k", "shilka"))
    assert near < far
    assert figures.danger == pytest.approx((near + near + far) / 8)


def test_the_most_dangerous_class_is_first() -> None:
    harmless, dangerous = trial("gepard", EVERY_KIND[0]), trial("tor-m1", *EVERY_KIND)
    assert [figures.class_id for figures in figures_of(harmless, dangerous).classes] == ["tor-m1", "gepard"]


def test_the_gain_is_that_over_the_best_baseline_and_its_interval_holds_it() -> None:
    figures = figures_of(trial("tor-m1", *EVERY_KIND), trial("gepard", *EVERY_KIND, shift=3.0))
    assert figures.means["auroc_ours"].value == 1.0
    assert figures.means["auroc_energy"].value == pytest.approx(0.5)
    assert figures.gain.value == pytest.approx(0.5)
    assert figures.gain.low is not None
    assert figures.gain.high is not None
    assert figures.gain.low <= 0.5 <= figures.gain.high


def test_scores_of_different_models_are_compared_apart() -> None:
    """The second fold's scores are higher throughout: put together they would tell nothing right."""
    one = trial("tor-m1", *EVERY_KIND)
    first = one.comparisons[0]
    shifted = ScoreComparison(first.known_rows, first.of_known + 10, first.of_novel + 10)
    both = LeftOutTrial(one.class_id, one.novelty_score, one.novel, one.known, [first, shifted])
    assert figures_of(both).classes[0].auroc == figures_of(one).classes[0].auroc


def test_a_class_of_which_nothing_was_named_has_no_confidence() -> None:
    (figures,) = figures_of(trial("tor-m1", EVERY_KIND[0], EVERY_KIND[0])).classes
    assert figures.called is None
    assert figures.called_confidence is None
    assert figures.mean_confidence is None
    assert figures.median_confidence is None


def test_the_terminal_shows_the_price_and_what_each_class_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    _print_left_out(figures_of(trial("gepard", EVERY_KIND[0]), trial("tor-m1", *EVERY_KIND)))
    lines = [line.split(maxsplit=8) for line in capsys.readouterr().out.splitlines()]
    shown = {cells[0]: cells[1:] for cells in lines if cells[0] in ("tor-m1", "gepard")}
    assert list(shown) == ["tor-m1", "gepard"]  # most dangerous first
    assert shown["tor-m1"][1:6] == ["12%", "12%", "50%", "38%", "83%"]  # unknown, family, wrong, surely so; known
    assert shown["tor-m1"][7] == "tor-m2k 3 of 8, 84%"
    assert shown["gepard"][7] == "nothing; looks like tor-m2k"


def test_a_bar_is_as_long_as_its_shares() -> None:
    (figures,) = figures_of(trial("tor-m1", *EVERY_KIND)).classes
    parts = bar_parts(figures)
    assert [part.kind for part in parts] == ["unknown", "right-above", "wrong-above", "wrong", "sure"]
    assert sum(part.width for part in parts) == pytest.approx(BAR_WIDTH, abs=0.1)
    assert parts[1].share == pytest.approx(2 / 8)


def test_the_files_say_the_same(tmp_path: Path) -> None:
    figures = figures_of(trial("tor-m1", *EVERY_KIND), trial("gepard", EVERY_KIND[0]))
    write_left_out(figures, TAXONOMY, tmp_path)
    assert LeftOut.model_validate(json.loads((tmp_path / "left_out.json").read_text())) == figures
    table = pl.read_csv(tmp_path / "left_out.csv")
    assert table["class_id"].to_list() == ["tor-m1", "gepard"]
    assert table["auroc_ours"].to_list() == left_out_table(figures)["auroc_ours"].to_list()


def test_the_page_loads_nothing_and_names_each_class(tmp_path: Path) -> None:
    page = write_left_out(figures_of(trial("tor-m1", *EVERY_KIND)), TAXONOMY, tmp_path).read_text()
    assert not re.search(r"<script|<link|src=|https?://|url\((?!#)", page)
    assert TAXONOMY.name("tor-m1") in page
    assert "Named most often: Tor-M2K" in page
    assert "wrong class, 90 % or more 38\N{NO-BREAK SPACE}%" in page


def test_markup_in_names_stays_text(tmp_path: Path) -> None:
    awkward = "<script>alert(1)</script>"
    classes = [c.model_dump() | ({"names": (awkward,)} if c.id == "tor-m1" else {}) for c in TAXONOMY.classes]
    taxonomy = Taxonomy.model_validate(TAXONOMY.model_dump() | {"classes": classes})
    page = write_left_out(figures_of(trial("tor-m1", *EVERY_KIND)), taxonomy, tmp_path).read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
