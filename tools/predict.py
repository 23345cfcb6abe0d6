"""``python tools/predict.py ...``: ``panoptic-blend predict`` for clones."""

from panoptic_blend.cli import main

main("predict")
