"""Convert data sets in other formats to COCO panoptic."""
