"""Overfit a model to a few real pictures: PQ on the same pictures must reach 80.

    python -m evaluation.overfit --data DIR

DIR is a COCO panoptic folder with the split val2017. Exits with 1 below the target.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from panoptic_blend.cli.running import guarded
from panoptic_blend.config.experiment import load_config
from panoptic_blend.training.loop import train

TARGET = 0.80


def overfit(
    data: Annotated[Path, typer.Option(help="COCO panoptic folder with the split val2017.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; a finished run is only evaluated.")] = Path(
        "runs/overfit"
    ),
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")] = None,
) -> None:
    """Train, evaluate, and compare with the target."""
    config = load_config("demo/coco_overfit_r18", [f"data.root={data}", *(overrides or [])])
    start = time.perf_counter()
    evaluation = train(config, output, resume=True)
    seconds = time.perf_counter() - start
    Console().print(*evaluation.tables())
    pq = evaluation.columns()["PQ"]
    verdict = "reached" if pq >= TARGET else "missed"
    Console().print(f"PQ {100 * pq:.1f} after {seconds:.0f} s; target {100 * TARGET:.0f} {verdict}; run: {output}")
    raise typer.Exit(int(pq < TARGET))


if __name__ == "__main__":
    guarded(lambda: typer.run(overfit))
