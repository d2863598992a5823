"""Pictures as vectors of a frozen network, cached on disk by picture, network and preprocessing.

N images, D features, S input side in px.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from vision.config import Config, Fit, Layer, Pooling
from vision.data.preprocessing import Box, Preprocessing, load_network_input
from vision.errors import ImageError, ManifestError
from vision.files import default_cache_folder as default_cache_folder
from vision.files import whole_file
from vision.train.backbones import Backbone, feature_maps
from vision.train.graphs import MADE_BY, kept_session

GEM_EXPONENT = 3.0
"""Generalised mean; 3 is the usual fixed value (Radenovic et al. 2018, arXiv 1711.02512)."""


FEATURES_VERSION = 1
"""To be raised when decoding, fitting, pooling or the choice of maps changes what a picture becomes."""

_MADE_BY = (FEATURES_VERSION, version("pillow"), version("torch"), version("timm"))

GRAPH_PAYS_FROM = 300
"""Passes of a picture through the network from which on it pays to export the network and run it in onnxruntime."""


@dataclass(frozen=True, order=True)
class FeatureRecipe:
    """One way to make a vector of a picture."""

    backbone: str
    input_px: int
    layer: Layer
    pooling: Pooling
    flip: bool
    fit: Fit
    box_margin: float
    crops: tuple[float, ...] = (1.0,)
    middle: float = 1.0

    def __str__(self) -> str:
        """Short and readable: `tf_efficientnet_lite0 stage gem 300 px flip pad`, `... crops 1 0.8 pad`."""
        looks = " flip" if self.flip else ""
        if len(self.crops) > 1:
            looks += " crops " + " ".join(f"{share:g}" for share in self.crops)
        where = f" middle {self.middle:g}" if self.middle < 1 else ""
        return f"{self.backbone} {self.layer} {self.pooling} {self.input_px} px{looks} {self.fit}{where}"

    def preprocessing(self, backbone: Backbone) -> Preprocessing:
        """What the bundle keeps of it."""
        return Preprocessing(
            input_px=self.input_px,
            fit=self.fit,
            mean=backbone.mean,
            std=backbone.std,
            interpolation="bilinear" if backbone.interpolation == "bilinear" else "bicubic",
            box_margin=self.box_margin,
            middle=self.middle,
        )


@dataclass(frozen=True)
class TrainingImage:
    """A picture to make a vector of.

    Attributes:
        path: The file.
        sha256: Digest of the file.
        box: The vehicle in px, or None for the whole picture.
    """

    path: Path
    sha256: str
    box: Box | None = None

    @property
    def cache_name(self) -> str:
        """Name of its vectors in the cache."""
        if self.box is None:
            return self.sha256
        crop = hashlib.sha256(repr(self.box).encode()).hexdigest()
        return f"{self.sha256}-{crop[:16]}"


def feature_recipes(config: Config) -> list[FeatureRecipe]:
    """Every combination of a configuration's candidates, smallest input first."""
    features = config.features
    combinations = product(config.backbone.name, sorted(features.input_px), features.layers, features.pooling)
    return [
        FeatureRecipe(
            *combination, features.flip, features.fit, config.data.box_margin, features.crops, features.middle
        )
        for combination in dict.fromkeys(combinations)
    ]


def pooled(
    feature_maps: Sequence[torch.Tensor], pooling: Pooling, queries: Sequence[torch.Tensor] = ()
) -> torch.Tensor:
    """Maps of (N, D_i, h_i, w_i) -> (N, sum of D_i).

    Args:
        feature_maps: What is pooled.
        pooling: How.
        queries: (D_i,) for each map: places count by the softmax of their products with it. A query of zeros, or none,
            has all places count alike.
    """
    if pooling == "max":
        assert not queries, "the configuration refuses attention pooling with max"
        return torch.cat([feature_map.amax((2, 3)) for feature_map in feature_maps], dim=1)
    is_gem = pooling == "gem"
    powers = [feature_map.clamp(min=1e-6).pow(GEM_EXPONENT) if is_gem else feature_map for feature_map in feature_maps]
    if queries:
        weights = [_attention(feature_map, query) for feature_map, query in zip(feature_maps, queries, strict=True)]
        means = [(power * weight).sum((2, 3)) for power, weight in zip(powers, weights, strict=True)]
    else:
        means = [power.mean((2, 3)) for power in powers]
    vectors = torch.cat(means, dim=1)
    return vectors.pow(1 / GEM_EXPONENT) if is_gem else vectors


def _attention(feature_map: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Weights of the places, (N, 1, h, w), that sum to 1 over them."""
    products = torch.einsum("ndhw,d->nhw", feature_map, query) / math.sqrt(len(query))
    return products.flatten(1).softmax(1).reshape(products.shape)[:, None]


def looks_at(images: torch.Tensor, crops: Sequence[float], *, flip: bool) -> list[torch.Tensor]:
    """The views of pictures (N, 3, S, S) whose vectors are averaged: each crop, with `flip` then its mirror image.

    A crop is the centre by a share of the side, resized to S; the first is the whole picture.
    """
    views = []
    for share in crops:
        view = _centre(images, share)
        views += [view, view.flip(3)] if flip else [view]
    return views


def _centre(images: torch.Tensor, share: float) -> torch.Tensor:
    side = images.shape[3]
    margin = round((1 - share) / 2 * side)
    if margin == 0:
        return images
    middle = images[:, :, margin : side - margin, margin : side - margin]
    return functional.interpolate(middle, size=(side, side), mode="bilinear", align_corners=False)


class FeatureCache:
    """Vectors on disk, one small file per picture and recipe; a run that was interrupted goes on where it stopped.

    Few pictures go through the network in eager torch, many in onnxruntime, and are cached apart: so what a run finds
    in the cache is, to the last digit, what it would have computed.
    """

    def __init__(self, folder: Path, backbones: Mapping[str, Backbone]) -> None:
        self._folder = folder
        self._backbones = backbones

    def features(
        self,
        images: Sequence[TrainingImage],
        recipes: Sequence[FeatureRecipe],
        *,
        batch_size: int,
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> dict[FeatureRecipe, NDArray[np.float32]]:
        """The vectors of every picture under every recipe; those that are on disk are not computed again.

        Args:
            images: N pictures.
            recipes: Ways to make a vector.
            batch_size: Pictures that go through the network at once.
            on_progress: Told how many picture passes were done or found, `len(images) * passes` in all.

        Returns:
            For each recipe (N, D), in the order of `images`.

        Raises:
            ManifestError: Pictures cannot be decoded; names them all.
        """
        found: dict[FeatureRecipe, NDArray[np.float32]] = {}
        for same_pass in self._passes(recipes, len(images)):
            missing = [image for image in images if not self._has(same_pass, image)]
            on_progress(len(images) - len(missing))
            self._compute(missing, same_pass, batch_size, on_progress)
            for recipe in same_pass.recipes:
                found[recipe] = self._matrix(same_pass, recipe, images)
        return {recipe: found[recipe] for recipe in recipes}

    def num_missing(self, images: Sequence[TrainingImage], recipes: Sequence[FeatureRecipe]) -> int:
        """Picture passes through the network that `features` would still have to do."""
        passes = self._passes(recipes, len(images))
        return sum(not self._has(same_pass, image) for same_pass in passes for image in images)

    def seconds_per_image(self, recipes: Sequence[FeatureRecipe], num_images: int) -> float:
        """Time for all vectors of a picture, measured on grey ones; of so many in all."""
        return sum(self._seconds(same_pass) for same_pass in self._passes(recipes, num_images))

    def _has(self, same_pass: _Pass, image: TrainingImage) -> bool:
        """Whether all vectors of a picture are on disk; a file that was cut or damaged counts as missing."""
        try:
            paths = [self._path(same_pass, recipe, image) for recipe in same_pass.recipes]
            return all(np.load(path, allow_pickle=False).ndim == 1 for path in paths)
        except (OSError, EOFError, ValueError):
            return False

    def _matrix(self, same_pass: _Pass, recipe: FeatureRecipe, images: Sequence[TrainingImage]) -> NDArray[np.float32]:
        """(N, D), filled row by row: a list of all vectors would take the same memory again."""
        paths = [self._path(same_pass, recipe, image) for image in images]
        vector = np.dtype((np.float32, np.load(paths[0]).shape))
        return np.fromiter(map(np.load, paths), vector, len(paths))

    def _compute(
        self,
        images: Sequence[TrainingImage],
        same_pass: _Pass,
        batch_size: int,
        on_progress: Callable[[int], None],
    ) -> None:
        if not images:
            return
        recipes, network = same_pass.recipes, self._network(same_pass)
        faults = []
        for batch, arrays in _decoded_batches(images, self._preprocessing(recipes[0]), batch_size):
            faults += [str(array) for array in arrays if isinstance(array, ImageError)]
            good = [(image, a) for image, a in zip(batch, arrays, strict=True) if not isinstance(a, ImageError)]
            if not good:
                continue
            vectors = _averaged(network, torch.from_numpy(np.stack([array for _, array in good])), recipes)
            for row, (image, _) in enumerate(good):
                for recipe in recipes:
                    path = self._path(same_pass, recipe, image)
                    with whole_file(path) as temporary, temporary.open("wb") as stream:
                        np.save(stream, vectors[recipe][row])
                on_progress(1)
        if faults:
            raise ManifestError("\n".join(faults))

    def _seconds(self, same_pass: _Pass) -> float:
        side = same_pass.recipes[0].input_px
        inputs = torch.zeros(4, 3, side, side)
        network = self._network(same_pass)
        _averaged(network, inputs[:1], same_pass.recipes)  # warms up
        start = time.perf_counter()
        _averaged(network, inputs, same_pass.recipes)
        return (time.perf_counter() - start) / len(inputs)

    def _network(self, same_pass: _Pass) -> _View:
        recipes = same_pass.recipes
        model = self._backbones[recipes[0].backbone].model.to(memory_format=torch.channels_last)
        network = _OnePass(model, recipes)
        if not same_pass.in_onnxruntime:
            return network
        kinds = [(recipe.layer, recipe.pooling) for recipe in recipes]
        key = _digest((FEATURES_VERSION, MADE_BY, self._backbones[recipes[0].backbone].weights.sha256, kinds))
        side = recipes[0].input_px
        path = self._folder / "graphs" / f"{key}-{side}.onnx"
        names = [f"vectors_{number}" for number in range(len(recipes))]
        session = kept_session(network, path, input_px=side, output_names=names)
        return lambda view: [torch.from_numpy(v) for v in session.run(names, {"images": view.contiguous().numpy()})]

    def _preprocessing(self, recipe: FeatureRecipe) -> Preprocessing:
        return recipe.preprocessing(self._backbones[recipe.backbone])

    def _passes(self, recipes: Sequence[FeatureRecipe], num_images: int) -> list[_Pass]:
        """Recipes grouped so that each group needs the network to run once per view of a picture."""
        groups: dict[tuple[str, bool, tuple[float, ...], Preprocessing], list[FeatureRecipe]] = {}
        for recipe in recipes:
            key = (recipe.backbone, recipe.flip, recipe.crops, self._preprocessing(recipe))
            groups.setdefault(key, []).append(recipe)
        num_runs = [num_images * len(alike[0].crops) * (2 if alike[0].flip else 1) for alike in groups.values()]
        return [_Pass(alike, runs >= GRAPH_PAYS_FROM) for alike, runs in zip(groups.values(), num_runs, strict=True)]

    def _path(self, same_pass: _Pass, recipe: FeatureRecipe, image: TrainingImage) -> Path:
        weights, preprocessing = self._backbones[recipe.backbone].weights.sha256, self._preprocessing(recipe)
        by_graph = (MADE_BY,) if same_pass.in_onnxruntime else ()
        key = _digest((_MADE_BY, weights, recipe, preprocessing, *by_graph))
        return self._folder / key / image.cache_name[:2] / f"{image.cache_name}.npy"


@dataclass(frozen=True)
class _Pass:
    """Recipes that differ in layer and pooling only, and what runs the network for them."""

    recipes: list[FeatureRecipe]
    in_onnxruntime: bool


_View = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""(N, 3, S, S), one view of pictures -> for each recipe of a pass (N, D)."""


class _OnePass(nn.Module):
    """The network and the poolings of a pass."""

    def __init__(self, model: nn.Module, recipes: Sequence[FeatureRecipe]) -> None:
        super().__init__()
        self.model = model
        self._kinds = [(recipe.layer, recipe.pooling) for recipe in recipes]
        self.eval()

    def forward(self, view: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(N, 3, S, S) -> for each recipe (N, D)."""
        maps = feature_maps(self.model, view)
        return tuple(pooled(maps[layer], pooling) for layer, pooling in self._kinds)


def vectors_of(
    model: nn.Module, inputs: torch.Tensor, recipes: Iterable[FeatureRecipe]
) -> dict[FeatureRecipe, NDArray[np.float32]]:
    """Vectors of one batch under recipes that share size, fit, flip and crops: one pass a view of `looks_at`.

    Args:
        model: The network.
        inputs: (N, 3, S, S), normalised.
        recipes: Of this network; they differ in layer and pooling only.

    Returns:
        For each recipe (N, D).
    """
    wanted = list(recipes)
    return _averaged(_OnePass(model, wanted), inputs, wanted)


@torch.inference_mode()
def _averaged(
    network: _View, inputs: torch.Tensor, recipes: Sequence[FeatureRecipe]
) -> dict[FeatureRecipe, NDArray[np.float32]]:
    """The vectors of the views of a batch, averaged."""
    views = looks_at(inputs.to(memory_format=torch.channels_last), recipes[0].crops, flip=recipes[0].flip)
    of_views = [network(view) for view in views]
    totals = [sum(vectors[1:], start=vectors[0]) for vectors in zip(*of_views, strict=True)]
    return {recipe: (total / len(views)).float().numpy() for recipe, total in zip(recipes, totals, strict=True)}


def _digest(said: object) -> str:
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def _decoded_batches(
    images: Sequence[TrainingImage], preprocessing: Preprocessing, batch_size: int
) -> Iterator[tuple[Sequence[TrainingImage], list[NDArray[np.float32] | ImageError]]]:
    """Batches of network inputs, decoded two batches ahead of the network."""
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[tuple[Sequence[TrainingImage], list[Future[NDArray[np.float32] | ImageError]]]] = deque()
        for batch in batches:
            waiting.append((batch, [pool.submit(_input_or_error, image, preprocessing) for image in batch]))
            if len(waiting) > 2:
                ready, futures = waiting.popleft()
                yield ready, [future.result() for future in futures]
        while waiting:
            ready, futures = waiting.popleft()
            yield ready, [future.result() for future in futures]


def _input_or_error(image: TrainingImage, preprocessing: Preprocessing) -> NDArray[np.float32] | ImageError:
    try:
        return load_network_input(image.path, preprocessing, box=image.box)
    except ImageError as error:
        return error
