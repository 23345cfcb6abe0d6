"""The network on one picture."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from panoptic_blend.config.options import Precision
from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.structures import Output


@torch.inference_mode()
def predict(
    model: PanopticBlend, image: Tensor, size: tuple[int, ...], categories: Categories, precision: Precision
) -> Output:
    """What ``model`` says of one image (3, H, W), at ``size`` (height, width), with dataset ids in the map."""
    device = model.pixel_mean.device
    training = model.training
    model.eval()
    try:
        with autocast(precision, device):
            [output] = model([image.to(device)], output_sizes=[size])
    finally:
        model.train(training)
    return replace(output, panoptic=categories.to_dataset(output.panoptic))
