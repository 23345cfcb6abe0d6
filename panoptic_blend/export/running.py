"""Run an exported graph in its engine, in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from panoptic_blend.deploy.manifest import GRAPH_FILES, Manifest

Array = npt.NDArray[np.float32]
Graph = Callable[[Array], dict[str, Array]]
"""From pixels (N, 3, H, W) to the outputs by name."""


def open_graph(folder: Path, manifest: Manifest) -> Graph:
    """The graph of an exported folder, in its engine."""
    path, names, given = folder / GRAPH_FILES[manifest.engine][0], list(manifest.outputs), manifest.input.name
    if manifest.engine == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda pixels: dict(zip(names, session.run(names, {given: pixels}), strict=True))
    import openvino

    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pixels: Array) -> dict[str, Array]:
        results = compiled({given: pixels})
        return {name: results[name] for name in names}

    return run
