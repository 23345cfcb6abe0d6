"""Write the report of ``panoptic-blend report``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.files import distinct_names
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.report.figures import class_records, comparison_figures, result_figures
from panoptic_blend.report.page import Assets, publish, require_room, writing
from panoptic_blend.report.pictures import CAUSES, EncodedImage, EncodedResult, ImageEncoder
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, iter_images
from panoptic_blend.structures import PanopticBlendError, Progress

EMBEDDED_BYTES = 16 * 2**20
"""Maximum size of the image data that is embedded in the page; larger data go into a folder beside it."""


@dataclass(frozen=True)
class ReportRequest:
    """Files to score, the folder of ``photos``, and the ``page`` to write; optionally ``other`` results to compare.

    ``other`` is a JSON and the folder of its PNGs. ``side`` is the maximum long side of photos and maps in the page, in
    pixels.
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
    """Write the page atomically; returns its path, and the path of the folder beside it if there is one.

    ``progress`` is called with the number of images done and the total number.

    Raises:
        PanopticBlendError: the page exists and may not be overwritten, or a file is missing or broken.
    """
    require_room(request.page, request.overwrite)
    if not request.photos.is_dir():
        raise PanopticBlendError(f"{request.photos}: no such folder; say where the photos are with --images")
    folders = request.truth_folder, request.prediction_folder
    sets = [FilePairs(request.truth, request.prediction, *folders, request.policy, pictures=True)]
    if request.other:
        sets.append(sets[0].with_results(*request.other))
    encoder = ImageEncoder(sets[0].categories, request.photos, request.side)
    encoded = iter_images(sets, encoder.encode, workers=request.workers)
    with writing(request.page) as assets, closing(encoded):
        summary = _Summary([PanopticDetails(sets[0].categories) for _ in sets])
        for index, (image, results) in enumerate(encoded):
            _add(assets, index, image, results)
            summary.add(results)
            if progress:
                progress(index + 1, len(sets[0]))
        content = _content(request, sets[0], summary, resampling)
        return publish(request.page, assets, content, EMBEDDED_BYTES, overwrite=request.overwrite)


class _Summary:
    """Data of all images that stay in memory, by result set and in the order of the file of the truth."""

    def __init__(self, details: list[PanopticDetails]) -> None:
        self.details = details
        self.classes: list[list[list[int]]] = [[] for _ in details]
        self.errors: list[list[list[int]]] = [[] for _ in details]

    def add(self, results: list[EncodedResult]) -> None:
        for details, classes, errors, result in zip(self.details, self.classes, self.errors, results, strict=True):
            details.add(result.image, result.comparison)
            classes.append(result.classes)
            errors.append([number for error in result.errors for number in error])


def _add(assets: Assets, index: int, image: EncodedImage, results: list[EncodedResult]) -> None:
    assets.add(f"{index}.jpg", image.photo)
    assets.add(f"{index}.small.jpg", image.thumbnail)
    content = image.content | {"sets": [result.content for result in results]}
    assets.add_script(str(index), content)


def _content(request: ReportRequest, pairs: FilePairs, summary: _Summary, resampling: Resampling) -> dict[str, Any]:
    """The data of the page except those of single images."""
    compared = None
    if request.other:
        first, second = summary.details
        results, compared = comparison_figures(first, second, resampling)
    else:
        results = [result_figures(summary.details[0], resampling)]
    files = [request.truth, request.prediction, *([request.other[0]] if request.other else [])]
    truth_name, *set_names = distinct_names(files)
    ids, names = list(pairs.images.ids), list(pairs.images.file_names)
    indices = {id: index for index, id in enumerate(summary.details[0].images)}
    order = [indices[id] for id in ids]
    for result, classes, errors in zip(results, summary.classes, summary.errors, strict=True):
        figures = {key: [column[index] for index in order] for key, column in result["images"].items()}
        result["images"] = figures | {"classes": classes, "errors": errors}
    return {
        "truth": truth_name,
        "sets": set_names,
        "resampling": {"resamples": resampling.resamples, "level": resampling.level, "seed": resampling.seed},
        "causes": list(CAUSES),
        "classes": class_records(pairs.categories),
        "results": results,
        "compared": compared,
        "ids": list(map(str, ids)),  # JavaScript rounds numbers above 2**53
        "names": names,
    }
