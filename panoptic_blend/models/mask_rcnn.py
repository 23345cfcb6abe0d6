"""The instance branch of Panoptic-FPN: Mask R-CNN (He et al., ICCV 2017), torchvision's parts by detectron2's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import roi_align

from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.models.class_rows import ClassRows
from panoptic_blend.models.instance_branch import Features
from panoptic_blend.models.postprocess import Instances, cut_masks
from panoptic_blend.models.proposals import RPN_SAMPLES, Anchors, ProposalHead, Proposals, images_of
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import PanopticBlendError, Size, Target


class PyramidPooler(nn.Module):
    """Aligned RoIAlign on the level that suits the size of a box (FPN, eq. 1), in at least float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], image_shapes: object = None) -> Tensor:
        """Pooled features (sum of D, c, size, size) of ``boxes``, per image (D, 4), in their order."""
        numbers = [boxes[0].new_full((len(b), 1), i) for i, b in enumerate(boxes)]
        rois = torch.cat([torch.cat(numbers), torch.cat(list(boxes))], dim=1)
        levels = self.levels(rois[:, 1:])
        places, pooled = [], []
        for level in (2, 3, 4, 5):
            places.append((levels == level).nonzero().squeeze(1))
            feature = at_least_float32(features[f"p{level}"])
            of_level = rois[places[-1]].to(feature.dtype)
            pooled.append(roi_align(feature, of_level, self.size, 1 / 2**level, sampling_ratio=0, aligned=True))
        return torch.cat(pooled).index_select(0, torch.argsort(torch.cat(places)))

    def levels(self, boxes: Tensor) -> Tensor:
        """The level of each box (D, 4), 2 for P2 to 5 for P5."""
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
        return (4 + torch.log2(sides / 224 + 1e-8)).floor().clamp(2, 5)


class _BoxPredictor(FastRCNNPredictor):
    class_layers: ClassVar = {
        "cls_score": ClassRows("things", shared=1),
        "bbox_pred": ClassRows("things", shared=1, each=4),
    }

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return at_least_float32(logits), at_least_float32(deltas)


class _MaskPredictor(MaskRCNNPredictor):
    class_layers: ClassVar = {"mask_fcn_logits": ClassRows("things", shared=1)}

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x)
        return at_least_float32(logits)


class Heads(RoIHeads):
    """The heads with detectron2's losses: L1, and mask targets that are cropped by aligned pooling as features are."""

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """``loss_class``, ``loss_box`` and ``loss_mask`` over a sample of the proposals (Mask R-CNN, section 3).

        ``proposals`` per image (P, 4); ``targets`` as torchvision takes them, with labels from 1.
        """
        samples, matches, labels, offsets = self.select_training_samples(proposals, targets)
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(features, samples)))
        truth, count = torch.cat(labels), max(sum(map(len, labels)), 1)
        positive = truth.nonzero().squeeze(1)
        deltas = deltas.unflatten(1, (-1, 4))[positive, truth[positive]]
        boxes = [sample[label > 0] for sample, label in zip(samples, labels, strict=True)]
        matches = [match[label > 0] for match, label in zip(matches, labels, strict=True)]
        return {
            "loss_class": F.cross_entropy(logits, truth, reduction="sum") / count,
            "loss_box": F.l1_loss(deltas, torch.cat(offsets)[positive], reduction="sum") / count,
            "loss_mask": self._mask_loss(features, boxes, truth[positive], [t["masks"] for t in targets], matches),
        }

    def _mask_loss(
        self,
        features: Mapping[str, Tensor],
        boxes: Sequence[Tensor],
        labels: Tensor,
        masks: Sequence[Tensor],
        matches: Sequence[Tensor],
    ) -> Tensor:
        """Mean binary cross entropy of the masks of ``labels`` in ``boxes``; ``matches`` index the true masks."""
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes)))
        logits = logits[torch.arange(len(labels), device=labels.device), labels]
        parts = zip(masks, matches, boxes, strict=True)
        truth = torch.cat([cut_masks(*part, size=logits.shape[-1]) for part in parts]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / max(truth.numel(), 1)


class MaskRCNN(nn.Module):
    """Region proposals, then a class, a box and a mask for each (Panoptic-FPN, section 4; Mask R-CNN, section 3).

    Inference and losses follow detectron2: its anchors, aligned pooling, thresholds and order. One rule is
    torchvision's: detections narrower than 0.01 pixels are dropped before suppression, not after it. A subclass for
    other rules names other parts, as `MMDetectionMaskRCNN` does.

    Args:
        channels: channels of the pyramid.
        num_classes: C, without background.
        head_channels: width of the two fully connected layers.
        mask_channels: width of the mask convolutions.
        score_threshold: lowest score of a detection.
        nms: IoU above which the lower-scored of two boxes of one class is suppressed.
        detections_per_image: largest number of detections.
    """

    levels = ("p2", "p3", "p4", "p5", "p6")
    rules: ClassVar[str] = "detectron2"
    proposals: ClassVar[type[Proposals]] = Proposals
    heads: ClassVar[type[Heads]] = Heads
    pooler: ClassVar[type[PyramidPooler]] = PyramidPooler

    def __init__(
        self,
        channels: int = 256,
        num_classes: int = 80,
        head_channels: int = 1024,
        mask_channels: int = 256,
        score_threshold: float = 0.05,
        nms: float = 0.5,
        detections_per_image: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        anchors = Anchors((32, 64, 128, 256, 512), (4, 8, 16, 32, 64), ratios=(0.5, 1.0, 2.0))
        self.rpn = self.proposals(
            anchors,
            ProposalHead(channels, 3),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=RPN_SAMPLES,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 1000, "testing": 1000},
            nms_thresh=0.7,
        )
        self.rpn.min_size = 1e-9  # only empty boxes are dropped
        self.roi_heads = self.heads(
            self.pooler(7),
            TwoMLPHead(channels * 7**2, head_channels),
            _BoxPredictor(head_channels, num_classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=512,
            positive_fraction=0.25,
            bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
            score_thresh=score_threshold,
            nms_thresh=nms,
            detections_per_img=detections_per_image,
            mask_roi_pool=self.pooler(14),
            mask_head=MaskRCNNHeads(channels, (mask_channels,) * 4, dilation=1),
            mask_predictor=_MaskPredictor(mask_channels, mask_channels, num_classes + 1),
        )
        nn.init.normal_(self.roi_heads.box_predictor.cls_score.weight, std=0.01)
        for predictor in (self.roi_heads.box_predictor.bbox_pred, self.roi_heads.mask_predictor.mask_fcn_logits):
            nn.init.normal_(predictor.weight, std=0.001)
        for layer in (self.roi_heads.box_head.fc6, self.roi_heads.box_head.fc7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def truth(self, frame: Size, targets: Sequence[Target]) -> tuple[Sequence[Target], dict[str, Tensor]]:
        """See `InstanceBranch.truth`: the targets, and the number of ``images``, each giving a sample of fixed size."""
        return targets, {"images": torch.full((), len(targets), device=targets[0]["boxes"].device)}

    def losses(
        self,
        features: Mapping[str, Tensor],
        sizes: Sequence[Size],
        truth: Sequence[Target],
        normalizers: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """See `InstanceBranch.losses`; the targets need masks of the whole image.

        Returns:
            ``loss_rpn_class``, ``loss_rpn_box``, ``loss_class``, ``loss_box``, ``loss_mask``.
        """
        targets = [_shifted(target, features["p2"].dtype) for target in truth]
        proposals, rpn = self.rpn(images_of(sizes), self._read(features), targets)
        of_proposals = {"loss_rpn_class": rpn["loss_objectness"], "loss_rpn_box": rpn["loss_rpn_box_reg"]}
        terms = of_proposals | self.roi_heads.losses(features, proposals, targets)
        share = len(targets) / normalizers["images"]
        return {name: share * term for name, term in terms.items()}

    def raw(self, features: Features) -> dict[str, Tensor]:
        """See `InstanceBranch.raw`: per level ``<level>_objectness`` (N, A, h, w), ``<level>_deltas`` (N, 4 A, h, w),
        and the features that boxes are pooled from, under the level's own name.
        """
        maps = self._read(features)
        logits, deltas = self.rpn.head(list(maps.values()))
        of_proposals = {f"{name}_objectness": x for name, x in zip(maps, logits, strict=True)}
        return maps | of_proposals | {f"{name}_deltas": x for name, x in zip(maps, deltas, strict=True)}

    def select(self, raw: Mapping[str, Tensor], sizes: Sequence[Size]) -> list[Instances]:
        """See `InstanceBranch.select`. Boxes are clipped to their image."""
        maps = self._read(raw)
        logits, deltas = ([raw[f"{name}_{kind}"] for name in self.levels] for kind in ("objectness", "deltas"))
        proposals = self.rpn.propose(list(maps.values()), logits, deltas, sizes)
        found, _ = self.roi_heads(maps, proposals, list(sizes))
        return [Instances(x["boxes"], x["scores"], x["labels"] - 1, x["masks"][:, 0]) for x in found]

    def _read(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: features[name] for name in self.levels}


def _shifted(target: Target, dtype: torch.dtype) -> dict[str, Tensor]:
    """A target as torchvision wants it: labels from 1, because 0 is background, and no empty boxes."""
    if "masks" not in target and "instance_map" not in target:
        raise PanopticBlendError(
            "a target has `mask_targets` alone, but Mask R-CNN cuts out masks at its own proposals, not at true boxes"
            "; add `masks` or `instance_map`"
        )
    boxes = target["boxes"].to(torch.promote_types(dtype, torch.float32))
    keep = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return {"boxes": boxes[keep], "labels": target["labels"][keep] + 1, "masks": instance_masks(target)[keep]}
