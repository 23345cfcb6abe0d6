"""The words of a summary: each line where it belongs, and nothing that Markdown or HTML would interpret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.fit.report_text import Known, ReportText
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.details import Resampling, compute_findings
from panoptic_blend.structures import Category, PanopticMap, Segment

CATEGORIES = [Category(1, "<b>*cat*</b>", True), Category(2, "dog", True), Category(3, "sky", False)]


@pytest.fixture
def text(tmp_path: Path) -> ReportText:
    """Eight pictures of a small cat that is missed, before a sky that is found."""
    truth = np.full((10, 10), 2, np.int32)
    truth[:2] = 1
    details = PanopticDetails(CATEGORIES)
    sky = Segment(2, 3, False, None, 0, None)
    for number in range(8):
        whole = PanopticMap(np.full((10, 10), 2, np.int32), [sky])
        details.update(number, PanopticMap(truth, [Segment(1, 1, True, None, 0, None), sky]), whole)
    pixels = np.array([[0, 0, 0, 0], [0, 0, 0, 160], [0, 0, 0, 0], [0, 0, 0, 640]])
    instances = AveragePrecision(CATEGORIES).compute()
    return ReportText(
        known=Known(examples={1: 5, 3: 60}, pictures=40, warnings=("a | b: 3 pictures < 4",)),
        evaluation=Evaluation(details.compute(), instances, "panoptic", 0.8, pixels),
        images=8,
        details=details,
        findings=compute_findings(details, None, Resampling(resamples=50)),
        history=[0.1, 0.3, 0.4],
        model=tmp_path / "best.safetensors",
        page=tmp_path / "report.md",
        html=tmp_path / "report" / "report.html",
        pictures=[("The best (PQ 40.0)", tmp_path / "report" / "best.png")],
    )


def test_the_lines_of_the_terminal(text: ReportText) -> None:
    quality, limit, label, change, files, warning = text.lines()
    # cat 0, sky 0.8; every picture is the same, so the intervals have no width
    assert (
        quality == "PQ 40.0 (40.0 to 40.0) on 8 validation pictures: things 0.0 (0.0 to 0.0), stuff 80.0 (80.0 to 80.0)"
    )
    assert limit.startswith("what limits it: missed things (100% of them under 32 x 32 pixels) cost 50.0 points; ")
    assert label == "what to label next: more pictures with classes of few examples: `<b>*cat*</b>` (5)"
    assert change == (
        "what to change: it was still getting better at the end (PQ 30.0 -> 40.0): more --minutes; small things are "
        "missed: larger pictures (data.short_sides, test.short_side), more --minutes; few training pictures "
        "(40): twice as many usually help more than anything else"
    )
    assert files == f"model: {text.model}; report: {text.page}, in detail {text.html}"
    assert warning == "about the data: a | b: 3 pictures < 4"


def test_the_page(text: ReportText) -> None:
    page = text.text()
    assert page.startswith("# How good the model is\n\n**PQ 40.0 (40.0 to 40.0) on 8 validation pictures: ")
    assert "PQ (panoptic quality) says " in page and "expect a little less on new ones" in page
    assert "![The best (PQ 40.0)](report/best.png)" in page and "[report.html](report/report.html)" in page
    assert "| sky | stuff | 80.0 | 80.0 to 80.0 | 60 | 8 |" in page
    assert r"| \<b\>\*cat\*\</b\> | thing | 0.0 | 0.0 to 0.0 | 5 | 8 |" in page
    assert "| dog | thing | - | - | - | 0 |" in page
    assert "* label more pictures with classes of few examples: `<b>*cat*</b>` (5)\n" in page
    assert r"* a \| b: 3 pictures \< 4" in page
    assert "Scores and thresholds" not in page


def test_the_page_leads_to_the_lists(text: ReportText) -> None:
    known = Known(lists=[text.page.parent / "label_next.csv"])
    page = replace(text, known=known).text()
    assert (
        "* Picture by picture, from label_next.csv: [label_next.html](label_next.html)\n" in page
        and "* see " not in page
    )
    assert replace(text, known=known).lines()[2].endswith(f"see {known.lists[0]}")


def test_what_is_not_so_is_not_said(text: ReportText) -> None:
    settled = replace(text, history=[0.4, 0.4], known=Known(pictures=5000), details=PanopticDetails(CATEGORIES))
    assert settled.lines()[3] == "what to change: nothing urgent; a larger backbone or more --minutes may still pay"
    assert len(settled.lines()) == 5 and "Warnings" not in settled.text()
    things = replace(text.evaluation, mean_iou=None)
    assert replace(text, evaluation=things).how_good() == "PQ of things 0.0 (0.0 to 0.0) on 8 validation pictures"
