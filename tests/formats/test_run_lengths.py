"""Compressed run lengths are checked as `read_shape` checks them one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from panoptic_blend.formats import run_lengths
from panoptic_blend.formats.coco_shapes import MalformedShapeError, read_shape
from panoptic_blend.formats.run_lengths import first_invalid

Mask = npt.NDArray[np.uint8]
MASKS = st.lists(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 1)))


def counts(mask: Mask) -> bytes:
    code: bytes = coco.encode(np.asfortranarray(mask))["counts"]
    return code


def one_by_one(masks: list[bytes], pixels: list[int]) -> int | None:
    """The first mask that `read_shape` refuses."""
    for number, (mask, area) in enumerate(zip(masks, pixels, strict=True)):
        try:
            read_shape({"segmentation": {"size": [1, area], "counts": mask.decode()}}, (1, area))
        except MalformedShapeError:
            return number
    return None


@given(MASKS)
def test_counts_are_those_of_the_masks(masks: list[Mask]) -> None:
    found = run_lengths.counts_of([counts(mask) for mask in masks])
    assert len(found) == len(masks)
    for mask, runs in zip(masks, found, strict=True):
        assert (np.repeat(np.arange(len(runs)) % 2, runs) == mask.ravel(order="F")).all()
        assert (runs[1:] > 0).all()


@settings(max_examples=60)
@given(masks=MASKS, data=st.data())
def test_masks_of_pycocotools_are_valid_and_changed_ones_are_found(masks: list[Mask], data: st.DataObject) -> None:
    codes, pixels = [counts(mask) for mask in masks], [mask.size for mask in masks]
    assert first_invalid(codes, pixels) is None
    for number in data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=2, unique=True)) if codes else ():
        code = bytearray(codes[number])
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(48, 112))
        codes[number] = bytes(code[: data.draw(st.integers(0, len(code)))])
    assert first_invalid(codes, pixels) == one_by_one(codes, pixels)


def test_long_runs_and_many_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lengths, "_CHECKED_AT_ONCE", 8)
    whole = {"size": [2**15, 2**15], "counts": [0, 2**30]}
    code = coco.frPyObjects(whole, *whole["size"])["counts"]
    assert first_invalid([code] * 9, [2**30] * 9) is None
    assert first_invalid([code] * 9, [2**30] * 7 + [2**30 + 1] * 2) == 7
    assert first_invalid([b"P" * 8 + b"0"], [0]) == 0, "pycocotools would read a number of nine characters"
    assert first_invalid([b"04", b"4@<"], [4, 0]) == 1, "4, -16 and 12 pixels"
    assert first_invalid([], []) is None
