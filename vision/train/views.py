"""What the frozen part of a network makes of every picture and of its augmented views, on disk.

The frozen part runs once a view, in onnxruntime; training reads its output as often as it likes. Half precision,
memory-mapped: memory does not grow with the number of pictures. N images, V views, S input side in px; C, h, w the
shape of the output.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import math
import mmap
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from vision.config import AugmentationSettings
from vision.data.preprocessing import Preprocessing, load_network_input, pixels_of
from vision.errors import ImageError, ManifestError, OutputError
from vision.train.augmentation import augmented
from vision.train.backbones import Backbone
from vision.train.features import FeatureRecipe, TrainingImage, looks_at
from vision.train.graphs import MADE_BY, kept_session
from vision.train.stages import stages_of

VIEWS_VERSION = 1
_IMAGES_AHEAD = 8
"""So many pictures, or one a core, are decoded and varied while the frozen part runs over those before."""

_Made = TypeVar("_Made")

PLAIN, MIRRORED, FIRST_AUGMENTED = 0, 1, 2
"""Numbers of views: the picture, its mirror image, and from there on the augmented ones."""


class ViewSource(Protocol):
    """Where training gets views from."""

    @property
    def images(self) -> Sequence[TrainingImage]:
        """N pictures."""

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> torch.Tensor:
        """What can be read before the network runs: in single precision, one entry for each row."""

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """What the frozen part makes of a batch: (B, C, h, w), or tokens."""


@dataclass(frozen=True)
class ViewStore:
    """Outputs of the frozen part, on disk.

    Attributes:
        outputs: (N, V, C, h, w), float16, memory-mapped.
        images: N pictures.
        num_crops: Crops of each picture; the last views are those after the first, each followed by its mirror image.
    """

    outputs: NDArray[np.float16]
    images: Sequence[TrainingImage]
    num_crops: int = 1

    def looks(self, *, flip: bool) -> list[int]:
        """Numbers of the views whose vectors are averaged."""
        num_views = self.outputs.shape[1]
        numbers = [PLAIN, MIRRORED, *range(num_views - 2 * (self.num_crops - 1), num_views)]
        return numbers if flip else numbers[::2]

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> torch.Tensor:
        """(len(rows), C, h, w) in single precision."""
        shape = (len(rows), *self.outputs.shape[2:])
        chosen = np.empty(shape, np.float32)
        for position, (row, view) in enumerate(zip(rows, views, strict=True)):
            chosen[position] = self.outputs[row, view]
        _let_go(self.outputs)
        return torch.from_numpy(chosen)

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch as it is: the frozen part has seen it."""
        return batch


@dataclass(frozen=True)
class FreshViews:
    """Views that are made when they are asked for, each from its own number: no two epochs or workers make the same.

    Attributes:
        images: N pictures.
        preprocessing: Of the network.
        augmentation: How views are made.
        seed: Of the augmentation.
        frozen: What runs over them; not taken along into the processes that decode.
    """

    images: Sequence[TrainingImage]
    preprocessing: Preprocessing
    augmentation: AugmentationSettings
    seed: int
    frozen: FrozenPart | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "frozen": None}

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> torch.Tensor:
        """(len(rows), 3, S, S), normalised.

        Raises:
            ManifestError: A picture cannot be decoded.
        """
        side = self.preprocessing.input_px
        made = [self._view(*which) for which in zip(rows, views, strict=True)]
        return torch.from_numpy(np.stack(made)) if made else torch.zeros(0, 3, side, side)

    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """What the frozen part makes of the pictures."""
        assert self.frozen is not None, "only the process that trains has it"
        return self.frozen.on_tensor(batch)

    def _view(self, row: int, view: int) -> NDArray[np.float32]:
        try:
            plain = load_network_input(self.images[row].path, self.preprocessing, box=self.images[row].box)
        except ImageError as error:
            raise ManifestError(str(error)) from error
        if view < FIRST_AUGMENTED:
            return plain if view == PLAIN else np.ascontiguousarray(plain[:, :, ::-1])
        name = self.images[row].cache_name
        return _augmented_input(plain, self.preprocessing, self.augmentation, self.seed, name, view - MIRRORED)


class FrozenPart:
    """The first stages of a network: a graph that onnxruntime runs on the processor, or torch on a GPU."""

    def __init__(
        self,
        backbone: Backbone,
        recipe: FeatureRecipe,
        from_stage: int,
        folder: Path,
        *,
        device: torch.device | None = None,
    ) -> None:
        """With a device torch computes there; without, onnxruntime on the processor."""
        self.backbone, self.recipe, self.from_stage = backbone, recipe, from_stage
        self.preprocessing: Preprocessing = recipe.preprocessing(backbone)
        self._device = device
        self._session: onnxruntime.InferenceSession | None = None
        self._folder = folder

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, S, S), normalised -> (N, C, h, w)."""
        if self.from_stage == 0:
            return inputs
        if self._device is not None:
            return self.on_tensor(torch.from_numpy(inputs).to(self._device)).cpu().numpy()
        outputs: list[NDArray[np.float32]] = self._graph.run(None, {"images": inputs})
        return outputs[0]

    @torch.no_grad()
    def on_tensor(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same for tensors, which stay where they are."""
        if self.from_stage == 0:
            return inputs
        if self._device is None:
            return torch.from_numpy(self(inputs.numpy()))
        outputs: torch.Tensor = self._module(inputs.to(self._device).contiguous(memory_format=torch.channels_last))
        return outputs

    @cached_property
    def _prefix(self) -> nn.Module:
        return nn.Sequential(*stages_of(self.backbone)[: self.from_stage]).eval()

    @cached_property
    def _module(self) -> nn.Module:
        return copy.deepcopy(self._prefix).to(self._device).to(memory_format=torch.channels_last)

    @cached_property
    def _graph(self) -> onnxruntime.InferenceSession:
        path = self._folder / f"frozen-{self.key}.onnx"
        return kept_session(self._prefix, path, input_px=self.preprocessing.input_px, output_names=["features"])

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Of one view: (C, h, w), or of tokens."""
        side = self.preprocessing.input_px
        with torch.inference_mode():
            return tuple(self._prefix(torch.zeros(1, 3, side, side)).shape[1:])

    @property
    def key(self) -> str:
        """Names weights, cut and preprocessing."""
        said = repr((VIEWS_VERSION, MADE_BY, self.backbone.weights.sha256, self.from_stage, self.preprocessing))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def size_of_views(frozen: FrozenPart, num_images: int, num_augmented: int) -> int:
    """Bytes that `stored_views` takes on the disk for so many pictures."""
    return num_images * _num_views(frozen, num_augmented) * math.prod(frozen.output_shape) * np.float16().itemsize


def _num_views(frozen: FrozenPart, num_augmented: int) -> int:
    return FIRST_AUGMENTED + num_augmented + 2 * (len(frozen.recipe.crops) - 1)


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
    crops = frozen.recipe.crops
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"views-{_store_key(frozen, images, augmentation, num_augmented, seed)}"
    shape = (len(images), _num_views(frozen, num_augmented), *frozen.output_shape)
    outputs = _mapped(folder / f"{stem}.npy", shape, np.float16)
    done = _mapped(folder / f"{stem}.done.npy", shape[:1], np.uint8)
    on_progress(int(done.sum()))

    def made(row: int) -> NDArray[np.float32] | ImageError:
        return _views_of(images[row], frozen.preprocessing, augmentation, num_augmented, seed, crops)

    faults: list[str] = []
    for row, array in _made_ahead(made, np.flatnonzero(done == 0).tolist()):
        if isinstance(array, ImageError):
            faults.append(str(array))
            continue
        outputs[row] = frozen(array).astype(np.float16)
        _let_go(outputs)
        done[row] = 1  # after its content: a kill in between has the row computed again
        on_progress(1)
    if faults:
        raise ManifestError("\n".join(faults))
    return ViewStore(outputs, images, len(crops))


def _store_key(
    frozen: FrozenPart,
    images: Sequence[TrainingImage],
    augmentation: AugmentationSettings,
    num_augmented: int,
    seed: int,
) -> str:
    """Names all that decides what is in a store; of plain pictures neither seed nor augmentation does."""
    said: list[Any] = [frozen.key, frozen.recipe.crops, [image.cache_name for image in images]]
    if num_augmented:
        said += [augmentation.model_dump(mode="json"), num_augmented, seed]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:24]


def _made_ahead(make: Callable[[int], _Made], rows: Iterable[int]) -> Iterator[tuple[int, _Made]]:
    """Each row with what threads make of it, in order, made while the caller works on those before."""
    num_ahead = max(_IMAGES_AHEAD, os.cpu_count() or 1)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[int, Future[_Made]]] = deque()
        for row in rows:
            waiting.append((row, pool.submit(make, row)))
            if len(waiting) > num_ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _views_of(
    image: TrainingImage,
    preprocessing: Preprocessing,
    augmentation: AugmentationSettings,
    num_augmented: int,
    seed: int,
    crops: Sequence[float],
) -> NDArray[np.float32] | ImageError:
    try:
        plain = load_network_input(image.path, preprocessing, box=image.box)
    except ImageError as error:
        return error
    views = [plain, plain[:, :, ::-1]]
    views += [
        _augmented_input(plain, preprocessing, augmentation, seed, image.cache_name, view)
        for view in range(1, num_augmented + 1)
    ]
    views += [look[0].numpy() for look in looks_at(torch.from_numpy(plain)[None], crops[1:], flip=True)]
    return np.stack(views)


def _augmented_input(
    plain: NDArray[np.float32],
    preprocessing: Preprocessing,
    augmentation: AugmentationSettings,
    seed: int,
    picture: str,
    view: int,
) -> NDArray[np.float32]:
    """(3, S, S): a normalised input, varied."""
    pixels = np.ascontiguousarray(pixels_of(plain, preprocessing))
    changed = augmented(pixels, augmentation, seed=seed, picture=picture, view=view)
    mean = np.array(preprocessing.mean, np.float32)[:, None, None]
    deviation = np.array(preprocessing.std, np.float32)[:, None, None]
    return ((changed.transpose(2, 0, 1).astype(np.float32) / 255 - mean) / deviation).astype(np.float32)


def _let_go(array: NDArray[Any]) -> None:
    """Give back the memory of what was read or written through a map; the system's cache of the disk still has it."""
    pages = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """A memory-mapped array, made with zeros if it is not there or not of that shape, with all its room on the disk.

    Without the room, writing to the map would end the process without a word when the disk is full.

    Raises:
        OutputError: The disk cannot hold it, or it cannot be written.
    """
    try:
        there = _kept(path, shape, dtype)
        if there is not None:
            _take_room(path)
            return there
        there = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        try:
            _take_room(path)
        except (OSError, OutputError):
            path.unlink()
            raise
        return there
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another --cache") from error


def _kept(path: Path, shape: tuple[int, ...], dtype: Any) -> NDArray[Any] | None:
    """The array that is on disk; None if there is none, or it is another."""
    if not path.exists():
        return None
    with suppress(ValueError):  # cut short
        there: NDArray[Any] = np.lib.format.open_memmap(path, mode="r+")
        if there.shape == shape and there.dtype == dtype:
            return there
    path.unlink()
    return None


def _take_room(path: Path) -> None:
    """Have the file system give a sparse file all its blocks, where it can.

    Raises:
        OutputError: They are not there; tells what is needed and what is free.
    """
    status = path.stat()
    needed, free = status.st_size - status.st_blocks * 512, shutil.disk_usage(path.parent).free
    if needed <= 0:
        return
    too_full = OutputError(
        f"{path}: views need {needed:,} bytes more and the disk has {free:,} free; make room, or choose fewer "
        "finetune.views, a later finetune.from_stage or another --cache"
    )
    if needed > free:
        raise too_full
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, status.st_size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # a quota, or somebody else was first
            raise too_full from error
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
