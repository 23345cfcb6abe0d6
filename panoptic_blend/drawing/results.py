"""Draw panoptic maps in files over their photos, one alone or those of two models beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from panoptic_blend.drawing.figures import side_by_side, stack
from panoptic_blend.drawing.overlay import draw, enlarge
from panoptic_blend.files import distinct_names, inside, require_no_overwrite
from panoptic_blend.formats.coco_layout import maps_folder
from panoptic_blend.formats.coco_panoptic import (
    Annotations,
    Image,
    PanopticJson,
    read_annotations,
    read_panoptic_json,
)
from panoptic_blend.formats.images import Picture, read_picture, write_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Progress

PANEL = 480, 1024
"""Long side of a picture beside others in pixels: smaller ones are enlarged towards it, larger ones shrunk to it."""


@dataclass(frozen=True)
class MapsFile:
    """A COCO panoptic JSON, and the folder or zip of its PNGs, by default the one beside it."""

    json: Path
    maps: Path | None = None


def draw_json(
    panoptic_json: Path,
    pictures: Path,
    output: Path,
    maps: Path | None,
    scale: int,
    limit: int | None,
    progress: Progress,
    truth: Path | None = None,
) -> int:
    """Draw the maps of a COCO panoptic JSON over the photos in ``pictures``; return the number of drawings.

    Args:
        output: folder for the drawings, PNGs named after the photos.
        maps: folder or zip of the PNGs of the maps; by default beside the JSON.
        scale: factor by which photos and maps are enlarged.
        limit: draw only the first images; all if None.
        truth: the JSON of the data set, for results that have neither ``images`` nor ``categories``.

    Raises:
        PanopticBlendError: a file is missing or broken, or a drawing would overwrite a photo.
    """
    found = _read([MapsFile(panoptic_json, maps)], MapsFile(truth) if truth else None)

    def drawing(image: Image, photo: Picture) -> Picture:
        return draw(*_enlarged(photo, found.results[0].read(image), scale), found.content.categories)

    return _draw_all(found.images[:limit], pictures, output, drawing, progress)


def draw_beside(
    first: MapsFile,
    second: MapsFile,
    pictures: Path,
    output: Path,
    scale: int | None,
    limit: int | None,
    progress: Progress,
    truth: MapsFile | None = None,
) -> int:
    """Draw the maps of two models beside each other, as figure A1 of BlendMask does; return the number of drawings.

    A drawing shows the photo, the ``truth`` if it is given, and the maps of the two, each with a caption; four pictures
    that are wider than high stand in two rows. It is made of the images that both models have. The other arguments, and
    the errors, are those of `draw_json`; without ``scale``, small photos are enlarged as labels need.
    """
    found = _read([first, second], truth)
    shown, titles = list(found.results), distinct_names([first.json, second.json])
    if truth:
        shown, titles = [_Maps(truth, found.content.images.annotations), *shown], ["truth", *titles]

    def drawing(image: Image, photo: Picture) -> Picture:
        factor = scale or max(1, PANEL[0] // max(image.size))
        fitted = [_shrunk(*_enlarged(photo, _by_area(maps.read(image)), factor)) for maps in shown]
        return _arranged(
            [fitted[0][0], *(draw(*each, found.content.categories) for each in fitted)], ["photo", *titles]
        )

    return _draw_all(found.images[:limit], pictures, output, drawing, progress)


class _Maps:
    """The maps of one file by image, whose ``annotations`` have been read."""

    def __init__(self, file: MapsFile, annotations: Annotations) -> None:
        self._path, self._annotations = file.json, annotations
        self._places = {image_id: place for place, image_id in enumerate(annotations.image_ids)}
        self._folder = maps_folder(file.json, file.maps, annotations)

    def __contains__(self, image: Image) -> bool:
        return image.id in self._places

    def read(self, image: Image) -> PanopticMap:
        return self._annotations[self._places[image.id]].read(self._path, self._folder, image.size)


@dataclass(frozen=True)
class _Found:
    """The JSON that lists images and categories, and its ``images`` of which all ``results`` have maps."""

    content: PanopticJson
    images: list[Image]
    results: list[_Maps]


def _read(results: Sequence[MapsFile], truth: MapsFile | None) -> _Found:
    content = read_panoptic_json((truth or results[0]).json, results=truth is None)
    images, maps = content.images[:], []
    for file in results:
        is_read = truth is None and file is results[0]
        annotations = (
            content.images.annotations if is_read else read_annotations(file.json, content.categories, content.path)
        )
        maps.append(_Maps(file, annotations))
        images = [image for image in images if image in maps[-1]]
        if not images:
            raise PanopticBlendError(
                f"{file.json}: no image of {content.path.name} is in it; check that both belong together"
            )
    return _Found(content, images, maps)


def _draw_all(
    images: Sequence[Image],
    pictures: Path,
    output: Path,
    drawing: Callable[[Image, Picture], Picture],
    progress: Progress,
) -> int:
    """Write the ``drawing`` of each image and its photo; return their number."""
    photos = [locate(pictures, image.file_name) for image in images]
    drawings = [inside(output, f"{image.file_name}.png") for image in images]
    require_no_overwrite(drawings, photos)
    for number, (image, photo, drawn) in enumerate(zip(images, photos, drawings, strict=True), start=1):
        write_picture(drawn, drawing(image, read_picture(photo, image.size)))
        progress(number, len(images))
    return len(images)


def _enlarged(photo: Picture, panoptic: PanopticMap, scale: int) -> tuple[Picture, PanopticMap]:
    return enlarge(photo, panoptic, scale) if scale > 1 else (photo, panoptic)


def _by_area(panoptic: PanopticMap) -> PanopticMap:
    """The map with its largest segments first, so that a large instance has the same shade in every map."""
    return panoptic.with_segments(sorted(panoptic.segments, key=lambda segment: -segment.area))


def _shrunk(photo: Picture, panoptic: PanopticMap) -> tuple[Picture, PanopticMap]:
    """Photo and map with a long side of at most ``PANEL[1]``; labels are written after that, so they stay legible."""
    share = PANEL[1] / max(photo.shape[:2])
    if share >= 1:
        return photo, panoptic
    width, height = (max(1, round(side * share)) for side in photo.shape[1::-1])
    ids = cv2.resize(panoptic.segment_ids, (width, height), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), PanopticMap(np.asarray(ids, np.int32), panoptic.segments)


def _arranged(pictures: Sequence[Picture], titles: Sequence[str]) -> Picture:
    """One row, or two rows of two if the four pictures are wider than high."""
    height, width = pictures[0].shape[:2]
    columns = 2 if len(pictures) == 4 and width > height else len(pictures)
    starts = range(0, len(pictures), columns)
    return stack([side_by_side(pictures[at : at + columns], titles[at : at + columns]) for at in starts])
