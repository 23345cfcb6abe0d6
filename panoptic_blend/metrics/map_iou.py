"""IoU of the classes of panoptic maps, in which instances are not told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from panoptic_blend.metrics.class_means import ClassMeans, group_members
from panoptic_blend.metrics.class_pixels import ClassPixels, class_ious
from panoptic_blend.metrics.details import PanopticDetails


@dataclass(frozen=True)
class MapIoU:
    """IoU by class with its means, mIoU, and its means weighted by the pixels of the truth, by group; NaN for none."""

    means: ClassMeans
    frequency_weighted: dict[str, float]


def map_iou(details: PanopticDetails) -> MapIoU:
    """Compute IoU over all images (Long et al., CVPR 2015, section 5: mean IU and frequency weighted IU).

    Every thing and stuff class is a class of its own, and crowds belong to their class; see `class_ious` for void.
    """
    categories = tuple(details.categories.values())
    counted = ClassPixels(categories)
    for _, comparison in details.comparisons():
        counted.update(comparison)
    pixels = counted.compute()
    ids = [category.id for category in categories]
    means = ClassMeans.of(categories, dict(zip(ids, class_ious(pixels).tolist(), strict=True)))
    in_truth = dict(zip(ids, pixels[1:].sum(axis=1).tolist(), strict=True))
    weighted = {}
    for group, members in group_members(categories):
        total = sum(in_truth[id] for id in members)
        iou = math.fsum(in_truth[id] * means.per_class.get(id, 0.0) for id in members)
        weighted[group] = iou / total if total else math.nan
    return MapIoU(means, weighted)
