"""What masks say of themselves: by hand, and a network that learns which masks are good."""

from __future__ import annotations

import pytest
import torch

from panoptic_blend.models.mask_scoring import MaskScorer, mask_iou, maskness


def test_maskness_by_hand() -> None:
    """Pixels of exactly 0.5 do not count; a mask without pixels has 0."""
    probabilities = torch.tensor([[[0.9, 0.6], [0.5, 0.1]], [[0.5, 0.4], [0.0, 0.2]], [[1.0, 1.0], [1.0, 1.0]]])
    torch.testing.assert_close(maskness(torch.empty(0), probabilities.logit()), torch.tensor([0.75, 0.0, 1.0]))
    assert maskness(torch.empty(0), torch.zeros(0, 2, 2)).shape == (0,)


def test_iou_of_masks_by_hand() -> None:
    """A logit of 0 is a pixel of the mask; where neither has pixels, the IoU is 0."""
    logits = torch.tensor([[[0.0, 5.0], [-1.0, -9.0]], [[-1.0, -1.0], [-1.0, -1.0]], [[2.0, 2.0], [2.0, 2.0]]])
    truth = torch.tensor([[[True, False], [True, False]], [[False] * 2] * 2, [[True, True], [False, False]]])
    assert mask_iou(logits, truth).tolist() == pytest.approx([1 / 3, 0, 1 / 2])
    assert mask_iou(torch.zeros(0, 2, 2), torch.zeros(0, 2, 2).bool()).shape == (0,)


def test_what_the_scorer_reads_gets_no_gradient() -> None:
    torch.manual_seed(0)
    scorer = MaskScorer(2)
    crops, logits = torch.randn(3, 2, 14, 14, requires_grad=True), torch.randn(3, 14, 14, requires_grad=True)
    found = scorer(crops, logits)
    found.sum().backward()
    assert found.shape == (3,) and crops.grad is None and logits.grad is None
    assert all(p.grad is not None and p.grad.any() for p in scorer.parameters())


def test_no_masks_and_masks_of_one_cell() -> None:
    scorer = MaskScorer(4)
    found = scorer(torch.zeros(0, 4, 56, 56), torch.zeros(0, 56, 56))
    assert found.shape == (0,)
    found.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in scorer.parameters())
    assert scorer(torch.zeros(2, 4, 1, 1), torch.zeros(2, 1, 1)).shape == (2,)


def test_ious_are_float32_in_bfloat16() -> None:
    torch.manual_seed(0)
    scorer, crops, logits = MaskScorer(2), torch.randn(3, 2, 14, 14), torch.randn(3, 14, 14)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scorer(crops, logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, scorer(crops, logits), rtol=0.02, atol=0.01)


def test_it_learns_which_masks_are_good() -> None:
    """Masks of stripes are bad, masks of a half are good."""
    torch.manual_seed(0)
    scorer = MaskScorer(1)
    half, stripes = torch.full((14, 14), -3.0), torch.full((14, 14), -3.0)
    half[:, :7], stripes[:, ::2] = 3.0, 3.0
    logits, crops = torch.stack([half, stripes]), torch.zeros(2, 1, 14, 14)
    truth = torch.stack([half > 0, half > 0])
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=0.02)
    for _ in range(60):
        loss = (scorer(crops, logits) - mask_iou(logits, truth)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    good, bad = scorer(crops, logits).tolist()
    assert good > 0.9 and bad == pytest.approx(4 / 10, abs=0.1)  # 4 of 7 stripes lie in the half: 56 of 140 cells
