"""``panoptic-blend evaluate``, ``sweep`` and ``predict``: what a trained model is used for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.config.options import Precision
from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.data.protocol import PanopticDataset
    from panoptic_blend.inference.predictor import Predictor


def evaluate(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Keep results as COCO JSON + PNG.")] = None,
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Score a model on the validation split of a data set (data.root=... data.val=...)."""
    from panoptic_blend.inference.evaluation import evaluate
    from panoptic_blend.scoring.tables import evaluation_tables

    predictor = _predictor(model, weights, config, overrides or (), device, precision)
    dataset = _validation(predictor)
    results = output / f"panoptic_{predictor.config.data.val}.json" if output else None
    with progress_line("evaluating") as progress:
        evaluation = evaluate(predictor.model, dataset, predictor.config, results, precision, progress)
    Console().print(*evaluation_tables(evaluation.panoptic, evaluation.columns()))
    if results:
        print(f"results are in {results}")


def sweep(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("sweep"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that fuse; default: one per core.")] = None,
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """PQ over confidence, overlap and stuff area of fusion, from one run of a model on the validation split."""
    from panoptic_blend.sweep.cache import open_cache
    from panoptic_blend.sweep.description import draw_heat_map, lines, table, write_csv
    from panoptic_blend.sweep.sweep import sweep

    predictor = _predictor(model, weights, config, overrides or (), device, precision)
    dataset = _validation(predictor)
    with progress_line("running the model") as progress:
        cache = open_cache(output / "cache.zip", predictor, dataset, progress, print)
    with progress_line("fusing") as progress:
        found = sweep(cache, dataset, predictor.config, workers, progress)
    write_csv(found, output / "sweep.csv")
    draw_heat_map(found, output / "sweep.png")
    Console().print(table(found))
    print(*lines(found), f"all combinations are in {output}/sweep.csv, drawn in {output}/sweep.png", sep="\n")


def predict(
    model: options.Model,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders of them, and changes to the config: key=value ...")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="A video instead; it is drawn as an MP4.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take only every N-th frame of it.", metavar="N")] = 1,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("predictions"),
    overrides: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
    overwrite: options.Overwrite = False,
) -> None:
    """Write panoptic maps of pictures, or of a video's frames, as COCO JSON + PNG, and drawn over them.

    After an interruption the same command goes on where it was.
    """
    pictures, changes = _pictures_and_overrides(inputs or ())
    if bool(pictures) == bool(video):
        raise PanopticBlendError("give either pictures and folders of them, or --video FILE")
    from panoptic_blend.inference.pictures import predict_pictures
    from panoptic_blend.inference.video import drawn_video, predict_video

    drawn = drawn_video(video, output) if video else output / "pictures"
    with stoppable("interrupted; the same command goes on where it was"):
        predictor = _predictor(model, weights, config, [*(overrides or ()), *changes], device, precision)
        alone = locked(output, "wait for it, or choose another --output")
        with alone, progress_line("predicting", "images") as progress:
            if video:
                count = predict_video(predictor, video, output, progress, every, overwrite)
            else:
                count = predict_pictures(predictor, pictures, output, progress, overwrite)
    print(f"{count} panoptic maps: {output}/panoptic.json; drawn in {drawn}")


def _pictures_and_overrides(inputs: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Tell changes to the config from pictures: they contain a ``=`` and are no file or folder."""
    pictures, overrides = [], []
    for item in inputs:
        path = Path(item)
        if "=" in item and not path.exists():
            overrides.append(item)
        else:
            pictures.append(path)
    return pictures, overrides


def _predictor(
    model: Path,
    weights: Path | None,
    config: str | None,
    overrides: Iterable[str],
    device: str,
    precision: Precision,
) -> Predictor:
    from panoptic_blend.inference.predictor import load

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights are two ways to say one thing; give one of them")
    if config is not None:
        return load(config, model, device, overrides, precision)
    return load(model, weights, device, overrides, precision)


def _validation(predictor: Predictor) -> PanopticDataset:
    """The validation split that a model's config names; it has the model's categories."""
    from panoptic_blend.data.dataset import CocoPanoptic
    from panoptic_blend.formats.coco_layout import find_root
    from panoptic_blend.inference.evaluation import require_same_categories

    data = predictor.config.data
    dataset = CocoPanoptic(find_root(data.root), data.val)
    require_same_categories(predictor.categories, dataset)
    return dataset
