"""A small exported model that needs neither torch nor training: means of pixels, mixed at random."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from panoptic_blend.config.experiment import load_config
from panoptic_blend.deploy.manifest import MANIFEST, TOP_LAYER, Input, Manifest, Source, output_axes
from panoptic_blend.files import file_digest
from panoptic_blend.formats.categories import Categories, numbered_categories

CHANGES = [
    *("model.num_things=2", "model.num_stuff=3", "model.fpn.channels=32", "model.fcos.size_limits=[64,128]"),
    *("model.blender.attention_size=4", "model.blender.roi_size=14", "model.fusion.stuff_area=16"),
    *("model.fusion.confidence=0.1", "test.short_side=64", "test.long_side=128"),
]


def write_exported(folder: Path, categories: Categories | None = None) -> Path:
    """Write an exported folder for ONNX Runtime that finds things wherever there is light."""
    config = load_config("panoptic/blendmask_r50_3x", CHANGES)
    rng, levels = np.random.default_rng(0), {"p3": 8, "p4": 16, "p5": 32}
    outputs = output_axes(levels, 4, 4)
    channels = {"logits": 2, "distances": 4, "centerness": 1, "features": 32, "bases": 4, "semantic_logits": 4}
    nodes, weights = [], []
    for name in outputs:
        field = name.partition("_")[2] if name[0] == "p" else name
        stride = levels.get(name[:2], 4)
        weight = rng.normal(size=(channels[field], 3, 1, 1)).astype(np.float32) / 64
        weights.append(numpy_helper.from_array(abs(weight) if field == "distances" else weight, f"{name}_weight"))
        sides = [stride, stride]
        pool = helper.make_node("AveragePool", ["pixels"], [f"{name}_mean"], kernel_shape=sides, strides=sides)
        nodes += [pool, helper.make_node("Conv", [f"{name}_mean", f"{name}_weight"], [name])]
    shape: list[str | int | None] = [1, 3, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, None, None]) for name in outputs],
        weights,
    )
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )
    weight = rng.normal(size=(4 * 16, 32, 3, 3)).astype(np.float32) / 10
    np.savez(folder / TOP_LAYER, weight=weight, bias=np.zeros(4 * 16, np.float32))
    manifest = Manifest(
        engine="onnx",
        version="0",
        source=Source(file="means", sha256="0" * 64),
        config=config,
        categories=categories or numbered_categories(2, 3),
        input=Input(mean=(120.0, 110.0, 100.0), std=(1.0, 1.0, 1.0)),
        outputs=outputs,
        levels=levels,
        bottom_stride=4,
        semantic_stride=4,
        files={name: file_digest(folder / name) for name in ("model.onnx", TOP_LAYER)},
    )
    (folder / MANIFEST).write_text(json.dumps(manifest.record()))
    return folder
