"""The sheet shows what training sees: the untouched picture first, then its views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawings import write_drawings
from numpy.typing import NDArray
from PIL import Image

from vision.cli.data_preview import data_preview
from vision.config import AugmentationSettings
from vision.train.domain import Diagnosis, adapted
from vision.train.preview import preview_sheet
from vision.train.training_set import PreparedRun

STANDARD = AugmentationSettings()


def made_picture(seed: int, side: int = 40) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)  # (S, S, 3)


def tiles(sheet: Image.Image, row: int, *, tile_px: int, views: int) -> list[NDArray[np.uint8]]:
    """The pictures of a row, where the sheet puts them: 4 px apart, under 20 px of text each."""
    top = 20 + row * (20 + tile_px + 4) + 20
    lefts = [4 + column * (tile_px + 4) for column in range(1 + views)]
    return [np.asarray(sheet.crop((left, top, left + tile_px, top + tile_px))) for left in lefts]


def test_a_row_begins_with_the_untouched_picture_and_goes_on_with_views_that_differ() -> None:
    images = [("a.jpg", made_picture(0)), ("b.jpg", made_picture(1))]
    sheet = preview_sheet(images, STANDARD, seed=0, views=3, tile_px=40)
    for row, (_, image) in enumerate(images):
        shown = tiles(sheet, row, tile_px=40, views=3)
        np.testing.assert_array_equal(shown[0], image)
        assert len({tile.tobytes() for tile in shown}) == 4


def test_a_sheet_has_room_for_a_header_captions_and_all_tiles() -> None:
    sheet = preview_sheet([("a", made_picture(0)), ("b", made_picture(1))], STANDARD, seed=0, views=5, tile_px=60)
    assert sheet.mode == "RGB"
    assert sheet.size == (4 + 6 * 64, 20 + 2 * 84 + 4)


def test_the_header_tells_presets_and_overrides_apart() -> None:
    settings = [STANDARD, AugmentationSettings(preset="field"), AugmentationSettings(blur=0.25)]
    headers = {
        preview_sheet([("a", made_picture(0))], one, seed=0, views=6).crop((0, 0, 800, 20)).tobytes()
        for one in settings
    }
    assert len(headers) == 3


def test_names_are_written_above_their_rows() -> None:
    def captions(name: str) -> bytes:
        sheet = preview_sheet([(name, made_picture(0))], STANDARD, seed=0, views=1)
        return sheet.crop((0, 20, sheet.width, 40)).tobytes()

    assert captions("buk-02.jpg") != captions("t-90-01.jpg")
    assert captions("two\nlines") == captions("two lines")
    assert captions("Бук-М1 " * 50)  # longer than the sheet, in letters that the font may lack


def test_a_seed_repeats_the_sheet_and_another_gives_other_views() -> None:
    images = [("a.jpg", made_picture(0))]
    first, again, other = (np.asarray(preview_sheet(images, STANDARD, seed=seed, views=2)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[40:], other[40:])


def test_large_pictures_are_made_to_fit_their_tiles() -> None:
    sheet = preview_sheet([("a", np.full((300, 300, 3), 200, np.uint8))], STANDARD, seed=0, views=1, tile_px=30)
    assert (tiles(sheet, 0, tile_px=30, views=1)[0] == 200).all()


def test_a_sheet_of_no_pictures_is_its_header() -> None:
    assert preview_sheet([], STANDARD, seed=0, views=2, tile_px=50).size == (4 + 3 * 54, 24)


def test_pictures_that_are_not_square_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"wide\.jpg: 20 x 10 px"):
        preview_sheet([("wide.jpg", np.zeros((10, 20, 3), np.uint8))], STANDARD, seed=0)


def test_a_sheet_without_views_is_refused() -> None:
    with pytest.raises(ValueError, match="not 0 and 160"):
        preview_sheet([], STANDARD, seed=0, views=0)


def test_pictures_far_from_photographs_are_shown_as_training_will_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_drawings(tmp_path / "data")
    data_preview(config_path=config, output=tmp_path / "near.png", rows=2, views=2)
    assert "mirrored" in capsys.readouterr().out
    far = Diagnosis({1.0: 0.5, 0.5: 0.9}, 0.6, 100, 128)

    def suited(prepared: PreparedRun, cache_folder: Path) -> tuple[PreparedRun, list[str]]:
        assert cache_folder == tmp_path / "cache"
        return adapted(prepared, far), ["set for them: features.middle 0.5"]

    monkeypatch.setattr("vision.train.domain.suited_run", suited)
    data_preview(config_path=config, output=tmp_path / "far.png", rows=2, views=2, cache=tmp_path / "cache")
    told = capsys.readouterr()
    assert "mirrored" not in told.out
    assert "set for them: features.middle 0.5" in told.err
    near, middle = (
        tiles(Image.open(tmp_path / name), 0, tile_px=160, views=2)[0].astype(int) for name in ("near.png", "far.png")
    )
    assert np.abs(near - middle).mean() > 5
