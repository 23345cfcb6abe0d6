"""Read the annotations of COCO instances: categories, crowds and shapes, those that are malformed included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from panoptic_blend.convert.coco_masks import contradicts, cutout_of, exceeds
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import upright_size
from panoptic_blend.convert.painting import LabeledRegion
from panoptic_blend.convert.records import CUT_OFF
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_shapes import MalformedShapeError, Polygons, RunLengths, Shape, read_shape
from panoptic_blend.formats.json_fields import require_integer
from panoptic_blend.structures import Category, PanopticBlendError, Size

DrawnOn = Literal["stored", "upright"]
"""The picture on which shapes were drawn, if it has an orientation tag: as it is stored, or turned by the tag."""


@dataclass(frozen=True)
class Rules:
    """How annotations that can be read in two ways are read.

    ``crowds_as_instances`` makes one instance of every crowd. ``skip_malformed`` leaves out shapes that are no masks.
    ``drawn_on`` is for pictures with an orientation tag whose annotated size is that of the stored picture.
    """

    crowds_as_instances: bool = False
    skip_malformed: bool = False
    drawn_on: DrawnOn = "stored"


DEFAULT_RULES = Rules()


@dataclass(frozen=True, eq=False)
class Instance:
    """An annotation that was read: its record, category and shape, and the words that name it in messages."""

    where: str
    record: Mapping[str, Any]
    category: Category
    shape: Shape
    is_crowd: bool


OTHER_SIZE = "an RLE of another size than its picture"


class Malformed:
    """The annotations of a JSON whose shape is malformed; the JSON is of the pictures in the folder ``pictures``."""

    def __init__(self, source: str, pictures: Path) -> None:
        self._source, self._pictures, self._notes, self._first = source, pictures, Notes(), ""
        self._first_picture, self._first_size = pictures, (0, 0)

    def add(self, error: MalformedShapeError, where: str, name: str, size: Size) -> None:
        """Note an annotation of the picture ``name``, to which the JSON gives the ``size``."""
        if not self._first:
            self._first, self._first_picture = f"{where} has {error.detail}", self._pictures / name
            self._first_size = size
        self._notes.add(f"annotations were left out, as each has {error.kind}", where)

    def settle(self, is_skipped: bool, notes: Notes) -> None:
        """Add the malformed shapes to ``notes`` if they are to be skipped, or raise an error about them.

        A picture of another size than that in the JSON is told instead, as its shapes may be right.
        """
        total = self._notes.total()
        if total and not is_skipped:
            upright_size(self._first_picture, self._first_size)
            others = f", and {total - 1} more have no valid mask either" if total > 1 else ""
            raise PanopticBlendError(
                f"{self._source}: {self._first}{others}; "
                "correct the file, or leave annotations without a mask out with --skip-malformed"
            )
        notes.update(self._notes)


def read_instances(
    annotations: Sequence[Mapping[str, Any]],
    name: str,
    size: Size,
    categories: Categories,
    source: str,
    rules: Rules,
    malformed: Malformed,
) -> Iterator[Instance]:
    """Read the annotations of a picture; those with a malformed shape are only noted in ``malformed``."""
    sizes = {size} if rules.drawn_on == "stored" else {size, size[::-1]}  # the orientation tag is read later
    for i, annotation in enumerate(annotations):
        short = f"annotation {annotation.get('id', i)} of {name}"
        where = f"{source}: {short}"
        category_id = require_integer(annotation, "category_id", where)
        if category_id not in categories.by_id:
            raise PanopticBlendError(f"{where}: category {category_id}, which `categories` lacks; add it there")
        crowd = annotation.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise PanopticBlendError(f"{where}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
        try:
            shape = read_shape(annotation, size)
            if isinstance(shape, RunLengths) and shape.size not in sizes:
                raise MalformedShapeError(OTHER_SIZE, _sizes(shape, size))
        except MalformedShapeError as error:
            malformed.add(error, short, name, size)
            continue
        yield Instance(short, annotation, categories.by_id[category_id], shape, bool(crowd))


def _sizes(shape: RunLengths, size: Size) -> str:
    return f"an RLE of [height, width] {list(shape.size)} in a picture of {list(size)}"


def region_of(instance: Instance, size: Size, rules: Rules, notes: Notes) -> LabeledRegion:
    """The region of an instance in a picture of ``size`` (height, width); what looks wrong is added to ``notes``."""
    shape, where = instance.shape, instance.where
    if isinstance(shape, RunLengths) and shape.size != size:
        raise PanopticBlendError(f"{where} has {_sizes(shape, size)}; correct the RLE")
    cutout = cutout_of(shape, size)
    if isinstance(shape, Polygons) and shape.num_short:
        notes.add("polygons of fewer than three points were left out", where, shape.num_short)
    if exceeds(shape, size):
        fits = "" if exceeds(shape, size[::-1]) else ", but fit a picture of swapped height and width"
        notes.add(f"{CUT_OFF}{fits}", where)
    elif contradicts(cutout, instance.record):
        notes.add("masks differ grossly from the `bbox` or `area` of their annotation; look at some", where)
    is_crowd = instance.is_crowd and not rules.crowds_as_instances
    return LabeledRegion(instance.category, cutout, is_crowd)
