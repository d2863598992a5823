"""Prediction rows as JSON, JSON lines or CSV on a stream, row by row as they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from typing import TextIO

from vision.predictions import Prediction, printable_name

RowWriter = Callable[[Iterable[Prediction], TextIO], Iterator[Prediction]]
"""Writes rows to a stream and passes each on once it is written."""

_CSV_COLUMNS = tuple(field.name for field in fields(Prediction))


def write_json_lines(rows: Iterable[Prediction], stream: TextIO) -> Iterator[Prediction]:
    """One JSON object a line."""
    for row in rows:
        stream.write(row.to_json() + "\n")
        stream.flush()
        yield row


def write_json(rows: Iterable[Prediction], stream: TextIO) -> Iterator[Prediction]:
    """One JSON array."""
    stream.write("[")
    for index, row in enumerate(rows):
        stream.write(",\n" if index else "\n")
        stream.write(json.dumps(asdict(row), indent=1, allow_nan=False))
        yield row
    stream.write("\n]\n")


def write_csv(rows: Iterable[Prediction], stream: TextIO) -> Iterator[Prediction]:
    """A table; lists are joined: `top` as `class probability; ...`, `nearest` as `file (class, similarity); ...`."""
    writer = csv.writer(stream)
    writer.writerow(_CSV_COLUMNS)
    for row in rows:
        flat = asdict(row) | {
            "file_name": printable_name(row.file_name),
            "error": printable_name(row.error),
            "probability": "" if row.probability is None else f"{row.probability:.6f}",
            "novelty": "" if row.novelty is None else f"{row.novelty:.6f}",
            "novelty_rank": "" if row.novelty_rank is None else f"{row.novelty_rank:.6f}",
            "top": "; ".join(f"{item.class_id} {item.probability:.6f}" for item in row.top),
            "label_set": "; ".join(row.label_set),
            "nearest": "; ".join(f"{n.file_name} ({n.class_id}, {n.similarity:.3f})" for n in row.nearest),
            "cues": "; ".join(row.cues),
            "logits": "; ".join(f"{logit:.6f}" for logit in row.logits),
        }
        writer.writerow([flat[name] for name in _CSV_COLUMNS])
        yield row
