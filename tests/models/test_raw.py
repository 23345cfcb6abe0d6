"""The raw network: its tensors, and what follows from them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend

NARROW = ["model.fpn.channels=32", "model.semantic.channels=32", "model.bottom.channels=16"]
SLIM_HEADS = ["model.mask_rcnn.head_channels=16", "model.mask_rcnn.mask_channels=16"]


def small(name: str, *overrides: str) -> PanopticBlend:
    torch.manual_seed(0)
    fewer = ["model.backbone.depth=18", "model.bottom.num_bases=2"]
    return build_model(load_config(name, [*NARROW, *SLIM_HEADS, *fewer, *overrides])).eval()


def noise(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height))


def test_raw_tensors_of_a_panoptic_blendmask() -> None:
    raw = small("panoptic/blendmask_r50_3x").raw(noise(64, 96))
    assert raw.keys() == {
        *(f"p{n}_{field}" for n in range(3, 8) for field in ("logits", "distances", "centerness", "features")),
        *("bases", "semantic_logits"),
    }
    assert raw["p3_logits"].shape == (1, 80, 8, 12)
    assert raw["p7_distances"].shape == (1, 4, 1, 1)
    assert raw["p5_centerness"].shape == (1, 1, 2, 3)
    assert raw["p4_features"].shape == (1, 32, 4, 6)
    assert raw["bases"].shape == (1, 2, 16, 24)
    assert raw["semantic_logits"].shape == (1, 54, 16, 24)


def test_raw_tensors_of_mask_rcnn() -> None:
    raw = small("instance/mask_rcnn_r50_3x").raw(noise(64, 96))
    levels = [f"p{n}" for n in range(2, 7)]
    assert raw.keys() == {name for level in levels for name in (level, f"{level}_objectness", f"{level}_deltas")}
    assert raw["p2"].shape == (1, 32, 16, 24)
    assert raw["p2_objectness"].shape == (1, 3, 16, 24)
    assert raw["p6_deltas"].shape == (1, 12, 1, 2)


@pytest.mark.parametrize("name", ["panoptic/blendmask_r50_3x_shared", "panoptic/panoptic_fpn_r50_3x"])
def test_outputs_of_raw_tensors_are_those_of_the_model(name: str) -> None:
    model = small(name, "model.fcos.score_threshold=0", "model.mask_rcnn.score_threshold=0")
    images = [torch.rand(3, 50, 70), torch.rand(3, 64, 33)]
    sizes = [(100, 140), (64, 33)]
    with torch.inference_mode():
        raw = model.raw(model.batch(images))
        found = model.outputs(raw, [(50, 70), (64, 33)], sizes)
        for one, other in zip(found, model(images, output_sizes=sizes), strict=True):
            assert len(one.scores) > 0
            assert torch.equal(one.boxes, other.boxes)
            assert torch.equal(one.semantic, other.semantic)
            assert (one.panoptic.segment_ids == other.panoptic.segment_ids).all()
