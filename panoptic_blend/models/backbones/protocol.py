"""The door for backbones: what `PanopticBlend` and everything around it asks of the network that reads the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

STAGES = {"c2": 4, "c3": 8, "c4": 16, "c5": 32}
"""The stages of a backbone by name, with their strides."""


@dataclass(frozen=True)
class PixelStatistics:
    """Mean and standard deviation of the training pixels by channel (RGB, 0-255), which normalize every input."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET_PIXELS = PixelStatistics((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of a classifier, from which ``train.weights=imagenet`` starts a backbone."""

    source: str
    """Their address, or the path of a file."""
    fetch: Callable[[], Mapping[str, Tensor]] | None
    """Downloads them, once, and raises what network and disk raise; None where ``source`` is a file."""
    convert: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    """Gives them the backbone's names and drops the classifier's layers; what is missing stays missing."""
    option: str
    """The option that takes the path of the same weights as a file."""


class Backbone(Protocol):
    """An ``nn.Module`` that turns images into features of four strides; `ResNet` and `TimmBackbone` are two.

    A backbone keeps parts of it frozen by itself: their parameters need no gradient, and ``train()`` leaves norms with
    fixed statistics in evaluation mode. A module in it with an attribute ``optional_layers``, names of children, need
    not find these in the weights of a backbone alone: their initial values change nothing.
    """

    @property
    def channels(self) -> Mapping[str, int]:
        """Channels of each of the `STAGES`."""

    @property
    def pixels(self) -> PixelStatistics:
        """What its weights expect of images; `PanopticBlend` takes ``pixel_mean`` and ``pixel_std`` from it."""

    @property
    def shard_units(self) -> Sequence[nn.Module]:
        """Parts that FSDP gathers one at a time, in the order in which they run, about a stage or a block each.

        Each runs by being called; parameters outside of them are gathered for the whole pass.
        """

    def pretrained_weights(self) -> PretrainedWeights:
        """The weights that ``train.weights=imagenet`` stands for.

        Raises:
            PanopticBlendError: there are none; the message says what to do.
        """

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The features of normalized images (N, 3, H, W), H and W multiples of 32.

        Returns:
            ``{"c2": (N, channels["c2"], H/4, W/4), ..., "c5": (N, channels["c5"], H/32, W/32)}``.
        """
