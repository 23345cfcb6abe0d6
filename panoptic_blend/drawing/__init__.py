"""Maps, boxes, bases and attentions as pictures."""
