"""The targets that callers give to `PanopticBlend`: torchvision's convention, checked and brought to one form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from panoptic_blend.models.inputs import Doubts, dtype_of, refuse, shape_of
from panoptic_blend.structures import IGNORE, Size, Target

_MAPS = ("masks", "instance_map", "mask_targets")
"""The forms in which a target may hold its masks."""


@dataclass(frozen=True)
class Classes:
    """The classes that targets may name: C things whose labels count from ``labels_from``, and S stuff classes.

    ``num_stuff`` is None for a model without a semantic head, which needs no semantic maps.
    """

    num_things: int
    num_stuff: int | None
    labels_from: int = 0


def checked_targets(
    targets: Any, sizes: Sequence[Size], classes: Classes, device: torch.device, doubts: Doubts
) -> list[Target]:
    """Targets as the branches read them: labels from 0 in int64, masks in bool, boxes (G, 4), no other keys.

    Args:
        targets: one mapping per image as torchvision's detection models take it. Keys that neither it nor `Target`
            has are dropped. Instances with ``iscrowd`` get empty boxes, which make them no examples.
        sizes: (H, W) of the images.
        classes: what the labels and maps may hold.
        device: where the model is.
        doubts: gets the conditions on values; nothing is known to be right until they are settled.

    Raises:
        PanopticBlendError: a target is of another form.
    """
    if targets is None:
        refuse("training needs targets", "call model(images, targets), or model.eval() to predict")
    if isinstance(targets, Mapping) or not isinstance(targets, Sequence):
        refuse(f"targets are a {type(targets).__name__}", "give a list with a dictionary for each image")
    if len(targets) != len(sizes):
        refuse(f"there are {len(targets)} targets for {len(sizes)} images", "give one target per image")
    return [
        _Checker(f"image {number}", size, classes, device, doubts).target(target)
        for number, (target, size) in enumerate(zip(targets, sizes, strict=True))
    ]


def instance_masks(target: Target) -> Tensor:
    """The masks (G, H, W) bool of a target, derived from its ``instance_map`` if it has no ``masks``."""
    if "masks" in target:
        return target["masks"]
    first, *others = target["instance_map"].reshape(-1, *target["instance_map"].shape[-2:])
    count = len(target["labels"])
    dtype = first.dtype if count <= torch.iinfo(first.dtype).max else torch.int64
    numbers = torch.arange(1, count + 1, dtype=dtype, device=first.device)[:, None, None]
    masks = first == numbers
    for layer in others:
        masks |= layer == numbers
    return masks


@dataclass(frozen=True)
class _Checker:
    """Checks the target of one image."""

    where: str
    size: Size
    classes: Classes
    device: torch.device
    doubts: Doubts

    def target(self, given: Any) -> Target:
        if not isinstance(given, Mapping):
            refuse(f"{self.where}: its target is a {type(given).__name__}", "give a dictionary with `boxes`, ...")
        labels = self._labels(self._tensor(given, "labels", "(G,) int64"))
        boxes = self._boxes(self._tensor(given, "boxes", "(G, 4) float"), len(labels))
        target: Target = {"boxes": boxes, "labels": labels}
        if not any(key in given for key in _MAPS):
            refuse(f"{self.where}: no `masks`", "add (G, H, W) bool, the pixels of each instance")
        if "masks" in given:
            target["masks"] = self._masks(self._tensor(given, "masks", ""), boxes)
        if "instance_map" in given:
            target["instance_map"] = self._map(given, "instance_map", len(labels), ignored=False, is_layered=True)
        if "mask_targets" in given:
            target["mask_targets"] = self._mask_targets(self._tensor(given, "mask_targets", ""), len(labels))
        if "thing_semantic" in given:
            target["thing_semantic"] = self._map(given, "thing_semantic", self.classes.num_things)
        if self.classes.num_stuff is not None:
            target["semantic"] = self._map(given, "semantic", self.classes.num_stuff)
        if "iscrowd" in given:
            target["boxes"] = boxes * self._is_single(given["iscrowd"], len(labels))[:, None]
        return target

    def _tensor(self, given: Mapping[str, Any], key: str, form: str) -> Tensor:
        if key not in given:
            advice = f"add {form}"
            if key == "semantic":
                advice += ", or set model.semantic.enabled=false for instances alone"
            refuse(f"{self.where}: no `{key}`", advice)
        value = given[key]
        if not isinstance(value, Tensor):
            refuse(f"{self.where}: `{key}` is a {type(value).__name__}", f"give torch.as_tensor({key})")
        if value.layout is not torch.strided:
            refuse(f"{self.where}: `{key}` is sparse", f"give {key}.to_dense()")
        if value.device != self.device:
            places = f"on {value.device}, the model on {self.device}"
            refuse(f"{self.where}: `{key}` is {places}", "move both to one device")
        if (layout := getattr(value, "format", None)) is not None and getattr(layout, "name", "XYXY") != "XYXY":
            refuse(f"{self.where}: `{key}` are in the format {layout.name}", 'convert them with box_convert to "xyxy"')
        return value.as_subclass(Tensor)

    def _labels(self, labels: Tensor) -> Tensor:
        if labels.dim() != 1:
            refuse(f"{self.where}: `labels` has the shape {shape_of(labels)}", "give one label per instance, (G,)")
        if labels.numel() and not _is_whole(labels):
            refuse(f"{self.where}: `labels` is of type {dtype_of(labels)}", "give whole numbers: labels.long()")
        low = self.classes.labels_from
        high = low + self.classes.num_things - 1
        labels = labels.long()
        self.doubts.add(lambda: (labels < low) | (labels > high), lambda _: self._label_message(labels, low, high))
        return labels - low if low else labels

    def _label_message(self, labels: Tensor, low: int, high: int) -> str:
        seen = next(label for label in labels.tolist() if not low <= label <= high)
        hint = "they start at 0; if yours start at 1, call build_model(config, labels_from=1)"
        if low == 1:
            hint = "with labels_from=1 they start at 1, and there is no background among them"
        things = f"{high - low + 1} thing{'s' if high > low else ''}"
        return f"{self.where}: `labels` holds {seen}, but the model has {things}, labels {low} to {high}; {hint}"

    def _boxes(self, boxes: Tensor, count: int) -> Tensor:
        boxes = boxes.reshape(0, 4) if not boxes.numel() else boxes
        if boxes.dim() != 2 or boxes.shape[1] != 4:
            refuse(f"{self.where}: `boxes` has the shape {shape_of(boxes)}", "give (G, 4): left, top, right, bottom")
        if boxes.dtype == torch.bool or boxes.is_complex():
            refuse(f"{self.where}: `boxes` is of type {dtype_of(boxes)}", "give float pixels")
        if len(boxes) != count:
            refuse(f"{self.where}: {len(boxes)} `boxes` and {count} `labels`", "give one of each per instance")
        boxes = boxes if boxes.is_floating_point() else boxes.float()
        self._doubt_boxes(boxes.detach())
        return boxes

    def _doubt_boxes(self, boxes: Tensor) -> None:
        if not len(boxes):
            return
        height, width = self.size
        form = f"boxes are left, top, right, bottom in pixels of the {width} x {height} image"
        convert = "torchvision.ops.box_convert makes them of x, y, w, h"

        def doubt(wrong: Callable[[], Tensor], seen: str, advice: str) -> None:
            self.doubts.add(wrong, lambda found: f"{self.where}: {_first(boxes, found)}, {seen}: {form}; {advice}")

        doubt(lambda: ~boxes.isfinite().all(1), "is not finite", "leave such instances out")
        if max(self.size) > 2:  # a box of less than a pixel is one that was divided by the size of the image
            doubt(lambda: _are_normalized(boxes), "goes from 0 to 1", "multiply them by the size of the image")
        doubt(
            lambda: (boxes[:, 2:] <= boxes[:, :2]).any(1),
            "has no width or no height",
            f"{convert}, and instances without pixels are left out",
        )
        doubt(
            lambda: (boxes < -1).any(1) | ((boxes[:, 0::2] > width + 1) | (boxes[:, 1::2] > height + 1)).any(1),
            "lies outside",
            f"resize boxes with their image; {convert}; clip_boxes_to_image cuts them",
        )

    def _masks(self, masks: Tensor, boxes: Tensor) -> Tensor:
        masks = masks.reshape(0, *self.size) if not masks.numel() else masks
        if tuple(masks.shape) != (len(boxes), *self.size):
            wanted = f"({len(boxes)}, {self.size[0]}, {self.size[1]})"
            remedy = "give one mask of the size of the image per box"
            refuse(f"{self.where}: `masks` has the shape {shape_of(masks)}, not {wanted}", remedy)
        if masks.dtype != torch.bool:
            given, seen = masks, f"{self.where}: `masks` holds"
            self.doubts.add(
                lambda: (given != 0) & (given != 1),
                lambda wrong: f"{seen} {given[wrong][0].item():.4g}; give 0 and 1, or masks > 0.5",
            )
            masks = masks.bool()
        if len(boxes):
            self._doubt_masks(masks, boxes.detach())
        return masks

    def _doubt_masks(self, masks: Tensor, boxes: Tensor) -> None:
        """Doubt boxes beyond which most of the masks reach: they are in another format, order or scale."""
        form = "boxes are left, top, right, bottom in pixels; torchvision.ops.masks_to_boxes makes them"

        def message(beyond: Tensor) -> str:
            return f"{self.where}: the mask of {_first(boxes, beyond)} reaches far beyond it, and so do most: {form}"

        self.doubts.add(lambda: _reach_beyond_mostly(masks, boxes), message)

    def _mask_targets(self, masks: Tensor, count: int) -> Tensor:
        if masks.dim() != 3 or len(masks) != count or masks.dtype != torch.bool:
            seen = f"`mask_targets` is {shape_of(masks)} {dtype_of(masks)}"
            refuse(f"{self.where}: {seen}", f"give ({count}, R, R) bool, one for each label")
        return masks

    def _map(
        self, given: Mapping[str, Any], key: str, high: int, ignored: bool = True, is_layered: bool = False
    ) -> Tensor:
        """A map (H, W), or (layers, H, W), of whole numbers from 0 to ``high``, and `IGNORE` if ``ignored``."""
        void = ", and 255 for ignored pixels" if ignored else ""
        allowed = f"0 to {high}{void}"
        found = self._tensor(given, key, f"(H, W) with {allowed}")
        shape = found.shape[1:] if is_layered and found.dim() == 3 and len(found) else found.shape
        if tuple(shape) != self.size:
            refuse(
                f"{self.where}: `{key}` has the shape {shape_of(found)}, not {self.size}",
                "make it as large as the image",
            )
        if not _is_whole(found):
            refuse(f"{self.where}: `{key}` is of type {dtype_of(found)}", f"give whole numbers: {key}.long()")
        seen = f"{self.where}: `{key}` holds"
        self.doubts.add(
            lambda: _are_beyond(found, high, ignored), lambda wrong: f"{seen} {int(found[wrong][0])}; give {allowed}"
        )
        return found

    def _is_single(self, iscrowd: Any, count: int) -> Tensor:
        try:
            crowd = torch.as_tensor(iscrowd, device=self.device).as_subclass(Tensor)
        except (TypeError, ValueError, RuntimeError):
            refuse(f"{self.where}: `iscrowd` is a {type(iscrowd).__name__}", "give (G,) of 0 and 1, or leave it out")
        if tuple(crowd.shape) != (count,):
            refuse(f"{self.where}: `iscrowd` has the shape {shape_of(crowd)}", f"give one for each of {count} labels")
        return crowd == 0


def _are_normalized(boxes: Tensor) -> Tensor:
    """Whether all boxes (G, 4) lie in 0..1, for each of them: (G,)."""
    return (((boxes <= 1) & (boxes >= 0)).all() & (boxes != boxes.round()).any()).expand(len(boxes))


def _are_beyond(found: Tensor, high: int, ignored: bool) -> Tensor:
    """Which whole numbers are not in 0..``high``, nor `IGNORE` if ``ignored``."""
    largest = torch.iinfo(found.dtype).max
    wrong = found > min(high, largest)
    if found.dtype.is_signed:
        wrong = wrong | (found < 0)
    return wrong & (found != IGNORE) if ignored and largest >= IGNORE else wrong  # in int8 it would be -1


def _reach_beyond_mostly(masks: Tensor, boxes: Tensor) -> Tensor:
    """`_reach_beyond`, if that are most of the masks with pixels; else none."""
    beyond = _reach_beyond(masks, boxes)
    return beyond & (2 * beyond.sum() > masks.flatten(1).any(1).sum())


def _reach_beyond(masks: Tensor, boxes: Tensor) -> Tensor:
    """Which masks (G, H, W) have pixels farther from their boxes than 2 pixels and a tenth of the box: (G,)."""
    beyond = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for axis, (low, high) in ((1, boxes[:, 0::2].T), (2, boxes[:, 1::2].T)):
        occupied = masks.any(axis)
        place = torch.arange(occupied.shape[1], device=boxes.device)
        margin = 2 + 0.1 * (high - low)
        outside = (place + 1 < (low - margin)[:, None]) | (place > (high + margin)[:, None])
        beyond = beyond | (occupied & outside).any(1)
    return beyond


def _first(boxes: Tensor, wrong: Tensor) -> str:
    number = int(wrong.nonzero()[0])
    return f"box {number}, {[round(x, 3) for x in boxes[number].tolist()]}"


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
