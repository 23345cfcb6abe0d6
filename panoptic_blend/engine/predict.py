"""Panoptic maps of loose pictures, and drawings of maps on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from panoptic_blend.data.coco_panoptic import read_panoptic_json
from panoptic_blend.data.images import read_picture, write_picture
from panoptic_blend.data.panoptic_writer import PanopticWriter
from panoptic_blend.drawing import draw, enlarge
from panoptic_blend.engine.file_pairs import maps_folder
from panoptic_blend.files import inside
from panoptic_blend.inference import Predictor, find_pictures
from panoptic_blend.structures import PanopticBlendError

Report = Callable[[int, int], None]


def predict_pictures(predictor: Predictor, inputs: Sequence[Path], output: Path, progress: Report) -> int:
    """Write ``output``/panoptic.json, its PNGs in panoptic/, and drawings in pictures/; return how many.

    An image whose name is a number, as COCO's are, has that number as its id; others count up from 1.
    """
    paths = list(find_pictures(inputs))
    stems = Counter(path.stem for path in paths)
    twice = [path for path in paths if stems[path.stem] > 1]
    if twice:
        raise PanopticBlendError(f"{twice[0]}: another picture is called {twice[0].stem} too; predict them apart")
    numbers = [int(path.stem) if path.stem.isascii() and path.stem.isdigit() else -1 for path in paths]
    ids = numbers if min(numbers) >= 0 and len(set(numbers)) == len(paths) else range(1, len(paths) + 1)
    drawings = [output / "pictures" / f"{path.stem}.jpg" for path in paths]
    _require_others([*drawings, *(output / "panoptic" / f"{path.stem}.png" for path in paths)], paths)
    skipped: list[PanopticBlendError] = []
    with PanopticWriter(output / "panoptic.json", categories=predictor.categories) as writer:
        for done, (image_id, path, drawing) in enumerate(zip(ids, paths, drawings, strict=True), start=1):
            try:
                picture = read_picture(path)
                panoptic = predictor.predict(picture)
                writer.add(image_id, path.name, panoptic)
                write_picture(drawing, draw(picture, panoptic, predictor.categories))
            except PanopticBlendError as error:
                skipped.append(error)
            progress(done, len(paths))
    if skipped:
        raise PanopticBlendError(f"{skipped[0]} ({len(skipped)} of {len(paths)} pictures skipped; the rest is written)")
    return len(paths)


def _require_others(written: Sequence[Path], read: Sequence[Path]) -> None:
    """Raise if what is to be written would replace what is to be read."""
    clash = {path.resolve() for path in written} & {path.resolve() for path in read}
    if clash:
        raise PanopticBlendError(f"{min(clash)}: would be overwritten; choose another --output")


def draw_json(
    panoptic_json: Path,
    pictures: Path,
    output: Path,
    maps: Path | None,
    scale: int,
    limit: int | None,
    progress: Report,
) -> int:
    """Draw the maps of a COCO panoptic JSON over the photos in ``pictures``; return how many."""
    content = read_panoptic_json(panoptic_json)
    folder = maps_folder(panoptic_json, maps, content.images.annotations)
    images = content.images[:limit]
    photos = [inside(pictures, image.file_name) for image in images]
    drawings = [inside(output, f"{image.file_name}.png") for image in images]
    _require_others(drawings, photos)
    for number, (image, photo, drawing) in enumerate(zip(images, photos, drawings, strict=True), start=1):
        picture = read_picture(photo, image.size)
        panoptic = image.annotation.read(panoptic_json, folder, image.size)
        if scale > 1:
            picture, panoptic = enlarge(picture, panoptic, scale)
        write_picture(drawing, draw(picture, panoptic, content.categories))
        progress(number, len(images))
    return len(images)
