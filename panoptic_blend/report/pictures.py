"""What the page shows of one image: photo, thumbnail, index maps and the segments of both sides."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from panoptic_blend.files import inside
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.metrics.causes import Cause, diagnose
from panoptic_blend.metrics.details import SegmentRow, segment_rows
from panoptic_blend.metrics.overlaps import Comparison
from panoptic_blend.scoring.file_pairs import Pair
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap

THUMBNAIL = 192
"""Longest side of a thumbnail, in pixels."""

CAUSES = tuple(Cause)
OUTCOMES = "tp", "fp", "fn", "ignored"
MAX_SEGMENTS = 2**16 - 1

Error = tuple[int, int, int]
"""Line of the true class, line of the predicted one (0: none), place in ``CAUSES``."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What one result set says of one image.

    ``classes``: lines (1..C) of the classes in truth or prediction. ``errors``: each kind of mistake once.
    ``content`` for the page: the predicted ``map``, and the segments of both sides as ``_compact`` makes them.
    """

    image: int
    comparison: Comparison
    classes: list[int]
    errors: list[Error]
    content: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Scene:
    """What all result sets share of one image: JPEGs, ``content`` with the truth's map, and its size in the page."""

    photo: bytes
    thumbnail: bytes
    content: dict[str, Any]


class Reader:
    """Makes readings and scenes; ``side`` bounds the longer side of photos and maps, in pixels."""

    def __init__(self, categories: Sequence[Category], photos: Path, side: int) -> None:
        self._lines = {category.id: line for line, category in enumerate(categories, start=1)}
        self._things = frozenset(category.id for category in categories if category.is_thing)
        self._photos, self._side = photos, side

    def look(self, pairs: Sequence[Pair]) -> tuple[Scene, list[Reading]]:
        """The scene of an image and what each result set says of it.

        Raises PanopticBlendError for a photo that is missing, broken or not of the annotated size.
        """
        return self.scene(pairs[0]), [self.reading(pair) for pair in pairs]

    def scene(self, pair: Pair) -> Scene:
        """Photo and truth of an image; raises as `look`."""
        photo = read_picture(inside(self._photos, pair.image.file_name), pair.image.size)
        height, width = _bounded(pair.image.size, self._side)
        size = {"width": width, "height": height}
        content = {"image": pair.image.id, **size, "map": self._map(pair.truth, pair, "truth")}
        large = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        thumbnail = cv2.resize(large, _bounded((height, width), THUMBNAIL)[::-1], interpolation=cv2.INTER_AREA)
        return Scene(_jpeg(large), _jpeg(thumbnail), content)

    def reading(self, pair: Pair) -> Reading:
        """What one result set says of an image."""
        found = pair.comparison
        rows = list(segment_rows(pair.image.id, found, diagnose(found, self._things)))
        truth, prediction = ([row for row in rows if row.side == side] for side in ("truth", "prediction"))
        places = [{row.segment: place for place, row in enumerate(side)} for side in (truth, prediction)]
        crowds = set(found.truth.ids[found.truth.is_crowd].tolist())
        content = {
            "map": self._map(pair.prediction, pair, "prediction"),
            "truth": [self._compact(row, places[1], row.segment in crowds) for row in truth],
            "prediction": [self._compact(row, places[0], False) for row in prediction],
        }
        classes = sorted({self._lines[row.category] for row in rows})
        errors = sorted({self._error(row) for row in rows if row.cause is not None})
        return Reading(pair.image.id, found, classes, errors, content)

    def _compact(self, row: SegmentRow, places: Mapping[int, int], is_crowd: bool) -> list[float | None]:
        """Segment id, line of its class, area, outcome, IoU, partner, cause, nearest, its IoU, whether it is a crowd.

        Outcome and cause are places in `OUTCOMES` and ``CAUSES``; partner and nearest are places on the other side.
        """
        return [
            row.segment,
            self._lines[row.category],
            row.area,
            OUTCOMES.index(row.outcome),
            None if row.iou is None else round(row.iou, 4),
            None if row.matched_with is None else places[row.matched_with],
            None if row.cause is None else CAUSES.index(row.cause),
            None if row.nearest is None else places[row.nearest],
            round(row.nearest_iou, 4),
            int(is_crowd),
        ]

    def _error(self, row: SegmentRow) -> Error:
        """The cell of the segments' confusion matrix that a mistake is counted in, and its cause."""
        assert row.cause is not None
        own = self._lines[row.category]
        is_mixed_up = row.cause is Cause.WRONG_CLASS and row.nearest_category is not None
        other = self._lines[row.nearest_category] if is_mixed_up and row.nearest_category is not None else 0
        lines = (own, other) if row.side == "truth" else (other, own)
        return *lines, CAUSES.index(row.cause)

    def _map(self, panoptic: PanopticMap, pair: Pair, side: str) -> str:
        """Place + 1 of every pixel's segment among those with pixels, 0 for void: `packed`."""
        areas = (pair.comparison.truth if side == "truth" else pair.comparison.prediction).areas
        existing = [segment for segment, area in zip(panoptic.segments, areas, strict=True) if area > 0]
        if len(existing) > MAX_SEGMENTS:
            raise PanopticBlendError(
                f"image {pair.image.id}: {len(existing)} segments in the {side}; a report shows up to {MAX_SEGMENTS}"
            )
        index = PanopticMap(panoptic.segment_ids, existing).index().astype(np.uint16)
        height, width = _bounded(pair.image.size, self._side)
        if index.shape != (height, width):
            index = np.asarray(cv2.resize(index, (width, height), interpolation=cv2.INTER_NEAREST), np.uint16)
        return packed(index)


def packed(index: np.ndarray) -> str:
    """A map (H, W) uint16 as text: rows after the first XOR the one above, little-endian, zlib, base64."""
    rows = index.astype("<u2")
    rows[1:] ^= index[:-1].astype("<u2")
    return base64.b64encode(zlib.compress(rows.tobytes(), 6)).decode()


def _bounded(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width, made smaller alike if need be so that neither is above ``side``."""
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(scale * length)) for length in size)
    return height, width


def _jpeg(picture: Picture | np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return data.tobytes()
