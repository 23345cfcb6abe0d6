"""Draw panoptic maps in files over their photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from panoptic_blend.drawing.overlay import draw, enlarge
from panoptic_blend.files import inside, require_no_overwrite
from panoptic_blend.formats.coco_layout import maps_folder
from panoptic_blend.formats.coco_panoptic import read_annotations, read_panoptic_json
from panoptic_blend.formats.images import read_picture, write_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.structures import PanopticBlendError, Progress


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
    content = read_panoptic_json(truth or panoptic_json, results=truth is None)
    annotations = content.images.annotations
    images = content.images[:]
    if truth is not None:
        annotations = read_annotations(panoptic_json, content.categories, truth)
        places = {image_id: place for place, image_id in enumerate(annotations.image_ids)}
        images = [replace(i, annotation=annotations[places[i.id]]) for i in images if i.id in places]
        if not images:
            raise PanopticBlendError(
                f"{panoptic_json}: no image of {truth.name} is in it; check that both belong together"
            )
    folder = maps_folder(panoptic_json, maps, annotations)
    images = images[:limit]
    photos = [locate(pictures, image.file_name) for image in images]
    drawings = [inside(output, f"{image.file_name}.png") for image in images]
    require_no_overwrite(drawings, photos)
    for number, (image, photo, drawing) in enumerate(zip(images, photos, drawings, strict=True), start=1):
        picture = read_picture(photo, image.size)
        panoptic = image.annotation.read(panoptic_json, folder, image.size)
        if scale > 1:
            picture, panoptic = enlarge(picture, panoptic, scale)
        write_picture(drawing, draw(picture, panoptic, content.categories))
        progress(number, len(images))
    return len(images)
