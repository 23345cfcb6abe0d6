"""Run ``panoptic-blend data coco`` from a clone: ``python tools/prepare_coco.py --root DIR ...``."""

from panoptic_blend.cli.main import main

main("data", "coco")
