"""Label errors of known kinds are found, above the errors of the model, and nothing is found where nothing is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_corruption import Corrupted, Noisy, Stub, output_of
from pycocotools import mask as coco

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.splits import Subset
from panoptic_blend.fit.label_doubts import BACKGROUND, ImageDoubts, Kind
from panoptic_blend.fit.label_errors import annotation, find_label_errors
from panoptic_blend.formats.categories import Categories
from panoptic_blend.instances import TrueInstances
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import Category, PanopticMap, Segment

CATEGORIES = Categories([Category(3, "cat", True), Category(5, "dog", True), Category(9, "sky", False)])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    write_shapes(folder, train=1, val=40, seed=3)
    return folder


def noisy(clean: CocoPanoptic) -> Noisy:
    samples = [clean[index] for index in range(len(clean))]
    return Noisy(clean.categories, {s.image.numpy().tobytes(): s.panoptic_truth() for s in samples})


def quiet(done: int, total: int) -> None:
    pass


def test_corrupted_labels_come_first(root: Path) -> None:
    clean, corrupted = CocoPanoptic(root, "val2017"), Corrupted(root, each=4)
    assert Counter(kind for _, kind, _ in corrupted.errors) == dict.fromkeys(Kind, 4)
    search = find_label_errors(noisy(clean), corrupted, quiet)
    found, recall = search.findings(), search.recall
    wanted = {(index, kind, segments) for index, kind, segments in corrupted.errors}
    right = [(f.image, f.candidate.kind, tuple(s.id for s in f.candidate.labeled)) in wanted for f in found]
    assert all(right[:13]), "the strongest findings are label errors"
    assert sum(right) >= 16, "most label errors are found, although the model misses a tenth of the things"
    assert len(found) - sum(right) <= 8, "few of its own errors are listed"
    assert [f.strength for f in found] == sorted((f.strength for f in found), reverse=True)
    assert recall is not None and 0.7 < recall < 0.95


def test_nothing_is_found_where_model_and_labels_agree(root: Path) -> None:
    clean = CocoPanoptic(root, "val2017")
    truths = [clean[index] for index in range(4)]
    known = {s.image.numpy().tobytes(): s.panoptic_truth() for s in truths}

    def see(picture: Any) -> Any:
        truth = known[picture.numpy().tobytes()]
        things = [(s.category, 0.9, truth.segment_ids == s.id) for s in truth.segments if s.is_thing and not s.is_crowd]
        return output_of(clean.categories, truth, things)

    search = find_label_errors(Stub(clean.categories, see), Subset(clean, np.arange(4)), quiet)
    assert search.findings() == []


def truth_of(ids: Any, segments: dict[int, int], crowds: tuple[int, ...] = ()) -> PanopticMap:
    listed = [
        Segment(number, category, CATEGORIES.label(category) is not None, None, 1, None, number in crowds)
        for number, category in segments.items()
    ]
    return PanopticMap.measured(np.array(ids, np.int32), listed)


def denied(truth: PanopticMap, things: list[tuple[int, float, Any]]) -> list[tuple[Kind, tuple[int, ...], float]]:
    sky = PanopticMap.measured(np.full(truth.segment_ids.shape, 1, np.int32), [Segment(1, 9, False, None, 0, None)])
    image = ImageDoubts(truth, output_of(CATEGORIES, sky, things), is_semantic=True)
    return [(c.kind, tuple(s.id for s in c.labeled), c.clearness) for c in image.candidates()]


def box(x0: int, x1: int, y1: int = 10) -> Any:
    mask = np.zeros((20, 40), bool)
    mask[:y1, x0:x1] = True
    return mask


def test_each_kind_by_hand() -> None:
    sky = np.full((20, 40), 7)
    cat = np.where(box(0, 20), 1, sky)
    assert denied(truth_of(cat, {1: 3, 7: 9}), [(5, 0.9, box(0, 20))]) == [(Kind.WRONG_CLASS, (1,), 1.0)]
    assert denied(truth_of(cat, {1: 3, 7: 9}), []) == [(Kind.SPURIOUS, (1,), 1.0)]
    # a detection of half of the thing supports it with half of its score, and one of 0.6 on all of it denies nothing
    [(kind, segments, clearness)] = denied(truth_of(cat, {1: 3, 7: 9}), [(5, 0.19, box(0, 10))])
    assert (kind, segments) == (Kind.SPURIOUS, (1,)) and clearness == pytest.approx(1 - 0.19 / 2)
    assert denied(truth_of(cat, {1: 3, 7: 9}), [(3, 0.6, box(0, 20))]) == []
    assert denied(truth_of(sky, {7: 9}), [(3, 0.9, box(0, 20))]) == [(Kind.MISSING, (), 1.0)]
    assert denied(truth_of(np.where(box(0, 5), 0, sky), {7: 9}), [(3, 0.9, box(0, 20))]) == [(Kind.MISSING, (), 0.75)]
    two = np.where(box(0, 10), 1, np.where(box(10, 20), 2, sky))
    assert denied(truth_of(two, {1: 3, 2: 3, 7: 9}), [(3, 0.9, box(0, 20))]) == [(Kind.SPLIT, (1, 2), 1.0)]
    halves = [(3, 0.9, box(0, 10)), (3, 0.8, box(10, 20))]
    assert denied(truth_of(cat, {1: 3, 7: 9}), halves) == [(Kind.MERGED, (1,), 1.0)]


def test_void_and_crowds_are_not_denied() -> None:
    void = np.where(box(0, 20), 0, 7)
    assert denied(truth_of(void, {7: 9}), [(3, 0.9, box(0, 20))]) == []
    crowd = truth_of(np.where(box(0, 20), 1, 7), {1: 3, 7: 9}, crowds=(1,))
    assert denied(crowd, []) == []
    assert denied(crowd, [(5, 0.9, box(0, 10)), (3, 0.9, box(10, 20))]) == []


def test_instances_lie_on_a_background() -> None:
    masks = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in (box(0, 4), box(0, 20))]
    instances = TrueInstances(
        (20, 40),
        np.array([5, 3]),
        np.zeros((2, 4)),
        [mask["counts"] for mask in masks],
        np.array([40.0, 200.0]),
        np.array([False, True]),
    )
    found = annotation(None, instances, "a.jpg")
    assert [(s.id, s.category, s.area, s.is_crowd) for s in found.segments] == [
        (1, 5, 40, False),
        (2, 3, 160, True),
        (3, BACKGROUND, 600, False),
    ]
    assert denied(found, [(5, 0.9, box(0, 4)), (5, 0.8, box(25, 40))]) == [(Kind.MISSING, (), 1.0)]


def test_boxes_alone_are_refused(refused: Callable[..., str]) -> None:
    boxes = TrueInstances((20, 40), np.array([3]), np.zeros((1, 4)), [], np.ones(1), np.zeros(1, bool))
    assert "boxes without masks" in refused(annotation, None, boxes, "a.jpg")
