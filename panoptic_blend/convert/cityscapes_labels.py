"""The label ids of Cityscapes, and how a map of them tells instances apart (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import Category

IDS_PER_CLASS = 1000
"""From this value on, a value of ``instanceIds`` is ``label * 1000 + instance``; stuff and groups have their label."""

GROUP = "group"
"""The end of the label of a polygon around several instances, such as ``cargroup``."""

CATEGORIES: Mapping[int, Category] = {
    number: Category(number, name, is_thing, color)
    for number, name, is_thing, color in [
        (7, "road", False, (128, 64, 128)),
        (8, "sidewalk", False, (244, 35, 232)),
        (11, "building", False, (70, 70, 70)),
        (12, "wall", False, (102, 102, 156)),
        (13, "fence", False, (190, 153, 153)),
        (17, "pole", False, (153, 153, 153)),
        (19, "traffic light", False, (250, 170, 30)),
        (20, "traffic sign", False, (220, 220, 0)),
        (21, "vegetation", False, (107, 142, 35)),
        (22, "terrain", False, (152, 251, 152)),
        (23, "sky", False, (70, 130, 180)),
        (24, "person", True, (220, 20, 60)),
        (25, "rider", True, (255, 0, 0)),
        (26, "car", True, (0, 0, 142)),
        (27, "truck", True, (0, 0, 70)),
        (28, "bus", True, (0, 60, 100)),
        (31, "train", True, (0, 80, 100)),
        (32, "motorcycle", True, (0, 0, 230)),
        (33, "bicycle", True, (119, 11, 32)),
    ]
}
"""The 19 classes that are evaluated, by label id."""

_NOT_EVALUATED = {
    **{"unlabeled": 0, "ego vehicle": 1, "rectification border": 2, "out of roi": 3, "static": 4, "dynamic": 5},
    **{"ground": 6, "parking": 9, "rail track": 10, "guard rail": 14, "bridge": 15, "tunnel": 16, "polegroup": 18},
    **{"caravan": 29, "trailer": 30},
}

LABELS: Mapping[str, int] = _NOT_EVALUATED | {category.name: number for number, category in CATEGORIES.items()}
"""The label ids by name; license plates, which have none, are not drawn."""

MEANINGS: Mapping[int, Category | None] = {number: CATEGORIES.get(number) for number in LABELS.values()}
"""The categories by label id; labels that are not evaluated are void."""


def divided(ids: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Labels and instances (H, W) of ``instanceIds``; instances count from 1, and are 0 for stuff and groups."""
    values = ids.astype(np.int64)
    labels = np.where(values < IDS_PER_CLASS, values, values // IDS_PER_CLASS)
    return labels, np.where(values < IDS_PER_CLASS, 0, values % IDS_PER_CLASS + 1)
