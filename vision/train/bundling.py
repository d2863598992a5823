"""The bundle that a run leaves: graph, weights, reference embeddings, card and attribution, written and read back.

N images, D features, K classes.
"""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import vision
from vision.bundle import (
    ATTRIBUTION_FILE,
    BUNDLE_FILES,
    CARD_FILE,
    INFO_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Calibration,
    Licensing,
    Provenance,
    load_bundle,
)
from vision.config import Config
from vision.data.licences import LicencePolicy
from vision.data.preprocessing import THUMBNAIL_PX, Preprocessing, load_network_input, load_thumbnail
from vision.data.sharing.attribution import attribution_line, render_attribution
from vision.errors import BundleError
from vision.files import sha256_of_file, whole_file, write_whole_text
from vision.train.backbones import Backbone
from vision.train.deciding import FittedDecision
from vision.train.export import ProbedNetwork, check_export, export_onnx, run_graph
from vision.train.features import TrainingImage
from vision.train.model_card import render_model_card
from vision.train.probe import Candidate, LinearProbe
from vision.train.training_set import PreparedRun

FEATURE_ROUNDING = 1e-3
HALF_PRECISION_ROUNDING = 3e-2
"""Largest difference of logits between cached features and the graph, relative to the largest logit."""


def write_bundle(
    prepared: PreparedRun,
    backbone: Backbone,
    best: Candidate,
    probe: LinearProbe,
    calibration: Calibration,
    decision: FittedDecision,
    features: NDArray[np.float32],
    folder: Path,
) -> Bundle:
    """Write a bundle into a folder, prove that its graph does what training saw, and load it again.

    Args:
        prepared: The run's data and settings.
        backbone: The network, tuned or not.
        best: The chosen candidate.
        probe: The classifier.
        calibration: Of the probabilities.
        decision: What answers promise.
        features: (N, D) of the training pictures.
        folder: Where it goes.

    Raises:
        BundleError: The graph differs from torch, or from the features that training saw.
    """
    training, config = prepared.training, prepared.config
    preprocessing = best.recipe.preprocessing(backbone)
    network = ProbedNetwork(backbone, best.recipe, probe)
    with whole_file(folder / MODEL_FILE) as temporary:
        export_onnx(network, temporary, input_px=preprocessing.input_px)
        rows = np.unique(np.linspace(0, len(training.images) - 1, 8).astype(np.int64))
        samples = np.stack([_network_input_of(training.images[row], preprocessing) for row in rows])
        check_export(network, temporary, samples, shown=folder / MODEL_FILE)
        rounding = HALF_PRECISION_ROUNDING if config.train.strategy != "probe" else FEATURE_ROUNDING
        _check_features(temporary, samples, probe.logits(features[rows]), rounding)
    with whole_file(folder / WEIGHTS_FILE) as temporary:
        mode = temporary.stat().st_mode
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, temporary)
        temporary.chmod(mode)  # the library puts a file of its own in place, for its owner's eyes only
    with whole_file(folder / REFERENCE_FILE) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            embeddings=probe.unit_embeddings(features),
            file_names=np.array(training.table["file_name"].to_list(), dtype=np.str_),
            sha256=np.array([image.sha256 for image in training.images], dtype=np.str_),
            class_indices=training.class_indices,
            **decision.arrays,  # type: ignore[arg-type]
            thumbnails=np.fromiter(
                (load_thumbnail(image.path, preprocessing, box=image.box) for image in training.images),
                np.dtype((np.uint8, (THUMBNAIL_PX, THUMBNAIL_PX))),
                len(training.images),
            ),
            attributions=np.array(
                [attribution_line(row) for row in training.table.iter_rows(named=True)], dtype=np.str_
            ),
        )
    write_whole_text(
        folder / ATTRIBUTION_FILE,
        render_attribution(training.table, heading=f"Pictures that {config.name} was trained on"),
    )
    licensing = _licensing(config, training.table, backbone)
    counts = {class_id: int((training.class_indices == i).sum()) for i, class_id in enumerate(prepared.classes)}
    write_whole_text(
        folder / CARD_FILE,
        render_model_card(
            config,
            prepared.taxonomy,
            counts,
            best,
            decision.info,
            licensing,
            num_boxes=sum(image.box is not None for image in training.images),
        ),
    )
    info = BundleInfo(
        name=config.name,
        classes=prepared.classes,
        taxonomy=prepared.taxonomy.restricted_to(prepared.classes),
        preprocessing=preprocessing,
        embedding={
            "backbone": backbone.name,
            "layer": best.recipe.layer,
            "pooling": best.recipe.pooling,
            "flip": best.recipe.flip,
            "crops": " ".join(f"{share:g}" for share in best.recipe.crops),
            "attention_pooling": bool(backbone.queries),
            "size": int(probe.weight.shape[1]),
        },
        calibration=calibration,
        decision=decision.info,
        licensing=licensing,
        provenance=Provenance(
            config=_shareable(config),
            seed=config.seed,
            versions={key: value for key, value in environment().items() if key not in ("git_revision", "device")},
            git_revision=git_revision(),
            manifest_sha256=sha256_of_file(prepared.manifest.path),
            num_images_per_class=counts,
        ),
        files={name: sha256_of_file(folder / name) for name in BUNDLE_FILES},
    )
    write_whole_text(folder / INFO_FILE, info.model_dump_json(indent=2) + "\n")
    return load_bundle(folder)


def _network_input_of(image: TrainingImage, preprocessing: Preprocessing) -> NDArray[np.float32]:
    return load_network_input(image.path, preprocessing, box=image.box)


def _check_features(path: Path, samples: NDArray[np.float32], expected: NDArray[np.float64], rounding: float) -> None:
    """Make sure that the graph makes of pictures what training was fitted on: cache, order and preprocessing agree.

    Raises:
        BundleError: They do not.
    """
    logits = run_graph(path, samples)[0]
    difference = float(np.abs(logits - expected).max())
    if not difference <= rounding * max(1.0, float(np.abs(expected).max())):
        raise BundleError(
            f"{MODEL_FILE}: logits differ from those of the cached features by {difference:.2g}; "
            "the cache is stale, remove its folder (~/.cache/vision, or --cache) and train again"
        )


def _licensing(config: Config, table: pl.DataFrame, backbone: Backbone) -> Licensing:
    counts = table.group_by(pl.col("licence").fill_null("not stated")).len().sort("licence")
    return Licensing(
        may_be_passed_on=config.data.licence_policy is LicencePolicy.OPEN and config.backbone.accept_licence is None,
        policy=config.data.licence_policy.value,
        weights=backbone.weights.licence,
        weights_source=backbone.weights.source,
        pictures=dict(counts.iter_rows()),
    )


def _shareable(config: Config) -> dict[str, Any]:
    """The settings without the folders of this machine."""
    settings = config.model_dump(mode="json")
    settings["data"]["manifest"] = config.data.manifest.name
    if config.taxonomy is not None:
        settings["taxonomy"] = config.taxonomy.name
    if config.backbone.weights not in ("bundled", "hub", "none"):
        settings["backbone"]["weights"] = Path(config.backbone.weights).name
    return settings


def environment() -> dict[str, str]:
    """Versions that decide the result, and the machine."""
    packages = ("numpy", "scipy", "scikit-learn", "torch", "timm", "onnx", "onnxscript", "onnxruntime", "pillow")
    return {
        "vision": vision.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "git_revision": git_revision(),
        "machine": platform.machine(),
        "system": platform.system(),
        "device": "cpu" if not torch.cuda.is_available() else torch.cuda.get_device_name(),
    }


def git_revision() -> str:
    """The commit that this code stands at, with `+changes` if files differ from it; `unknown` outside a checkout."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        return revision + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()
