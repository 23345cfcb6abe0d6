"""The engines that run an exported graph; each is imported when a model is loaded that needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np

from panoptic_blend.deploy.manifest import GRAPH_FILES, MANIFEST, Manifest
from panoptic_blend.extras import require_extra
from panoptic_blend.failures import first_line
from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.structures import PanopticBlendError


class Graph(Protocol):
    """An exported network; several threads may call it at once."""

    def __call__(self, pixels: Floats) -> AbstractContextManager[Mapping[str, Floats]]:
        """The outputs for pixels (N, 3, H, W) float32 by name; valid until the end of the ``with`` block."""


def open_graph(folder: Path, manifest: Manifest, threads: int, at_once: int = 1) -> Graph:
    """Load the graph of an exported folder into its engine, whose ``threads`` are for ``at_once`` calls together.

    Raises:
        MissingExtraError: the engine is not installed.
        PanopticBlendError: the engine does not understand the graph, or it is not the one that the manifest describes.
    """
    require_extra(manifest.engine)
    path = folder / GRAPH_FILES[manifest.engine][0]
    try:
        graph = (_Onnx if manifest.engine == "onnx" else _OpenVino)(path, manifest, threads, at_once)
    except Exception as error:  # the engines have exceptions of their own
        raise PanopticBlendError(
            f"{path}: {manifest.engine} cannot load it ({first_line(error)}); update the engine, or export the model "
            "anew"
        ) from None
    if graph.ports() != {manifest.input.name: manifest.input.batch, **dict.fromkeys(manifest.outputs)}:
        raise PanopticBlendError(f"{path}: has other inputs and outputs than {MANIFEST} says; export the model anew")
    return graph


class _Onnx:
    """ONNX Runtime on the CPU."""

    def __init__(self, path: Path, manifest: Manifest, threads: int, at_once: int) -> None:
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = max(1, threads // at_once), 1
        options.enable_mem_pattern = False  # made for inputs of one size, which pictures do not have
        options.log_severity_level = 4  # errors come as exceptions, too
        self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input, self._names = manifest.input.name, list(manifest.outputs)

    def ports(self) -> dict[str, int | None]:
        """The inputs with their N, and the outputs, in their order."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        return {**{port.name: port.shape[0] for port in inputs}, **{port.name: None for port in outputs}}

    @contextmanager
    def __call__(self, pixels: Floats) -> Iterator[Mapping[str, Floats]]:
        values = self._session.run(self._names, {self._input: pixels})
        yield dict(zip(self._names, values, strict=True))


class _OpenVino:
    """OpenVINO on the CPU, with float32 for all that is not in int8: by itself it would round to bfloat16."""

    def __init__(self, path: Path, manifest: Manifest, threads: int, at_once: int) -> None:
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": at_once,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        openvino: Any = import_module("openvino")
        # Its first tensor must not be made by two threads at once: each would wait forever for what the other holds,
        # Python's lock or that of a static variable (seen with openvino 2026).
        _ = openvino.Tensor(np.zeros(1, dtype=np.float32), shared_memory=True).data
        self._model: Any = openvino.compile_model(path, "CPU", settings)
        self._input, self._names = manifest.input.name, list(manifest.outputs)
        self._free: SimpleQueue[Any] = SimpleQueue()

    def ports(self) -> dict[str, int | None]:
        """The inputs with their N, and the outputs, in their order."""
        inputs, outputs = self._model.inputs, self._model.outputs
        batches = {port.any_name: port.partial_shape[0].get_length() for port in inputs}
        return {**batches, **{port.any_name: None for port in outputs}}

    @contextmanager
    def __call__(self, pixels: Floats) -> Iterator[Mapping[str, Floats]]:
        try:
            request = self._free.get_nowait()
        except Empty:  # as many requests as there are threads at work
            request = self._model.create_infer_request()
        results = request.infer({self._input: pixels}, share_inputs=True, share_outputs=True)
        yield {name: results[name] for name in self._names}
        self._free.put(request)
