"""Which detection takes which true instance, worked out by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.instance_columns import best_rows, one_image
from panoptic_blend.metrics.instance_matching import taken


def boxes(*lefts: float) -> npt.NDArray[np.float64]:
    """Boxes 10 wide and high at the top, ``lefts`` pixels from the left."""
    return np.array([(left, 0, 10, 10) for left in lefts], np.float64)


def test_the_better_detection_takes_and_crowds_are_taken_last_and_often() -> None:
    truth = TrueInstances(
        (20, 200), np.array([1, 1, 1]), boxes(0, 100, 150), [b""] * 3, np.full(3, 100.0), np.array([False, False, True])
    )
    # 1 pixel beside the first, on the first, on the second but of another class, and three in the crowd or off
    found = FoundInstances(
        (20, 200),
        np.array([1, 1, 2, 1, 1, 1]),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
        boxes(1, 0, 100, 150, 151, 180),
        None,
    )
    order, ranks = best_rows(found)
    assert order.tolist() == [0, 1, 3, 4, 5, 2]  # class 2 comes after class 1
    assert ranks.tolist() == [0, 1, 2, 3, 4, 0]
    rows, instances = taken(one_image(7, truth, found), "box")
    assert sorted(zip(rows.tolist(), instances.tolist(), strict=True)) == [(0, 0), (2, 2), (3, 2)]
