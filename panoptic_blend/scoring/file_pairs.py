"""Truth and results in COCO's files, image by image: decoded and compared in threads, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

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
from panoptic_blend.formats.images import decode_segment_ids
from panoptic_blend.machine import cores, keep_freed_memory, overlapped
from panoptic_blend.metrics.overlaps import Comparison, compare
from panoptic_blend.structures import PanopticBlendError, PanopticMap

T = TypeVar("T")

CASES = 3
"""Disagreements that a message lists."""


@dataclass(frozen=True)
class FilePolicy:
    """What to do where files are not as they should be.

    ``missing``: an image without a prediction is an error, or counts as one where everything is "void".
    ``additional``: a prediction of an image without truth is an error, or is passed over.
    ``area``: areas come from the PNGs, and it is an error if the truth's JSON states others; or, as in the script of
    2018, those of the truth come from its JSON ("json").
    """

    missing: Literal["error", "void"] = "error"
    additional: Literal["error", "ignore"] = "ignore"
    area: Literal["png", "json"] = "png"


@dataclass(frozen=True)
class _Results:
    """Predictions in the file ``path``, their PNGs, and image id -> place among them."""

    path: Path
    annotations: Annotations
    places: dict[int, int]
    maps: Folder


@dataclass(frozen=True, eq=False)
class Pair:
    """One image with both its maps as they are in their files, unmeasured, and what these share."""

    image: Image
    truth: PanopticMap
    prediction: PanopticMap
    comparison: Comparison


class FilePairs:
    """The images of a truth with one result set.

    Raises:
        PanopticBlendError: a JSON or folder is missing or broken, or ``policy`` makes an error of what is missing.
    """

    def __init__(
        self,
        truth_json: str | Path,
        prediction_json: str | Path,
        truth_folder: str | Path | None = None,
        prediction_folder: str | Path | None = None,
        policy: FilePolicy | None = None,
    ) -> None:
        self._truth_path, self._policy = Path(truth_json), policy or FilePolicy()
        self._truth: PanopticJson = read_panoptic_json(self._truth_path, areas=True)
        self._results = self._read_results(Path(prediction_json), prediction_folder)
        self._truth_maps = maps_folder(self._truth_path, truth_folder, self._truth.images.annotations)

    def with_results(self, prediction_json: str | Path, prediction_folder: str | Path | None = None) -> FilePairs:
        """The same truth, not read again, with other results; raises as the constructor does."""
        other = copy(self)
        other._results = self._read_results(Path(prediction_json), prediction_folder)
        return other

    @property
    def categories(self) -> Categories:
        """Those of the truth."""
        return self._truth.categories

    def __len__(self) -> int:
        return len(self._truth.images)

    @property
    def images(self) -> Images:
        """Those of the truth, in the order of its file."""
        return self._truth.images

    def comparisons(self, *, boundary: bool = False, workers: int | None = None) -> Generator[tuple[int, Comparison]]:
        """Image id and what truth and prediction share; see `iter_images`."""
        return iter_images(
            [self], lambda pairs: (pairs[0].image.id, pairs[0].comparison), boundary=boundary, workers=workers
        )

    def _pair(self, image: Image, truth: PanopticMap, boundary: bool) -> Pair:
        """An image whose truth and prediction name the segments that are in their maps."""
        results, place = self._results, self._results.places.get(image.id)
        annotation = None if place is None else results.annotations[place]
        prediction = _read(annotation, results.maps, image.size)
        try:
            found = compare(truth, prediction, boundary=boundary)
            is_sound = bool(found.truth.areas.all() and found.prediction.areas.all())
        except PanopticBlendError:
            is_sound = False
        if not is_sound:  # reading with checks names the file and the segment
            image.annotation.read(self._truth_path, self._truth_maps, image.size)
            if annotation:
                annotation.read(results.path, results.maps, image.size)
        return Pair(image, truth, prediction, found)

    def _restated(self, pair: Pair, stated: np.ndarray) -> Pair:
        """The same with the areas that the JSON states."""
        image, found = pair.image, pair.comparison
        wrong = np.flatnonzero(~(stated == np.floor(stated)) | (abs(stated) > 2**53))
        if wrong.size:
            raise PanopticBlendError(
                f"{self._truth_path.name}: image {image.id}: segment {found.truth.ids[wrong[0]]}: no `area` in whole "
                "pixels; give it, or take areas from the PNGs"
            )
        return replace(pair, comparison=replace(found, truth=replace(found.truth, areas=stated.astype(np.int64))))

    def _read_results(self, path: Path, folder: str | Path | None) -> _Results:
        annotations = read_annotations(path, self._truth.categories)
        places = self._paired(path.name, annotations.image_ids)
        return _Results(path, annotations, places, maps_folder(path, folder, annotations))

    def _paired(self, name: str, image_ids: Iterable[int]) -> dict[int, int]:
        """Image id -> place among the predictions, which are in the file of that name."""
        ids, places = self._truth.images.ids, dict[int, int]()
        for place, image_id in enumerate(image_ids):
            if image_id in places:
                raise PanopticBlendError(f"{name}: image {image_id} is predicted twice; keep one")
            places[image_id] = place
        missing = [image_id for image_id in ids if image_id not in places]
        if missing and self._policy.missing == "error":
            raise PanopticBlendError(
                f"{name}: no prediction of image {missing[0]} ({len(missing)} of {len(ids)} "
                "lack one); predict every image of the truth, or count the others as void (--missing void)"
            )
        additional = sorted(places.keys() - set(ids))
        if additional and self._policy.additional == "error":
            raise PanopticBlendError(
                f"{name}: image {additional[0]} is predicted and not in {self._truth_path.name} ({len(additional)} "
                "such); is it the right split? Else pass over them (--additional ignore)"
            )
        return places


def iter_images(
    sets: Sequence[FilePairs], work: Callable[[list[Pair]], T], *, boundary: bool = False, workers: int | None = None
) -> Generator[T]:
    """What ``work`` makes of each image with its prediction in each result set, in the order of the truth's file.

    All of ``sets`` but the first are made from the first by `FilePairs.with_results`, so that each map of the truth is
    read once. ``workers`` is the number of threads, by default one per core; each holds the maps of one image.

    Raises:
        PanopticBlendError: a PNG is missing or broken, not of its picture's size, or disagrees with its JSON.
    """
    keep_freed_memory()
    disagreements: list[str] = []
    threads = workers or cores()

    def finish(index: int) -> tuple[T, list[str]]:
        pairs, found = _read_pairs(sets, index, boundary)
        return work(pairs), found

    images = range(len(sets[0]))
    for done, found in overlapped(images, lambda index: index, finish, finishers=threads, queue_depth=2 * threads):
        disagreements += found
        if len(disagreements) >= CASES:
            break
        yield done
    if disagreements:
        raise PanopticBlendError(
            f"{sets[0]._truth_path.name}: areas are not the pixels of the PNGs: {', '.join(disagreements[:CASES])}; "
            "recompute them with `data check --fix`, or take them as they are with --area json"
        )


def _read_pairs(sets: Sequence[FilePairs], index: int, boundary: bool) -> tuple[list[Pair], list[str]]:
    """One image in each set, and where its areas are not those the JSON states."""
    first = sets[0]
    image = first._truth.images[index]
    truth = _read(image.annotation, first._truth_maps, image.size)
    pairs = [each._pair(image, truth, boundary) for each in sets]
    stated = np.array(first._truth.images.annotations.areas(index))
    if first._policy.area == "json":
        return [first._restated(pair, stated) for pair in pairs], []
    return pairs, _disagreements(pairs[0].comparison, image, stated)


def _read(annotation: Annotation | None, maps: Folder, size: tuple[int, int]) -> PanopticMap:
    """A map as it is in its file, unmeasured; void everywhere without an annotation."""
    if annotation is None:
        return PanopticMap(np.zeros(size, dtype=np.int32), [])
    ids = decode_segment_ids(maps.read(annotation.png), maps.path / annotation.png, size)
    return PanopticMap(ids, annotation.segments)


def _disagreements(found: Comparison, image: Image, stated: Sequence[float] | np.ndarray) -> list[str]:
    counted = found.truth.areas.tolist()
    return [
        f"image {image.id} segment {segment} {area:g} in the JSON and {pixels} in the PNG"
        for segment, area, pixels in zip(found.truth.ids.tolist(), stated, counted, strict=True)
        if area == area and area != pixels
    ]
