"""Fixtures of a page in Chromium, which test modules name in ``pytest_plugins``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium")
_FAKE_CAMERA = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
_PATIENCE = 20_000
"""Milliseconds to wait for a page on a busy machine."""


def expect(found: Locator) -> Any:
    """Assertions about a part of a page, which wait until they hold: a page draws itself after an event."""
    from playwright.sync_api import expect as assertions

    assertions.set_options(timeout=_PATIENCE)
    return assertions(found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]")
    if not CHROMIUM:
        pytest.skip("no chromium on the PATH: apt install chromium")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *_FAKE_CAMERA])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a file, which makes its test fail if it complains or makes a network request."""
    with _watched(browser, ("file:", "data:", "blob:")) as opened:
        yield opened


@pytest.fixture
def watched(browser: Browser) -> Callable[[tuple[str, ...]], AbstractContextManager[Page]]:
    """A function that opens a page which may ask for addresses that begin with one of these."""
    return partial(_watched, browser)


@contextmanager
def _watched(browser: Browser, allowed: tuple[str, ...]) -> Iterator[Page]:
    """A page that fails at the end if it logged an error, opened a dialog or asked for another than ``allowed``.

    That a server refused a request is no error of the page, which has to say it.
    """
    complaints: list[str] = []

    def check_request(request: Any) -> None:
        if not request.url.startswith(allowed):
            complaints.append(f"requested {request.url}")

    def hear(message: Any) -> None:
        if "the server responded with a status of 4" not in message.text:
            complaints.append(f"{message.type}: {message.text}")

    def refuse(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(_PATIENCE)
    opened.on("console", hear)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", refuse)
    opened.on("requestfailed", lambda request: complaints.append(f"request failed: {request.url}"))
    opened.on("request", check_request)
    yield opened
    opened.close()
    assert complaints == []
