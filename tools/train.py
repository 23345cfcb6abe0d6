"""Run ``panoptic-blend train`` from a clone: ``python tools/train.py ...``."""

from panoptic_blend.cli.main import main

main("train")
