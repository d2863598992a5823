"""Openverse as a source, against a stub of its documented answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("httpx2", reason="needs the extra 'data'")

from command_line import run_vision
from openverse_stub import OpenverseStub, running_openverse

from vision.data.fetching.found import CategoryQuery, FilesQuery, FoundPicture, QueryProblem, SearchQuery
from vision.data.fetching.openverse import OpenverseSource, licence_of
from vision.data.fetching.web_client import PoliteClient
from vision.errors import UnavailableError


@pytest.fixture
def stub() -> Iterator[OpenverseStub]:
    with running_openverse() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def source(stub: OpenverseStub, waits: list[float]) -> Iterator[OpenverseSource]:
    with PoliteClient("me@museum.org", ["127.0.0.1"], min_interval_s=0, sleep=waits.append) as client:
        yield OpenverseSource(client, stub.api)


def test_a_search_goes_through_all_pages_up_to_its_limit(stub: OpenverseStub, source: OpenverseSource) -> None:
    for number in range(50):
        stub.add(number)
    found = list(source.find(SearchQuery("avenger", 45)))
    assert [picture.title for picture in found if isinstance(picture, FoundPicture)] == [
        f"Avenger {number}" for number in range(45)
    ]
    assert len(stub.asked) == 3
    assert "page_size=20" in stub.asked[0]
    assert "license=by%2Cby-sa%2Ccc0%2Cpdm" in stub.asked[0]


def test_no_more_pages_are_asked_for_than_unnamed_users_may_see(stub: OpenverseStub, source: OpenverseSource) -> None:
    for number in range(260):
        stub.add(number)
    assert len(list(source.find(SearchQuery("avenger", 10_000)))) == 240
    assert len(stub.asked) == 12


def test_a_result_tells_author_licence_source_and_what_people_tagged(
    stub: OpenverseStub, source: OpenverseSource
) -> None:
    stub.add(7, creator=" A.\n Person", filesize=896128)
    (picture,) = source.find(SearchQuery("avenger", 5))
    assert isinstance(picture, FoundPicture)
    assert picture.identity == "openverse:4bc43a04-ef46-4544-a0c1-000000000007"
    assert (picture.author, picture.licence, picture.licence_stated) == ("A. Person", "CC-BY-SA-2.0", "CC BY-SA 2.0")
    assert picture.page_url == "https://www.flickr.com/photos/someone/7"
    assert (picture.width, picture.height, picture.size_bytes, picture.sha1) == (400, 320, 896128, None)
    assert (picture.media_type, picture.categories) == ("image/jpeg", ("avenger",))


def test_what_a_result_says_is_plain_text_and_links_lead_to_the_web(
    stub: OpenverseStub, source: OpenverseSource
) -> None:
    stub.add(8, creator="<b>A.</b> Per\u202eson", title="<i>Tor</i>", foreign_landing_url="javascript:alert(1)")
    (picture,) = source.find(SearchQuery("avenger", 5))
    assert isinstance(picture, FoundPicture)
    assert (picture.author, picture.title, picture.page_url) == ("A. Person", "Tor", "")


def test_files_are_found_by_their_identifiers(stub: OpenverseStub, source: OpenverseSource) -> None:
    known = stub.add(1)["id"]
    unknown = known.replace("4bc43a04", "00000000")
    found = list(source.find(FilesQuery((known, unknown, "../secret"))))
    assert [type(answer) for answer in found] == [FoundPicture, QueryProblem, QueryProblem]
    assert not any("secret" in path for path in stub.asked)


def test_a_category_is_a_problem_and_asks_nothing(stub: OpenverseStub, source: OpenverseSource) -> None:
    (answer,) = source.find(CategoryQuery("Tor-M1"))
    assert isinstance(answer, QueryProblem)
    assert "no categories" in answer.message
    assert stub.asked == []


def test_counting_asks_for_one_result(stub: OpenverseStub, source: OpenverseSource) -> None:
    assert source.count(SearchQuery("avenger", 50)) is None
    for number in range(30):
        stub.add(number)
    assert source.count(SearchQuery("avenger", 50)) == 30
    assert "page_size=1" in stub.asked[-1]


def test_being_throttled_is_waited_for_as_long_as_asked(
    stub: OpenverseStub, source: OpenverseSource, waits: list[float]
) -> None:
    stub.add(1)
    stub.refusals = [(429, {"Retry-After": "17"})]
    assert len(list(source.find(SearchQuery("avenger", 5)))) == 1
    assert max(waits) >= 17


def test_being_throttled_for_a_day_ends_the_run(stub: OpenverseStub, source: OpenverseSource) -> None:
    stub.refusals = [(429, {"Retry-After": "86400"})]
    with pytest.raises(UnavailableError, match="86,400 s"):
        list(source.find(SearchQuery("avenger", 5)))


@pytest.mark.parametrize(
    ("kind", "version", "url", "licence"),
    [
        ("by", "2.0", "https://creativecommons.org/licenses/by/2.0/", "CC-BY-2.0"),
        ("by-sa", "4.0", "https://creativecommons.org/licenses/by-sa/4.0/deed.en", "CC-BY-SA-4.0"),
        ("by-nc-nd", "2.0", "https://creativecommons.org/licenses/by-nc-nd/2.0/", "CC-BY-NC-ND-2.0"),
        ("cc0", "1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("pdm", "1.0", "https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("by", "2.0", "https://creativecommons.org/licenses/by-nc/2.0/", "unknown"),
        ("by", "", "", "unknown"),
        ("sampling+", "1.0", "https://creativecommons.org/licenses/sampling+/1.0/", "unknown"),
    ],
)
def test_licences_are_told_by_address_and_name_together(kind: str, version: str, url: str, licence: str) -> None:
    assert licence_of({"license": kind, "license_version": version, "license_url": url}) == licence


def test_pictures_of_openverse_go_through_the_same_fetch(stub: OpenverseStub, tmp_path: Path) -> None:
    for number in range(3):
        stub.add(number)
    stub.add(3, license="by-nc", license_url="https://creativecommons.org/licenses/by-nc/2.0/")
    stub.add(4, url="https://elsewhere.example.org/4.jpg")
    stub.files["/files/2.jpg"] = b"\xff\xd8 not a picture"
    sources = tmp_path / "sources.yaml"
    sources.write_text(
        f"version: 1\ncontact: me@museum.org\n"
        f"openverse: {{api: '{stub.api}', allowed_hosts: [127.0.0.1], min_interval_s: 0}}\n"
        "classes:\n  avenger:\n    - {search: avenger, source: openverse}\n"
    )
    done = run_vision("data", "fetch", sources, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = pl.read_csv(tmp_path / "out" / "manifest.csv")
    assert manifest["title"].to_list() == ["Avenger 0", "Avenger 1"]
    assert set(manifest["group"]) == {"author-a-person"}
    left_out = pl.read_csv(tmp_path / "out" / "left_out.csv")
    kinds = dict(zip(left_out["title"], left_out["kind"], strict=True))
    assert kinds == {"Avenger 2": "broken picture", "Avenger 3": "licence", "Avenger 4": "host not allowed"}
