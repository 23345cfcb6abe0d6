"""PQ of files by the function that detectron2 and Mask2Former call, from this library instead of panopticapi.

python examples/instead_of_panopticapi.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from panoptic_blend.compat import pq_compute  # instead of: from panopticapi.evaluation import pq_compute
from panoptic_blend.shapes.dataset import write_shapes


def main() -> None:
    """Score generated files against themselves."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_shapes(Path("scored"), train=2, val=0)
    truth = "scored/annotations/panoptic_train2017.json"
    results = pq_compute(truth, truth, gt_folder="scored/annotations/panoptic_train2017")
    print(results["All"], len(results["per_class"]))


if __name__ == "__main__":
    main()
