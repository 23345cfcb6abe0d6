"""Encode one image for the page: photo, thumbnail, index maps, and the segments of truth and predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.names import locate
from panoptic_blend.metrics.causes import Cause, diagnose
from panoptic_blend.metrics.details import SegmentRow, segment_rows
from panoptic_blend.metrics.overlaps import Comparison
from panoptic_blend.pages.pictures import EncodedPhoto, bounded, encode_picture, index_runs, packed
from panoptic_blend.report.segment_columns import NO_CAUSE, SegmentEntry
from panoptic_blend.scoring.file_pairs import Pair
from panoptic_blend.structures import Category, ImageId, PanopticBlendError, PanopticMap, Size

CAUSES = tuple(Cause)
OUTCOMES = "tp", "fp", "fn", "ignored"
MAX_SEGMENTS = 2**16 - 1

Box = tuple[int, int, int, int]

Error = tuple[int, int, int]
"""Index (1..C, 0 for none) of the true class and of the predicted class, and index in ``CAUSES``."""


@dataclass(frozen=True, eq=False)
class EncodedResult:
    """The result for one image in one result set.

    ``classes`` are the indices (1..C) of the classes in truth or prediction, ``errors`` the distinct errors, and
    ``segments`` those of truth and prediction. ``content`` is for the page: the predicted ``map``, and the segments of
    ``truth`` and ``prediction`` as rows.
    """

    image: ImageId
    comparison: Comparison
    classes: list[int]
    errors: list[Error]
    segments: tuple[list[SegmentEntry], list[SegmentEntry]]
    content: dict[str, Any]


@dataclass(frozen=True, eq=False)
class EncodedMaps:
    """The maps of one image: the packed map of the ``truth``, and each result."""

    truth: str
    results: list[EncodedResult]

    @property
    def content(self) -> dict[str, Any]:
        """The maps for the page."""
        return {"map": self.truth, "sets": [result.content for result in self.results]}


def encode_photo(photos: Path, file_name: str, size: Size, side: int) -> EncodedPhoto:
    """Encode the photo of an image of ``size`` (height, width), with a long side of at most ``side`` pixels.

    Raises PanopticBlendError if the photo is missing, broken or not of this size.
    """
    return encode_picture(read_picture(locate(photos, file_name), size), side)


class MapEncoder:
    """Encodes the maps of images; ``side`` is their maximum long side in pixels."""

    def __init__(self, categories: Sequence[Category], side: int) -> None:
        self._class_indices = {category.id: index for index, category in enumerate(categories, start=1)}
        self._things = frozenset(category.id for category in categories if category.is_thing)
        self._side = side

    def encode(self, pairs: Sequence[Pair]) -> EncodedMaps:
        """Encode the truth of an image and its result in each result set."""
        truth, boxes = self._map(pairs[0].truth, pairs[0], "truth")
        return EncodedMaps(truth, [self._encode_result(pair, boxes) for pair in pairs])

    def _encode_result(self, pair: Pair, truth_boxes: list[Box]) -> EncodedResult:
        found = pair.comparison
        rows = list(segment_rows(pair.image.id, found, diagnose(found, self._things)))
        truth, prediction = ([row for row in rows if row.side == side] for side in ("truth", "prediction"))
        indices = [{row.segment: index for index, row in enumerate(side)} for side in (truth, prediction)]
        crowds = set(found.truth.ids[found.truth.is_crowd].tolist())
        packed, boxes = self._map(pair.prediction, pair, "prediction")
        content = {
            "map": packed,
            "truth": [self._segment_row(row, indices[1], row.segment in crowds) for row in truth],
            "prediction": [self._segment_row(row, indices[0], False) for row in prediction],
        }
        classes = sorted({self._class_indices[row.category] for row in rows})
        errors = sorted({self._error(row) for row in rows if row.cause is not None})
        scores = {segment.id: segment.score for segment in pair.prediction.segments}
        ignorable = set(found.prediction.ids[found.matches.ignorable].tolist())
        segments = (
            [self._entry(row, None, box, False) for row, box in zip(truth, truth_boxes, strict=True)],
            [
                self._entry(row, scores[row.segment], box, row.segment in ignorable)
                for row, box in zip(prediction, boxes, strict=True)
            ],
        )
        return EncodedResult(pair.image.id, found, classes, errors, segments, content)

    def _entry(self, row: SegmentRow, score: float | None, box: Box, ignorable: bool) -> SegmentEntry:
        return SegmentEntry(
            line=self._class_indices[row.category],
            outcome=OUTCOMES.index(row.outcome),
            cause=NO_CAUSE if row.cause is None else CAUSES.index(row.cause),
            iou=row.nearest_iou if row.iou is None else row.iou,
            other=0 if row.nearest_category is None else self._class_indices[row.nearest_category],
            area=row.area,
            score=math.nan if score is None else score,
            box=box,
            ignorable=ignorable,
        )

    def _segment_row(self, row: SegmentRow, indices: Mapping[int, int], is_crowd: bool) -> list[float | None]:
        """Segment id, class, area, outcome, IoU, partner, cause, nearest, IoU with the nearest, and ``iscrowd``.

        Class, outcome and cause are indices of classes (from 1), ``OUTCOMES`` and ``CAUSES``; partner and nearest are
        ``indices`` of segments in the other map.
        """
        return [
            row.segment,
            self._class_indices[row.category],
            row.area,
            OUTCOMES.index(row.outcome),
            None if row.iou is None else round(row.iou, 4),
            None if row.matched_with is None else indices[row.matched_with],
            None if row.cause is None else CAUSES.index(row.cause),
            None if row.nearest is None else indices[row.nearest],
            round(row.nearest_iou, 4),
            int(is_crowd),
        ]

    def _error(self, row: SegmentRow) -> Error:
        """The cell of the confusion matrix of segments in which an error is counted, and its cause."""
        assert row.cause is not None
        own = self._class_indices[row.category]
        is_confused = row.cause is Cause.WRONG_CLASS and row.nearest_category is not None
        other = self._class_indices[row.nearest_category] if is_confused and row.nearest_category is not None else 0
        pair = (own, other) if row.side == "truth" else (other, own)
        return *pair, CAUSES.index(row.cause)

    def _map(self, panoptic: PanopticMap, pair: Pair, side: str) -> tuple[str, list[Box]]:
        """Pack the map of segment indices, from 1 in the order of the segments that have pixels; 0 is void.

        The boxes of these segments are in pixels of the page, and empty for those that are too small to be in it.
        """
        areas = (pair.comparison.truth if side == "truth" else pair.comparison.prediction).areas
        existing = [segment for segment, area in zip(panoptic.segments, areas, strict=True) if area > 0]
        if len(existing) > MAX_SEGMENTS:
            raise PanopticBlendError(
                f"image {pair.image.id}: {len(existing)} segments in the {side}, more "
                f"than the {MAX_SEGMENTS} of a report; leave the image out"
            )
        runs = index_runs(panoptic.with_segments(existing), bounded(pair.image.size, self._side))
        shown, boxes = runs.areas_and_boxes(len(existing))
        return packed(runs), list(map(tuple, np.where(shown[:, None] > 0, boxes, 0).tolist()))
