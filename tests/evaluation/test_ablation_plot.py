"""Drawings of ablations: where differences and intervals lie."""

from __future__ import annotations

from xml.etree import ElementTree

from evaluation.ablation_plot import Difference, svg

SVG = "{http://www.w3.org/2000/svg}"


def test_differences_lie_where_their_figures_say() -> None:
    """The axis goes from -4 to 4 over 420 pixels from 150: 52.5 pixels a point, and 360 is zero."""
    root = ElementTree.fromstring(svg([Difference("a < b", 2, 1), Difference("c", -3, 0.5)], "table <1>", "AP"))
    circles = [(one.get("cx"), one.get("cy")) for one in root.iter(f"{SVG}circle")]
    assert circles == [("465.0", "42"), ("202.5", "68")]
    lines = [one.get("d") for one in root.iter(f"{SVG}path") if one.get("class") == "interval"]
    assert lines == ["M412.5 42H517.5", "M176.2 68H228.8"]
    words = [one.text for one in root.iter(f"{SVG}text")]
    assert words[0] == "table <1>" and words[1:6] == ["-4", "-2", "+0", "+2", "+4"] and "a < b" in words
