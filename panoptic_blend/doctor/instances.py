"""Compare ``instances_<split>.json`` with the panoptic JSON of the same split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from panoptic_blend.doctor import kinds
from panoptic_blend.doctor.kinds import Finding, Kind
from panoptic_blend.doctor.pixels import size_text
from panoptic_blend.doctor.records import LISTS, Contents, flag, identifier, segments, size
from panoptic_blend.formats.json_fields import Record, file_name, integer
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import ImageId, PanopticBlendError

KEPT = {*LISTS, "id", "image_id", "category_id", "iscrowd", "height", "width", "file_name", "name"}


def check_instances(path: Path, contents: Contents) -> Iterator[Finding]:
    """Compare images, sizes, thing categories, and the counts of instances and crowds per image and category."""
    try:
        content = read_json(path, _kept)
    except PanopticBlendError as error:
        yield Finding(kinds.INSTANCES_UNREADABLE, str(error))
        return
    for key in LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            yield Finding(kinds.INSTANCES_UNREADABLE, f"{path.name}: no list of records `{key}`")
            return
    instances = Contents.from_json(content)
    yield from _images(instances, contents)
    yield from _categories(instances, contents)
    for kind, is_crowd in ((kinds.INSTANCES_COUNT, False), (kinds.INSTANCES_CROWDS, True)):
        yield from _counts(kind, instances, contents, is_crowd)


def _kept(record: Record) -> Record:
    """A record of the file without its polygons, which are most of it."""
    return {key: record[key] for key in KEPT & record.keys()}


def _images(instances: Contents, contents: Contents) -> Iterator[Finding]:
    in_instances, in_panoptic = instances.image_by_id, contents.image_by_id
    for number in sorted(in_instances.keys() ^ in_panoptic.keys(), key=_natural):
        where = "the instances JSON" if number in in_instances else "the panoptic JSON"
        yield Finding(kinds.INSTANCES_IMAGES, f"image {number}: only in {where}")
    for number in sorted(in_instances.keys() & in_panoptic.keys(), key=_natural):
        there, here = _name_and_size(in_instances[number]), _name_and_size(in_panoptic[number])
        if there != here:
            yield Finding(
                kinds.INSTANCES_SIZE, f"image {number}: {there} in the instances JSON, {here} in the panoptic JSON"
            )


def _name_and_size(image: Record) -> str:
    known = size(image)
    return f"{file_name(image)}, {size_text(known) if known else 'without a size'}"


def _categories(instances: Contents, contents: Contents) -> Iterator[Finding]:
    things = {number: name for number, name in contents.class_names.items() if contents.is_thing[number] is not False}
    names = instances.class_names
    for number in sorted(names.keys() | things.keys()):
        there, here = names.get(number, "absent"), things.get(number, "not a thing")
        if there != here:
            yield Finding(
                kinds.INSTANCES_CATEGORIES,
                f"category {number}: {there} in the instances JSON, {here} in the panoptic JSON",
            )


def _counts(kind: Kind, instances: Contents, contents: Contents, is_crowd: bool) -> Iterator[Finding]:
    in_both = instances.image_by_id.keys() & contents.image_by_id.keys()
    there = Counter(_keys(instances.annotations, None, is_crowd))
    here = Counter(
        key for annotation in contents.annotations for key in _keys(segments(annotation), annotation, is_crowd)
    )
    differing = [
        (image, category)
        for image, category in there.keys() | here.keys()
        if image in in_both and contents.is_thing.get(category) and there[image, category] != here[image, category]
    ]
    for image, category in sorted(differing, key=lambda pair: (_natural(pair[0]), pair[1])):
        where = f"image {image}, category {category} ({contents.class_names[category]})"
        counts = (
            f"{there[image, category]} in the instances JSON, {here[image, category]} segments in the panoptic JSON"
        )
        yield Finding(kind, f"{where}: {counts}")


def _natural(image: ImageId) -> tuple[bool, int, str]:
    """A sort key of image ids: numbers in their order, then texts."""
    return (True, 0, image) if isinstance(image, str) else (False, image, "")


def _keys(records: Iterable[Record], image: Record | None, is_crowd: bool) -> Iterator[tuple[ImageId, int]]:
    """Yield (image id, category id) of the records that are crowds, or of those that are not.

    The image id comes from ``image`` or, if that is None, from each record.
    """
    for record in records:
        owner, category = identifier(record if image is None else image, "image_id"), integer(record, "category_id")
        if owner is not None and category is not None and bool(flag(record, "iscrowd")) == is_crowd:
            yield owner, category
