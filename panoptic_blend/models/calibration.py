"""Calibration: scores of instances that say how probable it is that they are right."""

from __future__ import annotations

from torch import Tensor

from panoptic_blend.models.batching import widest_float


def calibrate(scores: Tensor, temperature: float, bias: float) -> Tensor:
    """``sigmoid(logit(score) / temperature + bias)`` of scores (D,) from 0 to 1, in their dtype.

    The temperature is that of Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2; with the
    bias this is the sigmoid of Platt (Probabilistic Outputs for Support Vector Machines, 1999, section 2) over logits.
    It rises, so the order of scores stays. A temperature of 1 and a bias of 0 change no bit.
    """
    if (temperature, bias) == (1, 0):
        return scores
    return (scores.to(widest_float(scores.device)).logit() / temperature + bias).sigmoid().to(scores.dtype)
