"""The instance branch of BlendMask: boxes from FCOS, bases of the whole image, and attentions that blend them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from panoptic_blend.models import losses
from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.models.blender import TopLayer
from panoptic_blend.models.blendmask_truth import Positives, Truth, mask_targets, things_of
from panoptic_blend.models.bottom import BottomModule, ThingSemanticHead
from panoptic_blend.models.fcos import FCOSHead, LevelPredictions, flat
from panoptic_blend.models.fcos_targets import Assignment, iou
from panoptic_blend.models.instance_branch import Features
from panoptic_blend.models.kernels import KernelMerge
from panoptic_blend.models.mask_scoring import MaskScorer, mask_iou
from panoptic_blend.models.postprocess import Candidates, Instances, rescore
from panoptic_blend.structures import IGNORE, Size, Target


class BlendMask(nn.Module):
    """From the features of an image to its instances (BlendMask, figure 2).

    Args:
        top_layer: predicts attentions, or kernels for a `KernelMerge`; None for a merge without them.
        bottom: features to bases (N, K, H/s, W/s), with its ``stride`` s.
        thing_semantic: the auxiliary head, used in training only; None leaves its loss out.
        levels: names of the pyramid levels that FCOS reads, finest first.
        roi_size: R, the side of pooled bases and of mask targets.
        crop: `blender.crop` with its settings bound.
        merge: `blender.blend` or `blender.assemble` with its settings bound, or a `KernelMerge`.
        assign, decode, suppress: the functions of those names with their settings bound.
        align: assigns locations anew, as `task_aligned.align` does; None to keep what ``assign`` found.
        thing_semantic_weight: weight of the auxiliary loss.
        dice_weight: weight of the dice loss within that of masks.
        quality: what the quality layer of ``fcos`` learns: ``centerness`` or ``iou``; without such a layer, classes
            learn the IoU.
        scorer: gives the factors (D,) of scores from crops and mask logits: `mask_scoring.maskness`, or a `MaskScorer`,
            which is trained.
    """

    def __init__(
        self,
        fcos: FCOSHead,
        top_layer: TopLayer | None,
        bottom: BottomModule,
        thing_semantic: ThingSemanticHead | None,
        *,
        levels: Sequence[str],
        roi_size: int,
        crop: Callable[..., Tensor],
        merge: Callable[..., Tensor],
        assign: Callable[..., Assignment],
        decode: Callable[..., Candidates],
        suppress: Callable[[Candidates], Candidates],
        thing_semantic_weight: float = 0.3,
        dice_weight: float = 0.0,
        quality: Literal["centerness", "iou", "joint"] = "centerness",
        scorer: Callable[[Tensor, Tensor], Tensor] | None = None,
        align: Callable[..., Positives] | None = None,
    ) -> None:
        super().__init__()
        self.fcos, self.top_layer, self.bottom, self.thing_semantic = fcos, top_layer, bottom, thing_semantic
        self.crop, self.merge, self.assign, self.decode, self.suppress = crop, merge, assign, decode, suppress
        self.levels = tuple(levels)
        self.strides = [2 ** int(name[1:]) for name in levels]
        self.num_classes, self.roi_size = fcos.class_logits.out_channels, roi_size
        self.thing_semantic_weight, self.dice_weight = thing_semantic_weight, dice_weight
        self.quality, self.scorer, self.align = quality, scorer, align
        self.fields = ("logits", "distances", *(("centerness",) if fcos.centerness else ()), "features")
        """The tensors of `LevelPredictions`."""

    def detect(self, features: Features) -> list[LevelPredictions]:
        """The detector's predictions on every level; those that losses and decoding read are at least float32."""
        levels = self.fcos([features[name] for name in self.levels], self.strides)
        return [
            replace(x, **{name: at_least_float32(getattr(x, name)) for name in self.fields if name != "features"})
            for x in levels
        ]

    def truth(self, frame: tuple[int, int], targets: Sequence[Target]) -> tuple[Truth, dict[str, Tensor]]:
        """See `InstanceBranch.truth`.

        Its normalizers are ``positives``, the number of positive locations; ``centerness``, the sum of their
        center-ness; and ``thing_pixels``, the pixels that the loss of the auxiliary head counts, if there is one.
        """
        sizes = [(-(-frame[0] // stride), -(-frame[1] // stride)) for stride in self.strides]
        boxes, labels = [t["boxes"] for t in targets], [t["labels"] for t in targets]
        dtype = self.fcos.distances.weight.dtype
        found = self.assign([x.to(dtype) for x in boxes], labels, sizes, self.strides, self.num_classes)
        truth = Truth(
            Positives.of(found, sizes, len(targets), self.num_classes),
            boxes,
            torch.cat(labels),
            torch.cat([mask_targets(t, self.roi_size) for t in targets]),
            None if self.thing_semantic is None else things_of(targets),
        )
        is_positive = found.labels < self.num_classes
        normalizers = {"positives": is_positive.sum(), "centerness": truth.positives.weights.sum()}
        if truth.things is not None:
            normalizers["thing_pixels"] = (truth.things != IGNORE).sum()
        return truth, normalizers

    def losses(
        self, features: Features, sizes: Sequence[Size], truth: Truth, normalizers: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """See `InstanceBranch.losses`; the terms are those of BlendMask, section 4.

        Returns:
            ``loss_class``, ``loss_box``, ``loss_centerness`` or ``loss_iou`` if there is a quality layer,
            ``loss_mask``, ``loss_mask_iou`` if there is a `MaskScorer`, and ``loss_thing_semantic`` if there is an
            auxiliary head.
        """
        terms = self._instance_losses(
            self.detect(features), at_least_float32(self.bottom(features)), truth, normalizers
        )
        if self.thing_semantic is not None:
            assert truth.things is not None
            logits = at_least_float32(self.thing_semantic(features["p3"]))
            loss = losses.semantic_loss(logits, truth.things, normalizers["thing_pixels"].clamp(min=1))
            terms["loss_thing_semantic"] = self.thing_semantic_weight * loss
        return terms

    def _instance_losses(
        self, levels: Sequence[LevelPredictions], bases: Tensor, truth: Truth, normalizers: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        at = truth.positives if self.align is None else self.align(truth, levels, self.num_classes)
        num_positives, normalizer = normalizers["positives"].clamp(min=1), normalizers["centerness"].clamp(min=1e-6)
        crops = self.crop(bases, [boxes.to(bases.dtype) for boxes in truth.boxes]).index_select(0, at.instances)
        mask_logits = self.merge(crops, self._attentions(levels, at.places, at.counts))
        masks = truth.masks[at.instances]
        distances = flat(level.distances for level in levels)[at.numbers]
        terms = self._class_losses(levels, at, distances, num_positives)
        return {
            "loss_class": terms.pop("loss_class"),
            "loss_box": losses.box_loss(distances, at.distances, at.weights, normalizer),
            **terms,
            "loss_mask": losses.mask_loss(
                mask_logits, masks.to(mask_logits.dtype), at.weights, normalizer, self.dice_weight
            ),
            **self._scorer_loss(crops, mask_logits, masks, num_positives),
        }

    def _scorer_loss(self, crops: Tensor, logits: Tensor, masks: Tensor, num_positives: Tensor) -> dict[str, Tensor]:
        """The squared error of a `MaskScorer` (Mask Scoring R-CNN, section 3.2), if there is one."""
        if not isinstance(self.scorer, MaskScorer):
            return {}
        errors = self.scorer(crops, logits) - mask_iou(logits, masks)
        return {"loss_mask_iou": errors.square().sum() / num_positives}

    def _class_losses(
        self, levels: Sequence[LevelPredictions], at: Positives, distances: Tensor, num_positives: Tensor
    ) -> dict[str, Tensor]:
        """The losses of classes and of the quality layer; ``distances`` (P, 4) are predicted."""
        logits = flat(level.logits for level in levels)
        quality = at.weights if self.quality == "centerness" else iou(distances, at.distances)
        if self.quality == "joint":
            quality = quality if at.qualities is None else at.qualities
            qualities = quality.new_zeros(len(logits)).index_copy(0, at.numbers, quality)
            return {"loss_class": losses.quality_focal_loss(logits, at.labels, qualities, num_positives)}
        predicted = flat(level.centerness for level in levels if level.centerness is not None)[at.numbers, 0]
        return {
            "loss_class": losses.class_loss(logits, at.labels, num_positives),
            f"loss_{self.quality}": losses.centerness_loss(predicted, quality, num_positives),
        }

    def _attentions(
        self, levels: Sequence[LevelPredictions], places: Tensor, counts: Sequence[int] | None = None
    ) -> Tensor | None:
        """Attentions (P, K, M, M), or kernels (P, T, 1, 1), at ``places`` (P, 4); None without a top layer."""
        if self.top_layer is None:
            return None
        return at_least_float32(self.top_layer.at([level.features for level in levels], places, counts))

    def raw(self, features: Features) -> dict[str, Tensor]:
        """See `InstanceBranch.raw`: every field of `LevelPredictions` as ``<level>_<field>``, and ``bases``."""
        levels = zip(self.levels, self.detect(features), strict=True)
        tensors = {f"{name}_{field}": getattr(level, field) for name, level in levels for field in self.fields}
        return tensors | {"bases": at_least_float32(self.bottom(features))}

    def select(self, raw: Mapping[str, Tensor], sizes: Sequence[Size]) -> list[Instances]:
        """See `InstanceBranch.select`."""
        levels = [
            LevelPredictions(
                stride,
                raw[f"{name}_logits"],
                raw[f"{name}_distances"],
                raw.get(f"{name}_centerness"),
                raw[f"{name}_features"],
            )
            for name, stride in zip(self.levels, self.strides, strict=True)
        ]
        return [self._select(number, levels, raw["bases"], size) for number, size in enumerate(sizes)]

    def _select(self, image: int, levels: Sequence[LevelPredictions], bases: Tensor, size: Size) -> Instances:
        """The instances of image number ``image`` of the batch."""
        kept = self.suppress(self.decode(levels, image))
        attentions = self._attentions(levels, kept.places)
        bases = bases[image : image + 1]
        height, width = (-(-side // self.bottom.stride) for side in size)
        crops = self.crop(bases, [kept.boxes])
        logits = self.merge(crops, attentions)
        found = Instances(
            boxes=kept.boxes,
            scores=kept.scores,
            labels=kept.labels,
            probabilities=logits.sigmoid(),
            bases=bases[0, :, :height, :width],
            attentions=None if isinstance(self.merge, KernelMerge) else attentions,
            places=kept.places,
        )
        return rescore(found, self.scorer(crops, logits)) if self.scorer else found
