"""What people read on a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from rich.console import Console, RenderableType

from vision.classify.decision import DecisionRules
from vision.classify.label_sets import LabelSetRule
from vision.console import (
    MOST_ROWS_IN_FULL,
    class_page,
    describe_plan,
    prediction_card,
    print_predictions,
    taxonomy_tree,
)
from vision.errors import TaxonomyError
from vision.predictions import ClassProbability, NearestImage, Prediction
from vision.taxonomy import Taxonomy

ROW = Prediction(
    "pictures/a.jpg",
    "",
    "ok",
    label="tor-m1",
    level="class",
    probability=0.75,
    reason="most probable class",
    top=(ClassProbability("tor-m1", 0.75), ClassProbability("tor-m2", 0.2), ClassProbability("buk", 0.05)),
    nearest=(NearestImage("train/n.jpg", "tor-m1", 0.876, "Tor, by A. Author, CC-BY-4.0"),),
    label_set=("tor-m1", "tor-m2"),
    novelty_rank=0.72,
    cues=("mesh dish or flat plate",),
)
FAILED = Prediction("b.jpg", "", "error", error="the file is empty (0 bytes)")


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    cue = {"text": "mesh dish or flat plate", "provenance": "sourced", "sources": ["book"]}
    return Taxonomy.model_validate(
        {
            "version": 1,
            "sources": {"book": "A book"},
            "roles": [{"id": "missile", "name": "Missile system"}],
            "families": [
                {"id": "tor-family", "role": "missile", "name": "Tor turrets"},
                {"id": "buk-family", "role": "missile", "name": "Buk launchers [tracked]"},
            ],
            "classes": [
                {
                    "id": "tor-m1",
                    "family": "tor-family",
                    "names": ["Tor-M1", "9K331"],
                    "nato": {"text": "SA-15", "provenance": "unchecked"},
                    "cues": [{"text": "square panel", "provenance": "derived"}],
                    "note": "often mislabelled",
                },
                {"id": "tor-m2", "family": "tor-family", "names": ["Tor-M2"]},
                {"id": "buk", "family": "buk-family", "names": ["Buk"]},
            ],
            "look_alikes": [{"classes": ["tor-m2", "tor-m1"], "cues": [cue]}],
        }
    )


def _shown(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def _printed(rows: list[Prediction], taxonomy: Taxonomy) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    assert list(print_predictions(rows, taxonomy, console)) == rows
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_card_shows_answer_probabilities_cue_and_attribution(taxonomy: Taxonomy) -> None:
    text = _shown(prediction_card(ROW, taxonomy))
    assert "Tor-M1  tor-m1  75 %  (most probable class)" in text
    assert "check: mesh dish or flat plate" in text
    assert "0.88  tor-m1  train/n.jpg  Tor, by A. Author, CC-BY-4.0" in text


def test_a_card_shows_label_set_and_novelty_and_what_the_set_promises(taxonomy: Taxonomy) -> None:
    sets = LabelSetRule(0.9, 0.01, 2, 0, (0.9,) * 3)
    rules = DecisionRules(taxonomy, taxonomy.class_ids, 0.05, 0.5, sets, use_costs=False)
    text = " ".join(_shown(prediction_card(ROW, taxonomy, rules=rules)).split())
    assert "label set: tor-m1, tor-m2 (90 % of such sets contain the class, if it is known)" in text
    assert "novelty: 72 % of known pictures are less novel" in text
    assert "label set: tor-m1, tor-m2 novelty" in " ".join(_shown(prediction_card(ROW, taxonomy)).split())


def test_the_probability_of_unknown_is_explained(taxonomy: Taxonomy) -> None:
    unsure = replace(ROW, label="unknown", level="unknown", probability=0.509, reason="why")
    text = _shown(prediction_card(unsure, taxonomy))
    assert "  unknown  50.9 % that even the most probable role is wrong  (why)\n" in re.sub(" +\n", "\n", text)
    novel = _shown(prediction_card(replace(unsure, probability=0.97, novelty_rank=0.97), taxonomy))
    assert "  unknown  (why)\n" in re.sub(" +\n", "\n", novel)


def test_a_card_shows_as_many_classes_as_asked_for(taxonomy: Taxonomy) -> None:
    assert _shown(prediction_card(ROW, taxonomy, top_k=2)).count("█ ") == 2


def test_bars_are_as_long_as_their_probabilities(taxonomy: Taxonomy) -> None:
    lines = [line for line in _shown(prediction_card(ROW, taxonomy)).splitlines() if "█" in line]
    assert [line.count("█") for line in lines] == [18, 5, 1]  # of 24
    assert [line.split()[-2] for line in lines] == ["75.0", "20.0", "5.0"]


def test_the_card_of_an_unreadable_picture_says_why(taxonomy: Taxonomy) -> None:
    lines = _shown(prediction_card(FAILED, taxonomy)).split("\n")
    assert [line.strip() for line in lines[:2]] == ["b.jpg", "not read: the file is empty (0 bytes)"]


def test_brackets_in_a_name_are_no_markup(taxonomy: Taxonomy) -> None:
    row = Prediction("[red]a[/red].jpg", "", "error", error="[bold]why[/bold]")
    text = _shown(prediction_card(row, taxonomy))
    assert "[red]a[/red].jpg" in text
    assert "[bold]why[/bold]" in text


def test_few_pictures_are_shown_in_full(taxonomy: Taxonomy) -> None:
    assert _printed([ROW] * MOST_ROWS_IN_FULL, taxonomy).count("nearest training pictures:") == MOST_ROWS_IN_FULL


def test_many_pictures_are_one_line_each_under_a_heading(taxonomy: Taxonomy) -> None:
    lines = _printed([ROW] * 4 + [FAILED], taxonomy).splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["picture", "answer", "prob.", "novel", "set", "classes"]
    figures, others = ["75.0%", "72%", "2"], ["tor-m2", "20", "%,", "buk", "5", "%"]
    assert lines[1].split() == ["pictures/a.jpg", "tor-m1", *figures, *others]
    assert "not read: the file is empty" in lines[5]


def test_no_pictures_print_nothing(taxonomy: Taxonomy) -> None:
    assert _printed([], taxonomy) == ""


def test_a_line_keeps_the_end_of_a_long_name(taxonomy: Taxonomy) -> None:
    lines = _printed([Prediction("x" * 300 + "end.jpg", "", "error", error="gone")] * 4, taxonomy).splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("…xxx")
    assert "xend.jpg  not read: gone" in lines[1]


def test_rows_after_the_first_few_are_not_asked_for_before_they_are_taken(taxonomy: Taxonomy) -> None:
    num_asked = 0

    def rows() -> Iterator[Prediction]:
        nonlocal num_asked
        for _ in range(100):
            num_asked += 1
            yield ROW

    next(print_predictions(rows(), taxonomy, Console(file=io.StringIO())))
    assert num_asked == MOST_ROWS_IN_FULL + 1


def test_a_name_that_is_not_utf8_can_be_printed_on_a_utf8_terminal(taxonomy: Taxonomy) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    row = Prediction("b\udcff.jpg", "", "error", error="gone")
    list(print_predictions([row], taxonomy, Console(file=stream)))
    stream.flush()
    assert rb"b\xff.jpg" in stream.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("num_rows", [1, 4])
def test_a_name_cannot_steer_the_terminal(taxonomy: Taxonomy, num_rows: int) -> None:
    text = _printed([Prediction("\x1b[2Ja.jpg", "", "error", error="gone")] * num_rows, taxonomy)
    assert text.count("a.jpg") == num_rows
    assert "\x1b" not in text


def test_a_line_break_in_a_name_does_not_break_the_line(taxonomy: Taxonomy) -> None:
    row = Prediction("a\nb.jpg", "", "error", error="gone")
    assert len(_printed([row] * 4, taxonomy).splitlines()) == 5


def test_the_tree_has_every_role_family_and_class_on_a_line(taxonomy: Taxonomy) -> None:
    lines = [line.strip("│├└─ ") for line in _shown(taxonomy_tree(taxonomy)).splitlines()]
    assert lines[0].startswith("3 classes;")
    assert lines[1:5] == ["Missile system missile", "Tor turrets tor-family", "tor-m1 Tor-M1", "tor-m2 Tor-M2"]
    assert lines[6] == "buk Buk"


def test_the_tree_shows_brackets_of_a_name(taxonomy: Taxonomy) -> None:
    assert "Buk launchers [tracked] buk-family" in _shown(taxonomy_tree(taxonomy))


@pytest.mark.parametrize(("class_id", "other"), [("tor-m1", "tor-m2"), ("tor-m2", "tor-m1")])
def test_a_class_page_shows_the_other_class_of_a_look_alike_pair(taxonomy: Taxonomy, class_id: str, other: str) -> None:
    assert f"- {other}: mesh dish or flat plate [book]" in _shown(class_page(taxonomy, class_id))


def test_a_class_page_shows_names_parents_note_and_what_is_unchecked(taxonomy: Taxonomy) -> None:
    lines = _shown(class_page(taxonomy, "tor-m1")).splitlines()
    assert lines[:3] == ["tor-m1: Tor-M1, 9K331", "Tor turrets, Missile system", "nato: SA-15 (unchecked)"]
    assert "note: often mislabelled" in lines


def test_the_page_of_an_unknown_class_names_the_nearest(taxonomy: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match=r"class 'torm1' is not in the taxonomy, did you mean 'tor-m1'\?"):
        class_page(taxonomy, "torm1")


@pytest.fixture
def plan_lines() -> Callable[[float], list[str]]:
    def lines(seconds: float) -> list[str]:
        table = pl.DataFrame({"split": ["train", "train", None], "licence": ["CC0-1.0", None, "CC0-1.0"]})
        prepared: Any = SimpleNamespace(
            manifest=SimpleNamespace(table=table, path=Path("manifest.csv")),
            classes=("a", "b"),
            training=SimpleNamespace(groups=["x", "x", "y"]),
            config=SimpleNamespace(data=SimpleNamespace(licence_policy=SimpleNamespace(value="open"))),
        )
        weights = SimpleNamespace(licence="Apache-2.0", source="hub, sha256 123")
        plan: Any = SimpleNamespace(
            backbones={"net": SimpleNamespace(name="net", weights=weights)},
            recipes=[1, 2],
            feature_bytes=3_000_000,
            num_passes=4,
            num_images_to_see=10,
            seconds_for_features=seconds,
            fine_tuning=("from stage 5",),
        )
        return describe_plan(prepared, plan)

    return lines


def test_a_plan_counts_pictures_by_split_and_names_licences(plan_lines: Callable[[float], list[str]]) -> None:
    data, licences, backbone, features, tuning = plan_lines(0)
    assert data == "data: 3 pictures (no split 1, train 2), 2 classes, 2 groups to train on"
    assert licences == "licences, policy 'open': CC0-1.0, not stated"
    assert backbone == "backbone: net, weights Apache-2.0, hub"
    assert "2 candidates, 3 MB; 4 passes to compute, 6 cached" in features
    assert tuning == "fine-tuning: from stage 5"


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "no time"), (42, "42 s"), (600, "10 min")])
def test_a_plan_tells_durations_in_fitting_units(
    plan_lines: Callable[[float], list[str]], seconds: float, told: str
) -> None:
    assert plan_lines(seconds)[-2].endswith(f"about {told}")
