"""Match detections with true instances as COCO does, at every IoU threshold and for every range of areas.

In the order of descending scores, each detection takes the free true instance of its class with the highest IoU, if
that reaches the threshold; instances that do not count (crowds, and areas outside of the range) are taken only where no
other is left, and a crowd can be taken any number of times. Detections that took an instance which does not count, and
those that took none and whose own area is outside of the range, are ignored. This is the rule of ``COCOeval`` of
pycocotools; the results are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.instance_columns import Bools, InstanceColumns, Pairs
from panoptic_blend.metrics.instance_report import Kind
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.structures import Category, ImageId

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)

AREAS = {"all": (0.0, 1e5**2), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e5**2)}
"""COCO's ranges of areas in pixels; the bounds belong to both of the ranges that they separate."""

_ALMOST_ONE = 1 - 1e-10
"""The largest threshold that COCO applies."""


@dataclass(frozen=True, eq=False)
class InstanceTallies:
    """Which of D detections match, in A ranges of ``AREAS`` and at T ``IOU_THRESHOLDS``.

    All figures follow from this, also those of a part of the images. The detections are sorted by class, then by
    descending score; equal scores are in the order of ``images``.
    """

    images: tuple[ImageId | None, ...]
    """Ids of the images in ascending order, numbers before names; those without an id come first."""
    categories: tuple[Category, ...]
    """The K thing classes."""
    starts: Integers
    """The detections of class ``k`` are the rows from ``starts[k]`` to ``starts[k + 1]``; (K + 1,)."""
    image: Integers
    """Positions (D,) in ``images``."""
    rank: npt.NDArray[np.uint8]
    """Number (D,) of better detections of the same image and class."""
    scores: Floats
    """Scores (D,)."""
    matched: npt.NDArray[np.uint16]
    """Bit t of each (A, D) says whether the detection takes an instance at IoU threshold t, counted or not."""
    ignored: npt.NDArray[np.uint16]
    """Bit t of each (A, D) says whether the detection counts neither as true nor as false at IoU threshold t."""
    truth_image: Integers
    """Positions (G,) in ``images`` of the true instances."""
    truth_class: Integers
    """Positions (G,) in ``categories`` of the true instances."""
    truth_counts: Bools
    """Whether each true instance is to be found in each range of areas (A, G)."""


def match(columns: InstanceColumns, categories: Sequence[Category], kind: Kind) -> InstanceTallies:
    """Match the detections of all images by boxes or by masks; ``categories`` are the thing classes, sorted by id."""
    places = places_by_id(columns.images)
    ids = np.array([category.id for category in categories], dtype=np.int64)
    image, classes = places[columns.image], np.searchsorted(ids, columns.category)
    order = np.lexsort((columns.rank, image, -columns.scores, classes))
    low, high = np.array(list(AREAS.values())).T[..., None]
    truth_counts = ~columns.truth_is_crowd & (low <= columns.truth_area) & (columns.truth_area <= high)
    outside = (columns.areas[kind] < low) | (columns.areas[kind] > high)
    bits = [_match(columns, columns.pairs[kind], counts) for counts in truth_counts]
    matched, ignored = (np.stack(part)[:, order] for part in zip(*bits, strict=True))
    every = np.uint16(2 ** len(IOU_THRESHOLDS) - 1)
    ignored[outside[:, order]] |= every & ~matched[outside[:, order]]
    return InstanceTallies(
        images=tuple(columns.images[i] for i in np.argsort(places).tolist()),
        categories=tuple(categories),
        starts=np.searchsorted(classes[order], np.arange(len(ids) + 1)),
        image=image[order],
        rank=columns.rank[order],
        scores=columns.scores[order],
        matched=matched,
        ignored=ignored,
        truth_image=places[columns.truth_image],
        truth_class=np.searchsorted(ids, columns.truth_category),
        truth_counts=truth_counts,
    )


def bit_rows(bits: npt.NDArray[np.uint16]) -> Bools:
    """Bit t of each (n,) as row t (T, n)."""
    return (bits >> np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)[:, None] & 1).astype(np.bool_)


def places_by_id(images: Sequence[ImageId | None]) -> Integers:
    """The place (n,) of each of n images in the order in which COCO ranks equal scores: that of their ids."""
    return np.argsort(np.array(sorted(range(len(images)), key=lambda i: _order(images[i])), dtype=np.int64))


def _order(image: ImageId | None) -> tuple[int, int, str]:
    """Sorts ids: None, then numbers, then names."""
    if isinstance(image, str):
        return 2, 0, image
    return (0, 0, "") if image is None else (1, image, "")


def _match(
    columns: InstanceColumns, pairs: Pairs, counts: Bools
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Bits (D,) of the detections that take an instance, and of those that take one which does not count.

    ``counts`` (G,) are the true instances that count.
    """
    matched, ignored = np.zeros((2, len(columns.scores)), dtype=np.uint16)
    found, truth, iou = _preferred(pairs, counts)
    for bit, threshold in enumerate(IOU_THRESHOLDS):
        reaches = iou >= min(threshold, _ALMOST_ONE)
        rows, taken = _take(found[reaches], truth[reaches], columns.truth_is_crowd)
        matched[rows] |= np.uint16(1 << bit)
        ignored[rows[~counts[taken]]] |= np.uint16(1 << bit)
    return matched, ignored


def _preferred(pairs: Pairs, counts: Bools) -> tuple[Integers, Integers, Floats]:
    """Each detection's pairs, the one it prefers first; of equal IoUs, COCO takes the last instance."""
    order = np.lexsort((-pairs.truth, -pairs.iou, ~counts[pairs.truth], pairs.found))
    return pairs.found[order], pairs.truth[order], pairs.iou[order]


def taken(columns: InstanceColumns, kind: Kind) -> tuple[Integers, Integers]:
    """The detections that take a true instance at an IoU of 0.5, of any area, and the instance that each takes."""
    found, truth, _ = _preferred(columns.pairs[kind], ~columns.truth_is_crowd)
    return _take(found, truth, columns.truth_is_crowd)


def _take(found: Integers, truth: Integers, is_crowd: Bools) -> tuple[Integers, Integers]:
    """The detections that take a true instance, and the instance that each takes.

    Detections ``found`` (P,) choose in ascending order, each the first free instance of its ``truth`` (P,). All
    detections choose at once, again and again: a choice is final if no earlier one that is still undecided could take
    the same instance.
    """
    rows, taken = [found[:0]], [truth[:0]]
    first_found = np.empty(len(is_crowd), dtype=np.int64)
    is_gone = np.zeros(len(is_crowd), dtype=np.bool_)
    is_done = np.zeros(found[-1] + 1 if len(found) else 0, dtype=np.bool_)
    while len(found):
        first_found[truth] = found
        np.minimum.at(first_found, truth, found)
        is_choice = np.append(True, found[1:] != found[:-1])
        is_final = is_choice & (is_crowd[truth] | (first_found[truth] == found))
        rows.append(found[is_final])
        taken.append(truth[is_final])
        is_done[rows[-1]] = True
        is_gone[taken[-1]] = ~is_crowd[taken[-1]]
        remains = ~is_done[found] & ~is_gone[truth]
        found, truth = found[remains], truth[remains]
    return np.concatenate(rows), np.concatenate(taken)
