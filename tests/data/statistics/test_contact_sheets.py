from __future__ import annotations

import io
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from command_line import run_vision
from drawings import write_drawings
from PIL import Image

from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.one_line import plain_line
from vision.data.statistics import contact_sheets
from vision.data.statistics.contact_sheet_drawing import (
    caption,
    check_contact_sheet,
    contact_sheet_height,
    draw_contact_sheet,
    fitted,
    sheet_file_names,
    wrapped,
)
from vision.data.statistics.contact_sheets import ShownPicture, Tile, choose_pictures, make_tiles
from vision.errors import OutputError

Row = dict[str, str | int | None]


def manifest(rows: list[Row], path: Path = Path("m.csv")) -> Manifest:
    return manifest_from_rows(path, rows)


def row(number: int, **others: str | None) -> Row:
    return {"file_name": f"{number}.jpg", "label": "tor-m1", **others}


def picture(**values: str | None) -> ShownPicture:
    return ShownPicture(**{name: values.get(name) for name in ShownPicture.__dataclass_fields__})


def jpeg(width: int = 240, height: int = 100) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawings")
    write_drawings(folder)
    return folder / "manifest.csv"


def test_every_author_has_a_turn_before_one_has_a_second() -> None:
    rows = [row(number, author="Prolific", group=f"g{number}") for number in range(50)]
    rows += [row(100 + number, author=f"author {number}") for number in range(5)]
    chosen = choose_pictures(manifest(rows), per_class=8)["tor-m1"]
    assert Counter(each.author for each in chosen)["Prolific"] == 3
    assert len({each.author for each in chosen}) == 6


def test_of_one_author_every_group_has_a_turn_before_one_has_a_second() -> None:
    rows = [row(number, author="A", group="large" if number < 40 else f"g{number}") for number in range(44)]
    chosen = choose_pictures(manifest(rows), per_class=5)["tor-m1"]
    names = {str(each.file_name) for each in chosen}
    assert len(names & {f"{number}.jpg" for number in range(40, 44)}) == 4


def test_the_choice_depends_on_the_seed_alone() -> None:
    data = manifest([row(number) for number in range(100)])
    first, again, other = (choose_pictures(data, per_class=10, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_all_labels_are_shown_the_missing_one_last_unless_some_are_asked_for() -> None:
    data = manifest([row(0, label=None), row(1, label="b"), row(2, label="a")])
    assert list(choose_pictures(data, per_class=3)) == ["a", "b", None]
    assert list(choose_pictures(data, per_class=3, labels=["b", "a"])) == ["b", "a"]
    assert list(choose_pictures(data, per_class=3, labels=[None])) == [None]


def test_an_empty_manifest_has_no_pictures_to_choose() -> None:
    assert choose_pictures(manifest([]), per_class=3) == {}


def test_large_classes_are_drawn_from_and_small_ones_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheets, "MAX_CANDIDATES", 20)
    rows = [row(number) for number in range(500)] + [row(900 + number, label="t-90") for number in range(3)]
    chosen = choose_pictures(manifest(rows), per_class=30)
    assert [len(chosen[label]) for label in ("tor-m1", "t-90")] == [20, 3]


def test_a_picture_that_cannot_be_shown_is_a_tile_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "secret.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "data" / "good.png")
    (tmp_path / "data" / "broken.jpg").write_bytes(jpeg()[:300])
    names = ["good.png", "broken.jpg", "none.jpg", "../secret.png", str(tmp_path / "secret.png"), "a\0b", None]
    data = manifest([{"file_name": name, "label": "x"} for name in names], tmp_path / "data" / "m.csv")
    tiles = make_tiles(data, [picture(file_name=name) for name in names])
    assert [bool(tile.jpeg) for tile in tiles] == [True] + [False] * 6
    for tile, reason in zip(
        tiles[1:], ("broken", "no such file", "outside", "outside", "null", "no file"), strict=True
    ):
        assert reason in tile.fault


def test_a_sheet_is_as_high_as_its_sections() -> None:
    tiles = [Tile(picture(file_name="a.jpg"), jpeg(), "")] * 5
    sheet = draw_contact_sheet({"one": tiles, "two": [], "three": tiles[:1]})
    assert sheet.size == (14 + 4 * 254, contact_sheet_height([5, 0, 1]))
    assert sheet.getpixel((14 + 120, 14 + 40 + 120))[0] > 200  # type: ignore[index]


def test_a_caption_names_file_split_author_and_licence_or_that_they_are_missing() -> None:
    full = picture(file_name="x/a.jpg", split="test", author="A", licence="CC0-1.0")
    assert caption(full) == ("a.jpg", "split test", "A", "CC0-1.0")
    assert caption(picture()) == ("no file name", "no split", "author not stated", "licence not stated")


@pytest.mark.parametrize(
    "text", ["山田太郎", "محمد العلي", "Фото 🚀👩‍🚀", "a\x00b\ud800\u202e", "x" * 100_000, "\n", ""]
)
def test_any_text_can_be_drawn_and_fits(text: str) -> None:
    tile = Tile(picture(file_name=text.replace("/", "_"), author=text, licence=text), b"", text or "fault")
    assert draw_contact_sheet({text: [tile]}).width == 1030
    assert all(len(line) <= 241 for line in wrapped(text, 240, most_lines=3))


def test_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    assert fitted("short", 240, 13) == "short"
    cut = fitted("a rather long name of a file that fits nowhere.jpg", 120, 13)
    assert cut.endswith("…")
    assert "a rather long name".startswith(cut[:-1].strip())


def test_control_characters_and_turning_marks_are_replaced() -> None:
    assert plain_line("a\x1b[1m\u202eb\nc") == "a�[1m�b c"
    assert plain_line("x" * 500, most=10) == "x" * 9 + "…"


def test_file_names_of_sheets_are_safe_and_differ() -> None:
    names = sheet_file_names(["tor-m1", "a/b", "a\\b", "A_B", "..", None, "no-label"])
    assert names[:3] == ["sheet-tor-m1.jpg", "sheet-a_b.jpg", "sheet-a_b-2.jpg"]
    assert len({name.lower() for name in names}) == 7
    assert not any("/" in name or "\\" in name for name in names)


def test_a_sheet_that_would_be_too_high_is_refused() -> None:
    with pytest.raises(OutputError, match=r"s\.jpg: the sheet would be .* give a folder"):
        check_contact_sheet(Path("s.jpg"), [1000])


def preview(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_vision("data", "preview", *arguments, cwd=cwd)


def test_the_command_writes_a_sheet_of_each_class(drawn: Path, tmp_path: Path) -> None:
    done = preview(drawn, "--per-class", "5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert names == ["sheet-buk-m1.jpg", "sheet-osa-akm.jpg", "sheet-shilka.jpg", "sheet-tor-m1.jpg"]
    with Image.open(tmp_path / "sheets" / names[0]) as sheet:
        assert sheet.size == (1030, contact_sheet_height([5]))


def test_the_command_writes_one_sheet_of_chosen_classes_and_tells_broken_pictures(drawn: Path, tmp_path: Path) -> None:
    data = load_manifest(drawn)
    path = drawn.with_name("more.csv")
    rows = [*data.table.iter_rows(named=True), {"file_name": "images/gone.jpg", "label": "buk-m1"}]
    save_manifest(manifest_from_rows(path, rows), path)
    done = preview(path, "-o", "one.png", "--class", "buk-m1", "--per-class", "20", cwd=tmp_path)
    assert done.returncode == 1
    assert "cannot be shown: images/gone.jpg: no such file" in done.stderr
    assert "15 pictures of 1 class," in done.stdout
    assert (tmp_path / "one.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a manifest, or a run's configuration"),
        (["m.csv", "-c", "x.yaml"], "not both"),
        (["m.csv", "--rows", "3"], "--rows: go with -c"),
        (["-c", "x.yaml", "--class", "a", "--seed", "0"], "--class, --seed: go with a manifest"),
        (["m.csv", "-o", "x.gif"], "x.gif: a sheet ends in .jpg"),
        (["MANIFEST", "--class", "shilca"], "did you mean 'shilka'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], told: str, drawn: Path, tmp_path: Path
) -> None:
    done = preview(*(str(drawn) if each == "MANIFEST" else each for each in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
