"""Write COCO panoptic data sets and predictions in the formats of annotation tools, and edit data sets."""
