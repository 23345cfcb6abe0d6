"""PQ of result files against annotation files; needs neither a model nor torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Comparison
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, Pair, iter_images
from panoptic_blend.structures import Progress


def evaluate_files(
    truth_json: str | Path,
    prediction_json: str | Path,
    truth_folder: str | Path | None = None,
    prediction_folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    policy: FilePolicy | None = None,
    workers: int | None = None,
) -> PanopticReport:
    """PQ, SQ and RQ of COCO panoptic results, as the official script computes them.

    Args:
        truth_json: annotations; ``prediction_json``: results, of which only ``annotations`` is read.
            Images are matched by ``image_id``; predictions of images without truth are passed over.
        truth_folder, prediction_folder: where the PNGs are; by default beside the JSON, under its stem.
        progress: called with the images done and their number.
        policy: what to do about missing and additional predictions and the JSON's areas; by default see `FilePolicy`.
        workers: threads; by default as many as cores.

    Raises:
        PanopticBlendError: a file is missing or broken, JSON and PNG disagree, or an image has no prediction.
    """
    pairs = FilePairs(truth_json, prediction_json, truth_folder, prediction_folder, policy)
    quality = PanopticQuality(pairs.categories)
    for done, (_, comparison) in enumerate(pairs.comparisons(workers=workers), start=1):
        quality.add(comparison)
        if progress:
            progress(done, len(pairs))
    return quality.compute()


def detail_files(
    truth_json: str | Path,
    prediction_json: str | Path,
    truth_folder: str | Path | None = None,
    prediction_folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    policy: FilePolicy | None = None,
    workers: int | None = None,
    boundary: bool = False,
) -> PanopticDetails:
    """As `evaluate_files`, but everything that `PanopticDetails` can tell; ``boundary`` for Boundary PQ too."""
    results = [(prediction_json, prediction_folder)]
    (details,) = detail_result_sets(
        truth_json, results, truth_folder, progress, policy=policy, workers=workers, boundary=boundary
    )
    return details


def detail_result_sets(
    truth_json: str | Path,
    results: Sequence[tuple[str | Path, str | Path | None]],
    truth_folder: str | Path | None = None,
    progress: Progress | None = None,
    *,
    policy: FilePolicy | None = None,
    workers: int | None = None,
    boundary: bool = False,
) -> list[PanopticDetails]:
    """`detail_files` of each of several ``results``, a JSON and where its PNGs are; the truth is read once."""
    (json_path, folder), *others = results
    first = FilePairs(truth_json, json_path, truth_folder, folder, policy)
    pairs = [first, *(first.with_results(*other) for other in others)]
    found = [PanopticDetails(first.categories, boundary=boundary) for _ in pairs]
    for done, compared in enumerate(iter_images(pairs, _comparisons, boundary=boundary, workers=workers), start=1):
        for details, (image_id, comparison) in zip(found, compared, strict=True):
            details.add(image_id, comparison)
        if progress:
            progress(done, len(first))
    return found


def _comparisons(pairs: Sequence[Pair]) -> list[tuple[int, Comparison]]:
    return [(pair.image.id, pair.comparison) for pair in pairs]
