"""The benchmark of duplicates, on few pictures; its copies are what they are called."""

from __future__ import annotations

from pathlib import Path

import benchmark_duplicates
import numpy as np
import pytest
from benchmark_duplicates import Planned, make, measure, wilson
from duplicate_pictures import KINDS, scene, vary


def planned() -> list[Planned]:
    originals = [Planned(f"original-{number:05}.jpg", str(number), "original") for number in range(8)]
    copies = [Planned(f"copy-{90 + n:05}.jpg", str(n), kind) for n, kind in enumerate(("flip", "half", "bytes"))]
    return [*originals, *copies, Planned("place-00007.jpg", "7", "place")]


def test_the_benchmark_finds_what_it_planted(tmp_path: Path) -> None:
    for each in planned():
        make(tmp_path, each, seed=1)
    figures = measure(tmp_path, planned(), sizes=[6])
    assert {kind: of["recall"][0] for kind, of in figures["recall"].items()} == {"flip": 1, "half": 1, "bytes": 1}
    assert figures["recall"]["flip"]["phash alone"] == 0
    assert figures["precision"]["sure"][0] == 1
    lines = "\n".join(benchmark_duplicates.report_lines(figures))
    assert "| flip | 1 | 1.000 |" in lines
    assert "| 1 of 1 | 0 of 0 | 0 of 0 |" in lines
    assert "6 pictures: look up, compare" in lines


def test_a_picture_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "original-00000.jpg").write_bytes(b"kept")
    make(tmp_path, planned()[0], seed=1)
    assert (tmp_path / "original-00000.jpg").read_bytes() == b"kept"


def test_too_few_pictures_for_the_copies_are_refused() -> None:
    with pytest.raises(SystemExit, match="too few for 10 copies"):
        benchmark_duplicates.plan(100, num_copies=10, num_places=1, seed=0)


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx([0.3080, 0.2553, 0.3662], abs=1e-4)
    assert wilson(0, 20) == pytest.approx([0, 0, 0.1611], abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "width", "height"), [("crop 10 %", 0.8, 0.8), ("half", 0.5, 0.5), ("flip", 1, 1), ("strip", 1, 1)]
)
def test_copies_have_the_size_that_their_kind_says(kind: str, width: float, height: float) -> None:
    picture = scene(np.random.default_rng(0))
    copy = vary(picture, kind, np.random.default_rng(0))
    assert copy.size == (round(picture.width * width), round(picture.height * height))


def test_two_kinds_at_once_are_never_the_same_twice() -> None:
    picture = scene(np.random.default_rng(0))
    sizes = {vary(picture, "two", np.random.default_rng(seed)).size for seed in range(12)}
    assert len(sizes) > 2
    assert "two" not in KINDS
