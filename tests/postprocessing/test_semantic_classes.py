"""Semantic classes in numpy are those of torch, although most classes are left out of the computation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.models import panoptic_blend
from panoptic_blend.postprocessing.semantic_classes import semantic_classes

length = st.integers(3, 90)


@settings(deadline=None, max_examples=40)
@given(length, length, length, length, st.sampled_from([0.0, 0.1, 3.0]), st.integers(0, 2**16))
def test_classes_are_those_of_torch(
    height: int, width: int, to_height: int, to_width: int, grain: float, seed: int
) -> None:
    """On smooth logits, of which few classes are possible in a tile, and on noise, where all are."""
    generator, cells = torch.Generator().manual_seed(seed), (24, 24)
    smooth = F.interpolate(torch.randn(1, 6, 3, 3, generator=generator) * 4, cells, mode="bicubic")
    logits = (smooth + grain * torch.randn(1, 6, *cells, generator=generator))[0]
    expected = panoptic_blend.semantic_classes(logits, 4, (height, width), (to_height, to_width)).numpy()
    found = semantic_classes(logits.numpy(), 4, (height, width), (to_height, to_width))
    assert found.dtype == np.int64
    assert (found != expected).mean() <= 0.001  # two classes may be equal but for rounding


def test_of_equal_classes_the_first_wins() -> None:
    assert (semantic_classes(np.zeros((3, 2, 2), np.float32), 4, (8, 8), (5, 7)) == 0).all()
