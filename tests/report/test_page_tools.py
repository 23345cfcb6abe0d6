"""Tools of the page in Chromium: what is wrong in words, single segments, tags and lists, zoom, and files to save."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser_fixtures import expect
from reporting_browser import addressed, texts, visit
from reporting_files import CATEGORIES, EVIL, Small, annotation, small, write_results

from panoptic_blend.formats.images import decode_picture
from panoptic_blend.metrics.calibration import expected_error, score_bins
from panoptic_blend.metrics.panoptic_quality import class_quality
from panoptic_blend.metrics.thresholds import quality_at
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.report.selection import write_selection
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.evaluate_files import detail_files
from panoptic_blend.scoring.file_pairs import FilePairs

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Small:
    found = small(tmp_path_factory.mktemp("tools"), ["a.jpg", "b.jpg", "c <b>.jpg", "d.jpg"])
    content = json.loads(found.first.read_text())
    for record in content["annotations"]:
        for segment in record["segments_info"]:
            segment["score"] = 0.95 if segment["id"] == 1 else 0.4
    found.first.write_text(json.dumps(content))
    return found


@pytest.fixture(scope="module")
def written(files: Small) -> Path:
    """Three result sets, of images of two sites."""
    groups = files.root / "groups.csv"
    groups.write_text("image,site\n1,x\n2,x\n3,y\n4,y\n")
    others = [(files.second, None), (files.first, None)]
    request = ReportRequest(
        files.truth, files.first, files.photos, files.root / "page.html", others=others, group_by=groups
    )
    return write_report(request, Resampling(20))[0]


def saved(page: Page, selector: str) -> str:
    """The content of the file that a click on an element saves."""
    with page.expect_download() as started:
        page.click(selector)
    return Path(started.value.path()).read_text("utf-8")


def test_what_is_wrong_is_said(page: Page, written: Path) -> None:
    visit(page, written)
    # Class 3: IoU 1 in three of four images, and one is taken for class 7, of which two are found and two missed; the
    # IoU of the sky is 1 in two images and 3000 / 3900 in two.
    lost = {
        "wrong class": (0.5 / 3.5 + 0.5 / 3.5) / 3,
        "missed": (1 / 3.5) / 3,
        "inexact outline": 2 * 900 / 3900 / 4 / 3,
    }
    value = (3 / 3.5 + 2 / 3.5 + (2 + 2 * 3000 / 3900) / 4) / 3
    assert value + sum(lost.values()) == pytest.approx(1)
    words = page.locator("#verdict .lead").inner_text()
    assert words == (
        f"PQ is {100 * value:.1f}. Of the {100 * (1 - value):.1f} points that are missing, the largest share is lost "
        f"to segments with the wrong class ({100 * lost['wrong class']:.1f}), then missed segments "
        f"({100 * lost['missed']:.1f})."
    )
    facts = page.locator(".facts").inner_text()
    assert "2 of the 2 segments with this error are small" in facts
    assert "C and A differ by +0.0, which may be chance" in facts
    assert "B finds 3 segments that A misses, and misses 0 that A finds." in facts  # one of image 2, 3, and 4 each
    assert texts(page, "#extremes .name")[:3] == ["b.jpg", "c <b>.jpg", "d.jpg"]
    page.click("#verdict .lead button >> nth=1")
    assert texts(page, "#list .image .name") == ["c <b>.jpg", "d.jpg"]
    page.click("#tab-overview")
    page.click('.facts button:text-is("3")')
    expect(page.locator("#patches-found")).to_have_text("3 of 24 segments in 3 images")
    page.click("#to-images")
    expect(page.locator("#segment-chip")).to_have_text("found by B, missed by A ✕")


def test_segments_are_filtered_by_who_found_them(page: Page, written: Path, files: Small, tmp_path: Path) -> None:
    visit(page, written, "view=segments&class=2")
    found = page.locator("#patches-found")
    page.click("#patch-missedBy-0")
    expect(found).to_have_text("2 of 22 segments in 2 images")  # of images 3 and 4
    page.click("#patch-foundBy-1")
    page.click("#patch-missedBy-2")
    expect(found).to_have_text("2 of 22 segments in 2 images")
    addressed(page, "foundBy=1&missedBy=02")
    page.click("#patch-foundBy-0")  # which cannot both find and miss a segment
    addressed(page, "foundBy=01&missedBy=2")
    expect(found).to_contain_text("0 of 22")
    visit(page, written, "view=images&missedBy=07")
    expect(page.locator("#found")).to_have_text("4 of 4 images")  # no such set
    page.click("#filter-missedBy-0")
    expect(page.locator("#found")).to_have_text("3 of 4 images")
    page.click("#filter-foundBy-1")
    assert texts(page, "#list .image .name") == ["b.jpg", "c <b>.jpg", "d.jpg"]
    first = FilePairs(files.truth, files.first, pictures=True)
    sets = {"first": first, "second": first.with_results(files.second)}
    assert write_selection(sets, "missed-by=first,found-by=second", tmp_path / "l", overwrite=False, workers=1) == 3


def test_several_result_sets(page: Page, written: Path) -> None:
    visit(page, written)
    assert page.locator(".figure").first.locator(".value").count() == 3
    assert texts(page, "#sets button") == ["A", "B", "C"]
    for expected in ("1", "2", "0"):
        page.keyboard.press("s")
        page.wait_for_selector(f'#sets button[data-value="{expected}"][aria-pressed="true"]')
    page.click("#tab-classes")
    assert [head.strip() for head in texts(page, "#class-table thead th")][2:6] == [
        "PQ A",
        "PQ B",
        "PQ C",
        "B \N{MINUS SIGN} A",
    ]


def test_single_segments_are_filtered(page: Page, written: Path) -> None:
    visit(page, written, "view=segments")
    found = page.locator("#patches-found")
    expect(found).to_have_text("22 of 22 segments in 4 images")  # 12 in the truth, 3 + 3 + 2 + 2 predicted
    page.select_option("#patch-cause", label="wrong class")
    expect(found).to_have_text("2 of 22 segments in 1 images")
    assert texts(page, ".patch .outcome") == [f"wrong class: {name}" for name in ("cat & 'dog'", EVIL)]
    page.click("#patch-clear")
    page.locator("#slider-score0").evaluate("node => { node.value = 90; node.dispatchEvent(new Event('change')); }")
    expect(found).to_have_text("4 of 22 segments in 4 images")
    page.click("#suspect")  # the class is another one, with the same outline; truth has no score
    expect(found).to_contain_text("0 of 22")
    page.locator("#slider-score0").evaluate("node => { node.value = 0; node.dispatchEvent(new Event('change')); }")
    expect(found).to_have_text("1 of 22 segments in 1 images")
    assert page.locator("#suspect-note").is_visible()
    page.click("#to-images")
    assert (
        texts(page, "#list .image .name") == ["b.jpg"]
        and page.locator("#segment-chip").inner_text() == "truth to check ✕"
    )
    page.click("#segment-chip")
    page.locator('#list .image:has-text("a.jpg")').wait_for()
    visit(page, written, "view=segments&class=1")
    assert texts(page, ".strip h2") == ["Best: the highest IoU", "Worst: the largest errors"]
    page.locator(".strip .patch").last.click()
    page.locator("#viewer-name").filter(has_text="b.jpg").wait_for()
    addressed(page, "segment=t0")


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("cause=missed", "cause=6"),
        ("cause=wrong class,class=cat & 'dog'", "cause=0&class=2"),
        (f"true={EVIL},predicted=7", "true=1&taken=2"),
        ("class=9,pq=58..100", "class=3&from=58"),
        ("outcome=matched,iou=0..80", "outcome=tp&iou1=80"),
        ("score=90..,class=7", "score0=90&class=2"),
        ("size=small,outcome=missed,true=7", "area=small&outcome=fn&true=2"),
        ("missed-by=first,class=7", "missedBy=0&class=2"),
    ],
)
def test_the_command_line_selects_what_the_page_does(
    page: Page, files: Small, written: Path, tmp_path: Path, words: str, state: str
) -> None:
    visit(page, written, f"view=images&sort=name&{state}")
    pairs, out = FilePairs(files.truth, files.first, pictures=True), tmp_path / "list.txt"
    number = write_selection({"first": pairs}, words, out, overwrite=False, workers=1)
    assert saved(page, "#save-list") == out.read_text("utf-8") and len(out.read_text().splitlines()) == number > 0


def test_groups_lead_to_their_images(page: Page, written: Path) -> None:
    visit(page, written)
    # in y: class 3 is found, class 7 missed twice; in x: 1 / 1.5, 2 / 2.5 and 1
    low, high = (1 + 0 + 3000 / 3900) / 3, (1 / 1.5 + 2 / 2.5 + 1) / 3
    rows = [row.split("\t")[:6] for row in texts(page, ".groups tbody tr")]
    a = [f"{100 * low:.1f}", f"{100 * high:.1f}"]
    assert rows == [["y", "2", "3", a[0], "100.0", a[0]], ["x", "2", "3", a[1], "100.0", a[1]]]
    assert "Lowest: A y, C y." in page.locator("article:has(.groups)").inner_text()
    beside = [row.split("\t") for row in texts(page, "#beside tbody tr")]
    # sky: 12000 pixels of the truth, all found, and 2 x 900 more; class 3: 2700 of 3600; class 7: 1800 of 3600 + 900
    sky, left, right = 12000 / (12000 + 1800), 2700 / 3600, 1800 / 4500
    ious = [f"{100 * iou:.1f}" for iou in ((sky + left + right) / 3, (left + right) / 2, sky)]
    assert [row[:3] for row in beside[:3]] == [
        ["A", *row] for row in zip(("All", "Things", "Stuff"), ious, strict=True)
    ]
    assert len(beside) == 9 and beside[3] == ["B", "All", "100.0", "100.0", "100.0", "100.0"]
    assert texts(page, "#beside th[scope=col]")[2:] == ["mIoU", "frequency-weighted IoU", "PQ-dagger", "covering"]
    page.locator(".groups .link").first.click()
    assert (
        texts(page, "#list .image .name") == ["c <b>.jpg", "d.jpg"]
        and page.locator("#group").inner_text() == "site: y ✕"
    )
    page.reload()
    page.locator("#list .image").first.wait_for()
    assert texts(page, "#list .image .name") == ["c <b>.jpg", "d.jpg"]


def test_curves_of_panoptic_scores(page: Page, written: Path) -> None:
    visit(page, written, "view=curves")
    # of four segments with a score of 0.95 three are right, of six with 0.4 all are
    assert (
        f"A: {10 * (abs(4 * 0.95 - 3) + 6 * 0.6):.1f} points over 10 predictions"
        in page.locator("#curves").inner_text()
    )
    at_half = page.evaluate("qualityOverScores(0, 0, countsOverScores(predictedSegments(0, 0)))[50]")
    assert at_half == pytest.approx((3 / 3.5 + 0) / 2)  # class 7 has one false segment then, and misses four
    assert page.locator("#curves .plot").count() == 4
    # Five of eight things are found, and one of six predicted things is false; stuff does not count. The second result
    # set has no scores, and so no curve.
    curves = page.locator("#recall-plot .line")
    assert curves.count() == 2 == page.locator("#score-plot .line").count()
    right, height = 480 - 44 - 12, 330 - 20 - 38
    assert (curves.first.get_attribute("d") or "").startswith(f"M{44 + right * 5 / 8:.1f} {20 + height / 6:.1f}")
    # above an IoU of 0.75 all sky matches, of which two have 3000 / 3900; above 0.8 two are missed and two spurious
    stuff = page.evaluate("content.results[0].stricter.groups.Stuff")
    assert stuff[5:7] == pytest.approx([(2 + 2 * 3000 / 3900) / 4, 2 / 4])
    page.locator("#match").evaluate("node => { node.value = 77; node.dispatchEvent(new Event('input')); }")
    table = page.locator("#match-table tbody tr")
    assert table.count() == 9 and page.locator("#match-value").inner_text() == "0.77"
    pq = 100 * 2 / 4  # two skies match, and two are missed and spurious
    assert table.nth(2).inner_text().split("\t") == ["A", "Stuff", f"{pq:.1f}", "100.0", "50.0", "2", "2", "2"]
    page.locator("#match").evaluate("node => { node.value = 76; node.dispatchEvent(new Event('change')); }")
    addressed(page, "match=76")
    assert table.nth(2).inner_text().split("\t")[2:4] == [f"{100 * (2 + 2 * 3000 / 3900) / 4:.1f}"] * 2
    page.select_option("#curve-class", "3")
    assert page.locator("#curves .plot").count() == 1  # stuff has no scores


def test_figures_at_other_thresholds_are_those_of_pq(page: Page, files: Small, tmp_path: Path) -> None:
    """Shifted boxes, one of which lies mostly on void, so that PQ ignores it where it does not match."""
    truth, shifted = np.full((60, 80), 5, np.int32), np.full((60, 80), 5, np.int32)
    truth[10:40, 5:35], truth[10:40, 45:55], truth[10:40, 55:80] = 1, 2, 0
    shifted[10:40, 9:39], shifted[10:40, 47:80] = 1, 2
    content = json.loads(files.truth.read_text())
    record, images = annotation(1, {1: 3, 2: 7, 5: 9}), content["images"][:1]
    path = tmp_path / "truth.json"
    write_results(path, [record], [truth], images=images, categories=CATEGORIES)
    write_results(tmp_path / "results.json", [annotation(1, {1: 3, 2: 7, 5: 9})], [shifted])
    request = ReportRequest(path, tmp_path / "results.json", files.photos, tmp_path / "page.html")
    visit(page, write_report(request, Resampling(20))[0], "view=curves")
    expected = quality_at(detail_files(path, tmp_path / "results.json"), tuple(range(50, 100)))
    assert expected[90].per_class[7] == class_quality(0, 0, 0, 1)  # IoU 240 / 300, and no false positive above it
    for threshold, report in expected.items():
        found = dict(page.evaluate(f"qualitiesAbove(0, {threshold / 100}, 0)"))
        for group, figures in found.items():
            assert [figures[key] for key in ("pq", "sq", "rq")] == pytest.approx(
                [report[group][key] for key in ("pq", "sq", "rq")], abs=1e-7
            )
        counts = [sum(quality[key] for quality in report.per_class.values()) for key in ("tp", "fp", "fn")]
        assert [found["All"][key] for key in ("tp", "fp", "fn")] == counts
    page.click("#tab-segments")
    assert not page.locator("#iou-note").is_visible()
    page.locator("#slider-iou0").evaluate("node => { node.value = 70; node.dispatchEvent(new Event('change')); }")
    page.click("#iou-note button")
    expect(page.locator("#match-value")).to_have_text("0.70")


def test_calibration_is_that_of_pq(page: Page, written: Path) -> None:
    visit(page, written)
    scores, right = [0.1, 0.15, 0.2, 1.0], [False, False, True, True]
    pairs = [[float(np.float32(score)), is_right] for score, is_right in zip(scores, right, strict=True)]
    found = page.evaluate("(pairs) => calibration(pairs).error", pairs)
    assert found == pytest.approx(expected_error(list(score_bins(np.array(scores), np.array(right, float)))))
    outside = page.evaluate("calibration([[0.5, true], [2, false]])")
    assert outside == {"points": [], "error": None, "total": 2, "outside": 1}


def test_images_are_tagged(page: Page, written: Path) -> None:
    visit(page, written, "view=images&sort=name")
    page.keyboard.press("j")
    page.keyboard.press("t")
    expect(page.locator("#list .image[data-tagged] .name")).to_have_text("a.jpg")
    page.click('#list .image:has-text("d.jpg")')
    page.click("#tag")
    assert page.get_attribute("#tag", "aria-pressed") == "true"
    page.keyboard.press("Escape")
    page.click("#only-tagged")
    assert texts(page, "#list .image .name") == ["a.jpg", "d.jpg"]
    assert saved(page, "#save-list") == "a.jpg\nd.jpg\n"
    addressed(page, "tagged=1")
    page.reload()
    page.locator("#list .image").first.wait_for()
    assert texts(page, "#list .image .name") == ["a.jpg", "d.jpg"]  # the browser has kept them
    page.click("#tag-all")
    expect(page.locator("#only-tagged")).to_contain_text("0 tagged")


def test_thumbnails_show_a_layer(page: Page, written: Path) -> None:
    visit(page, written, "view=images&sort=name")
    middle = (
        """node => [...node.getContext("2d").getImageData(Math.floor(node.width / 4), node.height / 3, 1, 1).data]"""
    )
    page.wait_for_function("() => [...document.querySelectorAll('.thumbnail canvas')].every(node => node.width === 80)")
    assert page.locator(".thumbnail canvas").first.evaluate(middle) == [200, 30, 40, 255]  # the left box
    page.select_option("#thumbs", "photo")
    assert page.locator(".thumbnail canvas").count() == 0


def test_photos_are_zoomed_and_moved(page: Page, written: Path) -> None:
    visit(page, written, "view=images&image=1&layer=truth&zoom=2,0.25,0.25")
    page.locator(".frame canvas.layer").wait_for()
    frame = page.locator(".frame")
    box = frame.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # a quarter across and down: (20, 15)
    expect(page.locator("#tip")).to_contain_text(EVIL)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 0.5 * box["width"], box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert page.evaluate("zoomed()") == [2, pytest.approx(0.5, abs=0.01), 0.25]
    assert page.locator('#segments tr[aria-selected="true"]').count() == 0  # a drag is no click
    page.keyboard.press("0")
    expect(page.locator("#zoom-value")).to_have_text("1.0 \N{MULTIPLICATION SIGN}")
    frame.dblclick(position={"x": 5, "y": 5})
    expect(page.locator("#zoom-value")).to_have_text("2.0 \N{MULTIPLICATION SIGN}")


def test_tables_and_figures_are_saved(page: Page, written: Path, tmp_path: Path) -> None:
    visit(page, written, "view=classes&order=name")
    menu = "#classes .save"
    page.click(f"{menu} summary")
    rows = saved(page, f'{menu} [data-format="CSV"]').splitlines()
    assert rows[0].startswith("Class,Kind,PQ A,PQ B,PQ C") and rows[1].startswith(f"{EVIL},thing,85.7,100.0,85.7,14.3,")
    page.click(f"{menu} summary")
    markdown = saved(page, f'{menu} [data-format="Markdown"]').splitlines()
    assert markdown[1].startswith("| --- | --- | ---: |") and markdown[3].startswith("| cat & 'dog' | thing |")
    page.click(f"{menu} summary")
    latex = saved(page, f'{menu} [data-format="LaTeX"]')
    assert latex.startswith("\\begin{tabular}{llrr") and "cat \\& 'dog' & thing & 57.1" in latex
    visit(page, written)
    card = ".card:has(.budget-bars) .save"
    page.click(f"{card} summary")
    drawing = saved(page, f'{card} [data-format="SVG"]')
    assert drawing.startswith("<svg") and ">Things<" in drawing and len(re.findall("<rect", drawing)) > 10
    page.click(f"{card} summary")
    with page.expect_download() as started:
        page.click(f'{card} [data-format="PNG"]')
    picture = decode_picture(Path(started.value.path()).read_bytes(), "card.png")
    assert started.value.suggested_filename == "points_of_pq_lost_to_each_cause.png" and picture.shape[1] > 1000
    page.click("#extremes .save summary")
    assert saved(page, '#extremes [data-format="SVG"]').count("data:image/jpeg") == 4  # the photos of all images
