"""The renderer: what it draws it can draw again, from any class, and an interruption loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import REPOSITORY

from vision.taxonomy import load_taxonomy

pytest.importorskip("mitsuba", reason="the extra 'render' is not installed")
pytest.importorskip("pyoidn", reason="the extra 'render' is not installed")

from lookalikes.catalogue import NEIGHBOURS, NOVEL, VEHICLES
from lookalikes.paint import painted
from lookalikes.surroundings import drawn_place

SCRIPT = REPOSITORY / "scripts" / "render_lookalikes.py"


def render(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    small = ["--width", "64", "--samples", "2", "--classes", "shilka,dprk-tor-like", "--per-class", "2"]
    command = [sys.executable, str(SCRIPT), "--out", str(out), *small, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered")
    done = render(out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("class_id", VEHICLES)
def test_a_model_is_built_from_parts_on_the_ground(class_id: str) -> None:
    model, state = VEHICLES[class_id](np.random.default_rng(1))
    corners = np.concatenate([mesh.vertices for _, mesh in model.parts])
    length, width, height = np.ptp(corners, axis=0)
    assert state
    assert model.cues
    assert 4 < length < 15
    assert 2.2 < width < 5.5
    assert 1.8 < height < 15
    assert -0.3 < corners[:, 2].min() < 0.15
    mesh = painted(model, np.random.default_rng(2))
    assert np.isfinite(mesh.vertices).all()
    assert mesh.texture_coordinates.min() >= 0
    assert mesh.texture_coordinates.max() <= 1


def test_no_two_vehicles_of_a_class_are_alike() -> None:
    for build in VEHICLES.values():
        sizes = {
            tuple(np.round(np.ptp(np.concatenate([mesh.vertices for _, mesh in build(random)[0].parts]), axis=0), 4))
            for random in map(np.random.default_rng, range(3))
        }
        assert len(sizes) == 3


def test_the_models_are_classes_of_the_taxonomy() -> None:
    assert set(VEHICLES) <= set(load_taxonomy().class_ids)
    assert {NOVEL, *NEIGHBOURS} < set(VEHICLES)


def test_a_place_is_the_same_for_the_same_seed_and_flat_where_the_vehicle_stands() -> None:
    first, again, other = (drawn_place(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.ground_colours, again.ground_colours)
    assert not np.array_equal(first.ground_colours, other.ground_colours)
    assert first.height_at(3.0, 4.0) == 0


def test_the_same_seed_renders_the_same_pictures(rendered: Path, tmp_path: Path) -> None:
    assert render(tmp_path).returncode == 0
    names = sorted(path.name for path in (rendered / "images").iterdir())
    assert len(names) == 4
    for name in names:
        assert (rendered / "images" / name).read_bytes() == (tmp_path / "images" / name).read_bytes()
    other = tmp_path / "other"
    assert render(other, "--seed", "1", "--per-class", "1").returncode == 0
    assert (rendered / "images" / names[0]).read_bytes() != (other / "images" / names[0]).read_bytes()


def test_an_interrupted_run_goes_on_where_it_stopped(rendered: Path, tmp_path: Path) -> None:
    assert render(tmp_path, "--per-class", "1").returncode == 0
    journal = tmp_path / "rows.jsonl"
    journal.write_text(journal.read_text() + '{"file_name": "images/shil')  # killed while writing
    kept = tmp_path / "images" / "shilka-0000.jpg"
    before = kept.stat().st_mtime_ns
    assert render(tmp_path).returncode == 0
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "manifest.csv").read_text() == (rendered / "manifest.csv").read_text()


def test_the_manifest_keeps_the_novel_class_out_of_training(rendered: Path) -> None:
    table = pl.read_csv(rendered / "manifest.csv")
    assert set(table.filter(pl.col("label") == NOVEL)["split"]) == {"novel"}
    assert NOVEL not in set(table.filter(pl.col("split") == "train")["label"])
    assert {"view", "camera_height", "distance", "weather", "occlusion", "state"} <= set(table.columns)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "shilk"], "no model of 'shilk', did you mean 'shilka'?"),
        (["--variant", "scalar"], "--variant scalar: not one of scalar_rgb"),
        (["--samples", "3"], "rendered with other settings (samples 2 there, 3 asked)"),
    ],
)
def test_a_mistake_is_answered_with_its_remedy(rendered: Path, arguments: list[str], message: str) -> None:
    done = render(rendered, *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert json.loads((rendered / "render.json").read_text())["samples"] == 2
