"""The picture of the packages shows the layers that the tests hold."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from test_architecture import LAYERS, NEEDS_TORCH

SVG = "{http://www.w3.org/2000/svg}"
PICTURE = Path(__file__).parents[2] / "docs" / "packages.svg"


def test_packages_stand_in_the_order_of_their_ranks_in_the_color_of_what_they_need() -> None:
    root = ElementTree.parse(PICTURE).getroot()
    boxes = [item for item in root.iter(f"{SVG}rect") if float(item.get("width", 0)) > 20 and item.get("rx")]
    names = [item.text or "" for item in root.iter(f"{SVG}text") if item.get("class") == "name"]
    shown = dict(zip(names, boxes, strict=True))
    assert set(shown) == set(LAYERS)
    assert {name for name, box in shown.items() if box.get("class") == "torch"} == NEEDS_TORCH
    heights = [float(shown[name].get("y", 0)) for name in LAYERS]  # y grows downwards
    assert heights == sorted(heights, reverse=True)
