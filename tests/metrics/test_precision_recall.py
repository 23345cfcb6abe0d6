"""The engine of AP equals pycocotools on random sets: every precision, score and recall, and the twelve figures."""

from __future__ import annotations

import contextlib
import io
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.instances import FoundInstances, TrueInstances, run_lengths
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_conversion import encode
from panoptic_blend.metrics.instance_report import KINDS, Kind
from panoptic_blend.metrics.precision_recall import precision_recall
from panoptic_blend.structures import Category

SIZE = 60, 130
CATEGORIES = [Category(id, str(id), is_thing=True) for id in (3, 7, 8, 90)]
Images = dict[int, tuple[TrueInstances, FoundInstances]]


def boxes(generator: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Boxes with sides of up to 120 x 60 pixels: areas of all three sizes with ``random_set``'s factor."""
    corners = generator.integers(0, (100, 40), (count, 2))
    return np.concatenate([corners, generator.integers(2, (31, 21), (count, 2))], axis=1).astype(np.float64)


def masks(generator: np.random.Generator, boxes: npt.NDArray[np.float64]) -> list[bytes]:
    """Rectangles with a few holes; one in ten is empty."""
    found = []
    for x, y, width, height in boxes.astype(int).tolist():
        mask = np.zeros(SIZE, dtype=np.bool_)
        mask[y : y + height, x : x + width] = generator.random() > 0.1
        found.append(encode(mask & (generator.random(SIZE) > 0.1)))
    return found


def random_set(seed: int, images: int = 12) -> Images:
    """Crowds, duplicates, equal scores, areas of another size than the mask, more than 100 detections, empty images."""
    generator, found = np.random.default_rng(seed), {}
    for image in generator.permutation(images).tolist():
        true_count = int(generator.integers(0, 7))
        true_boxes = boxes(generator, true_count)
        ids = generator.choice([3, 7, 8], true_count)
        truth = TrueInstances(
            SIZE,
            ids,
            true_boxes,
            masks(generator, true_boxes),
            generator.choice([4.0, 32.0**2, 1500.0, 96.0**2, 1e4, 2e10], true_count),
            generator.random(true_count) < 0.2,
        )
        count = int(generator.choice([0, 5, 130])) if image else 300
        near = generator.integers(0, true_count + 1, count)  # a true instance, or another place
        spots = np.concatenate([true_boxes, boxes(generator, 1)])[near]
        spots[:, :2] += generator.integers(0, 4, (count, 2))
        guesses = generator.choice([3, 8, 90], count)
        detected = FoundInstances(
            SIZE,
            np.where(generator.random(count) < 0.8, np.append(ids, 90)[near], guesses),
            generator.integers(0, 12, count) / 12,
            spots * generator.choice([1.0, 1.0, 1.0, 6.0], (count, 1)),
            masks(generator, spots),
        )
        found[image] = truth, detected
    return found


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


@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed: int) -> None:
    images = random_set(seed)
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
