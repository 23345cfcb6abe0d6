from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pasted_masks import pasted
from torch import Tensor

from panoptic_blend.postprocessing.pasting import paste


def test_paste_by_hand() -> None:
    """A 2 x 2 mask over 4 x 4 pixels: each of its cells covers 2 x 2 of them."""
    probabilities = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    found = pasted(probabilities, torch.tensor([[1.0, 2.0, 5.0, 6.0]]), (7, 6))
    assert found.shape == (1, 7, 6)
    assert found.dtype == torch.bool
    # between the cells the diagonal mixes: one quarter in, 10/16 of one and 6/16 of the other
    inside = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    expected = torch.zeros(7, 6, dtype=torch.int64)
    expected[2:6, 1:5] = torch.tensor(inside)
    assert found[0].int().tolist() == expected.tolist()


def test_half_is_inside() -> None:
    assert pasted(torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4))[0, 1, 1]
    assert not pasted(torch.full((1, 4, 4), 0.499), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4)).any()


def test_a_certain_mask_fills_its_box() -> None:
    found = pasted(torch.ones(1, 56, 56), torch.tensor([[3.0, 1.0, 9.0, 8.0]]), (10, 10))
    assert found.sum() == 6 * 7
    assert found[0, 1:8, 3:9].all()


def test_paste_nothing() -> None:
    assert paste(torch.zeros(0, 56, 56), torch.zeros(0, 4), (5, 6)) == []


def paste_slowly(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (D, H, W) of every pixel of the frame, read bilinearly from the mask with zeros around it."""
    height, width = size
    values = []
    for probability, (x0, y0, x1, y1) in zip(probabilities, boxes, strict=True):
        x = (torch.arange(width) + 0.5 - x0) / (x1 - x0) * 2 - 1
        y = (torch.arange(height) + 0.5 - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        values.append(F.grid_sample(probability[None, None], grid[None], padding_mode="zeros", align_corners=False))
    return torch.cat(values).squeeze(1)


length = st.integers(2, 24)
fraction = st.integers(0, 64).map(lambda n: n / 64)


@settings(deadline=None, max_examples=200)
@given(
    length, length, st.lists(fraction, min_size=4, max_size=4), st.sampled_from([1, 2, 7, 56]), st.integers(0, 2**16)
)
def test_paste_agrees_with_the_whole_frame(height: int, width: int, corners: list[float], size: int, seed: int) -> None:
    """Only the box is computed; beyond it, and beyond the frame, nothing would have been set."""
    x, y = sorted({corners[0], corners[1]}), sorted({corners[2], corners[3]})
    if len(x) < 2 or len(y) < 2:
        return
    boxes = torch.tensor([[x[0] * width, y[0] * height, x[1] * width, y[1] * height]])
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(1, size, size, generator=generator).pow(0.3)
    values = paste_slowly(probabilities, boxes, (height, width))
    found = pasted(probabilities, boxes, (height, width))
    assert torch.equal(found[(values - 0.5).abs() > 1e-5], values[(values - 0.5).abs() > 1e-5] >= 0.5)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_certain_masks_at_borders_between_pixels(shift: float) -> None:
    """A pixel whose center is on the side of a box reads half the mask there, which counts; at corners a quarter."""
    boxes = torch.tensor([[2 + shift, 3 + shift, 6 + shift, 6.0]])
    values = paste_slowly(torch.ones(1, 8, 8), boxes, (10, 10))
    found = pasted(torch.ones(1, 8, 8), boxes, (10, 10))
    assert torch.equal(found, values >= 0.5)
    columns = found.any(dim=1)[0].nonzero().squeeze(1).tolist()
    assert columns == [c for c in range(10) if 2 + shift <= c + 0.5 <= 6 + shift]


def test_masks_are_pasted_apart() -> None:
    boxes = torch.tensor([list(map(float, (x, 0, x + 2, 2))) for x in (0, 2, 4)])
    found = pasted(torch.ones(3, 4, 4), boxes, (2, 6))
    assert [found[i].any(dim=0).tolist() for i in range(3)] == [
        [x in (2 * i, 2 * i + 1) for x in range(6)] for i in range(3)
    ]
    assert not any((found[i] & found[j]).any() for i, j in itertools.combinations(range(3), 2))


def test_a_box_of_almost_no_width_and_one_wider_than_a_band() -> None:
    boxes = torch.tensor([[0.0, 0.0, 1e-44, 3.0], [0.0, 0.0, 300.0, 2.0]])
    found = pasted(torch.ones(2, 4, 4), boxes, (4, 300))
    assert not found[0].any()
    assert found[1, :2].all() and not found[1, 2:].any()
