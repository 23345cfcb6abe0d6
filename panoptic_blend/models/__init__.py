"""Networks: tensors to tensors, no files."""

from panoptic_blend.extras import require_extra

require_extra("torch")
