"""Mask R-CNN by mmdetection's rules, where these differ from detectron2's.

The network is the same, but for strides and statistics of pixels, which come with the weights; so are anchors, pooling,
limits and order. Training follows `MaskRCNN`. These rules are those of mmdetection 3.3, for its Panoptic-FPN:

* The two deltas of size are limited on both sides before they are exponentiated, not only above (`TwoSidedBoxCoder`).
* Proposals are ranked by probability in float32 instead of by logit, where large ones become equal, and levels are kept
  apart in suppression by moving their boxes (`MMDetectionProposals`).
* Suppression of detections ignores classes, and detections without width or height stay (`MMDetectionHeads`).
* A box that is smaller than a boundary between two levels by a millionth reads the coarser one (`MMDetectionPooler`).
* Boxes are not clipped again when they are scaled to the output (`scale_to_output`).

The rest is in configs: scores above 0.6, fusion without a least score, and pictures resized by OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import clip_boxes_to_image, nms

from panoptic_blend.models.batching import uploaded
from panoptic_blend.models.mask_rcnn import Heads, MaskRCNN, PyramidPooler
from panoptic_blend.models.postprocess import Instances
from panoptic_blend.models.proposals import Proposals
from panoptic_blend.structures import Size

Scored = tuple[Tensor, Tensor]
"""Boxes (D, 4) and their scores (D,)."""


class TwoSidedBoxCoder(BoxCoder):
    """torchvision's coder of boxes, which limits the logarithms of width and height below as well as above."""

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        codes = rel_codes.clone()
        for axis in (2, 3):
            codes[:, axis::4] = codes[:, axis::4].clamp(min=-self.bbox_xform_clip * self.weights[axis])
        decoded: Tensor = super().decode_single(codes, boxes)
        return decoded


class MMDetectionProposals(Proposals):
    """The RPN of `MMDetectionMaskRCNN`."""

    box_coder: BoxCoder

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.box_coder = TwoSidedBoxCoder(self.box_coder.weights)

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: Sequence[Size],
        num_anchors_per_level: Sequence[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The best boxes of every image, and their scores, from boxes (N, A, 4) and logits (N * A, 1) of all levels."""
        scores = objectness.detach().reshape(proposals.shape[:2]).sigmoid()
        images = zip(proposals, scores, image_shapes, strict=True)
        found = [self._best(*image, num_anchors_per_level) for image in images]
        return [boxes for boxes, _ in found], [scores for _, scores in found]

    def _best(self, boxes: Tensor, scores: Tensor, size: Size, counts: Sequence[int]) -> Scored:
        chosen, levels, start = [], [], 0
        for number, of_level in enumerate(scores.split(list(counts))):
            best = _ranked(of_level, self.pre_nms_top_n())
            chosen.append(start + best)
            levels.append(torch.full_like(best, number))
            start += len(of_level)
        index, level = torch.cat(chosen), torch.cat(levels)
        boxes, scores = clip_boxes_to_image(boxes[index], size), scores[index]
        visible = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        boxes, scores, level = boxes[visible], scores[visible], level[visible]
        apart = boxes + (level * (boxes.max() + 1))[:, None] if len(boxes) else boxes
        kept = nms(apart, scores, self.nms_thresh)[: self.post_nms_top_n()]
        return boxes[kept], scores[kept]


def _ranked(scores: Tensor, limit: int) -> Tensor:
    """Indices of the ``limit`` highest scores, equal ones in their order; only those that may be chosen are sorted."""
    least = scores.topk(min(limit, len(scores))).values[-1:]
    candidates = (scores >= least).nonzero().squeeze(1)
    return candidates[scores[candidates].argsort(descending=True, stable=True)[:limit]]


class MMDetectionHeads(Heads):
    """The heads of `MMDetectionMaskRCNN`."""

    box_coder: BoxCoder

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.box_coder = TwoSidedBoxCoder(self.box_coder.weights)

    def postprocess_detections(
        self, class_logits: Tensor, box_regression: Tensor, proposals: Sequence[Tensor], image_shapes: Sequence[Size]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Boxes (D, 4), scores (D,) and labels (D,) from 1 of every image, best first.

        Args:
            class_logits: (P, C + 1) of the proposals of all images, background first.
            box_regression: (P, 4 * (C + 1)) deltas.
            proposals: of every image (P, 4).
            image_shapes: (height, width) to which its boxes are clipped.
        """
        counts = [len(boxes) for boxes in proposals]
        boxes = self.box_coder.decode(box_regression, list(proposals)).reshape(*class_logits.shape, 4)
        images = zip(boxes.split(counts), class_logits.softmax(dim=1).split(counts), image_shapes, strict=True)
        found = [self._best(*image) for image in images]
        return [x for x, _, _ in found], [x for _, x, _ in found], [x for _, _, x in found]

    def _best(self, boxes: Tensor, scores: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
        row, thing = (scores[:, 1:] > self.score_thresh).nonzero(as_tuple=True)
        labels = thing + 1
        boxes, scores = clip_boxes_to_image(boxes[row, labels], size), scores[row, labels]
        kept = nms(boxes, scores, self.nms_thresh)[: self.detections_per_img]
        return boxes[kept], scores[kept], labels[kept]


class MMDetectionPooler(PyramidPooler):
    """`PyramidPooler` with mmdetection's tolerance at the boundaries between levels."""

    def levels(self, boxes: Tensor) -> Tensor:
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
        return 2 + torch.log2(sides / 56 + 1e-6).floor().clamp(0, 3)


class MMDetectionMaskRCNN(MaskRCNN):
    """`MaskRCNN` by the rules of this module."""

    rules = "mmdetection"
    proposals = MMDetectionProposals
    heads = MMDetectionHeads
    pooler = MMDetectionPooler


def scale_to_output(found: Instances, from_size: Size, to_size: Size) -> Instances:
    """`postprocess.to_output` by these rules: all instances stay, and their boxes are divided by the scale in float32.

    So rounding may leave a box beyond the edge by less than a thousandth of a pixel.
    """
    (height, width), (to_height, to_width) = from_size, to_size
    scale = uploaded([width / to_width, height / to_height], found.boxes)
    return replace(found, boxes=found.boxes / scale.repeat(2))
