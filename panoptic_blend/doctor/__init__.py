"""Find and repair the faults of a COCO panoptic data set."""
