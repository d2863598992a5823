"""Two sets of predictions of the same pictures beside each other: is B better than A, where, and on which pictures.

A picture is right if the answer names its true class; "unknown", a family or a role is not, as in the evaluation's
accuracy. A difference is always B minus A. N pictures, R true classes with pictures, C answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

import vision
from vision.data.manifest import groups_of
from vision.errors import PredictionsError, nearest_name_hint
from vision.evaluate.calibration_metrics import Bools, Floats, Ints
from vision.evaluate.evaluation import NO_ANSWER, UNKNOWN, answers_of, check_truth
from vision.evaluate.metrics import DEFAULT_REPLICATES, confusion_counts
from vision.evaluate.multiple_tests import SIGNIFICANT, holm_p_values
from vision.evaluate.paired_tests import (
    PairedFigures,
    PairedIntervals,
    group_differences,
    mcnemar_p_value,
    paired_figures,
    sign_flip_p_value,
)
from vision.evaluate.parts import Figure, FigureWithInterval, Part
from vision.predictions import PREDICTIONS_FILE, most_probable_classes
from vision.taxonomy import Taxonomy

MAX_PICTURES_PER_LIST = 60
"""So many changed pictures of each kind stand in `Comparison`; `changed.csv` has all."""

ChangeKind = Literal["right to wrong", "wrong to right", "wrong to another wrong"]
CHANGE_KINDS: tuple[ChangeKind, ...] = ("right to wrong", "wrong to right", "wrong to another wrong")


class Side(Part):
    """One of the two.

    Attributes:
        title: Name to show.
        source: The file or folder, as it was given.
        model: Digest of the bundle, if the rows tell one.
        num_errors: Pictures that could not be read, of those that are compared.
        by_level: Share of the pictures answered at class, family, role, unknown; unreadable ones are in none.
    """

    title: str
    source: str
    model: str
    num_errors: int
    by_level: dict[str, float]


class ComparedFigure(Part):
    """A figure of both, and the difference with its paired interval.

    Attributes:
        a: Of A.
        b: Of B.
        difference: B minus A.
    """

    a: FigureWithInterval
    b: FigureWithInterval
    difference: FigureWithInterval

    @classmethod
    def of(cls, intervals: PairedIntervals) -> ComparedFigure:
        """The same, as a part."""
        return cls(
            a=FigureWithInterval.of(intervals.a),
            b=FigureWithInterval.of(intervals.b),
            difference=FigureWithInterval.of(intervals.difference),
        )


class PairedTest(Part):
    """Who is right where, and whether the difference could be chance.

    Attributes:
        num_both_right: Pictures on which both are right.
        num_only_a: Only A is right.
        num_only_b: Only B is right.
        num_neither: Neither is right.
        num_groups_differing: Groups in which one is right more often than the other.
        group_p_value: Sign-flip test over groups, the one to go by.
        mcnemar_p_value: McNemar's exact test, which takes pictures as independent.
    """

    num_both_right: int
    num_only_a: int
    num_only_b: int
    num_neither: int
    num_groups_differing: int
    group_p_value: float
    mcnemar_p_value: float

    @property
    def least_group_p_value(self) -> float:
        """The smallest p-value that so many groups can give."""
        return min(1.0, 2.0 ** (1 - self.num_groups_differing))


class AccuracyChange(Part):
    """A share of right answers of both, and whether the difference could be chance.

    Attributes:
        accuracy: The share.
        test: Of the difference.
    """

    accuracy: ComparedFigure
    test: PairedTest


class ClassChange(Part):
    """How the recall of a class changed.

    Attributes:
        class_id: The class.
        num_images: Its pictures.
        num_groups: Groups that they come from.
        recall: Share that is given the name of the class.
        num_lost: Pictures right in A alone.
        num_gained: Pictures right in B alone.
        p_value: Sign-flip test over the groups of its pictures.
        holm_p_value: The same, corrected for the number of classes (Holm).
    """

    class_id: str
    num_images: int
    num_groups: int
    recall: ComparedFigure
    num_lost: int
    num_gained: int
    p_value: float
    holm_p_value: float

    @property
    def is_significant(self) -> bool:
        """Whether it changed beyond chance, all classes considered."""
        return self.holm_p_value < SIGNIFICANT


class DifferenceMatrix(Part):
    """Counts of both; rows are true classes with pictures, columns answers: classes first, then all others.

    Attributes:
        true_ids: R classes.
        answer_ids: C answers: classes that are true or answered, then roll-ups, `unknown`, `no answer`.
        num_classes: How many of the answers are classes.
        counts_a: (R, C).
        counts_b: (R, C).
    """

    true_ids: tuple[str, ...]
    answer_ids: tuple[str, ...]
    num_classes: int
    counts_a: tuple[tuple[int, ...], ...]
    counts_b: tuple[tuple[int, ...], ...]

    def differences(self) -> Ints:
        """(R, C) pictures, B minus A."""
        shape = (len(self.true_ids), len(self.answer_ids))
        return (np.array(self.counts_b, dtype=np.int64) - np.array(self.counts_a, dtype=np.int64)).reshape(shape)

    def shares(self) -> Floats:
        """(R, C) differences as shares of the true class, in [-1, 1]."""
        num_images = np.array(self.counts_a, dtype=np.int64).sum(axis=1, keepdims=True)
        return np.asarray(self.differences() / num_images, dtype=np.float64)


class ChangedPicture(Part):
    """A picture that the two answer differently.

    Attributes:
        file_name: In A.
        file_name_b: In B.
        true_label: The truth.
        label_a: Answer of A; `no answer` if it could not read the picture.
        probability_a: Of that answer.
        label_b: Answer of B.
        probability_b: Of that answer.
    """

    file_name: str
    file_name_b: str
    true_label: str
    label_a: str
    probability_a: Figure
    label_b: str
    probability_b: Figure


class ChangeList(Part):
    """Pictures that changed in one way, those with the surest wrong answer first; no more than a page can show.

    Attributes:
        change: In which way.
        num_images: All of them.
        pictures: Those that are listed.
    """

    change: ChangeKind
    num_images: int
    pictures: tuple[ChangedPicture, ...]

    @property
    def num_left_out(self) -> int:
        """Pictures that are in `changed.csv` alone."""
        return self.num_images - len(self.pictures)


class Comparison(Part):
    """The content of `comparison.json`.

    Attributes:
        schema_version: Of this layout; it grows when a field changes its meaning or goes, not when one is added.
        created_by: Program and version that wrote the file.
        title: Name of the comparison.
        a: What is compared against.
        b: What is compared.
        num_images: Pictures that both have.
        num_only_in_a: Pictures that were left out because B lacks them.
        num_only_in_b: Pictures that were left out because A lacks them.
        num_groups: Groups of the pictures.
        answer: By the answers.
        most_probable: By the most probable classes; None where either does not tell them.
        macro_recall: Mean recall over classes with pictures.
        classes: Classes with pictures, in the order of the taxonomy.
        matrix: Counts of both.
        changed: A list a kind.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.
    """

    schema_version: Literal[1] = 1
    created_by: str
    title: str
    a: Side
    b: Side
    num_images: int
    num_only_in_a: int
    num_only_in_b: int
    num_groups: int
    answer: AccuracyChange
    most_probable: AccuracyChange | None
    macro_recall: ComparedFigure
    classes: tuple[ClassChange, ...]
    matrix: DifferenceMatrix
    changed: tuple[ChangeList, ...]
    num_replicates: int
    seed: int


@dataclass(frozen=True)
class NamedPredictions:
    """Prediction rows, where they come from, and what to call them."""

    table: pl.DataFrame
    source: str
    title: str


@dataclass(frozen=True)
class PairedRows:
    """Rows of the same pictures, in the order of A.

    Attributes:
        a: (N rows) of A, with the truth and the groups that both agree on.
        b: (N rows) of B, likewise.
        num_only_in_a: Pictures of A that B lacks.
        num_only_in_b: Pictures of B that A lacks.
    """

    a: pl.DataFrame
    b: pl.DataFrame
    num_only_in_a: int
    num_only_in_b: int


def significant_loss(comparison: Comparison) -> bool:
    """Whether B's accuracy is below A's beyond chance: the whole 95 % interval of the difference is below zero."""
    high = comparison.answer.accuracy.difference.high
    return high is not None and high < 0


def predictions_path(given: Path) -> Path:
    """The predictions file: the given file, or the one in the given folder.

    Raises:
        PredictionsError: The folder has none, or nothing is there.
    """
    if not given.exists():
        there = given.resolve().parent
        names = sorted(child.name for child in there.iterdir()) if there.is_dir() else []
        remedy = "; `vision evaluate` writes a folder, `vision classify -o` a file"
        raise PredictionsError(f"{given}: no such file or folder{nearest_name_hint(given.name, names) or remedy}")
    if not given.is_dir():
        return given
    path = given / PREDICTIONS_FILE
    if not path.is_file():
        below = sorted(child.parent for child in given.glob(f"*/{PREDICTIONS_FILE}"))
        remedy = f"did you mean '{below[0]}'?" if below else "give an evaluation's folder or a predictions file"
        raise PredictionsError(f"{given}: holds no {PREDICTIONS_FILE}; {remedy}")
    return path


def pair_rows(a: NamedPredictions, b: NamedPredictions, *, take_common: bool = False) -> PairedRows:
    """The rows of both side by side, matched by the pictures' digests where both have them, else by name.

    Args:
        a: What is compared against.
        b: What is compared.
        take_common: Leave out what only one of them has, instead of refusing.

    Raises:
        PredictionsError: They are of different pictures, contradict each other in truth or groups, or lack the truth.
    """
    for side in (a, b):
        _check_names(side)
    rows_a, rows_b = _matched_rows(_keys(a.table), _keys(b.table))
    num_only_in_a, num_only_in_b = len(a.table) - len(rows_a), len(b.table) - len(rows_b)
    if len(rows_a) == 0 or ((num_only_in_a or num_only_in_b) and not take_common):
        raise PredictionsError(_different_pictures(a, b, rows_a, rows_b))
    order = np.argsort(rows_a)
    paired_a, paired_b = a.table[rows_a[order]], b.table[rows_b[order]]
    agreed = [_agreed_column(name, paired_a, paired_b, a, b) for name in ("true_label", "group")]
    columns = [column for column in agreed if column is not None]
    rows = PairedRows(paired_a.with_columns(columns), paired_b.with_columns(columns), num_only_in_a, num_only_in_b)
    check_truth(rows.a)
    return rows


def needed_classes(rows: PairedRows) -> set[str]:
    """Classes that a taxonomy must know to order the answers: those that are true or answered."""
    return {*rows.a["true_label"], *_class_answers(rows.a), *_class_answers(rows.b)}


def compare_predictions(
    a: NamedPredictions,
    b: NamedPredictions,
    rows: PairedRows,
    taxonomy: Taxonomy,
    *,
    title: str = "",
    num_replicates: int = DEFAULT_REPLICATES,
    seed: int = 0,
) -> Comparison:
    """What changed from A to B.

    Args:
        a: What is compared against.
        b: What is compared.
        rows: Of both, from `pair_rows`.
        taxonomy: It orders the classes.
        title: Name of the comparison; by default made of both titles.
        num_replicates: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        TaxonomyError: A label is not in the taxonomy.
    """
    matrix = _difference_matrix(rows, taxonomy)
    groups = groups_of(rows.a)
    _, group_indices = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    truth = rows.a["true_label"]
    true_indices = _indices(truth, matrix.true_ids)
    by_answer = _Outcome(
        (answers_of(rows.a) == truth).to_numpy(), (answers_of(rows.b) == truth).to_numpy(), group_indices
    )

    def figures(outcome: _Outcome) -> PairedFigures:
        right, num_classes = (outcome.is_right_a, outcome.is_right_b), len(matrix.true_ids)
        return paired_figures(true_indices, *right, groups, num_classes, num_replicates=num_replicates, seed=seed)

    answer = figures(by_answer)
    by_top = _most_probable_outcome(rows, group_indices)
    most_probable = None
    if by_top is not None:
        accuracy = ComparedFigure.of(figures(by_top).accuracy)
        most_probable = AccuracyChange(accuracy=accuracy, test=_test(by_top))
    return Comparison(
        created_by=f"vision {vision.__version__}",
        title=title or f"{b.title} against {a.title}",
        a=_side(a, rows.a),
        b=_side(b, rows.b),
        num_images=len(rows.a),
        num_only_in_a=rows.num_only_in_a,
        num_only_in_b=rows.num_only_in_b,
        num_groups=len(set(groups)),
        answer=AccuracyChange(accuracy=ComparedFigure.of(answer.accuracy), test=_test(by_answer)),
        most_probable=most_probable,
        macro_recall=ComparedFigure.of(answer.macro_recall),
        classes=_class_changes(matrix.true_ids, true_indices, by_answer, answer),
        matrix=matrix,
        changed=_change_lists(changed_pictures(rows)),
        num_replicates=num_replicates,
        seed=seed,
    )


def changed_pictures(rows: PairedRows) -> pl.DataFrame:
    """The pictures with another answer, by the kind of change, in each those with the surest wrong answer first."""
    named = ["class", "family", "role"]
    beside = rows.a.select("group") if "group" in rows.a.columns else rows.a.select()
    both = pl.concat(
        [
            rows.a.select("file_name", "true_label").with_columns(beside.get_columns()),
            *(
                side.select(
                    answers_of(side).alias(f"label_{name}"),
                    pl.col("level").alias(f"level_{name}"),
                    pl.col("probability").alias(f"probability_{name}"),
                    # The rank of a novel picture or of a failure is no certainty that a name is right.
                    pl.when(pl.col("level").is_in(named)).then("probability").fill_null(0).alias(f"sure_{name}"),
                    pl.col("file_name").alias(f"file_name_{name}"),
                )
                for name, side in (("a", rows.a), ("b", rows.b))
            ),
        ],
        how="horizontal",
    ).drop("file_name_a")
    right_a, right_b = pl.col("label_a") == pl.col("true_label"), pl.col("label_b") == pl.col("true_label")
    to_wrong, to_right, to_other = CHANGE_KINDS
    change = pl.when(right_a).then(pl.lit(to_wrong)).when(right_b).then(pl.lit(to_right)).otherwise(pl.lit(to_other))
    sure = pl.max_horizontal(
        pl.when(~right_a).then("sure_a").otherwise(0.0), pl.when(~right_b).then("sure_b").otherwise(0.0)
    )
    changed = both.filter(pl.col("label_a") != pl.col("label_b")).with_columns(_sure=sure)
    changed = changed.select(change.cast(pl.Enum(CHANGE_KINDS)).alias("change"), pl.all())
    ordered = changed.sort("change", "_sure", "file_name", descending=[False, True, False])
    return ordered.drop("_sure", "sure_a", "sure_b").with_columns(pl.col("change").cast(pl.String))


def safe_for_spreadsheets(table: pl.DataFrame) -> pl.DataFrame:
    """The table with an apostrophe before texts that a spreadsheet would compute, as it does those that begin with =.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = pl.col(pl.String)
    return table.with_columns(pl.when(text.str.contains(r"^[=+\-@\t\r]")).then("'" + text).otherwise(text).name.keep())


@dataclass(frozen=True)
class _Outcome:
    """Who is right on each picture, (N,) each."""

    is_right_a: Bools
    is_right_b: Bools
    group_indices: Ints

    def of(self, chosen: Bools) -> _Outcome:
        """The same of some pictures."""
        _, group_indices = np.unique(self.group_indices[chosen], return_inverse=True)
        return _Outcome(self.is_right_a[chosen], self.is_right_b[chosen], group_indices)


def _check_names(side: NamedPredictions) -> None:
    repeated = side.table.filter(side.table["file_name"].is_duplicated())["file_name"]
    if len(repeated):
        raise PredictionsError(
            f"{side.source}: '{repeated[0]}' stands {(repeated == repeated[0]).sum()} times; "
            "a picture is compared once, leave one row of each"
        )


def _keys(table: pl.DataFrame) -> pl.DataFrame:
    """Row, name and digest of each picture; the digest is null where there is none."""
    digest = pl.col("sha256").str.to_lowercase()
    return table.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        "file_name",
        pl.when(digest != "").then(digest).otherwise(None).alias("digest"),
    )


def _matched_rows(a: pl.DataFrame, b: pl.DataFrame) -> tuple[Ints, Ints]:
    """Rows of both that are the same picture: first of the same name, unless digests differ, then of the same digest.

    A name alone is not enough where both have digests; of several copies of a picture the names tell which is which.
    """
    by_name = a.join(b, on="file_name", how="inner", suffix="_b")
    same = by_name.filter((pl.col("digest") == pl.col("digest_b")).fill_null(True)).select("row", "row_b")
    number = pl.int_range(pl.len()).over("digest").alias("number")  # copies of a picture in their order
    rest_a = a.join(same, on="row", how="anti").filter(pl.col("digest").is_not_null()).with_columns(number)
    rest_b = b.join(same, left_on="row", right_on="row_b", how="anti").filter(pl.col("digest").is_not_null())
    by_digest = rest_a.join(rest_b.with_columns(number), on=["digest", "number"], how="inner", suffix="_b")
    found = pl.concat([same, by_digest.select("row", "row_b")])
    return found["row"].to_numpy(), found["row_b"].to_numpy()


def _different_pictures(a: NamedPredictions, b: NamedPredictions, rows_a: Ints, rows_b: Ints) -> str:
    told = []
    for side, other, rows in ((a, b, rows_a), (b, a, rows_b)):
        alone = np.setdiff1d(np.arange(len(side.table)), rows)
        if len(alone):
            first = side.table["file_name"][int(alone[0])]
            told.append(
                f"{len(alone)} of {len(side.table)} in {side.source} are not in {other.source}, first '{first}'"
            )
    if len(rows_a) == 0:
        remedy = "they have no picture in common; are they of the same data set?"
    else:
        remedy = f"--common compares the {len(rows_a)} that both have"
    return f"not the same pictures: {'; '.join(told) or 'there are none'}; {remedy}"


def _agreed_column(
    name: str, rows_a: pl.DataFrame, rows_b: pl.DataFrame, a: NamedPredictions, b: NamedPredictions
) -> pl.Series | None:
    """What both say, or the one that says something; None if no table has the column."""
    given = [rows[name].cast(pl.String) for rows in (rows_a, rows_b) if name in rows.columns]
    if len(given) < 2:
        return given[0] if given else None
    contradicted = (given[0] != given[1]).fill_null(False)
    if contradicted.any():
        row = int(contradicted.arg_max() or 0)
        raise PredictionsError(
            f"{a.source} and {b.source} contradict each other in '{name}' of {contradicted.sum()} pictures, first "
            f"'{rows_a['file_name'][row]}': '{given[0][row]}' and '{given[1][row]}'; one of them is wrong"
        )
    return given[0].to_frame().select(pl.coalesce(name, given[1])).to_series()


def _class_answers(table: pl.DataFrame) -> set[str]:
    return set(table.filter((pl.col("status") != "error") & (pl.col("level") == "class"))["label"])


def _indices(values: pl.Series, names: Sequence[str]) -> Ints:
    """(N,) place of each value among the names."""
    return values.replace_strict(list(names), np.arange(len(names)), return_dtype=pl.Int64).to_numpy()


def _difference_matrix(rows: PairedRows, taxonomy: Taxonomy) -> DifferenceMatrix:
    truth, given = rows.a["true_label"], (answers_of(rows.a), answers_of(rows.b))
    class_ids = taxonomy.in_order(needed_classes(rows))
    others = {*given[0], *given[1]} - set(class_ids)
    answer_ids = (*class_ids, *sorted(others, key=lambda answer: (answer == NO_ANSWER, answer == UNKNOWN, answer)))
    true_ids = taxonomy.in_order(set(truth))
    true_indices = _indices(truth, true_ids)

    def counts(answers: pl.Series) -> tuple[tuple[int, ...], ...]:
        array = confusion_counts(true_indices, _indices(answers, answer_ids), len(true_ids), len(answer_ids))
        return tuple(tuple(row) for row in array.tolist())

    return DifferenceMatrix(
        true_ids=true_ids,
        answer_ids=answer_ids,
        num_classes=len(class_ids),
        counts_a=counts(given[0]),
        counts_b=counts(given[1]),
    )


def _most_probable_outcome(rows: PairedRows, group_indices: Ints) -> _Outcome | None:
    truth = rows.a["true_label"]
    first_a, first_b = most_probable_classes(rows.a), most_probable_classes(rows.b)
    if first_a is None or first_b is None:
        return None
    right_a, right_b = ((answers == truth).fill_null(False).to_numpy() for answers in (first_a, first_b))
    return _Outcome(right_a, right_b, group_indices)


def _test(outcome: _Outcome) -> PairedTest:
    a, b = outcome.is_right_a, outcome.is_right_b
    differences = group_differences(a, b, outcome.group_indices)
    num_only_a, num_only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return PairedTest(
        num_both_right=int((a & b).sum()),
        num_only_a=num_only_a,
        num_only_b=num_only_b,
        num_neither=int((~a & ~b).sum()),
        num_groups_differing=int((differences != 0).sum()),
        group_p_value=sign_flip_p_value(differences),
        mcnemar_p_value=mcnemar_p_value(num_only_a, num_only_b),
    )


def _class_changes(
    class_ids: Sequence[str], true_indices: Ints, outcome: _Outcome, figures: PairedFigures
) -> tuple[ClassChange, ...]:
    parts = [outcome.of(true_indices == index) for index in range(len(class_ids))]
    tests = [_test(part) for part in parts]
    corrected = holm_p_values(np.array([test.group_p_value for test in tests]))
    return tuple(
        ClassChange(
            class_id=class_id,
            num_images=len(part.is_right_a),
            num_groups=int(part.group_indices.max()) + 1,
            recall=ComparedFigure.of(figures.recall[index]),
            num_lost=test.num_only_a,
            num_gained=test.num_only_b,
            p_value=test.group_p_value,
            holm_p_value=float(corrected[index]),
        )
        for index, (class_id, part, test) in enumerate(zip(class_ids, parts, tests, strict=True))
    )


def _change_lists(changed: pl.DataFrame) -> tuple[ChangeList, ...]:
    fields = list(ChangedPicture.model_fields)
    lists = []
    for kind in CHANGE_KINDS:
        of_kind = changed.filter(pl.col("change") == kind)
        shown: list[dict[str, Any]] = of_kind.head(MAX_PICTURES_PER_LIST).select(fields).to_dicts()
        pictures = tuple(ChangedPicture(**row) for row in shown)
        lists.append(ChangeList(change=kind, num_images=len(of_kind), pictures=pictures))
    return tuple(lists)


def _side(side: NamedPredictions, table: pl.DataFrame) -> Side:
    models = table["model"].drop_nulls().unique().sort().to_list() if "model" in table.columns else []
    levels = table["level"].fill_null("")
    return Side(
        title=side.title,
        source=side.source,
        model=next((model for model in models if model), ""),
        num_errors=int((table["status"] == "error").sum()),
        by_level={level: int((levels == level).sum()) / len(table) for level in ("class", "family", "role", UNKNOWN)},
    )
