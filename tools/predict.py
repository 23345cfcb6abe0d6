"""``python tools/predict.py ...``: ``panoptic-blend predict`` for clones."""

from panoptic_blend.cli.main import main

main("predict")
