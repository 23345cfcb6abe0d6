from __future__ import annotations

import pytest
import torch

from evaluation.operator_counts import Counts, counting, prediction_counts, step_counts, table


def test_views_are_no_operators_and_values_that_the_host_needs_are_waits() -> None:
    x = torch.arange(6)
    with counting() as counts:
        y = x.reshape(2, 3).T + 1  # one operator
        int(y[0, 0])
        y[y > 2]  # a comparison, and an index by a mask
        y.nonzero()
        y.tolist()
        y.new_tensor([1, 2])
        y.repeat_interleave(torch.tensor(2), dim=0, output_size=6)
    waits = {name.split("::")[-1]: count for (kind, name), count in counts.items() if kind == "waits"}
    assert waits == {"_local_scalar_dense": 1, "index": 1, "nonzero": 1, "tolist": 1}
    assert counts.of("uploads") == 2
    assert counts["operators", "aten::add"] == 1
    assert not any("transpose" in name for _, name in counts)


def test_a_prediction_is_counted() -> None:
    found = prediction_counts("demo/shapes_r18", (32, 64), (32, 64))
    assert found.of("operators") > 100
    assert found["waits", "torchvision::nms"] == 1
    assert found.of("waits") <= 20
    assert "convolution" in found.most("operators")


@pytest.mark.slow
def test_a_step_is_counted_alone() -> None:
    found = step_counts("demo/shapes_r18", 2, size=(32, 64))
    backward = found["operators", "aten::convolution_backward"]
    assert 0 < backward <= found["operators", "aten::convolution"]
    assert found.of("collectives") == 0
    assert table({"a step": found}).row_count == 1


@pytest.mark.parametrize("kind", ["operators", "waits"])
def test_without_calls_there_are_none(kind: str) -> None:
    assert Counts().of(kind) == 0
