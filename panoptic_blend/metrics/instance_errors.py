"""Assign one cause to each false detection and to each missed instance: the six of TIDE.

Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020, section 2.2. Detections match
as for AP50. A false detection is looked at together with the true instances of its class, and of the other classes,
with which its IoU is largest. Where several definitions of the paper apply, the first in the order of `InstanceCause`
is taken: it is the one that says that the detection is closest to being right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.instances import FoundInstances, TrueInstances, run_lengths
from panoptic_blend.metrics.instance_columns import Bools, InstanceColumns, best_rows, join, one_image
from panoptic_blend.metrics.instance_matching import taken
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.metrics.panoptic_quality import categories_by_id
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.structures import Category, ImageId, PanopticBlendError

FOREGROUND_IOU = 0.5
"""The IoU from which a detection outlines a true instance."""

BACKGROUND_IOU = 0.1
"""Below this IoU, a detection has nothing to do with a true instance."""


class InstanceCause(StrEnum):
    """Causes of false detections and, the last one, of instances that are not found.

    IoU is that with the true instance with which it is largest, of the class of the detection or of the other classes.
    """

    DUPLICATE = "duplicate"  # IoU with its own class from 0.5: a detection with a higher score has that instance
    CLASSIFICATION = "classification"  # IoU with another class from 0.5
    LOCALIZATION = "localization"  # IoU with its own class from 0.1 to 0.5
    BOTH = "both"  # IoU with another class from 0.1 to 0.5
    BACKGROUND = "background"  # IoU below 0.1 with all
    MISSED = "missed"  # not found, and no detection has an error of classification or localization because of it


CAUSES = tuple(InstanceCause)
_NUMBERS = {cause: number for number, cause in enumerate(CAUSES)}
NOTHING = -1
"""Stands for no row and for no cause."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """For D detections, the true instances with which their IoU is largest; crowds do not count."""

    own: Integers
    """Rows (D,) of the instances of the class of the detection; -1 where none overlaps."""
    own_iou: Floats
    """IoU (D,) with these, or 0."""
    other: Integers
    """Rows (D,) of the instances of other classes; -1 where none overlaps."""
    other_iou: Floats
    """IoU (D,) with these, or 0."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Matches at an IoU of 0.5, and the causes of all errors, for D detections and G true instances.

    Causes are positions in ``CAUSES``, matches are rows of the other side; both are -1 where there is none.
    """

    columns: InstanceColumns
    """The instances of all images."""
    order: Integers
    """Positions (D,) of the detections among those of their image, as they were given."""
    nearest: Nearest
    match: Integers
    """The true instance, which may be a crowd, that each detection (D,) takes."""
    iou: Floats
    """IoU (D,) with that instance, or with a crowd the part of the detection in it; NaN without a match."""
    is_ignored: Bools
    """Whether each detection (D,) counts neither as true nor as false."""
    cause: Integers
    """Causes (D,) of the false detections."""
    target: Integers
    """The true instances (D,) at which detections with an error of classification or localization are aimed."""
    truth_match: Integers
    """The detection that takes each true instance (G,); -1 for crowds."""
    truth_cause: Integers
    """Causes (G,) of the true instances that are not found: missed, or those of the detections aimed at them."""


class InstanceErrors:
    """The causes of all errors of boxes and of masks.

    ``categories`` are all classes of the data set; the instances are those of its thing classes. The state holds no
    masks, and can be pickled.
    """

    def __init__(self, categories: Sequence[Category | Mapping[str, object]]) -> None:
        self._categories = categories_by_id(categories)
        self._columns: list[InstanceColumns] = []
        self._order: list[Integers] = []
        self._nearest: list[dict[Kind, Nearest]] = []

    def update(self, image: ImageId, truth: TrueInstances, found: FoundInstances) -> None:
        """Add an image, with category ids of things; only the detections that count for AP are considered."""
        columns, (order, _) = one_image(image, truth, found), best_rows(found)
        is_own = columns.category[:, None] == truth.category_ids
        self._columns.append(columns)
        self._order.append(order)
        self._nearest.append({kind: _nearest(_ious(truth, found, order, kind), is_own) for kind in columns.areas})

    def merge(self, other: InstanceErrors) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its categories differ."""
        if self._categories != other._categories:
            raise PanopticBlendError("cannot merge errors of different categories; construct both with the same list")
        self._columns.extend(other._columns)
        self._order.extend(other._order)
        self._nearest.extend(other._nearest)

    def diagnose(self) -> dict[Kind, Diagnosis]:
        """The causes of all images, of boxes and, unless an image has detections without masks, of masks."""
        columns, order = join(self._columns), np.concatenate(self._order)
        starts = np.cumsum([0, *(len(part.truth_category) for part in self._columns)]).tolist()
        return {
            kind: _diagnosis(columns, order, _joined([part[kind] for part in self._nearest], starts), kind)
            for kind in columns.areas
        }


def _ious(truth: TrueInstances, found: FoundInstances, order: Integers, kind: Kind) -> Floats:
    """IoU (D, G) of the detections in this ``order`` (D,) with the true instances, 0 for crowds."""
    if not len(order) or not len(truth):
        return np.zeros((len(order), len(truth)))
    if kind == "box":
        iou = coco.iou(found.boxes[order], truth.boxes, np.zeros(len(truth), np.uint8))
    else:
        assert found.masks is not None
        masks = [found.masks[row] for row in order.tolist()]
        iou = coco.iou(run_lengths(found.size, masks), run_lengths(truth.size, truth.masks), [0] * len(truth))
    return np.where(truth.is_crowd, 0, iou)


def _nearest(iou: Floats, is_own: Bools) -> Nearest:
    sides = []
    for counts in (is_own, ~is_own):
        candidates = np.where(counts, iou, 0)
        if candidates.size == 0:
            sides += [np.full(len(iou), NOTHING), np.zeros(len(iou))]
            continue
        highest = candidates.max(axis=1)
        sides += [np.where(highest > 0, candidates.argmax(axis=1), NOTHING), highest]
    return Nearest(*sides)


def _joined(parts: Sequence[Nearest], starts: Sequence[int]) -> Nearest:
    """The parts one after the other; the true instances of part i begin at row ``starts[i]``."""
    pairs = list(zip(parts, starts, strict=False))
    return Nearest(
        np.concatenate([np.where(part.own < 0, NOTHING, part.own + start) for part, start in pairs]),
        np.concatenate([part.own_iou for part in parts]),
        np.concatenate([np.where(part.other < 0, NOTHING, part.other + start) for part, start in pairs]),
        np.concatenate([part.other_iou for part in parts]),
    )


def _diagnosis(columns: InstanceColumns, order: Integers, nearest: Nearest, kind: Kind) -> Diagnosis:
    rows, instances = taken(columns, kind)
    match, truth_match = np.full(len(columns.scores), NOTHING), np.full(len(columns.truth_category), NOTHING)
    match[rows], truth_match[instances] = instances, rows
    truth_match[columns.truth_is_crowd] = NOTHING
    iou = np.full(len(match), np.nan)
    pairs = columns.pairs[kind]
    is_match = match[pairs.found] == pairs.truth
    iou[pairs.found[is_match]] = pairs.iou[is_match]
    is_ignored = np.append(columns.truth_is_crowd, False)[match]
    cause = np.full(len(match), NOTHING)
    conditions = {
        InstanceCause.DUPLICATE: nearest.own_iou >= FOREGROUND_IOU,
        InstanceCause.CLASSIFICATION: nearest.other_iou >= FOREGROUND_IOU,
        InstanceCause.LOCALIZATION: nearest.own_iou >= BACKGROUND_IOU,
        InstanceCause.BOTH: nearest.other_iou >= BACKGROUND_IOU,
        InstanceCause.BACKGROUND: np.ones(len(match), np.bool_),
    }
    for name, holds in conditions.items():
        cause[(match < 0) & (cause < 0) & holds] = _NUMBERS[name]
    target, truth_cause = np.full(len(match), NOTHING), np.full(len(truth_match), NOTHING)
    truth_cause[(truth_match < 0) & ~columns.truth_is_crowd] = _NUMBERS[InstanceCause.MISSED]
    for name, aimed_at in (
        (InstanceCause.LOCALIZATION, nearest.own),
        (InstanceCause.CLASSIFICATION, nearest.other),
    ):
        has_cause = cause == _NUMBERS[name]
        target[has_cause] = aimed_at[has_cause]
        aims = target[has_cause]
        truth_cause[aims[truth_match[aims] < 0]] = _NUMBERS[name]
    return Diagnosis(columns, order, nearest, match, iou, is_ignored, cause, target, truth_match, truth_cause)
