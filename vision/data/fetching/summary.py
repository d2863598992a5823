"""What a fetch did, in lines for a terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from vision.data.fetching.card import count_by_reason, count_refused_licences
from vision.data.fetching.fetch import FetchReport
from vision.data.fetching.journal import Decision, Outcome
from vision.data.fetching.sources import OPENVERSE
from vision.data.sharing.data_card import REFUSED_LICENCE

MOST_PROBLEMS = 50
MOST_LICENCES = 20


def summary_lines(report: FetchReport) -> list[str]:
    """What was taken and left out, class by class; classes with nothing and queries without an answer are named."""
    lines = list(aligned([("class", "there", "new", "left out"), *_class_rows(report)]))
    lines += ["", *_reason_lines(report), *_merge_lines(report)]
    return [*lines, *problem_lines(report)]


def dry_run_lines(report: FetchReport) -> list[str]:
    """What a fetch would take: pictures by class and licence, bytes, and what it would leave out."""
    wanted = report.choice.wanted
    by_licence = Counter(candidate.picture.licence for candidate in wanted)
    kinds = sorted({_kind_of_licence(licence) for licence in by_licence})
    counts = Counter((candidate.class_id, _kind_of_licence(candidate.picture.licence)) for candidate in wanted)
    rows = [
        (class_id, *_numbers(report, class_id), *(str(counts[class_id, kind] or "") for kind in kinds))
        for class_id in report.class_ids
    ]
    lines = list(aligned([("class", "there", "to fetch", "left out", *kinds), *rows]))
    lines += ["", *(f"{licence}: {count}" for licence, count in sorted(by_licence.items()))]
    num_bytes = sum(candidate.picture.size_bytes or 0 for candidate in wanted)
    num_scaled = sum(bool(candidate.picture.changes) for candidate in wanted)
    most = "at most " if num_scaled else ""
    told = f"; {num_scaled} come scaled, and smaller than the originals counted here" if num_scaled else ""
    lines += ["", f"to fetch: {len(wanted)} pictures, {most}{megabytes(num_bytes)}{told}; nothing was downloaded"]
    return [*lines, *_reason_lines(report), *problem_lines(report)]


def problem_lines(report: FetchReport) -> list[str]:
    """Classes with nothing, queries that lead nowhere, and whatever is to be tried again."""
    fetched = Counter(candidate.class_id for candidate in report.choice.wanted) if report.merged is None else Counter()
    empty = [c for c in report.class_ids if not report.num_by_class.get(c) and not fetched[c]]
    lines = [f"no pictures: {', '.join(empty)}"] if empty else []
    problems = [
        f"{query.place}: {problem}" for query, found in report.found.lists.items() for problem in found.problems
    ]
    lines += problems[:MOST_PROBLEMS]
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"... and {len(problems) - MOST_PROBLEMS} more queries or files that lead nowhere")
    lines += _silent_wikis(report)
    for message, queries in _by_message(report).items():
        lines.append(f"no answer to {len(queries)} queries of {', '.join(dict.fromkeys(queries))}: {message}")
    if report.num_refused:
        lines.append(
            f"{report.num_refused} pictures were taken under another policy, and this one refuses their licence: "
            "`vision data check` names them; remove their rows from the manifest"
        )
    lines += [f"{host}: given up for this run: {message}" for host, message in report.down.items()]
    failed = [decision for decision in report.fetched if decision.outcome is Outcome.FAILED]
    if failed or report.found.unanswered:
        lines.append(f"{len(failed)} files failed; run the same command again to try what is missing")
    return lines


def megabytes(num_bytes: int) -> str:
    """Bytes in MB (1,000,000 bytes), small numbers in kB."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1_000_000 else f"{num_bytes / 1e3:,.0f} kB"


def aligned(rows: Sequence[Sequence[str]], num_right: int | None = None) -> Iterator[str]:
    """Rows as lines of columns.

    Args:
        rows: Of equal length.
        num_right: The first so many columns stand to the right, the others to the left; None: all but the first to the
            right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if (column > 0 if num_right is None else column < num_right) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _kind_of_licence(licence: str) -> str:
    """A licence without its version, so that the table stays narrow: `CC-BY-SA` for `CC-BY-SA-3.0-DE`."""
    return re.sub(r"-\d\.\d\S*", "", licence)


def _class_rows(report: FetchReport) -> list[tuple[str, ...]]:
    new = Counter(decision.class_id for decision in report.fetched if decision.outcome is Outcome.TAKEN)
    left_out = Counter(decision.class_id for decision in report.left_out)
    return [
        (c, str(report.num_by_class.get(c, 0)), str(new[c] or ""), str(left_out[c] or "")) for c in report.class_ids
    ]


def _numbers(report: FetchReport, class_id: str) -> tuple[str, str, str]:
    wanted = sum(candidate.class_id == class_id for candidate in report.choice.wanted)
    left_out = sum(decision.class_id == class_id for decision in report.left_out)
    return str(report.num_by_class.get(class_id, 0)), str(wanted), str(left_out or "")


def _reason_lines(report: FetchReport) -> Iterator[str]:
    shown: list[Decision] = [decision for decision in report.left_out if decision.class_id in report.class_ids]
    for kind, by_class in count_by_reason(shown):
        classes = ", ".join(f"{class_id} {count}" for class_id, count in by_class.most_common(8))
        more = f" and {len(by_class) - 8} more classes" if len(by_class) > 8 else ""
        yield f"left out, {kind}: {by_class.total()} ({classes}{more})"
        if kind == REFUSED_LICENCE:
            licences = count_refused_licences(shown).most_common(MOST_LICENCES)
            yield "  of these: " + ", ".join(f"{licence} {count}" for licence, count in licences)


def _merge_lines(report: FetchReport) -> Iterator[str]:
    merged = report.merged
    if merged is None:
        return
    num_bytes = sum(decision.size_bytes for decision in report.fetched)
    yield (
        f"{merged.manifest.path}: {len(merged.manifest.table)} pictures, {merged.num_new} new, "
        f"{megabytes(num_bytes)} fetched"
    )
    if merged.num_changed:
        yield f"kept as they stand: {merged.num_changed} rows that were changed since they were fetched"
    if merged.num_own:
        yield f"kept as they stand: {merged.num_own} rows that no fetch made"
    if report.is_card_kept:
        yield "kept as it stands: README.md, which was changed since it was written"
    if report.num_removed:
        yield f"left out still: {report.num_removed} pictures whose rows were removed from the manifest"


def _silent_wikis(report: FetchReport) -> Iterator[str]:
    """Wikis that state a licence for none of their files, as one without CommonsMetadata does."""
    choice = report.choice
    pictures = [c.picture for c in choice.wanted] + [d.picture for d in (*choice.had, *choice.left_out)]
    sources = Counter(picture.source for picture in pictures)
    silent = Counter(picture.source for picture in pictures if picture.states_no_licence)
    for source, count in silent.items():
        if count == sources[source] and source != OPENVERSE:
            yield (
                f"{source}: not one of its {count} files states a licence, as in a wiki without the extension "
                f"CommonsMetadata; if one licence holds for all of them, write it into SOURCES as `licence` (and "
                f"`author`) under wikis: {source}:"
            )


def _by_message(report: FetchReport) -> dict[str, list[str]]:
    by_message: dict[str, list[str]] = {}
    for query, message in report.found.unanswered.items():
        by_message.setdefault(message, []).append(query.class_id)
    return by_message
