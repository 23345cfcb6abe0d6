"""Parsing covering (Yang et al., DeeperLab: Single-Shot Image Parser, 2019, arXiv 1902.05093).

Each truth segment counts by its area, so that this figure looks at large segments, as PQ looks at each one alike.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np

from panoptic_blend.metrics.class_means import ClassMeans
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import same_class_ious


def parsing_covering(details: PanopticDetails) -> ClassMeans:
    """Compute the parsing covering of all images.

    The covering of a class is the mean, weighted by area, over its truth segments of the largest IoU with a predicted
    segment of the class in the same image, 0 without one. Crowds are no truth segments, and void is excluded from
    predictions as in PQ. A class without truth segments has no figure.
    """
    covered: defaultdict[int, list[float]] = defaultdict(list)
    areas: Counter[int] = Counter()
    for _, comparison in details.comparisons():
        truth, area = comparison.truth, comparison.overlaps.row_sums()[1:]
        rows, _, iou = same_class_ious(comparison)
        best = np.zeros(len(area))
        np.maximum.at(best, rows, iou)
        counted = ~truth.is_crowd
        columns = (truth.categories[counted].tolist(), area[counted].tolist(), best[counted].tolist())
        for category, pixels, value in zip(*columns, strict=True):
            areas[category] += pixels
            covered[category].append(pixels * value)
    figures = {id: math.fsum(covered[id]) / area for id, area in areas.items() if area}
    return ClassMeans.of(tuple(details.categories.values()), figures)
