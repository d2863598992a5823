"""From a source's labels to classes: as the user says, or equal to a class's id or to one of its names."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vision.data.importing.source import Entry, ImportSource
from vision.errors import UsageError, nearest_name_hint
from vision.taxonomy import Taxonomy

_MOST_UNKNOWN_LABELS_TOLD = 40


@dataclass(frozen=True)
class LabelMapping:
    """Which class each label of a source is.

    Attributes:
        classes: Class id by label.
        unknown: Labels that are no class, and how many pictures or boxes have them.
    """

    classes: Mapping[str, str]
    unknown: Mapping[str, int]


def map_labels(source: ImportSource, taxonomy: Taxonomy, given: Mapping[str, str]) -> LabelMapping:
    """The class of each label.

    Args:
        source: What was read.
        taxonomy: The classes that there are.
        given: Class id by label, as the user says; it goes before everything else.

    Raises:
        UsageError: A given class is not in the taxonomy, or a given label is not in the source.
    """
    counts = Counter(entry.label for entry in source.entries)
    _check_given(given, counts, taxonomy)
    by_spelling = _classes_by_spelling(taxonomy)
    classes = {label: given.get(label) or by_spelling.get(_plain(label), "") for label in counts}
    source.notes.extend(
        f"label '{label}' is taken as {found}"
        for label, found in sorted(classes.items())
        if found and found != label and label not in given
    )
    source.notes.extend(f"label '{label}' is mapped, but not in the source" for label in given if label not in counts)
    return LabelMapping(
        {label: found for label, found in classes.items() if found},
        {label: count for label, count in counts.most_common() if not classes[label]},
    )


def check_no_unknown_labels(mapping: LabelMapping, taxonomy: Taxonomy) -> None:
    """Make sure that each label is a class.

    Raises:
        UsageError: With every label that is none, how often it is there, and the nearest class.
    """
    if not mapping.unknown:
        return
    lines = [
        f"label '{label}' ({count} times) is no class of the taxonomy{_class_hint(label, taxonomy)}"
        for label, count in list(mapping.unknown.items())[:_MOST_UNKNOWN_LABELS_TOLD]
    ]
    if len(mapping.unknown) > len(lines):
        lines.append(f"... and {len(mapping.unknown) - len(lines)} labels more")
    lines.append(
        "map each with --label NAME=CLASS_ID or with --labels FILE.csv, or leave these pictures out with "
        "--skip-unknown-labels; `vision taxonomy` lists the classes"
    )
    raise UsageError("\n".join(lines))


def with_classes(source: ImportSource, mapping: LabelMapping) -> None:
    """Replace each entry's label by its class; entries without one are left out."""
    kept: list[Entry] = []
    for entry in source.entries:
        class_id = mapping.classes.get(entry.label)
        if class_id is None:
            reason = "its label is no class of the taxonomy" if entry.label else "it has no label"
            source.leave_out(entry.path, entry.place, reason, label=entry.label, is_fault=False)
        else:
            kept.append(entry if class_id == entry.label else replace(entry, label=class_id))
    source.entries = kept


def parse_label_options(options: list[str], path: Path | None) -> dict[str, str]:
    """Class id by label, from `NAME=CLASS_ID` and from a file with the columns `label` and `class`.

    Raises:
        UsageError: An option or a line is not of that form, or a label stands there with two classes.
    """
    pairs = [(f"--label {option}", *_parted(option)) for option in options]
    pairs += _label_file(path) if path is not None else []
    given: dict[str, str] = {}
    for place, label, class_id in pairs:
        if given.setdefault(label, class_id) != class_id:
            raise UsageError(f"{place}: label '{label}' is already mapped to '{given[label]}'; keep one of them")
    return given


def _parted(option: str) -> tuple[str, str]:
    label, mark, class_id = option.rpartition("=")
    if not (mark and label.strip() and class_id.strip()):
        raise UsageError(f"--label {option}: not of the form NAME=CLASS_ID, such as --label 'Tor M1=tor-m1'")
    return label.strip(), class_id.strip()


def _label_file(path: Path) -> list[tuple[str, str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{path}: cannot be read as CSV ({reason}); check the path") from error
    if not {"label", "class"} <= set(reader.fieldnames or ()):
        raise UsageError(f"{path}:1: needs the columns label and class, has {', '.join(reader.fieldnames or ['none'])}")
    pairs = [(place, (row["label"] or "").strip(), (row["class"] or "").strip()) for place, row in rows]
    for place, label, class_id in pairs:
        if not (label and class_id):
            raise UsageError(f"{place}: label or class is empty; fill in both, or remove the line")
    return pairs


def _check_given(given: Mapping[str, str], counts: Counter[str], taxonomy: Taxonomy) -> None:
    """Each class must exist; a label that is not there but near one that is, is misspelt."""
    faults = [
        f"label '{label}': class '{class_id}' is not in the taxonomy{_class_hint(class_id, taxonomy)}"
        for label, class_id in given.items()
        if class_id not in taxonomy.class_ids
    ]
    faults += [
        f"label '{label}' is not in the source{hint}"
        for label in given
        if label not in counts and (hint := nearest_name_hint(label, [name for name in counts if name not in given]))
    ]
    if faults:
        raise UsageError("\n".join(faults))


def _class_hint(name: str, taxonomy: Taxonomy) -> str:
    return nearest_name_hint(_plain(name), taxonomy.class_ids)


def _classes_by_spelling(taxonomy: Taxonomy) -> dict[str, str]:
    """Class id by id and by names, without case and punctuation; names that two classes share are left out."""
    found: dict[str, set[str]] = {}
    for vehicle_class in taxonomy.classes:
        for name in vehicle_class.names:
            found.setdefault(_plain(name), set()).add(vehicle_class.id)
    unique = {spelling: next(iter(ids)) for spelling, ids in found.items() if len(ids) == 1}
    return {**unique, **{class_id: class_id for class_id in taxonomy.class_ids}}


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "-", label.casefold()).strip("-")
