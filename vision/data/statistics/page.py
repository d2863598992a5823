"""The page of `vision data stats --page`: all figures of a data set, and a contact sheet of every class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision.data.one_line import plain_line
from vision.data.statistics.contact_sheets import ShownPicture, Tile
from vision.data.statistics.figures import AgeStatistics, DataSetStatistics, LabelStatistics, SizeStatistics
from vision.data.statistics.findings import SPLIT_NAMES, findings, largest_labels, splits_that_occur
from vision.files import whole_file, write_whole_text
from vision.pages import PAGE_FILE, check_may_write_page, page_environment

THUMBNAILS_DIR = "thumbnails"

GENERATOR = "vision data stats"
"""Stands in the head of a page, so that the next one knows what it may replace."""

MAX_YEAR_BARS = 40
"""More years than this are put together by five, ten, twenty or fifty."""


_STEP_PX, _BAR_PX, _BASE_PX, _HIGHEST_PX = 42, 34, 156, 130


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Attributes:
        name: Stands below it.
        told: Its range in words.
        counts: Parts of the bar, from the bottom.
        is_marked: Whether it is drawn in the colour of what deserves a look.
    """

    name: str
    told: str
    counts: tuple[int, ...]
    is_marked: bool = False


@dataclass(frozen=True)
class DrawnBar:
    """A bar with its place in the drawing.

    Attributes:
        bar: What it shows.
        x: Left edge, px.
        y: Upper edge, px.
        parts: Number, upper edge and height in px of every part that is not empty.
    """

    bar: Bar
    x: int
    y: float
    parts: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class _Shown:
    """A tile on the page: `address` is its picture's, from the page's folder; empty if there is none."""

    picture: ShownPicture
    address: str
    fault: str


def write_statistics_page(
    statistics: DataSetStatistics,
    sheets: Mapping[str | None, Sequence[Tile]],
    folder: Path,
    *,
    on_progress: Callable[[], None] = lambda: None,
) -> Path:
    """Write `index.html` and the thumbnails beside it; the page's path.

    Args:
        statistics: The figures.
        sheets: Tiles of every label that has some.
        folder: Where they go; an earlier page there is replaced, with its thumbnails.
        on_progress: Called after each thumbnail.

    Raises:
        OutputError: The folder holds something else, or cannot be written to.
    """
    check_may_write_page(folder, GENERATOR)
    if (folder / PAGE_FILE).exists():
        for stale in (folder / THUMBNAILS_DIR).glob("[0-9]" * 6 + ".jpg"):
            stale.unlink()
    shown: dict[str | None, list[_Shown]] = {}
    number = 0
    for label, tiles in sheets.items():
        for tile in tiles:
            number += 1
            shown.setdefault(label, []).append(_write_tile(tile, folder, f"{THUMBNAILS_DIR}/{number:06}.jpg"))
            on_progress()
    write_whole_text(folder / PAGE_FILE, _rendered(statistics, shown))
    return folder / PAGE_FILE


def year_bars(ages: AgeStatistics) -> list[Bar]:
    """Pictures by year, gaps as empty bars; counts by `date`, then by `retrieved_at`."""
    if not ages.years:
        return []
    span = ages.years[-1].year - ages.years[0].year + 1
    step = next((step for step in (1, 5, 10, 20) if span <= step * MAX_YEAR_BARS), 50)
    first = ages.years[0].year // step
    counts = [[0, 0] for _ in range(ages.years[-1].year // step - first + 1)]
    for each in ages.years:
        counts[each.year // step - first][0] += each.num_by_date
        counts[each.year // step - first][1] += each.num_by_retrieval
    starts = [(first + place) * step for place in range(len(counts))]
    return [
        Bar(str(start), str(start) if step == 1 else f"{start} to {start + step - 1}", (by_date, retrieved))
        for start, (by_date, retrieved) in zip(starts, counts, strict=True)
    ]


def size_bars(sizes: SizeStatistics) -> list[Bar]:
    """Pictures by shorter side, without the empty bins at either end; small ones are marked."""
    filled = [place for place, each in enumerate(sizes.bins) if each.num_images]
    kept = sizes.bins[filled[0] : filled[-1] + 1] if filled else ()
    return [
        Bar(
            str(each.from_px),
            f"{each.from_px} px and more" if each.below_px is None else f"{each.from_px} to {each.below_px - 1} px",
            (each.num_images,),
            is_marked=each.below_px is not None and each.below_px <= sizes.small_px,
        )
        for each in kept
    ]


def drawn_bars(bars: Sequence[Bar]) -> list[DrawnBar]:
    """Bars side by side, the highest as high as the drawing; a count above zero is never too low to be seen."""
    most = max((sum(bar.counts) for bar in bars), default=0)
    drawn = []
    for place, bar in enumerate(bars):
        y = float(_BASE_PX)
        parts = []
        for number, count in enumerate(bar.counts):
            if count:
                height = max(_HIGHEST_PX * count / most, 1.5)
                y -= height
                parts.append((number, round(y, 1), round(height, 1)))
        drawn.append(DrawnBar(bar, 6 + place * _STEP_PX, round(y, 1), tuple(parts)))
    return drawn


def safe_address(url: str | None) -> str:
    """The address if it is one of a web page; else an empty text, so that no script becomes a link."""
    return url if url is not None and re.fullmatch(r"https?://[^\s<>\"'\\]+", url) else ""


def compact_count(count: int) -> str:
    """A count in few letters: 950, 1.2k, 35k, 3.5M."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count >= unit * 0.9995:
            value = count / unit
            return f"{value:.1f}{letter}" if value < 9.95 else f"{value:.0f}{letter}"
    return str(count)


def _write_tile(tile: Tile, folder: Path, address: str) -> _Shown:
    if tile.fault:
        return _Shown(tile.picture, "", tile.fault)
    with whole_file(folder / address) as temporary:
        temporary.write_bytes(tile.jpeg)
    return _Shown(tile.picture, address, "")


def _rendered(statistics: DataSetStatistics, shown: Mapping[str | None, Sequence[_Shown]]) -> str:
    environment = page_environment(
        "vision.data",
        safe_address=safe_address,
        compact=compact_count,
        count="{:,}".format,
        number="{:,g}".format,
        line=plain_line,
    )
    return environment.get_template("statistics.html.j2").render(
        statistics=statistics,
        generator=GENERATOR,
        findings=list(findings(statistics)),
        families=list(_families(statistics)),
        splits={name: SPLIT_NAMES[name] for name in splits_that_occur(statistics)},
        largest_labels=largest_labels,
        most_images=max((each.num_images for each in statistics.labels), default=1),
        place={each.label: place for place, each in enumerate(statistics.labels)},
        sheets=shown,
        size_bars=drawn_bars(size_bars(statistics.sizes)),
        year_bars=drawn_bars(year_bars(statistics.ages)),
        geometry={"step": _STEP_PX, "bar": _BAR_PX, "base": _BASE_PX},
    )


def _families(statistics: DataSetStatistics) -> Iterator[tuple[str, str, int | None, list[LabelStatistics]]]:
    """Name, remark, pictures and labels of every part of the table of classes."""
    for family in statistics.families:
        members = [each for each in statistics.classes if each.family == family.family]
        if members:
            absent = ", ".join(family.classes_without_images)
            yield family.name, f"no images: {absent}" if absent else "", family.num_images, members
    if statistics.outside_taxonomy:
        more = statistics.num_labels_not_listed
        yield "Not in the taxonomy", f"{more:,} more labels" if more else "", None, list(statistics.outside_taxonomy)
    if statistics.unlabelled is not None:
        yield "Without a label", "", None, [statistics.unlabelled]
