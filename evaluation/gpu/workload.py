"""What is computed: pictures, a data set of COCO's size, models that find many instances, and torchvision's peer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection import maskrcnn_resnet50_fpn

from evaluation.speed import model_with_detections
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.formats.images import Picture, write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.models.mask_rcnn import MaskRCNN
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.precision import autocast, half_dtype
from panoptic_blend.structures import Output, PanopticMap, Segment, Size

R50 = "panoptic/blendmask_r50_3x"
SHARED = "panoptic/blendmask_r50_3x_shared"
DEFORMABLE = "panoptic/blendmask_r50_dcni3_5x"
PANOPTIC_FPN = "panoptic/panoptic_fpn_r50_3x"
REAL_TIME = "instance/blendmask_rt_r50_4x"
_BANDS, _RECTANGLES = 4, 8


def pictures(number: int, size: Size) -> list[Tensor]:
    """Smooth random pictures (3, H, W) uint8."""
    generator = torch.Generator().manual_seed(1)
    coarse = (size[0] // 16 + 1, size[1] // 16 + 1)
    small = [torch.randint(0, 256, (1, 3, *coarse), generator=generator).float() for _ in range(number)]
    return [F.interpolate(x, size=size, mode="bicubic").clamp(0, 255)[0].to(torch.uint8) for x in small]


def write_coco_sized(root: Path, train: int, val: int, size: Size) -> None:
    """Write splits ``train2017`` and ``val2017`` of pictures with bands of stuff and rectangles of things."""
    rng = np.random.default_rng(0)
    for split, number in (("train2017", train), ("val2017", val)):
        (root / split).mkdir(parents=True)
        annotation = root / "annotations" / f"panoptic_{split}.json"
        with PanopticWriter(annotation, categories=coco_categories()) as writer:
            for image_id in range(1, number + 1):
                name = f"{image_id:012d}.jpg"
                picture, truth = _scene(rng, size if image_id % 4 else (size[1], size[0]))
                write_picture(root / split / name, picture)
                writer.add(image_id, name, truth)


def _scene(rng: np.random.Generator, size: Size) -> tuple[Picture, PanopticMap]:
    height, width = size
    categories = coco_categories()
    ids = (np.arange(height) * _BANDS // height + 1)[:, None].repeat(width, 1).astype(np.int32)
    for number in range(_BANDS + 1, _BANDS + _RECTANGLES + 1):
        side = int(min(size) * rng.uniform(0.05, 0.6))
        top, left = int(rng.integers(height - side)), int(rng.integers(width - side))
        ids[top : top + side, left : left + side] = number
    kinds = [(categories.stuff_ids, False)] * _BANDS + [(categories.thing_ids, True)] * _RECTANGLES
    segments = [
        Segment(number, int(rng.choice(known)), is_thing, None, 0, None)
        for number, (known, is_thing) in enumerate(kinds, start=1)
    ]
    noise = rng.integers(0, 60, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    colors = (ids[:, :, None] * np.array([17, 31, 53]) % 190).astype(np.uint8)
    return colors + noise[:height, :width], PanopticMap.measured(ids, segments)


def finding_model(name: str) -> PanopticBlend:
    """A folded model on the CPU, in float32, whose random weights find many instances."""
    overrides = ["model.fusion.stuff_area=64"]
    if load_config(name).model.instances == "blendmask":
        return model_with_detections(name, "32-true", overrides)
    torch.manual_seed(0)
    model = build_model(load_config(name, overrides)).eval()
    assert isinstance(model.instances, MaskRCNN)
    nn.init.normal_(model.instances.roi_heads.box_predictor.cls_score.weight, std=0.3)
    fold_norms(model)
    return model.to(memory_format=torch.channels_last)


def placed(model: PanopticBlend, device: torch.device, precision: Precision) -> PanopticBlend:
    """A copy of ``model`` on ``device``, its weights rounded as `predictor.load` rounds them."""
    moved = copy.deepcopy(model).to(device)
    if dtype := half_dtype(precision, device):
        round_weights(moved, dtype)
    return moved


@torch.inference_mode()
def predicted(model: PanopticBlend, precision: Precision, images: list[Tensor], size: Size) -> list[Output]:
    """The outputs of ``model`` for images, one after the other, at ``size``."""
    device = model.pixel_mean.device
    with autocast(precision, device):
        return [model([image.to(device)], output_sizes=[size])[0] for image in images]


def peer(device: torch.device, size: Size, is_tiny: bool) -> Any:
    """torchvision's Mask R-CNN with a ResNet-50 and a pyramid, for pictures of ``size``, with random weights."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"min_size": min(size), "max_size": max(size), "box_score_thresh": 0.0}
    if is_tiny:
        options |= {"rpn_post_nms_top_n_test": 20, "rpn_post_nms_top_n_train": 20, "box_batch_size_per_image": 8}
    model: TorchvisionMaskRCNN = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=81, **options)
    return model.to(device).to(memory_format=torch.channels_last)
