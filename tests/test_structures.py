"""Maps as pixels and as run lengths."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from panoptic_blend.structures import PanopticMap, Runs, Segment, positions

IDS = np.array([[7, 7, 9], [9, 9, 9], [0, 7, 7]], dtype=np.int32)
SEGMENTS = [Segment(9, 1, False, None, 0, None), Segment(7, 2, True, None, 0, None)]


def test_a_map_of_run_lengths_is_the_map_of_its_pixels() -> None:
    stored, pixels = PanopticMap.from_runs(Runs.from_pixels(IDS), SEGMENTS), PanopticMap(IDS, SEGMENTS)
    measured = stored.measure()
    assert measured.segments == pixels.measure().segments
    assert [(segment.area, segment.box) for segment in measured.segments] == [(4, (0, 0, 3, 2)), (4, (0, 0, 3, 3))]
    assert stored.index().tolist() == pixels.index().tolist() == [[2, 2, 1], [1, 1, 1], [0, 2, 2]]
    assert "segment_ids" not in vars(measured), "nobody has asked for pixels"
    for each in (stored, measured, measured.with_segments([]), pickle.loads(pickle.dumps(measured))):
        assert each.segment_ids.tolist() == IDS.tolist() and each.segment_ids.dtype == np.int32
    assert stored.segments == SEGMENTS and measured.with_segments([]).segments == []
    assert replace(stored, segments=[]).segment_ids.tolist() == IDS.tolist()
    assert replace(stored, segment_ids=IDS + 1).id_runs().values.tolist() == (stored.id_runs().values + 1).tolist()


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_an_empty_map_has_no_runs(shape: tuple[int, int]) -> None:
    runs = Runs.from_pixels(np.zeros(shape, dtype=np.int32))
    assert [part.size for part in (*runs.overlay(runs), *runs.shared(runs))] == [0] * 6
    assert PanopticMap.from_runs(runs, []).segment_ids.shape == shape


def test_positions() -> None:
    ids = np.array([[5, 0], [2**24, 3]], dtype=np.int32)
    assert positions(ids, [2**24, 2**40, 5]).tolist() == [[3, 0], [1, 0]]
    assert positions(ids, []).tolist() == [[0, 0], [0, 0]]
