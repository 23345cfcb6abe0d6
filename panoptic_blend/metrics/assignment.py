"""One-to-one assignment of truth and predicted segments."""

from __future__ import annotations

import numpy as np

from panoptic_blend.metrics.sparse import Floats, Integers


def heaviest_pairs(rows: Integers, columns: Integers, weights: Floats) -> Integers:
    """The indices of the pairs of a maximum-weight bipartite matching, in ascending order.

    Pair ``i`` of n joins row ``rows[i]`` and column ``columns[i]`` at ``weights[i]`` > 0; no pair is listed twice. A
    pair of which neither row nor column is in another pair is taken; the others are solved in connected components,
    so that memory does not grow with the square of the segments of an image.
    """
    is_free = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)
    taken, contested = [np.flatnonzero(is_free)], np.flatnonzero(~is_free)
    if contested.size:
        components = _components(rows[contested], columns[contested])
        for component in np.unique(components):
            members = contested[components == component]
            taken.append(members[_solve(rows[members], columns[members], weights[members])])
    return np.sort(np.concatenate(taken))


def _components(rows: Integers, columns: Integers) -> Integers:
    """The number of the connected component of each pair (n,)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first = int(rows.max()) + 1  # the node of column 0
    size = first + int(columns.max()) + 1
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, first + columns)), shape=(size, size))
    labels: Integers = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels[rows]


def _solve(rows: Integers, columns: Integers, weights: Floats) -> Integers:
    """The indices of the pairs of a maximum-weight matching, from a dense table with 0 for what is no pair."""
    from scipy.optimize import linear_sum_assignment

    (_, at_row), (_, at_column) = (np.unique(side, return_inverse=True) for side in (rows, columns))
    table = np.zeros((at_row.max() + 1, at_column.max() + 1))
    table[at_row, at_column] = weights
    places = np.full(table.shape, -1)
    places[at_row, at_column] = np.arange(len(rows))
    found = places[linear_sum_assignment(table, maximize=True)]
    return found[found >= 0]
