"""COCO's average precision and recall of boxes and masks, equal to those of pycocotools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.instance_columns import NOTHING, InstanceColumns, join, one_image
from panoptic_blend.metrics.instance_conversion import found_instances, true_instances
from panoptic_blend.metrics.instance_matching import InstanceTallies, match
from panoptic_blend.metrics.instance_report import ClassFigures, InstanceReport, Kind
from panoptic_blend.metrics.overlaps import format_ids
from panoptic_blend.metrics.panoptic_quality import categories_by_id
from panoptic_blend.metrics.precision_recall import PrecisionRecall, precision_recall
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, PanopticMap

if TYPE_CHECKING:
    from panoptic_blend.structures import Detections


class AveragePrecision:
    """The twelve figures of COCO for boxes and masks, over all thing classes and of each class.

    ``categories`` are all classes of the data set; the instances are those of its thing classes. The state consists of
    the scores, areas and overlaps of instances, without masks; it can be pickled. Merging is exact: figures do not
    depend on how the images were distributed, or on their order if each has an id.
    """

    def __init__(self, categories: Sequence[Category | Mapping[str, object]]) -> None:
        self._categories = categories_by_id(categories)
        self._things = sorted((c for c in self._categories.values() if c.is_thing), key=lambda category: category.id)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._parts: list[InstanceColumns] = []

    def update(
        self,
        truth: TrueInstances | PanopticMap,
        detections: FoundInstances | Detections,
        image: ImageId | None = None,
    ) -> None:
        """Add one image: its ground truth and its detections, with category ids of things.

        Args:
            truth: the annotated instances, or a map (H, W) whose thing segments are the instances.
            detections: the found instances; ``masks`` of `Detections` have the size of the truth.
            image: the id of the image. Detections of equal score rank by the ids of their images, as in pycocotools;
                without ids, in the order of updates and merges.

        Raises:
            PanopticBlendError: unknown categories, or masks of another size than the truth's.
        """
        things = {category.id for category in self._things}
        if isinstance(truth, PanopticMap):
            _require([s.category for s in truth.segments], self._categories, "truth: unknown category {}")
            truth = true_instances(truth, things)
        found = detections if isinstance(detections, FoundInstances) else found_instances(detections)
        _require(truth.category_ids.tolist(), things, "truth: category {} is not a thing")
        _require(found.category_ids.tolist(), things, "detections: label {} is not a thing category")
        if found.masks and truth.size != found.size:
            raise PanopticBlendError(
                f"detections: masks are {found.size} and the truth is {truth.size}; "
                "give detections at the size of the truth"
            )
        self._parts.append(one_image(image, truth, found))

    def merge(self, other: AveragePrecision) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its categories differ."""
        if self._categories != other._categories:
            raise PanopticBlendError(
                "cannot merge average precisions of different categories; construct both with the same list"
            )
        self._parts.extend(other._parts)

    def compute(self) -> InstanceReport:
        """The figures of all images so far. Raises PanopticBlendError if an image was added twice."""
        tallies = self.tallies()
        return report(tallies, {kind: precision_recall(found) for kind, found in tallies.items()})

    def tallies(self) -> dict[Kind, InstanceTallies]:
        """Which detections match, by boxes and, unless an image has detections without masks, by masks.

        Precision-recall curves, intervals and comparisons are computed from these. Raises errors as `compute` does.
        """
        columns = self._columns()
        twice = [image for image, count in Counter(columns.images).items() if count > 1 and image is not None]
        if twice:
            raise PanopticBlendError(f"image {twice[0]!r} is added twice; keep one")
        return {kind: match(columns, self._things, kind) for kind in columns.areas}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": [self._columns()]}

    def _columns(self) -> InstanceColumns:
        """All images as one part."""
        self._parts = [join([NOTHING, *self._parts])]
        return self._parts[0]


def report(tallies: Mapping[Kind, InstanceTallies], found: Mapping[Kind, PrecisionRecall]) -> InstanceReport:
    """The report of tallies with their precision and recall."""
    boxes, curves, masks = tallies["box"], found["box"], found.get("mask")
    instances = np.bincount(boxes.truth_class[boxes.truth_counts[0]], minlength=len(boxes.categories))
    per_class = {
        category.id: ClassFigures(
            instances=int(instances[k]),
            detections=int(boxes.starts[k + 1] - boxes.starts[k]),
            box=curves.figures(k),
            mask=masks.figures(k) if masks else None,
        )
        for k, category in enumerate(boxes.categories)
    }
    return InstanceReport(boxes.categories, curves.figures(), masks.figures() if masks else None, per_class)


def _require(seen: Iterable[int], known: Container[int], problem: str) -> None:
    unknown = sorted({category for category in seen if category not in known})
    if unknown:
        raise PanopticBlendError(f"{problem.format(format_ids(unknown))}; give category ids of the data set")
