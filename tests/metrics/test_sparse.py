"""Sparse tables against dense ones, and maps of so many segments that a dense table would not fit in memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.confusion import confusion
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.error_budget import error_budget
from panoptic_blend.metrics.sparse import SparseTable


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 9)), max_size=40))
def test_counts_sums_and_entries_are_those_of_a_dense_table(items: list[tuple[int, int, int]]) -> None:
    rows, columns, times = np.array(items, dtype=np.int64).reshape(-1, 3).T
    dense = np.zeros((5, 7), dtype=np.int64)
    np.add.at(dense, (rows, columns), times)
    for shape in ((5, 7), (5, 2**40)):  # the second is too large for a dense array, so that the items are sorted
        table = SparseTable.count(rows, columns, shape, times)
        assert table.counts.tolist() == dense[dense > 0].tolist()
        assert (table.rows.tolist(), table.columns.tolist()) == tuple(x.tolist() for x in np.nonzero(dense))
        assert table.at(*np.indices(dense.shape)).tolist() == dense.tolist()
    table = SparseTable.count(rows, columns, (5, 7), times)
    assert table.dense().tolist() == SparseTable.from_dense(dense).dense().tolist() == dense.tolist()
    assert table.row_sums().tolist() == dense.sum(axis=1).tolist()
    assert table.column_sums().tolist() == dense.sum(axis=0).tolist()
    assert table.first_row().tolist() == dense[0].tolist()
    assert SparseTable.count(rows, columns, (5, 7)).counts.sum() == len(items)


@pytest.mark.parametrize("boundary", [False, True])
def test_memory_grows_with_the_number_of_segments_not_with_its_square(boundary: bool) -> None:
    ids = np.arange(1, 10_001).reshape(100, 100)  # a dense table would take 800 MB
    records = [{"id": id, "category_id": id % 2} for id in range(1, 10_001)]
    shifted = ids.copy()
    shifted[0, :4] = shifted[0, 3::-1]  # of the first four segments, two change places with two of the other class
    details = PanopticDetails(
        [{"id": 0, "name": "a", "isthing": 1}, {"id": 1, "name": "b", "isthing": 0}], boundary=boundary
    )
    tracemalloc.start()
    details.update("a.png", truth=(ids, records), prediction=(shifted, records))
    report, budget, matrices = details.compute(boundary=boundary), error_budget(details), confusion(details)
    outcomes = [row.outcome for row in details.segments()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert [report.per_class[id][key] for id in (0, 1) for key in ("tp", "fp", "fn")] == [4998, 2, 2] * 2
    assert budget.groups["All"].lost[Cause.WRONG_CLASS] == pytest.approx(2 / 5000)
    assert matrices.segments.tolist() == [[0, 0, 0], [0, 4998, 2], [0, 2, 4998]]
    assert outcomes.count("tp") == 2 * 9996
