"""Confusion matrices as CSV, PNG and SVG."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from vision.errors import OutputError
from vision.evaluate.evaluation import ConfusionMatrix
from vision.evaluate.figures import save_confusion_csv, save_confusion_figures

MATRIX = ConfusionMatrix(
    level="class",
    true_ids=("tor-m1", "tor-m2", "buk"),
    answer_ids=("tor-m1", "tor-m2", "buk", "tor, rolled up", "unknown"),
    counts=((2, 1, 0, 0, 0), (0, 0, 0, 0, 0), (0, 0, 5, 1, 1)),
)


def _cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def _svg_texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def test_counts_read_back_equal(tmp_path: Path) -> None:
    save_confusion_csv(MATRIX, tmp_path / "c.csv", rates=False)
    head, *rows = _cells(tmp_path / "c.csv")
    assert head == ["true \\ answer", *MATRIX.answer_ids, "images"]
    assert [row[0] for row in rows] == list(MATRIX.true_ids)
    assert [tuple(map(int, rows[index][1:-1])) for index in (0, 2)] == [MATRIX.counts[0], MATRIX.counts[2]]
    assert [row[-1] for row in rows] == ["3", "0", "7"]


def test_rates_read_back_as_shares_of_their_row(tmp_path: Path) -> None:
    save_confusion_csv(MATRIX, tmp_path / "r.csv", rates=True)
    rows = _cells(tmp_path / "r.csv")
    shares = np.array([rows[1][1:-1], rows[3][1:-1]], dtype=float)
    np.testing.assert_allclose(shares, [[2 / 3, 1 / 3, 0, 0, 0], [0, 0, 5 / 7, 1 / 7, 1 / 7]], atol=1e-6)


@pytest.mark.parametrize("rates", [False, True])
def test_a_class_without_images_reads_no_images(tmp_path: Path, rates: bool) -> None:
    save_confusion_csv(MATRIX, tmp_path / "c.csv", rates=rates)
    assert _cells(tmp_path / "c.csv")[2] == ["tor-m2", *["no images"] * 5, "0"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/c\.csv: cannot write here"):
        save_confusion_csv(MATRIX, tmp_path / "file" / "c.csv", rates=False)


def test_the_png_opens_as_a_picture_that_is_not_blank(tmp_path: Path) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "c.png"], title="test")
    with Image.open(tmp_path / "c.png") as image:
        assert image.format == "PNG"
        assert min(image.size) > 200
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_the_svg_holds_title_ids_and_counts_as_text(tmp_path: Path) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "c.svg"], title="<script>alert(1)</script> & co")
    texts = " ".join(_svg_texts(tmp_path / "c.svg"))
    for wanted in ("<script>alert(1)</script> & co", *MATRIX.answer_ids, "71%", "no images"):
        assert wanted in texts


def test_the_svg_is_byte_equal_when_made_twice(tmp_path: Path) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "1.svg"], title="test")
    save_confusion_figures(MATRIX, [tmp_path / "2.svg"], title="test")
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()


def test_one_drawing_makes_both_files(tmp_path: Path) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "c.png", tmp_path / "c.svg"], title="test")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.png", "c.svg"]


def test_a_matrix_of_many_classes_is_drawn_without_counts(tmp_path: Path) -> None:
    ids = tuple(f"class-{index}" for index in range(40))
    counts = tuple(tuple(777 * (row == column) for column in range(40)) for row in range(40))
    matrix = ConfusionMatrix(level="class", true_ids=ids, answer_ids=ids, counts=counts)
    save_confusion_figures(matrix, [tmp_path / "c.svg"], title="test")
    texts = " ".join(_svg_texts(tmp_path / "c.svg"))
    assert "class-39" in texts
    assert "777" not in texts


@pytest.mark.parametrize("title", [r"from $5 to $10", r"a $\q$ b"])
def test_dollar_signs_in_a_title_are_no_formula(tmp_path: Path, title: str) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "c.svg"], title=title)
    assert title in _svg_texts(tmp_path / "c.svg")


def test_a_title_that_the_font_lacks_is_drawn_without_a_warning(tmp_path: Path) -> None:
    save_confusion_figures(MATRIX, [tmp_path / "c.png"], title="防空")
    assert (tmp_path / "c.png").stat().st_size > 0
