"""Panoptic maps of loose pictures, and drawings of maps on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from panoptic_blend.data.coco_panoptic import PanopticWriter, read_panoptic_json
from panoptic_blend.data.images import read_picture, write_picture
from panoptic_blend.drawing import draw, enlarge
from panoptic_blend.engine.evaluate_files import maps_folder
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
    are_numbers = all(stem.isascii() and stem.isdigit() for stem in stems)
    with PanopticWriter(output / "panoptic.json", categories=predictor.categories) as writer:
        for number, path in enumerate(paths, start=1):
            picture = read_picture(path)
            panoptic = predictor.predict(picture)
            writer.add(int(path.stem) if are_numbers else number, path.name, panoptic)
            write_picture(output / "pictures" / f"{path.stem}.jpg", draw(picture, panoptic, predictor.categories))
            progress(number, len(paths))
    return len(paths)


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
    content, folder = read_panoptic_json(panoptic_json), maps_folder(panoptic_json, maps)
    images = content.images[:limit]
    for number, image in enumerate(images, start=1):
        picture = read_picture(inside(pictures, image.file_name), image.size)
        panoptic = image.annotation.read(panoptic_json, folder, image.size)
        if scale > 1:
            picture, panoptic = enlarge(picture, panoptic, scale)
        name = PurePosixPath(image.file_name).with_suffix(".png")
        write_picture(inside(output, str(name)), draw(picture, panoptic, content.categories))
        progress(number, len(images))
    return len(images)
