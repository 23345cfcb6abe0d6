"""A backbone of somebody else is tried once, and refused in one line if it does not keep the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.backbones.protocol import PixelStatistics, PretrainedWeights
from panoptic_blend.models.backbones.resnet import ResNet
from panoptic_blend.models.build import build_model

CONFIG = load_config("demo/shapes_r18", ["model.num_things=2", "model.num_stuff=1"])
PIXELS = PixelStatistics((127.5, 127.5, 127.5), (50.0, 50.0, 50.0))


class Pyramid(nn.Module):
    """One strided convolution per stage: the smallest backbone there is."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = {"c2": 4, "c3": 6, "c4": 8, "c5": 10}
        self.pixels = PIXELS
        self.stages = nn.ModuleList(nn.Conv2d(3, width, 2**i, 2**i) for i, width in enumerate((4, 6, 8, 10), start=2))

    @property
    def shard_units(self) -> list[nn.Module]:
        return list(self.stages)

    def pretrained_weights(self) -> PretrainedWeights:
        raise NotImplementedError

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {name: stage(images) for name, stage in zip(self.channels, self.stages, strict=True)}


def changed(**attributes: Any) -> Pyramid:
    backbone = Pyramid()
    for name, value in attributes.items():
        setattr(backbone, name, value)
    return backbone


class FewerMaps(Pyramid):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {**super().forward(images), "c5": super().forward(images)["c4"]}


class Empty(nn.Sequential):
    """A module whose truth value is False."""


def test_a_backbone_that_keeps_the_protocol_is_used_and_left_in_its_mode() -> None:
    backbone = Pyramid().train()
    model = build_model(CONFIG, backbone)
    assert model.backbone is backbone
    assert backbone.training
    torch.testing.assert_close(model.pixel_std, torch.full((3,), 50.0))
    assert model.eval()([torch.rand(3, 64, 64)])[0].semantic.shape == (64, 64)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: "resnet", "backbone str: is not an nn.Module"),
        (lambda: Pyramid, "backbone type: is not an nn.Module"),
        (Empty, "backbone Empty: has no `channels`"),
        (lambda: changed(channels={"c3": 6, "c4": 8, "c5": 10}), "name them c2, c3, c4, c5, in this order"),
        (lambda: changed(channels={"c5": 10, "c4": 8, "c3": 6, "c2": 4}), "name them c2, c3, c4, c5, in this order"),
        (lambda: changed(pixels=None), "its pixels are None; give PixelStatistics on the scale 0-255"),
        (lambda: changed(pixels=PixelStatistics((0.5,) * 3, (0.2,) * 3)), "give PixelStatistics on the scale 0-255"),
        (lambda: changed(channels={"c2": 4, "c3": 6, "c4": 8, "c5": 11}), "it must give {'c2': (1, 4, 16, 24)"),
        (FewerMaps, "gives {'c2': (1, 4, 16, 24), 'c3': (1, 6, 8, 12), 'c4': (1, 8, 4, 6), 'c5': (1, 8, 4, 6)}"),
        (lambda: changed(stages=nn.ModuleList()), "fails on an image of 64 x 96 pixels (ValueError: zip()"),
    ],
)
def test_any_other_is_refused(make: Callable[[], Any], problem: str, refused: Callable[..., str]) -> None:
    assert problem in refused(build_model, CONFIG, make())


def test_the_backbones_of_the_library_keep_it() -> None:
    assert build_model(CONFIG, ResNet(18)).backbone.channels["c5"] == 512
