"""The ablations of the BlendMask paper at small scale: which part does what, with intervals over pictures and seeds.

    python -m evaluation.ablations all --seeds 3 --budget 60
    python -m evaluation.ablations A
    python -m evaluation.ablations 7 --data coco_photos --photos DIR --pretrained lite0.safetensors
    python -m evaluation.ablations report

A table is one of the paper's, 1 to 7 (``all``), appendix ``A``, or ``plus`` with options that the paper does not have;
``ablations.yaml`` declares them. Rows are trained and judged one after another by the value of information (see
`evaluation.ablation_plan`), until no pair of rows needs another seed, or the time is over. An interrupted command
continues where it was. Every row that was judged is a line of ``--results``, and the times of a table are one of
``--times``; ``report`` prints Markdown, made of these lines alone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.ablation_plan import Results, Timing, Training, next_step
from evaluation.ablation_report import draw, report
from evaluation.ablation_runs import VAL, Setting, digest_of, measure, read_times, train_and_judge
from evaluation.ablation_tables import PAPER, Experiment, Length, experiments, scale
from evaluation.coco_supercategories import derive
from evaluation.efficientnet_lite import NETWORKS, transfer
from evaluation.fit_rows import read_rows
from evaluation.result_lines import add_line
from panoptic_blend.cli.running import guarded, stoppable
from panoptic_blend.files import locked
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError

_FOLDER = Path(__file__).parent / "results"
RESULTS, TIMES = _FOLDER / "ablations.jsonl", _FOLDER / "ablation_times.jsonl"


def run(
    setting: Setting, tables: list[Experiment], seeds: int, results: Path, times: Path, budget: float | None = None
) -> None:
    """Do one step after another until nothing is left to do, or none more fits into ``budget`` seconds."""
    begin, longest = time.monotonic(), 0.0
    digests = {trial: digest_of(setting, trial) for table in tables for trial in table.trials.values()}
    while True:
        found = Results(
            setting.name,
            setting.size,
            read_rows(results),
            read_times(times),
            lambda trial: digests.get(trial) or digest_of(setting, trial),
        )
        step = next_step(tables, found, seeds)
        if step is None:
            print("finished: no pair of rows needs another seed")
            return
        start = time.monotonic()
        if budget is not None and start - begin + longest > budget:
            print(f"stopped after {(start - begin) / 60:.0f} min: the time is over; run the same command to continue")
            return
        if isinstance(step, Training):
            print(f"{setting.name}: {step.trial.name}, seed {step.seed}: training", flush=True)
            add_line(results, train_and_judge(setting, step.trial, step.seed))
            longest = max(longest, time.monotonic() - start) if longest else 0.1
        elif isinstance(step, Timing):
            print(f"{setting.name}: table {step.experiment.number}: timing {len(step.trials)} models", flush=True)
            add_line(times, measure(setting, step.experiment, step.trials))


def ablations(
    table: Annotated[str, typer.Argument(help="A table: 1 to 7, all (of these), A or plus; or report.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value for all configs.")] = None,
    data: Annotated[Literal["shapes", "shapes_hard", "coco_photos"], typer.Option(help="Data set.")] = "shapes",
    seeds: Annotated[int, typer.Option(min=1, help="Most seeds of a row.")] = 1,
    budget: Annotated[float | None, typer.Option(help="Minutes after which no row is begun.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Steps of a training.  [default: of the data]")] = None,
    start: Annotated[int | None, typer.Option(min=0, help="Steps of the detector that rows start from.")] = None,
    side: Annotated[int | None, typer.Option(min=32, help="Short side of the input.  [default: of the data]")] = None,
    photos: Annotated[Path | None, typer.Option(help="COCO photographs, for coco_photos.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Weights of EfficientNet-Lite0 as backbone.")] = None,
    pictures: Annotated[tuple[int, int], typer.Option(help="Training and validation pictures of Shapes.")] = (
        2000,
        200,
    ),
    drawings: Annotated[Path | None, typer.Option(help="With report: folder for a drawing of each table.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of data and runs.")] = Path("runs/ablations"),
    results: Annotated[Path, typer.Option(help="File of the results.")] = RESULTS,
    times: Annotated[Path, typer.Option(help="File of the times.")] = TIMES,
) -> None:
    """Run the rows of a table, or print the tables."""
    if table == "report":
        rows, measured = read_rows(results), read_times(times)
        print(report(rows, measured), end="")
        if drawings:
            draw(rows, measured, drawings)
        return
    size = scale(data).enlarged(side) if side else scale(data)
    own = (*_backbone(pretrained), *(overrides or ()))
    tables = experiments(PAPER if table == "all" else [table], size, own)
    plain = size.lengths[tables[0].figure]
    length = Length(plain.iterations if iterations is None else iterations, plain.start if start is None else start)
    tables = experiments([table.number for table in tables], size.with_length(length), own)
    with stoppable("interrupted; run the same command again to continue"), locked(output, "--output"):
        root = _root(data, output.resolve(), pictures, photos)
        setting = Setting(data, root, output.resolve() / data, size, length, own)
        run(setting, tables, seeds, results, times, None if budget is None else 60 * budget)


def _backbone(pretrained: Path | None) -> tuple[str, ...]:
    if pretrained is None:
        return ()
    if not pretrained.is_file():
        raise PanopticBlendError(f"{pretrained}: no such file; `python -m evaluation.efficientnet_lite` writes it")
    return transfer(NETWORKS[0], pretrained.resolve())


def _root(data: str, output: Path, pictures: tuple[int, int], photos: Path | None) -> Path:
    """The root of the data set, which is made if it is not there."""
    root = output / data / "data"
    if data == "coco_photos":
        if photos is None:
            raise PanopticBlendError("--data coco_photos needs photographs; add --photos DIR")
        for line in derive(photos, root):
            print(line)
    elif not (root / "annotations" / f"panoptic_{VAL}.json").exists():
        write_shapes(root, *pictures, kind="hard" if data == "shapes_hard" else "plain")
    return root


if __name__ == "__main__":
    guarded(lambda: typer.run(ablations))
