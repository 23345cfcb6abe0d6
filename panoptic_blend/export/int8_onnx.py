"""A graph of ONNX in int8, as ONNX Runtime runs it: integers behind pairs of QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from panoptic_blend.export.int8_parts import PARTS, parts_of_weights
from panoptic_blend.export.tracing import INPUT
from panoptic_blend.formats.images import Picture
from panoptic_blend.postprocessing.interpolation import Floats

PASSING = ("Relu", "Clip", "MaxPool")
"""Operators that ONNX Runtime computes in int8 between layers in int8."""

QUANTIZED = ("Conv", "Add", *PASSING)
"""Operators that are quantized. Group norms, which need a dozen others in ONNX, stay in float32."""


class OnnxInt8:
    """See `Int8Graph`."""

    def __init__(
        self, path: Path, network: nn.Module, images: Sequence[Picture], pixels: Callable[[Picture], Floats]
    ) -> None:
        import onnx

        self._graph = onnx.shape_inference.infer_shapes(onnx.load(path))
        self._layers = layers_of_parts(self._graph.graph, network)
        self.parts = list(self._layers)
        self._ranges = _ranges(path, map(pixels, images))

    def write(self, float32: Collection[str], path: Path) -> None:
        """See `Int8Graph.write`.

        Weights have 7 bits: with 8, sums of two products overflow on processors without VNNI, and ONNX Runtime's remedy
        (``session.x64quantprecision``) does not load graphs whose layers share weights. Unsigned weights are slow.
        """
        from onnxruntime.quantization import QDQQuantizer, QuantType

        excluded = {name for part in float32 for name in self._layers[part]}
        excluded |= mixed_sums(self._graph.graph, excluded)
        quantizer = QDQQuantizer(
            deepcopy(self._graph),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self._ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(excluded),
            op_types_to_quantize=list(QUANTIZED),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.save_model_to_file(path)


def layers_of_parts(graph: Any, network: nn.Module) -> dict[str, list[str]]:
    """The names of the convolutions of each part, which are recognized by their weights."""
    from onnx import numpy_helper

    known = parts_of_weights(network)
    part_of = {value.name: known.get(numpy_helper.to_array(value).tobytes()) for value in graph.initializer}
    layers = {part: [node.name for node in graph.node if _part(node, part_of) == part] for part in PARTS}
    return {part: names for part, names in layers.items() if names}


def _part(node: Any, part_of: dict[str, str | None]) -> str | None:
    return part_of.get(node.input[1]) if node.op_type == "Conv" else None


def mixed_sums(graph: Any, excluded: Collection[str]) -> set[str]:
    """The names of the sums in a graph that are not of layers in int8 alone; ``excluded`` layers are in float32."""
    int8: set[str] = set()
    for node in graph.node:  # in the order of computation
        read = node.input if node.op_type == "Add" else node.input[:1]
        is_int8 = node.op_type == "Conv" and node.name not in excluded
        if is_int8 or (node.op_type in ("Add", *PASSING) and int8.issuperset(read)):
            int8.update(node.output)
    return {node.name for node in graph.node if node.op_type == "Add" and node.output[0] not in int8}


def _ranges(path: Path, inputs: Iterable[Floats]) -> Any:
    """The smallest and largest values of the tensors that layers read and give."""
    from onnxruntime.quantization import CalibrationDataReader, create_calibrator

    class Reader(CalibrationDataReader):
        _left = iter(inputs)

        def get_next(self) -> dict[str, Floats] | None:
            pixels = next(self._left, None)
            return None if pixels is None else {INPUT: pixels}

    with TemporaryDirectory() as folder:
        calibrator = create_calibrator(path, list(QUANTIZED), str(Path(folder) / "ranges.onnx"))
        calibrator.collect_data(Reader())
        return calibrator.compute_data()
