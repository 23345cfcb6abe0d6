"""Measure the time of COCO's figures of instances, and compare it with pycocotools, faster-coco-eval and hotcoco.

    python -m evaluation.ap_speed --images 5000

Generates a data set like COCO's val2017: 7 instances and 100 detections an image of 640 x 480, of 80 classes of very
different frequency. All libraries get the same records. Of the others, only ``evaluate`` and ``accumulate`` are timed,
of ours everything from the instances of each image to the twelve figures. Prints CPU time, which other programs disturb
less, and by how much the figures differ from pycocotools'. Exits non-zero if ours takes more than a fifth of its time,
or differs by over 1e-12. With ``--resamples`` it also times bootstrap intervals.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle
from rich.console import Console
from rich.table import Table

from panoptic_blend.formats.instance_results import result_records
from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_report import KINDS, Kind
from panoptic_blend.metrics.instance_resampling import instance_intervals
from panoptic_blend.structures import Category
from panoptic_blend.terminal import right_aligned

SIZE = 480, 640
CATEGORIES = [Category(id, str(id), is_thing=True) for id in range(1, 81)]
FASTER, DIFFERENCE = 5.0, 1e-12

_FREQUENCIES = 1 / np.arange(1, len(CATEGORIES) + 1)
Images = Sequence[tuple[TrueInstances, FoundInstances]]
Result = TypeVar("Result")
Figures = dict[Kind, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time by what is compared, and the largest difference of a figure from pycocotools'."""

    seconds: dict[Kind, float]
    difference: float


def main() -> None:
    """Measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=0, help="also time so many resamples of a bootstrap")
    options = parser.parse_args()
    images = list(generated(options.images, seed=0))
    costs = measure(images)
    Console().print(table(costs, options.images))
    if options.resamples:
        print(*resampling(images, options.resamples), sep="\n")
    problems = missed_targets(costs)
    print(*problems, sep="\n")
    sys.exit(bool(problems))


def generated(images: int, seed: int) -> Iterator[tuple[TrueInstances, FoundInstances]]:
    """Images in which most instances are found more than once, among detections of other places."""
    generator = np.random.default_rng(seed)
    for _ in range(images):
        count = int(generator.geometric(1 / 7.2))
        outlines = _outlines(generator, count)
        present = generator.choice(len(CATEGORIES), 3, p=_FREQUENCIES / _FREQUENCIES.sum()) + 1
        ids, masks = generator.choice(present, count), _masks(outlines)
        areas = rle.area(masks).astype(np.float64)
        truth = TrueInstances(SIZE, ids, _boxes(masks), _counts(masks), areas, generator.random(count) < 0.012)
        yield truth, _detected(generator, truth, outlines, present)


def _detected(
    generator: np.random.Generator, truth: TrueInstances, outlines: npt.NDArray[np.float64], present: Any
) -> FoundInstances:
    """100 detections: two of each instance, a third of the rest of classes that are not in the image."""
    near = np.repeat(np.arange(len(truth)), 2)[:100]
    rest = 100 - len(near)
    shapes = np.concatenate([_moved(generator, outlines[near]), _outlines(generator, rest)])
    others = np.where(generator.random(rest) < 2 / 3, generator.choice(present, rest), generator.integers(1, 81, rest))
    scores = np.concatenate([generator.beta(3, 2, len(near)), generator.beta(1, 8, rest)])
    masks = _masks(shapes)
    ids = np.concatenate([truth.category_ids[near], others])
    return FoundInstances(SIZE, ids, scores.round(3), _boxes(masks), _counts(masks))


def _outlines(generator: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Outlines (count, 40, 2) around random places, a third each small, medium and large."""
    radius = np.exp(generator.normal(3.3, 0.9, (count, 1))).clip(3, 230)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    distances = radius * (1 + 0.15 * generator.normal(size=(count, 40)))
    shape = np.stack([np.cos(angles), np.sin(angles) * 0.8], axis=-1) * distances[..., None]
    return shape + generator.uniform(0, SIZE[::-1], (count, 1, 2))


def _moved(generator: np.random.Generator, outlines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The outlines, each shifted and drawn anew by a part of its own size."""
    size = np.ptp(outlines, axis=1, keepdims=True)
    shift = generator.normal(size=(len(outlines), 1, 2)) * generator.choice([0.02, 0.08, 0.3], (len(outlines), 1, 1))
    return outlines + size * (shift + 0.02 * generator.normal(size=outlines.shape))


def _masks(outlines: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
    return [rle.frPyObjects([outline.ravel().tolist()], *SIZE)[0] for outline in outlines]


def _boxes(masks: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    return np.asarray(rle.toBbox(masks), dtype=np.float64).reshape(-1, 4)


def _counts(masks: list[dict[str, Any]]) -> list[bytes]:
    return [mask["counts"] for mask in masks]


def measure(images: Images) -> dict[str, Cost]:
    """The costs of this library and of those that are installed."""
    found = {"pycocotools": _coco(images, "pycocotools.coco", "pycocotools.cocoeval", "COCOeval")}
    if find_spec("faster_coco_eval"):
        found["faster-coco-eval"] = _coco(images, "faster_coco_eval", "faster_coco_eval", "COCOeval_faster")
    if find_spec("hotcoco"):
        found["hotcoco"] = _coco(images, "hotcoco", "hotcoco", "COCOeval")
    found["ours"] = _ours(images)
    reference = found["pycocotools"][0]
    return {
        name: Cost(seconds, max(float(np.abs(figures[kind] - reference[kind]).max()) for kind in KINDS))
        for name, (figures, seconds) in found.items()
    }


def _ours(images: Images) -> tuple[Figures, dict[Kind, float]]:
    """Boxes alone, then boxes and masks, of which the rest of the time is that of masks."""
    boxes, _ = _timed(lambda: _twelve([(truth, replace(found, masks=None)) for truth, found in images]))
    both, figures = _timed(lambda: _twelve(images))
    return figures, {"box": boxes, "mask": both - boxes}


def _twelve(images: Images) -> Figures:
    metric = AveragePrecision(CATEGORIES)
    for image, pair in enumerate(images, start=1):
        metric.update(*pair, image=image)
    report = metric.compute()
    return {kind: np.array(astuple(figures)) for kind in KINDS if (figures := getattr(report, kind))}


def _coco(images: Images, coco: str, cocoeval: str, name: str) -> tuple[Figures, dict[Kind, float]]:
    """A library with the interface of pycocotools."""
    figures, seconds = {}, {}
    for kind in KINDS:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _indexed(importlib.import_module(coco).COCO, images)
            results = truth.loadRes(_results(images, kind))
            evaluation = getattr(importlib.import_module(cocoeval), name)(truth, results, _COCO_NAMES[kind])
            seconds[kind], _ = _timed(partial(_evaluate, evaluation))
            evaluation.summarize()
        figures[kind] = np.array(evaluation.stats)[:12]
    return figures, seconds


def _evaluate(evaluation: Any) -> None:
    evaluation.evaluate()
    evaluation.accumulate()


_COCO_NAMES: dict[Kind, str] = {"box": "bbox", "mask": "segm"}


def _indexed(coco: Any, images: Images) -> Any:
    """The truth as an object of ``coco``, read from a file, which all libraries can."""
    annotations: list[dict[str, Any]] = []
    for image, (truth, _) in enumerate(images, start=1):
        for row in range(len(truth)):
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": int(truth.category_ids[row]),
                "iscrowd": int(truth.is_crowd[row]),
                "area": float(truth.areas[row]),
                "bbox": truth.boxes[row].tolist(),
                "segmentation": {"size": list(SIZE), "counts": truth.masks[row].decode()},
            })  # fmt: skip
    content = {
        "images": [{"id": image, "height": SIZE[0], "width": SIZE[1]} for image in range(1, len(images) + 1)],
        "categories": [{"id": category.id, "name": category.name} for category in CATEGORIES],
        "annotations": annotations,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "truth.json")
        path.write_text(json.dumps(content))
        return coco(str(path))


def _results(images: Images, kind: Kind) -> list[dict[str, Any]]:
    """Records with a box or a mask: with both, areas of masks would be those of boxes."""
    dropped = "segmentation" if kind == "box" else "bbox"
    return [
        {key: value for key, value in record.items() if key != dropped}
        for image, (_, found) in enumerate(images, start=1)
        for record in result_records(image, found)
    ]


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    gc.collect()
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def resampling(images: Images, resamples: int) -> Iterator[str]:
    """Lines with the time of bootstrap intervals by kind."""
    metric = AveragePrecision(CATEGORIES)
    for image, pair in enumerate(images, start=1):
        metric.update(*pair, image=image)
    for kind, tallies in metric.tallies().items():
        seconds, intervals = _timed(partial(instance_intervals, tallies, resamples=resamples))
        ap = intervals.figures["AP"]
        yield f"{resamples} resamples by {kind}: {seconds:.1f} s; AP {ap.value:.4f} from {ap.low:.4f} to {ap.high:.4f}"


def table(costs: dict[str, Cost], images: int) -> Table:
    """Seconds of CPU time, and how many times as long the others take as this library."""
    ours = costs["ours"].seconds
    headers = [text for kind in KINDS for text in (kind, "times")]
    result = right_aligned("", *headers, "differs by", title=f"{images:,} images: seconds of CPU time, and times ours")
    for name, cost in costs.items():
        cells = [(f"{cost.seconds[kind]:.2f}", f"{cost.seconds[kind] / ours[kind]:.1f}") for kind in KINDS]
        result.add_row(name, *(cell for pair in cells for cell in pair), f"{cost.difference:.1e}")
    return result


def missed_targets(costs: dict[str, Cost]) -> list[str]:
    """One line of text for each target that is missed."""
    reference, ours, problems = costs["pycocotools"], costs["ours"], []
    for kind in KINDS:
        ratio = reference.seconds[kind] / ours.seconds[kind]
        if ratio < FASTER:
            problems.append(f"{kind}: {ratio:.2f} times as fast as pycocotools, target {FASTER}")
    if not ours.difference <= DIFFERENCE:
        problems.append(f"figures differ from pycocotools' by {ours.difference:.1e}, target {DIFFERENCE}")
    return problems


if __name__ == "__main__":
    main()
