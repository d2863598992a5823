"""`vision demo`: the rendered look-alikes, the whole way, with the vehicle of the incident at its end."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision

from vision.data.demo import demo_data_folder, demo_pictures
from vision.data.manifest import load_manifest, manifest_from_rows
from vision.errors import ManifestError


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vision demo`, with smaller pictures and one epoch, leaves, with what it printed in stdout.txt."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    shortened = ("--set", "finetune.epochs=1", "--set", "finetune.views=1", "--set", "features.input_px=112")
    done = run_vision("demo", "--out", folder, *shortened)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_demo_says_what_to_open_and_it_is_there(demo_run: Path) -> None:
    told = (demo_run / "stdout.txt").read_text(encoding="utf-8")
    pages = re.findall(r"(\S+index\.html)", told.partition("Open in a browser")[2])
    assert len(pages) == 2
    for page in pages:
        assert "Confusion report" in Path(page).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_demo_judges_the_test_split_and_the_class_it_never_saw(demo_run: Path) -> None:
    test = pl.read_parquet(demo_run / "run" / "evaluation" / "predictions.parquet")
    novel = pl.read_parquet(demo_run / "novel" / "predictions.parquet")
    assert "dprk-tor-like" not in set(test["true_label"])
    assert set(novel["true_label"]) == {"dprk-tor-like"}
    most_probable = test["top"].list.first().struct.field("class_id")
    assert (test["true_label"] == most_probable).mean() > 3 / test["true_label"].n_unique()


@pytest.mark.slow
def test_the_demo_classifies_three_pictures_the_incident_last(demo_run: Path) -> None:
    told = (demo_run / "stdout.txt").read_text(encoding="utf-8")
    shown = [told.index(what) for what in demo_pictures(load_manifest(demo_data_folder() / "manifest.csv"))]
    assert len(shown) == 3
    assert shown == sorted(shown)


def test_a_folder_that_is_no_earlier_demo_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    done = run_vision("demo", "--out", tmp_path)
    assert done.returncode == 2
    assert "not empty and not an earlier demo" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


def test_a_data_set_without_the_incident_is_told(tmp_path: Path) -> None:
    rows = [
        {"file_name": f"{name}.jpg", "label": name, "split": "test", "licence": "CC0-1.0"}
        for name in ("tor-m2k", "giraffe-amb")
    ]
    with pytest.raises(ManifestError, match=r"no picture for the demo \(the incident"):
        demo_pictures(manifest_from_rows(tmp_path / "manifest.csv", rows))
