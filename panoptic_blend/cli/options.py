"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.config.options import Precision

Overrides = Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")]
Model = Annotated[Path, typer.Argument(help="A checkpoint of ours, or a config (by name or path) with --weights.")]
Weights = Annotated[Path | None, typer.Option(help="Weights of any known kind, if MODEL is a config.")]
Config = Annotated[str | None, typer.Option(help="The config to use when MODEL is a file of weights.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, ...")]
NetworkPrecision = Annotated[Precision, typer.Option("--precision", help="Arithmetic of the network.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for what the command makes.")]
OptionalOutput = Annotated[Path | None, typer.Option("--output", "-o")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

TruthJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the truth.")]
ResultsJson = Annotated[Path, typer.Argument(help="COCO panoptic JSON of the results.")]
TruthFolder = Annotated[Path | None, typer.Option(help="PNGs of the truth; default: beside the JSON.")]
PredictionFolder = Annotated[Path | None, typer.Option(help="PNGs of the results; default: beside the JSON.")]
Compare = Annotated[
    Path | None, typer.Option(metavar="B.json", help="Other results for the same images; say if they differ.")
]
CompareFolder = Annotated[Path | None, typer.Option(help="PNGs of B; default: beside the JSON.")]
Missing = Annotated[Literal["error", "void"], typer.Option(help="Images without a prediction; void: count as empty.")]
Additional = Annotated[Literal["error", "ignore"], typer.Option(help="Predictions of images the truth lacks.")]
Area = Annotated[Literal["png", "json"], typer.Option(help="Areas of the truth; json: as the script of 2018.")]
Resamples = Annotated[int, typer.Option(min=1, help="Draws of images for the intervals.")]
BootstrapSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")]
Threads = Annotated[int | None, typer.Option("--workers", min=1, help="Threads; default: one per core.")]
