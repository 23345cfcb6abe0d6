"""Cases P1 and P3: what the official implementation says of one picture, with the same weights, stage by stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from branches import branch_of
from golden_weights import GOLDEN, golden_weights
from torch import Tensor

from panoptic_blend.checkpoints.io import load_weights
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.blender import blend, crop
from panoptic_blend.models.build import build_model
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.models.postprocess import Candidates, decode, rescale, suppress
from panoptic_blend.postprocessing.fusion import fuse
from panoptic_blend.postprocessing.pasting import paste
from panoptic_blend.structures import Detections, Output, PanopticMap

Arrays = dict[str, npt.NDArray[Any]]

CONFIGS = {"P1": "panoptic/blendmask_r50_3x", "P3": "instance/blendmask_rt_r50_4x"}
"""Panoptic R-50, and the real-time instance model."""


@dataclass(frozen=True)
class Run:
    """Everything the model computes on the way to its output."""

    padded: tuple[int, ...]
    maps: dict[str, Tensor]
    levels: list[LevelPredictions]
    bases: Tensor
    attentions: Tensor
    output: Output


@pytest.fixture(scope="module", params=CONFIGS)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def golden(case: str) -> Arrays:
    with np.load(GOLDEN / f"{case}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def run(case: str, golden: Arrays) -> Run:
    model = build_model(load_config(CONFIGS[case])).eval()
    load_weights(model, golden_weights(json.loads(str(golden["case"]))))
    image = torch.from_numpy(golden["im0_image"][:, :, ::-1].copy()).permute(2, 0, 1)
    size = tuple(golden["im0_output_size"].tolist())
    with torch.inference_mode():
        batch = model.batch([image])
        features = model.features(batch)
        levels = branch_of(model).detect(features)
        maps = {f"fpn_{name}" if name[0] == "p" else f"res_res{name[1]}": x for name, x in features.items()}
        maps |= {f"top_l{i}": branch_of(model).top_layer(level.features) for i, level in enumerate(levels)}
        if model.semantic is not None:
            maps["sem_logits_s4"] = model.semantic(features)
        return Run(
            padded=tuple(batch.shape),
            maps=maps,
            levels=levels,
            bases=branch_of(model).bottom(features),
            attentions=branch_of(model).top_layer.at([level.features for level in levels], places(golden)),
            output=model([image], output_sizes=[size])[0],
        )


def places(golden: Arrays) -> Tensor:
    """Level, image, row and column of the official detections."""
    level = torch.from_numpy(golden["im0_det_fpn_levels"])
    column, row = torch.from_numpy(golden["im0_det_locations"]).long().div(8 * 2 ** level[:, None]).long().unbind(1)
    return torch.stack([level, torch.zeros_like(level), row, column], dim=1)


def unpacked(golden: Arrays, key: str) -> npt.NDArray[np.bool_]:
    height, width = golden["im0_output_size"].tolist()
    bits = np.unpackbits(np.atleast_2d(golden[key]), axis=1, count=height * width)
    return bits.reshape(-1, height, width).astype(bool)


def assert_near(found: Tensor, expected: npt.NDArray[Any], tolerance: float) -> None:
    torch.testing.assert_close(found.double(), torch.from_numpy(expected).double(), rtol=0, atol=tolerance)


def assert_relative(found: Tensor, expected: npt.NDArray[Any], largest: float | None = None) -> None:
    """Equal to 1e-4 of the ``largest`` value there is."""
    assert_near(found, expected, 1e-4 * (largest or float(np.abs(expected).max())))


def test_padding(golden: Arrays, run: Run) -> None:
    assert run.padded == tuple(golden["padded_shape"])


def test_features(case: str, golden: Arrays, run: Run) -> None:
    """A sample of every map (1, C, h, w) was recorded, and statistics over everything."""
    names = [key.removesuffix("_slice") for key in golden if key.endswith("_slice")]
    assert len(names) == {"P1": 16, "P3": 9}[case]
    for name in names:
        x, statistics = run.maps[name], golden[f"{name}_stats"]
        assert_relative(x[:, :: max(1, x.shape[1] // 8), ::4, ::4], golden[f"{name}_slice"], statistics[2])
        found = torch.stack([x.double().mean(), x.double().std(correction=0), x.double().abs().max()])
        assert_relative(found, statistics)


def test_detector(golden: Arrays, run: Run) -> None:
    assert [level.stride for level in run.levels] == [8 * 2**i for i in range(len(run.levels))]
    assert f"cls_l{len(run.levels)}" not in golden
    for i, found in enumerate(run.levels):
        assert_relative(found.logits, golden[f"cls_l{i}"])
        assert_relative(found.distances, golden[f"reg_l{i}"])
        assert found.centerness is not None
        assert_relative(found.centerness, golden[f"ctr_l{i}"])


def test_bases(golden: Arrays, run: Run) -> None:
    assert_relative(run.bases, golden["bases"])


def official_levels(golden: Arrays) -> list[LevelPredictions]:
    return [
        LevelPredictions(
            stride=8 * 2**i,
            logits=torch.from_numpy(golden[f"cls_l{i}"]),
            distances=torch.from_numpy(golden[f"reg_l{i}"]),
            centerness=torch.from_numpy(golden[f"ctr_l{i}"]),
            features=torch.empty(0),
        )
        for i in range(sum(key.startswith("reg_l") for key in golden))
    ]


def assert_candidates(found: Candidates, golden: Arrays, prefix: str) -> None:
    assert len(found.scores) == len(golden[f"{prefix}_scores"])
    assert_near(found.scores, golden[f"{prefix}_scores"], 1e-6)
    assert_near(found.boxes, golden[f"{prefix}_boxes"], 1e-3)
    assert np.array_equal(found.labels, golden[f"{prefix}_classes"])
    assert np.array_equal(found.places[:, 0], golden[f"{prefix}_fpn_levels"])


def test_predictions_to_detections(golden: Arrays) -> None:
    found = suppress(decode(official_levels(golden), 0))
    assert_candidates(found, golden, "im0_det")
    assert torch.equal(found.places, places(golden))


def test_limits_per_level_and_image(golden: Arrays) -> None:
    found = suppress(decode(official_levels(golden), 0, score_threshold=0.01, limit=60), limit=30)
    order = np.argsort(-golden["im0_capped_scores"])
    names = ("boxes", "scores", "classes", "fpn_levels")
    assert_candidates(
        found, {f"im0_capped_{name}": golden[f"im0_capped_{name}"][order] for name in names}, "im0_capped"
    )


def test_attentions(golden: Arrays, run: Run) -> None:
    assert_relative(run.attentions.flatten(1), golden["im0_det_top_feat"])


def test_blending(golden: Arrays) -> None:
    bases, boxes = torch.from_numpy(golden["bases"]), torch.from_numpy(golden["im0_det_boxes"])
    attentions = torch.from_numpy(golden["im0_det_top_feat"]).view(-1, 4, 14, 14)
    probabilities = blend(crop(bases, [boxes], 56, stride=4), attentions).sigmoid()
    assert_near(probabilities, golden["im0_det_mask_probs"], 1e-5)


def test_postprocessing(golden: Arrays) -> None:
    height, width = golden["im0_output_size"].tolist()
    input_size = golden["im0_image"].shape[0], golden["im0_image"].shape[1]
    boxes = rescale(torch.from_numpy(golden["im0_det_boxes"]), input_size, (height, width))
    visible = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)
    assert visible.nonzero().squeeze(1).tolist() == golden["im0_post_keep_index"].tolist()
    assert_near(boxes[visible], golden["im0_post_boxes"], 1e-4)
    masks = torch.zeros(int(visible.sum()), height, width, dtype=torch.bool)
    probabilities = torch.from_numpy(golden["im0_det_mask_probs"])[visible]
    for mask, cutout in zip(masks, paste(probabilities, boxes[visible], (height, width)), strict=True):
        mask[cutout.window] = torch.from_numpy(cutout.mask)
    assert_masks(masks, golden)


def assert_masks(masks: Tensor, golden: Arrays) -> None:
    """Equal but for pixels whose probability is one half up to rounding."""
    expected, uncertain = (unpacked(golden, f"im0_post_masks_{kind}packed") for kind in ("", "uncertain_"))
    assert expected.any(axis=(1, 2)).sum() > 30
    assert not ((masks.numpy() != expected) & ~uncertain).any()


def assert_segments(found: PanopticMap, golden: Arrays) -> None:
    info = json.loads(str(golden["im0_segments_info"]))
    assert [(s.id, s.category, s.is_thing) for s in found.segments] == [
        (s["id"], s["category_id"], s["isthing"]) for s in info
    ]
    for segment, expected in zip(found.segments, info, strict=True):
        if segment.is_thing:
            row = expected["instance_id"]
            assert segment.score == pytest.approx(expected["score"], abs=1e-4)
            assert segment.score == pytest.approx(golden["im0_post_scores"][row], abs=1e-4)


@pytest.mark.parametrize("case", ["P1"], indirect=True)
def test_fusion(golden: Arrays) -> None:
    detections = Detections(
        boxes=torch.from_numpy(golden["im0_post_boxes"]),
        scores=torch.from_numpy(golden["im0_post_scores"]),
        labels=torch.from_numpy(golden["im0_post_classes"]),
        masks=torch.from_numpy(unpacked(golden, "im0_post_masks_packed")),
    )
    found = fuse(detections, golden["im0_sem_argmax"], confidence=0.2, overlap=0.4, stuff_area=4096)
    assert np.array_equal(found.segment_ids, golden["im0_panoptic"])
    assert_segments(found, golden)
    stuff = {s["id"]: s["area"] for s in json.loads(str(golden["im0_segments_info"])) if not s["isthing"]}
    assert {s.id: s.area for s in found.segments if not s.is_thing} == stuff


def test_from_picture_to_instances(golden: Arrays, run: Run) -> None:
    found = run.output
    assert_near(found.boxes, golden["im0_post_boxes"], 1e-2)
    assert_near(found.scores, golden["im0_post_scores"], 1e-4)
    assert np.array_equal(found.labels, golden["im0_post_classes"])
    assert found.attentions is not None
    assert found.bases is not None
    assert_relative(found.attentions.flatten(1), golden["im0_det_top_feat"][golden["im0_post_keep_index"]])
    assert_relative(found.bases[None], golden["bases"])
    assert_masks(found.masks, golden)


@pytest.mark.parametrize("case", ["P1"], indirect=True)
def test_panoptic_map(golden: Arrays, run: Run) -> None:
    found = run.output
    uncertain = unpacked(golden, "im0_panoptic_uncertain_packed")[0]
    assert np.array_equal(found.semantic.numpy()[~uncertain], golden["im0_sem_argmax"][~uncertain])
    assert np.array_equal(found.panoptic.segment_ids[~uncertain], golden["im0_panoptic"][~uncertain])
    assert_segments(found.panoptic, golden)


@pytest.mark.parametrize("case", ["P3"], indirect=True)
def test_map_of_an_instance_model(run: Run) -> None:
    """Without a semantic head a map holds the things, and what is left is void."""
    assert not run.output.semantic.any()
    assert all(segment.is_thing for segment in run.output.panoptic.segments)
    assert len(run.output.panoptic.segments) > 5
