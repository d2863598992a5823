"""The server of `vision data review`: what it serves, what it refuses, what is on the disk."""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision.data.manifest import Manifest, manifest_from_rows
from vision.data.reviewing.decisions import ReviewLine, Verdict, load_review, open_review_log
from vision.errors import ManifestError, UsageError
from vision.taxonomy import load_taxonomy
from vision.web.review_order import queue_without_model
from vision.web.review_session import PICTURE_PX, ReviewSession

testclient = pytest.importorskip("starlette.testclient", reason="the extra 'data' is not installed")
from vision.web.review import build_review_app, open_listener  # noqa: E402

TAXONOMY = load_taxonomy()
TOKEN = "t0ken"
HOSTILE = "</script><img src=x onerror=alert(1)>"


@dataclass
class Site:
    """A running review and what it writes."""

    client: Any
    session: ReviewSession
    decisions: Path

    def get(self, path: str) -> Any:
        return self.client.get(f"/{TOKEN}/{path}")

    def post(self, path: str, request_id: str = "1", **asked: object) -> Any:
        return self.client.post(f"/{TOKEN}/{path}", json={"request_id": request_id, **asked})

    def written(self) -> list[tuple[str, str]]:
        return [(line.file_name, line.decision.value) for line in load_review(self.decisions).lines]


def _pictures(folder: Path) -> Manifest:
    """A large turned JPEG, a small picture with a hostile title, a broken file, one outside, a missing one."""
    data = folder / "data"
    data.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (4000, 1000), "green").save(data / "large.jpg", exif=exif)
    Image.new("P", (60, 40)).save(data / "small.gif")
    (data / "broken.jpg").write_bytes(b"<svg onload=alert(1)>")
    Image.new("RGB", (8, 8)).save(folder / "outside.png")
    (data / "link.png").symlink_to(folder / "outside.png")
    titles = {"small.gif": HOSTILE}
    rows = [
        {"file_name": name, "label": "shilka", "title": titles.get(name), "source_url": "javascript:alert(1)"}
        for name in ("large.jpg", "small.gif", "broken.jpg", "../outside.png", "link.png", "missing.jpg")
    ]
    return manifest_from_rows(data / "manifest.csv", rows)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    manifest = _pictures(tmp_path)
    with open_review_log(tmp_path / "review.jsonl") as log:
        session = ReviewSession(manifest, queue_without_model(range(6)), TAXONOMY, log)
        client = testclient.TestClient(build_review_app(session, TOKEN), base_url="http://127.0.0.1:8000")
        yield Site(client, session, tmp_path / "review.jsonl")


def _again(site: Site) -> ReviewSession:
    """The next sitting, by another reader of the file."""
    lines = load_review(site.decisions).lines
    with open_review_log(site.decisions.with_name("other.jsonl")) as log:
        return ReviewSession(site.session.manifest, queue_without_model(range(6)), TAXONOMY, log, lines)


def test_pictures_are_sent_upright_and_no_larger_than_a_screen(site: Site) -> None:
    answer = site.get("pictures/0")
    picture = Image.open(io.BytesIO(answer.content))
    assert (answer.status_code, picture.format) == (200, "JPEG")
    assert picture.size == (PICTURE_PX // 4, PICTURE_PX)
    assert Image.open(io.BytesIO(site.get("pictures/1").content)).size == (60, 40)


@pytest.mark.parametrize(
    ("row", "message"),
    [(2, "not a picture"), (3, "outside the manifest's folder"), (4, "outside the manifest's folder"), (5, "no such")],
)
def test_what_cannot_be_shown_says_so_and_can_be_rejected(site: Site, row: int, message: str) -> None:
    answer = site.get(f"pictures/{row}")
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert site.post("decisions", position=row, decision="reject").status_code == 200
    assert [decision for _, decision in site.written()] == ["reject"]


def test_boxes_are_told_as_shares_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (40, 10)).save(tmp_path / "a.jpg", exif=exif)
    sizes: list[dict[str, int | None]] = [{"width": None}, {"width": 10, "height": 40}, {}]
    boxes = ["1 8 5 20", "1 8 5 20", "1 8"]
    rows = [
        {"file_name": "a.jpg", "label": "shilka", "box": box, **size} for box, size in zip(boxes, sizes, strict=True)
    ]
    for row, expected in zip(rows, [(0.1, 0.2, 0.5, 0.5)] * 2 + [None], strict=True):
        assert _session(tmp_path, row).describe(0)["box"] == expected


def test_what_the_source_says_of_a_picture_is_told(tmp_path: Path) -> None:
    told = {"description": f"A parade {HOSTILE}", "categories": ["Tor", "Parades"]}
    lines = [{"path": "a.jpg", "picture": told}, {"path": "b.jpg", "picture": told}]
    (tmp_path / "fetched.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    item = _session(tmp_path, {"file_name": "a.jpg", "label": "shilka"}).describe(0)
    assert {name: item[name] for name in told} == told
    item = _session(tmp_path, {"file_name": "a.jpg", "label": "shilka", "description": "mine"}).describe(0)
    assert item["description"] == "mine"


def _session(folder: Path, row: dict[str, Any]) -> ReviewSession:
    manifest = manifest_from_rows(folder / "manifest.csv", [row])
    with open_review_log(folder / "review.jsonl") as log:
        return ReviewSession(manifest, queue_without_model([0]), TAXONOMY, log)


def test_a_picture_that_would_explode_is_refused(site: Site) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    site.session.manifest.image_path("broken.jpg").write_bytes(bomb)
    answer = site.get("pictures/2")
    assert answer.status_code == 422
    assert "more than the limit" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["pictures/6", "pictures/-1", "pictures/..%2Foutside.png", "items?position=6", "x"])
def test_nothing_else_is_served(site: Site, path: str) -> None:
    assert site.get(path).status_code in (404, 422)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_another_host_name_is_refused(site: Site, host: str) -> None:
    answer = site.client.get(f"/{TOKEN}/", headers={"Host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/decisions", "/wrong/decisions", "/", "/docs", "/openapi.json"])
def test_without_the_token_nothing_is_read_or_written(site: Site, path: str) -> None:
    asked = {"request_id": "1", "position": 0, "decision": "keep"}
    assert site.client.post(path, json=asked).status_code == 404
    assert site.client.get(path).status_code == 404
    assert site.written() == []


def test_a_form_of_another_site_cannot_write(site: Site) -> None:
    body = json.dumps({"request_id": "1", "position": 0, "decision": "keep"})
    answer = site.client.post(f"/{TOKEN}/decisions", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422
    assert "access-control-allow-origin" not in answer.headers
    assert site.written() == []


def test_the_page_escapes_what_comes_from_data_and_allows_its_own_script_alone(site: Site) -> None:
    answer = site.get("")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.text.count("<script") == 2
    assert site.get("review_images.js").headers["content-type"].startswith("text/javascript")


def test_a_description_leaves_out_addresses_that_run(site: Site) -> None:
    (item,) = site.get("items?position=1").json()
    assert (item["title"], item["source_url"]) == (HOSTILE, "")


def test_a_decision_is_in_the_file_before_the_answer(site: Site) -> None:
    answer = site.post("decisions", position=1, decision="not-this-class", class_id="gepard", note=" two masts ")
    assert answer.json()["code"] == "n"
    (line,) = load_review(site.decisions).lines
    assert (line.class_id, line.note, line.label, len(line.sha256)) == ("gepard", "two masts", "shilka", 64)


def test_a_request_that_comes_twice_is_carried_out_once(site: Site) -> None:
    for _ in range(2):
        assert site.post("decisions", "same", position=0, decision="keep").status_code == 200
    assert site.written() == [("large.jpg", "keep")]
    for _ in range(2):
        assert site.post("undo", "back").json()["code"] == "."
    assert site.written() == [("large.jpg", "keep"), ("large.jpg", "undo")]


def test_a_request_that_comes_again_before_it_is_answered_is_carried_out_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = site.session.decide

    def slow(*asked: Any, **more: Any) -> None:
        time.sleep(0.2)
        decide(*asked, **more)

    monkeypatch.setattr(site.session, "decide", slow)
    with ThreadPoolExecutor(2) as pool:
        retries = [pool.submit(site.post, "decisions", "same", position=0, decision="keep") for _ in range(2)]
    assert [retry.result().status_code for retry in retries] == [200, 200]
    assert site.written() == [("large.jpg", "keep")]


@pytest.mark.parametrize(
    "asked",
    [
        {"position": 6, "decision": "keep"},
        {"position": 0, "decision": "kep"},
        {"position": 0, "decision": "undo"},
        {"position": 0, "decision": "not-this-class", "class_id": "gepad"},
        {"position": 0, "decision": "keep", "note": "x" * 2001},
        {"position": 0, "decision": "keep", "more": 1},
    ],
)
def test_what_is_no_decision_is_refused_and_not_written(site: Site, asked: dict[str, object]) -> None:
    assert site.post("decisions", **asked).status_code in (404, 422)
    assert site.written() == []


def test_undo_takes_back_one_after_the_other(site: Site) -> None:
    for position, decision in enumerate(("keep", "wreck", "reject")):
        site.post("decisions", str(position), position=position, decision=decision)
    assert [site.post("undo", f"u{n}").json().get("position") for n in range(4)] == [2, 1, 0, None]
    assert site.session.codes == "......"


def test_the_next_sitting_knows_what_was_decided(site: Site) -> None:
    for position, decision in enumerate(("keep", "wreck", "skip", "note")):
        site.post("decisions", str(position), position=position, decision=decision, note="n")
    assert _again(site).codes == "kws..."
    assert _again(site).describe(3)["note"] == "n"


def test_a_file_that_has_changed_since_is_asked_again(site: Site) -> None:
    site.post("decisions", position=1, decision="keep")
    Image.new("RGB", (61, 40)).save(site.session.manifest.image_path("small.gif"))
    session = _again(site)
    assert session.changed == ("small.gif",)
    assert session.codes == "......"


def test_a_decision_is_about_the_bytes_that_were_shown(site: Site) -> None:
    shown = site.get("pictures/1").headers["x-digest"]
    Image.new("RGB", (61, 40)).save(site.session.manifest.image_path("small.gif"))
    site.post("decisions", position=1, decision="keep")
    assert load_review(site.decisions).lines[0].sha256 == shown


def test_a_disk_that_is_full_is_told_and_nothing_counts_as_decided(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    answer = site.post("decisions", position=0, decision="keep")
    assert answer.status_code == 507
    assert "make room" in answer.json()["detail"]
    assert site.session.codes == "......"


def test_names_that_stand_twice_are_refused(tmp_path: Path) -> None:
    manifest = manifest_from_rows(tmp_path / "m.csv", [{"file_name": "a.png", "label": "shilka"}] * 2)
    with open_review_log(tmp_path / "review.jsonl") as log, pytest.raises(ManifestError, match="stands twice"):
        ReviewSession(manifest, queue_without_model(range(2)), TAXONOMY, log)


def test_lines_about_pictures_outside_the_queue_are_not_undone(tmp_path: Path) -> None:
    manifest = _pictures(tmp_path)
    lines = [ReviewLine(file_name="small.gif", decision=Verdict.KEEP)]
    with open_review_log(tmp_path / "review.jsonl") as log:
        session = ReviewSession(manifest, queue_without_model([0]), TAXONOMY, log, lines)
        assert session.undo() is None


def test_a_port_that_is_taken_is_told_and_the_server_is_for_this_machine() -> None:
    with open_listener(0) as listener:
        address, port = listener.getsockname()
        assert address == "127.0.0.1"
        with pytest.raises(UsageError, match=rf"--port {port}: cannot be used"):
            open_listener(port)
