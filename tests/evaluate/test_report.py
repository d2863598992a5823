"""The confusion report: true, self-contained, and deaf to whatever stands in the data."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.report.render import MAX_PICTURES_PER_PAIR, render_report
from vision.predictions import ClassProbability, Level, NearestImage, Prediction, predictions_table
from vision.taxonomy import Taxonomy

AWKWARD = {
    "script": "<script>alert(1)</script>",
    "quotes": "\"><img src=x onerror='alert(1)'>",
    "template": "{{ 7 * 7 }}{% raw %}&amp;</title>",
    "emoji": "👩‍👩‍👧 🚀",
    "right to left": "טנק \u202e تور",
    "long": "x" * 300,
}
# No closing tag in HTML.
VOID_TAGS = {"meta", "br", "input", "img"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open_tags: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags[-1:] != ["style"]:
            self.text += data

    @property
    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.elements if tag == "a"]

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """Elements and names of their attributes, without any value."""
        return [(tag, list(attributes)) for tag, attributes in self.elements]


def _taxonomy(class_name: str = "Tor-M1", cue: str = "mesh or plate") -> Taxonomy:
    return Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": "missile", "name": "Missile system"}],
            "families": [{"id": "tor", "role": "missile", "name": f"Family of {class_name}"}],
            "classes": [
                {"id": "tor-m1", "family": "tor", "names": [class_name]},
                {"id": "tor-m2", "family": "tor", "names": ["Tor-M2"]},
                {"id": "buk", "family": "tor", "names": ["Buk"]},
            ],
            "look_alikes": [{"classes": ["tor-m1", "tor-m2"], "cues": [{"text": cue, "provenance": "derived"}]}],
        }
    )


def _row(label: str, *, name: str = "a.jpg", level: Level = "class", probability: float = 0.6) -> Prediction:
    top = (ClassProbability("tor-m1", probability), ClassProbability("tor-m2", 1 - probability))
    return Prediction(name, "", "ok", label=label, level=level, probability=probability, top=top)


FAILED = Prediction("broken.jpg", "", "error", error="the file is empty (0 bytes)")


def _page(
    tmp_path: Path,
    answers: Sequence[tuple[str, Prediction]],
    *,
    taxonomy: Taxonomy | None = None,
    heading: str = "test",
    images_dir: Path | None = None,
    **columns: str,
) -> Page:
    taxonomy = taxonomy or _taxonomy()
    table = predictions_table(row for _, row in answers).with_columns(
        pl.Series("true_label", [truth for truth, _ in answers]),
        **{name: pl.lit(text) for name, text in columns.items()},
    )
    evaluation = evaluate_predictions(
        table, taxonomy, title=heading, known_classes=taxonomy.class_ids, num_replicates=20
    )
    return Page(render_report(evaluation, table, taxonomy, tmp_path / "report", images_dir=images_dir))


MIXED = (
    ("tor-m1", _row("tor-m1")),
    ("tor-m1", _row("tor-m2")),
    ("tor-m1", _row("tor", level="family")),
    ("tor-m2", _row("missile", level="role")),
    ("tor-m2", _row("unknown", level="unknown")),
)


def test_a_page_made_without_pictures_says_so(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert page.text.count("the picture is not at hand") == 4
    assert "img" not in dict(page.elements)


def test_a_wrong_picture_is_embedded_as_a_small_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (900, 600), "green").save(tmp_path / "a.png")
    page = _page(tmp_path, [("tor-m1", _row("tor-m2", name="a.png"))], images_dir=tmp_path)
    (source,) = (attributes["src"] for tag, attributes in page.elements if tag == "img")
    assert source is not None
    assert source.startswith("data:image/jpeg;base64,")
    assert len(source) < 10_000


def test_a_picture_that_has_gone_is_told_in_its_place(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m2", name="gone.jpg"))], images_dir=tmp_path)
    assert "gone.jpg: no such file" in page.text


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_text_appears_as_text_and_never_as_markup(tmp_path: Path, text: str) -> None:
    def page(text: str) -> Page:
        nearest = (NearestImage(text, "tor-m1", 0.5, text),)
        wrong = Prediction(text, "", "ok", label="tor-m2", level="class", probability=0.5, nearest=nearest)
        failed = Prediction(text, "", "error", error=text)
        rows = [("tor-m1", wrong), ("tor-m1", _row(text, level="family")), ("tor-m1", failed)]
        taxonomy = _taxonomy(class_name=text, cue=text)
        return _page(tmp_path, rows, taxonomy=taxonomy, heading=text, title=text, author=text, licence=text)

    awkward, plain = page(text), page("plain")
    assert awkward.shape == plain.shape
    # Title, heading, axes, hints, table, sections, cue, names, attribution, failure: all of it, in full.
    assert awkward.text.count(text) == plain.text.count("plain") > 20
    assert awkward.open_tags == []


def test_a_name_too_long_for_a_file_does_not_stop_the_page(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m2", name="x" * 300))], images_dir=tmp_path)
    assert "cannot be read" in page.text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "//example.org", ""])
def test_an_address_that_is_not_of_the_web_is_no_link(tmp_path: Path, url: str) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m2"))], source_url=url, author="A. Author")
    assert page.links == ["#true-tor-m1-answer-tor-m2"]
    assert "by A. Author" in page.text


def test_attribution_links_to_its_source(tmp_path: Path) -> None:
    url = "https://example.org/a?b=1&c=2"
    attribution = {"title": "Tor", "author": "A. Author", "licence": "CC-BY-4.0", "source_url": url}
    page = _page(tmp_path, [("tor-m1", _row("tor-m2"))], **attribution)
    assert url in page.links
    assert "Tor, by A. Author, CC-BY-4.0" in page.text


def test_nothing_is_loaded_from_the_network(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    page = _page(tmp_path, MIXED, images_dir=tmp_path, source_url="https://example.org/")
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form", "audio", "video", "image"})
    sources = [attributes.get("src") or "" for _, attributes in page.elements if "src" in attributes]
    assert len(sources) == 4
    assert all(source.startswith("data:") for source in sources)
    assert {tag for tag, attributes in page.elements if "://" in str(attributes)} == {"a"}
    assert not any(word in page.source for word in ("@import", "url("))


def test_the_browser_is_told_to_load_nothing(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    policies = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_cells_of_wrong_answers_lead_to_their_pictures(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert len(page.links) == 4
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_the_cell_of_unreadable_pictures_leads_to_them(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m1")), ("tor-m1", FAILED)])
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_no_anchor_stands_twice(tmp_path: Path) -> None:
    ids = _page(tmp_path, MIXED).ids
    assert len(ids) > 4
    assert len(ids) == len(set(ids))


def test_one_right_picture_makes_a_page_without_wrong_answers(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m1"))])
    assert "right class named100.0 %" in page.text
    assert "No picture got a wrong answer." in page.text
    assert page.links == []


def test_one_group_has_no_intervals_rather_than_too_narrow_ones(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m1"))])
    assert "these intervals are too narrow" not in page.text


def test_a_page_of_unreadable_pictures_alone_names_each_with_its_reason(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", FAILED), ("tor-m2", FAILED)])
    assert "right class named0.0 %" in page.text
    assert "not readable2count as not recognised" in page.text
    assert page.text.count("broken.jpg: the file is empty (0 bytes)") == 2
    assert "No picture got a wrong answer." not in page.text


def test_without_unreadable_pictures_their_heading_is_left_out(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert "not readable0" in page.text
    assert "Pictures that could not be read" not in page.text


def test_answers_that_are_all_unknown_are_wrong_and_a_column_of_their_own(tmp_path: Path) -> None:
    unknown = _row("unknown", level="unknown")
    page = _page(tmp_path, [("tor-m1", unknown), ("tor-m2", unknown)])
    assert "right class named0.0 %" in page.text
    assert "Tor-M1 answered as unknown: 1 (100.0 % of tor-m1)" in page.text
    assert "true Tor-M2, answered unknown: 1 of 1 (100%)" in page.text


def test_a_class_without_images_says_so_in_matrix_and_table(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert page.text.count("no images") == 2  # buk: once in the matrix by class, once in the table
    assert "n = 0" in page.text


def test_look_alikes_are_shown_with_what_separates_them(tmp_path: Path) -> None:
    assert "What separates them: mesh or plate" in _page(tmp_path, MIXED).text


def test_wrong_pictures_stand_surest_first_and_those_left_out_are_counted(tmp_path: Path) -> None:
    num_wrong = MAX_PICTURES_PER_PAIR + 6
    rows = [("tor-m1", _row("tor-m2", name=f"{i:02}.jpg", probability=0.5 + i / 100)) for i in range(num_wrong)]
    page = _page(tmp_path, rows)
    assert re.findall(r"\d\d\.jpg", page.text) == [f"{i:02}.jpg" for i in reversed(range(6, num_wrong))]
    assert "6 more pictures of this pair are not shown" in page.text


def test_pictures_that_were_trained_on_raise_an_alarm(tmp_path: Path) -> None:
    taxonomy, table = _taxonomy(), predictions_table([_row("tor-m1")]).with_columns(true_label=pl.lit("tor-m1"))
    table = table.with_columns(novelty=pl.lit(1e-8))
    evaluation = evaluate_predictions(table, taxonomy, title="t", num_replicates=5)
    assert evaluation.num_trained_on == 1
    page = Page(render_report(evaluation, table, taxonomy, tmp_path, images_dir=None))
    assert "1 of these 1 pictures were trained on." in page.text
    assert "were trained on" not in _page(tmp_path, MIXED).text


def test_probabilities_that_hold_are_told_with_their_charts_in_the_page(tmp_path: Path) -> None:
    taxonomy = _taxonomy()
    table = predictions_table([_row("tor-m1")] * 4).with_columns(true_label=pl.Series(["tor-m1", "tor-m2"] * 2))
    evaluation = evaluate_predictions(table, taxonomy, title="t", num_replicates=5)
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    charts = {"reliability": [svg, svg], "risk_coverage": [svg]}
    page = Page(render_report(evaluation, table, taxonomy, tmp_path, images_dir=None, charts=charts))
    assert "expected calibration error0.100" in page.text
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 3
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") and image["alt"] for image in images)
    assert "script" not in {tag for tag, _ in page.elements}


def test_a_page_made_twice_is_the_same(tmp_path: Path) -> None:
    assert _page(tmp_path / "1", MIXED).source == _page(tmp_path / "2", MIXED).source


def test_a_browser_shows_the_matrix(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    _page(tmp_path, MIXED)
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync"
    page = (tmp_path / "report" / "index.html").as_uri()
    command = [chromium, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    (tmp_path / "dom.html").write_text(done.stdout, encoding="utf-8")
    text = Page(tmp_path / "dom.html").text
    for shown in ("true ↓", "tor-m1", "no images", "n = 3", "true Tor-M1, answered Tor-M2: 1 of 3 (33%)"):
        assert shown in text
