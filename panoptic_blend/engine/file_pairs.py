"""Truth and results in COCO's files, image by image: decoded and compared in threads, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from panoptic_blend.data.archives import Folder, first_present
from panoptic_blend.data.categories import Categories
from panoptic_blend.data.coco_panoptic import (
    Annotation,
    Annotations,
    Image,
    PanopticJson,
    read_annotations,
    read_panoptic_json,
)
from panoptic_blend.data.images import decode_segment_ids
from panoptic_blend.engine.overlap import overlapped
from panoptic_blend.machine import cores, keep_freed_memory
from panoptic_blend.metrics.overlaps import Comparison, compare
from panoptic_blend.structures import PanopticBlendError, PanopticMap

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
        self._truth_path, self._prediction_path = Path(truth_json), Path(prediction_json)
        self._policy = policy or FilePolicy()
        self._truth: PanopticJson = read_panoptic_json(self._truth_path, areas=True)
        self._predictions: Annotations = read_annotations(self._prediction_path, self._truth.categories)
        self._places = self._paired()
        self._truth_maps = maps_folder(self._truth_path, truth_folder, self._truth.images.annotations)
        self._prediction_maps = maps_folder(self._prediction_path, prediction_folder, self._predictions)

    @property
    def categories(self) -> Categories:
        """Those of the truth."""
        return self._truth.categories

    def __len__(self) -> int:
        return len(self._truth.images)

    def comparisons(self, *, boundary: bool = False, workers: int | None = None) -> Iterator[tuple[int, Comparison]]:
        """Image id and what truth and prediction share, in the order of the truth's file.

        ``workers`` are threads, by default as many as cores; each holds two images' maps.

        Raises:
            PanopticBlendError: a PNG is missing or broken, not of its picture's size, or disagrees with its JSON.
        """
        keep_freed_memory()
        disagreements: list[str] = []
        threads = workers or cores()
        compared = partial(self._compared, boundary=boundary)
        for image_id, comparison, found in overlapped(
            range(len(self)), lambda index: index, compared, finishers=threads, waiting=2 * threads
        ):
            disagreements += found
            if len(disagreements) >= CASES:
                break
            yield image_id, comparison
        if disagreements:
            raise PanopticBlendError(
                f"{self._truth_path.name}: areas are not the pixels of the PNGs: {', '.join(disagreements[:CASES])}; "
                "recompute them with `data check --fix`, or take them as they are with area `json`"
            )

    def _compared(self, index: int, boundary: bool) -> tuple[int, Comparison, list[str]]:
        """One image: its id, what is shared, and where its areas are not those the JSON states."""
        image = self._truth.images[index]
        place = self._places.get(image.id)
        annotation = None if place is None else self._predictions[place]
        truth = _read(image.annotation, self._truth_maps, image.size)
        prediction = _read(annotation, self._prediction_maps, image.size)
        try:
            found = compare(truth, prediction, boundary=boundary)
            is_sound = bool(found.truth.areas.all() and found.prediction.areas.all())
        except PanopticBlendError:
            is_sound = False
        if not is_sound:  # reading with checks names the file and the segment
            image.annotation.read(self._truth_path, self._truth_maps, image.size)
            if annotation:
                annotation.read(self._prediction_path, self._prediction_maps, image.size)
        stated = np.array(self._truth.images.annotations.areas(index))
        if self._policy.area == "json":
            return image.id, self._restated(found, image, stated), []
        return image.id, found, _disagreements(found, image, stated)

    def _restated(self, found: Comparison, image: Image, stated: np.ndarray) -> Comparison:
        wrong = np.flatnonzero(~(stated == np.floor(stated)) | (abs(stated) > 2**53))
        if wrong.size:
            raise PanopticBlendError(
                f"{self._truth_path.name}: image {image.id}: segment {found.truth.ids[wrong[0]]}: no `area` in whole "
                "pixels; give it, or take areas from the PNGs"
            )
        return replace(found, truth=replace(found.truth, areas=stated.astype(np.int64)))

    def _paired(self) -> dict[int, int]:
        """Image id -> place among the predictions."""
        name, ids, places = self._prediction_path.name, self._truth.images.ids, dict[int, int]()
        for place, image_id in enumerate(self._predictions.image_ids):
            if image_id in places:
                raise PanopticBlendError(f"{name}: image {image_id} is predicted twice; keep one")
            places[image_id] = place
        missing = [image_id for image_id in ids if image_id not in places]
        if missing and self._policy.missing == "error":
            raise PanopticBlendError(
                f"{name}: no prediction of image {missing[0]} ({len(missing)} of {len(ids)} "
                "lack one); predict every image of the truth, or count the others as void"
            )
        additional = sorted(places.keys() - set(ids))
        if additional and self._policy.additional == "error":
            raise PanopticBlendError(
                f"{name}: image {additional[0]} is predicted and not in {self._truth_path.name} ({len(additional)} "
                "such); is it the right split? Else pass over additional images"
            )
        return places


def maps_folder(json_path: Path, folder: str | Path | None, annotations: Annotations) -> Folder:
    """The folder or zip of the PNGs; a COCO data set may also keep it beside ``annotations``."""
    name = json_path.stem
    beside = [json_path.parent / name, json_path.parent.parent / name]
    path = first_present(beside) if folder is None else Path(folder)
    if not path.exists():
        raise PanopticBlendError(f"{path}: no such folder; say where the PNGs of {json_path.name} are")
    return Folder(path, example=next(iter(annotations.pngs), None))


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
