"""Predictions on the device against those of the CPU in float32."""

from __future__ import annotations

from statistics import mean
from typing import Any

import numpy as np
import torch
from torchvision.ops import box_iou

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import (
    DEFORMABLE,
    PANOPTIC_FPN,
    R50,
    REAL_TIME,
    finding_model,
    pictures,
    placed,
    predicted,
)
from evaluation.precision import difference
from panoptic_blend.runtime.precision import tf32_convolutions
from panoptic_blend.structures import Cutout, Output, Size

_LEAST = {"float32": 0.999, "tf32": 0.97}
_LEAST_IN_HALF = 0.8
_SLACK = 0.02
"""Detections may differ by so much more than pixels, because one that is lost is one in a hundred."""


def outputs_like_cpu(bench: Bench) -> Finding:
    """Detections, masks and maps of four configs in every precision."""
    size = bench.size((480, 640), (128, 160))
    images = pictures(bench.times(2), size)
    found: dict[str, Any] = {}
    is_right = True
    for name in [R50] if bench.is_tiny else [R50, REAL_TIME, DEFORMABLE, PANOPTIC_FPN]:
        model = finding_model(name)
        truth = predicted(model, "32-true", images, size)
        for label, precision, is_rounded in bench.precisions:
            with tf32_convolutions(is_rounded):
                other = predicted(placed(model, bench.device, precision), precision, images, size)
            result = agreement(truth, other)
            found[f"{name.split('/')[1]} {label}"] = result
            least = _LEAST.get(label, _LEAST_IN_HALF)
            is_right &= result["semantic_pixels_same"] >= least and result["found_in_both"] >= least - _SLACK
    needed = "99.9 % of the pixels and 97.9 % of the detections in float32, 97 and 95 in TF32, 80 and 78 in half"
    return Finding(found, is_right, needed)


def agreement(ours: list[Output], theirs: list[Output]) -> dict[str, float]:
    """How alike two lists of outputs are; a detection is found in both with the same label and a box IoU over 0.9."""
    total, scores, masks, semantic, panoptic = 0, [0.0], [], [], []
    for a, b in zip(ours, theirs, strict=True):
        total += len(a.labels)
        for i, j in _pairs(a, b):
            scores.append(abs(float(a.scores[i]) - float(b.scores[j])))
            masks.append(_mask_iou(a.cutouts[i], b.cutouts[j], (a.semantic.shape[0], a.semantic.shape[1])))
        semantic.append(float((a.semantic.cpu() == b.semantic.cpu()).float().mean()))
        pixels = difference(a.panoptic, b.panoptic)
        panoptic.append(1 - pixels.other_pixels / pixels.pixels)
    return {
        "detections": total,
        "found_in_both": round(len(masks) / total, 4) if total else 1.0,
        "score_difference_max": round(max(scores), 5),
        "mask_iou_mean": round(mean(masks), 5) if masks else 1.0,
        "semantic_pixels_same": round(mean(semantic), 5),
        "panoptic_pixels_same": round(mean(panoptic), 5),
    }


def _pairs(a: Output, b: Output) -> list[tuple[int, int]]:
    if not len(a.labels) or not len(b.labels):
        return []
    iou = box_iou(a.boxes.float().cpu(), b.boxes.float().cpu())
    iou[a.labels.cpu()[:, None] != b.labels.cpu()[None]] = 0
    best, other = iou.max(dim=1)
    return [(i, int(other[i])) for i in torch.nonzero(best > 0.9).flatten().tolist()]


def _mask_iou(a: Cutout, b: Cutout, size: Size) -> float:
    layers = np.zeros((2, *size), dtype=np.bool_)
    for layer, cutout in zip(layers, (a, b), strict=True):
        layer[cutout.window] = cutout.mask
    union = np.count_nonzero(layers.any(axis=0))
    return np.count_nonzero(layers.all(axis=0)) / union if union else 1.0
