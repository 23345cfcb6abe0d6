"""``panoptic-blend ...``: parse and dispatch, nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from panoptic_blend.cli_data import data, stoppable
from panoptic_blend.config import Precision
from panoptic_blend.files import locked, printable
from panoptic_blend.structures import PanopticBlendError

if TYPE_CHECKING:
    from panoptic_blend.data.dataset import CocoPanoptic
    from panoptic_blend.inference import Predictor

app = typer.Typer(
    help="Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
weights_app = typer.Typer(help="Say what weights are, and import those of others.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")

Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")]
Model = Annotated[Path, typer.Argument(help="A checkpoint of ours, or a config (by name or path) with --weights.")]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="Weights of any known kind, for that config.")]
ConfigOption = Annotated[str | None, typer.Option("--config", help="The other way round: config for MODEL, a file.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, ...")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic of the network.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for what the command makes.")]
TruthJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the truth.")]
ResultsJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the results.")]
TruthFolder = Annotated[Path | None, typer.Option(help="PNGs of the truth; default: beside the JSON.")]
PredictionFolder = Annotated[Path | None, typer.Option(help="PNGs of the results; likewise.")]
Compare = Annotated[
    Path | None, typer.Option(metavar="B.json", help="Other results for the same images; say if they differ.")
]
CompareFolder = Annotated[Path | None, typer.Option(help="PNGs of B; likewise.")]
Missing = Annotated[Literal["error", "void"], typer.Option(help="Images without a prediction; void: count as empty.")]
Additional = Annotated[Literal["error", "ignore"], typer.Option(help="Predictions of images the truth lacks.")]
Area = Annotated[Literal["png", "json"], typer.Option(help="Areas of the truth; json: as the script of 2018.")]
Resamples = Annotated[int, typer.Option(min=1, help="Draws of images for the intervals.")]
Seed = Annotated[int, typer.Option(min=0, help="Of these draws.")]
Threads = Annotated[int | None, typer.Option("--workers", min=1, help="Threads; default: one per core.")]


def main(*command: str) -> None:
    """Run the command line, or one ``command`` of it with the arguments this process was given."""
    guarded(lambda: app([*command, *sys.argv[1:]]))


def guarded(command: Callable[[], object]) -> None:
    """Run a command; errors from outside end in one line and exit code 2, interrupted training in 75."""
    try:
        command()
        return
    except PanopticBlendError as error:
        message, code = str(error), error.exit_code
    except OSError as error:
        message = f"{error.filename or 'operating system'}: {error.strerror or error}; check the path and the disk"
        code = PanopticBlendError.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    print(printable(f"error: {message}" if code == PanopticBlendError.exit_code else message), file=sys.stderr)
    sys.exit(code)


@app.command()
def demo(
    output: Output = Path("runs/demo"),
    data_root: Annotated[Path, typer.Option("--data", help="Folder of the Shapes data set.")] = Path("datasets/shapes"),
) -> None:
    """Generate Shapes, train on it, evaluate, and draw what was learned; reuses what is there."""
    from panoptic_blend.engine.demo import run_demo

    run_demo(output, data_root)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="Config by name, like panoptic/blendmask_r50_3x, or path.")],
    overrides: Overrides = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: runs/<config>.")] = None,
    resume: Annotated[
        Literal["auto"] | None, typer.Option(help="auto: go on from the newest whole state in the folder, if any.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Start from a file of any known kind, or `imagenet`.")] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Load what fits, start heads of other classes anew.")
    ] = False,
    devices: Annotated[int | None, typer.Option(min=1, help="Devices of each node. [default: train.devices]")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines. [default: train.nodes]")] = None,
) -> None:
    """Train a model on a COCO panoptic data set and evaluate it.

    Exit code 0: finished. 75: interrupted, to be resumed. 2: an error.
    """
    from panoptic_blend.config import load_config
    from panoptic_blend.engine.ranks import is_first
    from panoptic_blend.engine.tables import class_table, column_table, quality_table
    from panoptic_blend.engine.train import train

    folder = output or Path("runs") / Path(config).stem
    given = {"weights": weights and json.dumps(weights), "partial": partial or None, "devices": devices, "nodes": nodes}
    changes = [f"train.{key}={value}" for key, value in given.items() if value is not None]
    evaluation = train(load_config(config, [*(overrides or ()), *changes]), folder, resume == "auto")
    if not is_first():
        return
    Console().print(
        class_table(evaluation.panoptic), quality_table(evaluation.panoptic), column_table(evaluation.columns())
    )
    print(f"weights, log and results are in {folder}")


@app.command()
def evaluate(
    model: Model,
    overrides: Overrides = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Keep results as COCO JSON + PNG.")] = None,
    device: Device = "cpu",
    precision: PrecisionOption = "32-true",
) -> None:
    """Score a model on the validation split of a data set (data.root=... data.val=...)."""
    from panoptic_blend.engine.evaluate import evaluate
    from panoptic_blend.engine.tables import class_table, column_table, progress_line, quality_table

    predictor = _predictor(model, weights, config, overrides, device, precision)
    options = predictor.config
    dataset = _validation(predictor)
    results = output / f"panoptic_{options.data.val}.json" if output else None
    with progress_line("evaluating") as progress:
        evaluation = evaluate(predictor.model, dataset, options, results, precision, progress)
    Console().print(
        class_table(evaluation.panoptic), quality_table(evaluation.panoptic), column_table(evaluation.columns())
    )
    if results:
        print(f"results are in {results}")


@app.command()
def sweep(
    model: Model,
    overrides: Overrides = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    output: Output = Path("sweep"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that fuse; default: one per core.")] = None,
    device: Device = "cpu",
    precision: PrecisionOption = "32-true",
) -> None:
    """PQ over confidence, overlap and stuff area of fusion, from one run of a model on the validation split."""
    from panoptic_blend.engine.fusion_cache import open_cache
    from panoptic_blend.engine.sweep import sweep
    from panoptic_blend.engine.sweep_report import draw_heat_map, lines, table, write_csv
    from panoptic_blend.engine.tables import progress_line

    predictor = _predictor(model, weights, config, overrides, device, precision)
    options = predictor.config
    dataset = _validation(predictor)
    with progress_line("running the model") as progress:
        cache = open_cache(output / "cache.zip", predictor, dataset, progress, print)
    with progress_line("fusing") as progress:
        found = sweep(cache, dataset, options, workers, progress)
    write_csv(found, output / "sweep.csv")
    draw_heat_map(found, output / "sweep.png")
    Console().print(table(found))
    print(*lines(found), f"all combinations are in {output}/sweep.csv, drawn in {output}/sweep.png", sep="\n")


@app.command()
def predict(
    model: Model,
    inputs: Annotated[list[Path] | None, typer.Argument(help="Pictures, or folders of them.")] = None,
    video: Annotated[Path | None, typer.Option(help="A video instead; it is drawn as an MP4.")] = None,
    every: Annotated[int, typer.Option(min=1, help="Take only each so many-th frame of it.")] = 1,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    output: Output = Path("predictions"),
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change to the config: key=value.")] = None,
    device: Device = "cpu",
    precision: PrecisionOption = "32-true",
    overwrite: Overwrite = False,
) -> None:
    """Write panoptic maps of pictures, or of a video's frames, as COCO JSON + PNG, and drawn over them.

    Interrupted, the same command goes on where it was.
    """
    if bool(inputs) == bool(video):
        raise PanopticBlendError("give either pictures and folders of them, or --video FILE")
    from panoptic_blend.engine.predict import predict_pictures
    from panoptic_blend.engine.predict_video import drawn_video, predict_video
    from panoptic_blend.engine.tables import progress_line

    drawn = drawn_video(video, output) if video else output / "pictures"
    with stoppable("interrupted; the same command goes on where it was"):
        predictor = _predictor(model, weights, config, overrides, device, precision)
        alone = locked(output, "wait for it, or choose another --output")
        with alone, progress_line("predicting", "images") as progress:
            if video:
                count = predict_video(predictor, video, output, progress, every, overwrite)
            else:
                count = predict_pictures(predictor, inputs or [], output, progress, overwrite)
    print(f"{count} panoptic maps: {output}/panoptic.json; drawn in {drawn}")


@app.command()
def draw(
    panoptic_json: Annotated[Path, typer.Argument(help="COCO panoptic JSON of a data set or of predictions.")],
    pictures: Annotated[Path, typer.Argument(help="Folder of the photos.")],
    maps: Annotated[Path | None, typer.Option(help="Folder of its PNGs; default: beside the JSON.")] = None,
    output: Output = Path("drawings"),
    scale: Annotated[int, typer.Option(min=1, max=16, help="Enlarge small photos so that labels fit.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
) -> None:
    """Draw panoptic maps over their photos."""
    from panoptic_blend.engine.predict import draw_json
    from panoptic_blend.engine.tables import progress_line

    with progress_line("drawing") as progress:
        count = draw_json(panoptic_json, pictures, output, maps, scale, limit, progress)
    print(f"{count} drawings are in {output}")


@app.command()
def pq(
    truth: TruthJson,
    prediction: ResultsJson,
    truth_folder: TruthFolder = None,
    prediction_folder: PredictionFolder = None,
    details: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Folder for tables of every segment, image, class, cause.")
    ] = None,
    table_format: Annotated[
        Literal["csv", "parquet"], typer.Option(help="Of its long tables: segments and images.")
    ] = "csv",
    compare: Compare = None,
    compare_folder: CompareFolder = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Boundary PQ too.")] = False,
    missing: Missing = "error",
    additional: Additional = "error",
    area: Area = "png",
    resamples: Resamples = 1000,
    seed: Seed = 0,
    workers: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures for machines.")] = False,
) -> None:
    """PQ, SQ and RQ of anyone's results, as the official script computes them; with --details, why."""
    from panoptic_blend.engine.file_pairs import FilePolicy
    from panoptic_blend.engine.pq_command import Request, run

    policy = FilePolicy(missing, additional, area)
    other = (compare, compare_folder) if compare else None
    request = Request(
        *(truth, prediction, truth_folder, prediction_folder, other),
        *(details, boundary, policy, workers, table_format),
    )
    with stoppable("stopped; nothing was written"):
        run(request, resamples, seed, as_json)


@app.command()
def report(
    truth: TruthJson,
    prediction: ResultsJson,
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the photos.")],
    out: Annotated[Path, typer.Option(help="The page to write; what is large comes into a folder beside it.")] = Path(
        "report.html"
    ),
    truth_folder: TruthFolder = None,
    prediction_folder: PredictionFolder = None,
    compare: Compare = None,
    compare_folder: CompareFolder = None,
    missing: Missing = "error",
    additional: Additional = "error",
    area: Area = "png",
    resamples: Resamples = 1000,
    seed: Seed = 0,
    workers: Threads = None,
    size: Annotated[int, typer.Option(min=64, max=8192, help="Longest side of photos and maps in it.")] = 1024,
    overwrite: Overwrite = False,
) -> None:
    """One page for any browser: figures, classes, confusion, error budget, and every image with its errors."""
    from panoptic_blend.engine.file_pairs import FilePolicy
    from panoptic_blend.engine.pq_details import Resampling
    from panoptic_blend.engine.report.command import ReportRequest, write_report
    from panoptic_blend.engine.tables import progress_line

    policy = FilePolicy(missing, additional, area)
    other = (compare, compare_folder) if compare else None
    folders = truth_folder, prediction_folder
    request = ReportRequest(truth, prediction, images, out, *folders, other, policy, workers, size, overwrite)
    with stoppable("stopped; nothing was written"), progress_line("comparing", "images") as progress:
        written = write_report(request, Resampling(resamples, seed=seed), progress)
    print(f"{written[0]} is the report" + (f"; {written[1]} belongs to it" if written[1:] else ", a single file"))


@weights_app.command("inspect")
def weights_inspect(
    file: Annotated[Path, typer.Argument(help="Weights of any kind.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what a file of weights is, and which configs it fits."""
    from panoptic_blend.checkpoints.description import lines, record
    from panoptic_blend.checkpoints.inspection import inspect_weights

    inspection = inspect_weights(file)
    print(json.dumps({"file": str(file), **record(inspection)}) if as_json else f"{file}: {lines(inspection)}")


@weights_app.command("import")
def weights_import(
    official: Annotated[Path, typer.Argument(help="Weights of the official BlendMask, of detectron2, or ours bare.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint to write, a .safetensors.")],
    config: Annotated[str | None, typer.Option(help="Config they are for; default: the one they fit.")] = None,
    categories: Annotated[Path | None, typer.Option(help="COCO panoptic JSON with the classes they know.")] = None,
) -> None:
    """Write weights of others as a checkpoint of ours, with config and categories."""
    from panoptic_blend.checkpoints.importing import import_weights

    done = import_weights(official, out, config, categories)
    stuff = f" and {len(done.categories.stuff_ids)} stuff" if done.config.model.semantic.enabled else ""
    classes = f"{len(done.categories.thing_ids)} things{stuff}"
    config, *others = done.names
    print(f"{out}: {config}, {classes}" + (f"; fits {', '.join(others)} too" if others else ""))


def _predictor(
    model: Path,
    weights: Path | None,
    config: str | None,
    overrides: list[str] | None,
    device: str,
    precision: Precision,
) -> Predictor:
    from panoptic_blend.inference import load

    if weights is not None and config is not None:
        raise PanopticBlendError(f"{model}: --config and --weights are two ways to say one thing; give one of them")
    if config is not None:
        return load(config, model, device, overrides or (), precision)
    return load(model, weights, device, overrides or (), precision)


def _validation(predictor: Predictor) -> CocoPanoptic:
    """The validation split that a model's config names; it has the model's categories."""
    from panoptic_blend.data.dataset import CocoPanoptic, find_root
    from panoptic_blend.engine.evaluate import require_same_categories

    options = predictor.config.data
    dataset = CocoPanoptic(find_root(options.root), options.val)
    require_same_categories(predictor.categories, dataset.categories, dataset.paths.json)
    return dataset
