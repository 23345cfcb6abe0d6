"""Models with random weights for `evaluation.speed_exports` that find about as much as trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluation.speed import PICTURE, model_to_detect
from evaluation.speed_worker import picture
from panoptic_blend.checkpoints.io import is_checkpoint, read_checkpoint, save_checkpoint
from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import to_tensor
from panoptic_blend.data.transforms import Resizing
from panoptic_blend.formats.categories import default_categories
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.models.panoptic_blend import PanopticBlend

CANDIDATES = 500
"""Boxes that precede suppression; more than 100 of them survive it, so that 100 instances are found."""


def saved_model(config: Config, path: Path) -> bool:
    """Write a checkpoint unless it is there; says whether it was written."""
    if path.exists() and is_checkpoint(path) and read_checkpoint(path).config == config:
        return False
    model = model_to_detect(config)
    image = Resizing(**config.test.model_dump())(to_tensor(picture(*PICTURE)))
    settle(model, image)
    limit_candidates(model, image, config.model.fcos.score_threshold, CANDIDATES)
    categories = default_categories(config.model.num_things, config.model.num_stuff)
    save_checkpoint(path, model.state_dict(), config, categories)
    return True


@torch.no_grad()
def settle(model: PanopticBlend, image: Tensor) -> None:
    """Give every batch norm the statistics of an image, as training does; random ones make features grow or vanish."""
    norms = [(norm, norm.momentum) for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
    for norm, _ in norms:
        norm.train()
        norm.momentum = 1.0
    model.raw(model.batch([image]))
    for norm, momentum in norms:
        norm.eval()
        norm.momentum = momentum


@torch.no_grad()
def limit_candidates(model: PanopticBlend, image: Tensor, threshold: float, number: int) -> None:
    """Choose the bias of the classes so that ``number`` pairs of location and class in an image become candidates."""
    branch = model.instances
    assert isinstance(branch, BlendMask)
    bias = branch.fcos.class_logits.bias
    assert bias is not None
    bias += missing(list(branch.detect(model.features(model.batch([image])))), threshold).kthvalue(number + 1).values


def missing(levels: Sequence[LevelPredictions], threshold: float) -> Tensor:
    """What must be added to every class logit (P,) until class probability times center-ness is the threshold."""
    needed = []
    for level in levels:
        assert level.centerness is not None
        needed.append((threshold / level.centerness.sigmoid()).logit() - level.logits)
    return torch.cat([x.nan_to_num(torch.inf).flatten() for x in needed])
