"""Case M1: what mmdetection 3.3's Panoptic-FPN says of one picture, with the same weights, stage by stage.

Its picture is RGB and 203 x 298 pixels, padded to 224 x 320, and its result 305 x 448. The weights are read from a file
as mmdetection published them, and the norms of the network are folded, as in all prediction. mmdetection counts the
background of the box head and "some thing" last, here they come first.

Two runs of mmdetection itself in other orders of summation differ by 4e-5 in features, 1.2e-4 in semantic logits, 2e-3
pixels in boxes, 3e-5 in scores and 4e-4 in mask probabilities.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden_weights import GOLDEN, golden_weights
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.models.mmdetection import MMDetectionMaskRCNN, TwoSidedBoxCoder, scale_to_output
from panoptic_blend.models.panoptic_blend import semantic_classes
from panoptic_blend.models.postprocess import Instances
from panoptic_blend.postprocessing.fusion import fuse
from panoptic_blend.postprocessing.pasting import paste
from panoptic_blend.structures import Detections, Output, PanopticMap, Size

Arrays = dict[str, npt.NDArray[Any]]

CONFIG = "panoptic/panoptic_fpn_r50_3x_mmdet"
INPUT: Size = (203, 298)
OUTPUT: Size = (305, 448)


@pytest.fixture(scope="module")
def golden() -> Arrays:
    with np.load(GOLDEN / "M1.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def predictor(golden: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """From a file as mmdetection published its weights: in torch's older layout, with remarks."""
    path = tmp_path_factory.mktemp("mmdetection") / "panoptic_fpn_r50_fpn_mstrain_3x_coco.pth"
    meta = {"mmdet_version": "2.16.0", "epoch": 36, "hook_msgs": {}, "CLASSES": ("person", "bicycle")}
    content = {"meta": meta, "state_dict": OrderedDict(golden_weights(json.loads(str(golden["case"]))))}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    found = load(CONFIG, weights=path)
    path.unlink()
    return found


@dataclass(frozen=True)
class Run:
    """Everything the model computes on the way to its output."""

    maps: dict[str, Tensor]
    proposals: Tensor
    class_logits: Tensor
    """Of each of ``proposals``."""
    found: Instances
    output: Output


@pytest.fixture(scope="module")
def branch(predictor: Predictor) -> MMDetectionMaskRCNN:
    found = predictor.model.instances
    assert isinstance(found, MMDetectionMaskRCNN)
    return found


@pytest.fixture(scope="module")
def run(golden: Arrays, predictor: Predictor, branch: MMDetectionMaskRCNN) -> Run:
    model, predicted = predictor.model, list[Tensor]()
    image = torch.from_numpy(golden["im0_image"]).permute(2, 0, 1)
    hook = branch.roi_heads.box_predictor.register_forward_hook(lambda *call: predicted.append(call[2][0]))
    with torch.inference_mode():
        batch = model.batch([image])
        features, raw = model.backbone(batch), model.raw(batch)
        [found] = branch.select(raw, [INPUT])
        objectness, deltas = ([raw[f"{level}_{kind}"] for level in branch.levels] for kind in ("objectness", "deltas"))
        [proposals] = branch.rpn.propose([raw[level] for level in branch.levels], objectness, deltas, [INPUT])
        classes = semantic_classes(raw["semantic_logits"][0], 4, INPUT, OUTPUT)
        output = model.compose(found, INPUT, OUTPUT, classes)
    hook.remove()
    maps = {f"res_res{name[1]}": x for name, x in features.items()}
    for number, level in enumerate(branch.levels):
        parts = {"fpn_p": level, "rpn_obj_l": f"{level}_objectness", "rpn_delta_l": f"{level}_deltas"}
        maps |= {f"{name}{number + 2 * (name == 'fpn_p')}": raw[key] for name, key in parts.items()}
    maps |= {"input": batch, "sem_logits_s4": raw["semantic_logits"].roll(-1, dims=1)}
    return Run(maps, proposals, predicted[0], found, output)


def assert_near(found: Tensor, expected: npt.NDArray[Any], tolerance: float) -> None:
    torch.testing.assert_close(found.double(), torch.from_numpy(expected).double(), rtol=0, atol=tolerance)


def unpacked(golden: Arrays, key: str) -> npt.NDArray[np.bool_]:
    bits = np.unpackbits(np.atleast_2d(golden[key]), axis=1, count=OUTPUT[0] * OUTPUT[1])
    return bits.reshape(-1, *OUTPUT).astype(bool)


# --- the network -----------------------------------------------------------------------------------------------------


def test_input_and_every_map(golden: Arrays, run: Run) -> None:
    """A sample of every map (1, C, h, w) was recorded, and its mean, deviation and largest value."""
    assert run.maps["input"].shape == tuple(golden["padded_shape"]) and tuple(golden["im0_output_size"]) == OUTPUT
    names = [key.removesuffix("_slice") for key in golden if key.endswith("_slice") and not key.startswith("box_head")]
    assert len(names) == 1 + 4 + 5 + 2 * 5 + 1 and set(names) == run.maps.keys()
    for name in names:
        x = run.maps[name]
        every = 1 if name == "input" else max(1, x.shape[1] // 8)
        assert_near(x[:, ::every, ::4, ::4], golden[f"{name}_slice"], 1e-3)
        found = torch.stack([x.double().mean(), x.double().std(correction=0), x.double().abs().max()])
        assert_near(found, golden[f"{name}_stats"], 1e-4)
    assert_near(run.maps["sem_logits_s4"], golden["sem_logits_s4"], 2**-7)  # stored in half precision


def test_proposals(golden: Arrays, run: Run) -> None:
    """Neighbors with nearly equal scores may change places, so that rows are paired by box."""
    expected = torch.from_numpy(golden["proposal_boxes"])
    assert run.proposals.shape == expected.shape == (1000, 4)
    distances, rows = torch.cdist(run.proposals, expected, p=float("inf")).min(dim=0)
    assert distances.max() < 2e-2 and len(rows.unique()) == 1000
    assert (rows - torch.arange(1000)).abs().max() <= 20
    assert_near(run.class_logits[rows].roll(-1, dims=1), golden["box_head_class_logits"], 5e-3)


def test_box_head(golden: Arrays, run: Run, branch: MMDetectionMaskRCNN) -> None:
    """Every sixteenth of the recorded proposals; the first label is background, which has no deltas there."""
    heads, boxes = branch.roi_heads, torch.from_numpy(golden["proposal_boxes"])[::16]
    with torch.inference_mode():
        pooled = heads.box_roi_pool({f"p{i}": run.maps[f"fpn_p{i}"] for i in range(2, 6)}, [boxes])
        logits, deltas = heads.box_predictor(heads.box_head(pooled))
    assert_near(logits.roll(-1, dims=1), golden["box_head_class_logits"][::16], 1e-3)
    assert_near(deltas[:, 4:], golden["box_head_deltas_slice"], 1e-3)
    assert not deltas[:, :4].any()


def test_detections(golden: Arrays, run: Run) -> None:
    """44 of 23 classes; suppression within each class would leave 49."""
    assert len(golden["im0_det_scores"]) == 44 and len(set(golden["im0_det_classes"].tolist())) == 23
    assert np.array_equal(run.found.labels, golden["im0_det_classes"])
    assert_near(run.found.boxes, golden["im0_det_boxes"], 2e-2)
    assert_near(run.found.scores, golden["im0_det_scores"], 5e-4)
    assert_near(run.found.probabilities, golden["im0_det_mask_probs"], 2e-3)


def test_output(golden: Arrays, run: Run) -> None:
    assert_near(run.output.boxes, golden["im0_post_boxes"], 2e-2)
    assert_near(run.output.scores, golden["im0_post_scores"], 5e-4)
    assert np.array_equal(run.output.labels, golden["im0_post_classes"])
    assert_masks(run.output.masks.numpy(), golden)


def assert_masks(masks: npt.NDArray[np.bool_], golden: Arrays) -> None:
    """Equal but for pixels whose probability is one half up to rounding."""
    expected, uncertain = (unpacked(golden, f"im0_post_masks_{kind}packed") for kind in ("", "uncertain_"))
    assert expected.sum() > 70_000 and uncertain.sum() < 1000
    assert not ((masks != expected) & ~uncertain).any()


def test_panoptic_map(golden: Arrays, run: Run) -> None:
    uncertain = unpacked(golden, "im0_panoptic_uncertain_packed")[0]
    assert uncertain.mean() < 0.01
    classes = things_first(golden["im0_sem_argmax"])
    assert np.array_equal(run.output.semantic.numpy()[~uncertain], classes[~uncertain])
    found = run.output.panoptic
    assert np.array_equal(found.segment_ids[~uncertain], golden["im0_panoptic"][~uncertain])
    info = json.loads(str(golden["im0_segments_info"]))
    assert [s.is_thing for s in found.segments] == [True] * 35 + [False] * 9
    assert [(s.id, s.category) for s in found.segments] == [(s["id"], s["category_id"]) for s in info]
    assert [s.category for s in coco_categories().to_dataset(found).segments] == [s["coco_id"] for s in info]
    for segment, expected in zip(found.segments, info, strict=True):
        assert abs(segment.area - expected["area"]) <= uncertain.sum()
        assert segment.score == (pytest.approx(expected["score"], abs=5e-4) if segment.is_thing else None)
        assert not segment.is_thing or segment.score == run.output.scores[expected["instance_id"]]


def things_first(classes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """mmdetection's semantic classes, 53 for things, as ours, 0 for things."""
    return (classes.astype(np.int64) + 1) % 54


# --- rules alone, from what was recorded of the stage before ---------------------------------------------------------


def test_boxes_and_masks_of_the_output(golden: Arrays) -> None:
    detections = [torch.from_numpy(golden[f"im0_det_{name}"]) for name in ("boxes", "scores", "classes", "mask_probs")]
    found = scale_to_output(Instances(*detections), INPUT, OUTPUT)
    assert_near(found.boxes, golden["im0_post_boxes"], 0)
    assert np.array_equal(found.scores, golden["im0_post_scores"])
    masks = np.zeros((len(found.boxes), *OUTPUT), dtype=bool)
    for mask, cutout in zip(masks, paste(found.probabilities, found.boxes, OUTPUT), strict=True):
        mask[cutout.window] = cutout.mask
    assert_masks(masks, golden)


@pytest.mark.parametrize(("kind", "weights"), [("rpn", (1, 1, 1, 1)), ("rcnn", (10, 10, 5, 5))])
def test_decoding(golden: Arrays, kind: str, weights: tuple[float, float, float, float]) -> None:
    """64 boxes with deltas of both signs, some far beyond the limit."""
    boxes, deltas = (torch.from_numpy(golden[f"unit_decode_{name}"]) for name in ("boxes", "deltas"))
    assert (deltas[:, 2:] < -5).any() and (deltas[:, 2:] > 5).any()
    decoded = TwoSidedBoxCoder(weights).decode(deltas, [boxes]).squeeze(1)
    height, width = golden["unit_decode_max_shape"].tolist()
    assert_near(clip_boxes_to_image(decoded, (height, width)), golden[f"unit_decode_{kind}"], 1e-2)


@pytest.mark.parametrize("case", range(12))
def test_fusion(golden: Arrays, case: int) -> None:
    """Equal and unequal overlaps and areas at their limits, empty masks, nothing at all, scores in any order."""
    assert golden["fusion_num_cases"] == 12
    arrays = {key[5:]: value for key, value in golden.items() if key.startswith(f"f{case:03d}_")}
    height, width = arrays["sem"].shape
    masks = np.unpackbits(arrays["masks_packed"], axis=1, count=height * width).reshape(-1, height, width)
    overlap, stuff_area = arrays["params"].tolist()
    scores, labels = torch.from_numpy(arrays["scores"]), torch.from_numpy(arrays["classes"])
    given = Detections(torch.zeros(len(scores), 4), scores, labels, torch.from_numpy(masks.astype(bool)))
    semantic = things_first(arrays["sem"])
    found = fuse(given, semantic, confidence=0, overlap=overlap, stuff_area=stuff_area)
    assert np.array_equal(as_mmdetection(found), arrays["panoptic_mmdet"])


def as_mmdetection(found: PanopticMap) -> npt.NDArray[np.int64]:
    """The map as mmdetection writes it: label + 1000 k for the k-th thing, 79 + class for stuff, 133 for void."""
    values = [133, *(s.category + (1000 * s.id if s.is_thing else 79) for s in found.segments)]
    return np.array(values)[found.segment_ids]


def test_whole_map_as_mmdetection_writes_it(golden: Arrays, run: Run) -> None:
    uncertain = unpacked(golden, "im0_panoptic_uncertain_packed")[0]
    found = as_mmdetection(run.output.panoptic)
    assert np.array_equal(found[~uncertain], golden["im0_panoptic_mmdet"][~uncertain])
