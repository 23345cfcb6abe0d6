"""Exported models, which run without torch: their description, and their predictor."""

from panoptic_blend.deploy.predictor import ExportedPredictor as ExportedPredictor
from panoptic_blend.deploy.predictor import load as load
