"""``python tools/predict.py WEIGHTS ...``: ``panoptic-blend predict`` for clones."""

import sys

from panoptic_blend.cli import main

sys.argv.insert(1, "predict")
main()
