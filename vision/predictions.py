"""Prediction rows: one per input picture, in input order. The seam between classifying and judging."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vision.errors import PredictionsError, nearest_name_hint
from vision.files import whole_file

if TYPE_CHECKING:
    import polars as pl

    from vision.taxonomy import Taxonomy

PREDICTIONS_FILE = "predictions.parquet"
"""In the folder of an evaluation."""

MOST_FAULTS = 20
"""So many faults of a file are told one by one; the others are counted."""

ROUNDING = 1e-5
"""By so much a number may lie beyond its range, as sums in single precision do."""

Status = Literal["ok", "error"]
Level = Literal["class", "family", "role", "unknown"]


@dataclass(frozen=True)
class ClassProbability:
    """A class and its calibrated probability in [0, 1]."""

    class_id: str
    probability: float


@dataclass(frozen=True)
class NearestImage:
    """A training picture close to the classified one.

    Attributes:
        file_name: As in the manifest that the model was trained on.
        class_id: Its label.
        similarity: Cosine of the two embeddings, in [-1, 1].
        attribution: Title, author, licence and source.
    """

    file_name: str
    class_id: str
    similarity: float
    attribution: str


@dataclass(frozen=True)
class Prediction:
    """What a model answers for one picture, or why it could not.

    Attributes:
        file_name: As it was given.
        sha256: Digest of the file; empty if it could not be read.
        status: `ok`, or `error` with all that follows empty.
        error: Why there is no answer.
        label: The answer: a class, family or role id, or `unknown`.
        level: What kind of id `label` is.
        probability: Calibrated probability of `label`, in [0, 1].
        reason: Why this level was answered, in words.
        top: The most probable classes, best first.
        label_set: Classes that contain the truth as often as promised; empty if the bundle promises nothing.
        novelty: How far the picture is from all training pictures: 1 - cosine similarity to the nearest, in [0, 2].
        novelty_rank: Share of held-out known pictures that are less novel by the bundle's own score, in [0, 1]; None if
            the bundle has none. "unknown" follows from it.
        nearest: The nearest training pictures, nearest first.
        cues: What separates the two most probable classes, if they are look-alikes.
        model: Digest of the bundle.
        logits: Of all classes in the bundle's order, before calibration; empty where they were not kept.
    """

    file_name: str
    sha256: str
    status: Status
    error: str = ""
    label: str = ""
    level: Level | Literal[""] = ""
    probability: float | None = None
    reason: str = ""
    top: tuple[ClassProbability, ...] = ()
    label_set: tuple[str, ...] = ()
    novelty: float | None = None
    novelty_rank: float | None = None
    nearest: tuple[NearestImage, ...] = ()
    cues: tuple[str, ...] = ()
    model: str = ""
    logits: tuple[float, ...] = ()

    def to_json(self) -> str:
        """The row as one line of JSON; bytes of a name that are not UTF-8 become lone surrogates, in escapes."""
        return json.dumps(asdict(self), ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Prediction:
        """The row that `asdict` or JSON made."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {"sha256": "", **{key: value for key, value in row.items() if key in known}}
        return cls(
            **{
                **values,
                "top": tuple(ClassProbability(**item) for item in values.get("top") or ()),
                "nearest": tuple(NearestImage(**item) for item in values.get("nearest") or ()),
                "label_set": tuple(values.get("label_set") or ()),
                "cues": tuple(values.get("cues") or ()),
                "logits": tuple(values.get("logits") or ()),
            }
        )


def save_predictions(rows: Iterable[Prediction], path: Path, *, extra_columns: pl.DataFrame | None = None) -> None:
    """Write rows as JSON lines or Parquet, by the path's ending, whole or not at all.

    Args:
        rows: The rows.
        path: Ends in `.jsonl` or `.parquet`.
        extra_columns: Columns to put beside the rows, in the same order, such as the truth.
    """
    if path.suffix == ".jsonl" and extra_columns is None:
        with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
            for row in rows:
                stream.write(row.to_json() + "\n")
        return
    table = predictions_table(rows)
    if extra_columns is not None:
        table = table.hstack(extra_columns.get_columns())
    with whole_file(path) as temporary:
        if path.suffix == ".parquet":
            table.write_parquet(temporary)
        elif path.suffix == ".jsonl":
            table.write_ndjson(temporary)
        else:
            raise PredictionsError(f"{path}: predictions end in .jsonl or .parquet, not in '{path.suffix}'")


def predictions_table(rows: Iterable[Prediction]) -> pl.DataFrame:
    """Rows as a table, one column per attribute; texts that are not UTF-8 are made printable."""
    import polars as pl

    return pl.DataFrame([_printable_row(row) for row in rows], schema=_schema())


def load_predictions(path: Path, taxonomy: Taxonomy | None = None) -> pl.DataFrame:
    """The table of predictions in a JSON lines or Parquet file, with any further columns.

    Args:
        path: The file.
        taxonomy: It tells the level of answers in files of other tools, which may lack it; without it, an answer is a
            class or "unknown".

    Raises:
        PredictionsError: It cannot be read, lacks columns, or holds what no classifier writes.
    """
    import polars as pl

    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".parquet": pl.read_parquet, ".jsonl": _read_json_lines}
    if path.suffix not in readers:
        raise PredictionsError(f"{path}: predictions end in .jsonl or .parquet, not in '{path.suffix}'")
    if not path.is_file():
        raise PredictionsError(f"{path}: no such file; `vision classify -o` and `vision evaluate` write one")
    try:
        table = readers[path.suffix](path)
        kinds = {name: kind for name, kind in _schema().items() if name in table.columns}
        if "true_label" in table.columns:
            kinds["true_label"] = pl.String
        table = table.with_columns(pl.col(name).cast(kind) for name, kind in kinds.items())
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, AttributeError) as error:
        raise PredictionsError(f"{path}: cannot be read as {path.suffix[1:]} ({str(error).splitlines()[0]})") from error
    missing = [name for name in ("file_name", "status", "label", "probability", "top") if name not in table.columns]
    if missing:
        raise PredictionsError(f"{path}: lacks the columns {', '.join(missing)}; is it a file of predictions?")
    _check_values(path, table)
    defaults = {"sha256": pl.lit(""), "level": _levels_by_label(taxonomy)}
    return table.with_columns(value.alias(name) for name, value in defaults.items() if name not in table.columns)


def _levels_by_label(taxonomy: Taxonomy | None) -> pl.Expr:
    """The level that each answer is of; an id that the taxonomy lacks is taken for a class."""
    import polars as pl

    families = [] if taxonomy is None else [family.id for family in taxonomy.families]
    roles = [] if taxonomy is None else [role.id for role in taxonomy.roles]
    label = pl.col("label")
    return (
        pl.when(pl.col("status") != "ok")
        .then(pl.lit(""))
        .when(label == "unknown")
        .then(pl.lit("unknown"))
        .when(label.is_in(families))
        .then(pl.lit("family"))
        .when(label.is_in(roles))
        .then(pl.lit("role"))
        .otherwise(pl.lit("class"))
    )


def check_ids(path: Path, table: pl.DataFrame, taxonomy: Taxonomy) -> None:
    """Make sure that answers, classes listed and truths are in a taxonomy, each at its level.

    Args:
        path: Where the table comes from.
        table: From `load_predictions`.
        taxonomy: What it is judged by.

    Raises:
        PredictionsError: With every id that is not there, its first row, how many rows, and the nearest id that is.
    """
    import polars as pl

    ids = {
        "class": taxonomy.class_ids,
        "family": tuple(family.id for family in taxonomy.families),
        "role": tuple(role.id for role in taxonomy.roles),
    }
    rows = table.with_row_index("row")
    answered = rows.filter(pl.col("status") == "ok")
    columns = [
        (level, "label", answered.filter(pl.col("level") == level).select("row", value="label")) for level in ids
    ]
    listed = answered.select("row", value=pl.col("top").list.eval(pl.element().struct.field("class_id")))
    columns.append(("class", "top", listed.explode("value").drop_nulls()))
    if "true_label" in table.columns:
        columns.append(("class", "true_label", rows.select("row", value="true_label").drop_nulls()))
    faults = []
    for level, column, found in columns:
        strange = found.filter(~pl.col("value").is_in(list(ids[level])))
        counts = strange.group_by("value", maintain_order=True).agg(pl.col("row").first(), num=pl.col("row").n_unique())
        for value, row, num in counts.iter_rows():
            others = f" (and {num - 1} more rows)" if num > 1 else ""
            faults.append(f"{path}: row {row + 1}{others}: {column} '{value}' {_not_at(value, level, ids)}")
    if faults:
        more = [f"... and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
        raise PredictionsError("\n".join([*faults[:MOST_FAULTS], *more]))


def _not_at(value: str, level: str, ids: Mapping[str, Sequence[str]]) -> str:
    """What to say of an id that is not at its level."""
    right = next((other for other, names in ids.items() if value in names), None)
    if right is not None:
        return f"is a {right} in the taxonomy, not a {level}"
    hint = nearest_name_hint(value, ids[level])
    return f"is no {level} in the taxonomy{hint or '; a taxonomy of your own is given with --taxonomy'}"


def _check_values(path: Path, table: pl.DataFrame) -> None:
    """Refuse rows that no classifier writes, such as an answer without a label.

    Raises:
        PredictionsError: Names the first such row, its value and what may stand there.
    """
    import polars as pl

    status, label = pl.col("status"), pl.col("label")
    rules = [
        (pl.col("file_name").is_null(), "file_name", "every row names its picture"),
        (status.is_null() | ~status.is_in(["ok", "error"]), "status", "it is 'ok' or 'error'"),
        ((status == "ok") & (label.is_null() | (label == "")), "label", "a row with status 'ok' has an answer"),
    ]
    if "level" in table.columns:
        known = pl.col("level").is_in(["class", "family", "role", "unknown"])
        rules.append(((status == "ok") & ~known.fill_null(False), "level", "it is class, family, role or unknown"))
    for is_wrong, column, rule in rules:
        wrong = table.with_row_index("row_index").filter(is_wrong)
        if len(wrong):
            row, value = wrong.select("row_index", column).row(0)
            raise PredictionsError(f"{path}: row {row + 1}: {column} '{value}': {rule}; was the file edited?")
    for name, values, largest in _numbers(table):
        _check_numbers(path, name, values, largest)
    _check_listed_classes(path, table)


def _numbers(table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame, float]]:
    """Name, `row` and `value`, and the largest value allowed, of every column of numbers in [0, largest]."""
    import polars as pl

    rows = table.with_row_index("row")
    for name, largest in (("probability", 1), ("novelty_rank", 1), ("novelty", 2)):
        if name in table.columns:
            yield name, rows.select("row", value=name), largest
    listed = rows.select("row", "top").filter(pl.col("top").list.len() > 0).explode("top")
    yield (
        "top.probability",
        listed.select("row", value=pl.col("top").struct.field("probability").fill_null(math.nan)),
        1,
    )


def _check_numbers(path: Path, name: str, values: pl.DataFrame, largest: float) -> None:
    import polars as pl

    value = pl.col("value")
    is_wrong = value.is_nan() | (value < -ROUNDING) | (value > largest + ROUNDING)
    wrong = values.filter(is_wrong.fill_null(False))
    if len(wrong) == 0:
        return
    row, found = wrong.row(0)
    is_percent = largest == 1 and 1 < found <= 100
    remedy = "percent are to be divided by 100" if is_percent else "what wrote the file is to be mended"
    others = wrong["row"].n_unique() - 1
    raise PredictionsError(
        f"{path}: row {row + 1}{f' (and {others} more rows)' if others else ''}: {name} {found:g}: it is a number in "
        f"[0, {largest:g}]; {remedy}"
    )


def _check_listed_classes(path: Path, table: pl.DataFrame) -> None:
    """Refuse rows that list a class twice, or none."""
    import polars as pl

    names = pl.col("top").list.eval(pl.element().struct.field("class_id"))
    faults = {
        "lists a class twice; every class stands once": names.list.n_unique() < names.list.len(),
        "lists a class without its id; every item has class_id and probability": names.list.contains(None),
    }
    for fault, is_wrong in faults.items():
        wrong = table.with_row_index("row").filter(is_wrong.fill_null(False))["row"]
        if len(wrong):
            raise PredictionsError(f"{path}: row {wrong[0] + 1}: top {fault}")


def _read_json_lines(path: Path) -> pl.DataFrame:
    """JSON lines with the types of a prediction row, whatever their values suggest, and further columns beside them."""
    import polars as pl

    schema = _schema()
    with path.open(encoding="utf-8") as stream:
        objects = [json.loads(line) for line in stream if line.strip()]
    present = {name for row in objects for name in row}
    rows = [_printable_row(Prediction.from_dict({"sha256": "", **row})) for row in objects if "file_name" in row]
    if len(rows) < len(objects):
        raise ValueError("a row has no file_name")
    columns = schema if not objects else {name: kind for name, kind in schema.items() if name in present}
    table = pl.DataFrame([{name: row[name] for name in columns} for row in rows], schema=columns)
    others = sorted(present - set(schema))
    if not others:
        return table
    beside = pl.DataFrame([{name: row.get(name) for name in others} for row in objects], infer_schema_length=None)
    return table.hstack(beside.get_columns())


def _schema() -> dict[str, pl.DataType | type[pl.DataType]]:
    """The types of a prediction row's columns."""
    import polars as pl

    top = pl.Struct({"class_id": pl.String, "probability": pl.Float64})
    nearest = pl.Struct(
        {"file_name": pl.String, "class_id": pl.String, "similarity": pl.Float64, "attribution": pl.String}
    )
    return {
        "file_name": pl.String,
        "sha256": pl.String,
        "status": pl.String,
        "error": pl.String,
        "label": pl.String,
        "level": pl.String,
        "probability": pl.Float64,
        "reason": pl.String,
        "top": pl.List(top),
        "label_set": pl.List(pl.String),
        "novelty": pl.Float64,
        "novelty_rank": pl.Float64,
        "nearest": pl.List(nearest),
        "cues": pl.List(pl.String),
        "model": pl.String,
        "logits": pl.List(pl.Float64),
    }


def _printable_row(row: Prediction) -> dict[str, Any]:
    return asdict(row) | {"file_name": printable_name(row.file_name), "error": printable_name(row.error)}


def most_probable_classes(table: pl.DataFrame) -> pl.Series | None:
    """First class of each row's `top`, null where it lists none; None if no row does."""
    if "top" not in table.columns:
        return None
    first = table["top"].list.first().struct.field("class_id")
    return None if first.null_count() == len(first) else first


def read_rows(table: pl.DataFrame) -> Iterator[Prediction]:
    """The rows of a table of predictions."""
    for row in table.iter_rows(named=True):
        yield Prediction.from_dict(row)


def printable_name(name: str) -> str:
    """A file name whose bytes that are not UTF-8 are shown in hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
