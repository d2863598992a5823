"""How often the tests of `vision compare` cry wolf, find what is there, and how often the interval holds the truth.

    python scripts/simulate_comparison.py --trials 2000

Two models answer the same pictures. Each picture's chance of a right answer is the mean accuracy, plus an offset of
its group that both share (hard places are hard for both), plus or minus half an offset of its group in which the two
differ (one likes the place, the other does not). The second kind makes discordant pictures come in clusters: this is
where a test by pictures finds differences that are none. Offsets are symmetric, so the true difference over new groups
is the stated gain; the interval is asked whether it holds that.

Every share comes with its Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def main() -> None:
    """Print a line a scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="of the tests")
    parser.add_argument("--intervals", type=int, default=500, help="trials with a bootstrap")
    parser.add_argument("--replicates", type=int, default=400, help="of the bootstrap")
    parser.add_argument("--gain", type=float, default=0.06, help="true difference where there is one")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
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
