"""From a table of predictions with the truth beside it to an evaluation: the figures, as a file others can read.

K true classes, A answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

import vision
from vision.data.manifest import Manifest, groups_of
from vision.errors import PredictionsError
from vision.evaluate.answers import is_answered, is_right, trained_on
from vision.evaluate.confidence import CalibrationFigures, NoveltyFigures, calibration_figures, novelty_figures
from vision.evaluate.costs import CostFigures, cost_figures
from vision.evaluate.metrics import (
    DEFAULT_REPLICATES,
    BootstrapIntervals,
    bootstrap_intervals,
    confusion_counts,
)
from vision.evaluate.near_duplicates import FlatteryFigures
from vision.evaluate.novel import NovelClassFigures, novel_figures
from vision.evaluate.parts import Figure as Figure
from vision.evaluate.parts import FigureWithInterval as FigureWithInterval
from vision.evaluate.parts import Part
from vision.evaluate.picture_properties import PICTURE_COLUMNS
from vision.evaluate.promises import PromiseFigures, Promises, promise_figures
from vision.evaluate.shortcuts import ShortcutAudit
from vision.evaluate.slices import SliceFigures, slice_figures
from vision.evaluate.suspicious_labels import SuspiciousLabelFigures, suspicious_labels
from vision.predictions import most_probable_classes
from vision.taxonomy import Taxonomy

UNKNOWN = "unknown"
NO_ANSWER = "no answer"
"""Column of pictures that could not be read; they count as not recognised."""

LevelName = Literal["class", "family", "role"]
LEVELS: tuple[LevelName, ...] = ("class", "family", "role")


class ClassFigures(Part):
    """The figures of one class.

    Attributes:
        class_id: Its id.
        name: Its name.
        family: Id of its family.
        num_images: Its pictures.
        num_answers: Pictures that were given its name.
        precision: Share of these answers that are right; no value without answers.
        recall: Share of its pictures that were given its name; no value without pictures.
        f1: Harmonic mean of the two.
    """

    class_id: str
    name: str
    family: str
    num_images: int
    num_answers: int
    precision: FigureWithInterval
    recall: FigureWithInterval
    f1: FigureWithInterval


class ConfusionMatrix(Part):
    """Counts; rows true, columns answers: the same ids, then roll-ups, `unknown`, `no answer` where they occur.

    Attributes:
        level: class, family or role.
        true_ids: Ids of the rows.
        answer_ids: Ids of the columns.
        counts: Pictures, a list a row.
    """

    level: LevelName
    true_ids: tuple[str, ...]
    answer_ids: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def array(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """(K, A)."""
        return np.array(self.counts, dtype=np.int64).reshape(len(self.true_ids), len(self.answer_ids))


class ConfusedPair(Part):
    """Pictures of one class that got another answer.

    Attributes:
        true_id: The class.
        answer_id: The answer.
        num_images: Pictures.
        share_of_true: The same as a share of the pictures of the class.
        cues: What separates the two, if they are look-alikes.
    """

    true_id: str
    answer_id: str
    num_images: int
    share_of_true: float
    cues: tuple[str, ...]


class Baseline(Part):
    """What a simple rule reaches on the same pictures; a model that is no better has learnt nothing worth having.

    Attributes:
        name: The rule.
        accuracy: Share of pictures whose class it names.
    """

    name: str
    accuracy: FigureWithInterval


class AnswerFigures(Part):
    """What was answered at which level, and how often an answer was right at the level that it names.

    Attributes:
        by_level: Share of the pictures answered at class, family, role, unknown; unreadable ones are in none.
        num_answers: Pictures with a class, family or role as answer.
        right: Share of these whose true class is that class, or in that family or role.
    """

    by_level: dict[str, float]
    num_answers: int
    right: FigureWithInterval


class DataSource(Part):
    """Where the pictures and their truth come from.

    Attributes:
        name: Of the data set: its folder.
        manifest_sha256: Digest of the manifest's file, as it was read.
        split: Only rows of this split; empty for all.
    """

    name: str
    manifest_sha256: str
    split: str

    @classmethod
    def of(cls, manifest: Manifest, split: str | None) -> DataSource:
        """That of a manifest, or of one of its splits."""
        digest = hashlib.sha256(manifest.path.read_bytes()).hexdigest()
        return cls(name=manifest.folder.resolve().name, manifest_sha256=digest, split=split or "")


class Evaluation(Part):
    """The content of `evaluation.json`.

    Attributes:
        schema_version: Of this layout; it grows when a field changes its meaning or goes, not when one is added.
        created_by: Program and version that wrote the file.
        title: Name of what was evaluated.
        model: Digest of the bundle; empty if the rows tell none.
        rows_digest: SHA-256 of the names, answers and truths: whether the figures are of certain rows.
        truth_digest: SHA-256 of the names, truths and groups: whether what was found on the pictures still holds.
        images_dir: Where `file_name` starts, relative to the file; empty if the pictures were not at hand.
        data: Where pictures and truth come from; None if that is not known.
        notes: What could not be measured here, and why, in sentences.
        num_images: Pictures judged, unreadable ones among them.
        num_errors: Pictures that could not be read; they count as not recognised.
        num_trained_on: Pictures that the model was trained on; they flatter it.
        num_groups: Groups that the pictures come from; a picture without a group is its own.
        accuracy: Share of all pictures whose class was named.
        macro_recall: Mean recall over the classes that have pictures.
        most_probable: Share of pictures whose most probable class is right, named or not; None if rows list no classes.
        answers: What was answered at which level; None if rows have no level.
        largest_class_share: Share of the largest class: always answering it would be right that often.
        baselines: What simple rules reach on the same pictures.
        calibration: Whether probabilities hold; None if rows do not list all classes.
        novel: Answers for pictures of each class that the model does not know, most dangerous first.
        novelty: Whether the novelty rank tells novel from known pictures; None without ranks.
        promises: Whether the bundle's promises are kept; None if the rows cannot tell.
        costs: What answers cost by the taxonomy.
        slices: Accuracy in parts of the pictures, by further columns and by properties of the pictures.
        suspicious: Labels that may be wrong; None if rows list no classes.
        shortcuts: What models reach that see next to nothing; None if the pictures were not looked at.
        near_duplicates: Pictures that repeat training pictures; None if nobody looked for them.
        num_replicates: Draws of the bootstrap.
        seed: Of the bootstrap.
        classes: Figures of each class, in the order of the taxonomy.
        matrices: Counts at class, family and role level.
        confused_pairs: Every wrong answer that occurs, most frequent first.
    """

    schema_version: Literal[2] = 2
    created_by: str
    title: str
    model: str
    rows_digest: str = ""
    truth_digest: str = ""
    images_dir: str
    data: DataSource | None = None
    notes: tuple[str, ...] = ()
    num_images: int
    num_errors: int
    num_trained_on: int
    num_groups: int
    accuracy: FigureWithInterval
    macro_recall: FigureWithInterval
    most_probable: FigureWithInterval | None = None
    answers: AnswerFigures | None = None
    largest_class_share: Figure
    baselines: tuple[Baseline, ...] = ()
    calibration: CalibrationFigures | None = None
    novel: tuple[NovelClassFigures, ...] = ()
    novelty: NoveltyFigures | None = None
    promises: PromiseFigures | None = None
    costs: CostFigures | None = None
    slices: tuple[SliceFigures, ...] = ()
    suspicious: SuspiciousLabelFigures | None = None
    shortcuts: ShortcutAudit | None = None
    near_duplicates: FlatteryFigures | None = None
    num_replicates: int
    seed: int
    classes: tuple[ClassFigures, ...]
    matrices: tuple[ConfusionMatrix, ...]
    confused_pairs: tuple[ConfusedPair, ...]

    @property
    def known_classes(self) -> tuple[str, ...]:
        """Classes that the model could name: all but the novel ones."""
        novel = {figures.class_id for figures in self.novel}
        return tuple(figures.class_id for figures in self.classes if figures.class_id not in novel)

    def matrix(self, level: LevelName) -> ConfusionMatrix:
        """The matrix of a level."""
        return next(matrix for matrix in self.matrices if matrix.level == level)


@dataclass(frozen=True)
class PictureFigures:
    """What follows from the pictures and the training pictures, not from predictions alone.

    Attributes:
        shortcuts: What models reach that see next to nothing.
        near_duplicates: Pictures that repeat training pictures.
    """

    shortcuts: ShortcutAudit | None = None
    near_duplicates: FlatteryFigures | None = None


def evaluate_predictions(
    table: pl.DataFrame,
    taxonomy: Taxonomy,
    *,
    title: str,
    images_dir: str = "",
    known_classes: Sequence[str] = (),
    of_pictures: PictureFigures | None = None,
    data: DataSource | None = None,
    notes: Sequence[str] = (),
    promises: Promises | None = None,
    known: pl.DataFrame | None = None,
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> Evaluation:
    """The figures of predictions with a column `true_label`, and `group` if there is one.

    Args:
        table: Prediction rows.
        taxonomy: It orders the classes and names look-alikes.
        title: Name of what was evaluated.
        images_dir: Where `file_name` starts, as it should stand in the file.
        known_classes: Classes of the model; those without pictures get a row that says so, and those of pictures that
            are not among them are novel. By default those in `top` or answered.
        of_pictures: What was found on the pictures themselves.
        data: Where pictures and truth come from, if that is known.
        notes: What could not be measured, and why, in sentences.
        promises: Of the bundle that answered.
        known: Further rows with their truth, of the same model for pictures of its classes; they stand beside novel
            ones where that is asked, and for the promises, and count nowhere else.
        num_replicates: Bootstrap replicates.
        seed: Of the bootstrap.

    Raises:
        PredictionsError: There is no truth, or no row.
        TaxonomyError: A label is not in the taxonomy.
    """
    check_truth(table)
    seen = classes_of_answers(table, taxonomy)
    of_model = set(known_classes) or seen
    true_labels = table["true_label"].to_list()
    answers = answers_of(table).to_list()
    class_ids = taxonomy.in_order({*of_model, *seen, *true_labels})
    matrices = tuple(_matrix(level, true_labels, answers, class_ids, taxonomy) for level in LEVELS)
    class_matrix = matrices[0]
    groups = groups_of(table)
    intervals = bootstrap_intervals(
        *_indices(true_labels, answers, class_matrix),
        groups,
        len(class_ids),
        num_replicates=num_replicates,
        seed=seed,
    )
    counts = class_matrix.array()
    promises = promises or Promises()
    whole = table if known is None else pl.concat([table, known], how="diagonal_relaxed")
    of_whole = groups_of(whole)
    return Evaluation(
        created_by=f"vision {vision.__version__}",
        title=title,
        model=next((m for m in table["model"].unique().sort() if m), "") if "model" in table.columns else "",
        rows_digest=rows_digest(table),
        truth_digest=truth_digest(table),
        images_dir=images_dir,
        data=data,
        notes=tuple(notes),
        num_images=len(table),
        num_errors=int((table["status"] == "error").sum()),
        num_trained_on=int(trained_on(table).sum()),
        num_groups=len(set(groups)),
        accuracy=FigureWithInterval.of(intervals.accuracy),
        macro_recall=FigureWithInterval.of(intervals.macro_recall),
        most_probable=_most_probable(table, class_ids, groups, num_replicates, seed),
        answers=_answer_figures(table, taxonomy, groups, num_replicates, seed),
        largest_class_share=float(counts.sum(axis=1).max() / counts.sum()),
        calibration=calibration_figures(
            table, taxonomy, groups, classes=known_classes, num_replicates=num_replicates, seed=seed
        ),
        novel=tuple(novel_figures(table, of_model, taxonomy)) if of_model else (),
        novelty=novelty_figures(
            whole, of_whole, false_alarms=promises.false_alarms, num_replicates=num_replicates, seed=seed
        ),
        promises=promise_figures(whole, taxonomy, of_whole, promises, num_replicates=num_replicates, seed=seed),
        costs=cost_figures(table, taxonomy, class_ids, answers, groups, num_replicates=num_replicates, seed=seed),
        slices=slice_figures(table, _properties(table), groups, num_replicates=num_replicates, seed=seed),
        suspicious=suspicious_labels(table) if "top" in table.columns else None,
        shortcuts=of_pictures.shortcuts if of_pictures is not None else None,
        near_duplicates=of_pictures.near_duplicates if of_pictures is not None else None,
        baselines=_baselines(table, class_ids, groups, num_replicates, seed),
        num_replicates=num_replicates,
        seed=seed,
        classes=_class_figures(class_matrix, intervals, taxonomy),
        matrices=matrices,
        confused_pairs=_confused_pairs(class_matrix, taxonomy),
    )


def rows_digest(table: pl.DataFrame) -> str:
    """SHA-256 of the names, answers and truths in their order: whether figures are of these rows."""
    return _digest(table.select("file_name", "label", "true_label"))


def truth_digest(table: pl.DataFrame) -> str:
    """SHA-256 of the names, truths and groups in their order: whether what was found on pictures is of these."""
    groups = pl.Series("group", groups_of(table), dtype=pl.String)
    return _digest(table.select("file_name", "true_label", groups))


def _digest(columns: pl.DataFrame) -> str:
    texts = columns.select(pl.all().cast(pl.String).fill_null(""))
    joined = "\0".join(texts.select(pl.concat_str(pl.all(), separator="\0")).to_series().to_list())
    return hashlib.sha256(joined.encode("utf-8", "surrogateescape")).hexdigest()


def _properties(table: pl.DataFrame) -> pl.DataFrame | None:
    """What was measured on the pictures when they were classified; a manifest may have a column of such a name."""
    is_measured = all(name in table.columns and table.schema[name].is_numeric() for name in PICTURE_COLUMNS)
    return table.select(PICTURE_COLUMNS) if is_measured else None


def _most_probable(
    table: pl.DataFrame, class_ids: Sequence[str], groups: Sequence[str], num_replicates: int, seed: int
) -> FigureWithInterval | None:
    """Accuracy of the most probable class, whatever the answer was: what a closed set would reach."""
    found = most_probable_classes(table)
    if found is None:
        return None
    return _accuracy_of(found, table["true_label"], class_ids, groups, num_replicates, seed)


def _accuracy_of(
    found: pl.Series,
    true_labels: pl.Series,
    class_ids: Sequence[str],
    groups: Sequence[str],
    num_replicates: int,
    seed: int,
) -> FigureWithInterval:
    """Share of pictures whose found class is the true one; none found, or one that no picture can have, is wrong."""
    index = {class_id: position for position, class_id in enumerate(class_ids)}
    truth, answers = (
        names.replace_strict(index, default=len(index), return_dtype=pl.Int64).fill_null(len(index)).to_numpy()
        for names in (true_labels, found)
    )
    intervals = bootstrap_intervals(truth, answers, groups, len(index), num_replicates=num_replicates, seed=seed)
    return FigureWithInterval.of(intervals.accuracy)


def _answer_figures(
    table: pl.DataFrame, taxonomy: Taxonomy, groups: Sequence[str], num_replicates: int, seed: int
) -> AnswerFigures | None:
    if "level" not in table.columns:
        return None
    levels = table["level"].to_list()
    by_level = {level: levels.count(level) / len(levels) for level in ("class", "family", "role", UNKNOWN)}
    rows = np.flatnonzero(is_answered(table))
    if len(rows) == 0:
        nothing = FigureWithInterval(value=None, low=None, high=None)
        return AnswerFigures(by_level=by_level, num_answers=0, right=nothing)
    right = is_right(table, taxonomy)[rows]
    # One class and an answer that hits it or not: the accuracy of that is the share of right answers.
    intervals = bootstrap_intervals(
        np.zeros(len(rows), dtype=np.int64),
        (~right).astype(np.int64),
        [groups[row] for row in rows.tolist()],
        1,
        num_replicates=num_replicates,
        seed=seed,
    )
    return AnswerFigures(by_level=by_level, num_answers=len(rows), right=FigureWithInterval.of(intervals.accuracy))


def _baselines(
    table: pl.DataFrame, class_ids: Sequence[str], groups: Sequence[str], num_replicates: int, seed: int
) -> tuple[Baseline, ...]:
    """Answers of the nearest training picture, where the predictions tell it."""
    answers: dict[str, pl.Series] = {}
    if "nearest" in table.columns:
        answers["nearest training picture by features"] = table["nearest"].list.first().struct.field("class_id")
    if "nearest_by_pixels" in table.columns:
        answers["nearest training picture by pixels"] = table["nearest_by_pixels"].cast(pl.String)
    return tuple(
        Baseline(
            name=name,
            accuracy=_accuracy_of(found, table["true_label"], class_ids, groups, num_replicates, seed),
        )
        for name, found in answers.items()
        if found.null_count() < len(found)
    )


def with_truth(predictions: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """Predictions with the manifest's truth beside them, matched by name, else by the pictures' digests.

    Where both tell something of a picture the manifest is right: it is what people mend. `num_other_truths` counts
    where they differ.

    Raises:
        PredictionsError: Pictures are not in the manifest; says how many and which first.
    """
    truth = manifest.table.rename({"label": "true_label"})
    by_digest = {digest: row for row, digest in enumerate(truth["sha256"]) if digest}
    by_name = {str(manifest.image_path(name).resolve()): row for row, name in enumerate(truth["file_name"])}
    by_name |= {name: row for row, name in enumerate(truth["file_name"])}
    rows: list[int] = []
    lost = []
    digests = predictions["sha256"] if "sha256" in predictions.columns else [""] * len(predictions)
    for name, digest in zip(predictions["file_name"], digests, strict=True):
        row = by_name.get(name, by_name.get(str(Path(name).resolve())))
        if row is not None and digest and truth["sha256"][row] not in (None, digest.lower()):
            row = None  # another picture of the same name
        row = by_digest.get((digest or "").lower()) if row is None else row
        if row is None:
            lost.append(name)
        else:
            rows.append(row)
    if lost:
        raise PredictionsError(
            f"{manifest.path}: {len(lost)} of {len(predictions)} predicted pictures are not in the manifest, "
            f"first '{lost[0]}'; give the manifest that they belong to"
        )
    found = truth[rows].drop("file_name", "sha256")
    columns = [
        name for name in found.columns if name not in predictions.columns or found[name].null_count() < len(found)
    ]
    return predictions.with_columns(found.select(columns).get_columns())


def num_other_truths(before: pl.DataFrame, now: pl.DataFrame) -> int:
    """Rows whose truth is another one than before; rows that had none do not count."""
    if "true_label" not in before.columns:
        return 0
    return int((before["true_label"].cast(pl.String) != now["true_label"]).fill_null(False).sum())


def check_truth(table: pl.DataFrame) -> None:
    """Make sure that every row has its truth.

    Raises:
        PredictionsError: There are no rows, or rows without `true_label`.
    """
    if len(table) == 0:
        raise PredictionsError("no predictions to judge: the table has no rows")
    if "true_label" not in table.columns:
        raise PredictionsError("the predictions have no column 'true_label'; give --manifest with the labels")
    missing = table["true_label"].null_count()
    if missing:
        raise PredictionsError(
            f"{missing} of {len(table)} predictions have no true_label; give --manifest with the labels"
        )


def answer_at_level(answer: str, level: LevelName, taxonomy: Taxonomy) -> str:
    """What an answer says at a level: a class at family level is its family; a role stays a role."""
    if level == "class" or answer in (UNKNOWN, NO_ANSWER):
        return answer
    if answer in taxonomy.class_ids:
        return taxonomy.family_id(answer) if level == "family" else taxonomy.role_id(answer)
    families = {family.id: family.role for family in taxonomy.families}
    return families.get(answer, answer) if level == "role" else answer


def answers_of(table: pl.DataFrame) -> pl.Series:
    """The answer of every row; unreadable pictures have `NO_ANSWER`."""
    is_error = pl.col("status") == "error"
    return table.select(pl.when(is_error).then(pl.lit(NO_ANSWER)).otherwise("label").alias("label")).to_series()


def classes_of_answers(table: pl.DataFrame, taxonomy: Taxonomy) -> set[str]:
    """Classes that a model lists in `top` or answers: it knows at least these."""
    listed = set(table["top"].explode().struct.field("class_id").unique().drop_nulls())
    answered = table.filter(pl.col("status") != "error")
    if "level" in table.columns:
        return listed | set(answered.filter(pl.col("level") == "class")["label"])
    higher = {f.id for f in taxonomy.families} | {r.id for r in taxonomy.roles} | {UNKNOWN}
    return listed | (set(answered["label"]) - higher)


def _matrix(
    level: LevelName, true_labels: list[str], answers: list[str], class_ids: tuple[str, ...], taxonomy: Taxonomy
) -> ConfusionMatrix:
    true_ids = tuple(dict.fromkeys(answer_at_level(class_id, level, taxonomy) for class_id in class_ids))
    truths = [answer_at_level(label, level, taxonomy) for label in true_labels]
    given = [answer_at_level(answer, level, taxonomy) for answer in answers]
    others = sorted(set(given) - set(true_ids), key=lambda a: (a == NO_ANSWER, a == UNKNOWN, a))
    answer_ids = (*true_ids, *others)
    matrix = ConfusionMatrix(level=level, true_ids=true_ids, answer_ids=answer_ids, counts=())
    counts = confusion_counts(*_indices(truths, given, matrix), len(true_ids), len(answer_ids))
    return matrix.model_copy(update={"counts": tuple(tuple(row) for row in counts.tolist())})


def _indices(truths: list[str], answers: list[str], matrix: ConfusionMatrix) -> tuple[Any, Any]:
    """Row and column of every picture, (N,) each."""
    row_of = {name: index for index, name in enumerate(matrix.true_ids)}
    column_of = {name: index for index, name in enumerate(matrix.answer_ids)}
    return (
        np.array([row_of[truth] for truth in truths], dtype=np.int64),
        np.array([column_of[answer] for answer in answers], dtype=np.int64),
    )


def _class_figures(
    matrix: ConfusionMatrix, intervals: BootstrapIntervals, taxonomy: Taxonomy
) -> tuple[ClassFigures, ...]:
    counts = matrix.array()
    return tuple(
        ClassFigures(
            class_id=class_id,
            name=taxonomy.name(class_id),
            family=taxonomy.family_id(class_id),
            num_images=int(counts[index].sum()),
            num_answers=int(counts[:, index].sum()),
            precision=FigureWithInterval.of(intervals.precision[index]),
            recall=FigureWithInterval.of(intervals.recall[index]),
            f1=FigureWithInterval.of(intervals.f1[index]),
        )
        for index, class_id in enumerate(matrix.true_ids)
    )


def _confused_pairs(matrix: ConfusionMatrix, taxonomy: Taxonomy) -> tuple[ConfusedPair, ...]:
    """Every wrong answer that occurs, most frequent first."""
    counts = matrix.array()
    pairs = []
    for row, true_id in enumerate(matrix.true_ids):
        for column, answer_id in enumerate(matrix.answer_ids):
            if row == column or counts[row, column] == 0:
                continue
            cues: tuple[str, ...] = ()
            if answer_id in matrix.true_ids:
                cues = tuple(str(cue) for cue in taxonomy.separating_cues(true_id, answer_id))
            share = float(counts[row, column] / counts[row].sum())
            pairs.append(
                ConfusedPair(
                    true_id=true_id,
                    answer_id=answer_id,
                    num_images=int(counts[row, column]),
                    share_of_true=share,
                    cues=cues,
                )
            )
    return tuple(sorted(pairs, key=lambda pair: (-pair.num_images, -pair.share_of_true)))
