"""The report of real look-alikes pictures in a browser, as its readers use it: names that are hostile, all widths."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser_tab import Tab
from command_line import REPOSITORY

from vision.classify.decision import DecisionRules, decide
from vision.classify.evidence import Evidence
from vision.data.manifest import load_manifest, truth_columns
from vision.evaluate.evaluation import PictureFigures
from vision.evaluate.gates import GateResult
from vision.evaluate.near_duplicates import FlatteryFigures, NearDuplicate
from vision.evaluate.outputs import write_evaluation
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.report.evidence import evidence_layer
from vision.evaluate.report.render import NUM_UNFOLDED, show_gates
from vision.evaluate.report.review_data import DecisionSettings, TargetThreshold
from vision.evaluate.report.review_rows import Overlay
from vision.predictions import NearestImage, predictions_table
from vision.taxonomy import Taxonomy, load_taxonomy

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

LOOK_ALIKES = REPOSITORY / "datasets" / "lookalikes"
KNOWN = (
    *("shilka", "gepard", "tunguska", "pantsir-s1-kamaz", "tor-m1", "tor-m2k", "osa-akm", "roland", "strela-10"),
    *("buk-m1", "s-300p-tel", "iris-t-slm-launcher", "giraffe-amb"),
)
HOSTILE = {
    "tor-m1": "<script>alert(1)</script>",
    "osa-akm": "\"><img src=x onerror='alert(1)'>",
    "roland": "👩‍👧 🚀",
    "buk-m1": "טנק \u202e تور",
    "gepard": "N" * 300,
}
PRINTED_PX = 1032  # A4 landscape less the margins


def _taxonomy() -> Taxonomy:
    content = load_taxonomy().restricted_to((*KNOWN, "dprk-tor-like")).model_dump(mode="json")
    for each in content["classes"]:
        each["names"] = [HOSTILE.get(each["id"], each["names"][0]), *each["names"][1:]]
    return Taxonomy.model_validate(content)


def _table(taxonomy: Taxonomy) -> pl.DataFrame:
    """Answers to the test and novel pictures, at random about the truth, by the classifier's own rules."""
    manifest = load_manifest(LOOK_ALIKES / "manifest.csv")
    pictures = manifest.table.filter(pl.col("split").is_in(["test", "novel"]))
    generator, classes = np.random.default_rng(0), [each for each in taxonomy.class_ids if each in KNOWN]
    rules, rows = DecisionRules(taxonomy, tuple(classes), 0.1, 0.6, None, False, 0.05, 2.0), []
    for name, label in pictures.select("file_name", "label").iter_rows():
        logits = generator.normal(0, 1.5, len(classes))
        if label in classes:
            logits[classes.index(label)] += 3
        probabilities = np.exp(logits) / np.exp(logits).sum()
        rank = float(generator.random()) if label in classes else 0.5 + 0.5 * float(generator.random())
        decision = decide(probabilities, tuple(classes), taxonomy, top_k=len(classes), rules=rules, novelty_rank=rank)
        near = (NearestImage(f"images/{label}-0030.jpg", label, 0.875, HOSTILE["osa-akm"]),)
        rows.append(decision.row(name, "", novelty_rank=rank, nearest=near, label_set=("tor-m1", "roland")))
    places = pl.Series("place", [[*HOSTILE.values()][i % 5] for i in range(len(rows))])
    table = predictions_table(rows).with_columns(truth_columns(pictures).get_columns())
    return table.with_columns(places)


def _near_duplicates(table: pl.DataFrame) -> FlatteryFigures:
    names = table.filter(pl.col("label") == pl.col("true_label"))["file_name"].head(20)
    figure = FigureWithInterval(value=0.5, low=0.4, high=0.6)
    training = [f"images/{'long-' * 20}.jpg", names[1], "images/shilka-0030.jpg"]  # nowhere, alike, another's name
    pairs = tuple(
        NearDuplicate(
            file_name=name,
            training_file_name=training[min(place, 2)],
            similarity=0.9,
            correlation=0.9,
            same_class=True,
            same_bytes=False,
            is_mirrored=False,
        )
        for place, name in enumerate(names)
    )
    return FlatteryFigures(
        num_images=len(table),
        num_near_duplicates=len(pairs),
        num_same_bytes=0,
        num_other_class=0,
        num_unchecked=0,
        pairs=pairs,
        accuracy_with=figure,
        accuracy_without=figure,
        difference=figure,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report's page."""
    folder, taxonomy = tmp_path_factory.mktemp("look-alikes"), _taxonomy()
    table = _table(taxonomy)
    wrong = table.filter(pl.col("label") != pl.col("true_label"))["file_name"]
    grid = np.outer(np.linspace(-1, 1, 8), np.linspace(0, 1, 8))
    evidence_layer(Evidence("osa-akm", "tor-m1", 1.0, grid, (0, 0, 1, 1), ()), (120, 90)).save(folder / "map.png")
    targets = [TargetThreshold(target_accuracy=t, threshold=t - 0.3, is_promised=True) for t in (0.7, 0.9, 0.99)]
    settings = DecisionSettings(
        classes=tuple(each for each in taxonomy.class_ids if each in KNOWN),
        unknown_share=0.1,
        novelty_exponent=2.0,
        false_alarms=0.05,
        target_accuracy=0.9,
        confidence=0.9,
        roll_up_threshold=0.6,
        use_costs=False,
        targets=tuple(targets),
    )
    write_evaluation(
        table,
        taxonomy,
        folder,
        title=HOSTILE["buk-m1"],
        images_dir=LOOK_ALIKES,
        known_classes=KNOWN,
        settings=settings,
        overlays={name: Overlay(folder / "map.png", "osa-akm", "tor-m1") for name in wrong.head(150)},
        of_pictures=PictureFigures(None, _near_duplicates(table)),
    )
    return folder / "report" / "index.html"


def _overflows(tab: Tab) -> list[list[Any]]:
    """Tables and pictures that end beyond the box they stand in, or the page."""
    return tab.page.evaluate(
        """[...document.querySelectorAll('.scroll, table')].map(each => [each.ariaLabel ?? each.textContent,
        each.scrollWidth, each.clientWidth, Math.round(each.getBoundingClientRect().right)])
        .filter(([, wide, room, right]) => wide > room || right > innerWidth)"""
    )


def _open_wrong_cell(tab: Tab) -> None:
    cell = tab.page.locator("[role=gridcell]:has([class^=wrong])").first
    label = str(cell.get_attribute("aria-label"))
    tab.open_cell(label.split(":")[0])


def test_no_table_is_wider_than_its_place_on_a_wide_screen(browser: Any, page: Path) -> None:
    tab = Tab(browser, page, width=1920)
    for unfold in tab.page.locator(".unfold input").all():
        unfold.check()
    assert tab.page.locator("table").count() >= 8
    assert _overflows(tab) == []


def test_no_table_is_wider_than_a_printed_page(browser: Any, page: Path) -> None:
    tab = Tab(browser, page, width=PRINTED_PX)
    tab.page.emulate_media(media="print")
    assert [each for each in _overflows(tab) if "matrix" not in each[0]] == []


def test_long_names_leave_the_other_columns_in_sight(browser: Any, page: Path) -> None:
    tab = Tab(browser, page, width=1920)
    assert "N" * 300 in str(tab.page.locator("#by-class + .scroll").text_content())
    name = tab.page.locator("#by-class + .scroll bdi.long").bounding_box()
    assert name is not None
    assert name["height"] < 120  # of all its lines a few
    heads = tab.page.locator("#by-class + .scroll th").all()
    places = [each.bounding_box() for each in heads]
    assert all(place is not None and place["x"] + place["width"] <= 1920 for place in places)


def test_long_lists_are_folded_and_can_be_unfolded(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    rows = tab.page.locator("#wrong ~ .folded").first.locator("tbody tr")
    visible = [row for row in rows.all() if row.is_visible()]
    assert len(visible) == NUM_UNFOLDED < rows.count()
    tab.page.locator("label[for=all-wrong-names]").click()
    assert all(row.is_visible() for row in rows.all())


@pytest.mark.parametrize(
    ("link", "heading"),
    [
        ("#costs ~ .scroll a >> nth=0", r".* answered .*: \d+ pictures?"),
        ("#by-class + .scroll a[href='#class/shilka/']", "Shilka, whatever was answered: 24 pictures"),
        ("#by-class + .scroll a[href='#class//shilka']", r"Whatever was answered Shilka: \d+ pictures"),
        ("#slices ~ .scroll a[aria-label*='of weather: clear']", r"weather: clear: \d+ pictures"),
        ("#suspicious-labels ~ .folded a >> nth=0", r"images/.*\.jpg"),
        ("#near-duplicates .folded a >> nth=0", r"images/.*\.jpg"),
    ],
)
def test_numbers_and_names_lead_to_their_pictures_and_escape_leads_back(
    browser: Any, page: Path, link: str, heading: str
) -> None:
    tab = Tab(browser, page)
    found = tab.page.locator(link)
    shown = found.inner_text()
    found.focus()
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_selector(".picture")
    text = tab.page.locator("#opened-heading").inner_text()
    assert re.fullmatch(heading, text)
    if shown.isdecimal():
        assert re.search(rf": {shown} pictures?$", text)
    tab.page.keyboard.press("Escape")
    assert found.evaluate("link => link === document.activeElement")
    assert tab.is_quiet()


def test_lists_of_pictures_have_thumbnails(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    for section in ("#suspicious-labels ~ .folded", "#near-duplicates"):
        image = tab.page.locator(f"{section} tbody img").first
        image.scroll_into_view_if_needed()
        tab.until(f"document.querySelector('{section} tbody img').naturalWidth === 240")
    assert tab.is_quiet()


def test_a_training_picture_is_shown_if_what_lies_under_its_name_is_alike(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    rows = tab.page.locator("#near-duplicates tbody tr").all()
    assert [row.locator("td:nth-child(2) img").count() for row in rows[:3]] == [0, 1, 0]


def test_pictures_of_a_part_come_wrong_ones_first(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    tab.page.locator("#by-class + .scroll a[href='#class/shilka/']").click()
    tab.page.wait_for_selector(".picture")
    answers = tab.page.eval_on_selector_all(".picture .view img:first-child", "all => all.map(each => each.alt)")
    is_right = ["answered shilka" in each for each in answers]
    assert is_right == sorted(is_right)
    assert len(set(is_right)) == 2


def test_any_picture_of_the_report_can_be_linked_to(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    (name,) = (
        load_manifest(LOOK_ALIKES / "manifest.csv").table.filter(split="test", label="roland")["file_name"].tail(1)
    )
    tab.page.evaluate("name => { location.hash = '#picture/' + encodeURIComponent(name); }", name)
    tab.page.wait_for_selector(".picture")
    assert tab.texts(".picture .file") == [name]


@pytest.mark.parametrize("width", [390, 1920])
def test_a_click_leads_to_pictures_in_sight_and_nothing_is_asked_of_any_network(
    browser: Any, page: Path, width: int
) -> None:
    tab = Tab(browser, page, width=width)
    _open_wrong_cell(tab)
    tab.until("document.querySelector('.picture img')?.naturalWidth === 240")
    place = tab.page.locator("#opened-heading").bounding_box()
    assert place is not None
    assert 0 <= place["y"] < 60
    tab.slide("target", 0)
    tab.slide("alarms", 8)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    assert tab.is_quiet()


def test_the_keyboard_alone_switches_levels_moves_sliders_and_opens_pictures(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    press = tab.page.keyboard.press

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press("Tab")
            if tab.page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")

    tab_to("#show-level-class")
    press("ArrowRight")
    tab_to("#slider-target")
    before = tab.counts()
    press("Home")
    tab.settle()
    assert tab.counts() != before
    tab_to("[role=gridcell]")
    press("Enter")
    tab.page.wait_for_selector(".picture")
    assert tab.page.evaluate("document.activeElement.id") == "opened-heading"
    assert tab.page.locator("#opened-heading").inner_text().startswith("Shilka family answered Shilka family: ")
    press("Escape")
    assert tab.page.evaluate("document.activeElement.getAttribute('role')") == "gridcell"
    assert tab.is_quiet()


def test_one_picture_is_told_in_the_singular(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    labels = [str(link.get_attribute("aria-label")) for link in tab.page.locator("#wrong ~ .folded a").all()]
    assert any(label.startswith("1 picture of ") for label in labels)
    assert not any(label.startswith("1 pictures") for label in labels)


def test_cues_are_not_squeezed_on_a_phone(browser: Any, page: Path) -> None:
    tab = Tab(browser, page, width=390)
    cell = tab.page.locator("#wrong ~ .folded td.wrap:not(:empty)").first.bounding_box()
    assert cell is not None
    assert cell["width"] >= 300
    assert cell["x"] + cell["width"] <= 390


def test_names_of_rows_stay_in_sight_on_a_phone(browser: Any, page: Path) -> None:
    tab = Tab(browser, page, width=390)
    name = tab.page.locator("svg.names text").first
    before = name.bounding_box()
    tab.page.evaluate("document.querySelector('#matrix-box .scroll').scrollLeft = 200")
    tab.settle()
    assert name.bounding_box() == before
    cell = tab.page.locator("#by-class + .scroll tbody td").first
    before = cell.bounding_box()
    tab.page.evaluate("document.querySelector('#by-class + .scroll').scrollLeft = 200")
    assert cell.bounding_box() == before


def test_another_level_closes_the_cell_that_was_open(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    _open_wrong_cell(tab)
    tab.page.locator("label[for=show-level-role]").click()
    assert not tab.page.locator("#opened").is_visible()
    assert "#" not in tab.page.url


def test_a_report_that_was_moved_without_its_originals_says_so(browser: Any, page: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(page.parent, tmp_path / "elsewhere" / "report")
    tab = Tab(browser, moved / "index.html")
    _open_wrong_cell(tab)
    tab.page.wait_for_selector("#no-originals")
    assert "moved without them" in tab.page.locator("#no-originals").inner_text()
    assert tab.page.locator(".picture a.original[href]").count() == 0
    tab.until("document.querySelector('.picture img').naturalWidth === 240")


def test_names_from_right_to_left_turn_nothing_around_them(browser: Any, page: Path) -> None:
    tab = Tab(browser, page)
    cell = tab.page.locator("#by-class + .scroll td", has_text="buk-m1").first
    assert cell.locator("bdi").first.text_content() == HOSTILE["buk-m1"]
    labels = tab.page.eval_on_selector_all("[role=gridcell]", "cells => cells.map(cell => cell.ariaLabel)")
    label = next(each for each in labels if "\u202e" in each)
    assert re.search("\u2068[^\u2069]*\u202e[^\u2069]*\u2069", label)
    assert "\u202e" not in re.sub("\u2068[^\u2069]*\u2069", "", label)


def test_what_scrolls_can_be_reached_by_keyboard_where_it_scrolls(browser: Any, page: Path) -> None:
    for width in (390, 1920):
        tab = Tab(browser, page, width=width)
        scrollers = tab.page.eval_on_selector_all(
            ".scroll:not(#matrix-box .scroll)",
            "all => all.map(each => [each.role, each.ariaLabel, each.tabIndex, each.scrollWidth > each.clientWidth])",
        )
        assert len(scrollers) >= 8
        assert [label for role, label, _, _ in scrollers if role != "region" or not label] == []
        assert all((tab_index == 0) == does_scroll for _, _, tab_index, does_scroll in scrollers)


def test_what_became_of_the_gates_stands_in_the_page_and_later_gates_replace_it(
    browser: Any, page: Path, tmp_path: Path
) -> None:
    def gate(name: str, *, passed: bool) -> GateResult:
        nothing = FigureWithInterval(value=None, low=None, high=None)
        words = f"{name} was measured"
        return GateResult(
            kind="recall", name=name, side="min", limit=0.8, by="value", measured=nothing, passed=passed, words=words
        )

    page = shutil.copytree(page.parent, tmp_path / "report") / "index.html"
    show_gates(page, [gate("earlier", passed=False)])
    show_gates(page, [gate(HOSTILE["tor-m1"], passed=True), gate("recall of shilka", passed=False)])
    tab = Tab(browser, page)
    assert "1 of 2 gates failed." in tab.page.locator("#gates + p").inner_text()
    rows = tab.texts("#gates ~ .scroll >> nth=0 >> tbody tr")
    assert [row.split(">=")[0] for row in rows] == ["recall of shilka", HOSTILE["tor-m1"]]
    assert tab.is_quiet()
