"""The peer Mask R-CNN: its schedule, what it learns from, its detections, and that its training continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.mask_rcnn_peer import Peer, build, detect, learning_rate, score, torchvision_target, train
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import EvaluationSample
from panoptic_blend.data.splits import Subset
from panoptic_blend.structures import Target

PEER = Peer(None, channels=32, short_side=64, long_side=96, batch_size=2, precision="32-true")


def test_the_rate_warms_up_and_drops_at_shares_of_the_time() -> None:
    peer = Peer(None, batch_size=8, rate=0.5)  # 0.02 for 16 pictures, so 0.005
    assert learning_rate(peer, 0, 0.0) == pytest.approx(0.005 * 0.001)
    assert learning_rate(peer, 50, 0.1) == pytest.approx(0.005 * 0.5005)
    assert [round(learning_rate(peer, 900, share), 8) for share in (0.6, 0.62, 0.84, 0.85)] == [
        0.005,
        0.0005,
        0.0005,
        0.00005,
    ]


def test_targets_count_classes_from_1_and_have_a_mask_for_each_instance() -> None:
    own = {
        "boxes": torch.tensor([[0.0, 0, 1, 1], [1, 0, 3, 2]]),
        "labels": torch.tensor([4, 0]),
        "instance_map": torch.tensor([[1, 2, 2], [0, 0, 2]]),
    }
    target = torchvision_target(cast(Target, own))
    assert target["labels"].tolist() == [5, 1]
    assert target["masks"].tolist() == [[[1, 0, 0], [0, 0, 0]], [[0, 1, 1], [0, 0, 1]]]
    nothing = own | {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert torchvision_target(cast(Target, nothing))["masks"].shape == (0, 2, 3)


class _Found(nn.Module):
    """In place of the heads: one detection of the second class in the right half of the network's input."""

    def forward(self, features: Any, proposals: Any, sizes: Any) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        found = {"boxes": torch.tensor([[48.0, 0, 96, 64]]), "labels": torch.tensor([2]), "scores": torch.ones(1)}
        return [found | {"masks": torch.ones(1, 1, 28, 28)}], {}


def test_detections_have_category_ids_and_the_size_of_the_picture() -> None:
    pytest.importorskip("timm")
    model = build(PEER, 2)
    model.roi_heads = _Found()
    image, original = torch.zeros(3, 64, 96, dtype=torch.uint8), torch.zeros(3, 128, 192, dtype=torch.uint8)
    found = detect(model, EvaluationSample(1, "a.png", image, original, None), [7, 9], "32-true")
    assert found.boxes.tolist() == [[96, 0, 192, 128]]
    assert found.labels.tolist() == [9]
    assert found.masks.shape == (1, 128, 192)
    assert found.masks[0, 4:-4, 100:-4].all() and not found.masks[0, :, :92].any()


def test_training_continues_and_ends_with_its_time(generated: Path, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    dataset = CocoPanoptic(generated, "val2017")
    first, iterations = train(PEER, dataset, 1e-6, tmp_path)
    assert iterations == 1, "the time was over after the first step"
    again, iterations = train(PEER, dataset, 1e-6, tmp_path)
    assert iterations == 1
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(
        first.roi_heads.box_predictor.cls_score.bias, build(PEER, 6).roi_heads.box_predictor.cls_score.bias
    )
    one = Subset(dataset, np.array([0]))
    assert len(score(again, PEER, one).compute().per_class) == 6
