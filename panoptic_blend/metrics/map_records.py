"""Read the segment records of panoptic maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from panoptic_blend.structures import Category, PanopticBlendError, Segment, python_number, whole_number

_UNMEASURED = 1
"""Placeholder for the area of a segment that must have pixels; the metric counts them."""


def read_segments(infos: Any, categories: Mapping[int, Category], name: str) -> list[Segment]:
    """Read the records of a map, `Segment` or mappings; several with one id are one segment.

    Raises PanopticBlendError for a record that is unusable, and for one id with several categories.
    """
    listed = infos if _are_segments(infos) else require_records(infos, name)
    return _merged([x if isinstance(x, Segment) else _segment(x, categories, name) for x in listed], name)


def require_records(infos: Any, name: str) -> Sequence[Mapping[str, Any]]:
    """Return ``infos`` if it is a list of mappings, else raise PanopticBlendError."""
    if not isinstance(infos, list | tuple) or not all(isinstance(info, Mapping) for info in infos):
        raise PanopticBlendError(
            f"{name}: the segment records are {type(infos).__name__}; give a list with one mapping per segment"
        )
    return infos


def _are_segments(infos: Any) -> bool:
    return isinstance(infos, list | tuple) and all(isinstance(info, Segment) for info in infos)


def _segment(info: Mapping[str, Any], categories: Mapping[int, Category], name: str) -> Segment:
    segment_id, category = (require_number(info, key, name) for key in ("id", "category_id"))
    known, is_crowd = categories.get(category), python_number(info.get("iscrowd", 0))
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


def require_number(info: Mapping[str, Any], key: str, name: str) -> int:
    """The whole number under ``key`` of a record, or PanopticBlendError."""
    value = whole_number(info.get(key))
    if value is None:
        raise PanopticBlendError(f"{name}: a segment has `{key}` {info.get(key)!r}; give a whole number")
    return value


def _merged(segments: list[Segment], name: str) -> list[Segment]:
    """Merge segments that are listed several times, which have one id, one category and one ``is_crowd``."""
    merged: dict[int, Segment] = {}
    for segment in segments:
        first = merged.setdefault(segment.id, segment)
        if (first.category, first.is_crowd) != (segment.category, segment.is_crowd):
            differing = "category" if first.category != segment.category else "is_crowd"
            raise PanopticBlendError(
                f"{name}: segment id {segment.id} is listed with {differing} {getattr(first, differing)} and with "
                f"{getattr(segment, differing)}; give each segment an id of its own"
            )
    return list(merged.values())
