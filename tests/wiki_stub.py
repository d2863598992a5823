"""A small MediaWiki on loopback, made from the documented answers of its action API, that fails on demand.

It answers `action=query` as https://www.mediawiki.org/wiki/API:Query and its modules describe (formatversion=2,
errorformat=plaintext), refuses what the API's etiquette forbids, and writes down every request. A test plants faults:

    with WikiStub() as wiki:
        wiki.add_file("Tor.jpg", b"...", categories=["Tor missile system"])
        wiki.fail_next(status(429, retry_after="7"), path="/images/")
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit

CONTACT = "https://meta.wikimedia.org/wiki/User:Example"
BY_SA_4 = "https://creativecommons.org/licenses/by-sa/4.0"


@dataclass
class StubFile:
    """A file of the wiki; what the API tells of it may be a lie."""

    name: str
    page_id: int
    body: bytes
    categories: tuple[str, ...]
    metadata: object
    mime: str
    width: int
    height: int
    told_size: int
    told_sha1: str
    num_old_versions: int = 0


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


Fault = Callable[["_Handler"], None]


@dataclass
class _Planted:
    fault: Fault
    path: str
    times: int


def metadata(
    author: str = "A. Person", licence: str = "CC BY-SA 4.0", licence_url: str = BY_SA_4, **more: object
) -> dict[str, Any]:
    """`extmetadata` as Commons gives it; more fields by name, such as `DateTimeOriginal`."""
    told = {"Artist": author, "LicenseShortName": licence, "LicenseUrl": licence_url, **more}
    return {name: {"value": value, "source": "commons-desc-page"} for name, value in told.items() if value != ""}


# What may go wrong, for `fail_next`.


def status(code: int, *, retry_after: str = "", text: str = "", date: str = "") -> Fault:
    """An HTTP error."""
    headers = {"Retry-After": retry_after, "Date": date, "Content-Type": "text/html; charset=utf-8"}
    body = f"<html><head><title>Error</title></head><body><p>{text}</p></body></html>".encode() if text else b""
    return lambda handler: handler.answer(code, {name: value for name, value in headers.items() if value}, body)


def api_error(code: str, text: str, *, retry_after: str = "") -> Fault:
    """An error of the API, which comes with HTTP 200."""
    errors = {"errors": [{"code": code, "text": text, "module": "main"}], "docref": "See /w/api.php", "servedby": "mw1"}
    headers = {"Content-Type": "application/json", "MediaWiki-API-Error": code}
    if retry_after:
        headers["Retry-After"] = retry_after
    return lambda handler: handler.answer(200, headers, json.dumps(errors).encode())


def maxlag(lag_s: float = 6.5) -> Fault:
    """As Manual:Maxlag_parameter has it."""
    return api_error("maxlag", f"Waiting for 10.64.48.23: {lag_s} seconds lagged.", retry_after="5")


def answer_with(body: bytes, *, content_type: str = "application/json", encoding: str = "") -> Fault:
    """HTTP 200 with any body."""
    headers = {"Content-Type": content_type} | ({"Content-Encoding": encoding} if encoding else {})
    return lambda handler: handler.answer(200, headers, body)


def html_page() -> Fault:
    """HTTP 200 with a page for people, as captive portals and misconfigured servers give it."""
    return answer_with(b"<!DOCTYPE html><title>Login</title><h1>Please log in</h1>", content_type="text/html")


def truncated(sent: bytes, told_bytes: int) -> Fault:
    """Fewer bytes than the head says, then the connection is closed."""

    def fault(handler: _Handler) -> None:
        handler.answer(200, {"Content-Length": str(told_bytes), "Content-Type": "image/jpeg"}, sent)
        handler.close_connection = True

    return fault


def endless(max_bytes: int) -> Fault:
    """Bytes without a length until the client has enough."""

    def fault(handler: _Handler) -> None:
        handler.start(200, {"Content-Type": "image/jpeg", "Connection": "close"})
        handler.stub.num_bytes_streamed = 0
        while handler.stub.num_bytes_streamed < max_bytes:
            handler.stub.num_bytes_streamed += handler.wfile.write(b"\0" * 65_536)
        handler.close_connection = True

    return fault


def told_size(num_bytes: int) -> Fault:
    """A head that announces a large file, and no body."""

    def fault(handler: _Handler) -> None:
        handler.answer(200, {"Content-Length": str(num_bytes), "Content-Type": "image/jpeg"}, b"")
        handler.close_connection = True

    return fault


def gzip_bomb(unpacked_bytes: int) -> Fault:
    """A packed answer a thousand times smaller than what it unpacks to."""
    return answer_with(gzip.compress(b" " * unpacked_bytes), encoding="gzip")


def redirect(location: str, code: int = 302) -> Fault:
    """To another address."""
    return lambda handler: handler.answer(code, {"Location": location}, b"")


def hang_up() -> Fault:
    """The connection is closed without an answer."""

    def fault(handler: _Handler) -> None:
        handler.close_connection = True

    return fault


@dataclass
class WikiStub:
    """The wiki; a context manager.

    Attributes:
        list_limit: Most entries of a list in one answer, for continuation.
        detail_limit: Most files that one answer describes, for continuation of props.
        requests: All that came.
        max_at_once: Most requests that were in progress together.
    """

    list_limit: int = 500
    detail_limit: int = 50
    files: dict[str, StubFile] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    hidden_categories: set[str] = field(default_factory=set)
    requests: list[Seen] = field(default_factory=list)
    max_at_once: int = 0
    num_bytes_streamed: int = 0

    def __enter__(self) -> Self:
        self._planted: list[_Planted] = []
        self._now = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def other_host_url(self) -> str:
        """The same server under another name, as far as a list of hosts goes."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def api_url(self) -> str:
        return f"{self.url}/w/api.php"

    def file_url(self, name: str) -> str:
        return f"{self.url}/images/{quote(name.replace(' ', '_'), safe='')}"

    def add_file(
        self,
        name: str,
        body: bytes = b"a picture",
        *,
        categories: Sequence[str] = (),
        extmetadata: object = None,
        mime: str = "image/jpeg",
        size: tuple[int, int] = (2000, 1500),
        told_size: int | None = None,
        told_sha1: str | None = None,
        num_old_versions: int = 0,
    ) -> StubFile:
        """A file in categories, under a free licence unless `extmetadata` says otherwise; `[]` is PHP's empty table."""
        file = StubFile(
            name=name,
            page_id=100 + len(self.files),
            body=body,
            categories=tuple(categories),
            metadata=metadata() if extmetadata is None else extmetadata,
            mime=mime,
            width=size[0],
            height=size[1],
            told_size=len(body) if told_size is None else told_size,
            told_sha1=hashlib.sha1(body).hexdigest() if told_sha1 is None else told_sha1,
            num_old_versions=num_old_versions,
        )
        self.files[name] = file
        for category in categories:
            self.parents.setdefault(category, ())
        return file

    def add_category(self, name: str, *, parents: Sequence[str] = (), hidden: bool = False) -> None:
        self.parents[name] = (*self.parents.get(name, ()), *parents)
        if hidden:
            self.hidden_categories.add(name)

    def add_redirect(self, name: str, target: str) -> None:
        """The name of a file that was moved."""
        self.redirects[name] = target

    def fail_next(self, fault: Fault, *, path: str = "/w/api.php", times: int = 1) -> None:
        """The next requests whose path begins so go wrong, each fault in the order in which it was planted."""
        self._planted.append(_Planted(fault, path, times))

    def downloads(self) -> list[str]:
        """Names of the files that were asked for, each time."""
        return [
            unquote(seen.path).removeprefix("/images/") for seen in self.requests if seen.path.startswith("/images/")
        ]

    # The server's side.

    def begin(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.requests.append(seen)
            self._now += 1
            self.max_at_once = max(self.max_at_once, self._now)
            for planted in self._planted:
                if planted.times > 0 and seen.path.startswith(planted.path):
                    planted.times -= 1
                    return planted.fault
        return None

    def end(self) -> None:
        with self._lock:
            self._now -= 1

    def api_answer(self, query: Mapping[str, str]) -> dict[str, Any]:
        expected = {"action": "query", "format": "json", "formatversion": "2", "errorformat": "plaintext"}
        if any(query.get(name) != value for name, value in expected.items()):
            return _error("badvalue", f"The stub answers {expected} alone.")
        if query.get("list") == "categorymembers":
            return self._category_members(query)
        if query.get("list") == "search":
            return self._search(query)
        if "titles" in query or "pageids" in query:
            return self._pages(query)
        return {"batchcomplete": True}

    def _category_members(self, query: Mapping[str, str]) -> dict[str, Any]:
        category = query["cmtitle"].removeprefix("Category:").replace("_", " ")
        members: list[dict[str, Any]] = []
        if "subcat" in query["cmtype"]:
            for number, (name, parents) in enumerate(self.parents.items()):
                if category in parents:
                    members.append({"pageid": 5000 + number, "ns": 14, "title": f"Category:{name}", "type": "subcat"})
        members += [
            {"pageid": file.page_id, "ns": 6, "title": f"File:{file.name}", "type": "file"}
            for file in self.files.values()
            if category in file.categories
        ]
        return self._listed("categorymembers", members, "cmcontinue", query, query["cmlimit"])

    def _search(self, query: Mapping[str, str]) -> dict[str, Any]:
        words = query["srsearch"].lower().split()
        found = [file for file in self.files.values() if all(word in file.name.lower() for word in words)]
        hits = [{"ns": 6, "title": f"File:{file.name}", "pageid": file.page_id} for file in found]
        answer = self._listed("search", hits, "sroffset", query, query["srlimit"])
        answer["query"]["searchinfo"] = {"totalhits": len(hits)}
        return answer

    def _listed(
        self, name: str, entries: list[dict[str, Any]], parameter: str, query: Mapping[str, str], limit: str
    ) -> dict[str, Any]:
        start = int(query.get(parameter, 0))
        end = start + min(self.list_limit, 500 if limit == "max" else int(limit))
        answer: dict[str, Any] = {"batchcomplete": True, "query": {name: entries[start:end]}}
        if end < len(entries):
            answer["continue"] = {parameter: end, "continue": "-||"}
        return answer

    def _pages(self, query: Mapping[str, str]) -> dict[str, Any]:
        asked = query.get("titles", query.get("pageids", "")).split("|")
        if len(asked) > 50:
            return _error("toomanyvalues", "Too many values supplied for parameter. The limit is 50.")
        told: dict[str, Any] = {}
        pages = self._titled(asked, told) if "titles" in query else self._numbered(asked)
        start = int(query.get("iicontinue", 0))
        end = start + self.detail_limit
        for number, page in enumerate(pages):
            file = self.files.get(page.get("title", "").removeprefix("File:"))
            if file is not None and "imageinfo" in query.get("prop", "") and start <= number < end:
                old = query.get("iistart", "") != ""
                page["imageinfo"] = [self._image_info(file, int(query.get("iiurlwidth", 0)), old=old)]
                page["categories"] = [
                    {"ns": 14, "title": f"Category:{name}", "hidden": name in self.hidden_categories}
                    for name in file.categories
                ]
        answer: dict[str, Any] = {"query": {**told, "pages": pages}}
        alone = self.files.get(pages[0].get("title", "").removeprefix("File:")) if len(pages) == 1 else None
        if end < len(pages):
            answer["continue"] = {"iicontinue": end, "clcontinue": f"{end}|X", "continue": "||"}
        elif alone is not None and alone.num_old_versions:
            answer["continue"] = {"iistart": "2009-09-30T06:04:51Z", "continue": "||"}
        else:
            answer["batchcomplete"] = True
        return answer

    def _titled(self, titles: Sequence[str], told: dict[str, Any]) -> list[dict[str, Any]]:
        pages: dict[str, dict[str, Any]] = {}
        for asked in titles:
            namespace, _, name = asked.partition(":")
            title = f"{namespace}:{name[:1].upper()}{name[1:]}".replace("_", " ")
            if title != asked:
                told.setdefault("normalized", []).append({"fromencoded": False, "from": asked, "to": title})
            name = title.partition(":")[2]
            if namespace == "File" and name in self.redirects:
                told.setdefault("redirects", []).append({"from": title, "to": f"File:{self.redirects[name]}"})
                name = self.redirects[name]
            pages[f"{namespace}:{name}"] = self._page(namespace, name)
        return list(pages.values())

    def _page(self, namespace: str, name: str) -> dict[str, Any]:
        if namespace == "Category" and name in self.parents:
            num_files = sum(name in file.categories for file in self.files.values())
            info = {"size": num_files, "pages": 0, "files": num_files, "subcats": 0, "hidden": False}
            return {"pageid": 5000, "ns": 14, "title": f"Category:{name}", "categoryinfo": info}
        if namespace == "File" and name in self.files:
            return {"pageid": self.files[name].page_id, "ns": 6, "title": f"File:{name}", "imagerepository": "local"}
        return {"ns": 6, "title": f"{namespace}:{name}", "missing": True, "imagerepository": ""}

    def _numbered(self, page_ids: Sequence[str]) -> list[dict[str, Any]]:
        names = {str(file.page_id): file.name for file in self.files.values()}
        return [
            self._page("File", names[page_id]) if page_id in names else {"pageid": int(page_id), "missing": True}
            for page_id in page_ids
        ]

    def _image_info(self, file: StubFile, width: int, *, old: bool) -> dict[str, Any]:
        info: dict[str, Any] = {
            "size": file.told_size,
            "width": file.width,
            "height": file.height,
            "url": self.file_url(file.name),
            "descriptionurl": f"{self.url}/wiki/File:{quote(file.name.replace(' ', '_'))}",
            "descriptionshorturl": f"{self.url}/w/index.php?curid={file.page_id}",
            "sha1": "0" * 40 if old else file.told_sha1,
            "extmetadata": file.metadata,
            "mime": file.mime,
        }
        if width and width < file.width:
            scaled = f"{self.url}/images/thumb/{quote(file.name.replace(' ', '_'), safe='')}/{width}px"
            height = round(file.height * width / file.width)
            info |= {"thumburl": scaled, "thumbwidth": width, "thumbheight": height, "thumbmime": "image/jpeg"}
        elif width:
            query = "?utm_source=commons.wikimedia.org&utm_campaign=imageinfo"  # Commons adds it to some addresses
            info |= {"thumburl": info["url"] + query, "thumbwidth": file.width, "thumbheight": file.height}
        return info

    def file_body(self, path: str) -> tuple[bytes, str] | None:
        parts = [unquote(part).replace("_", " ") for part in path.removeprefix("/images/").split("/")]
        by_name = {name.replace("_", " "): file for name, file in self.files.items()}
        if parts[0] == "thumb" and len(parts) == 3 and parts[1] in by_name:
            return _scaled(by_name[parts[1]].body, int(parts[2].removesuffix("px"))), "image/jpeg"
        file = by_name.get(parts[0]) if len(parts) == 1 else None
        return (file.body, file.mime) if file else None


def _error(code: str, text: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "text": text, "module": "query"}], "docref": "See /w/api.php"}


def _scaled(body: bytes, width: int) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(body)).convert("RGB")
    except UnidentifiedImageError:
        return b"scaled " + body
    scaled = io.BytesIO()
    picture.resize((width, round(picture.height * width / picture.width))).save(scaled, "JPEG")
    return scaled.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # head and body in one packet: two of them would wait 40 ms for each other
    stub: WikiStub

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.stub.begin(Seen(parts.path, dict(parse_qsl(parts.query)), headers))
        try:
            (fault or _Handler._answer_well)(self)
        finally:
            self.stub.end()

    def _answer_well(self) -> None:
        parts = urlsplit(self.path)
        agent = self.headers.get("User-Agent", "")
        if not agent.startswith("vision/") or not ("@" in agent or "https://" in agent):
            self.answer(403, {"Content-Type": "text/plain"}, b"Please set a user-agent, see w.wiki/4wJS")
        elif parts.path == "/w/api.php":
            body = json.dumps(self.stub.api_answer(dict(parse_qsl(parts.query)))).encode()
            self._answer_packed({"Content-Type": "application/json; charset=utf-8"}, body)
        elif (found := self.stub.file_body(parts.path)) is not None:
            self.answer(200, {"Content-Type": found[1]}, found[0])
        else:
            self.answer(404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>")

    def _answer_packed(self, headers: dict[str, str], body: bytes) -> None:
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            headers, body = {**headers, "Content-Encoding": "gzip"}, gzip.compress(body)
        self.answer(200, headers, body)

    def start(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def answer(self, code: int, headers: Mapping[str, str], body: bytes) -> None:
        self.start(code, {"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent."""
