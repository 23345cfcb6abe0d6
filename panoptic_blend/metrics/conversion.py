"""Convert the in-memory panoptic maps of other libraries to `PanopticMap`; tensors are read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.map_arrays import Ids, read_ids, read_whole_numbers, unique_pairs
from panoptic_blend.metrics.map_records import read_segments, require_number, require_records
from panoptic_blend.metrics.overlaps import format_ids
from panoptic_blend.structures import (
    Category,
    PanopticBlendError,
    PanopticMap,
    Runs,
    Segment,
    python_number,
    whole_number,
)

PanopticLike: TypeAlias = Any
"""A panoptic map in any form that `panoptic_map` reads."""

CategoryIds: TypeAlias = Mapping[int, int] | Sequence[int] | npt.NDArray[np.integer]
"""Category ids of the data set by the numbers of a model, which count from 0 in a sequence."""

_FORMS = (
    "give a PanopticMap, (ids, records), {segmentation, segments_info} or an array (H, W, 2), or convert it with "
    "panoptic_blend.compat"
)
_MAX_ID = 2**62

LABEL_DIVISOR = 1000
"""Default of detectron2: a label is category * label_divisor + instance."""


def panoptic_pair(
    truth: PanopticLike,
    prediction: PanopticLike,
    categories: Mapping[int, Category],
    label_divisor: int = LABEL_DIVISOR,
) -> tuple[PanopticMap, PanopticMap]:
    """Convert the truth and the prediction of one image with `panoptic_map`.

    Raises the errors of `panoptic_map`, and PanopticBlendError if the two have evidently been swapped.
    """
    if _has(truth, "score") and _has(prediction, "iscrowd", "area") and not _has(prediction, "score"):
        raise PanopticBlendError(
            "truth: its segments have scores, those of the prediction have `iscrowd` or `area` instead, so the two "
            "are swapped; give update(truth=..., prediction=...); torchmetrics takes the prediction first"
        )
    return (
        panoptic_map(truth, categories, "truth", label_divisor),
        panoptic_map(prediction, categories, "prediction", label_divisor),
    )


def panoptic_map(
    value: PanopticLike, categories: Mapping[int, Category], name: str, label_divisor: int = LABEL_DIVISOR
) -> PanopticMap:
    """Convert a panoptic map from one of these forms, all with the category ids of the data set.

    * `PanopticMap`: returned unchanged.
    * ``(ids, records)``: ids (H, W) are an array or tensor of whole numbers; records are `Segment` or mappings with
      ``id`` and ``category_id``, optionally ``isthing``, which must agree with the category, and ``iscrowd`` (0 or 1).
      detectron2's ``(panoptic_seg, segments_info)`` has this form once its contiguous ids are translated
      (`from_detectron2`). 0 and -1 are void, unless a record has that id: a 0 with a record gets an unused id.
    * ``(labels, None)`` of detectron2: labels (H, W) are category * ``label_divisor`` + instance, -1 for void.
    * ``{"segmentation", "segments_info"}`` of Hugging Face, if its label ids are category ids (`from_hugging_face`).
    * (H, W, 2) of torchmetrics: category and instance of each pixel. As in torchmetrics, stuff has no instances, and an
      unknown category is void in the truth; in a prediction it is an error, unless it is negative, which is void.

    Several records with one id and one category are one segment, as in fused results of Hugging Face. Numbers may be
    scalars of numpy or torch and whole floats.

    Raises PanopticBlendError, whose message starts with ``name``, for every other and for ambiguous input.
    """
    if isinstance(value, PanopticMap):
        return _known(value, categories, name)
    if isinstance(value, Mapping):
        if "panoptic_seg" in value:  # all results of detectron2 for one image
            return panoptic_map(value["panoptic_seg"], categories, name, label_divisor)
        return from_hugging_face(value, categories, name=name)
    if isinstance(value, tuple | list) and len(value) == 2 and not _is_record(value[0]):
        ids, records = read_ids(value[0], name), value[1]
        if records is None:
            records = _label_records(ids, label_divisor, {id: id for id in categories}, name)
        return _from_records(ids, records, categories, name)
    if hasattr(value, "shape"):
        if len(value.shape) == 3 and value.shape[-1] == 2:
            return _from_pairs(read_whole_numbers(value, name), categories, name)
        raise PanopticBlendError(
            f"{name}: an array of shape {tuple(value.shape)} alone is not a panoptic map; {_FORMS}"
        )
    if isinstance(value, list | tuple) and len(value) == 1:
        raise PanopticBlendError(f"{name}: a list of one result; give the result itself, one image at a time")
    raise PanopticBlendError(f"{name}: {type(value).__name__} is not a panoptic map; {_FORMS}")


def from_detectron2(
    result: tuple[Any, Sequence[Mapping[str, Any]] | None],
    categories: Mapping[int, Category],
    thing_ids: CategoryIds,
    stuff_ids: CategoryIds,
    name: str = "prediction",
    label_divisor: int = LABEL_DIVISOR,
) -> PanopticMap:
    """Convert detectron2's ``(panoptic_seg, segments_info)`` with contiguous ids; the second may be None.

    ``thing_ids`` and ``stuff_ids`` map the contiguous ids of things and stuff to category ids of the data set. They are
    the inverse of ``thing_dataset_id_to_contiguous_id`` and ``stuff_dataset_id_to_contiguous_id`` in detectron2's
    metadata. Without records, ``panoptic_seg`` is contiguous id * ``label_divisor`` + instance, -1 for void, and things
    and stuff are numbered together, as detectron2 does for Panoptic-DeepLab.
    """
    ids, infos = read_ids(result[0], name), result[1]
    things, stuff = _mapping(thing_ids), _mapping(stuff_ids)
    if infos is None:
        both = sorted(index for index in things.keys() & stuff.keys() if things[index] != stuff[index])
        if both:
            raise PanopticBlendError(
                f"{name}: no segment records, and {both[0]} is a contiguous id of things and of stuff; give thing_ids "
                "and stuff_ids as dictionaries that number things and stuff together"
            )
        records = _label_records(ids, label_divisor, {**stuff, **things}, name)
        return _from_records(ids, records, categories, name)
    records = []
    for info in require_records(infos, name):
        is_thing, index = python_number(info.get("isthing")), whole_number(info.get("category_id"))
        if not isinstance(is_thing, bool | int):
            raise PanopticBlendError(
                f"{name}: segment {info.get('id')}: no `isthing`, which records of detectron2 have; add it"
            )
        known = things if is_thing else stuff
        if index is None or index not in known:
            kind = "thing" if is_thing else "stuff"
            raise PanopticBlendError(
                f"{name}: segment {info.get('id')}: `category_id` {info.get('category_id')!r} is not one of the "
                f"{len(known)} contiguous {kind} ids; give thing_ids and stuff_ids of the data set of the model"
            )
        records.append({**info, "category_id": known[index]})
    return _from_records(ids, records, categories, name)


def require_divisor(value: object) -> int:
    """Return ``label_divisor`` as an int; PanopticBlendError unless it is a positive whole number."""
    number = whole_number(value)
    if number is None or number < 1:
        raise PanopticBlendError(f"label_divisor is {value!r}; give a positive whole number")
    return number


def _label_records(labels: Ids, label_divisor: int, category_ids: Mapping[int, int], name: str) -> list[dict[str, Any]]:
    """One record for each label (H, W), which is number * ``label_divisor`` + instance; -1 is void."""
    label_divisor, records = require_divisor(label_divisor), []
    for label in np.unique(Runs.from_pixels(labels).values).tolist():
        if label == -1:
            continue
        number = label // label_divisor
        if number not in category_ids:
            raise PanopticBlendError(
                f"{name}: no segment records, and label {label} with label_divisor {label_divisor} is of category "
                f"{number}, which is unknown; give records, or the label_divisor of the model (void is -1)"
            )
        records.append({"id": label, "category_id": category_ids[number]})
    return records


def from_hugging_face(
    result: Mapping[str, Any],
    categories: Mapping[int, Category],
    category_ids: CategoryIds | None = None,
    name: str = "prediction",
) -> PanopticMap:
    """Convert ``{"segmentation", "segments_info"}`` of Hugging Face; ``category_ids`` maps label ids to category ids.

    The ids 0 and -1 are void unless a record has them: some models number segments from 0, others from 1.
    """
    missing = [key for key in ("segmentation", "segments_info") if result.get(key) is None]
    if missing:
        raise PanopticBlendError(f"{name}: no `{missing[0]}`; {_FORMS}")
    known = None if category_ids is None else _mapping(category_ids)
    records = []
    for info in require_records(result["segments_info"], name):
        label = require_number(info, "label_id", name)
        if known is not None and label not in known:
            raise PanopticBlendError(f"{name}: no category id is given for label {label}; add it to `category_ids`")
        records.append({"id": info.get("id"), "category_id": label if known is None else known[label]})
    return _from_records(read_ids(result["segmentation"], name), records, categories, name)


def _mapping(ids: CategoryIds) -> Mapping[int, int]:
    return ids if isinstance(ids, Mapping) else dict(enumerate(ids))


def _from_records(ids: Ids, infos: Any, categories: Mapping[int, Category], name: str) -> PanopticMap:
    segments = read_segments(infos, categories, name)
    known = {segment.id for segment in segments}
    lowest, highest = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    largest = max([highest, *map(abs, known)])
    if largest >= _MAX_ID:
        raise PanopticBlendError(f"{name}: segment ids up to {largest}; renumber them below 2**62")
    if 0 in known:
        free = largest + 1
        ids = np.where(ids == 0, free, ids.astype(np.int64))
        segments = [replace(segment, id=segment.id or free) for segment in segments]
        highest = free
    if lowest < 0 and -1 not in known:
        ids = np.where(ids == -1, 0, ids)
    # wider than int32 only where an id needs it; metrics take any integers
    width = np.int32 if -(2**31) <= lowest <= highest < 2**31 else np.int64
    return _known(PanopticMap(ids.astype(width, copy=False), segments), categories, name)


def _known(panoptic: PanopticMap, categories: Mapping[int, Category], name: str) -> PanopticMap:
    unknown = sorted({segment.category for segment in panoptic.segments} - categories.keys())
    if unknown:
        raise PanopticBlendError(f"{name}: unknown category {format_ids(unknown)}; give category ids of the data set")
    return panoptic


def _from_pairs(pairs: Ids, categories: Mapping[int, Category], name: str) -> PanopticMap:
    """Number the pairs of category and instance (H, W, 2) from 1; stuff is one segment per category."""
    found, inverse = unique_pairs(pairs[..., 0].ravel(), pairs[..., 1].ravel())
    unknown = sorted({category for category in found[:, 0].tolist() if category not in categories})
    wrong = [category for category in unknown if category >= 0]
    if wrong and name != "truth":
        raise PanopticBlendError(
            f"{name}: unknown category {format_ids(wrong)}; give category ids of the data set, or -1 for void"
        )
    numbers: dict[tuple[int, int], int] = {}
    assigned = []
    for category, instance in found.tolist():
        key = category, instance if category in categories and categories[category].is_thing else 0
        assigned.append(0 if category not in categories else numbers.setdefault(key, len(numbers) + 1))
    ids = np.array(assigned, dtype=np.int32)[inverse.reshape(pairs.shape[:2])]
    segments = [
        Segment(id, category, categories[category].is_thing, None, 0, None) for (category, _), id in numbers.items()
    ]
    return PanopticMap(ids, segments)


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping | Segment)


def _has(value: PanopticLike, *keys: str) -> bool:
    """Whether a segment of a map in any form has one of the fields ``keys`` of a record."""
    if isinstance(value, PanopticMap):
        infos: Any = value.segments
    elif isinstance(value, Mapping):
        if "panoptic_seg" in value:
            return _has(value["panoptic_seg"], *keys)
        infos = value.get("segments_info")
    else:
        infos = value[1] if isinstance(value, tuple | list) and len(value) == 2 else None
    for info in infos if isinstance(infos, tuple | list) else ():
        if isinstance(info, Segment) and (info.is_crowd if "iscrowd" in keys else info.score is not None):
            return True
        if isinstance(info, Mapping) and any(info.get(key) is not None for key in keys):
            return True
    return False
