"""``panoptic-blend draw``: drawings of panoptic maps, which need neither model nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.failures import doing
from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line


def draw(
    panoptic_json: Annotated[Path, typer.Argument(help="COCO panoptic JSON of a data set or of predictions.")],
    pictures: Annotated[Path, typer.Argument(help="Folder of the photos.")],
    maps: Annotated[Path | None, typer.Option(help="Folder of the PNGs; default: beside the JSON.")] = None,
    output: options.Output = Path("drawings"),
    scale: Annotated[
        int | None,
        typer.Option(
            min=1, max=16, help="Enlarge the photos by this factor, so that labels fit; --beside does so by itself."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw only the first N images.", metavar="N")] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="JSON of the data set, for results without `images` and `categories`; --beside draws it too."
        ),
    ] = None,
    truth_folder: options.TruthFolder = None,
    beside: Annotated[
        Path | None, typer.Option(metavar="B.json", help="Draw photo, --truth, the first and these maps side by side.")
    ] = None,
    beside_maps: Annotated[Path | None, typer.Option(help="PNGs of B.json; default: beside it.")] = None,
) -> None:
    """Draw panoptic maps over their photos, those of one file or of two models side by side."""
    from panoptic_blend.drawing.results import MapsFile, draw_beside, draw_json

    if truth_folder and not (beside and truth):
        raise PanopticBlendError("--truth-folder draws nothing alone; give --beside and --truth too, or leave it out")
    if beside_maps and not beside:
        raise PanopticBlendError("--beside-maps draws nothing alone; give --beside too, or leave it out")
    with doing("draw", folder=output), locked(output, "--output"), progress_line("drawing") as progress:
        if beside:
            both = MapsFile(panoptic_json, maps), MapsFile(beside, beside_maps)
            shown = MapsFile(truth, truth_folder) if truth else None
            count = draw_beside(*both, pictures, output, scale, limit, progress, shown)
        else:
            count = draw_json(panoptic_json, pictures, output, maps, scale or 1, limit, progress, truth)
    print(f"{count} drawings: {output}")
