"""Other formats as COCO panoptic: each source says what it labels, one painter and one writer do the rest."""
