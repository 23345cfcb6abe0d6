"""The instance branch of Panoptic-FPN: Mask R-CNN (He et al., ICCV 2017), torchvision's parts by detectron2's rules."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import roi_align

from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.models.instance_branch import Features
from panoptic_blend.models.postprocess import Instances, cut_masks
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import PanopticBlendError, Size, Target

_RPN_SAMPLES = 256
"""Anchors per image that the loss of the proposals is computed on."""


class Anchors(nn.Module):
    """Boxes of one size and several shapes around every cell of a level (FPN, section 4.1).

    Unlike torchvision's they are not rounded, and they are the level's stride apart, whatever its size.

    Args:
        sizes: side of the square anchor of each level.
        strides: stride of each level.
        ratios: height over width.
    """

    def __init__(self, sizes: Sequence[float], strides: Sequence[int], ratios: Sequence[float]) -> None:
        super().__init__()
        self.sizes, self.strides, self.ratios = sizes, strides, ratios

    def num_anchors_per_location(self) -> list[int]:
        """The number of anchors per cell of each level; torchvision's RPN asks for it."""
        return [len(self.ratios)] * len(self.sizes)

    def forward(self, images: ImageList, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (A, 4) of every image, level by level, row by row; those of cell (0, 0) are centered on (0, 0)."""
        levels = zip(features, self.sizes, self.strides, strict=True)
        anchors = torch.cat([self._level(feature, size, stride) for feature, size, stride in levels])
        return [anchors] * len(images.image_sizes)

    def _level(self, feature: Tensor, size: float, stride: int) -> Tensor:
        dtype = torch.promote_types(feature.dtype, torch.float32)
        widths = [size / math.sqrt(ratio) for ratio in self.ratios]
        shapes = [(width / 2, ratio * width / 2) for width, ratio in zip(widths, self.ratios, strict=True)]
        half = torch.tensor(shapes, dtype=dtype, device=feature.device)
        rows, columns = (torch.arange(n, device=feature.device) * stride for n in feature.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        center = torch.stack([x, y], dim=-1)[:, :, None]
        return torch.cat([center - half, center + half], dim=-1).reshape(-1, 4)


class PyramidPooler(nn.Module):
    """Aligned RoIAlign on the level that suits the size of a box (FPN, eq. 1), in at least float32."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], image_shapes: object = None) -> Tensor:
        """Pooled features (sum of D, c, size, size) of ``boxes``, per image (D, 4), in their order."""
        numbers = [boxes[0].new_full((len(b), 1), i) for i, b in enumerate(boxes)]
        rois = torch.cat([torch.cat(numbers), torch.cat(list(boxes))], dim=1)
        sides = rois[:, 3:] - rois[:, 1:3]
        levels = (4 + torch.log2(sides.prod(dim=1).sqrt() / 224 + 1e-8)).floor().clamp(2, 5)
        places, pooled = [], []
        for level in (2, 3, 4, 5):
            places.append((levels == level).nonzero().squeeze(1))
            feature = at_least_float32(features[f"p{level}"])
            of_level = rois[places[-1]].to(feature.dtype)
            pooled.append(roi_align(feature, of_level, self.size, 1 / 2**level, sampling_ratio=0, aligned=True))
        return torch.cat(pooled).index_select(0, torch.argsort(torch.cat(places)))


class _ProposalHead(RPNHead):
    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, deltas = super().forward(x)
        return [at_least_float32(y) for y in logits], [at_least_float32(y) for y in deltas]


class _BoxPredictor(FastRCNNPredictor):
    class_layers = ("cls_score", "bbox_pred")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return at_least_float32(logits), at_least_float32(deltas)


class _MaskPredictor(MaskRCNNPredictor):
    class_layers = ("mask_fcn_logits",)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x)
        return at_least_float32(logits)


class _Proposals(RegionProposalNetwork):
    """The RPN with detectron2's loss: L1 instead of smooth L1, divided by the nominal number of samples."""

    def propose(
        self, features: list[Tensor], logits: list[Tensor], deltas: list[Tensor], sizes: Sequence[Size]
    ) -> list[Tensor]:
        """The proposals (P, 4) of every image, from what the head predicted on every level."""
        anchors = self.anchor_generator(_images(sizes), features)
        counts = [level[0].numel() for level in logits]
        objectness, offsets = concat_box_prediction_layers(logits, deltas)
        boxes = self.box_coder.decode(offsets, anchors).unflatten(0, (len(sizes), -1)).flatten(2)
        proposals, _ = self.filter_proposals(boxes, objectness, list(sizes), counts)
        return proposals

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Losses of the classes and boxes of all anchors (N * A, ...); ``labels`` are 1, 0, or -1 for ignored ones."""
        positive, negative = (torch.cat(chosen).bool() for chosen in self.fg_bg_sampler(labels))
        sampled, logits = positive | negative, objectness.flatten()
        truth = torch.cat(labels).to(logits.dtype)
        classes = F.binary_cross_entropy_with_logits(logits[sampled], truth[sampled], reduction="sum")
        deltas = torch.cat(regression_targets).to(pred_bbox_deltas.dtype)
        boxes = F.l1_loss(pred_bbox_deltas[positive], deltas[positive], reduction="sum")
        normalizer = _RPN_SAMPLES * len(labels)
        return classes / normalizer, boxes / normalizer


class _Heads(RoIHeads):
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
    torchvision's: detections narrower than 0.01 pixels are dropped before suppression, not after it.

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
        self.rpn = _Proposals(
            anchors,
            _ProposalHead(channels, 3),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=_RPN_SAMPLES,
            positive_fraction=0.5,
            pre_nms_top_n={"training": 2000, "testing": 1000},
            post_nms_top_n={"training": 1000, "testing": 1000},
            nms_thresh=0.7,
        )
        self.rpn.min_size = 1e-9  # only empty boxes are dropped
        self.roi_heads = _Heads(
            PyramidPooler(7),
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
            mask_roi_pool=PyramidPooler(14),
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

    def loss_normalizers(self, frame: Size, targets: Sequence[Target]) -> dict[str, Tensor]:
        """See `InstanceBranch.loss_normalizers`: the number of ``images``, as each gives a sample of fixed size."""
        return {"images": torch.tensor(len(targets), device=targets[0]["boxes"].device)}

    def losses(
        self,
        features: Mapping[str, Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Target],
        normalizers: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """See `InstanceBranch.losses`; the targets need masks of the whole image.

        Returns:
            ``loss_rpn_class``, ``loss_rpn_box``, ``loss_class``, ``loss_box``, ``loss_mask``.
        """
        truth = [_shifted(target, features["p2"].dtype) for target in targets]
        proposals, rpn = self.rpn(_images(sizes), self._read(features), truth)
        of_proposals = {"loss_rpn_class": rpn["loss_objectness"], "loss_rpn_box": rpn["loss_rpn_box_reg"]}
        terms = of_proposals | self.roi_heads.losses(features, proposals, truth)
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


def _images(sizes: Sequence[Size]) -> ImageList:
    """An image list that holds sizes only, which is all that the region proposals read."""
    return ImageList(torch.empty(0), list(sizes))


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
