"""PQ in the manner of Hugging Face's ``evaluate``."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from panoptic_blend.compat import PanopticEvaluation

CATEGORIES = [{"id": 1, "name": "person", "isthing": 1}, {"id": 187, "name": "sky", "isthing": 0}]
RECORDS = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 187}]
TRUTH = np.array([[1, 1, 1, 2, 2, 2]]), RECORDS
PREDICTION = np.array([[1, 1, 2, 2, 2, 2]]), RECORDS


def test_compute_adds_means_and_forgets() -> None:
    """The person has IoU 2/3 and then 1, the sky 3/4 and then 1."""
    metric = PanopticEvaluation(CATEGORIES)
    found = metric.compute(predictions=[PREDICTION], references=[TRUTH])
    assert found == pytest.approx(
        {
            **{"pq": 17 / 24, "sq": 17 / 24, "rq": 1, "pq_things": 2 / 3, "sq_things": 2 / 3, "rq_things": 1},
            **{"pq_stuff": 3 / 4, "sq_stuff": 3 / 4, "rq_stuff": 1},
        },
        rel=0,
        abs=1e-15,
    )
    metric.add(prediction=TRUTH, reference=TRUTH)
    metric.add_batch(predictions=[PREDICTION], references=[TRUTH])
    assert metric.compute()["pq"] == pytest.approx((5 / 6 + 7 / 8) / 2, rel=0, abs=1e-15)
    assert all(math.isnan(value) for value in metric.compute().values())


def test_predictions_and_references_go_together(refused: Callable[..., str]) -> None:
    metric = PanopticEvaluation(CATEGORIES)
    message = refused(lambda: metric.compute(predictions=[PREDICTION]))
    assert message == "1 predictions and 0 references; give as many of one as of the other"
    assert "references: tuple is not a batch" in refused(
        lambda: metric.add_batch(predictions=[PREDICTION], references=TRUTH)
    )
