"""Every config of the library is built, and trains and predicts once, with few pixels, channels and blocks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.build import build_model
from panoptic_blend.structures import Target

NARROW = [
    "model.num_things=3",
    "model.num_stuff=2",
    "model.fpn.channels=32",
    "model.bottom.channels=8",
    "model.semantic.channels=32",
    "model.mask_rcnn.head_channels=32",
    "model.mask_rcnn.mask_channels=16",
]
SIZES = [(64, 96), (50, 70)]


def target(height: int, width: int) -> Target:
    """Two instances over stuff and a strip that is ignored."""
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, 4:40, 6:46] = True
    masks[1, 20:44, 50:66] = True
    semantic = torch.ones(height, width, dtype=torch.int64)
    semantic[masks.any(dim=0)] = 0
    semantic[:2] = 255
    return {
        "boxes": torch.tensor([[6.0, 4.0, 46.0, 40.0], [50.0, 20.0, 66.0, 44.0]]),
        "labels": torch.tensor([0, 2]),
        "masks": masks,
        "semantic": semantic,
    }


@pytest.mark.parametrize("name", config_names())
def test_every_config_trains_and_predicts(name: str) -> None:
    torch.manual_seed(0)
    is_deformable = load_config(name).model.backbone.deformable_every > 0
    shallow = ["model.backbone.depth=50", "model.backbone.deformable_every=8"]
    config = load_config(name, [*NARROW, *(shallow if is_deformable else ["model.backbone.depth=14"])])
    model = build_model(config)
    images = [torch.rand(3, *size) for size in SIZES]
    losses: dict[str, torch.Tensor] = model(images, [target(*size) for size in SIZES])
    expected = {"loss_class", "loss_box", "loss_mask"}
    if config.model.instances == "mask_rcnn":
        expected |= {"loss_rpn_class", "loss_rpn_box"}
    else:
        expected |= {"loss_centerness"} if config.model.fcos.quality == "centerness" else set()
        expected |= {"loss_thing_semantic"} if config.model.bottom.loss_weight else set()
    assert losses.keys() == expected | ({"loss_semantic"} if config.model.semantic.enabled else set())
    assert all(loss.shape == () and loss.isfinite() for loss in losses.values())

    torch.stack(list(losses.values())).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name

    if isinstance(model.instances, BlendMask):
        nn.init.constant_(model.instances.fcos.class_logits.bias, 0.0)  # type: ignore[arg-type]
    with torch.no_grad():
        outputs = model.eval()(images, output_sizes=[(30, 40), (50, 70)])
    for output, size in zip(outputs, [(30, 40), (50, 70)], strict=True):
        assert output.masks.shape == (len(output.boxes), *size)
        assert output.semantic.shape == output.panoptic.segment_ids.shape == size
    if isinstance(model.instances, BlendMask):
        blender = config.model.blender
        num_bases = config.model.bottom.num_bases
        assert len(outputs[0].boxes) > 0
        assert outputs[0].bases.shape[0] == num_bases
        shape = None if outputs[0].attentions is None else tuple(outputs[0].attentions.shape[1:])
        side = blender.attention_size
        assert shape == ((num_bases, side, side) if blender.merge == "blend" else None)
