"""``pq --also``: tables, JSON and files; the figures themselves are tested in tests/metrics."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.formats.images import write_segment_ids
from panoptic_blend.scoring.further import FURTHER, parse_names

CATEGORIES = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]


def write(folder: Path, name: str, rows: list[list[int]]) -> Path:
    """A file of maps with a cat, segment 1, and sky, segment 2, one row of pixels each."""
    images, annotations = [], []
    for image, row in enumerate(rows):
        write_segment_ids(folder / name / f"{image}.png", np.array([row], np.int32))
        infos = [{"id": i, "category_id": i, "area": row.count(i)} for i in (1, 2) if i in row]
        annotations.append({"image_id": image, "file_name": f"{image}.png", "segments_info": infos})
        images.append({"id": image, "file_name": f"{image}.jpg", "height": 1, "width": len(row)})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / f"{name}.json"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Sky of 4 pixels of which one is found; cats with IoU 3/4 and 2/3."""
    truth = write(tmp_path, "truth", [[1, 1, 1, 1, 2, 2, 2, 2], [1, 1, 1]])
    return truth, write(tmp_path, "found", [[1, 1, 1, 0, 2, 0, 0, 0], [1, 1, 0]])


def run(monkeypatch: pytest.MonkeyPatch, *command: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, command)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_figures_are_added_to_the_plain_ones(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "pq", *files, "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert run(monkeypatch, "pq", *files, "--also", "all", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    also, curve = found.pop("also"), found.pop("thresholds")
    assert found.pop("calibration")["All"]["expected_error"] is None, "there are no scores"
    assert found == plain
    cat = (3 / 4 + 2 / 3) / 2
    assert also["pq-dagger"]["per_class"] == pytest.approx({"1": cat, "2": 1 / 4})
    assert also["covering"]["groups"]["Things"] == pytest.approx((3 + 2) / 7)
    assert also["miou"]["per_class"] == pytest.approx({"1": 5 / 7, "2": 1 / 4})
    assert also["miou"]["frequency_weighted"]["All"] == pytest.approx((5 + 1) / 11)
    assert curve["at"]["0.50"] == plain and curve["at"]["0.20"]["Stuff"]["pq"] == pytest.approx(1 / 4)
    assert curve["at"]["0.70"]["Things"]["pq"] == pytest.approx(3 / 4 / 2)
    # cats: both match up to 0.65, one of them at 0.7, none from 0.75 on
    assert curve["mean"]["Things"] == pytest.approx((4 * cat + 3 / 8) / 10)


def test_tables_and_files(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, "pq", *files, "--also", "miou,thresholds", "--details", out, "--format", "csv") == 0
    printed = capsys.readouterr().out
    assert "All,48.2,54.5" in printed and "mean of 0.50 to 0.95,16.0,32.1,0.0,," in printed
    with (out / "also.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    rows = {row["of"]: float(row["miou"]) for row in table}
    assert float(table[0]["frequency_weighted_iou"]) == pytest.approx(6 / 11)
    assert table[-1]["frequency_weighted_iou"] == ""
    assert rows == pytest.approx({"All": 27 / 56, "Things": 5 / 7, "Stuff": 1 / 4, "cat": 5 / 7, "sky": 1 / 4})
    with (out / "thresholds.csv").open(newline="") as file:
        curve = {(row["iou"], row["of"]): row for row in csv.DictReader(file)}
    assert (curve["0.7", "cat"]["tp"], curve["0.7", "cat"]["fn"], curve["0.05", "sky"]["tp"]) == ("1", "1", "1")
    assert len(curve) == 19 * 5
    assert {"also", "thresholds"} <= json.loads((out / "summary.json").read_text()).keys()


def test_names(refused: Callable[..., str]) -> None:
    assert parse_names(None) == () and parse_names("all") == FURTHER
    assert parse_names("thresholds, miou") == ("miou", "thresholds")
    assert refused(parse_names, "miou,pq†").startswith("--also: `pq†` is no figure; give some of miou, pq-dagger, ")
