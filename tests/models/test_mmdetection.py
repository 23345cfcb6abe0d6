"""mmdetection's rules one by one; `test_golden_mmdetection` has them all together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pasted_masks import pasted
from test_mask_rcnn import BOXES, SIZES, branch, features, predict, truth
from torch import Tensor

from panoptic_blend.checkpoints.io import read_checkpoint, save_checkpoint
from panoptic_blend.config.experiment import load_config
from panoptic_blend.formats.categories import numbered_categories
from panoptic_blend.inference.predictor import load
from panoptic_blend.models.build import build_model
from panoptic_blend.models.mask_rcnn import MaskRCNN, PyramidPooler
from panoptic_blend.models.mmdetection import MMDetectionMaskRCNN, MMDetectionPooler, _ranked, scale_to_output
from panoptic_blend.models.postprocess import Instances, to_output

KINDS: list[type[MaskRCNN]] = [MaskRCNN, MMDetectionMaskRCNN]

WIDE, SAME, SMALL = [10.0, 10, 50, 50], [10.0, 10, 50, 49], [10.0, 10, 20, 20]


def proposals(kind: type[MaskRCNN], boxes: list[list[float]], logits: list[float], counts: list[int]) -> list[float]:
    """The heights of the proposals in an image of 70 x 100 pixels, best first."""
    rpn = branch(kind=kind).eval().rpn
    [found], [scores] = rpn.filter_proposals(torch.tensor([boxes]), torch.tensor(logits)[:, None], SIZES[:1], counts)
    assert (scores.diff() <= 0).all()
    return (found[:, 3] - found[:, 1]).tolist()


def test_proposals_whose_probabilities_are_equal_keep_their_order() -> None:
    """The sigmoid of 20 and of 30 is 1 in float32."""
    given = [SAME, WIDE, SMALL], [20.0, 30.0, 40.0], [3]
    assert proposals(MaskRCNN, *given) == [10, 40]
    assert proposals(MMDetectionMaskRCNN, *given) == [39, 10]


@pytest.mark.parametrize("kind", KINDS)
def test_levels_do_not_suppress_each_other_and_empty_boxes_go(kind: type[MaskRCNN]) -> None:
    boxes = [WIDE, SAME, WIDE, [120.0, 10, 160, 60]]  # the last is outside of the image
    assert proposals(kind, boxes, [1.0, 0.5, 0.0, 3.0], [2, 2]) == [40, 40]
    assert proposals(kind, boxes[3:], [1.0], [1]) == []


def test_the_best_of_each_level_come_before_suppression() -> None:
    model = branch(kind=MMDetectionMaskRCNN).eval()
    model.rpn._pre_nms_top_n["testing"] = 2
    boxes = torch.tensor([[WIDE, SAME, SMALL, SMALL]])
    [found], _ = model.rpn.filter_proposals(boxes, torch.tensor([3.0, 2, 1, 0])[:, None], SIZES[:1], [3, 1])
    assert found.tolist() == [WIDE, SMALL]


def test_ranking_is_stable() -> None:
    scores = torch.randint(0, 6, (50,), generator=torch.Generator().manual_seed(0)) / 5
    for limit in (1, 7, 20, 50, 99):
        assert torch.equal(_ranked(scores, limit), scores.argsort(descending=True, stable=True)[:limit])


def detections(kind: type[MaskRCNN], boxes: list[list[float]], logits: list[list[float]]) -> tuple[Tensor, Tensor]:
    """The boxes and labels of proposals that are right already, background first, in an image of 70 x 100 pixels."""
    heads = branch(kind=kind, score_threshold=0.6).eval().roi_heads
    deltas = torch.zeros(len(boxes), 16)
    [found], [scores], [labels] = heads.postprocess_detections(
        torch.tensor(logits).reshape(-1, 4), deltas, [torch.tensor(boxes).reshape(-1, 4)], SIZES[:1]
    )
    assert (scores > 0.6).all() and (scores.diff() <= 0).all()
    return found, labels


def test_a_detection_suppresses_those_of_other_classes() -> None:
    boxes, logits = [WIDE, SAME, SMALL, WIDE], [[0.0, 9, 0, 0], [0.0, 0, 8, 0], [0.0, 0, 0, 7], [0.0, 1, 0, 0]]
    assert detections(MaskRCNN, boxes, logits)[1].tolist() == [1, 2, 3]
    found, labels = detections(MMDetectionMaskRCNN, boxes, logits)
    assert found.tolist() == [WIDE, SMALL] and labels.tolist() == [1, 3]
    found, labels = detections(MMDetectionMaskRCNN, [], [])
    assert found.shape == (0, 4) and labels.dtype == torch.int64


def test_a_detection_at_the_edge_stays_although_nothing_of_it_is_left() -> None:
    given = [[120.0, 10, 160, 60]], [[0.0, 9, 0, 0]]
    assert detections(MaskRCNN, *given)[0].tolist() == []
    assert detections(MMDetectionMaskRCNN, *given)[0].tolist() == [[100, 10, 100, 60]]


@pytest.mark.parametrize(
    ("side", "level", "of_detectron2"), [(5, 2, 2), (111.99, 2, 2), (111.99996, 3, 2), (112, 3, 3), (9999, 5, 5)]
)
def test_level_of_a_box(side: float, level: int, of_detectron2: int) -> None:
    boxes = torch.tensor([[0.0, 0, side, side]])
    assert MMDetectionPooler(7).levels(boxes) == level
    assert PyramidPooler(7).levels(boxes) == of_detectron2


def test_boxes_of_the_output_are_neither_clipped_nor_dropped() -> None:
    boxes = torch.tensor([[0.0, 0, 298, 203], [298, 5, 298, 50], [1, 2, 3, 4]])
    found = Instances(boxes, torch.ones(3), torch.arange(3), torch.ones(3, 2, 2))
    scaled = scale_to_output(found, (203, 298), (305, 448))
    assert scaled.boxes[0].tolist() == pytest.approx([0, 0, 448, 305]) and len(scaled.labels) == 3
    assert scaled.boxes[2].tolist() == pytest.approx([448 / 298, 610 / 203, 3 * 448 / 298, 4 * 305 / 203])
    assert to_output(found, (203, 298), (305, 448)).labels.tolist() == [0, 2]


def test_masks_of_boxes_beyond_the_edge_and_without_width() -> None:
    """Pixels that touch an empty box read the middle of its mask, which is half of either half."""
    half = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert pasted(half[None], torch.tensor([[2.0, -0.1, 6.0, 4.1]]), (4, 4)).sum() == 2 * 4
    for left, columns in ((0.0, [0]), (4.0, [3]), (2.0, [1, 2])):
        box = torch.tensor([[left, 1.0, left, 3.0]])
        expected = torch.zeros(1, 4, 4, dtype=torch.bool)
        expected[0, 1:3, columns] = True
        assert torch.equal(pasted(half[None], box, (4, 4)), expected)
        assert not pasted(0.9 * half[None], box, (4, 4)).any()
    assert pasted(torch.ones(1, 2, 2), torch.tensor([[2.0, 2.0, 2.0, 2.0]]), (4, 4)).sum() == 4


def test_training_is_that_of_the_other_rules() -> None:
    targets, found = [truth(size, BOXES) for size in SIZES], []
    for kind in KINDS:
        model = branch(kind=kind)
        torch.manual_seed(3)
        losses = model.losses(features(), SIZES, targets, {"images": torch.tensor(2)})
        torch.stack(list(losses.values())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        found.append({name: loss.item() for name, loss in losses.items()})
    assert found[0] == pytest.approx(found[1])


@torch.no_grad()
def test_half_and_double_precision() -> None:
    model, pyramid = branch(kind=MMDetectionMaskRCNN, score_threshold=0.3).eval(), features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for found in predict(model, pyramid):
            assert len(found.boxes) and found.boxes.dtype == found.scores.dtype == torch.float32
    double = predict(model.double(), {name: x.double() for name, x in pyramid.items()})
    assert double[0].boxes.dtype == torch.float64


def test_from_a_picture_to_its_map(tmp_path: Path) -> None:
    """A checkpoint keeps the rules; `load` and `Predictor.output` follow them, with and without a resize."""
    changes = ["model.num_things=3", "model.num_stuff=2", "model.fpn.channels=32", "model.semantic.channels=32"]
    changes += ["model.mask_rcnn.head_channels=32", "model.mask_rcnn.mask_channels=16", "model.backbone.depth=18"]
    changes += ["test.short_side=64", "test.long_side=96", "model.fusion.stuff_area=0"]
    config = load_config("panoptic/panoptic_fpn_r50_3x_mmdet", changes)
    torch.manual_seed(0)
    model = build_model(config).eval()
    assert isinstance(model.instances, MMDetectionMaskRCNN)
    heads = model.instances.roi_heads
    torch.nn.init.normal_(heads.box_predictor.cls_score.weight, std=9.0)
    torch.nn.init.normal_(heads.mask_predictor.mask_fcn_logits.weight, std=9.0)
    save_checkpoint(tmp_path / "a.safetensors", model.state_dict(), config, numbered_categories(3, 2))
    assert read_checkpoint(tmp_path / "a.safetensors").config.model.mask_rcnn.rules == "mmdetection"
    predictor = load(tmp_path / "a.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 123, 177, 3), dtype=np.uint8)
    for picture, side in zip((pictures[0], pictures[1, :64, :90]), (92, 90), strict=True):
        resized = torch.from_numpy(cv2.resize(picture, (side, 64))).permute(2, 0, 1)
        with torch.no_grad():
            [expected] = model([resized], output_sizes=[picture.shape[:2]])
        found = predictor.output(picture)
        assert len(found.boxes) > 0 and len(found.boxes) == len(expected.boxes)
        torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=1e-2)
        assert (found.semantic != expected.semantic).float().mean() < 0.01
        assert (found.panoptic.segment_ids != expected.panoptic.segment_ids).mean() < 0.01
