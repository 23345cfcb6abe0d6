"""How much the label of a picture would teach a model, judged by what the model says of it and of its mirror image.

The two outputs are a committee of two, whose disagreement marks the pictures to label next (Seung et al., Query by
Committee, COLT 1992, here with consistency between augmentations as in Yu et al., CALD, CVPR Workshops 2022).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.postprocessing.fusion import paint_instances
from panoptic_blend.structures import Cutout, Output, PanopticMap, Segment


@dataclass(frozen=True)
class Usefulness:
    """How unsure a model is of a picture, as fractions; ``score`` combines them.

    ``disagreement`` is one minus the `agreement` of the two views, ``doubtful`` the share of the things whose score is
    near fusion's threshold, ``unclaimed`` the share of the pixels that belong to no segment. ``first_only`` and
    ``second_only`` are the segments that only the picture or only its mirror image shows, ``counts`` the number of
    doubtful things and of all things that could be painted.
    """

    disagreement: float
    doubtful: float
    unclaimed: float
    first_only: Sequence[Segment]
    second_only: Sequence[Segment]
    counts: tuple[int, int]

    @property
    def score(self) -> float:
        """The mean of disagreement and uncertainty: ``disagreement / 2 + (doubtful + unclaimed) / 4``."""
        return self.disagreement / 2 + (self.doubtful + self.unclaimed) / 4

    def reasons(self, categories: Categories) -> str:
        """The score in words, such as ``3 things are seen in one view only (2 cats, 1 dog)``."""
        doubtful, things = self.counts
        words = []
        alone = [*self.first_only, *self.second_only]
        for is_thing, noun in ((True, "thing"), (False, "kind of stuff")):
            names = Counter(categories.by_id[s.category].name for s in alone if s.is_thing is is_thing)
            if total := names.total():
                listed = ", ".join(f"{name} {count}" if count > 1 else name for name, count in names.most_common(4))
                more = ", ..." if len(names) > 4 else ""
                words.append(f"{_counted(total, noun)} seen in one view only ({listed}{more})")
        if doubtful:
            words.append(f"{doubtful} of {_counted(things, 'thing')} near the confidence threshold")
        if self.unclaimed >= 0.05:
            words.append(f"{self.unclaimed:.0%} of the pixels in no segment")
        return "; ".join(words) or "both views agree"


def usefulness(first: Output, second: Output, *, confidence: float, overlap: float, is_semantic: bool) -> Usefulness:
    """Judge the outputs for a picture and for its mirror image.

    Args:
        first, second: the outputs; the second is turned back here.
        confidence, overlap: the settings of fusion. Doubtful things are those whose odds, ``score / (1 - score)``, are
            between half and twice the odds of ``confidence``.
        is_semantic: whether the model has a semantic head; without one, most pixels rightly belong to no segment.
    """
    one, other = first.panoptic, turned(second.panoptic)
    low, high = confidence / (2 - confidence), 2 * confidence / (1 + confidence)
    scores = _things_above(first.cutouts, first.scores, one.segment_ids.shape, low, overlap)
    doubtful = int(np.count_nonzero(scores < high))
    agreed, first_only, second_only = agreement(one, other)
    unclaimed = float(np.mean([(view.segment_ids == 0).mean() for view in (one, other)])) if is_semantic else 0.0
    return Usefulness(
        disagreement=1 - agreed,
        doubtful=doubtful / max(1, len(scores)),
        unclaimed=unclaimed,
        first_only=first_only,
        second_only=second_only,
        counts=(doubtful, len(scores)),
    )


def turned(panoptic: PanopticMap) -> PanopticMap:
    """The map of a mirror image, turned back."""
    return PanopticMap.measured(np.ascontiguousarray(panoptic.segment_ids[:, ::-1]), panoptic.segments)


def agreement(first: PanopticMap, second: PanopticMap) -> tuple[float, list[Segment], list[Segment]]:
    """The agreement of two maps of one picture, and the segments that only one of them has.

    It is the panoptic quality of one map against the other over all segments together, whatever their class
    (Kirillov et al., Panoptic Segmentation, section 4.1): ``2 sum(IoU) / (segments of both)``. No pixel is void, so it
    is symmetric; two maps without segments agree.
    """
    found = compare(first, second)
    rows, columns, shared = found.pairs()
    union = found.truth.areas[rows] + found.prediction.areas[columns] - shared
    iou = np.where(found.truth.categories[rows] == found.prediction.categories[columns], shared / union, 0)
    matched = iou > 0.5
    total = len(first.segments) + len(second.segments)
    agreed = 2 * float(iou[matched].sum()) / total if total else 1.0
    alone = [
        [segment for index, segment in enumerate(view.segments) if index not in paired and segment.area]
        for view, paired in ((first, set(rows[matched].tolist())), (second, set(columns[matched].tolist())))
    ]
    return agreed, alone[0], alone[1]


def _things_above(
    cutouts: Sequence[Cutout], scores: Tensor, shape: tuple[int, ...], confidence: float, overlap: float
) -> npt.NDArray[np.floating]:
    """The scores of the things that fusion would paint with this ``confidence``."""
    values = scores.detach().cpu().numpy()
    painted = paint_instances(cutouts, values, np.zeros(shape, np.int32), confidence=confidence, overlap=overlap)
    return np.asarray(values[painted])


def _counted(number: int, noun: str) -> str:
    first, *rest = noun.split(" ")
    plural = " ".join([first if number == 1 else f"{first}s", *rest])
    return f"{number} {plural}"
