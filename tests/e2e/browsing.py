"""A real browser on the web chat."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import missing
from tests.e2e.threadbox import Process

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = os.environ.get("THREADBOX_SCREENSHOTS")  # a folder to keep pictures of the page in


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; without one the tests that need it are skipped."""
    if not Path(CHROMIUM).exists():
        missing("Chromium", CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def sound_page(browser: Browser) -> Iterator[Page]:
    """A page on which any script error and any dialog fails the test."""
    page = browser.new_page(viewport={"width": 1200, "height": 1010})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    yield page
    page.context.close()
    assert errors == []


def picture(page: Page, name: str) -> None:
    """Keep how the page looks, where that is asked for."""
    if SCREENSHOTS:
        page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


def send(page: Page, text: str) -> None:
    """Write a message and press Enter."""
    page.locator("textarea").fill(text)
    page.keyboard.press("Enter")


def begin(page: Page, chat: Process, text: str) -> None:
    """Begin a thread."""
    page.goto(f"{chat.url}/c/general")
    page.wait_for_load_state("networkidle")
    send(page, text)
    page.wait_for_url(re.compile(r"/c/general/t/"))
