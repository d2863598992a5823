"""Fixtures that several rooms share: the real photographs, and one small run made by the real command line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from command_line import REPOSITORY, run_vision
from drawings import write_drawings

from vision.bundle import Bundle, load_bundle
from vision.classify.engine import Engine

# Machines are shared: how long an example takes says nothing of the code.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared machine")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests side by side share the cores; threads that spin while they wait would be in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photographs with their manifest; tests that need it are skipped where it is missing."""
    folder = SHARED / "photos"
    if not folder.is_dir():
        pytest.skip(f"the real photographs are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vision train` leaves of a few drawn pictures: data/, run/bundle/, run/evaluation/."""
    folder = tmp_path_factory.mktemp("drawn") / "out"
    config = write_drawings(folder / "data")
    done = run_vision("train", config, "--runs", folder, "--cache", folder / "cache")
    assert done.returncode == 0, done.stderr
    (folder / "drawings").rename(folder / "run")
    return folder


@pytest.fixture(scope="session")
def bundle(drawn_run: Path) -> Bundle:
    return load_bundle(drawn_run / "run" / "bundle")


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium; tests that need it are skipped where it is missing."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()
