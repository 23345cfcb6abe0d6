"""Draw panoptic maps, boxes, bases and attentions."""
