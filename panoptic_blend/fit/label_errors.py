"""Find the segments of a data set that a model denies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.data.protocol import PanopticDataset, read_sample
from panoptic_blend.failures import doing
from panoptic_blend.fit.label_doubts import BACKGROUND, Candidate, ImageDoubts, Kind
from panoptic_blend.fit.label_reliability import Reliability, strongest
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.instances import TrueInstances, run_lengths
from panoptic_blend.report.label_page import Box, Mark
from panoptic_blend.structures import Output, PanopticBlendError, PanopticMap, Progress, Segment


@dataclass(frozen=True, eq=False)
class Finding:
    """A probable label error in image ``image`` of a data set, in ``words``; ``strength`` is from 0 to 1."""

    image: int
    candidate: Candidate
    strength: float
    words: str
    marks: tuple[Mark, ...]

    @property
    def box(self) -> Box:
        """The box around all segments of the finding."""
        boxes = [s.box for s in (*self.candidate.labeled, *self.candidate.seen) if s.box]
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)


class LabelErrorSearch:
    """Collects what a model denies of the labels of a data set, whose images are added in their order.

    Args:
        predictor: the model, which is not run.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._names = {category.id: category.name for category in predictor.categories}
        self._is_semantic = predictor.config.model.semantic.enabled
        self._reliability, self._candidates = Reliability(), list[list[Candidate]]()

    def add(self, truth: PanopticMap, output: Output) -> None:
        """Take in the annotation of the next image, see `annotation`, and what the model says of it."""
        image = ImageDoubts(truth, output, is_semantic=self._is_semantic)
        self._reliability.add(image)
        self._candidates.append(list(image.candidates()))

    @property
    def recall(self) -> float | None:
        """The share of the annotated things that the model finds; None of none."""
        return self._reliability.recall

    def findings(self) -> list[Finding]:
        """The probable label errors in the images so far, the strongest first."""
        return [
            Finding(index, candidate, strength, _words(candidate, self._names), _marks(candidate, self._names))
            for index, candidate, strength in strongest(self._candidates, self._reliability)
        ]


def find_label_errors(predictor: Predictor, dataset: PanopticDataset, progress: Progress) -> LabelErrorSearch:
    """Predict the images of a data set, and look for label errors in them.

    Raises:
        PanopticBlendError: an image cannot be read, or has instances without masks.
    """
    search = LabelErrorSearch(predictor)
    for index in range(len(dataset)):
        sample = read_sample(dataset, index)
        with doing(f"predicting {sample.file_name}", lower="test.short_side or test.long_side"):
            output = predictor.output(sample.image)
        search.add(annotation(sample.panoptic, sample.instances, sample.file_name), output)
        progress(index + 1, len(dataset))
    return search


def annotation(panoptic: PanopticMap | None, instances: TrueInstances | None, file_name: str) -> PanopticMap:
    """The panoptic map of an image; without one, its instances on a background, the smaller over the larger.

    Raises:
        PanopticBlendError: its instances have no masks.
    """
    if panoptic is not None:
        return panoptic
    assert instances is not None, "an image has an annotation"
    return _painted(instances, file_name)


def _painted(instances: TrueInstances, file_name: str) -> PanopticMap:
    if len(instances.masks) < len(instances):
        raise PanopticBlendError(f"{file_name}: its instances are boxes without masks; label errors need masks")
    ids = np.full(instances.size, len(instances) + 1, np.int32)
    records = run_lengths(instances.size, instances.masks)
    for index in np.argsort(-instances.areas, kind="stable").tolist():
        ids[coco.decode(records[index]).astype(bool)] = index + 1
    segments = [
        Segment(index + 1, category, True, None, 0, None, is_crowd)
        for index, (category, is_crowd) in enumerate(
            zip(instances.category_ids.tolist(), instances.is_crowd.tolist(), strict=True)
        )
    ]
    background = Segment(len(instances) + 1, BACKGROUND, False, None, 0, None)
    return PanopticMap.measured(ids, [*segments, background])


def _marks(candidate: Candidate, names: dict[int, str]) -> tuple[Mark, ...]:
    groups = [(segment, 0) for segment in candidate.labeled] + [(segment, 1) for segment in candidate.seen]
    return tuple(
        Mark(path, names[segment.category] + _score(segment), group)
        for (segment, group), path in zip(groups, candidate.outlines, strict=True)
    )


def _words(candidate: Candidate, names: dict[int, str]) -> str:
    labeled, seen = (segments[0] if segments else None for segments in (candidate.labeled, candidate.seen))
    was = names[labeled.category] if labeled else ""
    looks = names[seen.category] + _score(seen) if seen else ""
    return {
        Kind.WRONG_CLASS: f"labeled {was}, looks like {looks}",
        Kind.MISSING: f"{looks} without a label",
        Kind.SPURIOUS: f"labeled {was}, but nothing is seen there",
        Kind.MERGED: f"labeled as one {was}, looks like {len(candidate.seen)}",
        Kind.SPLIT: f"labeled as {len(candidate.labeled)} of {was}, looks like one",
    }[candidate.kind]


def _score(segment: Segment) -> str:
    return "" if segment.score is None else f" ({segment.score:.2f})"
