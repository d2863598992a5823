"""The scripts that look at decisions: odd pictures, and the time that a decision takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import REPOSITORY
from odd_pictures import HEIGHT_PX, PICTURES, WIDTH_PX, packaged_photographs, table_row
from PIL import Image

from vision.bundle import Bundle
from vision.predictions import ClassProbability, Prediction


def run_script(name: str, *arguments: object) -> str:
    command = [sys.executable, REPOSITORY / "scripts" / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", PICTURES)
def test_an_odd_picture_is_drawn_and_the_same_every_time(name: str) -> None:
    first, again = PICTURES[name](), PICTURES[name]()
    assert first.mode == "RGB"
    assert first.size == (WIDTH_PX, HEIGHT_PX)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))


def test_no_two_odd_pictures_are_equal() -> None:
    assert len({draw().tobytes() for draw in PICTURES.values()}) == len(PICTURES)


def test_a_row_tells_answer_rank_and_what_a_closed_set_would_have_said() -> None:
    top = (ClassProbability("tor-m1", 0.6),)
    row = Prediction("x", "", "ok", label="unknown", level="unknown", probability=0.97, novelty_rank=0.97, top=top)
    assert table_row("cat", row) == "| cat | unknown | unknown | 0.970 | 0.970 | tor-m1 0.600 |  |"
    assert "the file is empty" in table_row("x", Prediction("x", "", "error", error="the file is empty"))


def test_every_odd_picture_gets_a_row(bundle: Bundle, tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "green").save(tmp_path / "lawn.png")
    out = run_script("odd_pictures.py", bundle.folder, "-o", tmp_path / "odd", "--also", tmp_path / "lawn.png")
    rows = re.findall(r"^\| (\w+) \|", out, flags=re.MULTILINE)[1:]
    assert rows == [*PICTURES, *(path.stem for path in packaged_photographs()), "lawn"]
    assert re.search(rf"\d+ of {len(rows)} got a name", out)


def test_a_bundle_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, REPOSITORY / "scripts" / "odd_pictures.py", tmp_path / "no-bundle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no-bundle" in done.stderr
    assert "Traceback" not in done.stderr


def test_photographs_of_scikit_image_are_shown_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = tmp_path / "skimage" / "data" / "chelsea.png"
    cat.parent.mkdir(parents=True)
    cat.touch()
    (tmp_path / "skimage" / "__init__.py").touch()
    without = {path.name for path in packaged_photographs()}
    monkeypatch.syspath_prepend(tmp_path)
    assert {path.name for path in packaged_photographs()} == {"china.jpg", "flower.jpg", "chelsea.png"}
    assert {"china.jpg", "flower.jpg"} <= without


def test_the_time_of_a_decision_is_told_as_a_share(bundle: Bundle, drawn_run: Path) -> None:
    picture = next((drawn_run / "data" / "images").iterdir())
    out = run_script("benchmark_decisions.py", bundle.folder, picture, "--runs", 3)
    shares = re.findall(r"decision [\d.]+ \(([\d.]+)% of the graph, ([\d.]+)% of the picture\)", out)
    assert len(shares) == 2
    assert all(float(of_picture) < float(of_graph) for of_graph, of_picture in shares)


def test_a_picture_that_cannot_be_read_is_not_timed(bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, REPOSITORY / "scripts" / "benchmark_decisions.py", bundle.folder, tmp_path / "no.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no.jpg: no such file; give pictures that can be read" in done.stderr
