"""What the JSON says against what the files hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.evidence import Evidence
from panoptic_blend.doctor.files import MapFacts, PictureFacts
from panoptic_blend.doctor.kinds import Finding, Kind
from panoptic_blend.doctor.records import (
    Contents,
    Record,
    brief,
    file_name,
    integer,
    place,
    segment_id,
    segments,
    size,
)
from panoptic_blend.structures import Size

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
Numbers = tuple[int | float, ...]
Facts = TypeVar("Facts", PictureFacts, MapFacts)


def check_files(contents: Contents, evidence: Evidence) -> Iterator[Finding]:
    """Pictures and PNGs that are missing, broken or extra, and pictures that are there under two names."""
    pictures, maps = _named(contents.images, evidence.pictures), _named(contents.annotations, evidence.maps)
    yield from (facts.failure for facts in pictures.values() if facts.failure is not None)
    yield from (facts.failure for facts in maps.values() if facts.failure is not None)
    yield from _extra(kinds.PICTURE_EXTRA, evidence.picture_names, contents.images, PICTURE_SUFFIXES)
    yield from _extra(kinds.MAP_EXTRA, evidence.map_names, contents.annotations, {".png"})
    first: dict[bytes, str] = {}
    for name, picture in pictures.items():
        if picture.failure is None and (same := first.setdefault(picture.digest, name)) != name:
            yield Finding(kinds.PICTURE_TWICE, f"{name}: the same file as {same}")


def _named(records: list[Record], facts: Mapping[str, Facts] | None) -> dict[str, Facts]:
    """Facts of the files that records name; when mending is checked, facts of others are known too."""
    names = {name: None for record in records if (name := file_name(record)) is not None}
    return {name: facts[name] for name in names if facts is not None and name in facts}


def _extra(kind: Kind, names: set[str], records: list[Record], suffixes: set[str]) -> Iterator[Finding]:
    """Hidden files are none of the data set's."""
    for name in sorted(names - {str(record.get("file_name")) for record in records}):
        path = PurePosixPath(name)
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            yield Finding(kind, name)


def check_pixels(contents: Contents, evidence: Evidence) -> Iterator[Finding]:
    """Sizes, and every annotation against its PNG."""
    for image in contents.images:
        picture = _good((evidence.pictures or {}).get(file_name(image) or ""))
        yield from _picture_findings(image, picture)
        yield from _size_findings(image, picture, _good(map_of(image, contents, evidence)))
    for annotation in contents.annotations:
        facts = measured(annotation, contents, evidence)
        if facts is not None and isinstance(annotation.get("segments_info"), list):
            yield from _map_findings(annotation, facts)


def measured(annotation: Record, contents: Contents, evidence: Evidence) -> MapFacts | None:
    """What the PNG of an annotation holds; None if it cannot be read, or has neither size of its image."""
    png = _good((evidence.maps or {}).get(file_name(annotation) or ""))
    number = integer(annotation, "image_id")
    image = contents.image_by_id.get(number) if number is not None else None
    if png is None or image is None or size(image) == png.size:
        return png
    picture = _good((evidence.pictures or {}).get(file_name(image) or ""))
    return png if (size(image) is None if picture is None else picture.fits(png.size)) else None


def map_of(image: Record, contents: Contents, evidence: Evidence) -> MapFacts | None:
    """What is known of the PNG of an image."""
    number = integer(image, "id")
    annotation = contents.annotation_by_image.get(number) if number is not None else None
    return (evidence.maps or {}).get(file_name(annotation) or "") if annotation is not None else None


def _good(facts: Facts | None) -> Facts | None:
    return facts if facts is not None and facts.failure is None else None


def _picture_findings(image: Record, picture: PictureFacts | None) -> Iterator[Finding]:
    if picture is None or picture.stored is None:
        return
    annotated = size(image)
    if picture.stored == picture.size:
        how = "its size does not say whether the annotation follows it"
    elif annotated == picture.size:
        how = "the annotation follows it"
    else:
        how = "the annotation does not"
    yield Finding(kinds.PICTURE_TURNED, f"{place(image)} ({image['file_name']}): {how}")


def _size_findings(image: Record, picture: PictureFacts | None, png: MapFacts | None) -> Iterator[Finding]:
    annotated, where = size(image), place(image)
    if picture is not None and png is not None and picture.fits(png.size) and annotated is not None:
        if png.size != annotated:
            yield Finding(kinds.IMAGE_SIZE, f"{where}: {shown(annotated)} in the JSON, {shown(png.size)} in its files")
        return
    if annotated is None:
        annotated = picture.size if picture is not None and png is not None and not picture.fits(png.size) else None
    elif picture is not None and not picture.fits(annotated):
        seen = f"{shown(picture.size)}, annotated as {shown(annotated)}"
        yield Finding(kinds.PICTURE_SIZE, f"{where} ({image['file_name']}): {seen}")
    if png is not None and annotated is not None and png.size != annotated:
        yield Finding(kinds.MAP_SIZE, f"{where}: its PNG is {shown(png.size)}, the image {shown(annotated)}")


def _map_findings(annotation: Record, facts: MapFacts) -> Iterator[Finding]:
    where = f"{place(annotation, 'image_id')} ({annotation['file_name']})"
    if facts.is_void:
        yield Finding(kinds.MAP_VOID, where)
    for number, pixels in facts.strays:
        yield Finding(kinds.SEGMENT_STRAY, f"{where}: segment {number} of {pixels} pixels")
    for _ in range(facts.num_strays - len(facts.strays)):
        yield Finding(kinds.SEGMENT_STRAY, f"{where}: one more")
    assert facts.measures is not None
    measures = {number: (area, tuple(box)) for number, area, *box in facts.measures.tolist()}
    for segment in segments(annotation):
        known = segment_id(segment)
        if known is not None:
            yield from _segment_findings(segment, *measures[known], f"{where}, segment {known}")


def _segment_findings(segment: Record, area: int, box: tuple[int, ...], where: str) -> Iterator[Finding]:
    said, said_box = _numbers([segment.get("area")], 1), _numbers(segment.get("bbox"), 4)
    if area == 0:
        yield Finding(kinds.SEGMENT_EMPTY if said == (0,) else kinds.SEGMENT_ABSENT, where)
        return
    if said != (area,):
        yield Finding(kinds.AREA, f"{where}: {_said(segment, 'area')} in the JSON, {area} pixels in the PNG")
    if said_box == box:
        return
    almost = said_box is not None and all(abs(a - b) <= 1 for a, b in zip(said_box, box, strict=True))
    x, y, width, height = box
    corners = said_box == (x, y, x + width, y + height)
    text = f"{where}: {_said(segment, 'bbox')} in the JSON, {list(box)} in the PNG"
    yield Finding(kinds.BOX_ALMOST if almost else kinds.BOX, text + (" (corners, not width, height)" * corners))


def _numbers(value: Any, length: int) -> Numbers | None:
    """A list of a JSON that holds so many numbers, None if it does not."""
    if not isinstance(value, list) or len(value) != length:
        return None
    is_number = [isinstance(item, (int, float)) and not isinstance(item, bool) for item in value]
    return tuple(value) if all(is_number) else None


def _said(record: Record, key: str) -> str:
    return brief(record[key]) if key in record else f"no `{key}`"


def shown(size: Size) -> str:
    """A size as people say it."""
    return f"{size[1]} x {size[0]}"
