"""Choose the fusion settings of a model by the PQ of many combinations."""

from panoptic_blend.extras import require_extra

require_extra("torch")
