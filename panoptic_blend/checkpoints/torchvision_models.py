"""Weights of torchvision: ResNets, and the detectors from which training can start."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from panoptic_blend.checkpoints.renaming import State, scaled_rgb
from panoptic_blend.models.backbones.resnet import without_classifier


def from_resnet(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a ResNet that classifies ImageNet."""
    return {f"backbone.{name}": value for name, value in without_classifier(state).items()} | scaled_rgb()
