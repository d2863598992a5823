"""The pages and tables that lie beside a fetched data set: what was left out, who made what, and the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from vision.data.fetching.journal import Decision, Outcome
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.sharing.attribution import escaped_markdown, render_attribution
from vision.data.sharing.data_card import (
    LEFT_OUT_FILE,
    OVERWRITTEN_BY_FETCH,
    REFUSED_LICENCE,
    refused_licence_lines,
    told_licence,
)
from vision.data.sharing.licence_duties import NO_LEGAL_ADVICE, duty_lines, share_alike_paragraphs, summarise_duties
from vision.files import whole_file, write_whole_text

LEFT_OUT_NAME = LEFT_OUT_FILE
_LEFT_OUT_COLUMNS = (
    "class_id",
    "outcome",
    "kind",
    "reason",
    "title",
    "source_url",
    "licence",
    "licence_stated",
    "author",
    "source",
    "query",
)


def write_left_out(folder: Path, left_out: Sequence[Decision]) -> None:
    """Write `left_out.csv`: one row for each file that was not taken, with the reason."""
    rows = [
        (
            decision.class_id,
            decision.outcome.value,
            decision.kind,
            decision.reason,
            decision.picture.title,
            decision.picture.page_url,
            decision.picture.licence,
            decision.picture.licence_stated,
            decision.picture.author,
            decision.picture.source,
            decision.query,
        )
        for decision in left_out
    ]
    table = pl.DataFrame(rows, schema=dict.fromkeys(_LEFT_OUT_COLUMNS, pl.String), orient="row")
    with whole_file(folder / LEFT_OUT_NAME) as temporary:
        table.write_csv(temporary)


def write_card(folder: Path, table: pl.DataFrame, left_out: Sequence[Decision], class_ids: Sequence[str]) -> bool:
    """Write `README.md` and `ATTRIBUTION.md`; a card that someone, or `vision data card`, has rewritten is kept.

    Args:
        folder: Of the data set.
        table: Of its manifest.
        left_out: What was not taken.
        class_ids: Classes that were looked for, in order.

    Returns:
        Whether the card was written.
    """
    name = folder.resolve().name
    write_whole_text(folder / "ATTRIBUTION.md", render_attribution(table, heading=f"Pictures of {name}"))
    card_path = folder / "README.md"
    if card_path.exists() and OVERWRITTEN_BY_FETCH not in card_path.read_text(encoding="utf-8", errors="replace"):
        return False
    write_whole_text(card_path, render_card(name, table, left_out, class_ids))
    return True


def render_card(name: str, table: pl.DataFrame, left_out: Sequence[Decision], class_ids: Sequence[str]) -> str:
    """The data set's card as Markdown."""
    duties = summarise_duties(table)
    lines = [
        f"# {escaped_markdown(name)}",
        "",
        f"{len(table)} pictures, {OVERWRITTEN_BY_FETCH}. The class of each is what",
        "its category, search or title says: no one has looked at it yet, unless the manifest was changed since",
        "(`vision data review`).",
        "",
        "## Pictures by class and licence",
        "",
        *_class_table(table, class_ids),
        "",
        *_refused_lines(table),
        "## What passing them on asks",
        "",
        *duty_lines(duties),
        "",
        "[ATTRIBUTION.md](ATTRIBUTION.md) names title, author, source, licence and changes of every picture: it goes",
        f"with them. {NO_LEGAL_ADVICE}",
    ]
    for paragraph in share_alike_paragraphs(duties):
        lines += ["", paragraph]
    lines += ["", "## What was left out", "", *_left_out_table(left_out)]
    return "\n".join(lines) + "\n"


def count_by_reason(decisions: Sequence[Decision]) -> list[tuple[str, Counter[str]]]:
    """Reasons, most frequent first, each with its number by class."""
    by_reason: dict[str, Counter[str]] = {}
    for decision in decisions:
        kind = "failed: " + decision.kind if decision.outcome is Outcome.FAILED else decision.kind
        by_reason.setdefault(kind, Counter())[decision.class_id] += 1
    return sorted(by_reason.items(), key=lambda item: (-item[1].total(), item[0]))


def count_refused_licences(decisions: Sequence[Decision]) -> Counter[str]:
    """How many files each licence kept out; one that is not known in the source's words, between quotation marks."""
    pictures = [decision.picture for decision in decisions if decision.kind == REFUSED_LICENCE]
    return Counter(told_licence(picture.licence, picture.licence_stated) for picture in pictures)


def _class_table(table: pl.DataFrame, class_ids: Sequence[str]) -> list[str]:
    counts = Counter(table.select("label", pl.col("licence").fill_null("not stated")).iter_rows())
    licences = sorted({licence for _, licence in counts})
    labels = list(dict.fromkeys((*class_ids, *sorted({label for label, _ in counts}))))
    lines = [f"| class | all | {' | '.join(map(escaped_markdown, licences))} |", "|---|---|" + "---|" * len(licences)]
    for label in labels:
        numbers = [counts[label, licence] for licence in licences]
        cells = [str(number or "") for number in numbers]
        lines.append(f"| {escaped_markdown(label)} | {sum(numbers) or 'no images'} | {' | '.join(cells)} |")
    return lines


def _refused_lines(table: pl.DataFrame) -> list[str]:
    """What the policy `open` refuses, such as pictures that `--policy any` took."""
    num_refused = sum(licence_refusal(licence, LicencePolicy.OPEN) is not None for licence in table["licence"])
    if not num_refused:
        return []
    return [
        f"The policy `open` refuses the licences of {num_refused} of them, and `vision data check` names them: they",
        "are for measurements in private. To pass the others on, remove the rows of these from the manifest.",
        "",
    ]


def _left_out_table(left_out: Sequence[Decision]) -> list[str]:
    if not left_out:
        return ["Nothing."]
    lines = [f"{len(left_out)} files; each with its reason in [{LEFT_OUT_NAME}]({LEFT_OUT_NAME}).", ""]
    lines += ["| why | files | of classes |", "|---|---|---|"]
    for kind, by_class in count_by_reason(left_out):
        classes = ", ".join(f"{escaped_markdown(class_id)} {count}" for class_id, count in by_class.most_common())
        lines.append(f"| {escaped_markdown(kind)} | {by_class.total()} | {classes} |")
    return [*lines, *refused_licence_lines(count_refused_licences(left_out))]
