"""The page of ``panoptic-blend report`` in Chromium: every function is used, from a file and offline."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser_fixtures import expect
from reporting_browser import addressed, texts, visit
from reporting_files import CATEGORIES, EVIL, Small, annotation, small, write_results

from panoptic_blend.formats.images import write_picture
from panoptic_blend.report import command
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.scoring.details import Resampling

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest_plugins = ["browser_fixtures"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small(
        tmp_path_factory.mktemp("report"), ["a.jpg", "b.jpg", "c <b>.jpg", *(f"d{n:03}.jpg" for n in range(197))]
    )


@pytest.fixture(scope="module")
def single(files: Small) -> Path:
    """One result set, in one file."""
    request = ReportRequest(files.truth, files.first, files.photos, files.root / "single.html")
    return write_report(request, Resampling(20))[0]


@pytest.fixture(scope="module")
def compared(files: Small) -> Path:
    """Two result sets, with a folder."""
    request = ReportRequest(files.truth, files.first, files.photos, files.root / "two sets.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "EMBEDDED_BYTES", 0)
        page, folder = write_report(replace(request, others=[(files.second, None)]), Resampling(20))
    assert folder.is_dir()
    return page


def pixel(page: Page, layer: str, x: int, y: int, set: int = 0) -> list[int]:
    """Color of a layer, or of the ``spotlight`` that dims other segments, at a pixel of the maps."""
    name = ".spotlight" if layer == "spotlight" else f'.frame[data-layer="{layer}"][data-set="{set}"] .layer'
    read = """(node, [x, y]) => {
        const copy = new OffscreenCanvas(node.width, node.height).getContext("2d", {willReadFrequently: true});
        copy.drawImage(node, 0, 0);
        return [...copy.getImageData(x, y, 1, 1).data];
    }"""
    return page.locator(name).evaluate(read, [x, y])


def point_at(page: Page, layer: str, x: int, y: int, set: int = 0) -> str:
    """Move the pointer over a pixel of the maps (80 x 60), and return the text of the tooltip."""
    frame = page.locator(f'.frame[data-layer="{layer}"][data-set="{set}"]')
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box
    page.mouse.move(box["x"] + (x + 0.5) / 80 * box["width"], box["y"] + (y + 0.5) / 60 * box["height"])
    return page.locator("#tip").inner_text()


def test_figures_with_intervals(page: Page, single: Path) -> None:
    visit(page, single)
    assert page.title() == "first.json: panoptic report"
    cards = page.locator(".figure")
    assert cards.count() == 3 and cards.first.locator(".interval .range").is_visible()
    # Class 3 misses 1 of 200; class 7 has 1 false positive and misses 198, where the sky has an IoU of 3000 / 3900.
    expected = 100 * (199 / 199.5 + 2 / (2 + 0.5 + 99) + (2 + 198 * 3000 / 3900) / 200) / 3
    expect(cards.first.locator(".value")).to_have_text(f"{expected:.1f}")
    assert texts(page, "#overview .budget-bars > span:first-child") == ["All"]
    assert page.locator("#overview .budget-bars .stack").count() == 3


def test_classes_are_sorted_and_names_are_text(page: Page, single: Path) -> None:
    visit(page, single)
    page.click("#tab-classes")
    first = "#class-table tbody tr:first-child th"
    assert page.locator("#class-table tbody tr").count() == 3
    expect(page.locator(first)).to_have_text("cat & 'dog'")  # the class with the lowest PQ comes first
    page.click('.sorter[data-key="pq"]')
    expect(page.locator(first)).to_have_text(EVIL)
    assert page.get_attribute('th:has(> .sorter[data-key="pq"])', "aria-sort") == "descending"
    page.click('.sorter[data-key="name"]')
    assert page.get_attribute('th:has(> .sorter[data-key="name"])', "aria-sort") == "ascending"
    page.click('.sorter[data-key="fn"]')
    expect(page.locator(first)).to_have_text("cat & 'dog'")
    addressed(page, "order=-fn")
    page.reload()
    assert page.get_attribute('th:has(> .sorter[data-key="fn"])', "aria-sort") == "descending"
    page.locator('.sorter[data-key="fn"]').focus()
    page.keyboard.press("Enter")
    assert page.locator('.sorter[data-key="fn"]').evaluate("node => node === document.activeElement")
    assert page.locator(first).inner_text() != "cat & 'dog'"
    page.click("#class-table tbody tr:last-child .link")
    expect(page.locator("#found")).to_have_text("200 of 200 images")
    assert page.locator("#filter-class").input_value() == "2"


def test_long_and_empty_class_names(page: Page, tmp_path: Path) -> None:
    files = small(tmp_path)
    found = json.loads(files.truth.read_text())
    found["categories"][0]["name"], found["categories"][1]["name"] = "long" * 50, ""
    files.truth.write_text(json.dumps(found))
    [written] = write_report(
        ReportRequest(files.truth, files.first, files.photos, tmp_path / "names.html"), Resampling(20)
    )
    page.set_viewport_size({"width": 1440, "height": 900})
    visit(page, written, "view=classes")
    assert page.evaluate("document.querySelector('#class-table').offsetWidth <= 1400")
    assert page.locator("#class-table .class-label span[title]:has-text('long')").get_attribute("title") == "long" * 50
    assert "7" in texts(page, "#class-table tbody th")
    visit(page, written, "view=confusion")
    assert page.evaluate("document.querySelector('#matrix thead').offsetHeight < 200")
    same = page.locator('#matrix td[data-row="1"][data-column="1"]').get_attribute("title") or ""
    assert same.endswith("shows the images in which the class occurs")


def test_the_matrix_leads_to_images(page: Page, single: Path) -> None:
    visit(page, single, "view=confusion")
    expect(page.locator('#matrix td[data-row="1"][data-column="2"]')).to_have_text("1")
    assert page.locator("#confused li").count() == 1
    page.click('#matrix-kind button[data-value="pixels"]')
    assert page.locator("#matrix td[data-row]").count() == 0
    addressed(page, "matrix=pixels")
    page.reload()
    assert page.locator("#matrix td[data-row]").count() == 0
    assert "900" in (page.locator("#matrix tbody tr:nth-child(1) td:nth-child(3)").get_attribute("title") or "")
    page.click('#matrix-kind button[data-value="segments"]')
    page.click('#matrix td[data-row="1"][data-column="2"]')
    expect(page.locator("#found")).to_have_text("1 of 200 images")
    assert texts(page, "#list .image .name") == ["b.jpg"]
    page.click("#mixed")
    expect(page.locator("#found")).to_have_text("200 of 200 images")
    page.go_back()
    addressed(page, "view=confusion")
    page.locator('#matrix td[tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")  # from (1, 1) to (1, 2)
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_have_text("1 of 200 images")


def test_causes_lead_to_images(page: Page, single: Path) -> None:
    visit(page, single, "view=errors")
    assert page.locator("#causes tbody tr").count() == 9
    page.click('#causes .link:has-text("wrong class")')
    assert texts(page, "#list .image .name") == ["b.jpg"]
    page.select_option("#filter-cause", label="missed")
    expect(page.locator("#found")).to_have_text("198 of 200 images")
    page.select_option("#filter-class", label=EVIL)
    assert page.locator("#nothing").is_visible()
    page.click("#nothing button")
    expect(page.locator("#found")).to_have_text("200 of 200 images")


def test_images_are_found_sorted_and_few_at_a_time(page: Page, single: Path) -> None:
    visit(page, single, "view=images")
    assert 10 < page.locator("#list .image").count() < 80
    page.keyboard.press("/")
    page.keyboard.type("C <B")
    assert texts(page, "#list .image .name") == ["c <b>.jpg"]
    page.fill("#search", "17")
    numbers = [13, 17, 117, *range(170, 180)]  # the first has the id 17
    assert sorted(texts(page, "#list .image .name")) == [f"d{number:03}.jpg" for number in numbers]
    page.fill("#search", "")
    page.fill("#filter-from", "60")  # 100 in the first, (0 + 2/3 + 1) / 3 and (1 + 0 + 3000 / 3900) / 3 in the others
    page.keyboard.press("Tab")
    assert texts(page, "#list .image .name") == ["a.jpg"] and page.locator("#filter-to").evaluate(
        "node => node.matches(':focus')"
    )
    page.fill("#filter-from", "")
    page.fill("#filter-to", "58")
    page.keyboard.press("Enter")
    assert texts(page, "#list .image .name") == ["b.jpg"]
    page.fill("#filter-to", "150")
    page.keyboard.press("Enter")
    assert page.locator("#filter-to").input_value() == "100"
    page.click("#clear")
    page.select_option("#sort", "name")
    assert texts(page, "#list .image .name")[:3] == ["a.jpg", "b.jpg", "c <b>.jpg"]
    page.click("#direction")
    assert texts(page, "#list .image .name")[0] == "d196.jpg"
    page.mouse.wheel(0, 100_000)
    page.locator('#list .image:has-text("a.jpg")').wait_for()
    assert page.locator("#list .image").count() < 80
    addressed(page, "down=1")
    page.reload()
    page.locator("#list .image").first.wait_for()
    assert page.locator("#sort").input_value() == "name"


def test_one_image_with_layers_opacity_and_hover(page: Page, single: Path) -> None:
    visit(page, single, "view=images&sort=name")
    page.click('#list .image:has-text("b.jpg")')
    page.locator(".frame canvas.layer").wait_for()
    red, blue = [200, 30, 40, 255], [70, 130, 180, 255]
    assert point_at(page, "errors", 20, 20).split("\n")[1] == EVIL
    tip = point_at(page, "errors", 20, 20)
    assert "missed: wrong class · #1\nIoU 1.000 with cat & 'dog'" in tip and f"IoU 1.000 with {EVIL}" in tip
    assert "spurious: wrong class · #1" in tip
    assert "matched, IoU 1.000" in point_at(page, "errors", 2, 2)
    kinds = {"both": (20, 20), "matched": (60, 20)}
    for kind, (x, y) in kinds.items():
        color = page.evaluate(f"hexColor(getComputedStyle(document.documentElement).getPropertyValue('--{kind}'))")
        assert pixel(page, "errors", x, y) == color
    page.keyboard.press("2")
    assert pixel(page, "truth", 20, 20) == red and pixel(page, "truth", 2, 2) == blue
    page.keyboard.press("3")
    cat = pixel(page, "prediction", 20, 20)
    assert cat == pixel(page, "prediction", 60, 20) not in (red, blue)  # one class has one color
    assert pixel(page, "prediction", 2, 2) == blue
    page.keyboard.press("-")
    expect(page.locator("#opacity-value")).to_have_text("60 %")
    page.fill("#opacity", "25")
    assert page.locator("canvas.layer").evaluate("node => getComputedStyle(node).opacity") == "0.25"
    page.evaluate("for (let opacity = 0; opacity < 1000; opacity += 1) show({opacity: String(opacity % 90)})")
    addressed(page, f"opacity={999 % 90}")  # a slider does not make the browser ignore the address
    page.keyboard.press("1")
    assert page.locator("canvas.layer").count() == 0
    page.click('#layout button[data-value="all"]')
    assert page.locator(".frame").count() == 4
    point_at(page, "truth", 60, 20)
    assert page.locator(".cross:visible").count() == 3  # at the same pixel in the other panes
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_segments_of_an_image_are_chosen(page: Page, single: Path) -> None:
    visit(page, single, "view=images&image=3")
    page.locator("#segments .link").first.wait_for()
    assert texts(page, "#segments .outcome") == ["missed"]
    page.click("#segments .link")
    alphas = [pixel(page, "spotlight", x, 20)[3] for x in (60, 20)]
    assert alphas == [0, 150]  # the segment is unchanged, the rest is dimmed
    addressed(page, "segment=t1")
    page.click('#rows-shown button[data-value="all"]')
    assert page.locator("#segments tbody tr").count() == 5
    page.click(".frame", position={"x": 20, "y": 20})
    expect(page.locator('#segments tr[aria-selected="true"] .outcome')).to_have_text("matched")
    page.click(".frame", position={"x": 20, "y": 20})
    assert page.locator('#segments tr[aria-selected="true"]').count() == 0


def test_keys_start_at_the_scroll_position(page: Page, single: Path) -> None:
    visit(page, single, "view=images&sort=name")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("j")
    assert int(page.get_attribute("#list .image[aria-current]", "data-at") or 0) > 100


def test_keys(page: Page, single: Path) -> None:
    visit(page, single, "view=images&sort=name")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.keyboard.press("j")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#list .image[aria-current] .name")).to_have_text("b.jpg")
    page.keyboard.press("Enter")
    name = page.locator("#viewer-name")
    name.filter(has_text="b.jpg").wait_for()
    for key, expected in {"j": "c <b>.jpg", "ArrowRight": "d000.jpg", "k": "c <b>.jpg", "ArrowLeft": "b.jpg"}.items():
        page.keyboard.press(key)
        expect(name).to_have_text(expected)
    addressed(page, "image=2")
    page.reload()
    name.filter(has_text="b.jpg").wait_for()
    page.locator(".frame canvas.layer").wait_for()
    page.keyboard.press("Escape")
    page.locator("#tab-images").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#overview").is_visible()


def test_two_result_sets_beside_each_other(page: Page, compared: Path) -> None:
    visit(page, compared)
    assert page.locator(".figure").first.locator(".value").count() == 2
    expect(page.locator(".difference").first).to_contain_text("B is better")
    page.click("#tab-classes")
    page.click('.sorter[data-key="difference"]')
    assert texts(page, "#class-table tbody tr th")[0] == "cat & 'dog'"
    page.keyboard.press("s")
    page.wait_for_selector('#sets button[data-value="1"][aria-pressed="true"]')
    page.click("#tab-images")
    page.select_option("#sort", "difference")
    assert texts(page, "#list .image .name")[0] == "b.jpg"
    page.click('#list .image:has-text("c <b>.jpg")')
    page.locator('.frame[data-set="1"]').wait_for()
    assert page.locator(".frame").count() == 2
    assert "missed" in point_at(page, "errors", 60, 20, 0)
    assert page.locator(".cross:visible").count() == 1
    assert "matched" in point_at(page, "errors", 60, 20, 1)
    page.click('#layers button[data-value="truth"]')
    assert re.search(r"prediction A\s.*\s?sky", tip := point_at(page, "truth", 60, 20, 1)) and "prediction B" in tip
    page.click('#layout button[data-value="all"]')
    assert page.locator(".frame").count() == 6
    page.click('#viewer-sets button[data-value="0"]')
    assert texts(page, "#segments .outcome") == ["missed"]


def test_a_missing_folder_is_reported(browser: Browser, compared: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely.html"
    shutil.copy(compared, lonely)
    page = browser.new_page()
    page.goto(f"{lonely.as_uri()}#view=images&image=2")
    page.locator('#stage [role="alert"]').wait_for()
    expect(page.locator("#stage")).to_contain_text("two sets_files is not beside this page")
    expect(page.locator("#folder-trouble")).to_contain_text("two sets_files is not beside this page")
    page.close()


def test_next_and_previous_before_an_image_is_read(page: Page, single: Path) -> None:
    visit(page, single, "view=images&sort=name&image=1")
    page.locator(".frame canvas.layer").wait_for()
    page.evaluate("step(1); step(-1)")
    page.locator(".frame canvas.layer").wait_for()
    expect(page.locator("#viewer-name")).to_have_text("a.jpg")


def test_an_image_that_cannot_be_read_is_read_again_later(browser: Browser, compared: Path, tmp_path: Path) -> None:
    copied, folder = shutil.copy(compared, tmp_path), tmp_path / "two sets_files"
    shutil.copytree(compared.with_name("two sets_files"), folder)
    (folder / "1.js").rename(folder / "kept.js")
    page = browser.new_page()
    page.set_default_timeout(5000)
    page.goto(f"{Path(copied).as_uri()}#view=images&sort=name&image=1")
    layer, alert = page.locator(".frame canvas.layer").first, page.locator('#stage [role="alert"]')
    layer.wait_for()
    page.keyboard.press("j")
    alert.wait_for()
    page.keyboard.press("k")
    layer.wait_for()
    (folder / "kept.js").rename(folder / "1.js")
    page.keyboard.press("j")
    layer.wait_for()
    assert page.locator("#viewer-name").inner_text() == "b.jpg" and alert.count() == 0
    page.close()


def test_a_folder_of_another_report_is_reported(browser: Browser, files: Small, compared: Path, tmp_path: Path) -> None:
    request = ReportRequest(files.truth, files.second, files.photos, tmp_path / "two sets.html")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "EMBEDDED_BYTES", 0)
        write_report(request, Resampling(20))  # of the same images
    shutil.copy(compared, request.page)
    page = browser.new_page()
    page.goto(f"{request.page.as_uri()}#view=images&image=2")
    for selector in ('#stage [role="alert"]', "#folder-trouble"):
        page.locator(selector).filter(has_text="two sets_files belongs to another report; put the folder").wait_for()
    page.close()


@pytest.mark.parametrize(
    "state", ["", "view=classes", "view=confusion", "view=errors", "view=images", "image=2", "image=2&layout=all"]
)
def test_narrow_windows(browser: Browser, page: Page, compared: Path, state: str) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    visit(page, compared, state)
    if "image" in state and "view" not in state:
        page.locator(".frame").first.wait_for()
        assert page.locator("#viewer").evaluate("node => node.scrollWidth <= innerWidth")
        assert page.locator(".frame").first.bounding_box()["width"] > 150  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_thin_image_with_nothing_in_it(page: Page, tmp_path: Path) -> None:
    photos, truth, nothing = tmp_path / "photos", tmp_path / "truth.json", np.zeros((1, 300), np.int32)
    write_picture(photos / "thin.png", np.zeros((1, 300, 3), np.uint8))
    images = [{"id": 5, "file_name": "thin.png", "height": 1, "width": 300}]
    write_results(truth, [annotation(5, {})], [nothing], images=images, categories=CATEGORIES)
    write_results(tmp_path / "results.json", [annotation(5, {})], [nothing])
    request = ReportRequest(truth, tmp_path / "results.json", photos, tmp_path / "empty.html")
    [written] = write_report(request, Resampling(20))
    for view in ("overview", "classes", "confusion", "errors", "images"):
        visit(page, written, f"view={view}")
    assert texts(page, "#list .image .errors") == ["0 errors"]
    assert texts(page, "#list .image .figures b") == ["\N{EN DASH}"]
    visit(page, written)
    assert texts(page, ".figure .value") == ["\N{EN DASH}"] * 3 and texts(page, "#extremes .image") == []
    assert page.locator(".figure .interval").count() == 0
    expect(page.locator("#overview")).to_contain_text("A single image has no interval")
    visit(page, written, "view=images")
    page.click("#list .image")
    page.locator(".frame .layer").wait_for()
    expect(page.locator("#segments")).to_contain_text("No errors")


def test_invalid_values_in_the_address_are_ignored(page: Page, single: Path) -> None:
    visit(
        page,
        single,
        "view=%3Cscript%3E&image=999&class=77&cause=x&sort=constructor&opacity=abc&set=5&true=-1&from=x&to=101",
    )
    assert page.locator("#overview").is_visible() and not page.locator("#viewer").is_visible()
    for state in ("set=length", "cause=length", "set=constructor"):
        visit(page, single, f"view=images&{state}")
        page.reload()
        page.locator("#list .image").first.wait_for()
        expect(page.locator("#found")).to_have_text("200 of 200 images")
