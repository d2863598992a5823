"""What the frozen part of a network makes of every picture and of its augmented views, on disk.

The frozen part runs once a view, in onnxruntime; training reads its output as often as it likes. Half precision,
memory-mapped: memory does not grow with the number of pictures. N images, V views, S input side in px; C, h, w the
shape of the output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from vision.config import AugmentationSettings
from vision.data.preprocessing import Preprocessing, load_network_input, pixels_of
from vision.errors import ImageError, ManifestError, OutputError
from vision.files import whole_file
from vision.train.augmentation import augmented
from vision.train.backbones import Backbone
from vision.train.export import export_module
from vision.train.features import FeatureRecipe, TrainingImage
from vision.train.stages import stages_of

VIEWS_VERSION = 1
_IMAGES_AT_ONCE = 16


@dataclass(frozen=True)
class ViewStore:
    """Outputs of the frozen part.

    Attributes:
        outputs: (N, V, C, h, w), float16, memory-mapped.
        images: N pictures.
    """

    outputs: NDArray[np.float16]
    images: Sequence[TrainingImage]

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> torch.Tensor:
        """(len(rows), C, h, w) in single precision."""
        chosen = np.stack([self.outputs[row, view] for row, view in zip(rows, views, strict=True)])
        return torch.from_numpy(chosen.astype(np.float32))


class FrozenPart:
    """The first stages of a network, as a graph that onnxruntime runs."""

    def __init__(self, backbone: Backbone, recipe: FeatureRecipe, from_stage: int, folder: Path) -> None:
        self.backbone, self.recipe, self.from_stage = backbone, recipe, from_stage
        self.preprocessing: Preprocessing = recipe.preprocessing(backbone)
        self._session: onnxruntime.InferenceSession | None = None
        self._folder = folder

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, S, S), normalised -> (N, C, h, w)."""
        if self.from_stage == 0:
            return inputs
        if self._session is None:
            prefix = nn.Sequential(*stages_of(self.backbone)[: self.from_stage]).eval()
            with whole_file(self._folder / f"frozen-{self.key}.onnx") as temporary:
                export_module(prefix, temporary, input_px=self.preprocessing.input_px, output_names=["features"])
                options = onnxruntime.SessionOptions()
                options.log_severity_level = 3
                self._session = onnxruntime.InferenceSession(
                    temporary.read_bytes(), options, providers=["CPUExecutionProvider"]
                )
        outputs: list[NDArray[np.float32]] = self._session.run(None, {"images": inputs})
        return outputs[0]

    @property
    def key(self) -> str:
        """Names weights, cut and preprocessing."""
        said = repr((VIEWS_VERSION, self.backbone.weights.sha256, self.from_stage, self.preprocessing))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def stored_views(
    frozen: FrozenPart,
    images: Sequence[TrainingImage],
    folder: Path,
    *,
    augmentation: AugmentationSettings,
    num_augmented: int,
    seed: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> ViewStore:
    """Run the frozen part over every picture, its mirror image and its augmented views, or take what is on disk.

    View 0 is the picture, view 1 its mirror image, the others are augmented. A run that is killed goes on where it
    stopped.

    Args:
        frozen: The frozen part.
        images: N pictures.
        folder: Where the files go; they are named after everything that decides their content.
        augmentation: How views are made.
        num_augmented: V - 2.
        seed: Of the augmentation.
        on_progress: Told of each picture that is done.

    Raises:
        ManifestError: Pictures cannot be decoded; names them all.
        OutputError: The disk cannot hold it.
    """
    said = json.dumps(
        [frozen.key, [i.cache_name for i in images], augmentation.model_dump(mode="json"), num_augmented, seed]
    )
    key = hashlib.sha256(said.encode()).hexdigest()[:24]
    num_views = 2 + num_augmented
    folder.mkdir(parents=True, exist_ok=True)
    shape = frozen(np.zeros((1, 3, frozen.preprocessing.input_px, frozen.preprocessing.input_px), np.float32)).shape[1:]
    outputs_path, done_path = folder / f"views-{key}.npy", folder / f"views-{key}.done.npy"
    try:
        outputs = _mapped(outputs_path, (len(images), num_views, *shape), np.float16)
        done = _mapped(done_path, (len(images),), np.uint8)
    except OSError as error:
        raise OutputError(f"{outputs_path}: cannot be written ({error.strerror or error})") from error
    on_progress(int(done.sum()))
    missing = np.flatnonzero(done == 0)
    faults: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(missing), _IMAGES_AT_ONCE):
            rows = missing[start : start + _IMAGES_AT_ONCE]
            arrays = list(
                pool.map(
                    lambda row: _views_of(images[row], frozen.preprocessing, augmentation, num_augmented, seed), rows
                )
            )
            for row, array in zip(rows, arrays, strict=True):
                if isinstance(array, ImageError):
                    faults.append(str(array))
                    continue
                outputs[row] = frozen(array).astype(np.float16)
                done[row] = 1  # after its content: a kill in between has the row computed again
                on_progress(1)
    if faults:
        raise ManifestError("\n".join(faults))
    return ViewStore(outputs, images)


def _views_of(
    image: TrainingImage,
    preprocessing: Preprocessing,
    augmentation: AugmentationSettings,
    num_augmented: int,
    seed: int,
) -> NDArray[np.float32] | ImageError:
    try:
        plain = load_network_input(image.path, preprocessing, box=image.box)
    except ImageError as error:
        return error
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    deviation = np.array(preprocessing.std, np.float32)[:, None, None]
    views = [plain, plain[:, :, ::-1]]
    if num_augmented:
        pixels = pixels_of(plain, preprocessing)
        for view in range(1, num_augmented + 1):
            changed = augmented(
                np.ascontiguousarray(pixels), augmentation, seed=seed, picture=image.cache_name, view=view
            )
            normalised = (changed.transpose(2, 0, 1).astype(np.float32) / 255 - mean) / deviation
            views.append(normalised.astype(np.float32))
    return np.stack(views)


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A memory-mapped array, made with zeros if it is not there or not of that shape."""
    if path.exists():
        try:
            there: NDArray[Any] = np.lib.format.open_memmap(path, mode="r+")
            if there.shape == shape and there.dtype == dtype:
                return there
        except ValueError:
            pass  # cut short: made anew
        path.unlink()
    made: NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    return made
