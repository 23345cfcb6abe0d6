"""The page for going through pictures and segments by eye, in Chromium."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser_fixtures import expect
from reporting_browser import texts
from reporting_files import EVIL

from panoptic_blend.report import label_page
from panoptic_blend.report.label_page import Entry, LabelList, Mark, mask_outline, outlines, write_label_page
from panoptic_blend.structures import PanopticMap, Segment

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]

SHOWN = LabelList(EVIL, [f"note {EVIL}"], ("labeled", "seen"), ("it is wrong", "it is right"), "errors.csv", 3)
MARKS = (Mark("M10 10L30 10L30 30L10 30Z", EVIL, 0), Mark("M12 12L30 12L30 30L12 30Z", "dog (0.90)", 1))
ENTRIES = [
    Entry("b.jpg", "val.json", "wrong class", "labeled cat, looks like dog", 0.9, 7, (60, 80), (10, 10, 30, 30), MARKS),
    Entry(f"{EVIL}.jpg", "val.json", "missing label", "dog without a label", 0.8, 7, (60, 80), (0, 0, 9, 9), ()),
    Entry("a.jpg", "val.json", "wrong class", "labeled dog, looks like cat", 0.7, 2, (60, 80), None, MARKS[:1]),
]


def picture(number: int) -> np.ndarray:
    return np.full((60, 80, 3), number, np.uint8)


def test_going_through_a_list(page: Page, tmp_path: Path) -> None:
    [written] = write_label_page(tmp_path / "errors.html", SHOWN, ENTRIES, picture)
    page.goto(written.as_uri())
    assert page.title() == EVIL and texts(page, "#notes li") == [f"note {EVIL}"]
    files = "#list tbody td:nth-child(3)"
    assert texts(page, files) == ["b.jpg", f"{EVIL}.jpg", "a.jpg"]
    assert page.locator("#drawing .mark:not(.halo)").count() == 2
    assert texts(page, "#legend li") == [f"labeled: {EVIL}", "seen: dog (0.90)"]
    # the box with 24 pixels around it, cut at the picture
    assert page.get_attribute("#drawing", "viewBox") == "0 0 54 54"
    page.keyboard.press("z")
    assert page.get_attribute("#drawing", "viewBox") == "0 0 80 60"
    page.keyboard.press("o")
    assert page.locator("#drawing .mark").count() == 0
    page.keyboard.press("y")
    page.keyboard.press("n")
    expect(page.locator("#words")).to_have_text("labeled dog, looks like cat")
    assert texts(page, "#list .decision") == ["✓", "✗", ""]
    page.keyboard.press("k")
    page.keyboard.press("u")
    expect(page.locator("#progress")).to_have_text("1 of 3 decided")
    page.click('.sorter[data-key="file"]')
    assert texts(page, files)[1:] == ["a.jpg", "b.jpg"]
    page.select_option("#kind", "wrong class")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("B.JP")
    assert texts(page, files) == ["b.jpg"]
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "errors_decisions.csv"
    saved = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert saved[1:] == ['"b.jpg","val.json","wrong class","labeled cat, looks like dog","it is wrong"']
    page.reload()
    expect(page.locator("#progress")).to_have_text("1 of 3 decided")


def test_large_pages_get_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_page, "EMBEDDED_BYTES", 0)
    monkeypatch.setattr(label_page, "MOST_SHOWN", 2)
    page, folder = write_label_page(tmp_path / "errors.html", replace(SHOWN, total=3), ENTRIES, picture)
    assert {path.suffix: path.name for path in folder.iterdir()}[".jpg"] == "7.jpg"
    assert [path.name for path in folder.glob("*.jpg")] == ["7.jpg"], "the third entry is in the CSV only"
    write_label_page(page, replace(SHOWN, total=3), ENTRIES, picture)  # an earlier page is replaced
    assert "a.jpg" not in page.read_text(encoding="utf-8")


def test_an_empty_list(page: Page, tmp_path: Path) -> None:
    [written] = write_label_page(tmp_path / "errors.html", replace(SHOWN, total=0), [], picture)
    page.goto(written.as_uri())
    page.keyboard.press("j")
    page.keyboard.press("y")
    assert page.locator("#found").inner_text() == "0 of 0" and page.locator("#stage").is_hidden()


def test_outlines_run_around_pixels() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:6, 3:8] = True
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", mask_outline(mask, 10, 20))]
    xs, ys = numbers[::2], numbers[1::2]
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((13, 18, 22, 26), abs=0.5)
    mask[3:5, 4:7] = False
    assert mask_outline(mask, 10, 20).count("M") == 2, "a hole has an outline of its own"
    ids = np.where(mask, 4, 9).astype(np.int32)
    segments = [
        Segment(4, 1, True, None, 0, None),
        Segment(9, 2, False, None, 0, None),
        Segment(5, 1, True, None, 0, None),
    ]
    assert list(outlines(PanopticMap.measured(ids, segments), [4, 5])) == [4], "a segment without pixels has none"
