"""How good are the models that ``fit`` trains, against the demo's config, without each ingredient, and against a peer?

    python -m evaluation.fit_quality shapes --seeds 0 --seeds 1
    python -m evaluation.fit_quality photos --data coco_photos --others coco_sample --pretrained lite0.safetensors
    python -m evaluation.fit_quality table

Experiments: ``shapes`` and ``few`` compare ``fit`` with the demo's config on 2,000 and on 100 pictures, in the time of
the demo's training; ``ablation`` and ``long_ablation`` train by the plan of ``fit`` for 4 and 10 minutes with each
ingredient left out once; ``photos`` and ``peer`` are photographs with COCO's supercategories
(`evaluation.coco_supercategories`), where ``fit`` is compared with the demo's network from scratch, with a plain
transfer, and with Mask R-CNN (`evaluation.mask_rcnn_peer`); ``kinds`` are the data sets of
`evaluation.generated_kinds`.

Every run has a folder in ``--output``, where it is continued, and leaves a line in ``--results`` for every split that
it is judged on; a run that has them is skipped. ``table`` prints Markdown tables, made of these lines alone.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.fit_experiments import EXPERIMENTS, INSTANCES, REFERENCES, Given
from evaluation.fit_rows import of_experiments, read_rows, table
from evaluation.fit_variants import judged_row
from evaluation.result_lines import add_line
from panoptic_blend.cli.running import guarded, stoppable
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import markdown

RESULTS = Path(__file__).parent / "results" / "fit_quality.jsonl"


def run(experiment: str, given: Given, seeds: list[int], results: Path, only: Collection[str] = ()) -> None:
    """Train and judge the variants of an experiment, or ``only`` some; what has a row already is skipped.

    Raises:
        PanopticBlendError: the experiment has no variant of a name in ``only``.
    """
    known = set[str]()
    for seed in seeds:
        for task in EXPERIMENTS[experiment](given, seed):
            known.add(task.name)
            if only and task.name not in only:
                continue
            done = read_rows(results)
            left = [name for name in task.splits if (experiment, task.name, seed, name) not in done]
            print(f"{experiment}, {task.name}, seed {seed}: {'finished' if not left else 'training'}")
            if not left:
                continue
            trained = task.variant.train(task.root, task.folder, seed)
            for name in left:
                dataset, has_maps = CocoPanoptic(*task.splits[name]), name != INSTANCES
                add_line(results, judged_row(trained, dataset, experiment, task.name, seed, name, has_maps))
    if unknown := [name for name in only if name not in known]:
        raise PanopticBlendError(
            f"--only {unknown[0]!r}: {experiment} has no such variant; take {', '.join(sorted(known))}"
        )


def fit_quality(
    experiment: Annotated[
        Literal["shapes", "few", "ablation", "long_ablation", "photos", "peer", "kinds", "table"],
        typer.Argument(help="Experiment to run, or table to print the tables of all."),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value for all configs.")] = None,
    data: Annotated[Path | None, typer.Option(help="Photographs, for photos and peer.")] = None,
    others: Annotated[Path | None, typer.Option(help="A second set of test photographs.")] = None,
    pretrained: Annotated[Path | None, typer.Option(help="Backbone weights, for photos and peer.")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="Seeds; may be repeated.  [default: 0 1]")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time of each run.  [default: that of the demo, or 20]")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Variants; may be repeated.  [default: all]")] = None,
    pictures: Annotated[tuple[int, int], typer.Option(help="Training and validation pictures of Shapes.")] = (
        Given.pictures
    ),
    output: Annotated[Path, typer.Option(help="Folder of data and runs.")] = Path("runs/fit_quality"),
    results: Annotated[Path, typer.Option(help="File of the results.")] = RESULTS,
) -> None:
    """Run an experiment, or print the tables."""
    if experiment == "table":
        rows = read_rows(results)
        for name, split in of_experiments(rows):
            print(markdown(table(rows.values(), name, split, REFERENCES[name])))
        return
    given = Given(output.resolve(), minutes, data, others, pretrained, pictures, tuple(overrides or ()))
    with stoppable("interrupted; run the same command again to continue"), locked(output, "--output"):
        run(experiment, given, seeds or [0, 1], results, only or ())


if __name__ == "__main__":
    guarded(lambda: typer.run(fit_quality))
