"""``python tools/prepare_coco.py --root DIR ...``: ``panoptic-blend data coco`` for clones."""

from panoptic_blend.cli.main import main

main("data", "coco")
