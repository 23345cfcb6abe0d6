"""The training loop and all that surrounds it."""

from panoptic_blend.extras import require_extra

require_extra("torch")
