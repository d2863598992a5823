"""Evidence maps as pictures: colours, places, sizes, files; and the script that covers places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import run_vision
from PIL import Image
from show_evidence import Falls, moved_areas, seen_pixels, strongest_area, table

from vision.classify.engine import Engine
from vision.classify.evidence import Evidence, EvidenceMaker
from vision.evaluate.report.evidence import (
    AGAINST_COLOUR,
    FOR_COLOUR,
    MOST_OPAQUE,
    LayerTask,
    evidence_layer,
    evidence_picture,
    layer_size,
    png_bytes,
    spread_over_picture,
    write_layers,
)
from vision.evaluate.report.review_rows import Overlay

LEFT_FOR_RIGHT_AGAINST = Evidence("a", "b", 1.0, np.array([[2.0, -1.0], [2.0, -1.0]]), (0, 0, 1, 1), ())


def test_orange_speaks_for_blue_against_and_the_strongest_is_most_opaque() -> None:
    pixels = np.asarray(evidence_layer(LEFT_FOR_RIGHT_AGAINST, (40, 20)))
    assert tuple(pixels[10, 0, :3]) == FOR_COLOUR
    assert tuple(pixels[10, -1, :3]) == AGAINST_COLOUR
    assert pixels[10, 0, 3] == round(255 * MOST_OPAQUE)
    assert pixels[10, -1, 3] == pytest.approx(255 * MOST_OPAQUE / 2, abs=1)


def test_nothing_is_drawn_where_nothing_speaks() -> None:
    silent = replace(LEFT_FOR_RIGHT_AGAINST, grid=np.zeros((3, 3)))
    assert np.asarray(evidence_layer(silent, (30, 30)))[:, :, 3].max() == 0


def test_a_common_scale_makes_pictures_comparable() -> None:
    pixels = np.asarray(evidence_layer(LEFT_FOR_RIGHT_AGAINST, (40, 20), full_log_odds=4.0))
    assert pixels[10, 0, 3] == pytest.approx(255 * MOST_OPAQUE / 2, abs=1)


def test_what_the_network_did_not_see_stays_clear() -> None:
    middle = replace(LEFT_FOR_RIGHT_AGAINST, grid=np.ones((2, 2)), part=(0.25, 0.0, 0.75, 1.0))
    values = spread_over_picture(middle, (40, 20))
    assert values.shape == (20, 40)
    assert not values[:, :10].any()
    assert not values[:, 30:].any()
    assert (values[:, 10:30] == 1).all()


def test_places_on_padding_fall_off_the_picture() -> None:
    padded = replace(
        LEFT_FOR_RIGHT_AGAINST, grid=np.array([[9.0] * 4, [1] * 4, [1] * 4, [9] * 4]), part=(0, -0.5, 1, 1.5)
    )
    values = spread_over_picture(padded, (200, 100))
    assert values[50].tolist() == pytest.approx([1] * 200)


def test_layers_keep_the_pictures_sides() -> None:
    assert layer_size((4000, 3000)) == (120, 90)
    assert layer_size((10, 100_000)) == (1, 120)


def test_the_picture_shows_what_the_network_saw(engine: Engine, drawn_run: Path) -> None:
    path = drawn_run / "data" / "images" / "osa-akm-12.jpg"
    evidence = EvidenceMaker(engine).evidence(path)
    assert evidence_picture(path, evidence, longer_px=160).size == (160, 120)
    half = replace(evidence, part=(0.5, 0.0, 1.0, 1.0))
    assert evidence_picture(path, half, longer_px=120).size == (80, 120)


def test_layers_are_written_for_pictures_that_can_be_read(engine: Engine, drawn_run: Path, tmp_path: Path) -> None:
    images = drawn_run / "data" / "images"
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    tasks = [LayerTask(name, folder / name) for name, folder in (("broken.jpg", tmp_path), ("osa-akm-12.jpg", images))]
    done: list[int] = []
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "stale.png").touch()
    layers = write_layers(EvidenceMaker(engine), tasks, tmp_path / "layers", num_threads=2, on_progress=done.append)
    (layer,) = layers.values()
    assert layers == {"osa-akm-12.jpg": Overlay(tmp_path / "layers" / "000001.png", layer.answered, layer.against)}
    assert {layer.answered, layer.against} <= set(engine.bundle.info.classes)
    assert layer.answered != layer.against
    assert [path.name for path in (tmp_path / "layers").iterdir()] == ["000001.png"]
    assert len(done) == 2
    with Image.open(layer.path) as image:
        assert (image.mode, image.size) == ("RGBA", (120, 90))


def test_a_layer_is_small() -> None:
    grid = np.random.default_rng(0).normal(size=(9, 9))
    assert len(png_bytes(evidence_layer(replace(LEFT_FOR_RIGHT_AGAINST, grid=grid), (120, 90)))) < 20_000


def test_classify_writes_evidence_and_the_same_rows(drawn_run: Path, tmp_path: Path) -> None:
    picture, bundle = drawn_run / "data" / "images" / "osa-akm-12.jpg", drawn_run / "run" / "bundle"
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    arguments = ("classify", "-m", bundle, picture, tmp_path / "broken.jpg", "-f", "jsonl")
    plain, asked = run_vision(*arguments), run_vision(*arguments, "--evidence", tmp_path / "maps")
    assert plain.returncode == asked.returncode == 1
    assert plain.stdout == asked.stdout
    (written,) = (tmp_path / "maps").iterdir()
    assert written.name.startswith("00000-osa-akm-12-")
    with Image.open(written) as image:
        assert image.size == (480, 360)


def test_covered_areas_have_the_asked_size_and_stay_on_the_picture() -> None:
    evidence = replace(LEFT_FOR_RIGHT_AGAINST, part=(0, -0.5, 1, 1.5))
    seen = seen_pixels(evidence, 40)
    assert seen.sum() == 40 * 20
    area = strongest_area(np.random.default_rng(0).normal(size=(40, 40)), seen, 0.2)
    for each in (area, *moved_areas(area, seen, 5, np.random.default_rng(1))):
        assert each.sum() == 160
        assert not (each & ~seen).any()


def test_the_table_says_how_much_more_the_strongest_places_do() -> None:
    lines = table([Falls(3.0, 1.0, 2.0, -1.0), Falls(2.0, 0.0, 1.0, 0.0)], ["a", "b"])
    assert lines[0] == "2 pictures, 2 groups; strongest places do more than random ones in 2"
    assert "| strongest less random | 2.00 | 2.00 to 2.00 |" in lines
