"""Peak memory of training on few and on many pictures: it may not grow with them.

    python scripts/measure_memory.py 2500 25000

Makes pictures of noise with a shape in it, trains a probe and fine-tunes from it in a process of its own for each
number, and prints the peak of its resident memory and the time, beside that of a process that only imports torch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "tor-m1",
    "tor-m2k",
    "shilka",
    "gepard",
    "osa-akm",
    "strela-10",
    "roland",
    "tunguska",
    "buk-m1",
    "pantsir-s1-kamaz",
)
SIDE_PX = 64
CONFIG = """
name: memory
data: {manifest: manifest.csv}
features: {input_px: 64, layers: two_stages}
train: {strategy: finetune, strengths: 10, device: cpu}
finetune: {from_stage: 5, views: 2, epochs: 2, precision: float32}
augment: {preset: light}
"""
CHILD = """
import json, resource, sys
sys.argv = ["vision", *json.loads(sys.argv[1])]
from vision.cli import main
try:
    main()
finally:
    print("peak_kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Print a line for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=int, nargs="+", metavar="PICTURES")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    subprocess.run([sys.executable, "-c", "import torch, timm, sklearn, albumentations"], check=True)
    imports_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"imports alone: {imports_kib / 2**20:.2f} GiB", flush=True)
    for number in arguments.numbers:
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), number)
            overrides = [part for setting in arguments.overrides for part in ("--set", setting)]
            command = [
                "train",
                f"{folder}/memory.yaml",
                *overrides,
                "--runs",
                f"{folder}/runs",
                "--cache",
                f"{folder}/cache",
            ]
            started = time.perf_counter()
            child = subprocess.run(
                [sys.executable, "-c", CHILD, json.dumps(command)], capture_output=True, text=True, check=False
            )
            took_s = time.perf_counter() - started
            if child.returncode:
                sys.exit(child.stderr[-3000:])
            peak_kib = int(child.stdout.split("peak_kib")[1])
            print(f"{number} pictures: {peak_kib / 2**20:.2f} GiB at the peak, {took_s:.0f} s", flush=True)


def make_pictures(folder: Path, number: int) -> None:
    """A data set of ten classes: a bar whose angle tells the class, on noise; 80 % to train, 20 % to calibrate on."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir()
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX / 2
    lines = ["file_name,label,split,group,licence,author,source_url"]
    for row in range(number):
        angle = np.pi * (row % len(CLASSES)) / len(CLASSES)
        bar = np.abs(x * np.sin(angle) - y * np.cos(angle) + generator.normal(0, 4)) < 4
        pixels = generator.integers(0, 90, (SIDE_PX, SIDE_PX, 3)) + 120 * bar[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{row:06}.jpg")
        split = "calibration" if row % 50 < 10 else "train"
        lines.append(
            f"images/{row:06}.jpg,{CLASSES[row % 10]},{split},group-{row // 10},CC0-1.0,nobody,https://example.org/"
        )
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "memory.yaml").write_text(CONFIG)


if __name__ == "__main__":
    main()
