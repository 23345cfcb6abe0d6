"""Devices, precision, processes and interruption of training and prediction."""

from panoptic_blend.extras import require_extra

require_extra("torch")
