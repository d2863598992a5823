"""The folder of a run: made, resumed or overwritten, and never mixed with anything else. No torch here."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision.bundle import INFO_FILE, Bundle, load_bundle
from vision.config import Config
from vision.errors import OutputError
from vision.files import is_part_of_whole_file, write_whole_text

if TYPE_CHECKING:
    from vision.train.training_set import PreparedRun, TrainingSet

CONFIG_FILE = "config.yaml"
INPUTS_FILE = "inputs.json"
METRICS_FILE = "metrics.jsonl"
ENVIRONMENT_FILE = "environment.json"
SCHEDULES_FILE = "schedules.json"
CHECKPOINT_FILE = "checkpoint.pt"
FOLDS_DIR = "folds"
"""What was tuned on parts of the training pictures, until the bundle is whole."""
BUNDLE_DIR = "bundle"
OUT_OF_FOLD_FILE = "out_of_fold/predictions.parquet"


def check_run_folder(run_dir: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Make sure that a run may write into a folder.

    Raises:
        OutputError: The folder holds something, and neither resuming nor overwriting fits what it holds.
    """
    if resume and overwrite:
        raise OutputError("--resume goes on with a run and --overwrite removes it; give one of them")
    with _told_as_output_error(run_dir):
        if run_dir.exists() and not run_dir.is_dir():
            raise OutputError(f"{run_dir}: a file, not a folder; choose another name or --runs")
        if not run_dir.exists() or not any(run_dir.iterdir()):
            return
        if not (resume or overwrite):
            raise OutputError(
                f"{run_dir}: not empty; use --resume to go on, --overwrite to start anew, or another name"
            )
        if not _is_run(run_dir):
            raise OutputError(
                f"{run_dir}: not a run's folder (it lacks {CONFIG_FILE} or {ENVIRONMENT_FILE}); it is left as it is"
            )
        if overwrite and Path.cwd().resolve().is_relative_to(run_dir.resolve()):
            raise OutputError(f"{run_dir}: holds the folder that you are in, so it is not removed; choose another name")
        if overwrite and run_dir.is_symlink():
            raise OutputError(
                f"{run_dir}: a symbolic link, so it is not removed; remove it yourself or choose another name"
            )
        earlier = (run_dir / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
        if resume and earlier != config.as_yaml():
            differing = first_difference(earlier, config.as_yaml())
            raise OutputError(
                f"{run_dir / CONFIG_FILE}: differs from the configuration given ({differing}); "
                "resume with the same, or --overwrite"
            )


def open_run_folder(
    run_dir: Path, config: Config, *, resume: bool, overwrite: bool, inputs: Mapping[str, str] | None = None
) -> None:
    """Make the folder of a run, emptied if asked, and write its resolved configuration and what it is trained on.

    Args:
        run_dir: The folder.
        config: The configuration.
        resume: Go on with the run that is there.
        overwrite: Remove it.
        inputs: Of `input_digests`; a run that is resumed must have the same.

    Raises:
        OutputError: As `check_run_folder`, the inputs differ, or the folder cannot be written to.
    """
    check_run_folder(run_dir, config, resume=resume, overwrite=overwrite)
    with _told_as_output_error(run_dir):
        if overwrite and run_dir.exists():
            shutil.rmtree(run_dir)
    if inputs is not None:
        _check_inputs(run_dir / INPUTS_FILE, inputs)
    write_whole_text(run_dir / CONFIG_FILE, config.as_yaml())
    if inputs is not None:
        write_whole_text(run_dir / INPUTS_FILE, json.dumps(dict(inputs), indent=2) + "\n")


def input_digests(prepared: PreparedRun, weights: Mapping[str, str]) -> dict[str, str]:
    """What decides a run's result beside its settings, by name: digests, so that two runs can be compared.

    Args:
        prepared: The data.
        weights: Digest of each network's weights.
    """
    taxonomy = prepared.taxonomy.restricted_to(prepared.classes)
    return {
        "classes": _digest(list(prepared.classes)),
        "training pictures": _pictures_digest(prepared.training),
        "calibration pictures": _pictures_digest(prepared.calibration),
        "taxonomy": _digest(taxonomy.model_dump(mode="json")),
        "weights": _digest(dict(sorted(weights.items()))),
    }


def is_taken(run_dir: Path) -> bool:
    """Whether there is something in the folder, so that a run needs `--resume` or `--overwrite`."""
    with _told_as_output_error(run_dir):
        return run_dir.is_dir() and any(run_dir.iterdir())


def finished_bundle(run_dir: Path) -> Bundle | None:
    """The bundle of a run that is finished, None if there is none yet; a checkpoint that was left behind is removed.

    Raises:
        BundleError: The bundle is there, but not what its digests say.
    """
    if not (run_dir / BUNDLE_DIR / INFO_FILE).exists():  # the last file that is written
        return None
    bundle = load_bundle(run_dir / BUNDLE_DIR)
    remove_working_state(run_dir)
    return bundle


def remove_working_state(run_dir: Path) -> None:
    """Remove what only a run that is not finished goes on from."""
    (run_dir / CHECKPOINT_FILE).unlink(missing_ok=True)
    shutil.rmtree(run_dir / FOLDS_DIR, ignore_errors=True)


def _check_inputs(path: Path, inputs: Mapping[str, str]) -> None:
    """Make sure that what a folder's run was trained on is what there is now; without a note of it nothing is known.

    Raises:
        OutputError: It is not.
    """
    if not path.exists():
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); start anew with --overwrite") from error
    changed = [name for name, digest in inputs.items() if earlier.get(name) != digest]
    if changed:
        raise OutputError(
            f"{path}: {', '.join(changed)} changed since this run began, and a run is resumed with the same only; "
            "put them back, or start anew with --overwrite or another name"
        )


def _pictures_digest(pictures: TrainingSet) -> str:
    """Of pictures, boxes, classes and groups in their order, which the seed's draws follow."""
    names = [image.cache_name for image in pictures.images]
    return _digest([names, pictures.class_indices.tolist(), pictures.groups])


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _is_run(run_dir: Path) -> bool:
    """Whether the folder was made by a run: its configuration is there, and nothing or its first files beside it."""
    names = {path.name for path in run_dir.iterdir() if not is_part_of_whole_file(path)}
    return CONFIG_FILE in names and (ENVIRONMENT_FILE in names or names <= {CONFIG_FILE, INPUTS_FILE})


def first_difference(first: str, second: str) -> str:
    """The first line in which two configurations differ, both ways."""
    for before, after in zip(first.splitlines(), second.splitlines(), strict=False):
        if before != after:
            return f"'{before.strip()}' there, '{after.strip()}' now"
    return "one has more settings"


@contextmanager
def _told_as_output_error(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{run_dir}: cannot be used for a run ({error.strerror}); choose another place") from error


def is_first_process() -> bool:
    """Whether this process of a run is the one that writes and speaks, as torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"


class MetricsLog:
    """One JSON object a line, appended as the run goes."""

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is written: of several processes one keeps the log."""
        self._path, self._start = path, time.monotonic()
        if path is not None:
            write_whole_text(path, "")  # a resumed run tells its story from the beginning

    def write(self, event: str, **values: Any) -> None:
        """Append one event; a number that is none, or not finite, is written as null."""
        if self._path is None:
            return
        line = {"event": event, "elapsed_s": round(time.monotonic() - self._start, 3), **values}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(_with_nulls(line), allow_nan=False) + "\n")


def _with_nulls(value: Any) -> Any:
    """The value with null for numbers that JSON does not have, such as the training loss before training."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _with_nulls(each) for key, each in value.items()}
    return [_with_nulls(each) for each in value] if isinstance(value, list | tuple) else value
