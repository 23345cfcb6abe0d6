"""Where the true instances of a report come from: COCO instances JSON, or the things of panoptic maps."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_instances import InstanceImages, read_instances_json
from panoptic_blend.formats.coco_panoptic import Images
from panoptic_blend.instances import TrueInstances
from panoptic_blend.metrics.instance_conversion import true_instances
from panoptic_blend.scoring.file_pairs import FilePairs
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, PanopticMap


class InstanceTruth(Protocol):
    """The true instances of the ``images`` of a report, whose classes are ``categories``."""

    against: ClassVar[str]
    """The name of this kind of truth."""
    path: Path
    images: Images | InstanceImages
    categories: Categories
    things: list[Category]
    """The classes of which an instance may be."""
    has_masks: bool
    """Whether the instances have masks, and not boxes only."""

    def of(self, image: ImageId, panoptic: PanopticMap | None) -> TrueInstances:
        """The instances of an image; ``panoptic`` is its true map, if the report shows maps."""

    def doubts(self) -> list[str]:
        """What is odd about the annotation, and what becomes of the figures."""


class AnnotatedTruth:
    """The instances of a COCO instances JSON.

    If the report shows maps too, its images and categories are those of ``panoptic``. Raises PanopticBlendError if the
    JSON is broken, or lacks one of these images, or has a category that is no thing of these.
    """

    against: ClassVar[str] = "instances"

    def __init__(self, path: Path, panoptic: FilePairs | None) -> None:
        self.path, self._read = path, read_instances_json(path, masks=False)
        self.has_masks = self._read.images.has_masks
        source = panoptic or self._read
        self.images: Images | InstanceImages = source.images
        self.categories = source.categories
        self._places = {image: place for place, image in enumerate(self._read.images.ids)}
        if panoptic:
            self._require_fit(panoptic)
        self.things = [self.categories.by_id[category.id] for category in self._read.categories]

    def of(self, image: ImageId, panoptic: PanopticMap | None) -> TrueInstances:
        """The annotated instances of an image."""
        return self._read.images[self._places[image]]

    def doubts(self) -> list[str]:
        """What is odd about ids and areas."""
        return self._read.images.doubts()

    def _require_fit(self, panoptic: FilePairs) -> None:
        name, other = self.path.name, panoptic.truth_json.name
        remedy = "give the instances JSON of the same data set and split with --instances-truth"
        for category in self._read.categories:
            known = panoptic.categories.by_id.get(category.id)
            if known is None or not known.is_thing:
                raise PanopticBlendError(
                    f"{name}: category {category.id} ({category.name}) is no thing of {other}; {remedy}"
                )
        for image, size in zip(panoptic.images.ids, panoptic.images.sizes, strict=True):
            if image not in self._places:
                raise PanopticBlendError(f"{name}: has no image {image}, which is in {other}; {remedy}")
            if (own := self._read.images.sizes[self._places[image]]) != size:
                raise PanopticBlendError(
                    f"{name}: image {image} is {own[1]} x {own[0]} pixels, in {other} {size[1]} x {size[0]}; {remedy}"
                )


class PaintedTruth:
    """The things in the true maps of a report."""

    against: ClassVar[str] = "panoptic"

    def __init__(self, panoptic: FilePairs) -> None:
        self.path = panoptic.truth_json
        self.images: Images | InstanceImages = panoptic.images
        self.categories = panoptic.categories
        self.things = [category for category in panoptic.categories if category.is_thing]
        self._ids = {category.id for category in self.things}
        self.has_masks = True

    def of(self, image: ImageId, panoptic: PanopticMap | None) -> TrueInstances:
        """The things of the true map of an image."""
        assert panoptic, "a report with maps hands them over"
        return true_instances(panoptic, self._ids)

    def doubts(self) -> list[str]:
        """Nothing: ids and areas are those of the maps."""
        return []


def find_truth(panoptic_json: Path) -> Path | None:
    """``instances_X.json`` beside ``panoptic_X.json``, if it exists."""
    found = panoptic_json.with_name(f"instances_{panoptic_json.name.removeprefix('panoptic_')}")
    return found if panoptic_json.name.startswith("panoptic_") and found.is_file() else None
