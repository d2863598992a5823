"""From a fitted probe to an ONNX graph with the three outputs of a bundle, proved equal to torch.

N images, S input side in px, D features, h and w the feature map's sides, K classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from vision.errors import BundleError
from vision.train.backbones import Backbone, feature_maps
from vision.train.features import FeatureRecipe, looks_at, pooled
from vision.train.graphs import export_module
from vision.train.probe import LinearProbe

MAX_LOGIT_DIFFERENCE = 1e-4
"""Largest difference of any logit that the exported graph may show against torch."""

OUTPUT_NAMES = ("logits", "embedding", "feature_map")


class ProbeModule(nn.Module):
    """A module that ends in a fitted probe: standardisation, then a linear classifier."""

    mean: torch.Tensor
    scale: torch.Tensor
    classifier: nn.Linear

    def take_probe(self, probe: LinearProbe) -> None:
        """Register the probe's values as `mean`, `scale` and `classifier`."""
        self.register_buffer("mean", torch.tensor(probe.mean, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(probe.scale, dtype=torch.float32))
        self.classifier = nn.Linear(probe.weight.shape[1], probe.weight.shape[0])
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor(probe.weight))
            self.classifier.bias.copy_(torch.tensor(probe.bias))


class ProbedNetwork(ProbeModule):
    """Backbone, pooling, standardisation and linear classifier in one.

    The embedding is the standardised vector; the feature map is standardised alike, so that with average pooling,
    without learnt queries, the classifier's weights applied to each place of the map add up to the logits (class
    activation maps).
    """

    def __init__(self, backbone: Backbone, recipe: FeatureRecipe, probe: LinearProbe) -> None:
        super().__init__()
        self.backbone = backbone.model
        self.recipe = recipe
        self.queries = nn.ParameterList(backbone.queries).requires_grad_(False)
        self.take_probe(probe)
        self.eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) -> logits (N, K), embedding (N, D), feature map (N, D, h, w) of the unmirrored whole."""
        views = looks_at(images, self.recipe.crops, flip=self.recipe.flip)
        # In one pass, so that the graph holds the network once.
        of_views = feature_maps(self.backbone, torch.cat(views))[self.recipe.layer]
        vectors = pooled(of_views, self.recipe.pooling, list(self.queries))  # (views x N, D)
        vectors = vectors.reshape(len(views), -1, vectors.shape[1]).mean(0)
        embedding = (vectors - self.mean) / self.scale
        maps = [m.reshape(len(views), -1, *m.shape[1:])[0] for m in of_views]
        grid = (maps[-1].shape[2], maps[-1].shape[3])
        coarse = [functional.adaptive_avg_pool2d(m, grid) if m is not maps[-1] else m for m in maps]
        feature_map = (torch.cat(coarse, dim=1) - self.mean[:, None, None]) / self.scale[:, None, None]
        return self.classifier(embedding), embedding, feature_map


def export_onnx(network: ProbedNetwork, path: Path, *, input_px: int) -> None:
    """Write the network as one ONNX file with a free batch size, without paths or times in it."""
    export_module(network, path, input_px=input_px, output_names=OUTPUT_NAMES)


def check_export(
    network: ProbedNetwork, path: Path, samples: NDArray[np.float32], *, shown: Path | None = None
) -> float:
    """Largest difference between the exported graph's logits and torch's.

    Args:
        network: What was exported.
        path: The ONNX file.
        samples: (N, 3, S, S), network inputs of real pictures.
        shown: What to call the file in a message, if not by its path.

    Raises:
        BundleError: The two disagree by more than `MAX_LOGIT_DIFFERENCE`, or for very large logits by more than their
            rounding.
    """
    exported = run_graph(path, samples)[0]
    with torch.inference_mode():
        expected = network(torch.from_numpy(samples))[0].numpy()
    difference = float(np.abs(exported - expected).max())
    allowed = max(MAX_LOGIT_DIFFERENCE, 1e-5 * float(np.abs(expected).max()))
    if not difference <= allowed:
        raise BundleError(
            f"{shown or path}: logits differ from torch's by {difference:.2g}, more than {allowed:.2g}; "
            "the network cannot be exported truly, choose another backbone or input size"
        )
    return difference


def run_graph(path: Path, samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The graph's outputs for network inputs (N, 3, S, S), in the order of `OUTPUT_NAMES`."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(list(OUTPUT_NAMES), {"images": samples})
    return outputs
