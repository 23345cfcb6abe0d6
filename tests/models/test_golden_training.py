"""Case P2: three steps of the official implementation's training, in float64."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from branches import branch_of
from golden_weights import GOLDEN, golden_weights
from torch import Tensor, nn

from panoptic_blend.checkpoints.detectron2 import rename
from panoptic_blend.checkpoints.io import load_weights
from panoptic_blend.config.experiment import Config
from panoptic_blend.models.blender import blend, crop
from panoptic_blend.models.blendmask_truth import mask_targets, thing_semantic
from panoptic_blend.models.build import build_model
from panoptic_blend.models.fcos import LevelPredictions, locations, unravel
from panoptic_blend.models.fcos_targets import Assignment, assign, centerness
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Target

Arrays = dict[str, npt.NDArray[Any]]
Numbers = dict[str, float]

LOSSES = {
    "loss_class": "loss_fcos_cls",
    "loss_box": "loss_fcos_loc",
    "loss_centerness": "loss_fcos_ctr",
    "loss_mask": "loss_mask",
    "loss_semantic": "loss_sem_seg",
    "loss_thing_semantic": "loss_basis_sem",
    "total": "total",
}
STRIDES = [8, 16, 32, 64, 128]
SIZES = [(28, 32), (14, 16), (7, 8), (4, 4), (2, 2)]


@dataclass(frozen=True)
class Start:
    """The losses before the first update, their gradients, and what they were made of."""

    losses: Numbers
    gradients: dict[str, Tensor]
    levels: list[LevelPredictions]
    bases: Tensor
    attentions: Tensor


@dataclass(frozen=True)
class Trajectory:
    """The losses after each of three updates, gradient norms between them, and how far they led."""

    losses: list[Numbers]
    gradient_norms: list[float]
    updates: Numbers
    norms: Numbers
    buffers: Numbers


@dataclass(frozen=True)
class Run:
    frozen: set[str]
    start: Start
    trajectories: dict[str, Trajectory]


@pytest.fixture(scope="module")
def golden() -> Arrays:
    with np.load(GOLDEN / "P2.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads((GOLDEN / "P2_expected.json").read_text())
    return numbers


@pytest.fixture(scope="module")
def run(golden: Arrays, expected: dict[str, Any]) -> Run:
    model = build_model(Config())
    load_weights(model, golden_weights(expected["case"]))
    model.double().train()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    start = first_pass(model, golden)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    trajectories = {}
    for name, lr in (("lr 0.01", 0.01), ("gentle", 1e-4)):
        model.load_state_dict(state)
        trajectories[name] = descend(model, golden, start.gradients, lr)
    return Run(frozen, start, trajectories)


def first_pass(model: PanopticBlend, golden: Arrays) -> Start:
    with recorded(branch_of(model).fcos) as levels, recorded(branch_of(model).bottom) as bases:
        losses = losses_and_gradients(model, golden)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    places = unravel(torch.from_numpy(golden["pos_inds"]), SIZES, 2)
    attentions = branch_of(model).top_layer.at([level.features for level in levels[0]], places)
    return Start(losses, gradients, levels[0], bases[0].detach(), attentions.detach())


def descend(model: PanopticBlend, golden: Arrays, gradients: Mapping[str, Tensor], lr: float) -> Trajectory:
    """Three updates of the official optimizer, the first along ``gradients``, which are those of the start."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in parameters.items()}
    optimizer = torch.optim.SGD(parameters.values(), lr=lr, momentum=0.9, weight_decay=1e-4)
    for name, parameter in parameters.items():
        parameter.grad = gradients[name].clone()
    losses: list[Numbers] = []
    norms: list[float] = []
    for _ in range(2):
        optimizer.step()
        losses.append(losses_and_gradients(model, golden))
        norms.append(torch.stack([p.grad.norm() for p in parameters.values() if p.grad is not None]).norm().item())
    optimizer.step()
    with torch.no_grad():
        losses.append(numbers(model(*batch(golden))))
    return Trajectory(
        losses,
        norms,
        updates={name: (p.detach() - before[name]).norm().item() for name, p in parameters.items()},
        norms={name: p.detach().norm().item() for name, p in parameters.items()},
        buffers={name: value.double().mean().item() for name, value in model.named_buffers()},
    )


def losses_and_gradients(model: PanopticBlend, golden: Arrays) -> Numbers:
    """The losses; the gradients of their sum are left in the parameters."""
    losses = model(*batch(golden))
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    return numbers(losses)


def numbers(losses: Mapping[str, Tensor]) -> Numbers:
    values = {name: value.item() for name, value in losses.items()}
    return values | {"total": sum(values.values())}


def batch(golden: Arrays) -> tuple[list[Tensor], list[Target]]:
    images = [torch.from_numpy(golden[f"im{i}_image"][:, :, ::-1].copy()).permute(2, 0, 1) for i in (0, 1)]
    return images, [target(golden, f"im{i}_") for i in (0, 1)]


def target(golden: Arrays, prefix: str) -> Target:
    return {
        "boxes": torch.from_numpy(golden[f"{prefix}gt_boxes"]),
        "labels": torch.from_numpy(golden[f"{prefix}gt_classes"]),
        "mask_targets": unpacked(golden[f"{prefix}gt_mask_crops_packed"], 56, 56),
        "semantic": torch.from_numpy(golden[f"{prefix}sem_seg"]),
        "thing_semantic": torch.from_numpy(golden[f"{prefix}basis_sem"]),
    }


def unpacked(bits: npt.NDArray[np.uint8], height: int, width: int) -> Tensor:
    masks = np.unpackbits(bits, axis=1, count=height * width)
    return torch.from_numpy(masks.reshape(-1, height, width).astype(bool))


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Any]]:
    """A list to which whatever ``module`` returns is added."""
    outputs: list[Any] = []
    handle = module.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


def approximately(values: Mapping[str, float], tolerance: float) -> Any:
    """Official numbers by our names, equal to anything within a relative ``tolerance``."""
    return pytest.approx({rename(name): value for name, value in values.items()}, rel=tolerance, abs=0)


def assert_losses(found: Numbers, expected: Numbers, tolerance: float) -> None:
    assert found == pytest.approx({ours: expected[theirs] for ours, theirs in LOSSES.items()}, rel=tolerance, abs=0)


# --- targets ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def assignment(golden: Arrays) -> Assignment:
    boxes = [torch.from_numpy(golden[f"im{i}_gt_boxes"]) for i in (0, 1)]
    labels = [torch.from_numpy(golden[f"im{i}_gt_classes"]) for i in (0, 1)]
    return assign(boxes, labels, SIZES, STRIDES, num_classes=80)


def test_assignment(golden: Arrays, expected: dict[str, Any], assignment: Assignment) -> None:
    assert assignment.labels.tolist() == golden["fcos_labels"].tolist()
    positives = (assignment.labels < 80).nonzero().squeeze(1)
    assert positives.tolist() == golden["pos_inds"].tolist()
    assert len(positives) == expected["num_positives"]
    assert assignment.instances[positives].tolist() == golden["fcos_target_inds"][golden["pos_inds"]].tolist()
    assert torch.bincount(assignment.instances[positives]).tolist() == expected["positives_per_instance"]
    levels = torch.from_numpy(golden["fcos_levels"])[positives].long()
    assert torch.bincount(levels, minlength=5).tolist() == expected["positives_per_level"]


def test_distances_and_centerness(golden: Arrays, expected: dict[str, Any], assignment: Assignment) -> None:
    distances = assignment.distances[torch.from_numpy(golden["pos_inds"])]
    assert np.array_equal(distances, golden["pos_reg_targets"])
    torch.testing.assert_close(centerness(distances), torch.from_numpy(golden["pos_ctr_targets"]), rtol=1e-12, atol=0)
    assert centerness(distances).sum().item() == pytest.approx(expected["loss_denorm_sum_of_centerness_targets"], 1e-12)


def test_order_of_locations(golden: Arrays) -> None:
    for level, ((height, width), stride) in enumerate(zip(SIZES, STRIDES, strict=True)):
        here = golden["fcos_locations"][golden["fcos_levels"] == level]
        assert np.array_equal(np.tile(locations(height, width, stride), (2, 1)), here)
    places = unravel(torch.arange(len(golden["fcos_levels"])), SIZES, 2)
    assert np.array_equal(places[:, :2], np.stack([golden["fcos_levels"], golden["fcos_im_inds"]], axis=1))
    strides = torch.tensor(STRIDES)[places[:, 0], None]
    assert np.array_equal(places[:, [3, 2]] * strides + strides // 2, golden["fcos_locations"])


@pytest.mark.parametrize("prefix", ["im0_", "im1_"])
def test_targets_derived_from_masks(golden: Arrays, prefix: str) -> None:
    given = target(golden, prefix)
    height, width = given["semantic"].shape
    derived: Target = {
        "boxes": given["boxes"],
        "labels": given["labels"],
        "masks": unpacked(golden[f"{prefix}gt_masks_packed"], height, width),
        "semantic": given["semantic"],
    }
    # those of the golden case are cut from the polygons at full precision, ours from rasterised masks
    assert (mask_targets(derived, 56) == given["mask_targets"]).float().mean(dim=(1, 2)).min() > 0.93
    assert (thing_semantic(derived) == given["thing_semantic"]).float().mean() > 0.99


# --- the first pass --------------------------------------------------------------------------------------------------


def test_predictions_at_positives(golden: Arrays, run: Run) -> None:
    positives = torch.from_numpy(golden["pos_inds"])

    def flat(name: str) -> Tensor:
        maps = [getattr(level, name) for level in run.start.levels]
        return torch.cat([x.detach().permute(0, 2, 3, 1).flatten(0, 2) for x in maps])[positives]

    torch.testing.assert_close(flat("distances"), torch.from_numpy(golden["pos_reg_pred"]), rtol=1e-9, atol=1e-9)
    expected = torch.from_numpy(golden["pos_ctr_pred"])[:, None]
    torch.testing.assert_close(flat("centerness"), expected, rtol=1e-9, atol=1e-9)


def test_blended_masks(golden: Arrays, run: Run) -> None:
    boxes = [torch.from_numpy(golden[f"im{i}_gt_boxes"]) for i in (0, 1)]
    instances = torch.from_numpy(golden["fcos_target_inds"][golden["pos_inds"]]).long()
    logits = blend(crop(run.start.bases, boxes, 56, stride=4)[instances], run.start.attentions)
    torch.testing.assert_close(logits[:8], torch.from_numpy(golden["pos_mask_logits_first8"]), rtol=1e-9, atol=1e-9)
    expected = torch.from_numpy(golden["pos_mask_logits_mean"])
    torch.testing.assert_close(logits.mean(dim=(1, 2)), expected, rtol=1e-9, atol=1e-9)


def test_losses(expected: dict[str, Any], run: Run) -> None:
    assert_losses(run.start.losses, expected["losses_per_step"][0], 1e-9)


def test_gradients(expected: dict[str, Any], run: Run) -> None:
    norms = {name: gradient.norm().item() for name, gradient in run.start.gradients.items()}
    assert norms == approximately(expected["grad_norms_step0"], 1e-6)
    total = torch.tensor(list(norms.values()), dtype=torch.float64).norm().item()
    assert total == pytest.approx(expected["total_grad_norm_step0"], rel=1e-9)


def test_frozen_parameters(expected: dict[str, Any], run: Run) -> None:
    assert run.frozen == {rename(name) for name in expected["frozen_parameters"]}
    assert run.frozen.isdisjoint(run.start.gradients)


# --- three updates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3])
def test_gentle_losses(expected: dict[str, Any], run: Run, step: int) -> None:
    official = expected["gentle_lr_1e-4"]["losses_per_step"][step]
    assert_losses(run.trajectories["gentle"].losses[step - 1], official, 1e-6)


def test_gentle_updates(expected: dict[str, Any], run: Run) -> None:
    official = expected["gentle_lr_1e-4"]["update_norms_after_3_steps"]
    assert run.trajectories["gentle"].updates == approximately(official, 1e-4)


@pytest.mark.parametrize(("step", "tolerance"), [(1, 1e-8), (2, 1e-6), (3, 1e-5)])
def test_losses_at_the_official_rate(expected: dict[str, Any], run: Run, step: int, tolerance: float) -> None:
    """Rounding grows by some orders of magnitude in every step here."""
    assert_losses(run.trajectories["lr 0.01"].losses[step - 1], expected["losses_per_step"][step], tolerance)


def test_gradients_at_the_official_rate(expected: dict[str, Any], run: Run) -> None:
    official = [expected["total_grad_norm_step1"], expected["total_grad_norm_step2"]]
    assert run.trajectories["lr 0.01"].gradient_norms == pytest.approx(official, rel=1e-4)


def test_parameters_at_the_official_rate(expected: dict[str, Any], run: Run) -> None:
    found = run.trajectories["lr 0.01"]
    assert found.updates == approximately(expected["update_norms_after_3_steps"], 1e-4)
    trained = {
        name: value for name, value in expected["param_norms_after_3_steps"].items() if rename(name) in found.norms
    }
    assert found.norms == approximately(trained, 1e-6)


def test_batch_norm_statistics(expected: dict[str, Any], run: Run) -> None:
    official = expected["batchnorm_buffers_mean_after_4_forwards"]
    found = {
        name: value for name, value in run.trajectories["lr 0.01"].buffers.items() if name in map(rename, official)
    }
    assert found == approximately(official, 1e-5)
    assert {name for name, _ in found.items()} == {
        name
        for name in run.trajectories["lr 0.01"].buffers
        if name.startswith(("instances.bottom.", "instances.thing_semantic.")) and "running" in name
    }
