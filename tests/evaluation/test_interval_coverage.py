"""The designs know their true PQ, the methods follow their definitions, and the program its targets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from evaluation import interval_coverage
from evaluation.interval_coverage import DESIGNS, GAIN, Coverage, Design, bounds, missed, study
from panoptic_blend.metrics.resampling import Bootstrap
from panoptic_blend.metrics.weighted_quality import WeightedQuality


def test_the_truth_is_what_many_images_have() -> None:
    many = Design("many", 60_000, (0.3, 0.05), instances=3, dominance=0.5, iou=1)
    one, two = many.draw(np.random.default_rng(0))
    first, second = (WeightedQuality(data).estimate(np.ones((1, 60_000))).value[0, 3:] for data in (one, two))
    assert first == pytest.approx(many.truth(), abs=0.008)
    assert second == pytest.approx(many.truth(GAIN), abs=0.008)
    assert (one.tp + one.fn == two.tp + two.fn).all()
    assert ((one.iou_sum >= one.tp / 2) & (one.iou_sum <= one.tp)).all()


def test_methods_follow_their_definitions() -> None:
    data, _ = Design("few", 20, (0.8, 0.8)).draw(np.random.default_rng(1))
    bootstrap = Bootstrap(WeightedQuality(data), 500, seed=0)
    found = bounds(bootstrap, 0, 0)
    low, high = np.quantile(bootstrap.values[:, 0], [0.025, 0.975])
    assert found["percentile"] == pytest.approx((low, high))
    assert found["basic"] == pytest.approx((2 * bootstrap.value[0] - high, 2 * bootstrap.value[0] - low))
    # z0 = 0 and a = 0 make BCa the percentile interval
    bootstrap.influence[:] = 0
    bootstrap.value[0] = np.median(bootstrap.values[:, 0])
    assert bounds(bootstrap, 0, 0)["BCa"] == pytest.approx((low, high))


def test_a_study_depends_on_its_seed_alone() -> None:
    design = DESIGNS[3]
    rows = list(study(design, 5, 50, 0))
    assert rows == list(study(design, 5, 50, 0)) != list(study(design, 5, 50, 1))
    assert {row.of for row in rows} == {"PQ", "difference", "class"}
    for row in rows:
        assert row.covered + row.too_low + row.too_high == pytest.approx(1, abs=2e-4)


def test_results_are_written_and_targets_decide_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interval_coverage, "DESIGNS", DESIGNS[3:4])
    monkeypatch.setattr(interval_coverage, "LEAST", 0.0)
    for expected in (0, 1):
        with pytest.raises(typer.Exit) as stop:
            interval_coverage.interval_coverage(sets=2, resamples=20, output=tmp_path / "results.json")
        assert stop.value.exit_code == expected
        monkeypatch.setattr(interval_coverage, "LEAST", 1.1)
    written = json.loads((tmp_path / "results.json").read_text())
    assert (written["sets"], written["resamples"], written["seed"]) == (2, 20, 0)
    assert [Coverage(**row) for row in written["coverage"]] == list(study(DESIGNS[3], 2, 20, 0))
    assert "Intervals of difference" in capsys.readouterr().out


def test_only_designs_with_enough_images_are_judged() -> None:
    row = Coverage(DESIGNS[0].name, "PQ", "studentized", covered=0.87, too_low=0.13, too_high=0, width=3)
    once = next(design for design in DESIGNS if design.name.startswith("once"))
    assert len(missed([row])) == 1
    for other in (
        replace(row, covered=0.88),
        replace(row, method="percentile"),
        replace(row, of="class"),
        replace(row, design=once.name),
    ):
        assert missed([other]) == []
