"""PQ over milliseconds: what is drawn, and what an interrupted run does again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from evaluation import speed_curve
from evaluation.speed_curve import LITE, MODELS, Point, main, read_points, svg
from panoptic_blend.config.experiment import load_config
from panoptic_blend.structures import PanopticBlendError

SVG = "{http://www.w3.org/2000/svg}"


def point(model: str, milliseconds: float, pq: float) -> Point:
    seconds = [milliseconds / 1000, 1.0, 0.0]
    return Point(model, [], 10, 900, 200, pq, pq - 0.02, pq + 0.03, [1.0], seconds, "a processor", 2, "2026-11-28")


def test_points_lie_where_their_figures_say() -> None:
    """The axes go from 0 to 25 ms and from 50 to 65 %: 530 and 330 pixels from (60, 350)."""
    root = ElementTree.fromstring(svg([point("R-18", 20, 0.6), point("lite", 10, 0.55)]))
    circles = [(float(one.get("cx", 0)), float(one.get("cy", 0))) for one in root.iter(f"{SVG}circle")]
    assert circles == [(272.0, 240.0), (484.0, 130.0)]
    intervals = [one.get("d") for one in root.iter(f"{SVG}path") if one.get("class") == "interval"]
    assert intervals == ["M272.0 284.0V174.0", "M484.0 174.0V64.0"]
    words = [one.text for one in root.iter(f"{SVG}text")]
    assert words[-2:] == ["lite", "R-18"]


def test_every_model_is_one_of_the_config() -> None:
    for options in MODELS.values():
        load_config("demo/shapes_r18", options)
    lite = load_config("demo/shapes_r18", LITE).model
    assert (lite.fcos.norm, lite.semantic.norm) == ("bn", "bn")


def test_what_has_a_point_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def measured(name: str, *given: Any) -> Point:
        trained.append(name)
        return point(name, 10, 0.5)

    monkeypatch.setattr(speed_curve, "measured", measured)
    monkeypatch.setattr(speed_curve, "write_shapes", lambda root, *pictures: root.mkdir())
    results, drawing = tmp_path / "curve.jsonl", tmp_path / "curve.svg"
    words = ["speed_curve", "--results", str(results), "--drawing", str(drawing), "--output", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*words, "--draw"])
    with pytest.raises(PanopticBlendError, match="has no results; leave out --draw"):
        main()
    for names in (["R-14"], ["R-14", "R-18"]):
        monkeypatch.setattr(sys, "argv", [*words, "--only", *names])
        main()
    assert trained == list(read_points(results)) == ["R-14", "R-18"]
    assert capsys.readouterr().out.count("R-14: 10.0 ms, PQ 50.0, 900 steps") == 2
    assert drawing.read_text() == svg([point("R-14", 10, 0.5), point("R-18", 10, 0.5)])
    results.write_text("{}\n")
    with pytest.raises(PanopticBlendError, match=r"curve\.jsonl: line 1 is no result; remove the line"):
        read_points(results)
