"""Run the network on one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from panoptic_blend.config.precisions import Precision
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast, tf32_convolutions
from panoptic_blend.structures import Output


@contextmanager
def in_evaluation(model: PanopticBlend | ExportedPredictor) -> Iterator[None]:
    """Within the block, ``model`` is in evaluation mode; a model that is in it already is not touched."""
    if isinstance(model, ExportedPredictor) or not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()


@torch.inference_mode()
def run_network(
    model: PanopticBlend | ExportedPredictor,
    image: Tensor,
    size: tuple[int, ...],
    categories: Categories,
    precision: Precision,
) -> Output[Any]:
    """Run ``model`` on one image in evaluation mode; its training mode is restored at the end.

    Args:
        image: (3, H, W) RGB, uint8 or float in [0, 1], at the network's input size.
        size: (height, width) of the output in pixels.
        categories: the categories of the model; the panoptic map has their ids.
        precision: arithmetic of the network; an exported model has its own. In float32 nothing is rounded to TF32.
    """
    if isinstance(model, ExportedPredictor):
        return model.run(image.permute(1, 2, 0).numpy(), size)
    device = model.pixel_mean.device
    with in_evaluation(model), autocast(precision, device), tf32_convolutions(is_allowed=False):
        [output] = model.predict([image.to(device)], [(size[0], size[1])])
    return replace(output, panoptic=categories.to_dataset(output.panoptic))
