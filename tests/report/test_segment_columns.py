"""The segments of a report in columns, as the page reads them, and their errors by size."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path

import numpy as np
from reporting_files import small

from panoptic_blend.formats.coco_panoptic import read_annotations, read_panoptic_json
from panoptic_blend.metrics.causes import Cause
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.report.segment_columns import NO_CAUSE, SegmentColumns, SegmentEntry
from panoptic_blend.scoring.details import Resampling

MISSED = list(Cause).index(Cause.MISSED)


def column(text: str, kind: str) -> list[float]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind).tolist()


def test_columns_hold_the_segments_image_by_image() -> None:
    columns = SegmentColumns()
    found = SegmentEntry(2, 0, NO_CAUSE, 0.87654, 2, 1024, 0.5, (1, 2, 3, 4), True)
    missed = SegmentEntry(3, 2, MISSED, 0.0, 0, 1023, math.nan, (0, 0, 0, 0))
    columns.add([missed], [found])
    columns.add([], [])
    content = columns.content()
    assert column(content["counts"], "<u2") == [1, 1, 0, 0]
    assert column(content["lines"], "<u2") == [3, 2] and column(content["causes"], "u1") == [MISSED, 255]
    assert column(content["ious"], "<f4") == [0, np.float32(0.87654)] and column(content["ignorable"], "u1") == [0, 1]
    assert column(content["boxes"], "<u2") == [0, 0, 0, 0, 1, 2, 3, 4]
    scores = column(content["scores"], "<f4")
    assert math.isnan(scores[0]) and scores[1] == 0.5 and columns.has_scores()
    assert columns.errors_by_size()[MISSED] == [1, 0, 0]  # 1023 pixels are small


def test_nothing_has_no_scores_and_no_errors() -> None:
    columns = SegmentColumns()
    assert not columns.has_scores() and columns.errors_by_size() == [[0, 0, 0]] * len(Cause)


def test_scores_of_panoptic_results_are_read_and_odd_ones_ignored(tmp_path: Path) -> None:
    files = small(tmp_path)
    found = json.loads(files.first.read_text())
    records = found["annotations"][0]["segments_info"]
    for record, score in zip(records, (0.25, "high", float("inf")), strict=True):
        record["score"] = score
    files.first.write_text(json.dumps(found))
    categories = read_panoptic_json(files.truth).categories
    scores = [segment.score for segment in read_annotations(files.first, categories, files.truth)[0].segments]
    assert scores == [0.25, None, None]


def test_the_page_has_the_segments_of_each_set(tmp_path: Path) -> None:
    files = small(tmp_path)
    request = ReportRequest(files.truth, files.first, files.photos, tmp_path / "page.html")
    [page] = write_report(request, Resampling(5))
    text = page.read_text("utf-8")
    content = json.loads(text.partition('id="content">')[2].partition("</script>")[0])
    assert content["results"][0]["has_scores"] is False
    assert content["results"][0]["errors_by_size"][MISSED] == [1, 0, 0]  # the box of 30 x 30 pixels in image 3
    [found] = json.loads(content["embedded"]["segments.js"])["sets"]
    # three images with three true segments; 3, 3 and 2 predicted ones
    assert column(found["counts"], "<u2") == [3, 3, 3, 3, 3, 2]
    assert column(found["boxes"], "<u2")[:8] == [5, 10, 35, 40, 45, 10, 75, 40]
