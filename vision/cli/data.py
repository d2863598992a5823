"""`vision data`: building data sets and keeping them clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.data_card import data_card
from vision.cli.data_croissant import data_croissant
from vision.cli.data_duplicates import data_duplicates
from vision.cli.data_fetch import data_fetch
from vision.cli.data_import import data_import
from vision.cli.data_preview import data_preview
from vision.cli.data_review import data_apply_review, data_review
from vision.cli.data_sources import data_sources
from vision.cli.data_split import data_split
from vision.cli.data_stats import data_stats
from vision.cli.data_suspicious import data_suspicious
from vision.cli.terminal import (
    ManifestArgument,
    Policy,
    TaxonomyOption,
    printable,
    progress_bar,
    refuse_overwriting_input,
    say,
)

if TYPE_CHECKING:
    from vision.data.manifest import Manifest

data_app = typer.Typer(help="Build data sets, with their licences, and keep them clean.", no_args_is_help=True)

MOST_PROBLEMS_PER_KIND = 50


def data_check(
    manifest_path: ManifestArgument,
    policy: Annotated[Policy, typer.Option("--policy", help="Licences to allow.")] = Policy.OPEN,
    fix: Annotated[bool, typer.Option("--fix", help="Fill in empty sha256, width and height from the files.")] = False,
    min_images: Annotated[int, typer.Option("--min-images", min=1, help="Fewest pictures of a class to train on.")] = 5,
    skip_files: Annotated[bool, typer.Option("--skip-files", help="Check the table only, open no picture.")] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Find everything that is wrong with a data set, at once, with line, column, value and remedy.

    Exit code 3 if anything is, 4 if it is licences alone.
    """
    check_data(manifest_path, taxonomy_path, policy, fix=fix, min_images=min_images, skip_files=skip_files)


def data_attribution(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page to write. Default: ATTRIBUTION.md beside the manifest."),
    ] = None,
) -> None:
    """Write the page that names title, author, source, licence and changes of every picture."""
    from vision.data.manifest import load_manifest
    from vision.data.sharing.attribution import render_attribution
    from vision.data.sharing.data_card import ATTRIBUTION_FILE
    from vision.files import write_whole_text

    manifest = load_manifest(manifest_path)
    target = output or manifest.folder / ATTRIBUTION_FILE
    refuse_overwriting_input(target, manifest_path)
    write_whole_text(
        target, render_attribution(manifest.table, heading=f"Pictures of {manifest.folder.resolve().name}")
    )
    print(f"{target}: {len(manifest.table)} pictures")


def check_data(
    manifest_path: Path, taxonomy_path: Path | None, policy: Policy, *, fix: bool, min_images: int, skip_files: bool
) -> None:
    """Print every problem of a data set, and exit with 3 or 4 if one is no mere warning."""
    from collections import Counter

    from vision.data.check import (
        CHECKED_COLUMNS,
        find_file_problems,
        find_manifest_problems,
        read_file_facts,
        with_file_facts,
    )
    from vision.data.licences import LicencePolicy
    from vision.data.manifest import read_manifest
    from vision.taxonomy import load_taxonomy

    loaded_taxonomy = load_taxonomy(taxonomy_path)
    manifest, problems = read_manifest(manifest_path, CHECKED_COLUMNS if skip_files else None)
    has_wrong_columns = any(not problem.is_warning for problem in problems)
    problems = problems + find_manifest_problems(
        manifest, loaded_taxonomy, LicencePolicy(policy.value), min_images=min_images
    )
    if not skip_files:
        with progress_bar("reading pictures", len(manifest.table)) as advance:
            facts = read_file_facts(manifest, on_progress=lambda: advance(1))
        problems += find_file_problems(manifest, facts)
        if fix:
            _fill_in(manifest, with_file_facts(manifest, facts), has_wrong_columns=has_wrong_columns)
    faults = [problem for problem in problems if not problem.is_warning]
    shown: Counter[str] = Counter()
    for problem in problems:
        shown[problem.kind] += problem.num_rows
        if shown[problem.kind] <= MOST_PROBLEMS_PER_KIND:
            print(f"{'warning: ' if problem.is_warning else ''}{printable(str(problem))}")
    for kind, count in shown.items():
        if count > MOST_PROBLEMS_PER_KIND:
            print(f"... and {count - MOST_PROBLEMS_PER_KIND} more of kind '{kind}'")
    labels = manifest.table["label"].n_unique()
    summary = ", ".join(f"{count} {kind}" for kind, count in shown.most_common()) or "no problems"
    print(f"{manifest_path}: {len(manifest.table)} rows, {labels} classes: {summary}")
    if faults:
        raise typer.Exit(4 if all(problem.is_licence for problem in faults) else 3)


def _fill_in(manifest: Manifest, filled: Manifest, *, has_wrong_columns: bool) -> None:
    """Write the cells that were filled in; all else in the file stays as it is."""
    from vision.data.manifest import copy_with_columns

    if has_wrong_columns:
        say(f"{manifest.path}: nothing filled in, as its columns are at fault; mend what is told, then use --fix again")
        return
    nums_filled = {
        name: manifest.table[name].null_count() - filled.table[name].null_count()
        for name in ("sha256", "width", "height")
    }
    changed = [name for name, number in nums_filled.items() if number]
    if changed:
        copy_with_columns(manifest.path, manifest.path, filled.table.select(changed))
    say(f"{manifest.path}: filled in {sum(nums_filled.values())} cells")


# In the order in which they are used, which is that of the help.
_VERBS: dict[str, Callable[..., None]] = {
    "sources": data_sources,
    "fetch": data_fetch,
    "import": data_import,
    "check": data_check,
    "stats": data_stats,
    "preview": data_preview,
    "review": data_review,
    "apply-review": data_apply_review,
    "duplicates": data_duplicates,
    "split": data_split,
    "suspicious": data_suspicious,
    "attribution": data_attribution,
    "card": data_card,
    "croissant": data_croissant,
}
for _name, _command in _VERBS.items():
    data_app.command(_name)(_command)
