"""Time, memory and size of the report for many predictions, and the time until a browser can use it.

python scripts/benchmark_report.py --rows 100000 --classes 60

The table is made by chance: pictures in groups of five, classes in families of three and roles of nine, every class
listed on each picture, with two further columns and the properties of pictures for slices. There are no pictures, so no
thumbnails. `evaluation` is the figures alone; `report` is all that `vision report` does: figures again, tables as CSV,
matrices and charts as PNG and SVG, and the page. The aims: 30 s, 2 GB, 5 MB, 2 s.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from vision.evaluate.evaluation import evaluate_predictions
from vision.evaluate.outputs import write_evaluation
from vision.predictions import load_predictions
from vision.taxonomy import Taxonomy

STAGES = {"table": "predictions.parquet", "evaluation": "", "report": ""}
ATTRIBUTION = "Vehicle {0} on a parade by Photographer {0}, CC-BY-SA-4.0, https://example.org/wiki/File:{0}.jpg"


def synthetic_taxonomy(num_classes: int) -> Taxonomy:
    """Families of three classes, roles of three families."""
    return Taxonomy.model_validate(
        {
            "version": 1,
            "roles": [{"id": f"role-{i}", "name": f"Role {i}"} for i in range(-(-num_classes // 9))],
            "families": [
                {"id": f"family-{i}", "role": f"role-{i // 3}", "name": f"Family {i}"}
                for i in range(-(-num_classes // 3))
            ],
            "classes": [
                {"id": f"class-{i}", "family": f"family-{i // 3}", "names": [f"Class {i}"]} for i in range(num_classes)
            ],
        }
    )


def synthetic_table(num_rows: int, num_classes: int, seed: int = 0) -> pl.DataFrame:
    """Prediction rows with truth, group and attribution, as `vision evaluate` writes them."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(num_classes, size=num_rows)
    logits = generator.normal(0, 1, (num_rows, num_classes))
    family_mates = (truth // 3) * 3 + generator.integers(3, size=num_rows)
    logits[np.arange(num_rows), truth] += 5
    logits[np.arange(num_rows), np.minimum(family_mates, num_classes - 1)] += 3
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    top = np.take_along_axis(probabilities, order, axis=1)
    ranks = generator.random(num_rows)
    level = np.select([ranks > 0.95, top[:, 0] >= 0.5], ["unknown", "class"], "family")
    names = np.array([f"class-{i}" for i in range(num_classes)])
    label = np.where(level == "class", names[order[:, 0]], "unknown")
    label = np.where(level == "family", np.char.add("family-", (order[:, 0] // 3).astype(str)), label)
    rows = pl.DataFrame({"row": np.repeat(np.arange(num_rows), num_classes), "class_id": names[order.ravel()]})
    rows = rows.with_columns(probability=top.ravel()).select("row", top=pl.struct("class_id", "probability"))
    lists = rows.group_by("row", maintain_order=True).agg("top")["top"]
    near = generator.integers(5000, size=(num_rows, 3))
    nearest = [
        [
            {"file_name": f"images/train/{i}.jpg", "class_id": names[i % num_classes].item(), "similarity": 0.8}
            | {"attribution": ATTRIBUTION.format(i)}
            for i in row
        ]
        for row in near.tolist()
    ]
    number = pl.Series(np.arange(num_rows))
    return pl.DataFrame(
        {
            "file_name": "images/test/picture-" + number.cast(pl.String) + ".jpg",
            "sha256": number.cast(pl.String).str.zfill(64),
            "status": ["ok"] * num_rows,
            "error": [""] * num_rows,
            "label": label,
            "level": level,
            "probability": np.where(level == "unknown", ranks, top[:, 0]),
            "reason": ["most probable class; the runner-up is a look-alike, check the cue"] * num_rows,
            "top": lists,
            "label_set": pl.Series([[names[a].item(), names[b].item()] for a, b in order[:, :2].tolist()]),
            "novelty": generator.random(num_rows) + 0.01,
            "novelty_rank": ranks,
            "nearest": nearest,
            "cues": [[]] * num_rows,
            "model": ["synthetic"] * num_rows,
            "true_label": names[truth],
            "group": "group-" + (number // 5).cast(pl.String),
            "author": "Photographer " + (number % 2000).cast(pl.String),
            "licence": ["CC-BY-SA-4.0"] * num_rows,
            "source_url": "https://example.org/wiki/File:" + number.cast(pl.String) + ".jpg",
            "view": np.array(["front", "left", "rear", "right", "above"])[generator.integers(5, size=num_rows)],
            "weather": np.array(["clear", "dust", "rain", "snow"])[generator.integers(4, size=num_rows)],
            "short_side_px": generator.integers(300, 4000, size=num_rows),
            "aspect": generator.uniform(0.6, 2, num_rows),
            "brightness": generator.random(num_rows),
            "sharpness": generator.lognormal(5, 1, num_rows),
            "size_bytes": generator.integers(30_000, 5_000_000, size=num_rows),
        }
    )


def peak_gb() -> float:
    """Most memory that this process has held, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def sizes_mb(folder: Path) -> dict[str, float]:
    """Size of the page, its data and its details, and of the files beside the page, in MB."""
    report_dir = folder / "report"
    of = {name: (report_dir / name).stat().st_size for name in ("index.html", "data.js")}
    of["rows"] = sum(path.stat().st_size for path in (report_dir / "rows").glob("*.js"))
    for ending in ("csv", "png", "svg", "json"):
        of[f"*.{ending}"] = sum(path.stat().st_size for path in folder.glob(f"*.{ending}"))
    return {name: round(size / 1e6, 2) for name, size in of.items()}


def browser_times(page: Path) -> dict[str, float]:
    """Seconds until the page can be used, until a cell's pictures stand, and of a slider's step; empty without one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1920, "height": 1080})
        start = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("#review[data-ready]", timeout=60_000)
        tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        usable = time.perf_counter() - start
        marked = tab.evaluate("performance.getEntriesByName('review-ready')[0].startTime / 1000")
        start = time.perf_counter()
        tab.evaluate("document.querySelector('#matrix-box :is(.wrong1, .wrong2, .wrong3)').parentNode.id = 'it'")
        tab.locator("#it").dispatch_event("click")
        tab.wait_for_selector("article.picture", timeout=60_000)
        cell = time.perf_counter() - start
        start = time.perf_counter()
        step = "slider.value = 70; slider.dispatchEvent(new Event('input'))"
        tab.evaluate(f"const slider = document.getElementById('slider-target'); {step}")
        tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))")
        slider = time.perf_counter() - start
        browser.close()
    seconds = {"usable_s": usable, "script_done_s": marked, "cell_s": cell, "slider_s": slider}
    return {name: round(value, 2) for name, value in seconds.items()}


def run_stage(stage: str, args: argparse.Namespace) -> dict[str, object]:
    """Do one stage here; what it took. Stages hand over files, so that each has its own peak of memory."""
    taxonomy, start = synthetic_taxonomy(args.classes), time.perf_counter()
    if stage == "table":
        synthetic_table(args.rows, args.classes).write_parquet(args.folder / "predictions.parquet")
        return {}
    table = load_predictions(args.folder / "predictions.parquet")
    known = taxonomy.class_ids
    if stage == "evaluation":
        evaluate_predictions(table, taxonomy, title="synthetic", known_classes=known, num_replicates=args.replicates)
    else:
        write_evaluation(table, taxonomy, args.folder, title="synthetic", images_dir=None, known_classes=known)
    return {f"{stage}_s": round(time.perf_counter() - start, 1), f"{stage}_peak_gb": round(peak_gb(), 2)}


def main() -> None:
    """Measure and print as JSON; each stage in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=60)
    parser.add_argument("--replicates", type=int, default=2000, help="of the bootstrap, for the figures alone")
    parser.add_argument("--folder", type=Path, help="keep the files here, and take those that are there")
    parser.add_argument("--stage", choices=STAGES, help="only this one; the files before it are there")
    args = parser.parse_args()
    if args.stage:
        print(json.dumps(run_stage(args.stage, args)))
        return
    found: dict[str, object] = {"rows": args.rows, "classes": args.classes}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for stage, file_name in STAGES.items():
            if file_name and (folder / file_name).exists():
                continue
            options = [f"--{name}={getattr(args, name)}" for name in ("rows", "classes", "replicates")]
            command = [sys.executable, __file__, *options, f"--folder={folder}", f"--stage={stage}"]
            found |= json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        found["sizes_mb"] = sizes_mb(folder)
        found["browser"] = browser_times(folder / "report" / "index.html")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
