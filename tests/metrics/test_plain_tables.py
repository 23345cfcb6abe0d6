"""Reports as text and as HTML."""

from __future__ import annotations

from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.structures import Category


def report() -> PanopticReport:
    quality = PanopticQuality(
        [Category(1, "cat", is_thing=True), Category(2, "<b>dog\n</b>", is_thing=True), Category(3, "sky", False)]
    )
    quality.tally([(1, 0.75), (1, 1.0)], [2], [1, 1])
    return quality.compute()


def test_a_report_is_one_readable_table() -> None:
    assert repr(report()).splitlines() == [
        "                      PQ    SQ    RQ  TP  FP  FN",
        "All (2 classes)     29.2  43.8  33.3",
        "Things (2 classes)  29.2  43.8  33.3",
        "Stuff (0 classes)      -     -     -",
        "cat                 58.3  87.5  66.7   2   2   0",
        r"<b>dog\n</b>         0.0   0.0   0.0   0   0   1",
    ]


def test_names_are_escaped_in_html() -> None:
    found = report()._repr_html_()
    assert r"<td>&lt;b&gt;dog\n&lt;/b&gt;</td><td>0.0</td>" in found
    assert "<td>Stuff (0 classes)</td><td>-</td>" in found
    assert found.count("<tr>") == found.count("</tr>") == 6
