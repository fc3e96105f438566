"""A real headless Chromium, and accessibility checks by axe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.programs import require

__all__ = ["opened", "tab", "violations"]

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    # It describes each element that passes too, unless it is asked for less.
    "resultTypes": ["violations"],
}


@contextmanager
def opened() -> Iterator[Browser]:
    chromium = require("chromium-headless-shell")
    # Playwright's own Node.js, which drives it, is linked against it.
    require("libatomic.so.1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(
    browser: Browser, base_url: str, *, scheme: Literal["light", "dark"] = "light", width: int = 1280
) -> Iterator[Page]:
    """Open a window of its own, with no cookie of another. What the page logs as an error fails the test."""
    context = browser.new_context(
        base_url=base_url, color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and message.location["url"].startswith(base_url):
            wrong.append(message.text)

    page.on("console", heard)
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def violations(page: Page) -> list[str]:
    """Return what axe finds against WCAG 2.2 AA, one line each."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]
