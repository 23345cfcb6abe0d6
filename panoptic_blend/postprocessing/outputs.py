"""Everything that follows the network of a BlendMask, for one image: raw predictions in, an `Output` out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from panoptic_blend.config.model_options import Model
from panoptic_blend.postprocessing.blending import TopLayer, assemble, blend, crop, maskness
from panoptic_blend.postprocessing.calibration import calibrate
from panoptic_blend.postprocessing.detection import Candidates, Level, decode, rescale, suppress
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.postprocessing.pasting import paste
from panoptic_blend.postprocessing.semantic_classes import semantic_classes
from panoptic_blend.structures import THING_CLASS, Array, Output, Size

_TOGETHER = 16
"""Instances whose masks are computed at once."""


@dataclass(frozen=True, eq=False)
class PostProcessing:
    """The steps from raw predictions to an output, with their settings; `PanopticBlend.outputs` in numpy.

    Scores, boxes and masks agree with those of torch but for rounding, so a pixel may differ where a probability is
    0.5 but for rounding, and a detection where a score or an overlap is at its threshold but for rounding.

    Args:
        options: the model, whose instance branch is a BlendMask.
        levels: names and strides of the pyramid levels of the detector, finest first.
        bottom_stride: stride of the bases.
        semantic_stride: stride of the semantic logits; None without a semantic head.
        top_layer: predicts attentions; None for a merge without them.
    """

    options: Model
    levels: Mapping[str, int]
    bottom_stride: int
    semantic_stride: int | None
    top_layer: TopLayer | None

    def __call__(self, raw: Mapping[str, Floats], size: Size, output_size: Size) -> Output[Array]:
        """The output for one image.

        Args:
            raw: the tensors of `PanopticBlend.raw` as arrays float32, of a batch of one image.
            size: (height, width) of the input without padding.
            output_size: (height, width) at which the results are wanted.
        """
        levels = [_level(raw, name, stride) for name, stride in self.levels.items()]
        fcos = self.options.fcos
        found = decode(levels, fcos.score_threshold, fcos.candidates_per_level)
        found = suppress(found, fcos.nms, fcos.detections_per_image)
        boxes = rescale(found.boxes, size, output_size)
        visible = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        found, boxes = found[visible], boxes[visible]
        attentions = None
        if self.top_layer is not None:
            attentions = self.top_layer.at([level.features for level in levels], found.places)
        bases = raw["bases"][0]
        probabilities = self._probabilities(bases, found, attentions)
        if self.options.blender.rescoring == "maskness":
            found = replace(found, scores=found.scores * maskness(probabilities))
            order = np.argsort(-found.scores, kind="stable")
            found, boxes, probabilities = found[order], boxes[order], probabilities[order]
            attentions = None if attentions is None else attentions[order]
        cutouts = paste(probabilities, boxes, output_size)
        scores = calibrate(found.scores, **self.options.calibration.model_dump())
        semantic = np.full(output_size, THING_CLASS, dtype=np.int64)
        if self.semantic_stride is not None:
            semantic = semantic_classes(raw["semantic_logits"][0], self.semantic_stride, size, output_size)
        height, width = (-(-side // self.bottom_stride) for side in size)
        return Output(
            boxes,
            scores,
            found.labels,
            cutouts,
            semantic,
            paint(cutouts, scores, found.labels, semantic, **self.options.fusion.model_dump()),
            bases[:, :height, :width],
            attentions,
        )

    def _probabilities(self, bases: Floats, found: Candidates, attentions: Floats | None) -> Floats:
        """Mask probabilities (D, R, R), a few instances at a time, so that their crops stay in the cache."""
        options = self.options.blender
        probabilities = np.empty((len(found.boxes), options.roi_size, options.roi_size), dtype=bases.dtype)
        for first in range(0, len(probabilities), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            crops = crop(bases, found.boxes[part], options.roi_size, self.bottom_stride, options.pooling)
            probabilities[part] = (
                assemble(crops) if attentions is None else blend(crops, attentions[part], options.interpolation)
            )
        return probabilities


def _level(raw: Mapping[str, Floats], name: str, stride: int) -> Level:
    """The predictions on a level; without center-ness if its network has none."""
    logits, distances, features = (raw[f"{name}_{field}"][0] for field in ("logits", "distances", "features"))
    centerness = raw.get(f"{name}_centerness")
    return Level(stride, logits, distances, None if centerness is None else centerness[0], features)
