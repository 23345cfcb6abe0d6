"""``python tools/evaluate.py WEIGHTS ...``: ``panoptic-blend evaluate`` for clones."""

import sys

from panoptic_blend.cli import main

sys.argv.insert(1, "evaluate")
main()
