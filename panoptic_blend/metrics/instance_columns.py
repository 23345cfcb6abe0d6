"""True and found instances of images as columns, with the pairs of them that may match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle

from panoptic_blend.instances import FoundInstances, TrueInstances, mask_areas, run_lengths
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.structures import ImageId

Bools = npt.NDArray[np.bool_]

DETECTIONS_PER_IMAGE = 100
"""Number of detections of one class in one image that COCO counts, best first."""

LOWEST_IOU = 0.5
"""The lowest IoU of a match."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a detection and a true instance of its image and class, with an IoU of ``LOWEST_IOU`` or more.

    They are sorted by detection and then by true instance. The IoU with a crowd is the part of the detection in it.
    """

    found: Integers
    """Rows (P,) of the detections."""
    truth: Integers
    """Rows (P,) of the true instances."""
    iou: Floats
    """IoU (P,)."""


@dataclass(frozen=True, eq=False)
class InstanceColumns:
    """G true instances and D detections of images, image by image.

    The detections of an image are sorted by class and then by descending score; equal scores keep their order.
    """

    images: tuple[ImageId | None, ...]
    """Ids of the images; None for an image that was added without one."""
    truth_image: Integers
    """Positions (G,) in ``images``."""
    truth_category: Integers
    """Category ids (G,)."""
    truth_area: Floats
    """Areas (G,) of the annotations in pixels."""
    truth_is_crowd: Bools
    """Whether each (G,) is a crowd."""
    image: Integers
    """Positions (D,) in ``images``."""
    category: Integers
    """Category ids (D,)."""
    rank: npt.NDArray[np.uint8]
    """Number (D,) of detections of the same image and class that are before this one."""
    scores: Floats
    """Scores (D,)."""
    areas: dict[Kind, Floats]
    """Areas (D,) in pixels, of the boxes and of the masks; those of masks are missing for detections without any."""
    pairs: dict[Kind, Pairs]
    """Pairs by the IoU of boxes and of masks, which are missing as in ``areas``."""


def one_image(image: ImageId | None, truth: TrueInstances, found: FoundInstances) -> InstanceColumns:
    """The columns of a single image: only its best ``DETECTIONS_PER_IMAGE`` detections of each class."""
    order, rank = best_rows(found)
    category, boxes = found.category_ids[order], found.boxes[order]
    areas: dict[Kind, Floats] = {"box": boxes[:, 2] * boxes[:, 3]}
    pairs: dict[Kind, Pairs] = {"box": _box_pairs(truth, category, boxes)}
    if found.masks is not None:
        masks = run_lengths(found.size, [found.masks[row] for row in order.tolist()])
        areas["mask"] = mask_areas(masks)
        pairs["mask"] = _mask_pairs(truth, category, masks)
    elif not len(found):
        areas["mask"], pairs["mask"] = areas["box"], pairs["box"]
    if found.areas is not None:
        areas = dict.fromkeys(areas, found.areas[order])
    return InstanceColumns(
        images=(image,),
        truth_image=np.zeros(len(truth), dtype=np.int64),
        truth_category=truth.category_ids,
        truth_area=truth.areas,
        truth_is_crowd=truth.is_crowd,
        image=np.zeros(len(order), dtype=np.int64),
        category=category,
        rank=rank,
        scores=found.scores[order],
        areas=areas,
        pairs=pairs,
    )


def join(parts: Sequence[InstanceColumns]) -> InstanceColumns:
    """The columns of all ``parts``, one after the other; a kind is left out unless all parts have it."""
    if len(parts) == 1:
        return parts[0]
    images = _offsets([len(part.images) for part in parts])
    truths, found = (_offsets([len(c) for c in columns]) for columns in zip(*map(_ids, parts), strict=True))
    kinds = [kind for kind in parts[0].areas if all(kind in part.areas for part in parts)]
    return InstanceColumns(
        images=tuple(image for part in parts for image in part.images),
        truth_image=np.concatenate([part.truth_image + start for part, start in zip(parts, images, strict=True)]),
        truth_category=np.concatenate([part.truth_category for part in parts]),
        truth_area=np.concatenate([part.truth_area for part in parts]),
        truth_is_crowd=np.concatenate([part.truth_is_crowd for part in parts]),
        image=np.concatenate([part.image + start for part, start in zip(parts, images, strict=True)]),
        category=np.concatenate([part.category for part in parts]),
        rank=np.concatenate([part.rank for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        areas={kind: np.concatenate([part.areas[kind] for part in parts]) for kind in kinds},
        pairs={kind: _joined([part.pairs[kind] for part in parts], found, truths) for kind in kinds},
    )


def _ids(part: InstanceColumns) -> tuple[Integers, Integers]:
    return part.truth_category, part.category


def _offsets(lengths: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(lengths)[:-1].tolist()]


def _joined(pairs: Sequence[Pairs], found: Sequence[int], truths: Sequence[int]) -> Pairs:
    return Pairs(
        np.concatenate([part.found + start for part, start in zip(pairs, found, strict=True)]),
        np.concatenate([part.truth + start for part, start in zip(pairs, truths, strict=True)]),
        np.concatenate([part.iou for part in pairs]),
    )


def best_rows(found: FoundInstances) -> tuple[Integers, npt.NDArray[np.uint8]]:
    """Rows of the detections that count, by class and descending score, and their ranks within the class."""
    order = np.lexsort((-found.scores, found.category_ids))
    category = found.category_ids[order]
    rank = np.arange(len(order)) - np.searchsorted(category, category)
    counts = rank < DETECTIONS_PER_IMAGE
    return order[counts], rank[counts].astype(np.uint8)


def _box_pairs(truth: TrueInstances, category: Integers, boxes: Floats) -> Pairs:
    if not len(truth) or not len(boxes):
        return _pairs([])
    iou = rle.iou(boxes, truth.boxes, truth.is_crowd.astype(np.uint8))
    return _pairs([(np.arange(len(boxes)), np.arange(len(truth)), iou * (category[:, None] == truth.category_ids))])


def _mask_pairs(truth: TrueInstances, category: Integers, masks: Sequence[dict[str, Any]]) -> Pairs:
    """Compare class by class: intersections of masks take longer than those of boxes."""
    true_masks, blocks = run_lengths(truth.size, truth.masks), []
    for shared in np.intersect1d(truth.category_ids, category).tolist():
        rows, columns = np.flatnonzero(category == shared), np.flatnonzero(truth.category_ids == shared)
        iou = rle.iou(
            [masks[row] for row in rows.tolist()],
            [true_masks[column] for column in columns.tolist()],
            truth.is_crowd[columns].astype(np.uint8),
        )
        blocks.append((rows, columns, iou))
    return _pairs(blocks)


def _pairs(blocks: Sequence[tuple[Integers, Integers, Floats]]) -> Pairs:
    """The pairs that may match, out of blocks of detections (d,), true instances (g,) and their IoU (d, g)."""
    found = [(rows, columns, iou, *np.nonzero(iou >= LOWEST_IOU)) for rows, columns, iou in blocks]
    return Pairs(
        np.concatenate([np.zeros(0, dtype=np.int64), *(rows[at] for rows, _, _, at, _ in found)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(columns[at] for _, columns, _, _, at in found)]),
        np.concatenate([np.zeros(0), *(iou[row, column] for _, _, iou, row, column in found)]),
    )


def _nothing() -> InstanceColumns:
    ids, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
    truth = TrueInstances((0, 0), ids, numbers.reshape(0, 4), [], numbers, np.zeros(0, dtype=np.bool_))
    return replace(one_image(None, truth, FoundInstances((0, 0), ids, numbers, numbers.reshape(0, 4), [])), images=())


NOTHING = _nothing()
"""No image."""
