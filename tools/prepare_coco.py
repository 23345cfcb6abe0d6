"""``python tools/prepare_coco.py --root DIR ...``: ``panoptic-blend data coco`` for clones."""

import sys

from panoptic_blend.cli import main

sys.argv[1:1] = ["data", "coco"]
main()
