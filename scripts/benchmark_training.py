"""Time to the same test accuracy: vision's fine-tuning beside a plain timm + torch loop on the same pictures.

    python scripts/benchmark_training.py configs/demo.yaml --set train.strategy=finetune --classes tor-m1,buk-m1,shilka

Ours runs first, from an empty cache to a written bundle; its accuracy on the test split is the target. The baseline
fine-tunes the whole network of the same name, weights and input size with AdamW, a cosine schedule, mirrored and
cropped pictures that two workers of a DataLoader decode, as the tutorials do, and is asked about the test split after
each epoch; that time is not counted, nor what its workers take to start. Label smoothing is that of the configuration.
With --fastai its `fine_tune` does the same, if it is installed. Where a schedule ends without having come to our
accuracy, the difference to its best epoch follows, paired by picture, with a bootstrap interval over the test groups.
All use all cores of this machine; only the ratio of the times means anything elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from measure_folds import shown_interval
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from vision.classify.engine import Engine
from vision.config import Config, load_config
from vision.data.manifest import groups_of, load_manifest, save_manifest
from vision.data.preprocessing import Preprocessing, load_network_input
from vision.files import whole_file
from vision.train.backbones import load_backbones
from vision.train.domain import suited_run
from vision.train.features import feature_recipes
from vision.train.run import plan_run, train_run
from vision.train.training_set import PreparedRun, prepare_run


def main() -> None:
    """Print both times, both accuracies and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", help="key=value, over the configuration"
    )
    parser.add_argument("--classes", default="", help="only these classes of the data set, separated by commas")
    parser.add_argument("--epochs", default="12", help="of the baselines' schedules, separated by commas")
    parser.add_argument("--fastai", action="store_true", help="also fastai's fine_tune")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="the baseline's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(arguments.config, arguments.overrides)
        if arguments.classes:
            config = restricted(config, arguments.classes.split(","), Path(folder))
        prepared = prepare_run(config)
        rows = prepared.manifest.table.filter(
            (pl.col("split") == "test") & pl.col("label").is_in(list(prepared.classes))
        )
        paths = [prepared.manifest.image_path(name) for name in rows["file_name"]]
        truth = np.array([prepared.classes.index(label) for label in rows["label"]])
        groups = np.unique(groups_of(rows), return_inverse=True)[1]
        started = time.perf_counter()
        prepared, findings = suited_run(prepared, Path(folder))
        for finding in findings:
            print(" ", finding)
        plan = plan_run(prepared, Path(folder))
        result = train_run(prepared, plan, Path(folder) / "run", Path(folder), tell=lambda text: print(" ", text))
        ours_s = time.perf_counter() - started
        engine = Engine(result.bundle)
        answers = [prepared.classes.index(engine.classify(path).top[0].class_id) for path in paths]
        ours = _Ours(paths, truth, groups, np.array(answers) == truth, ours_s)
        shown = shown_interval(ours.hits.astype(float), groups)
        print(f"vision: {ours_s:.0f} s, {shown} of {len(truth)} test pictures right", flush=True)
        for epochs in map(int, arguments.epochs.split(",")):
            _baseline(prepared, ours, epochs, arguments.learning_rate)
            if arguments.fastai:
                _fastai(prepared, ours, epochs)


_History = list[tuple[float, NDArray[np.bool_]]]
"""Seconds and hits after each epoch of a training."""


@dataclass(frozen=True)
class _Ours:
    """The test pictures, and what vision made of them.

    Attributes:
        paths: N pictures.
        truth: (N,) classes.
        groups: (N,) numbers.
        hits: (N,) whether the most probable class is right.
        seconds: From an empty cache to the bundle.
    """

    paths: Sequence[Path]
    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    hits: NDArray[np.bool_]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return float(self.hits.mean())

    def is_reached(self, name: str, history: _History) -> bool:
        """Print the last epoch of another training; whether it is as good, so that the training may end."""
        spent, hits = history[-1]
        print(f"  {name}, epoch {len(history)}: {spent:.0f} s, {hits.mean():.3f} right", flush=True)
        return bool(hits.mean() >= self.accuracy)

    def tell(self, name: str, epochs: int, history: _History) -> None:
        """Compare with another training, which ended with the first epoch that was as good, or its schedule."""
        spent, hits = history[-1]
        if hits.mean() >= self.accuracy:
            times = f"{spent / self.seconds:.1f} times as long as vision"
            print(f"{name}: {spent:.0f} s to {hits.mean():.3f}, {epochs} epochs; {times}", flush=True)
            return
        best = max((hits for _, hits in history), key=np.mean)
        gain = shown_interval(self.hits.astype(float) - best, self.groups)
        print(
            f"{name}: {best.mean():.3f} at best in {spent:.0f} s, {epochs} epochs, not {self.accuracy:.3f}: "
            f"more than {spent / self.seconds:.1f} times as long as vision, which is {gain} better",
            flush=True,
        )


def restricted(config: Config, classes: list[str], folder: Path) -> Config:
    """The configuration with a copy of its data set that has only some classes."""
    manifest = load_manifest(config.data.manifest)
    table = manifest.table.filter(pl.col("label").is_in(classes))
    for name in table["file_name"]:
        if not (folder / name).exists():
            with whole_file(folder / name) as temporary:  # another process may be reading it
                shutil.copy(manifest.image_path(name), temporary)
    save_manifest(type(manifest)(folder / "manifest.csv", table), folder / "manifest.csv")
    return config.model_copy(update={"data": config.data.model_copy(update={"manifest": folder / "manifest.csv"})})


def _plain_network(prepared: PreparedRun) -> tuple[nn.Sequential, Preprocessing]:
    """The whole network of the run's first candidate with a new classifier, all of it to be trained."""
    torch.manual_seed(0)
    recipe = feature_recipes(prepared.config)[0]
    backbone = load_backbones(prepared.config.backbone)[recipe.backbone]
    model = nn.Sequential(backbone.model, nn.Linear(backbone.model.num_features, len(prepared.classes)))
    model.requires_grad_(True)
    return model, recipe.preprocessing(backbone)


class _Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Training pictures, decoded and varied when they are asked for."""

    def __init__(self, prepared: PreparedRun, preprocessing: Preprocessing) -> None:
        self._images, self._preprocessing = prepared.training.images, preprocessing
        self._truth = prepared.training.class_indices.tolist()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        generator = np.random.default_rng(int(torch.randint(2**31, ())))  # torch seeds its workers, numpy does not
        values = load_network_input(self._images[row].path, self._preprocessing)
        return _varied(values, generator), self._truth[row]


def _plain_loader(prepared: PreparedRun, preprocessing: Preprocessing) -> DataLoader[tuple[torch.Tensor, int]]:
    return DataLoader(
        _Pictures(prepared, preprocessing),
        batch_size=32,
        shuffle=True,
        generator=torch.Generator().manual_seed(0),
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context="spawn",  # a fork of the threads of torch and onnxruntime, which ran before, may hang
    )


def _baseline(prepared: PreparedRun, ours: _Ours, epochs: int, learning_rate: float) -> None:
    model, preprocessing = _plain_network(prepared)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.02)
    test_inputs = [load_network_input(path, preprocessing) for path in ours.paths]
    loader = _plain_loader(prepared, preprocessing)
    next(iter(loader))  # starts the workers
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    spent, smoothing = 0.0, prepared.config.finetune.label_smoothing
    history: _History = []
    for _ in range(epochs):
        started = time.perf_counter()
        model.train()
        for inputs, truth in loader:
            loss = functional.cross_entropy(model(inputs), truth, label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        spent += time.perf_counter() - started
        history.append((spent, _hits(model, test_inputs, ours.truth)))
        if ours.is_reached("timm + torch", history):
            break
    ours.tell("timm + torch", epochs, history)


def _fastai(prepared: PreparedRun, ours: _Ours, epochs: int) -> None:
    """The way of fastai: one epoch of the classifier alone, then all layers, with its augmentation and rates."""
    try:
        from fastai.vision.all import (
            Callback,
            ImageDataLoaders,
            Learner,
            Normalize,
            Resize,
            ResizeMethod,
            aug_transforms,
        )
    except ImportError as error:
        print(f"fastai: not installed ({error}); pip install fastai")
        return
    model, preprocessing = _plain_network(prepared)
    side = preprocessing.input_px
    loaders = ImageDataLoaders.from_lists(
        prepared.manifest.folder,
        [image.path for image in prepared.training.images],
        [prepared.classes[index] for index in prepared.training.class_indices],
        valid_pct=0.0,
        item_tfms=Resize(side, method=ResizeMethod.Pad, pad_mode="zeros"),
        batch_tfms=[*aug_transforms(size=side), Normalize.from_stats(preprocessing.mean, preprocessing.std)],
        bs=32,
        num_workers=2,
    )
    places = np.array([list(loaders.vocab).index(name) for name in prepared.classes])
    test_inputs = [load_network_input(path, preprocessing) for path in ours.paths]
    history: _History = []
    spent, started = 0.0, time.perf_counter()

    class Watch(Callback):
        def after_epoch(self) -> None:
            nonlocal spent, started
            spent += time.perf_counter() - started
            history.append((spent, _hits(model, test_inputs, places[ours.truth])))
            if ours.is_reached("fastai", history):
                raise KeyboardInterrupt
            started = time.perf_counter()

    learner = Learner(
        loaders,
        model,
        loss_func=nn.CrossEntropyLoss(label_smoothing=prepared.config.finetune.label_smoothing),
        splitter=lambda network: [list(part.parameters()) for part in network],
        cbs=Watch(),
    )
    with contextlib.suppress(KeyboardInterrupt), learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
    ours.tell("fastai", epochs + 1, history)


def _varied(values: NDArray[np.float32], generator: np.random.Generator) -> torch.Tensor:
    """Mirrored half of the time, and a crop of at least 70 % of the side."""
    image = torch.from_numpy(values.copy())
    if generator.random() < 0.5:
        image = image.flip(2)
    side = image.shape[1]
    size = int(side * generator.uniform(0.7, 1.0))
    top, left = generator.integers(0, side - size + 1, 2)
    crop = image[:, top : top + size, left : left + size]
    return functional.interpolate(crop[None], size=(side, side), mode="bilinear", align_corners=False)[0]


@torch.inference_mode()
def _hits(model: nn.Module, inputs: list[NDArray[np.float32]], truth: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether the most probable class is right."""
    model.eval()
    answers = [
        model(torch.from_numpy(np.stack(inputs[start : start + 32]))).argmax(1).numpy()
        for start in range(0, len(inputs), 32)
    ]
    right: NDArray[np.bool_] = np.concatenate(answers) == truth
    return right


if __name__ == "__main__":
    main()
