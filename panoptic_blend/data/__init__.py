"""Data sets as PyTorch takes them: samples, augmentation, batches."""

from panoptic_blend.extras import require_extra

require_extra("torch")
