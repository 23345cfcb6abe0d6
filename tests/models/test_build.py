from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from branches import backbone_of, branch_of
from torch import nn

from panoptic_blend.config.experiment import Config
from panoptic_blend.models.backbones.resnet import ModulatedDeformConv
from panoptic_blend.models.blender import assemble
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.shapes_only import shapes_only


def built(*overrides: str) -> PanopticBlend:
    with shapes_only():
        return build_model(Config().changed(overrides))


def test_default_is_the_model_of_the_paper() -> None:
    model = built()
    assert model.training
    assert backbone_of(model).depth == 50
    assert branch_of(model).levels == ("p3", "p4", "p5", "p6", "p7")
    assert branch_of(model).strides == [8, 16, 32, 64, 128]
    assert branch_of(model).fcos.class_logits.out_channels == 80
    assert sum(isinstance(layer, nn.Conv2d) for layer in branch_of(model).fcos.class_tower) == 4
    assert branch_of(model).top_layer.out_channels == 4 * 14 * 14
    assert model.semantic is not None
    assert model.semantic.predictor.out_channels == 54
    assert [layer.out_channels for layer in branch_of(model).thing_semantic if isinstance(layer, nn.Conv2d)] == [
        128,
        128,
        81,
    ]
    assert (branch_of(model).roi_size, model.semantic_weight, branch_of(model).thing_semantic_weight) == (56, 0.5, 0.3)


def test_every_option_of_the_model_arrives() -> None:
    model = built(
        "model.num_things=7",
        "model.num_stuff=5",
        "model.backbone.depth=18",
        "model.backbone.norm=gn",
        "model.backbone.frozen_stages=3",
        "model.fpn.channels=96",
        "model.fcos.num_convs=2",
        "model.fcos.size_limits=[10, 20, 30, 40]",
        "model.fcos.center_radius=2.5",
        "model.fcos.score_threshold=0.1",
        "model.fcos.candidates_per_level=11",
        "model.fcos.nms=0.7",
        "model.fcos.detections_per_image=12",
        "model.bottom.num_bases=3",
        "model.bottom.channels=24",
        "model.bottom.num_convs=1",
        "model.bottom.loss_weight=0.2",
        "model.blender.roi_size=28",
        "model.blender.attention_size=7",
        "model.semantic.channels=64",
        "model.semantic.loss_weight=0.4",
        "model.calibration.temperature=0.7",
        "model.calibration.bias=-0.1",
        "model.fusion.confidence=0.3",
        "model.fusion.overlap=0.6",
        "model.fusion.stuff_area=99",
    )
    assert branch_of(model).fcos.class_logits.weight.shape == (7, 96, 3, 3)
    assert model.semantic is not None
    assert model.semantic.predictor.weight.shape == (6, 64, 1, 1)
    assert backbone_of(model).depth == 18
    assert isinstance(backbone_of(model).bn1, nn.GroupNorm)
    frozen = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert sum(isinstance(layer, nn.Conv2d) for layer in branch_of(model).fcos.box_tower) == 2
    assert branch_of(model).top_layer.weight.shape == (3 * 7 * 7, 96, 3, 3)
    assert branch_of(model).top_layer.shape == (3, 7, 7)
    assert [m.weight.shape[:2] for m in branch_of(model).bottom.tower.modules() if isinstance(m, nn.Conv2d)] == [
        (24, 24),
        (24, 24),
        (3, 24),
    ]
    assert [m.out_channels for m in branch_of(model).thing_semantic if isinstance(m, nn.Conv2d)] == [24, 24, 8]
    assert (branch_of(model).roi_size, model.semantic_weight, branch_of(model).thing_semantic_weight) == (28, 0.4, 0.2)
    assert branch_of(model).assign.keywords == {"size_limits": (10, 20, 30, 40), "radius": 2.5}
    assert branch_of(model).decode.keywords == {"score_threshold": 0.1, "limit": 11}
    assert branch_of(model).suppress.keywords == {"nms": 0.7, "limit": 12}
    assert model.calibrate.keywords == {"temperature": 0.7, "bias": -0.1}  # type: ignore[attr-defined]
    assert model.paint.keywords == {"confidence": 0.3, "overlap": 0.6, "stuff_area": 99}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("overrides", "levels"),
    [
        ([], ("p2", "p3", "p4", "p5", "p6", "p7")),
        (["model.semantic.enabled=false"], ("p3", "p4", "p5", "p6", "p7")),
        (["model.semantic.enabled=false", "model.fcos.size_limits=[64, 128]"], ("p3", "p4", "p5")),
        (["model.semantic.enabled=false", "model.bottom.features=[p2, p5]"], ("p2", "p3", "p4", "p5", "p6", "p7")),
        (["model.instances=mask_rcnn"], ("p2", "p3", "p4", "p5", "p6")),
        (["model.instances=mask_rcnn", "model.semantic.enabled=false"], ("p2", "p3", "p4", "p5", "p6")),
    ],
)
def test_the_pyramid_has_the_levels_that_are_read(overrides: list[str], levels: tuple[str, ...]) -> None:
    assert built(*overrides).fpn.levels == levels


def test_variants_of_the_instance_branch() -> None:
    model = built(
        "model.backbone.deformable_every=3",
        "model.fcos.shared_convs=3",
        "model.fcos.num_convs=0",
        "model.fcos.size_limits=[64, 128, 256]",
        "model.bottom.kind=deeplab",
        "model.bottom.features=[p2, c5]",
        "model.bottom.num_bases=16",
        "model.bottom.loss_weight=0",
        "model.blender.merge=assemble",
        "model.blender.attention_size=4",
        "model.blender.pooling=pool",
        "model.semantic.enabled=false",
    )
    branch = branch_of(model)
    assert isinstance(backbone_of(model).layer2[0].conv2, ModulatedDeformConv)
    assert sum(isinstance(layer, nn.Conv2d) for layer in branch.fcos.shared_tower) == 3
    assert len(branch.fcos.class_tower) == len(branch.fcos.box_tower) == 0
    assert branch.levels == ("p3", "p4", "p5", "p6")
    assert [conv[0].in_channels for conv in (branch.bottom.fine, branch.bottom.coarse)] == [256, 2048]
    assert branch.top_layer is None
    assert branch.thing_semantic is None
    assert branch.crop.keywords == {"size": 56, "stride": 4, "pooling": "pool"}
    assert branch.merge is assemble
    assert model.semantic is None


def test_blender_options_arrive() -> None:
    branch = branch_of(built("model.blender.interpolation=nearest", "model.bottom.kind=shared"))
    assert branch.merge.keywords == {"interpolation": "nearest"}
    assert branch.bottom.predictor.weight.shape == (4, 128, 1, 1)


def test_kernel_options_arrive() -> None:
    branch = branch_of(
        built(
            "model.blender={merge: convolve, dice_weight: 0.5}",
            "model.kernels={num_convs: 2, channels: 5, coordinates: false, scale: 0.2, rounds: 2}",
            "model.bottom.num_bases=6",
        )
    )
    assert branch.merge.layers == [(6, 5), (5, 1)]
    assert (branch.merge.scale, len(branch.merge.updates)) == (0.2, 2)
    assert branch.top_layer.weight.shape == (7 * 5 + 6, 256, 3, 3)
    assert branch.dice_weight == 0.5


def test_refining_needs_attentions_beside_kernels() -> None:
    branch = branch_of(built("model.blender={merge: refine, attention_size: 2, interpolation: nearest}"))
    assert branch.merge.attentions == (4, 2, 2) and branch.merge.interpolation == "nearest"
    assert branch.top_layer.weight.shape[0] == branch.merge.size == 16 + 56 + 72 + 9


def test_rounds_of_the_semantic_head_arrive() -> None:
    semantic = built("model.semantic.kernel_rounds=2").semantic
    assert semantic is not None and len(semantic.updates) == 2


def test_mask_rcnn_options_arrive() -> None:
    model = built(
        "model.instances=mask_rcnn",
        "model.num_things=5",
        "model.mask_rcnn.head_channels=64",
        "model.mask_rcnn.mask_channels=24",
        "model.mask_rcnn.score_threshold=0.1",
        "model.mask_rcnn.nms=0.3",
        "model.mask_rcnn.detections_per_image=7",
    )
    heads = branch_of(model).roi_heads
    assert heads.box_predictor.cls_score.weight.shape == (6, 64)
    assert heads.mask_predictor.mask_fcn_logits.weight.shape == (6, 24, 1, 1)
    assert (heads.score_thresh, heads.nms_thresh, heads.detections_per_img) == (0.1, 0.3, 7)


def test_seed_decides_the_weights() -> None:
    overrides = ["model.backbone.depth=18", "model.fpn.channels=32", "model.bottom.channels=8"]
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_model(Config().changed(overrides)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["backbone.conv1.weight"], states[2]["backbone.conv1.weight"])


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("demo/shapes_r18", "a str is not a Config; give load_config('demo/shapes_r18')"),
        ({}, "give one of load_config"),
    ],
)
def test_what_is_not_a_config(given: Any, remedy: str, refused: Callable[..., str]) -> None:
    assert refused(build_model, given).endswith(remedy)
