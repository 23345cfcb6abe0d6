"""A split of COCO with instance annotation on disk, alone or beside the panoptic annotation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from panoptic_blend.data.dataset import CocoPanoptic, picture_states, require_files, to_tensor
from panoptic_blend.data.protocol import ImageTable, Sample
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_instances import read_instances_json
from panoptic_blend.formats.coco_layout import find_instances
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.instances import TrueInstances
from panoptic_blend.structures import PanopticBlendError


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
            raise PanopticBlendError(
                f"{missing}: missing; a split `{split}` with data.things=instances needs it; check data.root, or set "
                "data.things=panoptic if there is panoptic annotation"
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
        remedy = "correct one of the files, or set data.things=panoptic"
        own, theirs = ({(c.id, c.name) for c in x if c.is_thing} for x in (self.categories, panoptic.categories))
        if own != theirs:
            category_id, name = min(own ^ theirs)
            lacking = self.name if (category_id, name) in theirs else panoptic.name
            raise PanopticBlendError(
                f"{self.name}: its categories are not the things of {panoptic.name}: {category_id} {name!r} is not in "
                f"{lacking}; {remedy}"
            )
        places = {image_id: place for place, image_id in enumerate(self._instances.ids)}
        for image_id in panoptic.images.ids:
            if image_id not in places:
                raise PanopticBlendError(f"{self.name}: lacks image {image_id} of {panoptic.name}; {remedy}")
        self._places = np.array([places[image_id] for image_id in panoptic.images.ids], dtype=np.int32)
        self.categories, self.images = panoptic.categories, panoptic.images

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
        return read_picture(locate(self._pictures, self.images.file_names[index]), self.images.sizes[index])

    def truth(self, index: int) -> TrueInstances:
        """Read only the instances of item ``index``."""
        return self._instances[int(self._places[index])]

    def instance_counts(self) -> Sequence[int]:
        """The number of instances, without crowds, of each image."""
        counts: list[int] = self._instances.instance_counts()[self._places].tolist()
        return counts
