"""How near `vision data split` comes to shares that can be reached exactly, against dealing the groups alone.

python scripts/measure_splits.py

Data sets are made split by split and their groups mixed, so that 70, 15 and 15 % of every class are possible. Printed
are the rows of the table in docs/splitting.md, and in how many small data sets a class of three groups or more misses a
split that it could have.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from unittest.mock import patch

import numpy as np

from vision.data.manifest import manifest_from_rows
from vision.data.splitting.report import TOLERANCE, class_shares
from vision.data.splitting.settings import DEFAULT_SHARES, SplitSettings
from vision.data.splitting.splitting import split_manifest

Row = dict[str, str | int | None]

KINDS = (
    (5, 100, 10, False),
    (5, 100, 20, False),
    (3, 100, 30, False),
    (5, 200, 60, False),
    (5, 100, 15, True),
    (10, 200, 30, True),
)
"""Classes, pictures of each, pictures of a group at most, and whether groups hold several classes."""
NUM_SEEDS, NUM_SMALL = 20, 400
MOST_STEPS = "vision.data.splitting.balancing.MOST_STEPS"


def feasible_groups(seed: int, num_classes: int, num_pictures: int, largest: int, *, is_mixed: bool) -> list[Row]:
    """Rows whose groups can be divided into exactly 70, 15 and 15 % of each class."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for share in DEFAULT_SHARES.values():
        pool = [f"c{index}" for index in range(num_classes) for _ in range(round(num_pictures * share))]
        if is_mixed:
            chance.shuffle(pool)
        while pool:
            size = chance.randint(1, largest)
            group = f"g{len(rows)}"
            rows += [{"label": label, "group": group} for label in pool[:size]]
            pool = pool[size:]
    chance.shuffle(rows)
    return [{"file_name": f"{number}.jpg", **row} for number, row in enumerate(rows)]


def few_groups(seed: int) -> list[Row]:
    """Three to eight groups of one to three of four classes."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for group in range(chance.randint(3, 8)):
        for label in chance.sample("abcd", chance.randint(1, 3)):
            for _ in range(chance.randint(1, 4)):
                rows.append({"file_name": f"{len(rows)}.jpg", "label": label, "group": f"g{group}"})
    return rows


def largest_deviation(rows: list[Row]) -> float:
    """Of all classes' shares, in [0, 1]."""
    shares = class_shares(split_manifest(manifest_from_rows(Path("m.csv"), rows), SplitSettings()))
    return float(np.max(shares["deviation"].to_numpy()))


def misses_a_split(rows: list[Row]) -> bool:
    """Whether a class of three groups or more is missing in a split."""
    shares = class_shares(split_manifest(manifest_from_rows(Path("m.csv"), rows), SplitSettings()))
    return any(
        row["num_groups"] >= len(DEFAULT_SHARES) and not all(row[name] for name in DEFAULT_SHARES)
        for row in shares.iter_rows(named=True)
    )


def need_miss_none(rows: list[Row]) -> bool:
    """Whether some division gives all classes of three groups or more a group in each split; all are tried."""
    classes: dict[object, set[object]] = {}
    for row in rows:
        classes.setdefault(row["group"], set()).add(row["label"])
    num_groups = {label: sum(label in of for of in classes.values()) for label in "abcd"}
    of_label = [
        [place for place, of in enumerate(classes.values()) if label in of]
        for label in "abcd"
        if num_groups[label] >= len(DEFAULT_SHARES)
    ]
    return any(
        all(len({split[place] for place in places}) == len(DEFAULT_SHARES) for places in of_label)
        for split in itertools.product(range(len(DEFAULT_SHARES)), repeat=len(classes))
    )


def main() -> None:
    """Print the rows, dealt alone and as the command does."""
    for num_classes, num_pictures, largest, is_mixed in KINDS:
        data_sets = [
            feasible_groups(seed, num_classes, num_pictures, largest, is_mixed=is_mixed) for seed in range(NUM_SEEDS)
        ]
        with patch(MOST_STEPS, 0):
            dealt = [largest_deviation(rows) for rows in data_sets]
        cells = [
            f"{sum(value > TOLERANCE + 1e-9 for value in found)} of {NUM_SEEDS}; "
            f"{100 * np.median(found):.1f}, {100 * max(found):.1f}"
            for found in (dealt, [largest_deviation(rows) for rows in data_sets])
        ]
        print(
            f"| {num_classes} | {num_pictures} | {largest} | {'several classes' if is_mixed else 'one class'} | "
            f"{cells[0]} | {cells[1]} |",
            flush=True,
        )
    small = [few_groups(seed) for seed in range(NUM_SMALL)]
    with patch(MOST_STEPS, 0):
        missing = [rows for rows in small if misses_a_split(rows)]
    could = [rows for rows in missing if need_miss_none(rows)]
    print(
        f"of {NUM_SMALL} small data sets {len(missing)} miss a split when dealt alone, {len(could)} of them need not; "
        f"of these {sum(map(misses_a_split, could))} do still"
    )


if __name__ == "__main__":
    main()
