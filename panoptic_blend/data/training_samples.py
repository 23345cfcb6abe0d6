"""Augmented images with their targets: all that is random about a sample comes from one generator."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from panoptic_blend.data.copy_paste import Patch, cut_out
from panoptic_blend.data.protocol import CountedDataset, PanopticDataset, Sample, read_sample
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_instances, target_of_segments
from panoptic_blend.data.transforms import Augmentation, Geometry
from panoptic_blend.failures import ForeignError, doing, in_one_line
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Size, Target


class TrainingSample(NamedTuple):
    """An augmented image (3, H, W) uint8 with its target and file name.

    ``problems`` is a line for the image whose things were to be pasted, if it could not be read.
    """

    image: Tensor
    target: Target
    name: str
    problems: list[str]


class TrainingSamples(Dataset[TrainingSample]):
    """Augmented training samples, by (position in the stream of samples, image index).

    Args:
        skip: paste nothing if the image whose things were to be pasted cannot be read.

    Raises:
        PanopticBlendError: on construction, if things are to be pasted and no image has any; on access, if an image
            cannot be read.
    """

    def __init__(self, dataset: PanopticDataset, augmentation: Augmentation, seed: int, skip: bool = False) -> None:
        self._dataset, self._augmentation, self._seed, self._skip = dataset, augmentation, seed, skip
        self._donors = _donors(dataset) if augmentation.copy_paste else np.zeros(0, np.intp)

    def __getitem__(self, item: tuple[int, int]) -> TrainingSample:
        position, index = item
        with named(self._dataset, index):
            sample = read_sample(self._dataset, index)
            rng = np.random.default_rng([self._seed, position, index])
            geometry = self._augmentation.draw((sample.image.shape[1], sample.image.shape[2]), rng)
            patch, problems = self._patch(geometry.size, rng)
            image = geometry.image(sample.image)
            image = self._augmentation.alter(patch.over_image(image) if patch else image, rng)
            return TrainingSample(image, self._target(sample, geometry, patch), sample.file_name, problems)

    def _patch(self, size: Size, rng: np.random.Generator) -> tuple[Patch | None, list[str]]:
        """Things of another image, to be pasted over one of ``size``, and the problem if that image is skipped."""
        if rng.random() >= self._augmentation.copy_paste:
            return None, []
        donor = int(rng.choice(self._donors))
        try:
            with named(self._dataset, donor):
                return cut_out(read_sample(self._dataset, donor), size, self._augmentation, rng), []
        except Exception as error:
            failure = in_one_line(error)
            if not self._skip or isinstance(failure, ForeignError):  # memory ran out, or the data set is at fault
                raise
            return None, [str(failure)]

    def _target(self, sample: Sample, geometry: Geometry, patch: Patch | None) -> Target:
        """The target of a transformed sample with a patch; its things are ``instances``, if there are any."""
        categories, instances = self._dataset.categories, sample.instances
        if instances is None:
            return target_of_segments(_panoptic(sample.panoptic_truth(), geometry, patch), categories)
        panoptic = None if sample.panoptic is None else _panoptic(sample.panoptic, geometry, patch)
        boxes = None if self._augmentation.hides_parts else geometry.boxes(instances.corners())
        things = Regions.of_instances(instances).transformed(geometry)
        things = patch.over_instances(things) if patch else things
        return target_of_instances(things, boxes, categories, panoptic)


def _panoptic(truth: PanopticMap, geometry: Geometry, patch: Patch | None) -> Regions:
    """All segments of a transformed image with a patch."""
    regions = Regions.of_panoptic(truth).transformed(geometry)
    return patch.over_panoptic(regions) if patch else regions


def _donors(dataset: PanopticDataset) -> npt.NDArray[np.intp]:
    """The images whose things can be pasted: those with instances, or all if the data set does not count them.

    Raises:
        PanopticBlendError: no image has an instance.
    """
    counts = dataset.instance_counts() if isinstance(dataset, CountedDataset) else np.ones(len(dataset))
    donors = np.flatnonzero(np.asarray(counts))
    if not len(donors):
        raise PanopticBlendError(f"{dataset.name}: no image has an instance to paste; set data.copy_paste=0")
    return donors


def named(dataset: PanopticDataset, index: int) -> AbstractContextManager[None]:
    """Note the image on every exception."""
    activity = f"loading {dataset.images.file_names[index]} of {dataset.name}"
    return doing(activity, lower="data.workers, data.short_sides or test.short_side")
