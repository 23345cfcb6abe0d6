"""PQ of result files against annotation files; needs neither a model nor torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from panoptic_blend.data.archives import Folder, first_present
from panoptic_blend.data.coco_panoptic import Annotations, read_annotations, read_panoptic_json
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.structures import PanopticBlendError


def evaluate_files(
    truth_json: str | Path,
    prediction_json: str | Path,
    truth_folder: str | Path | None = None,
    prediction_folder: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PanopticReport:
    """PQ, SQ and RQ of COCO panoptic results, as the official script computes them.

    Args:
        truth_json: annotations; ``prediction_json``: results, of which only ``annotations`` is read.
            Images are matched by ``image_id``; predictions of images without truth are passed over.
        truth_folder, prediction_folder: where the PNGs are; by default beside the JSON, under its stem.
        progress: called with the images done and their number.

    Raises:
        PanopticBlendError: a file is missing or broken, JSON and PNG disagree, or an image has no prediction.
    """
    truth_path, prediction_path = Path(truth_json), Path(prediction_json)
    truth = read_panoptic_json(truth_path)
    predictions = read_annotations(prediction_path, truth.categories)
    places: dict[int, int] = {}
    for place, image_id in enumerate(predictions.image_ids):
        if image_id in places:
            raise PanopticBlendError(f"{prediction_path.name}: image {image_id} is predicted twice; keep one")
        places[image_id] = place
    truth_maps = maps_folder(truth_path, truth_folder, truth.images.annotations)
    prediction_maps = maps_folder(prediction_path, prediction_folder, predictions)
    missing = [image_id for image_id in truth.images.ids if image_id not in places]
    if missing:
        raise PanopticBlendError(
            f"{prediction_path.name}: no prediction of image {missing[0]} ({len(missing)} of {len(truth.images)} "
            "lack one); predict every image of the truth"
        )
    quality = PanopticQuality(truth.categories)
    for done, image in enumerate(truth.images, start=1):
        quality.update(
            image.annotation.read(truth_path, truth_maps, image.size),
            predictions[places[image.id]].read(prediction_path, prediction_maps, image.size),
        )
        if progress:
            progress(done, len(truth.images))
    return quality.compute()


def maps_folder(json_path: Path, folder: str | Path | None, annotations: Annotations) -> Folder:
    """The folder or zip of the PNGs; a COCO data set may also keep it beside ``annotations``."""
    name = json_path.stem
    beside = [json_path.parent / name, json_path.parent.parent / name]
    path = first_present(beside) if folder is None else Path(folder)
    if not path.exists():
        raise PanopticBlendError(f"{path}: no such folder; say where the PNGs of {json_path.name} are")
    return Folder(path, example=next(iter(annotations.pngs), None))
