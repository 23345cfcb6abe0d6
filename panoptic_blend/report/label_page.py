"""A page for going through a list of pictures and segments by eye: what to label next, and probable label errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.images import Picture
from panoptic_blend.pages.pictures import encode_picture
from panoptic_blend.report.command import EMBEDDED_BYTES
from panoptic_blend.report.page import LABELS, publish, require_room, writing
from panoptic_blend.structures import PanopticMap, Size

MOST_SHOWN = 200
"""The number of entries of a page; the CSV file beside it has all."""

SIDE = 1024
"""The maximum long side of the photos in pixels."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """The outline of a segment: ``path`` in the syntax of SVG, in pixels of the picture, and its ``label``.

    ``group`` 0 and 1 have different colors, which the legend of the page explains.
    """

    path: str
    label: str
    group: int


@dataclass(frozen=True)
class Entry:
    """A line of the list: the ``file`` in the data set ``source``, what ``kind`` it is, ``words``, and its ``score``.

    ``picture`` identifies the picture, of ``size`` (height, width); ``box`` is the part to look at, None for all of it.
    """

    file: str
    source: str
    kind: str
    words: str
    score: float
    picture: int
    size: Size
    box: Box | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class LabelList:
    """What a page shows besides its entries, as texts.

    ``legend`` explains the two groups of marks; ``decisions`` are the two answers that a person can give for an entry;
    ``total`` is the number of entries in the file ``csv``.
    """

    title: str
    notes: Sequence[str]
    legend: tuple[str, str]
    decisions: tuple[str, str]
    csv: str
    total: int


def write_label_page(
    page: Path, shown: LabelList, entries: Sequence[Entry], read: Callable[[int], Picture]
) -> list[Path]:
    """Write the page atomically; an earlier one is replaced. Returns its path, and that of a folder beside it, if any.

    Args:
        entries: the best ones first; the page has the first `MOST_SHOWN`.
        read: reads the picture of an entry, by its ``picture``.

    Raises:
        PanopticBlendError: the page cannot be written there, or a picture cannot be read.
    """
    require_room(page, overwrite=True)
    first = entries[:MOST_SHOWN]
    with writing(page) as assets:
        for picture in dict.fromkeys(entry.picture for entry in first):
            assets.add(f"{picture}.jpg", encode_picture(read(picture), SIDE).photo)
        content = asdict(shown) | {"entries": [asdict(entry) for entry in first]}
        return publish(page, assets, content, EMBEDDED_BYTES, overwrite=True, template=LABELS)


def outlines(panoptic: PanopticMap, ids: Sequence[int]) -> dict[int, str]:
    """The outlines of the segments ``ids`` of a map, as paths of SVG in pixels, with points where corners are."""
    by_id = {segment.id: segment.box for segment in panoptic.segments}
    paths = {}
    for number in ids:
        if box := by_id[number]:
            x0, y0, x1, y1 = box
            paths[number] = mask_outline(panoptic.segment_ids[y0:y1, x0:x1] == number, x0, y0)
    return paths


def mask_outline(mask: npt.NDArray[np.bool_], left: int, top: int) -> str:
    """The outline of a mask (H, W) at this place of a picture, holes included."""
    # enlarged by the thickness of a line, so that the outline runs around pixels and not through their centers
    grown = np.kron(np.pad(mask, 1), np.ones((2, 2), np.uint8)).astype(np.uint8)
    found, _ = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    tolerance = max(1.0, max(mask.shape) / 100)
    parts = []
    for contour in found:
        points = cv2.approxPolyDP(contour, tolerance, closed=True)[:, 0] / 2 - 1 + (left, top)
        parts.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points.tolist()) + "Z")
    return "".join(parts)
