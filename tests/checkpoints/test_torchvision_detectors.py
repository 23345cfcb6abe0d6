"""What a training run takes of torchvision's detectors, and that it means the same here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_io import refused
from torch import Tensor, nn
from torchvision.models.detection import fcos_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from panoptic_blend.checkpoints.importing import recognize
from panoptic_blend.checkpoints.official import adapt, source_of
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.models.build import build_model
from panoptic_blend.models.fcos import FCOSHead
from panoptic_blend.models.fpn import FPN
from panoptic_blend.models.shapes_only import shapes_only
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.initialization import load_initial_weights

STAGES = {"c2": 256, "c3": 512, "c4": 1024, "c5": 2048}
COCO_IDS = coco_categories().thing_ids


@pytest.fixture
def mask_rcnn() -> Any:
    """The network without numbers; `filled` gives some to its parts."""
    with torch.device("meta"):
        return maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).eval()


@pytest.fixture
def fcos() -> Any:
    with torch.device("meta"):
        return fcos_resnet50_fpn(weights=None, weights_backbone=None).eval()


def filled(*modules: nn.Module) -> None:
    """Give random numbers to parts of a network."""
    torch.manual_seed(1)
    for module in modules:
        for name, value in module.to_empty(device="cpu").state_dict().items():
            if name.endswith("running_var"):
                nn.init.uniform_(value, 0.5, 2)
            elif value.is_floating_point():
                nn.init.normal_(value, std=0.5 if value.dim() == 1 else 0.02)


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def stages(finest: int) -> dict[str, Tensor]:
    """Features of an image of 64 x 64 pixels."""
    torch.manual_seed(2)
    return {f"c{i}": torch.randn(1, STAGES[f"c{i}"], 256 >> i, 256 >> i) for i in range(finest, 6)}


@torch.no_grad()
def test_the_pyramid_and_mask_head_of_mask_rcnn_give_the_same(mask_rcnn: Any) -> None:
    """The norms of their convolutions are folded into these; COCO's 80 of 91 rows are left of the masks."""
    filled(mask_rcnn.backbone.fpn, mask_rcnn.roi_heads.mask_head, mask_rcnn.roi_heads.mask_predictor)
    state = adapt(mask_rcnn.state_dict())
    fpn = FPN(STAGES, 256, pooled_level=True)
    fpn.load_state_dict(part(state, "fpn."))
    features = stages(2)
    expected = list(mask_rcnn.backbone.fpn(features).values())
    for found, other in zip(fpn(features).values(), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-3)

    heads = build_model_on_meta("panoptic/panoptic_fpn_r50_3x").instances.roi_heads
    heads.mask_head.to_empty(device="cpu").load_state_dict(part(state, "instances.roi_heads.mask_head."))
    heads.mask_predictor.to_empty(device="cpu").load_state_dict(part(state, "instances.roi_heads.mask_predictor."))
    regions = torch.randn(2, 256, 14, 14)
    theirs = mask_rcnn.roi_heads.mask_predictor(mask_rcnn.roi_heads.mask_head(regions))
    ours = heads.mask_predictor(heads.mask_head(regions))
    assert theirs.shape[1] == 91 and ours.shape[1] == 81
    torch.testing.assert_close(ours, theirs[:, [0, *COCO_IDS]], rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_pyramid_and_head_of_fcos_give_the_same(fcos: Any) -> None:
    filled(fcos.backbone.fpn, fcos.head)
    state = adapt(fcos.state_dict())
    fpn = FPN({name: STAGES[name] for name in ("c3", "c4", "c5")}, 256, extra_levels=2)
    fpn.load_state_dict(part(state, "fpn."))
    features = stages(3)
    expected = list(fcos.backbone.fpn(features).values())
    found = list(fpn(features).values())
    assert len(found) == len(expected) == 5
    head = FCOSHead()
    head.load_state_dict(part(state, "instances.fcos."))
    theirs = fcos.head(expected)
    ours = head(found, (8, 16, 32, 64, 128))
    for kind, name in (("cls_logits", "logits"), ("bbox_regression", "distances"), ("bbox_ctrness", "centerness")):
        flat = torch.cat([getattr(level, name).flatten(2).transpose(1, 2) for level in ours], dim=1)
        other = theirs[kind][:, :, COCO_IDS] if kind == "cls_logits" else theirs[kind]
        torch.testing.assert_close(flat, other, rtol=1e-4, atol=1e-3)


def build_model_on_meta(name: str) -> Any:
    with shapes_only():
        return build_model(load_config(name))


def test_what_a_run_says_of_fcos(fcos: Any, tmp_path: Path) -> None:
    theirs = {name: torch.zeros(value.shape) for name, value in fcos.state_dict().items()}
    theirs["backbone.body.layer4.2.conv3.weight"] += 0.5
    torch.save(theirs, tmp_path / "fcos.pth")
    model = build_model(load_config("instance/blendmask_r50_3x", ["model.num_things=7"]))
    start = [
        f"{tmp_path / 'fcos.pth'}: {line}"
        for line in (
            "loaded backbone, fpn, instances.fcos.box_tower, instances.fcos.centerness, instances.fcos.class_tower, "
            "instances.fcos.distances, pixel_mean, pixel_std (320 tensors)",
            "not loaded instances.bottom, instances.fcos.class_logits, instances.thing_semantic, instances.top_layer "
            "(53 tensors)",
        )
    ]
    assert load_initial_weights(model, str(tmp_path / "fcos.pth"), True, coco_categories()) == start
    assert torch.equal(model.get_parameter("backbone.layer4.2.conv3.weight"), torch.full((2048, 512, 1, 1), 0.5))
    assert "train from it with --partial" in refused(model, theirs)
    with pytest.raises(PanopticBlendError, match=r"only parts fit; train from it with --weights .* --partial"):
        recognize(tmp_path / "fcos.pth")


def test_what_of_mask_rcnn_has_no_place(mask_rcnn: Any) -> None:
    """Its box head and the second convolution of its RPN; so what reads them starts anew."""
    theirs = mask_rcnn.state_dict()
    assert source_of(theirs).is_start
    state, model = adapt(theirs), build_model_on_meta("panoptic/panoptic_fpn_r50_3x").state_dict()
    unused = {name.rpartition(".")[0] for name in state.keys() - model.keys()}
    convs = {f"roi_heads.box_head.{i}.{part}" for i in range(4) for part in (0, 1)}
    others = {"roi_heads.box_head.5", "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"}
    assert unused == convs | others | {"rpn.head.conv.1.0", "rpn.head.cls_logits", "rpn.head.bbox_pred"}
    assert all(state[name].shape == value.shape for name, value in model.items() if name in state)
    assert {"instances.rpn.head.conv.0.0.weight", "backbone.layer4.2.bn3.running_var"} < state.keys() & model.keys()


def test_detectors_of_other_classes() -> None:
    """Two classes and the background: the rows of both stay."""
    rows = torch.tensor([9.0, 1, 2])
    found = adapt(
        {
            "backbone.body.x": rows,
            "head.classification_head.cls_logits.bias": rows,
            "roi_heads.mask_predictor.mask_fcn_logits.bias": rows,
        }
    )
    assert found["instances.fcos.class_logits.bias"].tolist() == [1, 2]
    assert found["instances.roi_heads.mask_predictor.mask_fcn_logits.bias"].tolist() == [9, 1, 2]


def test_a_norm_without_its_statistics_is_told() -> None:
    state = {"backbone.body.x": torch.zeros(1), "backbone.fpn.inner_blocks.0.1.running_var": torch.ones(1)}
    with pytest.raises(PanopticBlendError, match="names are those of torchvision detector, but its shapes are not"):
        adapt(state)
