"""What of a panoptic JSON can be mended without guessing: what its PNGs and pictures say, and what is there twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from panoptic_blend.doctor.evidence import Evidence
from panoptic_blend.doctor.files import MapFacts
from panoptic_blend.doctor.kinds import MAP_FORMAT
from panoptic_blend.doctor.layout import Parts
from panoptic_blend.doctor.pixels import map_of, measured
from panoptic_blend.doctor.records import LISTS, Contents, Record, file_name, integer, segment_id, size
from panoptic_blend.files import replacing
from panoptic_blend.structures import PanopticBlendError


def require_outside(out: Path, root: Path, splits: Iterable[Parts]) -> None:
    """Raise unless ``out`` is neither an input nor in a folder of inputs."""
    place = out.resolve()
    folders = [root, *(path if path.is_dir() else path.parent for parts in splits for path in parts.inputs())]
    if any(folder.resolve() in place.parents for folder in folders) or place == root.resolve():
        raise PanopticBlendError(f"{out}: lies in the data set, which is never written to; write the JSON elsewhere")
    if out.exists():
        raise PanopticBlendError(f"{out}: is there already; remove it or give another name")


def write_repaired(out: Path, content: Any) -> None:
    """Write a JSON whole or not at all."""
    with replacing(out, durable=True) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def mended(content: Any, evidence: Evidence) -> Any:
    """A corrected copy of a parsed JSON that has the lists of the format; the original is left as it is.

    Equal records become one; images without annotation, picture or PNG go, annotations without image too;
    sizes that picture and PNG agree on, areas, boxes and a missing `iscrowd` are set; segments without pixels and
    segments listed twice go. Everything else stays as it is.
    """
    content = {**content, **{key: _once(content[key]) for key in LISTS}}
    contents = Contents.from_json(content)
    images = [_sized(image, contents, evidence) for image in contents.images if _complete(image, contents, evidence)]
    kept = {integer(image, "id") for image in images}
    annotations = [
        _annotation(record, measured(record, contents, evidence))
        for record in contents.annotations
        if integer(record, "image_id") in kept
    ]
    return {**content, "images": images, "annotations": annotations}


def _once(records: Sequence[Any]) -> list[Any]:
    """Without repetitions of an equal record."""
    seen: set[str] = set()
    kept = []
    for record in records:
        key = json.dumps(record, sort_keys=True)
        if key not in seen:
            kept.append(record)
            seen.add(key)
    return kept


def _complete(image: Record, contents: Contents, evidence: Evidence) -> bool:
    """Whether an image has an annotation, and files that can be read as far as they were looked for."""
    picture, png = (evidence.pictures or {}).get(file_name(image) or ""), map_of(image, contents, evidence)
    is_annotated = integer(image, "id") in contents.annotation_by_image
    is_lost = any(
        facts is not None and facts.failure is not None and facts.failure.kind is not MAP_FORMAT
        for facts in (picture, png)
    )
    return is_annotated and not is_lost


def _sized(image: Record, contents: Contents, evidence: Evidence) -> Record:
    picture, png = (evidence.pictures or {}).get(file_name(image) or ""), map_of(image, contents, evidence)
    if picture is None or png is None or picture.failure or png.failure or not picture.fits(png.size):
        return image
    return image if size(image) == png.size else {**image, "height": png.size[0], "width": png.size[1]}


def _annotation(annotation: Record, facts: MapFacts | None) -> Record:
    infos = annotation.get("segments_info")
    if facts is None or facts.measures is None or not isinstance(infos, list):
        return annotation
    measures = {number: (area, box) for number, area, *box in facts.measures.tolist()}
    return {**annotation, "segments_info": list(_segments(infos, measures))}


def _segments(infos: list[Any], measures: dict[int, tuple[int, list[int]]]) -> Iterator[Any]:
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
