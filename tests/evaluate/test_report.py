"""The confusion report: true, self-contained, and deaf to whatever stands in the data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.outputs import recorded_overlays, write_evaluation
from vision.evaluate.report.render import MAX_PAIRS, render_report
from vision.evaluate.report.review_rows import Overlay, script_json
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
        if self.open_tags[-1:] not in (["style"], ["script"]):
            self.text += data

    @property
    def ids(self) -> list[str | None]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.elements if tag == "a"]

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """Elements and names of their attributes, without any value; a name may be long or not."""
        return [(tag, [] if tag == "bdi" else list(attributes)) for tag, attributes in self.elements]


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


def _data(tmp_path: Path) -> dict[str, Any]:
    """What the page computes with."""
    text = (tmp_path / "report" / "data.js").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text.removeprefix("window.visionReviewData=").removesuffix(";\n"))
    return data


def _details(tmp_path: Path) -> list[dict[str, Any]]:
    """What the page shows of each picture, in its order; texts in place of their numbers."""
    rows = []
    for path in sorted((tmp_path / "report" / "rows").iterdir()):
        arguments = path.read_text(encoding="utf-8").removeprefix("visionReviewRows(").removesuffix(");\n")
        _, _, chunk = json.loads(f"[{arguments}]")
        texts = [*chunk.pop("texts"), ""]
        for row in range(len(chunk["file_name"])):
            values = {name: column[row] for name, column in chunk.items()}
            named = {name: texts[values[name]] for name in ("error", "title", "author", "source_url", "fault")}
            rows.append(values | named)
    return rows


def test_a_page_made_without_pictures_says_so(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert _data(tmp_path)["images"] is None
    assert not (tmp_path / "report" / "thumbnails").exists()
    assert "img" not in dict(page.elements)


def test_a_wrong_picture_has_a_small_jpeg_beside_the_page(tmp_path: Path) -> None:
    Image.new("RGB", (900, 600), "green").save(tmp_path / "a.png")
    _page(tmp_path, [("tor-m1", _row("tor-m2", name="a.png"))], images_dir=tmp_path)
    (thumbnail,) = (tmp_path / "report" / "thumbnails").iterdir()
    assert thumbnail.stat().st_size < 10_000
    with Image.open(thumbnail) as image:
        assert (image.format, image.size) == ("JPEG", (240, 160))
    assert _data(tmp_path)["images"] == ".."


def test_a_picture_that_has_gone_is_told_in_its_place(tmp_path: Path) -> None:
    _page(tmp_path, [("tor-m1", _row("tor-m2", name="gone.jpg"))], images_dir=tmp_path)
    assert "gone.jpg: no such file" in _details(tmp_path)[0]["fault"]


def test_a_page_made_again_has_no_files_of_the_one_before(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (50, 50)).save(tmp_path / name)
    rows = [("tor-m1", _row("tor-m2", name=name)) for name in ("a.png", "b.png")]
    _page(tmp_path, rows, images_dir=tmp_path)
    _page(tmp_path, rows[:1], images_dir=tmp_path)
    assert len(list((tmp_path / "report" / "thumbnails").iterdir())) == 1


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_text_appears_as_text_and_never_as_markup(tmp_path: Path, text: str) -> None:
    def page(text: str) -> Page:
        nearest = (NearestImage(text, "tor-m1", 0.5, text),)
        wrong = Prediction(text, "", "ok", label="tor-m2", level="class", probability=0.5, nearest=nearest)
        failed = Prediction(text, "", "error", error=text)
        rows = [("tor-m1", wrong), ("tor-m1", _row(text, level="family")), ("tor-m1", failed)]
        taxonomy = _taxonomy(class_name=text, cue=text)
        return _page(tmp_path, rows, taxonomy=taxonomy, heading=text, title=text, author=text, licence=text)

    plain = page("plain")
    awkward = page(text)
    assert awkward.shape == plain.shape
    # Title, heading, axes, hints, tables, cue, failure: all of it, in full.
    assert awkward.text.count(text) == plain.text.count("plain") > 20
    assert {name for tag, attributes in awkward.elements if tag == "bdi" for name in attributes} <= {"class", "title"}
    assert awkward.open_tags == []
    assert {row["file_name"] for row in _details(tmp_path)} == {text, "a.jpg"}
    assert _details(tmp_path)[0]["author"] == text
    assert text in _data(tmp_path)["names"][0]


@pytest.mark.parametrize("text", [*AWKWARD.values(), "</script>", "<!--", "\u2028\u2029", "\ud800 half", "a\\b\0"])
def test_nothing_in_a_script_ends_it_or_starts_markup(text: str) -> None:
    written = script_json({text: [text]})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written.encode("utf-8")) == {text: [text]}


def test_a_name_too_long_for_a_file_does_not_stop_the_page(tmp_path: Path) -> None:
    _page(tmp_path, [("tor-m1", _row("tor-m2", name="x" * 300))], images_dir=tmp_path)
    assert "cannot be read" in _details(tmp_path)[0]["fault"]


def test_the_page_loads_its_own_data_and_nothing_else(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "a.jpg")
    page = _page(tmp_path, MIXED, images_dir=tmp_path, source_url="https://example.org/")
    tags = {tag for tag, _ in page.elements}
    assert tags.isdisjoint({"link", "iframe", "object", "embed", "base", "form", "audio", "video", "image"})
    assert [attributes["src"] for _, attributes in page.elements if "src" in attributes] == [
        "thumbnails/000000.jpg",
        "data.js",
    ]
    assert not any("://" in str(attributes) for _, attributes in page.elements)
    assert not any(word in page.source for word in ("@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML"))


def test_the_browser_is_told_to_run_the_projects_script_alone(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    assert policy == (
        "default-src 'none'; img-src 'self' file: data:; "
        f"script-src 'self' file: 'sha256-{digest}'; style-src 'unsafe-inline'"
    )


def test_confusions_lead_to_their_pictures(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    rows, columns = {"#class/tor-m1/", "#class/tor-m2/"}, {"#class//tor-m1", "#class//tor-m2"}
    assert {link for link in page.links if "/" in link} == {"#class/tor-m1/tor-m2", "#picture/a.jpg", *rows, *columns}
    assert "Not in this list: 3 pictures" in page.text


def test_the_contents_lead_to_sections_that_are_there(tmp_path: Path) -> None:
    page = _page(tmp_path, [*MIXED, ("tor-m1", FAILED)])
    sections = {link.removeprefix("#") for link in page.links if "/" not in link}
    assert {"matrix", "wrong", "costs", "by-class", "not-readable"} <= sections <= set(page.ids)


def test_rare_confusions_beyond_the_list_are_counted(tmp_path: Path) -> None:
    answers = [f"answer-{i:03}" for i in range(MAX_PAIRS + 5)]
    page = _page(tmp_path, [("tor-m1", _row(answer, level="family")) for answer in answers])
    assert "5 less frequent ones stand in confusion.csv" in page.text


def test_a_family_of_the_truth_is_outlined_and_a_wrong_class_shaded(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    styles = [a["class"] for tag, a in page.elements if tag == "rect" and a.get("class", "") and "width" in a]
    assert "outline above" in styles  # tor for tor-m1, missile for tor-m2
    assert "wrong6" in styles  # 1 of 3: the sixth of nine shades by the square root


def test_no_anchor_stands_twice(tmp_path: Path) -> None:
    ids = _page(tmp_path, MIXED).ids
    assert len(ids) > 4
    assert len(ids) == len(set(ids))


def test_one_right_picture_makes_a_page_without_wrong_answers(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m1"))])
    assert "right class named100.0\N{NO-BREAK SPACE}%" in page.text
    assert "No picture got a wrong name." in page.text
    assert {link for link in page.links if "/" in link} == {"#class/tor-m1/", "#class//tor-m1"}


def test_one_group_has_no_intervals_rather_than_too_narrow_ones(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", _row("tor-m1"))])
    assert "these intervals are too narrow" not in page.text


def test_a_page_of_unreadable_pictures_alone_names_each_with_its_reason(tmp_path: Path) -> None:
    page = _page(tmp_path, [("tor-m1", FAILED), ("tor-m2", FAILED)])
    assert "right class named0.0\N{NO-BREAK SPACE}%" in page.text
    assert "not readable2count as not recognised" in page.text
    assert page.text.count("broken.jpg: the file is empty (0 bytes)") == 2
    assert "No picture got a wrong name." not in page.text


def test_without_unreadable_pictures_their_heading_is_left_out(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert "not readable0" in page.text
    assert "Pictures that could not be read" not in page.text


def test_answers_that_are_all_unknown_are_wrong_and_a_column_of_their_own(tmp_path: Path) -> None:
    unknown = _row("unknown", level="unknown")
    page = _page(tmp_path, [("tor-m1", unknown), ("tor-m2", unknown)])
    assert "right class named0.0\N{NO-BREAK SPACE}%" in page.text
    assert "Not in this list: 2 pictures" in page.text
    assert "true Tor-M2, answered unknown: 1 of 1 (100%)" in page.text


def test_a_class_without_images_says_so_in_matrix_and_table(tmp_path: Path) -> None:
    page = _page(tmp_path, MIXED)
    assert page.text.count("no images") == 2  # buk: once in the matrix by class, once in the table
    assert "n = 0" in page.text


def test_look_alikes_are_shown_with_what_separates_them(tmp_path: Path) -> None:
    assert "mesh or plate" in _page(tmp_path, MIXED).text
    assert _data(tmp_path)["cues"] == [[0, 1, ["mesh or plate"]]]


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
    assert "alert(1)" not in page.source


def test_a_page_made_twice_is_the_same(tmp_path: Path) -> None:
    assert _page(tmp_path / "1", MIXED).source == _page(tmp_path / "2", MIXED).source


def test_evidence_maps_keep_which_classes_they_compare_for_the_next_report(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(b"a map")
    table = predictions_table([_row("tor-m2")]).with_columns(true_label=pl.lit("tor-m1"))
    overlays = {"a.jpg": Overlay(tmp_path / "map.png", "tor-m2", "tor-m1")}
    write_evaluation(table, _taxonomy(), tmp_path / "out", title="t", images_dir=None, overlays=overlays)
    report_dir = tmp_path / "out" / "report"
    assert recorded_overlays(tmp_path / "out") == {
        "a.jpg": Overlay(report_dir / "evidence" / "map.png", "tor-m2", "tor-m1")
    }
    (report_dir / "evidence.json").write_text('{"a.jpg": "map.png"}', encoding="utf-8")  # as older ones are
    assert recorded_overlays(tmp_path / "out") == {"a.jpg": Overlay(report_dir / "evidence" / "map.png")}
