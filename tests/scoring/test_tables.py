"""Figures over nothing: dashes in tables, empty cells in CSV, null in JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from panoptic_blend.cli.main import application
from panoptic_blend.formats.images import write_segment_ids
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.scoring.tables import class_table, column_table, nothing_to_score, quality_table
from panoptic_blend.structures import Category

CATEGORIES = [Category(1, "cat", is_thing=True), Category(2, "dog", is_thing=True), Category(3, "sky", is_thing=False)]


def printed(tables: Iterable[Table]) -> list[list[str]]:
    """The cells of all rows."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*tables)
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in capture.get().splitlines() if "│" in line]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A truth in which everything is a crowd, and results that repeat it."""
    records = [{"id": 7, "category_id": 1, "iscrowd": 1}]
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 2, "width": 3}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": records}],
        "categories": [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in CATEGORIES],
    }
    for name in ("truth", "results"):
        write_segment_ids(tmp_path / name / "1.png", np.full((2, 3), 7, np.int32))
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path / "truth.json", tmp_path / "results.json"


def test_pq_of_nothing_is_a_dash_and_a_line(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "details"
    for options in ([], ["--details", str(out), "--boundary", "--compare", str(files[1])]):
        found = CliRunner().invoke(application("pq"), ["pq", *map(str, files), *options])
        assert found.exit_code == 0
        assert "0.0" not in found.output and "nan" not in found.output
        assert "nothing to score: truth and results have no segment that counts" in found.output
    with (out / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["pq"], row["sq"], row["tp"], row["boundary_pq"]) for row in rows] == [("", "", "0", "")] * 3
    for table in ("errors", "sizes"):
        assert "nan" not in (out / f"{table}.csv").read_text()
    for text in (
        (out / "summary.json").read_text(),
        CliRunner().invoke(application("pq"), ["pq", *map(str, files), "--json"]).stdout,
        CliRunner().invoke(application("pq"), ["pq", *map(str, files), "--json", "--boundary"]).stdout,
    ):
        assert "NaN" not in text
        content = json.loads(text)
        assert content["All"] == {"pq": None, "sq": None, "rq": None, "n": 0}
        assert content["per_class"]["2"]["pq"] is None and content["per_class"]["2"]["tp"] == 0


def test_groups_and_figures_over_nothing_are_dashes() -> None:
    quality = PanopticQuality(CATEGORIES)
    assert nothing_to_score(quality.compute())
    quality.tally([(1, 0.75)], (), ())
    report = quality.compute()
    assert nothing_to_score(report) is None
    columns = {"PQ": 0.75, "mIoU": math.nan}
    rows = printed([class_table(report), quality_table(report), column_table(columns)])
    assert rows == [
        ["cat", "thing", "75.0", "75.0", "100.0", "1", "0", "0"],
        ["All", "75.0", "75.0", "100.0", "1"],
        ["Things", "75.0", "75.0", "100.0", "1"],
        ["Stuff", "-", "-", "-", "0"],
        ["75.0", "-"],
    ]


def test_pq_prints_tables_for_papers_and_spreadsheets(files: tuple[Path, Path]) -> None:
    pq = ["pq", *map(str, files), "--compare", str(files[1]), "--resamples", "5"]
    found = CliRunner().invoke(application("pq"), [*pq, "--format", "csv"])
    assert found.exit_code == 0
    assert "\n\nPanoptic quality\n,PQ,SQ,RQ,classes\nAll,,,,0\n" in found.stdout
    assert ",first PQ,second PQ,difference,interval low,interval high,second better in %\nAll,,,,,,\n" in found.stdout
    assert "nothing to score" not in found.stdout and "nothing to score" in found.stderr
    found = CliRunner().invoke(application("pq"), [*pq, "--format", "latex"])
    assert found.stdout.count(r"\toprule") == found.stdout.count(r"\bottomrule") == 7
    as_text = CliRunner().invoke(application("pq"), [*pq, "--format", "text"])
    assert as_text.stdout == CliRunner().invoke(application("pq"), pq).stdout


def test_json_and_a_format_exclude_each_other(files: tuple[Path, Path]) -> None:
    found = CliRunner().invoke(application("pq"), ["pq", *map(str, files), "--json", "--format", "text"])
    assert str(found.exception) == "--json and --format text exclude each other; give only one of the two"
