"""The card of a data set: README.md, with the front matter that Hugging Face reads.

What the program writes stands between two marks with a digest of it, so that a person's text around it is kept when the
card is written again, and a person's change within it is noticed.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import yaml

from vision.data.fetching.journal import JOURNAL_NAME, LineFile
from vision.data.manifest import COLUMNS, DOMINANT_SHARE, SPLITS, Manifest, divided_groups
from vision.data.sharing.attribution import escaped_markdown
from vision.data.sharing.croissant import CROISSANT_FILE, picture_places
from vision.data.sharing.data_set_facts import DataSetFacts, citation
from vision.data.sharing.licence_duties import (
    NO_LEGAL_ADVICE,
    DutySummary,
    duty_lines,
    share_alike_paragraphs,
    summarise_duties,
)
from vision.data.statistics.findings import groups_in_several_splits
from vision.errors import OutputError
from vision.taxonomy import Taxonomy

CARD_FILE, ATTRIBUTION_FILE, FETCHED_FILE, LEFT_OUT_FILE = "README.md", "ATTRIBUTION.md", JOURNAL_NAME, "left_out.csv"
REFUSED_LICENCE = "licence"
"""In the column `kind` of `left_out.csv`: it was the licence that kept a file out."""
FEW_GROUPS = 5
"""With fewer groups in a class, folds and splits cannot show how it does on pictures of others."""
MOST_LISTED = 10

OVERWRITTEN_BY_FETCH = "fetched by `vision data fetch`, which overwrites this page"
"""What stands in a card that nobody's edits can be in."""

_HUGGING_FACE_LICENCES = frozenset(
    ("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0")
)
"""Those of huggingface.co/docs/hub/repositories-licenses; the others of the policy `open` are `other` there."""

_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (1e7, "1M<n<10M"))
_END = "<!-- End of what `vision data card` writes. -->"
_PART = re.compile(
    r"<!-- Written by `vision data card`, digest (?P<digest>[0-9a-f]{12})\. Write outside of this part\. -->\n"
    rf"(?P<text>.*?){re.escape(_END)}",
    re.DOTALL,
)


@dataclass(frozen=True)
class ClassFigures:
    """One class of a data set.

    Attributes:
        class_id: Its id.
        by_split: Pictures of each split; an empty name for none.
        num_pictures: All.
        num_groups: Groups; a picture without one is a group of its own.
        num_authors: Authors that are stated.
        top_author: Who took most of them, and the share in [0, 1]; None if no author is stated.
    """

    class_id: str
    by_split: dict[str, int]
    num_pictures: int
    num_groups: int
    num_authors: int
    top_author: tuple[str, float] | None


def render_data_card(manifest: Manifest, taxonomy: Taxonomy, facts: DataSetFacts) -> str:
    """The card of a data set as Markdown, whole."""
    summary = summarise_duties(manifest.table)
    head = f"{front_matter(facts.name, summary)}\n# {escaped_markdown(facts.name)}\n\n{facts.description}\n\n"
    # What options say stands outside of the written part, so that it stays when that is renewed without them.
    foot = "\n".join(["## How to cite", "", *_citing(facts)])
    return f"{head}{_marked(_written_part(manifest, taxonomy, summary))}\n\n{foot}\n"


def renewed_card(path: Path, card: str, *, overwrite: bool) -> str:
    """What to write at a path: the new card, or the one that is there with its written part renewed.

    Raises:
        OutputError: A card is there that the program did not write, or a person changed its written part.
    """
    if overwrite or not path.exists():
        return card
    try:
        there = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: cannot be read as UTF-8 ({error}); use --overwrite, or another --output") from error
    found, new = _PART.search(there), _PART.search(card)
    assert new is not None, "a card has its marks"
    if is_of_fetch(there):
        return card
    if found is None:
        raise OutputError(f"{path}: not a card of `vision data card`; use --overwrite, or another file with --output")
    if _digest(found["text"]) != found["digest"]:
        raise OutputError(
            f"{path}: what `vision data card` wrote was edited, which would be lost; move the edits before or after "
            "the two marks, or use --overwrite"
        )
    return there[: found.start()] + new[0] + there[found.end() :]


def is_of_fetch(card: str) -> bool:
    """Whether a card is one that `vision data fetch` wrote and would overwrite."""
    return OVERWRITTEN_BY_FETCH in card and _PART.search(card) is None


def stale_keys(path: Path, card: str) -> list[str]:
    """Keys of the front matter at a path that say something else of licences or size than a new card would."""
    kept, new = (_front_matter_of(text) for text in (path.read_text(encoding="utf-8", errors="replace"), card))
    return [key for key in ("license", "size_categories") if kept.get(key) != new.get(key)]


def front_matter(name: str, summary: DutySummary) -> str:
    """The YAML that Hugging Face reads; licences that it has no name for are `other`, told in ATTRIBUTION.md."""
    ids = {each.licence.lower() for each in summary.licences}
    known = sorted(ids & _HUGGING_FACE_LICENCES)
    values: dict[str, object] = {"license": [*known, *(["other"] if ids - _HUGGING_FACE_LICENCES else [])]}
    if ids - _HUGGING_FACE_LICENCES:
        values |= {"license_name": "one-per-picture", "license_link": ATTRIBUTION_FILE}
    size = next((text for bound, text in _SIZES if summary.num_pictures < bound), "10M<n<100M")
    values |= {"task_categories": ["image-classification"], "size_categories": [size], "pretty_name": name}
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n"


def class_figures(table: pl.DataFrame, taxonomy: Taxonomy) -> list[ClassFigures]:
    """Figures of every class, in the order of the taxonomy."""
    labelled = table.filter(pl.col("label").is_not_null())
    sizes = labelled.group_by("label", pl.col("split").fill_null("")).len()
    numbers = labelled.group_by("label").agg(
        pl.len().alias("pictures"),
        (pl.col("group").drop_nulls().n_unique() + pl.col("group").null_count()).alias("groups"),
        pl.col("author").drop_nulls().n_unique().alias("authors"),
    )
    authors = labelled.filter(pl.col("author").is_not_null()).group_by("label", "author").len()
    ranked = authors.sort("len", "author", descending=[True, False]).group_by("label", maintain_order=True).first()
    top = {label: (author, count) for label, author, count in ranked.select("label", "author", "len").iter_rows()}
    by_split: dict[str, dict[str, int]] = {}
    for label, split, count in sizes.iter_rows():
        by_split.setdefault(label, {})[split] = count
    rows = {row[0]: row[1:] for row in numbers.iter_rows()}
    return [
        ClassFigures(
            class_id,
            by_split[class_id],
            num_pictures=rows[class_id][0],
            num_groups=rows[class_id][1],
            num_authors=rows[class_id][2],
            top_author=(top[class_id][0], top[class_id][1] / rows[class_id][0]) if class_id in top else None,
        )
        for class_id in taxonomy.in_order(rows)
    ]


def known_limits(manifest: Manifest, classes: list[ClassFigures], summary: DutySummary) -> list[str]:
    """What a user of the data set should know before trusting a figure made with it."""
    table = manifest.table
    limits = []
    few = [f"{each.class_id} ({each.num_groups})" for each in classes if each.num_groups < FEW_GROUPS]
    if few:
        limits.append(f"Fewer than {FEW_GROUPS} groups, too few to judge by: {', '.join(few)}.")
    for each in classes:
        author, share = each.top_author or ("", 0.0)
        if share > DOMINANT_SHARE:
            who = escaped_markdown(author)
            limits.append(f"{share:.0%} of {each.class_id} is by one author, {who}: a model may learn the manner.")
    num_divided = len(divided_groups(table))
    if num_divided:
        limits.append(
            f"{groups_in_several_splits(num_divided)}, with pictures of one vehicle or event on both sides of a test: "
            "a figure on its splits is flattered."
        )
    without_group = table["group"].null_count()
    if without_group:
        limits.append(
            f"{without_group} of {len(table)} pictures have no group; pictures of one vehicle or event among them may "
            "stand in two splits."
        )
    if table["split"].null_count() == len(table):
        limits.append("It has no splits: results are to be had out of fold, by groups.")
    limits.append("Near duplicates were not looked for by this card; `vision data duplicates` finds them.")
    if summary.num_unknown:
        limits.append(f"{summary.num_unknown} pictures have no licence that is known here; they may not be passed on.")
    limits.append("Licences are those that the sources state; whether the uploader held the rights was not checked.")
    return limits


def fetched_lines(manifest: Manifest) -> list[str]:
    """From which queries the manifest's pictures were fetched and when, as `vision data fetch` recorded it.

    None without a record. Keys that a line lacks are passed over: the record is another command's.
    """
    named = set(manifest.file_names)
    rows = {row["path"]: row for row in LineFile(manifest.folder / FETCHED_FILE).read() if row.get("path") in named}
    queries = Counter(f"{(row.get('picture') or {}).get('source', '')} {row.get('query', '')}" for row in rows.values())
    days = {str(row["at"])[:10] for row in rows.values() if row.get("at")}
    lines = [f"- {escaped_markdown(query)}: {count}" for query, count in queries.most_common(MOST_LISTED)]
    if len(queries) > MOST_LISTED:
        lines.append(f"- {len(queries) - MOST_LISTED} more queries")
    return [*lines, *([f"- between {min(days)} and {max(days)}"] if days else [])]


def told_licence(licence: str, stated: str) -> str:
    """A licence as it is counted: its id; of one that is not known what its source calls it; else that it is none."""
    if licence not in ("", "unknown"):
        return licence
    return f'"{stated}"' if stated else "not stated"


def refused_licence_lines(counts: Counter[str]) -> list[str]:
    """Which licences kept files out, as a paragraph of its own; nothing without any."""
    told = (f"{escaped_markdown(licence)} {count}" for licence, count in counts.most_common(MOST_LISTED))
    return ["", f"Licences that kept files out: {', '.join(told)}."] if counts else []


def left_out_lines(manifest: Manifest) -> list[str]:
    """What `vision data fetch` or `import` left out, and what a review dropped, as the tables beside the manifest say.

    None without such tables; what is there and cannot be read as one of them is passed over.
    """
    return [*_left_out_on_the_way(manifest.folder / LEFT_OUT_FILE), *_dropped_in_review(manifest.path)]


def _left_out_on_the_way(path: Path) -> list[str]:
    table = _table_of_texts(path)
    if not len(table):
        return []
    files = f"{len(table)} files or boxes; each with its reason in `{LEFT_OUT_FILE}`."
    if not {"class_id", "kind", "licence", "licence_stated"} <= set(table.columns):
        return [files]
    by_kind: dict[str, Counter[str]] = {}
    licences: Counter[str] = Counter()
    for class_id, kind, licence, stated in table.select("class_id", "kind", "licence", "licence_stated").iter_rows():
        by_kind.setdefault(kind or "", Counter())[class_id or ""] += 1
        if kind == REFUSED_LICENCE:
            licences[told_licence(licence or "", stated or "")] += 1
    lines = [files, "", "| why | files | of classes |", "|---|---:|---|"]
    for kind, by_class in sorted(by_kind.items(), key=lambda item: (-item[1].total(), item[0])):
        classes = ", ".join(f"{escaped_markdown(class_id)} {count}" for class_id, count in by_class.most_common())
        lines.append(f"| {escaped_markdown(kind)} | {by_class.total()} | {classes} |")
    return [*lines, *refused_licence_lines(licences)]


def _dropped_in_review(manifest_path: Path) -> list[str]:
    path = manifest_path.with_name(f"{manifest_path.stem}-dropped.csv")
    table = _table_of_texts(path)
    if not len(table) or "dropped_because" not in table.columns:
        return []
    reasons = Counter(table["dropped_because"].fill_null("no reason stated")).most_common()
    told = ", ".join(f"{escaped_markdown(reason)} {count}" for reason, count in reasons)
    return ["", f"A review dropped {len(table)} pictures, named in `{path.name}`: {told}."]


def _table_of_texts(path: Path) -> pl.DataFrame:
    """A CSV's rows; none if it is not there or is no CSV."""
    try:
        return pl.read_csv(path, infer_schema=False) if path.is_file() else pl.DataFrame()
    except pl.exceptions.PolarsError:
        return pl.DataFrame()


def _written_part(manifest: Manifest, taxonomy: Taxonomy, summary: DutySummary) -> str:
    classes = class_figures(manifest.table, taxonomy)
    sections = [
        ("In figures", [*_figures(manifest.table, classes), "", *_class_table(classes, taxonomy)]),
        ("Licences and what they ask", _licences(summary)),
        ("How it was made", _origin(manifest)),
        *([("What was left out", left_out)] if (left_out := left_out_lines(manifest)) else []),
        ("Known limits", [f"- {limit}" for limit in known_limits(manifest, classes, summary)]),
        ("Files", _files(manifest)),
    ]
    return "\n\n".join(f"## {heading}\n\n" + "\n".join(lines) for heading, lines in sections) + "\n"


def _figures(table: pl.DataFrame, classes: list[ClassFigures]) -> list[str]:
    num_groups = table["group"].drop_nulls().n_unique() + table["group"].null_count()
    num_authors = table["author"].drop_nulls().n_unique()
    without = table["author"].null_count()
    return [
        f"{len(table)} pictures of {len(classes)} classes, in {num_groups} groups (pictures of one vehicle, event or "
        f"photographer), by {num_authors} authors" + (f"; of {without} the author is not stated." if without else ".")
    ]


def _class_table(classes: list[ClassFigures], taxonomy: Taxonomy) -> Iterator[str]:
    there = {split for each in classes for split in each.by_split}
    splits = [split for split in (*SPLITS, "") if split in there]
    splits += sorted(there - set(splits))
    heads = [split or "no split" for split in splits] if splits != [""] else []
    yield f"| class | name | pictures | {''.join(f'{head} | ' for head in heads)}groups | authors |"
    yield "|---|---|" + "---:|" * (3 + len(heads))
    for each in classes:
        counts = "".join(f"{each.by_split.get(split, 0)} | " for split in splits) if heads else ""
        name = escaped_markdown(taxonomy.name(each.class_id))
        yield f"| {each.class_id} | {name} | {each.num_pictures} | {counts}{each.num_groups} | {each.num_authors} |"


def _licences(summary: DutySummary) -> Iterator[str]:
    yield "Whoever passes pictures on has to do this, for so many of them:"
    yield ""
    yield from duty_lines(summary)
    yield ""
    yield "| licence | pictures | where it says so |"
    yield "|---|---:|---|"
    for each in summary.licences:
        where = "not known here" if each.parts is None else "; ".join(part.source for part in each.parts)
        yield f"| {escaped_markdown(each.licence)} | {each.num_pictures} | {where} |"
    for paragraph in share_alike_paragraphs(summary):
        yield ""
        yield paragraph
    yield ""
    yield f"Authors, titles, sources and changes of every picture: {ATTRIBUTION_FILE}. {NO_LEGAL_ADVICE}"


def _origin(manifest: Manifest) -> Iterator[str]:
    hosts = manifest.table["source_url"].str.extract(r"^https?://(?:[^/@\s]*@)?([^/:\s?#]+)").drop_nulls()
    if len(hosts):
        counted = hosts.value_counts().sort("count", hosts.name, descending=[True, False])
        yield "Pages that pictures come from:"
        yield ""
        yield from (f"- {escaped_markdown(host)}: {count}" for host, count in counted.head(MOST_LISTED).iter_rows())
        if len(counted) > MOST_LISTED:
            yield f"- {len(counted) - MOST_LISTED} more sites"
    else:
        yield "No source pages are stated."
    fetched = fetched_lines(manifest)
    if fetched:
        yield from ("", "Fetched by `vision data fetch`, pictures by query:", "", *fetched)
    changed = len(manifest.table) - manifest.table["changes"].null_count()
    if changed:
        yield from ("", f"{changed} pictures were changed; what was done stands in the column `changes`.")


def _citing(facts: DataSetFacts) -> list[str]:
    told = f"This cites the collection; each picture's author is credited by {ATTRIBUTION_FILE}."
    return ["```bibtex", citation(facts), "```", "", told]


def _files(manifest: Manifest) -> Iterator[str]:
    table = manifest.table
    columns = [name for name in table.columns if table[name].null_count() < len(table)]
    slices = [name for name in columns if name not in COLUMNS]
    told = f"; columns to tell results apart by: {', '.join(map(escaped_markdown, slices))}" if slices else ""
    yield f"- `{manifest.path.name}`: one row per picture{told}"
    places = picture_places(table["file_name"]).group_by("folder").agg(pl.col("count").sum())
    ranked = places.sort("count", "folder", descending=[True, False])
    yield from (f"- `{folder or '.'}/`: {count} pictures" for folder, count in ranked.head(MOST_LISTED).iter_rows())
    if len(ranked) > MOST_LISTED:
        yield f"- {len(ranked) - MOST_LISTED} more folders of pictures"
    known = {
        ATTRIBUTION_FILE: "who made each picture, and under which licence",
        CROISSANT_FILE: "the data set described for machines, in Croissant 1.1",
        FETCHED_FILE: "what was fetched, from where, when",
    }
    yield from (f"- `{name}`: {what}" for name, what in known.items() if (manifest.folder / name).is_file())


def _front_matter_of(card: str) -> dict[str, object]:
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    try:
        values = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}


def _marked(text: str) -> str:
    first = f"<!-- Written by `vision data card`, digest {_digest(text)}. Write outside of this part. -->"
    return f"{first}\n{text}{_END}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]
