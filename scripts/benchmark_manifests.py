"""Time and memory of the commands that read a manifest alone: check, split and stats.

    python scripts/benchmark_manifests.py --rows 10000000 --folder /tmp/manifests

The manifest is made by chance, without pictures: groups of 1 to 20 with a heavy tail, one in twenty of them with two
classes, one picture in five without a group; authors from one picture to thousands. It is written as CSV and as Parquet
(10 million rows: 4 GB together, and as much again when it is split). Each command runs as a process of its own. Aims
for ten million rows: 60 s and 8 GB for each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from resource import struct_rusage

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.taxonomy import load_taxonomy

CHUNK_ROWS = 500_000
LARGEST_GROUP = 20
TAIL = 1.6
"""A group of n pictures is n ** -TAIL times as frequent as one of one picture: four pictures on average."""
LICENCES = {"CC-BY-SA-4.0": 0.5, "CC-BY-2.0": 0.25, "CC0-1.0": 0.15, "CC-BY-SA-3.0": 0.09, "OGL-UK-3.0": 0.01}
VIEWS = ("front", "front-quarter", "side", "rear-quarter", "rear")
WEATHERS = ("clear", "cloud", "snow", "night")
COMMANDS = {
    "split": (
        "split",
        "{manifest}",
        "-o",
        "{folder}/split{ending}",
        "--overwrite",
        "--slice",
        "view",
        "--slice",
        "weather",
    ),
    "check": ("check", "{folder}/split{ending}", "--skip-files"),
    "stats": ("stats", "{folder}/split{ending}"),
}
"""In the order in which they run: check and stats read what split wrote."""


@dataclass(frozen=True)
class Measurement:
    """What one command took.

    Attributes:
        command: Its verb.
        ending: Of the manifest: `.csv` or `.parquet`.
        exit_code: 0 is well.
        duration_s: Wall clock, start of Python included.
        processor_s: Of all threads together: what a busy machine does not change much.
        peak_bytes: Largest resident memory.
        last_line: The end of its output.
    """

    command: str
    ending: str
    exit_code: int
    duration_s: float
    processor_s: float
    peak_bytes: int
    last_line: str


def main() -> None:
    """Make the manifests, run the commands, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="Where the manifests are kept; by default they are removed.")
    parser.add_argument("--endings", nargs="+", choices=(".csv", ".parquet"), default=[".parquet", ".csv"])
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # In a process of its own: Linux counts the memory of a parent as its child's first.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            manifests = pool.submit(write_manifests, folder, arguments.rows, arguments.classes).result()
        sizes = ", ".join(f"{path.suffix} {path.stat().st_size / 1e9:.2f} GB" for path in manifests)
        print(f"{arguments.rows:,} rows, {arguments.classes} classes: {sizes}\n")
        print(
            "| command | manifest | wall s | processor s | peak GB | exit | said |\n|---|---|---:|---:|---:|---:|---|"
        )
        for ending in arguments.endings:
            for command in arguments.commands:
                print(table_row(measure(command, ending, folder)), flush=True)


def write_manifests(folder: Path, num_rows: int, num_classes: int) -> list[Path]:
    """The same rows as CSV and as Parquet, unless they are there already."""
    stem = folder / f"manifest-{num_rows}-{num_classes}"
    csv_path, parquet_path = stem.with_suffix(".csv"), stem.with_suffix(".parquet")
    if not parquet_path.exists():
        with csv_path.open("wb") as stream:
            for chunk, rows in enumerate(synthetic_rows(num_rows, num_classes)):
                rows.write_csv(stream, include_header=chunk == 0)
        table = pl.scan_csv(csv_path, infer_schema=False)
        table.with_columns(pl.col("width", "height").cast(pl.Int64)).sink_parquet(parquet_path)
    for path in (csv_path, parquet_path):
        link = folder / f"manifest{path.suffix}"
        link.unlink(missing_ok=True)
        link.hardlink_to(path)
    return [csv_path, parquet_path]


def synthetic_rows(num_rows: int, num_classes: int, seed: int = 0) -> Iterator[pl.DataFrame]:
    """Manifests' rows, a chunk at a time; no group stands in two chunks."""
    generator = np.random.default_rng(seed)
    classes = np.array(load_taxonomy().class_ids[:num_classes])
    if len(classes) < num_classes:
        raise SystemExit(f"--classes {num_classes}: the taxonomy has {len(classes)}; ask for fewer")
    for first in range(0, num_rows, CHUNK_ROWS):
        yield _chunk(generator, first, min(CHUNK_ROWS, num_rows - first), classes)


def _chunk(generator: np.random.Generator, first: int, num_rows: int, classes: NDArray[np.str_]) -> pl.DataFrame:
    shares = np.arange(1, LARGEST_GROUP + 1) ** -TAIL
    sizes = 1 + generator.choice(LARGEST_GROUP, size=num_rows, p=shares / shares.sum())
    groups = generator.permutation(np.repeat(np.arange(num_rows), sizes)[:num_rows])
    frequency = 1 / np.arange(1, len(classes) + 1) ** 0.5
    class_of_group = generator.choice(len(classes), size=num_rows, p=frequency / frequency.sum())
    has_two = generator.random(num_rows) < 0.05
    is_second = has_two[groups] & (generator.random(num_rows) < 0.5)
    label = classes[(class_of_group[groups] + is_second) % len(classes)]
    author = generator.zipf(1.5, num_rows)[groups] % 50_000
    frame = pl.DataFrame(
        {
            "number": pl.Series(np.arange(first, first + num_rows)).cast(pl.String).str.zfill(8),
            "label": label,
            "event": groups + first,
            "has_group": generator.random(num_rows) < 0.8,
            "digest": [generator.bytes(32) for _ in range(num_rows)],
            "width": generator.integers(320, 6000, num_rows),
            "height": generator.integers(320, 4000, num_rows),
            "person": author,
            "licence": generator.choice(list(LICENCES), num_rows, p=list(LICENCES.values())),
            "day": generator.integers(1, 28, num_rows),
            "year": generator.integers(1990, 2026, num_rows),
            "has_box": generator.random(num_rows) < 0.3,
            "view": generator.choice(VIEWS, num_rows),
            "weather": generator.choice(WEATHERS, num_rows)[groups],
        }
    )
    return frame.select(
        pl.format("images/{}/{}.jpg", "label", "number").alias("file_name"),
        "label",
        pl.when("has_group").then(pl.format("event-{}", "event")).alias("group"),
        pl.col("digest").bin.encode("hex").alias("sha256"),
        "width",
        "height",
        pl.format('{} "in the field", {}', "label", "number").alias("title"),
        pl.format("Photographer {}", "person").alias("author"),
        "licence",
        pl.format("https://example.org/licences/{}", "licence").alias("licence_url"),
        pl.format("https://example.org/wiki/File:{}_{}.jpg", "label", "number").alias("source_url"),
        pl.format("{}-06-{}", "year", pl.col("day").cast(pl.String).str.zfill(2)).alias("date"),
        pl.lit("2026-01-02T03:04:05Z").alias("retrieved_at"),
        pl.when("has_box").then(pl.lit("10 20 200 100.5")).alias("box"),
        "view",
        "weather",
    )


def measure(command: str, ending: str, folder: Path) -> Measurement:
    """Run one command and wait for it."""
    values = {"manifest": str(folder / f"manifest{ending}"), "folder": str(folder), "ending": ending}
    arguments = [argument.format(**values) for argument in COMMANDS[command]]
    start = time.perf_counter()
    exit_code, usage, output = run_measured(
        [sys.executable, "-c", "from vision.cli import main; main()", "data", *arguments]
    )
    lines = output.strip().splitlines() or [""]
    duration_s, processor_s = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return Measurement(command, ending, exit_code, duration_s, processor_s, usage.ru_maxrss * 1024, lines[-1])


def run_measured(arguments: Sequence[str]) -> tuple[int, struct_rusage, str]:
    """Exit code, time and memory, and output of a process."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        # wait4 tells the memory of this child alone; getrusage(RUSAGE_CHILDREN) the largest of all so far.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return process.returncode, usage, output.read()


def table_row(measurement: Measurement) -> str:
    """A line of the Markdown table."""
    said = measurement.last_line[-80:].replace("|", "/")
    return (
        f"| {measurement.command} | {measurement.ending} | {measurement.duration_s:.1f} "
        f"| {measurement.processor_s:.1f} | {measurement.peak_bytes / 1e9:.2f} | {measurement.exit_code} | {said} |"
    )


if __name__ == "__main__":
    main()
