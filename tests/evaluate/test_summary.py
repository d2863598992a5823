"""The Markdown for a pull request: what it says, and that nothing in it can become markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import polars as pl
import pytest
from markdown_it import MarkdownIt

from vision.evaluate.evaluation import Evaluation, evaluate_predictions
from vision.evaluate.gates import GateResult
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.promises import Promises
from vision.evaluate.summary import evaluation_markdown, markdown_text
from vision.predictions import ClassProbability, Level, Prediction, predictions_table
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
KNOWN = ("tor-m2", "tor-m2k", "buk-m1", "shilka", "gepard")
HOSTILE = "a|b `c` <script>alert(1)</script>\n\n# head @someone #12 [x](javascript:1) **b** www.x.org ‮ 🚀 \\| $x$ ~~s~~"


def row(label: str, level: Level = "class") -> Prediction:
    top = tuple(ClassProbability(class_id, 0.2) for class_id in KNOWN)
    return Prediction("a.jpg", "", "ok", label=label, level=level, probability=0.6, top=top, model="0123456789abcdef99")


def evaluation(*rows: tuple[str, Prediction], title: str = "photos") -> Evaluation:
    truth = pl.Series("true_label", [truth for truth, _ in rows])
    table = predictions_table(prediction for _, prediction in rows).with_columns(truth)
    return evaluate_predictions(table, TAXONOMY, title=title, known_classes=KNOWN, num_replicates=50)


ROWS = [
    *[("tor-m2", row("tor-m2k"))] * 3,
    *[("tor-m2", row("tor-m2"))] * 3,
    *[("tor-m2k", row("unknown", "unknown"))] * 9,
    *[("tor-m2k", row("tor-family", "family"))] * 9,
    ("tor-m2k", row("buk-m1")),
    ("shilka", Prediction("broken.jpg", "", "error", error="broken")),
]


def gate(name: str, *, passed: bool, words: str = "0.5000 is below 0.8") -> GateResult:
    figure = FigureWithInterval(value=0.5, low=0.4, high=0.6)
    return GateResult(
        kind="recall", name=name, side="min", limit=0.8, by="value", measured=figure, passed=passed, words=words
    )


class Page(HTMLParser):
    """Tags, links and texts of the rendered page, a list of cells a row."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""
        self.in_cell = False
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell:
            self.rows[-1][-1] += data


def test_headline_figures_stand_with_their_intervals() -> None:
    figures = evaluation(*ROWS)
    rows = {row[0]: row[1:] for row in Page(evaluation_markdown(figures, TAXONOMY)).rows}
    accuracy = figures.accuracy
    assert rows["accuracy: the right class was named"] == [
        f"{accuracy.value:.3f}",
        f"{accuracy.low:.3f} to {accuracy.high:.3f}",
    ]
    assert {"macro recall", "calibration error of the most probable class", "mean cost of an answer"} <= set(rows)


def test_counts_failures_and_the_model_are_told() -> None:
    text = Page(evaluation_markdown(evaluation(*ROWS), TAXONOMY)).text
    assert "26 pictures in 26 groups; 1 could not be read; model 0123456789abcdef." in text


def test_confusions_are_wrong_names_with_their_cue_and_not_unknown_or_the_right_family() -> None:
    cells = Page(evaluation_markdown(evaluation(*ROWS), TAXONOMY)).rows
    cue = str(TAXONOMY.separating_cues("tor-m2", "tor-m2k")[0])
    assert ["tor-m2", "tor-m2k", "3 (50%)", cue] in cells
    assert [row[1] for row in cells if row[0] == "tor-m2k"] == ["buk-m1"]


def test_no_more_than_five_confusions_are_shown_and_it_is_told_of_how_many() -> None:
    wrong = [(truth, row(answer)) for truth in KNOWN[:2] for answer in KNOWN if truth != answer]
    markdown = evaluation_markdown(evaluation(*wrong), TAXONOMY)
    assert "### Most frequent confusions, 5 of 8" in markdown
    assert sum(cells[0] in KNOWN for cells in Page(markdown).rows) == 5


def test_without_a_wrong_name_it_is_said() -> None:
    markdown = evaluation_markdown(evaluation(("shilka", row("shilka"))), TAXONOMY)
    assert "No picture was given a wrong class, family or role." in markdown


def test_classes_without_images_are_named() -> None:
    text = Page(evaluation_markdown(evaluation(*ROWS), TAXONOMY)).text
    assert "Classes without images, of which nothing is known: gepard, buk-m1." in text


def test_gates_stand_first_those_that_failed_before_the_others() -> None:
    gates = [gate("recall of a", passed=True), gate("recall of b", passed=False)]
    markdown = evaluation_markdown(evaluation(*ROWS), TAXONOMY, gates)
    assert "### Gates: 1 of 2 gates failed" in markdown
    rows = Page(markdown).rows
    assert rows[:2] == [["", "gate", "limit", "finding"], ["failed", "recall of b", ">= 0.8", "0.5000 is below 0.8"]]


def test_pictures_of_novel_classes_alone_have_no_accuracy() -> None:
    figures = evaluation(("dprk-tor-like", row("tor-m2k")), ("dprk-tor-like", row("unknown", "unknown")))
    page = Page(evaluation_markdown(figures, TAXONOMY))
    assert ["dprk-tor-like", "2", "50.0%", "0.0%", "50.0%", "0.0%"] in page.rows
    assert "accuracy" not in page.text


def test_names_that_look_like_markup_are_shown_and_not_run() -> None:
    markdown = evaluation_markdown(
        evaluation(*ROWS, title=HOSTILE), TAXONOMY, [gate(HOSTILE, passed=False, words=HOSTILE)]
    )
    page = Page(markdown)
    assert page.tags <= {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong"}
    shown = HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert page.rows[1] == ["failed", shown, ">= 0.8", shown]
    assert page.text.startswith(shown)


@pytest.mark.parametrize("text", ["@team", "see #12", "https://a.org", "www.a.org", "a@b.org", "x_y_z", "&lt;"])
def test_no_sign_that_github_makes_links_or_markup_of_is_left(text: str) -> None:
    shown = markdown_text(text)
    assert not {"@", ":", "_", "<b"} & set(shown.replace("<!-- -->", ""))
    assert "www." not in shown
    page = Page(shown)
    assert (page.text.strip(), page.tags) == (text, {"p"})


def test_promises_stand_beside_what_was_found_and_novelty_beside_other_scores() -> None:
    def known(rank: float) -> Prediction:
        return replace(row("tor-m2"), label_set=("tor-m2",), novelty_rank=rank)

    rows = [known(0.1), known(0.3), replace(row("unknown", "unknown"), novelty_rank=0.99)]
    table = predictions_table(rows).with_columns(true_label=pl.Series(["tor-m2", "tor-m2k", "tor-m1"]))
    promises = Promises(target_accuracy=0.95, coverage=0.9, false_alarms=0.05)
    figures = evaluate_predictions(
        table, TAXONOMY, title="t", known_classes=KNOWN, promises=promises, num_replicates=50
    )
    page = Page(evaluation_markdown(figures, TAXONOMY))
    cells = {cells[0]: cells[1:] for cells in page.rows}
    assert cells["answers that are right"][:2] == ["at least 0.950", "0.500"]
    assert cells["label sets that hold the truth"][:2] == ["at least 0.900", "0.500"]
    assert cells["called unknown for novelty"][:2] == ["at most 0.050", "0.000"]
    assert cells["the bundle's score"][0] == "1.000"
    assert cells["maximum softmax"][0] == "0.500"
