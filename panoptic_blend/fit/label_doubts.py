"""Segments of an annotation that a model denies: candidates from the overlaps of one image.

Whether the model is sure enough of a candidate is judged when all images are known, by `label_reliability`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.overlaps import Comparison, Matches, compare, match
from panoptic_blend.metrics.sparse import Floats, Integers, sums
from panoptic_blend.report.label_page import outlines
from panoptic_blend.structures import THING_CLASS, Output, PanopticMap, Segment

INSIDE = 0.7
"""The share of a segment in another one from which it is a part of it, or of a prediction on unlabeled background."""
PART = 0.15
"""The share of a segment that each of its parts must at least have."""
SUPPORT = 0.3
"""The support from which a thing is not denied."""
BACKGROUND = -1
"""The category of a segment of all pixels that have no label because they are background, as in instance files."""


class Kind(StrEnum):
    """Kinds of label errors."""

    WRONG_CLASS = "wrong class"
    MISSING = "missing label"
    SPURIOUS = "nothing there"
    MERGED = "several things in one label"
    SPLIT = "one thing in several labels"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A disagreement of annotation and prediction: ``labeled`` segments of the one and ``seen`` segments of the other.

    ``clearness`` from 0 to 1 is how well the segments lie on each other, or off all others, by kind. ``outlines`` are
    those of the labeled and then of the seen segments (see `label_page.outlines`).
    """

    kind: Kind
    labeled: tuple[Segment, ...]
    seen: tuple[Segment, ...]
    clearness: float
    outlines: tuple[str, ...]


class ImageDoubts:
    """Annotation and prediction of one image, and what the prediction denies.

    Args:
        truth: the annotation, with category ids of the data set, or `BACKGROUND`.
        output: the output of the model, with the same ids in its panoptic map.
        is_semantic: whether the model has a semantic head.
    """

    def __init__(self, truth: PanopticMap, output: Output, *, is_semantic: bool) -> None:
        self.truth = PanopticMap.measured(truth.segment_ids, truth.segments)  # a JSON may state other areas and boxes
        self.output, self.is_semantic = output, is_semantic
        self.comparison: Comparison = compare(self.truth, output.panoptic)
        self.matches: Matches = match(self.comparison)
        table = self.comparison.overlaps
        self.rows, self.columns, self.shared = self.comparison.pairs()
        self.truth_area: Integers = table.row_sums()[1:]
        self.seen_area: Integers = table.column_sums()[1:]
        area = (self.seen_area - table.first_row()[1:])[self.columns]  # without void
        self.iou: Floats = self.shared / (self.truth_area[self.rows] + area - self.shared)

    def candidates(self) -> Iterator[Candidate]:
        """Yield everything that the prediction denies, however unsure it is."""
        yield from self._wrong_classes()
        yield from self._missing()
        yield from self._spurious()
        yield from self._several(Kind.MERGED, self.rows, self.columns, self.truth.segments, self._seen)
        yield from self._several(Kind.SPLIT, self.columns, self.rows, self._seen, self.truth.segments)

    def _candidate(
        self, kind: Kind, labeled: tuple[Segment, ...], seen: tuple[Segment, ...], clearness: float
    ) -> Candidate:
        sides = (self.truth, labeled), (self.output.panoptic, seen)
        paths = [path for side, segments in sides for path in outlines(side, [s.id for s in segments]).values()]
        return Candidate(kind, labeled, seen, clearness, tuple(paths))

    @property
    def _seen(self) -> list[Segment]:
        return self.output.panoptic.segments

    def _pairs(self) -> Iterator[tuple[Segment, Segment, float]]:
        for row, column, iou in zip(self.rows.tolist(), self.columns.tolist(), self.iou.tolist(), strict=True):
            yield self.truth.segments[row], self._seen[column], iou

    def _wrong_classes(self) -> Iterator[Candidate]:
        for labeled, seen, iou in self._pairs():
            is_other = labeled.category not in (seen.category, BACKGROUND)
            if is_other and iou > 0.5 and not labeled.is_crowd:
                yield self._candidate(Kind.WRONG_CLASS, (labeled,), (seen,), iou)

    def _missing(self) -> Iterator[Candidate]:
        """Predicted things that lie on stuff or background, and not on things, crowds or void."""
        is_stuff = np.array([not s.is_thing for s in self.truth.segments], dtype=bool)[self.rows]
        on_stuff = sums(self.columns[is_stuff], self.shared[is_stuff], len(self._seen))
        shares = on_stuff / np.maximum(self.seen_area, 1)
        for seen, share in zip(self._seen, shares.tolist(), strict=True):
            if seen.is_thing and share >= INSIDE:
                yield self._candidate(Kind.MISSING, (), (seen,), share)

    def _spurious(self) -> Iterator[Candidate]:
        """True things that no detection of any class and score supports, nor the semantic map."""
        for row, support in enumerate(self.support.tolist()):
            labeled = self.truth.segments[row]
            if labeled.is_thing and not labeled.is_crowd and self.truth_area[row] and support < SUPPORT:
                yield self._candidate(Kind.SPURIOUS, (labeled,), (), 1 - support)

    @cached_property
    def support(self) -> npt.NDArray[np.float64]:
        """(T,): the largest share of a true segment that a detection covers, times its score, or that is "thing"."""
        index = self.truth.index()
        size, area = len(self.truth.segments) + 1, np.maximum(self.truth_area, 1)
        support = np.zeros(len(area))
        for cutout, score in zip(self.output.cutouts, self.output.scores.tolist(), strict=True):
            covered = np.bincount(index[cutout.window][cutout.mask], minlength=size)[1:]
            support = np.maximum(support, score * covered / area)
        if self.is_semantic:
            is_thing = self.output.semantic.cpu().numpy() == THING_CLASS
            support = np.maximum(support, np.bincount(index[is_thing], minlength=size)[1:] / area)
        return support

    def _several(
        self,
        kind: Kind,
        wholes: Integers,
        parts: Integers,
        whole_segments: Sequence[Segment],
        part_segments: Sequence[Segment],
    ) -> Iterator[Candidate]:
        """Things of one map that consist of two or more things of the same class in the other map."""
        by_whole: dict[int, list[tuple[Segment, int]]] = {}
        for whole, part, shared in zip(wholes.tolist(), parts.tolist(), self.shared.tolist(), strict=True):
            one, other = whole_segments[whole], part_segments[part]
            is_same = one.is_thing and one.category == other.category and not (one.is_crowd or other.is_crowd)
            if is_same and shared >= INSIDE * other.area and shared >= PART * one.area:
                by_whole.setdefault(whole, []).append((other, shared))
        for whole, found in by_whole.items():
            one, covered = whole_segments[whole], sum(shared for _, shared in found)
            joined = covered / (one.area + sum(part.area for part, _ in found) - covered)
            if len(found) > 1 and joined >= INSIDE:
                several = tuple(part for part, _ in found)
                is_merged = kind is Kind.MERGED
                yield self._candidate(kind, (one,) if is_merged else several, several if is_merged else (one,), joined)
