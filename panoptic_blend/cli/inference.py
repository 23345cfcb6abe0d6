"""``panoptic-blend evaluate`` and ``sweep``: commands that run a trained model on a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.models import running
from panoptic_blend.failures import doing
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import print_tables, progress_line

if TYPE_CHECKING:
    from panoptic_blend.data.protocol import PanopticDataset
    from panoptic_blend.prediction.protocol import PicturePredictor


def evaluate(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results as COCO JSON and PNG.")
    ] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    nodes: options.Nodes = 1,
    precision: options.NetworkPrecision = "32-true",
    form: options.Format = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print AP and AR of every class too.")] = False,
) -> None:
    """Evaluate a model on the validation split of a data set (data.root=DIR data.val=SPLIT)."""
    from panoptic_blend.data.limits import exceeded_limits
    from panoptic_blend.formats.instance_results import FILE_NAME
    from panoptic_blend.inference.evaluation import evaluate
    from panoptic_blend.inference.predictor import Predictor

    with running(model, weights, config, overrides or (), device, devices, nodes, precision) as on:
        dataset = validation(on.predictor)
        if on.team.is_first:
            for line in exceeded_limits(on.predictor.config.model, dataset):
                print(line, file=sys.stderr)
        results = output / f"panoptic_{on.predictor.config.data.val}.json" if output else None
        instance_results = output / FILE_NAME if output else None
        with doing("evaluate", folder=output), on.locked(output), on.progress("evaluating") as progress:
            predictor = on.of_any_kind()
            trained = predictor.model if isinstance(predictor, Predictor) else predictor
            evaluation = evaluate(
                trained,
                dataset,
                predictor.config,
                results,
                precision,
                progress,
                team=on.team,
                instance_results=instance_results,
            )
    if not on.team.is_first:
        return
    place = [f"results are in {results}, detections in {instance_results}"] if results else []
    print_tables(
        *evaluation.tables(per_class=per_class), form=options.table_format(form), remarks=[*evaluation.doubts(), *place]
    )


def sweep(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("sweep"),
    objective: Annotated[
        Literal["pq", "things", "stuff"], typer.Option(help="Rank by PQ of all classes, of things, or of stuff.")
    ] = "pq",
    apply: Annotated[
        Path | None,
        typer.Option(metavar="OUT.safetensors", help="Write a copy of the checkpoint with the best setting in it."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes for fusion; default: one per core.")] = None,
    device: options.Device = "auto",
    devices: options.Devices = 1,
    nodes: options.Nodes = 1,
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Find the best thresholds for fusion: PQ of all combinations, from one run of a model on the validation split."""
    from panoptic_blend.deploy.manifest import is_exported
    from panoptic_blend.sweep.apply import apply_setting, require_applicable
    from panoptic_blend.sweep.cache import open_cache
    from panoptic_blend.sweep.description import draw_heat_map, lines, table, write_csv
    from panoptic_blend.sweep.sweep import BEST, sweep

    if apply:
        if is_exported(model):
            raise PanopticBlendError(f"{model}: --apply writes a checkpoint; sweep that of the exported model instead")
        require_applicable(model, apply)
    with running(model, weights, config, overrides or (), device, devices, nodes, precision) as on:
        dataset = validation(on.predictor)
        with doing("sweep", folder=output), on.locked(output):
            with on.progress("running the model") as progress:
                cache = open_cache(output / "cache.zip", on.of_any_kind(), dataset, progress, print, on.team)
            if not on.team.is_first:
                return
            with progress_line("fusing") as progress, doing("fusing", lower="--workers"):
                found = sweep(cache, dataset, on.predictor.config, workers, progress, objective=objective)
            write_csv(found, output / "sweep.csv")
            draw_heat_map(found, output / "sweep.png")
    print_tables(table(found))
    print(*lines(found), f"all combinations: {output}/sweep.csv; heat map: {output}/sweep.png", sep="\n")
    if apply:
        apply_setting(model, on.predictor.config, found.highlight(BEST).setting, apply)
        print(f"the weights with the best setting: {apply}")


def validation(predictor: PicturePredictor) -> PanopticDataset:
    """The validation split that the config names, after a check that it has the model's categories."""
    from panoptic_blend.data.splits import open_validation
    from panoptic_blend.inference.evaluation import require_same_categories

    dataset, remarks = open_validation(predictor.config)
    for remark in remarks:
        print(remark, file=sys.stderr)
    require_same_categories(predictor.categories, dataset, predictor.config.model.semantic.enabled)
    return dataset
