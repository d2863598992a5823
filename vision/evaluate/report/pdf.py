"""The report as PDF: what a browser prints."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from vision.errors import OutputError
from vision.files import whole_file

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
_TIMEOUT_S = 300


def print_pdf(page: Path, target: Path) -> None:
    """Print a page that lies on disk.

    Raises:
        OutputError: No browser of the Chromium family is installed, or it printed nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise OutputError(
            f"{target}: printing needs one of {', '.join(BROWSERS)} on the PATH; install one, or print {page} by hand"
        )
    with whole_file(target) as temporary, tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",  # root may not have one; the page is the project's own and loads nothing from outside
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--user-data-dir={profile}",
            f"--print-to-pdf={temporary.resolve()}",
            page.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            raise OutputError(f"{target}: {browser} did not print {page} within {_TIMEOUT_S} s") from None
        if done.returncode or not temporary.is_file() or temporary.stat().st_size == 0:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise OutputError(f"{target}: {browser} printed nothing ({last[0]}); open {page} and print it")
