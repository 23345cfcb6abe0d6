"""A model that sees the truth with noise, and annotations with known errors, for the tests of label errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.protocol import Sample
from panoptic_blend.fit.label_doubts import Kind
from panoptic_blend.formats.categories import Categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.structures import Cutout, Output, PanopticMap, Segment


def tiny_config() -> Config:
    return load_config("demo/shapes_r18")


def output_of(categories: Categories, truth: PanopticMap, things: Iterable[tuple[int, float, Any]]) -> Output:
    """The output of a model that sees the stuff of ``truth``, and ``things``: category, score and mask (H, W)."""
    found = [
        (categories.label(category), score, Cutout.from_mask(mask)) for category, score, mask in things if mask.any()
    ]
    semantic = np.zeros(truth.segment_ids.shape, np.int64)
    for segment in truth.segments:
        semantic[truth.segment_ids == segment.id] = categories.semantic_class(segment.category)
    scores, labels = (
        torch.tensor([s for _, s, _ in found]),
        torch.tensor([label for label, _, _ in found], dtype=torch.long),
    )
    cutouts = [cutout for _, _, cutout in found]
    panoptic = paint(cutouts, scores, labels, semantic, confidence=0.2, overlap=0.4, stuff_area=64)
    boxes = torch.zeros((len(found), 4))
    return Output(
        boxes, scores, labels, cutouts, torch.from_numpy(semantic), categories.to_dataset(panoptic), None, None
    )


class Stub(Predictor):
    """A predictor whose outputs are those of a function of the picture (H, W, 3)."""

    def __init__(self, categories: Categories, see: Callable[[Any], Output]) -> None:
        self.categories, self.config, self._see = categories, tiny_config(), see

    def output(self, picture: Any) -> Output:
        return self._see(picture)


class Noisy(Stub):
    """A predictor that knows the true maps of pictures and sees them with noise.

    Scores are from 0.5 to 0.95, outlines are up to a pixel off. Of the things 8 % are not detected at all, and a
    quarter of these are stuff in the semantic map; 6 % have a wrong class with a low score; 10 % of the pictures have a
    detection of low score where nothing is.
    """

    def __init__(self, categories: Categories, truths: dict[bytes, PanopticMap], seed: int = 0) -> None:
        super().__init__(categories, lambda picture: self._noisy(truths[picture.numpy().tobytes()]))
        self._random = np.random.default_rng(seed)

    def _noisy(self, truth: PanopticMap) -> Output:
        things = []
        unseen = dict[int, int]()
        stuff = max((s for s in truth.segments if not s.is_thing), key=lambda s: s.area)
        for segment in truth.segments:
            if not segment.is_thing or segment.is_crowd:
                continue
            mask = np.roll(truth.segment_ids == segment.id, self._random.integers(-1, 2, 2), axis=(0, 1))
            category, score, chance = segment.category, self._random.uniform(0.5, 0.95), self._random.random()
            if chance < 0.02:
                unseen[segment.id] = stuff.id
            if chance < 0.08:
                continue
            if chance > 0.94:
                category, score = int(self._random.choice(self.categories.thing_ids)), self._random.uniform(0.2, 0.5)
            things.append((category, score, mask))
        if self._random.random() < 0.1:
            false = np.zeros(truth.segment_ids.shape, bool)
            false[:30, :30] = True
            things.append((self.categories.thing_ids[0], self._random.uniform(0.2, 0.45), false))
        ids = truth.segment_ids.copy()
        for thing, other in unseen.items():
            ids[ids == thing] = other
        return output_of(self.categories, replace(truth, segment_ids=ids), things)


class Corrupted(CocoPanoptic):
    """A data set in which labels are wrong; ``errors`` are the image, the kind and the segments of each.

    There are ``each`` errors of each of the five kinds, in different images.
    """

    def __init__(self, root: Path, each: int, seed: int = 0) -> None:
        super().__init__(root, "val2017")
        self._random, self.errors = np.random.default_rng(seed), list[tuple[int, Kind, tuple[int, ...]]]()
        self._maps = dict[int, PanopticMap]()
        for kind in Kind:
            for _ in range(each):
                free = (index for index in self._random.permutation(len(self)).tolist() if index not in self._maps)
                next(filter(None, (self._corrupt(index, kind) for index in free)))

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return replace(sample, panoptic=self._maps.get(index, sample.panoptic))

    def _corrupt(self, index: int, kind: Kind) -> bool:
        """Make an error of the ``kind`` in an image if it has what that needs."""
        truth = self.truth(index)
        ids, segments = truth.segment_ids.copy(), {s.id: s for s in truth.segments}
        things = [s for s in truth.segments if s.is_thing and not s.is_crowd and s.area > 400]
        stuff = max((s for s in truth.segments if not s.is_thing), key=lambda s: s.area)
        new, concerned = max(segments) + 1, tuple[int, ...]()
        if kind is Kind.WRONG_CLASS and things:
            thing = things[0]
            others = [category for category in self.categories.thing_ids if category != thing.category]
            segments[thing.id] = replace(thing, category=int(self._random.choice(others)))
            concerned = (thing.id,)
        elif kind is Kind.MISSING and things:
            ids[ids == things[0].id] = stuff.id
            del segments[things[0].id]
        elif kind is Kind.SPURIOUS:
            window = self._free_window(ids == stuff.id)
            if window is None:
                return False
            ids[window] = new
            segments[new] = Segment(new, int(self._random.choice(self.categories.thing_ids)), True, None, 0, None)
            concerned = (new,)
        elif kind is Kind.SPLIT and things:
            thing = max(things, key=lambda s: s.area)
            assert thing.box
            middle = int(np.median(np.nonzero(ids == thing.id)[1]))
            right = ids[:, middle:]
            right[right == thing.id] = new
            segments[new] = replace(thing, id=new)
            concerned = (thing.id, new)
        elif kind is Kind.MERGED:
            one, other = self._similar(things)
            if one is None or other is None:
                return False
            ids[ids == other.id] = one.id
            del segments[other.id]
            concerned = (one.id,)
        else:
            return False
        self._maps[index] = PanopticMap.measured(ids, list(segments.values()))
        self.errors.append((index, kind, concerned))
        return True

    @staticmethod
    def _similar(things: list[Segment]) -> tuple[Segment | None, Segment | None]:
        """Two things of one class, of which none is over three times as large as the other."""
        for first in things:
            for second in things:
                is_similar = first.category == second.category and first.area / 3 < second.area < 3 * first.area
                if first.id < second.id and is_similar:
                    return first, second
        return None, None

    @staticmethod
    def _free_window(is_free: Any, side: int = 40) -> tuple[slice, slice] | None:
        for top in range(0, is_free.shape[0] - side, 8):
            for left in range(0, is_free.shape[1] - side, 8):
                window = slice(top, top + side), slice(left, left + side)
                if is_free[window].all():
                    return window
        return None
