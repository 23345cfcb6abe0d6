"""Write a traced network in the format of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.export import ExportedProgram

from panoptic_blend.deploy.manifest import GRAPH_FILES, Engine
from panoptic_blend.export.tracing import INPUT

OPSET = 19
"""The version of ONNX's operators: the first with deformable convolutions."""


def write_graph(program: ExportedProgram, engine: Engine, outputs: Sequence[str], folder: Path) -> None:
    """Write the files of a graph into a folder.

    Args:
        program: the network as `tracing.trace` gives it.
        engine: whose files are written.
        outputs: the names of the outputs, in their order.
    """
    _WRITERS[engine](program, outputs, folder / GRAPH_FILES[engine][0])


def _write_onnx(program: ExportedProgram, outputs: Sequence[str], path: Path) -> None:
    exported = torch.onnx.export(
        program, dynamo=True, input_names=[INPUT], output_names=outputs, opset_version=OPSET, verbose=False
    )
    assert exported is not None
    graph = exported.model.graph
    for part in (graph, *graph):
        part.metadata_props.clear()  # they hold the stack traces of the export, with the paths of this machine
    exported.save(path, external_data=False)


def _write_openvino(program: ExportedProgram, outputs: Sequence[str], path: Path) -> None:
    import openvino

    [example], _ = program.example_inputs
    model = openvino.convert_model(program)
    model.reshape([*example.shape[:2], -1, -1])
    for port, name in zip([*model.inputs, *model.outputs], [INPUT, *outputs], strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)


_WRITERS: dict[Engine, Callable[[ExportedProgram, Sequence[str], Path], None]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
}
