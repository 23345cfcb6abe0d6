from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from panoptic_blend.models.fcos import FCOSHead, locations, unravel


def test_locations_are_cell_centres_row_by_row() -> None:
    expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert locations(2, 3, 8).tolist() == expected
    assert locations(1, 2, 1).tolist() == [[0, 0], [1, 0]]
    assert locations(0, 3, 8).shape == (0, 2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_unravel_counts_over_level_image_row_column(
    sizes: list[tuple[int, int]], num_images: int, data: st.DataObject
) -> None:
    places = [
        [level, image, row, column]
        for level, (height, width) in enumerate(sizes)
        for image in range(num_images)
        for row in range(height)
        for column in range(width)
    ]
    indices = data.draw(st.lists(st.integers(0, len(places) - 1), max_size=8))
    expected = [places[i] for i in indices]
    found = unravel(torch.tensor(indices, dtype=torch.int64), sizes, num_images)
    assert found.shape == (len(indices), 4)
    assert found.tolist() == expected


def test_head_shapes_and_strides() -> None:
    head = FCOSHead(channels=64, num_classes=3, num_convs=1)
    levels = head([torch.randn(2, 64, 5, 7), torch.randn(2, 64, 3, 4)], [8, 16])
    assert [level.stride for level in levels] == [8, 16]
    for level, (h, w) in zip(levels, [(5, 7), (3, 4)], strict=True):
        assert level.logits.shape == (2, 3, h, w)
        assert level.distances.shape == (2, 4, h, w)
        assert level.centerness.shape == (2, 1, h, w)
        assert level.features.shape == (2, 64, h, w)
        assert (level.distances >= 0).all()


def test_one_stride_per_level() -> None:
    with pytest.raises(ValueError, match="zip"):
        FCOSHead(64, 3, 0)([torch.randn(1, 64, 2, 2)], [8, 16])


@pytest.mark.parametrize("num_convs", [0, 1, 4])
def test_towers(num_convs: int) -> None:
    head = FCOSHead(64, 3, num_convs)
    for tower in (head.class_tower, head.box_tower):
        kinds = [nn.Conv2d, nn.GroupNorm, nn.ReLU] * num_convs
        assert all(isinstance(layer, kind) for layer, kind in zip(tower, kinds, strict=True))
        assert all(layer.num_groups == 32 for layer in tower if isinstance(layer, nn.GroupNorm))


def test_which_tower_feeds_what() -> None:
    """Classes read the class tower; distances, center-ness and the top layer's features the box tower."""
    torch.manual_seed(0)
    head = FCOSHead(64, 3, 1)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 64, 4, 4)
    [level] = head([x], [8])
    torch.testing.assert_close(level.features, head.box_tower(x))
    torch.testing.assert_close(level.logits, head.class_logits(head.class_tower(x)))
    torch.testing.assert_close(level.distances, F.relu(head.distances(level.features)))
    assert head.centerness is not None
    torch.testing.assert_close(level.centerness, head.centerness(level.features))
    assert (level.distances == 0).any()
    assert (level.distances > 0).any()


def test_weights_are_shared_over_levels() -> None:
    torch.manual_seed(0)
    head = FCOSHead(64, 3, 2)
    x = torch.randn(1, 64, 6, 6)
    first, second = head([x, x], [8, 16])
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.distances, second.distances)


def test_initial_values() -> None:
    """N(0, 0.01), biases 0, but the class bias gives every class the prior probability 0.01."""
    torch.manual_seed(0)
    head = FCOSHead(64, 80, 2)
    for name, parameter in head.named_parameters():
        if name == "class_logits.bias":
            torch.testing.assert_close(parameter, torch.full((80,), -math.log(99)))
            torch.testing.assert_close(parameter.sigmoid(), torch.full((80,), 0.01))
        elif name.endswith("bias"):
            assert not parameter.any(), name
        elif parameter.ndim == 4:
            assert parameter.std().item() == pytest.approx(0.01, rel=0.1), name
            assert abs(parameter.mean().item()) < 0.05 / parameter.numel() ** 0.5, name
        else:
            assert (parameter == 1).all(), name


def test_one_cell_and_the_narrowest_towers() -> None:
    """Group norm of 32 channels over a single cell still has two values per group to go by."""
    [level] = FCOSHead(channels=32, num_classes=3, num_convs=1)([torch.randn(1, 32, 1, 1)], [128])
    assert level.logits.isfinite().all()
