"""``panoptic-blend export``: a trained model as a graph for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.deploy.manifest import Engine
from panoptic_blend.failures import doing
from panoptic_blend.structures import PanopticBlendError


def export(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    to: Annotated[Engine, typer.Option(help="Format of the graph: ONNX, or that of OpenVINO.")] = "onnx",
    output: options.Output = Path("exported"),
    batch: Annotated[int, typer.Option(min=1, help="Number of pictures per run of the graph, which is fixed.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """Write a trained model as a folder that runs without torch: a graph, and all that belongs to it."""
    from rich.filesize import decimal

    from panoptic_blend.export.writing import ExportRequest, export_model
    from panoptic_blend.inference.predictor import load

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights exclude each other; give only one of the two")
    request = ExportRequest((weights or model).name, to, output, batch, overwrite)
    with doing("export", folder=output):
        predictor = load(config or model, model if config else weights, overrides=overrides or ())
        manifest = export_model(predictor, request)
    size = sum((output / name).stat().st_size for name in manifest.files)
    print(f"{output}: {', '.join(manifest.files)}, {decimal(size)}")
