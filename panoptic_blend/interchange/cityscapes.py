"""Cityscapes' files: the JSON and PNGs of ``createPanopticImgs``, maps of label ids, and pictures by city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar

import numpy as np

from panoptic_blend.convert.cityscapes import PICTURE, PICTURES
from panoptic_blend.convert.cityscapes_labels import IDS_PER_CLASS, LABELS
from panoptic_blend.files import inside
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_values
from panoptic_blend.formats.names import photo_name
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.label_writer import MASK, Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture
from panoptic_blend.structures import PanopticBlendError

_LARGEST_LABEL, _LARGEST_THING = 2**8 - 1, (2**16 - IDS_PER_CLASS) // IDS_PER_CLASS
"""The largest label that ``labelIds`` hold in 8 bits, and that of a thing whose instances fit 16 bits."""


class Cityscapes(LabelWriter):
    """Image ids are the names of the pictures, without suffix; those of a subfolder, or of the split, are one city.

    ``labelIds`` and ``instanceIds`` have the label ids of Cityscapes if the classes have its names, otherwise the
    category ids; they are left out where these are too large.
    """

    has_polygons: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        path = context.folder / "gtFine" / f"cityscapes_panoptic_{context.split}.json"
        self._writer = PanopticWriter(path, categories=context.categories)
        self._labels = _label_ids(context.categories)

    def place(self, name: str) -> str:
        place, suffix = self._place(name), PurePosixPath(name).suffix
        return f"{PICTURES}/{place}{PICTURE}{suffix}"

    def add(self, picture: LabeledPicture) -> None:
        self.drawn[MASK] += len(picture.regions)
        identity = self.claimed(_identity(picture.name), picture.name)
        image, annotation = self._writer.save(
            identity, f"{identity}_gtFine{PICTURE}.png", picture.panoptic, f"{identity}_gtFine_panoptic.png"
        )
        self._writer.append([image], [annotation])
        if self._labels:
            self._write_ids(picture, self._labels)

    def finish(self) -> None:
        with self._writer:
            pass

    def way_back(self) -> Sequence[str]:
        split = self.context.split
        return ["cityscapes", f"DIR/gtFine/cityscapes_panoptic_{split}.json", "--pictures", f"DIR/{PICTURES}/{split}"]

    def remarks(self) -> Sequence[str]:
        if self._labels:
            return ()
        return [
            "no labelIds and instanceIds were written: they hold ids of stuff from 1 to "
            f"{_LARGEST_LABEL}, and of things from 1 to {_LARGEST_THING}"
        ]

    def _place(self, name: str) -> str:
        city = "_".join(_in_city(name).parts[:-1]) or self.context.split
        return f"{self.context.split}/{city}/{_identity(name)}"

    def _write_ids(self, picture: LabeledPicture, labels: Mapping[int, int]) -> None:
        classes, ids = np.zeros(picture.size, np.uint8), np.zeros(picture.size, np.uint16)
        counts = Counter[int]()
        for region in picture.regions:
            category, window, mask = region.category, region.cutout.window, region.cutout.mask
            label = value = labels[category.id]
            if category.is_thing and not region.segment.is_crowd:
                value = label * IDS_PER_CLASS + counts[label]
                counts[label] += 1
                if counts[label] > IDS_PER_CLASS:
                    raise PanopticBlendError(
                        f"{picture.name}: has more than {IDS_PER_CLASS} instances of {category.name}, the most that "
                        "Cityscapes can number; remove some"
                    )
            classes[window][mask], ids[window][mask] = label, value
        for kind, values in (("labelIds", classes), ("instanceIds", ids)):
            write_values(inside(self.context.folder, f"gtFine/{self._place(picture.name)}_gtFine_{kind}.png"), values)


def _identity(name: str) -> str:
    """The name of a picture in all files; it begins with the city, as the names of Cityscapes do already."""
    path = _in_city(name)
    city, stem = "_".join(path.parts[:-1]), path.stem.removesuffix(PICTURE)
    return f"{city}_{stem}" if city and not stem.startswith(f"{city}_") else stem


def _in_city(name: str) -> PurePosixPath:
    """The path of a picture; one that is named as in Cityscapes' own JSON is in the folder of its city."""
    photo = photo_name(name)
    return PurePosixPath(name) if photo == name else PurePosixPath(photo.partition("_")[0], photo)


def _label_ids(categories: Categories) -> Mapping[int, int] | None:
    """The label id of each category, 0 being void; None if one does not fit the maps."""
    is_theirs = all(category.name in LABELS for category in categories)
    labels = {category.id: LABELS[category.name] if is_theirs else category.id for category in categories}
    fits = all(0 < labels[c.id] <= (_LARGEST_THING if c.is_thing else _LARGEST_LABEL) for c in categories)
    return labels if fits else None
