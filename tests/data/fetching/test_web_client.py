"""The polite client against a server that does whatever can go wrong."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from wiki_stub import (
    CONTACT,
    Fault,
    WikiStub,
    answer_with,
    endless,
    gzip_bomb,
    hang_up,
    html_page,
    redirect,
    status,
    told_size,
    truncated,
)

from vision.data.fetching.web_address import AllowList, check_contact
from vision.data.fetching.web_client import PoliteClient
from vision.errors import (
    AnswerError,
    BrokenDownloadError,
    FetchError,
    ForbiddenError,
    LeftAloneError,
    MissingFileError,
    OneFileError,
    RefusedAddressError,
    TooLargeError,
    UnavailableError,
)

PICTURE = b"the bytes of a picture " * 100
SHA1 = hashlib.sha1(PICTURE).hexdigest()
OK = answer_with(b'{"fine": true}')


@pytest.fixture
def wiki() -> Iterator[WikiStub]:
    with WikiStub() as stub:
        stub.add_file("Tor.jpg", PICTURE)
        yield stub


class Waits(list[float]):
    """What the client waited for, without waiting."""


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(waits: Waits) -> Iterator[PoliteClient]:
    with make_client(waits) as made:
        yield made


def make_client(waits: Waits, **options: Any) -> PoliteClient:
    options = {"min_interval_s": 0.0, "sleep": waits.append, "jitter": lambda: 0.0, "clock": lambda: 0.0} | options
    return PoliteClient(CONTACT, ["127.0.0.1"], max_bits_per_s=float("inf"), **options)


def of_transport(handler: Any, *hosts: str, **options: Any) -> PoliteClient:
    """A client of servers that are functions, for hosts that are not this machine."""
    options = {"min_interval_s": 0.0, "sleep": lambda _: None} | options
    return PoliteClient(CONTACT, hosts, transport=httpx2.MockTransport(handler), **options)


def test_a_request_names_the_program_and_a_contact(wiki: WikiStub, client: PoliteClient) -> None:
    wiki.fail_next(OK)
    assert client.read_json(wiki.api_url, {"action": "query", "titles": "A|B"}) == {"fine": True}
    (seen,) = wiki.requests
    assert seen.headers["user-agent"] == f"vision/0.1.0 ({CONTACT}) httpx2/{httpx2.__version__}"
    assert seen.headers["accept-encoding"] == "gzip"
    assert seen.query == {"action": "query", "titles": "A|B"}


@pytest.mark.parametrize(
    ("contact", "message"),
    [
        ("", "contact is missing"),
        ("  ", "contact is missing"),
        ("me", "contact 'me' is neither a mail address nor an https page"),
        ("me@localhost", "neither a mail address"),
        ("http://museum.org/me", "neither a mail address"),
        ("https://museum", "neither a mail address"),
        ("https://museum.org/a)b", "neither a mail address"),
        ("a@museum.org\r\nX: y", "neither a mail address"),
        ("you@example.com", "contact 'you@example.com': example.com belongs to nobody"),
        ("you@your.domain", "contact 'you@your.domain': your.domain belongs to nobody"),
        ("https://yourdomain.org/me", "yourdomain.org belongs to nobody"),
        ("https://vision.invalid/contact", "vision.invalid belongs to nobody"),
    ],
)
def test_a_contact_that_reaches_nobody_is_refused_with_a_remedy(contact: str, message: str) -> None:
    with pytest.raises(FetchError, match="give a mail address, or an https page") as caught:
        PoliteClient(contact, ["commons.wikimedia.org"])
    assert message in str(caught.value)


@pytest.mark.parametrize("contact", ["curator@museum.org", " o'neil+bot@mail.museum.org ", CONTACT])
def test_a_contact_is_a_mail_address_or_a_page(contact: str) -> None:
    assert check_contact(contact) == contact.strip()


ALLOWED = AllowList(["commons.wikimedia.org", "*.wikimedia.org", "wiki.museum.org:8443", "127.0.0.1", "[::1]:8080"])


@pytest.mark.parametrize(
    "url",
    [
        "https://commons.wikimedia.org/w/api.php",
        "https://COMMONS.wikimedia.org:443/w/api.php",
        "https://upload.wikimedia.org/a.jpg",
        "https://wiki.museum.org:8443/",
        "http://127.0.0.1:8180/api.php",
        "https://127.0.0.1/",
        "http://[::1]:8080/",
    ],
)
def test_an_address_on_the_list_may_be_asked(url: str) -> None:
    ALLOWED.check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://commons.wikimedia.org/", "only https is asked"),
        ("https://wikimedia.org/", "the host wikimedia.org is not on the list"),
        ("https://commons.wikimedia.org.evil.net/", "not on the list"),
        ("https://evilwikimedia.org/", "not on the list"),
        ("https://commons.wikimedia.org:8443/", "the host commons.wikimedia.org:8443 is not on the list"),
        ("https://wiki.museum.org/", "not on the list"),
        ("https://10.0.0.1/", "not on the list"),
        ("http://127.0.0.2/", "not on the list"),
        ("http://[::1]/", "not on the list"),
        ("http://localhost/", "not on the list"),
        ("https://user:word@commons.wikimedia.org/", "user name or password"),
        ("https://evil.net\\@commons.wikimedia.org/", "not an https address"),
        ("https://commons.wikimedia.org/a b", "not an https address"),
        ("https://commons.wikimedia.org:99999/", "not an address"),
        ("https://[::1/", "not an address"),
        ("file:///etc/passwd", "not an https address"),
        ("//commons.wikimedia.org/", "not an https address"),
    ],
)
def test_any_other_address_is_refused(url: str, why: str) -> None:
    with pytest.raises(RefusedAddressError, match=why.replace(".", r"\.")):
        ALLOWED.check(url)


@pytest.mark.parametrize("entry", ["https://commons.wikimedia.org", "*", "*.org", "", "a b", "host:port", "a/b"])
def test_a_list_of_hosts_holds_hosts_alone(entry: str) -> None:
    with pytest.raises(FetchError, match="is no host; write the name alone, such as"):
        AllowList([entry])


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again_after_longer_and_longer_waits(
    wiki: WikiStub, client: PoliteClient, waits: Waits, code: int
) -> None:
    wiki.fail_next(status(code), times=3)
    wiki.fail_next(OK)
    assert client.read_json(wiki.api_url) == {"fine": True}
    assert waits == [5.0, 10.0, 20.0]


def test_waits_are_spread_by_chance(wiki: WikiStub, waits: Waits) -> None:
    wiki.fail_next(status(503))
    wiki.fail_next(OK)
    with make_client(waits, jitter=lambda: 0.8) as client:
        client.read_json(wiki.api_url)
    assert waits == [6.0]


def test_a_wait_is_announced_with_its_reason(wiki: WikiStub, waits: Waits) -> None:
    told = []
    wiki.fail_next(status(503))
    wiki.fail_next(OK)
    with make_client(waits, on_wait=lambda wait_s, why: told.append((wait_s, why))) as client:
        client.read_json(wiki.api_url)
    assert told == [(5.0, f"{wiki.api_url}: HTTP 503")]


def test_what_does_not_pass_ends_with_address_cause_attempts_and_remedy(
    wiki: WikiStub, client: PoliteClient, waits: Waits
) -> None:
    wiki.fail_next(status(503, text="Our servers are currently under maintenance"), times=9)
    with pytest.raises(UnavailableError) as caught:
        client.read_json(wiki.api_url)
    assert str(caught.value) == (
        f"{wiki.api_url}: HTTP 503 (Our servers are currently under maintenance) (tried 5 times); "
        "run again later, it goes on from here"
    )
    assert not isinstance(caught.value, OneFileError)
    assert waits == [5.0, 10.0, 20.0, 40.0]
    assert len(wiki.requests) == 5


@pytest.mark.parametrize(
    ("retry_after", "date", "wait_s"),
    [
        ("7", "", 7.0),
        ("1", "", 5.0),  # less than the client's own patience
        ("Mon, 23 Nov 2026 10:01:30 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 90.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", "Mon, 23 Nov 2026 10:00:00 GMT", 5.0),
        ("soon", "", 5.0),
        ("-3", "", 5.0),
    ],
)
def test_retry_after_is_honoured(
    wiki: WikiStub, client: PoliteClient, waits: Waits, retry_after: str, date: str, wait_s: float
) -> None:
    wiki.fail_next(status(429, retry_after=retry_after, date=date))
    wiki.fail_next(OK)
    client.read_json(wiki.api_url)
    assert waits == [wait_s]


def test_a_date_in_retry_after_counts_from_now_if_the_server_does_not_tell_the_time(
    wiki: WikiStub, client: PoliteClient, waits: Waits
) -> None:
    until = datetime.now(UTC) + timedelta(seconds=60)
    wiki.fail_next(status(429, retry_after=format_datetime(until, usegmt=True)))
    wiki.fail_next(OK)
    client.read_json(wiki.api_url)
    assert waits[0] == pytest.approx(60, abs=5)


def test_a_server_that_asks_for_an_hour_of_rest_gets_it(wiki: WikiStub, client: PoliteClient, waits: Waits) -> None:
    wiki.fail_next(status(429, retry_after="3600"))
    with pytest.raises(LeftAloneError, match="asks to be left alone for 3,600 s, and at most 300 s are waited"):
        client.read_json(wiki.api_url)
    assert waits == []
    assert len(wiki.requests) == 1


def test_a_server_that_hangs_up_is_asked_again(wiki: WikiStub, client: PoliteClient, waits: Waits) -> None:
    wiki.fail_next(hang_up())
    wiki.fail_next(OK)
    assert client.read_json(wiki.api_url) == {"fine": True}
    assert waits == [5.0]


def test_a_server_that_is_not_there_is_told_with_its_address(client: PoliteClient, waits: Waits) -> None:
    with WikiStub() as gone:
        url = gone.api_url
    with pytest.raises(UnavailableError, match=rf"{url}: no connection \(.+\) \(tried 3 times\)"):
        client.read_json(url)


def test_a_timeout_is_tried_again() -> None:
    def silent(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("timed out", request=request)

    with (
        of_transport(silent, "museum.org", max_attempts=2) as client,
        pytest.raises(UnavailableError, match=r"no answer in time \(timed out\) \(tried 2 times\)"),
    ):
        client.read_json("https://museum.org/api")


@pytest.mark.parametrize("code", [401, 403])
def test_a_server_that_refuses_the_client_is_not_asked_again(wiki: WikiStub, client: PoliteClient, code: int) -> None:
    wiki.fail_next(status(code, text="Please respect our robot policy https://w.wiki/4wJS"))
    with pytest.raises(
        ForbiddenError, match=rf"HTTP {code} \(Please respect .+4wJS\).+see whether the contact is right"
    ):
        client.read_json(wiki.api_url)
    assert len(wiki.requests) == 1


@pytest.mark.parametrize("code", [400, 404, 410, 414])
def test_any_other_refusal_of_a_question_ends_it_at_once(wiki: WikiStub, client: PoliteClient, code: int) -> None:
    wiki.fail_next(status(code))
    with pytest.raises(AnswerError, match=f"{wiki.api_url}: HTTP {code}; check the address"):
        client.read_json(wiki.api_url, {"titles": "x" * 500})
    assert len(wiki.requests) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (html_page(), r"the answer is no JSON \(text/html: 'Please log in'\); check the address of the API"),
        (answer_with(b'{"query": {'), r"the answer is no JSON \(application/json: '\{\"query\": \{'\)"),
        (answer_with(b"\xff\xfe\xfd"), "no JSON"),
        (answer_with(b"[1, 2]"), "the answer is no JSON object"),
        (answer_with(b"[" * 100_000), "no JSON"),
        (answer_with(b""), "no JSON"),
    ],
)
def test_an_answer_that_is_no_json_object_is_told_with_its_beginning(
    wiki: WikiStub, client: PoliteClient, fault: Fault, message: str
) -> None:
    wiki.fail_next(fault)
    with pytest.raises(AnswerError, match=message):
        client.read_json(wiki.api_url)


def test_an_answer_may_ask_to_be_asked_again(wiki: WikiStub, client: PoliteClient, waits: Waits) -> None:
    wiki.fail_next(answer_with(b'{"later": "busy"}'))
    wiki.fail_next(OK)
    assert client.read_json(wiki.api_url, ask_again=lambda answer: answer.get("later")) == {"fine": True}
    assert waits == [5.0]


def test_a_packed_answer_is_unpacked(wiki: WikiStub, client: PoliteClient) -> None:
    wiki.fail_next(answer_with(gzip.compress(b'{"a": "' + b"b" * 200_000 + b'"}'), encoding="gzip"))
    assert len(client.read_json(wiki.api_url)["a"]) == 200_000


def test_an_answer_that_unpacks_to_more_than_allowed_is_refused(wiki: WikiStub, waits: Waits) -> None:
    wiki.fail_next(gzip_bomb(50_000_000))
    with (
        make_client(waits, max_bytes=1_000_000) as client,
        pytest.raises(TooLargeError, match=r"more than 1,000,000 bytes, and at most 1,000,000 may be taken"),
    ):
        client.read_json(wiki.api_url)
    assert len(wiki.requests) == 1


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"not packed at all", "gzip", "cannot be unpacked"),
        (gzip.compress(PICTURE)[:-20], "gzip", "cut short: the packed stream has no end"),
        (PICTURE, "br", "packed as 'br', which was not asked for"),
    ],
    ids=["no gzip", "cut short", "brotli"],
)
def test_an_answer_that_cannot_be_unpacked_is_broken(
    wiki: WikiStub, client: PoliteClient, tmp_path: Path, body: bytes, encoding: str, reason: str
) -> None:
    wiki.fail_next(answer_with(body, encoding=encoding), path="/images/", times=9)
    with pytest.raises(BrokenDownloadError, match=reason):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000)


def test_a_file_arrives_whole_with_its_digests(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    target = tmp_path / "new" / "tor.jpg"
    downloaded = client.download(wiki.file_url("Tor.jpg"), target, max_bytes=10_000, sha1=SHA1.upper())
    assert target.read_bytes() == PICTURE
    assert downloaded.sha1 == SHA1
    assert downloaded.sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert (downloaded.size_bytes, downloaded.media_type) == (len(PICTURE), "image/jpeg")
    assert wiki.requests[0].headers["accept-encoding"] == "identity"


def test_a_packed_file_is_saved_unpacked(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(answer_with(gzip.compress(PICTURE), encoding="gzip"), path="/images/")
    assert client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000, sha1=SHA1).sha1 == SHA1


def test_a_download_cut_short_is_fetched_again(
    wiki: WikiStub, client: PoliteClient, waits: Waits, tmp_path: Path
) -> None:
    wiki.fail_next(truncated(PICTURE[:100], len(PICTURE)), path="/images/")
    client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000, sha1=SHA1)
    assert (tmp_path / "a.jpg").read_bytes() == PICTURE
    assert waits == [5.0]


def test_a_download_that_is_always_cut_short_leaves_no_file(
    wiki: WikiStub, client: PoliteClient, tmp_path: Path
) -> None:
    wiki.fail_next(truncated(PICTURE[:100], len(PICTURE)), path="/images/", times=9)
    url = wiki.file_url("Tor.jpg")
    with pytest.raises(BrokenDownloadError) as caught:
        client.download(url, tmp_path / "a.jpg", max_bytes=10_000, sha1=SHA1)
    assert str(caught.value) == (
        f"{url}: cut short after 100 of 2,300 bytes (tried 5 times); "
        "left out; run again later, or take it out of the sources if it stays so"
    )
    assert list(tmp_path.iterdir()) == []


def test_wrong_bytes_are_fetched_three_times_and_then_told(
    wiki: WikiStub, client: PoliteClient, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"older")
    with pytest.raises(BrokenDownloadError) as caught:
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000, sha1="AB" * 20)
    assert f"the bytes have SHA-1 {SHA1}, the source says {'ab' * 20} (tried 3 times); left out" in str(caught.value)
    assert len(wiki.requests) == 3
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.jpg", b"older")]


def test_a_file_that_is_gone_concerns_itself_alone(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"Gone\.jpg: HTTP 404 \(Not Found\); check the address") as caught:
        client.download(wiki.file_url("Gone.jpg"), tmp_path / "a.jpg", max_bytes=10_000)
    assert isinstance(caught.value, OneFileError)
    assert len(wiki.requests) == 1


def test_a_file_that_its_server_stumbles_over_concerns_itself_alone(
    wiki: WikiStub, client: PoliteClient, tmp_path: Path
) -> None:
    wiki.fail_next(status(500, text="Error generating thumbnail"), path="/images/", times=9)
    with pytest.raises(
        BrokenDownloadError, match=r"HTTP 500 \(Error generating thumbnail\) \(tried 5 times\); left out"
    ):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000)


def test_a_server_without_an_answer_ends_the_run(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(status(429, text="Use thumbnail steps listed on https://w.wiki/GHai"), path="/images/", times=9)
    with pytest.raises(UnavailableError, match=r"HTTP 429 \(Use thumbnail steps listed on https://w\.wiki/GHai\)"):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000)


def test_a_file_announced_as_300_mb_is_refused_before_it_comes(
    wiki: WikiStub, client: PoliteClient, tmp_path: Path
) -> None:
    wiki.fail_next(told_size(300_000_000), path="/images/")
    with pytest.raises(TooLargeError, match=r"Tor\.jpg: 300,000,000 bytes, and at most 50,000,000 may be taken; raise"):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=50_000_000)
    assert list(tmp_path.iterdir()) == []
    assert len(wiki.requests) == 1


def test_a_file_that_never_ends_is_cut_off(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(endless(300_000_000), path="/images/")
    with pytest.raises(TooLargeError, match="more than 1,000,000 bytes"):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=1_000_000)
    assert wiki.num_bytes_streamed < 50_000_000
    assert list(tmp_path.iterdir()) == []


def test_a_packed_file_that_explodes_is_cut_off(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(gzip_bomb(100_000_000), path="/images/")
    with pytest.raises(TooLargeError, match="more than 1,000,000 bytes"):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_drips_is_given_up(wiki: WikiStub, tmp_path: Path) -> None:
    hours = iter(range(0, 10**9, 3600))
    with (
        make_client(Waits(), clock=lambda: float(next(hours)), max_attempts=2) as client,
        pytest.raises(BrokenDownloadError, match=r"not whole after 900 s \(tried 2 times\)"),
    ):
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000)


def test_a_redirect_to_an_allowed_host_is_followed(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(redirect("/images/Tor.jpg?x=1", 301), path="/images/Old.jpg")
    downloaded = client.download(wiki.file_url("Old.jpg"), tmp_path / "a.jpg", max_bytes=10_000, sha1=SHA1)
    assert downloaded.sha1 == SHA1


def test_a_redirect_to_another_host_is_not_followed(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    wiki.fail_next(redirect(f"{wiki.other_host_url}/images/Tor.jpg"), path="/images/")
    with pytest.raises(RefusedAddressError) as caught:
        client.download(wiki.file_url("Tor.jpg"), tmp_path / "a.jpg", max_bytes=10_000)
    assert f"{wiki.other_host_url}/images/Tor.jpg: the host localhost" in str(caught.value)
    assert "is not on the list of hosts that may be asked (127.0.0.1); add it there if you trust it" in str(
        caught.value
    )
    assert len(wiki.requests) == 1


@pytest.mark.parametrize(
    "location", ["http://[::1", "ftp://127.0.0.1/a", "http://x:y@127.0.0.1/", "http://169.254.169.254/"]
)
def test_a_redirect_to_an_odd_address_is_not_followed(wiki: WikiStub, client: PoliteClient, location: str) -> None:
    wiki.fail_next(redirect(location))
    with pytest.raises(RefusedAddressError):
        client.read_json(wiki.api_url)
    assert len(wiki.requests) == 1


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    def to_http(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"Location": "http://museum.org/api"})

    with (
        of_transport(to_http, "museum.org") as client,
        pytest.raises(RefusedAddressError, match="only https is asked"),
    ):
        client.read_json("https://museum.org/api")


def test_redirects_in_a_circle_end(wiki: WikiStub, client: PoliteClient) -> None:
    wiki.fail_next(redirect("/w/api.php"), times=99)
    with pytest.raises(RefusedAddressError, match="redirected more than 5 times"):
        client.read_json(wiki.api_url)
    assert len(wiki.requests) == 6


def test_a_redirect_does_not_carry_the_query_along(wiki: WikiStub, client: PoliteClient) -> None:
    wiki.fail_next(redirect("/w/api.php?moved=1"))
    wiki.fail_next(OK)
    client.read_json(wiki.api_url, {"action": "query"})
    assert [seen.query for seen in wiki.requests] == [{"action": "query"}, {"moved": "1"}]


class Clock:
    """Time that goes on by waiting alone."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s


def test_requests_keep_their_distance(wiki: WikiStub) -> None:
    clock, starts = Clock(), []
    wiki.fail_next(lambda handler: (starts.append(clock.now_s), OK(handler))[1], times=3)
    with make_client(Waits(), min_interval_s=2.0, clock=clock, sleep=clock.sleep) as client:
        for _ in range(3):
            client.read_json(wiki.api_url)
    assert starts == [100.0, 102.0, 104.0]


def test_downloads_stay_below_the_rate_that_is_asked_for(wiki: WikiStub, tmp_path: Path) -> None:
    clock = Clock()
    options: Any = {"min_interval_s": 0.0, "clock": clock, "sleep": clock.sleep}
    with PoliteClient(CONTACT, ["127.0.0.1"], max_bits_per_s=8_000, **options) as client:
        for name in ("a", "b", "c"):
            client.download(wiki.file_url("Tor.jpg"), tmp_path / name, max_bytes=10_000)
    assert clock.now_s == pytest.approx(100 + 2 * 2.3, abs=0.01)  # 2,300 bytes at 1,000 bytes a second, twice


def test_two_threads_do_not_ask_at_the_same_time(wiki: WikiStub, client: PoliteClient, tmp_path: Path) -> None:
    def download(name: str) -> None:
        client.download(wiki.file_url("Tor.jpg"), tmp_path / name, max_bytes=10_000)

    threads = [threading.Thread(target=download, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(list(tmp_path.iterdir())), wiki.max_at_once) == (8, 1)


def test_https_hosts_are_asked_by_https() -> None:
    asked = []

    def note(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, stream=httpx2.ByteStream(b'{"ok": 1}'))

    with of_transport(note, "*.wikimedia.org") as client:
        assert client.read_json("https://commons.wikimedia.org/w/api.php", {"titles": "Тор-М2|Q&A"}) == {"ok": 1}
    assert asked == [
        "https://commons.wikimedia.org/w/api.php?titles=%D0%A2%D0%BE%D1%80-%D0%9C2%7CQ%26A",
    ]
