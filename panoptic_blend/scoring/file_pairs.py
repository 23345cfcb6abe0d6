"""Read truth and results in COCO panoptic files image by image, and compare them on all cores in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from zlib_ng import zlib_ng

from panoptic_blend.failures import doing
from panoptic_blend.forking import can_fork, forked
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_layout import maps_folder
from panoptic_blend.formats.coco_panoptic import (
    Annotation,
    Annotations,
    Image,
    Images,
    PanopticJson,
    read_annotations,
    read_panoptic_json,
)
from panoptic_blend.formats.images import decode_segment_runs
from panoptic_blend.machine import cores, keep_freed_memory, overlapped
from panoptic_blend.metrics.overlaps import Comparison, compare
from panoptic_blend.structures import ImageId, PanopticBlendError, PanopticMap, Size

T = TypeVar("T")

MAX_LISTED = 3
"""Maximum number of area mismatches in an error message."""

MAX_GROUP = 16
"""Maximum number of images that a worker takes at once; handing them over one by one takes a tenth of the time."""

MANY = 64
"""Images from which on several workers are the default: for fewer, one is done before others have started."""


@dataclass(frozen=True)
class FilePolicy:
    """Treatment of missing or additional predictions and of areas stated in the JSON of the truth.

    ``missing``: an image without a prediction is an "error", or is scored as predicted "void" everywhere.
    ``additional``: a prediction for an image without truth is an "error", or is "ignore"d.
    ``area``: "png" measures areas in the PNGs and raises an error if the JSON of the truth states others; "json" takes
    the areas of the truth from its JSON, as the script of 2018 does, for which a segment without pixels is missed.
    """

    missing: Literal["error", "void"] = "error"
    additional: Literal["error", "ignore"] = "ignore"
    area: Literal["png", "json"] = "png"


@dataclass(frozen=True)
class _Results:
    """Predictions of the file ``path``, the index of each image id among them, and the folder of their PNGs."""

    path: Path
    annotations: Annotations
    indices: dict[ImageId, int]
    maps: Folder


class ScoredPng(NamedTuple):
    """The name of a PNG in its folder, and the CRC-32 of the bytes that were decoded."""

    name: str
    checksum: int


@dataclass(frozen=True, eq=False)
class Pair:
    """One image with its truth and prediction, whose segments are not measured, and their comparison.

    ``pngs`` are the files of truth and prediction; None for an image without a prediction.
    """

    image: Image
    truth: PanopticMap
    prediction: PanopticMap
    comparison: Comparison
    pngs: tuple[ScoredPng | None, ScoredPng | None]


class FilePairs:
    """The images of a data set, paired with the predictions of one result set.

    ``pictures`` requires the names of the pictures, which scores do not need.

    Raises:
        PanopticBlendError: a JSON or folder is missing or broken, or ``policy`` does not allow missing or additional
            predictions.
    """

    def __init__(
        self,
        truth_json: str | Path,
        prediction_json: str | Path,
        truth_folder: str | Path | None = None,
        prediction_folder: str | Path | None = None,
        policy: FilePolicy | None = None,
        *,
        pictures: bool = False,
    ) -> None:
        self._truth_path, self._policy = Path(truth_json), policy or FilePolicy()
        self._truth: PanopticJson = read_panoptic_json(self._truth_path, areas=True, pictures=pictures)
        self._results = self._read_results(Path(prediction_json), prediction_folder)
        self._truth_maps = maps_folder(self._truth_path, truth_folder, self._truth.images.annotations)

    def with_results(self, prediction_json: str | Path, prediction_folder: str | Path | None = None) -> FilePairs:
        """Pair the same truth, without reading it again, with other results; raises the errors of the constructor."""
        other = copy(self)
        other._results = self._read_results(Path(prediction_json), prediction_folder)
        return other

    @property
    def truth_json(self) -> Path:
        """The JSON of the truth."""
        return self._truth_path

    @property
    def categories(self) -> Categories:
        """Categories of the truth."""
        return self._truth.categories

    def __len__(self) -> int:
        return len(self._truth.images)

    @property
    def images(self) -> Images:
        """Images of the truth, in the order of its file."""
        return self._truth.images

    def map_digests(self) -> tuple[str, str]:
        """Digests of the sizes of all PNGs of the truth and of the results."""
        truth, results = self._truth.images.annotations, self._results
        return self._truth_maps.digest(truth.pngs), results.maps.digest(results.annotations.pngs)

    @property
    def map_folders(self) -> tuple[Path, Path]:
        """The folders or zips of the PNGs of the truth and of the results."""
        return self._truth_maps.path, self._results.maps.path

    def _pair(self, image: Image, truth: PanopticMap, truth_png: ScoredPng | None, boundary: bool) -> Pair:
        """Pair an image with its prediction, and validate that JSON and PNG have the same segments."""
        results, index = self._results, self._results.indices.get(image.id)
        annotation = None if index is None else results.annotations[index]
        prediction, png = _read(annotation, results.maps, image.size)
        try:
            found = compare(truth, prediction, boundary=boundary)
            may_be_hidden = self._policy.area == "json"  # segments of the truth, which are missed then
            is_valid = bool((may_be_hidden or found.truth.areas.all()) and found.prediction.areas.all())
        except PanopticBlendError:
            is_valid = False
        if not is_valid:  # the slower validation raises an error that names the file and the segment
            remedy = "remove it from the JSON, or count it as missed (--area json)"
            image.annotation.read(self._truth_path, self._truth_maps, image.size, remedy=remedy)
            if annotation:
                annotation.read(results.path, results.maps, image.size)
        return Pair(image, truth, prediction, found, (truth_png, png))

    def _with_areas(self, pair: Pair, stated: np.ndarray) -> Pair:
        """Replace the areas of the truth by those that the JSON states."""
        image, found = pair.image, pair.comparison
        wrong = np.flatnonzero(~(stated == np.floor(stated)) | (stated < 1) | (stated > 2**53))
        if wrong.size:
            raise PanopticBlendError(
                f"{self._truth_path.name}: image {image.id}: segment {found.truth.ids[wrong[0]]}: no `area` of one or "
                "more whole pixels; add it, or measure areas in the PNGs (--area png)"
            )
        return replace(pair, comparison=replace(found, truth=replace(found.truth, areas=stated.astype(np.int64))))

    def _read_results(self, path: Path, folder: str | Path | None) -> _Results:
        annotations = read_annotations(path, self._truth.categories, self._truth_path)
        indices = self._pair_ids(path.name, annotations.image_ids)
        return _Results(path, annotations, indices, maps_folder(path, folder, annotations))

    def _pair_ids(self, name: str, image_ids: Iterable[ImageId]) -> dict[ImageId, int]:
        """Index of each image id among the predictions in the file ``name``."""
        ids, indices = self._truth.images.ids, dict[ImageId, int]()
        for index, image_id in enumerate(image_ids):
            if image_id in indices:
                raise PanopticBlendError(f"{name}: image {image_id} is predicted twice; keep one")
            indices[image_id] = index
        if indices and not indices.keys() & set(ids):
            if set(map(str, indices)) & set(map(str, ids)):
                found = f"image ids are {_kind(indices)} and those of {self._truth_path.name} {_kind(ids)}"
                raise PanopticBlendError(f"{name}: {found}; write the same in both")
            raise PanopticBlendError(
                f"{name}: none of its image ids, such as {next(iter(indices))}, is in {self._truth_path.name}, "
                f"whose first is {ids[0]}; check that both are of the same split, and write the image ids of the truth"
            )
        missing = [image_id for image_id in ids if image_id not in indices]
        if missing and self._policy.missing == "error":
            raise PanopticBlendError(
                f"{name}: no prediction for image {missing[0]} ({len(missing)} of {len(ids)} images have none); "
                "predict every image of the truth, or score missing ones as void (--missing void)"
            )
        additional = sorted(indices.keys() - set(ids), key=str)
        if additional and self._policy.additional == "error":
            raise PanopticBlendError(
                f"{name}: image {additional[0]} is predicted but not in {self._truth_path.name} ({len(additional)} in "
                "total); check that both are of the same split, or ignore them (--additional ignore)"
            )
        return indices


def _kind(ids: Iterable[ImageId]) -> str:
    return "texts" if any(isinstance(image_id, str) for image_id in ids) else "numbers"


def iter_images(
    sets: Sequence[FilePairs],
    work: Callable[[list[Pair]], T],
    *,
    boundary: bool = False,
    workers: int | None = None,
    only: Sequence[int] | None = None,
) -> Generator[T]:
    """Yield ``work(pairs)`` for each image, with one pair per result set, in the order of the file of the truth.

    All ``sets`` but the first must be made from the first by `FilePairs.with_results`, so that each map of the truth is
    read once. ``only`` are the indices of some of the images. ``workers`` is the number of processes, by default one
    per core, or one for few images; each holds the maps of one image. ``work`` must not change anything, and its
    results must be picklable, because more than one process is forked (`forked`); where that is impossible, these are
    threads, which wait for one another for half of the time.

    Raises:
        PanopticBlendError: a PNG is missing or broken, not of the size of its image, or disagrees with its JSON.
    """
    keep_freed_memory()
    mismatches: list[str] = []
    images = range(len(sets[0])) if only is None else only
    count = workers or (cores() if len(images) >= MANY else 1)

    def finish(indices: Sequence[int]) -> list[tuple[T, list[str]]]:
        finished = []
        for index in indices:
            with doing(f"comparing {sets[0].images.file_names[index]}", lower="--workers"):
                pairs, found = _read_pairs(sets, index, boundary)
                finished.append((work(pairs), found))
        return finished

    size = min(max(len(images) // (4 * count), 1), MAX_GROUP)
    groups = [images[start : start + size] for start in range(0, len(images), size)]
    if count > 1 and can_fork():
        batches = forked(groups, finish, workers=count)
    else:
        depth = 2 * count if count > 1 else 0
        batches = overlapped(groups, lambda group: group, finish, finishers=count, queue_depth=depth)
    with closing(batches):
        for done, found in chain.from_iterable(batches):
            mismatches += found
            if len(mismatches) >= MAX_LISTED:
                break
            yield done
    if mismatches:
        raise PanopticBlendError(
            f"{sets[0]._truth_path.name}: stated areas differ from the PNGs: {', '.join(mismatches[:MAX_LISTED])}; "
            "correct them with `data check --fix`, or accept them with --area json"
        )


def _read_pairs(sets: Sequence[FilePairs], index: int, boundary: bool) -> tuple[list[Pair], list[str]]:
    """Read the pairs of one image in every set, and describe the mismatches of its stated areas."""
    first = sets[0]
    image = first._truth.images[index]
    truth, png = _read(image.annotation, first._truth_maps, image.size)
    pairs = [each._pair(image, truth, png, boundary) for each in sets]
    stated = np.array(first._truth.images.annotations.areas(index))
    if first._policy.area == "json":
        return [first._with_areas(pair, stated) for pair in pairs], []
    return pairs, _area_mismatches(pairs[0].comparison, image, stated)


def _read(annotation: Annotation | None, maps: Folder, size: Size) -> tuple[PanopticMap, ScoredPng | None]:
    """Read a map without measuring its segments, and its file; void everywhere if there is no annotation."""
    if annotation is None:
        return PanopticMap(np.zeros(size, dtype=np.int32), []), None
    data = maps.read(annotation.png)
    ids = decode_segment_runs(data, maps.path / annotation.png, size)
    return PanopticMap.from_runs(ids, annotation.segments), ScoredPng(annotation.png, zlib_ng.crc32(data))


def _area_mismatches(found: Comparison, image: Image, stated: Sequence[float] | np.ndarray) -> list[str]:
    measured = found.truth.areas.tolist()
    return [
        f"image {image.id} segment {segment} has area {area:g} in the JSON and {pixels} in the PNG"
        for segment, area, pixels in zip(found.truth.ids.tolist(), stated, measured, strict=True)
        if area == area and area != pixels
    ]
