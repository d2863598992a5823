"""How many wrong labels that are planted among photographs confident learning finds, and what else it lists.

    python scripts/measure_suspicious.py configs/photos.yaml --wrong 5 --plantings 2 --seeds 2 -o planted

Labels of pictures drawn at random are changed to another class, also drawn; a model is fitted out of fold to what is
then the truth, as `vision train` does, and its predictions are searched. The manifest and the predictions of every
planting lie in the folder afterwards, for `vision data suspicious`, so that the other pictures listed can be looked at:
some of them may be wrong as well, so the share of planted ones is the least that the precision can be.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from vision.config import load_config
from vision.data.manifest import Manifest, load_manifest, save_manifest, truth_columns
from vision.evaluate.suspicious_labels import suspicious_labels
from vision.predictions import load_predictions, save_predictions
from vision.train.features import FeatureCache, default_cache_folder
from vision.train.out_of_fold import out_of_fold_predictions
from vision.train.run import plan_run
from vision.train.training_set import prepare_run


def main() -> None:
    """Print how many planted labels were found, planting by planting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--wrong", type=int, default=5, help="labels to change")
    parser.add_argument("--plantings", type=int, default=2, help="drawings of which labels to change")
    parser.add_argument("--seeds", type=int, default=2, help="divisions into folds")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--out", "-o", type=Path, default=Path("planted"))
    arguments = parser.parse_args()
    totals = np.zeros(3, dtype=np.int64)
    for planting in range(arguments.plantings):
        source = load_manifest(load_config(arguments.config, arguments.overrides).data.manifest)
        folder = arguments.out / f"planting-{planting}"
        manifest, planted = plant(source, arguments.wrong, planting)
        copy_with_pictures(manifest, source, folder)
        print(f"planting {planting}: " + ", ".join(f"{name} as {given}" for name, given in planted.items()), flush=True)
        overrides = [*arguments.overrides, f"data.manifest={(folder / 'manifest.csv').resolve()}"]
        totals += search(arguments.config, overrides, planted, folder, arguments.seeds)
    found, listed, wrong = totals
    print(f"all: {found} of {wrong} planted labels found; {found} of {listed} labels listed are planted")


def plant(source: Manifest, num_wrong: int, seed: int) -> tuple[Manifest, dict[str, str]]:
    """The manifest with changed labels, and which picture was given which."""
    generator = np.random.default_rng(seed)
    labels = source.table["label"].to_list()
    planted = {}
    for row in sorted(generator.choice(len(labels), num_wrong, replace=False).tolist()):
        others = sorted(set(source.table["label"]) - {source.table["label"][row]})
        labels[row] = others[int(generator.integers(len(others)))]
        planted[source.file_names[row]] = labels[row]
    return Manifest(source.path, source.table.with_columns(label=pl.Series(labels))), planted


def copy_with_pictures(manifest: Manifest, source: Manifest, folder: Path) -> None:
    """Write the changed manifest into a folder, with the pictures beside it."""
    for name in manifest.file_names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.image_path(name), folder / name)
    save_manifest(manifest, folder / "manifest.csv")


def search(config_path: Path, overrides: list[str], planted: dict[str, str], folder: Path, num_seeds: int) -> list[int]:
    """Labels planted that were found, labels listed, labels planted; all seeds together."""
    prepared = prepare_run(load_config(config_path, overrides))
    plan = plan_run(prepared, default_cache_folder())
    cache = FeatureCache(default_cache_folder() / "features", plan.backbones)
    features = cache.features(prepared.training.images, plan.recipes, batch_size=prepared.config.train.batch_size)
    num_found = num_listed = 0
    for seed in range(num_seeds):
        rows, _ = out_of_fold_predictions(prepared, features, seed=seed)
        path = folder / f"seed-{seed}" / "predictions.parquet"
        save_predictions(rows, path, extra_columns=truth_columns(prepared.training.table))
        figures = suspicious_labels(load_predictions(path))
        assert figures is not None, "out-of-fold rows list every class"
        listed = [label.file_name for label in figures.labels]
        found = [name for name in listed if name in planted]
        right = np.mean([row.label == truth for row, truth in zip(rows, prepared.training.table["label"], strict=True)])
        print(f"  seed {seed}: {right:.3f} agree with the labels; {len(found)} of {len(planted)} planted found")
        for place, label in enumerate(figures.labels, start=1):
            mark = "PLANTED" if label.file_name in planted else "other  "
            print(f"    {place:>2} {mark} {label.file_name}: {label.given}, rather {label.suggested}", flush=True)
        print(f"    missed: {', '.join(sorted(set(planted) - set(found))) or 'none'}", flush=True)
        num_found, num_listed = num_found + len(found), num_listed + len(listed)
    return [num_found, num_listed, num_seeds * len(planted)]


if __name__ == "__main__":
    main()
