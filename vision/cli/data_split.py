"""`vision data split`: which pictures to train on, and which to test with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import ManifestArgument, need_data_extra, printable, refuse_existing, say, spinner

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from vision.data.manifest import Problem
    from vision.data.splitting.settings import SplitSettings
    from vision.data.splitting.splitting import Splitting

MOST_WARNINGS_PER_KIND = 20


def data_split(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The manifest to write. Default: MANIFEST itself.")
    ] = None,
    shares: Annotated[
        str, typer.Option("--shares", help="Share of each split; they sum to 1.")
    ] = "train=0.7,calibration=0.15,test=0.15",
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Keep the shares within each value of this column, too. Repeat.")
    ] = None,
    novel: Annotated[
        list[str] | None, typer.Option("--novel", help="Put all pictures of this class into split novel. Repeat.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed is another split.")] = 0,
    by_author: Annotated[
        bool, typer.Option("--by-author", help="Keep pictures of one author together, as those of one group.")
    ] = False,
    reassign: Annotated[
        bool, typer.Option("--reassign", help="Deal all pictures anew; else those with a split keep it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another file at --output.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, tell what the split would be.")] = False,
) -> None:
    """Divide a data set into train, calibration and test, by group, with equal shares of every class.

    Writes MANIFEST (or --output) with its column split filled in, all else unchanged; prints pictures by class and
    split, and warns where one author or group dominates a class. Rows without a group are groups of their own. Run it
    again when pictures were added: old pictures keep their split, new ones of an old group follow it.

    Example: vision data split datasets/mine/manifest.csv --slice view --novel m1097-avenger
    """
    from vision.data.splitting.settings import SplitSettings, parse_shares

    if by_author:
        need_data_extra()
    settings = SplitSettings(
        shares=parse_shares(shares),
        slices=tuple(dict.fromkeys(slices or [])),
        novel=frozenset(novel or []),
        seed=seed,
        by_author=by_author,
        reassign=reassign,
    )
    target = output or manifest_path
    if not dry_run and target.resolve() != manifest_path.resolve():
        refuse_existing(target, overwrite=overwrite)
    write_split(manifest_path, target, settings, dry_run=dry_run)


def write_split(manifest_path: Path, output: Path, settings: SplitSettings, *, dry_run: bool) -> None:
    """Split a manifest and tell what came of it."""
    from vision.data.manifest import copy_with_column, load_manifest
    from vision.data.manifest_files import check_ending
    from vision.data.splitting.settings import check_can_be_split, check_slices
    from vision.data.splitting.splitting import split_manifest

    check_ending(output)
    check_slices(manifest_path, settings.slices)
    with spinner("dealing groups"):
        manifest = load_manifest(manifest_path, settings.columns)
        check_can_be_split(manifest, settings.novel)
        splitting = split_manifest(manifest, settings)
    if dry_run:
        tell(splitting)
        print(f"{manifest_path}: nothing written (--dry-run)")
        return
    if output.resolve().parent != manifest_path.resolve().parent:
        say(f"warning: {output}: paths in a manifest are relative to its folder; put it beside {manifest_path}")
    with spinner("writing"):
        copy_with_column(manifest_path, output, "split", splitting.manifest.table["split"])
    tell(splitting)  # after it is written, as who reads it may stop after the first lines
    print(f"{output}: {len(manifest.table):,} rows, {splitting.num_kept:,} of them kept their split")


def tell(splitting: Splitting) -> None:
    """Print pictures by class and split, the slices' largest deviations, and every warning."""
    from vision.data.splitting.report import class_shares, find_split_warnings, widest_in_slice

    counted = class_shares(splitting)
    for line in share_lines(counted):
        print(printable(line))
    for name in splitting.settings.slices:
        print(printable(widest_in_slice(splitting, name)))
    for problem in first_of_each_kind(find_split_warnings(splitting, counted)):
        print(f"warning: {printable(problem)}")


def share_lines(counted: pl.DataFrame) -> Iterator[str]:
    """Pictures by class and split as lines of a table."""
    from vision.data.manifest import SPLITS

    shown = [name for name in SPLITS if counted[name].sum()]
    width = max(map(len, ("class", *counted["label"])))
    yield f"{'class':<{width}} {'pictures':>10} {'groups':>10}" + "".join(f" {name:>19}" for name in shown) + "  off by"
    for row in counted.iter_rows(named=True):
        shares = (f"({row[name] / row['num_pictures']:.1%})" for name in shown)
        cells = "".join(f" {row[name]:>10,} {share:>8}" for name, share in zip(shown, shares, strict=True))
        off_by = "" if row["deviation"] is None else f"{100 * row['deviation']:.1f} points"
        yield f"{row['label']:<{width}} {row['num_pictures']:>10,} {row['num_groups']:>10,}{cells}  {off_by}"


def first_of_each_kind(problems: list[Problem]) -> Iterator[str]:
    """Each kind's first warnings, and how many more there are."""
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind] += 1
        if counts[problem.kind] <= MOST_WARNINGS_PER_KIND:
            yield str(problem)
    for kind, count in counts.items():
        if count > MOST_WARNINGS_PER_KIND:
            yield f"{count - MOST_WARNINGS_PER_KIND} more of kind '{kind}'"
