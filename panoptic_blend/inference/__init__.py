"""Run a trained model on pictures, videos and data sets."""

from panoptic_blend.extras import require_extra

require_extra("torch")
