"""The interface of a data set for training, evaluation and sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from panoptic_blend.formats.categories import Categories
from panoptic_blend.instances import TrueInstances
from panoptic_blend.structures import ImageId, PanopticBlendError, PanopticMap, Size


@dataclass(frozen=True)
class Sample:
    """One image with its ground truth, before augmentation and resizing.

    ``image`` is (3, H, W) uint8 RGB; the segments of ``panoptic`` (H, W) have dataset category ids. ``instances`` are
    the things of an annotation of their own, which may overlap; without them, things are segments of ``panoptic``. One
    of the two may be None, if the data set has no annotation of its kind.
    """

    image_id: ImageId
    file_name: str
    image: Tensor
    panoptic: PanopticMap | None
    instances: TrueInstances | None = None

    def panoptic_truth(self) -> PanopticMap:
        """``panoptic``, for what cannot do without.

        Raises:
            PanopticBlendError: the data set has no panoptic annotation.
        """
        return require_panoptic(self.panoptic, self.file_name)


class ImageTable(Protocol):
    """The images of a data set, as columns: entry ``i`` of each belongs to image ``i``."""

    @property
    def ids(self) -> Sequence[ImageId]:
        """Image ids, for result files."""

    @property
    def file_names(self) -> Sequence[str]:
        """File names of the images, with forward slashes; result files are named after them."""

    @property
    def sizes(self) -> Sequence[Size]:
        """Heights and widths of the images in pixels, available without reading them."""


class PanopticDataset(Protocol):
    """The interface of a data set for training, evaluation and sweep; `CocoPanoptic` implements it.

    Item ``i`` is the `Sample` of image ``i``. If it cannot be read, it raises PanopticBlendError with one line that
    names the file and the remedy.

    Each data loading process has a copy of the data set. It must therefore be picklable on systems that spawn processes
    (macOS, Windows). Annotations kept in memory should be arrays: reference counts of Python objects make forked
    processes copy the memory that they could share.
    """

    @property
    def name(self) -> str:
        """The name of the data set in messages, such as that of its annotation file."""

    @property
    def annotation(self) -> Path | None:
        """The annotation file, which results must not overwrite; None if there is no file."""

    @property
    def categories(self) -> Categories:
        """The classes of the data set, with at least one thing class."""

    @property
    def images(self) -> ImageTable:
        """The images of the data set."""

    def __len__(self) -> int:
        """The number of images."""

    def __getitem__(self, index: int) -> Sample:
        """Read image ``index`` with its ground truth."""

    def version(self) -> Iterable[bytes]:
        """Bytes that change whenever an image or its ground truth changes, such as file sizes and modification times.

        They should be quick to get: `open_cache` compares their digest to decide whether a cache is still valid.
        """


@runtime_checkable
class CountedDataset(PanopticDataset, Protocol):
    """A data set that knows the numbers of its instances without reading them."""

    def instance_counts(self) -> Sequence[int]:
        """The number of instances, without crowds, of each image."""


@runtime_checkable
class ListedDataset(CountedDataset, Protocol):
    """A data set that knows the classes in its images, and the files of its pictures, without reading them."""

    def class_counts(self) -> npt.NDArray[np.int32]:
        """The number of segments, without crowds, of each category in each image (images, categories)."""

    def picture_path(self, index: int) -> Path:
        """The file of the picture of item ``index``."""


def read_sample(dataset: PanopticDataset, index: int) -> Sample:
    """Image ``index`` of ``dataset``, after a check that image, map, segments and image table agree.

    Raises:
        PanopticBlendError: they do not; or the data set's own error.
    """
    sample, (height, width) = dataset[index], dataset.images.sizes[index]
    if problem := _problem(sample, (height, width), dataset.categories):
        raise PanopticBlendError(f"{dataset.name}: image {sample.image_id}: {problem}; correct the data set")
    return sample


def require_panoptic(panoptic: PanopticMap | None, file_name: str) -> PanopticMap:
    """The panoptic map of an image, for what cannot do without.

    Raises:
        PanopticBlendError: there is none.
    """
    if panoptic is None:
        raise PanopticBlendError(
            f"{file_name}: has no panoptic annotation, which this needs; make one with `panoptic-blend data convert "
            "coco-instances`"
        )
    return panoptic


def _problem(sample: Sample, size: Size, categories: Categories) -> str | None:
    """What is wrong with a sample that should have ``size`` (height, width); None if nothing is."""
    image, panoptic = sample.image, sample.panoptic
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
        found = f"{image.dtype} of shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        return f"its pixels are {found}, not a uint8 tensor (3, H, W)"
    shapes = {"pixels": tuple(image.shape[1:])}
    if panoptic is not None:
        shapes["segment ids"] = panoptic.segment_ids.shape
    if sample.instances is not None:
        shapes["instances"] = sample.instances.size
    for name, shape in shapes.items():
        if shape != size:
            return f"its {name} have the size {shape}, but the image table says {size}"
    for segment in panoptic.segments if panoptic else ():
        category = categories.by_id.get(segment.category)
        if category is None or category.is_thing != segment.is_thing:
            known = "unknown" if category is None else f"a {'thing' if category.is_thing else 'stuff class'}"
            return f"segment {segment.id} has category {segment.category}, which is {known}"
    if sample.instances is not None:
        for category_id in sample.instances.category_ids.tolist():
            if categories.label(category_id) is None:
                return f"an instance has category {category_id}, which is not a thing"
    return None
