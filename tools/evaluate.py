"""``python tools/evaluate.py ...``: ``panoptic-blend evaluate`` for clones."""

from panoptic_blend.cli.main import main

main("evaluate")
