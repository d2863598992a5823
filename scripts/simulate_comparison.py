"""How often the tests of `vision compare` cry wolf, find what is there, and how often intervals hold the truth.

    python scripts/simulate_comparison.py --trials 2000
    python scripts/simulate_comparison.py --of-a-class --intervals 500

Two models answer the same pictures. Each picture's chance of a right answer is the mean accuracy, plus an offset of
its group that both share (hard places are hard for both), plus or minus half an offset of its group in which the two
differ (one likes the place, the other does not). The second kind makes discordant pictures come in clusters: this is
where a test by pictures finds differences that are none. Offsets are symmetric, so the true difference over new groups
is the stated gain; the interval is asked whether it holds that.

With `--of-a-class` it is about the intervals of a class in an evaluation: recall, precision and F1 of one of four
classes. A group is of one class, drawn at random, and has an offset of its chance of a right answer; wrong answers go
to the other three alike. So all three figures are the mean accuracy over new groups.

Every share comes with its Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.evaluate.metrics import bootstrap_intervals
from vision.evaluate.paired_tests import group_differences, mcnemar_p_value, paired_figures, sign_flip_p_value

LEVEL = 0.05
MEAN_ACCURACY = 0.75
SHARED_SPREAD = 0.10


@dataclass(frozen=True)
class Scenario:
    """What is drawn in each trial.

    Attributes:
        name: What it is.
        group_sizes: Pictures of each group.
        spread: Half the difference of the two in a group, which is plus or minus this.
        gain: Accuracy of B minus that of A over all groups, in [0, 1].
    """

    name: str
    group_sizes: tuple[int, ...]
    spread: float
    gain: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """The answers of one trial, (N,) each."""

    is_right_a: NDArray[np.bool_]
    is_right_b: NDArray[np.bool_]
    group_indices: NDArray[np.int64]


def scenarios(gain: float) -> list[Scenario]:
    """Independent pictures, then groups, equal and unequal; without a difference, then with `gain`."""
    unequal = tuple(2 ** (number % 5) for number in range(40))  # 1, 2, 4, 8 or 16 pictures
    shapes = [
        ("independent pictures, 100", (1,) * 100, 0.0),
        ("independent pictures, 400", (1,) * 400, 0.0),
        ("40 groups of 10, no offsets", (10,) * 40, 0.0),
        ("40 groups of 10, offsets", (10,) * 40, 0.12),
        ("10 groups of 40, offsets", (40,) * 10, 0.12),
        ("40 groups of 1 to 16, offsets", unequal, 0.12),
        ("8 groups of 10, offsets", (10,) * 8, 0.12),
    ]
    return [Scenario(*shape, gain=each) for each in (0.0, gain) for shape in shapes]


def draw(scenario: Scenario, generator: np.random.Generator) -> Drawn:
    """One trial."""
    num_groups = len(scenario.group_sizes)
    groups = np.repeat(np.arange(num_groups), scenario.group_sizes)
    shared = generator.choice([-SHARED_SPREAD, SHARED_SPREAD], num_groups)
    own = generator.choice([-scenario.spread, scenario.spread], num_groups) + scenario.gain / 2
    chance_a, chance_b = (MEAN_ACCURACY + shared + sign * own for sign in (-1, 1))
    if min(chance_a.min(), chance_b.min()) < 0 or max(chance_a.max(), chance_b.max()) > 1:
        raise ValueError(f"{scenario.name}: a chance leaves [0, 1]; take a smaller gain")
    right_a, right_b = (generator.random(len(groups)) < chance[groups] for chance in (chance_a, chance_b))
    return Drawn(right_a, right_b, groups)


def shares(scenario: Scenario, *, num_trials: int, num_intervals: int, num_replicates: int, seed: int) -> list[float]:
    """What share of trials McNemar's test rejects, the test by groups, the interval; and what share it covers.

    Returns:
        Rejected by McNemar's test; by the test by groups; interval without zero; interval with the true difference. The
        last two are of the first `num_intervals` trials.
    """
    generator = np.random.default_rng(seed)
    mcnemar, by_groups, excluding, holding = 0, 0, 0, 0
    for trial in range(num_trials):
        drawn = draw(scenario, generator)
        a, b = drawn.is_right_a, drawn.is_right_b
        mcnemar += mcnemar_p_value(int((a & ~b).sum()), int((b & ~a).sum())) < LEVEL
        by_groups += sign_flip_p_value(group_differences(a, b, drawn.group_indices)) < LEVEL
        if trial < num_intervals:
            names = [str(group) for group in drawn.group_indices]
            truth = np.zeros(len(a), dtype=np.int64)
            found = paired_figures(truth, a, b, names, 1, num_replicates=num_replicates, seed=trial).accuracy.difference
            excluding += found.low > 0 or found.high < 0
            holding += found.low <= scenario.gain <= found.high
    return [mcnemar / num_trials, by_groups / num_trials, excluding / num_intervals, holding / num_intervals]


@dataclass(frozen=True)
class Held:
    """Of the intervals of one figure, the share that holds the truth, of those that there are, and that has a width."""

    num_there: int
    num_holding: int
    num_without_width: int

    def __str__(self) -> str:
        """In percent, with the standard error; then how many have no width."""
        share = self.num_holding / max(self.num_there, 1)
        error = math.sqrt(share * (1 - share) / max(self.num_there, 1))
        return f"{100 * share:5.1f} ({100 * error:.1f}) {100 * self.num_without_width / max(self.num_there, 1):5.1f}"


def class_shapes() -> list[tuple[str, tuple[int, ...], float]]:
    """Name, pictures of each group, offset of a group's chance."""
    unequal = tuple(2 ** (number % 5) for number in range(40))
    return [
        ("independent pictures, 400", (1,) * 400, 0.0),
        ("independent pictures, 40", (1,) * 40, 0.0),
        ("100 groups of 5, offsets", (5,) * 100, 0.2),
        ("40 groups of 10, no offsets", (10,) * 40, 0.0),
        ("40 groups of 10, offsets", (10,) * 40, 0.2),
        ("40 groups of 1 to 16, offsets", unequal, 0.2),
        ("20 groups of 10, offsets", (10,) * 20, 0.2),
        ("8 groups of 10, offsets", (10,) * 8, 0.2),
    ]


def held_by_class(
    group_sizes: tuple[int, ...], spread: float, *, num_intervals: int, num_replicates: int, seed: int
) -> list[Held]:
    """How often the intervals of recall, precision and F1 of the first of four classes hold the truth."""
    generator, num_classes = np.random.default_rng(seed), 4
    there, holding, flat = np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.zeros(3, dtype=int)
    for trial in range(num_intervals):
        groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
        truth = generator.integers(num_classes, size=len(group_sizes))[groups]
        chance = MEAN_ACCURACY + generator.choice([-spread, spread], len(group_sizes))[groups]
        wrong = (truth + generator.integers(1, num_classes, size=len(groups))) % num_classes
        answers = np.where(generator.random(len(groups)) < chance, truth, wrong)
        found = bootstrap_intervals(
            truth, answers, [str(group) for group in groups], num_classes, num_replicates=num_replicates, seed=trial
        )
        for index, interval in enumerate((found.recall[0], found.precision[0], found.f1[0])):
            if not math.isnan(interval.low):
                there[index] += 1
                holding[index] += interval.low <= MEAN_ACCURACY <= interval.high
                flat[index] += interval.low == interval.high
    return [Held(*map(int, each)) for each in zip(there, holding, flat, strict=True)]


def print_of_a_class(*, num_intervals: int, num_replicates: int, seed: int) -> None:
    """Print a line a shape."""
    names = ("recall", "precision", "F1")
    print(f"{'holds, percent (s. e.), without width':<38} " + "  ".join(f"{name:>17}" for name in names))
    start = time.perf_counter()
    for number, (name, sizes, spread) in enumerate(class_shapes()):
        held = held_by_class(
            sizes, spread, num_intervals=num_intervals, num_replicates=num_replicates, seed=seed + number
        )
        print(f"{name:<38} " + "  ".join(f"{each!s:>17}" for each in held), flush=True)
    print(f"{num_intervals} trials; {time.perf_counter() - start:.0f} s")


def main() -> None:
    """Print a line a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="of the tests")
    parser.add_argument("--intervals", type=int, default=500, help="trials with a bootstrap")
    parser.add_argument("--replicates", type=int, default=400, help="of the bootstrap")
    parser.add_argument("--gain", type=float, default=0.06, help="true difference where there is one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of-a-class", action="store_true", help="intervals of recall, precision and F1 instead")
    arguments = parser.parse_args()
    if arguments.of_a_class:
        options = {"num_replicates": arguments.replicates, "seed": arguments.seed}
        print_of_a_class(num_intervals=arguments.intervals, **options)
        return
    num_intervals = min(arguments.intervals, arguments.trials)
    names = ("McNemar", "by groups", "interval off 0", "interval holds")
    print(f"{'percent (standard error)':<34} {'gain':>5}  " + "  ".join(f"{name:>15}" for name in names))
    start = time.perf_counter()
    for number, scenario in enumerate(scenarios(arguments.gain)):
        found = shares(
            scenario,
            num_trials=arguments.trials,
            num_intervals=num_intervals,
            num_replicates=arguments.replicates,
            seed=arguments.seed + number,
        )
        trials = (arguments.trials, arguments.trials, num_intervals, num_intervals)
        shown = [
            f"{100 * share:5.1f} ({100 * math.sqrt(share * (1 - share) / num):.1f})"
            for share, num in zip(found, trials, strict=True)
        ]
        print(f"{scenario.name:<34} {scenario.gain:>5.2f}  " + "  ".join(f"{text:>15}" for text in shown), flush=True)
    print(f"{arguments.trials} trials, {num_intervals} of them with intervals; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
