from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.config import Config, config_names, load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend


def built(*overrides: str) -> PanopticBlend:
    with torch.device("meta"):
        return build_model(Config().changed(overrides))


def test_default_is_the_model_of_the_paper() -> None:
    model = built()
    assert model.training
    assert model.backbone.depth == 50
    assert model.detection_levels == ["p3", "p4", "p5", "p6", "p7"]
    assert model.strides == [8, 16, 32, 64, 128]
    assert model.fcos.class_logits.out_channels == 80
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.fcos.class_tower) == 4
    assert model.top_layer.out_channels == 4 * 14 * 14
    assert model.semantic.predictor.out_channels == 54
    assert [layer.out_channels for layer in model.thing_semantic if isinstance(layer, nn.Conv2d)] == [128, 128, 81]
    assert (model.roi_size, model.semantic_weight, model.thing_semantic_weight) == (56, 0.5, 0.3)


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
        "model.fusion.confidence=0.3",
        "model.fusion.overlap=0.6",
        "model.fusion.stuff_area=99",
    )
    assert model.fcos.class_logits.weight.shape == (7, 96, 3, 3)
    assert model.semantic.predictor.weight.shape == (6, 64, 1, 1)
    assert model.backbone.depth == 18
    assert isinstance(model.backbone.bn1, nn.GroupNorm)
    frozen = {name.split(".")[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.fcos.box_tower) == 2
    assert model.top_layer.weight.shape == (3 * 7 * 7, 96, 3, 3)
    assert model.top_layer.shape == (3, 7, 7)
    assert [m.weight.shape[:2] for m in model.bottom.tower.modules() if isinstance(m, nn.Conv2d)] == [
        (24, 24),
        (24, 24),
        (3, 24),
    ]
    assert [m.out_channels for m in model.thing_semantic if isinstance(m, nn.Conv2d)] == [24, 24, 8]
    assert (model.roi_size, model.semantic_weight, model.thing_semantic_weight) == (28, 0.4, 0.2)
    assert model.assign.keywords == {"size_limits": (10, 20, 30, 40), "radius": 2.5}  # type: ignore[attr-defined]
    assert model.decode.keywords == {"score_threshold": 0.1, "limit": 11}  # type: ignore[attr-defined]
    assert model.suppress.keywords == {"nms": 0.7, "limit": 12}  # type: ignore[attr-defined]
    assert model.fuse.keywords == {"confidence": 0.3, "overlap": 0.6, "stuff_area": 99}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", config_names())
def test_every_config_builds(name: str) -> None:
    with torch.device("meta"):
        model = build_model(load_config(name))
        levels = model.features(torch.empty(1, 3, 128, 160))[1]
    assert [level.stride for level in levels] == model.strides


def test_seed_decides_the_weights() -> None:
    overrides = ["model.backbone.depth=18", "model.fpn.channels=32", "model.bottom.channels=8"]
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_model(Config().changed(overrides)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["backbone.conv1.weight"], states[2]["backbone.conv1.weight"])
