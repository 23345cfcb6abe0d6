"""Which operators of a graph of ONNX are in int8, and that a part in float32 computes what it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from panoptic_blend.export.int8_onnx import OnnxInt8, layers_of_parts, mixed_sums

LIMITS = np.linspace(-1, 1, 4 * 8 * 8, dtype=np.float32).reshape(1, 4, 8, 8)
"""The only picture of calibration: values from -1 to 1, all of them different."""


def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"backbone": nn.Conv2d(4, 4, 1), "fpn": nn.Conv2d(4, 4, 1), "other": nn.Conv2d(4, 4, 1)})


def graph(layers: nn.ModuleDict) -> onnx.ModelProto:
    """A residual block: the ReLU of ``backbone``'s layer plus ``fpn``'s of it, and the sum with a constant."""
    values = [
        numpy_helper.from_array(value.detach().numpy(), f"{name}.{kind}")
        for name, layer in layers.items()
        for kind, value in layer.named_parameters()
    ]
    nodes = [
        helper.make_node("Conv", ["pixels", "backbone.weight", "backbone.bias"], ["first"], "first"),
        helper.make_node("Relu", ["first"], ["positive"], "relu"),
        helper.make_node("Conv", ["positive", "fpn.weight", "fpn.bias"], ["second"], "second"),
        helper.make_node("Add", ["positive", "second"], ["both"], "residual"),
        helper.make_node("Add", ["both", "shift"], ["shifted"], "constant"),
        helper.make_node("Sigmoid", ["shifted"], ["found"], "sigmoid"),
    ]
    values.append(numpy_helper.from_array(np.full(1, 0.5, np.float32), "shift"))
    pixels, found = (helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 4, "h", "w"]) for x in ("pixels", "found"))
    residual = helper.make_graph(nodes, "residual", [pixels], [found], values)
    return helper.make_model(residual, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.fixture
def quantized(tmp_path: Path) -> OnnxInt8:
    layers = network()
    onnx.save(graph(layers), tmp_path / "model.onnx")
    return OnnxInt8(tmp_path / "model.onnx", layers, [np.zeros((8, 8, 3), np.uint8)], lambda picture: LIMITS)


def result(path: Path) -> Any:
    [found] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"pixels": LIMITS})
    return found


def kinds(path: Path) -> dict[str, list[str]]:
    """By the name of a node, the kinds of nodes that compute what it reads."""
    nodes = onnx.load(path).graph.node
    makers = {output: node.op_type for node in nodes for output in node.output}
    return {node.name: [makers[name] for name in node.input if name in makers] for node in nodes}


def test_layers_are_recognized_by_their_weights() -> None:
    layers = network()
    assert layers_of_parts(graph(layers).graph, layers) == {"backbone": ["first"], "fpn": ["second"]}


def test_a_sum_is_in_int8_if_all_that_it_adds_is() -> None:
    found = graph(network()).graph
    assert mixed_sums(found, set()) == {"constant"}
    assert mixed_sums(found, {"first"}) == mixed_sums(found, {"second"}) == {"residual", "constant"}


def test_layers_in_int8_read_integers(quantized: OnnxInt8, tmp_path: Path) -> None:
    quantized.write((), tmp_path / "int8.onnx")
    found = kinds(tmp_path / "int8.onnx")
    assert quantized.parts == ["backbone", "fpn"]
    assert found["first"] == found["second"] == ["DequantizeLinear"] * 3
    assert found["residual"] == ["DequantizeLinear"] * 2
    difference = abs(result(tmp_path / "int8.onnx") - result(tmp_path / "model.onnx"))
    assert 0 < difference.max() < 0.02
    weights = [numpy_helper.to_array(value) for value in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    rounded = [value for value in weights if value.dtype == np.int8 and value.ndim == 4]
    assert [abs(value).max(axis=(1, 2, 3)).tolist() for value in rounded] == [[64] * 4] * 2  # each channel has a scale


def test_a_part_in_float32_computes_what_it_did(quantized: OnnxInt8, tmp_path: Path) -> None:
    quantized.write(["backbone"], tmp_path / "part.onnx")
    found = kinds(tmp_path / "part.onnx")
    assert found["first"] == [] and found["relu"] == ["Conv"]
    assert found["second"] == ["DequantizeLinear"] * 3
    quantized.write(["backbone", "fpn"], tmp_path / "both.onnx")
    np.testing.assert_array_equal(result(tmp_path / "both.onnx"), result(tmp_path / "model.onnx"))


def test_the_same_graph_is_written_again(quantized: OnnxInt8, tmp_path: Path) -> None:
    for name in ("first.onnx", "second.onnx"):
        quantized.write(["fpn"], tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
