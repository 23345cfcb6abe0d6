"""Fit a model to a folder of labeled pictures: check it, measure it, plan, train, tune and sum up."""

from panoptic_blend.extras import require_extra

require_extra("torch")
