"""What each option of fine-tuning is worth: the same run with one setting changed, over several seeds.

    python scripts/measure_options.py configs/options.yaml runs/options.jsonl --seeds 5
    python scripts/measure_options.py configs/options.yaml runs/options.jsonl --table

The configuration is the base; OPTIONS has what is changed, one option at a time. Each run is asked about the test
split, or where there is none about its training pictures while they are held out. Results are appended to a file, so
that a measurement that was stopped goes on, and several may write to one file. The interval is a bootstrap over groups:
in each draw the same groups stand for all seeds. The difference to the base is paired, picture by picture.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_training import restricted
from measure_folds import shown_interval
from numpy.typing import NDArray

from vision.config import Config, load_config
from vision.data.preprocessing import load_network_input
from vision.train.domain import suited_run
from vision.train.export import ProbedNetwork
from vision.train.features import FeatureCache, FeatureRecipe, TrainingImage, default_cache_folder
from vision.train.out_of_fold import out_of_fold_predictions, try_all
from vision.train.probe import fit_probe
from vision.train.run import plan_run
from vision.train.training_set import TrainingSet, prepare_run, test_set
from vision.train.tuner import Tuner
from vision.train.tuning import TunedNetwork

OPTIONS: dict[str, tuple[str, ...]] = {
    "base": (),
    "probe": ("train.strategy=probe",),
    "batches of 16": ("finetune.batch_size=16",),
    "batches of 32": ("finetune.batch_size=32",),
    "batches of 32, learning rate 0.004": ("finetune.batch_size=32", "finetune.learning_rate=0.004"),
    "20 epochs": ("finetune.epochs=20",),
    "40 epochs": ("finetune.epochs=40",),
    "depthwise frozen": ("finetune.freeze_depthwise=true",),
    "float32": ("finetune.precision=float32",),
    "learning rate 0.004": ("finetune.learning_rate=0.004",),
    "one stage more trained": ("finetune.from_stage=4",),
    "one stage more trained, 20 epochs": ("finetune.from_stage=4", "finetune.epochs=20"),
    "two stages more trained": ("finetune.from_stage=3",),
    "224 px": ("features.input_px=224",),
    "3 views": ("finetune.views=3",),
    "6 views": ("finetune.views=6",),
    "6 views, 40 epochs": ("finetune.views=6", "finetune.epochs=40"),
    "augmentation none": ("augment.preset=none",),
    "augmentation standard": ("augment.preset=standard",),
    "augmentation field": ("augment.preset=field",),
    "mixup 0.2": ("finetune.mixup=0.2",),
    "cutmix 1": ("finetune.cutmix=1",),
    "no label smoothing": ("finetune.label_smoothing=0",),
    "no moving average": ("finetune.ema=0",),
    "margin 0.5 to look-alikes": ("finetune.look_alike_margin=0.5",),
    "margin 2 to look-alikes": ("finetune.look_alike_margin=2",),
    "family loss 0.5": ("finetune.family_weight=0.5",),
    "average pooling": ("features.pooling=avg",),
    "attention pooling": ("finetune.attention_pooling=true",),
    "last stage only": ("features.layers=stage",),
    "last stage only, one stage less trained": ("features.layers=stage", "finetune.from_stage=6"),
    "last map only": ("features.layers=final",),
    "norm statistics follow": ("finetune.norm_statistics=true",),
    "layer decay 0.4": ("finetune.layer_decay=0.4",),
    "layer decay 0.8": ("finetune.layer_decay=0.8",),
    "learning rate 0.001": ("finetune.learning_rate=0.001",),
    "crops": ("features.crops=[1, 0.8]",),
    "no mirror image": ("features.flip=false",),
}
SCARCE: dict[str, tuple[str, ...]] = {
    "base": ("finetune.logit_adjustment=0",),
    "balanced sampling": ("finetune.balanced_sampling=true",),
    "logit adjustment 1": ("finetune.logit_adjustment=1",),
}
"""For `--scarce`, where every second class has only a few pictures."""


def main() -> None:
    """Run what is missing in the file of results, or print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("results", type=Path, help="JSON lines")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="separated by commas")
    parser.add_argument("--only", default="", help="names of options, separated by semicolons")
    parser.add_argument("--classes", default="", help="only these classes of the data set, separated by commas")
    parser.add_argument("--scarce", type=int, default=0, help="leave every second class this many training pictures")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    arguments = parser.parse_args()
    if arguments.table:
        print_table(arguments.results)
        return
    options = SCARCE if arguments.scarce else OPTIONS
    names = arguments.only.split(";") if arguments.only else list(options)
    for seed in arguments.seeds.split(","):
        for name in names:
            if (name, int(seed)) in _finished(arguments.results):
                continue
            config = load_config(arguments.config, [*arguments.overrides, *options[name], f"seed={seed}"])
            if arguments.classes:
                config = restricted(config, arguments.classes.split(","), arguments.results.with_suffix(".data"))
            started = time.perf_counter()
            hits, groups = hits_of(config, scarce=arguments.scarce)
            took_s = time.perf_counter() - started
            row = {"option": name, "seed": int(seed), "took_s": took_s, "hits": hits.tolist(), "groups": groups}
            arguments.results.parent.mkdir(parents=True, exist_ok=True)
            with arguments.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"seed {seed}, {name}: {hits.mean():.3f}, {took_s:.0f} s", flush=True)


def hits_of(config: Config, *, scarce: int = 0) -> tuple[NDArray[np.bool_], list[str]]:
    """Whether the most probable class is right, for each test picture, or each training picture held out; groups."""
    prepared = prepare_run(config)
    if scarce:
        prepared = replace(prepared, training=with_scarce_classes(prepared.training, scarce, config.seed))
    prepared, _ = suited_run(prepared, default_cache_folder())
    config = prepared.config
    plan = plan_run(prepared, default_cache_folder())
    cache = FeatureCache(default_cache_folder() / "features", plan.backbones)
    asked = test_set(prepared)
    training, num_classes = prepared.training, len(prepared.classes)
    of_training = cache.features(training.images, plan.recipes, batch_size=config.train.batch_size)
    is_tuned = config.train.strategy != "probe"
    if not asked.images:
        tuner = Tuner(prepared, plan.backbones, default_cache_folder())
        rows, _ = out_of_fold_predictions(
            prepared, of_training, seed=config.seed, tune=tuner.tune_fold if is_tuned else None
        )
        found = [row.top[0].class_id for row in rows]
        return np.array(found) == np.array(prepared.classes)[training.class_indices], list(training.groups)
    best = try_all(config, of_training, training, range(len(training.images)), num_classes, config.seed)[0]
    probe = fit_probe(of_training[best.recipe], training.class_indices, num_classes, best.strength)
    if not is_tuned:
        logits = probe.logits(cache.features(asked.images, [best.recipe], batch_size=16)[best.recipe])
        return logits.argmax(axis=1) == asked.class_indices, asked.groups
    network = Tuner(prepared, plan.backbones, default_cache_folder()).tune(best.recipe, probe)
    logits = logits_of(network, best.recipe, asked.images)
    return logits.argmax(axis=1) == asked.class_indices, asked.groups


@torch.inference_mode()
def logits_of(network: TunedNetwork, recipe: FeatureRecipe, images: Sequence[TrainingImage]) -> NDArray[np.float32]:
    """(N, K) of a tuned network, which is in no cache."""
    whole = ProbedNetwork(network.backbone, recipe, network.probe)
    chunks = []
    for start in range(0, len(images), 32):
        inputs = [
            load_network_input(image.path, recipe.preprocessing(network.backbone), box=image.box)
            for image in images[start : start + 32]
        ]
        chunks.append(whole(torch.from_numpy(np.stack(inputs)))[0].numpy())
    return np.concatenate(chunks)


def with_scarce_classes(training: TrainingSet, num_left: int, seed: int) -> TrainingSet:
    """The training pictures, of which every second class keeps only some, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(training.images))
    drawn = [row for c in range(training.class_indices.max() + 1) for row in _drawn(training, order, c, num_left)]
    rows = sorted(int(row) for row in drawn)
    images, groups = [training.images[row] for row in rows], [training.groups[row] for row in rows]
    return TrainingSet(training.table[rows], images, training.class_indices[rows], groups)


def _drawn(training: TrainingSet, order: NDArray[np.int64], class_index: int, num_left: int) -> NDArray[np.int64]:
    rows = order[training.class_indices[order] == class_index]
    return rows[:num_left] if class_index % 2 == 0 else rows


def _finished(path: Path) -> set[tuple[str, int]]:
    return {(row["option"], row["seed"]) for row in _rows(path)}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_table(path: Path) -> None:
    """Mean over seeds with its interval, paired difference to the base, and time, as Markdown."""
    rows = _rows(path)
    base = {row["seed"]: np.array(row["hits"], dtype=float) for row in rows if row["option"] == "base"}
    print("| option | seeds | most probable class right | difference to the base | s |\n|---|---|---|---|---|")
    for name in dict.fromkeys(row["option"] for row in rows):
        mine = [row for row in rows if row["option"] == name and row["seed"] in base]
        if not mine:
            continue
        hits = np.array([row["hits"] for row in mine], dtype=float)
        gain = hits - np.array([base[row["seed"]] for row in mine])
        groups = np.unique(mine[0]["groups"], return_inverse=True)[1]
        shown = [shown_interval(values.mean(axis=0), groups) for values in (hits, gain)]
        print(f"| {name} | {len(mine)} | {shown[0]} | {shown[1]} | {np.median([r['took_s'] for r in mine]):.0f} |")


if __name__ == "__main__":
    main()
