"""Croissant as mlcroissant reads it, which is there for tests alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from PIL import Image

from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.sharing import croissant
from vision.data.sharing.croissant import (
    describe_in_croissant,
    find_extra_pictures,
    find_gaps,
    find_misread_columns,
    picture_patterns,
)
from vision.data.sharing.data_set_facts import DataSetFacts
from vision.files import sha256_of_file
from vision.taxonomy import Taxonomy, load_taxonomy

# rdflib, by which mlcroissant reads JSON-LD, warns of its own classes.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")

FACTS = DataSetFacts(
    "Two vehicles", "Drawn.", url="https://example.org/two", creators=("A. Person",), date_published="2026-01-02"
)


@cache
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def write_data_set(folder: Path, ending: str = ".csv", **changed: str | None) -> Manifest:
    """Four pictures of two classes, one with a box, in a folder whose name has signs of patterns."""
    rows: list[dict[str, str | int | None]] = []
    for number in range(4):
        name = f"pictures [1]/{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 10), (60 * number, 0, 9)).save(folder / name)
        row: dict[str, str | int | None] = {
            "file_name": name,
            "label": "buk" if number % 2 else "shilka",
            "split": ("train", "calibration", "test", "novel")[number],
            "group": f"group {number}" if number else None,
            "width": 20 + number if number else None,
            "author": 'Ünal, "A"\nB',
            "licence": "CC-BY-SA-4.0" if number else "CC0-1.0",
            "licence_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "box": "1 2 3.5 4" if number == 2 else None,
            "view": "side",
        }
        rows.append(row | changed)
    manifest = manifest_from_rows(folder / f"manifest{ending}", rows)
    save_manifest(manifest, manifest.path)
    return load_manifest(manifest.path)


def described(manifest: Manifest) -> dict[str, Any]:
    return describe_in_croissant(manifest, taxonomy(), FACTS)


def opened(manifest: Manifest) -> Any:
    """The description, written beside the manifest, as mlcroissant reads it: without errors or warnings."""
    import mlcroissant

    path = manifest.folder / "croissant.json"
    path.write_text(json.dumps(described(manifest)), encoding="utf-8")
    data_set = mlcroissant.Dataset(jsonld=str(path))
    issues = data_set.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    return data_set


def plain(value: Any) -> Any:
    """mlcroissant hands texts out as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def records(manifest: Manifest) -> Iterator[dict[str, Any]]:
    for record in opened(manifest).records("pictures"):
        yield {key.removeprefix("pictures/"): plain(value) for key, value in record.items()}


def expected_rows(manifest: Manifest) -> list[dict[str, Any]]:
    columns = [name for name in manifest.table.columns if manifest.table[name].null_count() < len(manifest.table)]
    return manifest.table.select(columns).sort("file_name").to_dicts()


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_records_read_by_mlcroissant_are_the_rows_of_the_manifest(tmp_path: Path, ending: str) -> None:
    manifest = write_data_set(tmp_path, ending)
    expected = [
        row | {"box": None if row["box"] is None else [float(number) for number in row["box"].split()]}
        for row in expected_rows(manifest)
    ]
    found = [{key: value for key, value in record.items() if key != "image"} for record in records(manifest)]
    assert found == expected


def test_pictures_read_by_mlcroissant_have_their_pixels(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    for record in records(manifest):
        with Image.open(manifest.image_path(record["file_name"])) as picture:
            np.testing.assert_array_equal(np.asarray(record["image"]), np.asarray(picture))


def test_real_photographs_are_read_with_their_rows(photos_dir: Path) -> None:
    manifest = load_manifest(photos_dir / "manifest.csv")
    description = described(manifest)
    patterns = description["distribution"][1]["includes"]
    assert patterns == sorted(manifest.file_names)
    assert find_extra_pictures(manifest) == []
    assert find_misread_columns(manifest) == []
    assert description["license"][0] == "https://creativecommons.org/licenses/by-sa/1.0/"


def test_real_photographs_are_loaded_by_mlcroissant(photos_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(photos_dir / "images", tmp_path / "images")  # it does not follow links
    shutil.copyfile(photos_dir / "manifest.csv", tmp_path / "manifest.csv")
    manifest = load_manifest(tmp_path / "manifest.csv")
    found = list(records(manifest))
    assert [{key: value for key, value in row.items() if key != "image"} for row in found] == expected_rows(manifest)
    assert all(row["image"].size == (row["width"], row["height"]) for row in found)


def test_parquet_is_described_without_errors_or_warnings(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path, ".parquet")
    assert opened(manifest).metadata.file_objects[0].encoding_formats == ["application/x-parquet"]


def test_classes_and_splits_are_enumerations_with_names(tmp_path: Path) -> None:
    data_set = opened(write_data_set(tmp_path))
    classes = [{key: plain(value) for key, value in row.items()} for row in data_set.records("classes")]
    assert [row["classes/id"] for row in classes] == ["shilka", "buk"]
    assert classes[0]["classes/name"] == taxonomy().name("shilka")
    splits = {plain(row["splits/name"]): plain(row["splits/url"]) for row in data_set.records("splits")}
    assert splits == {
        "train": "cr:TrainingSplit",
        "calibration": "cr:ValidationSplit",
        "test": "cr:TestSplit",
        "novel": "cr:TestSplit",
    }


def test_the_format_is_told_with_its_version_and_the_manifest_with_its_digest(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    description = described(manifest)
    assert description["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert description["distribution"][0]["contentUrl"] == "manifest.csv"
    assert description["distribution"][0]["sha256"] == sha256_of_file(manifest.path)
    assert description["license"] == [
        "https://creativecommons.org/licenses/by-sa/4.0/",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ]


def test_no_path_of_this_machine_stands_in_it(tmp_path: Path) -> None:
    text = json.dumps(described(write_data_set(tmp_path)))
    assert str(tmp_path) not in text
    assert not re.search(r'"(/|file:)', text)


def test_the_description_is_the_same_for_the_same_data(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    assert json.dumps(described(manifest)) == json.dumps(described(load_manifest(manifest.path)))


def test_boxes_are_boxes_only_where_there_are_any(tmp_path: Path) -> None:
    def types(manifest: Manifest) -> dict[str, Any]:
        return {field["name"]: field["dataType"] for field in described(manifest)["recordSet"][-1]["field"]}

    assert types(write_data_set(tmp_path / "a"))["box"] == "cr:BoundingBox"
    assert "box" not in types(write_data_set(tmp_path / "b", box=None))
    assert [each["@id"] for each in described(write_data_set(tmp_path / "c", split=None))["recordSet"]] == [
        "classes",
        "pictures",
    ]


def test_what_croissant_asks_for_and_is_missing_is_told(tmp_path: Path) -> None:
    bare = describe_in_croissant(write_data_set(tmp_path, licence=None), taxonomy(), DataSetFacts("x", "y"))
    assert find_gaps(bare) == [
        "url (--url)",
        "creator (--creator)",
        "datePublished (--date)",
        "license (column licence)",
    ]


def test_patterns_name_folders_and_endings_and_of_many_folders_the_uppermost() -> None:
    assert picture_patterns(pl.Series(["a/1.jpg", "a/2.jpg", "b/c/1.png", "d.jpg"])) == [
        "*.jpg",
        "a/*.jpg",
        "b/c/*.png",
    ]
    many = [f"images/class {n}/{n}.jpg" for n in range(60)]
    assert picture_patterns(pl.Series([*many, "images/x.jpg"])) == ["images/**/*.jpg", "images/*.jpg"]


def write_pictures_without_row(folder: Path) -> None:
    (folder / "pictures [1]" / "deep").mkdir()
    for name in ("extra.png", "deep/more.png", "note.txt"):
        shutil.copyfile(folder / "pictures [1]/0.png", folder / "pictures [1]" / name)


def test_pictures_that_no_row_names_are_not_loaded(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    write_pictures_without_row(tmp_path)
    assert [record["file_name"] for record in records(manifest)] == sorted(manifest.file_names)
    assert find_extra_pictures(manifest) == []


def test_of_many_pictures_names_stand_only_where_others_lie_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_data_set(tmp_path)
    monkeypatch.setattr(croissant, "_MOST_NAMED", 3)
    assert croissant.included_patterns(manifest) == ["pictures [[]1]/*.png"]
    write_pictures_without_row(tmp_path)
    assert len(croissant.included_patterns(manifest)) == 4
    monkeypatch.setattr(croissant, "_MOST_NAMED_AT_NEED", 3)
    assert find_extra_pictures(manifest) == ["pictures [1]/deep/more.png", "pictures [1]/extra.png"]


@pytest.mark.parametrize(
    ("values", "is_misread"),
    [
        (["007", "8"], True),
        (["7", "8"], False),
        (["7", None], True),  # read as 7.0
        (["1.50", "2"], True),
        (["NA", "x"], True),
        (["true", "false"], True),
        (["x", "007"], False),
        ([None, None], False),
    ],
)
def test_columns_that_change_in_reading_are_told_as_mlcroissant_reads_them(
    tmp_path: Path, values: list[str | None], is_misread: bool
) -> None:
    manifest = write_data_set(tmp_path)
    column = pl.Series("group", [*values, *values], dtype=pl.String)
    changed = Manifest(manifest.path, manifest.table.with_columns(column))
    save_manifest(changed, changed.path)
    changed = load_manifest(changed.path)
    assert ("group" in find_misread_columns(changed)) == is_misread
    read = [record.get("group") for record in records(changed)]
    assert (read != [*values, *values]) == is_misread


def test_dates_in_json_lines_are_told_to_change(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path, ".jsonl", retrieved_at="2026-01-02T10:00:00Z")
    assert find_misread_columns(manifest) == ["retrieved_at"]


def test_the_command_writes_beside_the_manifest_and_tells_what_is_missing(tmp_path: Path) -> None:
    manifest = write_data_set(tmp_path)
    done = run_vision("data", "croissant", manifest.path, "--creator", "A. Person", "--date", "2026-01-02")
    assert done.returncode == 0, done.stderr
    assert "warning: Croissant asks for what is missing: url (--url)\n" in done.stderr
    written = json.loads((tmp_path / "croissant.json").read_text(encoding="utf-8"))
    assert written["name"] == tmp_path.name
    elsewhere = run_vision("data", "croissant", manifest.path, "-o", tmp_path.parent / "croissant.json")
    assert elsewhere.returncode == 2
    assert "write it beside" in elsewhere.stderr


def test_the_format_needs_no_mlcroissant_at_run_time() -> None:
    done = run_vision("data", "croissant", "--help")
    assert done.returncode == 0
    source = Path(describe_in_croissant.__code__.co_filename).read_text(encoding="utf-8")
    assert "import mlcroissant" not in source


def test_a_data_set_whose_pictures_are_all_missing_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file_name,label\na.png,buk\nb.png,buk\n")
    done = run_vision("data", "croissant", tmp_path / "m.csv")
    assert (done.returncode, "none of its 2 pictures is there" in done.stderr) == (0, True)
    (tmp_path / "a.png").touch()
    assert "pictures is there" not in run_vision("data", "croissant", tmp_path / "m.csv").stderr
