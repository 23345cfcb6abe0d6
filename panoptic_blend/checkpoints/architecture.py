"""The architecture of a network, read from the names and shapes of its state dict."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from panoptic_blend.checkpoints.fitting import Shapes, is_backbone
from panoptic_blend.models.mask_rcnn import MaskRCNN


@dataclass(frozen=True)
class Architecture:
    """The architecture of a network; None for a property that its weights do not show."""

    backbone: str | None
    """``resnet``, ``timm``, or ``unknown`` for a backbone of another kind."""
    timm_name: str | None
    """The name of a network of timm, which is known from the header of a checkpoint only."""
    depth: int | None
    """Layers of the ResNet."""
    deformable_every: int
    """Distance between deformable blocks; 0 if there are none."""
    instances: str | None
    """``blendmask`` or ``mask_rcnn``."""
    has_semantic: bool
    levels: tuple[str, ...]
    """Pyramid levels that the detector reads."""
    shared_convs: int | None
    """Convolutions in the tower that classes and boxes share, before the ``num_convs`` in each of their own."""
    num_convs: int | None
    num_bases: int | None
    """K."""
    attention_size: int | None
    """M."""
    kernel_size: int | None
    """T."""
    num_things: int | None
    num_stuff: int | None

    @property
    def task(self) -> str:
        """``panoptic``, ``instance``, ``semantic``, ``backbone`` or ``unknown``."""
        if self.instances:
            return "panoptic" if self.has_semantic else "instance"
        if self.has_semantic:
            return "semantic"
        return "backbone" if self.backbone else "unknown"

    def is_known(self, shapes: Shapes) -> bool:
        """Whether the state dict is of a model that is known here, not a backbone with other parts than ours."""
        return self.task != "unknown" and (self.task != "backbone" or is_backbone(shapes))


def architecture_of(shapes: Shapes, timm_name: str | None = None) -> Architecture:
    """The architecture of a state dict under our names; ``timm_name`` is its network of timm, if it has one."""
    is_blendmask = "instances.fcos.class_logits.bias" in shapes
    is_mask_rcnn = "instances.roi_heads.box_predictor.cls_score.bias" in shapes
    bases = _num_bases(shapes)
    attention_size, kernel_size = _attentions_or_kernels(shapes, bases)
    return Architecture(
        backbone=_backbone(shapes),
        timm_name=timm_name,
        depth=_depth(shapes),
        deformable_every=_deformable_every(shapes),
        instances="blendmask" if is_blendmask else "mask_rcnn" if is_mask_rcnn else None,
        has_semantic="semantic.predictor.bias" in shapes,
        levels=_levels(shapes, is_mask_rcnn),
        shared_convs=_tower(shapes, "shared_tower") if is_blendmask else None,
        num_convs=_tower(shapes, "class_tower") if is_blendmask else None,
        num_bases=bases,
        attention_size=attention_size,
        kernel_size=kernel_size,
        num_things=_size(shapes, "instances.fcos.class_logits.bias")
        if is_blendmask
        else _size(shapes, "instances.roi_heads.box_predictor.cls_score.bias", beside=1),
        num_stuff=_size(shapes, "semantic.predictor.bias", beside=1),
    )


def _size(shapes: Shapes, name: str, beside: int = 0) -> int | None:
    """The first size of a tensor minus ``beside``, rows that do not count."""
    shape = shapes.get(name)
    return shape[0] - beside if shape else None


def _indices(shapes: Shapes, pattern: str) -> list[int]:
    """The numbers that the group of ``pattern`` matches among the names, in ascending order."""
    return sorted({int(match[1]) for name in shapes if (match := re.match(pattern, name))})


def _backbone(shapes: Shapes) -> str | None:
    if _depth(shapes):
        return "resnet"
    names = [name for name in shapes if name.startswith("backbone.")]
    return ("timm" if all(name.startswith("backbone.net.") for name in names) else "unknown") if names else None


def _depth(shapes: Shapes) -> int | None:
    """The depth of a ResNet: the convolutions of all blocks, the stem, and the classifier that was removed."""
    blocks = sum(len(_indices(shapes, rf"backbone\.layer{stage}\.(\d{{1,4}})\.conv1\.")) for stage in range(1, 5))
    per_block = 3 if "backbone.layer1.0.conv3.weight" in shapes else 2
    return blocks * per_block + 2 if blocks else None


def _deformable_every(shapes: Shapes) -> int:
    blocks = _indices(shapes, r"backbone\.layer3\.(\d{1,4})\.conv2\.offset\.")
    return blocks[1] - blocks[0] if len(blocks) > 1 else len(blocks)


def _levels(shapes: Shapes, is_mask_rcnn: bool) -> tuple[str, ...]:
    if is_mask_rcnn:
        return MaskRCNN.levels
    extra = _indices(shapes, r"fpn\.pyramid\.extra_blocks\.convs\.(\d{1,4})\.")
    has_pyramid = any(name.startswith("fpn.") for name in shapes)
    return tuple(f"p{i}" for i in range(3, 6 + len(extra))) if has_pyramid else ()


def _tower(shapes: Shapes, name: str) -> int:
    return sum(len(shape) == 4 for key, shape in shapes.items() if key.startswith(f"instances.fcos.{name}."))


def _num_bases(shapes: Shapes) -> int | None:
    """The output channels of the bottom module's last convolution."""
    last = max(_indices(shapes, r"instances\.bottom\.tower\.(\d{1,4})\.(?:weight|bias)$"), default=None)
    name = "predictor" if last is None else f"tower.{last}"
    return _size(shapes, f"instances.bottom.{name}.weight")


def _attentions_or_kernels(shapes: Shapes, num_bases: int | None) -> tuple[int | None, int | None]:
    """M and None if the top layer predicts K * M * M values, else None and T, the number of values that it predicts."""
    predicted = _size(shapes, "instances.top_layer.bias")
    if not predicted or not num_bases:
        return None, None
    side = math.isqrt(predicted // num_bases)
    return (side, None) if num_bases * side**2 == predicted else (None, predicted)
