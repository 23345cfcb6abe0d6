"""The way of a detection: its location, and the cells of its parts."""

from __future__ import annotations

import numpy as np

from panoptic_blend.drawing.detections import Detection, Origin, Parts, _result, draw_way
from panoptic_blend.drawing.figures import ACCENT, DIVERGING, SEQUENTIAL
from panoptic_blend.formats.images import Picture

BOX = np.array([10.0, 20.0, 90.0, 100.0])
MASK = np.pad(np.ones((80, 80), np.bool_), ((20, 20), (10, 30)))
CELL = 160


def way(parts: Parts) -> Picture:
    return draw_way(np.full((120, 120, 3), 100, np.uint8), Detection("1 cat 0.60", 0.6, BOX, MASK, parts))


def has(picture: Picture, color: object) -> bool:
    return bool((picture == np.asarray(color)).all(axis=2).any())


def test_the_cross_is_at_the_location() -> None:
    grid = np.full((2, 2), 0.5)
    origin = Origin("p3", 8, 4, 7, (60.0, 36.0), 0.6, 0.6)
    without, marked = way(Parts(grid)), way(Parts(grid, origin))
    assert marked.shape[0] == without.shape[0] + 18  # a line more of text
    rows, columns = np.nonzero((marked[18:] == ACCENT).all(axis=2) & ~(without == ACCENT).all(axis=2))
    assert (columns.mean().round(), (rows.mean() - 18).round()) == (60, 36)


def test_weights_bases_and_their_sum_have_cells() -> None:
    """Two bases of one cell each, 4 and -2, weighed by 3/4 and 1/4: the sum is 2.5."""
    crops, weights = np.array([[[4.0]], [[-2.0]]]), np.array([[[0.75]], [[0.25]]])
    p = 1 / (1 + np.exp(-np.array([[2.5]])))
    shown = way(Parts(p, None, crops, np.log(weights), weights))
    for share in (0.75, 0.25, float(p[0, 0])):
        assert has(shown, SEQUENTIAL[round(255 * share)])
    assert has(shown, DIVERGING[-1]) and has(shown, DIVERGING[1])  # 4 and -2 of at most 4
    alone = way(Parts(p))
    assert not has(alone, DIVERGING[-1])
    assert shown.shape[0] - alone.shape[0] == 4 * (CELL + 18 + 18 + 6 + 6)


def test_scores_are_those_that_probabilities_of_zero_have_lost() -> None:
    """The sums are -100 and -200, of which a float32 sigmoid leaves 0."""
    crops, weights = np.array([[[-100.0, -200.0]], [[-100.0, -200.0]]]), np.full((2, 1, 2), 0.5)
    parts = Parts(np.zeros((1, 2)), None, crops, weights, weights)
    shown = _result(np.zeros((120, 120, 3), np.uint8), Detection("1 cat 0.60", 0.6, BOX, MASK, parts), (CELL, CELL))
    assert has(shown, DIVERGING[0]) and has(shown, DIVERGING[1])  # -200 and -100 of at most 200


def test_boxes_of_one_pixel_and_beyond_the_picture() -> None:
    for box in ([0, 0, 1, 1], [-50, -50, 300, 2], [119, 119, 119, 119]):
        one = Detection(
            "1 cat 0.60", 0.6, np.array(box, float), np.zeros((120, 120), np.bool_), Parts(np.zeros((2, 2)))
        )
        assert draw_way(np.zeros((120, 120, 3), np.uint8), one).shape[2] == 3
