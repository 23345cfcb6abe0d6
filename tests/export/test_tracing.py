"""Every config of the library becomes a graph of plain operators that takes any height and width."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.export.tracing import PixelNetwork, operators, trace
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.shapes_only import shapes_only

SMALL = [
    *("model.num_things=3", "model.num_stuff=2", "model.fpn.channels=32", "model.semantic.channels=32"),
    *("model.bottom.channels=16", "model.bottom.num_convs=0", "model.fcos.num_convs=1", "model.bottom.loss_weight=0"),
]
PLAIN = {
    *("add", "cat", "conv2d", "deform_conv2d", "div", "getitem", "group_norm", "max_pool2d", "mul", "relu", "relu_"),
    *("sigmoid", "split_with_sizes", "sub", "sym_size", "to", "unsqueeze"),
    *("upsample_bilinear2d", "upsample_nearest2d"),
    *("_assert_tensor_metadata", "promote_types", "wrap_with_autocast"),  # these compute nothing
}


def small(name: str) -> PanopticBlend:
    """The model of a config with fewer layers of each kind."""
    model = load_config(name).model
    every = model.backbone.deformable_every
    fewer = [f"model.backbone.depth={50 if every else 14}", f"model.backbone.deformable_every={8 if every else 0}"]
    if model.blender.merge == "blend":
        fewer += ["model.bottom.num_bases=2", "model.blender.attention_size=2"]
    torch.manual_seed(0)
    return build_model(load_config(name, [*SMALL, *fewer])).eval()


def kinds() -> dict[str, set[str]]:
    """The layers and levels of one config of each kind: the others differ in numbers, or in what follows the graph."""
    found = dict[frozenset[str], str]()
    for name in reversed(config_names()):
        if load_config(name).model.instances == "blendmask":
            with shapes_only():
                model = small(name)
            assert isinstance(model.instances, BlendMask)
            found[frozenset({*(type(layer).__name__ for layer in model.modules()), str(model.instances.levels)})] = name
    return {name: {*parts} for parts, name in found.items()}


EVERY_PART = [
    *("ablation/base", "demo/kernelblend_r18", "instance/blendmask_550_r101_3x", "panoptic/blendmask_r101_dcni3_5x")
]
"""Configs that have, together, all layers and all levels."""
OTHER_KINDS = [
    *("ablation/table1_assembler", "ablation/table7_proto_fpn", "demo/coco_overfit_r18", "demo/shapes_r18"),
    *("instance/blendmask_r101_dcni3_5x", "instance/blendmask_rt_lite", "instance/blendmask_rt_r50_4x"),
    *("panoptic/blendmask_lite", "panoptic/blendmask_plus_r50_3x"),
    *("panoptic/blendmask_r50_3x_shared", "panoptic/kernelblend_r50_3x"),
]


def test_one_config_of_each_kind_is_traced() -> None:
    """The lists are written down: every process would need seconds to find them while it collects the tests."""
    found = kinds()
    assert found.keys() == {*EVERY_PART, *OTHER_KINDS}
    assert set.union(*(found[name] for name in EVERY_PART)) == set.union(*found.values())


@pytest.mark.parametrize("name", [*EVERY_PART, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHER_KINDS)])
def test_every_config_is_traced_with_any_size(name: str) -> None:
    model = small(name)
    fold_norms(model)
    assert isinstance(model.instances, BlendMask)
    program = trace(model, max(model.instances.strides))
    assert operators(program) <= PLAIN
    pixels = 255 * torch.rand(1, 3, 160, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = program.module()(pixels), PixelNetwork(model)(pixels)
    assert list(found) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


class Sorting(nn.Module):
    """What `trace` reads of a model, with an operator that is not plain."""

    pixel_mean = pixel_std = torch.ones(3)

    def raw(self, batch: Tensor) -> dict[str, Tensor]:
        return {"sorted": batch.sort().values}


def test_operators_that_engines_lack_are_refused(refused: Callable[..., str]) -> None:
    assert "operators that many engines lack: sort; " in refused(trace, Sorting(), 32)


class SamePadding(nn.Module):
    """What `trace` reads of a model, with layers of timm that measure a map before they pad it."""

    def __init__(self) -> None:
        super().__init__()
        kinds = (Conv2dSame(3, 4, 3, 2), Conv2dSame(4, 4, 5, 2, groups=4), Conv2dSame(4, 2, 1, 2))
        self.layers = nn.Sequential(*kinds)
        self.pixel_mean = self.pixel_std = torch.ones(3)

    def raw(self, batch: Tensor) -> dict[str, Tensor]:
        return {"found": self.layers(batch)}


def test_padding_that_depends_on_the_size_is_traced_as_a_number() -> None:
    torch.manual_seed(0)
    model = SamePadding()
    program = trace(model, 32)  # type: ignore[arg-type]
    pixels = torch.rand(1, 3, 160, 224)
    with torch.no_grad():
        expected = PixelNetwork(model)(pixels)["found"]  # type: ignore[arg-type]
        torch.testing.assert_close(program.module()(pixels)["found"], expected)
    assert expected.shape == (1, 2, 20, 28)
    paddings = [node.args[1] for node in program.graph.nodes if "pad" in str(node.target)]
    assert paddings == [[0, 1, 0, 1], [1, 2, 1, 2], [0, 0, 0, 0]]
