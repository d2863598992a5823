"""Fine-tuning: the last stages of a network and the fitted probe on them, trained further from cached views.

N training pictures, M calibration pictures, K classes, D features, B pictures in a batch.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from vision.config import FinetuneSettings
from vision.errors import ConfigError, TrainingError, nearest_name_hint
from vision.files import whole_file
from vision.taxonomy import Taxonomy
from vision.train.devices import gathered_rows, open_accelerator
from vision.train.probe import nll_at_best_temperature
from vision.train.stages import Tail
from vision.train.views import FIRST_AUGMENTED, PLAIN, FreshViews, ViewSource, ViewStore

_NAMES_SHOWN = 8
_RESTART_IMAGES = 512


@dataclass(frozen=True)
class Schedule:
    """What is left of the settings once `auto` has chosen.

    Attributes:
        from_stage: First trained stage.
        views: Augmented views of each picture that are kept; None where every epoch makes its own.
        epochs: Passes over the training pictures.
        bfloat16: Whether the trained part computes in bfloat16.
        reasons: What was chosen, and why, in words.
    """

    from_stage: int
    views: int | None
    epochs: int
    bfloat16: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class EpochFigures:
    """One line of the log.

    Attributes:
        epoch: 0 is the probe that training starts from.
        loss: Mean training loss; NaN for epoch 0.
        calibration_nll: After the best temperature; NaN without calibration pictures.
        calibration_accuracy: Share of calibration pictures that are right; NaN without them.
        seconds: Of this epoch.
    """

    epoch: int
    loss: float
    calibration_nll: float
    calibration_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning leaves.

    Attributes:
        tail: The trained stages and classifier, with averaged weights of the chosen epoch.
        chosen_epoch: 0 if no epoch was better than the probe.
        history: One entry an epoch, the probe's first.
    """

    tail: Tail
    chosen_epoch: int
    history: list[EpochFigures]


class ClassRelations:
    """Which classes are of one family, and which are look-alikes, as tensors.

    Attributes:
        family_of: (K,) index of each class's family.
        num_families: How many there are.
        look_alikes: (K, K), 1 where two different classes are of one family or are named as look-alikes.
    """

    def __init__(self, classes: tuple[str, ...], taxonomy: Taxonomy) -> None:
        families = [taxonomy.family_id(class_id) for class_id in classes]
        names = sorted(set(families))
        self.family_of = torch.tensor([names.index(family) for family in families])
        self.num_families = len(names)
        alike = np.zeros((len(classes), len(classes)), np.float32)
        for row, one in enumerate(classes):
            for column, other in enumerate(classes):
                related = families[row] == families[column] or bool(taxonomy.separating_cues(one, other))
                alike[row, column] = float(row != column and related)
        self.look_alikes = torch.from_numpy(alike)

    def to(self, device: torch.device) -> ClassRelations:
        """The same on a device."""
        moved = copy.copy(self)
        moved.family_of, moved.look_alikes = self.family_of.to(device), self.look_alikes.to(device)
        return moved


def fine_tune(
    tail: Tail,
    training: ViewSource,
    truth: NDArray[np.int64],
    calibration: ViewStore | None,
    calibration_truth: NDArray[np.int64],
    schedule: Schedule,
    settings: FinetuneSettings,
    relations: ClassRelations,
    *,
    seed: int,
    rows: NDArray[np.int64] | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochFigures], None] = lambda figures: None,
    accelerator: Accelerator | None = None,
) -> Tuned:
    """Train a tail that starts as the probe; keep the epoch that is best on the calibration pictures.

    Without calibration pictures the last epoch is kept. The same seed gives the same result; with a checkpoint a run
    that was killed ends as one that was not. Several processes share each batch, and end as one
    would but for rounding; norm statistics, if they follow, are of each process's part.

    Args:
        tail: Trained in place.
        training: Views of the training pictures.
        truth: (N,) classes of all pictures in `training`.
        calibration: Views of the calibration pictures.
        calibration_truth: (M,).
        schedule: How much to train.
        settings: How to train.
        relations: Families and look-alikes.
        seed: Of order, views and mixing.
        rows: Train on these rows of `training` only.
        checkpoint: Where the state is kept after each epoch.
        on_epoch: Told each epoch's figures.
        accelerator: Processes and device; by default this process on the processor.

    Raises:
        TrainingError: The loss is no number any more; names the step and the pictures of the batch.
    """
    accelerator = open_accelerator("cpu") if accelerator is None else accelerator
    rows = np.arange(len(truth)) if rows is None else rows
    is_resumed = checkpoint is not None and checkpoint.exists()
    tail.to(accelerator.device)
    if settings.restart and not is_resumed:
        restart(tail, training, rows)
    run = _Run(tail, len(rows), truth, rows, schedule, settings, relations, accelerator)
    state = _State(best_tail=copy.deepcopy(tail.state_dict()))
    if checkpoint is not None and is_resumed:
        _restore(checkpoint, run, state)
        for figures in state.history:
            on_epoch(figures)
    if not state.history:
        started = time.perf_counter()
        nll, accuracy = _calibration_figures(tail, calibration, calibration_truth, accelerator)
        figures = EpochFigures(0, math.nan, nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        state.best_nll = nll if calibration is not None else math.inf
        on_epoch(figures)
    batches = _Batches(training, schedule, settings, accelerator)
    for epoch in range(len(state.history), schedule.epochs + 1):
        if calibration is not None and epoch - state.chosen_epoch > settings.patience:
            break
        started = time.perf_counter()
        losses: list[float] = []
        for draw, inputs in batches.of_epoch(rows, truth, seed=seed, epoch=epoch):
            loss = run.step(draw, training.maps(inputs.to(accelerator.device, non_blocking=True)))
            if not math.isfinite(loss):
                raise TrainingError(_nan_message(training, draw.rows, len(losses), epoch, checkpoint))
            losses.append(loss)
        run.finish_epoch()
        nll, accuracy = _calibration_figures(run.averaged_tail(), calibration, calibration_truth, accelerator)
        figures = EpochFigures(epoch, float(np.mean(losses)), nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        if calibration is None or nll < state.best_nll:
            state.best_nll, state.chosen_epoch = nll, epoch
            state.best_tail = copy.deepcopy(run.averaged_tail().state_dict())
        if checkpoint is not None and accelerator.is_main_process:
            _save(checkpoint, run, state)
        on_epoch(figures)
    tail.load_state_dict(state.best_tail)
    tail.to("cpu").eval()
    return Tuned(tail, state.chosen_epoch, state.history)


@torch.inference_mode()
def tuned_vectors(
    tail: Tail, store: ViewStore, *, flip: bool, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Vectors of pictures, averaged over crops and, with `flip`, mirror images: (N, D), as in the bundle's graph."""
    tail.eval()
    rows = np.arange(len(store.images)) if rows is None else rows
    device = tail.mean.device
    chunks = []
    for start in range(0, len(rows), 64):
        chunk = rows[start : start + 64]
        looks = [store.batch(chunk, np.full(len(chunk), look)).to(device) for look in store.looks(flip=flip)]
        chunks.append(torch.stack([tail.vectors(look) for look in looks]).mean(0).cpu().numpy())
    return np.concatenate(chunks) if chunks else np.zeros((0, len(tail.mean)), np.float32)


@torch.no_grad()
def restart(tail: Tail, training: ViewSource, rows: NDArray[np.int64]) -> None:
    """Norm statistics from training pictures, features on one common scale, a classifier that knows nothing.

    For pictures far from those of pretraining: there the fitted probe leans on features that hardly vary, and training
    from it runs away.
    """
    norms = [module for module in tail.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, _RESTART_IMAGES).astype(int))]
    batches = [chosen[start : start + 32] for start in range(0, len(chosen), 32)]
    device = tail.mean.device
    inputs = [training.maps(training.batch(batch, np.full(len(batch), PLAIN)).to(device)) for batch in batches]
    for batch in inputs:
        tail.vectors(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    tail.eval()
    vectors = torch.cat([tail.vectors(batch) for batch in inputs])
    tail.mean.copy_(vectors.mean(dim=0))
    tail.scale.fill_(float(vectors.std(dim=0).square().mean().sqrt().clamp(min=1e-6)))
    tail.classifier.weight.zero_()
    tail.classifier.bias.zero_()


@dataclass(frozen=True)
class _Draw:
    """The pictures of one batch.

    Attributes:
        rows: (B,) pictures.
        views: (B,) which of their views.
        partners: (B,) positions in the batch of the pictures that are mixed in.
        share: What is kept of the picture itself; 1 mixes nothing.
        truth: (B,) classes.
    """

    rows: NDArray[np.int64]
    views: NDArray[np.int64]
    partners: NDArray[np.int64]
    share: float
    truth: NDArray[np.int64]

    def part(self, process: int, num_processes: int) -> slice:
        """Positions that one process computes."""
        bounds = np.linspace(0, len(self.rows), num_processes + 1).round().astype(int)
        return slice(int(bounds[process]), int(bounds[process + 1]))


class _Inputs(Dataset[torch.Tensor]):
    """What a loader reads for a draw: this process's part of the batch."""

    def __init__(self, source: ViewSource, process: int, num_processes: int) -> None:
        self._source, self._process, self._num_processes = source, process, num_processes

    def __getitem__(self, draw: _Draw) -> torch.Tensor:
        mine = draw.part(self._process, self._num_processes)
        inputs = self._source.batch(draw.rows[mine], draw.views[mine])
        if draw.share == 1:
            return inputs
        others = draw.partners[mine]
        return draw.share * inputs + (1 - draw.share) * self._source.batch(draw.rows[others], draw.views[others])


class _Batches:
    """Batches of an epoch after the other, read ahead by other processes where views are made afresh."""

    def __init__(
        self, source: ViewSource, schedule: Schedule, settings: FinetuneSettings, accelerator: Accelerator
    ) -> None:
        self._schedule, self._settings = schedule, settings
        self._draws: list[_Draw] = []
        workers = _num_workers(settings, accelerator) if isinstance(source, FreshViews) else 0
        self._loader = DataLoader(
            _Inputs(source, accelerator.process_index, accelerator.num_processes),
            batch_size=None,
            sampler=self._draws,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn"
            if workers
            else None,  # a fork of torch's and onnxruntime's threads may hang
            pin_memory=accelerator.device.type == "cuda",
        )

    def of_epoch(
        self, rows: NDArray[np.int64], truth: NDArray[np.int64], *, seed: int, epoch: int
    ) -> Iterator[tuple[_Draw, torch.Tensor]]:
        """The batches of one epoch, the same for the same seed in whatever number of processes."""
        generator = np.random.default_rng([seed, epoch])
        torch.manual_seed(int(generator.integers(2**31)))
        self._draws[:] = _drawn(rows, truth, epoch, generator, self._schedule, self._settings)
        return zip(list(self._draws), self._loader, strict=True)


def _num_workers(settings: FinetuneSettings, accelerator: Accelerator) -> int:
    if settings.workers != "auto":
        return settings.workers
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
    return max(1, (os.cpu_count() or 1) // processes_here)


def _drawn(
    rows: NDArray[np.int64],
    truth: NDArray[np.int64],
    epoch: int,
    generator: np.random.Generator,
    schedule: Schedule,
    settings: FinetuneSettings,
) -> list[_Draw]:
    """Every row once in a random order; with class-balanced sampling, as many draws with every class as likely."""
    if settings.balanced_sampling:
        weights = 1 / np.bincount(truth[rows])[truth[rows]]
        order = generator.choice(rows, len(rows), p=weights / weights.sum())
    else:
        order = generator.permutation(rows)
    draws = []
    for start in range(0, len(order), settings.batch_size):
        batch = order[start : start + settings.batch_size]
        if schedule.views is None:
            views = np.full(len(batch), FIRST_AUGMENTED + epoch)
        else:
            first, count = (FIRST_AUGMENTED, schedule.views) if schedule.views else (PLAIN, 2)
            views = first + generator.integers(0, count, len(batch))
        share = float(generator.beta(settings.mixup, settings.mixup)) if settings.mixup else 1.0
        draws.append(_Draw(batch, views, generator.permutation(len(batch)), share, truth[batch]))
    return draws


def _compiled(network: nn.Module, backend: str) -> Any:
    known = torch._dynamo.list_backends(exclude_tags=())
    if backend not in known:
        hint = nearest_name_hint(backend, known)
        raise ConfigError(f"finetune.compile_with: '{backend}' is no backend of torch.compile here{hint}")
    return torch.compile(network, backend=backend)


class _Run:
    """Weights, their moving average, the optimiser and the place in the schedule."""

    def __init__(
        self,
        tail: Tail,
        num_rows: int,
        truth: NDArray[np.int64],
        rows: NDArray[np.int64],
        schedule: Schedule,
        settings: FinetuneSettings,
        relations: ClassRelations,
        accelerator: Accelerator,
    ) -> None:
        self.tail, self._settings, self._accelerator = tail, settings, accelerator
        self._bfloat16 = schedule.bfloat16
        self._relations = relations.to(accelerator.device)
        tail.to(accelerator.device).to(memory_format=torch.channels_last)
        groups = tail.parameter_groups(settings.learning_rate, settings.layer_decay, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)
        network: nn.Module = accelerator.prepare_model(tail)
        self._network = _compiled(network, settings.compile_with) if settings.compile_with else network
        steps_an_epoch = math.ceil(math.ceil(num_rows / settings.batch_size) / settings.accumulate)
        total = max(1, steps_an_epoch * schedule.epochs)
        warm_up = max(1, round(settings.warm_up * total))

        def share(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))

        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        averaging = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(tail, multi_avg_fn=averaging, use_buffers=True)
        counts = np.bincount(truth[rows], minlength=tail.classifier.out_features).astype(np.float64)
        prior = np.log(np.maximum(counts, 0.5) / counts.sum())
        strength = 0.0 if settings.balanced_sampling else settings.logit_adjustment
        adjustment = torch.from_numpy((strength * prior).astype(np.float32))
        self._adjustment = adjustment.to(accelerator.device)
        self._waiting = 0

    def averaged_tail(self) -> Tail:
        module = self.average.module
        assert isinstance(module, Tail)
        return module

    def step(self, draw: _Draw, inputs: torch.Tensor) -> float:
        """One batch forward and back; its loss. A loss that is no number changes nothing.

        Args:
            draw: The whole batch.
            inputs: This process's part of it.
        """
        self.tail.train()
        mine = draw.part(self._accelerator.process_index, self._accelerator.num_processes)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        one_hot = functional.one_hot(torch.from_numpy(draw.truth), self.tail.classifier.out_features).float()
        targets = draw.share * one_hot[mine] + (1 - draw.share) * one_hot[draw.partners[mine]]
        with torch.autocast(self._accelerator.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self._network(inputs)
        losses = self._losses(logits.float(), targets.to(logits.device))
        # Gradients are averaged over processes: the sum is weighed so that every picture counts the same.
        loss = losses.sum() * self._accelerator.num_processes / len(draw.rows)
        total = float(self._accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(total):
            return math.nan
        self._accelerator.backward(loss / self._settings.accumulate)
        self._waiting += 1
        if self._waiting == self._settings.accumulate:
            self._update()
        return total

    def finish_epoch(self) -> None:
        """Take the step of a last, incomplete accumulation."""
        if self._waiting:
            self._update()

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.tail.parameters(), self._settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        self.average.update_parameters(self.tail)
        self._waiting = 0

    def _losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """(B,) losses of a batch's pictures."""
        settings, relations = self._settings, self._relations
        logits = logits + self._adjustment
        if settings.look_alike_margin:
            logits = logits + settings.look_alike_margin * (targets @ relations.look_alikes)
        smooth = settings.label_smoothing
        softened = (1 - smooth) * targets + smooth / targets.shape[1]
        losses = -(softened * functional.log_softmax(logits, dim=1)).sum(dim=1)
        if settings.family_weight and relations.num_families > 1:
            members = functional.one_hot(relations.family_of, relations.num_families).float()  # (K, families)
            family_probability = functional.softmax(logits, dim=1) @ members
            family_losses = -((targets @ members) * torch.log(family_probability.clamp(min=1e-8))).sum(dim=1)
            losses = losses + settings.family_weight * family_losses
        return losses


@dataclass
class _State:
    best_tail: dict[str, Any]
    best_nll: float = math.inf
    chosen_epoch: int = 0
    history: list[EpochFigures] = field(default_factory=list)


def _save(path: Path, run: _Run, state: _State) -> None:
    content = {
        "tail": run.tail.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scheduler": run.scheduler.state_dict(),
        "best_tail": state.best_tail,
        "best_nll": state.best_nll,
        "chosen_epoch": state.chosen_epoch,
        "history": [asdict(figures) for figures in state.history],
    }
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def _restore(path: Path, run: _Run, state: _State) -> None:
    content = torch.load(path, map_location="cpu", weights_only=True)
    run.tail.load_state_dict(content["tail"])
    run.average.load_state_dict(content["average"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.scheduler.load_state_dict(content["scheduler"])
    state.best_tail, state.best_nll = content["best_tail"], content["best_nll"]
    state.chosen_epoch = content["chosen_epoch"]
    state.history = [EpochFigures(**figures) for figures in content["history"]]


def _calibration_figures(
    tail: Tail, store: ViewStore | None, truth: NDArray[np.int64], accelerator: Accelerator
) -> tuple[float, float]:
    """Loss at the best temperature, and share of right pictures; each process computes its part of the logits."""
    if store is None:
        return math.nan, math.nan
    mine = np.array_split(np.arange(len(truth)), accelerator.num_processes)[accelerator.process_index]
    vectors = torch.from_numpy(tuned_vectors(tail, store, flip=tail.flip, rows=mine)).to(tail.mean.device)
    with torch.inference_mode():
        part = tail.logits(vectors).double().cpu().numpy()
    logits = np.concatenate(gathered_rows(accelerator, [part]))
    nll = nll_at_best_temperature(np.maximum(logits, -1e4), truth)
    return nll, float((logits.argmax(axis=1) == truth).mean())


def _nan_message(source: ViewSource, batch: NDArray[np.int64], step: int, epoch: int, checkpoint: Path | None) -> str:
    names = [source.images[row].path.name for row in batch]
    shown = ", ".join(names[:_NAMES_SHOWN]) + (
        f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    )
    is_kept = checkpoint is not None and epoch > 1
    kept = f"; the state after epoch {epoch - 1} is kept in {checkpoint}" if is_kept else ""
    return (
        f"epoch {epoch}, step {step + 1}: the loss is not a number any more, in the batch of {shown}{kept}; "
        "start anew with a lower finetune.learning_rate, or look at these pictures"
    )
