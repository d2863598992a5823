"""Who made the pictures, under which licence: the text that has to travel with them."""

from __future__ import annotations

import re

import polars as pl

from vision.data.sharing.licence_duties import NO_LEGAL_ADVICE, duty_lines, share_alike_paragraphs, summarise_duties


def render_attribution(table: pl.DataFrame, *, heading: str) -> str:
    """A Markdown page that names title, author, source, licence and changes of every picture.

    Args:
        table: Rows of a manifest.
        heading: First heading of the page.
    """
    counts = table.group_by(pl.col("licence").fill_null("licence not stated")).len().sort("licence")
    lines = [f"# {heading}", "", f"{len(table)} pictures.", ""]
    lines += [f"- {licence}: {count}" for licence, count in counts.iter_rows()]
    lines += _duties(table)
    lines += ["", "| file | work | author | licence | changes |", "|---|---|---|---|---|"]
    lines += [_attribution_row(row) for row in table.iter_rows(named=True)]
    return "\n".join(lines) + "\n"


def attribution_line(row: dict[str, str | None]) -> str:
    """`"title" by author (licence), source` in plain text, as far as the row says."""
    title = row.get("title") or row.get("file_name") or "untitled"
    author = row.get("author") or "author not stated"
    licence = row.get("licence") or "licence not stated"
    source = f", {row['source_url']}" if row.get("source_url") else ""
    return f'"{title}" by {author} ({licence}){source}'


def _duties(table: pl.DataFrame) -> list[str]:
    summary = summarise_duties(table)
    if not summary.num_pictures:
        return []
    lines = ["", "Whoever passes pictures on has to do this, for so many of them:", "", *duty_lines(summary)]
    for paragraph in share_alike_paragraphs(summary):
        lines += ["", paragraph]
    return [*lines, "", NO_LEGAL_ADVICE]


def _attribution_row(row: dict[str, str | None]) -> str:
    work = _link(row["title"] or row["file_name"] or "", row["source_url"])
    licence = _link(row["licence"] or "not stated", row["licence_url"])
    cells = (
        escaped_markdown(row["file_name"]),
        work,
        escaped_markdown(row["author"] or "not stated"),
        licence,
        escaped_markdown(row["changes"]),
    )
    return f"| {' | '.join(cells)} |"


def _link(text: str, url: str | None) -> str:
    if url is None or not re.fullmatch(r"https?://[^\s<>|]+", url):
        return escaped_markdown(text)
    return f"[{escaped_markdown(text)}](<{url}>)"


def escaped_markdown(text: str | None) -> str:
    """Text that Markdown shows as it is, on one line."""
    one_line = " ".join((text or "").split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line)
