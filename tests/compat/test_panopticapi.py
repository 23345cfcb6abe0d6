"""The names of panopticapi: its own results for golden files, and the ways in which other libraries call it."""

from __future__ import annotations

import importlib
import json
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend import PanopticBlendError
from panoptic_blend.compat import (
    OFFSET,
    VOID,
    PQStat,
    id2rgb,
    pq_compute,
    pq_compute_multi_core,
    pq_compute_single_core,
    rgb2id,
)
from panoptic_blend.scoring.file_pairs import FilePolicy

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
CASES = ["P5_pq_a", "P5_pq_b", "P5_pq_c"]
SHIM = re.compile(r"`(\w+\.py)`:\n\n```text\n(.*?)```", re.DOTALL)


def close(figures: dict[str, Any]) -> Any:
    return pytest.approx(figures, rel=0, abs=1e-12)


def golden(case: str) -> tuple[Path, dict[str, Any]]:
    return GOLDEN / case, json.loads((GOLDEN / case / "expected.json").read_text())


def matched(folder: Path) -> tuple[list[tuple[Any, Any]], dict[int, Any]]:
    """Pairs of annotations and the categories by id, as mmdetection collects them."""
    truth, prediction = (json.loads((folder / name).read_text()) for name in ("gt.json", "pred.json"))
    found = {annotation["image_id"]: annotation for annotation in prediction["annotations"]}
    pairs = [(annotation, found[annotation["image_id"]]) for annotation in truth["annotations"]]
    return pairs, {category["id"]: category for category in truth["categories"]}


def same_averages(statistics: PQStat, categories: dict[int, Any], expected: dict[str, Any]) -> None:
    for group, is_thing in (("All", None), ("Things", True), ("Stuff", False)):
        means, per_class = statistics.pq_average(categories, is_thing)
        assert means == close(expected[group])
        kinds = {id for id, category in categories.items() if is_thing in (None, category["isthing"] == 1)}
        assert per_class.keys() == kinds
        for category in kinds:
            figures = expected["per_class"][str(category)]
            assert per_class[category] == close({key: figures[key] for key in ("pq", "sq", "rq")})


@pytest.mark.parametrize("case", CASES)
def test_pq_compute_returns_what_panopticapi_returned(case: str) -> None:
    folder, expected = golden(case)
    found = pq_compute(str(folder / "gt.json"), str(folder / "pred.json"))
    assert sorted(found) == ["All", "Stuff", "Things", "per_class"]
    for group in ("All", "Things", "Stuff"):
        assert found[group] == close(expected[group])
    for category, figures in expected["per_class"].items():
        assert found["per_class"][int(category)] == close({key: figures[key] for key in ("pq", "sq", "rq")})


def test_the_table_has_the_columns_of_panopticapi(capsys: pytest.CaptureFixture[str]) -> None:
    folder, expected = golden("P5_pq_a")
    pq_compute(folder / "gt.json", folder / "pred.json", gt_folder=folder / "gt", pred_folder=folder / "pred")
    said = capsys.readouterr().out
    means = expected["All"]
    figures = "  ".join(f"{100 * means[key]:5.1f}" for key in ("pq", "sq", "rq"))
    assert "          |    PQ     SQ     RQ     N\n" in said
    assert f"All       | {figures} {means['n']:5d}\n" in said
    assert f"\tsegmentation folder: {folder / 'pred'}\n" in said


@pytest.mark.parametrize("case", CASES)
def test_the_statistics_of_matched_annotations(case: str) -> None:
    folder, expected = golden(case)
    pairs, categories = matched(folder)
    same_averages(
        pq_compute_multi_core(pairs, folder / "gt", folder / "pred", categories, nproc=2), categories, expected
    )
    total = PQStat()
    for pair in pairs:  # as mmdetection does image by image, with numbers of numpy, in processes
        total += pickle.loads(
            pickle.dumps(pq_compute_single_core(0, [pair], folder / "gt", folder / "pred", categories))
        )
    same_averages(total, categories, expected)


def test_numbers_of_numpy_are_taken() -> None:
    folder, expected = golden("P5_pq_a")
    pairs, categories = matched(folder)
    for annotation in (annotation for pair in pairs for annotation in pair):
        for info in annotation["segments_info"]:
            info.update({key: np.int64(info[key]) for key in ("id", "category_id", "area") if key in info})
    same_averages(pq_compute_multi_core(pairs, folder / "gt", folder / "pred", categories), categories, expected)


def test_statistics_that_another_loop_counts() -> None:
    """mmdetection's own copy of the loop adds to the statistics of a class: PQ is 1.5 / (2 + 1/2 + 2/2) = 3/7."""
    categories = {7: {"id": 7, "name": "cat", "isthing": 1}, 9: {"id": 9, "name": "sky", "isthing": 0}}
    statistics = PQStat()
    for iou in (0.9, 0.6):
        statistics[7].tp += 1
        statistics[7].iou += iou
    statistics[7].fp += 1
    statistics[7].fn += 2
    means, per_class = statistics.pq_average(categories, isthing=True)
    assert means == close({"pq": 3 / 7, "sq": 0.75, "rq": 4 / 7, "n": 1})
    assert per_class == {7: close({"pq": 3 / 7, "sq": 0.75, "rq": 4 / 7})}
    means, per_class = statistics.pq_average(categories, isthing=False)
    assert means["n"] == 0 and np.isnan(means["pq"])
    assert per_class == {9: {"pq": 0, "sq": 0, "rq": 0}}


def test_a_mean_over_no_class_is_a_dash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = golden("P5_pq_a")
    truth = json.loads((folder / "gt.json").read_text())
    for category in truth["categories"]:
        category["isthing"] = 1
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    found = pq_compute(tmp_path / "gt.json", folder / "pred.json", folder / "gt")
    assert found["Stuff"]["n"] == 0 and np.isnan(found["Stuff"]["pq"])
    assert "Stuff     |     -      -      -     0\n" in capsys.readouterr().out


def test_wrong_areas_and_missing_predictions(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder, _ = golden("P5_pq_a")
    truth = json.loads((folder / "gt.json").read_text())
    truth["annotations"][0]["segments_info"][0]["area"] += 1
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    assert "area" in refused(pq_compute, tmp_path / "gt.json", folder / "pred.json", folder / "gt")
    pq_compute(tmp_path / "gt.json", folder / "pred.json", folder / "gt", policy=FilePolicy(area="json"))
    (tmp_path / "pred.json").write_text('{"annotations": []}')
    with pytest.raises(PanopticBlendError, match="no prediction for image"):
        pq_compute(folder / "gt.json", tmp_path / "pred.json", None, folder / "pred")

    pairs, categories = matched(folder)
    pairs[0][0]["segments_info"][0]["area"] += 1
    message = refused(pq_compute_multi_core, pairs, folder / "gt", folder / "pred", categories)
    assert re.search(r"^truth: image \S+: segment \d+ has area \d+ in the JSON and \d+ in the PNG", message)
    with pytest.raises(PanopticBlendError, match="PNGs are read from the disk"):
        pq_compute_multi_core([], folder, folder, categories, backend_args={"backend": "petrel"})  # type: ignore[arg-type]


def test_colors_and_ids() -> None:
    ids = np.array([[0, 1, 255], [256, 65536, OFFSET - 1]])
    colors = id2rgb(ids)
    assert colors.dtype == np.uint8 and colors.tolist()[1] == [[0, 1, 0], [0, 0, 1], [255, 255, 255]]
    assert (rgb2id(colors) == ids).all()
    assert id2rgb(3 + 256 * 2 + 65536) == [3, 2, 1] and rgb2id([3, 2, 1]) == 66051
    assert VOID == 0 == rgb2id((0, 0, 0))


def test_the_documented_shim_stands_in_for_panopticapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The imports that detectron2, mmdetection and Mask2Former make."""
    found = SHIM.findall((ROOT / "docs" / "evaluation.md").read_text())
    assert [name for name, _ in found] == ["evaluation.py", "utils.py"]
    (tmp_path / "panopticapi").mkdir()
    for name, text in [("__init__.py", ""), *found]:
        (tmp_path / "panopticapi" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("panopticapi", "panopticapi.evaluation", "panopticapi.utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        shim = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, shim)
    evaluation, utils = sys.modules["panopticapi.evaluation"], sys.modules["panopticapi.utils"]
    assert (evaluation.pq_compute, evaluation.PQStat) == (pq_compute, PQStat)
    assert (evaluation.pq_compute_multi_core, evaluation.VOID) == (pq_compute_multi_core, VOID)
    assert (utils.id2rgb, utils.rgb2id) == (id2rgb, rgb2id)
