"""`data check`: what is wrong with a COCO panoptic data set, before a run fails on it or a PQ lies.

`checkup` is the order of events; `kinds` is everything that can be found.
"""
