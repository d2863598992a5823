"""`vision data stats`: what a data set holds, as tables, as JSON, and as a page with contact sheets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.data_preview import tell_faults
from vision.cli.terminal import (
    ManifestArgument,
    Policy,
    TaxonomyOption,
    progress_bar,
    refuse_overwriting_input,
    spinner,
)
from vision.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vision.data.manifest import Manifest
    from vision.data.statistics.contact_sheets import Tile
    from vision.data.statistics.figures import DataSetStatistics, LabelStatistics, SliceStatistics

MAX_AUTHORS_PRINTED, MAX_VALUES_PRINTED = 10, 8
DEFAULT_PER_CLASS = 12


def data_stats(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write all figures as JSON, such as stats.json.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Also write a page with contact sheets into this folder.")
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class", min=1, max=400, help=f"Pictures of a class on the page. Default: {DEFAULT_PER_CLASS}."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Another seed shows other pictures on the page. Default: 0.")
    ] = None,
    policy: Annotated[Policy, typer.Option("--policy", help="Licences to allow.")] = Policy.OPEN,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Count a data set by class, split, licence, author and slice, with sizes, years and gaps.

    Prints tables; with -o all figures go to a JSON file, with --page to a page with a contact sheet of each class.
    Exit code 1 if some pictures of the page cannot be shown; their tiles say why.

    Example: vision data stats data/manifest.csv -o stats.json --page stats
    """
    if page is None and (per_class is not None or seed is not None):
        raise UsageError("--per-class and --seed choose the pictures of the page; say where it goes with --page DIR")
    from vision.data.licences import LicencePolicy
    from vision.data.manifest import load_manifest
    from vision.data.statistics.page import GENERATOR
    from vision.data.statistics.statistics import data_set_statistics
    from vision.files import write_whole_text
    from vision.pages import check_may_write_page
    from vision.taxonomy import load_taxonomy

    for written in (output, page):
        if written is not None:
            refuse_overwriting_input(written, manifest_path)
    if page is not None:
        check_may_write_page(page, GENERATOR)
    taxonomy = load_taxonomy(taxonomy_path)
    with spinner("counting"):
        manifest = load_manifest(manifest_path)
        statistics = data_set_statistics(manifest, taxonomy, LicencePolicy(policy.value))
    if output is not None:
        write_whole_text(output, statistics.model_dump_json(indent=1) + "\n")
    _print_statistics(statistics)
    if page is not None:
        tell_faults(_write_page(statistics, manifest, page, per_class or DEFAULT_PER_CLASS, seed or 0))


def _write_page(
    statistics: DataSetStatistics, manifest: Manifest, folder: Path, per_class: int, seed: int
) -> list[Tile]:
    """Write the page; the tiles that have a fault."""
    from vision.data.statistics.contact_sheets import choose_pictures, make_tiles
    from vision.data.statistics.page import write_statistics_page

    labels = [each.label for each in statistics.labels]
    chosen = choose_pictures(manifest, per_class=per_class, seed=seed, labels=labels)
    with progress_bar("reading pictures", sum(map(len, chosen.values()))) as advance:
        sheets = {
            label: make_tiles(manifest, pictures, on_progress=lambda: advance(1)) for label, pictures in chosen.items()
        }
    print(f"page: {write_statistics_page(statistics, sheets, folder)}")
    return [tile for tiles in sheets.values() for tile in tiles if tile.fault]


def _print_statistics(statistics: DataSetStatistics) -> None:
    from rich.console import Console

    from vision.data.statistics.findings import findings, pictures

    s = statistics
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(
        f"{_cell(s.data_set)}/{_cell(s.manifest)}: {pictures(s.num_images)}, {len(s.classes)} classes, "
        f"{s.num_groups:,} groups and {s.num_without_group:,} single pictures, {s.num_authors:,} authors"
    )
    if s.num_images:
        _print_classes(console, s)
        _print_licences(console, s)
        _print_authors(console, s)
        for each in s.slices:
            _print_slice(console, each, s.labels)
        _print_sizes(console, s)
        _print_years(console, s)
        _print_gaps(console, s)
    for finding in findings(s):
        console.print(f"! {finding}", soft_wrap=True)


def _print_classes(console: Console, statistics: DataSetStatistics) -> None:
    from vision.data.statistics.findings import SPLIT_NAMES, splits_that_occur

    splits = splits_that_occur(statistics)
    table = _table("class", "pictures", *(SPLIT_NAMES[split] for split in splits))

    def add(label: LabelStatistics) -> None:
        counts = [label.num_images, *(getattr(label.splits, split) for split in splits)]
        table.add_row(f"  {_cell(label.label or 'no label', 40)}", *(f"{count:,}" for count in counts))

    for family in statistics.families:
        members = [each for each in statistics.classes if each.family == family.family]
        if members:
            table.add_row(family.name, f"{family.num_images:,}" if len(members) > 1 else "")
        for each in members:
            add(each)
    if statistics.outside_taxonomy:
        table.add_row("not in the taxonomy")
    for each in statistics.outside_taxonomy:
        add(each)
    if statistics.unlabelled is not None:
        add(statistics.unlabelled)
    console.print(table)
    absent = [class_id for family in statistics.families for class_id in family.classes_without_images]
    if absent:
        console.print(f"no images of {len(absent)} classes of the taxonomy: {', '.join(absent)}")


def _print_licences(console: Console, statistics: DataSetStatistics) -> None:
    table = _table("licence", "pictures", f"policy '{statistics.policy}'")
    for each in statistics.licences:
        licence = "not stated" if each.licence is None else _cell(each.licence, 60)
        table.add_row(licence, f"{each.num_images:,}", f"refused: {_cell(each.refusal)}" if each.refusal else "allowed")
    console.print(table)
    if statistics.num_licences_not_listed:
        console.print(f"{statistics.num_licences_not_listed:,} rarer values are not listed, and not judged")


def _print_authors(console: Console, statistics: DataSetStatistics) -> None:
    table = _table("groups, authors", "groups", "single", "authors", "share", "largest author")
    for label in statistics.labels:
        share, author = "", "not stated"
        if label.largest_author is not None and label.share_of_largest_author is not None:
            share, author = f"{100 * label.share_of_largest_author:.1f} %", _cell(label.largest_author, 60)
        counts = (label.num_groups, label.num_without_group, label.num_authors)
        table.add_row(_cell(label.label or "no label", 40), *(f"{count:,}" for count in counts), share, author)
    console.print(table)
    table = _table("author", "pictures", "share", "classes")
    for each in statistics.authors[:MAX_AUTHORS_PRINTED]:
        share = f"{100 * each.share:.1f} %"
        table.add_row(_cell(each.author, 60), f"{each.num_images:,}", share, str(each.num_labels))
    if table.row_count:
        console.print(table)


def _print_slice(console: Console, figures: SliceStatistics, labels: tuple[LabelStatistics, ...]) -> None:
    from vision.data.statistics.findings import largest_labels

    name = _cell(figures.column, 60)
    if figures.is_estimate:
        console.print(f"slice {name}: about {figures.num_values:,} values, too many; {figures.num_missing:,} without\n")
        return
    table = _table(f"slice {name}", "pictures", "of these by class")
    for value in figures.values[:MAX_VALUES_PRINTED]:
        table.add_row(_cell(value.value, 60), f"{value.num_images:,}", _cell(largest_labels(value, labels)))
    console.print(table)
    more = max(0, figures.num_values - MAX_VALUES_PRINTED)
    console.print(f"{figures.num_missing:,} without a value" + (f", {more:,} rarer values" if more else ""))


def _print_sizes(console: Console, statistics: DataSetStatistics) -> None:
    sizes = statistics.sizes
    rows = {
        "width, px": sizes.width,
        "height, px": sizes.height,
        "shorter side, px": sizes.shorter_side,
        "megapixels": sizes.megapixels,
    }
    table = _table("size", "least", "5 %", "25 %", "median", "75 %", "95 %", "most")
    for name, quantiles in rows.items():
        if quantiles is not None:
            digits = 2 if name == "megapixels" else 0
            table.add_row(name, *(f"{value:,.{digits}f}" for value in quantiles.model_dump().values()))
    if table.row_count:
        console.print(table)
    console.print(f"below {sizes.small_px} px: {sizes.num_small:,}; without a size: {sizes.num_missing:,}")


def _print_years(console: Console, statistics: DataSetStatistics) -> None:
    from vision.data.statistics.page import year_bars

    ages = statistics.ages
    table = _table("years", "taken or published", "no date, fetched then")
    for bar in year_bars(ages):
        if sum(bar.counts):
            table.add_row(bar.told, *(f"{count:,}" for count in bar.counts))
    if table.row_count:
        console.print(table)
    console.print(f"without a year: {ages.num_without_year:,}; date not readable: {ages.num_unreadable_dates:,}")


def _print_gaps(console: Console, statistics: DataSetStatistics) -> None:
    gaps = [f"{_cell(each.column, 60)} {each.num_missing:,}" for each in statistics.columns if each.num_missing]
    console.print(f"empty cells: {', '.join(gaps) or 'none'}")


def _table(first: str, *others: str) -> Table:
    """A table whose columns of text are those that hold words; all others are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True, max_width=50)
    for name in others:
        is_text = name.startswith(("largest author", "policy", "of these"))
        longest_word = max(map(len, name.split()))
        table.add_column(name, justify="left" if is_text else "right", overflow="fold", min_width=longest_word)
    return table


def _cell(text: str, most: int = 400) -> str:
    """Text from data that neither breaks the line nor steers the terminal."""
    from vision.data.one_line import plain_line

    return plain_line(text, most=most)
