from __future__ import annotations

import pytest
import torch

from evaluation.speed import model_with_detections
from evaluation.speed_steps import measure, variants_without_each_step
from panoptic_blend.config.precisions import Precision

CONFIG = "panoptic/blendmask_r50_3x"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@torch.inference_mode()
def test_a_model_without_an_optimization_predicts_the_same(precision: Precision) -> None:
    seeded = torch.Generator().manual_seed(3)  # other pictures make random weights tie, which rounding then decides
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, generator=seeded)
    [expected] = model_with_detections(CONFIG)([image], output_sizes=[(48, 64)])
    variants = variants_without_each_step(CONFIG, precision, (48, 64))
    assert ("weights rounded once" in variants) == (precision == "bf16-mixed")
    for name, variant in variants.items():
        with torch.autocast("cpu", enabled=precision != "32-true"), variant() as model:
            [found] = model([image], output_sizes=[(48, 64)])
        shared = (found.panoptic.index() == expected.panoptic.index()).mean()
        assert shared > (0.99 if precision == "32-true" else 0.5), name
        assert len(found.scores) > 50, name


@torch.inference_mode()
def test_each_step_is_timed() -> None:
    seconds = measure(CONFIG, "32-true", (64, 96), (48, 64), repeats=1)
    assert next(iter(seconds)) == "all steps"
    assert len(seconds) == 6
    assert min(seconds.values()) > 0
