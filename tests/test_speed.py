from __future__ import annotations

import torch

from evaluation.speed import best_of, in_fresh_process, lively_model, measure, measured_rate, peak_memory


def test_every_stage_is_measured() -> None:
    assert measured_rate(torch.float32, side=32) > 0
    with torch.inference_mode():
        stages, detections = measure(lively_model("panoptic/blendmask_r50_3x"), (64, 96), (48, 64), repeats=1)
    found = {stage.name: stage for stage in stages}
    parts = ["backbone", "pyramid", "detector", "bases", "semantic head"]
    assert list(found) == [*parts, "everything else", "picture to map", "the same, no instances"]
    assert all(found[name].operations > 0 and found[name].seconds > 0 for name in parts)
    assert sum(found[name].operations for name in parts) <= found["picture to map"].operations
    assert detections > 50


def test_the_first_run_does_not_count() -> None:
    calls: list[int] = []
    best_of(3, lambda: calls.append(1))
    assert len(calls) == 4


def test_the_peak_holds_the_model_and_little_else_for_a_small_picture() -> None:
    """38 million parameters are 153 MB in float32."""
    assert 153e6 < in_fresh_process(peak_memory, "panoptic/blendmask_r50_3x", (64, 96), (48, 64), "32-true") < 450e6
