"""Out-of-fold accuracy of a configuration over several seeds, with a baseline chosen beforehand beside it.

    python scripts/measure_folds.py configs/photos.yaml --seeds 5

Features and strength are chosen inside the training folds of each seed. The interval is a bootstrap over groups: in
each draw the same groups stand for all seeds, and the seeds' accuracies are averaged.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vision.config import load_config
from vision.train.features import FeatureCache, FeatureRecipe, default_cache_folder
from vision.train.folds import group_folds
from vision.train.out_of_fold import out_of_fold_predictions
from vision.train.probe import fit_probe
from vision.train.run import plan_run
from vision.train.training_set import PreparedRun, prepare_run

BASELINE_STRENGTH = 100.0


def main() -> None:
    """Print accuracy by seed, mean, interval, and the confused pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    prepared = prepare_run(config)
    plan = plan_run(prepared, default_cache_folder())
    cache = FeatureCache(default_cache_folder() / "features", plan.backbones)
    baseline = FeatureRecipe(
        config.backbone.name[0], 224, "final", "avg", False, config.features.fit, config.data.box_margin
    )
    images = prepared.training.images
    features = cache.features(images, [*plan.recipes, baseline], batch_size=config.train.batch_size)
    candidates = {recipe: features[recipe] for recipe in plan.recipes}

    truth = prepared.training.class_indices
    ours, plain = [], []
    pairs: Counter[str] = Counter()
    chosen: Counter[str] = Counter()
    start = time.perf_counter()
    for seed in range(arguments.seeds):
        rows, choices = out_of_fold_predictions(prepared, candidates, seed=seed)
        answers = np.array([prepared.classes.index(row.label) for row in rows])
        ours.append(answers == truth)
        plain.append(baseline_answers(prepared, features[baseline], seed) == truth)
        pairs.update(
            f"{prepared.classes[t]} -> {prepared.classes[a]}" for t, a in zip(truth, answers, strict=True) if t != a
        )
        chosen.update(str(choice.recipe) for choice in choices)
        print(f"seed {seed}: {ours[-1].mean():.3f}, baseline {plain[-1].mean():.3f}", flush=True)
    groups = np.unique(prepared.training.groups, return_inverse=True)[1]
    report("chosen in the folds", np.array(ours), groups)
    report(f"baseline ({baseline}, C = {BASELINE_STRENGTH:g})", np.array(plain), groups)
    report("difference", np.array(ours).astype(float) - np.array(plain), groups)
    print(f"{time.perf_counter() - start:.0f} s without features")
    print("taken for another, all seeds together:", ", ".join(f"{pair} {n}" for pair, n in pairs.most_common(12)))
    print("chosen:", ", ".join(f"{recipe} x{n}" for recipe, n in chosen.most_common()))


def baseline_answers(prepared: PreparedRun, features: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    """Out-of-fold answers of a plain probe with nothing chosen."""
    training = prepared.training
    answers = np.zeros(len(features), dtype=np.int64)
    for train, held_out in group_folds(training.class_indices, training.groups, prepared.config.train.folds, seed):
        probe = fit_probe(features[train], training.class_indices[train], len(prepared.classes), BASELINE_STRENGTH)
        answers[held_out] = probe.logits(features[held_out]).argmax(axis=1)
    return answers


def report(name: str, hits: NDArray[np.bool_] | NDArray[np.float64], groups: NDArray[np.int64]) -> None:
    """Print the mean over seeds (S, N) and its 95 % interval over groups."""
    by_seed = ", ".join(f"{value:.3f}" for value in hits.mean(axis=1))
    print(f"{name}: {shown_interval(hits.mean(axis=0), groups)}, seeds {by_seed}")


def shown_interval(values: NDArray[np.float64], groups: NDArray[np.int64]) -> str:
    """`group_interval` in words."""
    mean, low, high = group_interval(values, groups)
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


def group_interval(values: NDArray[np.float64], groups: NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean of one value a picture, and its 95 % bootstrap interval over groups."""
    sums, sizes = np.bincount(groups, weights=values), np.bincount(groups)
    draws = np.random.default_rng(0).integers(len(sums), size=(5000, len(sums)))
    low, high = np.quantile(sums[draws].sum(axis=1) / sizes[draws].sum(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


if __name__ == "__main__":
    main()
