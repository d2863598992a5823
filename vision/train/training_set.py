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
from vision.data.manifest import Manifest, group_names, load_manifest, parse_box
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
        groups: N names; a row without a group is a group of its own, rows with the same picture are of one.
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

    @property
    def num_novelty_tunings(self) -> int:
        """Networks that are tuned without some of the classes; one could leave out nothing but all."""
        number = min(self.config.decide.novelty_tunings, len(self.classes))
        return number if number > 1 else 0


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
    file_problems = find_file_problems(manifest, facts)
    faults = [problem for problem in file_problems if not problem.is_warning]
    if faults:
        raise ManifestError("\n".join(map(str, faults)))
    warnings += [str(problem) for problem in file_problems]
    if config.decide.novelty_tunings and config.train.strategy == "probe":
        warnings.append(
            f"decide.novelty_tunings: {config.decide.novelty_tunings} is for train.strategy: finetune and is not used: "
            "a probe leaves each class out anyway"
        )
    manifest = with_file_facts(manifest, facts)
    is_training = pl.col("split").is_null() | (pl.col("split") == "train")
    training_rows = manifest.table.filter(is_training)
    classes = taxonomy.in_order(training_rows["label"].to_list())
    if len(classes) < 2:
        raise ManifestError(f"{manifest.path}: {len(classes)} class to train on, needs at least 2")
    training = _training_set(manifest, training_rows, classes)
    if len(set(training.groups)) < 2:
        raise ManifestError(
            f"{manifest.path}: all pictures to train on are of one group, '{training.groups[0]}'; nothing can be held "
            "out to choose and calibrate by, so fill the column 'group' with vehicles, events or photographers"
        )
    calibration_rows = manifest.table.filter((pl.col("split") == "calibration") & pl.col("label").is_in(classes))
    warnings += [
        f"{manifest.path}: all pictures of '{classes[class_index]}' are of one group; "
        "held out together, none can be recognised out of fold"
        for class_index in single_group_classes(training.class_indices, training.groups)
    ]
    calibration = _training_set(manifest, calibration_rows, classes)
    return PreparedRun(config, taxonomy, manifest, classes, training, calibration, warnings)


def test_set(prepared: PreparedRun) -> TrainingSet:
    """Pictures of the run's classes in the split `test`; may be empty."""
    rows = prepared.manifest.table.filter((pl.col("split") == "test") & pl.col("label").is_in(prepared.classes))
    return _training_set(prepared.manifest, rows, prepared.classes)


def _training_set(manifest: Manifest, rows: pl.DataFrame, classes: tuple[str, ...]) -> TrainingSet:
    index = {class_id: position for position, class_id in enumerate(classes)}
    images = [
        TrainingImage(manifest.image_path(name), digest, parse_box(box) if box else None)
        for name, digest, box in rows.select("file_name", "sha256", "box").iter_rows()
    ]
    groups = _joined_groups(group_names(rows["group"]), rows["sha256"].to_list())
    class_indices = np.array([index[label] for label in rows["label"]], dtype=np.int64)
    return TrainingSet(rows, images, class_indices, groups)


def _joined_groups(groups: list[str], digests: list[str]) -> list[str]:
    """Groups, joined where they share a picture byte for byte: such twins must not stand on both sides of a fold."""
    leader = {group: group for group in groups}

    def find(group: str) -> str:
        while leader[group] != group:
            group = leader[group]
        return group

    first_with: dict[str, str] = {}
    for group, digest in zip(groups, digests, strict=True):
        leader[find(group)] = find(first_with.setdefault(digest, group))
    return [find(group) for group in groups]
