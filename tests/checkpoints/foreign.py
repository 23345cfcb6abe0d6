"""Names and shapes of others' checkpoints: two are recorded, the rest follow from them."""

from __future__ import annotations

import json
import re

import torch
from golden_weights import GOLDEN
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

RES = "backbone.bottom_up."


def recorded(name: str) -> Shapes:
    """Names and shapes in the official implementation's state dict."""
    entries = json.loads((GOLDEN / f"manifest_{name}.json").read_text())["entries"]
    return {entry["name"]: tuple(entry["shape"]) for entry in entries}


def r101(shapes: Shapes, stage: str = "res4") -> Shapes:
    """A ResNet-50 grown to a ResNet-101: 17 more blocks in its fourth stage."""
    block = {name: shape for name, shape in shapes.items() if f".{stage}.1." in name}
    more = {name.replace(f"{stage}.1.", f"{stage}.{i}."): shape for i in range(6, 23) for name, shape in block.items()}
    return shapes | more


def deformable(shapes: Shapes) -> Shapes:
    """With offsets for every third block of stages 3-5."""
    convs = [m for name in shapes if (m := re.fullmatch(r"(.*\.res([345])\.(\d+)\.conv2)\.weight", name))]
    offsets: Shapes = {}
    for match in convs:
        if int(match[3]) % 3 == 0:
            channels = 64 * 2 ** (int(match[2]) - 2)
            offsets |= {f"{match[1]}_offset.weight": (27, channels, 3, 3), f"{match[1]}_offset.bias": (27,)}
    return shapes | offsets


def instance(shapes: Shapes) -> Shapes:
    """Without the semantic head, and the level that only it reads."""
    return {n: s for n, s in shapes.items() if not re.match(r"panoptic_module|backbone\.fpn_(lateral|output)2", n)}


def short550(shapes: Shapes) -> Shapes:
    """The 550 model from the real-time one: one more level, a backbone with frozen norm."""
    backbone = {n: s for n, s in shapes.items() if not (n.startswith(RES) and n.endswith("num_batches_tracked"))}
    return backbone | {"backbone.top_block.p6.weight": (256, 256, 3, 3), "backbone.top_block.p6.bias": (256,)}


def rcnn(shapes: Shapes, things: int = 80) -> Shapes:
    """detectron2's Panoptic-FPN from the official panoptic BlendMask: the same but for the instance branch."""
    shared = {
        name.replace("panoptic_module", "sem_seg_head"): shape
        for name, shape in shapes.items()
        if re.match(r"backbone\.(bottom_up|fpn_)|panoptic_module", name)
    }
    box, mask = "roi_heads.box_predictor", "roi_heads.mask_head"
    layers: dict[str, tuple[int, ...]] = {
        "proposal_generator.rpn_head.conv": (256, 256, 3, 3),
        "proposal_generator.rpn_head.objectness_logits": (3, 256, 1, 1),
        "proposal_generator.rpn_head.anchor_deltas": (12, 256, 1, 1),
        "roi_heads.box_head.fc1": (1024, 12544),
        "roi_heads.box_head.fc2": (1024, 1024),
        f"{box}.cls_score": (things + 1, 1024),
        f"{box}.bbox_pred": (4 * things, 1024),
        **{f"{mask}.mask_fcn{i}": (256, 256, 3, 3) for i in range(1, 5)},
        f"{mask}.deconv": (256, 256, 2, 2),
        f"{mask}.predictor": (things, 256, 1, 1),
    }
    heads = {f"{layer}.weight": shape for layer, shape in layers.items()}
    heads |= {f"{layer}.bias": shape[:1] for layer, shape in layers.items()}
    return shared | heads


PANOPTIC, RT, MMDETECTION = recorded("panoptic_R_50"), recorded("RT_R_50"), recorded("mmdet_panoptic_fpn_R_50")

BLENDMASK: dict[str, Shapes] = {
    "panoptic/blendmask_r50_3x": PANOPTIC,
    "panoptic/blendmask_r101_3x": r101(PANOPTIC),
    "panoptic/blendmask_r50_dcni3_5x": deformable(PANOPTIC),
    "panoptic/blendmask_r101_dcni3_5x": deformable(r101(PANOPTIC)),
    "instance/blendmask_r50_3x": instance(PANOPTIC),
    "instance/blendmask_r101_3x": instance(r101(PANOPTIC)),
    "instance/blendmask_r101_dcni3_5x": instance(deformable(r101(PANOPTIC))),
    "instance/blendmask_550_r50_3x": short550(RT),
    "instance/blendmask_550_r101_3x": short550(r101(RT)),
    "instance/blendmask_rt_r50_4x": RT,
}
"""Official checkpoints of BlendMask by the config they are for; where several are, the longest schedule."""

RCNN: dict[str, Shapes] = {
    "panoptic/panoptic_fpn_r50_3x": rcnn(PANOPTIC),
    "panoptic/panoptic_fpn_r101_3x": rcnn(r101(PANOPTIC)),
    "panoptic/panoptic_fpn_r50_3x_mmdet": MMDETECTION,
    "panoptic/panoptic_fpn_r101_3x_mmdet": r101(MMDETECTION, "layer3"),
    "instance/mask_rcnn_r50_3x": {n: s for n, s in rcnn(PANOPTIC).items() if not n.startswith("sem_seg_head")},
}
"""detectron2's and mmdetection's."""


def zeros(shapes: Shapes) -> dict[str, Tensor]:
    """A state dict that takes no memory."""
    with torch.device("meta"):
        return {name: torch.zeros(shape) for name, shape in shapes.items()}
