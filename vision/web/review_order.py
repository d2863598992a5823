"""In which order pictures are reviewed: what a model finds odd comes first.

1. Pictures that the model could not read.
2. Pictures by plausibility, least first: the calibrated probability of the label times (1 - novelty rank). The first
   factor is small where the answer contradicts the label, the second where the picture is like no training picture.
3. Pictures that the model says nothing of: without a row, or of a class that it does not know.

Among equals, and without a model, classes take turns in the manifest's order: the first picture of each class, the
second of each, and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from vision.data.manifest import Manifest
from vision.errors import ManifestError, nearest_name_hint
from vision.pages import PERCENT
from vision.predictions import Prediction
from vision.taxonomy import Taxonomy

NOVEL_FROM = 0.9
"""Novelty rank from which the page says that a picture is unlike the training pictures."""

DOUBTFUL_BELOW = 0.5
"""Probability of the label below which the page says how low it is."""


@dataclass(frozen=True)
class QueuedPicture:
    """A picture and why it stands where it stands.

    Attributes:
        row: In the manifest, from 0.
        why: What is odd about it, in words; empty without a model.
        is_odd: Whether something is.
        says: The class that the model finds most probable; empty without a model.
    """

    row: int
    why: str = ""
    is_odd: bool = False
    says: str = ""


def rows_of_classes(manifest: Manifest, classes: Sequence[str]) -> list[int]:
    """Rows of these labels, or all if none is named; classes take turns.

    Raises:
        ManifestError: No row has such a label.
    """
    labels = manifest.table["label"].fill_null("")
    there = set(labels.unique())
    for class_id in classes:
        if class_id not in there:
            hint = nearest_name_hint(class_id, there) or f"; there are {', '.join(sorted(there))}"
            raise ManifestError(f"{manifest.path}: no row of class '{class_id}'{hint}")
    table = pl.DataFrame({"label": labels}).with_row_index("row")
    table = table.with_columns(
        turn=pl.int_range(pl.len()).over("label"), class_rank=pl.col("row").min().over("label")
    ).filter(pl.col("label").is_in(classes or list(there)))
    return table.sort("turn", "class_rank")["row"].to_list()


def queue_without_model(rows: Iterable[int]) -> list[QueuedPicture]:
    """Pictures in the order of the rows."""
    return [QueuedPicture(row) for row in rows]


def queue_oddest_first(
    manifest: Manifest, rows: Sequence[int], predictions: Iterable[Prediction], taxonomy: Taxonomy
) -> tuple[list[QueuedPicture], int]:
    """Pictures in the order of this module, and how many of them the predictions say something of.

    Args:
        manifest: The data set.
        rows: Which rows, in the order that equals keep.
        predictions: Named as in the manifest, or by paths from the current folder.
        taxonomy: Names, and which classes cover others.
    """
    answers = _by_row(manifest, _with_novelty_rank(list(predictions)))
    known = {item.class_id for answer in answers.values() for item in answer.top}
    labels = manifest.table["label"].fill_null("").to_list()
    covers = {c.id: set(c.covers) for c in taxonomy.classes}
    keyed = []
    for row in rows:
        answer = answers.get(row)
        fitting = {c for c in known if _fits(c, labels[row], covers)}
        says = answer.top[0].class_id if answer is not None and answer.top else ""
        picture = QueuedPicture(row, *_why(answer, fitting, labels[row], taxonomy), says)
        keyed.append((_rank(answer, fitting), picture))
    keyed.sort(key=lambda pair: pair[0])
    return [picture for _, picture in keyed], sum(row in answers for row in rows)


def _fits(class_id: str, label: str, covers: dict[str, set[str]]) -> bool:
    """Whether an answer does not contradict a label: the same class, or one that stands for the other."""
    return class_id == label or class_id in covers.get(label, ()) or label in covers.get(class_id, ())


def _by_row(manifest: Manifest, predictions: Sequence[Prediction]) -> dict[int, Prediction]:
    """Predictions by the row of their picture; one of another file of the same name is left out."""
    row_of = {name: row for row, name in enumerate(manifest.file_names)}
    digests = manifest.table["sha256"].to_list()
    folder = manifest.folder.resolve()
    found = {}
    for prediction in predictions:
        row = row_of.get(prediction.file_name)
        if row is None:
            path = Path(prediction.file_name).resolve()
            row = row_of.get(path.relative_to(folder).as_posix()) if path.is_relative_to(folder) else None
        if row is not None and (not digests[row] or prediction.sha256 in ("", digests[row])):
            found[row] = prediction
    return found


def _with_novelty_rank(predictions: list[Prediction]) -> list[Prediction]:
    """Predictions with a rank: the bundle's own, or from bundles without one, that among these pictures."""
    novelties = sorted(p.novelty for p in predictions if p.novelty is not None)
    rank_of = {novelty: place / len(novelties) for place, novelty in reversed(list(enumerate(novelties)))}
    return [
        replace(p, novelty_rank=rank_of[p.novelty]) if p.novelty_rank is None and p.novelty is not None else p
        for p in predictions
    ]


def _rank(answer: Prediction | None, fitting: set[str]) -> tuple[int, float]:
    if answer is not None and answer.status == "error":
        return 0, 0.0
    probability = None if answer is None else _probability_of_label(answer, fitting)
    if answer is None or probability is None:
        return 2, 0.0
    return 1, probability * (1 - (answer.novelty_rank or 0.0))


def _probability_of_label(answer: Prediction, fitting: set[str]) -> float | None:
    """Of the classes that fit the label; None if the model knows none of them.

    If they are not among the classes listed, it is at most what those leave, and no more than the least of them has.
    """
    if not fitting:
        return None
    listed = [item.probability for item in answer.top if item.class_id in fitting]
    if listed or not answer.top:
        return sum(listed)
    return max(0.0, min(answer.top[-1].probability, 1 - sum(item.probability for item in answer.top)))


def _why(answer: Prediction | None, fitting: set[str], label: str, taxonomy: Taxonomy) -> tuple[str, bool]:
    """What to tell of a picture, and whether it is odd."""
    if answer is None:
        return "the model was not asked about this picture", False
    if answer.status == "error":
        return f"the model could not read it: {answer.error}", True
    probability = _probability_of_label(answer, fitting)
    says = ", ".join(f"{taxonomy.name(item.class_id)} with {_percent(item.probability)}" for item in answer.top[:1])
    told = [f"the model says {says}"] if says else []
    name = taxonomy.name(label)
    is_odd = False
    if probability is None:
        told.append(f"it does not know {name}")
    elif answer.top and answer.top[0].class_id not in fitting:
        is_odd = True
        listed = any(item.class_id in fitting for item in answer.top)
        told.append(
            f"{name} with {_percent(probability)}" if listed else f"{name} is not among its {len(answer.top)} first"
        )
    elif probability < DOUBTFUL_BELOW:
        is_odd = True
        told.append("which is little")
    if answer.novelty_rank is not None and answer.novelty_rank >= NOVEL_FROM:
        is_odd = is_odd or probability is not None
        told.append(f"less like the training pictures than {_percent(answer.novelty_rank)} of known ones")
    return "; ".join(told), is_odd


def _percent(share: float) -> str:
    return f"{100 * share:.0f}{PERCENT}"


def num_odd(queue: Iterable[QueuedPicture]) -> int:
    """How many pictures there is something odd about."""
    return sum(picture.is_odd for picture in queue)
