"""From renders to reality: do path-traced pictures help to recognise photographs?

    python scripts/render_lookalikes.py -o runs/neighbours --classes bmp-2,t-90,t-14
    python scripts/measure_renders.py configs/photos.yaml datasets/lookalikes/manifest.csv runs/neighbours/manifest.csv

Three figures on the same photographs: a probe that saw renders alone; one that saw the photographs' training folds
alone; one that saw both. Features, strength and the weight of the renders are chosen on training pictures, never on
those that are held out. The interval is a bootstrap over the photographs' groups, as in measure_folds.py.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from measure_folds import report
from numpy.typing import NDArray
from scipy.special import log_softmax

from vision.config import load_config
from vision.data.manifest import group_names, load_manifest
from vision.train.features import FeatureCache, FeatureRecipe, TrainingImage, default_cache_folder
from vision.train.folds import group_folds
from vision.train.probe import fit_probe, try_candidates
from vision.train.run import plan_run
from vision.train.training_set import prepare_run

Features = Mapping[FeatureRecipe, NDArray[np.float32]]
Indices = NDArray[np.int64]

WEIGHTS = (0.0, 0.05, 0.3)
"""How much a render counts beside a photograph; 0 leaves the renders out, so that they need not be used."""


def main() -> None:
    """Print the three figures with intervals, and what was taken for what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="of the photographs")
    parser.add_argument("renders", type=Path, nargs="+", help="manifests of renders; other classes are left out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--alone", action="store_true", help="only the probe that saw renders alone")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    prepared = prepare_run(config)
    plan = plan_run(prepared, default_cache_folder())
    cache = FeatureCache(default_cache_folder() / "features", plan.backbones)
    photos = cache.features(prepared.training.images, plan.recipes, batch_size=16)
    truth, photo_groups = prepared.training.class_indices, prepared.training.groups

    index = {name: position for position, name in enumerate(prepared.classes)}
    covered = {
        known: name for name in prepared.classes for known in (name, *prepared.taxonomy.vehicle_class(name).covers)
    }
    images: list[TrainingImage] = []
    labels: list[str] = []
    render_groups: list[str] = []
    for path in arguments.renders:
        manifest = load_manifest(path)
        rows = manifest.table.filter(manifest.table["label"].is_in(list(covered)))
        outlines = pl.read_csv(manifest.folder / "outlines.csv").rows_by_key("file_name", named=True, unique=True)
        images += [
            TrainingImage(manifest.image_path(name), digest, framed(outlines[name], width, height))
            for name, digest, width, height in rows.select("file_name", "sha256", "width", "height").rows()
        ]
        labels += rows["label"].to_list()
        render_groups += group_names(rows["group"])
    renders = cache.features(images, plan.recipes, batch_size=16)
    render_truth = np.array([index[covered[label]] for label in labels], dtype=np.int64)
    print(f"{len(truth)} photographs, {len(images)} renders: {dict(Counter(labels))}", flush=True)

    num_classes = len(prepared.classes)
    alone = []
    for seed in range(arguments.seeds):
        best = try_candidates(
            renders,
            render_truth,
            render_groups,
            num_classes,
            strengths=config.train.strengths,
            num_folds=config.train.inner_folds,
            seed=seed,
        )[0]
        probe = fit_probe(renders[best.recipe], render_truth, num_classes, best.strength)
        alone.append(probe.logits(photos[best.recipe]).argmax(axis=1))
        print(f"renders alone: {best.recipe} C = {best.strength:g}, {best.accuracy:.3f} right on held-out renders")
    groups = np.unique(photo_groups, return_inverse=True)[1]
    report("renders alone", np.array([answers == truth for answers in alone]), groups)
    _tell_pairs(alone, truth, prepared.classes)
    if arguments.alone:
        return

    without, both = [], []
    for seed in range(arguments.seeds):
        answers = {weights: np.zeros(len(truth), dtype=np.int64) for weights in ((0.0,), WEIGHTS)}
        for train, held_out in group_folds(truth, photo_groups, config.train.folds, seed):
            for weights, row in answers.items():
                recipe, strength, weight = choose(
                    {r: m[train] for r, m in photos.items()},
                    truth[train],
                    [photo_groups[i] for i in train],
                    renders,
                    render_truth,
                    weights,
                    config.train.strengths,
                    config.train.inner_folds,
                    seed,
                )
                row[held_out] = logits_with(
                    photos[recipe][train], truth[train], renders[recipe], render_truth, weight, strength,
                    photos[recipe][held_out], num_classes,
                ).argmax(axis=1)  # fmt: skip
                if len(weights) > 1:
                    print(f"  seed {seed}: chosen {recipe} C = {strength:g}, renders count {weight:g}")
        without.append(answers[0.0,])
        both.append(answers[WEIGHTS])
        print(f"seed {seed}: photographs {np.mean(without[-1] == truth):.3f}, both {np.mean(both[-1] == truth):.3f}")
    hits_without = np.array([answers == truth for answers in without])
    hits_both = np.array([answers == truth for answers in both])
    report("photographs alone", hits_without, groups)
    report("photographs and renders", hits_both, groups)
    report("gain", hits_both.astype(float) - hits_without, groups)
    _tell_pairs(both, truth, prepared.classes)


def framed(outline: Mapping[str, float], width: int, height: int) -> tuple[float, float, float, float]:
    """The part of a render that shows the vehicle as the photographs do, which are cut to squares round it.

    A square over the longer side of the outline, moved into the picture; cut where the picture is lower than that.
    """
    side = max(outline["width"], outline["height"])
    left = outline["left"] + outline["width"] / 2 - side / 2
    top = outline["top"] + outline["height"] / 2 - side / 2
    left, top = max(0, min(left, width - side)), max(0, min(top, height - side))
    return left, top, min(side, width - left), min(side, height - top)


def logits_with(
    photos: NDArray[np.float32],
    truth: Indices,
    renders: NDArray[np.float32],
    render_truth: Indices,
    weight: float,
    strength: float,
    asked: NDArray[np.float32],
    num_classes: int,
) -> NDArray[np.float64]:
    """Logits for `asked` of a probe fitted to photographs and, with a weight, renders.

    Each source is brought to the photographs' mean first, so that the look of a render is not mistaken for a class.
    """
    if weight == 0:
        return fit_probe(photos, truth, num_classes, strength).logits(asked)
    shifted = renders - renders.mean(axis=0) + photos.mean(axis=0)
    weights = np.concatenate([np.ones(len(photos)), np.full(len(renders), weight)])
    probe = fit_probe(
        np.concatenate([photos, shifted]).astype(np.float32),
        np.concatenate([truth, render_truth]),
        num_classes,
        strength,
        weights=weights,
    )
    return probe.logits(asked)


def choose(
    photos: Features,
    truth: Indices,
    groups: Sequence[str],
    renders: Features,
    render_truth: Indices,
    weights: Sequence[float],
    strengths: Sequence[float],
    num_folds: int,
    seed: int,
) -> tuple[FeatureRecipe, float, float]:
    """Recipe, strength and weight of the renders that make held-out training photographs most likely."""
    folds = group_folds(truth, groups, num_folds, seed)
    num_classes = int(render_truth.max()) + 1
    best: tuple[float, FeatureRecipe, float, float] | None = None
    for recipe, matrix in photos.items():
        for strength in strengths:
            for weight in weights:
                losses = np.zeros(len(truth))
                for train, held_out in folds:
                    logits = logits_with(
                        matrix[train], truth[train], renders[recipe], render_truth, weight, strength,
                        matrix[held_out], num_classes,
                    )  # fmt: skip
                    losses[held_out] = -log_softmax(np.maximum(logits, -30), axis=1)[
                        np.arange(len(held_out)), truth[held_out]
                    ]
                if best is None or losses.mean() < best[0]:
                    best = (float(losses.mean()), recipe, strength, weight)
    assert best is not None
    return best[1:]


def _tell_pairs(answers: Sequence[Indices], truth: Indices, classes: Sequence[str]) -> None:
    pairs = Counter(
        f"{classes[t]} -> {classes[a]}" for row in answers for t, a in zip(truth, row, strict=True) if t != a
    )
    print("taken for another, all seeds together:", ", ".join(f"{pair} {n}" for pair, n in pairs.most_common(12)))


if __name__ == "__main__":
    main()
