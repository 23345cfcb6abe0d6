"""What travels between the rooms of the library, and the letters every shape comment uses::

    N  images in a batch          C  thing classes               D  detections of an image
    H  height, W width (pixels)   S  stuff classes               G  ground-truth instances of an image
    L  pyramid levels             K  bases                       P  positive locations of a batch
    s  stride of a level          M  side of an attention map    R  side of a pooled region

Boxes are ``x0, y0, x1, y1`` in pixels of the picture or tensor they travel with; a pixel ``(x, y)``
covers the square from ``(x, y)`` to ``(x + 1, y + 1)``. Images are RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

if TYPE_CHECKING:
    from torch import Tensor

Number = TypeVar("Number", bound=np.number[Any])

Size = tuple[int, int]
"""Height, width."""

Progress = Callable[[int, int], None]
"""Called with how many items are done, and how many there are."""

IGNORE = 255
"""Semantic class of pixels that no loss counts."""

THING_CLASS = 0
"""Semantic class shared by all things; stuff classes follow from 1."""

MAX_CATEGORY_ID = 2**31 - 1


class PanopticBlendError(Exception):
    """Something from outside is unusable; the message is one line: what, where, and what to do."""

    exit_code = 2
    """With which the command line ends."""


class Target(TypedDict):
    """The truth about one training image, in the frame of its tensor.

    ``boxes`` (G, 4) float; ``labels`` (G,) int64 in 0..C-1; ``masks`` (G, H, W) bool;
    ``semantic`` (H, W) integer: 0 thing, 1..S stuff, 255 ignored. Instead of ``masks`` there may be
    ``instance_map`` (H, W) integer, 0 none, g + 1 where instance g is, if no two overlap: so the loader has it.
    ``mask_targets`` (G, R, R) bool may stand instead of both: each instance cut out of its box at the blender's
    resolution. ``thing_semantic`` (H, W) integer (0 none, label + 1, 255 ignored) feeds the auxiliary loss and
    is derived from the masks where it is absent, so one of them must be there.
    """

    boxes: Tensor
    labels: Tensor
    semantic: Tensor
    masks: NotRequired[Tensor]
    instance_map: NotRequired[Tensor]
    mask_targets: NotRequired[Tensor]
    thing_semantic: NotRequired[Tensor]


def instance_masks(target: Target) -> Tensor:
    """The masks (G, H, W) bool of a target, from its ``instance_map`` if that stands instead of them."""
    if "masks" in target:
        return target["masks"]
    instances = target["instance_map"]
    numbers = instances.new_tensor(range(1, len(target["labels"]) + 1))
    return instances == numbers[:, None, None]


@dataclass(frozen=True)
class Detections:
    """Instances of one image: boxes (D, 4) and scores (D,) float, labels (D,) int64, masks (D, H, W) bool."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor


@dataclass(frozen=True, eq=False)
class Cutout:
    """A mask (h, w) bool whose upper left pixel is at ``top`` and ``left`` of an image, and False beyond."""

    mask: npt.NDArray[np.bool_]
    top: int
    left: int

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_]) -> Cutout:
        """The part of a whole image's mask (H, W) in which it is True."""
        [window] = find_objects(mask.view(np.uint8), max_label=1)
        rows, columns = window or (slice(0, 0), slice(0, 0))
        return cls(mask[rows, columns], rows.start, columns.start)

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the mask lies in its image."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True)
class Segment:
    """One region of a panoptic map.

    ``category`` is a dataset category id wherever a map has left the model (files, `Predictor`,
    metrics, drawings); the model itself, which knows no data set, puts the thing label 0..C-1 or the
    semantic class 1..S there, told apart by ``is_thing``. ``area`` is in pixels; ``box`` is the tight
    box in whole pixels, None for a segment without pixels; ``score`` is None for stuff and for truth.
    """

    id: int
    category: int
    is_thing: bool
    score: float | None
    area: int
    box: tuple[int, int, int, int] | None
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class PanopticMap:
    """Every pixel belongs to one segment or to none: ``segment_ids`` (H, W) int32, 0 where void."""

    segment_ids: npt.NDArray[np.int32]
    segments: list[Segment]

    @classmethod
    def measured(cls, segment_ids: npt.NDArray[np.int32], segments: Sequence[Segment]) -> PanopticMap:
        """The map with every segment's ``area`` and ``box`` taken from the pixels, whatever the records say."""
        areas, boxes = cls(segment_ids, list(segments)).runs().areas_and_boxes(len(segments))
        found = zip(segments, areas.tolist(), boxes.tolist(), strict=True)
        return cls(segment_ids, [replace(s, area=area, box=tuple(box) if area else None) for s, area, box in found])

    def runs(self) -> Runs:
        """The map as runs of the position of their segment in ``segments`` plus 1; 0 for void and unknown ids."""
        runs = Runs.from_pixels(self.segment_ids)
        return replace(runs, values=positions(runs.values, [segment.id for segment in self.segments]))

    def index(self) -> npt.NDArray[np.integer]:
        """Every pixel's value of `runs` (H, W): uint8 where that holds them, else int32."""
        runs = self.runs()
        return runs.paint(runs.values.astype(np.uint8 if len(self.segments) < 256 else np.int32))


@dataclass(frozen=True, eq=False)
class Runs:
    """A map (H, W) as runs of equal pixels, row by row; there are far fewer of them than pixels.

    ``values`` (n,) of the runs, ``starts`` (n,) where they begin in the flattened map; none goes beyond its row.
    """

    values: npt.NDArray[np.integer]
    starts: npt.NDArray[np.int32]
    shape: tuple[int, int]

    @classmethod
    def from_pixels(cls, pixels: npt.NDArray[np.integer]) -> Runs:
        """The runs of a map (H, W)."""
        height, width = pixels.shape
        flat = pixels.ravel()
        is_start = np.ones(flat.size, dtype=np.bool_)
        np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
        is_start[:: width or 1] = True
        starts = np.flatnonzero(is_start).astype(np.int32)
        return cls(flat[starts], starts, (height, width))

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """(n,) in pixels."""
        return np.diff(self.starts, append=np.int32(self.shape[0] * self.shape[1]))

    def paint(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """The map (H, W) in which the runs have ``values`` (n,)."""
        return np.repeat(values, self.lengths).reshape(self.shape)

    def areas_and_boxes(self, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Areas (count,) and tight boxes (count, 4) of the values 1 to ``count``, where no value is larger.

        The box of a value without pixels means nothing.
        """
        lengths = self.lengths.astype(np.intp)
        areas = np.bincount(self.values, lengths, minlength=count + 1).astype(np.intp)
        top, left = np.divmod(self.starts.astype(np.intp), self.shape[1] or 1)
        boxes = np.tile([self.shape[1], self.shape[0], 0, 0], (count + 1, 1))
        np.minimum.at(boxes[:, 0], self.values, left)
        np.minimum.at(boxes[:, 1], self.values, top)
        np.maximum.at(boxes[:, 2], self.values, left + lengths)
        np.maximum.at(boxes[:, 3], self.values, top + 1)
        return areas[1:], boxes[1:]


def positions(ids: npt.NDArray[np.integer], known: Sequence[int]) -> npt.NDArray[np.intp]:
    """Where each of ``ids`` stands in ``known``, plus 1; 0 for those that do not."""
    order = np.argsort(np.asarray(known, dtype=np.int64))
    ascending = np.array([*np.asarray(known, dtype=np.int64)[order], np.iinfo(np.int64).max])
    places = np.searchsorted(ascending, ids)
    return np.where(ascending[places] == ids, np.append(order, -1)[places] + 1, 0)


@dataclass(frozen=True)
class Output:
    """All the model says about one image, in pixels of the output size (H, W).

    ``boxes``, ``scores``, ``labels`` and ``masks`` as in `Detections`; the masks are kept as ``cutouts``.
    ``semantic`` (H, W) int64: 0 thing, 1..S stuff; all 0 without a semantic head. ``bases`` (K, h, w) cover
    the image, usually at a quarter of the network's input, ``attentions`` (D, K, M, M) are raw scores: what
    the masks were blended from, None where they were not.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    cutouts: list[Cutout]
    semantic: Tensor
    panoptic: PanopticMap
    bases: Tensor | None
    attentions: Tensor | None

    @property
    def masks(self) -> Tensor:
        """(D, H, W) bool, put together anew each time."""
        masks = self.boxes.new_zeros((len(self.cutouts), *self.semantic.shape)).bool()
        for mask, cutout in zip(masks, self.cutouts, strict=True):
            mask[cutout.window] = mask.new_tensor(cutout.mask)
        return masks


@dataclass(frozen=True)
class Category:
    """One class of a data set, under the id its files use."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int] | None = None

    @classmethod
    def parse(cls, record: Category | Mapping[str, object]) -> Category:
        """Read a category, or one entry of the ``categories`` of a COCO panoptic JSON."""
        if isinstance(record, Category):
            return record
        where = f"category {dict(record)}"
        missing = [key for key in ("id", "isthing") if key not in record]
        if missing:
            raise PanopticBlendError(f"{where}: no `{missing[0]}`; COCO panoptic categories carry it")
        category_id, is_thing, name = record["id"], record["isthing"], record.get("name", str(record["id"]))
        if not is_integer(category_id) or not 0 <= category_id <= MAX_CATEGORY_ID:
            raise PanopticBlendError(f"{where}: `id` is no whole number from 0 to {MAX_CATEGORY_ID}; correct it")
        if is_thing not in (0, 1):
            raise PanopticBlendError(f"{where}: `isthing` is neither 0 nor 1; correct it")
        if not isinstance(name, str):
            raise PanopticBlendError(f"{where}: `name` is no text; correct it")
        return cls(category_id, name, bool(is_thing), _color(record.get("color"), where))


def _color(value: object, where: str) -> tuple[int, int, int] | None:
    if value is None:
        return None
    items = list(value) if isinstance(value, Sequence) else []
    channels = [item for item in items if is_integer(item) and 0 <= item <= 255]
    if not len(channels) == len(items) == 3:
        raise PanopticBlendError(f"{where}: `color` is not three whole numbers from 0 to 255; correct it")
    return channels[0], channels[1], channels[2]


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value from a JSON is a whole number; ``true`` and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)
