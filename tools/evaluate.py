"""Run ``panoptic-blend evaluate`` from a clone: ``python tools/evaluate.py ...``."""

from panoptic_blend.cli.main import main

main("evaluate")
