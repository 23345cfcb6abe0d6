"""Weights on disk: ours, foreign ones, training states."""

from panoptic_blend.extras import require_extra

require_extra("torch")
