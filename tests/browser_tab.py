"""A page of review in a browser, watched by tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


class Tab:
    """A page that is watched: what it asks for and what it complains of."""

    def __init__(self, browser: Any, path: Path, *, width: int = 1280, javascript: bool = True) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, java_script_enabled=javascript)
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("dialog"), dialog.dismiss()))
        self.page.goto(path.as_uri())
        if javascript:
            self.page.wait_for_selector("#review[data-ready]")

    def counts(self) -> dict[str, int]:
        """Pictures by row and column, as the cells say them; those without are left out."""
        labels = self.page.eval_on_selector_all("[role=gridcell]", "cells => cells.map(c => c.ariaLabel)")
        found = (re.fullmatch(r"true (.*), answered (.*): ([\d,]+) of .*", label) for label in labels)
        counts = {f"{match[1]} > {match[2]}": int(match[3].replace(",", "")) for match in found if match}
        return {name: count for name, count in counts.items() if count}

    def slide(self, name: str, value: int) -> None:
        """Move a slider to a stop and wait for the page."""
        self.page.eval_on_selector(
            f"#slider-{name}", "(s, value) => { s.value = value; s.dispatchEvent(new Event('input')); }", value
        )
        self.settle()

    def settle(self) -> None:
        """Wait until the page has drawn what was asked of it: it draws in the next frame."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open_cell(self, label: str) -> None:
        """Click the cell whose label begins so, and wait for its pictures."""
        self.page.locator(f'[role=gridcell][aria-label^="{label}"]').click()
        self.page.wait_for_selector("#opened:not([hidden])")

    def until(self, condition: str) -> None:
        """Wait until a condition holds. Playwright's own waiting evaluates text, which the page's policy forbids."""
        for _ in range(500):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within ten seconds: {condition}")

    def texts(self, selector: str) -> list[str]:
        """Text of each such element."""
        return [str(text) for text in self.page.locator(selector).all_text_contents()]

    def is_quiet(self) -> bool:
        """Whether it asked for files alone, and complained of nothing."""
        return not self.faults and all(url.startswith(("file:", "data:")) for url in self.requests)
