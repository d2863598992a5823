"""The documented way from sources.yaml to a report (docs/building-a-data-set.md), on a stub and with drawn pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import wiki_stub
from command_line import run_vision
from drawings import write_drawings
from wiki_stub import CONTACT, WikiStub

from vision.data.manifest import Manifest, load_manifest

SOURCES = """version: 1
contact: {contact}
defaults: {{min_side_px: 100}}
wikis:
  commons: {{api: '{api}', allowed_hosts: [127.0.0.1], min_interval_s: 0}}
classes:
"""
CONFIG = (
    "name: mine\ndata: {manifest: data/manifest.csv}\nfeatures: {input_px: 224}\ntrain: {folds: 0, strengths: [1]}\n"
)


def done(*arguments: object) -> str:
    """What a command that succeeds prints."""
    finished = run_vision(*arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def fill(wiki: WikiStub, drawn: Manifest) -> None:
    """Every drawing in the category of its class; each author drew two of a class."""
    for number, row in enumerate(drawn.table.iter_rows(named=True)):
        body = drawn.image_path(row["file_name"]).read_bytes()
        name = f"{row['label']} {number}.jpg"
        told = wiki_stub.metadata(author=f"author {number % 7} of {row['label']}")
        wiki.add_file(name, body, categories=[f"Pictures of {row['label']}"], extmetadata=told)


@pytest.mark.slow
def test_the_documented_way_from_sources_to_a_report(tmp_path: Path) -> None:
    write_drawings(tmp_path / "drawn")
    drawn = load_manifest(tmp_path / "drawn" / "manifest.csv")
    data, manifest_path = tmp_path / "data", tmp_path / "data" / "manifest.csv"
    with WikiStub() as wiki:
        fill(wiki, drawn)
        classes = [f"  {label}: [category: Pictures of {label}]\n" for label in drawn.table["label"].unique().sort()]
        (tmp_path / "sources.yaml").write_text(SOURCES.format(contact=CONTACT, api=wiki.api_url) + "".join(classes))
        assert "4 of 4 queries" in done("data", "sources", tmp_path / "sources.yaml")
        done("data", "fetch", tmp_path / "sources.yaml", "-o", data)
    assert len(load_manifest(manifest_path).table) == len(drawn.table)
    done("data", "duplicates", manifest_path, "--page", tmp_path / "duplicates", "--group")
    done("data", "split", manifest_path)
    done("data", "check", manifest_path)
    done("data", "stats", manifest_path, "--page", tmp_path / "stats")
    done("data", "croissant", manifest_path, "-o", data / "croissant.json")
    (tmp_path / "mine.yaml").write_text(CONFIG)
    done("train", tmp_path / "mine.yaml", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert (tmp_path / "runs" / "mine" / "evaluation" / "report" / "index.html").is_file()
    attribution = (tmp_path / "runs" / "mine" / "bundle" / "ATTRIBUTION.md").read_text()
    assert "author 0 of shilka" in attribution
