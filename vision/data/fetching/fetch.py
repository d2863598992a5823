"""Fetching the pictures that sources.yaml names into a folder: ask, choose, download, write what came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.data.fetching.card import write_card, write_left_out
from vision.data.fetching.choice import Candidate, Choice, Limits, choose
from vision.data.fetching.downloads import Downloads, Progress, remove_empty_incoming, remove_parts
from vision.data.fetching.journal import JOURNAL_NAME, Decision, Journal, Outcome, folder_lock
from vision.data.fetching.lists import LISTS_NAME, Found, KeptLists, find_all
from vision.data.fetching.merging import MANIFEST_NAME, Merged, existing_manifest, merged_manifest, removed_paths
from vision.data.fetching.sites import OpenSites
from vision.data.fetching.sources import ClassQuery, SourcesFile
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.manifest import save_manifest
from vision.errors import FetchError, OutputError
from vision.taxonomy import Taxonomy


@dataclass(frozen=True)
class FetchOptions:
    """What a user chooses for one run.

    Attributes:
        class_ids: Only these; all if empty.
        policy: Which licences are allowed; `unknown` never is.
        width: px that sources scale to; None for originals.
        max_per_class: Most pictures of one class.
        refresh: Ask the sources anew, and try again what was unusable.
        dry_run: Download nothing.
    """

    class_ids: tuple[str, ...]
    policy: LicencePolicy
    width: int | None
    max_per_class: int
    refresh: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class FetchReport:
    """What a run found and did.

    Attributes:
        class_ids: Classes that were fetched, in order.
        found: Answers to the queries.
        choice: What was wanted, and what was left out before any download.
        fetched: What became of what was wanted; empty in a dry run.
        left_out: All that is not taken now, of all classes.
        merged: The manifest as written; None in a dry run.
        num_removed: Pictures that the user took out of the manifest; they stay out.
        num_by_class: Pictures that each class has in `images/`.
        is_card_kept: Whether README.md is someone's own and was left as it is.
        down: Hosts or sources that were given up, and why.
        num_refused: Pictures taken earlier, under another policy, whose licence this run's policy refuses.
    """

    class_ids: tuple[str, ...]
    found: Found
    choice: Choice
    fetched: tuple[Decision, ...]
    left_out: tuple[Decision, ...]
    merged: Merged | None
    num_removed: int
    num_by_class: Mapping[str, int]
    is_card_kept: bool
    down: Mapping[str, str]
    num_refused: int

    @property
    def is_complete(self) -> bool:
        """Whether every query was answered and every wanted file decided on."""
        return (
            not self.found.unanswered and not self.down and all(d.outcome is not Outcome.FAILED for d in self.fetched)
        )


def fetch(
    sources_file: SourcesFile,
    folder: Path,
    options: FetchOptions,
    sites: OpenSites,
    taxonomy: Taxonomy,
    progress: Progress,
) -> FetchReport:
    """Fetch what a sources.yaml names into a folder.

    Raises:
        OutputError: The folder is another data set's, or another run's, or cannot be written to.
        ConfigError: A class of the options has no queries.
        FetchError: No source could be asked, and nothing was known from earlier.
        ManifestError: The manifest in the folder cannot be read.
    """
    queries = sources_file.queries_of(options.class_ids)
    _check_is_ours(folder)
    with folder_lock(folder):
        return _Run(sources_file, folder, options, sites, taxonomy, progress).run(queries)


@dataclass
class _Run:
    sources_file: SourcesFile
    folder: Path
    options: FetchOptions
    sites: OpenSites
    taxonomy: Taxonomy
    progress: Progress

    def __post_init__(self) -> None:
        defaults = self.sources_file.sources.defaults
        self.limits = Limits(
            self.options.policy,
            self.options.max_per_class,
            defaults.min_side_px,
            defaults.max_file_mb * 1_000_000,
            self.sites.check_address,
        )
        self.is_card_kept = False
        self.asked: set[str] = set()
        """Classes whose queries were all answered."""
        self.journal = Journal(self.folder)
        existing = existing_manifest(self.folder)
        if existing is not None and not self.options.dry_run:
            taken = {decision.path for decision in self.journal.taken()}
            self.journal.record_listed(taken & set(existing.file_names))
        self.removed = removed_paths(existing, self.journal.listed)

    def run(self, queries: Sequence[ClassQuery]) -> FetchReport:
        kept = KeptLists(self.folder, self.options.width, self.sites.addresses, refresh=self.options.refresh)
        found = find_all(queries, kept, self.sites.source, self.progress.asking, self.progress.found)
        if not found.lists and found.unanswered:
            raise FetchError("\n".join(dict.fromkeys(found.unanswered.values())))
        class_ids = tuple(dict.fromkeys(query.class_id for query in queries))
        choice = self._choose(found, kept, class_ids)
        if self.options.dry_run:
            return self._report(class_ids, found, choice, (), None, {})
        self.journal.record(*choice.left_out)
        remove_parts(self.folder)
        self.asked = set(class_ids) - {query.class_id for query in found.unanswered}
        downloads = Downloads(self.folder, self.journal, self.sites.client, self.limits, self.progress)
        fetched: list[Decision] = []
        try:
            fetched += downloads.run(choice.wanted)
        finally:  # also when interrupted: the manifest then has what there is
            merged = self._write(choice)
        remove_empty_incoming(self.folder)
        return self._report(class_ids, found, choice, tuple(fetched), merged, downloads.down)

    def _choose(self, found: Found, kept: KeptLists, class_ids: Collection[str]) -> Choice:
        """What to do with the pictures of some classes; what is known of the others only tells which are of both."""
        others = {q: kept.find(q, at_any_age=True) for q in self.sources_file.queries if q.class_id not in class_ids}
        lists = {**found.lists, **{query: answer for query, answer in others.items() if answer is not None}}
        candidates = [
            Candidate(query.class_id, query, self.sites.completed(picture))
            for query in self.sources_file.queries
            if query in lists
            for picture in lists[query].pictures
        ]
        choice = choose(candidates, self.limits, self.taxonomy, self._known(), self.removed)
        return Choice(
            tuple(candidate for candidate in choice.wanted if candidate.class_id in class_ids),
            tuple(decision for decision in choice.had if decision.class_id in class_ids),
            tuple(decision for decision in choice.left_out if decision.class_id in class_ids),
        )

    def _known(self) -> dict[tuple[str, str], Decision]:
        """Decisions that still hold: a file that is gone, though its row stands, is fetched again."""
        return {
            key: decision
            for key, decision in self.journal.decisions.items()
            if not self._is_lost(decision) and not (self.options.refresh and decision.outcome is Outcome.UNUSABLE)
        }

    def _is_lost(self, decision: Decision) -> bool:
        is_taken = decision.outcome is Outcome.TAKEN and decision.path not in self.removed
        return is_taken and not (self.folder / decision.path).exists()

    def _taken(self) -> list[Decision]:
        return [decision for decision in self.journal.taken() if not self._is_lost(decision)]

    def _left_out(self, choice: Choice) -> list[Decision]:
        """What is not taken now: of classes that were asked for by their answers, of others by the journal."""
        current = {c.key for c in choice.wanted} | {d.key for d in (*choice.had, *choice.left_out)}
        return [
            decision
            for decision in self.journal.decisions.values()
            if decision.outcome is not Outcome.TAKEN
            and (decision.class_id not in self.asked or decision.key in current)
        ]

    def _write(self, choice: Choice) -> Merged:
        merged = merged_manifest(self.folder, existing_manifest(self.folder), self._taken(), self.removed)
        left_out = self._left_out(choice)
        save_manifest(merged.manifest, self.folder / MANIFEST_NAME)
        self.journal.record_listed(decision.path for decision in self._taken() if decision.path not in self.removed)
        write_left_out(self.folder, left_out)
        self.is_card_kept = not write_card(
            self.folder, merged.manifest.table, left_out, list(self.sources_file.sources.classes)
        )
        return merged

    def _report(
        self,
        class_ids: tuple[str, ...],
        found: Found,
        choice: Choice,
        fetched: tuple[Decision, ...],
        merged: Merged | None,
        down: Mapping[str, str],
    ) -> FetchReport:
        left_out = choice.left_out if self.options.dry_run else tuple(self._left_out(choice))
        present = [decision for decision in self._taken() if decision.path not in self.removed]
        refusals = [licence_refusal(decision.picture.licence, self.options.policy) for decision in present]
        return FetchReport(
            class_ids,
            found,
            choice,
            fetched,
            left_out,
            merged,
            len(self.removed),
            Counter(decision.class_id for decision in present),
            self.is_card_kept,
            down,
            sum(refusal is not None for refusal in refusals),
        )


def _check_is_ours(folder: Path) -> None:
    """Make sure that fetching into a folder overwrites nobody's manifest or card.

    Raises:
        OutputError: It would.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file, not a folder; choose another place")
    if any((folder / name).exists() for name in (JOURNAL_NAME, LISTS_NAME)):
        return
    for name in (MANIFEST_NAME, "README.md", "ATTRIBUTION.md"):
        if (folder / name).exists():
            raise OutputError(f"{folder / name}: not made by `vision data fetch`; give an empty folder, or one it made")
