"""Run ``panoptic-blend predict`` from a clone: ``python tools/predict.py ...``."""

from panoptic_blend.cli.main import main

main("predict")
