"""COCO average precision of boxes and masks, with ground truth from panoptic maps."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.metrics.overlaps import format_ids
from panoptic_blend.metrics.panoptic_quality import categories_by_id
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap

if TYPE_CHECKING:
    from panoptic_blend.structures import Detections

DETECTIONS_PER_IMAGE = 100
"""Maximum number of detections per class and image that COCO counts, best first."""

Record = dict[str, Any]


@dataclass(frozen=True)
class InstanceReport:
    """Average precision of boxes and masks as fractions: over IoU 0.50, 0.55, ..., 0.95, and at 0.50 and 0.75.

    Each is a mean over the thing classes that have an instance other than crowds; NaN if there is no such class.
    """

    box: float
    box50: float
    box75: float
    mask: float
    mask50: float
    mask75: float


class AveragePrecision:
    """Box and mask AP over all object sizes, with at most 100 detections per class and image.

    ``categories`` are all classes of the data set; the instances are the segments of its thing classes. The state
    consists of run-length encoded masks. Detections of equal score rank in the order of updates.
    """

    def __init__(self, categories: Sequence[Category | Mapping[str, object]]) -> None:
        self._categories = categories_by_id(categories)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._images: list[_Image] = []

    def update(self, truth: PanopticMap, detections: Detections) -> None:
        """Add one image: its ground truth (H, W) and its detections, with boxes in pixels of the truth.

        ``detections.labels`` are category ids of things, ``detections.masks`` are (D, H, W) bool. Segments without
        pixels are left out. Raises PanopticBlendError for unknown categories and for masks of another size.
        """
        labels = detections.labels.tolist()
        self._check_categories(truth, labels)
        height, width = truth.segment_ids.shape
        if labels and tuple(detections.masks.shape[1:]) != (height, width):
            raise PanopticBlendError(
                f"detections: masks are {tuple(detections.masks.shape[1:])} and the truth is {(height, width)}; "
                "give detections at the size of the truth"
            )
        ids = np.asfortranarray(truth.segment_ids)
        instances = [
            _record(segment.category, ids == segment.id, iscrowd=int(segment.is_crowd))
            for segment in truth.segments
            if self._categories[segment.category].is_thing
        ]
        detected = [
            _record(label, mask.cpu().numpy(), score=score, bbox=[x0, y0, x1 - x0, y1 - y0])
            for (x0, y0, x1, y1), score, label, mask in zip(
                detections.boxes.tolist(), detections.scores.tolist(), labels, detections.masks, strict=True
            )
        ]
        self._images.append(_Image(height, width, [instance for instance in instances if instance["area"]], detected))

    def merge(self, other: AveragePrecision) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its categories differ."""
        if self._categories != other._categories:
            raise PanopticBlendError(
                "cannot merge average precisions of different categories; construct both with the same list"
            )
        self._images.extend(other._images)

    def compute(self) -> InstanceReport:
        """Evaluate all images so far with pycocotools."""
        things = [category.id for category in self._categories.values() if category.is_thing]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            truth = _coco(things, self._images, (image.truth for image in self._images))
            detected = _coco(things, self._images, (image.detected for image in self._images))
            box, box50, box75 = _average_precision(truth, detected, "bbox")
            mask, mask50, mask75 = _average_precision(truth, detected, "segm")
        return InstanceReport(box, box50, box75, mask, mask50, mask75)

    def _check_categories(self, truth: PanopticMap, labels: Iterable[int]) -> None:
        unknown = sorted({segment.category for segment in truth.segments} - self._categories.keys())
        if unknown:
            raise PanopticBlendError(
                f"truth: unknown category {format_ids(unknown)}; give category ids of the data set"
            )
        things = {category.id for category in self._categories.values() if category.is_thing}
        unexpected = sorted(set(labels) - things)
        if unexpected:
            raise PanopticBlendError(
                f"detections: label {format_ids(unexpected)} is not a thing category; give category ids of the data set"
            )


class _Image(NamedTuple):
    height: int
    width: int
    truth: list[Record]
    detected: list[Record]


def _record(category: int, mask: npt.NDArray[np.bool_], **more: object) -> Record:
    """The COCO annotation of a mask (H, W), with its tight box (x, y, width, height) unless ``more`` has a ``bbox``."""
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": category,
        "segmentation": encoded,
        "area": int(rle.area(encoded)),
        "bbox": rle.toBbox(encoded).tolist(),
        "iscrowd": 0,
        **more,
    }


def _coco(things: Sequence[int], images: Sequence[_Image], records: Iterable[Sequence[Record]]) -> COCO:
    """Index the records of every image; they are copied, because pycocotools modifies its input."""
    annotations = [{**record, "image_id": image} for image, group in enumerate(records) for record in group]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": index, "height": image.height, "width": image.width} for index, image in enumerate(images)],
        "categories": [{"id": thing} for thing in things],
        # Ids start at 1: COCOeval treats a match with annotation 0 as no match.
        "annotations": [{**annotation, "id": number} for number, annotation in enumerate(annotations, 1)],
    }
    coco.createIndex()
    return coco


def _average_precision(truth: COCO, detected: COCO, kind: Literal["bbox", "segm"]) -> tuple[float, float, float]:
    """AP over all IoU thresholds, at 0.50 and at 0.75."""
    evaluation = COCOeval(truth, detected, kind)
    evaluation.params.areaRng = [[0, float("inf")]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [DETECTIONS_PER_IMAGE]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]  # (IoU thresholds, recalls, classes), -1 for absent classes
    precision = precision[:, :, (precision >= 0).all(axis=(0, 1))]
    if not precision.size:
        return math.nan, math.nan, math.nan
    at50, at75 = np.searchsorted(evaluation.params.iouThrs, (0.5 - 1e-6, 0.75 - 1e-6))
    return float(precision.mean()), float(precision[at50].mean()), float(precision[at75].mean())
