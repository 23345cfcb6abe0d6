"""Run an exported model in its engine, in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from panoptic_blend.deploy.manifest import GRAPH_FILES, TOP_LAYER, Manifest, read_manifest
from panoptic_blend.models.batching import frame
from panoptic_blend.postprocessing.blending import TopLayer
from panoptic_blend.postprocessing.outputs import PostProcessing

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


@dataclass(frozen=True)
class ExportedModel:
    """An exported folder that was opened: its graph, and the steps after it."""

    manifest: Manifest
    graph: Graph
    finish: PostProcessing

    @classmethod
    def opened(cls, folder: Path) -> ExportedModel:
        """Open a folder; raises PanopticBlendError as `read_manifest` does."""
        manifest = read_manifest(folder)
        options, top_layer = manifest.config.model, None
        if TOP_LAYER in manifest.files:
            with np.load(folder / TOP_LAYER, allow_pickle=False) as layer:
                top_layer = TopLayer(layer["weight"], layer["bias"], options.bottom.num_bases)
        strides = manifest.levels, manifest.bottom_stride, manifest.semantic_stride
        return cls(manifest, open_graph(folder, manifest), PostProcessing(options, *strides, top_layer))

    def tensors(self, image: Tensor) -> dict[str, Array]:
        """The outputs of the graph for an image (3, H, W) uint8, alone in its batch or among copies of itself."""
        height, width = frame([image])
        mean = torch.tensor(self.manifest.input.mean)[:, None, None]
        pixels = mean.repeat(self.manifest.input.batch, 1, height, width)
        pixels[:, :, : image.shape[1], : image.shape[2]] = image
        return {name: value[:1] for name, value in self.graph(pixels.numpy()).items()}
