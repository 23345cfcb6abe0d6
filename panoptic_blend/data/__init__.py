"""Data sets for PyTorch: samples, augmentation and batches."""

from panoptic_blend.extras import require_extra

require_extra("torch")
