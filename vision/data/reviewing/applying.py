"""A manifest as a review leaves it: rows dropped, labels put right, nothing lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from vision.data.check import FileFacts, read_file_facts
from vision.data.manifest import Manifest
from vision.data.reviewing.decisions import UNDECIDED, UNKNOWN_CLASS, ReviewHistory, ReviewLine, Verdict
from vision.errors import OutputError, ReviewError, nearest_name_hint
from vision.taxonomy import Taxonomy

DROPPING = {
    Verdict.REJECT: "rejected",
    Verdict.INTERIOR: "interior or detail",
    Verdict.MODEL: "model or toy",
    Verdict.WRECK: "wreck",
}
"""Decisions that take a picture out, and how the table of dropped pictures calls them."""

NOT_DECIDED = "not decided"


@dataclass(frozen=True)
class AppliedReview:
    """What a review makes of a manifest.

    Attributes:
        kept: Rows that stay, in order, with their new labels.
        dropped: The others, with `dropped_because` and `review_note` behind the manifest's columns; where slices have
            these names, with `_` behind.
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


def dropped_path(output: Path) -> Path:
    """Where the pictures go that are left out of the manifest at `output`: beside it, `OUT-dropped.csv`."""
    return output.with_name(f"{output.stem}-dropped.csv")


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
    table = manifest.table
    rows = table["file_name"].is_in(list(standing)).fill_null(False).arg_true()
    facts = read_file_facts(Manifest(manifest.path, table[rows]), decode=False, on_progress=on_progress)
    counts: Counter[str] = Counter()
    not_applied = []
    new_labels: list[str | None] = [None] * len(table)
    reasons: list[str | None] = [NOT_DECIDED if only_decided else None] * len(table)
    notes: list[str | None] = [None] * len(table)
    for row, (name, label), fact in zip(rows, table[rows].select("file_name", "label").iter_rows(), facts, strict=True):
        line = standing[name]
        outcome = _outcome(line, label or "", fact, keep)
        if outcome.not_applied is not None:
            not_applied.append(f"{manifest.place(row)}: {name}: {line.decision}: {outcome.not_applied}")
        elif line.decision not in UNDECIDED:
            counts[line.decision] += 1
            new_labels[row], reasons[row], notes[row] = outcome.new_label, outcome.dropped_because, line.note or None
    counts[NOT_DECIDED] = len(table) - counts.total()
    labels, because = pl.Series(new_labels, dtype=pl.String), pl.Series(reasons, dtype=pl.String)
    is_dropped = because.is_not_null()
    told = (("dropped_because", because), ("review_note", pl.Series(notes, dtype=pl.String)))
    return AppliedReview(
        kept=table.with_columns(label=labels.zip_with(labels.is_not_null(), table["label"])).filter(~is_dropped),
        dropped=table.with_columns(values.alias(_free_name(name, table)) for name, values in told).filter(is_dropped),
        num_by_decision=dict(counts),
        num_relabelled=labels.count(),
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


def _free_name(name: str, table: pl.DataFrame) -> str:
    """The name, or with `_` behind it where a slice is called so already."""
    while name in table.columns:
        name += "_"
    return name


def _outcome(line: ReviewLine, label: str, fact: FileFacts, keep: Collection[Verdict]) -> _Outcome:
    if line.decision in UNDECIDED:
        return _Outcome()
    if line.sha256 != fact.sha256:
        if fact.fault:
            return _Outcome(not_applied=f"the file {fact.fault}; put it back, or take its row out")
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
