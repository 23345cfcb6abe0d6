"""COCO from its server, resumed and checked."""
