"""Training: the loop, the optimizer, logging, checkpoints and resuming."""

from panoptic_blend.extras import require_extra

require_extra("torch")
