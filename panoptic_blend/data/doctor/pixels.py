"""What the JSON says against what the files hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar

from panoptic_blend.data.doctor import kinds
from panoptic_blend.data.doctor.evidence import Evidence
from panoptic_blend.data.doctor.files import MapFacts, PictureFacts
from panoptic_blend.data.doctor.kinds import Finding, Kind
from panoptic_blend.data.doctor.records import (
    Contents,
    Record,
    Size,
    brief,
    file_name,
    place,
    segment_id,
    segments,
    size,
)

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
Numbers = tuple[int | float, ...]
Facts = TypeVar("Facts", PictureFacts, MapFacts)


def check_files(contents: Contents, evidence: Evidence) -> Iterator[Finding]:
    """Pictures and PNGs that are missing, broken or extra, and pictures that are there under two names."""
    yield from (facts.failure for facts in (evidence.pictures or {}).values() if facts.failure is not None)
    yield from (facts.failure for facts in (evidence.maps or {}).values() if facts.failure is not None)
    yield from _extra(kinds.PICTURE_EXTRA, evidence.picture_names, contents.images, PICTURE_SUFFIXES)
    yield from _extra(kinds.MAP_EXTRA, evidence.map_names, contents.annotations, {".png"})
    first: dict[bytes, str] = {}
    for name, picture in (evidence.pictures or {}).items():
        if picture.failure is None and (same := first.setdefault(picture.digest, name)) != name:
            yield Finding(kinds.PICTURE_TWICE, f"{name}: the same file as {same}")


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
        facts = _good((evidence.maps or {}).get(file_name(annotation) or ""))
        if facts is not None:
            yield from _map_findings(annotation, facts)


def map_of(image: Record, contents: Contents, evidence: Evidence) -> MapFacts | None:
    """What is known of the PNG of an image."""
    annotation = contents.annotation_by_image.get(image["id"]) if isinstance(image.get("id"), int) else None
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
    said, said_box = segment.get("area"), _numbers(segment.get("bbox"))
    if area == 0:
        empty = _numbers([said]) == (0,)
        yield Finding(kinds.SEGMENT_EMPTY if empty else kinds.SEGMENT_ABSENT, where)
        return
    if _numbers([said]) != (area,):
        yield Finding(kinds.AREA, f"{where}: {_said(segment, 'area')} in the JSON, {area} pixels in the PNG")
    if said_box == box:
        return
    almost = said_box is not None and all(abs(a - b) <= 1 for a, b in zip(said_box, box, strict=True))
    x, y, width, height = box
    corners = said_box == (x, y, x + width, y + height)
    text = f"{where}: {_said(segment, 'bbox')} in the JSON, {list(box)} in the PNG"
    yield Finding(kinds.BOX_ALMOST if almost else kinds.BOX, text + (" (corners, not width, height)" * corners))


def _numbers(value: Any) -> Numbers | None:
    """One number or four of a JSON, None if they are none."""
    is_list = isinstance(value, list) and len(value) in (1, 4)
    if not is_list or not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
        return None
    return tuple(value)


def _said(record: Record, key: str) -> str:
    return brief(record[key]) if key in record else f"no `{key}`"


def shown(size: Size) -> str:
    """A size as people say it."""
    return f"{size[1]} x {size[0]}"
