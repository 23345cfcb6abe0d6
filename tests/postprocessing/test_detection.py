"""Candidates and suppression in numpy are those of torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.models import postprocess
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.postprocessing.detection import Candidates, Level, decode, rescale, suppress

FIELDS = "boxes", "scores", "labels"


def levels(seed: int, num_classes: int) -> list[LevelPredictions]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {8: (5, 7), 16: (3, 4), 32: (1, 2)}
    return [
        LevelPredictions(stride, *(torch.randn(1, n, *size, generator=generator) for n in (num_classes, 4, 1, 2)))
        for stride, size in sizes.items()
    ]


def in_numpy(level: LevelPredictions) -> Level:
    logits, distances, features = (part[0].numpy() for part in (level.logits, level.distances, level.features))
    return Level(
        level.stride, logits, distances, None if level.centerness is None else level.centerness[0].numpy(), features
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from([0, 0.05, 0.3, 0.999, 1]), st.sampled_from([1, 5, 1000]), st.booleans())
def test_candidates_are_those_of_torch(seed: int, threshold: float, limit: int, has_quality: bool) -> None:
    raw = [level if has_quality else replace(level, centerness=None) for level in levels(seed, 3)]
    expected = postprocess.decode(raw, 0, threshold, limit)
    found = decode([in_numpy(level) for level in raw], threshold, limit)
    places = expected.places[:, [0, 2, 3]].numpy()
    ours = np.lexsort((found.labels, *found.places.T))
    theirs = np.lexsort((expected.labels.numpy(), *places.T))
    assert (found.places[ours] == places[theirs]).all()
    for field in FIELDS:
        np.testing.assert_allclose(getattr(found, field)[ours], getattr(expected, field).numpy()[theirs], rtol=1e-6)


def test_of_equal_candidates_the_first_stay() -> None:
    plain = np.zeros((1, 2, 3), np.float32)
    found = decode([Level(8, plain, np.ones((4, 2, 3), np.float32), plain, plain)], 0.05, 4)
    assert found.places.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
    assert found.boxes[0].tolist() == [-4, -4, 12, 12] and found.scores.tolist() == [0.5] * 4


def candidates(number: int, classes: int, scores: int, seed: int) -> tuple[Candidates, postprocess.Candidates]:
    """Boxes on a coarse grid, of which many are equal or overlap by just the threshold, and few different scores."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(-8, 24, (number, 2))
    boxes = np.concatenate([corners, corners + rng.integers(0, 12, (number, 2))], axis=1).astype(np.float32)
    ranking = (rng.integers(1, scores + 1, number) / scores).astype(np.float32)
    labels, places = rng.integers(0, classes, number), np.arange(number)[:, None].repeat(3, axis=1)
    tensors = (torch.from_numpy(x) for x in (boxes, ranking, labels, places))
    return Candidates(boxes, ranking, labels, places), postprocess.Candidates(*tensors)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 80),
    st.integers(1, 4),
    st.sampled_from([1, 3, 1000]),
    st.sampled_from([0.0, 0.5, 0.6, 1.0]),
    st.sampled_from([1, 7, 100]),
    st.integers(0, 2**16),
)
def test_the_same_boxes_stay_in_the_same_order(
    number: int, classes: int, scores: int, nms: float, limit: int, seed: int
) -> None:
    ours, theirs = candidates(number, classes, scores, seed)
    found, expected = suppress(ours, nms, limit), postprocess.suppress(theirs, nms, limit)
    assert found.places[:, 0].tolist() == expected.places[:, 0].tolist()


@pytest.mark.parametrize("number", [1000, 1001])
def test_so_they_do_where_torchvision_changes_its_way(number: int) -> None:
    ours, theirs = candidates(number, 20, 1, 3)
    different = np.random.default_rng(0).permutation(number).astype(np.float32)
    ours, theirs = replace(ours, scores=different), replace(theirs, scores=torch.from_numpy(different))
    found, expected = suppress(ours, 0.6, 100), postprocess.suppress(theirs, 0.6, 100)
    assert found.places[:, 0].tolist() == expected.places[:, 0].tolist()


def test_boxes_are_scaled_and_clipped() -> None:
    boxes = np.array([[-1, 2, 5, 30]], np.float32)
    assert rescale(boxes, (20, 10), (40, 30)).tolist() == [[0, 4, 15, 40]]
