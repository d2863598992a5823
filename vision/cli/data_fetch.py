"""`vision data fetch`: openly licensed pictures from the web, with all that has to be known about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import Policy, TaxonomyOption, need_data_extra, printable, say
from vision.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from vision.data.fetching.downloads import Progress
    from vision.data.fetching.journal import Decision
    from vision.data.fetching.sources import ClassQuery, Site, SourcesFile
    from vision.data.fetching.web_client import PoliteClient

FILES_A_LINE = 100

SourcesArgument = Annotated[
    Path, typer.Argument(metavar="SOURCES", help="What to ask for: a file such as datasets/air_defence/sources.yaml.")
]
ContactOption = Annotated[
    str | None,
    typer.Option(
        "--contact",
        envvar="VISION_CONTACT",
        help="Your mail address or web page, sent to the sources, which ask for it. Default: `contact` in SOURCES.",
    ),
]
ClassOption = Annotated[
    list[str] | None, typer.Option("--class", metavar="CLASS", help="Only this class. May be repeated.")
]


def data_fetch(
    sources_path: SourcesArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    contact: ContactOption = None,
    class_ids: ClassOption = None,
    width: Annotated[
        int | None, typer.Option("--width", min=64, max=20_000, help="Let sources scale to this many px. See SOURCES.")
    ] = None,
    max_per_class: Annotated[
        int | None, typer.Option("--max-per-class", min=1, help="Most pictures of one class. See SOURCES.")
    ] = None,
    policy: Annotated[Policy, typer.Option("--policy", help="Licences to allow.")] = Policy.OPEN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask and count, download nothing.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask the sources anew instead of trusting answers for 7 days.")
    ] = False,
    taxonomy_path: TaxonomyOption = None,
) -> None:
    """Fetch openly licensed pictures of each class, with author, licence and source.

    Writes images/, manifest.csv, left_out.csv (each file that was not taken, with
    the reason), ATTRIBUTION.md and README.md into a folder. Kill it and run it
    again: nothing is fetched twice, and what you changed in manifest.csv stays.
    Exit code 1 if something failed that the next run will try again.

    Example: vision data fetch datasets/air_defence/sources.yaml -o data/air-defence --contact you@your.domain --dry-run
    """
    need_data_extra()
    from vision.data.fetching.fetch import FetchOptions, fetch
    from vision.data.fetching.sites import OpenSites
    from vision.data.fetching.sources import load_sources
    from vision.data.fetching.summary import dry_run_lines, summary_lines
    from vision.data.licences import LicencePolicy
    from vision.taxonomy import load_taxonomy

    taxonomy = load_taxonomy(taxonomy_path)
    sources_file = load_sources(sources_path, taxonomy)
    defaults = sources_file.sources.defaults
    options = FetchOptions(
        tuple(dict.fromkeys(class_ids or ())),
        LicencePolicy(policy.value),
        width or defaults.width,
        max_per_class or defaults.max_per_class,
        refresh=refresh,
        dry_run=dry_run,
    )
    num_queries = len(sources_file.queries_of(options.class_ids))
    named_contact = needed_contact(contact, sources_file)
    with (
        OpenSites(sources_file.sources, named_contact, options.width, told_client) as sites,
        _bars(num_queries) as progress,
    ):
        report = fetch(sources_file, output, options, sites, taxonomy, progress)
        warnings = sites.warnings
    for warning in warnings:
        say(f"warning: {warning}")
    for line in dry_run_lines(report) if dry_run else summary_lines(report):
        print(printable(line))
    if not report.is_complete:
        raise typer.Exit(1)


def needed_contact(contact: str | None, sources_file: SourcesFile) -> str:
    """The contact to send.

    Raises:
        UsageError: There is none.
    """
    named = contact or sources_file.sources.contact
    if not named:
        raise UsageError(
            f"{sources_file.path}: sources ask who fetches; give --contact with your mail address or web page, set "
            "VISION_CONTACT, or write `contact:` into the file"
        )
    return named


def told_client(contact: str, site: Site) -> PoliteClient:
    """A client that tells on stderr why it waits."""
    from vision.data.fetching.sites import polite_client

    return polite_client(contact, site, lambda wait_s, why: say(f"waiting {wait_s:.0f} s: {why}"))


class _Bars:
    """Two bars: queries that are asked, files that are fetched."""

    def __init__(self, bars: RichProgress, num_queries: int) -> None:
        self._bars = bars
        self._num_found = 0
        self._num_bytes = 0
        self._queries = bars.add_task("asking", total=num_queries, detail="")
        self._files = bars.add_task("fetching", total=None, visible=False, start=False, detail="")

    def asking(self, class_query: ClassQuery) -> None:
        text = f"{class_query.class_id}: {class_query.text}"
        self._bars.update(self._queries, advance=1, detail=printable(text)[:60])

    def found(self, num_pictures: int) -> None:
        self._num_found += num_pictures
        self._bars.update(self._queries, detail=f"{self._num_found} files")

    def fetching(self, num_pictures: int) -> None:
        self._bars.start_task(self._files)
        self._bars.update(self._files, total=num_pictures, visible=True)

    def fetched(self, decision: Decision) -> None:
        self._num_bytes += decision.size_bytes
        self._bars.update(self._files, advance=1, detail=f"{self._num_bytes / 1e6:,.1f} MB")


class ProgressLines:
    """The same where stderr is no terminal, such as in a log: a line for each class, and one for every 100 files."""

    def __init__(self) -> None:
        self._class_id = ""
        self._num_found = self._num_wanted = self._num_decided = self._num_bytes = 0

    def asking(self, class_query: ClassQuery) -> None:
        """A query goes out."""
        if class_query.class_id != self._class_id:
            self._class_id = class_query.class_id
            say(f"asking for {self._class_id}; {self._num_found} files found so far")

    def found(self, num_pictures: int) -> None:
        """So many more files were found."""
        self._num_found += num_pictures

    def fetching(self, num_pictures: int) -> None:
        """So many files are wanted."""
        self._num_wanted = num_pictures
        say(f"fetching {num_pictures} files")

    def fetched(self, decision: Decision) -> None:
        """One of them was decided on."""
        self._num_decided += 1
        self._num_bytes += decision.size_bytes
        if self._num_decided % FILES_A_LINE == 0:
            say(f"{self._num_decided} of {self._num_wanted} files, {self._num_bytes / 1e6:,.1f} MB")


@contextmanager
def _bars(num_queries: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    detail = TextColumn("{task.fields[detail]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), detail, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield _Bars(bars, num_queries)
