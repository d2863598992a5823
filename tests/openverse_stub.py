"""A server on loopback that answers as Openverse's API for images does, by its documented examples.

The fields are those of `image_search_200_example` in https://github.com/WordPress/openverse,
api/api/examples/image_responses.py; errors those of its `image_search_400_example` and `image_detail_404_example`.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image


def jpeg_bytes(number: int, size: tuple[int, int] = (400, 320)) -> bytes:
    """A JPEG unlike those of other numbers."""
    stream = io.BytesIO()
    Image.new("RGB", size, (number * 37 % 256, number * 91 % 256, 80)).save(stream, "JPEG")
    return stream.getvalue()


class OpenverseStub:
    """What the server holds and was asked."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refusals: list[tuple[int, dict[str, str]]] = []
        """Answers given first, one a question: status and headers."""
        self.base = ""

    @property
    def api(self) -> str:
        return f"{self.base}/v1/images/"

    def add(self, number: int, **values: Any) -> dict[str, Any]:
        """A result with its file; `values` override its fields."""
        identifier = f"4bc43a04-ef46-4544-a0c1-{number:012d}"
        self.files[f"/files/{number}.jpg"] = jpeg_bytes(number)
        result = {
            "id": identifier,
            "title": f"Avenger {number}",
            "indexed_on": "2022-08-27T17:39:48Z",
            "foreign_landing_url": f"https://www.flickr.com/photos/someone/{number}",
            "url": f"{self.base}/files/{number}.jpg",
            "creator": "A. Person",
            "creator_url": "https://www.flickr.com/photos/someone",
            "license": "by-sa",
            "license_version": "2.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
            "provider": "flickr",
            "source": "flickr",
            "category": "photograph",
            "filesize": None,
            "filetype": "jpg",
            "tags": [{"accuracy": None, "name": "avenger"}, {"accuracy": 0.9, "name": "truck"}],
            "fields_matched": ["title"],
            "mature": False,
            "height": 320,
            "width": 400,
            **values,
        }
        self.results.append(result)
        return result

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes, str]:
        if path in self.files:
            return 200, self.files[path], "image/jpeg"
        status, body = self._api_answer(path, query)
        return status, json.dumps(body).encode(), "application/json"

    def _api_answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        if path == "/v1/images/":
            page, size = int(query["page"][0]), int(query["page_size"][0])
            if size > 20:
                return 401, {"detail": "Ensure this value is less than or equal to 20."}
            num_shown = min(len(self.results), 240)
            body = {
                "result_count": num_shown,
                "page_count": -(-num_shown // size),
                "page_size": size,
                "page": page,
                "results": self.results[:num_shown][(page - 1) * size : page * size],
            }
            return 200, body
        found = [result for result in self.results if path == f"/v1/images/{result['id']}/"]
        return (200, found[0]) if found else (404, {"detail": "Not found."})


@contextmanager
def running_openverse() -> Iterator[OpenverseStub]:
    """A stub that listens until the block ends."""
    stub = OpenverseStub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            stub.asked.append(self.path)
            parts = urlsplit(self.path)
            status, body, kind = stub.answer(parts.path, parse_qs(parts.query))
            headers: dict[str, str] = {}
            if stub.refusals:
                status, headers = stub.refusals.pop(0)
                body, kind = b'{"detail": "Request was throttled."}', "application/json"
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
