"""Evidence maps of labelled pictures, and whether they are true to the model: what happens when places are covered.

    python scripts/show_evidence.py runs/photos/bundle data/manifest.csv --split test --out evidence

Writes a picture with its map over it for each row, and says how far the log-odds of the answered class against the
second fall when 20 % of the picture's area is covered with grey: the strongest places of the map, the same shape moved
to random places, a disc in the middle, where vehicles mostly are, and the places that speak most against.

S input side in px.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision.bundle import load_bundle
from vision.classify.engine import Engine
from vision.classify.evidence import Evidence, EvidenceMaker, interpolation, log_odds
from vision.data.manifest import group_names, load_manifest, parse_box
from vision.data.preprocessing import load_network_input
from vision.evaluate.calibration_metrics import group_bootstrap_intervals
from vision.evaluate.report.evidence import write_evidence_picture
from vision.evaluate.run import rows_of_split

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Falls:
    """How far the log-odds of one picture fell when places were covered.

    Attributes:
        strongest: By covering what speaks most for the answer.
        random: By covering the same shape elsewhere; the mean of several.
        middle: By covering as much in the middle.
        against: By covering what speaks most against it.
    """

    strongest: float
    random: float
    middle: float
    against: float


def main() -> None:
    """Write the pictures and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--share", type=float, default=0.2, help="of the area that is covered")
    parser.add_argument("--random", type=int, default=8, help="random places for each picture")
    parser.add_argument("--most", type=int, help="this many pictures, drawn at random")
    parser.add_argument("--out", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    engine = Engine(load_bundle(arguments.bundle))
    maker, manifest = EvidenceMaker(engine), load_manifest(arguments.manifest)
    rows = rows_of_split(manifest, arguments.split)
    if arguments.most is not None and arguments.most < rows.height:
        rows = rows.sample(arguments.most, seed=0)
    generator = np.random.default_rng(0)
    falls = []
    for row in rows.iter_rows(named=True):
        path, box = manifest.image_path(row["file_name"]), parse_box(row["box"]) if row["box"] else None
        evidence = maker.evidence(path, box=box)
        network_input = load_network_input(path, engine.bundle.info.preprocessing, box=box)
        falls.append(falls_of(engine, network_input, evidence, arguments.share, arguments.random, generator))
        if arguments.out is not None:
            name = f"{Path(row['file_name']).stem}-{evidence.answered}-not-{evidence.against}.jpg"
            write_evidence_picture(path, evidence, arguments.out / name)
    print("\n".join(table(falls, group_names(rows["group"]))))


def falls_of(
    engine: Engine,
    network_input: NDArray[np.float32],
    evidence: Evidence,
    share: float,
    num_random: int,
    generator: np.random.Generator,
) -> Falls:
    """What covering parts of one picture does to its answer."""
    info, seen = engine.bundle.info, seen_pixels(evidence, network_input.shape[1])
    first, second = info.classes.index(evidence.answered), info.classes.index(evidence.against)

    def fall(covered: Bools) -> float:
        # 0 is the mean colour: what pictures are padded with, too.
        logits = engine.graph_outputs(np.where(covered, np.float32(0), network_input)).logits
        return evidence.log_odds - log_odds(logits, info, first, second)

    values = pixel_values(evidence.grid, network_input.shape[1])
    strongest = strongest_area(values, seen, share)
    moved = moved_areas(strongest, seen, num_random, generator)
    return Falls(
        fall(strongest),
        float(np.mean([fall(area) for area in moved])),
        fall(strongest_area(-_distance_from_middle(seen), seen, share)),
        fall(strongest_area(-values, seen, share)),
    )


def pixel_values(grid: Floats, input_px: int) -> Floats:
    """A map on the network's pixels, (S, S), linear between places."""
    positions = (np.arange(input_px) + 0.5) / input_px
    rows, columns = (interpolation(positions, num_cells) for num_cells in grid.shape)
    return np.asarray(rows @ grid @ columns.T)


def seen_pixels(evidence: Evidence, input_px: int) -> Bools:
    """Which of the network's pixels show the picture, not padding: (S, S), a rectangle."""
    left, top, right, bottom = evidence.part
    positions = (np.arange(input_px) + 0.5) / input_px
    rows, columns = top + positions * (bottom - top), left + positions * (right - left)
    return np.asarray(((rows >= 0) & (rows <= 1))[:, None] & ((columns >= 0) & (columns <= 1))[None])


def strongest_area(values: Floats, seen: Bools, share: float) -> Bools:
    """The share of the seen pixels with the largest values: (S, S)."""
    area = np.zeros(seen.size, dtype=np.bool_)
    order = np.argsort(np.where(seen, -values, np.inf), axis=None, kind="stable")
    area[order[: round(share * seen.sum())]] = True
    return area.reshape(seen.shape)


def moved_areas(area: Bools, seen: Bools, number: int, generator: np.random.Generator) -> Iterator[Bools]:
    """The same area at random places of the seen rectangle; what leaves it on one side comes in on the other."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    inside = np.ix_(rows, columns)
    for _ in range(number):
        moved = np.zeros_like(area)
        shift = (int(generator.integers(len(rows))), int(generator.integers(len(columns))))
        moved[inside] = np.roll(area[inside], shift, axis=(0, 1))
        yield moved


def _distance_from_middle(seen: Bools) -> Floats:
    """Of each pixel, in half sides of the seen rectangle."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    down = (np.arange(len(seen)) - rows.mean()) / len(rows)
    across = (np.arange(len(seen)) - columns.mean()) / len(columns)
    return np.hypot(down[:, None], across[None])


def table(falls: list[Falls], groups: list[str]) -> list[str]:
    """Lines of Markdown: mean falls with 95 % intervals over groups, and how much more the strongest places do."""
    strongest, others = np.array([each.strongest for each in falls]), ("random", "middle", "against")
    columns = {"strongest places": strongest}
    columns |= {name: np.array([getattr(each, name) for each in falls]) for name in others}
    columns |= {f"strongest less {name}": strongest - columns[name] for name in others}
    values = np.stack(list(columns.values()))

    def means(counts: NDArray[np.int64]) -> list[float]:
        return np.average(values, axis=1, weights=counts).tolist()  # type: ignore[no-any-return]

    intervals = group_bootstrap_intervals(means, groups, num_replicates=2000, seed=0)
    lines = [
        f"{len(falls)} pictures, {len(set(groups))} groups; strongest places do more than random ones in "
        f"{(strongest > columns['random']).sum()}",
        "",
        "| covered | log-odds fall by | 95 % |",
        "|---|---|---|",
    ]
    return lines + [
        f"| {name} | {interval.value:.2f} | {interval.low:.2f} to {interval.high:.2f} |"
        for name, interval in zip(columns, intervals, strict=True)
    ]


if __name__ == "__main__":
    main()
