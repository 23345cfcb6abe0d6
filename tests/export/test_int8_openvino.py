"""A part of a graph of OpenVINO that is set back computes what it did, and a graph is the same in every process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops
from torch import nn

from panoptic_blend.export.int8_openvino import layers_of_parts, name_by_place, set_back


def two_layers(network: nn.Module, levels: int | None = None) -> Any:
    """A graph of two convolutions, the first with a bias; with ``levels``, rounded and corrected as by nncf."""

    def layer(values: Any, name: str, bias: float | None) -> Any:
        weight = network.get_parameter(f"{name}.weight").detach().numpy()
        if levels is not None:
            values = ops.fake_quantize(values, *map(np.float32, (0, 1, 0, 1)), levels=levels)
            weight, bias = np.round(weight), 7.0
        flat = [1, 1]
        found = ops.convolution(values, ops.constant(weight), flat, [0, 0], [0, 0], flat, name=name)
        return found if bias is None else ops.add(found, ops.constant(np.float32(bias)), name=f"{name}_add")

    pixels = ops.parameter([1, 2, 3, 3], np.float32)
    graph = openvino.Model([layer(layer(pixels, "fpn", 0.5), "semantic", None)], [pixels], "two")
    for port, name in zip([*graph.inputs, *graph.outputs], ("pixels", "found"), strict=True):
        port.get_tensor().set_names({name})
    return graph


def test_a_part_that_is_set_back_computes_what_it_did() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"fpn": nn.Conv2d(2, 3, 1), "semantic": nn.Conv2d(3, 1, 1)})
    original, pixels = two_layers(network), np.random.default_rng(0).random((1, 2, 3, 3), np.float32)
    assert layers_of_parts(original, network) == {"fpn": ["fpn"], "semantic": ["semantic"]}

    def result(graph: Any) -> Any:
        return openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pixels)[0]

    quantized = two_layers(network, levels=4)
    assert abs(result(quantized) - result(original)).min() > 1
    one = quantized.clone()
    set_back(one, original, {"semantic"})
    assert result(one).shape == (1, 1, 3, 3) and abs(result(one) - result(original)).min() > 1e-3
    set_back(quantized, original, {"fpn", "semantic"})
    np.testing.assert_array_equal(result(quantized), result(original))


def test_names_in_a_graph_do_not_depend_on_the_process(tmp_path: Path) -> None:
    network = nn.ModuleDict({"fpn": nn.Conv2d(2, 3, 1), "semantic": nn.Conv2d(3, 1, 1)})
    written = []
    for name in ("first", "second"):
        graph = two_layers(network, levels=4).clone()
        name_by_place(graph)
        openvino.save_model(graph, tmp_path / f"{name}.xml", compress_to_fp16=False)
        written.append((tmp_path / f"{name}.xml").read_bytes())
    assert written[0] == written[1]
