"""Fixtures that several rooms share: the real photographs, and one demo run made by the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import REPOSITORY, run_vision

from vision.bundle import Bundle, load_bundle
from vision.classify.engine import Engine

SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photographs with their manifest; tests that need it are skipped where it is missing."""
    folder = SHARED / "photos"
    if not folder.is_dir():
        pytest.skip(f"the real photographs are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vision demo` leaves: data/, run/bundle/, run/evaluation/."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = run_vision("demo", "--out", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def bundle(demo_run: Path) -> Bundle:
    return load_bundle(demo_run / "run" / "bundle")


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle)
