"""Bundles are refused unless every file is what its digest says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vision.bundle import BUNDLE_FILES, Bundle, load_bundle
from vision.classify.novelty import RelativeMahalanobis
from vision.errors import BundleError
from vision.files import sha256_of_file


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_a_changed_file_is_refused(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name}: digest is .* the bundle was changed or damaged"):
        load_bundle(copied)


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing from the bundle"):
        load_bundle(copied)


def test_a_moved_bundle_has_the_same_digest(bundle: Bundle, copied: Path) -> None:
    assert load_bundle(copied).digest == bundle.digest


def test_a_bundle_of_another_version_says_which_key(copied: Path) -> None:
    info = json.loads((copied / "bundle.json").read_text())
    (copied / "bundle.json").write_text(json.dumps(info | {"schema_version": 2}))
    with pytest.raises(BundleError, match=r"bundle\.json: schema_version: .* written by another version"):
        load_bundle(copied)


def test_the_folder_of_the_run_is_answered_with_that_of_the_bundle(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match=r"not a model bundle \(no bundle\.json in it\); did you mean .*/bundle\?"):
        load_bundle(bundle.folder.parent)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere: not a model bundle \(no such folder\)"):
        load_bundle(tmp_path / "nowhere")


def test_there_is_no_pickle_in_a_bundle(bundle: Bundle) -> None:
    for path in bundle.folder.iterdir():
        content = path.read_bytes()
        assert content[:2] not in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), path.name
        assert path.suffix not in (".pkl", ".pth", ".pt", ".npy")
    assert len(bundle.reference.sha256) == len(bundle.reference.embeddings) == 32


def test_the_taxonomy_snapshot_holds_the_bundles_classes_only(bundle: Bundle) -> None:
    assert bundle.info.taxonomy.class_ids == bundle.info.classes


def test_a_bundle_from_before_there_were_ranks_and_several_novelty_scores_decides_as_before(copied: Path) -> None:
    info = json.loads((copied / "bundle.json").read_text())
    for name in ("novelty_exponent", "unknown_share", "confidence"):
        del info["decision"][name]
    with np.load(copied / "reference.npz") as arrays:
        kept = {k: arrays[k] for k in arrays if k not in ("known_novelty_folds", "known_novelty_ranks")}
    scores = RelativeMahalanobis.fit(kept["embeddings"], kept["class_indices"]).to_arrays()
    kept = {k: v for k, v in kept.items() if not k.startswith("novelty_")} | {
        f"novelty_{k}": v for k, v in scores.items()
    }
    np.savez(copied / "reference.npz", **kept)
    info["files"]["reference.npz"] = sha256_of_file(copied / "reference.npz")
    (copied / "bundle.json").write_text(json.dumps(info))
    old = load_bundle(copied)
    assert old.info.decision is not None
    assert (old.info.decision.unknown_share, old.info.decision.novelty_exponent) == (0.0, 1.0)
    assert set(old.reference.novelty[0]) == set(scores)
    assert old.reference.known is not None
    assert np.isnan(old.reference.known.novelty_ranks).all()
    assert len(old.reference.known.novelty_folds) == len(old.reference.known.novelty_scores)
