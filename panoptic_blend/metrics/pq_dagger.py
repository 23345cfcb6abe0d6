"""PQ-dagger (Porzi et al., Seamless Scene Segmentation, CVPR 2019, section 4), which is kinder to stuff.

A stuff segment of an image that misses an IoU of 0.5 by a pixel costs PQ a false negative and a false positive.
PQ-dagger of a stuff class is the mean IoU of its truth segments instead, without a threshold; things keep their PQ.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from panoptic_blend.metrics.class_means import ClassMeans
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import same_class_ious


def pq_dagger(details: PanopticDetails) -> ClassMeans:
    """Compute PQ-dagger of all images.

    For a stuff class c, the sum of the IoUs of all pairs of a truth and a predicted segment of c in an image that share
    pixels, divided by the number of truth segments of c; crowds are no truth segments. A stuff class without one has no
    figure: what is predicted of it costs nothing. Void is excluded from predictions as in PQ.
    """
    categories = tuple(details.categories.values())
    stuff = {category.id for category in categories if not category.is_thing}
    ious: defaultdict[int, list[float]] = defaultdict(list)
    truths: Counter[int] = Counter()
    for _, comparison in details.comparisons():
        truth = comparison.truth
        counted = ~truth.is_crowd & (truth.areas > 0)
        truths.update(id for id in truth.categories[counted].tolist() if id in stuff)
        rows, _, iou = same_class_ious(comparison)
        kept = counted[rows]
        for category, value in zip(truth.categories[rows[kept]].tolist(), iou[kept].tolist(), strict=True):
            ious[category].append(value)
    report = details.compute()
    things = {category.id: report.per_class[category.id]["pq"] for category in categories if report.occurs(category.id)}
    dagger = {id: math.fsum(ious[id]) / count for id, count in truths.items()}
    return ClassMeans.of(categories, {id: pq for id, pq in things.items() if id not in stuff} | dagger)
