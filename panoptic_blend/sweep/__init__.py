"""Settings of fusion, tried on a model's predictions."""

from panoptic_blend.extras import require_extra

require_extra("torch")
