"""The MediaWiki source against a wiki that answers as documented, and fails in every documented way."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wiki_stub import CONTACT, WikiStub, answer_with, api_error, html_page, maxlag, metadata, status

from vision.data.fetching.commons import MediaWikiSource
from vision.data.fetching.found import CategoryQuery, FilesQuery, FoundPicture, Query, QueryProblem, SearchQuery
from vision.data.fetching.web_client import PoliteClient
from vision.errors import AnswerError, ForbiddenError, UnavailableError


@pytest.fixture
def wiki() -> Iterator[WikiStub]:
    with WikiStub() as stub:
        yield stub


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(waits: list[float]) -> Iterator[PoliteClient]:
    with PoliteClient(
        CONTACT,
        ["127.0.0.1"],
        min_interval_s=0.0,
        max_bits_per_s=float("inf"),
        sleep=waits.append,
        jitter=lambda: 0.0,
        clock=lambda: 0.0,
    ) as made:
        yield made


@pytest.fixture
def source(wiki: WikiStub, client: PoliteClient) -> MediaWikiSource:
    return MediaWikiSource("commons", wiki.api_url, client, width=None)


def keys(source: MediaWikiSource, query: Query) -> list[str]:
    """Names of the pictures found; messages of problems in brackets."""
    return [f"[{found.message}]" if isinstance(found, QueryProblem) else found.key for found in source.find(query)]


def picture(source: MediaWikiSource, name: str) -> FoundPicture:
    (found,) = source.find(FilesQuery((name,)))
    assert isinstance(found, FoundPicture)
    return found


def test_a_file_is_described_in_full(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_category("CC-BY-SA-4.0", hidden=True)
    told = metadata(
        author='<a href="//commons.wikimedia.org/wiki/User:A_Person" title="User:A_Person">A. Person</a>',
        ObjectName="Tor-M2 on parade",
        DateTimeOriginal="2019-05-09 10:21:45",
        ImageDescription="<p>A <b>Tor-M2</b><br>at rehearsal &amp; parade</p>",
        Restrictions="trademarked|personality",
    )
    file = wiki.add_file(
        "Tor-M2 (1).jpg", b"12345", categories=["Tor-M2", "CC-BY-SA-4.0"], extmetadata=told, size=(4000, 3000)
    )
    assert picture(source, "Tor-M2 (1).jpg") == FoundPicture(
        source="commons",
        key="Tor-M2 (1).jpg",
        title="Tor-M2 on parade",
        page_url=f"{wiki.url}/wiki/File:Tor-M2_%281%29.jpg",
        file_url=f"{wiki.url}/images/Tor-M2_%281%29.jpg",
        changes="",
        media_type="image/jpeg",
        size_bytes=5,
        sha1=file.told_sha1,
        width=4000,
        height=3000,
        author="A. Person",
        licence="CC-BY-SA-4.0",
        licence_stated="CC BY-SA 4.0; restrictions: trademarked, personality",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0",
        date="2019-05-09",
        description="A Tor-M2 at rehearsal & parade",
        categories=("Tor-M2",),
    )


@pytest.mark.parametrize("extmetadata", [[], {}, None, "text", {"Artist": None, "LicenseUrl": {"value": None}}])
def test_a_file_without_metadata_is_found_with_an_unknown_licence(
    wiki: WikiStub, source: MediaWikiSource, extmetadata: object
) -> None:
    wiki.add_file("Tor.jpg").metadata = extmetadata
    found = picture(source, "Tor.jpg")
    assert (found.licence, found.licence_stated, found.licence_url) == ("unknown", "", "")
    assert (found.title, found.author, found.date, found.description) == ("Tor", "", "", "")


def test_html_in_an_author_is_reduced_to_what_a_reader_sees(wiki: WikiStub, source: MediaWikiSource) -> None:
    author = (
        '<table><tr><td><div class="fn"><a href="x" title="y"><bdi>Некий&nbsp;Автор\u202e</bdi></a></div></td></tr>'
        '</table><span style="display: none;">Unknown author</span><script>alert(1)</script><br>(talk)'
    )
    wiki.add_file("Tor.jpg", extmetadata=metadata(author=author))
    assert picture(source, "Tor.jpg").author == "Некий Автор (talk)"


def test_a_metadata_value_may_come_in_several_languages_or_as_a_list(wiki: WikiStub, source: MediaWikiSource) -> None:
    languages = {"_type": "lang", "de": "Ein Panzer", "en": "A tank"}
    wiki.add_file(
        "A.jpg", extmetadata=metadata(author={"_type": "ul", "0": "One", "1": "Two"}, ImageDescription=languages)
    )  # type: ignore[arg-type]
    found = picture(source, "A.jpg")
    assert (found.author, found.description) == ("One, Two", "A tank")


def test_the_credit_line_that_an_author_asks_for_is_kept_beside_the_name(
    wiki: WikiStub, source: MediaWikiSource
) -> None:
    wiki.add_file("A.jpg", extmetadata=metadata(author="One", Attribution="Two for a museum"))
    wiki.add_file("B.jpg", extmetadata=metadata(author="One", Attribution="One for a museum"))
    assert picture(source, "A.jpg").author == "One (Two for a museum)"
    assert picture(source, "B.jpg").author == "One for a museum"


def test_a_licence_that_is_contested_is_unknown_and_says_why(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_file("A.jpg", extmetadata=metadata(DeletionReason="Copyright violation"))
    wiki.add_file("B.jpg", extmetadata=metadata(NonFree="true"))
    assert picture(source, "A.jpg").licence_stated == "CC BY-SA 4.0; to be deleted: Copyright violation"
    assert picture(source, "B.jpg").licence_stated == "CC BY-SA 4.0; non-free"
    assert picture(source, "A.jpg").licence == picture(source, "B.jpg").licence == "unknown"


def test_works_of_the_us_government_are_told_by_a_hidden_category(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_category("PD US Army", hidden=True)
    told = metadata(licence="Public domain", licence_url="")
    wiki.add_file("Patriot.jpg", categories=["PD US Army", "Patriot"], extmetadata=told)
    wiki.add_file("Old.jpg", categories=["Patriot"], extmetadata=told)
    assert picture(source, "Patriot.jpg").licence == "LicenseRef-US-Government-Work"
    assert picture(source, "Patriot.jpg").categories == ("Patriot",)
    assert picture(source, "Old.jpg").licence == "unknown"


def test_a_category_is_read_over_several_pages_of_answers(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.list_limit, wiki.detail_limit = 3, 2
    names = [f"Tor {number:03}.jpg" for number in range(120)]
    for name in names:
        wiki.add_file(name, categories=["Tor", name])
    found = list(source.find(CategoryQuery("Tor")))
    assert [one.key for one in found if isinstance(one, FoundPicture)] == names
    assert all(isinstance(one, FoundPicture) and one.categories == ("Tor", one.key) for one in found)
    assert len(wiki.requests) == 40 + 60  # 120 by 3, and 120 by 2
    assert len({tuple(seen.query.items()) for seen in wiki.requests}) == 100  # none twice


def test_a_thousand_files_take_two_lists_and_twenty_descriptions(wiki: WikiStub, source: MediaWikiSource) -> None:
    for number in range(1000):
        wiki.add_file(f"Зенитный ракетный комплекс «Тор» на параде {number}.jpg", categories=["Тор"])
    assert len(keys(source, CategoryQuery("Тор"))) == 1000
    assert len(wiki.requests) == 2 + 20
    assert {seen.query["maxlag"] for seen in wiki.requests} == {"5"}
    assert wiki.max_at_once == 1


def test_files_come_page_after_page_and_not_all_at_the_end(wiki: WikiStub, source: MediaWikiSource) -> None:
    for number in range(200):
        wiki.add_file(f"Tor {number}.jpg", categories=["Tor"])
    next(source.find(CategoryQuery("Tor")))
    assert len(wiki.requests) == 2


@pytest.mark.parametrize(
    ("depth", "expected"),
    [(0, ["a.jpg"]), (1, ["a.jpg", "b.jpg", "c.jpg"]), (2, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"])],
)
def test_subcategories_are_read_to_the_depth_that_is_asked_for(
    wiki: WikiStub, source: MediaWikiSource, depth: int, expected: list[str]
) -> None:
    wiki.add_category("Tor-M1", parents=["Tor"])
    wiki.add_category("Tor-M2", parents=["Tor"])
    wiki.add_category("Tor-M2 in Minsk", parents=["Tor-M2"])
    for name, category in {"a": "Tor", "b": "Tor-M1", "c": "Tor-M2", "d": "Tor-M2 in Minsk"}.items():
        wiki.add_file(f"{name}.jpg", categories=[category])
    assert [key.lower() for key in keys(source, CategoryQuery("Tor", depth))] == expected


def test_categories_in_a_circle_are_read_once(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_category("Tor", parents=["Tor variants"])
    wiki.add_category("Tor variants", parents=["Tor", "Tor variants"])
    wiki.add_file("A.jpg", categories=["Tor", "Tor variants"])
    wiki.add_file("B.jpg", categories=["Tor variants"])
    assert keys(source, CategoryQuery("Tor", depth=10)) == ["A.jpg", "B.jpg"]


def test_a_category_that_does_not_exist_is_a_problem_of_the_query(wiki: WikiStub, source: MediaWikiSource) -> None:
    query = CategoryQuery("Tor-M3")
    (problem,) = source.find(query)
    assert problem == QueryProblem(
        query, "commons: category 'Tor-M3' does not exist; look for its name on the wiki, it may have been moved"
    )
    assert source.count(query) is None


def test_a_category_without_files_says_how_deep_it_was_read(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_category("Tor")
    assert keys(source, CategoryQuery("Tor", 1)) == [
        "[commons: category 'Tor' holds no files down to depth 1; it may have been moved, or needs a larger depth]"
    ]
    assert source.count(CategoryQuery("Tor")) == 0


@pytest.mark.parametrize("name", ["", " ", "A|B", "A#b", "A[1]", "A\nB"])
def test_what_cannot_name_a_category_is_not_asked(wiki: WikiStub, source: MediaWikiSource, name: str) -> None:
    (problem,) = source.find(CategoryQuery(name))
    assert isinstance(problem, QueryProblem)
    assert wiki.requests == []


def test_a_search_takes_as_many_as_asked_for(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.list_limit = 10
    for number in range(30):
        wiki.add_file(f"Tor-M2 {number}.jpg")
    assert keys(source, SearchQuery("tor-m2", limit=12)) == [f"Tor-M2 {number}.jpg" for number in range(12)]
    assert [seen.query.get("srlimit") for seen in wiki.requests] == ["12", "12", None]
    assert source.count(SearchQuery("tor-m2", limit=12)) == 30


def test_a_search_that_finds_nothing_is_a_problem_of_the_query(wiki: WikiStub, source: MediaWikiSource) -> None:
    assert keys(source, SearchQuery("tor-m9", 5)) == ["[commons: the search 'tor-m9' finds no files; try fewer words]"]
    assert source.count(SearchQuery("tor-m9", 5)) == 0


def test_files_are_found_by_name_in_order_however_they_are_spelled(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_file("B.jpg")
    wiki.add_file("A b.jpg")
    wiki.add_redirect("Old name.jpg", "B.jpg")
    query = FilesQuery(("a_b.jpg", "C.jpg", "Old_name.jpg", "File:B.jpg", "x|y.jpg"))
    assert keys(source, query) == [
        "A b.jpg",
        "[commons: 'File:C.jpg' does not exist; check the spelling]",
        "B.jpg",
        "B.jpg",
        "[commons: 'x|y.jpg' cannot be the name of a file; check the spelling]",
    ]
    assert source.count(query) == 3


@pytest.mark.parametrize(
    "name", ["Тор-М2, «парад» 2019.jpg", "AC/DC.jpg", 'Tor "Mk 2" & co + 100%.jpg', "O'Tor?.jpg", "東.jpg"]
)
def test_names_with_signs_that_addresses_and_tables_use_are_found(
    wiki: WikiStub, source: MediaWikiSource, name: str
) -> None:
    wiki.add_file(name, categories=["Tor"])
    assert picture(source, name).key == name
    assert keys(source, CategoryQuery("Tor")) == [name]


def test_many_long_names_are_asked_for_in_addresses_that_servers_take(wiki: WikiStub, source: MediaWikiSource) -> None:
    names = tuple(f"{'Тор' * 30} {number}.jpg" for number in range(60))
    for name in names:
        wiki.add_file(name)
    assert keys(source, FilesQuery(names)) == list(names)
    assert len(wiki.requests) == 8


def test_a_title_is_the_name_without_its_ending(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_file("AC/DC 1.5.jpg")
    assert picture(source, "AC/DC 1.5.jpg").title == "AC/DC 1.5"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://[::1", "data:text/html,x", "file:///etc/passwd"])
def test_addresses_that_are_none_of_the_web_are_left_out(wiki: WikiStub, source: MediaWikiSource, address: str) -> None:
    info = {"url": address, "descriptionurl": address, "extmetadata": metadata(licence_url=address)}
    page = {"pageid": 1, "ns": 6, "title": "File:A.jpg", "imageinfo": [info]}
    wiki.api_answer = lambda query: {"batchcomplete": True, "query": {"pages": [page]}}  # type: ignore[method-assign]
    found = picture(source, "A.jpg")
    assert (found.file_url, found.page_url, found.licence_url) == ("", "", "")


def test_older_versions_of_a_file_are_not_fetched(wiki: WikiStub, source: MediaWikiSource) -> None:
    file = wiki.add_file("Tor.jpg", num_old_versions=40)
    assert picture(source, "Tor.jpg").sha1 == file.told_sha1
    assert len(wiki.requests) == 1


def test_a_page_that_vanished_meanwhile_is_told(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.add_file("A.jpg", categories=["Tor"])
    wiki.add_file("B.jpg", categories=["Tor"])
    wiki.list_limit = 1
    found = source.find(CategoryQuery("Tor"))
    listed = wiki.api_answer

    def without_b(query: Any) -> dict[str, Any]:
        if "pageids" in query:
            wiki.files.pop("B.jpg", None)
        return listed(query)

    wiki.api_answer = without_b  # type: ignore[method-assign]
    messages = [one.message if isinstance(one, QueryProblem) else one.key for one in found]
    assert messages[0] == "A.jpg"
    assert "does not exist" in messages[1]


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (None, "is a page without a file"),
        ([], "is a page without a file"),
        ([{"filemissing": True}], "is hidden or lost"),
        ([{"filehidden": True, "sha1": "0"}], "is hidden or lost"),
        ([{"url": None}], "is hidden or lost"),
    ],
)
def test_a_file_that_is_hidden_or_lost_is_a_problem_of_its_own(
    wiki: WikiStub, source: MediaWikiSource, info: object, problem: str
) -> None:
    page = {"pageid": 1, "ns": 6, "title": "File:A.jpg"} | ({} if info is None else {"imageinfo": info})
    wiki.api_answer = lambda query: {"batchcomplete": True, "query": {"pages": [page]}}  # type: ignore[method-assign]
    assert keys(source, FilesQuery(("A.jpg",))) == [f"[commons: 'File:A.jpg' {problem}]"]


def test_a_file_that_a_wiki_shares_with_another_is_found(wiki: WikiStub, source: MediaWikiSource) -> None:
    info = {"url": "//upload.wikimedia.org/a.jpg", "descriptionurl": "https://commons.wikimedia.org/wiki/File:A.jpg"}
    page = {"ns": 6, "title": "File:A.jpg", "missing": True, "known": True, "imageinfo": [info]}
    wiki.api_answer = lambda query: {"batchcomplete": True, "query": {"pages": [page]}}  # type: ignore[method-assign]
    assert picture(source, "A.jpg").file_url == "http://upload.wikimedia.org/a.jpg"


@pytest.mark.parametrize(
    ("mime", "size", "changes", "media_type"),
    [
        ("image/jpeg", (4000, 3000), "scaled to 1280 px", "image/jpeg"),
        ("image/tiff", (4000, 3000), "scaled to 1280 px, converted from image/tiff to image/jpeg", "image/jpeg"),
        ("image/jpeg", (1280, 960), "", "image/jpeg"),
        ("image/png", (300, 200), "", "image/png"),
    ],
)
def test_a_width_gets_the_scaled_file_where_the_original_is_wider(
    wiki: WikiStub, client: PoliteClient, mime: str, size: tuple[int, int], changes: str, media_type: str
) -> None:
    wiki.add_file("Tor.jpg", mime=mime, size=size)
    found = picture(MediaWikiSource("commons", wiki.api_url, client, width=1280), "Tor.jpg")
    assert (found.changes, found.media_type, found.width) == (changes, media_type, size[0])
    assert found.file_url.endswith("/thumb/Tor.jpg/1280px" if changes else "/images/Tor.jpg")


def test_what_is_found_can_be_downloaded(wiki: WikiStub, client: PoliteClient, tmp_path: Any) -> None:
    wiki.add_file("AC/DC «Тор».jpg", b"bytes")
    found = picture(MediaWikiSource("commons", wiki.api_url, client, width=None), "AC/DC «Тор».jpg")
    client.download(found.file_url, tmp_path / "a.jpg", max_bytes=100, sha1=found.sha1)
    assert (tmp_path / "a.jpg").read_bytes() == b"bytes"


@pytest.mark.parametrize(
    "fault",
    [
        maxlag(),
        api_error("ratelimited", "You've exceeded your rate limit.", retry_after="5"),
        api_error("readonly", "The wiki is currently in read-only mode."),
        api_error("internal_api_error_DBQueryError", "Caught exception of type DBQueryError"),
        status(503),
        status(429, retry_after="5"),
    ],
    ids=["maxlag", "ratelimited", "readonly", "internal", "503", "429"],
)
def test_a_wiki_that_is_busy_is_asked_again_later(
    wiki: WikiStub, source: MediaWikiSource, waits: list[float], fault: Any
) -> None:
    wiki.add_file("A.jpg", categories=["Tor"])
    wiki.fail_next(fault, times=2)
    assert keys(source, CategoryQuery("Tor")) == ["A.jpg"]
    assert waits == [5.0, 10.0]


def test_a_wiki_that_lags_for_long_ends_the_run_in_its_own_words(
    wiki: WikiStub, source: MediaWikiSource, waits: list[float]
) -> None:
    wiki.fail_next(maxlag(12.5), times=99)
    with pytest.raises(UnavailableError) as caught:
        keys(source, CategoryQuery("Tor"))
    assert str(caught.value) == (
        f"{wiki.api_url}: the API answers 'maxlag': Waiting for 10.64.48.23: 12.5 seconds lagged. (tried 5 times); "
        "run again later, it goes on from here"
    )
    assert waits == [5.0, 10.0, 20.0, 40.0]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (api_error("readapidenied", "You need read permission."), "the API answers 'readapidenied': You need read"),
        (api_error("badvalue", "Unrecognized <b>value</b>"), "the API answers 'badvalue': Unrecognized value"),
        (answer_with(b'{"error": {"code": "badtoken", "info": "Invalid token"}}'), "answers 'badtoken': Invalid token"),
        (answer_with(b'{"errors": ["what"]}'), "the API answers 'no code': no text"),
        (
            answer_with(b'{"hello": 1}'),
            r"the answer is not that of MediaWiki's API \(it has hello\); check the",
        ),
        (answer_with(b"{}"), r"the answer is not that of MediaWiki's API \(it has nothing\)"),
        (answer_with(b'{"query": [1]}'), "the answer is not that of MediaWiki's API"),
        (answer_with(b'{"query": {"pages"'), "the answer is no JSON"),
        (html_page(), r"the answer is no JSON \(text/html: 'Please log in'\); check the address of the API"),
    ],
    ids=["denied", "html", "legacy", "odd error", "other API", "empty", "odd query", "cut", "page"],
)
def test_an_answer_that_is_an_error_ends_the_query_in_the_apis_words(
    wiki: WikiStub, source: MediaWikiSource, fault: Any, message: str
) -> None:
    wiki.fail_next(fault)
    with pytest.raises(AnswerError, match=f"{wiki.api_url}: .*{message}"):
        keys(source, CategoryQuery("Tor"))
    assert len(wiki.requests) == 1


def test_an_address_where_no_wiki_is_asks_to_check_it(wiki: WikiStub, client: PoliteClient) -> None:
    source = MediaWikiSource("mine", f"{wiki.url}/api.php", client, width=None)
    with pytest.raises(AnswerError, match=rf"{wiki.url}/api.php: HTTP 404 \(Not Found\); check the address"):
        keys(source, CategoryQuery("Tor"))


def test_a_wiki_that_blocks_the_client_ends_the_run(wiki: WikiStub, source: MediaWikiSource) -> None:
    wiki.fail_next(status(403, text="Requests from your IP have been blocked"))
    with pytest.raises(ForbiddenError, match=r"HTTP 403 \(Requests from your IP have been blocked\)"):
        keys(source, CategoryQuery("Tor"))


def test_continuation_that_does_not_move_on_is_ended(wiki: WikiStub, source: MediaWikiSource) -> None:
    stuck = {"continue": {"cmcontinue": "x", "continue": "-||"}, "query": {"categorymembers": []}}
    wiki.api_answer = lambda query: stuck  # type: ignore[method-assign]
    with pytest.raises(AnswerError, match="the answer continues where it began"):
        keys(source, CategoryQuery("Tor"))
    assert len(wiki.requests) == 2


def test_warnings_of_the_api_are_kept_once(wiki: WikiStub, source: MediaWikiSource) -> None:
    warning = {"code": "unrecognizedparams", "text": "Unrecognized parameter: iiextmetadatafilter.", "module": "main"}
    answer = {"warnings": [warning], "batchcomplete": True, "query": {"pages": []}}
    wiki.api_answer = lambda query: answer  # type: ignore[method-assign]
    keys(source, FilesQuery(("A.jpg",)))
    keys(source, FilesQuery(("B.jpg",)))
    assert source.warnings == ["Unrecognized parameter: iiextmetadatafilter."]


class EchoClient:
    """Answers every question with the same, whatever it is."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    def read_json(self, url: str, params: Any, *, ask_again: Any) -> dict[str, Any]:
        if ask_again(self.answer):
            raise UnavailableError("busy")
        return self.answer


NAMES = ["title", "pageid", "url", "imageinfo", "Artist", "LicenseUrl", "DateTimeOriginal", "value", "_type", "missing"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
INFO = st.fixed_dictionaries(
    {"url": st.just("https://a.org/b.jpg"), "extmetadata": ANYTHING},
    optional={"mime": ANYTHING, "thumburl": ANYTHING, "size": ANYTHING},
)
PAGE = st.fixed_dictionaries(
    {"title": st.just("File:A.jpg"), "pageid": st.just(1) | ANYTHING, "imageinfo": st.lists(INFO, max_size=2)},
    optional={"categories": ANYTHING, "invalid": ANYTHING, "invalidreason": ANYTHING},
)
MEMBERS = st.lists(st.fixed_dictionaries({"pageid": st.integers(1, 2)}, optional={"type": ANYTHING}), max_size=3)
QUERY = st.fixed_dictionaries(
    {"categorymembers": MEMBERS | ANYTHING, "pages": st.lists(PAGE, max_size=2) | ANYTHING},
    optional={"normalized": ANYTHING, "search": ANYTHING},
)
SOUND = st.fixed_dictionaries({"query": QUERY}, optional={"continue": ANYTHING, "warnings": ANYTHING})
ODD = st.dictionaries(st.sampled_from(["query", "errors", "error", "batchcomplete", "continue"]), ANYTHING, max_size=3)


@settings(max_examples=200, deadline=None)
@given(answer=SOUND | ODD)
def test_whatever_a_wiki_answers_is_a_picture_a_problem_or_an_error_of_the_answer(answer: dict[str, Any]) -> None:
    source = MediaWikiSource("commons", "https://a.org/w/api.php", EchoClient(answer), width=100)  # type: ignore[arg-type]
    for query in (CategoryQuery("Tor", 1), SearchQuery("tor", 3), FilesQuery(("A.jpg",))):
        try:
            found = list(source.find(query))
        except (AnswerError, UnavailableError):
            continue
        assert all(isinstance(one, FoundPicture | QueryProblem) for one in found)
