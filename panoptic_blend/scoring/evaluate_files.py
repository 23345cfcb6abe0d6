"""PQ of result files in COCO panoptic format; needs neither a model nor torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Comparison
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport, Tally
from panoptic_blend.scoring.file_pairs import FilePairs, FilePolicy, Pair, ScoredPng, iter_images
from panoptic_blend.structures import ImageId, Progress


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
    """Compute PQ, SQ and RQ of COCO panoptic results, as the official script does.

    Args:
        truth_json: the annotations of the data set.
        prediction_json: the results, of which only ``annotations`` is read and matched with the truth by ``image_id``.
        truth_folder: folder or zip of the PNGs; by default beside the JSON, with its stem as the name.
        prediction_folder: as ``truth_folder``, for the results.
        progress: called with the number of images done and the total number.
        policy: treatment of missing and additional predictions and of stated areas; see `FilePolicy` for the defaults.
        workers: number of processes; by default one per core, or one for few images.

    Raises:
        PanopticBlendError: a file is missing or broken, JSON and PNG disagree, or ``policy`` makes it an error.
    """
    pairs = FilePairs(truth_json, prediction_json, truth_folder, prediction_folder, policy)
    quality = PanopticQuality(pairs.categories)
    for done, tally in enumerate(iter_images([pairs], _tally, workers=workers), start=1):
        quality.tally(*tally)
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
    """Compute `PanopticDetails` of result files; arguments as for `evaluate_files`.

    ``boundary`` also compares boundaries, for Boundary PQ.
    """
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
    """Compute `detail_files` for each of ``results``, (JSON, folder of PNGs or None); the truth is read only once."""
    pairs = pair_result_sets(truth_json, results, truth_folder, policy)
    return detail_pairs(pairs, progress, workers=workers, boundary=boundary)


def pair_result_sets(
    truth_json: str | Path,
    results: Sequence[tuple[str | Path, str | Path | None]],
    truth_folder: str | Path | None = None,
    policy: FilePolicy | None = None,
    *,
    pictures: bool = False,
) -> list[FilePairs]:
    """Pair one truth with each of ``results``, (JSON, folder of PNGs or None); ``pictures`` is as for `FilePairs`."""
    (json_path, folder), *others = results
    first = FilePairs(truth_json, json_path, truth_folder, folder, policy, pictures=pictures)
    return [first, *(first.with_results(*other) for other in others)]


def detail_pairs(
    pairs: Sequence[FilePairs],
    progress: Progress | None = None,
    *,
    workers: int | None = None,
    boundary: bool = False,
    only: Sequence[int] | None = None,
    scored: list[list[ScoredPng | None]] | None = None,
) -> list[PanopticDetails]:
    """Compute `PanopticDetails` of each of ``pairs``, as `iter_images` takes them, ``only`` of some images.

    The PNGs of each image are added to ``scored``: that of the truth, and that of each of ``pairs``.
    """
    first = pairs[0]
    total = len(first if only is None else only)
    found = [PanopticDetails(first.categories, boundary=boundary) for _ in pairs]
    images = iter_images(pairs, _comparisons, boundary=boundary, workers=workers, only=only)
    for done, compared in enumerate(images, start=1):
        for details, (image_id, comparison, _) in zip(found, compared, strict=True):
            details.add(image_id, comparison)
        if scored is not None:
            scored.append([compared[0][2][0], *(pngs[1] for *_, pngs in compared)])
        if progress:
            progress(done, total)
    return found


def _tally(pairs: Sequence[Pair]) -> Tally:
    return Tally.of(pairs[0].comparison)


def _comparisons(pairs: Sequence[Pair]) -> list[tuple[ImageId, Comparison, tuple[ScoredPng | None, ScoredPng | None]]]:
    for pair in pairs:
        _ = pair.comparison.matches  # which it keeps: computed here, in the process of a worker
    return [(pair.image.id, pair.comparison, pair.pngs) for pair in pairs]
