"""Repair the faults of a panoptic JSON that have one certain correction: values that its files show, and repetition."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from panoptic_blend.doctor.evidence import Evidence
from panoptic_blend.doctor.files import MapFacts
from panoptic_blend.doctor.kinds import MAP_FORMAT
from panoptic_blend.doctor.layout import SplitPaths
from panoptic_blend.doctor.pixels import comparable_map_facts, map_facts
from panoptic_blend.doctor.records import LISTS, Contents, identifier, segment_id, size
from panoptic_blend.files import replacing
from panoptic_blend.formats.json_fields import Record, file_name, integer
from panoptic_blend.structures import PanopticBlendError


def require_outside(out: Path, root: Path, splits: Iterable[SplitPaths]) -> None:
    """Raise PanopticBlendError if ``out`` exists, is an input, or lies in a folder of inputs."""
    target = out.resolve()
    folders = [root, *(path if path.is_dir() else path.parent for paths in splits for path in paths.inputs())]
    if any(folder.resolve() in target.parents for folder in folders) or target == root.resolve():
        raise PanopticBlendError(f"{out}: lies in the data set, which is never written to; write the JSON elsewhere")
    if out.exists():
        raise PanopticBlendError(f"{out}: already exists; remove it or give another name")


def write_repaired(out: Path, content: Any) -> None:
    """Write the repaired JSON completely or not at all."""
    with replacing(out, durable=True) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def repaired(content: Any, evidence: Evidence) -> Any:
    """Return a repaired copy of a parsed JSON that has the three lists of the format.

    Removed are repetitions of equal records, images without annotation, picture or PNG, annotations without image,
    segments without pixels, and repetitions of a segment. Set are sizes that picture and PNG agree on, areas, boxes,
    and a missing ``iscrowd``. Everything else stays.
    """
    content = {**content, **{key: _without_repetitions(content[key]) for key in LISTS}}
    contents = Contents.from_json(content)
    images = [
        _with_size_of_files(image, contents, evidence)
        for image in contents.images
        if _is_complete(image, contents, evidence)
    ]
    kept = {identifier(image, "id") for image in images}
    annotations = [
        _repaired_annotation(record, comparable_map_facts(record, contents, evidence))
        for record in contents.annotations
        if identifier(record, "image_id") in kept
    ]
    return {**content, "images": images, "annotations": annotations}


def _without_repetitions(records: Sequence[Any]) -> list[Any]:
    seen: set[str] = set()
    kept = []
    for record in records:
        key = json.dumps(record, sort_keys=True)
        if key not in seen:
            kept.append(record)
            seen.add(key)
    return kept


def _is_complete(image: Record, contents: Contents, evidence: Evidence) -> bool:
    """Whether an image has an annotation, and those of its files that were inspected can be read."""
    picture, png = (evidence.pictures or {}).get(file_name(image) or ""), map_facts(image, contents, evidence)
    is_annotated = identifier(image, "id") in contents.annotation_by_image
    is_lost = any(
        facts is not None and facts.failure is not None and facts.failure.kind is not MAP_FORMAT
        for facts in (picture, png)
    )
    return is_annotated and not is_lost


def _with_size_of_files(image: Record, contents: Contents, evidence: Evidence) -> Record:
    picture, png = (evidence.pictures or {}).get(file_name(image) or ""), map_facts(image, contents, evidence)
    if picture is None or png is None or picture.failure or png.failure or not picture.fits(png.size):
        return image
    return image if size(image) == png.size else {**image, "height": png.size[0], "width": png.size[1]}


def _repaired_annotation(annotation: Record, facts: MapFacts | None) -> Record:
    infos = annotation.get("segments_info")
    if facts is None or facts.measures is None or not isinstance(infos, list):
        return annotation
    measures = {number: (area, box) for number, area, *box in facts.measures.tolist()}
    return {**annotation, "segments_info": list(_repaired_segments(infos, measures))}


def _repaired_segments(infos: list[Any], measures: dict[int, tuple[int, list[int]]]) -> Iterator[Any]:
    seen: set[tuple[Any, ...]] = set()
    for segment in infos:
        if not isinstance(segment, dict) or integer(segment, "id") is None:
            yield segment
            continue
        number = segment_id(segment)
        area, box = measures[number] if number is not None else (0, [])
        crowd = segment.get("iscrowd", 0)
        key = number, json.dumps([segment.get("category_id"), crowd])
        if area and key not in seen:
            yield {**segment, "iscrowd": crowd, "area": area, "bbox": box}
        seen.add(key)
