"""From a configuration to what training works on: every check made, every picture known.

N training pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.config import Config
from vision.data.check import check_table, find_file_problems, read_file_facts, with_file_facts
from vision.data.manifest import Manifest, load_manifest, parse_box
from vision.errors import ManifestError
from vision.taxonomy import Taxonomy, load_taxonomy
from vision.train.features import TrainingImage
from vision.train.folds import single_group_classes


@dataclass(frozen=True)
class TrainingSet:
    """The pictures of one split, checked, with digests.

    Attributes:
        table: Their rows of the manifest.
        images: N pictures.
        class_indices: (N,), index into the run's classes.
        groups: N names; a row without a group is a group of its own.
    """

    table: pl.DataFrame
    images: list[TrainingImage]
    class_indices: NDArray[np.int64]
    groups: list[str]


@dataclass(frozen=True)
class PreparedRun:
    """A configuration with its data, after all checks that need no network.

    Attributes:
        config: The configuration.
        taxonomy: Its taxonomy.
        manifest: The whole manifest, digests filled in.
        classes: K ids in the taxonomy's order.
        training: Rows of split `train`, or without a split.
        calibration: Rows of split `calibration`; may be empty.
        warnings: What the user should know.
    """

    config: Config
    taxonomy: Taxonomy
    manifest: Manifest
    classes: tuple[str, ...]
    training: TrainingSet
    calibration: TrainingSet
    warnings: list[str]


def prepare_run(config: Config, *, decode: bool = False, on_progress: Callable[[], None] = lambda: None) -> PreparedRun:
    """Check the data that a configuration names, and that every file is the one that its digest says.

    Args:
        config: The configuration.
        decode: Decode every picture too, as a dry run does; training finds broken ones when it comes to them.
        on_progress: Called after each file.

    Raises:
        ManifestError: The manifest or pictures in it are at fault; names them all.
        LicenceError: The policy does not allow pictures; names them all.
    """
    taxonomy = load_taxonomy(config.taxonomy)
    manifest = load_manifest(config.data.manifest)
    problems = check_table(manifest, taxonomy, config.data.licence_policy, min_images=config.data.min_images_per_class)
    warnings = [str(problem) for problem in problems]
    facts = read_file_facts(manifest, decode=decode, on_progress=on_progress)
    faults = [problem for problem in find_file_problems(manifest, facts) if not problem.is_warning]
    if faults:
        raise ManifestError("\n".join(map(str, faults)))
    manifest = with_file_facts(manifest, facts)
    is_training = pl.col("split").is_null() | (pl.col("split") == "train")
    training_rows = manifest.table.filter(is_training)
    classes = taxonomy.in_order(training_rows["label"].to_list())
    if len(classes) < 2:
        raise ManifestError(f"{manifest.path}: {len(classes)} class to train on, needs at least 2")
    training = _training_set(manifest, training_rows, classes)
    calibration_rows = manifest.table.filter((pl.col("split") == "calibration") & pl.col("label").is_in(classes))
    warnings += [
        f"{manifest.path}: all pictures of '{classes[class_index]}' are of one group; "
        "held out together, none can be recognised out of fold"
        for class_index in single_group_classes(training.class_indices, training.groups)
    ]
    calibration = _training_set(manifest, calibration_rows, classes)
    return PreparedRun(config, taxonomy, manifest, classes, training, calibration, warnings)


def _training_set(manifest: Manifest, rows: pl.DataFrame, classes: tuple[str, ...]) -> TrainingSet:
    index = {class_id: position for position, class_id in enumerate(classes)}
    images = [
        TrainingImage(manifest.image_path(name), digest, parse_box(box) if box else None)
        for name, digest, box in rows.select("file_name", "sha256", "box").iter_rows()
    ]
    groups = [group or f"row {row}" for row, group in enumerate(rows["group"])]
    class_indices = np.array([index[label] for label in rows["label"]], dtype=np.int64)
    return TrainingSet(rows, images, class_indices, groups)
