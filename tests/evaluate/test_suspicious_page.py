"""The list and the page of labels that may be wrong, on drawn pictures with planted labels."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision
from PIL import Image

from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest, truth_columns
from vision.errors import OutputError, PredictionsError
from vision.evaluate.report.suspicious import PICTURES_DIR, write_copy, write_suspicious_page
from vision.evaluate.suspicious_listing import (
    ListedLabel,
    count_trained_on,
    listed_labels,
    suspicious_or_refuse,
    with_labels_of_now,
    write_list,
)
from vision.files import sha256_of_file
from vision.pages import PAGE_FILE
from vision.predictions import ClassProbability, Prediction, load_predictions, predictions_table, save_predictions
from vision.taxonomy import Taxonomy, load_taxonomy

CLASSES = ("buk", "tor-m1", "tor-m2")
PLANTED = {"images/5.png": "tor-m1", "images/10.png": "buk"}
NUM_PICTURES = 24


@cache
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def true_class(number: int) -> str:
    return CLASSES[number % 3]


def write_data_set(folder: Path, **changed: str | None) -> Manifest:
    rows: list[dict[str, str | int | None]] = []
    for number in range(NUM_PICTURES):
        name = f"images/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), (10 * number, 80, 200)).save(folder / name)
        row: dict[str, str | int | None] = {
            "file_name": name,
            "label": PLANTED.get(name, true_class(number)),
            "group": f"group {number // 2}",
            "sha256": sha256_of_file(folder / name),
            "title": f"Picture <{number}>",
            "author": "A. Person",
            "licence": "CC-BY-4.0",
            "source_url": f"https://example.org/{number}",
        }
        rows.append(row | changed)
    manifest = manifest_from_rows(folder / "manifest.csv", rows)
    save_manifest(manifest, manifest.path)
    return load_manifest(manifest.path)


def predictions(manifest: Manifest, *, reason: str = "", num_listed: int = 3) -> list[Prediction]:
    """Rows of a model that is sure of what was drawn."""
    rows = []
    for number, name in enumerate(manifest.file_names):
        best = true_class(number)
        others = [class_id for class_id in CLASSES if class_id != best]
        sure = 0.9 - 0.01 * (number % 5)
        shares = [(best, sure), (others[0], 0.7 * (1 - sure)), (others[1], 0.3 * (1 - sure))]
        top = tuple(ClassProbability(*share) for share in shares[:num_listed])
        digest = manifest.table["sha256"][number]
        rows.append(
            Prediction(
                name, digest, "ok", label=best, level="class", probability=sure, reason=reason, top=top, novelty=0.4
            )
        )
    return rows


def judged(manifest: Manifest) -> tuple[list[ListedLabel], pl.DataFrame]:
    table, _ = with_labels_of_now(predictions_table(predictions(manifest)), manifest)
    return listed_labels(suspicious_or_refuse(table, Path("p.parquet")), table, manifest), table


def write_page(manifest: Manifest, folder: Path, *, most: int = 100, num_trained_on: int = 0) -> str:
    labels, table = judged(manifest)
    figures = suspicious_or_refuse(table, Path("p.parquet"))
    page = write_suspicious_page(
        labels, figures, table, manifest, taxonomy(), folder, most=most, num_trained_on=num_trained_on
    )
    assert page == folder / PAGE_FILE
    return page.read_text(encoding="utf-8")


def test_a_page_of_another_origin_is_not_replaced_but_an_earlier_one_is(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path / "data")
    assert write_page(manifest, tmp_path / "own") == write_page(manifest, tmp_path / "own")
    (tmp_path / PAGE_FILE).write_text("<h1>mine</h1>")
    with pytest.raises(OutputError, match=r"index\.html: another page is here already"):
        write_page(manifest, tmp_path)
    assert (tmp_path / PAGE_FILE).read_text() == "<h1>mine</h1>"


def test_planted_labels_are_listed_with_group_and_source(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    labels, _ = judged(manifest)
    assert {label.file_name: label.given for label in labels} == PLANTED
    first = {label.file_name: label for label in labels}["images/5.png"]
    assert (first.suggested, first.group, first.source_url) == ("tor-m2", "group 2", "https://example.org/5")
    assert first.attribution == '"Picture <5>" by A. Person (CC-BY-4.0)'


def test_the_list_is_a_table_that_other_programs_read(tmp_path: Path) -> None:
    labels, _ = judged(write_data_set(tmp_path))
    write_list(labels, tmp_path / "list.csv")
    table = pl.read_csv(tmp_path / "list.csv")
    assert table.columns == [
        "file_name",
        "given",
        "suggested",
        "self_confidence",
        "margin",
        "group",
        "source_url",
    ]
    assert table["self_confidence"].to_list() == pytest.approx([label.self_confidence for label in labels], abs=1e-4)
    write_list([], tmp_path / "none.csv")
    assert pl.read_csv(tmp_path / "none.csv").columns == table.columns


def test_labels_that_were_mended_since_are_judged_as_they_are_now(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    beside = truth_columns(manifest.table)
    then = predictions_table(predictions(manifest)).hstack(beside.get_columns())
    mended = pl.when(pl.col("file_name") == "images/5.png").then(pl.lit("tor-m2")).otherwise("label").alias("label")
    now = Manifest(manifest.path, manifest.table.with_columns(mended))
    table, num_changed = with_labels_of_now(then, now)
    assert num_changed == 1
    found = suspicious_or_refuse(table, Path("p.parquet"))
    assert [label.file_name for label in found.labels] == ["images/10.png"]


def test_pictures_that_were_trained_on_are_counted() -> None:
    row = Prediction("a.jpg", "", "ok", label="buk", reason="trained on this very picture; sure", novelty=0.5)
    near = Prediction("b.jpg", "", "ok", label="buk", reason="sure", novelty=0.0)
    far = Prediction("c.jpg", "", "ok", label="buk", novelty=0.5)
    assert count_trained_on(predictions_table([row, near, far])) == 2


def refused(manifest: Manifest, rows: list[Prediction]) -> str:
    table, _ = with_labels_of_now(predictions_table(rows), manifest)
    with pytest.raises(PredictionsError) as refusal:
        suspicious_or_refuse(table, Path("p.parquet"))
    return str(refusal.value)


def test_rows_that_cannot_tell_are_refused_with_what_to_do(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    cut = refused(manifest, predictions(manifest, num_listed=2))
    assert "p.parquet: rows list only 2 of 3 classes" in cut
    assert "vision classify -k 3" in cut
    assert "no row lists the probabilities" in refused(manifest, predictions(manifest, num_listed=0))
    other = write_data_set(tmp_path / "other", label="t-90")
    assert "no label is one of the classes" in refused(other, predictions(other))


def test_the_page_shows_the_picture_the_separating_cue_and_pictures_of_both_classes(tmp_path: Path) -> None:
    page = write_page(write_data_set(tmp_path), tmp_path / "page")
    cue = str(taxonomy().separating_cues("tor-m1", "tor-m2")[0])
    assert cue in page
    assert page.count('<article class="doubt">') == 2
    articles = page.split('<article class="doubt">')[1:]
    assert [len(re.findall(r"<img ", article)) for article in articles] == [5, 5]  # itself, two of each class
    for address in re.findall(r'<img src="([^"]+)"', page):
        assert (tmp_path / "page" / address).is_file()


def test_classes_that_are_no_look_alikes_are_shown_with_their_own_cues(tmp_path: Path) -> None:
    assert taxonomy().separating_cues("buk", "tor-m1") == ()
    assert str(taxonomy().vehicle_class("buk").cues[0]) in write_page(write_data_set(tmp_path), tmp_path / "page")


def test_pictures_to_compare_with_are_neither_doubted_nor_of_the_same_group(tmp_path: Path) -> None:
    page = write_page(write_data_set(tmp_path), tmp_path / "page")
    first = next(part for part in page.split("<article") if "images/5.png" in part)
    examples = re.findall(r"Picture &lt;(\d+)&gt;", first.split('class="side')[1] + first.split('class="side')[2])
    assert len(examples) == 4
    assert not {"5", "4", "10"} & set(examples)


def test_the_page_holds_what_it_needs_and_runs_nothing(tmp_path: Path) -> None:
    page = write_page(write_data_set(tmp_path, title="<script>alert(1)</script>"), tmp_path / "page")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert str(tmp_path) not in page
    assert 'href="https://example.org/5"' in page
    assert "javascript:" not in write_page(write_data_set(tmp_path, source_url="javascript:x"), tmp_path / "page")


def test_a_picture_that_is_missing_has_a_placeholder(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    (tmp_path / "images" / "5.png").unlink()
    page = write_page(manifest, tmp_path / "page")
    assert page.count("Cannot be shown") == 1
    assert page.count('<article class="doubt">') == 2


def test_the_page_works_where_no_picture_is_at_hand(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    page = write_page(manifest, tmp_path / "page")
    assert page.count("Cannot be shown") == 2
    assert page.count("No picture of another group") == 4


def test_the_page_says_how_many_it_leaves_out_and_warns_of_training_pictures(tmp_path: Path) -> None:
    page = write_page(write_data_set(tmp_path), tmp_path / "page", most=1, num_trained_on=7)
    assert "The first 1 of 2 are shown" in page
    assert "7 pictures were trained on" in page


def test_pictures_of_an_earlier_page_are_removed(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    stale = tmp_path / "page" / PICTURES_DIR / ("0" * 16 + "-800.jpg")
    stale.parent.mkdir(parents=True)
    stale.touch()
    own = stale.with_name("holiday.jpg")
    own.touch()
    write_page(manifest, tmp_path / "page")
    assert not stale.exists()
    assert own.exists()


def test_a_box_is_outlined_where_it_lies_in_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), (0, 0, 0)).save(tmp_path / "a.png")
    address = write_copy(tmp_path / "a.png", tmp_path, side_px=100, box="100 20 80 60")
    with Image.open(tmp_path / address) as copy:
        assert copy.size == (100, 50)
        red, _, _ = copy.convert("RGB").getpixel((50, 25))  # type: ignore[misc]
        assert red > 150  # the left edge of the box, halved
        assert copy.convert("RGB").getpixel((20, 25)) < (60, 60, 60)  # type: ignore[operator]


def test_the_command_writes_list_and_page_and_warns_of_training_pictures(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    rows = predictions(manifest, reason="trained on this very picture; sure")
    save_predictions(rows, tmp_path / "p.parquet", extra_columns=truth_columns(manifest.table))
    done = run_vision(
        *("data", "suspicious", "p.parquet", "--manifest", "manifest.csv", "--page", "page"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "warning: 24 of 24 pictures were trained on" in done.stderr
    assert "suspicious.csv: 2 of 24 labels may be wrong" in done.stdout
    assert (tmp_path / "page" / PAGE_FILE).is_file()
    assert len(load_predictions(tmp_path / "p.parquet")) == NUM_PICTURES


def test_planted_labels_are_listed_among_real_photographs(photos_dir: Path) -> None:
    manifest = load_manifest(photos_dir / "manifest.csv")
    planted = pl.when(pl.int_range(pl.len()) == 4).then(pl.lit("shilka")).otherwise("label").alias("label")
    wrong = Manifest(manifest.path, manifest.table.with_columns(planted))
    classes = sorted(set(manifest.table["label"]))
    rows = []
    for name, digest, label in manifest.table.select("file_name", "sha256", "label").iter_rows():
        shares = sorted(((0.8 if c == label else 0.05, c) for c in classes), reverse=True)
        top = tuple(ClassProbability(c, share) for share, c in shares)
        rows.append(Prediction(name, digest, "ok", label=label, level="class", probability=0.8, top=top))
    labels = judged_rows(wrong, rows)
    assert [label.file_name for label in labels] == [manifest.file_names[4]]
    assert labels[0].image_path.is_file()


def judged_rows(manifest: Manifest, rows: list[Prediction]) -> list[ListedLabel]:
    table, _ = with_labels_of_now(predictions_table(rows), manifest)
    return listed_labels(suspicious_or_refuse(table, Path("p.parquet")), table, manifest)
