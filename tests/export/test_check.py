"""What a check compares, on outputs of a few pixels, and the check of an export on a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from branches import branch_of

from panoptic_blend.config.experiment import load_config
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.deploy.predictor import ExportedPredictor
from panoptic_blend.export.check import Differences, check_export, different_pixels, partners
from panoptic_blend.export.tracing import PixelNetwork
from panoptic_blend.export.writing import ExportRequest, describe
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.models.build import build_model
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.structures import Output, PanopticMap, Segment

TINY = [
    *("model.num_things=6", "model.num_stuff=4", "model.fpn.channels=32", "model.semantic.channels=32"),
    *("model.bottom.channels=16", "model.bottom.num_convs=0", "model.fcos.num_convs=1", "model.backbone.depth=14"),
]


def panoptic(rows: list[list[int]], categories: dict[int, int]) -> PanopticMap:
    segments = [Segment(number, category, True, 0.9, 0, None) for number, category in categories.items()]
    return PanopticMap.measured(np.array(rows, dtype=np.int32), segments)


def output(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Output[Any]:
    nothing = panoptic([[0, 0]], {})
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Output(corners, np.array(scores, np.float32), np.array(labels), [], np.zeros((1, 2)), nothing, None, None)


def test_numbers_of_segments_do_not_matter() -> None:
    first = panoptic([[1, 1, 2, 2], [1, 1, 2, 0]], {1: 7, 2: 7})
    assert different_pixels(first, panoptic([[5, 5, 3, 3], [5, 5, 3, 0]], {3: 7, 5: 7})) == 0


def test_pixels_of_another_segment_category_or_void_differ() -> None:
    first = panoptic([[1, 1, 2, 2], [1, 1, 2, 0]], {1: 7, 2: 7})
    assert different_pixels(first, panoptic([[1, 1, 1, 2], [1, 1, 2, 0]], {1: 7, 2: 7})) == 1
    assert different_pixels(first, panoptic([[1, 1, 2, 2], [1, 1, 2, 0]], {1: 7, 2: 8})) == 3
    assert different_pixels(first, panoptic([[1, 1, 2, 2], [1, 1, 0, 2]], {1: 7, 2: 7})) == 2
    assert different_pixels(first, panoptic([[1, 1, 1, 1], [1, 1, 1, 1]], {1: 7})) == 4
    assert different_pixels(first, panoptic([[0, 0, 0, 0], [0, 0, 0, 0]], {})) == 7


def test_partners_are_of_one_class_and_have_nearly_one_box() -> None:
    first = output([[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.8, 0.7], [0, 0, 1])
    second = output([[0, 0, 10, 9.5], [0, 0, 10, 10], [20, 0, 30, 8]], [0.85, 0.9, 0.7], [0, 0, 1])
    np.testing.assert_allclose(sorted(partners(first, second).sum(axis=1)), [0.8 + 0.85, 0.9 + 0.9], rtol=1e-6)
    other = output([[0, 0, 10, 10]], [0.5], [1])
    assert len(partners(first, other)) == len(partners(first, output([], [], []))) == 0
    found = Differences()
    found.add_outputs(first, second)
    found.add_outputs(first, output([], [], []))
    assert (found.pictures, found.detections, found.unpaired, found.pixels) == (2, 4 + 3, 2 + 3, 4)


@pytest.fixture(scope="module")
def predictor(generated: Path) -> Predictor:
    """An untrained model that finds a lot."""
    torch.manual_seed(0)
    config = load_config("demo/shapes_r18", [*TINY, "test.short_side=64", "data.workers=0"])
    model = build_model(config)
    torch.nn.init.constant_(branch_of(model).fcos.class_logits.bias, 0.0)
    return Predictor(model, config, CocoPanoptic(generated, "val2017").categories)


def exported(predictor: Predictor, folder: Path, changed: str = "") -> ExportedPredictor:
    """The export of a model without an engine, where one output is larger by 1."""
    network = PixelNetwork(predictor.model)

    @contextmanager
    def graph(pixels: Floats) -> Iterator[dict[str, Floats]]:
        yield {name: x.numpy() + np.float32(name == changed) for name, x in network(torch.from_numpy(pixels)).items()}

    request = ExportRequest("a", "onnx", folder, batch=2)
    description = describe(predictor, request, dict.fromkeys(("model.onnx", "top_layer.npz"), "0" * 64))
    model = predictor.config.model
    weight, bias = (x.detach().numpy() for x in branch_of(predictor.model).top_layer.parameters())
    top_layer = TopLayer(weight, bias, model.bottom.num_bases)
    return ExportedPredictor(description, graph, top_layer, description.config)


def test_a_check_of_an_export_that_is_the_model(predictor: Predictor, generated: Path, tmp_path: Path) -> None:
    dataset = CocoPanoptic(generated, "val2017")
    found = check_export(predictor, exported(predictor, tmp_path), dataset).record()
    assert found["pictures"] == 3 and found["precision"] == "float32"
    assert len(found["tensors"]) == 14
    assert all(pair["difference"] < 1e-4 < pair["largest"] for pair in found["tensors"].values())
    assert found["detections"]["total"] > 20 and found["detections"]["unpaired"] == 0
    assert found["detections"]["largest_score_difference"] < 1e-5
    assert found["pixels"]["different"] <= 0.0005 * found["pixels"]["total"]
    assert json.loads(json.dumps(found)) == found


def test_a_check_of_an_export_that_is_not(predictor: Predictor, generated: Path, tmp_path: Path) -> None:
    dataset = CocoPanoptic(generated, "val2017")
    found = check_export(predictor, exported(predictor, tmp_path, "p4_logits"), dataset)
    assert found.differences.tensors["p4_logits"][0] == pytest.approx(1, abs=1e-4)
    assert found.differences.tensors["p3_logits"][0] < 1e-4
    assert found.differences.score > 0.05
    assert found.differences.unpaired > 0 < found.differences.different_pixels
    assert "p4_logits" in str(list(found.tables()[0].columns[0].cells))
    assert found.line().startswith("3 pictures: ")
