"""The experiment on intervals of AP: shares of intervals that cover two figures."""

from __future__ import annotations

import numpy as np

from evaluation.ap_coverage import FIGURES, coverage, intervals, table


def test_intervals_by_hand() -> None:
    resamples = np.linspace(0.3, 0.5, 201)[:, None]
    found = {name: (low.item(), high.item()) for name, low, high in intervals(np.array([0.35]), resamples)}
    assert np.allclose(found["percentile"], (0.305, 0.495))
    assert np.allclose(found["basic"], (0.205, 0.395))
    assert np.allclose(found["normal"], 0.35 + np.array([-1.96, 1.96]) * 0.05802298395176)


def test_a_data_set_as_large_as_a_pool_of_one_image_is_the_pool() -> None:
    found = coverage(pool=1, images=1, sets=2)
    assert abs(found.higher[0]) < 1e-12
    assert found.of_pool["percentile"][0] == found.of_size["basic"][0] == 1
    rows = list(table(found, 1).columns[0].cells)
    assert rows == [*["percentile", "basic", "normal"] * 2, "figure"]
    assert len(table(found, 1).columns) == 2 + len(FIGURES)
