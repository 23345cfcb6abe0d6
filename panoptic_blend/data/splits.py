"""The data sets that a config names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.protocol import CountedDataset, ListedDataset, PanopticDataset, Sample
from panoptic_blend.formats.coco_layout import find_instances, find_root, has_panoptic
from panoptic_blend.formats.columns import LazySequence
from panoptic_blend.structures import PanopticBlendError

_FALLBACK = "AP is that of the panoptic annotation"


class Opened(NamedTuple):
    """A data set, and a line for everything about it that its user should know."""

    dataset: PanopticDataset
    remarks: list[str]


def open_training(config: Config) -> Opened:
    """Open the split ``data.train``.

    Raises:
        PanopticBlendError: it lacks an annotation that the model or ``data.things`` needs, or is invalid.
    """
    dataset = _open(config, config.data.train)
    used, remarks = without_empty(dataset) if config.data.skip_empty else Opened(dataset, [])
    return Opened(used, [*_with_remarks(dataset).remarks, *remarks])


def open_validation(config: Config) -> Opened:
    """Open the split ``data.val``; its samples have ``instances``, for AP, if ``instances_<split>.json`` exists.

    If this file is missing, or disagrees with the panoptic annotation and is not what ``data.things`` asks for, the
    panoptic annotation alone is used, with a remark.

    Raises:
        PanopticBlendError: it lacks an annotation that the model or ``data.things`` needs, or is invalid.
    """
    root, split = find_root(config.data.root), config.data.val
    has_instances, wants_instances = find_instances(root, split) is not None, config.data.things == "instances"
    if wants_instances and (has_instances or not has_panoptic(root, split)):
        return _with_remarks(_open(config, split))
    dataset = CocoPanoptic(root, split)
    if not has_instances:
        return Opened(dataset, [f"{_FALLBACK}: there is no instances_{split}.json"] if wants_instances else [])
    try:
        return _with_remarks(CocoInstances(root, split, dataset))
    except PanopticBlendError as error:  # of a file that the config does not ask for
        return Opened(dataset, [f"{_FALLBACK}: {error}"])


def _open(config: Config, split: str) -> CocoPanoptic | CocoInstances:
    root = find_root(config.data.root)
    if config.data.things == "panoptic":
        return CocoPanoptic(root, split)
    return CocoInstances(root, split, CocoPanoptic(root, split) if config.model.semantic.enabled else None)


def _with_remarks(dataset: CocoPanoptic | CocoInstances) -> Opened:
    return Opened(dataset, dataset.remarks() if isinstance(dataset, CocoInstances) else [])


def without_empty(dataset: CountedDataset) -> Opened:
    """Leave out the images without instances, with a remark if there are any.

    Raises:
        PanopticBlendError: no image has an instance.
    """
    kept = np.flatnonzero(np.asarray(dataset.instance_counts()))
    if len(kept) == len(dataset):
        return Opened(dataset, [])
    if not len(kept):
        raise PanopticBlendError(f"{dataset.name}: no image has an instance to learn; set data.skip_empty=false")
    left_out = f"{len(dataset) - len(kept)} of {len(dataset)} images have no instances and are left out"
    subset = ListedSubset(dataset, kept) if isinstance(dataset, ListedDataset) else Subset(dataset, kept)
    return Opened(subset, [f"{dataset.name}: {left_out} (data.skip_empty=false keeps them)"])


class Subset(Dataset[Sample]):
    """Some images of a data set, by their ``indices``; it implements `PanopticDataset`."""

    def __init__(self, whole: CountedDataset, indices: npt.NDArray[np.intp]) -> None:
        self._whole, self._indices = whole, indices
        self.name, self.annotation, self.categories = whole.name, whole.annotation, whole.categories
        self.images = _SelectedImages(whole, indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._whole[int(self._indices[index])]

    def version(self) -> Iterator[bytes]:
        """That of the whole data set, and which images these are."""
        yield from self._whole.version()
        yield self._indices.tobytes()

    def instance_counts(self) -> Sequence[int]:
        """The number of instances, without crowds, of each image."""
        return _Selected(self._whole.instance_counts(), self._indices)


def evenly(dataset: PanopticDataset, number: int) -> PanopticDataset:
    """A number of images of a data set, evenly spread over it."""
    assert isinstance(dataset, CountedDataset), "a split of a folder knows its counts"
    return Subset(dataset, np.linspace(0, len(dataset) - 1, number).round().astype(np.intp))


class ListedSubset(Subset):
    """Some images of a `ListedDataset`, which makes this one, too."""

    def __init__(self, whole: ListedDataset, indices: npt.NDArray[np.intp]) -> None:
        super().__init__(whole, indices)
        self._listed = whole

    def class_counts(self) -> npt.NDArray[np.int32]:
        """The number of segments, without crowds, of each category in each image (images, categories)."""
        return self._listed.class_counts()[self._indices]

    def picture_path(self, index: int) -> Path:
        """The file of the picture of item ``index``."""
        return self._listed.picture_path(int(self._indices[index]))


class _SelectedImages:
    """The image table of a `Subset`."""

    def __init__(self, whole: PanopticDataset, indices: npt.NDArray[np.intp]) -> None:
        self.ids = _Selected(whole.images.ids, indices)
        self.file_names, self.sizes = (_Selected(x, indices) for x in (whole.images.file_names, whole.images.sizes))


class _Selected(LazySequence[Any]):
    """Some items of a sequence."""

    def __init__(self, items: Sequence[Any], indices: npt.NDArray[np.intp]) -> None:
        self._items, self._indices = items, indices

    def __len__(self) -> int:
        return len(self._indices)

    def item(self, index: int) -> Any:
        return self._items[int(self._indices[index])]
