"""Convert the in-memory panoptic maps of other libraries to `PanopticMap`; tensors are read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.overlaps import format_ids
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment, is_integer

PanopticLike: TypeAlias = Any
"""A panoptic map in any form that `panoptic_map` reads."""

_FORMS = "give a PanopticMap, (ids, records), {segmentation, segments_info} or an array (H, W, 2)"
_UNMEASURED = 1
"""Placeholder for the area of a segment that must have pixels; the metric counts them."""

_Ids = npt.NDArray[np.integer]


def panoptic_map(value: PanopticLike, categories: Mapping[int, Category], name: str) -> PanopticMap:
    """Convert a panoptic map from one of these forms, all with the category ids of the data set.

    * `PanopticMap`: returned unchanged.
    * ``(ids, records)``: ids (H, W) are an integer array or tensor, 0 for void; records are `Segment` or mappings with
      ``id`` and ``category_id``, optionally ``isthing``, which must agree with the category, and ``iscrowd`` (0 or 1).
      detectron2's ``(panoptic_seg, segments_info)`` has this form once its contiguous ids are translated
      (`from_detectron2`).
    * ``{"segmentation", "segments_info"}`` of Hugging Face, if its label ids are category ids (`from_hugging_face`).
    * (H, W, 2) of torchmetrics: category and instance of each pixel. As in torchmetrics, stuff has no instances, and an
      unknown category is void in the truth; in a prediction it is an error, unless it is negative, which is void.

    Raises PanopticBlendError, whose message starts with ``name``, for every other and for ambiguous input.
    """
    if isinstance(value, PanopticMap):
        return _known(value, categories, name)
    if isinstance(value, Mapping):
        return from_hugging_face(value, categories, name=name)
    if isinstance(value, tuple | list) and len(value) == 2 and not _is_record(value[0]):
        return _from_records(_ids(value[0], name), value[1], categories, name)
    if hasattr(value, "shape"):
        if len(value.shape) == 3 and value.shape[-1] == 2:
            return _from_pairs(_array(value, name), categories, name)
        raise PanopticBlendError(
            f"{name}: an array of shape {tuple(value.shape)} alone is not a panoptic map; {_FORMS}"
        )
    raise PanopticBlendError(f"{name}: {type(value).__name__} is not a panoptic map; {_FORMS}")


def from_detectron2(
    result: tuple[Any, Sequence[Mapping[str, Any]] | None],
    categories: Mapping[int, Category],
    thing_ids: Sequence[int],
    stuff_ids: Sequence[int],
    name: str = "prediction",
) -> PanopticMap:
    """Convert detectron2's ``(panoptic_seg, segments_info)`` with contiguous ids.

    ``thing_ids`` and ``stuff_ids`` map the contiguous ids of things and stuff to category ids of the data set. They are
    the inverse of ``thing_dataset_id_to_contiguous_id`` and ``stuff_dataset_id_to_contiguous_id`` in detectron2's
    metadata.
    """
    ids, infos = result
    records = []
    for info in _records(infos, name):
        if not isinstance(info.get("isthing"), bool | int):
            raise PanopticBlendError(
                f"{name}: segment {info.get('id')}: no `isthing`, which records of detectron2 have; add it"
            )
        known, index = thing_ids if info["isthing"] else stuff_ids, info.get("category_id")
        if not is_integer(index) or not 0 <= index < len(known):
            kind = "thing" if info["isthing"] else "stuff"
            raise PanopticBlendError(
                f"{name}: segment {info.get('id')}: `category_id` {index!r} is not a contiguous {kind} id below "
                f"{len(known)}; give thing_ids and stuff_ids of the data set of the model"
            )
        records.append({**info, "category_id": known[index]})
    return _from_records(_ids(ids, name), records, categories, name)


def from_hugging_face(
    result: Mapping[str, Any],
    categories: Mapping[int, Category],
    category_ids: Mapping[int, int] | Sequence[int] | None = None,
    name: str = "prediction",
) -> PanopticMap:
    """Convert ``{"segmentation", "segments_info"}`` of Hugging Face; ``category_ids`` maps label ids to category ids.

    The id -1 is void, and so is 0 unless a record has the id 0: some models number segments from 0, others from 1.
    """
    missing = [key for key in ("segmentation", "segments_info") if result.get(key) is None]
    if missing:
        raise PanopticBlendError(f"{name}: no `{missing[0]}`; {_FORMS}")
    ids = _ids(result["segmentation"], name).astype(np.int64)
    known = category_ids if isinstance(category_ids, Mapping) else dict(enumerate(category_ids or ()))
    records = []
    for info in _records(result["segments_info"], name):
        label = _number(info, "label_id", name)
        if category_ids is not None and label not in known:
            raise PanopticBlendError(f"{name}: no category id is given for label {label}; add it to `category_ids`")
        category = label if category_ids is None else known[label]
        records.append({"id": _number(info, "id", name), "category_id": category})
    if any(record["id"] == 0 for record in records):  # shift all ids by 1, so that 0 is free for void
        ids, records = ids + 1, [{**record, "id": record["id"] + 1} for record in records]
    else:
        ids[ids == -1] = 0
    return _from_records(ids, records, categories, name)


def _from_records(ids: _Ids, infos: Any, categories: Mapping[int, Category], name: str) -> PanopticMap:
    segments = []
    for info in infos if _are_segments(infos) else _records(infos, name):
        segments.append(info if isinstance(info, Segment) else _segment(info, categories, name))
    if ids.size and not -(2**31) <= ids.min() <= ids.max() < 2**31:
        raise PanopticBlendError(f"{name}: segment ids up to {ids.max()}; renumber them below 2**31")
    return _known(PanopticMap(ids.astype(np.int32, copy=False), segments), categories, name)


def _known(panoptic: PanopticMap, categories: Mapping[int, Category], name: str) -> PanopticMap:
    unknown = sorted({segment.category for segment in panoptic.segments} - categories.keys())
    if unknown:
        raise PanopticBlendError(f"{name}: unknown category {format_ids(unknown)}; give category ids of the data set")
    return panoptic


def _segment(info: Mapping[str, Any], categories: Mapping[int, Category], name: str) -> Segment:
    segment_id, category = (_number(info, key, name) for key in ("id", "category_id"))
    known, is_crowd = categories.get(category), info.get("iscrowd", 0)
    if known is None:
        raise PanopticBlendError(
            f"{name}: unknown category {category} of segment {segment_id}; give category ids of the data "
            "set, so translate contiguous ids first"
        )
    if "isthing" in info and bool(info["isthing"]) != known.is_thing:
        raise PanopticBlendError(
            f"{name}: segment {segment_id} is {'a thing' if info['isthing'] else 'stuff'}, but its category {category} "
            f"(`{known.name}`) is not; translate contiguous ids with from_detectron2"
        )
    if is_crowd not in (0, 1):
        raise PanopticBlendError(f"{name}: segment {segment_id}: `iscrowd` is {is_crowd!r}, not 0 or 1; correct it")
    return Segment(segment_id, category, known.is_thing, None, _UNMEASURED, None, bool(is_crowd))


def _number(info: Mapping[str, Any], key: str, name: str) -> int:
    value = info.get(key)
    if not is_integer(value):
        raise PanopticBlendError(f"{name}: a segment has `{key}` {value!r}; give a whole number")
    return value


def _from_pairs(pairs: _Ids, categories: Mapping[int, Category], name: str) -> PanopticMap:
    """Number the pairs of category and instance (H, W, 2) from 1; stuff is one segment per category."""
    found, inverse = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True)
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


def _ids(value: Any, name: str) -> _Ids:
    ids = _array(value, name)
    if ids.ndim != 2:
        raise PanopticBlendError(f"{name}: ids have shape {ids.shape}, not (height, width); give the map of one image")
    return ids


def _array(value: Any, name: str) -> _Ids:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "iu":
        raise PanopticBlendError(f"{name}: a map of {array.dtype}; give an integer array")
    return array


def _records(infos: Any, name: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(infos, list | tuple) or not all(isinstance(info, Mapping) for info in infos):
        raise PanopticBlendError(
            f"{name}: the segment records are {type(infos).__name__}; give a list with one mapping per segment"
        )
    return infos


def _are_segments(infos: Any) -> bool:
    return isinstance(infos, list | tuple) and all(isinstance(info, Segment) for info in infos)


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping | Segment)
