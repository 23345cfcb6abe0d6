"""The official implementations' pictures through an export, to the end: what follows the graph needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_weights import GOLDEN, golden_weights

from panoptic_blend.checkpoints.io import load_weights
from panoptic_blend.config.experiment import load_config
from panoptic_blend.deploy.manifest import Engine
from panoptic_blend.deploy.predictor import load
from panoptic_blend.export.writing import ExportRequest, export_model
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "name", "engine"),
    [("P1", "panoptic/blendmask_r50_3x", "onnx"), ("P3", "instance/blendmask_rt_r50_4x", "openvino")],
)
def test_a_golden_case(case: str, name: str, engine: Engine, tmp_path: Path) -> None:
    with np.load(GOLDEN / f"{case}.npz") as file:
        golden = dict(file)
    config = load_config(name)
    model = build_model(config).eval()
    load_weights(model, golden_weights(json.loads(str(golden["case"]))))
    fold_norms(model)
    export_model(Predictor(model, config, coco_categories()), ExportRequest(case, engine, tmp_path / "exported"))

    height, width = golden["im0_output_size"].tolist()
    found = load(tmp_path / "exported").run(golden["im0_image"][:, :, ::-1], (height, width))
    assert np.array_equal(found.labels, golden["im0_post_classes"])
    np.testing.assert_allclose(found.boxes, golden["im0_post_boxes"], rtol=0, atol=1e-2)
    np.testing.assert_allclose(found.scores, golden["im0_post_scores"], rtol=0, atol=1e-4)
    bits = np.unpackbits(np.atleast_2d(golden["im0_post_masks_packed"]), axis=1, count=height * width)
    masks = np.zeros((len(found.cutouts), height, width), dtype=bool)
    for mask, cutout in zip(masks, found.cutouts, strict=True):
        mask[cutout.window] = cutout.mask
    assert (masks != bits.reshape(masks.shape)).mean() <= 0.0005
    if "im0_panoptic" in golden:
        assert (found.panoptic.segment_ids != golden["im0_panoptic"]).mean() <= 0.0005
