"""`vision data croissant`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision.cli.facts_options import (
    CreatorsOption,
    DateOption,
    DescriptionOption,
    NameOption,
    UrlOption,
    VersionOption,
)
from vision.cli.terminal import ManifestArgument, TaxonomyOption, refuse_overwriting_input, say
from vision.errors import UsageError


def data_croissant(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write. Default: croissant.json beside it.")
    ] = None,
    name: NameOption = None,
    description: DescriptionOption = None,
    url: UrlOption = "",
    version: VersionOption = "1.0.0",
    creators: CreatorsOption = None,
    date: DateOption = "",
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Describe a data set in Croissant 1.1, which search engines and loaders of data sets read.

    Writes croissant.json beside the manifest, to be passed on with it; paths in it are relative. Run it again when the
    manifest has changed: it holds the manifest's digest.

    Example: vision data croissant data/manifest.csv --url https://example.org/data --creator "Your Name"
    """
    import json

    from vision.data.check import check_labelled_table
    from vision.data.manifest import load_manifest
    from vision.data.sharing.croissant import (
        CROISSANT_FILE,
        describe_in_croissant,
        find_extra_pictures,
        find_gaps,
        find_misread_columns,
        num_missing_pictures,
    )
    from vision.data.sharing.data_set_facts import check_facts, stated_facts
    from vision.files import write_whole_text
    from vision.taxonomy import load_taxonomy

    manifest, taxonomy = load_manifest(manifest_path), load_taxonomy(taxonomy_path)
    target = output or manifest.folder / CROISSANT_FILE
    refuse_overwriting_input(target, manifest_path)
    if target.resolve().parent != manifest.folder.resolve():
        raise UsageError(f"--output {target}: its paths start at its folder; write it beside {manifest.path}")
    facts = stated_facts(
        manifest, name=name, description=description, version=version, url=url, creators=creators, date=date
    )
    check_facts(facts)
    check_labelled_table(manifest, taxonomy)
    described = describe_in_croissant(manifest, taxonomy, facts)
    if len(manifest.table) and num_missing_pictures(manifest) == len(manifest.table):
        say(
            f"warning: {manifest.path}: none of its {len(manifest.table)} pictures is there, so a loader finds none; "
            f"put them beneath {manifest.folder}"
        )
    for warning in _warnings(find_gaps(described), find_misread_columns(manifest), find_extra_pictures(manifest)):
        say(f"warning: {warning}")
    write_whole_text(target, json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    print(f"{target}: {len(manifest.table)} pictures, {manifest.table['label'].n_unique()} classes")


def _warnings(gaps: list[str], misread: list[str], extra: list[str]) -> list[str]:
    warnings = []
    if gaps:
        warnings.append(f"Croissant asks for what is missing: {', '.join(gaps)}")
    if misread:
        warnings.append(
            f"mlcroissant will change or refuse values in {', '.join(misread)}, as it guesses types (007 becomes 7); "
            "a manifest in .parquet has no such fault"
        )
    if extra:
        warnings.append(
            f"{len(extra)} files lie among the pictures that no row names, first '{extra[0]}'; they would be loaded "
            "without a label: move them elsewhere"
        )
    return warnings
