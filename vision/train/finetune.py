"""Fine-tuning: the last stages of a network and the fitted probe on them, trained further from cached views.

N training pictures, M calibration pictures, K classes, D features, B pictures in a batch.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vision.config import FinetuneSettings
from vision.errors import TrainingError
from vision.files import whole_file
from vision.taxonomy import Taxonomy
from vision.train.probe import nll_at_best_temperature
from vision.train.stages import Tail
from vision.train.views import ViewStore

_PLAIN, _MIRRORED, _FIRST_AUGMENTED = 0, 1, 2
_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Schedule:
    """What is left of the settings once `auto` has chosen.

    Attributes:
        from_stage: First trained stage.
        views: Augmented views of each picture.
        epochs: Passes over the training pictures.
        bfloat16: Whether the trained part computes in bfloat16.
        reasons: What was chosen, and why, in words.
    """

    from_stage: int
    views: int
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


def fine_tune(
    tail: Tail,
    training: ViewStore,
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
) -> Tuned:
    """Train a tail that starts as the probe; keep the epoch that is best on the calibration pictures.

    Without calibration pictures the last epoch is kept. The same seed gives the same result; with a checkpoint a run
    that was killed ends as one that was not.

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

    Raises:
        TrainingError: The loss is no number any more; names the step and the pictures of the batch.
    """
    rows = np.arange(len(truth)) if rows is None else rows
    run = _Run(tail, len(rows), truth[rows], schedule, settings)
    state = _State(best_tail=copy.deepcopy(tail.state_dict()))
    if checkpoint is not None and checkpoint.exists():
        _restore(checkpoint, run, state)
    if not state.history:
        started = time.perf_counter()
        nll, accuracy = _calibration_figures(tail, calibration, calibration_truth)
        figures = EpochFigures(0, math.nan, nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        state.best_nll = nll if calibration is not None else math.inf
        on_epoch(figures)
    for epoch in range(len(state.history), schedule.epochs + 1):
        if calibration is not None and epoch - state.chosen_epoch > settings.patience:
            break
        started = time.perf_counter()
        generator = np.random.default_rng([seed, epoch])
        losses: list[float] = []
        for batch in _batches(rows, truth, generator, settings):
            first, count = (_FIRST_AUGMENTED, schedule.views) if schedule.views else (_PLAIN, 2)
            views = first + generator.integers(0, count, len(batch))
            loss = run.step(training.batch(batch, views), torch.from_numpy(truth[batch]), relations, generator)
            if not math.isfinite(loss):
                raise TrainingError(_nan_message(training, batch, len(losses), epoch, checkpoint))
            losses.append(loss)
        run.finish_epoch()
        nll, accuracy = _calibration_figures(run.averaged_tail(), calibration, calibration_truth)
        figures = EpochFigures(epoch, float(np.mean(losses)), nll, accuracy, time.perf_counter() - started)
        state.history.append(figures)
        if calibration is None or nll < state.best_nll:
            state.best_nll, state.chosen_epoch = nll, epoch
            state.best_tail = copy.deepcopy(run.averaged_tail().state_dict())
        if checkpoint is not None:
            _save(checkpoint, run, state)
        on_epoch(figures)
    tail.load_state_dict(state.best_tail)
    tail.eval()
    return Tuned(tail, state.chosen_epoch, state.history)


@torch.inference_mode()
def tuned_vectors(
    tail: Tail, store: ViewStore, *, flip: bool, rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Vectors of pictures, averaged with those of their mirror images if `flip`: (N, D), as in the bundle's graph."""
    tail.eval()
    rows = np.arange(len(store.images)) if rows is None else rows
    chunks = []
    for start in range(0, len(rows), 64):
        chunk = rows[start : start + 64]
        total = tail.vectors(store.batch(chunk, np.full(len(chunk), _PLAIN)))
        if flip:
            total = (total + tail.vectors(store.batch(chunk, np.full(len(chunk), _MIRRORED)))) / 2
        chunks.append(total.numpy())
    return np.concatenate(chunks)


class _Run:
    """Weights, their moving average, the optimiser and the place in the schedule."""

    def __init__(
        self, tail: Tail, num_rows: int, truth: NDArray[np.int64], schedule: Schedule, settings: FinetuneSettings
    ) -> None:
        self.tail, self._settings, self._bfloat16 = tail, settings, schedule.bfloat16
        tail.to(memory_format=torch.channels_last)
        groups = tail.parameter_groups(settings.learning_rate, settings.layer_decay, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups)
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
        counts = np.bincount(truth, minlength=tail.classifier.out_features).astype(np.float64)
        prior = np.log(np.maximum(counts, 0.5) / counts.sum())
        self._adjustment = torch.from_numpy((settings.logit_adjustment * prior).astype(np.float32))
        self._waiting = 0

    def averaged_tail(self) -> Tail:
        module = self.average.module
        assert isinstance(module, Tail)
        return module

    def step(
        self,
        inputs: torch.Tensor,
        truth: torch.Tensor,
        relations: ClassRelations,
        generator: np.random.Generator,
    ) -> float:
        """One batch forward and back; its loss. A loss that is no number changes nothing."""
        self.tail.train()
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        targets = functional.one_hot(truth, self.tail.classifier.out_features).float()
        if self._settings.mixup:
            share = float(generator.beta(self._settings.mixup, self._settings.mixup))
            order = torch.from_numpy(generator.permutation(len(truth)))
            inputs = share * inputs + (1 - share) * inputs[order]
            targets = share * targets + (1 - share) * targets[order]
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            logits = self.tail(inputs)
        loss = self._loss(logits.float(), targets, relations)
        if not bool(torch.isfinite(loss)):
            return math.nan
        (loss / self._settings.accumulate).backward()  # type: ignore[no-untyped-call]
        self._waiting += 1
        if self._waiting == self._settings.accumulate:
            self._update()
        return float(loss.detach())

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

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, relations: ClassRelations) -> torch.Tensor:
        settings = self._settings
        logits = logits + self._adjustment
        if settings.look_alike_margin:
            logits = logits + settings.look_alike_margin * (targets @ relations.look_alikes)
        smooth = settings.label_smoothing
        softened = (1 - smooth) * targets + smooth / targets.shape[1]
        loss = -(softened * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()
        if settings.family_weight and relations.num_families > 1:
            members = functional.one_hot(relations.family_of, relations.num_families).float()  # (K, families)
            family_probability = functional.softmax(logits, dim=1) @ members
            family_loss = -((targets @ members) * torch.log(family_probability.clamp(min=1e-8))).sum(dim=1).mean()
            loss = loss + settings.family_weight * family_loss
        return loss


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


def _batches(
    rows: NDArray[np.int64], truth: NDArray[np.int64], generator: np.random.Generator, settings: FinetuneSettings
) -> Iterator[NDArray[np.int64]]:
    """Every row once in a random order; with class-balanced sampling, as many draws with every class as likely."""
    if settings.balanced_sampling:
        counts = np.bincount(truth[rows])
        weights = 1 / counts[truth[rows]]
        order = generator.choice(rows, len(rows), p=weights / weights.sum())
    else:
        order = generator.permutation(rows)
    for start in range(0, len(order), settings.batch_size):
        yield order[start : start + settings.batch_size]


def _calibration_figures(tail: Tail, store: ViewStore | None, truth: NDArray[np.int64]) -> tuple[float, float]:
    if store is None:
        return math.nan, math.nan
    with torch.inference_mode():
        logits = tail.logits(torch.from_numpy(tuned_vectors(tail, store, flip=True))).double().numpy()
    nll = nll_at_best_temperature(np.maximum(logits, -1e4), truth)
    return nll, float((logits.argmax(axis=1) == truth).mean())


def _nan_message(store: ViewStore, batch: NDArray[np.int64], step: int, epoch: int, checkpoint: Path | None) -> str:
    names = [store.images[row].path.name for row in batch]
    shown = ", ".join(names[:_NAMES_SHOWN]) + (
        f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    )
    is_kept = checkpoint is not None and epoch > 1
    kept = f"; the state after epoch {epoch - 1} is kept in {checkpoint}" if is_kept else ""
    return (
        f"epoch {epoch}, step {step + 1}: the loss is not a number any more, in the batch of {shown}{kept}; "
        "lower finetune.learning_rate, or look at these pictures"
    )
