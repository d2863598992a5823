"""`vision data fetch` against a stub of MediaWiki's API: what arrives, what is left out and why, taking up again."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("httpx2", reason="needs the extra 'data'")

import wiki_stub
from command_line import run_vision
from openverse_stub import jpeg_bytes
from PIL import Image
from wiki_stub import CONTACT, WikiStub

from vision.cli.data_fetch import ProgressLines
from vision.data.fetching.fetch import FetchOptions, FetchReport, fetch
from vision.data.fetching.found import FoundPicture
from vision.data.fetching.journal import Decision, Journal, Outcome, folder_lock
from vision.data.fetching.sites import OpenSites
from vision.data.fetching.sources import ClassQuery, FetchDefaults, QueryEntry, Site, load_sources
from vision.data.fetching.summary import dry_run_lines, problem_lines, summary_lines
from vision.data.fetching.web_client import PoliteClient
from vision.data.licences import LicencePolicy
from vision.errors import FetchError, OutputError
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(None)
TOR = "  tor-m1:\n    - category: Tor-M1\n"
BUK = "  buk-m1:\n    - category: Buk-M1\n"


@dataclass
class Told:
    """A `Progress` that remembers."""

    asked: list[str] = field(default_factory=list)
    decided: list[Decision] = field(default_factory=list)

    def asking(self, class_query: ClassQuery) -> None:
        self.asked.append(class_query.text)

    def found(self, num_pictures: int) -> None:
        pass

    def fetching(self, num_pictures: int) -> None:
        pass

    def fetched(self, decision: Decision) -> None:
        self.decided.append(decision)


@pytest.fixture
def wiki() -> Iterator[WikiStub]:
    with WikiStub() as stub:
        yield stub


@dataclass
class Fetching:
    """A wiki, and a folder to fetch from it into."""

    wiki: WikiStub
    folder: Path
    out: Path
    waits: list[float] = field(default_factory=list)

    def write_sources(self, classes: str, defaults: str = "min_side_px: 100") -> Path:
        path = self.folder / "sources.yaml"
        path.write_text(
            f"version: 1\ncontact: {CONTACT}\ndefaults: {{{defaults}}}\n"
            f"wikis:\n  commons: {{api: '{self.wiki.api_url}', allowed_hosts: [127.0.0.1], min_interval_s: 0}}\n"
            f"classes:\n{classes}"
        )
        return path

    def run(self, classes: str = TOR, defaults: str = "min_side_px: 100", **changes: Any) -> FetchReport:
        """Fetch in this process, where waiting takes no time."""
        sources_file = load_sources(self.write_sources(classes, defaults), TAXONOMY)
        given = sources_file.sources.defaults
        options = {"class_ids": (), "policy": LicencePolicy.OPEN, "width": given.width, **changes}
        options.setdefault("max_per_class", given.max_per_class)
        with OpenSites(sources_file.sources, CONTACT, options["width"], self._client) as sites:
            return fetch(sources_file, self.out, FetchOptions(**options), sites, TAXONOMY, Told())

    def run_with_site(self, more: str) -> FetchReport:
        """Fetch with more settings of the wiki."""
        path = self.write_sources(TOR)
        path.write_text(path.read_text().replace("min_interval_s: 0}", f"min_interval_s: 0, {more}}}"))
        sources_file = load_sources(path, TAXONOMY)
        with OpenSites(sources_file.sources, CONTACT, None, self._client) as sites:
            return fetch(
                sources_file, self.out, FetchOptions((), LicencePolicy.OPEN, None, 500), sites, TAXONOMY, Told()
            )

    def _client(self, contact: str, site: Site) -> PoliteClient:
        return PoliteClient(contact, site.allowed_hosts, min_interval_s=0, max_attempts=3, sleep=self.waits.append)

    @property
    def manifest(self) -> pl.DataFrame:
        return pl.read_csv(self.out / "manifest.csv")

    def reasons(self) -> dict[str, str]:
        """Kind of reason by title, of what was left out."""
        table = pl.read_csv(self.out / "left_out.csv")
        return dict(zip(table["title"], table["kind"], strict=True))

    def fill(self, num_files: int, category: str = "Tor-M1", first: int = 0) -> None:
        for number in range(first, first + num_files):
            self.wiki.add_file(f"Tor {number}.jpg", jpeg_bytes(number), categories=[category])


@pytest.fixture
def fetching(wiki: WikiStub, tmp_path: Path) -> Fetching:
    return Fetching(wiki, tmp_path, tmp_path / "out")


def test_the_command_leaves_a_data_set_that_passes_the_check(fetching: Fetching) -> None:
    fetching.wiki.list_limit = 4
    fetching.fill(6)
    fetching.wiki.add_category("Tor-M1 in Kyiv", parents=["Tor-M1"])
    author = '<a href="//commons.wikimedia.org/wiki/User:X" onclick="evil()">Некий <b>Автор</b></a>'
    fetching.wiki.add_file(
        "Кий.jpg", jpeg_bytes(99), categories=["Tor-M1 in Kyiv"], extmetadata=wiki_stub.metadata(author=author)
    )
    done = run_vision("data", "fetch", fetching.write_sources(TOR), "-o", fetching.out)
    assert done.returncode == 0, done.stderr
    checked = run_vision("data", "check", fetching.out / "manifest.csv")
    assert checked.returncode == 0, checked.stdout
    rows = fetching.manifest
    assert len(rows) == 7
    assert set(rows["label"]) == {"tor-m1"}
    assert set(rows["licence"]) == {"CC-BY-SA-4.0"}
    assert rows["author"][-1] == "Некий Автор"
    assert rows["group"].n_unique() == 2
    assert all(len(digest) == 64 for digest in rows["sha256"])
    assert "7 pictures" in done.stdout


def test_the_card_and_the_attribution_tell_licences_duties_and_what_was_left_out(fetching: Fetching) -> None:
    fetching.fill(2)
    no_licence = wiki_stub.metadata(licence="", licence_url="")
    fetching.wiki.add_file("Odd.jpg", jpeg_bytes(9), categories=["Tor-M1"], extmetadata=no_licence)
    fetching.run()
    card = (fetching.out / "README.md").read_text()
    assert "| tor-m1 | 2 | 2 |" in card
    assert "give an edited copy the same licence" in card
    assert "| licence | 1 | tor-m1 1 |" in card
    assert "A. Person" in (fetching.out / "ATTRIBUTION.md").read_text()


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("Drawing.svg", {"mime": "image/svg+xml"}, "no photograph"),
        ("Book.pdf", {"mime": "application/pdf"}, "no photograph"),
        ("Film.webm", {"mime": "video/webm"}, "no photograph"),
        ("Huge.jpg", {"told_size": 300_000_000}, "too large"),
        ("Wide.jpg", {"size": (40_000, 30_000)}, "too large"),
        ("Tiny.jpg", {"size": (200, 60)}, "too small"),
        ("NoMetadata.jpg", {"extmetadata": []}, "licence"),
        ("NonCommercial.jpg", {"extmetadata": wiki_stub.metadata(licence="CC BY-NC 4.0", licence_url="")}, "licence"),
        ("Said.jpg", {"extmetadata": wiki_stub.metadata(licence="Public domain", licence_url="")}, "licence"),
    ],
)
def test_what_the_wiki_tells_of_a_file_can_rule_it_out_before_any_download(
    fetching: Fetching, name: str, values: dict[str, Any], kind: str
) -> None:
    fetching.wiki.add_file(name, jpeg_bytes(1), categories=["Tor-M1"], **values)
    report = fetching.run()
    assert fetching.reasons() == {Path(name).stem: kind}
    assert fetching.wiki.downloads() == []
    assert report.is_complete


def test_drawings_are_left_out_also_when_the_wiki_would_scale_them_to_a_picture(fetching: Fetching) -> None:
    fetching.wiki.add_file("Drawing.svg", jpeg_bytes(1), categories=["Tor-M1"], mime="image/svg+xml")
    fetching.run(width=640)
    assert fetching.reasons() == {"Drawing": "no photograph"}


def test_a_given_width_is_fetched_and_told_as_a_change(fetching: Fetching) -> None:
    fetching.wiki.add_file("Large.jpg", jpeg_bytes(1, (2000, 1500)), categories=["Tor-M1"], told_size=300_000_000)
    fetching.run(width=640)
    (row,) = fetching.manifest.to_dicts()
    assert (row["width"], row["height"], row["changes"]) == (640, 480, "scaled to 640 px")


def bomb() -> bytes:
    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (bomb(), "broken picture"),
        (jpeg_bytes(1)[:-200], "broken picture"),
        (b"<html>not a picture</html>", "broken picture"),
    ],
    ids=["decompression bomb", "cut short on the wiki", "a page"],
)
def test_what_arrives_and_is_no_picture_is_removed_and_never_asked_for_again(
    fetching: Fetching, body: bytes, kind: str
) -> None:
    fetching.wiki.add_file("Bad.jpg", body, categories=["Tor-M1"])
    assert fetching.run().is_complete
    assert fetching.reasons() == {"Bad": kind}
    assert [path for path in fetching.out.rglob("*") if "Bad" in path.name or path.suffix == ".jpg"] == []
    fetching.run()
    assert fetching.wiki.downloads() == ["Bad.jpg"]
    fetching.run(refresh=True)
    assert fetching.wiki.downloads() == ["Bad.jpg"] * 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (wiki_stub.status(500), "broken download"),
        (wiki_stub.status(503), "no answer"),
        (wiki_stub.truncated(b"\xff\xd8", 5000), "broken download"),
        (wiki_stub.answer_with(jpeg_bytes(77), content_type="image/jpeg"), "broken download"),
        (wiki_stub.hang_up(), "no answer"),
    ],
    ids=["500", "503", "cut short", "wrong SHA-1", "hang up"],
)
def test_a_download_that_fails_does_not_stop_the_others_and_is_tried_again(
    fetching: Fetching, fault: wiki_stub.Fault, kind: str
) -> None:
    fetching.fill(3)
    fetching.wiki.fail_next(fault, path="/images/Tor_0", times=3)
    report = fetching.run()
    assert not report.is_complete
    assert fetching.reasons() == {"Tor 0": kind}
    assert any("1 files failed" in line for line in summary_lines(report))
    fetching.wiki._planted.clear()
    assert fetching.run().is_complete
    assert len(fetching.manifest) == 3
    assert fetching.reasons() == {}
    assert Counter(fetching.wiki.downloads())["Tor_1.jpg"] == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (wiki_stub.status(404), "not there"),
        (wiki_stub.redirect("https://evil.example.org/x.jpg"), "host not allowed"),
        (wiki_stub.told_size(300_000_000), "too large"),
    ],
    ids=["404", "redirect to another host", "300 MB"],
)
def test_a_file_that_may_not_be_had_is_left_out_for_good(fetching: Fetching, fault: wiki_stub.Fault, kind: str) -> None:
    fetching.fill(2)
    fetching.wiki.fail_next(fault, path="/images/Tor_0", times=9)
    assert fetching.run().is_complete
    assert fetching.reasons() == {"Tor 0": kind}
    assert len(fetching.manifest) == 1


@pytest.mark.parametrize(
    "fault",
    [wiki_stub.status(503, retry_after="2"), wiki_stub.status(429, retry_after="2"), wiki_stub.maxlag()],
    ids=["503", "429", "maxlag"],
)
def test_a_wiki_that_asks_for_patience_gets_it(fetching: Fetching, fault: wiki_stub.Fault) -> None:
    fetching.fill(2)
    fetching.wiki.fail_next(fault)
    assert fetching.run().is_complete
    assert max(fetching.waits) >= 2
    assert len(fetching.manifest) == 2


def test_a_host_that_fails_three_times_in_a_row_is_left_alone(fetching: Fetching) -> None:
    fetching.fill(10)
    fetching.wiki.fail_next(wiki_stub.status(503), path="/images/", times=1000)
    report = fetching.run()
    assert set(fetching.wiki.downloads()) == {"Tor_0.jpg", "Tor_1.jpg", "Tor_2.jpg"}
    assert Counter(fetching.reasons().values()) == {"no answer": 3, "not tried": 7}
    assert any("given up for this run" in line for line in summary_lines(report))


def test_a_server_that_wants_to_be_left_alone_for_long_is_not_asked_for_the_next_file(fetching: Fetching) -> None:
    fetching.fill(5)
    fetching.wiki.fail_next(wiki_stub.status(429, retry_after="3600"), path="/images/", times=1000)
    fetching.run()
    assert fetching.wiki.downloads() == ["Tor_0.jpg"]


def test_a_source_that_is_down_keeps_what_was_found_and_names_what_was_not(fetching: Fetching) -> None:
    fetching.fill(2)
    fetching.run()
    fetching.wiki.fail_next(wiki_stub.status(503), times=1000)
    report = fetching.run(TOR + BUK)
    assert not report.is_complete
    assert [query.class_id for query in report.found.unanswered] == ["buk-m1"]
    assert len(fetching.manifest) == 2
    assert any("no answer to 1 queries of buk-m1" in line for line in summary_lines(report))


def test_a_source_that_is_down_from_the_start_is_an_error(fetching: Fetching) -> None:
    fetching.wiki.fail_next(wiki_stub.status(503), times=1000)
    with pytest.raises(FetchError, match="503"):
        fetching.run()


def test_a_file_of_two_classes_goes_to_neither_until_it_is_named(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.wiki.add_file("Both.jpg", jpeg_bytes(50), categories=["Tor-M1", "Buk-M1"])
    fetching.wiki.add_file("Buk.jpg", jpeg_bytes(51), categories=["Buk-M1"])
    fetching.run(TOR + BUK)
    assert fetching.reasons() == {"Both": "two classes"}
    assert "buk-m1" in (fetching.out / "left_out.csv").read_text()
    fetching.run(TOR + BUK + "    - files: [Both.jpg]\n")
    labels = dict(fetching.manifest.select("title", "label").iter_rows())
    assert labels == {"Tor 0": "tor-m1", "Buk": "buk-m1", "Both": "buk-m1"}
    assert fetching.reasons() == {"Both": "another class"}


def test_a_class_that_stands_for_others_leaves_them_their_files(fetching: Fetching) -> None:
    fetching.wiki.add_file("Buk.jpg", jpeg_bytes(51), categories=["Buk-M1", "Buk"])
    fetching.run(BUK + "  buk:\n    - category: Buk\n")
    assert fetching.manifest["label"].to_list() == ["buk-m1"]


def test_a_class_added_later_does_not_take_the_files_of_another(fetching: Fetching) -> None:
    fetching.wiki.add_file("Both.jpg", jpeg_bytes(50), categories=["Tor-M1", "Buk-M1"])
    fetching.run(TOR)
    fetching.run(TOR + BUK)
    assert fetching.manifest["label"].to_list() == ["tor-m1"]
    (row,) = pl.read_csv(fetching.out / "left_out.csv").to_dicts()
    assert (row["class_id"], row["kind"]) == ("buk-m1", "two classes")
    assert "was taken for tor-m1 earlier" in row["reason"]


def test_the_same_bytes_under_another_title_are_fetched_once(fetching: Fetching) -> None:
    fetching.wiki.add_file("One.jpg", jpeg_bytes(1), categories=["Tor-M1"])
    fetching.wiki.add_file("Other.jpg", jpeg_bytes(1), categories=["Tor-M1"])
    fetching.run()
    assert fetching.wiki.downloads() == ["One.jpg"]
    assert fetching.reasons() == {"Other": "same picture"}


def test_bytes_that_turn_out_the_same_only_when_they_arrive_are_kept_once(fetching: Fetching) -> None:
    for name in ("One.jpg", "Other.jpg"):
        body = jpeg_bytes(1, (2000, 1500))
        told = name.encode().hex().ljust(40, "0")[:40]
        fetching.wiki.add_file(name, body, categories=["Tor-M1"], told_sha1=told)
    fetching.run(width=640)  # scaled: the digest is that of the original, and cannot be compared
    assert fetching.reasons() == {"Other": "same picture"}
    assert len(list((fetching.out / "images").rglob("*.jpg"))) == 1


def test_raising_the_most_of_a_class_adds_the_others(fetching: Fetching) -> None:
    fetching.fill(5)
    fetching.run(max_per_class=2)
    assert Counter(fetching.reasons().values()) == {"enough of the class": 3}
    fetching.run(max_per_class=4)
    assert len(fetching.manifest) == 4
    assert len(fetching.wiki.downloads()) == 4


def test_a_second_run_asks_and_fetches_nothing(fetching: Fetching) -> None:
    fetching.fill(3)
    fetching.run()
    num_requests = len(fetching.wiki.requests)
    report = fetching.run()
    assert len(fetching.wiki.requests) == num_requests
    assert report.fetched == ()
    assert len(fetching.manifest) == 3


def test_refresh_asks_again_and_fetches_only_what_is_new(fetching: Fetching) -> None:
    fetching.fill(2)
    fetching.run()
    fetching.fill(1, first=2)
    fetching.run(refresh=True)
    assert sorted(fetching.wiki.downloads()) == ["Tor_0.jpg", "Tor_1.jpg", "Tor_2.jpg"]


def test_a_query_of_two_classes_is_asked_once(fetching: Fetching) -> None:
    fetching.fill(1)
    for refresh in (False, True):
        fetching.wiki.requests.clear()
        fetching.run(TOR + "  tor-m2:\n    - category: Tor-M1\n", refresh=refresh)
        assert sum(seen.query.get("list") == "categorymembers" for seen in fetching.wiki.requests) == 1
    assert fetching.reasons() == {"Tor 0": "two classes"}


def test_answers_are_trusted_for_seven_days(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.run()
    lists = fetching.out / "found.jsonl"
    num_requests = len(fetching.wiki.requests)
    lists.write_text(re.sub(r'"at": "\d{4}', '"at": "2020', lists.read_text()))
    fetching.run()
    assert len(fetching.wiki.requests) > num_requests


def test_a_query_that_leads_nowhere_and_a_class_without_pictures_are_named(fetching: Fetching) -> None:
    fetching.fill(1)
    report = fetching.run(TOR + "  buk-m1:\n    - category: Bukk\n")
    lines = "\n".join(summary_lines(report))
    assert "no pictures: buk-m1" in lines
    assert "sources.yaml:10: commons: category 'Bukk' does not exist" in lines


def test_one_class_alone_knows_what_was_found_for_the_others(fetching: Fetching) -> None:
    fetching.wiki.add_file("Both.jpg", jpeg_bytes(50), categories=["Tor-M1", "Buk-M1"])
    fetching.run(TOR + BUK, dry_run=True)
    report = fetching.run(TOR + BUK, class_ids=("tor-m1",))
    assert report.class_ids == ("tor-m1",)
    assert fetching.reasons() == {"Both": "two classes"}


def test_a_dry_run_counts_by_class_and_licence_and_downloads_nothing(fetching: Fetching) -> None:
    fetching.fill(3)
    free = wiki_stub.metadata(licence="CC0", licence_url="https://creativecommons.org/publicdomain/zero/1.0/")
    fetching.wiki.add_file("Free.jpg", jpeg_bytes(9), categories=["Tor-M1"], extmetadata=free, told_size=5_000_000)
    fetching.wiki.add_file("Drawing.svg", b"<svg/>", categories=["Tor-M1"], mime="image/svg+xml")
    report = fetching.run(dry_run=True)
    lines = [line.split() for line in dry_run_lines(report)]
    assert lines[0] == ["class", "there", "to", "fetch", "left", "out", "CC-BY-SA", "CC0"]
    assert lines[1] == ["tor-m1", "0", "4", "1", "3", "1"]
    assert ["CC-BY-SA-4.0:", "3"] in lines
    assert "to fetch: 4 pictures, 5.0 MB" in "\n".join(dry_run_lines(report))
    assert fetching.wiki.downloads() == []
    assert sorted(path.name for path in fetching.out.iterdir()) == [".fetch.lock", "found.jsonl"]


def test_licences_that_keep_files_out_are_counted_in_dry_runs_summaries_and_the_card(fetching: Fetching) -> None:
    for number, (licence, times) in enumerate([("CC BY-NC 2.0", 2), ("Public domain", 1), ("", 1)]):
        for copy in range(times):
            told = wiki_stub.metadata(licence=licence, licence_url="")
            body = jpeg_bytes(10 * number + copy)
            fetching.wiki.add_file(f"{number} {copy}.jpg", body, categories=["Tor-M1"], extmetadata=told)
    line = '  of these: CC-BY-NC-2.0 2, "Public domain" 1, not stated 1'
    assert line in dry_run_lines(fetching.run(dry_run=True))
    assert line in summary_lines(fetching.run())
    told = 'Licences that kept files out: CC-BY-NC-2.0 2, "Public domain" 1, not stated 1.'
    assert told in (fetching.out / "README.md").read_text()


def test_a_class_that_is_full_has_pictures_of_every_author(fetching: Fetching) -> None:
    for number, author in enumerate(["Ann"] * 4 + ["Bob", ""]):
        told = wiki_stub.metadata(author=author)
        fetching.wiki.add_file(f"Tor {number}.jpg", jpeg_bytes(number), categories=["Tor-M1"], extmetadata=told)
    fetching.run(max_per_class=4)
    assert sorted(fetching.manifest["title"]) == ["Tor 0", "Tor 1", "Tor 4", "Tor 5"]


def test_a_wiki_that_states_no_licence_is_told_and_its_licence_and_author_can_be_given(fetching: Fetching) -> None:
    for number in range(2):
        fetching.wiki.add_file(f"Tor {number}.jpg", jpeg_bytes(number), categories=["Tor-M1"], extmetadata=[])
    (hint,) = (line for line in summary_lines(fetching.run()) if "CommonsMetadata" in line)
    assert hint.startswith("commons: not one of its 2 files states a licence")
    assert len(fetching.manifest) == 0
    report = fetching.run_with_site("licence: CC BY-SA 4.0, author: The museum")  # known answers are completed, too
    assert not any("CommonsMetadata" in line for line in summary_lines(report))
    rows = fetching.manifest
    assert set(rows["licence"]) == {"CC-BY-SA-4.0"}
    assert set(rows["licence_url"]) == {"https://creativecommons.org/licenses/by-sa/4.0/"}
    assert set(rows["author"]) == {"The museum"}
    assert rows["group"].n_unique() == 2  # one author of all tells nothing apart


@pytest.mark.parametrize(
    ("extmetadata", "categories"),
    [
        (wiki_stub.metadata(licence="all rights reserved", licence_url=""), []),
        ({"NonFree": {"value": "1"}}, []),
        ([], ["Non-free logos"]),
        (wiki_stub.metadata(licence="", licence_url="https://museum.org/rights"), []),
    ],
)
def test_the_licence_of_a_wiki_is_not_that_of_a_file_that_states_another(
    fetching: Fetching, extmetadata: object, categories: list[str]
) -> None:
    fetching.wiki.hidden_categories |= set(categories)
    fetching.wiki.add_file("Tor.jpg", jpeg_bytes(1), categories=["Tor-M1", *categories], extmetadata=extmetadata)
    fetching.run_with_site("licence: CC-BY-SA-4.0")
    assert fetching.reasons() == {"Tor": "licence"}


def test_where_stderr_is_no_terminal_a_line_tells_of_each_class_and_of_a_hundred_files(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, query = ProgressLines(), load_query()
    for _ in range(2):
        lines.asking(query)
        lines.found(60)
    lines.fetching(120)
    for _ in range(120):
        lines.fetched(Decision("tor-m1", "", FoundPicture("c", "k", "t", "", ""), Outcome.TAKEN, size_bytes=10_000))
    assert capsys.readouterr().err.splitlines() == [
        "asking for tor-m1; 0 files found so far",
        "fetching 120 files",
        "100 of 120 files, 1.0 MB",
    ]


def load_query() -> ClassQuery:
    entry = QueryEntry(category="Tor-M1")
    return ClassQuery("tor-m1", "commons", entry.query(FetchDefaults()), entry, (), "")


def test_what_people_change_in_the_manifest_stays(fetching: Fetching) -> None:
    fetching.fill(3)
    fetching.run()
    rows = fetching.manifest.to_dicts()
    rows[0] |= {"label": "tor-m2", "split": "test", "group": "parade-2010"}
    own = {**rows[1], "file_name": "images/own.jpg", "title": "my own"}
    table = pl.DataFrame([{**row, "view": "front"} for row in (rows[0], rows[1], own)], infer_schema_length=None)
    table.write_csv(fetching.out / "manifest.csv")  # the third picture's row is taken out
    fetching.fill(1, first=3)
    report = fetching.run(refresh=True)
    merged = fetching.manifest
    assert merged["title"].to_list() == ["Tor 0", "Tor 1", "my own", "Tor 3"]
    assert merged.row(0, named=True)["label"] == "tor-m2"
    assert merged["view"].to_list() == ["front", "front", "front", None]
    assert merged["group"][0] == "parade-2010"
    lines = "\n".join(summary_lines(report))
    assert "kept as they stand: 2 rows that were changed" in lines
    assert "kept as they stand: 1 rows that no fetch made" in lines
    assert "1 pictures whose rows were removed" in lines
    assert fetching.wiki.downloads().count("Tor_2.jpg") == 1


def test_a_card_that_someone_rewrote_stays(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.run()
    (fetching.out / "README.md").write_text("# Ours\n")
    report = fetching.run()
    assert (fetching.out / "README.md").read_text() == "# Ours\n"
    assert "kept as it stands: README.md" in "\n".join(summary_lines(report))


def test_a_picture_that_was_lost_while_its_row_stands_is_fetched_again(fetching: Fetching) -> None:
    fetching.fill(2)
    fetching.run()
    (fetching.out / fetching.manifest["file_name"][0]).unlink()
    fetching.run()
    assert Counter(fetching.wiki.downloads()) == {"Tor_0.jpg": 2, "Tor_1.jpg": 1}
    assert len(fetching.manifest) == 2


def test_killed_at_any_moment_and_run_again_nothing_is_fetched_twice_and_nothing_lost(fetching: Fetching) -> None:
    fetching.fill(8)
    reached, release = threading.Event(), threading.Event()

    def stall(handler: Any) -> None:
        reached.set()
        release.wait(30)
        handler.close_connection = True

    fetching.wiki.fail_next(stall, path="/images/Tor_5")
    arguments = ["data", "fetch", str(fetching.write_sources(TOR)), "-o", str(fetching.out)]
    code = "from vision.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL) as process:
        assert reached.wait(30)
        os.kill(process.pid, signal.SIGKILL)
    release.set()
    assert not (fetching.out / "manifest.csv").exists()
    with (fetching.out / "fetched.jsonl").open("a") as stream:
        stream.write('{"class_id": "tor-m1", "que')  # as a kill in the middle of a line leaves it
    num_asked = sum(seen.path == "/w/api.php" for seen in fetching.wiki.requests)
    assert fetching.run().is_complete
    assert Counter(fetching.wiki.downloads()) == {f"Tor_{n}.jpg": 1 + (n == 5) for n in range(8)}
    assert sum(seen.path == "/w/api.php" for seen in fetching.wiki.requests) == num_asked
    assert len(fetching.manifest) == 8
    assert not list(fetching.out.rglob("*.part"))


def test_a_file_that_arrived_just_before_the_kill_is_not_fetched_again(fetching: Fetching) -> None:
    fetching.fill(3)
    fetching.run()
    names = fetching.manifest["file_name"].to_list()
    journal = fetching.out / "fetched.jsonl"
    lines = [line for line in journal.read_text().splitlines() if "listed" not in line]
    journal.write_text(lines[0] + "\n")  # the lines about the other two were not written yet
    (fetching.out / "manifest.csv").unlink()
    (fetching.out / ".incoming").mkdir()
    shutil.move(fetching.out / names[1], fetching.out / ".incoming" / Path(names[1]).name)
    fetching.run()
    assert len(fetching.wiki.downloads()) == 3
    assert sorted(fetching.manifest["file_name"]) == sorted(names)
    assert not (fetching.out / ".incoming").exists()


def test_control_c_keeps_the_state_and_exits_with_130(fetching: Fetching) -> None:
    fetching.fill(3)
    reached, release = threading.Event(), threading.Event()

    def stall(handler: Any) -> None:
        reached.set()
        release.wait(30)
        handler.close_connection = True

    fetching.wiki.fail_next(stall, path="/images/Tor_2")
    arguments = ["data", "fetch", str(fetching.write_sources(TOR)), "-o", str(fetching.out)]
    code = "from vision.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL) as process:
        assert reached.wait(30)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    release.set()
    assert len(fetching.manifest) == 2


def test_a_second_run_at_the_same_time_is_refused(fetching: Fetching) -> None:
    fetching.fill(1)
    with folder_lock(fetching.out), pytest.raises(OutputError, match=f"process {os.getpid()}"):
        fetching.run()
    assert fetching.run().is_complete  # the lock file lies there still, and locks nothing


def test_a_folder_that_is_another_data_sets_is_refused(fetching: Fetching) -> None:
    fetching.out.mkdir()
    (fetching.out / "manifest.csv").write_text("file_name,label\n")
    with pytest.raises(OutputError, match="not made by `vision data fetch`"):
        fetching.run()


def test_a_damaged_journal_is_told_with_its_line(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.run()
    journal = fetching.out / "fetched.jsonl"
    journal.write_text("{]\n" + journal.read_text())
    with pytest.raises(OutputError, match=r"fetched\.jsonl:1: damaged"):
        Journal(fetching.out)


def test_pictures_of_another_policy_are_told_when_the_policy_is_stricter_again(fetching: Fetching) -> None:
    closed = wiki_stub.metadata(licence="CC BY-NC 4.0", licence_url="")
    fetching.wiki.add_file("Closed.jpg", jpeg_bytes(1), categories=["Tor-M1"], extmetadata=closed)
    assert fetching.run(policy=LicencePolicy.ANY).num_refused == 0
    report = fetching.run()
    assert report.num_refused == 1
    assert any("1 pictures were taken under another policy" in line for line in problem_lines(report))


def test_only_what_a_killed_run_left_is_removed(fetching: Fetching) -> None:
    fetching.fill(1)
    left, others, folder = (f".a.jpg.{'0' * 32}.part", ".mine.part", f".data.{'0' * 32}.part")
    fetching.run()
    (fetching.out / left).touch()
    (fetching.out / others).touch()
    (fetching.out / folder).mkdir()
    fetching.run()
    assert [(fetching.out / name).exists() for name in (left, others, folder)] == [False, True, True]


def test_a_file_that_was_too_large_on_arrival_is_tried_again_when_the_limit_is_raised(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.wiki.fail_next(wiki_stub.told_size(2_000_000), path="/images/Tor_0")
    for _ in range(2):
        fetching.run(defaults="max_file_mb: 1")
    assert fetching.reasons() == {"Tor 0": "too large"}
    assert len(fetching.wiki.downloads()) == 1
    fetching.run(defaults="max_file_mb: 3")
    assert fetching.reasons() == {}
    assert len(fetching.manifest) == 1


def test_a_file_that_was_too_small_on_arrival_is_tried_again_when_the_limit_is_lowered(fetching: Fetching) -> None:
    fetching.wiki.add_file("Small.jpg", jpeg_bytes(1, (400, 320)), categories=["Tor-M1"], size=(2000, 1500))
    for _ in range(2):
        fetching.run(defaults="min_side_px: 500")
    assert fetching.reasons() == {"Small": "too small"}
    assert len(fetching.wiki.downloads()) == 1
    fetching.run(defaults="min_side_px: 300")
    assert len(fetching.manifest) == 1


def test_a_journal_that_cannot_be_read_is_told(fetching: Fetching) -> None:
    (fetching.out / "fetched.jsonl").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"fetched\.jsonl: cannot be read \(Is a directory\)"):
        fetching.run()


def test_the_card_counts_what_the_open_policy_refuses(fetching: Fetching) -> None:
    fetching.fill(1)
    fetching.run()
    assert "policy `open` refuses" not in (fetching.out / "README.md").read_text()
    closed = wiki_stub.metadata(licence="CC BY-NC 4.0", licence_url="")
    fetching.wiki.add_file("Closed.jpg", jpeg_bytes(9), categories=["Tor-M1"], extmetadata=closed)
    fetching.run(policy=LicencePolicy.ANY, refresh=True)
    assert "policy `open` refuses the licences of 1 of them" in (fetching.out / "README.md").read_text()
