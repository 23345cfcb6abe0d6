"""Run a model on a picture and keep what its results were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from panoptic_blend.drawing.detections import Detection, Origin, Parts
from panoptic_blend.drawing.explanation import Explanation
from panoptic_blend.drawing.figures import Array
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import Picture
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.blender import score_maps
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.kernels import KernelMerge
from panoptic_blend.models.postprocess import Instances
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.structures import Output, PanopticBlendError, PanopticMap, Segment, Size

BEST = 3
"""Number of detections that are explained unless some are chosen."""


@torch.inference_mode()
def explain(predictor: Predictor, picture: Picture, numbers: Sequence[int] = (), best: int = BEST) -> Explanation:
    """Predict a picture as `Predictor.output` does, and return what its results were made of.

    Args:
        picture: (H, W, 3) uint8 RGB.
        numbers: detections to explain, counted from 1 by score.
        best: how many are explained if there are no ``numbers``.

    Raises:
        PanopticBlendError: there is no detection with one of ``numbers``.
    """
    model, categories, size = predictor.model, predictor.categories, (picture.shape[0], picture.shape[1])
    image = predictor.prepare(picture).to(model.pixel_mean.device)
    frame = (image.shape[1], image.shape[2])
    with autocast(predictor.precision, image.device):
        raw = model.raw(model.batch([image]))
        [found] = model.instances.select(raw, [frame])
        [output] = model.outputs(raw, [frame], [size])
        numbered = replace(found, labels=torch.arange(len(found.labels), device=image.device))
        rows = model.to_output(numbered, frame, size).labels  # those that are in ``output``
        chosen = _chosen(numbers, len(rows), best)
        parts = _parts(predictor, raw, found, rows[chosen], frame, size)
    names = [categories.by_id[categories.thing_ids[label]].name for label in output.labels.tolist()]
    scores, boxes, masks = output.scores.tolist(), _array(output.boxes), output.masks.cpu().numpy()
    titles = [f"{i} {name} {score:.2f}" for i, (name, score) in enumerate(zip(names, scores, strict=True), start=1)]
    return Explanation(
        photo=picture,
        categories=list(categories),
        panoptic=categories.to_dataset(output.panoptic),
        semantic=_semantic_map(output, categories) if model.semantic else None,
        boxes=boxes,
        titles=titles,
        detections={
            i + 1: Detection(titles[i], scores[i], boxes[i], masks[i], part)
            for i, part in zip(chosen, parts, strict=True)
        },
        bases=None if output.bases is None else _array(output.bases),
        remarks=_remarks(predictor, len(rows)),
    )


def _chosen(numbers: Sequence[int], count: int, best: int) -> list[int]:
    """Indices of the detections to explain, ascending."""
    for number in numbers:
        if not 1 <= number <= count:
            remedy = f"choose numbers from 1 to {count}" if count else "choose none"
            raise PanopticBlendError(f"instance {number} of {count} cannot be explained; {remedy}")
    return sorted({number - 1 for number in numbers}) or list(range(min(best, count)))


def _parts(
    predictor: Predictor, raw: Mapping[str, Tensor], found: Instances, rows: Tensor, frame: Size, size: Size
) -> list[Parts]:
    """What each of the instances in ``rows`` was made of."""
    branch, grids = predictor.model.instances, _array(found.probabilities[rows])
    if not isinstance(branch, BlendMask):
        return [Parts(grid) for grid in grids]
    assert found.places is not None
    crops = branch.crop(raw["bases"][:1], [found.boxes[rows]])
    places = zip(found.places[rows].tolist(), found.labels[rows].tolist(), strict=True)
    scale = size[0] / frame[0], size[1] / frame[1]
    factors = [None] * len(rows) if found.factors is None else found.factors[rows].tolist()
    origins = [
        replace(_origin(branch, raw, place, label, scale), factor=factor)
        for (place, label), factor in zip(places, factors, strict=True)
    ]
    parts = [Parts(*part) for part in zip(grids, origins, _array(crops), strict=True)]
    if found.attentions is None:
        return parts
    attentions, side = found.attentions[rows], branch.roi_size
    weights = score_maps(attentions, (side, side), predictor.config.model.blender.interpolation)
    blended = zip(parts, _array(attentions), _array(weights), strict=True)
    return [replace(part, attentions=a, weights=s) for part, a, s in blended]


def _origin(
    branch: BlendMask, raw: Mapping[str, Tensor], place: Sequence[int], label: int, scale: tuple[float, float]
) -> Origin:
    level, image, row, column = place
    name, stride = branch.levels[level], branch.strides[level]
    x, y = (index * stride + stride // 2 for index in (column, row))
    probability, *quality = (
        float(raw[f"{name}_{field}"][image, channel, row, column].sigmoid())
        for field, channel in (("logits", label), ("centerness", 0))
        if field in branch.fields
    )
    quality_name = "IoU" if branch.quality == "iou" else "center-ness"
    point = x * scale[1], y * scale[0]
    return Origin(name, stride, row, column, point, probability, quality[0] if quality else None, quality_name)


def _semantic_map(output: Output, categories: Categories) -> PanopticMap:
    """The semantic classes as a map with one segment for each class that occurs: stuff, and all things with id 0."""
    classes = output.semantic.cpu().numpy().astype(np.int32)
    ids = [0, *categories.stuff_ids]
    segments = [
        Segment(number + 1, ids[number], False, None, int((classes == number).sum()), None)
        for number in np.unique(classes).tolist()
    ]
    return PanopticMap(classes + 1, segments)


def _remarks(predictor: Predictor, count: int) -> list[str]:
    """A line for everything that there is not."""
    branch = predictor.model.instances
    lines = {
        "Mask R-CNN finds masks without bases, attentions and locations": not isinstance(branch, BlendMask),
        "the masks are assembled from the bases without attentions": isinstance(branch, BlendMask)
        and branch.top_layer is None,
        "kernels, which are not drawn, made the masks of the bases": isinstance(branch, BlendMask)
        and isinstance(branch.merge, KernelMerge),
        "the model has no semantic head": predictor.model.semantic is None,
        "no instance was found": count == 0,
    }
    return [line for line, applies in lines.items() if applies]


def _array(values: Tensor) -> Array:
    return np.asarray(values.float().cpu().numpy(), np.float32)
