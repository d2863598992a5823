"""Prediction rows: one per input picture, in input order. The seam between classifying and judging."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vision.errors import PredictionsError
from vision.files import whole_file

if TYPE_CHECKING:
    import polars as pl

PREDICTIONS_FILE = "predictions.parquet"
"""In the folder of an evaluation."""

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


def load_predictions(path: Path) -> pl.DataFrame:
    """The table of predictions in a JSON lines or Parquet file, with any further columns.

    Raises:
        PredictionsError: It cannot be read or lacks columns.
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
    # Files of other tools may lack the rest; a row without a level answers a class, unless it says unknown.
    is_error, is_unknown = pl.col("status") != "ok", pl.col("label") == "unknown"
    level = pl.when(is_error).then(pl.lit("")).when(is_unknown).then(pl.lit("unknown")).otherwise(pl.lit("class"))
    defaults = {"sha256": pl.lit(""), "level": level}
    return table.with_columns(value.alias(name) for name, value in defaults.items() if name not in table.columns)


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
