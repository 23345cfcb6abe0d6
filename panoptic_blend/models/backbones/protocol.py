"""The protocol of backbones, the networks that read the images, for `PanopticBlend` and everything around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from panoptic_blend.failures import in_short
from panoptic_blend.structures import PanopticBlendError

STAGES = {"c2": 4, "c3": 8, "c4": 16, "c5": 32}
"""The stages of a backbone by name, with their strides."""


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation by channel (RGB, 0-255) of the training pixels, which normalize every input."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET_PIXELS = PixelStatistics((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of a classifier, from which ``train.weights=imagenet`` starts a backbone."""

    source: str
    """Their address, or the path of a file."""
    fetch: Callable[[], Mapping[str, Tensor]] | None
    """Downloads them once, and raises any error of network or disk; None if ``source`` is a file."""
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Renames them to the backbone's names and drops the layers of the classifier; missing layers stay missing."""
    option: str
    """The option that takes the path of the same weights as a file."""


class Backbone(Protocol):
    """An ``nn.Module`` that turns images into features of four strides; `ResNet` and `TimmBackbone` are two.

    A backbone freezes its parts itself: their parameters need no gradient, and ``train()`` leaves norms with fixed
    statistics in evaluation mode, as `PartlyFrozen` does for its subclasses. A module in it may have an attribute
    ``optional_layers`` with names of children that the weights of a backbone alone may lack, because their initial
    values change nothing.
    """

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of each of the `STAGES`."""

    @property
    def pixels(self) -> PixelStatistics:
        """Statistics of the pixels that its weights expect: ``pixel_mean`` and ``pixel_std`` of `PanopticBlend`."""

    @property
    def shard_units(self) -> Sequence[nn.Module]:
        """Parts that FSDP gathers one at a time, in the order in which they run, about a stage or a block each.

        Each must be run by calling it; parameters outside these parts are gathered for the whole pass.
        """

    def pretrained_weights(self) -> PretrainedWeights:
        """The weights that ``train.weights=imagenet`` loads.

        Raises:
            PanopticBlendError: there are none; the message says what to do.
        """

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The features of normalized images (N, 3, H, W), H and W multiples of 32.

        Returns:
            ``{"c2": (N, channels["c2"], H/4, W/4), ..., "c5": (N, channels["c5"], H/32, W/32)}``.
        """


Shapes = dict[str, tuple[int, ...]]


def trial(backbone: nn.Module) -> Shapes:
    """The shapes of the features of an image of 64 x 96 pixels, which few networks are made for."""
    was_training = backbone.training
    image = torch.zeros(1, 3, 64, 96).to(next(backbone.parameters(), torch.zeros(0)))
    try:
        with torch.no_grad():
            return {stage: tuple(x.shape) for stage, x in backbone.eval()(image).items()}
    finally:
        backbone.train(was_training)


def expected_of_trial(channels: Mapping[str, int]) -> Shapes:
    """The shapes that `trial` gives for a `Backbone` of these channels."""
    return {stage: (1, channels[stage], 64 // stride, 96 // stride) for stage, stride in STAGES.items()}


def require_backbone(backbone: object) -> None:
    """Run a module once on an image of 64 x 96 pixels, and raise PanopticBlendError unless it is a `Backbone`."""
    where = f"backbone {type(backbone).__name__}"
    if not isinstance(backbone, nn.Module):
        raise PanopticBlendError(f"{where}: is not an nn.Module; give a module, see models/backbones/protocol.py")
    members = ("channels", "pixels", "shard_units", "pretrained_weights")
    if missing := [name for name in members if not hasattr(backbone, name)]:
        raise PanopticBlendError(f"{where}: has no `{missing[0]}`; add it, see models/backbones/protocol.py")
    channels, pixels = backbone.channels, backbone.pixels
    if not isinstance(channels, Mapping) or list(channels) != list(STAGES):
        raise PanopticBlendError(f"{where}: its channels are {channels}; name them {', '.join(STAGES)}, in this order")
    if not isinstance(pixels, PixelStatistics) or (0 < max(pixels.mean) <= 1 and max(pixels.std) <= 1):
        raise PanopticBlendError(f"{where}: its pixels are {pixels}; give PixelStatistics on the scale 0-255")
    expected = expected_of_trial(channels)
    try:
        found = trial(backbone)
    except Exception as error:  # from code that is not ours
        raise PanopticBlendError(
            f"{where}: fails on an image of 64 x 96 pixels ({in_short(error)}); correct its forward"
        ) from error
    if found != expected:
        raise PanopticBlendError(f"{where}: gives {found} for 64 x 96 pixels; it must give {expected}")
