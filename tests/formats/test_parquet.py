"""``pq --table-format parquet`` writes the values of the CSV files with types, or says how to install pyarrow."""

from __future__ import annotations

import csv
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.formats import parquet
from panoptic_blend.formats.images import read_segment_ids, write_segment_ids
from panoptic_blend.formats.parquet import write_parquet
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.details import Resampling, compute_findings, write_details

Refused = Callable[..., str]


@pytest.fixture
def arrow() -> Any:
    """The module that reads Parquet."""
    pytest.importorskip("pyarrow")
    return importlib.import_module("pyarrow.parquet")


@pytest.fixture
def truth(shapes: Path) -> Path:
    return shapes / "annotations" / "panoptic_val2017.json"


def run(monkeypatch: pytest.MonkeyPatch, *command: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, command)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_as_csv_with_types(arrow: Any, truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "moved.json"
    results.write_text(truth.read_text())
    for path in truth.with_suffix("").iterdir():
        write_segment_ids(results.with_suffix("") / path.name, np.roll(read_segment_ids(path), 9, axis=1))
    for kind in ("csv", "parquet"):
        assert run(monkeypatch, "pq", truth, results, "--details", tmp_path / kind, "--table-format", kind) == 0
    names = {kind: {path.name for path in (tmp_path / kind).iterdir()} for kind in ("csv", "parquet")}
    long = {"segments", "images"}
    assert names["parquet"] - names["csv"] == {f"{name}.parquet" for name in long}
    assert names["csv"] - names["parquet"] == {f"{name}.csv" for name in long}
    for name in long:
        found = arrow.read_table(tmp_path / "parquet" / f"{name}.parquet").to_pylist()
        texts = [{key: "" if value is None else str(value) for key, value in row.items()} for row in found]
        assert texts == read_csv(tmp_path / "csv" / f"{name}.csv") and texts
    table = arrow.read_table(tmp_path / "parquet" / "segments.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    words = "dictionary<values=string, indices=int32, ordered=0>"
    assert {name for name, kind in types.items() if kind == words} == {
        *("side", "class", "outcome", "cause", "nearest_class", "file_name")
    }
    assert {name for name, kind in types.items() if kind == "double"} == {"iou", "nearest_iou"}
    assert {name for name, kind in types.items() if kind == "int64"} == {
        *("image", "segment", "category", "area", "matched_with", "nearest")
    }
    assert 0 < table["iou"].null_count < len(table) and table["iou"].null_count == table["matched_with"].null_count


def test_names_of_images_and_odd_names_of_classes(arrow: Any, tmp_path: Path) -> None:
    details = PanopticDetails([{"id": 1, "name": "half \ud83d", "isthing": 1}])
    both = np.array([[4, 4, 0]]), [{"id": 4, "category_id": 1}]
    details.update("b.jpg", both, both)
    details.update(7, both, both)
    write_details(tmp_path / "out", details, compute_findings(details, None, Resampling(3)), Resampling(3), "parquet")
    rows = arrow.read_table(tmp_path / "out" / "segments.parquet").to_pylist()
    assert [(row["image"], row["class"]) for row in rows] == [
        (name, "half \\ud83d") for name in ("7", "7", *["b.jpg"] * 2)
    ]


def test_no_rows_and_several_row_groups(arrow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns: dict[str, type] = {"number": int, "word": str}
    write_parquet(tmp_path / "none", columns, [])
    empty = arrow.read_table(tmp_path / "none")
    assert empty.column_names == ["number", "word"] and len(empty) == 0
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 3)
    write_parquet(tmp_path / "seven", columns, ((number, f"word {number}") for number in range(7)))
    assert arrow.ParquetFile(tmp_path / "seven").num_row_groups == 3
    assert arrow.read_table(tmp_path / "seven").to_pydict() == {
        "number": list(range(7)),
        "word": [f"word {number}" for number in range(7)],
    }


def test_without_pyarrow_the_remedy_comes_before_any_work(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = 'pyarrow is not installed; pip install "panoptic-blend[parquet]", or write CSV'
    assert refused(write_parquet, tmp_path / "a", {}, []) == expected
    none, out = tmp_path / "none.json", tmp_path / "out"
    assert run(monkeypatch, "pq", none, none, "--details", out, "--table-format", "parquet") == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_format_of_no_tables_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "pq", tmp_path, tmp_path, "--table-format", "parquet") == 2
    assert "--table-format needs --details; add --details FOLDER, or remove --table-format" in capsys.readouterr().err
