"""Splits of a data set: by group, so that no vehicle or event stands on both sides of a test; stratified by class.

Pictures that have a split keep it, and new pictures of their groups follow them. What is new is dealt so that every
class, and every class within each value of the named slices, comes to the asked shares (`dealing`). The result depends
on the seed and on the names alone, not on the order of the rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any
from zlib import adler32, crc32

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.data.check import may_be_repeated
from vision.data.manifest import MOST_LISTED_ROWS, SPLITS, Manifest, Problem, row_problems
from vision.data.splitting.balancing import balance
from vision.data.splitting.dealing import Groups, Integers, deal, spread
from vision.data.splitting.settings import SplitSettings
from vision.errors import ManifestError

_PREFERENCE = ("train", "test", "calibration")
"""Which splits a class gets first that has too few groups for all: without training it cannot be named, without a test
nobody knows how well; without a calibration of its own it lives by that of the others."""

_OWN_GROUP = "\0"
"""Before the file name of a row without group; no group's name in a text file starts so."""


@dataclass(frozen=True)
class Splitting:
    """A manifest with a split of every row.

    Attributes:
        manifest: With the new `split`.
        settings: How it was made.
        group: (N,), number of each row's group; rows without one have one of their own.
        group_names: (U,), of each group; the file name for a row without one.
        num_kept: Rows that had a split and keep it.
        kept_classes: Classes of which some rows keep their split.
        no_longer_novel: Classes of which pictures stood in split `novel`, and do no more.
    """

    manifest: Manifest
    settings: SplitSettings
    group: pl.Series
    group_names: pl.Series
    num_kept: int
    kept_classes: frozenset[str]
    no_longer_novel: frozenset[str]


def split_manifest(manifest: Manifest, settings: SplitSettings) -> Splitting:
    """The manifest with a split for every row that has none.

    Raises:
        ManifestError: A group is divided already, or holds pictures of a novel class and of another one; or one file,
            by the digests that the manifest states, stands in two groups.
    """
    was_novel = _labels_in(manifest.table.filter(pl.col("split") == "novel"))
    if settings.reassign:
        manifest = replace(manifest, table=manifest.table.with_columns(split=pl.lit(None, dtype=pl.String)))
    group, names = _numbered_groups(manifest.table, by_author=settings.by_author)
    rows = manifest.table.select("label", "split", *settings.slices).with_columns(group=group)
    kept = _kept_splits(manifest, rows, names, by_author=settings.by_author)
    _refuse_files_in_two_groups(manifest, group, kept)
    split = _with_novel_classes(manifest, rows, kept, settings, names)
    free = np.flatnonzero(split < 0)
    if len(free):
        split[free] = _deal_free_groups(rows, split, free, names, settings)
    _refuse_seen_novel_classes(manifest, rows, split)
    new_split = pl.Series("split", list(SPLITS)).gather(pl.Series(split).gather(group))
    return Splitting(
        replace(manifest, table=manifest.table.with_columns(split=new_split)),
        settings,
        group,
        names.str.strip_prefix(_OWN_GROUP),
        len(rows) - rows["split"].null_count(),
        _labels_in(rows.filter(pl.col("split").is_not_null())),
        was_novel - settings.novel if settings.reassign else frozenset(),
    )


def _labels_in(rows: pl.DataFrame) -> frozenset[str]:
    return frozenset(rows["label"].drop_nulls().unique())


def _numbered_groups(table: pl.DataFrame, *, by_author: bool) -> tuple[pl.Series, pl.Series]:
    """(N,), the number of each row's group, and (U,), the groups' names; two rows of one file are one group."""
    own = pl.lit(_OWN_GROUP) + pl.col("file_name").fill_null("")
    group, names = _numbered(table.select(pl.coalesce("group", own).alias("name")))
    if not by_author:
        return group, names
    whole = _joined_by(group, _numbered(table.select(pl.coalesce("author", own).alias("name")))[0])
    # Named by its first member in the alphabet, so that the order of rows does not matter.
    firsts = pl.DataFrame({"whole": whole, "name": names}).group_by("whole").agg(pl.col("name").min()).sort("whole")
    return whole.gather(group), firsts["name"]


def _numbered(names: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """(N,), the number of each name, and (U,), the different names."""
    different = names.unique(maintain_order=True).with_row_index("number")
    numbers = names.join(different, on="name", how="left", maintain_order="left")["number"]
    return numbers, different["name"]


def _joined_by(group: pl.Series, author: pl.Series) -> pl.Series:
    """(U,), the number of the connected part that each group belongs to, where rows connect groups and authors."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(group):
        return pl.Series(dtype=pl.Int32)
    num_groups, num_authors = int(group.max()) + 1, int(author.max()) + 1  # type: ignore[arg-type]
    size = num_groups + num_authors
    edges = (np.ones(len(group), dtype=np.bool_), (group.to_numpy(), author.to_numpy() + num_groups))
    _, part = connected_components(coo_array(edges, shape=(size, size)), directed=False)
    _, number = np.unique(part[:num_groups], return_inverse=True)
    return pl.Series(number)


def _kept_splits(manifest: Manifest, rows: pl.DataFrame, names: pl.Series, *, by_author: bool) -> Integers:
    """(U,), the index in `SPLITS` that a group has already, or -1.

    Raises:
        ManifestError: A group has two.
    """
    index = pl.col("split").replace_strict(list(SPLITS), range(len(SPLITS)), default=None, return_dtype=pl.Int64)
    found = (
        rows.select("group", index, row=pl.int_range(pl.len()))
        .filter(pl.col("split").is_not_null())
        .group_by("group")
        .agg(pl.col("split").min(), highest=pl.col("split").max(), row=pl.col("row").min())
    )
    divided = found.filter(pl.col("split") != pl.col("highest")).sort("row")
    if len(divided):
        raise ManifestError("\n".join(map(str, _divided(manifest, divided, names, by_author=by_author))))
    kept = np.full(len(names), -1)
    kept[found["group"].to_numpy()] = found["split"].to_numpy()
    return kept


def _divided(manifest: Manifest, divided: pl.DataFrame, names: pl.Series, *, by_author: bool) -> list[Problem]:
    of_row = {row: rest for row, *rest in divided.select("row", "group", "split", "highest").iter_rows()}
    also = ", with the groups of its authors," if by_author else ""
    remedy = "give all its rows one split, or have all splits made anew by --reassign"

    def problem_of(row: int) -> Problem:
        group, *splits = of_row[row]
        message = f"is divided{also} between {' and '.join(SPLITS[split] for split in splits)} already; {remedy}"
        return Problem(manifest.place(row), "group", names[group].removeprefix(_OWN_GROUP), message, "divided group")

    return row_problems(manifest, divided["row"], problem_of)


def _refuse_files_in_two_groups(manifest: Manifest, group: pl.Series, kept: Integers) -> None:
    """Make sure that equal files cannot come to stand in two splits.

    Raises:
        ManifestError: They stand in two groups that do not have the same split already.
    """
    digests = manifest.table["sha256"]
    is_repeated = may_be_repeated(digests)
    if not is_repeated.any():
        return
    suspects = pl.DataFrame({"sha256": digests, "group": group}).with_row_index("row").filter(is_repeated)
    suspects = suspects.with_columns(split=pl.Series(kept[suspects["group"].to_numpy()]))
    first = pl.col("row").min().over("sha256")
    first_group, first_split = (pl.col(name).sort_by("row").first().over("sha256") for name in ("group", "split"))
    is_same_split = (pl.col("split") == first_split) & (pl.col("split") >= 0)
    wrong = suspects.with_columns(first=first).filter((pl.col("group") != first_group) & ~is_same_split)
    if not len(wrong):
        return
    first_rows = dict(wrong.head(MOST_LISTED_ROWS).select("row", "first").rows())

    def problem_of(row: int) -> Problem:
        message = (
            f"the same file stands at {manifest.place(first_rows[row])} in another group, and could come to another "
            "split; keep one, or make them one group by `vision data duplicates --group`"
        )
        return Problem(manifest.place(row), "sha256", digests[row], message, "one file in two groups")

    raise ManifestError("\n".join(map(str, row_problems(manifest, wrong["row"], problem_of))))


def _refuse_seen_novel_classes(manifest: Manifest, rows: pl.DataFrame, split: Integers) -> None:
    """Make sure that training sees no class of which pictures are novel, such as those that follow a novel group.

    Raises:
        ManifestError: It would; with the rows that come to split `novel`, or are there.
    """
    is_novel = pl.Series(split == SPLITS.index("novel")).gather(rows["group"])
    if not is_novel.any():
        return
    seen = rows.filter(~is_novel)["label"].unique()
    wrong = (is_novel & rows["label"].is_in(seen.implode())).arg_true()
    if not len(wrong):
        return

    def problem_of(row: int) -> Problem:
        message = (
            f"{'comes' if rows['split'][row] is None else 'stands'} in split 'novel' with its group "
            f"'{manifest.table['group'][row] or ''}', while other pictures of its class do not; make the group two, or "
            "put the whole class there by --novel, with --reassign if some of it has a split already"
        )
        return Problem(manifest.place(row), "label", rows["label"][row] or "", message, "novel class in training")

    raise ManifestError("\n".join(map(str, row_problems(manifest, wrong, problem_of))))


def _with_novel_classes(
    manifest: Manifest, rows: pl.DataFrame, kept: Integers, settings: SplitSettings, names: pl.Series
) -> Integers:
    """(U,), the kept splits, and `novel` for groups of novel classes.

    A class all of whose kept pictures are novel stays so: a new picture of it must not teach what training never sees.

    Raises:
        ManifestError: A novel class stands in a group with another one, or in a split already.
    """
    novel = SPLITS.index("novel")
    is_novel_row = pl.col("split") == "novel"
    stay = rows.filter(pl.col("split").is_not_null()).group_by("label").agg(is_novel_row.all())
    classes = settings.novel | set(stay.filter("split")["label"].drop_nulls())
    if not classes:
        return kept
    of_class = (
        rows.select(
            "group", row=pl.int_range(pl.len()), is_novel=pl.col("label").is_in(sorted(classes)).fill_null(False)
        )
        .group_by("group")
        .agg(pl.col("is_novel").any(), all=pl.col("is_novel").all(), row=pl.col("row").min())
        .filter("is_novel")
        .sort("row")
    )
    groups = of_class["group"].to_numpy()
    is_wrong = (kept[groups] != novel) & ((kept[groups] >= 0) | ~of_class["all"].to_numpy())
    if is_wrong.any():
        raise ManifestError(
            "\n".join(map(str, _not_novel(manifest, of_class.filter(pl.Series(is_wrong)), kept, names)))
        )
    split = kept.copy()
    split[groups] = novel
    return split


def _not_novel(manifest: Manifest, wrong: pl.DataFrame, kept: Integers, names: pl.Series) -> list[Problem]:
    group_of_row = dict(wrong.select("row", "group").iter_rows())

    def problem_of(row: int) -> Problem:
        group = group_of_row[row]
        message = (
            f"stands in split '{SPLITS[kept[group]]}' already; have all splits made anew by --reassign"
            if kept[group] >= 0
            else "holds pictures of a novel class and of others; make it two groups, or name its other classes by "
            "--novel too"
        )
        return Problem(manifest.place(row), "group", names[group].removeprefix(_OWN_GROUP), message, "novel class")

    return row_problems(manifest, wrong["row"], problem_of)


def _deal_free_groups(
    rows: pl.DataFrame, split: Integers, free: Integers, names: pl.Series, settings: SplitSettings
) -> Integers:
    """The index in `SPLITS` for each of the free groups."""
    asked = list(settings.shares)
    entries, num_classes, class_of = _strata(rows, settings.slices)
    unit, stratum, count = (entries[name].to_numpy().astype(np.int64) for name in ("group", "stratum", "count"))
    placed = np.zeros((len(class_of), len(asked)), dtype=np.int64)
    for index, name in enumerate(asked):
        there = split[unit] == SPLITS.index(name)
        np.add.at(placed[:, index], stratum[there], count[there])
    is_free = split[unit] < 0
    unit, stratum, count = unit[is_free], stratum[is_free], count[is_free]
    totals = placed.sum(axis=1) + np.bincount(stratum, weights=count, minlength=len(class_of))
    starts = np.append(np.searchsorted(unit, free), len(unit))
    groups = Groups(starts, stratum, count, num_classes, class_of)
    shares = np.array(list(settings.shares.values()))
    preference = [asked.index(name) for name in _PREFERENCE if name in asked]
    sizes = np.bincount(unit, weights=np.where(stratum < num_classes, count, 0), minlength=len(names))[free]
    order, targets = _order(names.gather(free), sizes, settings.seed), np.outer(totals, shares)
    dealt = deal(groups, order, targets, placed, preference)
    dealt = balance(groups, dealt, order, targets, placed, preference, settings.seed)
    return np.array([SPLITS.index(name) for name in asked])[dealt]


def _strata(rows: pl.DataFrame, slices: tuple[str, ...]) -> tuple[pl.DataFrame, int, Integers]:
    """Pictures by group and stratum, sorted by both; how many strata are classes, and (S,) the class of each."""
    label = _codes(rows["label"])
    num_classes = label.n_unique()
    class_of = np.arange(num_classes)
    counted = [_counted(rows["group"], label)]
    for name in slices:
        value = _codes(rows[name])
        within, num_within = _dense(label.to_numpy().astype(np.int64) * (value.n_unique() + 1) + value.to_numpy())
        counted.append(_counted(rows["group"], pl.Series(within + len(class_of))))
        of_value = np.empty(num_within, dtype=np.int64)
        of_value[within] = label.to_numpy()
        class_of = np.concatenate([class_of, of_value])
    return pl.concat(counted).sort("group", "stratum"), num_classes, class_of


def _dense(codes: Integers) -> tuple[Integers, int]:
    """The same codes without gaps, in the same order, and how many different ones there are."""
    if codes.max(initial=0) > 4 * len(codes):
        different, dense = np.unique(codes, return_inverse=True)
        return dense, len(different)
    is_there = np.bincount(codes) > 0  # much quicker than sorting, where there are few codes
    return (np.cumsum(is_there) - 1)[codes], int(is_there.sum())


def _codes(values: pl.Series) -> pl.Series:
    """The place of each value among all in alphabetical order; an empty one comes first."""
    texts = values.fill_null("")
    return texts.cast(pl.Enum(texts.unique().sort())).to_physical()


def _counted(group: pl.Series, stratum: pl.Series) -> pl.DataFrame:
    pairs = pl.DataFrame({"group": group, "stratum": stratum.cast(pl.Int64)})
    return pairs.group_by("group", "stratum").agg(pl.len().alias("count"))


def _order(names: pl.Series, sizes: NDArray[Any], seed: int) -> Integers:
    """(U,), the groups from the largest to the smallest, equal ones by a digest of seed and name.

    The digest needs to be quick and the same on every machine, no more: a CRC and an Adler checksum, mixed.
    """
    texts = [name.encode() for name in names]
    high = np.fromiter(map(crc32, texts), dtype=np.uint64, count=len(texts))
    low = np.fromiter(map(adler32, texts), dtype=np.uint64, count=len(texts))
    salt = np.uint64(int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8], "big"))
    chance = spread(((high << np.uint64(32)) | low) ^ salt)
    return np.lexsort((chance, -sizes))
