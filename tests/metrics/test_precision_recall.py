"""The engine of AP equals pycocotools on random sets: every precision, score and recall, and the twelve figures."""

from __future__ import annotations

import contextlib
import io
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from instance_sets import CATEGORIES, SIZE, Images, random_set
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.instances import run_lengths
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_report import KINDS, Kind
from panoptic_blend.metrics.precision_recall import precision_recall


def pycocotools(images: Images, kind: Kind) -> COCOeval:
    """The evaluation of the same images, in the order of their ids, with results read by ``loadRes``."""
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (true, found) in images.items():
        common = {"image_id": image}
        for row, mask in enumerate(run_lengths(SIZE, true.masks)):
            record = {"id": len(truth) + 1, "category_id": int(true.category_ids[row]), "segmentation": mask}
            record |= {"iscrowd": int(true.is_crowd[row]), "area": true.areas[row], "bbox": true.boxes[row].tolist()}
            truth.append(common | record)
        assert found.masks is not None
        for row, mask in enumerate(run_lengths(SIZE, found.masks)):
            record = {"category_id": int(found.category_ids[row]), "score": float(found.scores[row])}
            record |= {"bbox": found.boxes[row].tolist()} if kind == "box" else {"segmentation": mask}
            results.append(common | record)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in images],
            "categories": [{"id": category.id} for category in CATEGORIES],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox" if kind == "box" else "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("spread", [(100, 40), (3, 3)])
@pytest.mark.parametrize("seed", range(2))
def test_equals_pycocotools(seed: int, spread: tuple[int, int]) -> None:
    images = random_set(seed, spread=spread)
    metric = AveragePrecision(CATEGORIES)
    for image, pair in images.items():
        metric.update(*pair, image=image)
    report, tallies = metric.compute(), metric.tallies()
    for kind in KINDS:
        theirs = pycocotools(images, kind)
        ours = precision_recall(tallies[kind])
        expected = {key: np.where(theirs.eval[key] < 0, np.nan, theirs.eval[key]) for key in ("precision", "scores")}
        for key, values in expected.items():
            assert np.array_equal(getattr(ours, key), np.moveaxis(values[..., -1], -1, 0), equal_nan=True), key
        recall = np.where(theirs.eval["recall"] < 0, np.nan, theirs.eval["recall"])
        assert np.array_equal(ours.recall, recall.transpose(2, 3, 0, 1), equal_nan=True)
        figures = getattr(report, kind)
        assert astuple(figures) == pytest.approx(
            np.where(theirs.stats < 0, np.nan, theirs.stats), abs=1e-12, nan_ok=True
        )
        assert 0.02 < figures.ap < figures.ap50 < 0.98
        for position, category in enumerate(CATEGORIES):
            own = expected["precision"][:, :, position, 0, -1]
            assert getattr(report.per_class[category.id], kind).ap == pytest.approx(own.mean(), abs=1e-12, nan_ok=True)
