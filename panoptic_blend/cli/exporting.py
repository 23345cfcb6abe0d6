"""``panoptic-blend export``: a trained model as a graph for other programs."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.failures import doing
from panoptic_blend.files import replacing
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import print_tables, progress_line

if TYPE_CHECKING:
    from panoptic_blend.data.protocol import PanopticDataset
    from panoptic_blend.inference.predictor import Predictor


def export(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    to: Annotated[
        Literal["onnx", "openvino"], typer.Option(help="Format of the graph: ONNX, or that of OpenVINO.")
    ] = "onnx",
    output: options.Output = Path("exported"),
    batch: Annotated[
        int,
        typer.Option(min=1, help="Fixed number of pictures per run, for programs of your own: `predict` fills one."),
    ] = 1,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Data set on which model and export are compared: tensors, maps and PQ."),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--check-pictures", min=1, help="Largest number of its pictures, evenly spread.")
    ] = 100,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize the graph to int8; needs --calibrate.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Pictures for --int8: a folder, or a data set, whose training pictures are taken."
        ),
    ] = None,
    calibration_pictures: Annotated[
        int, typer.Option(min=1, help="Largest number of pictures of --calibrate, evenly spread.")
    ] = 100,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported model.")] = False,
) -> None:
    """Write a trained model as a folder that runs without torch: a graph, and all that belongs to it."""
    from rich.filesize import decimal

    from panoptic_blend.deploy.predictor import load as load_exported
    from panoptic_blend.export.check import CHECK, check_export
    from panoptic_blend.export.quantization import calibration_pictures as find_calibration
    from panoptic_blend.export.quantization import lines
    from panoptic_blend.export.writing import ExportRequest, export_model
    from panoptic_blend.inference.predictor import load

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights exclude each other; give only one of the two")
    if int8 != (calibrate is not None):
        missing = "--calibrate DIR with pictures like those to predict" if int8 else "--int8, or leave --calibrate out"
        raise PanopticBlendError(f"{model}: --int8 and --calibrate belong together; add {missing}")
    if check is not None and not check.is_dir():
        raise PanopticBlendError(f"{check}: no such folder; give --check a data set, or leave it out")
    quantizing = progress_line("quantizing", "graphs") if int8 else nullcontext()
    with doing("export", folder=output), quantizing as progress:
        predictor = load(config or model, model if config else weights, overrides=overrides or ())
        dataset = None if check is None else _validation(predictor, check, pictures)
        split = predictor.config.data.train
        calibration = find_calibration(calibrate, split, calibration_pictures) if calibrate else ()
        request = ExportRequest((weights or model).name, to, output, batch, overwrite, calibration)
        manifest = export_model(predictor, request, progress)
    size = sum((output / name).stat().st_size for name in manifest.files)
    print(f"{output}: {', '.join(manifest.files)}, {decimal(size)}")
    if manifest.quantization is not None:
        print("\n".join(lines(manifest.quantization)))
    if dataset is not None:
        with doing("check", folder=output), progress_line("checking", "images") as progress:
            found = check_export(predictor, load_exported(output), dataset, progress)
            with replacing(output / CHECK) as temporary:
                temporary.write_text(json.dumps(found.record(), indent=1), encoding="utf-8")
        print_tables(*found.tables(), remarks=[found.line(), f"all figures: {output / CHECK}"])


def _validation(predictor: Predictor, root: Path, pictures: int) -> PanopticDataset:
    """At most so many pictures of the validation split in a folder, with panoptic annotation."""
    from panoptic_blend.data.dataset import CocoPanoptic
    from panoptic_blend.data.splits import evenly
    from panoptic_blend.inference.evaluation import require_same_categories

    config = predictor.config
    dataset = CocoPanoptic(root, config.data.val)
    require_same_categories(predictor.categories, dataset, config.model.semantic.enabled)
    return dataset if len(dataset) <= pictures else evenly(dataset, pictures)
