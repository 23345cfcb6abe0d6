"""Options of the detector in a whole model: losses, gradients, precision, and steps that are divided.

The model has no batch norm that is trained, whose statistics are those of a device."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from branches import branch_of
from torch import Tensor

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Target

SMALL = [
    *("num_things=3", "num_stuff=2", "fpn.channels=32", "semantic.channels=32", "fcos.num_convs=1"),
    *("backbone.depth=14", "bottom.kind=shared", "bottom.loss_weight=0", "blender.roi_size=14"),
    *("blender.attention_size=4", "fcos.size_limits=[32,64]"),
]
OPTIONS = {
    "iou": ["fcos.quality=iou"],
    "joint": ["fcos.quality=joint"],
    "atss": ["fcos.assigner=atss"],
    "lovasz": ["semantic.lovasz_weight=0.5"],
    "mask IoU": ["blender.rescoring=mask_iou"],
    "task-aligned": ["fcos.assigner=task_aligned", "fcos.quality=joint"],
}
IMAGES = list(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))


def small(*options: str) -> PanopticBlend:
    torch.manual_seed(0)
    config = load_config("panoptic/blendmask_r50_3x", [f"model.{option}" for option in (*SMALL, *options)])
    return build_model(config)


def target(*boxes: tuple[int, int, int, int]) -> Target:
    """Full boxes over stuff, with labels 0, 1, 2, 0, ..."""
    masks = torch.zeros(len(boxes), 64, 96, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    semantic = torch.where(masks.any(dim=0), 0, 1)
    labels = torch.arange(len(boxes)) % 3
    return {"boxes": torch.tensor(boxes).float().reshape(-1, 4), "labels": labels, "masks": masks, "semantic": semantic}


TARGETS = [target((4, 6, 52, 50), (30, 10, 90, 60)), target((8, 8, 40, 40))]


def summed(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def gradients(model: PanopticBlend) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("targets", [TARGETS, [target(), target()], [target((0, 0, 96, 64)), target()]])
def test_all_that_is_trained_gets_a_finite_gradient(name: str, targets: Sequence[Target]) -> None:
    model = small(*OPTIONS[name])
    losses = model(IMAGES, targets)
    assert all(loss.isfinite() and loss >= 0 for loss in losses.values())
    assert (losses["loss_mask"] > 0) == any(len(x["boxes"]) for x in targets)
    summed(losses).backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    found = gradients(model)
    assert found.keys() == trained and all(x.isfinite().all() for x in found.values())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_that_is_divided_is_the_same_step(name: str) -> None:
    whole, parts = small(*OPTIONS[name]), small(*OPTIONS[name])
    for model in (whole, parts):
        torch.nn.init.constant_(branch_of(model).fcos.distances.bias, 2.0)  # so that some boxes are predicted well
    summed(whole(IMAGES, TARGETS)).backward()
    batches = [parts.prepared([image], [target]) for image, target in zip(IMAGES, TARGETS, strict=True)]
    normalizers = {key: batches[0].normalizers[key] + batches[1].normalizers[key] for key in batches[0].normalizers}
    for batch in batches:
        summed(parts(batch, normalizers=normalizers)).backward()
    torch.testing.assert_close(gradients(parts), gradients(whole), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", OPTIONS)
def test_losses_are_float32_in_bfloat16(name: str) -> None:
    model = small(*OPTIONS[name])
    exact = model(IMAGES, TARGETS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(IMAGES, TARGETS)
    assert all(loss.dtype == torch.float32 for loss in found.values())
    for key, loss in found.items():
        assert loss.item() == pytest.approx(exact[key].item(), rel=0.1, abs=0.01)


@pytest.mark.parametrize("name", OPTIONS)
def test_training_learns_an_image(name: str) -> None:
    model = small(*OPTIONS[name])
    optimizer, totals = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(12):
        loss = summed(model(IMAGES, TARGETS))
        totals.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert totals[-1] < 0.7 * totals[0]


def test_random_weights_are_those_of_the_paper() -> None:
    paper = small().state_dict()
    for options in OPTIONS.values():
        found = small(*options).state_dict()
        assert all(torch.equal(found[name], paper[name]) for name in found.keys() & paper.keys()), options


# --- quality ---------------------------------------------------------------------------------------------------------


def test_the_quality_layer_learns_the_iou_of_what_is_predicted() -> None:
    """Distances of 0 predict no box, of IoU 0; center-ness is above 0."""
    for quality in ("iou", "centerness"):
        model = small(f"fcos.quality={quality}")
        fcos = branch_of(model).fcos
        torch.nn.init.zeros_(fcos.distances.weight)
        torch.nn.init.zeros_(fcos.centerness.weight)
        torch.nn.init.constant_(fcos.centerness.bias, -20.0)
        losses = model(IMAGES, TARGETS)
        assert (losses[f"loss_{quality}"].item() < 1e-6) == (quality == "iou")


def test_without_a_quality_layer_there_is_no_loss_nor_prediction_of_it() -> None:
    model = small("fcos.quality=joint")
    assert not any("centerness" in name for name in model.state_dict())
    assert not {"loss_centerness", "loss_iou", "loss_joint"} & model(IMAGES, TARGETS).keys()
    raw = model.eval().raw(model.batch(IMAGES))
    assert {name.partition("_")[2] for name in raw if name[0] == "p"} == {"logits", "distances", "features"}


def test_boxes_and_masks_do_not_depend_on_the_quality() -> None:
    paper = small()(IMAGES, TARGETS)
    found = small("fcos.quality=iou")(IMAGES, TARGETS)
    assert found.keys() - paper.keys() == {"loss_iou"}
    assert all(torch.equal(found[key], paper[key]) for key in found.keys() & paper.keys())
