"""Measure the time of PQ from files and in memory, beside hotcoco, panopticapi and torchmetrics.

    python -m evaluation.pq_speed --data datasets/coco --pairs 200

Makes pairs of 640 x 480 maps from the PNGs of a COCO root: the ground truth is a PNG shifted by some pixels, the
prediction the same PNG shifted by some more. Exits non-zero if a pair takes more than 1.5 ms of CPU time from files or
0.6 ms in memory, or if a new process that scores the files takes more than 60 MB beyond what its imports take. If
panopticapi is not installed, a stand-in does its indispensable work: it decodes two PNGs with Pillow, computes ids in
uint32, and counts the distinct values of the prediction and of the pairs by sorting. Reported are medians of several
rounds: CPU time, which other programs disturb less, and wall time. Then the command ``pq`` scores 5,000 pairs, which
name the same PNGs again and again, with one process and with two: on two cores, two take at most 5 s of wall time.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.table import Table

from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_layout import maps_folder
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_segment_ids
from panoptic_blend.machine import cores
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.scoring.evaluate_files import evaluate_files
from panoptic_blend.structures import Category, PanopticMap
from panoptic_blend.terminal import right_aligned

SIZE = 480, 640
FILES_MS, MEMORY_MS, MEGABYTES = 1.5, 0.6, 60
MANY, MANY_SECONDS = 5000, 5.0


@dataclass(frozen=True)
class Cost:
    """Median milliseconds of CPU time and of wall time per pair."""

    name: str
    cpu: float
    wall: float


def main() -> None:
    """Measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("datasets/coco"), help="root of a COCO data set")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(options.data / "annotations" / f"panoptic_{options.split}.json", options.pairs, Path(folder))
        megabytes = peak_memory(Path(folder) / "truth.json", Path(folder) / "prediction.json")
        repeat_pairs(Path(folder), MANY)
        many = {workers: command_time(Path(folder), workers) for workers in (1, 2)}
    Console().print(table(costs))
    print(f"{options.pairs} pairs from files, {cores()} cores: {megabytes:.1f} MB above imports, target {MEGABYTES}")
    for workers, spent in many.items():
        print(f"pq of {MANY} pairs, --workers {workers}: {spent.wall:.1f} s wall, {spent.cpu:.1f} s CPU")
    problems = missed_targets(costs)
    if cores() > 1 and many[2].wall > MANY_SECONDS:
        problems.append(f"pq of {MANY} pairs: {many[2].wall:.1f} s, target {MANY_SECONDS} on two cores")
    if megabytes > MEGABYTES:
        problems.append(f"memory: {megabytes:.1f} MB above imports, target {MEGABYTES}")
    print(*problems, sep="\n")
    sys.exit(bool(problems))


def measure(source: Path, pairs: int, folder: Path) -> dict[str, Cost]:
    """Costs of this library from files and in memory, and of those of the others that are installed."""
    maps = write_pairs(source, pairs, folder)
    truth, prediction = folder / "truth.json", folder / "prediction.json"
    categories = list(read_panoptic_json(truth).categories)
    files = lambda: evaluate_files(truth, prediction)  # noqa: E731
    costs = {
        "files": timed("ours, from files", files, pairs),
        "one": timed("ours, from files, one process", lambda: evaluate_files(truth, prediction, workers=1), pairs),
        "memory": timed("ours, in memory", lambda: _in_memory(maps, categories), len(maps)),
    }
    if find_spec("panopticapi"):
        costs["reference"] = timed("panopticapi, one process", lambda: _panopticapi(truth, prediction), pairs)
    else:
        costs["reference"] = timed("stand-in for panopticapi", lambda: _panopticapi_minimum(truth, prediction), pairs)
    if find_spec("hotcoco"):
        costs["hotcoco"] = timed(_versioned("hotcoco"), lambda: _hotcoco(truth, prediction), pairs)
    if find_spec("torchmetrics"):
        few = maps[:3]
        costs["torchmetrics"] = timed(
            f"{_versioned('torchmetrics')}, in memory", lambda: _torchmetrics(few, categories), len(few)
        )
    return costs


def missed_targets(costs: dict[str, Cost]) -> list[str]:
    """One line of text for each target that is missed."""
    found = (("from files", costs["one"].cpu, FILES_MS), ("in memory", costs["memory"].cpu, MEMORY_MS))
    return [f"{name}: {cpu:.2f} ms per pair, target {target}" for name, cpu, target in found if cpu > target]


def table(costs: dict[str, Cost]) -> Table:
    """A table of milliseconds per pair, and of the CPU time of the others relative to this library's."""
    result = right_aligned("", "ms CPU", "ms wall", "times ours", title="A pair of 640 x 480 maps")
    for key, cost in costs.items():
        ours = costs["memory" if key == "torchmetrics" else "one"].cpu
        times = "" if key in ("files", "memory", "one") else f"{cost.cpu / ours:.2f}"
        result.add_row(cost.name, f"{cost.cpu:.2f}", f"{cost.wall:.2f}", times)
    return result


def timed(name: str, work: Callable[[], object], pairs: int, rounds: int = 5) -> Cost:
    """The median time per pair of several rounds of ``work`` on ``pairs`` pairs."""
    spent = []
    for _ in range(rounds):
        cpu_start, wall_start = _cpu_time(), time.perf_counter()
        work()
        spent.append((_cpu_time() - cpu_start, time.perf_counter() - wall_start))
    cpu, wall = np.median(spent, axis=0).tolist()
    return Cost(name, 1000 * cpu / pairs, 1000 * wall / pairs)


def _cpu_time() -> float:
    """Seconds of CPU time of this process and of those that it has started and that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def peak_memory(truth: Path, prediction: Path) -> float:
    """MB by which scoring the files raises the peak of a new process above that of its imports (Linux)."""
    program = (
        "import sys, wasmtime, zlib_ng.zlib_ng\n"
        "from evaluation.memory import peak_bytes\n"
        "from panoptic_blend.scoring.evaluate_files import evaluate_files\n"
        "imported = peak_bytes()\n"
        "evaluate_files(*sys.argv[1:])\n"
        "print((peak_bytes() - imported) / 2**20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, truth, prediction], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@dataclass(frozen=True)
class Spent:
    """Seconds of wall time, and of CPU time in all processes."""

    wall: float
    cpu: float


def repeat_pairs(folder: Path, count: int) -> None:
    """Write many_truth.json and many_prediction.json, whose images name the PNGs of truth and prediction again."""
    for name in ("truth", "prediction"):
        content = json.loads((folder / f"{name}.json").read_text())
        images = islice(cycle(content["images"]), count)
        annotations = islice(cycle(content["annotations"]), count)
        content["images"] = [{**image, "id": number} for number, image in enumerate(images)]
        content["annotations"] = [{**record, "image_id": number} for number, record in enumerate(annotations)]
        (folder / f"many_{name}.json").write_text(json.dumps(content))


def command_time(folder: Path, workers: int) -> Spent:
    """The time that the command ``pq`` takes for the files of `repeat_pairs`, its start included."""
    program = "from panoptic_blend.cli.main import main; main()"
    files = [folder / "many_truth.json", folder / "many_prediction.json"]
    folders: list[str | Path] = ["--truth-folder", folder / "truth", "--prediction-folder", folder / "prediction"]
    command: list[str | Path] = [sys.executable, "-c", program, "pq", *files, *folders, "--workers", str(workers)]
    cpu_start, wall_start = _cpu_time(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return Spent(time.perf_counter() - wall_start, _cpu_time() - cpu_start)


def _versioned(package: str) -> str:
    return f"{package} {version(package)}"


def _hotcoco(truth: Path, prediction: Path) -> None:
    panoptic = importlib.import_module("hotcoco.panoptic")
    with contextlib.redirect_stdout(io.StringIO()):
        panoptic.pq_compute(str(truth), str(prediction))


def write_pairs(source: Path, pairs: int, folder: Path) -> list[tuple[PanopticMap, PanopticMap]]:
    """Write truth.json and prediction.json with their PNGs, and return the maps of the first few pairs."""
    content = read_panoptic_json(source)
    folders = Folder(maps_folder(source, None, content.images.annotations).path)
    records: dict[str, list[dict[str, Any]]] = {"truth": [], "prediction": []}
    images: list[dict[str, Any]] = []
    maps: list[tuple[PanopticMap, PanopticMap]] = []
    for number, image in enumerate(islice(cycle(content.images), pairs), start=1):
        ids = read_segment_ids(folders.path / image.annotation.png)
        ids = cv2.resize(ids.astype(np.float64), SIZE[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int32)
        both = np.roll(ids, number, axis=1), np.roll(ids, (3, number + 4), axis=(0, 1))
        segments = [segment for segment in image.annotation.segments if (ids == segment.id).any()]
        infos = [{"id": s.id, "category_id": s.category, "iscrowd": int(s.is_crowd)} for s in segments]
        for name, moved in zip(records, both, strict=True):
            _write_png(folder / name / f"{number}.png", moved)
            records[name].append({"image_id": number, "file_name": f"{number}.png", "segments_info": infos})
        images.append({"id": number, "file_name": f"{number}.jpg", "height": SIZE[0], "width": SIZE[1]})
        if len(maps) < 20:
            maps.append((PanopticMap.measured(both[0], segments), PanopticMap.measured(both[1], segments)))
    for name, written in records.items():
        result = {"images": images, "annotations": written, "categories": content.categories.records()}
        (folder / f"{name}.json").write_text(json.dumps(result))
    return maps


def _write_png(path: Path, ids: npt.NDArray[np.int32]) -> None:
    """Write a PNG with Pillow, as COCO's own; OpenCV would choose other filters."""
    path.parent.mkdir(exist_ok=True)
    colors = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    Image.fromarray(colors).save(path)


def _in_memory(maps: Sequence[tuple[PanopticMap, PanopticMap]], categories: Sequence[Category]) -> None:
    quality = PanopticQuality(categories)
    for truth, prediction in maps:
        quality.update(truth, prediction)
    quality.compute()


def _panopticapi_minimum(truth: Path, prediction: Path) -> None:
    for path in sorted(truth.with_suffix("").iterdir()):
        both = [_pillow_ids(path), _pillow_ids(prediction.with_suffix("") / path.name)]
        np.unique(both[1], return_counts=True)
        np.unique((both[0].astype(np.uint64) << np.uint64(24)) | both[1], return_counts=True)


def _pillow_ids(path: Path) -> npt.NDArray[np.uint32]:
    with Image.open(path) as picture:
        colors = np.array(picture, dtype=np.uint32)
    return colors[..., 0] | colors[..., 1] << np.uint32(8) | colors[..., 2] << np.uint32(16)


def _panopticapi(truth: Path, prediction: Path) -> None:
    evaluation = importlib.import_module("panopticapi.evaluation")
    contents = [json.loads(path.read_text()) for path in (truth, prediction)]
    for annotation in contents[0]["annotations"]:
        picture = _pillow_ids(truth.with_suffix("") / annotation["file_name"])
        areas = dict(zip(*(a.tolist() for a in np.unique(picture, return_counts=True)), strict=True))
        for info in annotation["segments_info"]:
            info["area"] = areas[info["id"]]
    pairs = list(zip(*(content["annotations"] for content in contents), strict=True))
    categories = {category["id"]: category for category in contents[0]["categories"]}
    folders = str(truth.with_suffix("")), str(prediction.with_suffix(""))
    evaluation.pq_compute_single_core(0, pairs, *folders, categories)


def _torchmetrics(maps: Sequence[tuple[PanopticMap, PanopticMap]], categories: Sequence[Category]) -> None:
    torch, detection = importlib.import_module("torch"), importlib.import_module("torchmetrics.detection")
    things = {category.id for category in categories if category.is_thing}
    stuff = {category.id for category in categories if not category.is_thing}
    metric = detection.PanopticQuality(things, stuff, allow_unknown_preds_category=True)
    for pair in maps:
        pixels = [torch.tensor(_pairs(panoptic))[None] for panoptic in pair]
        metric.update(pixels[1], pixels[0])
    metric.compute()


def _pairs(panoptic: PanopticMap) -> npt.NDArray[np.int64]:
    """(H, W, 2) int64: category and id of each pixel's segment, -1 and 0 for void."""
    lines = [(-1, 0), *((segment.category, segment.id) for segment in panoptic.segments)]
    return np.array(lines, dtype=np.int64)[panoptic.index()]


if __name__ == "__main__":
    main()
