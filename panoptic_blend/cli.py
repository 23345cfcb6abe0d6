"""``panoptic-blend ...``: parse and dispatch, nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from panoptic_blend.config import Precision
from panoptic_blend.structures import PanopticBlendError

if TYPE_CHECKING:
    from panoptic_blend.data.convert.writing import Source, Target
    from panoptic_blend.inference import Predictor

app = typer.Typer(
    help="Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Make data sets.", no_args_is_help=True)
app.add_typer(data, name="data")
convert = typer.Typer(help="Make COCO panoptic of data sets in other formats.", no_args_is_help=True)
data.add_typer(convert, name="convert")
weights_app = typer.Typer(help="Say what weights are, and import those of others.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")

Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")]
Model = Annotated[Path, typer.Argument(help="A checkpoint of ours, or a config (by name or path) with --weights.")]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="Weights of any known kind, for that config.")]
ConfigOption = Annotated[str | None, typer.Option("--config", help="The other way round: config for MODEL, a file.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, ...")]
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic of the network.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for what the command makes.")]
Out = Annotated[Path, typer.Option(help="COCO root to write: SPLIT/, annotations/panoptic_SPLIT.json and PNGs.")]
SplitName = Annotated[str, typer.Option(help="Name of the split to write.")]
ValShare = Annotated[float, typer.Option(min=0, max=0.9, help="Share of the pictures that becomes the split val.")]
Seed = Annotated[int, typer.Option(min=0, help="Other seeds choose other pictures for val.")]
OverlapRule = Annotated[
    Literal["smaller", "later", "earlier"], typer.Option(help="Who keeps a pixel that two things or two stuffs claim.")
]
Rest = Annotated[str | None, typer.Option(help="Stuff class of the pixels nobody labelled; else they are void.")]
KeepEmpty = Annotated[bool, typer.Option("--keep-empty", help="Keep pictures without any segment.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the pictures instead of copying them.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]


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
        sys.exit(130)
    print(f"error: {message}" if code == PanopticBlendError.exit_code else message, file=sys.stderr)
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
    from panoptic_blend.data.dataset import CocoPanoptic, find_root
    from panoptic_blend.engine.evaluate import evaluate, require_same_categories
    from panoptic_blend.engine.tables import class_table, column_table, progress_line, quality_table

    predictor = _predictor(model, weights, config, overrides, device, precision)
    options = predictor.config
    dataset = CocoPanoptic(find_root(options.data.root), options.data.val)
    require_same_categories(predictor.categories, dataset.categories, dataset.paths.json)
    results = output / f"panoptic_{options.data.val}.json" if output else None
    with progress_line("evaluating") as progress:
        evaluation = evaluate(predictor.model, dataset, options, results, precision, progress)
    Console().print(
        class_table(evaluation.panoptic), quality_table(evaluation.panoptic), column_table(evaluation.columns())
    )
    if results:
        print(f"results are in {results}")


@app.command()
def predict(
    model: Model,
    inputs: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    weights: WeightsOption = None,
    config: ConfigOption = None,
    output: Output = Path("predictions"),
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Change to the config: key=value.")] = None,
    device: Device = "cpu",
    precision: PrecisionOption = "32-true",
) -> None:
    """Write panoptic maps of pictures as COCO JSON + PNG, and drawn over the photos."""
    from panoptic_blend.engine.predict import predict_pictures
    from panoptic_blend.engine.tables import progress_line

    predictor = _predictor(model, weights, config, overrides, device, precision)
    with progress_line("predicting") as progress:
        count = predict_pictures(predictor, inputs, output, progress)
    print(f"{count} panoptic maps: {output}/panoptic.json; drawn in {output}/pictures")


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
    truth: Annotated[Path, typer.Argument(help="COCO panoptic JSON of the truth.")],
    prediction: Annotated[Path, typer.Argument(help="COCO panoptic JSON of the results.")],
    truth_folder: Annotated[Path | None, typer.Option(help="PNGs of the truth; default: beside the JSON.")] = None,
    prediction_folder: Annotated[Path | None, typer.Option(help="PNGs of the results; likewise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures for machines.")] = False,
) -> None:
    """PQ, SQ and RQ of anyone's results, as the official script computes them."""
    from panoptic_blend.engine.evaluate_files import evaluate_files
    from panoptic_blend.engine.tables import class_table, progress_line, quality_table

    with progress_line("comparing") as progress:
        report = evaluate_files(truth, prediction, truth_folder, prediction_folder, progress)
    if as_json:
        print(json.dumps({**report.groups, "per_class": report.per_class}))
    else:
        Console().print(class_table(report), quality_table(report))


@data.command()
def shapes(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("datasets/shapes"),
    train: Annotated[int, typer.Option(min=0, help="Training images.")] = 2000,
    val: Annotated[int, typer.Option(min=0, help="Validation images.")] = 200,
    seed: int = 0,
) -> None:
    """Generate the Shapes data set in COCO panoptic format."""
    from panoptic_blend.data.shapes import write_shapes
    from panoptic_blend.engine.tables import progress_line

    with progress_line("generating") as progress:
        write_shapes(out, train, val, seed, lambda done: progress(done, train + val))
    print(f"{train} training and {val} validation images are in {out}")


@data.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Root of a data set in COCO's layout.")],
    split: Annotated[str | None, typer.Option(help="Only this one, like val2017; default: all there are.")] = None,
    cases: Annotated[int, typer.Option(min=0, help="How many of each kind of problem to tell.")] = 3,
    fix: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Write the split's JSON, corrected.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what is wrong with a COCO panoptic data set; exit code 1 if there are errors."""
    from panoptic_blend.data.doctor.checkup import check
    from panoptic_blend.engine.checkup_report import lines, record, summary_table
    from panoptic_blend.engine.tables import progress_line

    try:
        with progress_line("checking") as progress:
            report = check(root, split, cases=cases, workers=workers, progress=progress, fix=fix)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(record(report)))
    else:
        Console().print(summary_table(report))
        print(*lines(report), sep="\n")
    raise typer.Exit(0 if report.is_sound else 1)


@convert.command("coco-instances")
def convert_coco_instances(
    instances: Annotated[Path, typer.Argument(help="COCO instances JSON: polygons, RLE, crowds.")],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    out: Out,
    stuff: Annotated[list[str] | None, typer.Option(help="Categories of the JSON that are stuff: sky,road.")] = None,
    stuff_maps: Annotated[Path | None, typer.Option(help="Folder of grey stuff PNGs, named as pictures.")] = None,
    stuff_classes: Annotated[
        Path | None, typer.Option(help='Names of their values: {"1": "sky", "0": null}, or a JSON with categories.')
    ] = None,
    ignore_value: Annotated[int, typer.Option(min=0, help="Value of those PNGs that means nothing.")] = 255,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """COCO instances, with or without stuff as grey PNGs."""
    from panoptic_blend.data.convert.coco_instances import Stuff, read_coco_instances
    from panoptic_blend.data.convert.writing import Target

    if (stuff_maps is None) != (stuff_classes is None):
        raise PanopticBlendError("--stuff-maps and --stuff-classes say one thing together; give both")
    maps = Stuff(stuff_maps, stuff_classes, ignore_value) if stuff_maps and stuff_classes else None
    target = Target(out, split, val_share, seed, overlap, rest, keep_empty, link, overwrite)
    _convert(read_coco_instances(instances, pictures, _names(stuff), maps), target)


@convert.command("labelme")
def convert_labelme(
    folder: Annotated[Path, typer.Argument(help="Folder with one LabelMe JSON beside each picture, or around it.")],
    out: Out,
    stuff: Annotated[list[str] | None, typer.Option(help="Labels that are stuff: sky,road.")] = None,
    things: Annotated[
        list[str] | None, typer.Option(help="Labels that are things; default: all that are not stuff.")
    ] = None,
    void: Annotated[
        list[str] | None, typer.Option(help="Labels that mean nothing.", show_default="__ignore__,_background_")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures, if not beside the JSONs.")] = None,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """A folder of LabelMe files; shapes of one label and group_id are one instance."""
    from panoptic_blend.data.convert.labelme import VOID, Classes, read_labelme
    from panoptic_blend.data.convert.writing import Target

    classes = Classes(_names(things), _names(stuff), VOID if void is None else _names(void))
    target = Target(out, split, val_share, seed, overlap, rest, keep_empty, link, overwrite)
    _convert(read_labelme(folder, classes, pictures), target)


@convert.command("cityscapes")
def convert_cityscapes(
    panoptic_json: Annotated[Path, typer.Argument(help="cityscapes_panoptic_SPLIT.json of Cityscapes' own scripts.")],
    pictures: Annotated[Path, typer.Option(help="leftImg8bit, or its folder of the split.")],
    out: Out,
    maps: Annotated[Path | None, typer.Option(help="Folder of its PNGs; default: beside the JSON.")] = None,
    split: SplitName = "train",
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """The panoptic JSON and PNGs that createPanopticImgs makes, with label ids or train ids."""
    from panoptic_blend.data.convert.cityscapes import read_cityscapes
    from panoptic_blend.data.convert.writing import Target

    target = Target(out, split, keep_empty=keep_empty, link=link, overwrite=overwrite)
    _convert(read_cityscapes(panoptic_json, pictures, maps), target)


@data.command()
def coco(
    root: Annotated[Path, typer.Option(help="Folder to fill; all of COCO with its zips takes 40 GB.")] = Path(
        "datasets/coco"
    ),
    split: Annotated[list[str] | None, typer.Option(help="val2017 or train2017; default: both.")] = None,
    instances: Annotated[bool, typer.Option("--instances", help="Fetch instances_*.json too.")] = False,
    unzip_pngs: Annotated[bool, typer.Option(help="Unpack the PNGs, or leave annotations/panoptic_*.zip.")] = True,
    keep_zips: Annotated[bool, typer.Option("--keep-zips/--delete-zips", help="What to do with them after.")] = True,
    mirror: Annotated[str | None, typer.Option(help="Address to use instead of images.cocodataset.org.")] = None,
    checksums: Annotated[Path | None, typer.Option(help="SHA-256 of the zips, as sha256sum writes them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and how large it is.")] = False,
) -> None:
    """Fetch, check and unpack COCO for the panoptic task; run again to go on after a stop."""
    from panoptic_blend.data.coco_download import HOST, SPLITS, Feedback, Wish, plan, prepare
    from panoptic_blend.engine.tables import bytes_line

    wish = Wish(root, tuple(split or SPLITS), instances, unzip_pngs, keep_zips, mirror or HOST, checksums)
    if dry_run:
        print(*plan(wish).lines(), sep="\n")
        return
    try:
        with bytes_line() as progress:
            prepare(wish, Feedback(progress, print))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"COCO {' and '.join(wish.splits)}: complete in {root}")


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


def _convert(source: Source, target: Target) -> None:
    from panoptic_blend.data.convert.summary import lines
    from panoptic_blend.data.convert.writing import write
    from panoptic_blend.engine.tables import progress_line

    with progress_line("converting") as progress:
        summary = write(source, target, progress)
    print("\n".join([*lines(summary), f"the data set is in {target.root}"]))


def _names(values: list[str] | None) -> list[str]:
    """Labels given in one option with commas, in several, or both."""
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


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
