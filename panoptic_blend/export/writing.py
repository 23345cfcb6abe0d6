"""Write a trained model as an exported folder, whole or not at all, and prove that its graph computes the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import panoptic_blend
from panoptic_blend.checkpoints.digest import weights_digest
from panoptic_blend.deploy.engines import open_graph
from panoptic_blend.deploy.manifest import (
    MANIFEST,
    TOP_LAYER,
    Engine,
    Input,
    Manifest,
    Quantization,
    Source,
    file_names,
    is_exported,
    output_axes,
)
from panoptic_blend.export.graphs import write_graph
from panoptic_blend.export.quantization import quantize
from panoptic_blend.export.tracing import INPUT, PixelNetwork, trace
from panoptic_blend.extras import require_extra
from panoptic_blend.files import file_digest, filling, require_empty
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.machine import cores
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.kernels import KernelMerge
from panoptic_blend.models.mask_scoring import MaskScorer
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.publishing.push import public_config
from panoptic_blend.structures import PanopticBlendError, Progress

TOLERANCE = 1e-3
"""Largest difference between graph and network in an export, as a share of the largest value of the tensor."""


@dataclass(frozen=True)
class ExportRequest:
    """What to write.

    Args:
        source: the name of the weights, for the manifest.
        engine: whose format is written.
        folder: the folder to write.
        batch: N, which is fixed in the graph.
        overwrite: whether an exported model in the folder is replaced.
        calibration: pictures for an export in int8; none for float32.
    """

    source: str
    engine: Engine
    folder: Path
    batch: int = 1
    overwrite: bool = False
    calibration: Sequence[Path] = ()


def export_model(predictor: Predictor, request: ExportRequest, progress: Progress | None = None) -> Manifest:
    """Export a model; the folder appears when the graph was found to compute what the network does.

    An export in int8 is made from the graph that was compared; ``progress`` follows its quantization.

    Raises:
        MissingExtraError: the extra ``export`` is not installed.
        PanopticBlendError: the model cannot be exported, its graph computes something else, or the folder holds
            something else than an exported model.
    """
    _require_exportable(predictor, request)
    model, branch = predictor.model, _blendmask(predictor)
    program = trace(model, max(branch.strides), request.batch)
    with filling(request.folder, overwrite=request.overwrite) as folder:
        write_graph(program, request.engine, list(_outputs(model, branch)), folder)
        if branch.top_layer is not None:
            weight, bias = (value.detach().numpy() for value in branch.top_layer.parameters())
            np.savez(folder / TOP_LAYER, weight=weight, bias=bias)
        manifest = _write_manifest(predictor, request, folder)
        _require_same(predictor, manifest, folder)
        if request.calibration:
            found = quantize(folder, model, request.calibration, progress)
            manifest = _write_manifest(predictor, request, folder, found)
    return manifest


def _write_manifest(
    predictor: Predictor, request: ExportRequest, folder: Path, quantization: Quantization | None = None
) -> Manifest:
    names = file_names(request.engine, predictor.config.model)
    manifest = describe(predictor, request, {name: file_digest(folder / name) for name in names}, quantization)
    (folder / MANIFEST).write_text(json.dumps(manifest.record(), indent=1), encoding="utf-8")
    return manifest


def describe(
    predictor: Predictor, request: ExportRequest, files: dict[str, str], quantization: Quantization | None = None
) -> Manifest:
    """The manifest of an export; ``files`` are those of `manifest.file_names` with their SHA-256."""
    model, branch = predictor.model, _blendmask(predictor)
    return Manifest(
        engine=request.engine,
        precision="float32" if quantization is None else "int8",
        quantization=quantization,
        version=panoptic_blend.__version__,
        source=Source(file=request.source, sha256=weights_digest(model)),
        config=public_config(predictor.config),
        categories=predictor.categories,
        input=Input(name=INPUT, batch=request.batch, mean=_triple(model.pixel_mean), std=_triple(model.pixel_std)),
        outputs=_outputs(model, branch),
        levels=dict(zip(branch.levels, branch.strides, strict=True)),
        bottom_stride=branch.bottom.stride,
        semantic_stride=None if model.semantic is None else model.semantic.stride,
        files=files,
    )


def _triple(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue


def _outputs(model: PanopticBlend, branch: BlendMask) -> dict[str, str]:
    semantic_stride = None if model.semantic is None else model.semantic.stride
    levels = dict(zip(branch.levels, branch.strides, strict=True))
    return output_axes(levels, branch.bottom.stride, semantic_stride, has_quality="centerness" in branch.fields)


def _require_exportable(predictor: Predictor, request: ExportRequest) -> None:
    """Raise what can be said before any work, as `export_model` does."""
    require_extra("export")
    _blendmask(predictor)
    folder = request.folder
    if not is_exported(folder):
        if request.overwrite and folder.exists():
            raise PanopticBlendError(f"{folder}: is not an exported model and is not replaced; choose another --output")
        require_empty(folder)
    elif not request.overwrite:
        raise PanopticBlendError(f"{folder}: holds an exported model; add --overwrite, or choose another --output")


def _blendmask(predictor: Predictor) -> BlendMask:
    branch = predictor.model.instances
    if not isinstance(branch, BlendMask):
        raise PanopticBlendError(
            "model.instances=mask_rcnn cannot be exported: its heads run on the proposals of each picture, not in one "
            "graph; choose a BlendMask config"
        )
    if isinstance(branch.merge, KernelMerge):
        raise PanopticBlendError(
            f"model.blender.merge={predictor.config.model.blender.merge} cannot be exported: the runtime of exported "
            "models knows attentions, not kernels; choose a config that blends"
        )
    if isinstance(branch.scorer, MaskScorer):
        raise PanopticBlendError(
            "model.blender.rescoring=mask_iou cannot be exported: the runtime of exported models has no network for "
            "masks; export with model.blender.rescoring=maskness"
        )
    return branch


def _require_same(predictor: Predictor, manifest: Manifest, folder: Path) -> None:
    """Raise unless the graph computes what the network does, at the smallest size and at another."""
    network, multiple, batch = PixelNetwork(predictor.model), manifest.input.multiple, manifest.input.batch
    graph, generator = open_graph(folder, manifest, cores()), torch.Generator().manual_seed(0)
    for rows, columns in ((1, 1), (3, 5)):
        pixels = 255 * torch.rand(batch, 3, rows * multiple, columns * multiple, generator=generator)
        with torch.inference_mode():
            expected = network(pixels)
        with graph(pixels.numpy()) as found:
            differences = {name: float(np.abs(found[name] - value.numpy()).max()) for name, value in expected.items()}
        for name, difference in differences.items():
            if not difference <= TOLERANCE * max(float(expected[name].abs().max()), 1):
                raise PanopticBlendError(
                    f"{manifest.engine}: its graph computes another {name} than the network, by {difference:.2g}; "
                    "export to another format"
                )
