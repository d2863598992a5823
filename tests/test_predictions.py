"""Rows of predictions: what is written is what is read, and a wrong file is named with its remedy."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import polars as pl
import pytest

from vision.data.manifest import RESERVED_COLUMNS
from vision.errors import PredictionsError
from vision.evaluate.picture_properties import PICTURE_COLUMNS
from vision.predictions import (
    ClassProbability,
    NearestImage,
    Prediction,
    check_ids,
    load_predictions,
    predictions_table,
    printable_name,
    read_rows,
    save_predictions,
)
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()

FULL = Prediction(
    "a.jpg",
    "0f" * 32,
    "ok",
    label="tor-m1",
    level="class",
    probability=0.75,
    reason="most probable class",
    top=(ClassProbability("tor-m1", 0.75), ClassProbability("hq-17", 0.1)),
    label_set=("tor-m1", "hq-17"),
    novelty=0.3,
    nearest=(NearestImage("n.jpg", "tor-m1", 0.7, "Tor, by A. Author, CC-BY-4.0"),),
    cues=("mesh dish against flat plate",),
    model="abc",
    logits=(2.5, -1.25, float("1e-30")),
)
FAILED = Prediction("b.jpg", "", "error", error="the file is empty (0 bytes)")


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_read_back_equal(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"predictions{ending}"
    save_predictions([FULL, FAILED], path)
    assert list(read_rows(load_predictions(path))) == [FULL, FAILED]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("name", ["😀.jpg", "טנק/تور.jpg", 'a "b",\n<c>.jpg', "x" * 300])
def test_awkward_names_read_back_equal(tmp_path: Path, ending: str, name: str) -> None:
    path = tmp_path / f"predictions{ending}"
    save_predictions([Prediction(name, "", "error", error=name)], path)
    (row,) = read_rows(load_predictions(path))
    assert (row.file_name, row.error) == (name, name)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_extra_columns_stand_beside_the_rows_in_their_order(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"predictions{ending}"
    save_predictions([FULL, FAILED], path, extra_columns=pl.DataFrame({"true_label": ["hq-17", "tor-m1"]}))
    table = load_predictions(path)
    assert table.select("file_name", "true_label").rows() == [("a.jpg", "hq-17"), ("b.jpg", "tor-m1")]


def test_further_columns_of_a_file_are_no_part_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    save_predictions([FULL], path, extra_columns=pl.DataFrame({"weather": ["snow"]}))
    assert list(read_rows(load_predictions(path))) == [FULL]


def test_saving_to_an_unknown_ending_names_it_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "predictions.xlsx"
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: .*\.jsonl or \.parquet, not in '\.xlsx'"):
        save_predictions([FULL], path)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_fail_half_way_leave_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    save_predictions([FULL], path)

    def rows() -> Iterator[Prediction]:
        yield FAILED
        raise RuntimeError("the plug was pulled")

    with pytest.raises(RuntimeError, match="plug"):
        save_predictions(rows(), path)
    assert list(read_rows(load_predictions(path))) == [FULL]
    assert list(tmp_path.iterdir()) == [path]


def test_loading_an_unknown_ending_names_it(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("file_name\n")
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: .*\.jsonl or \.parquet, not in '\.csv'"):
        load_predictions(path)


def test_loading_from_nowhere_says_which_commands_write_predictions(tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: no such file; `vision classify -o`"):
        load_predictions(path)


def test_missing_columns_are_named_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    pl.DataFrame({"file_name": ["a.jpg"], "label": ["tor-m1"]}).write_parquet(path)
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: lacks the columns status, probability, top;"):
        load_predictions(path)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".jsonl", b'{"file_name": "a.jpg", "sta'),
        (".jsonl", b'[\n{"file_name": "a.jpg"}\n]\n'),
        (".jsonl", b"\xff\xfe\x00"),
        (".parquet", b""),
        (".parquet", b"PAR1 and nothing more"),
    ],
)
def test_a_broken_file_is_told_with_its_place_and_kind(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"predictions{ending}"
    path.write_bytes(content)
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: cannot be read as {ending[1:]} \(.+\)"):
        load_predictions(path)


def test_a_name_with_bytes_that_are_not_utf8_survives_to_json() -> None:
    name = b"b\xff.jpg".decode("utf-8", "surrogateescape")
    line = Prediction(name, "", "error").to_json()
    assert line.isascii()
    assert json.loads(line)["file_name"].encode("utf-8", "surrogateescape") == b"b\xff.jpg"


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_name_with_bytes_that_are_not_utf8_does_not_make_the_file_unreadable(tmp_path: Path, ending: str) -> None:
    name = b"b\xff.jpg".decode("utf-8", "surrogateescape")
    path = tmp_path / f"predictions{ending}"
    save_predictions([FULL, Prediction(name, "", "error")], path)
    assert load_predictions(path)["file_name"].to_list() == ["a.jpg", r"b\xff.jpg"]


def test_a_printable_name_shows_bytes_that_are_not_utf8_in_hexadecimal() -> None:
    assert printable_name("é\udcff.jpg") == r"é\xff.jpg"


def test_a_probability_that_is_not_a_number_is_refused_in_json() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        Prediction("a.jpg", "", "ok", probability=float("nan")).to_json()


def test_the_table_of_no_rows_has_all_columns() -> None:
    table = predictions_table([])
    assert len(table) == 0
    assert table.columns == predictions_table([FULL]).columns


def test_rows_of_the_required_columns_alone_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    required = predictions_table([FULL]).select("file_name", "status", "label", "probability", "top")
    required.write_parquet(path)
    (row,) = read_rows(load_predictions(path))
    assert (row.file_name, row.label, row.top) == ("a.jpg", "tor-m1", FULL.top)


def test_every_column_of_predictions_is_reserved_in_manifests() -> None:
    of_both = {"file_name", "sha256", "label"}
    ours = {field.name for field in dataclasses.fields(Prediction)} | {"true_label", "nearest_by_pixels"}
    assert (ours | set(PICTURE_COLUMNS)) - of_both == RESERVED_COLUMNS


def _of_another_tool(path: Path, *, beside: Mapping[str, object] = MappingProxyType({}), **changes: object) -> Path:
    """A row that is right but for the changes, behind one that is right; both with what stands beside."""
    row = {"file_name": "a.jpg", "status": "ok", "label": "tor-m1", "probability": 0.75, **beside}
    top = [{"class_id": "tor-m1", "probability": 0.75}, {"class_id": "hq-17", "probability": 0.25}]
    rows = [row | {"top": top}, row | {"top": top} | changes]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": 75.0}, r"row 2: probability 75: it is a number in \[0, 1\]; percent are to be divided by 100"),
        ({"probability": float("nan")}, r"row 2: probability nan: it is a number in \[0, 1\]"),
        ({"probability": -0.1}, r"row 2: probability -0\.1: it is a number in \[0, 1\]"),
        ({"novelty_rank": float("inf")}, r"row 2: novelty_rank inf: it is a number in \[0, 1\]"),
        ({"novelty": 2.5}, r"row 2: novelty 2\.5: it is a number in \[0, 2\]"),
        ({"top": [{"class_id": "tor-m1", "probability": 75}]}, r"row 2: top\.probability 75: .* divided by 100"),
        ({"top": [{"class_id": "tor-m1", "probability": None}]}, r"row 2: top\.probability nan: it is a number"),
        ({"top": [{"class_id": "tor-m1", "probability": 0.5}] * 2}, r"row 2: top lists a class twice"),
        ({"top": [{"class_id": None, "probability": 0.5}]}, r"row 2: top lists a class without its id"),
    ],
)
@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_what_is_no_probability_is_told_with_row_value_and_remedy(
    tmp_path: Path, ending: str, changes: dict[str, object], message: str
) -> None:
    path = _of_another_tool(tmp_path / "p.jsonl", **changes)
    if ending == ".parquet":
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        path = tmp_path / "p.parquet"
        pl.DataFrame(lines, infer_schema_length=None).write_parquet(path)
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: {message}"):
        load_predictions(path)


def test_a_probability_that_is_beyond_1_by_rounding_is_read(tmp_path: Path) -> None:
    table = load_predictions(_of_another_tool(tmp_path / "p.jsonl", probability=1.0000001))
    assert table["probability"].to_list() == [0.75, 1.0000001]


@pytest.mark.parametrize(
    ("label", "level"), [("tor-m1", "class"), ("tor-family", "family"), ("shorad-missile", "role"), ("unknown",) * 2]
)
def test_the_level_of_an_answer_follows_from_the_taxonomy_where_a_file_lacks_it(
    tmp_path: Path, label: str, level: str
) -> None:
    path = _of_another_tool(tmp_path / "p.jsonl", label=label)
    assert load_predictions(path, TAXONOMY)["level"].to_list() == ["class", level]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "Tor-M1"}, r"row 2: label 'Tor-M1' is no class in the taxonomy, did you mean 'tor-m1'\?"),
        ({"level": "family"}, r"row 2: label 'tor-m1' is a class in the taxonomy, not a family"),
        ({"true_label": "tor-family"}, r"row 2: true_label 'tor-family' is a family in the taxonomy, not a class"),
        ({"top": [{"class_id": "cat", "probability": 1}]}, r"row 2: top 'cat' is no class in the taxonomy; a taxonomy"),
    ],
)
def test_an_id_that_the_taxonomy_lacks_is_told_with_its_row(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    path = _of_another_tool(tmp_path / "p.jsonl", beside={"level": "class", "true_label": "tor-m1"}, **changes)
    with pytest.raises(PredictionsError, match=rf"{re.escape(str(path))}: {message}"):
        check_ids(path, load_predictions(path), TAXONOMY)


def test_every_id_that_the_taxonomy_lacks_is_told_once_with_the_number_of_its_rows(tmp_path: Path) -> None:
    rows = [replace(FULL, label=label) for label in ("cat", "tor-m1", "dog", "cat")]
    with pytest.raises(PredictionsError) as caught:
        check_ids(tmp_path, predictions_table(rows), TAXONOMY)
    assert [line.split(": ")[1:3] for line in str(caught.value).splitlines()] == [
        [
            "row 1 (and 1 more rows)",
            "label 'cat' is no class in the taxonomy; a taxonomy of your own is given with --taxonomy",
        ],
        ["row 3", "label 'dog' is no class in the taxonomy; a taxonomy of your own is given with --taxonomy"],
    ]
