"""Compare the records of the JSON with the pictures and PNGs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.evidence import Evidence
from panoptic_blend.doctor.files import MapFacts, PictureFacts
from panoptic_blend.doctor.kinds import Finding, Kind
from panoptic_blend.doctor.records import Contents, brief, identifier, image_label, segment_id, segments, size
from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.formats.json_fields import Record, file_name
from panoptic_blend.formats.names import composed
from panoptic_blend.listing import litter
from panoptic_blend.metrics.class_pixels import MUCH_VOID
from panoptic_blend.structures import Size

Numbers = tuple[int | float, ...]
Facts = TypeVar("Facts", PictureFacts, MapFacts)


def check_files(contents: Contents, evidence: Evidence) -> Iterator[Finding]:
    """Find pictures and PNGs that are missing, broken or extra, and pictures that have two names."""
    pictures, maps = _named(contents.images, evidence.pictures), _named(contents.annotations, evidence.maps)
    yield from (picture.failure for picture in pictures.values() if picture.failure is not None)
    yield from (png.failure for png in maps.values() if png.failure is not None)
    for name, picture in pictures.items():
        if picture.damage is not None:
            yield Finding(kinds.PICTURE_DAMAGED, f"{name}: {picture.damage}")
    yield from _extra(kinds.PICTURE_EXTRA, evidence.picture_names, contents.images, PICTURE_SUFFIXES)
    yield from _extra(kinds.MAP_EXTRA, evidence.map_names, contents.annotations, {".png"})
    first: dict[bytes, str] = {}
    for name, picture in pictures.items():
        if picture.failure is None and (same := first.setdefault(picture.digest, name)) != name:
            yield Finding(kinds.PICTURE_TWICE, f"{name}: the same file as {same}")


def _named(records: list[Record], facts: Mapping[str, Facts] | None) -> dict[str, Facts]:
    """Facts about the files that the records name; a repaired JSON names fewer files than were inspected."""
    names = {name: None for record in records if (name := file_name(record)) is not None}
    return {name: facts[name] for name in names if facts is not None and name in facts}


def _extra(kind: Kind, names: set[str], records: list[Record], suffixes: set[str]) -> Iterator[Finding]:
    """Find files that no record names; those of other programs are skipped."""
    for name in sorted(_unnamed(names, records)):
        if PurePosixPath(name).suffix.lower() in suffixes and not litter(name):
            yield Finding(kind, name)


def _unnamed(names: set[str], records: list[Record]) -> Iterator[str]:
    """The files that no record names, in whatever Unicode form."""
    known = {composed(str(record.get("file_name"))) for record in records}
    return (name for name in names if composed(name) not in known)


def left_out(contents: Contents, evidence: Evidence) -> Counter[str]:
    """Files in the folders that are no part of the data set and no problem: what they are, and their number."""
    counts = Counter[str]()
    for names, records, suffixes in (
        (evidence.picture_names, contents.images, PICTURE_SUFFIXES),
        (evidence.map_names, contents.annotations, {".png"}),
    ):
        for name in _unnamed(names, records):
            if kind := litter(name):
                counts[kind] += 1
            elif PurePosixPath(name).suffix.lower() not in suffixes:
                counts["files of other formats"] += 1
    return counts


def check_pixels(contents: Contents, evidence: Evidence) -> Iterator[Finding]:
    """Compare the sizes of images with their files, and every annotation with its PNG."""
    for image in contents.images:
        picture = _if_readable((evidence.pictures or {}).get(file_name(image) or ""))
        yield from _picture_findings(image, picture)
        yield from _size_findings(image, picture, _if_readable(map_facts(image, contents, evidence)))
    total = void = 0
    for annotation in contents.annotations:
        facts = comparable_map_facts(annotation, contents, evidence)
        if facts is not None and isinstance(annotation.get("segments_info"), list):
            yield from _map_findings(annotation, facts)
            total, void = total + facts.size[0] * facts.size[1], void + facts.num_void
    if void > MUCH_VOID * total:
        yield Finding(kinds.VOID_SHARE, f"{100 * void / total:.0f} % of the pixels")


def comparable_map_facts(annotation: Record, contents: Contents, evidence: Evidence) -> MapFacts | None:
    """Facts about the PNG of an annotation; None if it is unreadable or its size fits neither image nor picture."""
    png = _if_readable((evidence.maps or {}).get(file_name(annotation) or ""))
    owner = identifier(annotation, "image_id")
    image = contents.image_by_id.get(owner) if owner is not None else None
    if png is None or image is None or size(image) == png.size:
        return png
    picture = _if_readable((evidence.pictures or {}).get(file_name(image) or ""))
    return png if (size(image) is None if picture is None else picture.fits(png.size)) else None


def map_facts(image: Record, contents: Contents, evidence: Evidence) -> MapFacts | None:
    """Facts about the PNG of an image; None if it has no annotation or the PNG was not inspected."""
    number = identifier(image, "id")
    annotation = contents.annotation_by_image.get(number) if number is not None else None
    return (evidence.maps or {}).get(file_name(annotation) or "") if annotation is not None else None


def _if_readable(facts: Facts | None) -> Facts | None:
    return facts if facts is not None and facts.failure is None else None


def _picture_findings(image: Record, picture: PictureFacts | None) -> Iterator[Finding]:
    if picture is None or picture.stored is None:
        return
    annotated = size(image)
    if picture.stored == picture.size:
        relation = "the size does not show whether the annotation follows the tag"
    elif annotated == picture.size:
        relation = "the annotation follows the tag"
    else:
        relation = "the annotation ignores the tag"
    yield Finding(kinds.PICTURE_TURNED, f"{image_label(image)} ({image['file_name']}): {relation}")


def _size_findings(image: Record, picture: PictureFacts | None, png: MapFacts | None) -> Iterator[Finding]:
    annotated, where = size(image), image_label(image)
    if picture is not None and png is not None and picture.fits(png.size) and annotated is not None:
        if png.size != annotated:
            sizes = f"{size_text(annotated)} in the JSON, {size_text(png.size)} in its files"
            yield Finding(kinds.IMAGE_SIZE, f"{where}: {sizes}")
        return
    if annotated is None:
        annotated = picture.size if picture is not None and png is not None and not picture.fits(png.size) else None
    elif picture is not None and not picture.fits(annotated):
        sizes = f"{size_text(picture.size)}, annotated as {size_text(annotated)}"
        yield Finding(kinds.PICTURE_SIZE, f"{where} ({image['file_name']}): {sizes}")
    if png is not None and annotated is not None and png.size != annotated:
        yield Finding(kinds.MAP_SIZE, f"{where}: its PNG is {size_text(png.size)}, the image {size_text(annotated)}")


def _map_findings(annotation: Record, facts: MapFacts) -> Iterator[Finding]:
    where = f"{image_label(annotation, 'image_id')} ({annotation['file_name']})"
    if facts.is_void:
        yield Finding(kinds.MAP_VOID, where)
    for number, pixels in facts.unlisted:
        yield Finding(kinds.SEGMENT_UNLISTED, f"{where}: segment {number} of {pixels} pixels")
    for _ in range(facts.num_unlisted - len(facts.unlisted)):
        yield Finding(kinds.SEGMENT_UNLISTED, f"{where}: another segment")
    assert facts.measures is not None
    measures = {number: (area, tuple(box)) for number, area, *box in facts.measures.tolist()}
    for segment in segments(annotation):
        known = segment_id(segment)
        if known is not None:
            yield from _segment_findings(segment, *measures[known], f"{where}, segment {known}")


def _segment_findings(segment: Record, area: int, box: tuple[int, ...], where: str) -> Iterator[Finding]:
    stated_area, stated_box = _numbers([segment.get("area")], 1), _numbers(segment.get("bbox"), 4)
    if area == 0:
        yield Finding(kinds.SEGMENT_EMPTY if stated_area == (0,) else kinds.SEGMENT_ABSENT, where)
        return
    if stated_area != (area,):
        yield Finding(kinds.AREA, f"{where}: {_stated(segment, 'area')} in the JSON, {area} pixels in the PNG")
    if stated_box == box:
        return
    almost = stated_box is not None and all(abs(a - b) <= 1 for a, b in zip(stated_box, box, strict=True))
    x, y, width, height = box
    corners = stated_box == (x, y, x + width, y + height)
    text = f"{where}: {_stated(segment, 'bbox')} in the JSON, {list(box)} in the PNG"
    yield Finding(kinds.BOX_ALMOST if almost else kinds.BOX, text + (" (corners, not width, height)" * corners))


def _numbers(value: Any, length: int) -> Numbers | None:
    """A list from a JSON as a tuple if it holds exactly ``length`` numbers, otherwise None."""
    if not isinstance(value, list) or len(value) != length:
        return None
    is_number = [isinstance(item, (int, float)) and not isinstance(item, bool) for item in value]
    return tuple(value) if all(is_number) else None


def _stated(record: Record, key: str) -> str:
    return brief(record[key]) if key in record else f"no `{key}`"


def size_text(size: Size) -> str:
    """A size (height, width) as text: width x height."""
    return f"{size[1]} x {size[0]}"
