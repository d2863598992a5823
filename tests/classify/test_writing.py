"""Rows on a stream: whole, in order, as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import fields

import pytest

from vision.classify.writing import RowWriter, write_csv, write_json, write_json_lines
from vision.predictions import ClassProbability, NearestImage, Prediction

FULL = Prediction(
    'a "quoted", name\n😀.jpg',
    "0f" * 32,
    "ok",
    label="tor-m1",
    level="class",
    probability=0.75,
    top=(ClassProbability("tor-m1", 0.75), ClassProbability("hq-17", 0.125)),
    label_set=("tor-m1", "hq-17"),
    novelty=0.3,
    nearest=(NearestImage("n.jpg", "tor-m1", 0.7, "by A."),),
    cues=("mesh dish", "square panel"),
    logits=(2.5, -1.0),
)
FAILED = Prediction("b.jpg", "", "error", error="no such file")

every_writer = pytest.mark.parametrize("write", [write_json_lines, write_json, write_csv])


def _written(write: RowWriter, *rows: Prediction) -> str:
    stream = io.StringIO()
    assert list(write(rows, stream)) == list(rows)
    return stream.getvalue()


def test_json_lines_hold_one_row_each() -> None:
    lines = _written(write_json_lines, FULL, FAILED).splitlines()
    assert [Prediction.from_dict(json.loads(line)) for line in lines] == [FULL, FAILED]


def test_json_is_one_array_of_the_rows() -> None:
    rows = json.loads(_written(write_json, FULL, FAILED))
    assert [Prediction.from_dict(row) for row in rows] == [FULL, FAILED]


def test_json_of_no_rows_is_an_empty_array() -> None:
    assert json.loads(_written(write_json)) == []


@pytest.mark.parametrize("write", [write_json_lines, write_json])
def test_json_refuses_a_number_that_json_cannot_hold(write: RowWriter) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        _written(write, Prediction("a.jpg", "", "ok", novelty=float("nan")))


def test_csv_has_a_column_for_every_attribute_and_joins_lists() -> None:
    row, _ = csv.DictReader(io.StringIO(_written(write_csv, FULL, FAILED), newline=""))
    assert list(row) == [field.name for field in fields(Prediction)]
    assert (row["file_name"], row["probability"], row["novelty"]) == (FULL.file_name, "0.750000", "0.300000")
    assert row["top"] == "tor-m1 0.750000; hq-17 0.125000"
    assert row["nearest"] == "n.jpg (tor-m1, 0.700)"
    assert (row["label_set"], row["cues"]) == ("tor-m1; hq-17", "mesh dish; square panel")
    assert row["logits"] == "2.500000; -1.000000"


def test_csv_leaves_the_cells_of_an_unreadable_picture_empty() -> None:
    (row,) = csv.DictReader(io.StringIO(_written(write_csv, FAILED), newline=""))
    assert (row["status"], row["error"]) == ("error", "no such file")
    assert not any(row[name] for name in ("label", "probability", "novelty", "top", "nearest", "cues"))


def test_csv_of_no_rows_is_its_header() -> None:
    assert _written(write_csv).strip().split(",") == [field.name for field in fields(Prediction)]


@every_writer
def test_each_row_is_written_before_the_next_is_asked_for(write: RowWriter) -> None:
    stream = io.StringIO()
    written_when_asked = []

    def rows() -> Iterator[Prediction]:
        for name in ("first.jpg", "second.jpg"):
            written_when_asked.append(stream.getvalue())
            yield Prediction(name, "", "error")

    list(write(rows(), stream))
    assert "first.jpg" not in written_when_asked[0]
    assert "first.jpg" in written_when_asked[1]


@every_writer
def test_a_name_that_is_not_utf8_can_be_written_to_a_utf8_stream(write: RowWriter) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    list(write([Prediction("b\udcff.jpg", "", "error")], stream))
    stream.flush()
    written = stream.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined]
    assert (r"b\xff.jpg" if write is write_csv else r"b\udcff.jpg") in written
