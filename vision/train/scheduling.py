"""What `auto` trains: how deep, on how many views and how long, from the data, a time budget and this machine's speed.

Longer trainings are tried in the order in which they were measured to gain (docs/log.md, 2026-11-27): first the later
half of the network, then more epochs. Training still more of it gained nothing on 432 and 936 pictures, and on 60 it
cost accuracy; more than three views gained nothing.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from vision.config import AugmentationSettings, FinetuneSettings, Strategy
from vision.train.backbones import Backbone
from vision.train.devices import mixed_precision
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.finetune import Schedule
from vision.train.lora import adaptable_cuts
from vision.train.probe import LinearProbe
from vision.train.stages import build_tail, stages_of, tap_stages
from vision.train.views import FrozenPart, stored_views

_EPOCHS = (2, 5, 10, 20, 40)
_VIEWS = 3
_FEWEST_EPOCHS, _FEWEST_STEPS = 10, 500
"""Of many pictures fewer epochs will do, as long as they are that many steps."""
_MANY_IMAGES = 2_000
"""From so many on, `auto` goes deeper than half of the network where time is left: unmeasured, for want of pictures."""
_TIMED_BATCH = 16
"""Pictures of a step that is timed, at most."""
_BUSY_SHARE = 0.25
"""Of all processors, taken by other work, from which on it is said that times are longer than they would be."""
_PROCESSOR = torch.device("cpu")


@dataclass(frozen=True)
class _Plan:
    """One training: its first trained stage, and epochs."""

    cut: int
    epochs: int


def choose_schedule(
    backbone: Backbone,
    recipe: FeatureRecipe,
    probe: LinearProbe,
    settings: FinetuneSettings,
    budget_s: float,
    num_training: int,
    num_calibration: int,
    time_a_view: Callable[[int], float],
    *,
    strategy: Strategy = "finetune",
    num_tunings: int = 1,
    num_processes: int = 1,
    device: torch.device = _PROCESSOR,
    with_estimate: bool = True,
) -> Schedule:
    """How deep, on how many views and how long to train, so that it fits into the budget on this machine.

    Where the settings leave nothing open and no estimate is wanted, nothing is timed.

    Args:
        backbone: The network.
        recipe: The features.
        probe: Of its size.
        settings: What is open, and what is not.
        budget_s: Seconds that the run may take.
        num_training: Training pictures.
        num_calibration: Calibration pictures.
        time_a_view: Told the first trained stage, says how many seconds it takes to make a view and run the frozen part
            over it. Asked about one stage only, as others differ little.
        strategy: `finetune` or `lora`.
        num_tunings: How often the network is tuned, folds and all.
        num_processes: Processes that share a batch.
        device: Where the trained part computes.
        with_estimate: Time the training also where the settings leave nothing open.
    """
    stages = stages_of(backbone)
    taps = tap_stages(backbone, stages, recipe.layer)
    batch_size = _batch_size(num_training) if settings.batch_size == "auto" else settings.batch_size
    cuts = list(range(min(taps), -1, -1)) if settings.from_stage == "auto" else [settings.from_stage]
    if strategy == "lora":
        cuts = adaptable_cuts(stages[: max(taps) + 1], cuts, backbone.name)
    half = 0 if strategy == "lora" else math.ceil(len(stages) / 2)
    enough = next((cut for cut in cuts if cut <= half), cuts[-1])
    plans = _plans(cuts, enough, settings, num_training, batch_size)
    is_fresh = settings.views == "fresh"
    views = settings.views if isinstance(settings.views, int) else (0 if is_fresh else _VIEWS)

    def trained(cut: int) -> str:
        return f"stages {cut} to {max(taps)} of {len(stages)}"

    def chosen(plan: _Plan, *, bfloat16: bool, why: str = "") -> Schedule:
        said = (
            f"training {trained(plan.cut)} and the classifier, {plan.epochs} epochs on "
            f"{'fresh views' if is_fresh else f'{views} views'} of {num_training} pictures, "
            f"batches of {batch_size}, {'bfloat16' if bfloat16 else 'float32'}{why}"
        )
        return Schedule(plan.cut, None if is_fresh else views, plan.epochs, bfloat16, batch_size, (said,))

    is_open = "auto" in (settings.from_stage, settings.epochs, settings.precision)
    if not (is_open or with_estimate):
        return chosen(plans[0], bfloat16=settings.precision == "bfloat16")
    timing = _Timing(backbone, recipe, probe, settings, strategy, device, min(batch_size, _TIMED_BATCH))
    busy_share = _busy_share()
    bfloat16 = settings.precision == "bfloat16"
    if settings.precision == "auto":
        bfloat16 = timing.is_bfloat16_faster(enough)
    view_s = time_a_view(enough)

    def total_s(plan: _Plan) -> float:
        tail_s = timing.tail_s(plan.cut, bfloat16=bfloat16)
        once = view_s * (num_training * (2 + views) + 2 * num_calibration)
        each = num_training * ((view_s if is_fresh else 0.0) + tail_s) + 0.7 * num_calibration * tail_s
        return once + num_tunings * plan.epochs * each / num_processes

    plan, beyond = plans[0], None
    for longer in plans:
        if total_s(longer) > budget_s:
            beyond = longer
            break
        plan = longer
    why = ""
    if beyond is plans[0]:
        why = "; more than the budget, and nothing is left to leave out"
    elif beyond is not None:
        more = trained(beyond.cut) if beyond.cut != plan.cut else f"{beyond.epochs} epochs"
        why = f"; {more} would take about {total_s(beyond):.0f} s"
    if busy_share > _BUSY_SHARE:
        why += f"; other work takes {busy_share:.0%} of this machine's processors now, idle it is faster"
    return chosen(plan, bfloat16=bfloat16, why=f": about {total_s(plan):.0f} s of {budget_s:.0f} s{why}")


def _plans(
    cuts: Sequence[int], enough: int, settings: FinetuneSettings, num_training: int, batch_size: int
) -> list[_Plan]:
    """Ever longer trainings within what the settings leave open.

    Args:
        cuts: Possible first trained stages, from the last one down.
        enough: One of them, below which nothing is trained on few pictures.
        settings: What is open.
        num_training: N.
        batch_size: Pictures in a batch.
    """
    steps = math.ceil(num_training / batch_size)
    epochs = [number for number in _EPOCHS if number >= _FEWEST_EPOCHS or number * steps >= _FEWEST_STEPS]
    epochs = epochs if settings.epochs == "auto" else [settings.epochs]
    deeper = [cut for cut in cuts if cut < enough] if num_training >= _MANY_IMAGES else []
    return [
        *(_Plan(cut, epochs[0]) for cut in cuts if cut >= enough),
        *(_Plan(enough, number) for number in epochs[1:]),
        *(_Plan(cut, epochs[-1]) for cut in deeper),
    ]


def seconds_a_view(
    from_stage: int,
    *,
    backbone: Backbone,
    recipe: FeatureRecipe,
    images: Sequence[TrainingImage],
    augmentation: AugmentationSettings,
    folder: Path,
    device: torch.device = _PROCESSOR,
) -> float:
    """Time to decode a picture, vary it and run the frozen part over it, measured on some pictures.

    Args:
        from_stage: The first stage that is not frozen.
        backbone: The network.
        recipe: How pictures are made its inputs.
        images: N pictures.
        augmentation: How views are made.
        folder: Where the frozen part's graph is kept, for the training that follows.
        device: It computes there if it is a GPU, else in onnxruntime.
    """
    frozen = FrozenPart(backbone, recipe, from_stage, folder, device=device if device.type == "cuda" else None)
    frozen(np.zeros((1, 3, recipe.input_px, recipe.input_px), np.float32))  # makes the graph
    some = images[:: math.ceil(len(images) / _TIMED_BATCH)]
    with tempfile.TemporaryDirectory() as temporary:
        started = time.perf_counter()
        store = stored_views(frozen, some, Path(temporary), augmentation=augmentation, num_augmented=_VIEWS, seed=0)
        num_views = len(some) * int(store.outputs.shape[1])
        return (time.perf_counter() - started) / num_views


def _busy_share() -> float:
    """Share of all processors that other work takes, while this process waits."""
    return psutil.cpu_percent(interval=0.3) / 100


def _batch_size(num_training: int) -> int:
    """32, or of fewer than 1,600 pictures the power of two that gives fifty steps an epoch or more, 8 at least.

    On 432 look-alikes batches of 8, 16 and 32 gave 0.681, 0.649 and 0.614 in as many epochs (docs/log.md, 2026-11-27).
    """
    return min(32, max(8, 1 << int(math.log2(max(num_training / 50, 1)))))


class _Timing:
    """How long a picture takes on this machine, measured when first asked."""

    def __init__(
        self,
        backbone: Backbone,
        recipe: FeatureRecipe,
        probe: LinearProbe,
        settings: FinetuneSettings,
        strategy: Strategy,
        device: torch.device,
        batch_size: int,
    ) -> None:
        self._backbone, self._recipe, self._probe, self._settings = backbone, recipe, probe, settings
        self._strategy: Strategy = strategy
        self._device, self._batch_size = device, batch_size
        self._of_tail: dict[tuple[int, bool], float] = {}

    def tail_s(self, cut: int, *, bfloat16: bool) -> float:
        """Seconds a picture for one training step of the stages from `cut` on."""
        if (cut, bfloat16) not in self._of_tail:
            self._of_tail[cut, bfloat16] = self._time_step(cut, bfloat16=bfloat16)
        return self._of_tail[cut, bfloat16]

    def is_bfloat16_faster(self, cut: int) -> bool:
        """Whether half precision is worth it; on some processors it is slower."""
        return self.tail_s(cut, bfloat16=True) < 0.9 * self.tail_s(cut, bfloat16=False)

    def _time_step(self, cut: int, *, bfloat16: bool) -> float:
        recipe = self._recipe
        tail = build_tail(self._backbone, recipe, cut, self._probe, self._settings, self._strategy, seed=0).train()
        tail.to(self._device)
        inputs = torch.zeros(self._batch_size, 3, recipe.input_px, recipe.input_px)
        with torch.inference_mode():
            for stage in stages_of(self._backbone)[:cut]:
                inputs = stage(inputs)
        inputs = inputs.clone().to(self._device)
        best = np.inf
        for _ in range(3):
            started = time.perf_counter()
            with mixed_precision(self._device, bfloat16=bfloat16):
                loss = tail(inputs).float().square().mean()
            loss.backward()
            float(loss.detach())  # waits for a GPU to be done
            best = min(best, time.perf_counter() - started)
        return float(best) / self._batch_size
