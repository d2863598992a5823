"""sources.yaml: what may stand in it, how faults are told, and whether what it names is there."""

from __future__ import annotations

import datetime
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("httpx2", reason="needs the extra 'data'")

from command_line import run_vision
from openverse_stub import jpeg_bytes
from wiki_stub import CONTACT, WikiStub, status

from vision.data.fetching.found import CategoryQuery, FilesQuery, SearchQuery
from vision.data.fetching.source_checks import QueryCheck, mark_verified
from vision.data.fetching.sources import SourcesFile, load_sources
from vision.errors import ConfigError
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(None)
DAY = datetime.date(2026, 3, 1)


def load(folder: Path, text: str) -> SourcesFile:
    path = folder / "sources.yaml"
    path.write_text(textwrap.dedent(text))
    return load_sources(path, TAXONOMY)


def test_queries_come_in_the_order_of_the_file_with_its_defaults(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """\
        version: 1
        defaults: {depth: 2, search_limit: 7}
        classes:
          tor-m1:
            - category: Category:Tor-M1_SAM
            - {category: Tor, depth: 0, verified: 2026-01-31}
          buk-m1:
            - {search: 9A310M1, source: openverse}
            - files: [File:Buk.jpg, Other.JPG]
        """,
    )
    assert [query.query for query in loaded.queries] == [
        CategoryQuery("Tor-M1 SAM", 2),
        CategoryQuery("Tor", 0),
        SearchQuery("9A310M1", 7),
        FilesQuery(("Buk.jpg", "Other.JPG")),
    ]
    assert loaded.queries[1].entry.verified == datetime.date(2026, 1, 31)
    assert loaded.queries[2].place.endswith("sources.yaml:8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("classes: {tor-m: [{category: A}]}", r":2: class 'tor-m' is not in the taxonomy, did you mean 'tor-m[12]'\?"),
        (
            "classes: {tor-m1: [{category: A, serch: B}]}",
            r"unknown key 'classes\.tor-m1\.0\.serch', did you mean 'search'",
        ),
        (
            "classes: {tor-m1: [{category: A, search: B}]}",
            "exactly one of category, search, files; it has category and",
        ),
        ("classes: {tor-m1: [{note: B}]}", "exactly one of category, search, files; it has none"),
        ("classes: {tor-m1: [{files: []}]}", "files is empty"),
        ("classes: {tor-m1: [{search: A, depth: 1}]}", "depth is for category alone"),
        ("classes: {tor-m1: [{files: [A], limit: 1}]}", "limit is for search alone"),
        (
            "classes: {tor-m1: [{category: A, source: comons}]}",
            r"source 'comons' is not known, did you mean 'commons'\?",
        ),
        ("classes: {tor-m1: [{category: A, source: openverse}]}", "openverse has no categories; use 'search'"),
        (
            "classes: {tor-m1: [{category: A}]}\nwithout_sources: {tor-m1: none}",
            ":3: class 'tor-m1' stands under classes",
        ),
        ("classes: {tor-m1: [{category: A}]}\ndefaults: {width: 10}", "defaults.width: .*64, not 10"),
        (
            "classes: {tor-m1: [{category: A}]}\nwikis: {own: {api: 'http://wiki.museum.org/api.php', "
            "allowed_hosts: [wiki.museum.org]}}",
            ":3: wikis.own: api is not https; plain http is for localhost",
        ),
        (
            "classes: {tor-m1: [{category: A}]}\nwikis: {own: {api: 'https://wiki.museum.org/api.php', "
            "allowed_hosts: [files.museum.org]}}",
            r"the host wiki\.museum\.org is not on the list",
        ),
        (
            "classes: {tor-m1: [{category: A}]}\nwikis: {own: {api: 'https://wiki.museum.org/api.php', "
            "allowed_hosts: [wiki.museum.org], min_interval_s: 0}}",
            "min_interval_s is at least 1 for servers that others use too",
        ),
        (
            "classes: {tor-m1: [{category: A}]}\n"
            "wikis: {openverse: {api: 'https://a.org/api.php', allowed_hosts: [a.org]}}",
            ":3: openverse is no wiki",
        ),
        (
            "classes: {tor-m1: [{category: A}]}\n"
            "wikis: {own: {api: 'https://a.org/api.php', allowed_hosts: [a.org], licence: CC BY}}",
            "licence 'CC BY' is none that is known; write its SPDX id",
        ),
        (
            "classes: {tor-m1: [{category: A}]}\nwikis: {own: {api: 'https://commons.wikimedia.org/w/api.php', "
            "allowed_hosts: ['*.wikimedia.org'], licence: CC0-1.0}}",
            "licence is for wikis that state none",
        ),
    ],
)
def test_a_fault_is_told_with_its_line_and_its_remedy(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, f"version: 1\n{text}\n")


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "version: 1\nclasses:\n  tor-m: [{category: A}]\n  bukk: [{category: A, source: own}]\n")
    assert len(str(caught.value).splitlines()) == 3


def test_a_class_without_queries_is_told_with_the_reason_that_the_file_gives(tmp_path: Path) -> None:
    loaded = load(tmp_path, "version: 1\nclasses: {tor-m1: [{category: A}]}\nwithout_sources: {buk: no one knows}\n")
    with pytest.raises(ConfigError, match=r"class 'buk' has no queries here \(no one knows\)"):
        loaded.queries_of(["buk"])
    with pytest.raises(ConfigError, match="did you mean 'tor-m1'"):
        loaded.queries_of(["tor-m"])
    with pytest.raises(ConfigError, match=r"class 'm1' has no queries here, did you mean one of tor-m1\?"):
        loaded.queries_of(["m1"])
    with pytest.raises(ConfigError, match="class 't-72' has no queries here; there are tor-m1"):
        loaded.queries_of(["t-72"])


def test_a_wiki_of_ones_own_may_take_the_place_of_commons(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        """\
        version: 1
        wikis: {commons: {api: "http://127.0.0.1:8080/api.php", allowed_hosts: [127.0.0.1], min_interval_s: 0}}
        classes: {tor-m1: [{category: A}]}
        """,
    )
    site = loaded.sources.site("commons")
    assert site is not None
    assert site.api == "http://127.0.0.1:8080/api.php"


def mark_all(loaded: SourcesFile) -> tuple[str, int, list[str]]:
    checks = [QueryCheck(query, 3, ()) for query in loaded.queries]
    num_marked, left = mark_verified(loaded, checks, DAY)
    return loaded.path.read_text(), num_marked, left


def test_marking_changes_one_word_a_query_and_keeps_comments_and_layout(tmp_path: Path) -> None:
    text = """\
    # Ours
    version: 1
    classes:
      tor-m1: # the first
        - category: Tor-M1
          verified: false # nobody looked
          note: 'verified: false'
        - {category: "Tor, M1", verified: 2025-01-01, depth: 0}
        - search: "Tor"   # no mark yet
        - category: 'Tor #2'
    """
    marked, num_marked, left = mark_all(load(tmp_path, text))
    expected = textwrap.dedent(text).replace("verified: false # nobody", "verified: 2026-03-01 # nobody")
    expected = expected.replace("verified: 2025-01-01", "verified: 2026-03-01")
    expected = expected.replace("# no mark yet\n", "# no mark yet\n      verified: 2026-03-01\n")
    expected = expected.replace("'Tor #2'\n", "'Tor #2'\n      verified: 2026-03-01\n")
    assert (marked, num_marked, left) == (expected, 4, [])


def test_entries_that_cannot_be_marked_safely_are_left_to_the_user(tmp_path: Path) -> None:
    text = """\
    version: 1
    classes:
      tor-m1:
        - {category: Tor-M1}
        - category: >-
            Tor
            M1
        - files: [A.jpg]
        - {category: Tor, note: "once verified: false, then not", verified: false}
    """
    marked, num_marked, left = mark_all(load(tmp_path, text))
    assert marked == textwrap.dedent(text)
    assert num_marked == 0
    assert [place.rpartition(":")[2] for place in left] == ["4", "5", "8", "9"]


def sources_of(wiki: WikiStub, folder: Path) -> Path:
    path = folder / "sources.yaml"
    path.write_text(
        f"version: 1\ncontact: {CONTACT}\n"
        f"wikis: {{commons: {{api: '{wiki.api_url}', allowed_hosts: [127.0.0.1], min_interval_s: 0}}}}\n"
        "classes:\n  tor-m1:\n    - category: Tor-M1\n      verified: false\n    - files: [Tor.jpg, Gone.jpg]\n"
        "    - category: Parent\n  buk-m1:\n    - category: Bukk\n      verified: false\n"
    )
    return path


def test_the_command_tells_what_is_there_and_marks_it(tmp_path: Path) -> None:
    with WikiStub() as wiki:
        wiki.add_file("Tor.jpg", jpeg_bytes(1), categories=["Tor-M1"])
        wiki.add_category("Tor-M1", parents=["Parent"])
        wiki.add_category("Parent")
        path = sources_of(wiki, tmp_path)
        done = run_vision("data", "sources", path, "--write")
    assert done.returncode == 3, done.stderr
    assert "Gone.jpg" in done.stdout
    assert f"{path}:11: category Bukk, depth 1: leads nowhere" in done.stdout
    assert "2 of 4 queries lead somewhere" in done.stdout
    today = datetime.datetime.now(datetime.UTC).date()
    assert path.read_text().count(f"verified: {today}") == 2
    assert path.read_text().count("verified: false") == 1
    assert all(not seen.path.startswith("/images/") for seen in wiki.requests)


def test_a_wiki_that_refuses_ends_the_command_and_changes_nothing(tmp_path: Path) -> None:
    with WikiStub() as wiki:
        path = sources_of(wiki, tmp_path)
        wiki.fail_next(status(403, text="no"), times=99)
        done = run_vision("data", "sources", path, "--write")
    assert done.returncode == 2
    assert "403" in done.stderr
    assert "verified: 20" not in path.read_text()


def test_what_was_answered_before_a_source_failed_is_kept(tmp_path: Path) -> None:
    with WikiStub() as wiki:
        wiki.add_file("Tor.jpg", jpeg_bytes(1), categories=["Tor-M1"])
        path = sources_of(wiki, tmp_path)
        wiki.fail_next(lambda handler: handler._answer_well())
        wiki.fail_next(status(403, text="no"), times=99)
        done = run_vision("data", "sources", path, "--write")
    assert done.returncode == 2
    assert "3 queries were not answered" in done.stderr
    assert path.read_text().count("verified: 20") == 1


def test_a_contact_is_asked_for_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text("version: 1\nclasses: {tor-m1: [{category: A}]}\n")
    done = run_vision("data", "fetch", path, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "give --contact" in done.stderr
    assert not (tmp_path / "out").exists()


def test_marking_keeps_line_ends_and_links(tmp_path: Path) -> None:
    real, path = tmp_path / "real.yaml", tmp_path / "sources.yaml"
    real.write_bytes(b"version: 1\r\nclasses:\r\n  tor-m1:\r\n    - category: Tor\r\n    - category: Tor-M1\r\n")
    path.symlink_to(real)
    loaded = load_sources(path, TAXONOMY)
    mark_verified(loaded, [QueryCheck(query, 1, ()) for query in loaded.queries], DAY)
    assert path.is_symlink()
    text = real.read_bytes()
    assert text.count(f"      verified: {DAY}\r\n".encode()) == 2
    assert text.count(b"\n") == text.count(b"\r\n") == 7
