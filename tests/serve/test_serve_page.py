"""The page of ``panoptic-blend serve`` in Chromium, offline but for the server that it comes from."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
from browser_fixtures import expect
from served_model import Served, jpeg, serving

from panoptic_blend.serve.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]

PHOTO = jpeg()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Limits(kept_megabytes=0.01)) as started:  # room for one picture
        yield started


@pytest.fixture
def tried(watched: Callable[[tuple[str, ...]], AbstractContextManager[Page]], served: Served) -> Iterator[Page]:
    with watched((f"{served.address}/", f"blob:{served.address}", "data:")) as page:
        page.goto(f"{served.address}/")
        yield page


def rows(page: Page, *expected: str) -> None:
    """Wait until the table of segments has these lines, with a hyphen for the score of stuff."""
    read = """lines => lines === [...document.querySelectorAll("#segments tbody tr")]
        .map((row) => row.innerText.replace(/\\s+/g, " ").replace("\u2013", "-").trim()).join("|")"""
    page.wait_for_function(read, arg="|".join(expected))


def choose(page: Page, name: str, content: bytes = PHOTO) -> None:
    page.set_input_files("#files", {"name": name, "mimeType": "image/jpeg", "buffer": content})


CAT, SKY, GRASS = "cat & <b>dog</b> 0.90 25.0 %", "sky - 50.0 %", "grass - 25.0 %"


def test_a_picture_is_shown_fused_again_and_downloaded(tried: Page) -> None:
    page = tried
    expect(page.locator("#model")).to_have_text("static <model>")
    choose(page, "a & <b>.jpg")
    rows(page, CAT, SKY, GRASS)
    page.keyboard.press("3")
    assert page.locator(".frame").count() == 2

    frame = page.locator('.frame[data-layer="map"]')
    box = frame.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    assert page.locator("#tip").inner_text().split("\n") == ["cat & <b>dog</b>", "score 0.90 · 25.0 % of the picture"]
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    assert page.locator("#tip").inner_text().split("\n") == ["grass", "stuff · 25.0 % of the picture"]
    page.click("#segments tbody tr:nth-child(2) .link")
    expect(page.locator('[aria-selected="true"] .link')).to_have_text("sky")
    dimmed = "node => node.getContext('2d').getImageData(5, 5, 1, 1).data[3]"
    assert page.locator(".spotlight").first.evaluate(dimmed) > 0

    page.locator("#overlap").fill("50")
    rows(page, CAT, "tree 0.60 12.5 %", "sky - 37.5 %", GRASS)
    page.locator("#confidence").fill("95")
    rows(page, "sky - 75.0 %", GRASS)
    page.keyboard.press("+")
    assert page.locator("#stage").evaluate("node => node.style.getPropertyValue('--opacity')") == "0.7"
    with page.expect_download() as download:
        page.click("#downloads a:has-text('COCO')")
    assert download.value.suggested_filename.endswith("_coco.zip")


def test_pictures_come_by_drop_paste_and_camera_and_return_when_the_server_has_dropped_them(
    tried: Page, served: Served
) -> None:
    page = tried
    given = """([kind, text]) => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        data.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
        const options = { dataTransfer: data, clipboardData: data, cancelable: true };
        const event = kind === "drop" ? new DragEvent(kind, options) : new ClipboardEvent(kind, options);
        document.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(given, [kind, base64.b64encode(PHOTO).decode()])
        page.wait_for_selector(f".thumb[title='{kind}.jpg']")
        rows(page, CAT, SKY, GRASS)
    page.keyboard.press("c")
    page.wait_for_function("() => document.querySelector('#video').videoWidth > 0")
    page.click("#shoot")
    page.wait_for_selector(".thumb[title^='camera_'][aria-current='true']")
    assert page.locator("#video").evaluate("node => node.srcObject") is None
    assert served.ask("GET", "/health").json["kept"]["pictures"] == 1
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.locator("#overlap").fill("50")
    rows(page, CAT, "tree 0.60 12.5 %", "sky - 37.5 %", GRASS)
    page.keyboard.press("x")
    page.wait_for_function("() => document.querySelectorAll('.thumb').length === 2")


def test_what_is_no_picture_is_said_and_narrow_windows_scroll_in_one_direction_only(tried: Page) -> None:
    page = tried
    page.set_viewport_size({"width": 360, "height": 640})
    choose(page, "a.jpg", content=b"no")
    page.wait_for_selector("#message.alert")
    assert page.locator("#message").inner_text().startswith("a.jpg: a.jpg: cannot be decoded; ")
    choose(page, "a.jpg")
    rows(page, CAT, SKY, GRASS)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360
