"""Check the panoptic JSON by itself: fields, ids, names, categories, and that images and annotations match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from panoptic_blend.config.model_options import FCOS
from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.kinds import Finding, Kind
from panoptic_blend.doctor.records import LISTS, Contents, brief, flag, identifier, image_label, segment_id, segments
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.formats.json_fields import Record, file_name, integer, stays_inside
from panoptic_blend.structures import IGNORE, MAX_CATEGORY_ID, is_integer, parse_color

FieldTest = tuple[str, Callable[[Any], bool], str]
"""A field's name, the condition that its value must meet, and the same condition as text."""

ID = (lambda value: identifier({"id": value}, "id") is not None), "a number or a text"
WHOLE = is_integer, "a whole number"
NAME = (lambda value: isinstance(value, str)), "text"
PIXELS = (lambda value: is_integer(value) and value > 0), "a whole number above 0"
FLAG = (lambda value: isinstance(value, (int, float)) and value in (0, 1)), "0 or 1"
RECORDS = (lambda value: isinstance(value, list)), "a list of records"
CATEGORY_ID = (lambda value: is_integer(value) and 0 <= value <= MAX_CATEGORY_ID), f"0 to {MAX_CATEGORY_ID}"
REQUIRED: dict[str, tuple[FieldTest, ...]] = {
    "images": (("id", *ID), ("file_name", *NAME), ("height", *PIXELS), ("width", *PIXELS)),
    "annotations": (("image_id", *ID), ("file_name", *NAME), ("segments_info", *RECORDS)),
    "categories": (("id", *CATEGORY_ID),),
    "segments_info": (("id", *WHOLE), ("category_id", *WHOLE)),
}
OPTIONAL: dict[str, tuple[FieldTest, ...]] = {
    "images": (),
    "annotations": (),
    "categories": (("name", *NAME), ("isthing", *FLAG)),
    "segments_info": (("iscrowd", *FLAG),),
}


MAX_THINGS = FCOS().detections_per_image


def check_fields(content: Any) -> Iterator[Finding]:
    """Find missing lists, and fields that are missing or of the wrong type, in a parsed JSON."""
    for key in LISTS:
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list):
            yield Finding(kinds.JSON_STRUCTURE, f"no list of records `{key}`")
            continue
        yield from _list_findings(value, key, key)
        for i, annotation in enumerate(value if key == "annotations" else ()):
            if isinstance(annotation, dict) and isinstance(infos := annotation.get("segments_info"), list):
                where = image_label(annotation, "image_id") if "image_id" in annotation else f"annotations[{i}]"
                yield from _list_findings(infos, "segments_info", f"{where}: segments_info")
    if isinstance(content, dict) and content.get("images") == []:
        yield Finding(kinds.NO_IMAGES, "`images` is empty")


def _list_findings(items: list[Any], key: str, where: str) -> Iterator[Finding]:
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            yield Finding(kinds.FIELD, f"{where}[{i}] is {brief(item)}, not a record")
            continue
        for name, passes, expected in REQUIRED[key]:
            if name not in item:
                yield Finding(kinds.FIELD, f"{where}[{i}] has no `{name}`")
            elif not passes(item[name]):
                yield Finding(kinds.FIELD, f"{where}[{i}]: `{name}` is {brief(item[name])}, not {expected}")
        for name, passes, expected in OPTIONAL[key]:
            if name in item and not passes(item[name]):
                yield Finding(kinds.FIELD, f"{where}[{i}]: `{name}` is {brief(item[name])}, not {expected}")


def check_categories(contents: Contents) -> Iterator[Finding]:
    """Check ids, names and ``isthing`` of the categories, and find those without a segment in this split."""
    numbers = [number for record in contents.categories if (number := integer(record, "id")) is not None]
    yield from _repeated(kinds.CATEGORY_DUPLICATE, numbers, "category ")
    by_id = {number: record for record in contents.categories if (number := integer(record, "id")) is not None}
    names = [record["name"] for record in by_id.values() if isinstance(record.get("name"), str)]
    yield from _repeated(kinds.CATEGORY_NAME, names, "category ")
    coco = {category.name.casefold(): category.is_thing for category in coco_categories()}
    for record in contents.categories:
        where = f"category {brief(record.get('id'))} ({brief(record.get('name'))})"
        is_thing, name = flag(record, "isthing"), record.get("name")
        if "isthing" not in record:
            yield Finding(kinds.ISTHING_MISSING, where)
        elif is_thing is not None and isinstance(name, str) and coco.get(name.casefold(), is_thing) != is_thing:
            yield Finding(kinds.ISTHING_COCO, f"{where}: {'thing' if is_thing else 'stuff'} here")
        if record.get("color") is not None and parse_color(record["color"]) is None:
            yield Finding(kinds.CATEGORY_COLOR, f"{where}: {brief(record['color'])}")
    if None not in (things := list(contents.is_thing.values())):
        if not any(things):
            yield Finding(kinds.UNLEARNABLE, "no category is a thing; at least one needs `isthing: 1`")
        elif max(things.count(True), things.count(False)) >= IGNORE:
            limit = f"more than {IGNORE - 1} things or more than {IGNORE - 1} stuff categories"
            yield Finding(kinds.UNLEARNABLE, f"{limit}; semantic maps have 8 bits, so remove some")
    used = {integer(segment, "category_id") for a in contents.annotations for segment in segments(a)}
    for number, name in contents.class_names.items():
        if number not in used:
            yield Finding(kinds.CATEGORY_UNUSED, f"category {number} ({name})")


def check_images(contents: Contents) -> Iterator[Finding]:
    """Check ids and file names of images, and that each has an annotation."""
    ids = [found for image in contents.images if (found := identifier(image, "id")) is not None]
    yield from _repeated(kinds.IMAGE_DUPLICATE, ids, "image ")
    yield from _names(contents.images, "id", kinds.PICTURE_LISTED_TWICE)
    for number in contents.image_by_id:
        if number not in contents.annotation_by_image:
            yield Finding(kinds.IMAGE_UNANNOTATED, f"image {number}")


def check_annotations(contents: Contents) -> Iterator[Finding]:
    """Check image ids, file names and segments of annotations."""
    ids = [found for a in contents.annotations if (found := identifier(a, "image_id")) is not None]
    yield from _repeated(kinds.ANNOTATION_DUPLICATE, ids, "image ")
    yield from _names(contents.annotations, "image_id", kinds.MAP_LISTED_TWICE)
    for annotation in contents.annotations:
        where = image_label(annotation, "image_id")
        if (found := identifier(annotation, "image_id")) is not None and found not in contents.image_by_id:
            yield Finding(kinds.ANNOTATION_ORPHAN, f"{where} ({brief(annotation.get('file_name'))})")
        yield from _segments(contents, annotation, where)


def check_crowds(contents: Contents) -> Iterator[Finding]:
    """Find things all of whose segments are crowds."""
    total, crowds = Counter[int](), Counter[int]()
    for annotation in contents.annotations:
        for segment in segments(annotation):
            category = integer(segment, "category_id")
            if category is not None and contents.is_thing.get(category):
                total[category] += 1
                crowds[category] += bool(flag(segment, "iscrowd"))
    only = [category for category in sorted(total) if total[category] == crowds[category]]
    for category in only:
        text = f"category {category} ({contents.class_names[category]}): {crowds[category]} crowds"
        yield Finding(kinds.NO_INSTANCES if len(only) == len(total) else kinds.ONLY_CROWDS, text)


def _segments(contents: Contents, annotation: Record, where: str) -> Iterator[Finding]:
    numbers: list[int] = []
    stuff: list[int] = []
    num_things = 0
    for segment in segments(annotation):
        number, category = integer(segment, "id"), integer(segment, "category_id")
        here = f"{where}, segment {brief(segment.get('id'))}"
        if number is not None and segment_id(segment) is None:
            yield Finding(kinds.SEGMENT_ID, here)
        elif number is not None:
            numbers.append(number)
        if category is not None and category not in contents.is_thing:
            yield Finding(kinds.CATEGORY_UNKNOWN, f"{here}: category {brief(category)}")
        if "iscrowd" not in segment:
            yield Finding(kinds.ISCROWD_MISSING, here)
        if category is not None and contents.is_thing.get(category) is False:
            stuff.append(category)
            if flag(segment, "iscrowd"):
                yield Finding(kinds.STUFF_CROWD, f"{here}: category {category} ({contents.class_names[category]})")
        num_things += bool(category is not None and contents.is_thing.get(category) and not flag(segment, "iscrowd"))
    if num_things > MAX_THINGS:
        yield Finding(kinds.MANY_THINGS, f"{where}: {num_things} things, and the default is {MAX_THINGS}")
    yield from _repeated(kinds.SEGMENT_DUPLICATE, numbers, f"{where}, segment ")
    if len(set(numbers)) == len(numbers):  # a repeated segment would be reported a second time
        for category, count in Counter(stuff).items():
            if count > 1:
                name = contents.class_names[category]
                yield Finding(kinds.STUFF_SEVERAL, f"{where}: {count} segments of category {category} ({name})")


def _names(records: list[Record], key: str, twice: Kind) -> Iterator[Finding]:
    """Find file names that lead out of their folder, and names that two images share."""
    for record in records:
        name = record.get("file_name")
        if isinstance(name, str) and not stays_inside(name):
            yield Finding(kinds.NAME_OUTSIDE, f"{image_label(record, key)}: {brief(name)}")
    owners = {(file_name(record), identifier(record, key)) for record in records}
    names = sorted(name for name, owner in owners if name is not None and owner is not None)
    yield from _repeated(twice, names, "")


def _repeated(kind: Kind, values: Iterable[Hashable], prefix: str) -> Iterator[Finding]:
    for value, count in Counter(values).items():
        if count > 1:
            yield Finding(kind, f"{prefix}{value}: {count} times")
