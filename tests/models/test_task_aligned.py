"""Task-aligned assignment, by hand on one row of locations, and with predictions of several levels and images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from panoptic_blend.models import fcos_targets, task_aligned
from panoptic_blend.models.blendmask_truth import Positives, Truth
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.models.task_aligned import align, alignment

C = 2
Box = tuple[float, float, float, float]


def truth(images: list[list[Box]], sizes: list[tuple[int, int]], strides: list[int]) -> Truth:
    """Instances of labels 0, 1, 0, ... that all locations of the first level inside of them learn."""
    boxes = [torch.tensor(image, dtype=torch.float32).reshape(-1, 4) for image in images]
    labels = [torch.arange(len(image)) % C for image in images]
    limits = [1000.0] * (len(sizes) - 1)
    found = fcos_targets.assign(boxes, labels, sizes, strides, C, size_limits=limits, radius=100)
    positives = Positives.of(found, sizes, len(images), C)
    return Truth(positives, boxes, torch.cat(labels), torch.zeros(0, 1, 1, dtype=torch.bool), None)


def level(stride: int, probabilities: Tensor, distances: Tensor) -> LevelPredictions:
    """Probabilities (N, C, h, w) and distances (N, 4, h, w)."""
    return LevelPredictions(stride, probabilities.logit(), distances, None, torch.empty(0))


def row(shares: list[float], probabilities: list[float], box: Box = (0.0, 0.0, 40.0, 8.0)) -> LevelPredictions:
    """Five locations of stride 8 in a row, each of which predicts the left part of ``box``, by its IoU, and class 0."""
    points = torch.arange(5.0) * 8 + 4
    left, top, right, bottom = box
    ends = torch.tensor([left + share * (right - left) for share in shares])
    sides = [points - left, torch.full((5,), 4.0 - top), ends - points, torch.full((5,), bottom - 4.0)]
    distances = torch.stack(sides).view(1, 4, 1, 5) / 8
    chances = torch.tensor(probabilities).view(1, 1, 1, 5)
    return level(8, torch.cat([chances, torch.full_like(chances, 0.01)], dim=1), distances)


def test_the_metric() -> None:
    assert alignment(torch.tensor([0.5]), torch.tensor([0.5])).tolist() == [2**-7]


def test_the_best_locations_of_an_instance_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of IoUs 1/2, 1, 3/4 with probabilities 1/2, 1/8, 1/2 (the others predict nothing), t is 1/128, 1/8 and 0.089.

    The two best are the second and the third; t is scaled so that the best has 1, the larger IoU of the two.
    """
    monkeypatch.setattr(task_aligned, "_NUMBER", 2)
    given = truth([[(0, 0, 40, 8)]], [(1, 5)], [8])
    found = align(given, [row([0.5, 1, 0.75, 0.6, 0.8], [0.5, 0.125, 0.5, 1e-9, 1e-9])], C)
    assert found.numbers.tolist() == [1, 2] and found.labels.tolist() == [C, 0, 0, C, C]
    assert found.instances.tolist() == [0, 0] and found.places.tolist() == [[0, 0, 0, 1], [0, 0, 0, 2]]
    second = 0.5 * 0.75**6 / 0.125
    assert found.qualities is not None and found.qualities.tolist() == pytest.approx([1, second])
    assert found.distances[0].tolist() == [1.5, 0.5, 3.5, 0.5]
    total = given.positives.weights.sum().item()
    assert total > 1
    assert found.weights.tolist() == pytest.approx([total / (1 + second), total * second / (1 + second)])


def test_an_instance_that_nothing_predicts_well_keeps_its_locations() -> None:
    given = truth([[(0, 0, 40, 8)]], [(1, 5)], [8])
    found = align(given, [row([0.2, 0.4, 0.49, 0.49, 0.49], [0.9] * 5)], C)
    before = given.positives
    assert found.numbers.tolist() == before.numbers.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found.labels, before.labels) and torch.equal(found.distances, before.distances)
    torch.testing.assert_close(found.weights, before.weights)
    torch.testing.assert_close(found.qualities, torch.tensor([0.2, 0.4, 0.49, 0.49, 0.49]))


def test_where_instances_meet_the_larger_iou_wins() -> None:
    """Boxes of 40 and 32 pixels of width, of labels 0 and 1; all predict the first, of which the second is 4/5."""
    given = truth([[(0, 0, 40, 8), (0, 0, 32, 8)]], [(1, 5)], [8])
    found = align(given, [row([1, 1, 1, 1, 0.8], [0.5] * 5)], C)
    assert found.instances.tolist() == [0, 0, 0, 0, 0]
    found = align(given, [row([1, 1, 0.8, 0.8, 0.8], [0.5] * 5)], C)
    assert found.instances.tolist() == [0, 0, 1, 1, 0], "the last location is outside of the second box"


def test_locations_outside_and_no_instances() -> None:
    predicted = row([1] * 5, [0.9] * 5, (0.0, 0.0, 16.0, 8.0))
    found = align(truth([[(0, 0, 16, 8)]], [(1, 5)], [8]), [predicted], C)
    assert set(found.numbers.tolist()) <= {0, 1}
    found = align(truth([[]], [(1, 5)], [8]), [predicted], C)
    assert found.numbers.tolist() == [] and (found.labels == C).all()
    assert found.qualities is not None and found.qualities.shape == (0,)


def drawn(seed: int, num_images: int) -> list[LevelPredictions]:
    """Random predictions on two levels."""
    generator = torch.Generator().manual_seed(seed)
    return [
        level(
            stride,
            torch.rand(num_images, C, *size, generator=generator),
            3 * torch.rand(num_images, 4, *size, generator=generator),
        )
        for stride, size in ((8, (6, 8)), (16, (3, 4)))
    ]


IMAGES: list[list[Box]] = [[(4, 4, 30, 30), (20, 8, 60, 44)], [], [(0, 0, 40, 40)]]
SIZES, STRIDES = [(6, 8), (3, 4)], [8, 16]


def test_images_do_not_see_each_other() -> None:
    levels = drawn(0, 3)
    together = align(truth(IMAGES, SIZES, STRIDES), levels, C)
    for number, first in ((0, 0), (1, 2), (2, 2)):
        own = [level(x.stride, x.logits[number, None].sigmoid(), x.distances[number, None]) for x in levels]
        alone = align(truth([IMAGES[number]], SIZES, STRIDES), own, C)
        mine = together.places[:, 1] == number
        assert together.places[mine][:, [0, 2, 3]].tolist() == alone.places[:, [0, 2, 3]].tolist()
        assert (together.instances[mine] - first).tolist() == alone.instances.tolist()
        torch.testing.assert_close(together.weights[mine], alone.weights)


@pytest.mark.parametrize("seed", range(5))
def test_weights_of_an_instance_stay_in_sum(seed: int) -> None:
    given = truth(IMAGES, SIZES, STRIDES)
    found = align(given, drawn(seed, 3), C)
    before, after = (torch.zeros(3).index_add(0, part.instances, part.weights) for part in (given.positives, found))
    has_any = torch.zeros(3).index_add(0, found.instances, torch.ones(len(found.instances))) > 0
    assert has_any.any()
    torch.testing.assert_close(after, before * has_any)
    assert found.qualities is not None and ((found.qualities >= 0) & (found.qualities <= 1)).all()


def test_few_boxes_at_once_are_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given, levels = truth(IMAGES, SIZES, STRIDES), drawn(0, 3)
    expected = align(given, levels, C)
    monkeypatch.setattr(task_aligned, "AT_ONCE", 1)
    found = align(given, levels, C)
    assert torch.equal(found.labels, expected.labels) and torch.equal(found.weights, expected.weights)
