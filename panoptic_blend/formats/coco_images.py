"""Read and validate the ``images`` of a COCO JSON, panoptic or instances."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.formats.json_fields import (
    Record,
    file_names,
    require_file_names,
    require_image_id,
    require_integer,
)
from panoptic_blend.structures import ImageId, PanopticBlendError, Size


@dataclass(frozen=True)
class ImageRecords:
    """The ids of the images of a file, all different, their names and their sizes (height, width)."""

    ids: Sequence[ImageId]
    file_names: Sequence[str]
    sizes: Sequence[Size]


def read_images(records: Sequence[Record], path: Path, *, pictures: bool = True) -> ImageRecords:
    """Read the ``images`` of the file ``path``.

    Args:
        pictures: require usable names of pictures; else a name may be missing, and is empty then.

    Raises:
        PanopticBlendError: there are none, an id is used twice, or a field is missing or of another kind.
    """
    if not records:
        raise PanopticBlendError(f"{path.name}: `images` is empty; a data set needs at least one image")
    sizes: dict[ImageId, Size] = {}
    texts = set[str]()
    for i, record in enumerate(records):
        image_id = require_image_id(record, "id", f"{path.name}: images[{i}]")
        where = f"{path.name}: image {image_id}"
        if str(image_id) in texts:
            raise PanopticBlendError(f"{where} is listed twice; image ids are unique")
        texts.add(str(image_id))
        size = require_integer(record, "height", where), require_integer(record, "width", where)
        if min(size) < 1:
            raise PanopticBlendError(f"{where}: `height` and `width` are {size[0]} and {size[1]}; correct them")
        sizes[image_id] = size
    wheres = [f"{path.name}: image {image_id}" for image_id in sizes]
    names = require_file_names(records, wheres) if pictures else file_names(records)
    return ImageRecords(list(sizes), names, list(sizes.values()))


def not_listed(image_id: ImageId, listed: Collection[ImageId], where: str) -> PanopticBlendError:
    """The error for an annotation, named ``where``, of an image that is not among those ``listed``."""
    twin = next((other for other in listed if str(other) == str(image_id)), None)
    remedy = "add it there" if twin is None else f"there it is {twin!r}, so write both alike"
    return PanopticBlendError(f"{where} is for image {image_id!r}, which `images` lacks; {remedy}")
