"""What is drawn has the shapes of a network's outputs, and about as much to find in it."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.drawn_predictions import STRIDE, drawn_predictions
from panoptic_blend.config.experiment import load_config
from panoptic_blend.postprocessing.outputs import PostProcessing

LEVELS = {"p3": 8, "p4": 16, "p5": 32}


@pytest.mark.parametrize("kind", ["panoptic", "instance"])
def test_objects_are_found_where_they_are_drawn(kind: str) -> None:
    changes = [
        "model.num_things=5",
        "model.num_stuff=4",
        "model.fpn.channels=32",
        f"model.semantic.enabled={kind == 'panoptic'}",
    ]
    model = load_config("panoptic/blendmask_lite", changes).model
    raw, top_layer = drawn_predictions(model, LEVELS, (100, 150), objects=3)
    assert raw["p3_logits"].shape == (1, 5, 16, 20) and raw["p5_features"].shape == (1, 32, 4, 5)
    assert raw["bases"].shape == (1, 4, 32, 40)
    assert ("semantic_logits" in raw) == (kind == "panoptic")
    assert {values.dtype for values in raw.values()} == {np.dtype(np.float32)}
    steps = PostProcessing(model, LEVELS, STRIDE, STRIDE if kind == "panoptic" else None, top_layer)
    output = steps(raw, (100, 150), (100, 150))
    assert 3 <= len(output.scores) <= 100
    shares = [cutout.mask.mean() for cutout in output.cutouts]
    assert np.mean(shares) > 0.5  # of a box, an ellipse covers 0.79
    if kind == "panoptic":
        assert len(np.unique(output.semantic)) > 1


def test_the_same_seed_draws_the_same() -> None:
    model = load_config("instance/blendmask_rt_lite").model
    one, other, third = (drawn_predictions(model, LEVELS, (64, 64), 2, seed)[0] for seed in (0, 0, 1))
    assert all((one[name] == other[name]).all() for name in one)
    assert (one["bases"] != third["bases"]).any()
