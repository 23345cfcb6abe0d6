"""Export maps in one of the formats of annotation tools: all labels and pictures, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic_blend.convert.writing import store_picture
from panoptic_blend.files import filling, inside, require_file
from panoptic_blend.formats.names import locate
from panoptic_blend.interchange.cityscapes import Cityscapes
from panoptic_blend.interchange.coco_instances import CocoInstances, FiftyOne, Roboflow
from panoptic_blend.interchange.cvat import Cvat
from panoptic_blend.interchange.id_masks import IdMasks
from panoptic_blend.interchange.label_studio import LabelStudio
from panoptic_blend.interchange.label_writer import Context, Drawing, LabelWriter
from panoptic_blend.interchange.labelme import LabelMe
from panoptic_blend.interchange.source import LabeledPicture, MapSource
from panoptic_blend.interchange.yolo import Yolo
from panoptic_blend.machine import cores, overlapped
from panoptic_blend.structures import PanopticBlendError, Progress

WRITERS: Mapping[str, type[LabelWriter]] = {
    "labelme": LabelMe,
    "coco-instances": CocoInstances,
    "yolo-seg": Yolo,
    "cvat": Cvat,
    "label-studio": LabelStudio,
    "cityscapes": Cityscapes,
    "fiftyone": FiftyOne,
    "supervision": Roboflow,
    "masks": IdMasks,
}
"""The formats by their names."""

TOLERANCE = 1.0
"""By how many pixels the outline of a polygon may be off, unless the user says otherwise."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the number of pictures, and of segments by how they were drawn.

    ``crowds`` and ``scores`` were left out, because the format has no place for them; ``remarks`` say what else was.
    ``way_back`` are the words of a command that reads the folder.
    """

    pictures: int
    drawn: Mapping[str, int]
    crowds: int
    scores: int
    remarks: Sequence[str]
    way_back: Sequence[str]


def drawing(form: str, tolerance: float | None, *, masks: bool) -> Drawing:
    """How segments are drawn in the format ``form``; ``tolerance`` is None for `TOLERANCE`.

    Raises:
        PanopticBlendError: the format has no polygons, or no masks.
    """
    writer = WRITERS[form]
    if masks and not writer.has_masks:
        able = ", ".join(name for name, other in WRITERS.items() if other.has_masks)
        raise PanopticBlendError(f"--masks: {form} has polygons only; leave it out, or use one of {able}")
    if tolerance is not None and (masks or not writer.has_polygons):
        raise PanopticBlendError(f"--tolerance: {'--masks' if masks else form} writes no polygons; leave it out")
    return Drawing(TOLERANCE if tolerance is None else tolerance, masks or not writer.has_polygons)


def export(
    source: MapSource, form: str, out: Path, drawn: Drawing, progress: Progress, *, link: bool, with_pictures: bool
) -> Exported:
    """Write the labels of all pictures of ``source``, and the pictures as copies or links, to the folder ``out``.

    Raises:
        PanopticBlendError: ``out`` is not empty, or a map or a picture is missing or broken.
    """
    if with_pictures and source.pictures is None:
        raise PanopticBlendError(
            f"{source.path}: it is not known where its pictures are; give their folder as --pictures, or --labels-only"
        )
    counts = Counter[str]()
    with filling(out) as folder:
        context = Context(folder, source.split, source.categories, drawn, bool(source.scores), source.are_found)
        writer = WRITERS[form](context)
        threads = cores()
        pictures = overlapped(
            source.places, lambda place: place, source.read, finishers=threads, queue_depth=2 * threads
        )
        for done, picture in enumerate(pictures, start=1):
            writer.add(_fitting(picture, writer, counts))
            if with_pictures:
                _store(source, picture.name, inside(folder, writer.place(picture.name)), link=link)
            progress(done, len(source.places))
        writer.finish()
    words = [word.replace("DIR", str(out), 1) if word.startswith("DIR") else word for word in writer.way_back()]
    return Exported(len(source.places), writer.drawn, counts["crowds"], counts["scores"], writer.remarks(), words)


def _fitting(picture: LabeledPicture, writer: LabelWriter, counts: Counter[str]) -> LabeledPicture:
    """The picture without what the format has no place for, which is counted."""
    if not writer.has_scores:
        counts["scores"] += sum(region.segment.score is not None for region in picture.regions)
    if writer.has_crowds:
        return picture
    regions = [region for region in picture.regions if not region.segment.is_crowd]
    counts["crowds"] += len(picture.regions) - len(regions)
    return replace(picture, regions=regions)


def _store(source: MapSource, name: str, path: Path, *, link: bool) -> None:
    assert source.pictures is not None
    picture = locate(source.pictures, name)
    require_file(picture, f"{source.path.name} names it, so add it, check --pictures, or export --labels-only")
    store_picture(picture, path, link=link)
