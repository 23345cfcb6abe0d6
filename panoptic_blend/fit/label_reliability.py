"""How sure a model must be of a disagreement with the annotation, learned from where the two agree.

As in confident learning (Northcutt et al., Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, 2021,
section 3.1, equation 2), the threshold of a class is the mean score of the model where the annotation names this class:
a model that is unsure of a class even where it is right need not be surer to deny a label.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from panoptic_blend.fit.label_doubts import SUPPORT, Candidate, ImageDoubts, Kind
from panoptic_blend.structures import Segment

FEW = 5
"""A class with fewer pairs on which annotation and prediction agree has the threshold of all classes together."""

NEIGHBORS = 100
"""The number of labeled things of the most similar area from which it is known how many of this size are not seen."""

WRONG = 0.033
"""The share of labels that is expected to be wrong: the mean of ten well-known test sets.

Northcutt et al., Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks, NeurIPS 2021.
"""

LEAST = 0.5
"""Strength from which a candidate is listed."""


class Reliability:
    """What is known of a model from all images of a data set: its scores where it agrees, and what it finds."""

    def __init__(self) -> None:
        self._scores: defaultdict[int, list[float]] = defaultdict(list)  # of things on which both agree, by class
        self._ious: defaultdict[int, list[float]] = defaultdict(list)  # of stuff on which both agree, by class
        self._predicted, self._matched = Counter[int](), Counter[int]()  # predicted segments
        self._found: list[bool] = []  # of labeled things
        self._unseen: defaultdict[int, list[bool]] = defaultdict(list)  # of labeled things, by class
        self._areas: list[tuple[int, bool]] = []  # areas of labeled things, and whether they are unseen

    def add(self, image: ImageDoubts) -> None:
        """Take in an image."""
        truth, seen, matches = image.truth.segments, image.output.panoptic.segments, image.matches
        self._predicted.update(segment.category for segment in seen)
        for index, iou in zip(matches.prediction.tolist(), matches.iou.tolist(), strict=True):
            segment = seen[index]
            self._matched[segment.category] += 1
            if segment.score is None:
                self._ious[segment.category].append(iou)
            else:
                self._scores[segment.category].append(segment.score)
        found = set(matches.truth.tolist())
        for index, (segment, support) in enumerate(zip(truth, image.support.tolist(), strict=True)):
            if segment.is_thing and not segment.is_crowd and segment.area:
                self._found.append(index in found)
                self._unseen[segment.category].append(support < SUPPORT)
                self._areas.append((segment.area, support < SUPPORT))

    @property
    def recall(self) -> float | None:
        """The share of all labeled things that the model finds; None without any."""
        return float(np.mean(self._found)) if self._found else None

    def threshold(self, segment: Segment) -> float:
        """The mean score of the things of the class of a predicted ``segment`` where the annotation agrees.

        For stuff, which has no scores, it is the mean IoU.
        """
        by_class = self._ious if segment.score is None else self._scores
        agreed = by_class[segment.category]
        if len(agreed) < FEW:
            agreed = [value for values in by_class.values() for value in values]
        return float(np.mean(agreed)) if agreed else 1.0

    def strength(self, candidate: Candidate) -> float:
        """How strongly the model denies the annotation, from 0 to 1.

        It is the clearness of the candidate times the model's certainty, which is 1 from the threshold of the class on
        and proportional to score / threshold below; for stuff, the share of the predictions of the class that are right
        takes the place of the score. A thing that is not seen at all is a wrong label with the probability `WRONG`
        divided by the share of things of its class, or of its size if that is larger, that are not seen.
        """
        if candidate.kind is Kind.SPURIOUS:
            return candidate.clearness * min(1.0, WRONG / self._share_of_unseen(candidate.labeled[0]))
        return candidate.clearness * min(self._certainty(segment, candidate) for segment in candidate.seen)

    def _certainty(self, seen: Segment, candidate: Candidate) -> float:
        if seen.score is not None:
            return min(1.0, seen.score / max(self.threshold(seen), 1e-6))
        precision = self._matched[seen.category] / max(1, self._predicted[seen.category])
        return precision * min(1.0, candidate.clearness / max(self.threshold(seen), 1e-6))

    def _share_of_unseen(self, labeled: Segment) -> float:
        place = bisect_left(self._by_area, (labeled.area, False))
        of_size = self._by_area[max(0, place - NEIGHBORS // 2) : place + NEIGHBORS // 2]
        of_class = self._unseen[labeled.category]
        return float(max(np.mean([is_unseen for _, is_unseen in of_size]), np.mean(of_class)))

    @cached_property
    def _by_area(self) -> list[tuple[int, bool]]:
        return sorted(self._areas)


def strongest(
    candidates: Sequence[Sequence[Candidate]], reliability: Reliability
) -> list[tuple[int, Candidate, float]]:
    """Image, candidate and strength of all that are strong enough, the strongest first.

    ``candidates`` are those of each image. A labeled segment is listed once, for the strongest doubt about it. Of equal
    strength, the one with the highest score of the model comes first.
    """
    judged = [
        (image, candidate, strength)
        for image, found in enumerate(candidates)
        for candidate in found
        if (strength := reliability.strength(candidate)) >= LEAST
    ]
    judged.sort(key=lambda item: (-item[2], -min((s.score or 0 for s in item[1].seen), default=0)))
    known = set[tuple[int, int]]()
    listed = []
    for image, candidate, strength in judged:
        own = {(image, segment.id) for segment in candidate.labeled}
        if not own & known:
            known |= own
            listed.append((image, candidate, strength))
    return listed
