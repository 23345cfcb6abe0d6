"""Rows of layers that classify, by hand."""

from __future__ import annotations

from panoptic_blend.models.class_rows import ClassRows


def test_rows_of_classes_follow_those_of_none() -> None:
    boxes = ClassRows("things", shared=1, each=4)
    assert (boxes.first, boxes.of(0), boxes.of(2)) == (slice(0, 4), slice(4, 8), slice(12, 16))
    logits = ClassRows("things")
    assert (logits.first, logits.of(3)) == (slice(0, 0), slice(3, 4))
