"""Whole masks from the cut-outs of `paste`, for tests that compare pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from panoptic_blend.postprocessing.pasting import paste


def pasted(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The masks (D, H, W) that are cut out."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, cutout in zip(masks, paste(probabilities, boxes, size), strict=True):
        mask[cutout.window] = torch.from_numpy(cutout.mask)
    return masks
