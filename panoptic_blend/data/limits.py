"""Limits of the model that a data set exceeds."""

from __future__ import annotations

from panoptic_blend.config.model_options import Model
from panoptic_blend.data.protocol import CountedDataset, PanopticDataset


def exceeded_limits(options: Model, dataset: PanopticDataset) -> list[str]:
    """A line for data with more things in an image than the model can find; empty for data that are not counted."""
    if not isinstance(dataset, CountedDataset):
        return []
    branch = "mask_rcnn" if options.instances == "mask_rcnn" else "fcos"
    limit = (options.mask_rcnn if branch == "mask_rcnn" else options.fcos).detections_per_image
    counts = list(dataset.instance_counts())
    most = max(counts)
    if most <= limit:
        return []
    number, name = sum(count > limit for count in counts), dataset.images.file_names[counts.index(most)]
    return [
        f"{dataset.name}: {number} of {len(counts)} images have more things than the model can find in an image, up "
        f"to {most} in {name}; set model.{branch}.detections_per_image={most} (now {limit})"
    ]
