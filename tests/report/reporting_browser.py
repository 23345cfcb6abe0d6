"""What tests do with the page of a report in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def visit(page: Page, path: Path, state: str = "") -> None:
    page.goto(f"{path.as_uri()}#{state}")
    page.wait_for_selector("main > section:not([hidden]) > *")


def texts(page: Page, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def addressed(page: Page, part: str) -> None:
    """Wait until the address contains ``part``."""
    page.wait_for_function("part => location.hash.includes(part)", arg=part)
