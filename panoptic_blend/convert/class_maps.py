"""Regions from two maps: the class of each pixel, and the number of its instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import LabeledRegion
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, Runs

UNLABELED = 0
"""The class of pixels that nobody labeled, unless it has a name."""

Map = npt.NDArray[np.integer[Any]]


def regions_of(
    classes: Map, instances: Map, meanings: Mapping[int, Category | None], where: str, notes: Notes
) -> list[LabeledRegion]:
    """One region for each instance of a thing, and for each stuff class, of maps (H, W).

    ``meanings`` are the categories by class, None for void. Pixels of a thing whose instance is 0 are a crowd.

    Raises:
        PanopticBlendError: a class other than 0 is not in ``meanings``.
    """
    pairs = Runs.from_pixels(classes.astype(np.int64) << 32 | instances.astype(np.int64))
    for value in np.unique(pairs.values >> 32).tolist():
        if value not in meanings and value != UNLABELED:
            raise PanopticBlendError(f"{where}: has the class {value}, which the table of classes lacks; add it there")
    are_things = np.isin(
        pairs.values >> 32, [value for value, meaning in meanings.items() if meaning and meaning.is_thing]
    )
    values, places = np.unique(np.where(are_things, pairs.values, pairs.values >> 32 << 32), return_inverse=True)
    index = pairs.paint((places + 1).astype(np.int32))
    regions = []
    for number, (value, window) in enumerate(zip(values.tolist(), find_objects(index), strict=True), start=1):
        if value >> 32 not in meanings:
            continue
        category = meanings[value >> 32]
        is_crowd = category is not None and category.is_thing and not value & 0xFFFFFFFF
        if is_crowd:
            notes.add("things have no instance number and were read as crowds", f"{where}: class {value >> 32}")
        rows, columns = window
        regions.append(LabeledRegion(category, Cutout(index[window] == number, rows.start, columns.start), is_crowd))
    return regions
