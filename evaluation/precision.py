"""Compare the predictions of a model in bf16 and in float32: PQ must not differ by more than 0.1 points.

    python -m evaluation.precision CHECKPOINT --data DIR --split val2017

DIR is a COCO panoptic folder. bf16 is autocast, as in ``panoptic-blend evaluate --precision bf16-mixed``. The two maps
of an image are compared too: counted are segments without a match in the other map, by class and IoU as in PQ, and
pixels that are neither in both segments of a match nor void in both maps. Exits with 1 beyond the tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from panoptic_blend.cli.running import guarded
from panoptic_blend.config.precisions import Precision
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import evaluation_samples
from panoptic_blend.formats.coco_layout import find_root
from panoptic_blend.inference.evaluation import require_same_categories
from panoptic_blend.inference.forward import run_network
from panoptic_blend.inference.predictor import Predictor, load
from panoptic_blend.metrics import overlaps
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticQuality, PanopticReport
from panoptic_blend.structures import PanopticMap
from panoptic_blend.terminal import progress_line, right_aligned

TOLERANCE = 0.001
PRECISIONS: tuple[Precision, Precision] = ("32-true", "bf16-mixed")


@dataclass(frozen=True)
class Difference:
    """Differences between two maps of an image, or their sums over images.

    ``other_pixels`` of ``pixels`` differ, and ``other_segments`` of the ``segments`` of both maps have no match.
    """

    pixels: int = 0
    other_pixels: int = 0
    segments: int = 0
    other_segments: int = 0

    def __add__(self, more: Difference) -> Difference:
        return Difference(
            self.pixels + more.pixels,
            self.other_pixels + more.other_pixels,
            self.segments + more.segments,
            self.other_segments + more.other_segments,
        )


def difference(first: PanopticMap, second: PanopticMap) -> Difference:
    """Compare two maps of one image; segments are matched whatever their ids."""
    found = overlaps.compare(first, second)
    table, pairs = found.overlaps, overlaps.match(found)
    shared = table.dense()[0, 0] + table.at(pairs.truth + 1, pairs.prediction + 1).sum()
    pixels, segments = int(table.counts.sum()), len(first.segments) + len(second.segments)
    return Difference(pixels, pixels - int(shared), segments, segments - 2 * len(pairs.iou))


def compare(predictor: Predictor, dataset: CocoPanoptic) -> tuple[list[PanopticReport], Difference]:
    """PQ of the model in each of ``PRECISIONS``, and the differences between the maps."""
    categories, total = predictor.categories, Difference()
    qualities = [PanopticQuality(categories) for _ in PRECISIONS]
    samples = evaluation_samples(dataset, predictor.resizing, predictor.config.data.workers)
    with progress_line("comparing", "images") as progress:
        for done, sample in enumerate(samples, start=1):
            maps = [run_network(predictor.model, sample.image, sample.size, categories, x).panoptic for x in PRECISIONS]
            for quality, panoptic in zip(qualities, maps, strict=True):
                quality.update(sample.panoptic_truth(), panoptic)
            total += difference(*maps)
            progress(done, len(dataset))
    return [quality.compute() for quality in qualities], total


def table(reports: list[PanopticReport]) -> Table:
    """A table of PQ, SQ and RQ in percent of all, things and stuff, in both precisions, and of the differences."""
    result = right_aligned("", *PRECISIONS, "difference", title="Panoptic quality")
    for group in GROUPS:
        for name in ("pq", "sq", "rq"):
            full, half = (100 * report[group][name] for report in reports)
            result.add_row(f"{group} {name.upper()}", f"{full:.3f}", f"{half:.3f}", f"{half - full:+.3f}")
    return result


def precision(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of this library.")],
    data: Annotated[Path, typer.Option(help="COCO panoptic folder.")],
    split: Annotated[str, typer.Option(help="Split to evaluate on.")] = "val2017",
    device: Annotated[str, typer.Option(help="Device to run on: cpu, cuda, cuda:0, ...")] = "cpu",
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes to the config: key=value ...")] = None,
) -> None:
    """Evaluate a model in both precisions and compare the results."""
    predictor = load(checkpoint, device=device, overrides=overrides or ())
    dataset = CocoPanoptic(find_root(str(data)), split)
    require_same_categories(predictor.categories, dataset)
    reports, total = compare(predictor, dataset)
    Console().print(table(reports))
    print(f"{total.other_pixels} of {total.pixels} pixels differ ({total.other_pixels / (total.pixels or 1):.3%})")
    print(f"{total.other_segments} of {total.segments} segments have no match in the other map")
    full, half = (report["All"]["pq"] for report in reports)
    is_same = abs(half - full) <= TOLERANCE
    verdict = "within" if is_same else "beyond"
    print(f"PQ differs by {100 * (half - full):+.3f} points: {verdict} the tolerance of {100 * TOLERANCE:.1f}")
    raise typer.Exit(int(not is_same))


if __name__ == "__main__":
    guarded(lambda: typer.run(precision))
