"""Mask R-CNN against a slow, obvious version of detectron2's rules, and as something that learns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou, roi_align

from panoptic_blend.models.mask_rcnn import MaskRCNN, PyramidPooler
from panoptic_blend.models.postprocess import Instances, cut_masks
from panoptic_blend.models.proposals import Anchors
from panoptic_blend.structures import PanopticBlendError, Target

C, CHANNELS = 3, 8
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
SIZES = [(70, 100), (96, 300)]
FRAME = (96, 320)
"""Half a cell of p6 lies beyond, and the largest boxes read p3."""


def predict(model: MaskRCNN, features: dict[str, Tensor]) -> list[Instances]:
    """The instances of the two images of `SIZES`."""
    return model.select(model.raw(features), SIZES)


def branch(seed: int = 0, kind: type[MaskRCNN] = MaskRCNN, **options: float) -> MaskRCNN:
    """A narrow one whose random weights say something of every class."""
    torch.manual_seed(seed)
    model = kind(CHANNELS, C, head_channels=16, mask_channels=8, **options)  # type: ignore[arg-type]
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=0.15)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, std=0.3)
    return model


def features(seed: int = 0, number: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sides = {name: [-(-side // stride) for side in FRAME] for name, stride in STRIDES.items()}
    return {name: torch.randn(number, CHANNELS, *size, generator=generator) for name, size in sides.items()}


# --- parts -----------------------------------------------------------------------------------------------------------


def test_anchors_by_hand() -> None:
    """Neither rounded nor shifted by half a cell; ratio 1/2 is twice as wide as high."""
    anchors = Anchors((32,), (4,), (0.5, 1.0, 2.0))
    [found] = anchors(ImageList(torch.empty(0), [(9, 9)]), [torch.zeros(1, 1, 2, 3)])
    assert found.shape == (2 * 3 * 3, 4)
    long, short = 32 * math.sqrt(2) / 2, 32 / math.sqrt(2) / 2
    shapes = torch.tensor([[-long, -short, long, short], [-16, -16, 16, 16], [-short, -long, short, long]])
    torch.testing.assert_close(found[:3], shapes)
    torch.testing.assert_close(found[3:6], shapes + torch.tensor([4.0, 0, 4, 0]))
    torch.testing.assert_close(found[9:12], shapes + torch.tensor([0.0, 4, 0, 4]))


def test_anchors_of_every_level_stand_on_its_stride() -> None:
    """Also on p6, of which an image of 96 x 320 has two rows and not one and a half."""
    pyramid = features()
    [found, same] = MaskRCNN(CHANNELS, C).rpn.anchor_generator(ImageList(torch.empty(0), SIZES), list(pyramid.values()))
    assert torch.equal(found, same)
    levels = found.split([3 * x[0, 0].numel() for x in pyramid.values()])
    for level, (feature, stride) in zip(levels, zip(pyramid.values(), STRIDES.values(), strict=True), strict=True):
        rows, columns = feature.shape[-2:]
        center = torch.tensor([(columns - 1) * stride, (rows - 1) * stride])
        square = torch.cat([center - 4 * stride, center + 4 * stride]).float()
        assert torch.equal(level[-2], square)


@pytest.mark.parametrize(
    ("side", "level"), [(1, 2), (111, 2), (112, 3), (223, 3), (224, 4), (447, 4), (448, 5), (3000, 5)]
)
def test_boxes_read_the_level_of_their_size(side: int, level: int) -> None:
    pyramid = {f"p{i}": torch.full((1, 1, 120, 120), float(i)) for i in (2, 3, 4, 5)}
    found = PyramidPooler(2)(pyramid, [torch.tensor([[0.0, 0, side, side]])], None)
    assert found.max() == level


def test_pooling_keeps_the_order_of_boxes() -> None:
    pyramid = {f"p{i}": torch.tensor([i, 10.0 + i]).view(2, 1, 1, 1).expand(2, 1, 120, 120) for i in (2, 3, 4, 5)}
    boxes = [torch.tensor([[0.0, 0, 500, 500], [0, 0, 20, 20]]), torch.tensor([[0.0, 0, 250, 250]])]
    assert PyramidPooler(1)(pyramid, boxes, None).amax(dim=(1, 2, 3)).tolist() == [5, 2, 14]


# --- inference -------------------------------------------------------------------------------------------------------


def decode_slowly(deltas: Sequence[float], box: Sequence[float], weights: Sequence[float]) -> list[float]:
    width, height = box[2] - box[0], box[3] - box[1]
    dx, dy, dw, dh = (d / w for d, w in zip(deltas, weights, strict=True))
    x, y = box[0] + width / 2 + dx * width, box[1] + height / 2 + dy * height
    most = math.log(1000 / 16)
    width, height = width * math.exp(min(dw, most)), height * math.exp(min(dh, most))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def clipped(box: Sequence[float], size: tuple[int, int]) -> list[float]:
    limits = [size[1], size[0], size[1], size[0]]
    return [min(max(value, 0.0), limit) for value, limit in zip(box, limits, strict=True)]


def suppress_slowly(boxes: list[list[float]], scores: list[float], groups: list[int], threshold: float) -> list[int]:
    """Indices that are left, best first."""
    corners = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    overlaps = box_iou(corners, corners).tolist()
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not any(groups[i] == groups[j] and overlaps[i][j] > threshold for j in kept):
            kept.append(i)
    return kept


def propose_slowly(model: MaskRCNN, pyramid: dict[str, Tensor], image: int, size: tuple[int, int]) -> list[list[float]]:
    boxes, scores, levels = [], [], []
    head = model.rpn.head
    for level, (name, stride) in enumerate(STRIDES.items()):
        hidden = head.conv(pyramid[name][image : image + 1])
        logits, deltas = head.cls_logits(hidden)[0], head.bbox_pred(hidden)[0]
        _, height, width = logits.shape
        rows = []
        for row, column, shape in itertools.product(range(height), range(width), range(3)):
            ratio, side = (0.5, 1.0, 2.0)[shape], 32 * 2**level
            w = math.sqrt(side**2 / ratio)
            h = ratio * w
            anchor = [column * stride - w / 2, row * stride - h / 2, column * stride + w / 2, row * stride + h / 2]
            rows.append(
                (logits[shape, row, column].item(), deltas[4 * shape : 4 * shape + 4, row, column].tolist(), anchor)
            )
        for score, delta, anchor in sorted(rows, key=lambda r: -r[0])[:1000]:
            box = clipped(decode_slowly(delta, anchor, (1, 1, 1, 1)), size)
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
                scores.append(score)
                levels.append(level)
    return [boxes[i] for i in suppress_slowly(boxes, scores, levels, 0.7)[:1000]]


def pool_slowly(pyramid: dict[str, Tensor], image: int, box: Sequence[float], size: int) -> Tensor:
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    level = min(max(math.floor(4 + math.log2(side / 224 + 1e-8)), 2), 5)
    feature = pyramid[f"p{level}"][image : image + 1]
    pooled: Tensor = roi_align(feature, [torch.tensor([box])], size, 1 / 2**level, 0, aligned=True)
    return pooled


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_inference_follows_detectron2(seed: int) -> None:
    model, pyramid = branch(seed).eval(), features(seed)
    heads = model.roi_heads
    for image, (found, size) in enumerate(zip(predict(model, pyramid), SIZES, strict=True)):
        boxes, scores, labels = [], [], []
        for proposal in propose_slowly(model, pyramid, image, size):
            logits, deltas = heads.box_predictor(heads.box_head(pool_slowly(pyramid, image, proposal, 7)))
            for label, probability in enumerate(logits[0].softmax(dim=0).tolist()[1:], start=1):
                if probability > 0.05:
                    delta = deltas[0, 4 * label : 4 * label + 4].tolist()
                    boxes.append(clipped(decode_slowly(delta, proposal, (10, 10, 5, 5)), size))
                    scores.append(probability)
                    labels.append(label)
        kept = suppress_slowly(boxes, scores, labels, 0.5)[:100]
        assert len(kept) > 20
        torch.testing.assert_close(found.scores, torch.tensor([scores[i] for i in kept]), rtol=1e-4, atol=1e-5)
        assert found.labels.tolist() == [labels[i] - 1 for i in kept]
        torch.testing.assert_close(found.boxes, torch.tensor([boxes[i] for i in kept]), rtol=1e-4, atol=1e-2)
        for box, label, probabilities in zip(
            found.boxes.tolist(), found.labels.tolist(), found.probabilities, strict=True
        ):
            logits = heads.mask_predictor(heads.mask_head(pool_slowly(pyramid, image, box, 14)))
            torch.testing.assert_close(probabilities, logits[0, label + 1].sigmoid(), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_limits() -> None:
    pyramid = features()
    [few, _] = predict(branch(detections_per_image=3).eval(), pyramid)
    assert len(few.scores) == 3
    for found in predict(branch(score_threshold=1.0).eval(), pyramid):
        assert found.boxes.shape == (0, 4)
        assert found.probabilities.shape == (0, 28, 28)
        assert found.labels.dtype == torch.int64


@torch.no_grad()
def test_precision_of_results() -> None:
    model, pyramid = branch().eval(), features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for found in predict(model, pyramid):
            assert found.boxes.dtype == found.scores.dtype == found.probabilities.dtype == torch.float32
    doubled = predict(model.double(), {name: x.double() for name, x in pyramid.items()})
    assert doubled[0].boxes.dtype == torch.float64


# --- training --------------------------------------------------------------------------------------------------------


def truth(size: tuple[int, int], boxes: Sequence[Sequence[float]]) -> Target:
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x0 + x1) // 2] = True
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.arange(len(boxes)) % C,
        "masks": masks,
        "semantic": torch.zeros(size, dtype=torch.int64),
    }


BOXES: list[list[float]] = [[10.0, 12, 56, 60], [40, 20, 58, 64]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("boxes", [[BOXES, BOXES[:1]], [BOXES, []], [[], []], [[[5.0, 5, 5, 20], *BOXES], []]])
def test_losses_and_gradients(boxes: list[list[list[float]]], dtype: torch.dtype) -> None:
    model = branch()
    targets = [truth(size, b) for size, b in zip(SIZES, boxes, strict=True)]
    pyramid = features()
    if dtype == torch.float64:
        model, pyramid = model.double(), {name: x.double() for name, x in pyramid.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        losses = model.losses(pyramid, SIZES, *model.truth((0, 0), targets))
    assert list(losses) == ["loss_rpn_class", "loss_rpn_box", "loss_class", "loss_box", "loss_mask"]
    assert all(loss.isfinite() and loss.shape == () for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if any(boxes):
        assert losses["loss_mask"] > 0
        assert all(p.grad.any() for n, p in model.named_parameters() if p.grad is not None and "mask_predictor" in n)


def test_losses_of_random_proposals_by_formula() -> None:
    """L1, summed over the positives and divided by all 256 or 512 samples there should be; cross entropy likewise."""
    model, pyramid = branch(), features(number=1)
    anchor = torch.tensor([[0.0, 0, 20, 10]])
    logits, deltas = torch.tensor([[2.0], [-1.0], [5.0]]), torch.full((3, 4), 0.5)
    classes, boxes = model.rpn.compute_loss(
        logits, deltas, [torch.tensor([1.0, 0.0, -1.0])], [torch.tensor([[0.0, 1, 0.5, 0.25], *[[9.0] * 4] * 2])]
    )
    assert classes.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 256)
    assert boxes.item() == pytest.approx((0.5 + 0.5 + 0 + 0.25) / 256)

    heads, target = model.roi_heads, truth(SIZES[0], [[0.0, 0, 20, 16]])
    given = {"boxes": target["boxes"], "labels": target["labels"] + 1, "masks": target["masks"]}
    found = heads.losses(pyramid, [anchor], [given])
    both = [anchor, target["boxes"]]  # the truth is a proposal too, and both overlap it by more than a half
    logits, deltas = heads.box_predictor(heads.box_head(heads.box_roi_pool(pyramid, [torch.cat(both)])))
    wanted = torch.tensor([[0.0, 10 * 3 / 10, 0, 5 * math.log(1.6)], [0.0] * 4])
    assert found["loss_class"].item() == pytest.approx(-logits.log_softmax(dim=1)[:, 1].mean().item())
    assert found["loss_box"].item() == pytest.approx((deltas[:, 4:8] - wanted).abs().sum().item() / 2, rel=1e-5)
    masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(pyramid, [torch.cat(both)])))[:, 1]
    left = (torch.arange(28) < 14).float().expand(2, 28, 28)
    expected = F.binary_cross_entropy(masks.sigmoid(), left).item()
    assert found["loss_mask"].item() == pytest.approx(expected, rel=1e-5)


def test_losses_without_a_single_proposal() -> None:
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "masks": torch.zeros(0, 70, 100)}
    losses = branch().roi_heads.losses(features(number=1), [torch.zeros(0, 4)], [none])
    assert [loss.item() for loss in losses.values()] == [0, 0, 0]


def test_mask_targets_are_aligned() -> None:
    """In a box of 28 x 28 pixels they are its pixels; in one of half that width every column is there twice."""
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[1, 20:30, 32:40] = True
    boxes = torch.tensor([[18.0, 18, 46, 46], [18, 18, 46, 46], [26, 18, 40, 46]])
    found = cut_masks(mask, torch.tensor([1, 0, 1]), boxes, 28)
    assert found.dtype == torch.bool
    assert torch.equal(found[0], mask[1, 18:46, 18:46])
    assert not found[1].any()
    assert torch.equal(found[2], mask[1, 18:46, 26:40].repeat_interleave(2, dim=1))


def test_masks_are_needed() -> None:
    target = truth(SIZES[0], BOXES)
    del target["masks"]
    with pytest.raises(PanopticBlendError, match="add `masks`"):
        branch().losses(features(number=1), SIZES[:1], [target], {"images": torch.tensor(1)})


def test_images_that_are_part_of_a_step_have_their_share_of_its_losses() -> None:
    targets, found = [truth(size, BOXES) for size in SIZES], []
    for images in (len(SIZES), 4 * len(SIZES)):
        torch.manual_seed(3)
        found.append(branch().losses(features(), SIZES, targets, {"images": torch.tensor(images)}))
    for name, value in found[0].items():
        assert found[1][name].item() == pytest.approx(value.item() / 4)


def test_an_instance_map_stands_for_masks() -> None:
    target = truth(SIZES[0], BOXES)
    first, second = target["masks"]
    with_masks: Target = {**target, "masks": torch.stack([first & ~second, second])}
    with_map: Target = {**target, "instance_map": torch.where(second, 2, first.int()).to(torch.uint8)}
    del with_map["masks"]
    overlapping: Target = {**target, "boxes": target["boxes"][[0, 0]], "masks": torch.stack([first, first])}
    with_layers: Target = {**overlapping, "instance_map": torch.stack([first.byte(), 2 * first.byte()])}
    del with_layers["masks"]
    losses = []
    for given in (with_masks, with_map, overlapping, with_layers):
        torch.manual_seed(3)
        losses.append(branch().losses(features(number=1), SIZES[:1], [given], {"images": torch.tensor(1)}))
    assert losses[0]["loss_mask"] > 0 and losses[0] == losses[1] and losses[2] == losses[3]


def test_losses_depend_on_the_seed_alone() -> None:
    targets = [truth(size, BOXES) for size in SIZES]
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(branch().losses(features(), SIZES, targets, {"images": torch.tensor(len(targets))}))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_mask_is_learnt_from_its_pixels() -> None:
    """Another mask in the same box makes another loss."""
    model = branch()
    target = truth(SIZES[0], BOXES[:1])
    inverted: Target = {**target, "masks": ~target["masks"]}
    losses = []
    for given in (target, inverted):
        torch.manual_seed(0)
        losses.append(
            model.losses(features(number=1), SIZES[:1], [given], {"images": torch.tensor(1)})["loss_mask"].item()
        )
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_initial_values() -> None:
    torch.manual_seed(0)
    model = MaskRCNN()
    heads = model.roi_heads
    assert heads.box_predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert heads.box_predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert heads.mask_predictor.mask_fcn_logits.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert heads.mask_head[0][0].weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.05)
    assert model.rpn.head.cls_logits.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert heads.box_head.fc6.weight.abs().max().item() == pytest.approx((3 / (256 * 49)) ** 0.5, rel=0.01)
    assert not any(p.any() for n, p in model.named_parameters() if n.endswith("bias"))
    assert F.softmax(heads.box_predictor.cls_score(torch.zeros(1, 1024)), dim=1)[0, 0].item() == pytest.approx(1 / 81)
