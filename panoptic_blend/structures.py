"""Data structures that the packages exchange, and the letters used in every shape comment::

    N  images in a batch          C  thing classes               D  detections of an image
    H  height, W width (pixels)   S  stuff classes               G  ground-truth instances of an image
    L  pyramid levels             K  bases                       P  positive locations of a batch
    s  stride of a level          M  side of an attention map    R  side of a pooled region

Boxes are ``x0, y0, x1, y1`` in pixels of the picture or tensor they travel with; a pixel ``(x, y)``
covers the square from ``(x, y)`` to ``(x + 1, y + 1)``. Images are RGB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, NotRequired, TypedDict, TypeGuard, TypeVar

import numpy as np
import numpy.typing as npt

from panoptic_blend.runs import Runs as Runs

if TYPE_CHECKING:
    import typing_extensions
    from torch import Tensor

    Values = typing_extensions.TypeVar("Values", default=Tensor)
else:
    Values = TypeVar("Values")

Array = npt.NDArray[Any]

Size = tuple[int, int]
"""Height, width."""

Progress = Callable[[int, int], None]
"""Called with the number of items done and the total number of items."""

ImageId = int | str
"""Identifies an image in annotation files: a number in COCO, a name in many other data sets."""

IGNORE = 255
"""Semantic class of pixels that every loss ignores."""

THING_CLASS = 0
"""Semantic class shared by all things; stuff classes start at 1."""

OVERSHOOT = 0.5
"""How far a float image may leave [0, 1]: noise and bicubic resizing do; 0..255, and subtracted means, go further."""

MAX_CATEGORY_ID = 2**31 - 1


class PanopticBlendError(Exception):
    """Unusable input; the message is one line that says where the fault is, what it is, and what to do about it."""

    exit_code = 2
    """Exit code of the command line."""


class Target(TypedDict):
    """The ground truth of one training image, in pixels of its tensor.

    ``boxes`` (G, 4) float; ``labels`` (G,) int64 in 0..C-1; ``masks`` (G, H, W) bool;
    ``semantic`` (H, W) integer: 0 thing, 1..S stuff, 255 ignored; a model without a semantic head needs none.
    `PanopticBlend` takes other number types, ``iscrowd`` (G,) and further keys too. ``masks`` may be replaced by
    ``instance_map`` (H, W) integer, 0 for no instance and g + 1 for instance g; instances that overlap are in different
    layers of an ``instance_map`` (layers, H, W). The loader does this. Both may be replaced by ``mask_targets``
    (G, R, R) bool: each instance cropped to its box at the blender's resolution. ``thing_semantic`` (H, W) integer (0
    none, label + 1, 255 ignored) is the target of the auxiliary loss; it is derived from ``masks`` or
    ``instance_map`` if absent, so it is required with ``mask_targets`` alone.
    """

    boxes: Tensor
    labels: Tensor
    semantic: NotRequired[Tensor]
    masks: NotRequired[Tensor]
    instance_map: NotRequired[Tensor]
    mask_targets: NotRequired[Tensor]
    thing_semantic: NotRequired[Tensor]


@dataclass(frozen=True)
class Detections:
    """Instances of one image: boxes (D, 4) and scores (D,) float, labels (D,) int64, masks (D, H, W) bool."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor


@dataclass(frozen=True, eq=False)
class Cutout:
    """A cropped mask: ``mask`` (h, w) bool at row ``top`` and column ``left`` of an image, False elsewhere."""

    mask: npt.NDArray[np.bool_]
    top: int
    left: int

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_]) -> Cutout:
        """Crop the mask (H, W) bool of a whole image to the tight box of its True pixels."""
        from scipy.ndimage import find_objects  # takes longer to import than all that scores need

        [window] = find_objects(mask.view(np.uint8), max_label=1)
        rows, columns = window or (slice(0, 0), slice(0, 0))
        return cls(mask[rows, columns], rows.start, columns.start)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the mask covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True)
class Segment:
    """One region of a panoptic map.

    ``category`` is a dataset category id in files, metrics, drawings and the results of `Predictor`. In the output
    of the model, which does not know the data set, it is the thing label 0..C-1 or the semantic class 1..S,
    depending on ``is_thing``. ``area`` is in pixels; ``box`` is the tight box in whole pixels, None for a segment
    without pixels; ``score`` is None for stuff and for ground truth.
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
    """A map that assigns every pixel to one segment or to void: ``segment_ids`` (H, W) int32, 0 for void."""

    segment_ids: npt.NDArray[np.int32]
    segments: list[Segment]

    @classmethod
    def from_runs(cls, ids: Runs, segments: list[Segment]) -> PanopticMap:
        """A map whose ids have the given run lengths; ``segment_ids`` is painted when it is first asked for."""
        return _EncodedMap(ids, segments)

    @classmethod
    def measured(cls, segment_ids: npt.NDArray[np.int32], segments: Sequence[Segment]) -> PanopticMap:
        """A map in which the ``area`` and ``box`` of every segment are measured from the pixels."""
        return cls(segment_ids, list(segments)).measure()

    def measure(self) -> PanopticMap:
        """The same map with the ``area`` and ``box`` of every segment measured from the pixels."""
        areas, boxes = self.runs().areas_and_boxes(len(self.segments))
        found = zip(self.segments, areas.tolist(), boxes.tolist(), strict=True)
        return self.with_segments([replace(s, area=area, box=tuple(box) if area else None) for s, area, box in found])

    def with_segments(self, segments: list[Segment]) -> PanopticMap:
        """The same pixels with other records."""
        return PanopticMap(self.segment_ids, segments)

    def id_runs(self) -> Runs:
        """Run lengths of ``segment_ids``."""
        return Runs.from_pixels(self.segment_ids)

    def runs(self) -> Runs:
        """Run lengths of `index`."""
        runs = self.id_runs()
        return replace(runs, values=positions(runs.values, [segment.id for segment in self.segments]))

    def index(self) -> npt.NDArray[np.integer]:
        """Position of each pixel's segment in ``segments`` plus 1 (H, W), 0 for void and unknown ids.

        It is uint8 for fewer than 256 segments, else int32.
        """
        runs = self.runs()
        return runs.paint(runs.values.astype(np.uint8 if len(self.segments) < 256 else np.int32))


class _EncodedMap(PanopticMap):
    """A map that stores the run lengths of its ids, for readers that need no pixels."""

    _ids: Runs

    def __init__(self, segment_ids: Runs | npt.NDArray[np.int32], segments: list[Segment]) -> None:
        """``segment_ids`` are run lengths, or pixels where `dataclasses.replace` makes a copy."""
        ids = segment_ids if isinstance(segment_ids, Runs) else Runs.from_pixels(segment_ids)
        self.__dict__.update(_ids=ids, segments=segments)

    @cached_property
    def segment_ids(self) -> npt.NDArray[np.int32]:
        return self._ids.paint(self._ids.values.astype(np.int32, copy=False))

    def with_segments(self, segments: list[Segment]) -> PanopticMap:
        return _EncodedMap(self._ids, segments)

    def id_runs(self) -> Runs:
        return self._ids


def positions(ids: npt.NDArray[np.integer], known: Sequence[int]) -> npt.NDArray[np.intp]:
    """The index of each of ``ids`` in ``known`` plus 1; 0 for ids that are not in ``known``."""
    if not len(known):
        return np.zeros(ids.shape, dtype=np.intp)
    numbers = np.asarray(known, dtype=np.int64)
    order = np.argsort(numbers)
    ascending = numbers[order]
    places = np.searchsorted(ascending, ids)
    is_known = ascending.take(places, mode="clip") == ids
    return np.where(is_known, order.take(places, mode="clip") + 1, 0)


@dataclass(frozen=True)
class Output(Generic[Values]):
    """The model's output for one image, in pixels of the output size (H, W).

    Its values are tensors, or arrays of numpy from an exported model and from `arrays`.

    ``boxes``, ``scores``, ``labels`` and ``masks`` are as in `Detections`; the masks are stored as ``cutouts``.
    ``semantic`` (H, W) int64 is 0 for thing and 1..S for stuff; all 0 without a semantic head. The masks were blended
    from ``bases`` (K, h, w), which cover the image, usually at a quarter of the network's input size, and
    ``attentions`` (D, K, M, M), which are raw scores; both are None if the instance branch has no bases,
    and ``attentions`` if it assembles them, or convolves them with kernels.
    """

    boxes: Values
    scores: Values
    labels: Values
    cutouts: list[Cutout]
    semantic: Values
    panoptic: PanopticMap
    bases: Values | None
    attentions: Values | None

    def arrays(self) -> Output[Array]:
        """The same output as arrays."""
        return Output(
            as_array(self.boxes),
            as_array(self.scores),
            as_array(self.labels),
            self.cutouts,
            as_array(self.semantic),
            self.panoptic,
            None if self.bases is None else as_array(self.bases),
            None if self.attentions is None else as_array(self.attentions),
        )

    @property
    def masks(self) -> Values:
        """Masks (D, H, W) bool in the memory of the host, assembled from ``cutouts`` at each access."""
        masks: Any = np.zeros((len(self.cutouts), *as_array(self.semantic).shape), dtype=np.bool_)
        for mask, cutout in zip(masks, self.cutouts, strict=True):
            mask[cutout.window] = cutout.mask
        if isinstance(self.boxes, np.ndarray):
            return masks
        from torch import from_numpy

        found: Any = from_numpy(masks)
        return found


@dataclass(frozen=True)
class Category:
    """One class of a data set, with the id that its files use."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int] | None = None

    @classmethod
    def parse(cls, record: object) -> Category:
        """Read a category, or one entry of the ``categories`` of a COCO panoptic JSON; an unreadable color is None."""
        if isinstance(record, Category):
            return record
        if not isinstance(record, Mapping):
            seen = f"{record!r:.80}" if isinstance(record, str | int | None) else type(record).__name__
            raise PanopticBlendError(f"categories are a list of records with id, name, isthing, not {seen}; give these")
        where = f"category {dict(record)}"
        missing = [key for key in ("id", "isthing") if key not in record]
        if missing:
            raise PanopticBlendError(f"{where}: no `{missing[0]}`, which COCO panoptic requires; add it")
        category_id, is_thing, name = record["id"], record["isthing"], record.get("name")
        number = whole_number(category_id)
        if number is None or not 0 <= number <= MAX_CATEGORY_ID:
            raise PanopticBlendError(f"{where}: `id` is not a whole number from 0 to {MAX_CATEGORY_ID}; correct it")
        if python_number(is_thing) not in (0, 1):
            raise PanopticBlendError(f"{where}: `isthing` is neither 0 nor 1; correct it")
        if not isinstance(name, str | int | None):
            raise PanopticBlendError(f"{where}: `name` is not a string; correct it")
        named = str(number if name is None else name)
        return cls(number, named, bool(is_thing), parse_color(record.get("color")))


def parse_color(value: object) -> tuple[int, int, int] | None:
    """Red, green and blue of a color that is three whole numbers from 0 to 255 or a text like ``#69db90``, else None.

    Drawings choose a color where there is none, so that an unreadable one stops nothing.
    """
    if isinstance(value, str):
        digits = re.fullmatch(r"#([0-9a-fA-F]{6})", value)
        value = list(bytes.fromhex(digits[1])) if digits else None
    items = list(value) if isinstance(value, Sequence) else []
    channels = [item for item in items if is_integer(item) and 0 <= item <= 255]
    return (channels[0], channels[1], channels[2]) if len(channels) == len(items) == 3 else None


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a JSON value is a whole number; ``true`` and ``1.0`` are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def as_array(values: Any) -> Array:
    """A tensor, on any device, or an array of numpy as an array."""
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)


def python_number(value: object) -> object:
    """The Python number of a scalar of numpy or a tensor without dimensions; any other value unchanged."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value


def whole_number(value: object) -> int | None:
    """A whole number of Python, numpy or torch as an int, such as 3, 3.0 or ``np.int64(3)``; None for other values."""
    number = python_number(value)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number if is_integer(number) else None
