"""`vision data card`."""

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


def data_card(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The card to write. Default: README.md beside the manifest.")
    ] = None,
    name: NameOption = None,
    description: DescriptionOption = None,
    url: UrlOption = "",
    version: VersionOption = "1.0.0",
    creators: CreatorsOption = None,
    date: DateOption = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write the whole card anew, what people wrote in it included.")
    ] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Write a data set's card: counts, licences and what they ask, sources, known limits, how to cite.

    Writes README.md beside the manifest, with the front matter that Hugging Face reads. Where a card is already, its
    figures are renewed and what stands before and after them is kept.

    Example: vision data card data/manifest.csv --creator "Your Name"
    """
    from vision.data.check import check_labelled_table
    from vision.data.manifest import load_manifest
    from vision.data.sharing.data_card import CARD_FILE, render_data_card, renewed_card, stale_keys
    from vision.data.sharing.data_card import is_of_fetch as is_card_of_fetch
    from vision.data.sharing.data_set_facts import check_facts, stated_facts
    from vision.files import write_whole_text
    from vision.taxonomy import load_taxonomy

    manifest, taxonomy = load_manifest(manifest_path), load_taxonomy(taxonomy_path)
    facts = stated_facts(
        manifest, name=name, description=description, version=version, url=url, creators=creators, date=date
    )
    check_facts(facts)
    check_labelled_table(manifest, taxonomy)
    target = output or manifest.folder / CARD_FILE
    refuse_overwriting_input(target, manifest_path)
    is_of_fetch = target.is_file() and is_card_of_fetch(target.read_text(encoding="utf-8", errors="replace"))
    is_new = overwrite or not target.exists() or is_of_fetch
    card = render_data_card(manifest, taxonomy, facts)
    write_whole_text(target, renewed_card(target, card, overwrite=overwrite))
    stale = [] if is_new else stale_keys(target, card)
    if stale:
        say(f"warning: {target}: the front matter was kept, but the data now say otherwise: {', '.join(stale)}")
    written = "written in the place of the card of `vision data fetch`" if is_of_fetch else "written"
    done = written if is_new else "figures renewed, the rest kept"
    print(f"{target}: {len(manifest.table)} pictures; {done}")
