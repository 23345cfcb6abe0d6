"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.config.precisions import Precision
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import TableFormat

Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")]
Model = Annotated[
    Path,
    typer.Argument(
        help="A checkpoint, a folder of `export`, a name of `weights list`, or a config (name or path) with --weights."
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="Weights in any supported format, or by name, if MODEL is a config.")
]
Config = Annotated[str | None, typer.Option(help="The config to use when MODEL is a file of weights.")]
Device = Annotated[str, typer.Option(help="Device to run on: cpu, cuda, cuda:0, mps, ...; auto: the best there is.")]
Devices = Annotated[int, typer.Option(min=1, help="Number of devices per node, which share the images.")]
Nodes = Annotated[int, typer.Option(min=1, help="Number of nodes; start the same command on each.")]
NetworkPrecision = Annotated[Precision, typer.Option("--precision", help="Numeric precision of the network.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output of an earlier run.")]
Format = Annotated[
    TableFormat | None, typer.Option("--format", help="Format of the printed tables.", show_default="text")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

TruthJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the ground truth.")]
ResultsJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the predictions.")]
TruthFolder = Annotated[Path | None, typer.Option(help="PNGs of the ground truth; default: beside its JSON.")]
PredictionFolder = Annotated[Path | None, typer.Option(help="PNGs of the predictions; default: beside their JSON.")]
Compare = Annotated[
    Path | None,
    typer.Option(metavar="B.json", help="Second predictions for the same images; test whether the two differ."),
]
CompareFolder = Annotated[Path | None, typer.Option(help="PNGs of the second predictions; default: beside B.json.")]
CompareMany = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="B.json",
        help="Other predictions for the same images: test whether the two differ; several are ranked, each with "
        "--compare.",
    ),
]
CompareFolders = Annotated[
    list[Path] | None,
    typer.Option(help="PNGs of the predictions of each --compare, in the same order; default: beside each JSON."),
]
Details = Annotated[
    Path | None,
    typer.Option(metavar="OUT", help="Folder for tables of all segments, images, classes and causes of error."),
]
DetailFormat = Annotated[
    Literal["csv", "parquet"], typer.Option("--table-format", help="Format of the tables of segments and images.")
]
Also = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="More figures, with commas: miou, pq-dagger, covering, thresholds, calibration; or all."
    ),
]
GroupBy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.csv", help="PQ of groups of images: columns `image` or `file_name`, and site, weather, ..."
    ),
]
FailUnder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[OF=]PQ",
        help="Exit with code 1 if PQ is below: 45, things=40, person=38; may be given several times.",
    ),
]
Junit = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checks of --fail-under as JUnit XML.")]
Github = Annotated[
    bool, typer.Option("--github", help="Print the checks of --fail-under as annotations of a GitHub workflow.")
]
Missing = Annotated[
    Literal["error", "void"], typer.Option(help="How to treat an image without a prediction: as an error, or as void.")
]
Additional = Annotated[
    Literal["error", "ignore"], typer.Option(help="How to treat a prediction for an image without ground truth.")
]
Area = Annotated[
    Literal["png", "json"],
    typer.Option(help="Source of the ground truth's areas: PNGs, or its JSON as in the official script of 2018."),
]
Resamples = Annotated[int, typer.Option(min=1, help="Number of bootstrap resamples for the intervals.")]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes; default: one per core, or one for few images.")
]


def paired_folders(compare: list[Path] | None, folders: list[Path] | None) -> list[tuple[Path, Path | None]]:
    """The results of each ``--compare`` with the folder of their PNGs, of which there are none or as many."""
    results = compare or []
    of_each: Sequence[Path | None] = folders or [None] * len(results)
    if len(of_each) != len(results):
        raise PanopticBlendError(
            f"{len(of_each)} --compare-folder for {len(results)} --compare; give one for each, in the same order"
        )
    return list(zip(results, of_each, strict=True))


def table_format(form: TableFormat | None, *, as_json: bool = False) -> TableFormat:
    """The format of tables; raises PanopticBlendError if JSON is asked for too."""
    if form and as_json:
        raise PanopticBlendError(f"--json and --format {form} exclude each other; give only one of the two")
    return form or "text"
