"""Training targets derived from annotations: from a segment map, or from instances that may overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from panoptic_blend.data.regions import Ids, Regions, renumbered
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import IGNORE, PanopticMap, Runs, Segment, Target


def target_of_segments(panoptic: Regions, categories: Categories) -> Target:
    """Derive a target from all segments of an image, in one layer.

    Crowds are not instances, but their pixels have their class in the semantic maps; void is ignored there.
    """
    [runs], segments = panoptic.runs, panoptic.segments
    areas, boxes = panoptic.areas_and_boxes()
    labels = [categories.label(segment.category) for segment in segments]
    kept = [i for i in panoptic.instances() if areas[i]]
    things = [IGNORE, *(0 if label is None else label + 1 for label in labels)]
    return {
        "boxes": torch.from_numpy(boxes[kept].astype(np.float32)),
        "labels": torch.tensor([labels[i] for i in kept], dtype=torch.int64),
        "instance_map": _painted([runs], renumbered(kept, len(segments))),
        "semantic": _painted([runs], _classes(segments, categories)),
        "thing_semantic": _painted([runs], np.array(things, dtype=np.uint8)),
    }


def target_of_instances(
    instances: Regions,
    boxes: npt.NDArray[np.float64] | None,
    categories: Categories,
    panoptic: Regions | None = None,
) -> Target:
    """Derive a target from instances that may overlap and from their ``boxes`` (G, 4).

    Crowds are not instances, nor are those without pixels or with an empty box. In ``thing_semantic`` every pixel
    has the class of the last annotation of the file that covers it, of crowds too, and 0 is background, as in the
    official BlendMask.

    Args:
        boxes: None takes the tight boxes of the masks.
        panoptic: all segments of the image in one layer, from which the semantic map is derived.
    """
    areas, tight = instances.areas_and_boxes()
    boxes = tight.astype(np.float64) if boxes is None else boxes
    labels = np.array([categories.label(segment.category) for segment in instances.segments], dtype=np.int64)
    runs = instances.runs
    top = runs[0] if len(runs) == 1 else Runs.from_pixels(instances.flat())
    kept = [i for i in instances.instances() if areas[i] and (boxes[i, 2:] > boxes[i, :2]).all()]
    target: Target = {
        "boxes": torch.from_numpy(boxes[kept].astype(np.float32)),
        "labels": torch.from_numpy(labels[kept]),
        "instance_map": _painted(runs, renumbered(kept, len(labels))),
        "thing_semantic": _painted([top], np.array([0, *(labels + 1)], dtype=np.uint8)),
    }
    if panoptic:
        target["semantic"] = _painted(panoptic.runs, _classes(panoptic.segments, categories))
    return target


def _painted(layers: Sequence[Runs], table: Ids) -> Tensor:
    """The map (H, W) of one layer, or (layers, H, W) of several, with each value translated by ``table``."""
    maps = [runs.paint(table[runs.values]) for runs in layers]
    return torch.from_numpy(maps[0] if len(maps) == 1 else np.stack(maps))


def semantic_map(panoptic: PanopticMap, categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic classes (H, W) uint8 of a map with dataset category ids: 0 thing, 1..S stuff, 255 void."""
    runs = panoptic.runs()
    return runs.paint(_classes(panoptic.segments, categories)[runs.values])


def _classes(segments: Sequence[Segment], categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic class of void, then that of each segment."""
    return np.array([IGNORE, *(categories.semantic_class(segment.category) for segment in segments)], dtype=np.uint8)
