"""Devices, precision, processes and interruption of a run."""

from panoptic_blend.extras import require_extra

require_extra("torch")
