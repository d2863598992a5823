"""Whether novelty scores taken together tell left-out classes better than the best single one.

    python scripts/scout_novelty.py configs/demo.yaml --seeds 5
    python scripts/scout_novelty.py configs/photos.yaml --set backbone.name=tf_efficientnet_lite2 \
        --set features.input_px=300 --set features.layers=stage --seeds 5

Looks at training pictures alone, never at the splits `test` and `novel`. Each class is left out in turn; probe and
scores are fitted on some of the other classes' groups, and have to tell the held-out groups (known) from the pictures
of the class. Each seed deals the groups anew. Tried beside the single scores: the mean of their ranks among held-out
known pictures, and the length outside of the directions in which the references vary (ViM, Wang et al. 2022, arXiv
2203.10807), alone and joined with the energy as there.

N pictures, R references, D features, K classes, T trials (class and seed), S scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision.classify.novelty import LOGIT_SCORES, StandardisedScore
from vision.config import load_config
from vision.errors import VisionError
from vision.evaluate.calibration_metrics import auroc_score, false_positive_rate
from vision.train.decision_fitting import EMBEDDING_SCORES, rows_of_other_groups
from vision.train.features import default_cache_folder
from vision.train.folds import group_folds
from vision.train.leave_one_out import FeaturedRun, featured_run
from vision.train.out_of_fold import try_all
from vision.train.probe import fit_probe
from vision.train.training_set import prepare_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Scores = dict[str, tuple[Floats, Floats]]
"""Of known and of novel pictures, by name; higher = more novel."""

NUM_FOLDS = 3
NUM_DRAWS = 2000
COMBINATIONS: Mapping[str, tuple[str, ...]] = {
    "mahalanobis + neighbour": ("relative_mahalanobis", "nearest_neighbour"),
    "mahalanobis + softmax": ("relative_mahalanobis", "max_softmax"),
    "mahalanobis + entropy": ("relative_mahalanobis", "entropy"),
    "mahalanobis + neighbour + softmax": ("relative_mahalanobis", "nearest_neighbour", "max_softmax"),
    "mahalanobis + neighbour + entropy": ("relative_mahalanobis", "nearest_neighbour", "entropy"),
    "mahalanobis + residual": ("relative_mahalanobis", "residual 90 %"),
    "all five": ("relative_mahalanobis", "nearest_neighbour", "max_softmax", "entropy", "residual 90 %"),
}
RESIDUALS = (0.5, 0.9)
"""Shares of the variance that the directions hold which a residual is outside of."""


@dataclass(frozen=True)
class Judged:
    """What the scores were worth.

    Attributes:
        names: S.
        auroc: (S, seeds, K), mean over folds; NaN for a class without pictures.
        false_positive_rate: Likewise, at 95 % of the class.
    """

    names: tuple[str, ...]
    auroc: Floats
    false_positive_rate: Floats


def main() -> None:
    """Print a table of scores, and how narrowly the best one wins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    try:
        run = featured_run(prepare_run(load_config(arguments.config, arguments.overrides)), default_cache_folder())
    except VisionError as error:
        parser.error(str(error))
    print("\n".join(table(judge(run, range(arguments.seeds)))))


def judge(run: FeaturedRun, seeds: range) -> Judged:
    """Every score on every left-out class of the training pictures."""
    training, num_classes = run.prepared.training, len(run.prepared.classes)
    num_training = len(training.images)
    of_training = {recipe: rows[:num_training] for recipe, rows in run.features.items()}
    config = run.prepared.config
    best = try_all(config, of_training, training, range(num_training), num_classes, config.seed)[0]
    features = of_training[best.recipe]
    figures: dict[str, Floats] = {}
    for seed in seeds:
        for class_index in range(num_classes):
            trials = list(
                trial_scores(features, training.class_indices, training.groups, best.strength, class_index, seed)
            )
            for name in trials[0] if trials else ():
                found = [
                    [judge_pair(*trial[name]) for judge_pair in (auroc_score, false_positive_rate)] for trial in trials
                ]
                row = figures.setdefault(name, np.full((2, len(seeds), num_classes), np.nan))
                row[:, seed - seeds.start, class_index] = np.mean(found, axis=0)
    stacked = np.stack(list(figures.values()))
    return Judged(tuple(figures), stacked[:, 0], stacked[:, 1])


def trial_scores(
    features: NDArray[np.float32], truth: Ints, groups: list[str], strength: float, class_index: int, seed: int
) -> Iterator[Scores]:
    """Scores of known and of left-out pictures, fold by fold.

    Args:
        features: (N, D), not standardised.
        truth: (N,).
        groups: N names.
        strength: Of the probe.
        class_index: The class that is left out.
        seed: Of the folds.
    """
    novel, others = np.flatnonzero(truth == class_index), np.flatnonzero(truth != class_index)
    if len(novel) == 0:
        return
    for train, held_out in group_folds(truth[others], [groups[row] for row in others.tolist()], NUM_FOLDS, seed):
        fitted = others[train]
        known = others[held_out][np.isin(truth[others[held_out]], truth[fitted])]
        asked = rows_of_other_groups(novel, fitted, groups)
        probe = fit_probe(features[fitted], truth[fitted], int(truth.max()) + 1, strength)
        pair = (features[known], features[asked])
        yield with_combinations(
            single_scores(
                (features[fitted], truth[fitted]),
                pair,
                (probe.logits(pair[0]), probe.logits(pair[1])),
                probe.logits(features[fitted]),
            )
        )


def single_scores(
    references: tuple[NDArray[np.float32], Ints],
    asked: tuple[NDArray[np.float32], NDArray[np.float32]],
    logits: tuple[Floats, Floats],
    reference_logits: Floats,
) -> Scores:
    """Every single score of known and of novel pictures.

    Args:
        references: Features (R, D) and classes (R,).
        asked: Features of known and of novel pictures.
        logits: Of the same.
        reference_logits: (R, K).
    """
    scores: Scores = {}
    for name, fit in EMBEDDING_SCORES.items():
        fitted = StandardisedScore.fit(fit, *references)
        scores[name] = fitted.score(asked[0]), fitted.score(asked[1])
    for name, score in LOGIT_SCORES.items():
        scores[name] = score(logits[0]), score(logits[1])
    for share in RESIDUALS:
        of_references, *of_asked = residual_lengths(references[0], asked, share)
        scores[f"residual {share:.0%}".replace("%", " %")] = of_asked[0], of_asked[1]
    finite = np.where(np.isfinite(reference_logits), reference_logits, -np.inf)
    weight = float(finite.max(axis=1).mean() / max(of_references.mean(), 1e-12))
    scores["ViM"] = (
        weight * of_asked[0] + LOGIT_SCORES["energy"](logits[0]),
        weight * of_asked[1] + LOGIT_SCORES["energy"](logits[1]),
    )
    return scores


def residual_lengths(
    references: NDArray[np.float32], asked: tuple[NDArray[np.float32], ...], share: float
) -> list[Floats]:
    """Length outside of the directions that hold a share of the references' variance: of references, then of asked."""
    exact = references.astype(np.float64)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    rows = (exact - mean) / scale
    values, axes = np.linalg.svd(rows, full_matrices=False)[1:]
    held = np.cumsum(values**2) / (values**2).sum()
    axes = axes[: int(np.searchsorted(held, share)) + 1]
    lengths = []
    for part in (references, *asked):
        centred = (part - mean) / scale
        inside = centred @ axes.T
        lengths.append(np.sqrt(np.maximum((centred**2).sum(axis=1) - (inside**2).sum(axis=1), 0)))
    return lengths


def with_combinations(scores: Scores) -> Scores:
    """The same, and the mean ranks of `COMBINATIONS`."""
    ranks = {name: (ranks_among(pair[0], pair[0]), ranks_among(pair[0], pair[1])) for name, pair in scores.items()}
    joined = {
        name: (
            np.mean([ranks[part][0] for part in parts], axis=0),
            np.mean([ranks[part][1] for part in parts], axis=0),
        )
        for name, parts in COMBINATIONS.items()
    }
    return {**scores, **joined}


def ranks_among(known: Floats, asked: Floats) -> Floats:
    """Share of the known values below each, ties counting half."""
    ordered = np.sort(known)
    below, not_above = (np.searchsorted(ordered, asked, side=side) for side in ("left", "right"))
    return (below + not_above) / 2 / max(len(known), 1)


def table(judged: Judged) -> list[str]:
    """Scores, best first, each with what it gains on the best single one; intervals over classes."""
    by_class = {name: np.nanmean(judged.auroc[row], axis=0) for row, name in enumerate(judged.names)}
    rates = {name: np.nanmean(judged.false_positive_rate[row]) for row, name in enumerate(judged.names)}
    singles = [name for name in judged.names if name not in COMBINATIONS]
    best = max(singles, key=lambda name: np.nanmean(by_class[name]))
    lines = [
        "| score | AUROC | less the best single one | least and most of the seeds | known flagged at 95 % |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(judged.names, key=lambda name: -np.nanmean(by_class[name])):
        low, high = interval_over_classes(by_class[name] - by_class[best])
        of_seeds = np.nanmean(judged.auroc[judged.names.index(name)] - judged.auroc[judged.names.index(best)], axis=1)
        lines.append(
            f"| {name} | {np.nanmean(by_class[name]):.3f} | {np.nanmean(by_class[name] - by_class[best]):+.3f} "
            f"({low:+.3f} to {high:+.3f}) | {of_seeds.min():+.3f}, {of_seeds.max():+.3f} | {rates[name]:.3f} |"
        )
    num_wins = {
        name: int(
            (
                np.nanargmax(np.stack([judged.auroc[judged.names.index(s)].mean(axis=1) for s in singles]), axis=0)
                == row
            ).sum()
        )
        for row, name in enumerate(singles)
    }
    won = ", ".join(f"{name} {count}" for name, count in num_wins.items() if count)
    lines.append(f"best single score by seed: {won}; intervals: 95 %, classes drawn with replacement")
    return lines


def interval_over_classes(values: Floats) -> tuple[float, float]:
    """95 % of the mean, classes (K,) drawn with replacement."""
    known = values[np.isfinite(values)]
    drawn = np.random.default_rng(0).integers(len(known), size=(NUM_DRAWS, len(known)))
    low, high = np.quantile(known[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
