from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.postprocessing.interpolation import reading


def test_reading_by_hand() -> None:
    """Between two cells both are read, and before the first and behind the last one only a part of it."""
    weights = reading(np.array([-1, -0.25, 0, 1.25, 2, 2.75, 3], dtype=np.float32), 3)
    expected = [[0, 0.75, 1, 0, 0, 0, 0], [0, 0, 0, 0.75, 0, 0, 0], [0, 0, 0, 0.25, 1, 0.25, 0]]
    assert weights.dtype == np.float32 and weights.tolist() == expected
    assert reading(np.zeros(0), 3).shape == (3, 0)


@given(st.lists(st.floats(-1, 6, width=32), min_size=1), st.integers(6, 9))
def test_each_cell_is_weighed_by_its_distance(places: list[float], cells: int) -> None:
    at = np.array(places, dtype=np.float32)
    distances = np.abs(at - np.arange(cells, dtype=np.float32)[:, None])
    assert (reading(at, cells) == np.maximum(1 - distances, 0)).all()
