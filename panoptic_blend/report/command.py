"""What ``panoptic-blend report`` does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.files import distinct_names
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.report.figures import class_records, comparison_figures, result_figures
from panoptic_blend.report.page import Assets, publish, require_room, writing
from panoptic_blend.report.pictures import CAUSES, Reader, Reading, Scene
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, iter_images
from panoptic_blend.structures import PanopticBlendError, Progress

EMBEDDED_BYTES = 16 * 2**20
"""Up to here, what belongs to the images is put into the page, which then is a single file."""


@dataclass(frozen=True)
class ReportRequest:
    """Files to compare, the folder of the ``photos``, and the ``page`` to write; ``other`` results and their PNGs.

    ``side`` bounds the longer side of photos and maps in the page, in pixels.
    """

    truth: Path
    prediction: Path
    photos: Path
    page: Path
    truth_folder: Path | None = None
    prediction_folder: Path | None = None
    other: tuple[Path, Path | None] | None = None
    policy: FilePolicy = field(default_factory=FilePolicy)
    workers: int | None = None
    side: int = 1024
    overwrite: bool = False


def write_report(request: ReportRequest, resampling: Resampling, progress: Progress | None = None) -> list[Path]:
    """Write the page, whole or not at all; returns it, and the folder beside it if there is one.

    ``progress`` is called with the images done and their number.

    Raises:
        PanopticBlendError: the page is there already and not to be overwritten, or a file is missing or broken.
    """
    require_room(request.page, request.overwrite)
    if not request.photos.is_dir():
        raise PanopticBlendError(f"{request.photos}: no such folder; say where the photos are with --images")
    folders = request.truth_folder, request.prediction_folder
    sets = [FilePairs(request.truth, request.prediction, *folders, request.policy)]
    if request.other:
        sets.append(sets[0].with_results(*request.other))
    reader = Reader(sets[0].categories, request.photos, request.side)
    looked_at = iter_images(sets, reader.look, workers=request.workers)
    with writing(request.page) as assets, closing(looked_at):
        seen = _Seen([PanopticDetails(sets[0].categories) for _ in sets])
        for done, (scene, readings) in enumerate(looked_at):
            _add(assets, done, scene, readings)
            seen.add(readings)
            if progress:
                progress(done + 1, len(sets[0]))
        content = _content(request, sets[0], seen, resampling)
        return publish(request.page, assets, content, EMBEDDED_BYTES, overwrite=request.overwrite)


class _Seen:
    """What is kept of the images in memory, by result set and in the order of the truth's file."""

    def __init__(self, details: list[PanopticDetails]) -> None:
        self.details = details
        self.classes: list[list[list[int]]] = [[] for _ in details]
        self.errors: list[list[list[int]]] = [[] for _ in details]

    def add(self, readings: list[Reading]) -> None:
        for details, classes, errors, reading in zip(self.details, self.classes, self.errors, readings, strict=True):
            details.add(reading.image, reading.comparison)
            classes.append(reading.classes)
            errors.append([number for error in reading.errors for number in error])


def _add(assets: Assets, place: int, scene: Scene, readings: list[Reading]) -> None:
    assets.add(f"{place}.jpg", scene.photo)
    assets.add(f"{place}.small.jpg", scene.thumbnail)
    content = scene.content | {"sets": [reading.content for reading in readings]}
    assets.add_script(str(place), content)


def _content(request: ReportRequest, pairs: FilePairs, seen: _Seen, resampling: Resampling) -> dict[str, Any]:
    """Everything the page knows without looking at an image."""
    compared = None
    if request.other:
        first, second = seen.details
        results, compared = comparison_figures(first, second, resampling)
    else:
        results = [result_figures(seen.details[0], resampling)]
    files = [request.truth, request.prediction, *([request.other[0]] if request.other else [])]
    truth_name, *set_names = distinct_names(files)
    ids, names = list(pairs.images.ids), list(pairs.images.file_names)
    places = {id: place for place, id in enumerate(seen.details[0].images)}
    order = [places[id] for id in ids]
    for result, classes, errors in zip(results, seen.classes, seen.errors, strict=True):
        figures = {key: [column[place] for place in order] for key, column in result["images"].items()}
        result["images"] = figures | {"classes": classes, "errors": errors}
    return {
        "truth": truth_name,
        "sets": set_names,
        "resampling": {"resamples": resampling.resamples, "level": resampling.level, "seed": resampling.seed},
        "causes": list(CAUSES),
        "classes": class_records(pairs.categories),
        "results": results,
        "compared": compared,
        "ids": ids,
        "names": names,
    }
