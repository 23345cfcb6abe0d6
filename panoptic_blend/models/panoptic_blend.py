"""The multi-task model: one backbone + FPN, a semantic head, and an instance branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models import losses
from panoptic_blend.models.backbones.protocol import Backbone
from panoptic_blend.models.batching import frame, pad
from panoptic_blend.models.fpn import FPN
from panoptic_blend.models.inputs import Doubts, checked_images
from panoptic_blend.models.instance_branch import InstanceBranch, TrainingBatch
from panoptic_blend.models.lovasz import lovasz_softmax, present
from panoptic_blend.models.postprocess import Instances, to_output
from panoptic_blend.models.semantic import SemanticHead
from panoptic_blend.models.targets import Classes, checked_targets
from panoptic_blend.postprocessing.pasting import paste
from panoptic_blend.structures import (
    IGNORE,
    THING_CLASS,
    Output,
    PanopticBlendError,
    PanopticMap,
    Size,
    Target,
)

_TILE = 64
"""Side of the square tiles in which semantic classes are computed, in pixels."""
_AT_ONCE = 2**28
"""How many values of semantic classes a GPU computes at once: 1 GiB of them."""


class PanopticBlend(nn.Module):
    """Panoptic segmentation around shared features (BlendMask, figure 2 and appendix A).

    In training mode ``model(images, targets)`` gives the losses by name; in evaluation mode
    ``model(images, output_sizes=None)`` gives one `Output` per image. These two and `prepared` check what they are
    given. The other methods are parts of them: they trust their arguments, and their labels start at 0.

    Args:
        instances: the instance branch.
        semantic: the semantic head; None makes an instance model: its maps hold things only.
        calibrate: `calibration.calibrate` with its settings bound.
        paint: `fusion.paint` with its settings bound.
        to_output: moves instances to the frame of the output, as `postprocess.to_output` does.
        semantic_weight: weight of the semantic loss.
        lovasz_weight: weight of `lovasz.lovasz_softmax`, which is added if it is above 0.
        labels_from: the label of the first thing in targets and outputs: 0, or 1 as in torchvision's detection models.
    """

    backbone: Backbone
    instances: InstanceBranch
    is_folded = False
    """Whether `folding.fold_norms` has changed the network, which can then predict and nothing else."""
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        fpn: FPN,
        instances: InstanceBranch,
        semantic: SemanticHead | None,
        *,
        calibrate: Callable[[Tensor], Tensor],
        paint: Callable[..., PanopticMap],
        to_output: Callable[[Instances, Size, Size], Instances] = to_output,
        semantic_weight: float = 0.5,
        lovasz_weight: float = 0.0,
        labels_from: int = 0,
    ) -> None:
        super().__init__()
        if labels_from not in (0, 1):
            raise PanopticBlendError(f"labels_from={labels_from!r}: labels start at 0 or 1; give one of these")
        self.backbone, self.fpn, self.semantic = backbone, fpn, semantic
        self.instances = instances
        self.calibrate, self.paint, self.to_output = calibrate, paint, to_output
        self.semantic_weight, self.lovasz_weight = semantic_weight, lovasz_weight
        num_stuff = None if semantic is None else semantic.predictor.out_channels - 1
        self.classes = Classes(instances.num_classes, num_stuff, labels_from)
        self.register_buffer("pixel_mean", torch.tensor(backbone.pixels.mean))
        self.register_buffer("pixel_std", torch.tensor(backbone.pixels.std))

    def forward(
        self,
        images: Sequence[Tensor] | TrainingBatch,
        targets: Sequence[Target] | None = None,
        output_sizes: Sequence[Size] | None = None,
        normalizers: Mapping[str, Tensor] | None = None,
    ) -> Any:
        """Losses in training mode, outputs in evaluation mode.

        Args:
            images: each (3, H, W) RGB, uint8 or float in [0, 1]; sizes may differ. In training mode also what
                `prepared` made of images and targets.
            targets: one `Target` per image; needed in training mode, and not read in evaluation mode.
            output_sizes: (H, W) per image at which results are wanted; the image's own size if absent.
            normalizers: sums of `TrainingBatch.normalizers` over all images of an optimizer step, where ``images`` are
                only a part of them (on one of several devices, or of a batch taken in turns); the losses are then
                this part's share of the losses of the step.

        Returns:
            ``{"loss_semantic": scalar, ...}`` with the terms of the instance branch, or a list of `Output`.

        Raises:
            PanopticBlendError: an image or a target is not what it should be; the message names image and key.
        """
        if self.training:
            self._require_trainable()
            batch = images if isinstance(images, TrainingBatch) else self.prepared(images, targets)
            return self.losses(batch, normalizers or batch.normalizers)
        given = targets if isinstance(targets, Sequence) else [targets]
        if targets is not None and not all(isinstance(target, Mapping) for target in given):
            raise PanopticBlendError("the second argument is not a list of targets; pass sizes as output_sizes=...")
        doubts = Doubts()
        images = checked_images(images, doubts)
        doubts.settle()
        wanted = _sizes(images) if output_sizes is None else output_sizes
        if len(wanted) != len(images):
            raise PanopticBlendError(f"{len(wanted)} output_sizes for {len(images)} images; give one per image")
        return [self._numbered(output) for output in self.predict(images, wanted)]

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; raises PanopticBlendError for the training of a folded network."""
        if mode:
            self._require_trainable()
        return super().train(mode)

    def _require_trainable(self) -> None:
        if self.is_folded:
            raise PanopticBlendError(
                "this model was optimized for prediction and cannot be trained: its norms are folded into convolutions"
                "; train a new one: model = build_model(predictor.config), then load_weights(model, the same file)"
            )

    def prepared(self, images: Any, targets: Any) -> TrainingBatch:
        """Images and targets, checked, as training takes them."""
        doubts = Doubts()
        listed = checked_images(images, doubts)
        found = checked_targets(targets, _sizes(listed), self.classes, self.pixel_mean.device, doubts)
        doubts.settle()
        return self.training_batch(listed, found)

    def training_batch(self, images: Sequence[Tensor], targets: Sequence[Target]) -> TrainingBatch:
        """Images and targets as training takes them; done before the forward pass, because a GPU waits for it."""
        truth, normalizers = self.instances.truth(frame(images), targets)
        semantic = [] if self.semantic is None else [t["semantic"] for t in targets]
        if semantic:
            normalizers["pixels"] = torch.stack([(x != IGNORE).sum() for x in semantic]).sum()
        if self.semantic is not None and self.lovasz_weight:
            num_classes = self.semantic.predictor.out_channels
            normalizers["classes"] = torch.stack(
                [present(self._cells(x[None]), num_classes).sum() for x in semantic]
            ).sum()
        return TrainingBatch(images, truth, semantic, normalizers)

    def _numbered(self, output: Output) -> Output:
        """The output with labels from ``labels_from`` on."""
        if not self.classes.labels_from:
            return output
        segments = [
            replace(segment, category=segment.category + self.classes.labels_from) if segment.is_thing else segment
            for segment in output.panoptic.segments
        ]
        labels = output.labels + self.classes.labels_from
        return replace(output, labels=labels, panoptic=replace(output.panoptic, segments=segments))

    def batch(self, images: Sequence[Tensor]) -> Tensor:
        """Normalize images and pad them with 0 at the bottom and right to one size: (N, 3, H, W)."""
        mean, std = self.pixel_mean[:, None, None], self.pixel_std[:, None, None]
        scaled = [image.to(mean) * 255 if image.is_floating_point() else image.to(mean) for image in images]
        return pad([(image - mean) / std for image in scaled], 0.0)

    def features(self, batch: Tensor) -> dict[str, Tensor]:
        """Every map that a branch may read, by name, from a batch (N, 3, H, W).

        The maps are stages ``c2``-``c5`` of the backbone, the levels of the pyramid, and the semantic head's ``trunk``.
        """
        stages = self.backbone(batch)
        pyramid = self.fpn(stages)
        trunk = {} if self.semantic is None else {"trunk": self.semantic.trunk(pyramid)}
        return stages | pyramid | trunk

    def losses(self, batch: TrainingBatch, normalizers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every weighted loss term; their plain sum is the objective (BlendMask, section 4; appendix A)."""
        features = self.features(self.batch(batch.images))
        terms = self.instances.losses(features, _sizes(batch.images), batch.truth, normalizers)
        if self.semantic is not None:
            logits = self.semantic.logits(features["trunk"])
            truth = pad([x.long() for x in batch.semantic], IGNORE)
            pixels = normalizers["pixels"].clamp(min=1)
            loss = losses.upsampled_semantic_loss(logits, self.semantic.stride, truth, pixels)
            terms["loss_semantic"] = self.semantic_weight * loss
            if self.lovasz_weight:
                loss = lovasz_softmax(logits, self._cells(truth), normalizers["classes"].clamp(min=1))
                terms["loss_lovasz"] = self.lovasz_weight * loss
        return terms

    def _cells(self, maps: Tensor) -> Tensor:
        """The pixels of maps (N, H, W) in the middle of the cells of semantic logits: (N, H/4, W/4) int64."""
        assert self.semantic is not None
        stride = self.semantic.stride
        return maps[:, stride // 2 :: stride, stride // 2 :: stride].long()

    def predict(self, images: Sequence[Tensor], output_sizes: Sequence[Size]) -> list[Output]:
        """One `Output` per image, in the frames of ``output_sizes``, each (H, W)."""
        return self.outputs(self.raw(self.batch(images)), _sizes(images), output_sizes)

    def raw(self, batch: Tensor) -> dict[str, Tensor]:
        """The network up to its raw predictions: tensors to tensors, so that it can be exported.

        Args:
            batch: (N, 3, H, W) as `batch` makes it; H and W are multiples of 32.

        Returns:
            The tensors of `InstanceBranch.raw`, and ``semantic_logits`` (N, S + 1, H/4, W/4) of a panoptic model.
        """
        features = self.features(batch)
        tensors = self.instances.raw(features)
        if self.semantic is not None:
            tensors["semantic_logits"] = self.semantic.logits(features["trunk"])
        return tensors

    def outputs(self, raw: Mapping[str, Tensor], sizes: Sequence[Size], output_sizes: Sequence[Size]) -> list[Output]:
        """Turn what `raw` returned into one `Output` per image.

        Args:
            raw: tensors of a batch.
            sizes: (H, W) of its images without padding.
            output_sizes: (H, W) at which results are wanted.
        """
        found = [replace(x, scores=self.calibrate(x.scores)) for x in self.instances.select(raw, sizes)]
        if self.semantic is None:
            classes = [torch.full(size, THING_CLASS, device=self.pixel_mean.device) for size in output_sizes]
        else:
            frames = zip(raw["semantic_logits"], sizes, output_sizes, strict=True)
            classes = [semantic_classes(x, self.semantic.stride, *pair) for x, *pair in frames]
        return [self.compose(*parts) for parts in zip(found, sizes, output_sizes, classes, strict=True)]

    def compose(self, found: Instances, size: Size, output_size: Size, classes: Tensor) -> Output:
        """Move the instances of an image of ``size`` to ``output_size``, and fuse them with its ``classes`` there."""
        found = self.to_output(found, size, output_size)
        cutouts = paste(found.probabilities, found.boxes, output_size)
        return Output(
            found.boxes,
            found.scores,
            found.labels,
            cutouts,
            semantic=classes,
            panoptic=self.paint(cutouts, found.scores, found.labels, classes),
            bases=found.bases,
            attentions=found.attentions,
        )


def semantic_classes(logits: Tensor, stride: int, size: Size, output_size: Size) -> Tensor:
    """Upsample logits (S + 1, h, w) by ``stride``, cut off the padding, resize, and take the best class (appendix A).

    The three steps are linear, so one matrix for the rows and one for the columns do all of them; only one tile of
    the result exists at a time. On a GPU, where each tile would be waited for, maps that are not too large are computed
    at once. Returns (H, W) int64.
    """
    if logits.device.type != "cpu" and len(logits) * output_size[0] * output_size[1] <= _AT_ONCE:
        return classes_at_once(logits, stride, size, output_size)
    rows, columns = (
        _tiles(_resizing(cells, stride, side, output_side, logits))
        for cells, side, output_side in zip(logits.shape[1:], size, output_size, strict=True)
    )
    cells = logits.permute(1, 2, 0)
    bands = []
    with torch.autocast(logits.device.type, enabled=False):
        for down, vertical in rows:
            band = (down @ cells[vertical].flatten(1)).unflatten(1, cells.shape[1:])
            bands.append(torch.cat([(along @ band[:, across]).argmax(dim=2) for along, across in columns], dim=1))
    return torch.cat(bands)


def classes_at_once(logits: Tensor, stride: int, size: Size, output_size: Size) -> Tensor:
    """`semantic_classes` in the three steps of its definition, with all values of all classes in memory."""
    with torch.autocast(logits.device.type, enabled=False):
        full = F.interpolate(logits[None], scale_factor=float(stride), mode="bilinear", align_corners=False)
        cut = full[:, :, : size[0], : size[1]]
        return F.interpolate(cut, size=output_size, mode="bilinear", align_corners=False)[0].argmax(dim=0)


def _tiles(weights: Tensor) -> list[tuple[Tensor, slice]]:
    """Split weights (n, cells) into parts of `_TILE` rows, each with the slice of cells that its rows read."""
    parts = []
    for part in weights.split(_TILE):
        read = part.any(dim=0).nonzero()
        window = slice(int(read[0]), int(read[-1]) + 1)
        parts.append((part[:, window], window))
    return parts


def _resizing(cells: int, stride: int, side: int, output_side: int, like: Tensor) -> Tensor:
    """The matrix (output_side, cells) that upsamples by ``stride``, cuts to ``side`` and resizes to ``output_side``."""
    unit = torch.eye(cells, dtype=like.dtype, device=like.device)[None]
    full = F.interpolate(unit, scale_factor=float(stride), mode="linear", align_corners=False)[:, :, :side]
    return F.interpolate(full, size=output_side, mode="linear", align_corners=False)[0].T


def _sizes(images: Sequence[Tensor]) -> list[Size]:
    return [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
