"""The experiment on the speed of the report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evaluation import report_speed
from evaluation.report_speed import measure


def test_a_report_of_pairs_of_640_by_480_is_measured(generated: Path, tmp_path: Path) -> None:
    assert measure(generated, "val2017", 2, tmp_path) > 0
    assert (tmp_path / "report.html").exists() and len(list((tmp_path / "photos").iterdir())) == 2


@pytest.mark.parametrize(("seconds", "status"), [(0.012, 0), (0.0121, 1)])
def test_the_time_of_5000_images_is_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, status: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["report_speed"])
    monkeypatch.setattr(report_speed, "measure", lambda *given: seconds)
    with pytest.raises(SystemExit) as stop:
        report_speed.main()
    assert stop.value.code == status
    assert capsys.readouterr().out.startswith(f"{1000 * seconds:.1f} ms of processor time per image, 6")
