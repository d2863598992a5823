"""The comparison's page: true, self-contained, deaf to whatever stands in the data, and within reach of a keyboard."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser_tab import Tab
from PIL import Image

from vision.errors import OutputError
from vision.evaluate.comparison import Comparison, NamedPredictions, changed_pictures, compare_predictions, pair_rows
from vision.evaluate.parts import FigureWithInterval
from vision.evaluate.report.comparison import (
    MAX_THUMBNAILS_PER_LIST,
    PLOT_WIDTH,
    check_may_compare_into,
    comparison_lines,
    difference_cells,
    interval_plot,
    render_comparison,
    verdict,
    write_comparison,
)
from vision.predictions import Prediction, predictions_table
from vision.taxonomy import Taxonomy, load_taxonomy

TAXONOMY = load_taxonomy()
TOR, BUK, GEPARD = "tor-m1", "buk-m1", "gepard"
TRUTHS = [TOR] * 4 + [BUK] * 2
OF_A, OF_B = [TOR, TOR, BUK, BUK, BUK, "unknown"], [TOR, BUK, TOR, TOR, "unknown", BUK]
AWKWARD = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "{{ 7 * 7 }}",
    "👩‍👩‍👧",
    "טנק \u202e",
    "x" * 300,
]


class Page(HTMLParser):
    """Elements with their attributes, and text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def side(labels: Sequence[str], truths: Sequence[str], title: str, names: Sequence[str] = ()) -> NamedPredictions:
    names = names or [f"{number}.jpg" for number in range(len(labels))]
    rows = [
        Prediction(name, "", "ok", label=label, level="unknown" if label == "unknown" else "class", probability=0.7)
        for name, label in zip(names, labels, strict=True)
    ]
    table = predictions_table(rows).with_columns(true_label=pl.Series(list(truths), dtype=pl.String))
    return NamedPredictions(table, f"{title}.parquet", title)


def example(
    of_a: Sequence[str] = OF_A, of_b: Sequence[str] = OF_B, truths: Sequence[str] = TRUTHS, names: Sequence[str] = ()
) -> tuple[Comparison, pl.DataFrame]:
    a, b = side(of_a, truths, "old", names), side(of_b, truths, "new", names)
    rows = pair_rows(a, b)
    return compare_predictions(a, b, rows, TAXONOMY, num_replicates=100), changed_pictures(rows)


def test_every_changed_cell_has_its_signed_number_and_the_diagonal_always() -> None:
    comparison, _ = example()
    page = render_comparison(comparison, TAXONOMY)
    counts = re.findall(r'class="count">([^<]+)<', page)
    differences = comparison.matrix.differences()
    assert sorted(counts) == sorted(["+1", "−1", "0"])
    assert len(counts) == np.count_nonzero(differences) + 1
    assert "true Tor-M1, answered Buk-M1: A 2, B 1, −1 (−25.0 points)" in page


def test_more_right_answers_and_fewer_wrong_names_are_better_and_silence_is_neither() -> None:
    comparison, _ = example([TOR, BUK, "unknown"], [BUK, TOR, TOR], [TOR] * 3)
    kinds = {(cell.answer_id, cell.difference): cell.kind for row in difference_cells(comparison) for cell in row}
    assert kinds == {(TOR, 1): "better", ("unknown", -1): "neither"}
    comparison, _ = example([TOR, TOR], [TOR, BUK], [TOR] * 2)
    kinds = {(cell.answer_id, cell.difference): cell.kind for row in difference_cells(comparison) for cell in row}
    assert kinds == {(TOR, -1): "worse", (BUK, 1): "worse"}


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = render_comparison(example()[0], TAXONOMY)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(r"<script|<link|@import|url\(|https?://", page)


def test_whatever_stands_in_names_and_titles_is_shown_and_not_run() -> None:
    labels = [TOR] * len(AWKWARD)
    comparison, _ = example(labels, [BUK] * len(AWKWARD), labels, AWKWARD)
    sides = {"a": comparison.a.model_copy(update={"title": AWKWARD[0]}), "title": AWKWARD[1]}
    page = Page(render_comparison(comparison.model_copy(update=sides), TAXONOMY))
    assert all(name in page.text for name in AWKWARD)
    assert not [tag for tag, attributes in page.elements if tag in ("script", "img") or "onerror" in attributes]


def test_everything_that_scrolls_can_be_reached_by_keyboard_and_has_a_name() -> None:
    page = Page(render_comparison(example()[0], TAXONOMY))
    scrolling = [attributes for _, attributes in page.elements if "scroll" in (attributes.get("class") or "").split()]
    assert len(scrolling) >= 5
    assert all(each["tabindex"] == "0" and each["role"] == "region" and each["aria-label"] for each in scrolling)
    ids = {attributes.get("id") for _, attributes in page.elements}
    links = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    assert links
    assert all(link.removeprefix("#") in ids for link in links)


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of sRGB in [0, 255] (WCAG 2.2)."""
    parts = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(parts, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("style", ["--right", "--wrong", "rect.neither { fill"])
def test_dark_numbers_stand_out_from_the_strongest_colour(style: str) -> None:
    page = render_comparison(example()[0], TAXONOMY)
    found = re.search(re.escape(style) + r": #(\w{6})", page)
    assert found
    fill = [int(found[1][at : at + 2], 16) for at in (0, 2, 4)]
    background = luminance(tuple(0.6 * each + 0.4 * 0xF4 for each in fill))
    ink = luminance((0x1C, 0x24, 0x30))
    assert (background + 0.05) / (ink + 0.05) > 4.5


def test_pictures_are_embedded_up_to_the_cap_and_the_rest_are_listed(tmp_path: Path) -> None:
    num = MAX_THUMBNAILS_PER_LIST + 3
    comparison, changed = example([TOR] * num, [BUK] * num, [TOR] * num)
    for number in range(num):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{number}.jpg")
    path = write_comparison(comparison, changed, TAXONOMY, tmp_path / "out", images_dir_a=tmp_path)
    page = Page(path.read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == MAX_THUMBNAILS_PER_LIST
    assert all((each["src"] or "").startswith("data:image/jpeg;base64,") for each in images)
    assert all(f"{number}.jpg" in page.text for number in range(num))


def test_a_picture_that_cannot_be_read_leaves_its_row(tmp_path: Path) -> None:
    page = render_comparison(example([TOR], [BUK], [TOR])[0], TAXONOMY, images_dir_b=tmp_path)
    assert "cannot be shown" in page
    assert "0.jpg" in page


def test_all_files_are_written_and_tell_the_same(tmp_path: Path) -> None:
    comparison, changed = example()
    write_comparison(comparison, changed, TAXONOMY, tmp_path)
    assert Comparison.model_validate_json((tmp_path / "comparison.json").read_bytes()) == comparison
    assert len(pl.read_csv(tmp_path / "changed.csv")) == sum(each.num_images for each in comparison.changed) == 5


@pytest.mark.parametrize("labels", [[TOR], ["unknown"] * 3, [BUK] * 2], ids=["one right", "all unknown", "all wrong"])
def test_odd_comparisons_read_right(labels: list[str]) -> None:
    comparison, _ = example(labels, labels, [TOR] * len(labels))
    page = Page(render_comparison(comparison, TAXONOMY)).text
    assert "Both are right equally often on these pictures." in page
    assert "nan" not in page.lower().replace("finance", "")
    assert "From right to wrong: 0" in page


def test_a_single_group_has_no_interval_and_the_verdict_says_why() -> None:
    a, b = (
        NamedPredictions(s.table.with_columns(group=pl.lit("g")), s.source, s.title)
        for s in (side([BUK] * 5, [TOR] * 5, "old"), side([TOR] * 5, [TOR] * 5, "new"))
    )
    comparison = compare_predictions(a, b, pair_rows(a, b), TAXONOMY, num_replicates=100)
    page = Page(render_comparison(comparison, TAXONOMY)).text
    assert "B is right more often than A here, but one group says nothing about other pictures." in page
    assert "there are no intervals" in page
    assert "the test by groups cannot fall below 1.000" in page


@pytest.mark.parametrize(
    ("num_gained", "expected"),
    [(30, "and chance is an unlikely reason"), (1, "chance may well be the reason"), (5, "interval and test disagree")],
)
def test_the_verdict_needs_interval_and_test_to_agree(num_gained: int, expected: str) -> None:
    of_a = [BUK] * num_gained + [TOR] * (60 - num_gained)
    comparison, _ = example(of_a, [TOR] * 60, [TOR] * 60)
    assert expected in verdict(comparison.answer, comparison.num_groups)


def test_the_lines_for_a_terminal_are_ascii_where_the_data_are() -> None:
    lines = list(comparison_lines(example(OF_B, OF_A)[0]))
    assert all(line.isascii() for line in lines)
    assert any("-16.7" in line for line in lines)
    assert lines[0] == "new against old: 6 pictures, 6 groups"


def test_a_plot_puts_zero_in_the_middle_and_bounds_at_its_ends() -> None:
    plot = interval_plot(FigureWithInterval(value=0, low=-1, high=1))
    assert (plot.low, plot.value, plot.high) == (0, PLOT_WIDTH / 2, PLOT_WIDTH)
    assert interval_plot(FigureWithInterval(value=0, low=None, high=None)).low is None


def test_an_earlier_comparison_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    check_may_compare_into(tmp_path, overwrite=False)
    (tmp_path / "comparison.json").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        check_may_compare_into(tmp_path, overwrite=False)
    check_may_compare_into(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="not a folder"):
        check_may_compare_into(tmp_path / "comparison.json", overwrite=True)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of classes with awkward names, whose pictures lie beside it."""
    folder, ids, generator = (
        tmp_path_factory.mktemp("hostile"),
        [f"c{i}" for i in range(len(AWKWARD))],
        random.Random(0),
    )
    taxonomy = Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": "role", "name": AWKWARD[0]}],
            "families": [{"id": "family", "role": "role", "name": AWKWARD[4]}],
            "classes": [{"id": i, "family": "family", "names": [n]} for i, n in zip(ids, AWKWARD, strict=True)],
        }
    )
    truths = [generator.choice(ids) for _ in range(80)]
    of_a = [truth if generator.random() < 0.5 else generator.choice(ids) for truth in truths]
    a, b = side(of_a, truths, AWKWARD[4]), side(truths, truths, "new")
    for number in range(len(truths)):
        Image.new("RGB", (30, 20)).save(folder / f"{number}.jpg")
    rows = pair_rows(a, b)
    comparison = compare_predictions(a, b, rows, taxonomy, num_replicates=100)
    return write_comparison(comparison, changed_pictures(rows), taxonomy, folder / "out", images_dir_a=folder)


@pytest.mark.parametrize(("width", "media"), [(1920, "screen"), (1032, "print")])
def test_no_table_of_awkward_names_is_wider_than_its_place(
    browser: Any, hostile_page: Path, width: int, media: str
) -> None:
    tab = Tab(browser, hostile_page, width=width, javascript=False)
    tab.page.emulate_media(media=media)
    tab.page.evaluate("document.querySelector('details').open = true")
    wide = tab.page.evaluate(
        """[...document.querySelectorAll('.scroll')].filter(each => each.scrollWidth > each.clientWidth)
        .map(each => each.ariaLabel)"""
    )
    assert wide == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    assert tab.is_quiet()


def test_names_of_rows_stay_in_sight_on_a_phone(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page, width=390, javascript=False)
    for scroller, name in ((".unit .scroll", "svg.names text"), ("[aria-label='Table of classes']", "tbody td")):
        first = tab.page.locator(f"{scroller} {name}").first
        before = first.bounding_box()
        assert before is not None
        tab.page.evaluate(f"""document.querySelector("{scroller}").scrollLeft = 120""")
        assert tab.page.evaluate(f"""document.querySelector("{scroller}").scrollLeft""") > 50
        after = first.bounding_box()
        assert after is not None
        assert after["x"] == before["x"]


def test_the_table_of_cells_fits_a_phone(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page, width=390, javascript=False)
    tab.page.locator("summary").click()
    assert tab.page.locator(".cells").evaluate("table => table.scrollWidth") <= 366


def test_a_cell_leads_to_its_pictures_and_these_to_their_originals(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page, javascript=False)
    tab.page.locator(".matrix a[aria-label^='true \u2068👩']").first.focus()
    tab.page.keyboard.press("Enter")
    row = tab.page.locator("tr:target")
    assert row.is_visible()  # the folded table opens
    link = row.locator(".links a").first
    name = str(link.text_content())
    link.click()
    assert tab.page.locator(":target code").first.text_content() == name
    original = tab.page.locator(":target a").first.get_attribute("href")
    assert (hostile_page.parent / str(original)).resolve() == hostile_page.parent.parent / name


def test_class_ids_behind_names_from_right_to_left_are_not_turned(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page, javascript=False)
    cell = tab.page.locator("#classes ~ .scroll td", has_text="c4").first
    assert cell.locator("bdi").first.text_content() == AWKWARD[4]
    titles = tab.page.eval_on_selector_all(".matrix rect title", "all => all.map(each => each.textContent)")
    assert any("\u202e" in title for title in titles)
    assert not any("\u202e" in re.sub("\u2068[^\u2069]*\u2069", "", title) for title in titles)
