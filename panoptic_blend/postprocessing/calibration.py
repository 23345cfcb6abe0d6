"""Calibration: scores of instances that say how probable it is that they are right."""

from __future__ import annotations

import numpy as np

from panoptic_blend.postprocessing.detection import sigmoid
from panoptic_blend.postprocessing.interpolation import Floats


def calibrate(scores: Floats, temperature: float, bias: float) -> Floats:
    """``sigmoid(logit(score) / temperature + bias)`` of scores (D,), as `models.calibration.calibrate`."""
    if (temperature, bias) == (1, 0):
        return scores
    wide = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(wide) - np.log1p(-wide)
    return sigmoid(logits / temperature + bias).astype(scores.dtype)
