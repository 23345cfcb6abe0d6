"""All that follows the network, in numpy and in torch, from the same raw predictions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.outputs import PostProcessing
from panoptic_blend.structures import Array, Output

SMALL = [
    *("num_things=3", "num_stuff=4", "backbone.depth=14", "fpn.channels=32", "semantic.channels=32"),
    *("fcos.num_convs=0", "fcos.size_limits=[64,128]", "fcos.candidates_per_level=30", "fcos.detections_per_image=12"),
    *("bottom.channels=8", "bottom.loss_weight=0", "blender.roi_size=14", "fusion.stuff_area=20"),
]
KINDS = {
    "blended": ["blender.attention_size=4"],
    "calibrated": ["calibration.temperature=1.7", "calibration.bias=0.3"],
    "weighted": ["blender.attention_size=1"],
    "nearest": ["blender.interpolation=nearest", "blender.pooling=pool", "blender.attention_size=7"],
    "one basis": ["bottom.num_bases=1"],
    "assembled": ["blender.merge=assemble", "blender.attention_size=2"],
    "things only": ["semantic.enabled=false"],
    "joint": ["fcos.quality=joint"],
    "rescored": ["blender.rescoring=maskness"],
    "assembled and rescored": ["blender.merge=assemble", "blender.attention_size=2", "blender.rescoring=maskness"],
}


@cache
def both(kind: str) -> tuple[PanopticBlend, PostProcessing]:
    """A small model, and what follows its network in numpy."""
    config = load_config("panoptic/blendmask_r50_3x", [f"model.{change}" for change in (*SMALL, *KINDS[kind])])
    model = build_model(config).eval()
    branch = model.instances
    assert isinstance(branch, BlendMask)
    top_layer = None
    if branch.top_layer is not None:
        torch.nn.init.normal_(branch.top_layer.weight, std=0.2)
        state = {name: value.numpy() for name, value in branch.top_layer.state_dict().items()}
        top_layer = TopLayer(**state, num_bases=config.model.bottom.num_bases)
    semantic_stride = None if model.semantic is None else model.semantic.stride
    levels = dict(zip(branch.levels, branch.strides, strict=True))
    return model, PostProcessing(config.model, levels, branch.bottom.stride, semantic_stride, top_layer)


@cache
def shapes(kind: str) -> dict[str, torch.Size]:
    """The shapes of the raw predictions for an input of 64 x 96 pixels."""
    with torch.inference_mode():
        return {name: value.shape for name, value in both(kind)[0].raw(torch.zeros(1, 3, 64, 96)).items()}


def raw_predictions(kind: str, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) * 2 for name, shape in shapes(kind).items()}
    return {name: value.abs() if name.endswith("distances") else value for name, value in drawn.items()}


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=5)
@given(st.integers(0, 2**16), st.sampled_from([(64, 96), (50, 70)]), st.sampled_from([(64, 96), (37, 81)]))
def test_outputs_are_those_of_torch(kind: str, seed: int, size: tuple[int, int], output_size: tuple[int, int]) -> None:
    model, post_processing = both(kind)
    raw = raw_predictions(kind, seed)
    with torch.inference_mode():
        expected = model.outputs(raw, [size], [output_size])[0].arrays()
    found = post_processing({name: value.numpy() for name, value in raw.items()}, size, output_size)
    assert found.labels.tolist() == expected.labels.tolist() and len(found.labels) > 0
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-6)
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=1e-6, atol=1e-6)
    assert found.bases is not None and (found.bases == expected.bases).all()
    assert (found.attentions is None) == (expected.attentions is None) == kind.startswith("assembled")
    if found.attentions is not None and expected.attentions is not None:
        np.testing.assert_allclose(found.attentions, expected.attentions, rtol=1e-3, atol=1e-4)
    assert differing(found.masks, expected.masks) <= 2
    assert differing(found.semantic, expected.semantic) <= 2
    assert differing(found.panoptic.segment_ids, expected.panoptic.segment_ids) <= 4


def differing(found: Array, expected: Array) -> int:
    """The number of pixels that differ; few may, whose probability or best class is undecided but for rounding."""
    assert found.dtype == expected.dtype
    return int((found != expected).sum())


def test_a_picture_without_instances() -> None:
    _, post_processing = both("blended")
    raw = {name: -9 * value.numpy() ** 0 for name, value in raw_predictions("blended", 0).items()}
    found: Output[Array] = post_processing(raw, (64, 96), (30, 40))
    assert found.masks.shape == (0, 30, 40) and found.boxes.shape == (0, 4)
    assert [segment.category for segment in found.panoptic.segments] == []
