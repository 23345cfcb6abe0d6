"""ResNets (He et al., CVPR 2016) from torchvision's parts, returning the features of every stage."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_weight
from torchvision.models import resnet as torchvision_resnet
from torchvision.ops import DeformConv2d, FrozenBatchNorm2d

from panoptic_blend.models.backbones.freezing import PartlyFrozen
from panoptic_blend.models.backbones.protocol import IMAGENET_PIXELS, STAGES, PretrainedWeights
from panoptic_blend.structures import PanopticBlendError

Norm = Literal["frozen_bn", "bn", "gn"]

_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "frozen_bn": FrozenBatchNorm2d,
    "bn": nn.BatchNorm2d,
    "gn": lambda channels: nn.GroupNorm(32, channels),
}


def normed(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """``norm(conv(x))``; a frozen norm only scales and shifts, which the convolution does at no cost."""
    if not (type(conv) is nn.Conv2d and isinstance(norm, FrozenBatchNorm2d)):
        normalized: Tensor = norm(conv(x))
        return normalized
    scale, shift = _constants(norm)
    return F.conv2d(x, conv.weight * scale, shift, conv.stride, conv.padding, conv.dilation, conv.groups)


def _constants(norm: FrozenBatchNorm2d) -> tuple[Tensor, Tensor]:
    """The factors (c, 1, 1, 1) and the shifts (c,) of a frozen norm; they are kept until one of its buffers changes."""
    if torch.compiler.is_compiling() or norm.weight.is_inference():  # these have no versions
        return _computed(norm)
    buffers = list(norm.buffers())
    versions = [buffer._version for buffer in buffers]
    kept: Any = norm.__dict__.get("_kept")
    if kept is None or kept[0] != versions or any(map(operator.is_not, kept[1], buffers)):
        with torch.inference_mode(False), torch.no_grad():  # what inference mode makes is of no use in training
            kept = norm.__dict__["_kept"] = versions, buffers, _computed(norm)
    constants: tuple[Tensor, Tensor] = kept[2]
    return constants


def _computed(norm: FrozenBatchNorm2d) -> tuple[Tensor, Tensor]:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale[:, None, None, None], norm.bias - norm.running_mean * scale


class BasicBlock(torchvision_resnet.BasicBlock):
    """torchvision's block (He et al., figure 5, left), its norms by `normed`."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else normed(self.downsample[0], self.downsample[1], x)
        x = self.relu(normed(self.conv1, self.bn1, x))
        activated: Tensor = self.relu(normed(self.conv2, self.bn2, x) + shortcut)
        return activated


class Bottleneck(torchvision_resnet.Bottleneck):
    """torchvision's block (He et al., figure 5, right), its norms by `normed`."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else normed(self.downsample[0], self.downsample[1], x)
        x = self.relu(normed(self.conv1, self.bn1, x))
        x = self.relu(normed(self.conv2, self.bn2, x))
        activated: Tensor = self.relu(normed(self.conv3, self.bn3, x) + shortcut)
        return activated


class ModulatedDeformConv(DeformConv2d):
    """A 3x3 convolution that samples where another one says (Zhu et al., Deformable ConvNets v2, CVPR 2019, eq. 1).

    ``offset`` predicts, for each of the nine taps, how far it moves (dy, dx: 18 channels) and, through a
    sigmoid, how much it counts (9 channels). It starts at 0.
    """

    optional_layers = ("offset",)

    def __init__(self, channels: int, stride: tuple[int, int]) -> None:
        super().__init__(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.offset = nn.Conv2d(channels, 27, 3, stride=stride, padding=1)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        for parameter in self.offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        moved, counted = self.offset(x).to(self.weight.dtype).split([18, 9], dim=1)
        with torch.autocast(x.device.type, enabled=False):  # sampling has no kernel in less than float32
            result: Tensor = super().forward(x.to(self.weight.dtype), moved, counted.sigmoid())
        return result


_LAYOUTS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    14: (BasicBlock, [2, 2, 1, 1]),
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
}
"""Blocks of each stage by depth (He et al., table 1); 14 is that of 18 without the second blocks of c4 and c5."""


class ResNet(PartlyFrozen):
    """A ResNet without its classifier, a `Backbone`: (N, 3, H, W) to ``{"c2": stride 4, ..., "c5": stride 32}``.

    Parameters carry torchvision's names, so its ImageNet weights fit. Weights from the caffe lineage have
    the stride of a stage in the first 1x1 convolution of a bottleneck instead of in the 3x3; the buffer
    ``stride_in_1x1`` says which, and travels with the weights.

    Args:
        depth: 14, 18, 34, 50 or 101. There are no ImageNet weights of 14, which is for short trainings without any.
        norm: batch normalization with fixed statistics and weights, with trained ones, or group normalization.
        frozen_stages: how many of stem, c2, c3, ... receive no gradient and keep their statistics.
        deformable_every: makes the 3x3 convolution deformable in blocks 0, n, 2n, ... of c3-c5; 0 in none.
            Needs bottlenecks, depth 50 or 101.
    """

    stride_in_1x1: Tensor
    pixels = IMAGENET_PIXELS

    def __init__(
        self, depth: int = 50, norm: Norm = "frozen_bn", frozen_stages: int = 2, deformable_every: int = 0
    ) -> None:
        super().__init__()
        self.depth = depth
        kind, blocks = _LAYOUTS[depth]
        trunk = torchvision_resnet.ResNet(kind, blocks, norm_layer=_NORMS[norm])
        self.conv1, self.bn1, self.relu, self.maxpool = trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        if deformable_every:
            for block in chain(*(stage[::deformable_every] for stage in (self.layer2, self.layer3, self.layer4))):
                block.conv2 = ModulatedDeformConv(block.conv2.in_channels, block.conv2.stride)
        width = trunk.fc.in_features // 8
        self.channels = {name: width * 2**i for i, name in enumerate(STAGES)}
        self.register_buffer("stride_in_1x1", torch.tensor(False))
        self.register_load_state_dict_post_hook(ResNet._place_strides)  # type: ignore[no-untyped-call]

        stages = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
        self.freeze(list(chain(*stages[:frozen_stages])))

    @property
    def shard_units(self) -> tuple[nn.Sequential, ...]:
        """The stages."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def pretrained_weights(self) -> PretrainedWeights:
        """torchvision's first weights of this depth, downloaded into torch's hub folder.

        Raises:
            PanopticBlendError: there are none of depth 14.
        """
        if self.depth == 14:
            remedy = "leave train.weights out, or set model.backbone.depth=18"
            raise PanopticBlendError(f"there are no ImageNet weights of a ResNet-14; {remedy}")
        weights = get_weight(f"ResNet{self.depth}_Weights.IMAGENET1K_V1")
        return PretrainedWeights(
            weights.url,
            lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True),
            without_classifier,
            option="train.weights",
        )

    def _place_strides(self, incompatible_keys: object) -> None:
        first, second = ((2, 2), (1, 1)) if self.stride_in_1x1 else ((1, 1), (2, 2))
        for layer in (self.layer2, self.layer3, self.layer4):
            if isinstance(layer[0], torchvision_resnet.Bottleneck):
                layer[0].conv1.stride, layer[0].conv2.stride = first, second
                if isinstance(layer[0].conv2, ModulatedDeformConv):
                    layer[0].conv2.offset.stride = second

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.maxpool(self.relu(normed(self.conv1, self.bn1, images)))
        features = {}
        for name, stage in zip(STAGES, self.shard_units, strict=True):
            features[name] = x = stage(x)
        return features


def without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A torchvision ResNet as a `ResNet`: its names are ours, and its strides are in the 3x3 convolutions."""
    kept = {name: value for name, value in state.items() if not name.startswith("fc.")}
    return kept | {"stride_in_1x1": torch.tensor(False)}
