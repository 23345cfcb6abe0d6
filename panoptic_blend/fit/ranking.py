"""Pictures without labels, ranked by how much their labels would teach a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_blend.failures import doing
from panoptic_blend.fit.near_duplicates import hash_files
from panoptic_blend.fit.usefulness import Usefulness, turned, usefulness
from panoptic_blend.formats.images import Picture, read_picture
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction.find_pictures import FoundPicture
from panoptic_blend.report.label_page import Mark, outlines
from panoptic_blend.structures import Output, Segment, Size


@dataclass(frozen=True, eq=False)
class JudgedPicture:
    """A picture of ``size`` (height, width) with what the model says of it.

    ``marks`` are the outlines of the segments that are seen in one view only.
    """

    found: FoundPicture
    score: float
    reasons: str
    size: Size
    marks: tuple[Mark, ...]

    def picture(self) -> Picture:
        """Read the picture."""
        return read_picture(self.path)

    @property
    def path(self) -> Path:
        """The file of the picture."""
        return _path(self.found)


def judge(predictor: Predictor, found: FoundPicture) -> JudgedPicture:
    """Predict a picture and its mirror image, and judge the outputs."""
    picture = read_picture(_path(found))
    with doing(f"predicting {found.name}", lower="test.short_side or test.long_side"):
        first = predictor.output(picture)
        second = predictor.output(np.ascontiguousarray(picture[:, ::-1]))
    model = predictor.config.model
    useful = usefulness(
        first,
        second,
        confidence=model.fusion.confidence,
        overlap=model.fusion.overlap,
        is_semantic=model.semantic.enabled,
    )
    names = {category.id: category.name for category in predictor.categories}
    return JudgedPicture(
        found,
        useful.score,
        useful.reasons(predictor.categories),
        picture.shape[:2],
        tuple(_marks(useful, first, second, names)),
    )


def _path(found: FoundPicture) -> Path:
    assert isinstance(found.path, Path), "pictures of a folder"
    return found.path


def _marks(useful: Usefulness, first: Output, second: Output, names: dict[int, str]) -> Iterator[Mark]:
    views: Sequence[tuple[Output, Sequence[Segment]]] = ((first, useful.first_only), (second, useful.second_only))
    for group, (output, alone) in enumerate(views):
        panoptic = turned(output.panoptic) if group else output.panoptic
        for number, path in outlines(panoptic, [segment.id for segment in alone]).items():
            segment = next(segment for segment in alone if segment.id == number)
            yield Mark(path, names[segment.category], group)


def diverse(judged: Sequence[JudgedPicture]) -> list[tuple[JudgedPicture, str]]:
    """Pictures and reasons by descending score; near duplicates in turns: the best of each group first.

    A group is a picture with all that are nearly the same and have a lower score.
    """
    by_score = sorted(judged, key=lambda one: -one.score)
    hashes = hash_files([one.path for one in by_score])
    leaders, followers = list[int](), Counter[int]()
    ranked = list[tuple[int, JudgedPicture, str]]()
    for place, picture in enumerate(by_score):
        turn, reasons = 0, picture.reasons
        if best := hashes.alike(place, leaders):
            followers[best[0]] += 1
            turn = followers[best[0]]
            reasons += f"; nearly the same as {by_score[best[0]].found.name}"
        else:
            leaders.append(place)
        ranked.append((turn, picture, reasons))
    return [(picture, reasons) for _, picture, reasons in sorted(ranked, key=lambda item: item[0])]
