"""COCO's PQ as a metric of torchmetrics, on two tiny maps; needs the extra `torchmetrics`.

python examples/torchmetrics_metric.py
"""

from __future__ import annotations

import argparse

import torch

from panoptic_blend.torchmetrics import PanopticQualityCoco


def main() -> None:
    """Update with a batch of one image, and print."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    metric = PanopticQualityCoco([{"id": 1, "name": "person", "isthing": 1}, {"id": 187, "name": "sky", "isthing": 0}])
    records = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 187}]
    truth = torch.tensor([[1, 1, 1, 2, 2, 2]]), records
    prediction = torch.tensor([[1, 1, 2, 2, 2, 2]]), records
    metric.update([prediction], [truth])  # person: IoU 2/3, sky: IoU 3/4
    print({name: round(value.item(), 4) for name, value in metric.compute().items()})
    print(metric.report())


if __name__ == "__main__":
    main()
