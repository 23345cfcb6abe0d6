"""``python tools/train.py ...``: ``panoptic-blend train`` for clones."""

from panoptic_blend.cli.main import main

main("train")
