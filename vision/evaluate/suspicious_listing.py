"""Labels that may be wrong, listed for people: what is doubted, how far, and where the picture comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import polars as pl

from vision.data.manifest import COLUMNS, Manifest
from vision.data.sharing.attribution import attribution_line
from vision.errors import PredictionsError
from vision.evaluate.answers import SAME_PICTURE_NOVELTY
from vision.evaluate.evaluation import with_truth
from vision.evaluate.suspicious_labels import SuspiciousLabelFigures, suspicious_labels
from vision.files import whole_file

_KNOWN_BY_HEART = "trained on this very picture"
"""How `vision.classify.engine` begins the reason of a row whose picture's digest is one of the training pictures."""


@dataclass(frozen=True)
class ListedLabel:
    """A label that may be wrong.

    Attributes:
        file_name: The picture, as the predictions name it.
        given: Its label.
        suggested: The most probable class.
        self_confidence: Probability of the label given, in [0, 1].
        margin: That minus the probability of the class suggested, in [-1, 0].
        group: As in the manifest, or an empty text.
        source_url: Page that the picture comes from, or an empty text.
        attribution: Title, author and licence in a line.
        box: The vehicle, as in the manifest, or an empty text.
        image_path: Where the picture lies, if it is there.
    """

    file_name: str
    given: str
    suggested: str
    self_confidence: float
    margin: float
    group: str
    source_url: str
    attribution: str
    box: str
    image_path: Path


_LIST_COLUMNS = tuple(f.name for f in fields(ListedLabel) if f.name not in ("attribution", "box", "image_path"))


def with_labels_of_now(predictions: pl.DataFrame, manifest: Manifest) -> tuple[pl.DataFrame, int]:
    """Predictions with the manifest's rows beside them, and how many labels differ from those that stood there.

    Labels are mended between two looks at the same predictions, so those of the manifest count.

    Raises:
        PredictionsError: Pictures are not in the manifest.
    """
    of_manifest = [name for name in predictions.columns if name in COLUMNS and name not in ("file_name", "sha256")]
    table = with_truth(predictions.drop(of_manifest, "true_label", strict=False), manifest)
    if "true_label" not in predictions.columns:
        return table, 0
    return table, int((predictions["true_label"] != table["true_label"]).sum())


def count_trained_on(table: pl.DataFrame) -> int:
    """Pictures that the model was trained on, by digest or by an embedding that is a training picture's."""
    novelty = pl.col("novelty") < SAME_PICTURE_NOVELTY if "novelty" in table.columns else pl.lit(False)
    reason = pl.col("reason").str.starts_with(_KNOWN_BY_HEART) if "reason" in table.columns else pl.lit(False)
    return int(table.select((novelty.fill_null(False) | reason.fill_null(False)).sum()).item() or 0)


def suspicious_or_refuse(table: pl.DataFrame, path: Path) -> SuspiciousLabelFigures:
    """Labels of the rows that may be wrong.

    Raises:
        PredictionsError: The rows cannot tell; says why and what to do.
    """
    figures = suspicious_labels(table)
    if figures is None:
        raise PredictionsError(f"{path}: {_why_none(table)}")
    return figures


def listed_labels(figures: SuspiciousLabelFigures, table: pl.DataFrame, manifest: Manifest) -> list[ListedLabel]:
    """What was found, with what the manifest says of each picture; most suspicious first."""
    names = {name: row for row, name in enumerate(table["file_name"])}
    images = ImagePaths(manifest)
    return [
        ListedLabel(
            **label.model_dump(),
            group=values["group"] or "",
            source_url=values["source_url"] or "",
            attribution=attribution_line({**values, "source_url": None}),
            box=values["box"] or "",
            image_path=images.of(label.file_name, values["sha256"]),
        )
        for label in figures.labels
        for values in [table.row(names[label.file_name], named=True)]
    ]


def write_list(labels: Sequence[ListedLabel], path: Path) -> None:
    """Write file, label given and suggested, self-confidence, margin, group and source page of each label as CSV."""
    schema = {name: pl.Float64 if name in ("self_confidence", "margin") else pl.String for name in _LIST_COLUMNS}
    rows = [{name: value for name, value in asdict(label).items() if name in schema} for label in labels]
    with whole_file(path) as temporary:
        pl.DataFrame(rows, schema=schema).write_csv(temporary, float_precision=4)


class ImagePaths:
    """Where predicted pictures lie: by their name in the manifest, else by their digest.

    Args:
        manifest: The data set.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._folder = manifest.folder
        self._names = frozenset(manifest.file_names)
        digests = zip(manifest.table["sha256"], manifest.file_names, strict=True)
        self._by_digest = {digest: name for digest, name in digests if digest}

    def of(self, file_name: str, sha256: str | None) -> Path:
        """The path, whether a file is there or not."""
        if file_name in self._names:
            return self._folder / file_name
        return self._folder / self._by_digest.get((sha256 or "").lower(), file_name)


def _why_none(table: pl.DataFrame) -> str:
    answered = table.filter(pl.col("top").list.len() > 0)
    if answered.is_empty():
        return (
            "no row lists the probabilities of classes (column top); make them with `vision train` or `vision evaluate`"
        )
    listed = answered["top"].explode().struct.field("class_id").unique()
    if len(listed) < 2:
        return f"rows know one class alone, {listed[0]}; labels are doubted in favour of another"
    fewest = min(map(len, answered["top"]))
    if fewest < len(listed):
        return (
            f"rows list only {fewest} of {len(listed)} classes, and the others' probabilities are needed; classify "
            f"again with `vision classify -k {len(listed)}`, or use what `vision train` or `vision evaluate` wrote"
        )
    return "no label is one of the classes that the predictions list; is it the manifest that they belong to?"
