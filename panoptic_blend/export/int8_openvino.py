"""A graph of OpenVINO in int8: rounding of activations and weights is part of the graph."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from torch import nn

from panoptic_blend.export.int8_parts import PARTS, parts_of_weights
from panoptic_blend.formats.images import Picture
from panoptic_blend.postprocessing.interpolation import Floats


class OpenVinoInt8:
    """See `Int8Graph`."""

    def __init__(
        self, path: Path, network: nn.Module, images: Sequence[Picture], pixels: Callable[[Picture], Floats]
    ) -> None:
        import openvino

        self._original = openvino.Core().read_model(path)
        self._layers = layers_of_parts(self._original, network)
        self.parts = list(self._layers)
        self._all = _int8(self._original.clone(), images, pixels)

    def write(self, float32: Collection[str], path: Path) -> None:
        """See `Int8Graph.write`."""
        import openvino

        graph = self._all.clone()
        set_back(graph, self._original, {name for part in float32 for name in self._layers[part]})
        name_by_place(graph)
        openvino.save_model(graph, path, compress_to_fp16=False)


def layers_of_parts(graph: Any, network: nn.Module) -> dict[str, list[str]]:
    """The names of the layers of each part in a graph of OpenVINO, which are recognized by their weights."""
    parts = parts_of_weights(network)
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    for layer in graph.get_ordered_ops():
        if layer.get_type_name().endswith(("Convolution", "MatMul")):
            for part in {parts[data] for data in _constants(layer) if data in parts}:
                found[part].append(layer.get_friendly_name())
    return {part: names for part, names in found.items() if names}


def _constants(layer: Any) -> Iterator[bytes]:
    """The bytes of the constants that a layer reads, directly or in another shape."""
    for value in layer.input_values():
        node = value.get_node()
        while node.get_type_name() == "Reshape":
            node = node.input_value(0).get_node()
        if node.get_type_name() == "Constant":
            yield node.data.tobytes()


def _int8(graph: Any, images: Sequence[Picture], pixels: Callable[[Picture], Floats]) -> Any:
    """A graph with all layers in int8.

    Group norms stay in float32: in int8 they cost PQ and are slower.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else nncf reports its use to its makers
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # else it warns where there is no CUDA
    import nncf

    nncf.set_log_level(logging.ERROR)
    with redirect_stdout(StringIO()):  # progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset(images, pixels),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["GroupNormalization"], validate=False),
        )


def set_back(graph: Any, original: Any, names: Set[str]) -> None:
    """Set the layers of some ``names`` in a quantized graph back to those of the ``original``."""
    known = {node.get_friendly_name(): node for node in original.get_ordered_ops()}
    for layer in graph.get_ordered_ops():
        if layer.get_friendly_name() not in names:
            continue
        rounded = layer.input_value(0).get_node()
        if rounded.get_type_name() == "FakeQuantize":
            layer.input(0).replace_source_output(rounded.input_value(0))
        before = known[layer.get_friendly_name()]
        for place in range(1, before.get_input_size()):
            if before.input_value(place).get_node().get_type_name() in ("Constant", "Reshape"):
                layer.input(place).replace_source_output(before.input_value(place))
        for reader in layer.output(0).get_target_inputs():
            _remove_correction(reader.get_node(), layer, known)


def _remove_correction(node: Any, layer: Any, known: Mapping[str, Any]) -> None:
    """Undo the change of the bias by which nncf makes up for the mean error of a layer, if ``node`` adds one."""
    if node.get_type_name() != "Add" or node.input_value(1).get_node().get_type_name() != "Constant":
        return
    if (before := known.get(node.get_friendly_name())) is not None:
        node.input(1).replace_source_output(before.input_value(1))
    else:  # the layer had no bias
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(layer.output(0))


def name_by_place(graph: Any) -> None:
    """Name all nodes of a graph by kind and place: OpenVINO numbers them over all graphs of a process."""
    graph.set_friendly_name("network")
    for place, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{place}")
