"""The page and the table of pairs, and the command that writes them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_line import run_vision
from duplicate_pictures import scene, vary
from PIL import Image

from vision.cli.data import data_app
from vision.cli.data_duplicates import WeakKind, embed_pictures
from vision.data.duplication import pages as duplicate_pages
from vision.data.duplication.duplicates import Duplicates, judge_pairs
from vision.data.duplication.pages import save_pairs, write_duplicate_page
from vision.data.duplication.pairs import WEAK_KINDS, find_pairs
from vision.data.duplication.thumbnails import see_pictures
from vision.data.manifest import load_manifest, manifest_from_rows, save_manifest
from vision.data.preprocessing import Preprocessing
from vision.errors import OutputError, VisionError

ROWS = (
    {"file_name": "a & <b>.jpg", "label": "tor-m1", "split": "train", "group": "parade"},
    {"file_name": "copy.jpg", "label": "tor-m1", "split": "train"},
    {"file_name": "second.jpg", "label": "tor-m1", "split": "train"},
    {"file_name": "mirrored.jpg", "label": "tor-m2", "split": "test", "view": "side"},
    {"file_name": "stranger.jpg", "label": "tor-m2", "split": "test"},
)


def picture(seed: int) -> Image.Image:
    return scene(np.random.default_rng([98, seed]))


def write_pictures(folder: Path, *more: dict[str, str]) -> Path:
    """A copy within a split, a mirrored one with another label between splits, and a stranger."""
    folder.mkdir()
    first, second = picture(0), picture(1)
    pictures = (first, vary(first, "crop 5 %", np.random.default_rng(0)), second, second, picture(2))
    for row, image in zip(ROWS, pictures, strict=True):
        image = vary(image, "flip", np.random.default_rng(0)) if row["file_name"] == "mirrored.jpg" else image
        image.save(folder / row["file_name"], quality=90)
    save_manifest(manifest_from_rows(folder / "manifest.csv", [*ROWS, *more]), folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Duplicates:
    folder = tmp_path_factory.mktemp("pairs")
    manifest = load_manifest(write_pictures(folder / "data"))
    seen = see_pictures(manifest, folder / "cache")
    return judge_pairs(manifest, seen, find_pairs(seen))


def test_the_table_names_both_sides_leaks_first(found: Duplicates, tmp_path: Path) -> None:
    save_pairs(found, tmp_path / "pairs.csv")
    table = pl.read_csv(tmp_path / "pairs.csv")
    columns = ["file_name", "other_file_name", "kind", "is_leak", "is_contradiction", "is_mirrored", "other_split"]
    assert table.select(columns).rows() == [
        ("second.jpg", "mirrored.jpg", "copy", True, True, True, "test"),
        ("a & <b>.jpg", "copy.jpg", "copy", False, False, False, "train"),
    ]


def test_json_has_the_summary_too(found: Duplicates, tmp_path: Path) -> None:
    save_pairs(found, tmp_path / "pairs.json")
    content = json.loads((tmp_path / "pairs.json").read_text())
    assert content["summary"]["clusters_in_several_splits"] == 1
    assert [pair["kind"] for pair in content["pairs"]] == ["copy", "copy"]


def test_another_ending_is_refused_with_those_that_there_are(found: Duplicates, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"pairs\.xlsx: pairs are written to \.csv or \.json, not to '\.xlsx'"):
        save_pairs(found, tmp_path / "pairs.xlsx")


def test_the_page_escapes_names_and_asks_no_network(found: Duplicates, tmp_path: Path) -> None:
    text = write_duplicate_page(found, tmp_path).read_text()
    assert "a &amp; &lt;b&gt;.jpg" in text
    assert "<b>.jpg" not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text


def test_the_page_has_a_thumbnail_for_each_picture_shown(found: Duplicates, tmp_path: Path) -> None:
    text = write_duplicate_page(found, tmp_path).read_text()
    names = sorted(path.name for path in (tmp_path / "thumbnails").iterdir())
    assert len(names) == 4
    assert all(f'src="thumbnails/{name}"' in text for name in names)


def test_a_page_of_another_origin_is_not_replaced_but_an_earlier_one_is(found: Duplicates, tmp_path: Path) -> None:
    write_duplicate_page(found, write_duplicate_page(found, tmp_path / "own").parent)
    (tmp_path / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(OutputError, match=r"index\.html: another page is here already"):
        write_duplicate_page(found, tmp_path)
    assert (tmp_path / "index.html").read_text() == "<h1>mine</h1>"


def test_the_page_tells_how_many_pairs_it_leaves_out(
    found: Duplicates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicate_pages, "MAX_PAIRS", 1)
    text = write_duplicate_page(found, tmp_path).read_text()
    assert "1 of 2 pairs are shown" in text
    assert text.count("<article") == 1
    assert text.index("<article") < text.index("between splits</span>")


def test_the_filter_works_without_a_script_and_nothing_is_cut_off(
    found: Duplicates, tmp_path: Path, browser: Any
) -> None:
    page = write_duplicate_page(found, tmp_path)
    view = browser.new_page(viewport={"width": 390, "height": 800})
    view.goto(page.as_uri())
    view.click("label[for=show-leak]")
    assert view.locator("article:visible").count() == 1
    assert view.evaluate("document.documentElement.scrollWidth") == 390
    assert view.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)")


def test_each_cluster_comes_into_one_group(found: Duplicates) -> None:
    merged, num_changed = found.merged_groups()
    groups = merged.to_list()
    assert groups[:2] == ["parade", "parade"]
    assert groups[2] == groups[3] == f"copies-{found.seen.digests[2][:12]}"
    assert groups[4] is None
    assert num_changed == 3


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_groups_are_written_with_all_other_columns_as_they_stand_in_the_file(tmp_path: Path, ending: str) -> None:
    for name in ("a.png", "b.png"):
        picture(0).save(tmp_path / name)
    path = tmp_path / f"m.{ending}"
    columns = {"empty": [None, None], "night": [True, False], "angle": [2.0, 0.25], "file_name": ["a.png", "b.png"]}
    before = pl.DataFrame({**columns, "label": ["tor-m1"] * 2}, schema_overrides={"empty": pl.String})
    {"csv": before.write_csv, "parquet": before.write_parquet, "jsonl": before.write_ndjson}[ending](path)
    done = run_vision("data", "duplicates", path, "--group", "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    after = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[ending](path)
    assert after.drop("group").equals(before)
    assert after["group"].n_unique() == 1


def test_a_leak_exits_with_3_and_groups_are_written_to_the_manifest(tmp_path: Path) -> None:
    manifest_path = write_pictures(tmp_path / "data")
    done = run_vision("data", "duplicates", manifest_path, "--group", "--cache", tmp_path / "cache")
    assert done.returncode == 3, done.stderr
    assert "leak, two labels, copy" in done.stdout
    assert "3 rows have another group than before" in done.stdout
    table = load_manifest(manifest_path).table
    assert table["group"].null_count() == 1
    assert table["view"].to_list() == [None, None, None, "side", None]
    again = run_vision("data", "duplicates", manifest_path, "--group", "--cache", tmp_path / "cache")
    assert "0 rows have another group than before" in again.stdout


def test_a_broken_picture_is_told_with_its_line_and_exits_with_1_where_there_is_no_leak(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    picture(0).save(tmp_path / "a.jpg")
    (tmp_path / "manifest.csv").write_text("file_name,label\na.jpg,tor-m1\nbroken.jpg,tor-m1\n")
    done = run_vision("data", "duplicates", tmp_path / "manifest.csv", "--cache", tmp_path / "cache")
    assert done.returncode == 1
    assert "manifest.csv:3: broken.jpg: not a picture" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "manifest.csv"), "is the input itself"),
        (("-o", "there.csv"), "use --overwrite"),
        (("--group", "--grouped", "there.csv"), "use --overwrite"),
        (("--group", "--grouped", "new.csv", "-o", "new.csv"), "give two paths"),
        (("-o", "pairs.txt"), "written to .csv or .json"),
        (("--grouped", "new.csv"), "give --group too"),
        (("--group", "--grouped", "elsewhere/new.csv"), "is in another folder"),
        (("--group", "--grouped", "new.txt"), "end it in '.csv'"),
        (("--page", "manifest.csv"), "--page takes a folder"),
        (("--page", "site"), "index.html: another page is here already"),
        (("--model", "nowhere"), "nowhere"),
        (("--min-similarity", "0.9"), "give --model or --backbone too"),
        (("--model", "nowhere", "--backbone", "tf_efficientnet_lite0"), "give one of them"),
    ],
)
def test_mistakes_are_told_before_pictures_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "manifest.csv").write_text("file_name,label\na.jpg,tor-m1\n")
    (tmp_path / "there.csv").touch()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<h1>mine</h1>")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VisionError, match=message):
        data_app(["duplicates", "manifest.csv", *arguments], standalone_mode=False)
    assert "a.jpg" not in capsys.readouterr().err


def test_a_bundle_embeds_each_different_picture_once_and_in_order(
    found: Duplicates, monkeypatch: pytest.MonkeyPatch
) -> None:
    class MeanColours:
        def __init__(self, bundle: object) -> None:
            pass

        def graph_outputs(self, network_input: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(embedding=network_input.mean(axis=(1, 2)))

    preprocessing = Preprocessing(
        input_px=8, fit="squash", mean=(0, 0, 0), std=(1, 1, 1), interpolation="bilinear", box_margin=0
    )
    bundle = SimpleNamespace(
        reference=SimpleNamespace(embeddings=np.zeros((1, 3))), info=SimpleNamespace(preprocessing=preprocessing)
    )
    monkeypatch.setattr("vision.classify.engine.Engine", MeanColours)
    steps: list[int] = []
    embeddings = embed_pictures(found.manifest, found.seen, bundle, steps.append)
    paths = [found.manifest.image_path(found.manifest.file_names[row]) for row in found.seen.rows.tolist()]
    colours = [np.asarray(Image.open(path)).mean(axis=(0, 1)) / 255 for path in paths]
    assert embeddings == pytest.approx(np.array(colours), abs=0.02)
    assert len(steps) == len(paths)


def test_a_backbone_finds_second_shots_before_there_is_a_bundle_and_strictness_says_what_is_a_leak(
    photos_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    names = ["buk-02", "buk-03", "bmp-2-01", "shilka-01", "t-14-01", "t-90-01", "t-90-04", "bmp-2-05"]
    rows = [f"{name}.jpg,buk,{'train' if n else 'test'}" for n, name in enumerate(names)]
    for name in names:
        (tmp_path / f"{name}.jpg").write_bytes((photos_dir / "images" / f"{name}.jpg").read_bytes())
    (tmp_path / "m.csv").write_text("\n".join(["file_name,label,split", *rows]) + "\n")
    monkeypatch.setattr("vision.data.duplication.pairs.SIMILAR_CORRELATION", 1)  # so that only the network tells it
    command = ["duplicates", str(tmp_path / "m.csv"), "--backbone", "tf_efficientnet_lite0", "--cache", str(tmp_path)]
    for strictness, code in (([], 0), (["--strict-from", "similar"], 0), (["--strict"], 3)):
        table = tmp_path / f"{len(strictness)}{code}.csv"
        ended = data_app([*command, "-o", str(table), *strictness], standalone_mode=False)
        assert (ended or 0) == code
        assert pl.read_csv(table).select("file_name", "other_file_name", "kind").rows() == [
            ("buk-02.jpg", "buk-03.jpg", "alike")
        ]


def test_a_backbone_without_the_extra_is_told_which_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.csv").write_text("file_name,label\na.jpg,tor-m1\n")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else find_spec(name))
    with pytest.raises(VisionError, match=r"extra 'train' \(torch missing\)"):
        data_app(["duplicates", str(tmp_path / "m.csv"), "--backbone", "tf_efficientnet_lite0"], standalone_mode=False)


def test_the_commands_weak_kinds_are_those_of_the_pairs() -> None:
    assert [kind.value for kind in WeakKind] == [kind.value for kind in WEAK_KINDS]


def test_a_split_that_is_none_is_told_and_is_no_leak(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file_name,label,split\na.jpg,tor-m1,train\nb.jpg,tor-m1,Train\n")
    with pytest.raises(VisionError, match=r"m\.csv:3: split 'Train': not a split, did you mean 'train'"):
        data_app(["duplicates", str(tmp_path / "m.csv")], standalone_mode=False)
