"""The page of `vision data review` in a browser, served by the real command: keys, a crash, hostile texts, speed."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_line import run_vision
from PIL import Image

from vision.bundle import Bundle
from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest
from vision.data.reviewing.decisions import DECISIONS_FILE, load_review, open_review_log
from vision.taxonomy import load_taxonomy

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'data' is not installed")
from vision.web.review import build_review_app, open_listener  # noqa: E402
from vision.web.review_order import queue_without_model, rows_of_classes  # noqa: E402
from vision.web.review_session import ReviewSession  # noqa: E402

HOSTILE = '</script><img src=x onerror="alert(1)">\u202e👩‍👧 ' + "x" * 300
LABELS = ("shilka", "gepard", "tor-m1")


class Sitting:
    """A running `vision data review`."""

    def __init__(self, manifest: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from vision.cli import main; main()", "data", "review", str(manifest)]
        self.process = subprocess.Popen(
            [*command, "--no-browser", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.told = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.search(r"http://\S+", line):
                self.address = found[0]
                return
        raise AssertionError("".join(self.told))

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """End it; its exit code and what it printed."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=20)
        return self.process.returncode, out


class Served:
    """The same page from this process: starts in no time, for tests that need no command."""

    def __init__(self, manifest_path: Path, decisions: Path, *, again: bool = False) -> None:
        manifest = load_manifest(manifest_path)
        self._stack = ExitStack()
        log = self._stack.enter_context(open_review_log(decisions))
        queue = queue_without_model(rows_of_classes(manifest, []))
        session = ReviewSession(manifest, queue, load_taxonomy(), log, load_review(decisions).lines, again=again)
        listener = self._stack.enter_context(open_listener(0))
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/t0ken/"
        config = uvicorn.Config(build_review_app(session, "t0ken"), log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()

    def end(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()
        self._stack.close()


class Tab:
    """A page of a sitting that is watched for complaints."""

    def __init__(self, browser: Any, sitting: Sitting | Served, *, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800})
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        self.open(sitting)

    def open(self, sitting: Sitting | Served) -> None:
        self.page.goto(sitting.address)
        self.page.wait_for_selector("body[data-ready]")

    def press(self, *keys: str) -> None:
        """One key after the other, each when the picture before is shown and saved."""
        for key in keys:
            self.page.keyboard.press(key)
            self.until("!/saving|loading/.test(document.body.innerText)")

    def until(self, condition: str) -> None:
        """Playwright's own waiting evaluates text, which the page's policy forbids."""
        for _ in range(500):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within ten seconds: {condition}")

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.inner_text())


@pytest.fixture
def start() -> Iterator[Callable[..., Sitting]]:
    started: list[Sitting] = []

    def begin(manifest: Path, *options: str) -> Sitting:
        started.append(Sitting(manifest, *options))
        return started[-1]

    yield begin
    for sitting in started:
        sitting.process.kill()
        sitting.process.communicate()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def begin(manifest: Path, decisions: Path | None = None, *, again: bool = False) -> Served:
        started.append(Served(manifest, decisions or manifest.parent / DECISIONS_FILE, again=again))
        return started[-1]

    yield begin
    for each in started:
        each.end()


def _manifest(folder: Path, num: int = 9, **others: str) -> Path:
    rows: list[dict[str, str | int | None]] = []
    for number in range(num):
        Image.new("RGB", (90, 60), (25 * number, 90, 120)).save(folder / f"{number}.png")
        rows.append({"file_name": f"{number}.png", "label": LABELS[number % 3], **others})
    save_manifest(manifest_from_rows(folder / "manifest.csv", rows), folder / "manifest.csv")
    return folder / "manifest.csv"


def _decided(manifest: Path) -> list[tuple[str, str, str]]:
    lines = load_review(manifest.parent / DECISIONS_FILE).lines
    return [(line.file_name, line.decision.value, line.class_id) for line in lines]


def test_keys_decide_and_ctrl_c_ends_with_a_summary(
    browser: Any, tmp_path: Path, start: Callable[..., Sitting]
) -> None:
    sitting = start(_manifest(tmp_path))
    tab = Tab(browser, sitting)
    tab.press("1", "r", "5", "i", "w", "s", "Space", "k")
    assert [decision for _, decision, _ in _decided(tmp_path / "manifest.csv")] == [
        *("keep", "reject", "model-or-toy", "interior-or-detail", "wreck", "skip", "keep")
    ]
    assert tab.text("#count") == "6 of 9 decided"
    assert tab.faults == []
    tab.page.close()
    code, out = sitting.end()
    assert code == 0
    assert "6 of 9 decided: 2 keep, 1 reject" in out


def test_not_this_class_asks_which_with_look_alikes_first(
    browser: Any, tmp_path: Path, serve: Callable[..., Served]
) -> None:
    manifest = _manifest(tmp_path)
    tab = Tab(browser, serve(manifest))
    tab.press("n")
    assert tab.text("#choices li").startswith("Gepard (gepard)")
    tab.press("Escape", "/")
    tab.page.keyboard.type("t90")
    tab.press("Enter", "3")
    tab.page.keyboard.type("unkn")
    tab.press("Enter")
    assert _decided(manifest) == [("0.png", "not-this-class", "t-90"), ("1.png", "not-this-class", "")]


def test_undo_reload_and_note(browser: Any, tmp_path: Path, serve: Callable[..., Served]) -> None:
    manifest = _manifest(tmp_path)
    sitting = serve(manifest)
    tab = Tab(browser, sitting)
    tab.press("k", "k", "Backspace")
    assert tab.text("#place").startswith("picture 2 of 9")
    tab.press("t")
    tab.page.keyboard.type("kr")  # keys in the note are text
    tab.press("Enter", "w")
    line = load_review(tmp_path / DECISIONS_FILE).lines[-1]
    assert (line.file_name, line.decision, line.note) == ("1.png", "wreck", "kr")
    tab.open(sitting)
    assert tab.text("#place").startswith("picture 3 of 9")
    tab.press("ArrowLeft")
    assert tab.page.locator("#note").input_value() == "kr"
    assert tab.text("#stage .mark") == "wreck"


def test_a_killed_server_loses_nothing_and_the_next_one_goes_on(
    browser: Any, tmp_path: Path, start: Callable[..., Sitting]
) -> None:
    manifest = _manifest(tmp_path)
    sitting = start(manifest)
    tab = Tab(browser, sitting)
    tab.press("k", "r", "k")
    assert sitting.end(signal.SIGKILL)[0] == -signal.SIGKILL
    tab.page.keyboard.press("w")
    tab.page.wait_for_selector("#alarm:not([hidden])")
    assert "3.png" in tab.text("#alarm")
    tab.page.keyboard.press("k")  # nothing more is taken until that is saved
    assert tab.text("#saved") == "1 not saved"
    assert [decision for _, decision, _ in _decided(manifest)] == ["keep", "reject", "keep"]
    other = Tab(browser, start(manifest))
    other.press("ArrowLeft", "ArrowRight")
    assert other.text("#place").startswith("picture 4 of 9")
    assert other.text("#count") == "3 of 9 decided"


def test_hostile_texts_are_shown_and_not_run(browser: Any, tmp_path: Path, serve: Callable[..., Served]) -> None:
    texts = {"title": HOSTILE, "author": HOSTILE, "licence": HOSTILE, "changes": HOSTILE, "label": HOSTILE}
    manifest = _manifest(tmp_path, 2, **texts, source_url="javascript:alert(1)")
    told = [{"path": f"{n}.png", "picture": {"description": HOSTILE, "categories": [HOSTILE]}} for n in range(2)]
    (tmp_path / "fetched.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    tab = Tab(browser, serve(manifest), width=390)
    tab.press("k")
    assert tab.text("#from").count("onerror") == 6  # title, description, categories, author, licence, changes
    assert tab.page.locator("[onerror], a[href^='javascript']").count() == 0
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    assert tab.faults == []


def test_the_box_lies_over_its_part_of_the_picture_alone_and_side_by_side(
    browser: Any, tmp_path: Path, serve: Callable[..., Served]
) -> None:
    tab = Tab(browser, serve(_manifest(tmp_path, 2, box="45 15 30 30")))
    measured = """(() => {
      const edges = (name) => document.querySelector(name).getBoundingClientRect();
      const [box, image] = [edges("#stage .box rect"), edges("#stage img")];
      const scale = Math.min(image.width / 90, image.height / 60);
      const left = image.left + (image.width - 90 * scale) / 2, top = image.top + (image.height - 60 * scale) / 2;
      return [(box.left - left) / scale, (box.top - top) / scale, box.width / scale, box.height / scale];
    })()"""
    assert tab.page.evaluate(measured) == pytest.approx([45, 15, 30, 30], abs=0.5)
    tab.press("g")
    tab.until("document.querySelectorAll('#stage .cell .box').length === 2")
    assert tab.page.evaluate(measured) == pytest.approx([45, 15, 30, 30], abs=0.5)
    assert tab.faults == []


def test_a_broken_picture_shows_its_error_and_can_be_rejected(
    browser: Any, tmp_path: Path, serve: Callable[..., Served]
) -> None:
    manifest = _manifest(tmp_path, 2)
    (tmp_path / "0.png").write_bytes(b"no picture")
    tab = Tab(browser, serve(manifest))
    assert "not a picture in a format that is read" in tab.text("#stage")
    tab.press("r", "k")
    assert [decision for _, decision, _ in _decided(manifest)] == ["reject", "keep"]
    assert "All looked at" in tab.text("#stage")


def test_a_class_alone_and_all_of_it_again(browser: Any, tmp_path: Path, start: Callable[..., Sitting]) -> None:
    manifest = _manifest(tmp_path)
    sitting = start(manifest, "--class", "gepard")
    Tab(browser, sitting).press("k", "k", "k")
    sitting.end()
    tab = Tab(browser, start(manifest, "--class", "gepard", "--again"))
    assert tab.text("#place").startswith("picture 1 of 3")
    tab.press("r")
    assert tab.text("#place").startswith("picture 2 of 3")
    assert [name for name, _, _ in _decided(manifest)] == ["1.png", "4.png", "7.png", "1.png"]


def test_side_by_side_all_but_the_marked_are_kept(browser: Any, tmp_path: Path, serve: Callable[..., Served]) -> None:
    manifest = _manifest(tmp_path, 15)
    (tmp_path / "5.png").write_bytes(b"no picture")
    tab = Tab(browser, serve(manifest))
    tab.press("k", "g")
    tab.until("document.querySelectorAll('.cell').length === 12")
    tab.press("ArrowRight", "w", "ArrowDown", "x", "Enter")  # the third picture, then four further, which are 2 and 6
    tab.until("document.getElementById('place').innerText.startsWith('picture 6')")  # 5.png, which was not seen
    decided = {name: decision for name, decision, _ in _decided(manifest)}
    assert decided == {f"{n}.png": "wreck" if n == 2 else "keep" for n in range(13) if n not in (5, 6)}
    assert tab.faults == [fault for fault in tab.faults if "422" in fault]


def test_what_was_decided_stands_when_all_are_looked_at_again_side_by_side(
    browser: Any, tmp_path: Path, serve: Callable[..., Served]
) -> None:
    manifest = _manifest(tmp_path, 6)
    tab = Tab(browser, serve(manifest, again=True))
    tab.press("r", "w", "n", "Enter", "s", "k")
    tab.page.reload()
    tab.page.wait_for_selector("body[data-ready]")
    tab.press("g")
    tab.until("document.querySelectorAll('.cell').length === 6")
    marks = tab.page.locator(".cell .mark").all_inner_texts()
    assert marks == ["reject", "wreck", "not this class", "alone, later"]
    tab.press("Enter")
    tab.until("document.getElementById('place').innerText.startsWith('picture 4')")  # the skipped one, alone
    standing = {name: decision for name, decision, _ in _decided(manifest)}
    assert standing == {
        **{"0.png": "reject", "1.png": "wreck", "2.png": "not-this-class", "3.png": "skip"},
        **{"4.png": "keep", "5.png": "keep"},
    }


def test_the_mouse_alone_is_enough(browser: Any, tmp_path: Path, serve: Callable[..., Served]) -> None:
    manifest = _manifest(tmp_path)
    tab = Tab(browser, serve(manifest))
    tab.page.click("#decide [data-code=k]")
    tab.until("document.getElementById('place').innerText.startsWith('picture 2')")
    tab.page.click("#decide [data-code=n]")
    tab.page.click("#choices li >> nth=1")
    tab.until("document.getElementById('place').innerText.startsWith('picture 3')")
    tab.page.click("#undo")
    tab.until("document.getElementById('place').innerText.startsWith('picture 2')")
    assert [decision for _, decision, _ in _decided(manifest)] == ["keep", "not-this-class", "undo"]


def test_a_keypress_answers_at_once(
    browser: Any, tmp_path: Path, serve: Callable[..., Served], photos_dir: Path
) -> None:
    sitting = serve(photos_dir / "manifest.csv", tmp_path / "d.jsonl")
    tab = Tab(browser, sitting)
    for _ in range(40):
        tab.page.keyboard.press("k")
        tab.page.wait_for_timeout(120)  # a quick reviewer: eight pictures a second
    durations = tab.page.evaluate("performance.getEntriesByName('answer').map((entry) => entry.duration)")
    print(f"keypress to next picture: median {statistics.median(durations):.0f} ms, longest {max(durations):.0f} ms")
    assert len(durations) >= 30
    assert statistics.median(durations) < 200  # some 20 ms on an idle core; cores here are shared
    assert len(load_review(tmp_path / "d.jsonl").lines) == len(durations)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--class", "gepad"], 3, "did you mean 'gepard'?"),
        (["--model", "a", "--predictions", "b"], 2, "give one of them"),
        (["--decisions", "no/d.jsonl"], 2, "choose another place with --decisions"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, options: list[str], code: int, message: str) -> None:
    done = run_vision("data", "review", _manifest(tmp_path, 2), *options, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr


def test_a_model_puts_what_it_finds_odd_first(bundle: Bundle, drawn_run: Path, tmp_path: Path, browser: Any) -> None:
    table = load_manifest(drawn_run / "data" / "manifest.csv").table.filter(pl.col("split") == "test")
    wrong = table["file_name"][0]
    label = pl.when(pl.col("file_name") == wrong).then(pl.lit("shilka")).otherwise("label")
    manifest = Manifest(drawn_run / "data" / f"{tmp_path.name}.csv", table.with_columns(label.alias("label")))
    save_manifest(manifest, manifest.path)
    sitting = Sitting(manifest.path, "--model", str(bundle.folder), "--decisions", str(tmp_path / "d"))
    try:
        assert any("come first" in line for line in sitting.told)
        tab = Tab(browser, sitting)
        assert wrong in tab.text("#from")
        assert "the model says" in tab.text("#why").lower()
    finally:
        sitting.end(signal.SIGKILL)
