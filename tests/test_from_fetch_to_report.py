"""The documented way from sources.yaml to a report (docs/building-a-data-set.md), on a stub and with drawn pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import wiki_stub
from command_line import run_vision
from drawings import write_drawings
from PIL import Image
from typer.testing import CliRunner
from wiki_stub import CONTACT, WikiStub

from vision.cli.data import data_app
from vision.data.manifest import Manifest, load_manifest
from vision.data.reviewing.decisions import DECISIONS_FILE, Verdict, load_review, open_review_log
from vision.errors import ManifestError, VisionError
from vision.taxonomy import load_taxonomy
from vision.web.review_order import queue_without_model
from vision.web.review_session import ReviewSession

SOURCES = """version: 1
contact: {contact}
defaults: {{min_side_px: 100}}
wikis:
  commons: {{api: '{api}', allowed_hosts: [127.0.0.1], min_interval_s: 0}}
classes:
"""
CONFIG = (
    "name: mine\ndata: {manifest: data/reviewed.csv}\nfeatures: {input_px: 224}\n"
    "train: {folds: 2, inner_folds: 2, strengths: [1]}\n"
)


def done(*arguments: object) -> str:
    """What a command that succeeds prints."""
    finished = run_vision(*arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def done_here(*arguments: object, code: int = 0) -> str:
    """The same of a command of `vision data` in this process, which has imported everything already."""
    finished = CliRunner().invoke(data_app, [str(argument) for argument in arguments])
    if isinstance(finished.exception, VisionError):
        raise finished.exception
    assert finished.exit_code == code, (finished.output, finished.exception)
    return finished.output


def fill(wiki: WikiStub, drawn: Manifest) -> None:
    """Every drawing in the category of its class."""
    for number, row in enumerate(drawn.table.iter_rows(named=True)):
        add(wiki, drawn.image_path(row["file_name"]).read_bytes(), row["label"], number)


def painted(number: int) -> bytes:
    """A picture that is like none of another number."""
    colours = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).resize((320, 240), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def add(wiki: WikiStub, body: bytes, label: str, number: int, author: str = "") -> None:
    """A file in the category of its class; each author made a few of a class."""
    told = wiki_stub.metadata(author=author or f"author {number % 7} of {label}")
    wiki.add_file(f"{label} {number}.jpg", body, categories=[f"Pictures of {label}"], extmetadata=told)


def write_sources(wiki: WikiStub, labels: Iterable[str], path: Path) -> Path:
    classes = [f"  {label}: [category: Pictures of {label}]\n" for label in labels]
    path.write_text(SOURCES.format(contact=CONTACT, api=wiki.api_url) + "".join(classes))
    return path


def decide(manifest_path: Path, *decisions: tuple[int, Verdict]) -> None:
    """Sit down to a review, as the page does."""
    manifest, path = load_manifest(manifest_path), manifest_path.parent / DECISIONS_FILE
    with open_review_log(path) as log:
        queue = queue_without_model(range(len(manifest.table)))
        session = ReviewSession(manifest, queue, load_taxonomy(), log, load_review(path).lines)
        for row, verdict in decisions:
            position = session.position_of_row(row)
            assert position is not None
            session.decide(position, verdict)


def splits(manifest_path: Path) -> dict[str, str]:
    return dict(load_manifest(manifest_path).table.select("file_name", "split").iter_rows())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
def test_the_documented_way_from_sources_to_a_report(tmp_path: Path) -> None:
    import mlcroissant

    write_drawings(tmp_path / "drawn")
    drawn = load_manifest(tmp_path / "drawn" / "manifest.csv")
    data, reviewed = tmp_path / "data", tmp_path / "data" / "reviewed.csv"
    with WikiStub() as wiki:
        fill(wiki, drawn)
        sources = write_sources(wiki, drawn.table["label"].unique().sort(), tmp_path / "sources.yaml")
        assert "4 of 4 queries" in done("data", "sources", sources)
        assert "to fetch: 56 pictures" in done_here("fetch", sources, "-o", data, "--dry-run")
        done_here("fetch", sources, "-o", data)
    decide(data / "manifest.csv", (0, Verdict.REJECT), (1, Verdict.KEEP), (20, Verdict.MODEL))
    done_here("apply-review", data / "manifest.csv", "-o", reviewed)
    assert len(load_manifest(reviewed).table) == len(drawn.table) - 2
    done_here("duplicates", reviewed, "--page", tmp_path / "duplicates", "--group")
    done_here("split", reviewed, "--shares", "train=0.6,calibration=0.2,test=0.2")
    done_here("duplicates", reviewed)
    done_here("check", reviewed)
    done_here("stats", reviewed, "--page", tmp_path / "stats")
    (tmp_path / "mine.yaml").write_text(CONFIG)
    done("train", tmp_path / "mine.yaml", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    run = tmp_path / "runs" / "mine"
    assert (run / "evaluation" / "report" / "index.html").is_file()
    assert "author 0 of shilka" in (run / "bundle" / "ATTRIBUTION.md").read_text()
    page = tmp_path / "suspicious"
    found = run / "out_of_fold" / "predictions.parquet"
    done_here("suspicious", found, "--manifest", reviewed, "-o", tmp_path / "odd.csv", "--page", page)
    done_here("attribution", reviewed)
    done_here("card", reviewed)
    assert "A review dropped 2 pictures" in (data / "README.md").read_text()
    assert "54 pictures." in (data / "ATTRIBUTION.md").read_text()
    done_here("croissant", reviewed)
    records = mlcroissant.Dataset(str(data / "croissant.json")).records("pictures")
    labels = {record["pictures/file_name"].decode(): record["pictures/label"].decode() for record in records}
    assert labels == dict(load_manifest(reviewed).table.select("file_name", "label").iter_rows())


def test_the_same_commands_again_leave_old_pictures_in_their_splits(tmp_path: Path) -> None:
    data, reviewed = tmp_path / "data", tmp_path / "data" / "reviewed.csv"

    def one_round(*decisions: tuple[int, Verdict], code_of_duplicates: int = 0) -> dict[str, str]:
        done_here("fetch", sources, "-o", data, "--refresh")
        decide(data / "manifest.csv", (0, Verdict.REJECT), *decisions)
        done_here("apply-review", data / "manifest.csv", "-o", reviewed)
        done_here("duplicates", reviewed, "--page", tmp_path / "duplicates", "--group", code=code_of_duplicates)
        done_here("split", reviewed, "--shares", "train=0.6,calibration=0.2,test=0.2")
        done_here("duplicates", reviewed)
        done_here("check", reviewed)
        return splits(reviewed)

    with WikiStub() as wiki:
        for number in range(40):
            add(wiki, painted(number), ("shilka", "tor-m1")[number % 2], number)
        sources = write_sources(wiki, ["shilka", "tor-m1"], tmp_path / "sources.yaml")
        first = one_round()
        assert set(first.values()) == {"train", "calibration", "test"}
        rows = {row["split"]: row for row in load_manifest(reviewed).table.iter_rows(named=True)}
        for number in range(40, 60):
            add(wiki, painted(number), ("shilka", "tor-m1")[number % 2], number)
        copy = smaller(data / rows["test"]["file_name"])
        add(wiki, copy, rows["test"]["label"], 1000, author=rows["test"]["author"])
        second = one_round(code_of_duplicates=3)  # the copy of a test picture has no split yet
        assert len(second) == 60
        assert {name: second[name] for name in first} == first
        assert second[next(name for name in second if "-1000-" in name)] == "test"
        assert one_split_a_group(reviewed)

        add(wiki, copy + b" ", rows["test"]["label"], 2000, author=rows["train"]["author"])  # joins what is divided
        with pytest.raises(ManifestError, match="is divided between"):
            one_round(code_of_duplicates=3)
        names = load_manifest(data / "manifest.csv").file_names
        place = next(row for row, name in enumerate(names) if "-2000-" in name)
        assert one_round((place, Verdict.REJECT)) == second


def smaller(path: Path) -> bytes:
    """A picture again, as a smaller JPEG."""
    stream = io.BytesIO()
    with Image.open(path) as picture:
        picture.resize((240, 180)).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def one_split_a_group(manifest_path: Path) -> bool:
    table = load_manifest(manifest_path).table
    return bool(table.group_by("group").agg(pl.col("split").n_unique())["split"].eq(1).all())
