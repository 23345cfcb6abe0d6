"""COCO's PQ in the manner of Hugging Face's library `evaluate`, on results in the form of transformers.

python examples/hugging_face_evaluate.py
"""

from __future__ import annotations

import argparse

import numpy as np

from panoptic_blend.compat import PanopticEvaluation


def main() -> None:
    """Compute the figures of one image, and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    metric = PanopticEvaluation([{"id": 1, "name": "person", "isthing": 1}, {"id": 187, "name": "sky", "isthing": 0}])
    segments = [{"id": 1, "label_id": 1}, {"id": 2, "label_id": 187}]
    reference = {"segmentation": np.array([[1, 1, 1, 2, 2, 2]]), "segments_info": segments}
    prediction = {"segmentation": np.array([[1, 1, 2, 2, 2, 2]]), "segments_info": segments}
    figures = metric.compute(predictions=[prediction], references=[reference])  # person: IoU 2/3, sky: IoU 3/4
    print({name: round(value, 4) for name, value in figures.items()})


if __name__ == "__main__":
    main()
