from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from branches import branch_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from panoptic_blend.config.experiment import Config
from panoptic_blend.models.blendmask_truth import mask_targets, thing_semantic
from panoptic_blend.models.build import build_model
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.models.panoptic_blend import PanopticBlend, classes_at_once, semantic_classes
from panoptic_blend.models.postprocess import Candidates
from panoptic_blend.postprocessing.fusion import fuse, paint
from panoptic_blend.structures import Detections, Output, PanopticBlendError, PanopticMap, Target

C, S, K, M, R = 3, 2, 4, 4, 14
TINY = [
    f"model.num_things={C}",
    f"model.num_stuff={S}",
    "model.backbone.depth=18",
    "model.fpn.channels=32",
    "model.fcos.num_convs=1",
    "model.fcos.detections_per_image=60",
    "model.bottom.channels=16",
    "model.bottom.num_convs=1",
    f"model.blender.roi_size={R}",
    f"model.blender.attention_size={M}",
    "model.semantic.channels=32",
    "model.fusion.stuff_area=16",
]
LOSSES = {
    "loss_class",
    "loss_box",
    "loss_centerness",
    "loss_mask",
    "loss_semantic",
    "loss_thing_semantic",
}
INSTANCE_LOSSES = ("loss_box", "loss_centerness", "loss_mask")


def tiny(*overrides: str, seed: int = 0) -> PanopticBlend:
    """A small model whose random weights find instances of some classes here and there."""
    torch.manual_seed(seed)
    model = build_model(Config().changed([*TINY, *overrides]))
    for conv, std, bias in (
        (branch_of(model).fcos.class_logits, 0.3, -2.0),
        (branch_of(model).fcos.centerness, 0.1, 1.0),
        (branch_of(model).fcos.distances, 0.1, 2.0),
        (branch_of(model).top_layer, 0.2, 0.0),
    ):
        nn.init.normal_(conv.weight, std=std)
        assert conv.bias is not None
        nn.init.constant_(conv.bias, bias)
    return model


@pytest.fixture(scope="module")
def model() -> PanopticBlend:
    """A model in evaluation mode, not to be changed."""
    return tiny().eval()


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def truth(height: int, width: int, boxes: Sequence[Sequence[int]], seed: int = 0) -> Target:
    """Instances of rising label that fill the left half of their boxes, over random stuff with ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    semantic = torch.randint(1, S + 1, (height, width), generator=generator)
    semantic[:2] = 255
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0 : (x0 + x1) // 2] = True
        semantic[mask] = 0
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.arange(len(boxes)) % C,
        "masks": masks,
        "semantic": semantic,
    }


IMAGES = [picture(61, 97), picture(80, 45, seed=1)]
TARGETS = [truth(61, 97, [[4, 6, 52, 50], [60, 10, 90, 40]]), truth(80, 45, [[0, 0, 45, 80]])]


def losses_and_gradients(model: PanopticBlend, images: list[Tensor], targets: list[Target]) -> dict[str, Tensor]:
    model.zero_grad()
    losses: dict[str, Tensor] = model(images, targets)
    torch.stack(list(losses.values())).sum().backward()
    return {name: loss.detach() for name, loss in losses.items()}


# --- training --------------------------------------------------------------------------------------------------------


def test_losses_and_gradients_of_unequal_images() -> None:
    model = tiny()
    losses = losses_and_gradients(model, IMAGES, TARGETS)
    assert losses.keys() == LOSSES
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in losses.values())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    silent = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is not None and not p.grad.any()]
    assert not silent


def test_frozen_parts_get_no_gradient() -> None:
    model = tiny()
    losses_and_gradients(model, IMAGES, TARGETS)
    frozen = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert frozen == {n for n, _ in model.named_parameters() if n.startswith(("backbone.conv1", "backbone.layer1"))}


def test_images_without_instances() -> None:
    model = tiny()
    losses = losses_and_gradients(model, IMAGES, [truth(61, 97, []), truth(80, 45, [])])
    assert all(losses[name] == 0 for name in INSTANCE_LOSSES)
    assert all(losses[name] > 0 for name in LOSSES.difference(INSTANCE_LOSSES))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_instance_between_the_locations() -> None:
    """An instance too small to be seen anywhere is background, and its mask no target."""
    losses = losses_and_gradients(tiny(), IMAGES[:1], [truth(61, 97, [[21, 21, 27, 27]])])
    assert all(losses[name] == 0 for name in INSTANCE_LOSSES)


def test_pixels_ignored_altogether() -> None:
    targets = [{**target, "semantic": torch.full_like(target["semantic"], 255)} for target in TARGETS]
    losses = losses_and_gradients(tiny(), IMAGES, targets)  # type: ignore[arg-type]
    assert losses["loss_semantic"] == 0
    assert losses["loss_mask"] > 0


@pytest.mark.parametrize(("size", "number"), [((1, 1), 2), ((1, 40), 1), ((33, 32), 1)])
def test_images_of_any_size_teach(size: tuple[int, int], number: int) -> None:
    """One pixel takes two images: batch norm knows no variance of the single cell it has on p5."""
    target = truth(*size, [[0, 0, size[1], size[0]]])
    losses = losses_and_gradients(tiny(), [picture(*size)] * number, [target] * number)
    assert all(loss.isfinite() for loss in losses.values())


def test_an_image_that_is_learnt_loses_less() -> None:
    model = tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    totals = []
    for _ in range(8):
        losses = losses_and_gradients(model, IMAGES, TARGETS)
        totals.append(sum(losses.values()).item())  # type: ignore[union-attr]
        optimizer.step()
    assert totals[-1] < 0.75 * totals[0]


def test_a_step_is_deterministic() -> None:
    first, second = tiny(), tiny()
    one, other = losses_and_gradients(first, IMAGES, TARGETS), losses_and_gradients(second, IMAGES, TARGETS)
    assert one == other
    gradients = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(p.grad, q.grad) for p, q in gradients if p.grad is not None and q.grad is not None)


def test_order_of_images_and_instances_does_not_matter() -> None:
    turned: Target = {
        "boxes": TARGETS[0]["boxes"].flip(0),
        "labels": TARGETS[0]["labels"].flip(0),
        "masks": TARGETS[0]["masks"].flip(0),
        "semantic": TARGETS[0]["semantic"],
    }
    expected, found = tiny()(IMAGES, TARGETS), tiny()(IMAGES[::-1], [TARGETS[1], turned])
    for name in LOSSES:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


def test_semantic_losses_by_formula() -> None:
    """Both are means over the padded frame; padding is ignored by one and "no thing" for the other."""
    model, reference = tiny(), tiny()
    found = model(IMAGES, TARGETS)
    features = reference.features(reference.batch(IMAGES))
    frame = torch.full((2, 96, 128), 255)
    things = torch.zeros(2, 96, 128, dtype=torch.int64)
    for i, target in enumerate(TARGETS):
        height, width = target["semantic"].shape
        frame[i, :height, :width] = target["semantic"]
        for mask, label in zip(target["masks"], target["labels"].tolist(), strict=True):
            things[i, :height, :width][mask] = label + 1
    assert reference.semantic is not None
    logits = F.interpolate(reference.semantic(features), size=(96, 128), mode="bilinear", align_corners=False)
    expected = 0.5 * F.cross_entropy(logits, frame, ignore_index=255)
    torch.testing.assert_close(found["loss_semantic"], expected)
    expected = 0.3 * F.cross_entropy(branch_of(reference).thing_semantic(features["p3"]), things[:, ::8, ::8])
    torch.testing.assert_close(found["loss_thing_semantic"], expected)


def test_loss_weights() -> None:
    expected, found = (
        tiny(*options)(IMAGES, TARGETS)
        for options in ((), ("model.semantic.loss_weight=2", "model.bottom.loss_weight=0.1"))
    )
    factors = {"loss_semantic": 4.0, "loss_thing_semantic": 1 / 3}
    for name in LOSSES:
        torch.testing.assert_close(found[name], expected[name] * factors.get(name, 1.0))


# --- targets ---------------------------------------------------------------------------------------------------------


def test_mask_targets_by_hand() -> None:
    """Cells of a 4 x 4 target over a box of 8 x 4 pixels; the instance fills its left half, and half a cell more."""
    masks = torch.zeros(2, 10, 12, dtype=torch.bool)
    masks[0, 2:6, 1:6] = True
    masks[1, 2:4, 1:9] = True
    boxes = torch.tensor([[1.0, 2.0, 9.0, 6.0]]).repeat(2, 1)
    target: Target = {"boxes": boxes, "labels": torch.zeros(2), "masks": masks, "semantic": torch.zeros(10, 12)}
    found = mask_targets(target, 4)
    assert found.dtype == torch.bool
    assert found[0].int().tolist() == [[1, 1, 1, 0]] * 4
    assert found[1].int().tolist() == [[1, 1, 1, 1]] * 2 + [[0, 0, 0, 0]] * 2


def test_mask_targets_of_full_boxes_and_of_none() -> None:
    target = truth(20, 30, [[3, 2, 20, 15], [7, 7, 8, 8]])
    target["masks"] = torch.ones_like(target["masks"])
    assert mask_targets(target, 14).shape == (2, 14, 14)
    assert mask_targets(target, 14).all()
    assert mask_targets(truth(20, 30, []), 14).shape == (0, 14, 14)


def test_thing_semantic_by_hand() -> None:
    target = truth(4, 8, [[0, 0, 8, 4], [2, 0, 6, 4]])
    assert thing_semantic(target).tolist() == [[1, 1, 2, 2, 0, 0, 0, 0]] * 4
    assert thing_semantic(target).dtype == torch.int64
    assert not thing_semantic(truth(4, 8, [])).any()


def test_given_targets_stand_for_derived_ones() -> None:
    given_: list[Target] = [
        {
            "boxes": target["boxes"],
            "labels": target["labels"],
            "semantic": target["semantic"].to(torch.uint8),
            "mask_targets": mask_targets(target, R),
            "thing_semantic": thing_semantic(target).to(torch.uint8),
        }
        for target in TARGETS
    ]
    expected, found = tiny()(IMAGES, TARGETS), tiny()(IMAGES, given_)
    assert {name: loss.item() for name, loss in found.items()} == {n: loss.item() for n, loss in expected.items()}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_an_instance_map_stands_for_masks_that_do_not_overlap(dtype: torch.dtype) -> None:
    with_masks, with_maps = [], []
    for target in TARGETS:
        map_ = torch.zeros(target["semantic"].shape, dtype=dtype)
        for number, mask in enumerate(target["masks"], start=1):
            map_[mask] = number
        masks = [map_ == number for number in range(1, len(target["labels"]) + 1)]
        with_mask: Target = {**target, "masks": torch.stack(masks)}
        with_map: Target = {**target, "instance_map": map_}
        del with_map["masks"]
        with_masks.append(with_mask)
        with_maps.append(with_map)
    expected, found = tiny()(IMAGES, with_masks), tiny()(IMAGES, with_maps)
    assert {name: loss.item() for name, loss in found.items()} == {n: loss.item() for n, loss in expected.items()}


def test_layers_of_instance_maps_stand_for_masks_that_overlap() -> None:
    with_masks, with_layers = [], []
    for target in TARGETS:
        count = len(target["labels"])
        one = [0] * count  # every instance lies where the first does
        with_mask: Target = {**target, "masks": target["masks"][one], "boxes": target["boxes"][one]}
        numbers = torch.arange(1, count + 1, dtype=torch.uint8)
        layered: Target = {**with_mask, "instance_map": with_mask["masks"] * numbers[:, None, None]}
        del layered["masks"]
        with_masks.append(with_mask)
        with_layers.append(layered)
    expected, found = tiny()(IMAGES, with_masks), tiny()(IMAGES, with_layers)
    assert {name: loss.item() for name, loss in found.items()} == {n: loss.item() for n, loss in expected.items()}


def test_given_targets_are_heeded() -> None:
    changed: Target = {**TARGETS[0], "mask_targets": ~mask_targets(TARGETS[0], R)}
    changed["thing_semantic"] = torch.full_like(TARGETS[0]["semantic"], 255)
    expected, found = tiny()(IMAGES[:1], TARGETS[:1]), tiny()(IMAGES[:1], [changed])
    assert found["loss_mask"] != expected["loss_mask"]
    assert found["loss_thing_semantic"] != expected["loss_thing_semantic"]
    assert all(found[name] == expected[name] for name in LOSSES - {"loss_mask", "loss_thing_semantic"})


# --- inference -------------------------------------------------------------------------------------------------------


def assert_complete(output: Output, size: tuple[int, int], input_size: tuple[int, int]) -> None:
    """Shapes, types and ranges of everything in an output."""
    number, (height, width) = len(output.boxes), size
    assert output.boxes.shape == (number, 4)
    assert output.boxes.dtype == output.scores.dtype == torch.float32
    assert output.labels.shape == output.scores.shape == (number,)
    assert output.labels.dtype == output.semantic.dtype == torch.int64
    assert output.masks.shape == (number, height, width)
    assert output.masks.dtype == torch.bool
    assert output.semantic.shape == (height, width)
    assert output.bases is not None
    assert output.bases.shape == (K, -(-input_size[0] // 4), -(-input_size[1] // 4))
    assert output.attentions is not None
    assert output.attentions.shape == (number, K, M, M)
    assert isinstance(output.panoptic, PanopticMap)
    assert output.panoptic.segment_ids.shape == size
    assert output.panoptic.segment_ids.dtype == np.int32
    assert (output.boxes >= 0).all()
    assert (output.boxes <= torch.tensor([width, height, width, height])).all()
    assert (output.boxes[:, 2:] > output.boxes[:, :2]).all()
    assert (output.scores > 0.05**0.5).all()
    assert (output.scores.diff() <= 0).all()
    assert ((output.labels >= 0) & (output.labels < C)).all()
    assert ((output.semantic >= 0) & (output.semantic <= S)).all()


@torch.no_grad()
def test_outputs_are_as_large_as_asked(model: PanopticBlend) -> None:
    sizes = [(61, 97), (80, 45)]
    wanted = [(30, 200), (81, 45)]
    for output, size, input_size in zip(model(IMAGES, output_sizes=wanted), wanted, sizes, strict=True):
        assert_complete(output, size, input_size)
        assert len(output.boxes) > 10
    for output, size in zip(model(IMAGES), sizes, strict=True):
        assert_complete(output, size, size)
        assert len(output.boxes) > 10


@torch.no_grad()
def test_masks_lie_in_their_boxes(model: PanopticBlend) -> None:
    [output] = model(IMAGES[:1])
    assert output.masks.any()
    for mask, (x0, y0, x1, y1) in zip(output.masks, output.boxes.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert ((columns + 0.5 >= x0) & (columns + 0.5 <= x1) & (rows + 0.5 >= y0) & (rows + 0.5 <= y1)).all()


@torch.no_grad()
def test_panoptic_map_is_the_fusion_of_the_rest(model: PanopticBlend) -> None:
    [output] = model(IMAGES[:1])
    assert {segment.is_thing for segment in output.panoptic.segments} == {False, True}
    detections = Detections(output.boxes, output.scores, output.labels, output.masks)
    expected = fuse(detections, output.semantic, stuff_area=16)
    assert np.array_equal(output.panoptic.segment_ids, expected.segment_ids)
    assert output.panoptic.segments == expected.segments


@torch.no_grad()
def test_detections_and_segments_have_calibrated_scores(model: PanopticBlend, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(64, 96)
    monkeypatch.setattr(model, "paint", partial(paint, confidence=0.6, overlap=0.4, stuff_area=16))
    [plain] = model([image])
    monkeypatch.setattr(model, "calibrate", partial(calibrate, temperature=2, bias=-1))
    [stricter] = model([image])
    confidence = calibrate(torch.tensor(0.6).double(), 2, -1).item()
    monkeypatch.setattr(model, "paint", partial(paint, confidence=confidence, overlap=0.4, stuff_area=16))
    [same] = model.outputs(model.raw(model.batch([image])), [(64, 96)], [(64, 96)])  # as of an exported network

    for output in (stricter, same):
        assert torch.equal(output.scores, calibrate(plain.scores, 2, -1))
        assert torch.equal(output.boxes, plain.boxes) and torch.equal(output.labels, plain.labels)
        assert {s.score for s in output.panoptic.segments if s.is_thing} <= set(output.scores.tolist())
    things = [sum(s.is_thing for s in x.panoptic.segments) for x in (stricter, same, plain)]
    assert things[0] < things[1] == things[2] < len(plain.scores)
    # a threshold that moves with the scores leaves the map as it is
    assert (same.panoptic.segment_ids == plain.panoptic.segment_ids).all()


def test_nothing_found() -> None:
    [output] = tiny("model.fcos.score_threshold=1").eval()(IMAGES[:1], output_sizes=[(50, 60)])
    assert_complete(output, (50, 60), (61, 97))
    assert len(output.boxes) == 0
    assert not any(segment.is_thing for segment in output.panoptic.segments)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 31)])
def test_images_of_any_size(model: PanopticBlend, size: tuple[int, int]) -> None:
    [output] = model([picture(*size)])
    assert_complete(output, size, size)


@torch.no_grad()
def test_boxes_that_are_not_in_the_picture_are_dropped() -> None:
    model = tiny().eval()
    boxes = torch.tensor([[-30.0, 4.0, -8.0, 20.0], [10.0, 8.0, 40.0, 30.0], [97.0, 4.0, 120.0, 20.0]])
    places = torch.tensor([[0, 0, 1, 0], [0, 0, 2, 3], [0, 0, 1, 11]])
    found = Candidates(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 2]), places)
    branch_of(model).suppress = lambda candidates: found
    levels = branch_of(model).detect(model.features(model.batch(IMAGES[:1])))
    [output] = model(IMAGES[:1], output_sizes=[(122, 194)])
    assert output.labels.tolist() == [1]
    assert output.scores.tolist() == [pytest.approx(0.8)]
    assert output.boxes.tolist() == [[20.0, 16.0, 80.0, 60.0]]
    torch.testing.assert_close(
        output.attentions, branch_of(model).top_layer.at([x.features for x in levels], places[1:2])
    )


def assert_same(found: Output, expected: Output) -> None:
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bases, expected.bases, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.attentions, expected.attentions, rtol=1e-3, atol=1e-3)
    assert (found.masks == expected.masks).float().mean() > 0.998  # beyond the bases a pixel is exactly one half
    assert (found.semantic == expected.semantic).float().mean() > 0.999


@torch.no_grad()
def test_a_batch_says_what_its_images_say_alone(model: PanopticBlend) -> None:
    """Of sizes that are padded to one frame anyway; otherwise padding shows in normalization and at the border."""
    images = [picture(61, 97), picture(64, 128, seed=2), picture(40, 100, seed=3)]
    wanted = [(61, 97), (20, 40), (80, 200)]
    for output, image, size in zip(model(images, output_sizes=wanted), images, wanted, strict=True):
        [alone] = model([image], output_sizes=[size])
        assert_same(output, alone)


@torch.no_grad()
def test_order_in_a_batch_does_not_matter(model: PanopticBlend) -> None:
    for output, expected in zip(model(IMAGES[::-1])[::-1], model(IMAGES), strict=True):
        assert_same(output, expected)


@torch.no_grad()
def test_inference_is_deterministic(model: PanopticBlend) -> None:
    [first], [second] = model(IMAGES[:1]), model(IMAGES[:1])
    for name in ("boxes", "scores", "labels", "masks", "semantic", "bases", "attentions"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert np.array_equal(first.panoptic.segment_ids, second.panoptic.segment_ids)


@torch.no_grad()
def test_bytes_and_fractions_agree(model: PanopticBlend) -> None:
    [output], [expected] = model([IMAGES[0].float() / 255]), model(IMAGES[:1])
    assert_same(output, expected)


def test_outputs_may_be_used_while_gradients_are_on(model: PanopticBlend) -> None:
    [output] = model(IMAGES[:1])
    assert output.panoptic.segments


@torch.no_grad()
def test_one_output_size_per_image(model: PanopticBlend) -> None:
    with pytest.raises(PanopticBlendError, match="1 output_sizes for 2 images; give one per image"):
        model(IMAGES, output_sizes=[(10, 10)])
    with pytest.raises(PanopticBlendError, match="pass sizes as output_sizes="):
        model(IMAGES, [(10, 10), (10, 10)])
    with pytest.raises(PanopticBlendError, match="pass sizes as output_sizes="):
        model(IMAGES, 10)


@torch.no_grad()
def test_targets_are_not_read_in_evaluation_mode(model: PanopticBlend) -> None:
    """As in torchvision's detection models."""
    [output], [expected] = model(IMAGES[:1], TARGETS[:1]), model(IMAGES[:1])
    assert torch.equal(output.boxes, expected.boxes)


@torch.no_grad()
def test_outputs_count_labels_from_one_on_request() -> None:
    model = tiny().eval()
    twin = build_model(Config().changed(TINY), labels_from=1).eval()
    twin.load_state_dict(model.state_dict())
    [output], [expected] = twin(IMAGES[:1]), model(IMAGES[:1])
    assert len(expected.labels) > 10
    assert output.labels.tolist() == [label + 1 for label in expected.labels.tolist()]
    assert torch.equal(output.semantic, expected.semantic)
    shift = [
        new.category - old.category
        for new, old in zip(output.panoptic.segments, expected.panoptic.segments, strict=True)
    ]
    assert shift == [int(segment.is_thing) for segment in expected.panoptic.segments]
    assert set(shift) == {0, 1}
    with pytest.raises(PanopticBlendError, match="labels_from=2: labels start at 0 or 1"):
        build_model(Config().changed(TINY), labels_from=2)


@torch.no_grad()
def test_half_precision_ends_in_single(model: PanopticBlend) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        [output] = model(IMAGES[:1])
    assert_complete(output, (61, 97), (61, 97))
    assert output.bases is not None and output.attentions is not None
    assert output.bases.dtype == output.attentions.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.enable_grad():
        losses = tiny()(IMAGES, TARGETS)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_models_can_be_copied_and_pickled() -> None:
    model = tiny().eval()
    with torch.no_grad():
        [expected] = model(IMAGES[:1])
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            [output] = twin(IMAGES[:1])
            assert torch.equal(output.scores, expected.scores)
            assert torch.equal(output.masks, expected.masks)


# --- parts -----------------------------------------------------------------------------------------------------------


def test_batch_is_normalized_then_padded(model: PanopticBlend) -> None:
    images = [torch.full((3, 3, 5), 255, dtype=torch.uint8), torch.zeros(3, 33, 2)]
    found = model.batch(images)
    assert found.shape == (2, 3, 64, 32)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(found[0, :, :3, :5], ((1 - mean) / std)[:, None, None].expand(3, 3, 5))
    torch.testing.assert_close(found[1, :, :33, :2], (-mean / std)[:, None, None].expand(3, 33, 2))
    assert found[0].count_nonzero() == 3 * 3 * 5
    assert found[1].count_nonzero() == 3 * 33 * 2


def test_semantic_classes_at_once_are_those_of_tiles() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 20, 30, dtype=torch.float64)
    given = logits, 4, (75, 118), (130, 97)
    assert torch.equal(classes_at_once(*given), semantic_classes(*given))


def test_semantic_classes_by_hand() -> None:
    """Two cells of four pixels, classes 1 and 2; the border between them is in the middle."""
    logits = torch.tensor([[[0.0, 0.0]], [[1.0, -1.0]], [[-1.0, 1.0]]])
    assert semantic_classes(logits, 4, (4, 8), (4, 8)).tolist() == [[1] * 4 + [2] * 4] * 4
    assert semantic_classes(logits, 4, (3, 6), (3, 6)).tolist() == [[1] * 4 + [2] * 2] * 3
    assert semantic_classes(logits, 4, (4, 8), (2, 16)).tolist() == [[1] * 8 + [2] * 8] * 2


def test_padding_is_cut_off_before_resizing() -> None:
    """The class of the padding must not leak in, though it is the strongest."""
    logits = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]], [[-9.0, 99.0]]])
    expected = semantic_classes(logits[:, :, :1], 4, (4, 2), (4, 8))
    assert semantic_classes(logits, 4, (4, 2), (4, 8)).tolist() == expected.tolist() == [[1] * 8] * 4


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 90), st.integers(1, 20), st.integers(1, 200), st.integers(1, 30), st.integers(0, 2**16))
def test_semantic_classes_are_those_of_the_whole_logits(h: int, w: int, out_h: int, out_w: int, seed: int) -> None:
    """However large the map, the bands it is computed in give what upsampling, cutting and resizing all of it gives."""
    logits = torch.randn(3, -(-h // 4), -(-w // 4), generator=torch.Generator().manual_seed(seed))
    full = F.interpolate(logits[None], scale_factor=4.0, mode="bilinear", align_corners=False)[:, :, :h, :w]
    full = F.interpolate(full, size=(out_h, out_w), mode="bilinear", align_corners=False)[0]
    found = semantic_classes(logits, 4, (h, w), (out_h, out_w))
    assert found.shape == (out_h, out_w)
    assert found.dtype == torch.int64
    best = full.amax(dim=0)
    torch.testing.assert_close(full.gather(0, found[None])[0], best, rtol=0, atol=1e-5)
