"""A split of COCO with instance annotation on disk, alone or beside the panoptic annotation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from torch.utils.data import Dataset

from panoptic_blend.data.dataset import CocoPanoptic, picture_states, require_files, to_tensor
from panoptic_blend.data.protocol import ImageTable, Sample
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_images import not_listed
from panoptic_blend.formats.coco_instances import read_instances_json
from panoptic_blend.formats.coco_layout import find_instances, has_panoptic
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.instances import TrueInstances, run_lengths
from panoptic_blend.structures import PanopticBlendError

_LOOKED_AT = 50
"""Images whose boxes are compared with their masks."""


class CocoInstances(Dataset[Sample]):
    """A split whose things are those of ``instances_<split>.json``; it implements `PanopticDataset`.

    Args:
        panoptic: the panoptic annotation of the same split, for its stuff. Its images and categories are then those of
            the data set, and the things of both files must have the same ids and names.

    Raises:
        PanopticBlendError: on construction, if a JSON is invalid, a file is missing, or the two annotations are of
            different images or categories; on access, if an image is broken or disagrees with the JSON.
    """

    def __init__(self, root: Path, split: str, panoptic: CocoPanoptic | None = None) -> None:
        path, self._pictures = find_instances(root, split), root / split
        if path is None or not self._pictures.is_dir():
            missing = self._pictures if path else root / "annotations" / f"instances_{split}.json"
            other = ", or set data.things=panoptic" if path is None and has_panoptic(root, split) else ""
            raise PanopticBlendError(
                f"{missing}: missing; a split `{split}` with data.things=instances needs it; check data.root{other}"
            )
        content = read_instances_json(path)
        content.categories.require_learnable(path.name)
        self.annotation, self.panoptic, self._instances = path, panoptic, content.images
        self.categories: Categories = content.categories
        self.images: ImageTable = content.images
        self._places = np.arange(len(content.images), dtype=np.int32)
        if panoptic is None:
            require_files({self._pictures: content.images.file_names}, content.images.ids, path.name)
        else:
            self._join(panoptic)

    def _join(self, panoptic: CocoPanoptic) -> None:
        """Take images and categories from the panoptic annotation."""
        own, known = ({(c.id, c.name) for c in x if c.is_thing} for x in (self.categories, panoptic.categories))
        if own != known:
            category_id, name = min(own ^ known)
            lacking = self.name if (category_id, name) in known else panoptic.name
            raise PanopticBlendError(
                f"{self.name}: its categories are not the things of {panoptic.name}: {category_id} {name!r} is not in "
                f"{lacking}; correct one of the files"
            )
        theirs = panoptic.images
        places = {image_id: place for place, image_id in enumerate(self._instances.ids)}
        for image_id, file_name, size in zip(theirs.ids, theirs.file_names, theirs.sizes, strict=True):
            if (place := places.get(image_id)) is None:
                raise not_listed(image_id, places, f"{self.name}: the annotation in {panoptic.name}")
            own_name, own_size = self._instances.file_names[place], self._instances.sizes[place]
            if (_last(own_name), own_size) != (_last(file_name), size):
                seen, other = (f"{n} of {h} x {w}" for n, (h, w) in ((own_name, own_size), (file_name, size)))
                raise PanopticBlendError(
                    f"{self.name}: image {image_id} is {seen} pixels (height x width), and {other} in {panoptic.name}; "
                    "correct one of the files"
                )
        self._places = np.array([places[image_id] for image_id in theirs.ids], dtype=np.int32)
        self.categories, self.images = panoptic.categories, panoptic.images

    def remarks(self) -> list[str]:
        """Lines for images that are not used, and for boxes that are not around their masks."""
        lines, number = [], len(self._instances)
        if self.panoptic and number > len(self):
            unused = f"{number - len(self)} of {number} images are not in {self.panoptic.name} and are not used"
            lines.append(f"{self.name}: {unused}")
        return [*lines, *self._doubtful_boxes()]

    def _doubtful_boxes(self) -> list[str]:
        """A line if most boxes are not around their masks, as those in another format."""
        filled = np.flatnonzero(self.instance_counts())
        indices = filled[np.linspace(0, len(filled) - 1, min(_LOOKED_AT, len(filled))).astype(np.intp)]
        fit = [_boxes_fit(self.truth(index)) for index in indices.tolist()]
        good, total = sum(map(np.count_nonzero, fit)), sum(map(len, fit))
        if 2 * good >= total:
            return []
        worst = self.images.file_names[indices[int(np.argmin([x.mean() for x in fit]))]]
        return [
            f"{self.name}: {total - good} of {total} boxes that were looked at are not around their masks, as in "
            f"{worst}; `bbox` is x, y, width, height in pixels; correct it, or remove it to have the boxes of the masks"
        ]

    @property
    def name(self) -> str:
        """The name of the instance annotation file."""
        return self.annotation.name

    def version(self) -> Iterator[bytes]:
        """The content of the annotation files, and the paths, sizes and modification times of all images and PNGs."""
        yield self.annotation.read_bytes()
        if self.panoptic is None:
            yield from picture_states(self._pictures, self.images.file_names)
        else:
            yield from self.panoptic.version()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        if self.panoptic is None:
            name, image = self.images.file_names[index], to_tensor(self.picture(index))
            return Sample(self.images.ids[index], name, image, None, self.truth(index))
        sample = self.panoptic[index]
        return Sample(sample.image_id, sample.file_name, sample.image, sample.panoptic, self.truth(index))

    def picture(self, index: int) -> Picture:
        """Read only the picture of item ``index``: (H, W, 3) uint8 RGB."""
        return read_picture(self.picture_path(index), self.images.sizes[index])

    def truth(self, index: int) -> TrueInstances:
        """Read only the instances of item ``index``."""
        return self._instances[int(self._places[index])]

    def instance_counts(self) -> Sequence[int]:
        """The number of instances, without crowds, of each image."""
        counts: list[int] = self._instances.instance_counts()[self._places].tolist()
        return counts

    def class_counts(self) -> npt.NDArray[np.int32]:
        """The number of segments, without crowds, of each category in each image (images, categories).

        Things are instances, and stuff is that of the panoptic annotation.
        """
        counts = self._instances.class_counts(self.categories.places)[self._places]
        if self.panoptic:
            is_stuff = [not category.is_thing for category in self.categories]
            counts[:, is_stuff] = self.panoptic.class_counts()[:, is_stuff]
        return counts

    def picture_path(self, index: int) -> Path:
        """The file of the picture of item ``index``."""
        return locate(self._pictures, self.images.file_names[index])


def _last(file_name: str) -> str:
    return file_name.rpartition("/")[2]


def _boxes_fit(truth: TrueInstances) -> npt.NDArray[np.bool_]:
    """Whether the boxes of instances (G,), crowds included, have an IoU of 0.5 or more with those of their masks."""
    tight = coco.toBbox(run_lengths(truth.size, truth.masks))
    fits: npt.NDArray[np.bool_] = np.diagonal(coco.iou(tight, truth.boxes, [0] * len(truth))) >= 0.5
    return fits
