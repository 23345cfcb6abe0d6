"""Recognize foreign weights by their names, and convert them to ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from panoptic_blend.checkpoints.detectron2 import from_backbone, from_caffe2, from_detectron2
from panoptic_blend.checkpoints.mmdetection import from_mmdetection
from panoptic_blend.checkpoints.renaming import State
from panoptic_blend.checkpoints.torchvision_models import from_detector, from_resnet
from panoptic_blend.failures import first_line
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Source:
    """A kind of foreign weights: how to recognize its keys, and how to convert it."""

    name: str
    is_in: Callable[[Mapping[str, Tensor]], bool]
    convert: Callable[[Mapping[str, Tensor], str], State]
    rules: str | None = None
    """The ``model.mask_rcnn.rules`` by which its authors choose the detections of a Mask R-CNN; None if unknown."""
    is_start: bool = False
    """Whether these are detectors of another kind, of which parts can be trained on here."""


def source_of(state: Mapping[str, Tensor]) -> Source:
    """The kind of ``state``, by its keys; ours if no other matches."""
    return next(source for source in _sources() if source.is_in(state))


def adapt(state: Mapping[str, Tensor], author: str = "", name: str = "state dict") -> State:
    """Convert a state dict of any known kind, recognized by its keys; an unknown one is returned unchanged.

    Args:
        author: the author that the file names. ``torchvision`` changes the meaning of detectron2's names.
        name: what messages call the weights.

    Raises:
        PanopticBlendError: shapes contradict the names.
    """
    source = source_of(state)
    try:
        return source.convert(state, author)
    except (RuntimeError, IndexError, KeyError) as error:
        detail = first_line(error)
        raise PanopticBlendError(
            f"{name}: its names are those of {source.name}, but its shapes are not ({detail}); fetch the file again"
        ) from None


def _sources() -> list[Source]:
    return [
        Source(
            "mmdetection", lambda s: _any(s, r"semantic_head\.conv_upsample_layers\."), from_mmdetection, "mmdetection"
        ),
        Source("torchvision detector", lambda s: _any(s, r"backbone\.body\."), from_detector, is_start=True),
        Source("official BlendMask", lambda s: _any(s, r"basis_module\."), from_detectron2),
        Source(
            "detectron2 detector",
            lambda s: _any(s, r"roi_heads\.|proposal_generator\.|backbone\.fpn_"),
            from_detectron2,
            "detectron2",
        ),
        Source("detectron2 backbone", lambda s: _any(s, r"(backbone\.bottom_up\.)?stem\.conv1\."), from_backbone),
        Source("caffe2 backbone", lambda s: _any(s, r"res2_0_branch2a_w"), from_caffe2),
        Source("torchvision backbone", lambda s: {"conv1.weight", "layer1.0.conv1.weight"} <= s.keys(), from_resnet),
        Source("panoptic-blend", lambda s: True, lambda s, author: dict(s)),
    ]


def _any(state: Mapping[str, Tensor], pattern: str) -> bool:
    return any(re.match(pattern, name) for name in state)
