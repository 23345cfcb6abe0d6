"""Rows of results, intervals over pictures and seeds, and tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.fit_rows import RESAMPLES, Row, deviation, figures_of, interval, read_rows, table
from evaluation.result_lines import add_line
from panoptic_blend.instances import FoundInstances
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.instance_conversion import true_instances
from panoptic_blend.structures import Category, PanopticMap, Segment
from panoptic_blend.table_formats import markdown

CATEGORIES = [Category(1, "cat", True), Category(2, "sky", False), Category(3, "sea", False)]


def scene(sky: int) -> PanopticMap:
    """One cat above stuff of the given class."""
    ids = np.array([[1, 1], [2, 2]], np.int32)
    return PanopticMap.measured(ids, [Segment(1, 1, True, 0.9, 0, None), Segment(2, sky, False, None, 0, None)])


def scored() -> tuple[PanopticDetails, AveragePrecision]:
    """Eight pictures: the cat is always found, the sky in the first six; in the others it is taken for sea."""
    details, instances = PanopticDetails(CATEGORIES), AveragePrecision(CATEGORIES)
    for number in range(8):
        truth = scene(2)
        details.update(number, truth, scene(2 if number < 6 else 3))
        found = true_instances(truth, {1})
        instances.update(
            truth, FoundInstances(found.size, found.category_ids, np.ones(1), found.boxes, found.masks), number
        )
    return details, instances


def row(variant: str, seed: int, values: float | np.ndarray, **changes: object) -> Row:
    of_resamples = np.broadcast_to(np.rint(np.multiply(values, 1e4)), RESAMPLES).astype(int).tolist()
    figures = {"PQ": float(np.mean(values)), "things": None, "stuff": 0.25}
    resampled = {"PQ": of_resamples, "things": [None] * RESAMPLES, "stuff": [2500] * RESAMPLES}
    plain = Row("shapes", variant, seed, "val2017", [], "", "", 2, "", "", 120.0, 30, 8, figures, resampled)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_figures_are_those_of_all_pictures_and_of_the_same_resamples_each_time() -> None:
    figures, resampled = figures_of(*scored())
    # sky: 6 of 8 found, so 6 / (6 + 2 / 2) = 6 / 7; sea: 2 false ones, so 0; cat: 1
    assert figures == pytest.approx({"PQ": (1 + 6 / 7) / 3, "things": 1, "stuff": 3 / 7, "AP": 1})
    assert {name: len(parts) for name, parts in resampled.items()} == dict.fromkeys(figures, RESAMPLES)
    assert set(resampled["things"]) == {10_000}
    assert len(set(resampled["stuff"])) > 3
    assert figures_of(*scored())[1] == resampled
    assert list(figures_of(None, scored()[1])[0]) == ["AP"]


def test_the_deviation_is_that_of_pictures_and_seeds() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.normal(0, 0.02, RESAMPLES)
    one = deviation(pictures[None])
    assert one == pytest.approx(0.02, rel=0.1), "one seed: of pictures only"
    assert deviation(np.stack([pictures, pictures])) == pytest.approx(one, rel=0.1), "seeds that agree add nothing"
    # two seeds that differ by 0.2: standard deviation 0.2 / sqrt(2), of the mean of two 0.1
    far = deviation(np.stack([pictures - 0.1, pictures + 0.1]))
    assert far == pytest.approx(math.hypot(one, 0.1), rel=0.05)
    assert math.isnan(deviation(np.full((2, 5), np.nan)))


def test_cells_of_intervals() -> None:
    steady = np.full(1 + RESAMPLES, 0.5)
    assert interval([steady, steady]) == "50.0 (50.0 to 50.0)"
    assert interval([-steady], sign="+") == "-50.0 (-50.0 to -50.0)"
    assert interval([]) == interval([np.full(1 + RESAMPLES, np.nan)]) == "-"


def test_the_table_has_paired_differences_from_the_reference() -> None:
    pictures = np.linspace(0.2, 0.6, RESAMPLES)  # what one picture set does to both alike
    rows = [row("demo", seed, pictures) for seed in (0, 1)] + [row("fit", seed, pictures + 0.1) for seed in (0, 1, 2)]
    rows.append(row("fit", 0, pictures, split="others"))
    lines = markdown(table(rows, "shapes", "val2017", "demo")).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[-2:]]
    assert [line[:4] for line in cells] == [["demo", "2", "2", "2.0"], ["fit", "3", "2", "2.0"]]
    assert cells[0][5].startswith("40.0 (") and cells[1][5].startswith("50.0 (")
    assert cells[1][6] == "-" and cells[1][7] == "25.0 (25.0 to 25.0)"
    assert cells[0][9] == "-" and cells[1][9] == "+10.0 (+10.0 to +10.0)"


def test_models_judged_on_other_pictures_are_not_compared(refused: Callable[..., str]) -> None:
    rows = [row("demo", 0, 0.4), row("fit", 0, 0.5, images=9)]
    assert "other pictures" in refused(table, rows, "shapes", "val2017", "demo")


def test_rows_are_kept_and_the_last_of_a_key_counts(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "results" / "rows.jsonl"
    assert read_rows(path) == {}
    for value in (0.3, 0.4):
        add_line(path, row("fit", 0, value))
    add_line(path, row("fit", 1, 0.5))
    found = read_rows(path)
    assert [key[2] for key in found] == [0, 1]
    assert found["shapes", "fit", 0, "val2017"] == row("fit", 0, 0.4)
    path.write_text('{"experiment": 1}\n')
    assert "line 1" in refused(read_rows, path)
