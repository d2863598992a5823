"""A folder of 30 awkward entries: 30 rows, each right or an error, none lost; exit code 1."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import run_vision
from PIL import Image

from vision.bundle import Bundle

Rows = dict[str, dict[str, object]]

# What stands in the folder and whether it is a picture.
READABLE = [
    "01-cmyk.jpg",
    "02-grey.jpg",
    "03-palette.png",
    "04-alpha.png",
    "05-16bit-grey.png",
    "06-16bit-grey.tif",
    "07-animated.gif",
    "08-animated.webp",
    "09-exif-rotated.jpg",
    "10-one-pixel.png",
    "11-huge.jpg",
    "12-progressive.jpg",
    "13-really-png.jpg",
    "14-no-utf8-\udcff\udce9.jpg",
    "15-emoji-🚀 and spaces.jpg",
]
BROKEN = [
    "16-cut-10-percent.jpg",
    "17-cut-50-percent.jpg",
    "18-cut-90-percent.jpg",
    "19-cut-50-percent.png",
    "20-cut-50-percent.gif",
    "21-cut-50-percent.webp",
    "22-cut-50-percent.tif",
    "23-zero-bytes.jpg",
    "24-text.jpg",
    "25-page.jpg",
    "26-directory.jpg",
    "27-unreadable.jpg",
    "28-loop.jpg",
    "29-dangling.jpg",
    "30-huge.png",
]


@pytest.fixture(scope="module")
def awkward_dir(drawn_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("awkward")
    with Image.open(drawn_run / "data" / "images" / "tor-m1-00.jpg") as opened:
        picture = opened.convert("RGB")
    write_readable(folder, picture)
    write_broken(folder, picture)
    return folder


def write_readable(folder: Path, picture: Image.Image) -> None:
    grey = np.asarray(picture.convert("L"))
    deep = grey.astype(np.uint16) * 257
    frames = [picture.transpose(Image.Transpose.ROTATE_180), Image.new("RGB", picture.size)]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.convert("CMYK").save(folder / READABLE[0])
    picture.convert("L").save(folder / READABLE[1])
    picture.quantize(64).save(folder / READABLE[2])
    picture.convert("RGBA").save(folder / READABLE[3])
    Image.fromarray(deep).save(folder / READABLE[4])
    Image.fromarray(deep).save(folder / READABLE[5])
    picture.save(folder / READABLE[6], save_all=True, append_images=frames)
    picture.save(folder / READABLE[7], save_all=True, append_images=frames, lossless=True)
    picture.transpose(Image.Transpose.ROTATE_90).save(folder / READABLE[8], exif=exif, quality=95)
    picture.resize((1, 1)).save(folder / READABLE[9])
    picture.resize((20_000, 20_000), Image.Resampling.NEAREST).save(folder / READABLE[10], quality=30)
    picture.save(folder / READABLE[11], progressive=True, quality=95)
    picture.save(folder / READABLE[12], format="PNG")
    picture.save(folder / "14.jpg", quality=95)
    os.rename(folder / "14.jpg", os.fsencode(folder / READABLE[13]))  # noqa: PTH104, a name of bytes
    picture.save(folder / READABLE[14], quality=95)


def write_broken(folder: Path, picture: Image.Image) -> None:
    def cut(name: str, share: float, save: Callable[[Path], None]) -> None:
        save(folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: round(share * len(content))])

    for name, share in zip(BROKEN[:3], (0.1, 0.5, 0.9), strict=True):
        cut(name, share, lambda path: picture.save(path, quality=90))
    cut(BROKEN[3], 0.5, picture.save)
    cut(BROKEN[4], 0.5, picture.save)
    cut(BROKEN[5], 0.5, lambda path: picture.save(path, lossless=True))
    cut(BROKEN[6], 0.5, picture.save)
    (folder / BROKEN[7]).touch()
    (folder / BROKEN[8]).write_text("not a picture at all")
    (folder / BROKEN[9]).write_text("<!doctype html><title>404</title>")
    (folder / BROKEN[10]).mkdir()
    picture.save(folder / BROKEN[11])
    (folder / BROKEN[11]).chmod(0)
    (folder / BROKEN[12]).symlink_to(folder / BROKEN[12])
    (folder / BROKEN[13]).symlink_to(folder / "nowhere.jpg")
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(60_001))), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (folder / BROKEN[14]).write_bytes(png)


@pytest.fixture(scope="module")
def answers(awkward_dir: Path, bundle: Bundle) -> tuple[int, Rows, list[str]]:
    done = run_vision("classify", "--model", bundle.folder, awkward_dir, "--format", "jsonl", "--top-k", "4")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = [str(row["file_name"]).rsplit("/", 1)[1] for row in rows]
    return done.returncode, dict(zip(names, rows, strict=True)), names


def test_thirty_entries_give_thirty_rows_in_order_and_exit_code_1(answers: tuple[int, Rows, list[str]]) -> None:
    return_code, _, names = answers
    assert len(READABLE + BROKEN) == 30
    assert names == sorted(READABLE + BROKEN)
    assert return_code == 1


@pytest.mark.parametrize("name", READABLE)
def test_an_awkward_but_whole_picture_is_classified(answers: tuple[int, Rows, list[str]], name: str) -> None:
    row = answers[1][name]
    assert row["status"] == "ok", row["error"]
    assert row["probability"] is not None


@pytest.mark.parametrize("name", [name for name in READABLE if "one-pixel" not in name])
def test_an_awkward_copy_of_the_same_picture_is_most_probably_the_same_class(
    answers: tuple[int, Rows, list[str]], name: str
) -> None:
    assert answers[1][name]["top"][0]["class_id"] == "tor-m1"


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_is_a_row_with_its_error_and_no_answer(answers: tuple[int, Rows, list[str]], name: str) -> None:
    row = answers[1][name]
    if name == "27-unreadable.jpg" and os.geteuid() == 0:  # root may read it; test_engine.py becomes nobody
        assert row["status"] == "ok"
        return
    assert row["status"] == "error"
    assert row["error"]
    assert (row["label"], row["probability"], row["top"]) == ("", None, [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("17-cut-50-percent.jpg", "broken picture"),
        ("23-zero-bytes.jpg", "empty (0 bytes)"),
        ("24-text.jpg", "not a picture in a format that is read"),
        ("26-directory.jpg", "a folder"),
        ("28-loop.jpg", "a symbolic link that leads nowhere"),
        ("30-huge.png", "20000 x 20000 px, more than the limit"),
    ],
)
def test_the_error_says_what_is_wrong(answers: tuple[int, Rows, list[str]], name: str, reason: str) -> None:
    assert reason in str(answers[1][name]["error"])
