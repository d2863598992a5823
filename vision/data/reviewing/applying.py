"""A manifest as a review leaves it: rows dropped, labels put right, nothing lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.data.check import read_file_facts
from vision.data.manifest import Manifest
from vision.data.reviewing.decisions import UNDECIDED, UNKNOWN_CLASS, ReviewHistory, ReviewLine, Verdict
from vision.errors import OutputError, ReviewError, nearest_name_hint
from vision.taxonomy import Taxonomy

DROPPED_FILE = "dropped.csv"
"""In the folder of the manifest that is written."""

DROPPING = {
    Verdict.REJECT: "rejected",
    Verdict.INTERIOR: "interior or detail",
    Verdict.MODEL: "model or toy",
    Verdict.WRECK: "wreck",
}
"""Decisions that take a picture out, and how `dropped.csv` calls them."""

NOT_DECIDED = "not decided"
_OUTCOME = {"row_index": pl.UInt32, "new_label": pl.String, "dropped_because": pl.String, "review_note": pl.String}


@dataclass(frozen=True)
class AppliedReview:
    """What a review makes of a manifest.

    Attributes:
        kept: Rows that stay, in order, with their new labels.
        dropped: The others, with `dropped_because` and `review_note` behind the manifest's columns.
        num_by_decision: Pictures by decision, `not decided` among them.
        num_relabelled: Rows whose label was changed.
        not_applied: Decisions that do not hold any more, one line each: place, picture, why.
        num_elsewhere: Decisions about pictures that are not in the manifest.
    """

    kept: pl.DataFrame
    dropped: pl.DataFrame
    num_by_decision: dict[str, int]
    num_relabelled: int
    not_applied: tuple[str, ...]
    num_elsewhere: int


@dataclass(frozen=True)
class _Outcome:
    """What becomes of a row: all None, it stays as it is."""

    new_label: str | None = None
    dropped_because: str | None = None
    not_applied: str | None = None


def apply_review(
    manifest: Manifest,
    lines: Iterable[ReviewLine],
    taxonomy: Taxonomy,
    *,
    keep: Collection[Verdict] = (),
    only_decided: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> AppliedReview:
    """What decisions make of a manifest. The files of decided pictures are read, to see that they are the same still.

    Args:
        manifest: The data set.
        lines: The decisions.
        taxonomy: Must know every class that was given.
        keep: Of `DROPPING`, the decisions that do not take a picture out here.
        only_decided: Drop pictures that nobody decided about.
        on_progress: Called after each file.

    Raises:
        ReviewError: A class that was given is not in the taxonomy.
    """
    standing = {line.file_name: line for line in ReviewHistory(lines).all_standing()}
    _check_classes(standing.values(), taxonomy)
    concerned = manifest.table.with_row_index("row_index").filter(pl.col("file_name").is_in(list(standing)))
    facts = read_file_facts(Manifest(manifest.path, concerned), decode=False, on_progress=on_progress)
    counts: Counter[str] = Counter()
    outcomes, not_applied = [], []
    for (row, name, label), fact in zip(
        concerned.select("row_index", "file_name", "label").iter_rows(), facts, strict=True
    ):
        line = standing[name]
        outcome = _outcome(line, label or "", fact.sha256, keep)
        if outcome.not_applied is not None:
            not_applied.append(f"{manifest.place(row)}: {name}: {line.decision}: {outcome.not_applied}")
        elif line.decision not in UNDECIDED:
            counts[line.decision] += 1
            outcomes.append((row, outcome.new_label, outcome.dropped_because, line.note or None))
    counts[NOT_DECIDED] = len(manifest.table) - counts.total()
    columns = [name for name in manifest.table.columns if name not in _OUTCOME]
    table = (
        manifest.table.select(columns)
        .with_row_index("row_index")
        .join(
            pl.DataFrame(outcomes, schema=_OUTCOME, orient="row").with_columns(is_decided=pl.lit(True)),
            on="row_index",
            how="left",
            maintain_order="left",
        )
    )
    if only_decided:
        table = table.with_columns(
            dropped_because=pl.when(pl.col("is_decided")).then("dropped_because").otherwise(pl.lit(NOT_DECIDED))
        )
    is_dropped = pl.col("dropped_because").is_not_null()
    relabelled = table.with_columns(label=pl.coalesce("new_label", "label"))
    return AppliedReview(
        kept=relabelled.filter(~is_dropped).select(columns),
        dropped=table.filter(is_dropped).select(*columns, "dropped_because", "review_note"),
        num_by_decision=dict(counts),
        num_relabelled=table["new_label"].count(),
        not_applied=tuple(not_applied),
        num_elsewhere=len(standing) - len(facts),
    )


def seen_from(table: pl.DataFrame, manifest_dir: Path, new_dir: Path) -> pl.DataFrame:
    """A manifest's table with its paths relative to the folder of the manifest that is written.

    Raises:
        OutputError: The pictures do not lie beneath that folder.
    """
    manifest_dir, new_dir = manifest_dir.resolve(), new_dir.resolve()
    if manifest_dir == new_dir:
        return table
    if not manifest_dir.is_relative_to(new_dir):
        remedy = f"write into {manifest_dir}, or above it"
        raise OutputError(f"{new_dir}: a manifest here cannot name pictures beneath {manifest_dir}; {remedy}")
    prefix = manifest_dir.relative_to(new_dir).as_posix() + "/"
    return table.with_columns(file_name=prefix + pl.col("file_name"))


def _outcome(line: ReviewLine, label: str, sha256: str, keep: Collection[Verdict]) -> _Outcome:
    if line.decision in UNDECIDED:
        return _Outcome()
    if line.sha256 != sha256:
        return _Outcome(not_applied="the file has changed since; look at it again")
    if line.decision in DROPPING:
        return _Outcome(dropped_because=None if line.decision in keep else DROPPING[line.decision])
    is_put_right = line.decision is Verdict.NOT_THIS_CLASS and line.class_id == label != ""
    if line.label not in ("", label) and not is_put_right:
        return _Outcome(not_applied=f"it was about the label '{line.label}', now it is '{label}'; look at it again")
    if line.decision is Verdict.KEEP or is_put_right:
        return _Outcome()
    if line.class_id == UNKNOWN_CLASS:
        return _Outcome(dropped_because="not of its class, of an unknown one")
    return _Outcome(new_label=line.class_id)


def _check_classes(lines: Iterable[ReviewLine], taxonomy: Taxonomy) -> None:
    known = set(taxonomy.class_ids)
    faults = [
        f"{line.file_name}: class '{line.class_id}' of its decision is not in the taxonomy"
        f"{nearest_name_hint(line.class_id, known) or '; a taxonomy of your own is given with --taxonomy'}"
        for line in lines
        if line.class_id not in known and line.class_id != UNKNOWN_CLASS
    ]
    if faults:
        raise ReviewError("\n".join(faults))
