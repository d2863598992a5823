"""The rendered look-alikes that come along, and the story that the demo tells with them."""

from __future__ import annotations

from pathlib import Path

from vision.data.manifest import Manifest
from vision.errors import ManifestError
from vision.files import packaged_path

TRUSTED_CLASS = "tor-m2k"
"""The vehicle that was struck resembles it: its own side's training pictures may have shown nothing nearer."""
MISTAKEN_CLASS = "giraffe-amb"
"""A Western radar on a truck, standing for the radar that the operator believed to see."""


def demo_data_folder() -> Path:
    """The data set of renders: in the installed package, or in `datasets/` of a source checkout."""
    return packaged_path("lookalikes", "datasets/lookalikes")


def demo_config_path() -> Path:
    """The demo's configuration: in the installed package, or in `configs/` of a source checkout."""
    return packaged_path("demo.yaml", "configs/demo.yaml")


def demo_pictures(manifest: Manifest) -> dict[str, Path]:
    """Three pictures to classify, with what each shows; each the first of its kind, none picked by its answer.

    Raises:
        ManifestError: The data set lacks one of them.
    """
    wanted = {
        f"a {TRUSTED_CLASS} of the test split": ("test", TRUSTED_CLASS),
        f"a {MISTAKEN_CLASS}, a Western radar, of the test split": ("test", MISTAKEN_CLASS),
        "the incident's: a wheeled Tor-like vehicle that no training picture shows": ("novel", None),
    }
    pictures = {}
    for what, (split, label) in wanted.items():
        rows = manifest.table.filter(manifest.table["split"] == split)
        if label is not None:
            rows = rows.filter(rows["label"] == label)
        if len(rows) == 0:
            raise ManifestError(f"{manifest.path}: no picture for the demo ({what}); was the data set rendered whole?")
        pictures[what] = manifest.image_path(rows["file_name"][0])
    return pictures
