"""``panoptic-blend evaluate``, ``sweep`` and ``predict``: commands that run a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.config.options import Precision
from panoptic_blend.failures import doing
from panoptic_blend.files import locked
from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.formats.videos import VIDEO_SUFFIXES
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import print_tables, progress_line

if TYPE_CHECKING:
    from panoptic_blend.data.protocol import PanopticDataset
    from panoptic_blend.inference.predictor import Predictor
    from panoptic_blend.runtime.threads import Threads


def evaluate(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results as COCO JSON and PNG.")
    ] = None,
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
    form: options.Format = None,
) -> None:
    """Evaluate a model on the validation split of a data set (data.root=DIR data.val=SPLIT)."""
    from panoptic_blend.data.limits import exceeded_limits
    from panoptic_blend.inference.evaluation import evaluate
    from panoptic_blend.scoring.tables import evaluation_tables

    predictor, threads = _predictor(model, weights, config, overrides or (), device, precision)
    dataset = _validation(predictor)
    for line in exceeded_limits(predictor.config.model, dataset):
        print(line, file=sys.stderr)
    results = output / f"panoptic_{predictor.config.data.val}.json" if output else None
    lock = locked(output, "--output") if output else nullcontext()
    with doing("evaluate", folder=output), lock, progress_line("evaluating") as progress:
        evaluation = evaluate(
            predictor.model, dataset, predictor.config, results, precision, threads.following(progress)
        )
    place = [f"results are in {results}"] if results else []
    tables = evaluation_tables(evaluation.panoptic, evaluation.columns())
    print_tables(*tables, form=options.table_format(form), remarks=[*evaluation.doubts(), *place])


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
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Find the best thresholds for fusion: PQ of all combinations, from one run of a model on the validation split."""
    from panoptic_blend.sweep.apply import apply_setting, require_applicable
    from panoptic_blend.sweep.cache import open_cache
    from panoptic_blend.sweep.description import draw_heat_map, lines, table, write_csv
    from panoptic_blend.sweep.sweep import BEST, sweep

    if apply:
        require_applicable(model, apply)
    predictor, threads = _predictor(model, weights, config, overrides or (), device, precision)
    dataset = _validation(predictor)
    with doing("sweep", folder=output), locked(output, "--output"):
        with progress_line("running the model") as progress:
            cache = open_cache(output / "cache.zip", predictor, dataset, threads.following(progress), print)
        with progress_line("fusing") as progress, doing("fusing", lower="--workers"):
            found = sweep(cache, dataset, predictor.config, workers, progress, objective=objective)
        write_csv(found, output / "sweep.csv")
        draw_heat_map(found, output / "sweep.png")
    print_tables(table(found))
    print(*lines(found), f"all combinations: {output}/sweep.csv; heat map: {output}/sweep.png", sep="\n")
    if apply:
        apply_setting(model, predictor.config, found.highlight(BEST).setting, apply)
        print(f"the weights with the best setting: {apply}")


def predict(
    model: options.Model,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders of pictures, and changes to the config: key=value ...")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(help="A video instead of pictures (as is a single input with a video's suffix); drawn as an MP4."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Use only every N-th frame of the video.", metavar="N")] = 1,
    recursive: Annotated[bool, typer.Option("--recursive", help="Take the pictures of subfolders too.")] = False,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("predictions"),
    overrides: Annotated[list[str] | None, typer.Option("--set", hidden=True)] = None,
    device: options.Device = "cpu",
    precision: options.NetworkPrecision = "32-true",
    overwrite: options.Overwrite = False,
) -> None:
    """Predict panoptic maps of pictures or of the frames of a video; write them as COCO JSON and PNG, and draw them.

    After an interruption, run the same command again to continue.
    """
    named, changes = _pictures_and_overrides(inputs or ())
    if video is None and len(named) == 1 and _is_video(named[0]):
        [video], named = named, []
    if bool(named) == bool(video):
        raise PanopticBlendError("nothing to predict, or both pictures and a video; give pictures or --video FILE")
    if one := next(filter(_is_video, named), None):
        raise PanopticBlendError(f"{one}: is a video; predict each video by itself, in a folder of its own")
    from panoptic_blend.inference.find_pictures import find_pictures
    from panoptic_blend.inference.pictures import predict_pictures
    from panoptic_blend.inference.video import drawn_video, predict_video

    drawn = drawn_video(video, output) if video else output / "pictures"
    with doing("predict", folder=output), stoppable("interrupted; run the same command again to continue"):
        predictor, threads = _predictor(model, weights, config, [*(overrides or ()), *changes], device, precision)
        pictures, remarks = find_pictures(named, recursive, [output / "panoptic", output / "pictures"])
        for remark in remarks:
            print(remark, flush=True)
        lock = locked(output, "--output")
        with lock, progress_line("predicting", "images") as progress:
            show = threads.following(progress)
            if video:
                count = predict_video(predictor, video, output, show, every, overwrite)
            else:
                count = predict_pictures(predictor, pictures, output, show, overwrite)
    print(f"{count} panoptic maps: {output}/panoptic.json; drawings: {drawn}")


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _pictures_and_overrides(inputs: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Separate pictures from changes to the config, which contain a ``=`` and do not name a file or folder."""
    pictures, overrides = [], []
    for item in inputs:
        path = Path(item)
        if "=" in item and not path.exists() and path.suffix.lower() not in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
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
) -> tuple[Predictor, Threads]:
    """The model, and its threads: as many as there are free cores, if it runs on the CPU."""
    from panoptic_blend.inference.predictor import load
    from panoptic_blend.runtime.threads import Threads

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights exclude each other; give only one of the two")
    if config is not None:
        model, weights = Path(config), model
    threads = Threads(is_shared=device == "cpu")
    predictor = load(model, weights, device, overrides, precision)
    threads.start()
    return predictor, threads


def _validation(predictor: Predictor) -> PanopticDataset:
    """The validation split that the config names, after a check that it has the model's categories."""
    from panoptic_blend.data.dataset import CocoPanoptic
    from panoptic_blend.formats.coco_layout import find_root
    from panoptic_blend.inference.evaluation import require_same_categories

    data = predictor.config.data
    dataset = CocoPanoptic(find_root(data.root), data.val)
    require_same_categories(predictor.categories, dataset)
    return dataset
