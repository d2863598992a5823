"""Model bundles: what training leaves and classifying needs.

A bundle is a folder: `model.onnx`, `bundle.json`, `reference.npz`, `weights.safetensors`, `MODEL_CARD.md`,
`ATTRIBUTION.md`. `bundle.json` holds the SHA-256 of every other file; the SHA-256 of `bundle.json` itself names the
bundle. Nothing in it is a pickle.

N images, D features, K classes, R training images.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision.data.preprocessing import Preprocessing
from vision.errors import BundleError
from vision.files import sha256_of_file
from vision.taxonomy import Taxonomy

MODEL_FILE = "model.onnx"
INFO_FILE = "bundle.json"
REFERENCE_FILE = "reference.npz"
WEIGHTS_FILE = "weights.safetensors"
CARD_FILE = "MODEL_CARD.md"
ATTRIBUTION_FILE = "ATTRIBUTION.md"
BUNDLE_FILES = (MODEL_FILE, REFERENCE_FILE, WEIGHTS_FILE, CARD_FILE, ATTRIBUTION_FILE)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Calibration(_Part):
    """What turns logits into probabilities that mean what they say: softmax of logits / temperature.

    Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """

    temperature: float = Field(gt=0)
    fitted_on: str
    num_images: int


class Licensing(_Part):
    """What may be done with the bundle."""

    may_be_passed_on: bool
    policy: str
    weights: str
    weights_source: str
    pictures: dict[str, int]


class Provenance(_Part):
    """How the bundle came to be."""

    config: dict[str, Any]
    seed: int
    versions: dict[str, str]
    git_revision: str
    manifest_sha256: str
    num_images_per_class: dict[str, int]


class LabelSets(_Part):
    """What makes the set of classes of an answer: the fields of `vision.classify.label_sets.LabelSetRule`."""

    coverage: float
    regularisation: float
    k_reg: int
    seed: int
    quantiles: tuple[float, ...]
    allow_empty: bool


class AnswerBound(_Part):
    """How often answers about known pictures are right at the least, by the exact binomial bound.

    Attributes:
        lower_bound: Of the share of right answers, at the threshold in force alone.
        num_answers: At class, family or role.
        sample_size: Independent pictures that these count as.
    """

    lower_bound: float
    num_answers: int
    sample_size: int


class DecisionInfo(_Part):
    """How answers are decided, and what was promised of them; fitted on pictures that the model was not fitted on.

    Attributes:
        calibration_method: `temperature` or `vector`: logits * scale + bias, then softmax.
        scale: K values.
        bias: K values.
        novelty_score: Its name; its arrays stand in `reference.npz` under `novelty_0_`, `novelty_1_` and so on.
        novelty_exponent: Of the density of novelty ranks of classes left out; 1 if ranks say nothing.
        unknown_share: Of pictures whose class is none of the model's, as stated; allowed for in probabilities.
        false_alarms: Share of known pictures that may be called unknown.
        target_accuracy: Of the answers that are given at a class, family or role.
        confidence: Of the bound behind it.
        roll_up_threshold: The finest node with at least this probability is the answer.
        is_promised: Whether there were enough pictures for the finite-sample bound.
        bound: What the known pictures bear out, each counting for itself; None in bundles from before there was one.
        bound_by_groups: The same where pictures of a group rise and fall together.
        may_promise: Whether the pictures were new to the model; else no number of them promises anything.
        costs: `taxonomy` gives the sure answer of least expected cost.
        unknown_cost: What "unknown" costs; None if it is only said where nothing is probable enough.
        label_sets: What makes the sets.
        class_conditional: Whether their promise is kept within every class.
        fitted_on: In words.
        num_images: Pictures that it was fitted on.
    """

    calibration_method: Literal["temperature", "vector"]
    scale: tuple[float, ...]
    bias: tuple[float, ...]
    novelty_score: str
    novelty_exponent: float = Field(default=1.0, ge=1)
    unknown_share: float = Field(default=0.0, ge=0, lt=1)
    false_alarms: float
    target_accuracy: float
    confidence: float = 0.9
    roll_up_threshold: float
    is_promised: bool
    bound: AnswerBound | None = None
    bound_by_groups: AnswerBound | None = None
    may_promise: bool = True
    costs: Literal["none", "taxonomy"]
    unknown_cost: float | None = None
    label_sets: LabelSets
    class_conditional: bool = False
    fitted_on: str
    num_images: int


class BundleInfo(_Part):
    """The content of `bundle.json`."""

    schema_version: Literal[1] = 1
    name: str
    classes: tuple[str, ...]
    taxonomy: Taxonomy
    preprocessing: Preprocessing
    embedding: dict[str, str | int | bool]
    calibration: Calibration
    decision: DecisionInfo | None = None
    licensing: Licensing
    provenance: Provenance
    files: dict[str, str]


@dataclass(frozen=True)
class KnownPictures:
    """Pictures with a known answer that the model was not fitted on: what thresholds follow from.

    Attributes:
        probabilities: (M, K), calibrated.
        class_indices: (M,).
        novelty_scores: (S,) ascending, by the bundle's scores.
        novelty_folds: (S,) by which of them.
        novelty_ranks: (M,) share of the others that are less novel; NaN where nothing is known of it.
        sha256: (M,) digests of the files, which label sets follow from; None in bundles from before they were kept.
        groups: (M,) numbers of the groups that they come in; None likewise.
    """

    probabilities: NDArray[np.float64]
    class_indices: NDArray[np.int64]
    novelty_scores: NDArray[np.float64]
    novelty_folds: NDArray[np.int64]
    novelty_ranks: NDArray[np.float64]
    sha256: NDArray[np.str_] | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Reference:
    """The training pictures as the model sees them.

    Attributes:
        embeddings: (R, D), each of length 1.
        file_names: R names, as in the training manifest.
        sha256: R digests of the files.
        class_indices: (R,), index into the bundle's classes.
        attributions: R lines: title, author, licence, source.
        thumbnails: (R, 32, 32) grey, for the baseline that compares pixels; None in bundles written without.
        novelty: Arrays of each novelty score, if they are on embeddings: one, or one for each fold of known pictures.
        known: Pictures that thresholds follow from; None in bundles written without.
    """

    embeddings: NDArray[np.float32]
    file_names: list[str]
    sha256: list[str]
    class_indices: NDArray[np.int64]
    attributions: list[str]
    thumbnails: NDArray[np.uint8] | None = None
    novelty: tuple[dict[str, NDArray[Any]], ...] = ()
    known: KnownPictures | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle whose digests have been checked."""

    folder: Path
    info: BundleInfo
    digest: str

    @property
    def model_path(self) -> Path:
        """The ONNX graph: logits (N, K), embedding (N, D), feature_map (N, D, h, w)."""
        return self.folder / MODEL_FILE

    @cached_property
    def reference(self) -> Reference:
        """The training pictures' embeddings, read at first use."""
        try:
            with np.load(self.folder / REFERENCE_FILE, allow_pickle=False) as arrays:
                return Reference(
                    embeddings=arrays["embeddings"],
                    file_names=[str(name) for name in arrays["file_names"]],
                    sha256=[str(digest) for digest in arrays["sha256"]],
                    class_indices=arrays["class_indices"],
                    attributions=[str(line) for line in arrays["attributions"]],
                    thumbnails=arrays.get("thumbnails"),
                    novelty=_novelty_arrays(arrays),
                    known=_known_pictures(arrays),
                )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BundleError(f"{self.folder / REFERENCE_FILE}: cannot be read ({error})") from error


def _known_pictures(arrays: Mapping[str, NDArray[Any]]) -> KnownPictures | None:
    if "known_probabilities" not in arrays:
        return None
    older: dict[str, Any] = {  # in bundles from before there were several fits, and ranks
        "known_novelty_folds": np.zeros(len(arrays["known_novelty_scores"]), dtype=np.int64),
        "known_novelty_ranks": np.full(len(arrays["known_class_indices"]), np.nan),
        "known_sha256": None,  # before these could be fitted again
        "known_groups": None,
    }
    names = [f"known_{field.name}" for field in fields(KnownPictures)]
    return KnownPictures(*(older[name] if name in older and name not in arrays else arrays[name] for name in names))


def _novelty_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], ...]:
    """Of every novelty score; bundles from before there were several have one, without a number in its names."""
    scores: dict[int, dict[str, NDArray[Any]]] = {}
    for key in arrays:
        prefix, _, name = key.partition("_")
        if prefix == "novelty":
            number, _, rest = name.partition("_")
            fold, name = (int(number), rest) if number.isdigit() else (0, name)
            scores.setdefault(fold, {})[name] = arrays[key]
    return tuple(scores[fold] for fold in sorted(scores))


def load_bundle(folder: Path) -> Bundle:
    """The bundle in a folder, after checking every file's digest.

    Raises:
        BundleError: There is none, files are missing, or a digest does not match.
    """
    info_path = folder / INFO_FILE
    if not info_path.is_file():
        nested = folder / "bundle" / INFO_FILE
        hint = f"; did you mean {nested.parent}?" if nested.is_file() else ""
        what = "no such folder" if not folder.exists() else f"no {INFO_FILE} in it"
        raise BundleError(f"{folder}: not a model bundle ({what}){hint}")
    try:
        info = BundleInfo.model_validate_json(info_path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or INFO_FILE
        raise BundleError(
            f"{info_path}: {where}: {first['msg']}; was it written by another version, or edited?"
        ) from error
    for name in BUNDLE_FILES:
        _check_digest(folder / name, info.files.get(name))
    return Bundle(folder, info, sha256_of_file(info_path))


def _check_digest(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise BundleError(f"{path}: missing from the bundle; copy the whole folder again")
    found = sha256_of_file(path)
    if found != expected:
        raise BundleError(
            f"{path}: digest is {found[:12]}..., {INFO_FILE} says {(expected or 'nothing')[:12]}...; "
            "the bundle was changed or damaged and is refused, get it again or train anew"
        )
