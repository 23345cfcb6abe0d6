"""Kernels, numbers worked out by hand and a slow version of the network; and a whole model that convolves."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branches import branch_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.blender import blend
from panoptic_blend.models.build import build_model
from panoptic_blend.models.kernel_update import KernelUpdate
from panoptic_blend.models.kernels import KernelMerge
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.structures import Target

SMALL = [
    *("model.num_things=3", "model.num_stuff=2", "model.fpn.channels=32", "model.semantic.channels=32"),
    *("model.fcos.num_convs=1", "model.backbone.depth=14", "model.bottom.channels=16", "model.blender.roi_size=14"),
]
CONFIG = "demo/kernelblend_r18"


def model_with_instances(*overrides: str) -> PanopticBlend:
    """A small model whose random weights find instances, in evaluation mode."""
    torch.manual_seed(0)
    model = build_model(load_config(CONFIG, [*SMALL, *overrides]))
    nn.init.constant_(branch_of(model).fcos.class_logits.bias, 0.0)
    nn.init.constant_(branch_of(model).fcos.distances.bias, 2.0)
    nn.init.normal_(branch_of(model).top_layer.weight, std=0.1)
    return model.eval()


def target(masks: Tensor, boxes: list[list[float]]) -> Target:
    semantic = torch.ones(masks.shape[1:], dtype=torch.int64)
    semantic[masks.any(dim=0)] = 0
    labels = torch.arange(len(masks)) % 3
    return {"boxes": torch.tensor(boxes).reshape(-1, 4), "labels": labels, "masks": masks, "semantic": semantic}


def plain(num_bases: int, **options: Any) -> KernelMerge:
    """A merge whose kernels are what is predicted and nothing else."""
    merge = KernelMerge(num_bases, **options)
    nn.init.zeros_(merge.shared)
    return merge


# --- the network -----------------------------------------------------------------------------------------------------


def test_the_network_of_the_paper_has_169_parameters() -> None:
    """CondInst: 8 channels and two coordinates, to 8, to 8, to 1."""
    assert KernelMerge(8, channels=8, num_convs=3, coordinates=True).size == 169


def test_one_convolution_is_a_weighted_sum_of_the_bases() -> None:
    crops = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    kernel = torch.tensor([2.0, 0.5, -7.0]).view(1, 3, 1, 1)
    found = plain(2, num_convs=1, coordinates=False)(crops, kernel)
    assert found.tolist() == [[[0.0, 7.0], [14.0, 21.0]]]


def test_coordinates_go_from_left_to_right_and_from_top_to_bottom() -> None:
    """Of four cells between -1 and 1 the centers are at -0.75, -0.25, 0.25, 0.75; x is read first, then y."""
    merge, crops = plain(1, num_convs=1), torch.zeros(2, 1, 4, 4)
    found = merge(crops, torch.tensor([[9.0, 1.0, 0.0, 0.0], [9.0, 0.0, 1.0, 0.0]]).view(2, 4, 1, 1))
    centers = [-0.75, -0.25, 0.25, 0.75]
    assert found[0].tolist() == [centers] * 4
    assert found[1].T.tolist() == [centers] * 4


def test_two_convolutions_by_hand() -> None:
    """Hidden: relu(2 * 3 - 1) = 5 and relu(-3 + 1) = 0; then 10 * 5 + 100 * 0 + 0.5."""
    kernel = torch.tensor([2.0, -1.0, -1.0, 1.0, 10.0, 100.0, 0.5]).view(1, 7, 1, 1)
    merge = plain(1, channels=2, num_convs=2, coordinates=False)
    assert merge(torch.full((1, 1, 1, 1), 3.0), kernel).tolist() == [[[50.5]]]


def test_what_is_predicted_is_scaled_and_added_to_what_all_share() -> None:
    """Weight 1 + 0.5 * 4 and bias 2 - 0.5 * 1, at 10."""
    merge = KernelMerge(1, num_convs=1, coordinates=False, scale=0.5)
    with torch.no_grad():
        merge.shared.copy_(torch.tensor([1.0, 2.0]))
    assert merge(torch.full((1, 1, 1, 1), 10.0), torch.tensor([4.0, -1.0]).view(1, 2, 1, 1)).tolist() == [[[31.5]]]


def test_a_round_groups_by_the_mask_and_convolves_with_what_it_makes_of_it() -> None:
    """The mask is the first of two pixels, whose base is 6: the group feature; the update makes it the bias."""

    class Update(nn.Module):
        def forward(self, features: Tensor, kernels: Tensor) -> Tensor:
            assert kernels.tolist() == [[100.0, -500.0]]
            return torch.cat([torch.ones(1, 1), features], dim=1)

    merge = plain(1, num_convs=1, coordinates=False)
    merge.updates.append(Update())
    crops, kernel = torch.tensor([[[[6.0, 4.0], [-9.0, 1.0]]]]), torch.tensor([100.0, -500.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(merge(crops, kernel), torch.tensor([[[12.0, 10.0], [-3.0, 7.0]]]))


def test_to_refine_is_to_add_to_what_attentions_blend() -> None:
    """Attentions of the first detection prefer the first base by ln 3, so that it has a weight of 3/4."""
    merge = plain(2, num_convs=1, coordinates=False, attention_size=1)
    assert merge.size == 2 + 3
    crops = torch.tensor([[[[8.0]], [[4.0]]]]).repeat(2, 1, 1, 1)
    predicted = torch.tensor([[math.log(3), 0.0, 10.0, 0.0, 0.5], [0.0, 0.0, 0.0, 10.0, 0.0]]).view(2, 5, 1, 1)
    torch.testing.assert_close(merge(crops, predicted), torch.tensor([[[7 + 80.5]], [[6.0 + 40]]]))


@pytest.mark.parametrize("num_convs", [1, 3])
def test_refining_starts_from_blending(num_convs: int) -> None:
    """While no kernel is predicted, the last convolution gives 0, also after a round."""
    torch.manual_seed(0)
    merge = KernelMerge(4, num_convs=num_convs, attention_size=7, interpolation="nearest", rounds=1)
    crops, attentions = torch.randn(3, 4, 14, 14), torch.randn(3, 4, 7, 7)
    predicted = torch.cat([attentions.flatten(1), torch.zeros(3, len(merge.shared))], dim=1)
    torch.testing.assert_close(merge(crops, predicted[:, :, None, None]), blend(crops, attentions, "nearest"))


def test_rounds_change_nothing_at_first() -> None:
    torch.manual_seed(0)
    with_rounds, without = KernelMerge(2, rounds=2), KernelMerge(2)
    without.load_state_dict(with_rounds.state_dict(), strict=False)
    crops, kernels = torch.randn(3, 2, 4, 4), torch.randn(3, without.size, 1, 1)
    assert torch.equal(with_rounds(crops, kernels), without(crops, kernels))


def slowly(crop: Tensor, kernel: Tensor, widths: list[int]) -> Tensor:
    """Mask logits (R, R) of a crop (c, R, R) by convolutions, which take their weights out of ``kernel`` (T,)."""
    for number, (inputs, outputs) in enumerate(zip(widths, [*widths[1:], 1], strict=True)):
        weights, biases = kernel[: inputs * outputs], kernel[inputs * outputs : (inputs + 1) * outputs]
        kernel = kernel[(inputs + 1) * outputs :]
        crop = F.conv2d(crop.relu() if number else crop, weights.view(outputs, inputs, 1, 1), biases)
    assert not len(kernel)
    return crop[0]


@settings(deadline=None, max_examples=30)
@given(
    *(st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)), st.integers(0, 99)
)
def test_every_detection_is_convolved_with_its_own_kernel(
    count: int, num_bases: int, channels: int, num_convs: int, side: int, seed: int
) -> None:
    torch.manual_seed(seed)
    merge = plain(num_bases, channels=channels, num_convs=num_convs, coordinates=False)
    crops, kernels = torch.randn(count, num_bases, side, side), torch.randn(count, merge.size, 1, 1)
    found = merge(crops, kernels)
    assert found.shape == (count, side, side)
    for mask, crop, kernel in zip(found, crops, kernels.flatten(1), strict=True):
        expected = slowly(crop, kernel, [num_bases, *[channels] * (num_convs - 1)])
        torch.testing.assert_close(mask, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "rounds", "side"), [(0, 0, 0), (0, 1, 1), (2, 0, 0), (2, 1, 0), (2, 1, 2)])
def test_gradients(count: int, rounds: int, side: int) -> None:
    torch.manual_seed(0)
    merge = KernelMerge(2, channels=3, num_convs=2, rounds=rounds, attention_size=side).double()
    for update in merge.updates:
        assert isinstance(update, KernelUpdate)
        nn.init.normal_(update.change.weight, std=0.1)
    crops = torch.randn(count, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(count, merge.size, 1, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(merge, (crops, kernels))


def test_autocast_leaves_the_masks_in_float32() -> None:
    torch.manual_seed(0)
    merge = KernelMerge(2)
    crops, kernels = torch.randn(1, 2, 4, 4), torch.randn(1, merge.size, 1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(merge(crops, kernels), merge(crops, kernels).float())
        half = merge(crops, kernels)
    assert torch.equal(half, merge(crops, kernels))


# --- a whole model ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("merge", ["convolve", "refine"])
def test_a_mask_is_what_the_kernel_of_its_location_makes_of_the_bases(merge: str) -> None:
    model, image = (
        model_with_instances(f"model.blender.merge={merge}"),
        torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)),
    )
    branch = branch_of(model)
    with torch.no_grad():
        raw = model.raw(model.batch([image]))
        [found] = branch.select(raw, [(64, 96)])
        dense = [branch.top_layer(raw[f"{name}_features"]) for name in branch.levels]
    assert len(found.boxes) > 3 and found.attentions is None
    for number, (level, _, row, column) in enumerate(found.places.tolist()):
        crop = branch.crop(raw["bases"], [found.boxes[number : number + 1]])
        logits = branch.merge(crop, dense[level][:, :, row, column, None, None])
        torch.testing.assert_close(found.probabilities[number], logits[0].sigmoid(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 96), (1, 1)])
def test_outputs_for_instances_none_and_one_pixel(size: tuple[int, int]) -> None:
    for overrides in ([], ["model.blender.merge=convolve"], ["model.fcos.score_threshold=1"]):
        [output] = model_with_instances(*overrides)([torch.rand(3, *size)])
        assert output.masks.shape == (len(output.boxes), *size)
        assert bool(len(output.boxes)) == (overrides != ["model.fcos.score_threshold=1"])
        assert output.attentions is None and output.bases is not None and len(output.bases) == 8
        assert output.panoptic.segment_ids.shape == size


def test_one_shape_is_learned_from_nothing() -> None:
    """The left half of a box, in an image that says nothing of it."""
    torch.manual_seed(0)
    model = build_model(load_config(CONFIG, SMALL))
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[0, 12:52, 12:32] = True
    images, targets = [torch.rand(3, 64, 64)], [target(mask, [[12.0, 12, 52, 52]])]
    optimizer, costs = torch.optim.AdamW(model.parameters(), lr=0.003), []
    for _ in range(25):
        losses = model(images, targets)
        costs.append(losses["loss_mask"].item())
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert costs[0] > math.log(2) and costs[-1] < 0.15 * costs[0]


def test_nothing_to_learn_from() -> None:
    torch.manual_seed(0)
    model = build_model(load_config(CONFIG, SMALL))
    losses = model([torch.rand(3, 64, 64)], [target(torch.zeros(0, 64, 64, dtype=torch.bool), [])])
    assert losses["loss_mask"].item() == 0
    torch.stack(list(losses.values())).sum().backward()
    gradient = branch_of(model).top_layer.weight.grad
    assert gradient is not None and not gradient.any()
