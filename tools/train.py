"""``python tools/train.py CONFIG ...``: ``panoptic-blend train`` for clones."""

import sys

from panoptic_blend.cli import main

sys.argv.insert(1, "train")
main()
