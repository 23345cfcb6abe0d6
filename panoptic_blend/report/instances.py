"""Encode the instances of one image for the page: truth and detections with their masks, and what each detection took.

A detection counts as true or false whatever the lowest score is that the page shows: COCO lets detections choose in the
order of their scores, so that leaving out the lower ones changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle

from panoptic_blend.instances import FoundInstances, TrueInstances, run_lengths
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_conversion import encode
from panoptic_blend.metrics.instance_errors import NOTHING, Diagnosis, InstanceErrors
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.structures import Category, ImageId, Size

TRUE, FALSE, IGNORED = 0, 1, 3
"""Outcomes of a detection, as in ``OUTCOMES`` of the segments."""

Row = list[Any]


@dataclass(frozen=True, eq=False)
class ScoredInstances:
    """One result set for one image: what its figures are computed from, and its detections for the page."""

    precision: AveragePrecision
    errors: InstanceErrors
    causes: dict[Kind, npt.NDArray[np.uint8]]
    """Positions of the causes (D,) in ``CAUSES``, 255 for detections without an error, in the order of ``rows``."""
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class EncodedInstances:
    """The instances of one image in each result set, and its ``truth`` for the page.

    ``classes`` has the index (1..C) of the class of each true instance, without crowds.
    """

    classes: list[int]
    truth: list[Row]
    sets: list[ScoredInstances]

    @property
    def content(self) -> dict[str, Any]:
        """The instances for the page."""
        return {"truth": self.truth, "sets": [found.rows for found in self.sets]}


class InstanceEncoder:
    """Encodes truth and detections of images; ``things`` are the classes that AP is computed over.

    ``class_indices`` are the indices (1..C) of category ids in the page, and ``kinds`` what detections are compared by.
    """

    def __init__(self, things: Sequence[Category], class_indices: Mapping[int, int], kinds: Sequence[Kind]) -> None:
        self._things, self._class_indices, self._kinds = things, class_indices, kinds

    def encode(
        self, image: ImageId, truth: TrueInstances, found: Sequence[FoundInstances], size: Size
    ) -> EncodedInstances:
        """Encode an image that has ``size`` (height, width) in the page, with its detections in each result set."""
        classes = [self._class_indices[category] for category in truth.category_ids[~truth.is_crowd].tolist()]
        sets = [self._scored(image, truth, detections, size) for detections in found]
        return EncodedInstances(sorted(classes), self._truth(truth, size), sets)

    def _truth(self, truth: TrueInstances, size: Size) -> list[Row]:
        """Class, ``iscrowd``, area, box and mask of each true instance."""
        boxes = _boxes(truth.boxes, truth.size, size)
        masks = _masks(truth.masks, truth.size, size) if "mask" in self._kinds else [None] * len(truth)
        return [
            [self._class_indices[category], int(is_crowd), round(area, 1), box, mask]
            for category, is_crowd, area, box, mask in zip(
                truth.category_ids.tolist(), truth.is_crowd.tolist(), truth.areas.tolist(), boxes, masks, strict=True
            )
        ]

    def _scored(self, image: ImageId, truth: TrueInstances, found: FoundInstances, size: Size) -> ScoredInstances:
        precision, errors = AveragePrecision(self._things), InstanceErrors(self._things)
        precision.update(truth, found, image)
        errors.update(image, truth, found)
        diagnoses = errors.diagnose()
        matches = [_matches(diagnoses[kind]) for kind in self._kinds]
        order = diagnoses["box"].order
        boxes = _boxes(found.boxes[order], found.size, size)
        masks = _masks([found.masks[row] for row in order.tolist()], found.size, size) if found.masks else None
        rows: list[Row] = [
            [self._class_indices[category], score, boxes[place], masks and masks[place], *(m[place] for m in matches)]
            for place, (category, score) in enumerate(
                zip(found.category_ids[order].tolist(), found.scores[order].tolist(), strict=True)
            )
        ]
        causes = {kind: diagnoses[kind].cause.astype(np.uint8) for kind in self._kinds}  # 255 for -1
        return ScoredInstances(precision, errors, causes, rows)


def _matches(found: Diagnosis) -> list[Row]:
    """Outcome, cause of an error, the true instance that is taken, or else is nearest, and IoU, of each detection."""
    is_own, has_match = found.nearest.own_iou >= found.nearest.other_iou, found.match != NOTHING
    nearest = np.where(is_own, found.nearest.own, found.nearest.other)
    nearest_iou = np.where(is_own, found.nearest.own_iou, found.nearest.other_iou)
    outcome = np.where(found.is_ignored, IGNORED, np.where(has_match, TRUE, FALSE))
    near, iou = np.where(has_match, found.match, nearest), np.where(has_match, found.iou, nearest_iou)
    columns = (column.tolist() for column in (outcome, found.cause, near, iou.round(4)))
    return [[a, _known(b), _known(c), d] for a, b, c, d in zip(*columns, strict=True)]


def _known(number: int) -> int | None:
    return None if number == NOTHING else number


def _boxes(boxes: npt.NDArray[np.float64], size: Size, target: Size) -> list[list[float]]:
    """Boxes (N, 4) in pixels of the page."""
    scale = np.array(target[::-1] * 2) / np.array(size[::-1] * 2)
    scaled: list[list[float]] = (boxes * scale).round(2).tolist()
    return scaled


def _masks(masks: Sequence[bytes], size: Size, target: Size) -> list[str]:
    """Masks as the compressed run lengths of pycocotools, in pixels of the page."""
    if size == target:
        return [mask.decode("ascii") for mask in masks]
    pictures = [rle.decode(record) for record in run_lengths(size, masks)]
    small = [cv2.resize(picture, target[::-1], interpolation=cv2.INTER_NEAREST) for picture in pictures]
    return [encode(picture > 0).decode("ascii") for picture in small]
