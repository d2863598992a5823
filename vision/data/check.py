"""Everything that is wrong with a data set, at once.

Rules about the table are vectorised; rules about the files read every picture, on all cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import polars as pl

from vision.data.images import decode_image
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.manifest import SPLITS, Manifest, Problem, parse_box
from vision.errors import ImageError, LicenceError, ManifestError, nearest_name_hint
from vision.files import sha256_of_file
from vision.taxonomy import Taxonomy

DEFAULT_MIN_IMAGES = 5
"""Fewer pictures of a class than this are a problem: five folds need five."""


@dataclass(frozen=True)
class FileFacts:
    """What a picture's file says of itself.

    Attributes:
        sha256: Digest of the file, empty if it cannot be read.
        width: px, upright; 0 if it is no picture, or was not decoded.
        height: px, upright; 0 if it is no picture, or was not decoded.
        fault: Why it is no usable picture; empty if it is one.
    """

    sha256: str
    width: int
    height: int
    fault: str


def find_manifest_problems(
    manifest: Manifest,
    taxonomy: Taxonomy,
    policy: LicencePolicy,
    *,
    min_images: int = DEFAULT_MIN_IMAGES,
) -> list[Problem]:
    """What is wrong with the table, without opening a picture. In the order of the rules, then of the rows."""
    return [
        *_empty_values(manifest),
        *_unknown_labels(manifest, taxonomy),
        *_unknown_splits(manifest),
        *_paths_that_leave(manifest),
        *_repeated_rows(manifest),
        *_wrong_boxes(manifest),
        *_refused_licences(manifest, policy),
        *_divided_groups(manifest),
        *_small_classes(manifest, min_images),
        *_novel_classes_in_training(manifest),
        *_overlapping_classes(manifest, taxonomy),
    ]


def check_labelled_table(manifest: Manifest, taxonomy: Taxonomy) -> None:
    """Make sure that a manifest can be judged by: names, labels, splits, paths and boxes are what they should be.

    Raises:
        ManifestError: With every fault of the table.
    """
    problems = [
        *_empty_values(manifest),
        *_unknown_labels(manifest, taxonomy),
        *_unknown_splits(manifest),
        *_paths_that_leave(manifest),
        *_repeated_rows(manifest),
        *_wrong_boxes(manifest),
    ]
    if problems:
        raise ManifestError("\n".join(map(str, problems)))


def check_table(manifest: Manifest, taxonomy: Taxonomy, policy: LicencePolicy, *, min_images: int) -> list[Problem]:
    """The table's warnings, after making sure that nothing worse is wrong with it.

    Raises:
        ManifestError: With every fault of the table.
        LicenceError: Only licences are at fault; with every refused row.
    """
    problems = find_manifest_problems(manifest, taxonomy, policy, min_images=min_images)
    faults = [problem for problem in problems if not problem.is_warning]
    if faults:
        error_type = LicenceError if all(problem.is_licence for problem in faults) else ManifestError
        raise error_type("\n".join(str(problem) for problem in faults))
    return [problem for problem in problems if problem.is_warning]


def read_file_facts(
    manifest: Manifest, *, decode: bool = True, on_progress: Callable[[], None] = lambda: None
) -> list[FileFacts]:
    """Facts about every row's file, in row order.

    Args:
        manifest: The rows.
        decode: Decode every picture, which finds broken ones; else only its digest is read.
        on_progress: Called after each file.
    """
    paths = (manifest.image_path(name) if name else None for name in manifest.file_names)
    folder = manifest.folder.resolve()
    facts = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(paths, 256):
            for fact in pool.map(lambda path: _file_facts(path, folder, decode), batch):
                facts.append(fact)
                on_progress()
    return facts


def find_file_problems(manifest: Manifest, facts: Sequence[FileFacts]) -> list[Problem]:
    """What is wrong with the files, given their facts in row order."""
    problems = []
    for row, (fact, known) in enumerate(zip(facts, manifest.table.iter_rows(named=True), strict=True)):
        place = manifest.place(row)
        if fact.fault:
            problems.append(Problem(place, "file_name", known["file_name"] or "", fact.fault, "unusable file"))
            continue
        if known["sha256"] and known["sha256"].lower() != fact.sha256:
            message = (
                f"the file's digest is {fact.sha256}; get the file that was meant, or empty the cell and use --fix"
            )
            problems.append(Problem(place, "sha256", known["sha256"], message, "other digest"))
        for column in ("width", "height"):
            if known[column] is not None and getattr(fact, column) not in (0, known[column]):
                message = f"the upright picture has {getattr(fact, column)} px"
                problems.append(Problem(place, column, str(known[column]), message, "other size"))
        if known["box"] and fact.width:
            problems.extend(_boxes_outside(place, known["box"], fact))
    return problems + _repeated_pictures(manifest, facts)


def with_file_facts(manifest: Manifest, facts: Sequence[FileFacts]) -> Manifest:
    """The manifest with empty `sha256`, `width` and `height` filled in from the files."""
    found = pl.DataFrame(
        {
            "sha256": [fact.sha256 or None for fact in facts],
            "width": [fact.width or None for fact in facts],
            "height": [fact.height or None for fact in facts],
        },
        schema={"sha256": pl.String, "width": pl.Int64, "height": pl.Int64},
    )
    filled = [manifest.table[name].zip_with(manifest.table[name].is_not_null(), found[name]) for name in found.columns]
    return replace(manifest, table=manifest.table.with_columns(filled))


def _rows(manifest: Manifest, predicate: pl.Expr) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Number and values of every row for which `predicate` holds."""
    for values in manifest.table.with_row_index("row_index").filter(predicate).iter_rows(named=True):
        yield values.pop("row_index"), values


def _empty_values(manifest: Manifest) -> list[Problem]:
    return [
        Problem(manifest.place(row), column, "", "is empty; every row needs one", "empty value")
        for column in ("file_name", "label")
        for row, _ in _rows(manifest, pl.col(column).is_null())
    ]


def _unknown_labels(manifest: Manifest, taxonomy: Taxonomy) -> list[Problem]:
    known = set(taxonomy.class_ids)
    hints = {
        label: nearest_name_hint(label, known) or "; see `vision taxonomy` for the classes, or add it there"
        for label in manifest.table["label"].drop_nulls().unique().sort()
        if label not in known
    }
    return [
        Problem(
            manifest.place(row),
            "label",
            str(values["label"]),
            f"not a class of the taxonomy{hints[str(values['label'])]}",
            "unknown label",
        )
        for row, values in _rows(manifest, pl.col("label").is_in(list(hints)))
    ]


def _unknown_splits(manifest: Manifest) -> list[Problem]:
    wrong = pl.col("split").is_not_null() & ~pl.col("split").is_in(SPLITS)
    return [
        Problem(
            manifest.place(row),
            "split",
            str(values["split"]),
            f"not a split{nearest_name_hint(str(values['split']), SPLITS)}; splits are {', '.join(SPLITS)}, or empty",
            "unknown split",
        )
        for row, values in _rows(manifest, wrong)
    ]


def _paths_that_leave(manifest: Manifest) -> list[Problem]:
    leaves = pl.col("file_name").str.contains(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
    return [
        Problem(
            manifest.place(row),
            "file_name",
            str(values["file_name"]),
            "leaves the manifest's folder; put the picture beneath it and write the path relative to it",
            "path leaves folder",
        )
        for row, values in _rows(manifest, leaves)
    ]


def _repeated_rows(manifest: Manifest) -> list[Problem]:
    first_row = (
        manifest.table.with_row_index("row_index")
        .select("row_index", pl.col("row_index").min().over("file_name").alias("first"), "file_name")
        .filter(pl.col("file_name").is_not_null() & (pl.col("row_index") != pl.col("first")))
    )
    return [
        Problem(
            manifest.place(row),
            "file_name",
            name,
            f"stands already at {manifest.place(first)}; keep one of the rows",
            "repeated row",
        )
        for row, first, name in first_row.iter_rows()
    ]


def _wrong_boxes(manifest: Manifest) -> list[Problem]:
    problems = []
    for row, values in _rows(manifest, pl.col("box").is_not_null()):
        try:
            parse_box(str(values["box"]))
        except ValueError as error:
            message = f"not 'x y width height' in px ({error})"
            problems.append(Problem(manifest.place(row), "box", str(values["box"]), message, "wrong box"))
    return problems


def _boxes_outside(place: str, box: str, fact: FileFacts) -> list[Problem]:
    try:
        x, y, width, height = parse_box(box)
    except ValueError:
        return []  # told by the rules about the table
    if x < 0 or y < 0 or x + width > fact.width or y + height > fact.height:
        message = f"reaches outside the picture of {fact.width} x {fact.height} px"
        return [Problem(place, "box", box, message, "wrong box")]
    return []


def _refused_licences(manifest: Manifest, policy: LicencePolicy) -> list[Problem]:
    refusals = {
        licence: licence_refusal(licence, policy) for licence in manifest.table["licence"].unique(maintain_order=True)
    }
    refused = [licence for licence, refusal in refusals.items() if refusal]
    return [
        Problem(
            manifest.place(row),
            "licence",
            values["licence"] or "",
            refusals[values["licence"]] or "",
            "licence",
            is_licence=True,
        )
        for row, values in _rows(manifest, pl.col("licence").is_in(refused, nulls_equal=True))
    ]


def _divided_groups(manifest: Manifest) -> list[Problem]:
    divided = (
        manifest.table.with_row_index("row_index")
        .filter(pl.col("group").is_not_null())
        .group_by("group", maintain_order=True)
        .agg(pl.col("split").fill_null("(no split)").unique().sort().alias("splits"), pl.col("row_index").first())
        .filter(pl.col("splits").list.len() > 1)
    )
    return [
        Problem(
            manifest.place(row),
            "group",
            group,
            f"is divided between {' and '.join(splits)}; a group stays in one split, or the test figure is flattered",
            "divided group",
        )
        for group, splits, row in divided.iter_rows()
    ]


def _small_classes(manifest: Manifest, min_images: int) -> list[Problem]:
    for_training = pl.col("split").is_null() | (pl.col("split") == "train")
    counts = (
        manifest.table.filter(
            pl.col("label").is_not_null() & (pl.col("split").is_null() | (pl.col("split") != "novel"))
        )
        .group_by("label")
        .agg(for_training.sum().alias("n"))
        .filter(pl.col("n") < min_images)
        .sort("label")
    )
    return [
        Problem(
            str(manifest.path),
            "label",
            label,
            f"has {count} pictures to train on, needs {min_images}; add some, drop the class, or lower the minimum",
            "small class",
        )
        for label, count in counts.iter_rows()
    ]


def _novel_classes_in_training(manifest: Manifest) -> list[Problem]:
    trained_on = manifest.table.filter(pl.col("split").is_null() | (pl.col("split") != "novel"))["label"].drop_nulls()
    return [
        Problem(
            manifest.place(row),
            "label",
            str(values["label"]),
            "stands in split 'novel' and in another one; novel pictures are of classes that training never sees",
            "novel class in training",
        )
        for row, values in _rows(manifest, (pl.col("split") == "novel") & pl.col("label").is_in(trained_on.to_list()))
    ]


def _overlapping_classes(manifest: Manifest, taxonomy: Taxonomy) -> list[Problem]:
    labels = set(manifest.table["label"].drop_nulls())
    return [
        Problem(
            str(manifest.path),
            "label",
            c.id,
            f"stands for {', '.join(c.covers)}, and {', '.join(both)} is there too; relabel one side, "
            "a model cannot tell a class from a part of it",
            "overlapping classes",
            is_warning=True,
        )
        for c in taxonomy.classes
        if c.id in labels and (both := [covered for covered in c.covers if covered in labels])
    ]


def _repeated_pictures(manifest: Manifest, facts: Sequence[FileFacts]) -> list[Problem]:
    """Files that are equal byte for byte: a leak between splits, a contradiction between labels, or a waste."""
    first_rows: dict[str, int] = {}
    problems = []
    labels = manifest.table["label"].to_list()
    splits = manifest.table["split"].to_list()
    names = manifest.file_names
    for row, fact in enumerate(facts):
        if fact.fault:
            continue
        first = first_rows.setdefault(fact.sha256, row)
        if first == row or names[first] == names[row]:
            continue
        where = f"the same picture stands at {manifest.place(first)}"
        if labels[first] != labels[row]:
            message = f"{where} labelled '{labels[first]}', here '{labels[row]}'; one of them is wrong"
        elif splits[first] != splits[row]:
            message = f"{where} in split '{splits[first] or ''}', here '{splits[row] or ''}': a leak; keep one"
        else:
            message = f"{where}; keep one, it counts twice"
        is_warning = labels[first] == labels[row] and splits[first] == splits[row]
        place = manifest.place(row)
        problems.append(Problem(place, "file_name", names[row], message, "repeated picture", is_warning=is_warning))
    return problems


def _file_facts(path: Path | None, folder: Path, decode: bool) -> FileFacts:
    if path is None:
        return FileFacts("", 0, 0, "is empty; every row needs one")
    try:
        if not path.resolve().is_relative_to(folder):
            return FileFacts("", 0, 0, "leads outside the manifest's folder; copy the file beneath it")
        width, height = decode_image(path).size if decode else (0, 0)
        return FileFacts(sha256_of_file(path), width, height, "")
    except ImageError as error:
        return FileFacts("", 0, 0, str(error).removeprefix(f"{path}: "))
    # RuntimeError: a loop of symbolic links, in Python 3.11 and 3.12. ValueError: a NUL in the name.
    except (OSError, RuntimeError, ValueError) as error:
        return FileFacts("", 0, 0, f"cannot be read ({getattr(error, 'strerror', None) or error})")


def _batches(items: Iterator[Path | None], size: int) -> Iterator[list[Path | None]]:
    while batch := list(islice(items, size)):
        yield batch
