"""Everything that is wrong with a data set, at once.

Rules about the table are vectorised; rules about the files read every picture, on all cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import polars as pl

from vision.data.images import decode_image
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.manifest import (
    MOST_LISTED_ROWS,
    NO_SPLIT,
    SPLITS,
    Manifest,
    Problem,
    divided_groups,
    parse_box,
    row_problems,
)
from vision.errors import ImageError, LicenceError, ManifestError, nearest_name_hint
from vision.files import is_inside, sha256_of_file
from vision.taxonomy import Taxonomy

CHECKED_COLUMNS = ("file_name", "label", "split", "group", "sha256", "licence", "box", "width", "height")
"""What the rules about the table look at."""

DEFAULT_MIN_IMAGES = 5
"""Fewer pictures of a class than this are a problem: five folds need five."""

LEADS_OUTSIDE = "leads outside the manifest's folder; copy the file beneath it"
"""What is said of a picture that lies elsewhere, by its name or by a link."""

_NUMBER = r"[+-]?\d{1,15}(\.\d{0,15})?"
_POSITIVE = r"(0*[1-9]\d{0,14}(\.\d{0,15})?|0*\.0{0,14}[1-9]\d{0,15})"
_PLAIN_BOX = rf"^\s*{_NUMBER}\s+{_NUMBER}\s+{_POSITIVE}\s+{_POSITIVE}\s*$"
"""Boxes that are surely right; `parse_box` has the last word on the others, one by one."""


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
        *_no_rows(manifest),
        *empty_values(manifest),
        *outer_blanks(manifest),
        *_unknown_labels(manifest, taxonomy),
        *unknown_splits(manifest),
        *_paths_that_leave(manifest),
        *repeated_rows(manifest),
        *_wrong_boxes(manifest),
        *_refused_licences(manifest, policy),
        *_divided_groups(manifest),
        *_divided_digests(manifest),
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
        *empty_values(manifest),
        *_unknown_labels(manifest, taxonomy),
        *unknown_splits(manifest),
        *_paths_that_leave(manifest),
        *repeated_rows(manifest),
        *_wrong_boxes(manifest),
    ]
    if problems:
        raise ManifestError("\n".join(map(str, problems)))


def check_splits(manifest: Manifest) -> None:
    """Make sure that every split is one, or empty.

    Raises:
        ManifestError: With every row of another one.
    """
    problems = unknown_splits(manifest)
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
        if fact.fault:
            problems.append(
                Problem(manifest.place(row), "file_name", known["file_name"] or "", fact.fault, "unusable file")
            )
            continue
        if known["sha256"] and known["sha256"].lower() != fact.sha256:
            message = (
                f"the file's digest is {fact.sha256}; get the file that was meant, or empty the cell and use --fix"
            )
            problems.append(Problem(manifest.place(row), "sha256", known["sha256"], message, "other digest"))
        for column in ("width", "height"):
            if known[column] is not None and getattr(fact, column) not in (0, known[column]):
                message = f"the upright picture has {getattr(fact, column)} px"
                problems.append(Problem(manifest.place(row), column, str(known[column]), message, "other size"))
        if known["box"] and fact.width:
            problems.extend(_boxes_outside(manifest.place(row), known["box"], fact))
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


def _wrong_rows(manifest: Manifest, predicate: pl.Expr) -> pl.Series:
    """Numbers of the rows for which `predicate` holds."""
    return manifest.table.select(predicate.fill_null(False)).to_series().arg_true()


def _value_problems(
    manifest: Manifest, column: str, predicate: pl.Expr, kind: str, message_of: Callable[[str], str]
) -> list[Problem]:
    """A problem of each row for which `predicate` holds, told by the value of a column."""

    def problem_of(row: int) -> Problem:
        value = manifest.table[column][row] or ""
        return Problem(manifest.place(row), column, value, message_of(value), kind)

    return row_problems(manifest, _wrong_rows(manifest, predicate), problem_of)


def _labels(manifest: Manifest) -> list[str]:
    return manifest.table["label"].drop_nulls().unique().sort().to_list()


def empty_values(manifest: Manifest) -> list[Problem]:
    """Rows without what every row needs."""
    return [
        problem
        for column in ("file_name", "label")
        for problem in _value_problems(
            manifest, column, pl.col(column).is_null(), "empty value", lambda _: "is empty; every row needs one"
        )
    ]


def _no_rows(manifest: Manifest) -> list[Problem]:
    if len(manifest.table):
        return []
    return [Problem(str(manifest.path), "", "", "has no rows; add a line for each picture", "no rows")]


def outer_blanks(manifest: Manifest) -> list[Problem]:
    """Values that begin or end with a blank: `ev0 ` reads like `ev0` and is another group.

    Of a file name that is a warning only: a file may be called so.
    """
    return [
        replace(problem, is_warning=column == "file_name")
        for column in ("file_name", "label", "group", "split")
        for problem in _value_problems(
            manifest,
            column,
            # Lengths are compared sooner than texts or patterns are.
            pl.col(column).str.strip_chars().str.len_bytes() != pl.col(column).str.len_bytes(),
            "outer blank",
            lambda _: "begins or ends with a blank, and so is another value than without; remove it",
        )
    ]


def _unknown_labels(manifest: Manifest, taxonomy: Taxonomy) -> list[Problem]:
    known = taxonomy.class_ids

    @cache
    def message_of(label: str) -> str:
        remedy = nearest_name_hint(label, known) or "; see `vision taxonomy` for the classes, or add it there"
        return f"not a class of the taxonomy{remedy}"

    return _value_problems(manifest, "label", ~pl.col("label").is_in(known), "unknown label", message_of)


def unknown_splits(manifest: Manifest) -> list[Problem]:
    """Rows whose split is none."""
    return _value_problems(
        manifest,
        "split",
        ~pl.col("split").is_in(SPLITS),
        "unknown split",
        lambda split: f"not a split{nearest_name_hint(split, SPLITS)}; splits are {', '.join(SPLITS)}, or empty",
    )


def _paths_that_leave(manifest: Manifest) -> list[Problem]:
    return _value_problems(
        manifest,
        "file_name",
        pl.col("file_name").str.contains(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)"),
        "path leaves folder",
        lambda _: "leaves the manifest's folder; put the picture beneath it and write the path relative to it",
    )


def may_be_repeated(values: pl.Series) -> pl.Series:
    """(N,), whether a value may stand twice; empty ones do not count.

    Few names or digests do, if any: 8 bytes a row tell which may, and only those need to be compared as texts.
    """
    given = values.drop_nulls()
    if given.hash().n_unique() == len(given):  # much quicker than finding out which
        return pl.repeat(False, len(values), eager=True)
    return values.hash().is_duplicated() & values.is_not_null()


def repeated_rows(manifest: Manifest) -> list[Problem]:
    """Rows of a picture that has one already, `./a.jpg` and `a.jpg` being one picture."""
    written = manifest.table["file_name"]
    names = _plain_paths(written)
    suspects = pl.DataFrame({"file_name": names}).with_row_index("row_index").filter(may_be_repeated(names))
    repeated = suspects.with_columns(first=pl.col("row_index").min().over("file_name")).filter(
        pl.col("row_index") != pl.col("first")
    )
    first_rows = dict(repeated.head(MOST_LISTED_ROWS).select("row_index", "first").iter_rows())
    return row_problems(
        manifest,
        repeated["row_index"],
        lambda row: Problem(
            manifest.place(row),
            "file_name",
            written[row],
            f"stands already at {manifest.place(first_rows[row])}"
            + (f" as '{written[first_rows[row]]}'" if written[first_rows[row]] != written[row] else "")
            + "; keep one of the rows",
            "repeated row",
        ),
    )


def _plain_paths(names: pl.Series) -> pl.Series:
    """Paths without `.` and double slashes, which lead to the same files."""
    is_odd = (
        names.str.starts_with("./") | names.str.contains("/./", literal=True) | names.str.contains("//", literal=True)
    )
    if not is_odd.any():
        return names
    return names.zip_with(
        ~is_odd.fill_null(False), names.str.replace_all(r"/(\./|/)+", "/").str.replace(r"^(\./)+", "")
    )


def _wrong_boxes(manifest: Manifest) -> list[Problem]:
    boxes = manifest.table["box"]
    odd = _wrong_rows(manifest, ~pl.col("box").str.contains(_PLAIN_BOX))
    wrong = [row for row, box in zip(odd, boxes.gather(odd), strict=True) if _box_fault(box)]
    return row_problems(
        manifest,
        pl.Series(wrong, dtype=pl.UInt32),
        lambda row: Problem(
            manifest.place(row),
            "box",
            boxes[row],
            f"not 'x y width height' in px ({_box_fault(boxes[row])})",
            "wrong box",
        ),
    )


def _box_fault(box: str) -> str:
    try:
        parse_box(box)
    except ValueError as error:
        return str(error)
    return ""


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
    licences = manifest.table["licence"]
    refusals = {licence: licence_refusal(licence, policy) for licence in licences.unique(maintain_order=True)}
    refused = [licence for licence, refusal in refusals.items() if refusal]

    def problem_of(row: int) -> Problem:
        message = refusals[licences[row]] or ""
        return Problem(manifest.place(row), "licence", licences[row] or "", message, "licence", is_licence=True)

    return row_problems(manifest, _wrong_rows(manifest, pl.col("licence").is_in(refused, nulls_equal=True)), problem_of)


def _divided_groups(manifest: Manifest) -> list[Problem]:
    divided = divided_groups(manifest.table)
    splits = dict(
        manifest.table.select("group", pl.col("split").fill_null(NO_SPLIT))
        .join(divided.head(MOST_LISTED_ROWS).select("group"), on="group", how="semi")
        .group_by("group")
        .agg(pl.col("split").unique().sort())
        .iter_rows()
    )
    groups = manifest.table["group"]
    return row_problems(
        manifest,
        divided["row_index"],
        lambda row: Problem(
            manifest.place(row),
            "group",
            groups[row],
            f"is divided between {' and '.join(splits[groups[row]])}; a group stays in one split, or the test figure "
            "is flattered",
            "divided group",
        ),
    )


def _divided_digests(manifest: Manifest) -> list[Problem]:
    """Rows whose file is, by the digest that the manifest states, one that stands in another split too."""
    table, digests = manifest.table, manifest.table["sha256"]
    is_repeated = may_be_repeated(digests)
    if not is_repeated.any():
        return []
    split = pl.col("split").fill_null(NO_SPLIT)
    suspects = table.select("sha256", split, row=pl.int_range(pl.len(), dtype=pl.UInt32)).filter(is_repeated)
    divided = suspects.with_columns(
        first=pl.col("row").min().over("sha256"), first_split=pl.col("split").sort_by("row").first().over("sha256")
    ).filter(pl.col("split") != pl.col("first_split"))
    of_row = {
        row: rest for row, *rest in divided.head(MOST_LISTED_ROWS).select("row", "first", "first_split", "split").rows()
    }

    def problem_of(row: int) -> Problem:
        first, first_split, own_split = of_row[row]
        message = (
            f"the same file stands at {manifest.place(first)} in split '{first_split}', here in '{own_split}': a leak; "
            "keep one"
        )
        return Problem(manifest.place(row), "sha256", digests[row], message, "divided digest")

    return row_problems(manifest, divided["row"], problem_of)


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
    labels, numbers = counts["label"], counts["n"]
    return row_problems(
        manifest,
        pl.int_range(len(counts), eager=True),
        lambda row: Problem(
            str(manifest.path),
            "label",
            labels[row],
            f"has {numbers[row]} pictures to train on, needs {min_images}; add some, drop the class, or lower the "
            "minimum",
            "small class",
        ),
    )


def _novel_classes_in_training(manifest: Manifest) -> list[Problem]:
    is_novel = (pl.col("split") == "novel").fill_null(False)
    trained_on = manifest.table.filter(~is_novel)["label"].drop_nulls().unique()
    return _value_problems(
        manifest,
        "label",
        is_novel & pl.col("label").is_in(trained_on.to_list()),
        "novel class in training",
        lambda _: "stands in split 'novel' and in another one; novel pictures are of classes that training never sees",
    )


def _overlapping_classes(manifest: Manifest, taxonomy: Taxonomy) -> list[Problem]:
    labels = set(_labels(manifest))
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
    digests = manifest.table["sha256"].to_list()
    for row, fact in enumerate(facts):
        if fact.fault:
            continue
        first = first_rows.setdefault(fact.sha256, row)
        if first == row or names[first] == names[row]:
            continue
        if (
            digests[first] == digests[row] == fact.sha256
            and labels[first] == labels[row]
            and splits[first] != splits[row]
        ):
            continue  # told by the rules about the table
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
        if not is_inside(path, folder):
            return FileFacts("", 0, 0, LEADS_OUTSIDE)
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
