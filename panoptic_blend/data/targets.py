"""Training targets derived from annotations: from a segment map, or from instances that may overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from panoptic_blend.data.regions import Ids, Regions, renumbered
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import IGNORE, PanopticMap, Runs, Segment, Target

Coded = tuple[Runs, Ids]
"""A map as run lengths, and a table that translates the values of the runs to those of the map."""


@dataclass(frozen=True)
class PackedTarget:
    """A `Target` as it is sent between processes: its maps are run lengths, which are much smaller than pixels.

    ``boxes`` (G, 4) float32 and ``labels`` (G,) int64 are those of the target. ``maps`` holds its maps by name, one of
    several layers as several.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    maps: Mapping[str, Sequence[Coded]]

    @classmethod
    def from_panoptic(cls, panoptic: Regions, categories: Categories) -> PackedTarget:
        """Derive a target from all segments of an image, in one layer.

        Crowds are not instances, but their pixels have their class in the semantic maps; void is ignored there.
        """
        [runs], segments = panoptic.runs, panoptic.segments
        areas, boxes = panoptic.areas_and_boxes()
        labels = [categories.label(segment.category) for segment in segments]
        instances = [i for i in panoptic.instances() if areas[i]]
        things = [IGNORE, *(0 if label is None else label + 1 for label in labels)]
        maps: dict[str, Sequence[Coded]] = {
            "instance_map": [(runs, renumbered(instances, len(segments)))],
            "semantic": [(runs, _classes(segments, categories))],
            "thing_semantic": [(runs, np.array(things, dtype=np.uint8))],
        }
        found = np.array([labels[i] for i in instances], dtype=np.int64)
        return cls(boxes[instances].astype(np.float32), found, maps)

    @classmethod
    def from_instances(
        cls,
        instances: Regions,
        boxes: npt.NDArray[np.float64] | None,
        categories: Categories,
        panoptic: Regions | None = None,
    ) -> PackedTarget:
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
        numbers = renumbered(kept, len(labels))
        maps: dict[str, Sequence[Coded]] = {
            "instance_map": [(layer, numbers) for layer in runs],
            "thing_semantic": [(top, np.array([0, *(labels + 1)], dtype=np.uint8))],
        }
        if panoptic:
            maps["semantic"] = [(panoptic.runs[0], _classes(panoptic.segments, categories))]
        return cls(boxes[kept].astype(np.float32), labels[kept], maps)

    def unpack(self) -> Target:
        """Decode the target."""
        target = {"boxes": torch.from_numpy(self.boxes), "labels": torch.from_numpy(self.labels)}
        for name, layers in self.maps.items():
            decoded = [runs.paint(table[runs.values]) for runs, table in layers]
            target[name] = torch.from_numpy(decoded[0] if len(decoded) == 1 else np.stack(decoded))
        return cast(Target, target)


def semantic_map(panoptic: PanopticMap, categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic classes (H, W) uint8 of a map with dataset category ids: 0 thing, 1..S stuff, 255 void."""
    runs = panoptic.runs()
    return runs.paint(_classes(panoptic.segments, categories)[runs.values])


def _classes(segments: Sequence[Segment], categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic class of void, then that of each segment."""
    return np.array([IGNORE, *(categories.semantic_class(segment.category) for segment in segments)], dtype=np.uint8)
