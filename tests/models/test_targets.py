"""Targets in the forms that torchvision's detection models take, and in forms that would teach something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from branches import branch_of
from torchvision import tv_tensors

from panoptic_blend.config.experiment import Config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import PanopticBlendError

H, W = 64, 96
MODEL = [
    "model.num_things=2",
    "model.num_stuff=1",
    "model.backbone.depth=18",
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.bottom.channels=16",
    "model.bottom.num_convs=1",
    "model.blender.roi_size=14",
    "model.blender.attention_size=4",
    "model.semantic.channels=32",
]
IMAGE = torch.rand(3, H, W, generator=torch.Generator().manual_seed(0))
MASKS = torch.zeros(2, H, W, dtype=torch.bool)
MASKS[0, 10:40, 20:60] = True
MASKS[1, 30:60, 50:90] = True
BOXES = torch.tensor([[20.0, 10, 60, 40], [50, 30, 90, 60]])
GOOD: Any = {"boxes": BOXES, "labels": torch.tensor([0, 1]), "masks": MASKS, "semantic": (~MASKS.any(0)).long()}
NOTHING = {
    "labels": torch.zeros(0, dtype=torch.int64),
    "masks": torch.zeros(0, H, W),
    "semantic": torch.ones(H, W).long(),
}


def model(*overrides: str, labels_from: int = 0) -> PanopticBlend:
    torch.manual_seed(0)
    return build_model(Config().changed([*MODEL, *overrides]), labels_from=labels_from)


@pytest.fixture(scope="module")
def trained() -> PanopticBlend:
    """A model in training mode, whose weights are not to be changed."""
    return model()


def losses(network: PanopticBlend, target: dict[str, Any]) -> dict[str, float]:
    torch.manual_seed(1)  # Mask R-CNN draws samples
    return {name: value.item() for name, value in network([IMAGE], [target]).items()}


# --- torchvision's convention ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        *({"masks": MASKS.to(dtype)} for dtype in (torch.uint8, torch.int64, torch.float32, torch.float16)),
        {"labels": GOOD["labels"].int()},
        {"labels": GOOD["labels"].to(torch.uint8)},
        {"boxes": BOXES.double()},
        {"boxes": BOXES.long()},
        {"semantic": GOOD["semantic"].to(torch.uint8)},
        {"image_id": 7, "area": torch.ones(2), "iscrowd": torch.zeros(2, dtype=torch.int64), "file_name": "a.jpg"},
        {"masks": tv_tensors.Mask(MASKS), "boxes": tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=(H, W))},
    ],
)
def test_every_number_type_and_further_keys_teach_the_same(trained: PanopticBlend, change: dict[str, Any]) -> None:
    before = {key: value.clone() for key, value in change.items() if isinstance(value, torch.Tensor)}
    assert losses(trained, {**GOOD, **change}) == losses(trained, GOOD)
    assert all(torch.equal(change[key], value) for key, value in before.items())


def test_targets_without_instances(trained: PanopticBlend) -> None:
    expected = losses(trained, {**NOTHING, "boxes": torch.zeros(0, 4)})
    assert expected["loss_box"] == expected["loss_mask"] == 0
    assert losses(trained, {**NOTHING, "boxes": torch.tensor([])}) == expected
    empty = {"boxes": torch.tensor([]), "labels": torch.tensor([]), "masks": torch.tensor([])}
    assert losses(trained, {**NOTHING, **empty}) == expected


@pytest.mark.parametrize("branch", ["blendmask", "mask_rcnn"])
def test_an_instance_model_needs_no_semantic_map(branch: str) -> None:
    network = model("model.semantic.enabled=false", f"model.instances={branch}", "model.mask_rcnn.head_channels=32")
    target = {key: value for key, value in GOOD.items() if key != "semantic"}
    found = losses(network, target)
    assert all(np.isfinite(value) for value in found.values()) and found["loss_mask"] > 0
    assert losses(network, GOOD) == found


@pytest.mark.parametrize("branch", ["blendmask", "mask_rcnn"])
def test_labels_from_one(branch: str) -> None:
    options = [f"model.instances={branch}", "model.mask_rcnn.head_channels=32"]
    from_zero, from_one = model(*options), model(*options, labels_from=1)
    labels = torch.tensor([1, 2])
    expected = losses(from_zero, GOOD)
    assert losses(from_one, {**GOOD, "labels": labels}) == expected
    targets: Any = [changed(labels=labels)]
    prepared = from_one.prepared([IMAGE], targets)
    torch.manual_seed(1)
    found = from_one(prepared)
    assert {name: value.item() for name, value in found.items()} == expected
    assert labels.tolist() == [1, 2]


@pytest.mark.parametrize("branch", ["blendmask", "mask_rcnn"])
def test_crowds_are_no_examples(branch: str) -> None:
    """Only the auxiliary map still knows their class, as in the targets that `data` makes."""
    network = model(f"model.instances={branch}", "model.mask_rcnn.head_channels=32")
    one = {**GOOD, "boxes": BOXES[:1], "labels": torch.tensor([0]), "masks": MASKS[:1]}
    expected = losses(network, one)
    found = losses(network, {**GOOD, "iscrowd": torch.tensor([0, 1])})
    assert losses(network, GOOD) != expected
    found.pop("loss_thing_semantic", None), expected.pop("loss_thing_semantic", None)
    assert found == pytest.approx(expected, rel=1e-5)


# --- targets that would teach something else -------------------------------------------------------------------------


def changed(**change: Any) -> dict[str, Any]:
    return {**GOOD, **change}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != key}


XYWH = BOXES.clone()
XYWH[:, 2:] -= XYWH[:, :2]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            changed(boxes=XYWH[:1], labels=torch.tensor([0]), masks=MASKS[:1]),
            "the mask of box 0, [20.0, 10.0, 40.0, 30.0] reaches far",
        ),
        (
            changed(boxes=XYWH[1:], labels=torch.tensor([0]), masks=MASKS[1:]),
            "has no width or no height: boxes are left,",
        ),
        (
            changed(boxes=BOXES[:1, [1, 0, 3, 2]], labels=torch.tensor([0]), masks=MASKS[:1]),
            "torchvision.ops.masks_to_boxes makes them",
        ),
        (
            changed(boxes=torch.tensor([[20.0, 10, 20, 40], [50, 30, 90, 60]])),
            "box 0, [20.0, 10.0, 20.0, 40.0], has no w",
        ),
        (
            changed(boxes=torch.tensor([[20.0, 10, 60, 40], [50, 60, 90, 30]])),
            "box 1, [50.0, 60.0, 90.0, 30.0], has no w",
        ),
        (
            changed(boxes=BOXES * torch.nan),
            "is not finite: boxes are left, top, right, bottom in pixels of the 96 x 64",
        ),
        (changed(boxes=BOXES + torch.inf), "is not finite"),
        (
            changed(boxes=BOXES / torch.tensor([W, H, W, H])),
            "goes from 0 to 1: boxes are left, top, right, bottom in pix",
        ),
        (
            changed(boxes=BOXES * 2),
            "box 0, [40.0, 20.0, 120.0, 80.0], lies outside: boxes are left, top, right, bottom",
        ),
        (changed(boxes=BOXES - 30), "box 0, [-10.0, -20.0, 30.0, 10.0], lies outside"),
        (changed(boxes=BOXES[0]), "`boxes` has the shape (4,); give (G, 4): left, top, right, bottom"),
        (changed(boxes=BOXES[:1]), "1 `boxes` and 2 `labels`; give one of each per instance"),
        (changed(boxes=BOXES.numpy()), "`boxes` is a ndarray; give torch.as_tensor(boxes)"),
        (changed(boxes=BOXES.tolist()), "`boxes` is a list; give torch.as_tensor(boxes)"),
        (
            changed(boxes=tv_tensors.BoundingBoxes(XYWH, format="XYWH", canvas_size=(H, W))),
            '`boxes` are in the format XYWH; convert them with box_convert to "xyxy"',
        ),
        (
            changed(labels=torch.tensor([1, 2])),
            "`labels` holds 2, but the model has 2 things, labels 0 to 1; they start at 0",
        ),
        (changed(labels=torch.tensor([0, -1])), "`labels` holds -1, but the model has 2 things, labels 0 to 1; "),
        (changed(labels=torch.tensor([0.0, 1.0])), "`labels` is of type float32; give whole numbers: labels.long()"),
        (changed(labels=torch.tensor([[0], [1]])), "`labels` has the shape (2, 1); give one label per instance, (G,)"),
        (changed(labels=torch.tensor([0])), "2 `boxes` and 1 `labels`"),
        (
            changed(masks=MASKS[:1]),
            "`masks` has the shape (1, 64, 96), not (2, 64, 96); give one mask of the size of the",
        ),
        (changed(masks=MASKS.repeat_interleave(2, 1)), "`masks` has the shape (2, 128, 96), not (2, 64, 96)"),
        (changed(masks=MASKS[:, None]), "`masks` has the shape (2, 1, 64, 96), not (2, 64, 96)"),
        (changed(masks=255 * MASKS.byte()), "`masks` holds 255; give 0 and 1, or masks > 0.5"),
        (changed(masks=0.7 * MASKS), "`masks` holds 0.7; give 0 and 1, or masks > 0.5"),
        (changed(masks=MASKS.to("meta")), "`masks` is on meta, the model on cpu; move both to one device"),
        (changed(semantic=GOOD["semantic"] + 1), "`semantic` holds 2; give 0 to 1, and 255 for ignored pixels"),
        (changed(semantic=GOOD["semantic"] - 1), "`semantic` holds -1; give 0 to 1, and 255 for ignored pixels"),
        (
            changed(semantic=GOOD["semantic"].float()),
            "`semantic` is of type float32; give whole numbers: semantic.long()",
        ),
        (
            changed(semantic=GOOD["semantic"][None]),
            "`semantic` has the shape (1, 64, 96), not (64, 96); make it as large",
        ),
        (
            changed(thing_semantic=torch.full((H, W), 3)),
            "`thing_semantic` holds 3; give 0 to 2, and 255 for ignored pixels",
        ),
        (changed(instance_map=torch.full((H, W), 255)), "`instance_map` holds 255; give 0 to 2"),
        (changed(instance_map=torch.full((3, H, W), 255)), "`instance_map` holds 255; give 0 to 2"),
        (changed(instance_map=torch.zeros(0, H, W).int()), "`instance_map` has the shape (0, 64, 96), not (64, 96); m"),
        (changed(mask_targets=torch.ones(2, 14, 14)), "`mask_targets` is (2, 14, 14) float32; give (2, R, R) bool"),
        (changed(iscrowd=[0]), "`iscrowd` has the shape (1,); give one for each of 2 labels"),
        (
            changed(semantic=(GOOD["semantic"] - 1).to(torch.int8)),
            "`semantic` holds -1; give 0 to 1, and 255 for ignored",
        ),
        (changed(masks=MASKS.float().to_sparse()), "`masks` is sparse; give masks.to_dense()"),
        (changed(iscrowd="no"), "`iscrowd` is a str; give (G,) of 0 and 1, or leave it out"),
        (without("boxes"), "no `boxes`; add (G, 4) float"),
        (without("labels"), "no `labels`; add (G,) int64"),
        (without("masks"), "no `masks`; add (G, H, W) bool, the pixels of each instance"),
        (
            without("semantic"),
            "no `semantic`; add (H, W) with 0 to 1, and 255 for ignored pixels, or set model.semantic.",
        ),
    ],
)
def test_one_sentence_names_image_and_key(trained: PanopticBlend, target: dict[str, Any], message: str) -> None:
    targets: Any = [GOOD, target]
    for function in (trained, trained.prepared):
        found = refusal(lambda function=function: function([IMAGE] * 2, targets))  # type: ignore[misc]
        assert found.startswith("image 1: ")
        assert message in found


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(PanopticBlendError) as error:
        call()
    assert "\n" not in str(error.value)
    assert "; " in str(error.value)
    return str(error.value)


def test_labels_are_checked_where_no_auxiliary_head_would_notice() -> None:
    network = model("model.bottom.loss_weight=0")
    assert "`labels` holds 2" in refusal(lambda: network([IMAGE], [changed(labels=torch.tensor([1, 2]))]))


def test_background_among_labels_from_one() -> None:
    message = refusal(lambda: model(labels_from=1)([IMAGE], [GOOD]))
    assert "`labels` holds 0, but the model has 2 things, labels 1 to 2; with labels_from=1 they start at 1" in message


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "training needs targets; call model(images, targets), or model.eval() to predict"),
        ([GOOD, GOOD], "there are 2 targets for 1 images; give one target per image"),
        (GOOD, "targets are a dict; give a list with a dictionary for each image"),
        ([BOXES], "image 0: its target is a Tensor; give a dictionary with `boxes`, ..."),
    ],
)
def test_targets_of_a_batch(trained: PanopticBlend, targets: Any, message: str) -> None:
    assert refusal(lambda: trained([IMAGE], targets)) == message


def test_boxes_need_not_be_exact(trained: PanopticBlend) -> None:
    """Rounding, a margin, one odd annotation among others, and pixels at the border are none of our business."""
    for boxes in (BOXES + 1.5, BOXES + torch.tensor([-6.0, -6, 6, 3])):
        losses(trained, changed(boxes=boxes))
    odd = torch.cat([BOXES, torch.tensor([[2.0, 2, 12, 12]])])
    losses(trained, changed(boxes=odd, labels=torch.tensor([0, 1, 1]), masks=MASKS[[0, 1, 0]]))
    corner = {**NOTHING, "boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([1])}
    masks = torch.zeros(1, H, W, dtype=torch.bool)
    masks[0, 0, 0] = True
    losses(trained, {**corner, "masks": masks})
    assert "reaches far beyond" in refusal(lambda: trained([IMAGE], [{**corner, "masks": MASKS[:1]}]))


def test_targets_are_read_and_assigned_once_per_step_before_the_forward_pass(
    trained: PanopticBlend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reading makes a GPU wait, and in the forward pass it would have nothing to do meanwhile."""
    read = []
    monkeypatch.setattr("panoptic_blend.models.inputs.Doubts.settle", lambda self: read.append(len(self._flags)))
    prepared = trained.prepared([IMAGE], [GOOD])
    assert len(read) == 1 and read[0] > 5
    monkeypatch.setattr(branch_of(trained), "assign", None)
    trained(prepared)
    assert len(read) == 1


def test_a_map_of_bytes_has_no_more_than_255_instances() -> None:
    numbers = torch.tensor([[0, 1, 255]], dtype=torch.uint8)
    found = instance_masks({"boxes": torch.zeros(300, 4), "labels": torch.zeros(300), "instance_map": numbers})
    assert found.nonzero().tolist() == [[0, 0, 1], [254, 0, 2]]
