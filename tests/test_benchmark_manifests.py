"""The benchmark of commands that read a manifest alone, on few rows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from benchmark_manifests import LARGEST_GROUP, VIEWS, run_measured, synthetic_rows
from command_line import REPOSITORY

from vision.data.manifest import load_manifest


def test_made_rows_have_groups_with_a_heavy_tail_and_classes_of_the_taxonomy() -> None:
    (table,) = synthetic_rows(20_000, 60)
    groups = table.drop_nulls("group").group_by("group").agg(pl.len(), pl.col("label").n_unique())
    assert 15 <= groups["len"].max() <= LARGEST_GROUP  # type: ignore[operator]
    assert 0.3 < (groups["len"] == 1).mean() < 0.8  # type: ignore[operator]
    assert 0.0 < (groups["label"] > 1).mean() < 0.05  # type: ignore[operator]
    assert table["label"].n_unique() == 60
    assert set(table["view"]) == set(VIEWS)
    assert table["file_name"].is_unique().all()


def test_more_classes_than_the_taxonomy_has_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"--classes 999: the taxonomy has \d+; ask for fewer"):
        next(synthetic_rows(10, 999))


def test_memory_and_exit_code_are_those_of_the_process() -> None:
    code, _, said = run_measured([sys.executable, "-c", "print('hello'); raise SystemExit(3)"])
    assert (code, said.strip()) == (3, "hello")
    code, usage, _ = run_measured([sys.executable, "-c", "b'1' * 600_000_000"])
    assert (code, usage.ru_maxrss * 1024 > 600_000_000) == (0, True)


def test_each_command_gets_a_row_with_time_and_memory(tmp_path: Path) -> None:
    command = [sys.executable, REPOSITORY / "scripts/benchmark_manifests.py", "--rows", "2000", "--folder", tmp_path]
    done = subprocess.run(
        [*command, "--classes", "5", "--endings", ".csv", "--commands", "split", "check"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = re.findall(r"^\| (\w+) \| (\.\w+) \| [\d.]+ \| [\d.]+ \| [\d.]+ \| 0 \|", done.stdout, flags=re.MULTILINE)
    assert rows == [("split", ".csv"), ("check", ".csv")]
    assert load_manifest(tmp_path / "split.csv").table["split"].null_count() == 0
