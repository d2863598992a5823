"""`vision data sources`: is what a sources.yaml names there?"""

from __future__ import annotations

from typing import Annotated

import typer

from vision.cli.data_fetch import ClassOption, ContactOption, SourcesArgument, needed_contact, told_client
from vision.cli.terminal import TaxonomyOption, need_data_extra, printable, progress_bar
from vision.errors import FetchError

EXIT_LEADS_NOWHERE = 3


def data_sources(
    sources_path: SourcesArgument,
    contact: ContactOption = None,
    class_ids: ClassOption = None,
    write: Annotated[bool, typer.Option("--write", help="Write `verified: <date>` into SOURCES where found.")] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Ask the sources whether every category, search and file of SOURCES is there, and how many files it has.

    Downloads nothing. With --write, SOURCES keeps its comments and its layout.
    Exit code 3 if something leads nowhere.

    Example: vision data sources datasets/air_defence/sources.yaml --contact you@your.domain --write
    """
    need_data_extra()
    from datetime import UTC, datetime

    from vision.data.fetching.sites import OpenSites
    from vision.data.fetching.source_checks import check_lines, check_queries, mark_verified
    from vision.data.fetching.sources import load_sources
    from vision.data.fetching.summary import aligned
    from vision.taxonomy import load_taxonomy

    sources_file = load_sources(sources_path, load_taxonomy(taxonomy_path))
    queries = sources_file.queries_of(class_ids or [])
    with (
        OpenSites(sources_file.sources, needed_contact(contact, sources_file), None, told_client) as sites,
        progress_bar("asking", len(queries)) as advance,
    ):
        checks = check_queries(queries, sites.source, advance)
    for line in aligned(check_lines(checks), num_right=2):
        print(printable(line))
    for check in checks:
        for problem in check.problems if check.is_answered else ():
            print(printable(f"{check.class_query.place}: {check.class_query.text}: {problem}"))
    if write:
        num_marked, left = mark_verified(sources_file, checks, datetime.now(UTC).date())
        print(f"{sources_path}: {num_marked} entries marked as verified")
        for place in left:
            print(printable(f"{place}: was found, but is written so that it cannot be marked safely; do it by hand"))
    num_found = sum(check.is_found for check in checks)
    print(f"{sources_path}: {num_found} of {len(checks)} queries lead somewhere")
    unanswered = {check.problems[0]: check for check in checks if not check.is_answered}
    if unanswered:
        num_unanswered = sum(not check.is_answered for check in checks)
        raise FetchError("\n".join([*unanswered, f"{sources_path}: {num_unanswered} queries were not answered"]))
    if num_found < len(checks):
        raise typer.Exit(EXIT_LEADS_NOWHERE)
