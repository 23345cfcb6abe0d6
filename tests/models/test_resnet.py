from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.ops import FrozenBatchNorm2d

from panoptic_blend.models.backbones import resnet
from panoptic_blend.models.backbones.protocol import Backbone
from panoptic_blend.models.backbones.resnet import ModulatedDeformConv, Norm, ResNet

STAGES = {"c2": "layer1", "c3": "layer2", "c4": "layer3", "c5": "layer4"}
PREFIXES = [("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)]


@pytest.mark.parametrize(("depth", "width"), [(18, 64), (34, 64), (50, 256), (101, 256)])
def test_channels(depth: int, width: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth)
        features = backbone(torch.empty(2, 3, 64, 96))
    assert backbone.channels == {"c2": width, "c3": 2 * width, "c4": 4 * width, "c5": 8 * width}
    assert {name: tuple(x.shape) for name, x in features.items()} == {
        "c2": (2, width, 16, 24),
        "c3": (2, 2 * width, 8, 12),
        "c4": (2, 4 * width, 4, 6),
        "c5": (2, 8 * width, 2, 3),
    }


@pytest.mark.parametrize(("depth", "blocks"), [(18, [2, 2, 2, 2]), (34, [3, 4, 6, 3]), (50, [3, 4, 6, 3])])
def test_blocks(depth: int, blocks: list[int]) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth)
    assert [len(backbone.get_submodule(layer)) for layer in STAGES.values()] == blocks  # type: ignore[arg-type]


@pytest.mark.parametrize(("depth", "build"), [(18, resnet18), (50, resnet50)])
@pytest.mark.parametrize("norm", [FrozenBatchNorm2d, nn.BatchNorm2d])
def test_features_and_gradients_are_those_of_torchvision(
    depth: int, build: Callable[..., Any], norm: type[nn.Module]
) -> None:
    """Frozen norms with statistics of their own are part of the convolutions here, and layers of their own there."""
    torch.manual_seed(0)
    trunk = build(norm_layer=norm).double().eval()
    for name, value in trunk.state_dict().items():
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
    backbone = ResNet(depth, "frozen_bn" if norm is FrozenBatchNorm2d else "bn").double().eval()
    backbone.load_state_dict(trunk.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(images))))
    found = backbone(images)
    for name, layer in STAGES.items():
        x = trunk.get_submodule(layer)(x)
        torch.testing.assert_close(found[name], x)
    x.square().mean().backward()
    found["c5"].square().mean().backward()
    expected = dict(trunk.named_parameters())
    learnt = {name: p.grad for name, p in backbone.named_parameters() if p.requires_grad}
    assert len(learnt) > 10
    for name, gradient in learnt.items():
        torch.testing.assert_close(gradient, expected[name].grad, msg=name)


@pytest.mark.parametrize(
    ("norm", "kind"), [("frozen_bn", FrozenBatchNorm2d), ("bn", nn.BatchNorm2d), ("gn", nn.GroupNorm)]
)
def test_norms(norm: Norm, kind: type[nn.Module]) -> None:
    with torch.device("meta"):
        backbone = ResNet(18, norm)
    kinds = {type(module) for module in backbone.modules() if "Norm" in type(module).__name__}
    assert kinds == {kind}


@pytest.mark.parametrize("norm", ["frozen_bn", "bn", "gn"])
def test_initial_values(norm: Norm) -> None:
    """Kaiming normal, fan out; normalization is the identity but for its statistics."""
    torch.manual_seed(0)
    backbone = ResNet(18, norm)
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
            assert abs(module.weight.mean().item()) < 5 * (2 / fan_out / module.weight.numel()) ** 0.5, name
            assert module.bias is None
    for name, value in backbone.state_dict().items():
        if name.endswith((".bias", ".running_mean")):
            assert not value.any(), name
        elif "bn" in name and name.endswith((".weight", ".running_var")):
            assert (value == 1).all(), name


def test_what_a_backbone_promises() -> None:
    backbone: Backbone = ResNet(18)
    assert backbone.pixels.mean == (123.675, 116.28, 103.53)
    sizes = [sum(p.numel() for p in unit.parameters()) for unit in backbone.shard_units]
    assert sizes == [147_456, 524_288, 2_097_152, 8_388_608]  # four 3x3 convolutions, or three and a 1x1, frozen norms
    weights = backbone.pretrained_weights()
    assert weights.source.endswith("/resnet18-f37072fd.pth")
    kept = weights.convert({"conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)})
    assert kept == {"conv1.weight": torch.ones(1), "stride_in_1x1": torch.tensor(False)}


def test_fourteen_layers_are_some_of_eighteen_and_have_no_weights(refused: Callable[..., str]) -> None:
    small, large = ResNet(14), ResNet(18)
    lacking = {name.rsplit(".", 2)[0] for name in large.state_dict().keys() - small.state_dict().keys()}
    assert lacking == {"layer3.1", "layer4.1"} and not small.state_dict().keys() - large.state_dict().keys()
    assert [x.shape[1:] for x in small(torch.zeros(1, 3, 64, 96)).values()] == [
        (64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]  # fmt: skip
    assert "model.backbone.depth=18" in refused(small.pretrained_weights)


# --- freezing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen_stages", range(5))
@pytest.mark.parametrize("norm", ["bn", "frozen_bn"])
def test_frozen_stages_get_no_gradient_and_keep_their_statistics(norm: Norm, frozen_stages: int) -> None:
    torch.manual_seed(0)
    backbone = ResNet(18, norm, frozen_stages).train()
    before = copy.deepcopy(backbone.state_dict())
    backbone(torch.randn(2, 3, 64, 64))["c5"].sum().backward()
    frozen = tuple(prefix for stage in PREFIXES[:frozen_stages] for prefix in stage)
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None) == (not name.startswith(frozen)), name
    for name, value in backbone.state_dict().items():
        if name.endswith("running_mean"):
            moves = norm == "bn" and not name.startswith(frozen)
            assert torch.equal(value, before[name]) != moves, name


def test_everything_may_be_frozen() -> None:
    backbone = ResNet(18, "bn", 5).train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(torch.randn(1, 3, 32, 32))["c5"].requires_grad


def test_mode_of_frozen_stages() -> None:
    backbone = ResNet(18, "bn", 2)
    for _ in range(2):
        backbone.train()
        assert not any(m.training for part in (backbone.bn1, backbone.layer1) for m in part.modules())
        assert all(m.training for part in (backbone.layer2, backbone.layer4) for m in part.modules())
        backbone.eval()
        assert not any(m.training for m in backbone.modules())


def test_a_parent_may_set_the_mode() -> None:
    backbone = ResNet(18, "bn", 1)
    nn.Sequential(backbone).train()
    assert backbone.training
    assert not backbone.bn1.training


# --- where the strides are -------------------------------------------------------------------------------------------


def strides(backbone: ResNet) -> list[tuple[int, ...]]:
    return [
        (*layer[0].conv1.stride, *layer[0].conv2.stride)
        for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    ]


IN_3X3 = [(1, 1, 1, 1), (1, 1, 2, 2), (1, 1, 2, 2), (1, 1, 2, 2)]
IN_1X1 = [(1, 1, 1, 1), (2, 2, 1, 1), (2, 2, 1, 1), (2, 2, 1, 1)]


def test_strides_travel_with_the_weights() -> None:
    with torch.device("meta"):
        source, target = ResNet(50), ResNet(50)
    assert strides(source) == IN_3X3
    state = source.state_dict() | {"stride_in_1x1": torch.tensor(True)}
    source.load_state_dict(state, assign=True)
    assert strides(source) == IN_1X1
    target.load_state_dict(source.state_dict(), assign=True)
    assert strides(target) == IN_1X1
    target.load_state_dict(state | {"stride_in_1x1": torch.tensor(False)}, assign=True)
    assert strides(target) == IN_3X3


def test_strides_travel_as_part_of_a_model_and_survive_copies() -> None:
    with torch.device("meta"):
        model = nn.ModuleDict({"backbone": ResNet(50)})
    model.load_state_dict(model.state_dict() | {"backbone.stride_in_1x1": torch.tensor(True)}, assign=True)
    backbone = copy.deepcopy(model)["backbone"]
    assert isinstance(backbone, ResNet)
    assert strides(backbone) == IN_1X1


def test_basic_blocks_have_one_place_for_strides() -> None:
    torch.manual_seed(0)
    backbone = ResNet(18).eval()
    images = torch.randn(1, 3, 64, 64)
    before = backbone(images)["c5"]
    backbone.load_state_dict(backbone.state_dict() | {"stride_in_1x1": torch.tensor(True)})
    assert torch.equal(backbone(images)["c5"], before)


def test_torchvision_names_fit() -> None:
    with torch.device("meta"):
        own, theirs = ResNet(50, "bn").state_dict(), resnet50().state_dict()
    assert own.keys() - {"stride_in_1x1"} == theirs.keys() - {"fc.weight", "fc.bias"}


# --- deformable convolution ------------------------------------------------------------------------------------------


def test_deformable_blocks() -> None:
    """Every third block of c3-c5, the first included; the other names and shapes are those of the plain network."""
    with torch.device("meta"):
        plain, deformable = ResNet(101), ResNet(101, deformable_every=3)
    found = [name for name, module in deformable.named_modules() if isinstance(module, ModulatedDeformConv)]
    assert found == [
        *(f"layer2.{i}.conv2" for i in (0, 3)),
        *(f"layer3.{i}.conv2" for i in range(0, 23, 3)),
        "layer4.0.conv2",
    ]
    shapes, expected = ({name: x.shape for name, x in net.state_dict().items()} for net in (deformable, plain))
    extra = {name: tuple(shapes.pop(name)) for name in list(shapes) if ".offset." in name}
    assert shapes == expected
    assert extra["layer3.6.conv2.offset.weight"] == (27, 256, 3, 3)
    assert len(extra) == 2 * len(found)


def test_offsets_start_at_nothing_and_masks_at_one_half() -> None:
    torch.manual_seed(0)
    conv = ModulatedDeformConv(6, stride=(2, 2))
    x = torch.randn(2, 6, 9, 12)
    torch.testing.assert_close(conv(x), 0.5 * F.conv2d(x, conv.weight, stride=2, padding=1))


def test_deformable_convolution_tap_by_tap() -> None:
    """Deformable ConvNets v2, eq. 1, with offsets by (dy, dx) and masks through a sigmoid, read bilinearly."""
    torch.manual_seed(0)
    conv = ModulatedDeformConv(3, stride=(1, 1)).double()
    nn.init.normal_(conv.offset.weight, std=0.3)
    nn.init.normal_(conv.offset.bias, std=0.5)
    x = torch.randn(1, 3, 5, 6, dtype=torch.float64)
    said = conv.offset(x)[0]
    expected = torch.zeros(3, 5, 6, dtype=torch.float64)
    for row, column, tap in itertools.product(range(5), range(6), range(9)):
        dy, dx = said[2 * tap, row, column].item(), said[2 * tap + 1, row, column].item()
        counted = said[18 + tap, row, column].sigmoid()
        value = bilinear(x[0], row - 1 + tap // 3 + dy, column - 1 + tap % 3 + dx)
        expected[:, row, column] += counted * (conv.weight[:, :, tap // 3, tap % 3] @ value)
    torch.testing.assert_close(conv(x)[0], expected)


def bilinear(x: torch.Tensor, row: float, column: float) -> torch.Tensor:
    """The value (C,) of x (C, h, w) between its cells, which are 0 beyond the border."""
    padded = F.pad(x, (20, 20, 20, 20))
    top, left = math.floor(row), math.floor(column)
    down, right = row - top, column - left
    a, b, c, d = (padded[:, 20 + top + i, 20 + left + j] for i in (0, 1) for j in (0, 1))
    return (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)


def test_stride_in_1x1_moves_the_offsets_too() -> None:
    backbone = ResNet(50, deformable_every=3)
    state = backbone.state_dict()
    for in_1x1, stride in ((True, (1, 1)), (False, (2, 2))):
        backbone.load_state_dict(state | {"stride_in_1x1": torch.tensor(in_1x1)})
        block = backbone.layer2[0]
        assert block.conv2.stride == block.conv2.offset.stride == stride
        assert backbone(torch.randn(1, 3, 64, 64))["c5"].shape[-2:] == (2, 2)


def test_deformable_convolution_in_half_precision() -> None:
    conv = ModulatedDeformConv(4, stride=(1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = conv(torch.randn(1, 4, 6, 6).bfloat16())
    assert found.isfinite().all()


def test_constants_of_a_frozen_norm_are_kept_until_a_buffer_changes() -> None:
    norm = FrozenBatchNorm2d(2)
    with torch.inference_mode():
        first = resnet._constants(norm)
    assert resnet._constants(norm)[0] is first[0]
    assert not first[0].is_inference()  # or training after an evaluation would fail
    norm.load_state_dict({name: torch.full((2,), 4.0) for name in norm.state_dict()})
    scale, shift = resnet._constants(norm)
    expected = 4 / (4 + norm.eps) ** 0.5
    assert torch.allclose(scale.flatten(), torch.tensor(expected))
    assert torch.allclose(shift, torch.tensor(4 - 4 * expected))
    moved = copy.deepcopy(norm).to(torch.float64)
    moved.load_state_dict(moved.state_dict())
    assert resnet._constants(moved)[0].dtype == torch.float64
    assert resnet._constants(norm)[0] is scale
