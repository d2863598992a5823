"""The folder of a run: made, resumed or overwritten, and never mixed with anything else. No torch here."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vision.config import Config
from vision.errors import OutputError
from vision.files import write_whole_text

CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.jsonl"
ENVIRONMENT_FILE = "environment.json"
SCHEDULES_FILE = "schedules.json"


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
            differing = _first_difference(earlier, config.as_yaml())
            raise OutputError(
                f"{run_dir / CONFIG_FILE}: differs from the configuration given ({differing}); "
                "resume with the same, or --overwrite"
            )


def open_run_folder(run_dir: Path, config: Config, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of a run, emptied if asked, and write its resolved configuration.

    Raises:
        OutputError: As `check_run_folder`, or the folder cannot be written to.
    """
    check_run_folder(run_dir, config, resume=resume, overwrite=overwrite)
    with _told_as_output_error(run_dir):
        if overwrite and run_dir.exists():
            shutil.rmtree(run_dir)
    write_whole_text(run_dir / CONFIG_FILE, config.as_yaml())


def _is_run(run_dir: Path) -> bool:
    """Whether the folder was made by a run: its configuration is there, and nothing or a run's first file beside it."""
    names = {path.name for path in run_dir.iterdir()}
    return CONFIG_FILE in names and (ENVIRONMENT_FILE in names or names == {CONFIG_FILE})


def _first_difference(first: str, second: str) -> str:
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
        """Append one event."""
        if self._path is None:
            return
        line = {"event": event, "elapsed_s": round(time.monotonic() - self._start, 3), **values}
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
