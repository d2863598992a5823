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
from pickle import UnpicklingError
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
from vision.errors import TrainingError
from vision.files import whole_file, write_whole_text
from vision.train.devices import check_backend, gathered_rows, mixed_precision, open_accelerator
from vision.train.draws import Draw, drawn_batches
from vision.train.losses import ClassRelations, class_losses, logit_adjustment
from vision.train.probe import nll_at_best_temperature
from vision.train.stages import Tail
from vision.train.views import PLAIN, FreshViews, ViewSource, ViewStore

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
        batch_size: Pictures in a batch, of all processes together.
        reasons: What was chosen, and why, in words.
    """

    from_stage: int
    views: int | None
    epochs: int
    bfloat16: bool
    batch_size: int = 32
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
        tail: The trained stages and classifier, with averaged weights of the chosen epoch, on the device that trained.
        chosen_epoch: 0 if no epoch was better than the probe.
        history: One entry an epoch, the probe's first.
    """

    tail: Tail
    chosen_epoch: int
    history: list[EpochFigures]


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

    Without calibration pictures the last epoch is kept whose training loss does not say that it ran away. The same seed
    gives the same result; with a checkpoint a run that was killed ends as one that was not. Several processes share
    each batch, and end as one would but for rounding; norm statistics, if they follow, are of each process's part.

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
        TrainingError: The loss or its gradient is no number any more; names the step and the pictures of the batch. Or
            the checkpoint cannot be read.
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
        nll, accuracy = _calibration_figures(tail, calibration, calibration_truth, schedule, accelerator)
        figures = EpochFigures(0, math.nan, nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        state.best_nll = nll if calibration is not None else math.inf
        if checkpoint is not None and accelerator.is_main_process:
            _save(checkpoint, run, state)  # an interrupt in the first epoch finds something to go on from
        on_epoch(figures)
    batches = _Batches(training, schedule, settings, accelerator)
    for epoch in range(len(state.history), schedule.epochs + 1):
        if calibration is not None and epoch - state.chosen_epoch > settings.patience:
            break
        started = time.perf_counter()
        losses: list[float] = []
        for draw, inputs in batches.of_epoch(rows, truth, seed=seed, epoch=epoch):
            maps = training.maps(inputs.to(accelerator.device, non_blocking=True))
            loss = run.step(draw, maps, draw.kept_share(inputs.shape))
            losses.append(loss)
            if not math.isfinite(loss):
                break
        if not (math.isfinite(losses[-1]) and run.finish_epoch()):
            raise TrainingError(_nan_message(training, run.waiting_rows, len(losses), epoch, checkpoint))
        nll, accuracy = _calibration_figures(run.averaged_tail(), calibration, calibration_truth, schedule, accelerator)
        figures = EpochFigures(epoch, float(np.mean(losses)), nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        if epoch == 1:
            state.start_loss = losses[0]
        is_worse = not nll < state.best_nll
        if calibration is None:
            is_worse = _has_run_away(figures.loss, state.start_loss, tail.classifier.out_features)
        if not is_worse:
            state.best_nll, state.chosen_epoch = nll, epoch
            state.best_tail = copy.deepcopy(run.averaged_tail().state_dict())
        if checkpoint is not None and accelerator.is_main_process:
            _save(checkpoint, run, state)
        on_epoch(figures)
    tail.load_state_dict(state.best_tail)
    return Tuned(tail.eval(), state.chosen_epoch, state.history)


def _has_run_away(loss: float, start_loss: float, num_classes: int) -> bool:
    """Whether an epoch's loss is above both the first batch's, before any step, and that of knowing nothing."""
    return loss > max(start_loss, math.log(max(2, num_classes)))


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
    batches = np.array_split(chosen, math.ceil(len(chosen) / 32))
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


class _Inputs(Dataset[torch.Tensor]):
    """What a loader reads for a draw: this process's part of the batch."""

    def __init__(self, source: ViewSource, process: int, num_processes: int) -> None:
        self._source, self._process, self._num_processes = source, process, num_processes

    def __getitem__(self, draw: Draw) -> torch.Tensor:
        mine = draw.part(self._process, self._num_processes)
        inputs = self._source.batch(draw.rows[mine], draw.views[mine])
        if draw.share == 1:
            return inputs
        others = draw.partners[mine]
        return draw.mixed(inputs, self._source.batch(draw.rows[others], draw.views[others]))


class _Batches:
    """Batches of an epoch after the other, read ahead by other processes where views are made afresh."""

    def __init__(
        self, source: ViewSource, schedule: Schedule, settings: FinetuneSettings, accelerator: Accelerator
    ) -> None:
        self._schedule, self._settings = schedule, settings
        self._draws: list[Draw] = []
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
    ) -> Iterator[tuple[Draw, torch.Tensor]]:
        """The batches of one epoch, the same for the same seed in whatever number of processes."""
        generator = np.random.default_rng([seed, epoch])
        torch.manual_seed(int(generator.integers(2**31)))
        self._draws[:] = drawn_batches(
            rows, truth, epoch, generator, self._settings, self._schedule.batch_size, self._schedule.views
        )
        return zip(list(self._draws), self._loader, strict=True)


def _num_workers(settings: FinetuneSettings, accelerator: Accelerator) -> int:
    if settings.workers != "auto":
        return settings.workers
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
    return max(1, (os.cpu_count() or 1) // processes_here)


def _compiled(network: nn.Module, backend: str) -> Any:
    check_backend(backend)
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
        tail.to(accelerator.device)
        groups = tail.parameter_groups(settings.learning_rate, settings.layer_decay, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        network: nn.Module = accelerator.prepare_model(tail)
        self._network = _compiled(network, settings.compile_with) if settings.compile_with else network
        steps_an_epoch = math.ceil(math.ceil(num_rows / schedule.batch_size) / settings.accumulate)
        total = max(1, steps_an_epoch * schedule.epochs)
        warm_up = max(1, round(settings.warm_up * total))

        def share(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, total - warm_up))))

        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        self.average = AveragedModel(tail, multi_avg_fn=_ramped_average(settings.ema), use_buffers=True)
        counts = np.bincount(truth[rows], minlength=tail.classifier.out_features)
        self._adjustment = logit_adjustment(counts, settings).to(accelerator.device)
        self._waiting: list[NDArray[np.int64]] = []

    @property
    def waiting_rows(self) -> NDArray[np.int64]:
        """The pictures of the batches since the last update of the weights."""
        return np.concatenate(self._waiting)

    def averaged_tail(self) -> Tail:
        module = self.average.module
        assert isinstance(module, Tail)
        return module

    def step(self, draw: Draw, inputs: torch.Tensor, share: float) -> float:
        """One batch forward and back; its loss. A loss or a gradient that is no number changes nothing and gives NaN.

        Args:
            draw: The whole batch.
            inputs: This process's part of it.
            share: Of each picture itself in its input; the rest is its partner's.
        """
        self.tail.train()
        self._waiting.append(draw.rows)
        mine = draw.part(self._accelerator.process_index, self._accelerator.num_processes)
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        one_hot = functional.one_hot(torch.from_numpy(draw.truth), self.tail.classifier.out_features).float()
        targets = share * one_hot[mine] + (1 - share) * one_hot[draw.partners[mine]]
        with mixed_precision(self._accelerator.device, bfloat16=self._bfloat16):
            logits = self._network(inputs)
        losses = class_losses(
            logits.float(), targets.to(logits.device), self._settings, self._relations, self._adjustment
        )
        # Gradients are averaged over processes: the sum is weighed so that every picture counts the same.
        loss = losses.sum() * self._accelerator.num_processes / len(draw.rows)
        total = float(self._accelerator.reduce(loss.detach(), "mean"))
        if not math.isfinite(total):
            return math.nan
        self._accelerator.backward(loss / self._settings.accumulate)
        if len(self._waiting) == self._settings.accumulate and not self._update():
            return math.nan
        return total

    def finish_epoch(self) -> bool:
        """Take the step of a last, incomplete accumulation; whether its gradient was one of numbers."""
        return not self._waiting or self._update()

    def _update(self) -> bool:
        length = float(nn.utils.clip_grad_norm_(self.tail.parameters(), self._settings.clip_norm))
        if not math.isfinite(length):
            return False
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        self.average.update_parameters(self.tail)
        self._waiting.clear()
        return True


def _ramped_average(decay: float) -> Callable[..., None]:
    """An exponential moving average that forgets its start: in the first n steps the decay is (1 + n) / (10 + n).

    With the whole decay from the start, a run of thirty steps would keep a third of the probe (0.97^30 = 0.4). As
    TensorFlow's ExponentialMovingAverage does with `num_updates`.
    """

    def update(averaged: Any, current: Any, num_averaged: Any) -> None:
        steps = int(num_averaged)
        now = min(decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(now)(averaged, current, num_averaged)  # type: ignore[no-untyped-call]

    return update


@dataclass
class _State:
    best_tail: dict[str, Any]
    best_nll: float = math.inf
    chosen_epoch: int = 0
    start_loss: float = math.inf
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
        "start_loss": state.start_loss,
        "history": [asdict(figures) for figures in state.history],
    }
    with whole_file(path) as temporary:
        torch.save(content, temporary)


def _restore(path: Path, run: _Run, state: _State) -> None:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"{path}: not a checkpoint that can be read ({reason}); train with --overwrite") from error
    run.tail.load_state_dict(content["tail"])
    run.average.load_state_dict(content["average"])
    run.optimizer.load_state_dict(content["optimizer"])
    run.scheduler.load_state_dict(content["scheduler"])
    state.best_tail, state.best_nll = content["best_tail"], content["best_nll"]
    state.chosen_epoch, state.start_loss = content["chosen_epoch"], content["start_loss"]
    state.history = [EpochFigures(**figures) for figures in content["history"]]


def _calibration_figures(
    tail: Tail, store: ViewStore | None, truth: NDArray[np.int64], schedule: Schedule, accelerator: Accelerator
) -> tuple[float, float]:
    """Loss at the best temperature, and share of right pictures; each process computes its part of the logits."""
    if store is None:
        return math.nan, math.nan
    mine = np.array_split(np.arange(len(truth)), accelerator.num_processes)[accelerator.process_index]
    with mixed_precision(accelerator.device, bfloat16=schedule.bfloat16):
        vectors = torch.from_numpy(tuned_vectors(tail, store, flip=tail.flip, rows=mine)).to(tail.mean.device)
    with torch.inference_mode():
        part = tail.logits(vectors).double().cpu().numpy()
    logits = np.concatenate(gathered_rows(accelerator, [part]))
    nll = nll_at_best_temperature(np.maximum(logits, -1e4), truth)
    return nll, float((logits.argmax(axis=1) == truth).mean())


def _nan_message(source: ViewSource, rows: NDArray[np.int64], step: int, epoch: int, checkpoint: Path | None) -> str:
    """What to tell, and with a checkpoint a file beside it with all names of the batch."""
    names = [source.images[row].path.name for row in rows]
    shown = ", ".join(names[:_NAMES_SHOWN])
    if len(names) > _NAMES_SHOWN:
        shown += f" and {len(names) - _NAMES_SHOWN} more"
        if checkpoint is not None:
            path = checkpoint.with_name("nan_batch.txt")
            write_whole_text(path, "".join(f"{name}\n" for name in names))
            shown += f", all in {path}"
    kept = f"; the state after epoch {epoch - 1} is kept in {checkpoint}" if checkpoint is not None else ""
    return (
        f"epoch {epoch}, step {step}: the loss or its gradient is not a number any more, in the batch of {shown}"
        f"{kept}; start anew with a lower finetune.learning_rate, or look at these pictures"
    )
