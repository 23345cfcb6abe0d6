"""The multi-task model: one ResNet + FPN, a semantic head, and BlendMask's instance branch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from panoptic_blend.models import losses
from panoptic_blend.models.backbone import ResNet
from panoptic_blend.models.blender import TopLayer, blend, crop
from panoptic_blend.models.bottom import ProtoNet, ThingSemanticHead
from panoptic_blend.models.fcos import FCOSHead, LevelPredictions, unravel
from panoptic_blend.models.fcos_targets import Assignment, centerness
from panoptic_blend.models.fpn import FPN
from panoptic_blend.models.postprocess import Candidates, paste, rescale
from panoptic_blend.models.semantic import SemanticHead
from panoptic_blend.structures import IGNORE, Detections, Output, PanopticMap, Target

_STRIDE_LIMIT = 32
"""Images are padded to a multiple of the backbone's stride; coarser levels round up."""


class PanopticBlend(nn.Module):
    """Panoptic segmentation around shared features (BlendMask, figure 2 and appendix A).

    In training mode ``model(images, targets)`` gives the losses by name; in evaluation mode
    ``model(images, output_sizes=None)`` gives one `Output` per image.

    Args:
        roi_size: R, the side of pooled bases and of mask targets.
        semantic_weight: weight of the semantic loss; ``thing_semantic_weight`` of the auxiliary one.
        assign, decode, suppress, fuse: the functions of their modules with their settings bound.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: ResNet,
        fpn: FPN,
        fcos: FCOSHead,
        top_layer: TopLayer,
        bottom: ProtoNet,
        thing_semantic: ThingSemanticHead,
        semantic: SemanticHead,
        *,
        assign: Callable[..., Assignment],
        decode: Callable[..., Candidates],
        suppress: Callable[[Candidates], Candidates],
        fuse: Callable[[Detections, Any], PanopticMap],
        roi_size: int = 56,
        semantic_weight: float = 0.5,
        thing_semantic_weight: float = 0.3,
    ) -> None:
        super().__init__()
        self.backbone, self.fpn, self.fcos = backbone, fpn, fcos
        self.top_layer, self.bottom, self.thing_semantic, self.semantic = top_layer, bottom, thing_semantic, semantic
        self.assign, self.decode, self.suppress, self.fuse = assign, decode, suppress, fuse
        self.roi_size = roi_size
        self.semantic_weight, self.thing_semantic_weight = semantic_weight, thing_semantic_weight
        self.detection_levels = [name for name in fpn.levels if name != "p2"]
        self.strides = [2 ** int(name[1:]) for name in self.detection_levels]
        self.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]))
        self.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]))

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Target] | None = None,
        output_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Any:
        """Losses in training mode, outputs in evaluation mode.

        Args:
            images: each (3, H, W) RGB, uint8 or float in [0, 1]; sizes may differ.
            targets: one `Target` per image; needed in training mode.
            output_sizes: (H, W) per image at which results are wanted; the image's own size if absent.

        Returns:
            ``{"loss_class", "loss_box", "loss_centerness", "loss_mask", "loss_semantic",
            "loss_thing_semantic": scalar}``, or a list of `Output`.
        """
        if self.training:
            if targets is None or len(targets) != len(images):
                raise ValueError(f"training needs one target per image: {len(images)} images")
            return self.losses(images, targets)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        return self.predict(images, sizes, output_sizes or sizes)

    def batch(self, images: Sequence[Tensor]) -> Tensor:
        """Normalised images, padded with 0 at the bottom and right to one size: (N, 3, H, W)."""
        mean, std = self.pixel_mean[:, None, None], self.pixel_std[:, None, None]
        scaled = [image.to(mean) * 255 if image.is_floating_point() else image.to(mean) for image in images]
        return pad([(image - mean) / std for image in scaled], 0.0, _STRIDE_LIMIT)

    def features(self, batch: Tensor) -> tuple[dict[str, Tensor], list[LevelPredictions]]:
        """The pyramid and the detector's predictions on ``pad``ded images (N, 3, H, W)."""
        pyramid = self.fpn(self.backbone(batch))
        return pyramid, self.fcos([pyramid[name] for name in self.detection_levels], self.strides)

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        """Every weighted loss term; their plain sum is the objective (BlendMask, section 4; appendix A)."""
        pyramid, levels = self.features(self.batch(images))
        semantic = pad([t["semantic"].long() for t in targets], IGNORE, _STRIDE_LIMIT)
        logits = _upsample(precise(self.semantic(pyramid)), self.semantic.stride)
        things = pad([thing_semantic(t).long() for t in targets], 0, _STRIDE_LIMIT)
        thing_logits = precise(self.thing_semantic(pyramid["p3"]))
        return self._instance_losses(levels, precise(self.bottom(pyramid)), targets) | {
            "loss_semantic": self.semantic_weight * losses.semantic_loss(logits, semantic),
            "loss_thing_semantic": self.thing_semantic_weight * losses.semantic_loss(thing_logits, things[:, ::8, ::8]),
        }

    def _instance_losses(
        self, levels: Sequence[LevelPredictions], bases: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        boxes = [t["boxes"].to(bases.dtype) for t in targets]
        sizes = [(level.logits.shape[-2], level.logits.shape[-1]) for level in levels]
        num_classes = levels[0].logits.shape[1]
        truth: Assignment = self.assign(boxes, [t["labels"] for t in targets], sizes, self.strides, num_classes)
        positives = (truth.labels < num_classes).nonzero().squeeze(1)
        instances, distances = truth.instances[positives], truth.distances[positives]
        weights = centerness(distances)
        num_positives = torch.tensor(float(max(len(positives), 1)), device=bases.device)
        normalizer = weights.sum().clamp(min=1e-6)

        attentions = self.top_layer.at([level.features for level in levels], unravel(positives, sizes, len(targets)))
        crops = crop(bases, boxes, self.roi_size, self.bottom.stride)
        masks = torch.cat([mask_targets(t, self.roi_size) for t in targets])
        mask_logits = blend(crops.index_select(0, instances), precise(attentions))
        return {
            "loss_class": losses.class_loss(_flat(level.logits for level in levels), truth.labels, num_positives),
            "loss_box": losses.box_loss(
                _flat(level.distances for level in levels)[positives], distances, weights, normalizer
            ),
            "loss_centerness": losses.centerness_loss(
                _flat(level.centerness for level in levels)[positives, 0], weights, num_positives
            ),
            "loss_mask": losses.mask_loss(mask_logits, masks[instances].to(mask_logits.dtype), weights, normalizer),
        }

    def predict(
        self, images: Sequence[Tensor], sizes: Sequence[tuple[int, int]], output_sizes: Sequence[tuple[int, int]]
    ) -> list[Output]:
        """One `Output` per image of ``sizes``, in the frames of ``output_sizes``, each (H, W)."""
        pyramid, levels = self.features(self.batch(images))
        levels = [
            LevelPredictions(x.stride, precise(x.logits), precise(x.distances), precise(x.centerness), x.features)
            for x in levels
        ]
        bases, semantic = precise(self.bottom(pyramid)), precise(self.semantic(pyramid))
        frames = zip(sizes, output_sizes, strict=True)
        return [self._output(i, levels, bases[i], semantic[i], *frame) for i, frame in enumerate(frames)]

    def _output(
        self,
        image: int,
        levels: Sequence[LevelPredictions],
        bases: Tensor,
        semantic: Tensor,
        size: tuple[int, int],
        output_size: tuple[int, int],
    ) -> Output:
        """What image number ``image`` of the batch shows, given its bases (K, h, w) and logits (S + 1, h, w)."""
        kept = self.suppress(self.decode(levels, image))
        attentions = precise(self.top_layer.at([level.features for level in levels], kept.places))
        crops = crop(bases[None], [kept.boxes], self.roi_size, self.bottom.stride)
        probabilities = blend(crops, attentions).sigmoid()
        boxes = rescale(kept.boxes, size, output_size)
        visible = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        detections = Detections(
            boxes=boxes[visible],
            scores=kept.scores[visible],
            labels=kept.labels[visible],
            masks=paste(probabilities[visible], boxes[visible], output_size),
        )
        classes = semantic_classes(semantic, self.semantic.stride, size, output_size)
        height, width = (-(-side // self.bottom.stride) for side in size)
        return Output(
            **vars(detections),
            semantic=classes,
            panoptic=self.fuse(detections, classes),
            bases=bases[:, :height, :width],
            attentions=attentions[visible],
        )


def precise(x: Tensor) -> Tensor:
    """At least float32: what follows the network is computed there whatever the network runs in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def pad(maps: Sequence[Tensor], value: float, multiple: int) -> Tensor:
    """Stack (..., H, W) maps, padded at the bottom and right to the largest sides, rounded up to ``multiple``."""
    height, width = (-(-max(x.shape[axis] for x in maps) // multiple) * multiple for axis in (-2, -1))
    return torch.stack([F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value) for x in maps])


def mask_targets(target: Target, size: int) -> Tensor:
    """Every instance's mask inside its box, resampled to (G, R, R) bool (Mask R-CNN, section 3.1)."""
    if "mask_targets" in target:
        return target["mask_targets"]
    masks, boxes = target["masks"], target["boxes"].float()
    numbers = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)[:, None]
    values = roi_align(masks[:, None].float(), torch.cat([numbers, boxes], dim=1), size, aligned=True)
    return values.squeeze(1) >= 0.5


def thing_semantic(target: Target) -> Tensor:
    """Per pixel the thing label + 1, 0 where there is none (H, W); of overlapping masks the last one's."""
    if "thing_semantic" in target:
        return target["thing_semantic"]
    result = torch.zeros_like(target["semantic"], dtype=torch.int64)
    for mask, label in zip(target["masks"], target["labels"], strict=True):
        result[mask] = label + 1
    return result


def semantic_classes(logits: Tensor, stride: int, size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Best class (H, W) int64 of (S + 1, h, w) logits at ``stride``: upsampled, unpadded, resized (appendix A)."""
    full = _upsample(logits[None], stride)[:, :, : size[0], : size[1]]
    if output_size != size:
        full = F.interpolate(full, size=output_size, mode="bilinear", align_corners=False)
    return full[0].argmax(dim=0)


def _upsample(logits: Tensor, stride: int) -> Tensor:
    return F.interpolate(logits, scale_factor=float(stride), mode="bilinear", align_corners=False)


def _flat(maps: Any) -> Tensor:
    """(N, c, h, w) of every level as one (A, c), running over level, image, row, column."""
    return torch.cat([precise(x).permute(0, 2, 3, 1).flatten(0, 2) for x in maps])
