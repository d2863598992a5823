"""Recall and precision of `vision data duplicates` on planted copies, by kind, with time and memory.

python scripts/benchmark_duplicates.py --num-images 20000 --seed 7 -o /tmp/duplicates

The pictures: all renders of datasets/lookalikes, the photographs at ../shared/photos where they lie there, synthetic
scenes (`duplicate_pictures`), copies of all three by each kind, and pairs of scenes at one place with two vehicles,
which are no copies. The thresholds were chosen with other seeds on even-numbered renders and photographs; here copies
are made of odd-numbered ones and of other scenes. The aims: recall 0.95 for each kind up to a crop of 10 %, precision
0.99, ten minutes on two cores, 4 GB.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import polars as pl
from duplicate_pictures import KINDS, QUALITY, scene, vary
from numpy.typing import NDArray
from PIL import Image

from vision.cli.data_duplicates import embed_by_backbone
from vision.data.duplication.groups import NO_CLUSTER, cluster_rows
from vision.data.duplication.pairs import SURE_KINDS, PairKind, alike_pairs, find_pairs
from vision.data.duplication.thumbnails import SeenPictures, see_pictures
from vision.data.manifest import manifest_from_rows, save_manifest

REPOSITORY = Path(__file__).parent.parent
RENDERS_DIR = REPOSITORY / "datasets" / "lookalikes" / "images"
PHOTOS_DIR = REPOSITORY.parent / "shared" / "photos" / "images"
ORIGINS = ("scene", "render", "photograph")
PHASH_BITS = 10
"""The usual threshold for pHash of 64 bits, as a baseline."""


@dataclass(frozen=True)
class Planned:
    """One picture to make.

    Attributes:
        name: File name.
        source: What it shows: a file's path, or the number of a scene.
        kind: `original`, `place` for the second picture of one place, `bytes`, a name of `KINDS`, or `two`.
    """

    name: str
    source: str
    kind: str


def plan(num_images: int, num_copies: int, num_places: int, seed: int) -> list[Planned]:
    """Originals, copies of each kind and pairs of one place, `num_images` in all."""
    random = np.random.default_rng([seed, 0])
    renders, photos = (sorted(map(str, folder.glob("*.jpg"))) for folder in (RENDERS_DIR, PHOTOS_DIR))
    kinds = [*KINDS, "two", "two", "bytes"]
    num_scenes = num_images - len(renders) - len(photos) - num_copies * len(kinds) - num_places
    if num_scenes < num_places:
        raise SystemExit(f"--num-images {num_images}: too few for {num_copies} copies of each kind; give more")
    scenes = [str(number) for number in range(num_scenes)]
    planned = [
        Planned(f"original-{n:05}.jpg", source, "original") for n, source in enumerate(renders + photos + scenes)
    ]
    planned += [Planned(f"place-{n:05}.jpg", str(n), "place") for n in range(num_places)]
    pools = [scenes[num_places:], renders[1::2], photos[1::2] or renders[1::2]]
    for kind in kinds:
        counts = random.multinomial(num_copies, [0.4, 0.4, 0.2]).tolist()
        # Each source once a kind where there are enough: two mirror images of one picture would be equal files.
        for pool, count in zip(pools, counts, strict=True):
            for source in random.choice(pool, count, replace=count > len(pool)).tolist():
                planned.append(Planned(f"copy-{len(planned):05}.jpg", source, kind))
    return planned


def make(folder: Path, planned: Planned, seed: int) -> None:
    """Write one picture."""
    path = folder / planned.name
    if path.exists():
        return
    if planned.source.isdigit():
        number = int(planned.source)
        vehicle = np.random.default_rng([seed, 2, number, int(planned.kind == "place")])
        picture = scene(np.random.default_rng([seed, 1, number]), vehicle=vehicle)
    elif planned.kind in ("original", "bytes"):
        path.write_bytes(Path(planned.source).read_bytes())
        return
    else:
        picture = Image.open(planned.source).convert("RGB")
    if planned.kind not in ("original", "place", "bytes"):
        picture = vary(picture, planned.kind, np.random.default_rng([seed, 3, int(planned.name[5:10])]))
    picture.save(path, "JPEG", quality=QUALITY)


def wilson(num_right: int, num_all: int) -> list[float]:
    """Share, and its 95 % interval by Wilson (1927)."""
    if num_all == 0:
        return [math.nan] * 3
    z, share = 1.959964, num_right / num_all
    middle = (share + z**2 / (2 * num_all)) / (1 + z**2 / num_all)
    half = z / (1 + z**2 / num_all) * math.sqrt(share * (1 - share) / num_all + z**2 / (4 * num_all**2))
    return [round(value, 4) for value in (share, max(0.0, middle - half), min(1.0, middle + half))]


def recalls(planned: list[Planned], pairs: pl.DataFrame, thumbnails: dict[int, Any]) -> dict[str, dict[str, Any]]:
    """By kind: share of copies that are in one cluster with their original, and what pHash alone would tell."""
    original = {p.source: row for row, p in enumerate(planned) if p.kind == "original"}
    sure = pairs.filter(pl.col("kind").is_in([kind.value for kind in SURE_KINDS]))
    cluster = cluster_rows(len(planned), sure.select("row", "other").rows())
    by_kind: dict[str, list[tuple[bool, bool, str]]] = {}
    for row, p in enumerate(planned):
        if p.kind not in ("original", "place"):
            first = original[p.source]
            by_phash = _phash(thumbnails, row) - _phash(thumbnails, first) <= PHASH_BITS
            is_found = cluster[row] != NO_CLUSTER and cluster[row] == cluster[first]
            by_kind.setdefault(p.kind, []).append((bool(is_found), by_phash, origin(p.source)))
    return {
        kind: {
            "copies": len(found),
            "recall": wilson(sum(ours for ours, _, _ in found), len(found)),
            "phash alone": wilson(sum(theirs for _, theirs, _ in found), len(found))[0],
            "by origin": {
                name: [sum(ours for ours, _, of in found if of == name), sum(of == name for _, _, of in found)]
                for name in ORIGINS
            },
        }
        for kind, found in by_kind.items()
    }


def origin(source: str) -> str:
    """Where a picture comes from, one of `ORIGINS`."""
    return "scene" if source.isdigit() else "render" if Path(source).parent == RENDERS_DIR else "photograph"


def _phash(thumbnails: dict[int, Any], row: int) -> imagehash.ImageHash:
    return imagehash.phash(Image.fromarray(thumbnails[row]))


def precision(planned: list[Planned], pairs: pl.DataFrame) -> dict[str, Any]:
    """Share of told pairs that are copies of one original; one place with two vehicles is none."""

    def is_true(row: int, other: int) -> bool:
        one, two = planned[row], planned[other]
        return one.source == two.source and "place" not in (one.kind, two.kind)

    def is_one_place(row: int, other: int) -> bool:
        return planned[row].source == planned[other].source and "place" in (planned[row].kind, planned[other].kind)

    figures: dict[str, Any] = {}
    for kind in PairKind:
        ends = pairs.filter(pl.col("kind") == kind.value).select("row", "other").rows()
        num_places, num_right = sum(is_one_place(*pair) for pair in ends), sum(is_true(*pair) for pair in ends)
        figures[kind.value] = {"pairs": len(ends), "right": num_right, "one place": num_places}
    sure = [figures[kind.value] for kind in SURE_KINDS]
    num_right, num_pairs = (sum(each[name] for each in sure) for name in ("right", "pairs"))
    figures["sure"] = wilson(num_right, num_pairs)
    figures["sure, without pairs of one place"] = wilson(num_right, num_pairs - sum(each["one place"] for each in sure))
    return figures


def measure(folder: Path, planned: list[Planned], sizes: list[int]) -> dict[str, Any]:
    """Times, memory, recall and precision."""
    rows: list[dict[str, str | int | None]] = [{"file_name": p.name, "label": "any"} for p in planned]
    manifest = manifest_from_rows(folder / "manifest.csv", rows)
    save_manifest(manifest, manifest.path)
    start = time.perf_counter()
    seen = see_pictures(manifest, folder / f"cache-{time.time_ns()}")
    seconds: dict[str, Any] = {"read": round(time.perf_counter() - start, 1)}
    order = np.random.default_rng(0).permutation(len(seen.rows))
    for size in [size for size in sizes if size < len(seen.rows)]:
        _timed_pairs(_some(seen, np.sort(order[:size])), seconds)
    pairs = _timed_pairs(seen, seconds)
    place_of = {digest: place for place, digest in enumerate(seen.digests[row] for row in seen.rows.tolist())}
    thumbnails = {row: seen.thumbnails[place_of[digest]] for row, digest in enumerate(seen.digests)}
    return {
        "seconds": seconds,
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "recall": recalls(planned, pairs, thumbnails),
        "precision": precision(planned, pairs),
    }


def measure_alike(folder: Path, planned: list[Planned], backbone: str) -> dict[str, Any]:
    """What the embeddings of a pretrained network alone tell of the photographs and their copies."""
    shown = [p for p in planned if p.kind != "place" and origin(p.source) == "photograph"]
    rows: list[dict[str, str | int | None]] = [{"file_name": p.name, "label": "any"} for p in shown]
    manifest = manifest_from_rows(folder / "alike.csv", rows)
    seen = see_pictures(manifest, folder / "cache-alike")
    embeddings = embed_by_backbone(manifest, seen, backbone, folder / "cache-alike", lambda count: None)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found, least = alike_pairs(units, np.arange(len(units)), None)
    of_place = [shown[row] for row in seen.rows.tolist()]
    ends = {(min(pair), max(pair)) for pair in found.select("row", "other").rows()}
    num_right = sum(of_place[one].source == of_place[other].source for one, other in ends)
    original = {p.source: place for place, p in enumerate(of_place) if p.kind == "original"}
    by_kind: dict[str, list[bool]] = {}
    for place, p in enumerate(of_place):
        if p.kind != "original":
            first = original[p.source]
            by_kind.setdefault(p.kind, []).append((min(first, place), max(first, place)) in ends)
    return {
        "pictures": len(of_place),
        "least cosine": round(least, 4),
        "pairs": len(ends),
        "precision": wilson(num_right, len(ends)),
        "recall": wilson(sum(map(sum, by_kind.values())), sum(map(len, by_kind.values()))),
        "recall by kind": {kind: f"{sum(hits)} of {len(hits)}" for kind, hits in by_kind.items()},
    }


def _some(seen: SeenPictures, places: NDArray[np.int64]) -> SeenPictures:
    """Some of the pictures, as if there were no others."""
    digests = tuple(seen.digests[row] for row in seen.rows[places].tolist())
    return SeenPictures(digests, {}, np.arange(len(places)), seen.thumbnails[places])


def _timed_pairs(seen: SeenPictures, seconds: dict[str, Any]) -> pl.DataFrame:
    """The pairs; how long looking up and comparing took is noted."""
    start = time.perf_counter()
    looked_up = [start]
    pairs = find_pairs(seen, on_progress=lambda count: looked_up.append(time.perf_counter()))
    times = looked_up[-1] - start, time.perf_counter() - looked_up[-1]
    seconds[f"{len(seen.rows)} pictures: look up, compare"] = [round(value, 1) for value in times]
    return pairs


def report_lines(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as a table in Markdown, then the rest."""
    yield f"| kind | copies | recall | 95 % interval | {' | '.join(f'{name}s' for name in ORIGINS)} | pHash alone |"
    yield f"|---|---|---|---|{'---|' * len(ORIGINS)}---|"
    for kind, of in figures["recall"].items():
        share, low, high = of["recall"]
        origins = " | ".join(f"{found} of {copies}" for found, copies in of["by origin"].values())
        interval = f"{low:.3f} to {high:.3f}"
        yield f"| {kind} | {of['copies']} | {share:.3f} | {interval} | {origins} | {of['phash alone']:.3f} |"
    for name in ("precision", "seconds", "peak GB"):
        yield f"{name}: {json.dumps(figures[name])}"


def main() -> None:
    """Make the pictures, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=20_000)
    parser.add_argument("--num-copies", type=int, default=150, help="of each kind")
    parser.add_argument("--num-places", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="*", default=[2_500, 5_000, 10_000])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--backbone", help="measure what this network alone tells of the photographs, nothing else")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures, kept for a next run")
    arguments = parser.parse_args()
    planned = plan(arguments.num_images, arguments.num_copies, arguments.num_places, arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(make, arguments.output, each, arguments.seed) for each in planned]
        for job in jobs:
            job.result()
    if arguments.backbone:
        print(json.dumps(measure_alike(arguments.output, planned, arguments.backbone), indent=1))
        return
    for line in report_lines(measure(arguments.output, planned, arguments.sizes)):
        print(line)


if __name__ == "__main__":
    main()
