from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from command_line import run_vision
from drawings import write_drawings

from vision.data.licences import LicencePolicy
from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.statistics.contact_sheets import choose_pictures, make_tiles
from vision.data.statistics.figures import AgeStatistics, YearCount
from vision.data.statistics.page import (
    GENERATOR,
    Bar,
    compact_count,
    drawn_bars,
    safe_address,
    size_bars,
    write_statistics_page,
    year_bars,
)
from vision.data.statistics.statistics import data_set_statistics
from vision.errors import OutputError
from vision.pages import check_may_write_page
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


class Page(HTMLParser):
    """What a browser would make of a page: addresses, tags, and text outside styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.append(tag)
        self.links += [str(values["href"])] if "href" in values else []
        self.images += [str(values["src"])] if tag == "img" else []
        self.ids += [str(values["id"])] if "id" in values else []

    def handle_data(self, data: str) -> None:
        self.text += data


def written(manifest: Manifest, folder: Path) -> Page:
    statistics = data_set_statistics(manifest, TAXONOMY, LicencePolicy.OPEN)
    sheets = {label: make_tiles(manifest, shown) for label, shown in choose_pictures(manifest, per_class=4).items()}
    return Page(write_statistics_page(statistics, sheets, folder).read_text(encoding="utf-8"))


def years(*found: int) -> AgeStatistics:
    counts = tuple(YearCount(year=year, num_by_date=2, num_by_retrieval=1) for year in found)
    return AgeStatistics(
        num_dated=2 * len(found), num_by_retrieval=0, num_without_year=0, num_unreadable_dates=0, years=counts
    )


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def hostile(tmp_path: Path) -> Manifest:
    row = dict.fromkeys(
        ("file_name", "label", "split", "group", "title", "author", "licence", "changes", HOSTILE), HOSTILE
    )
    row |= {"source_url": "javascript:alert(1)", "licence_url": 'https://a.example/"onclick="x'}
    return manifest_from_rows(tmp_path / "data" / "m.csv", [row, {**row, "label": None}])


def test_nothing_from_the_manifest_becomes_markup_or_a_script_link(hostile: Manifest, tmp_path: Path) -> None:
    page = written(hostile, tmp_path / "page")
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert all(link.startswith("#") for link in page.links)


@pytest.mark.parametrize(
    "url",
    [None, "", "javascript:alert(1)", "JAVASCRIPT:x", "data:text/html,x", "//a.example", 'https://a"b', "ftp://a"],
)
def test_only_web_addresses_become_links(url: str | None) -> None:
    assert safe_address(url) == ""
    assert safe_address("https://commons.example/wiki/File:A_(b).jpg") == "https://commons.example/wiki/File:A_(b).jpg"


def test_the_page_of_an_empty_manifest_says_so(tmp_path: Path) -> None:
    page = written(manifest_from_rows(tmp_path / "m.csv", []), tmp_path / "page")
    assert "The manifest has no rows." in page.text
    assert page.images == []


def test_every_shown_picture_has_title_author_licence_and_source(photos_dir: Path, tmp_path: Path) -> None:
    page = written(load_manifest(photos_dir / "manifest.csv"), tmp_path)
    assert len(page.images) == 20
    assert all((tmp_path / name).is_file() for name in page.images)
    assert sum(link.startswith("https://") for link in page.links) == 40  # the source and the licence of each
    assert "Vitaly V. Kuzmin" in page.text


def test_all_links_within_the_page_lead_somewhere(tmp_path: Path) -> None:
    write_drawings(tmp_path)
    page = written(load_manifest(tmp_path / "manifest.csv"), tmp_path / "page")
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors <= set(page.ids)
    assert len([name for name in page.ids if re.fullmatch(r"class-\d+", name)]) == 4


def test_a_later_page_replaces_an_earlier_one_with_its_thumbnails(tmp_path: Path) -> None:
    write_drawings(tmp_path)
    written(load_manifest(tmp_path / "manifest.csv"), tmp_path / "page")
    (tmp_path / "page" / "thumbnails" / "mine.jpg").write_bytes(b"")
    written(manifest_from_rows(tmp_path / "m.csv", []), tmp_path / "page")
    assert [path.name for path in (tmp_path / "page" / "thumbnails").iterdir()] == ["mine.jpg"]


def test_a_page_of_another_origin_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>mine</h1>", encoding="utf-8")
    with pytest.raises(OutputError, match=r"index\.html: another page"):
        check_may_write_page(tmp_path, GENERATOR)
    with pytest.raises(OutputError, match="a file, not a folder"):
        check_may_write_page(tmp_path / "index.html", GENERATOR)


def test_gaps_between_years_are_empty_bars() -> None:
    assert [(bar.name, bar.counts) for bar in year_bars(years(2001, 2003))] == [
        ("2001", (2, 1)),
        ("2002", (0, 0)),
        ("2003", (2, 1)),
    ]


def test_many_years_are_put_together_and_nothing_is_lost() -> None:
    bars = year_bars(years(1826, 1999, 2000, 2004, 2099))
    assert len(bars) <= 41
    assert sum(sum(bar.counts) for bar in bars) == 15
    assert year_bars(years()) == []


def test_bars_are_as_high_as_their_counts_and_never_invisible() -> None:
    high, low, none = drawn_bars([Bar("a", "a", (900_000, 100_000)), Bar("b", "b", (1,)), Bar("c", "c", (0,))])
    assert [height for _, _, height in high.parts] == [117.0, 13.0]
    assert low.parts[0][2] == 1.5
    assert none.parts == ()
    assert drawn_bars([]) == []


def test_bins_of_small_pictures_are_marked() -> None:
    rows = [{"file_name": "a", "label": "x", "width": side, "height": side} for side in (100, 223, 224, 9000)]
    sizes = data_set_statistics(manifest_from_rows(Path("m.csv"), rows), TAXONOMY, LicencePolicy.OPEN).sizes
    assert [(bar.name, bar.is_marked) for bar in size_bars(sizes) if bar.counts[0]] == [
        ("64", True),
        ("128", True),
        ("224", False),
        ("4000", False),
    ]


def test_counts_above_bars_are_short() -> None:
    shown = [compact_count(count) for count in (0, 999, 1000, 1234, 9999, 35_400, 999_600, 10_000_000)]
    assert shown == ["0", "999", "1.0k", "1.2k", "10k", "35k", "1.0M", "10M"]


def test_the_command_writes_the_page_and_tells_what_cannot_be_shown(tmp_path: Path) -> None:
    write_drawings(tmp_path)
    path = tmp_path / "manifest.csv"
    rows = [*load_manifest(path).table.iter_rows(named=True), {"file_name": "gone.jpg", "label": "t-90"}]
    save_manifest(manifest_from_rows(path, rows), path)
    done = run_vision("data", "stats", path, "--page", tmp_path / "page", "--per-class", "3")
    assert done.returncode == 1
    assert "cannot be shown: gone.jpg: no such file" in done.stderr
    page = Page((tmp_path / "page" / "index.html").read_text(encoding="utf-8"))
    assert len(page.images) == 12
    assert "cannot be shown: no such file" in page.text


def test_the_page_fits_a_narrow_window_and_loads_its_pictures(tmp_path: Path, browser: Any) -> None:
    write_drawings(tmp_path)
    written(load_manifest(tmp_path / "manifest.csv"), tmp_path / "page")
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((tmp_path / "page" / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#class-3").scroll_into_view_if_needed()
        last = page.locator("#class-3 + ul img").first
        assert last.evaluate(
            "image => { image.loading = 'eager'; return image.decode().then(() => image.naturalWidth); }"
        )
