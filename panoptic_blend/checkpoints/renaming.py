"""What the converters of foreign weights share: tables of names, the input of the backbone, the order of classes."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from panoptic_blend.models.backbones.protocol import IMAGENET_PIXELS

State = dict[str, Tensor]
Table = list[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Regular expressions with their replacements, applied in order, each at the start of a name or at a dot."""

EPSILON = 1e-5
"""The epsilon of every batch norm."""


def renamed(name: str, table: Table) -> str:
    """``name`` after all replacements of ``table``."""
    for pattern, replacement in table:
        name = re.sub(pattern if pattern.startswith(r"\.") else f"^{pattern}", replacement, name)
    return name


def scaled_rgb() -> State:
    """Buffers for a backbone that reads RGB, scaled as for ImageNet, and has its strides in the 3x3 convolutions."""
    mean, std = torch.tensor(IMAGENET_PIXELS.mean), torch.tensor(IMAGENET_PIXELS.std)
    return {"pixel_mean": mean, "pixel_std": std, "backbone.stride_in_1x1": torch.tensor(False)}


def with_background_first(state: State) -> State:
    """Reorder Mask R-CNN's class predictors: in torchvision background comes first, with its own boxes and mask."""
    result = dict(state)
    for name, value in state.items():
        predictor = name.removeprefix("instances.roi_heads.").rpartition(".")[0]
        if predictor == "box_predictor.cls_score":
            result[name] = torch.cat([value[-1:], value[:-1]])
        elif rows := {"box_predictor.bbox_pred": 4, "mask_predictor.mask_fcn_logits": 1}.get(predictor):
            result[name] = torch.cat([value.new_zeros(rows, *value.shape[1:]), value])
    return result
