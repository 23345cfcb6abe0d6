from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden_weights import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.postprocessing.fusion import fuse
from panoptic_blend.structures import Detections, PanopticMap, Segment

THING, GRASS, SKY = 0, 1, 2


@cache
def golden() -> dict[str, npt.NDArray[Any]]:
    with np.load(GOLDEN / "P4_fusion.npz") as file:
        return dict(file)


def detections(masks: npt.NDArray[np.bool_], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        boxes=torch.zeros(len(scores), 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=torch.from_numpy(masks),
    )


def strip(*columns: range, width: int = 10) -> npt.NDArray[np.bool_]:
    """Masks of one row each, set at ``columns``."""
    masks = np.zeros((len(columns), 1, width), dtype=bool)
    for mask, span in zip(masks, columns, strict=True):
        mask[0, list(span)] = True
    return masks


@pytest.mark.parametrize("case", range(40))
def test_official_fusion(case: int) -> None:
    arrays = {key[5:]: value for key, value in golden().items() if key.startswith(f"c{case:03d}_")}
    height, width = arrays["sem"].shape
    masks = np.unpackbits(arrays["masks_packed"], axis=1, count=height * width).reshape(-1, height, width)
    overlap, stuff_area, confidence = arrays["params"].tolist()
    scores, labels = torch.from_numpy(arrays["scores"]), torch.from_numpy(arrays["classes"])
    given_ = Detections(torch.zeros(len(scores), 4), scores, labels, torch.from_numpy(masks.astype(bool)))
    found = fuse(given_, torch.from_numpy(arrays["sem"]), confidence=confidence, overlap=overlap, stuff_area=stuff_area)
    assert np.array_equal(found.segment_ids, arrays["panoptic"])
    assert found.segment_ids.dtype == np.int32
    expected = json.loads(str(arrays["segments_info"]))
    assert [(s.id, s.category, s.is_thing, s.score) for s in found.segments] == [
        (s["id"], s["category_id"], s["isthing"], s.get("score")) for s in expected
    ]
    rows = [int((arrays["scores"] == s.score).argmax()) for s in found.segments if s.is_thing]
    assert rows == [s["instance_id"] for s in expected if s["isthing"]]
    stuff = [s["area"] for s in expected if not s["isthing"]]
    assert [s.area for s in found.segments if not s.is_thing] == stuff


def test_all_cases_are_there() -> None:
    assert golden()["num_cases"] == 40
    assert len(json.loads(str(golden()["kinds"]))) == 40


def test_by_hand() -> None:
    # the second instance loses 1 of its 4 pixels, the third all of its own; grass has 3 free pixels, sky 1
    masks = strip(range(3), range(2, 6), range(1, 3))
    semantic = np.array([[0, 0, 0, 0, 0, SKY, SKY, GRASS, GRASS, GRASS]])
    found = fuse(detections(masks, [0.9, 0.8, 0.7], [4, 5, 6]), semantic, stuff_area=2)
    assert found.segment_ids.tolist() == [[1, 1, 1, 2, 2, 2, 0, 3, 3, 3]]
    scores = torch.tensor([0.9, 0.8]).tolist()
    assert found.segments == [
        Segment(1, 4, True, scores[0], 3, (0, 0, 3, 1)),
        Segment(2, 5, True, scores[1], 3, (3, 0, 6, 1)),
        Segment(3, GRASS, False, None, 3, (7, 0, 10, 1)),
    ]


def test_equality_keeps() -> None:
    # 2 of 4 pixels are taken, the score is the threshold's, and 3 pixels of grass remain
    found = fuse(
        detections(strip(range(4), range(2, 6)), [0.9, 0.5], [0, 0]),
        np.array([[THING] * 7 + [GRASS] * 3]),
        confidence=0.5,
        overlap=0.5,
        stuff_area=3,
    )
    assert [s.area for s in found.segments] == [4, 2, 3]


def test_no_detections() -> None:
    found = fuse(detections(strip(), [], []), np.full((1, 10), SKY), stuff_area=10)
    assert found.segments == [Segment(1, SKY, False, None, 10, (0, 0, 10, 1))]


def test_nothing_at_all() -> None:
    found = fuse(detections(strip(), [], []), np.full((1, 10), THING), stuff_area=0)
    assert found.segments == []
    assert not found.segment_ids.any()


def test_stuff_without_pixels_counts_where_the_limit_is_zero() -> None:
    found = fuse(detections(strip(range(10)), [1.0], [0]), np.full((1, 10), SKY), stuff_area=0)
    assert found.segments[1] == Segment(2, SKY, False, None, 0, None)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Detections, npt.NDArray[np.int64]]:
    """Blocks of random scores, no two of them equal, over a random semantic map."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    number, height, width = draw(st.integers(0, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    masks = rng.random((number, height, width)) < rng.choice([0.1, 0.5, 0.9], (number, 1, 1))
    scores = rng.permutation(20)[:number] / 20
    return detections(masks, scores.tolist(), rng.integers(0, 3, number).tolist()), rng.integers(0, 4, (height, width))


def fused(detections: Detections, semantic: npt.NDArray[np.int64]) -> PanopticMap:
    return fuse(detections, semantic, confidence=0.2, overlap=0.4, stuff_area=3)


def plainly(
    detections: Detections, semantic: npt.NDArray[np.int64], confidence: float, overlap: float, stuff_area: int
) -> tuple[npt.NDArray[np.int32], list[tuple[int, bool]]]:
    """The definition, on whole maps: the ids, and category and kind of each segment."""
    ids, found = np.zeros(semantic.shape, dtype=np.int32), list[tuple[int, bool]]()
    for row in np.argsort(-detections.scores.numpy(), kind="stable"):
        mask = detections.masks[row].numpy()
        if detections.scores[row] >= confidence and mask.any() and (mask & (ids > 0)).sum() / mask.sum() <= overlap:
            found.append((int(detections.labels[row]), True))
            ids[mask & (ids == 0)] = len(found)
    for category in sorted(set(semantic.ravel().tolist()) - {THING, 255}):
        free = (semantic == category) & (ids == 0)
        if free.sum() >= stuff_area:
            found.append((category, False))
            ids[free] = len(found)
    return ids, found


@settings(deadline=None, max_examples=300)
@given(scenes(), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.4, 1.0]), st.integers(0, 9), st.booleans())
def test_windows_give_what_whole_maps_give(
    scene: tuple[Detections, npt.NDArray[np.int64]], confidence: float, overlap: float, stuff_area: int, void: bool
) -> None:
    given_, semantic = scene
    semantic = np.where(void & (semantic == 3), 255, semantic)
    ids, expected = plainly(given_, semantic, confidence, overlap, stuff_area)
    found = fuse(given_, semantic, confidence=confidence, overlap=overlap, stuff_area=stuff_area)
    assert np.array_equal(found.segment_ids, ids)
    assert [(segment.category, segment.is_thing) for segment in found.segments] == expected


@settings(deadline=None)
@given(scenes())
def test_every_pixel_belongs_to_one_segment_and_records_are_measured(
    scene: tuple[Detections, npt.NDArray[np.int64]],
) -> None:
    found = fused(*scene)
    assert [s.id for s in found.segments] == list(range(1, len(found.segments) + 1))
    assert set(np.unique(found.segment_ids)) - {0} <= {s.id for s in found.segments}
    measured = PanopticMap.measured(found.segment_ids, found.segments)
    assert found.segments == measured.segments


@settings(deadline=None)
@given(scenes())
def test_segments_lie_in_what_they_come_from(scene: tuple[Detections, npt.NDArray[np.int64]]) -> None:
    given_, semantic = scene
    found = fused(*scene)
    rows = {round(score, 4): row for row, score in enumerate(given_.scores.tolist())}
    for segment in found.segments:
        pixels = found.segment_ids == segment.id
        if segment.score is None:
            assert (semantic[pixels] == segment.category).all()
            assert segment.area >= 3
        else:
            mask = given_.masks[rows[round(segment.score, 4)]].numpy()
            assert mask[pixels].all()
            assert segment.area >= 0.6 * mask.sum() - 1e-9
            assert segment.score >= 0.2 and segment.area > 0


@settings(deadline=None)
@given(scenes(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(scene: tuple[Detections, npt.NDArray[np.int64]], random: Any) -> None:
    given_, semantic = scene
    order = torch.tensor(random.sample(range(len(given_.scores)), len(given_.scores)), dtype=torch.int64)
    shuffled = Detections(given_.boxes[order], given_.scores[order], given_.labels[order], given_.masks[order])
    first, second = fused(given_, semantic), fused(shuffled, semantic)
    assert np.array_equal(first.segment_ids, second.segment_ids)
    assert first.segments == second.segments
