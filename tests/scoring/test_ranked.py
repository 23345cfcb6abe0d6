"""``pq`` with several ``--compare``: tables, JSON and files; the statistics are tested in tests/metrics."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.csv_tables import write_csv
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.ranked import rank_sets
from panoptic_blend.structures import Category, PanopticMap, Segment


def details_of(found: int, images: int = 40) -> PanopticDetails:
    """One cat per image, of which the first ``found`` are found."""
    details, cat = PanopticDetails([Category(1, "cat", is_thing=True)]), [Segment(1, 1, True, None, 0, None)]
    for image in range(images):
        ids = np.full((1, 1), image < found, np.int32)
        details.update(image, PanopticMap(np.ones((1, 1), np.int32), cat), PanopticMap(ids, cat if ids.any() else []))
    return details


def test_figures_and_files(tmp_path: Path) -> None:
    found = rank_sets([details_of(10), details_of(40), details_of(12)], ["a", "b", "c"], Resampling(200))
    summary = found.summary()
    # PQ of n of 40: n / (n + (40 - n) / 2)
    assert [(each["name"], each["All"]["pq"]) for each in summary["results"]] == [
        ("b", 1.0),
        ("c", pytest.approx(12 / 26)),
        ("a", pytest.approx(10 / 25)),
    ]
    assert [(pair["better"], pair["worse"]) for pair in summary["differences"]] == [("b", "c"), ("b", "a"), ("c", "a")]
    assert [pair["differ"] for pair in summary["differences"]] == [True, True, False]
    ranking, differences = found.tables()
    assert [list(column.cells) for column in ranking.columns[:3]] == [
        ["b", "c", "a"],
        ["1", "2", "3"],
        ["100.0", "46.2", "40.0"],
    ]
    assert list(differences.columns[-1].cells) == ["yes", "yes", "no"]
    for table in found.files():
        write_csv(tmp_path / table.name, table.header, table.rows)
    with (tmp_path / "ranking.csv").open(newline="") as file:
        assert [(row["rank"], row["results"]) for row in csv.DictReader(file)] == [("1", "b"), ("2", "c"), ("3", "a")]
    with (tmp_path / "differences.csv").open(newline="") as file:
        assert [float(row["difference"]) for row in csv.DictReader(file)] == pytest.approx(
            [14 / 26, 0.6, 12 / 26 - 0.4]
        )


def test_remarks_say_why_nothing_can_differ() -> None:
    sets = [details_of(2), details_of(12), details_of(3)]
    assert list(rank_sets(sets, ["a", "b", "c"], Resampling(119)).remarks()) == []
    [remark] = rank_sets(sets, ["a", "b", "c"], Resampling(118)).remarks()
    assert remark == (
        "118 resamples are too few for 3 pairs: no corrected p-value can be small enough; add --resamples 120"
    )
    few = rank_sets([details_of(2, 5), details_of(5, 5)], ["a", "b"], Resampling(20))
    assert list(few.remarks()) == ["pairs without p-value: too few images for a test"]
    assert list(list(few.tables())[1].columns[4].cells) == ["-"]


def test_the_command_ranks_three_files(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = generated / "annotations" / "panoptic_val2017.json"
    content = json.loads(truth.read_text())
    files = []
    for number in (1, 2):
        path = tmp_path / f"less{number}.json"
        path.write_text(json.dumps({"annotations": content["annotations"][number:]}))
        files += ["--compare", str(path), "--compare-folder", str(truth.with_suffix(""))]

    def run(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "pq", str(truth), str(truth), *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return int(stop.value.code or 0), *capsys.readouterr()

    code, printed, _ = run(*files, "--missing", "void", "--resamples", "10", "--json")
    ranking = json.loads(printed)["ranking"]
    names = [result["name"] for result in ranking["results"]]
    assert code == 0 and names == ["panoptic_val2017.json", "less1.json", "less2.json"]
    assert len(ranking["differences"]) == 3 and "comparison" not in json.loads(printed)
    code, _, error = run(*files[:-2])
    assert code == 2 and "1 --compare-folder for 2 --compare; give one for each" in error
