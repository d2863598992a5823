"""Where training computes: one processor, one GPU, or several processes on one or many machines.

Started by `vision train`, a run is one process. Started by `torchrun` or `accelerate launch`, it is several: each of
them reads the same settings, the first prepares features, views and the bundle, and all of them train.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vision.config import Device, Tracker
from vision.errors import ConfigError, MissingExtraError, nearest_name_hint

MLFLOW_FILE = "mlflow.db"
"""Beside the runs, so that they can be compared; `MLFLOW_TRACKING_URI` names another place."""

_LONGEST_WAIT = timedelta(days=1)
"""Of processes for the first one, which makes features and views and writes the bundle alone."""

_PACKAGES: dict[Tracker, str] = {"tensorboard": "tensorboard", "mlflow": "mlflow"}


def open_accelerator(
    device: Device = "auto", *, trackers: tuple[Tracker, ...] = (), folder: Path | None = None
) -> Accelerator:
    """The processes that train together, and this one's device.

    Args:
        device: `auto` takes a GPU if torch sees one.
        trackers: To which figures are sent.
        folder: Where trackers that write files put them.

    Raises:
        ConfigError: A GPU is asked for and there is none.
        MissingExtraError: A tracker is not installed.
    """
    check_devices(device, trackers)
    if "mlflow" in trackers and folder is not None and "MLFLOW_TRACKING_URI" not in os.environ:
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder.parent.resolve() / MLFLOW_FILE}")
    use_gpu = device != "cpu" and torch.cuda.is_available()
    patience = InitProcessGroupKwargs(timeout=_LONGEST_WAIT)
    return Accelerator(cpu=not use_gpu, log_with=list(trackers) or None, project_dir=folder, kwargs_handlers=[patience])


def check_devices(device: Device, trackers: tuple[Tracker, ...]) -> None:
    """Make sure that there is a GPU if one is asked for, and that trackers are installed.

    Raises:
        ConfigError: There is no GPU.
        MissingExtraError: A tracker is missing.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: 'cuda', but torch sees no GPU here; set it to auto or cpu")
    for tracker in trackers:
        _check_installed(tracker)


def check_backend(backend: str) -> None:
    """Make sure that torch.compile has a backend of this name here.

    Raises:
        ConfigError: It has not.
    """
    known = torch._dynamo.list_backends(exclude_tags=())
    if backend not in known:
        hint = nearest_name_hint(backend, known)
        raise ConfigError(f"finetune.compile_with: '{backend}' is no backend of torch.compile here{hint}")


def _check_installed(tracker: Tracker) -> None:
    from importlib.util import find_spec

    if find_spec(_PACKAGES[tracker]) is None:
        raise MissingExtraError(
            f"train.trackers: '{tracker}' needs a package that is missing; pip install 'vision[{tracker}]'"
        )


@contextmanager
def mixed_precision(device: torch.device, *, bfloat16: bool) -> Iterator[None]:
    """Torch's autocast to bfloat16, or nothing; on processors, grouped convolutions stay in single precision.

    There oneDNN takes four times as long for the gradient of a depthwise convolution in bfloat16 as in single
    precision, which eats up more than the other layers gain (docs/log.md, 2026-11-27).
    """
    grouped = _GroupedInSinglePrecision() if bfloat16 and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16), grouped:
        yield


class _GroupedInSinglePrecision(TorchFunctionMode):
    """Convolutions of several groups compute outside autocast."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        groups = args[6] if len(args) > 6 else kwargs.get("groups", 1)
        if func is not functional.conv2d or groups == 1:
            return func(*args, **kwargs)
        images, weight, *rest = args
        with torch.autocast("cpu", enabled=False):
            return func(images.float(), weight, *rest, **kwargs)


def gathered_rows(accelerator: Accelerator, parts: list[Any]) -> list[Any]:
    """Every process's parts, in the order of the processes."""
    return list(gather_object(parts)) if accelerator.num_processes > 1 else parts


def from_first_process(accelerator: Accelerator, value: Any) -> Any:
    """What the first process has, in all of them."""
    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


@contextmanager
def tracked(accelerator: Accelerator, name: str, settings: dict[str, Any]) -> Iterator[None]:
    """Trackers that are open while a run trains."""
    if not accelerator.log_with:
        yield
        return
    accelerator.init_trackers(name, config=_flat(settings))
    try:
        yield
    finally:
        for tracker in accelerator.trackers:  # `end_training` would end the processes' connection too
            tracker.finish()


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `finetune.epochs: 10`; what is no number, truth value or text becomes text."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
